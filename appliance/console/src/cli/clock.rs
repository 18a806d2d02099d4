//! `rackwright clock …`

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum ClockCommand {
    /// Say that the controller's clock is right, after it has jumped
    #[command(after_help = "Examples:
  date
  rackwright clock accept
  rackwright clock accept -o json

Look at it first. A clock that jumps by more than five minutes may have been
set wrong or set right; nobody can tell but you. Until then no certificate is
issued, status says so, and everything else goes on. Setting it back is as good.")]
    Accept,
}

//! `rackwright network …`

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Who has which address on the provisioning network
    #[command(after_help = "Examples:
  rackwright network leases
  rackwright network leases -o json")]
    Leases,
    /// Give back the address of a machine that is no node
    #[command(after_help = "Examples:
  rackwright network release 52:54:00:12:34:56
  rackwright network release 10.77.0.104

The machine may still use it: others are given it when its lease is over.
A node keeps its address; rackwright node set-address gives it another.")]
    Release {
        /// Hardware address, or the IP address itself
        #[arg(value_name = "MAC|IP")]
        lease: String,
    },
}

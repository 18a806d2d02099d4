//! `rackwright install …` and `rackwright update …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Format, Global};
use crate::install::{InstallOptions, InstallVerb};

/// What the help of the command ends with.
pub(super) const EXAMPLES: &str = "Examples:
  rackwright install
  rackwright install --list
  rackwright install --disk S4EVNX0R --confirm S4EVNX0R --restart

From the live system of the ISO. The disk is named by its serial number or
World Wide Name, as --list has them; everything on it is lost, and no other
disk is written to. What this live system was told and has learned comes
along. Until the last step the disk boots nothing.";

/// The same of updates.
pub(super) const UPDATES: &str = "Examples:
  rackwright update status
  rackwright update apply rackwright.iso
  rackwright update apply rackwright.iso --restart";

#[derive(Args, Clone, Debug)]
pub(crate) struct InstallArgs {
    /// Show the disks, and install nothing
    #[arg(long, conflicts_with_all = ["disk", "confirm", "restart"])]
    pub(crate) list: bool,
    /// The disk, by serial number or World Wide Name
    #[arg(long, value_name = "NAME")]
    pub(crate) disk: Option<String>,
    /// The same name once more, instead of being asked
    #[arg(long, value_name = "NAME", requires = "disk")]
    pub(crate) confirm: Option<String>,
    /// Only if nothing is on it
    #[arg(long, requires = "disk")]
    pub(crate) empty: bool,
    /// Restart the machine when it is done
    #[arg(long)]
    pub(crate) restart: bool,
}

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum UpdateCommand {
    /// Which slot this is, and which is started next
    #[command(after_help = "Examples:
  rackwright update status
  rackwright update status -o json")]
    Status,
    /// Put a newer ISO into the other slot, and start that once
    #[command(after_help = "Examples:
  rackwright update apply rackwright.iso
  rackwright update apply rackwright.iso --restart

Beside it lie rackwright.iso.sha256 and rackwright.iso.sha256.sig, signed by a
key that this controller trusts. If the new system does not come up, the next
start is this one again, by itself. An older one is refused, but with --older.")]
    Apply {
        /// The ISO
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Also if it is older than what runs
        #[arg(long)]
        older: bool,
        /// Restart the machine when it is written
        #[arg(long)]
        restart: bool,
    },
    /// Stay with the slot that runs (done by itself once it is well)
    #[command(after_help = "Examples:
  rackwright update keep
  rackwright update keep -o json")]
    Keep,
}

impl InstallArgs {
    pub(crate) fn options(&self, global: &Global) -> InstallOptions {
        let verb = if self.list {
            InstallVerb::List
        } else {
            InstallVerb::Install {
                disk: self.disk.clone(),
                confirm: self.confirm.clone(),
                empty: self.empty,
                restart: self.restart,
            }
        };
        options(verb, global)
    }
}

impl UpdateCommand {
    pub(crate) fn options(&self, global: &Global) -> InstallOptions {
        let verb = match self {
            UpdateCommand::Status => InstallVerb::Status,
            UpdateCommand::Apply { file, older, restart } => {
                InstallVerb::Update { file: file.clone(), older: *older, restart: *restart }
            }
            UpdateCommand::Keep => InstallVerb::Keep,
        };
        options(verb, global)
    }
}

fn options(verb: InstallVerb, global: &Global) -> InstallOptions {
    InstallOptions { verb, json: global.output == Format::Json, no_input: global.no_input }
}

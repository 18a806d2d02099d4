//! `rackwright node power …`, `rackwright node bmc …`

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::Waiting;

#[derive(Debug, Subcommand)]
pub(crate) enum PowerCommand {
    /// Power on; done when its agent is heard
    #[command(after_help = "Examples:
  rackwright node power on n1
  rackwright node power on n1 --no-wait

Without a management controller it waits for you to press the button, and says
how to find the server.")]
    On {
        /// Name, id, MAC or code
        node: String,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Power off: its system is asked, and cut off after two minutes
    #[command(after_help = "Examples:
  rackwright node power off n1
  rackwright node power off n1 --hard --confirm n1

Done when its controller says off and its agent is silent. Refused while an
image is written to it.")]
    Off {
        /// Name, id, MAC or code
        node: String,
        /// Cut its power at once
        #[arg(long)]
        hard: bool,
        #[command(flatten)]
        severe: Severe,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// Off and on again, at once; done when it has booted
    #[command(after_help = "Examples:
  rackwright node power cycle n1
  rackwright node power cycle n1 --confirm n1 --timeout 10m

Without a management controller its agent restarts it, if it is heard. Refused
while an image is written to it.")]
    Cycle {
        /// Name, id, MAC or code
        node: String,
        #[command(flatten)]
        severe: Severe,
        #[command(flatten)]
        waiting: Waiting,
    },
    /// What its controller says, when its agent was heard, what waits
    #[command(after_help = "Examples:
  rackwright node power status n1
  rackwright node power status n1 -o json")]
    Status {
        /// Name, id, MAC or code
        node: String,
    },
    /// Drop what waits
    #[command(after_help = "Examples:
  rackwright node power cancel n1
  rackwright node power cancel n1 -o json

What was asked of its controller already may still happen.")]
    Cancel {
        /// Name, id, MAC or code
        node: String,
    },
}

/// What must be said before something severe.
#[derive(Args, Debug)]
pub(crate) struct Severe {
    /// The node's name, instead of typing it
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// Even while it is written, or virtual machines run
    #[arg(long)]
    pub(crate) force: bool,
}

/// What is booted from once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum BootDevice {
    /// The network.
    Pxe,
    /// The disk.
    Disk,
    /// The firmware's set-up.
    Bios,
}

/// What reaches a node's power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// DMTF Redfish.
    Redfish,
    /// IPMI 2.0.
    Ipmi,
    /// Wake-on-LAN.
    Wol,
    /// A person.
    Manual,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BmcCommand {
    /// Say how its power is reached
    #[command(after_help = "Examples:
  rackwright node bmc set n1 --kind redfish --addr 10.0.9.11 --user ops
  rackwright node bmc set n1 --kind ipmi --addr 10.0.9.11 --user ops
  rackwright node bmc set n1 --kind ipmi --addr b1 --user u --password-file -
  rackwright node bmc set n1 --kind wol

The password is asked for, or read from a file; it is kept sealed and never
shown again. After one wrong password nothing more is asked of the controller
until this was said again.")]
    Set {
        /// Name, id, MAC or code
        node: String,
        /// redfish, ipmi, wol, manual
        #[arg(long, value_enum, hide_possible_values = true)]
        kind: Kind,
        /// Address of the controller: IP or name, with :PORT
        #[arg(long, value_name = "ADDRESS")]
        addr: Option<String>,
        /// Its user; needs the privilege of an operator
        #[arg(long)]
        user: Option<String>,
        /// The password's file; - is standard input
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
        /// SHA-256 of its certificate; else the first seen
        #[arg(long, value_name = "SHA256")]
        fingerprint: Option<String>,
    },
    /// How its power is reached; never the password
    #[command(after_help = "Examples:
  rackwright node bmc show n1
  rackwright node bmc show n1 -o json")]
    Show {
        /// Name, id, MAC or code
        node: String,
    },
    /// Whether it answers, and what is wrong with it
    #[command(after_help = "Examples:
  rackwright node bmc test n1
  rackwright node bmc test n1 -o json

The exit code is 9 when something is wrong.")]
    Test {
        /// Name, id, MAC or code
        node: String,
    },
    /// Forget address, user and password
    #[command(after_help = "Examples:
  rackwright node bmc forget n1
  rackwright node bmc forget n1 -o json")]
    Forget {
        /// Name, id, MAC or code
        node: String,
    },
}

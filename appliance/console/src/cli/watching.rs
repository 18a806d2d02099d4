//! `rackwright metrics …` and `rackwright support …`

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum MetricsCommand {
    /// Every figure, as Prometheus reads it
    #[command(after_help = "Examples:
  rackwright metrics show
  rackwright metrics show -o json

Prometheus itself comes to the address that rackwright.toml names:
[metrics] listen = \"127.0.0.1:9477\", path /metrics. Without it nothing listens.")]
    Show,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NotifyCommand {
    /// Send a message that says that it is a test
    #[command(after_help = "Examples:
  rackwright notify test
  rackwright notify test -o json

Where messages go is said by rackwright.toml:
[notify] webhook = \"https://host/path\", and secret_file with the key that signs;
[notify.mail] to, from and server. The exit code is 0 when all have taken it.")]
    Test,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SupportCommand {
    /// Pack what explains a fault into one file, without secrets
    #[command(after_help = "Examples:
  rackwright support bundle rack.tar.gz
  rackwright support bundle /tmp/rack.tar.gz -o json

Version, configuration, status, nodes, jobs, events, doctor, journals of the
controller's units, disk space. Keys, passwords and identity files of nodes are
never collected, and every file is searched for them once more; REDACTION.txt
in the bundle says what was taken out. Look at it before you send it: names,
addresses and serial numbers are in it. An existing file is not overwritten.")]
    Bundle(BundleArgs),
}

#[derive(Args, Debug)]
pub(crate) struct BundleArgs {
    /// The file to write, a .tar.gz
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

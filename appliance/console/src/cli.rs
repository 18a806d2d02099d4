//! The words of the command line. Every command has at least two examples in its help.

mod backup;
mod burn_in;
mod clock;
mod cloud;
mod doctor;
mod explain;
mod image;
mod install;
mod job;
mod key;
mod network;
mod node;
mod plan;
mod power;
mod reference;
mod rollout;
mod service;
mod setup;
mod size;
mod watching;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use self::setup::SetupArgs;
pub(crate) use backup::{BackupCommand, RestoreArgs};
pub(crate) use burn_in::{TestArgs, TestCommand};
pub(crate) use clock::ClockCommand;
pub(crate) use cloud::{CloudCommand, PasswordsCommand, SmokeArgs};
pub(crate) use doctor::{Area, DoctorArgs};
pub(crate) use explain::ExplainArgs;
pub(crate) use image::{CaptureArgs, ImageCommand};
pub(crate) use install::{InstallArgs, UpdateCommand};
pub(crate) use job::{EventCommand, JobCommand};
pub(crate) use key::{CaCommand, KeyCommand, RotateArgs};
pub(crate) use network::{CheckArgs, NetworkCommand};
pub(crate) use node::{Choice, NodeCommand, RoleCommand, Turn};
pub(crate) use plan::{ApplyArgs, Course, PlanArgs, PlanCommand, Waiting, Word};
pub(crate) use power::{BmcCommand, BootDevice, Kind, PowerCommand, Severe};
pub(crate) use reference::{CompletionArgs, ManArgs};
pub(crate) use rollout::{RebuildArgs, RolloutCommand, Start};
pub(crate) use service::{AnsibleCommand, ServiceCommand};
pub(crate) use size::SizeArgs;
pub(crate) use watching::{BundleArgs, MetricsCommand, NotifyCommand, SupportCommand};

/// A rack of bare servers, as a cloud that can be repaired.
#[derive(Debug, Parser)]
#[command(
    name = "rackwright",
    version,
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Examples:
  rackwright status
  rackwright node approve n1
  rackwright node plan n1
  rackwright apply p-8f31

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 not found, 4 conflict,
5 not confirmed, 6 no daemon, 7 time is over (the job goes on),
8 some nodes failed, 9 unhealthy, 10 plans wait (plan --exit-code),
11 not permitted, 130 interrupted"
)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// How data is printed: table, json
    #[arg(short, long, value_enum, global = true, default_value = "table", value_name = "FORMAT")]
    #[arg(hide_possible_values = true)]
    pub(crate) output: Format,
    /// Tables without their head
    #[arg(long, global = true)]
    pub(crate) no_header: bool,
    /// Colours: auto, always, never
    #[arg(long, value_enum, global = true, default_value = "auto", value_name = "WHEN")]
    #[arg(hide_possible_values = true)]
    pub(crate) color: ColorChoice,
    /// Never ask; refuse where an answer is needed
    #[arg(long, global = true)]
    pub(crate) no_input: bool,
    /// The daemon's socket
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// Look here instead of / [env: RACKWRIGHT_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
}

/// How data is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: the daemon's own answer.
    Json,
}

/// When words are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal that wants it.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Everything on one screen, and what to do next
    #[command(after_help = "Examples:
  rackwright status
  rackwright status --watch
  rackwright status --check

With --check the exit code is 9 when something needs attention.")]
    Status {
        /// Draw again every two seconds
        #[arg(long)]
        watch: bool,
        /// End with 9 when something needs attention
        #[arg(long)]
        check: bool,
    },
    /// What is wrong with network boot, and what to do about it
    #[command(after_help = "Examples:
  rackwright doctor
  rackwright doctor --area pxe
  rackwright doctor -o json

Looks at the listeners, the boot files, every provisioning network and the last
boots of every machine; the worst comes first. The exit code is 9 when something
is wrong for certain or likely so. One machine step by step: node why.")]
    Doctor(DoctorArgs),
    /// Servers: see, approve, plan, rebuild
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright node list
  rackwright node show n1"
    )]
    Node(NodeCommand),
    /// The provisioning network: who is known there, with which address
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright network leases
  rackwright network release 10.77.0.104
  rackwright network reserve 52:54:00:12:34:56 10.77.0.21"
    )]
    Network(NetworkCommand),
    /// Plans: what would be written, and erased
    #[command(after_help = "Examples:
  rackwright plan
  rackwright plan --exit-code
  rackwright plan show p-8f31

Without a command: every plan that waits to be applied, in full. Plans are made
by node plan and node rebuild.")]
    Plan(PlanArgs),
    /// Carry out a plan; erases the disk that the plan names
    #[command(after_help = plan::APPLY_EXAMPLES)]
    Apply(ApplyArgs),
    /// Rebuild many nodes, a few at a time
    #[command(after_help = rollout::REBUILD_EXAMPLES)]
    Rebuild(RebuildArgs),
    /// Rebuilds of many nodes: how far, why not further
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright rollout list
  rackwright rollout watch r-8f310a2c"
    )]
    Rollout(RolloutCommand),
    /// Images in the store
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright image list
  rackwright image import compute.rwimage"
    )]
    Image(ImageCommand),
    /// Units on the nodes and on the controller
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright service list
  rackwright service restart n1 chrony.service"
    )]
    Service(ServiceCommand),
    /// Work in flight
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright job list
  rackwright job watch 5f3a2b1c9d8e7f60"
    )]
    Job(JobCommand),
    /// What happened
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright event list --limit 50
  rackwright event watch --node n1"
    )]
    Event(EventCommand),
    /// What nodes trust: the site CA
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright key ca show
  rackwright key ca rotate"
    )]
    Key(KeyCommand),
    /// The controller's clock, by which certificates are issued
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright clock accept
  rackwright clock accept -o json"
    )]
    Clock(ClockCommand),
    /// The cloud that the rack is: its services, and the way in
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright cloud status
  rackwright cloud openrc"
    )]
    Cloud(CloudCommand),
    /// Backups, and the recovery kit that opens them
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright backup key
  rackwright backup create /mnt/usb/lab.rwbackup
  rackwright backup verify /mnt/usb/lab.rwbackup"
    )]
    Backup(BackupCommand),
    /// Be the controller that a backup was made of
    #[command(after_help = "Examples:
  rackwright restore lab.rwbackup --kit -
  rackwright restore lab.rwbackup --kit kit.txt --root /tmp/rack
  rackwright restore lab.rwbackup --kit kit.txt --confirm lab

Needs no daemon, and refuses while one runs. State that is here already is only
replaced when the site's name is given. Then start the daemon: nodes go on by
themselves, and no longer obey the old controller.")]
    Restore(RestoreArgs),
    /// The rack as Ansible wants it
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright ansible inventory
  rackwright ansible inventory --host n1"
    )]
    Ansible(AnsibleCommand),
    /// Figures for monitoring
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright metrics show
  rackwright metrics show -o json"
    )]
    Metrics(MetricsCommand),
    /// Telling somebody what is wrong
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright notify test
  rackwright notify test -o json"
    )]
    Notify(NotifyCommand),
    /// For somebody who helps
    #[command(
        subcommand,
        after_help = "Examples:
  rackwright support bundle rack.tar.gz
  rackwright support bundle rack.tar.gz -o json"
    )]
    Support(SupportCommand),
    /// Make this machine the controller: questions, or a file of answers
    #[command(after_help = setup::EXAMPLES)]
    Setup(SetupArgs),
    /// What a code of set-up means, why it matters and what to do
    #[command(after_help = explain::EXAMPLES)]
    Explain(ExplainArgs),
    /// What a shell completes these commands with
    #[command(after_help = reference::COMPLETIONS)]
    Completion(CompletionArgs),
    /// All of this help as manual pages
    #[command(after_help = reference::PAGES)]
    Man(ManArgs),
    /// Put this live controller on a disk, so that it stays
    #[command(after_help = install::EXAMPLES)]
    Install(InstallArgs),
    /// A newer system for this controller, and back if it is not well
    #[command(subcommand, after_help = install::UPDATES)]
    Update(UpdateCommand),
    /// Be the daemon (started by rackwright.service)
    #[command(after_help = "Examples:
  rackwright serve
  rackwright serve --root /tmp/rack")]
    Serve,
}

/// Called by this name, the program is an Ansible inventory script: Ansible gives it `--list` and nothing else.
const INVENTORY_NAME: &str = "rackwright-inventory";

/// Reads arguments; ends the process where they are wrong or ask for help.
pub(crate) fn read(arguments: impl IntoIterator<Item = OsString>) -> Cli {
    let mut arguments = arguments.into_iter().collect::<Vec<_>>();
    let name = arguments.first().and_then(|own| Path::new(own).file_name()).map(OsString::from);
    if name.is_some_and(|name| name == INVENTORY_NAME) {
        arguments.splice(..1, ["rackwright", "ansible", "inventory"].map(OsString::from));
    }
    Cli::parse_from(arguments)
}

/// `30m`, `90s`, `1h30m`.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "a time such as 90s, 30m or 1h30m".to_owned())
}

#[cfg(test)]
mod tests;

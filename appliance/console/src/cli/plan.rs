//! `rackwright plan …` and `rackwright apply`

use std::time::Duration;

use clap::{Args, Subcommand};

use super::size::SizeArgs;

/// Without a verb: what would be done now.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct PlanArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<PlanCommand>,
    /// End with 10 when a plan waits to be applied
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PlanCommand {
    /// All plans
    #[command(
        alias = "ls",
        after_help = "Examples:
  rackwright plan list
  rackwright plan list -o json"
    )]
    List,
    /// One plan: what is written, erased, kept
    #[command(after_help = "Examples:
  rackwright plan show p-8f31
  rackwright plan show p-8f31 -o json")]
    Show {
        /// The plan's id
        plan: String,
    },
    /// How many servers a cloud needs, or what a rack lacks for it
    #[command(after_help = "Examples:
  rackwright plan size --vms 200 --server 16c32t,128G,2x960G,2x10G
  rackwright plan size --vms 40 --vcpus 4 --ram 8G --disk 20G --from n1
  rackwright plan size --vms 200 --check

A server is written as cores and threads, memory, disks, NICs; 2x480G+4T are
three disks. Memory and disks of instances are in units of 1024, a server's
disks as they are sold. Every sum is shown, and what decides. With --check the
nodes that are ready or active are counted, and the exit code is 9 when
something is missing; so it is when no shape of the rack can be built.")]
    Size(Box<SizeArgs>),
}

pub(crate) const APPLY_EXAMPLES: &str = "Examples:
  rackwright apply p-8f31
  rackwright apply p-8f31 --confirm n1 --no-wait

The disk is erased: on a terminal you type the node's name, a script gives
--confirm. Ctrl-C stops watching, never the job. A compute node of a cloud is
proven by an instance at the end, not with -o json or --no-wait.";

#[derive(Args, Debug)]
pub(crate) struct ApplyArgs {
    /// The plan's id
    pub(crate) plan: String,
    #[command(flatten)]
    pub(crate) word: Word,
    #[command(flatten)]
    pub(crate) course: Course,
}

/// How far to go with what was applied.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Course {
    #[command(flatten)]
    pub(crate) waiting: Waiting,
    /// Start no instance on a rebuilt compute node
    #[arg(long)]
    pub(crate) no_proof: bool,
}

/// What is said before a node is taken down.
#[derive(Args, Clone, Debug)]
pub(crate) struct Word {
    /// The node's name, instead of typing it
    #[arg(long, value_name = "NAME")]
    pub(crate) confirm: Option<String>,
    /// End virtual machines that run on it
    #[arg(long)]
    pub(crate) force: bool,
}

/// How long to stay with a job.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Waiting {
    /// Print the job's id and leave it to itself
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Stop watching then, with exit code 7
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = super::span)]
    pub(crate) timeout: Duration,
}

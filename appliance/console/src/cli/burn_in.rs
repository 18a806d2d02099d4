//! `rackwright node test …`

use std::time::Duration;

use clap::{Args, Subcommand};

pub(crate) const TEST_EXAMPLES: &str = "Examples:
  rackwright node test n1
  rackwright node test n1 n2 n3 --for 12h --no-wait
  rackwright node test n4 --cpu --memory --for 30m
  rackwright node test show n1

Only servers that are ready in the ramdisk. Cores compute what is known, memory
is filled and read back, disks are read, the network is measured: all four, or
those that are named. No byte is ever written to a disk. An error that was
counted fails a server; being slower than others of its make is shown, and fails
nobody. Ctrl-C leaves the test to itself.";

#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct TestArgs {
    #[command(subcommand)]
    pub(crate) verb: Option<TestCommand>,
    /// Names, ids, MACs or codes
    #[arg(required = true, value_name = "NODE")]
    pub(crate) nodes: Vec<String>,
    /// Test processors
    #[arg(long)]
    pub(crate) cpu: bool,
    /// Test memory
    #[arg(long)]
    pub(crate) memory: bool,
    /// Read disks; nothing is written
    #[arg(long)]
    pub(crate) disk: bool,
    /// Measure the way to the controller
    #[arg(long)]
    pub(crate) network: bool,
    /// How long, all together: 90s, 30m, 12h
    #[arg(long = "for", value_name = "TIME", default_value = "10m", value_parser = super::span)]
    pub(crate) time: Duration,
    /// Begin, print the jobs' ids, and return
    #[arg(long)]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TestCommand {
    /// What the tests of a server have found
    #[command(after_help = "Examples:
  rackwright node test show n1
  rackwright node test show n1 -o json

The newest one in full, and when the others were. What is far from servers of
the same make and disks of the same model is named, with their median.")]
    Show {
        /// Name, id, MAC or code
        node: String,
    },
    /// Stop tests, or let a server be ready whose test failed
    #[command(after_help = "Examples:
  rackwright node test stop n1
  rackwright node test stop n1 n2

What was found so far is kept: rackwright node test show n1")]
    Stop {
        /// Names, ids, MACs or codes
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
}

//! `rackwright rebuild` and `rackwright rollout …`

use std::time::Duration;

use clap::{Args, Subcommand};

pub(crate) const REBUILD_EXAMPLES: &str = "Examples:
  rackwright rebuild --role compute --canary n3
  rackwright rebuild --role compute --max-unavailable 2 --stop-after 2
  rackwright rebuild n1 n2 n3 --image base --plan-only
  rackwright rebuild --role compute --confirm '8 compute' --no-wait

Each node's plan is made and shown first; then you type how many nodes, and of
what. The canaries go first, one by one, and when one fails nothing else is
touched. Never more than --max-unavailable nodes of the role are down, those
included that are down for another reason. Ctrl-C stops watching, never the
rollout: rackwright rollout stop.";

/// Whom, and how carefully.
#[derive(Args, Debug)]
pub(crate) struct RebuildArgs {
    /// These nodes: name, id or MAC
    #[arg(required_unless_present = "role", conflicts_with = "role")]
    pub(crate) nodes: Vec<String>,
    /// Every node with this role
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// With this image, else what fits each
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// These first, one by one, before any other
    #[arg(long, value_name = "NODE", value_delimiter = ',')]
    pub(crate) canary: Vec<String>,
    /// So many may be down at a time
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_unavailable: u32,
    /// Begin no other after so many fail
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) stop_after: u32,
    /// End virtual machines; else wait for them to go
    #[arg(long)]
    pub(crate) force: bool,
    /// Make the plans and show them; begin nothing
    #[arg(long, conflicts_with = "confirm")]
    pub(crate) plan_only: bool,
    #[command(flatten)]
    pub(crate) begin: Start,
}

/// The word, and how long to stay.
#[derive(Args, Clone, Debug)]
pub(crate) struct Start {
    /// How many, and of what, instead of typing it
    #[arg(long, value_name = "'N GROUP'")]
    pub(crate) confirm: Option<String>,
    /// Print the rollout's id and leave it to itself
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Stop watching then, with exit code 7
    #[arg(long, value_name = "TIME", value_parser = super::span)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RolloutCommand {
    /// All rollouts
    #[command(
        alias = "ls",
        after_help = "Examples:
  rackwright rollout list
  rackwright rollout list -o json"
    )]
    List,
    /// One rollout: each of its nodes, and what it waits for
    #[command(after_help = "Examples:
  rackwright rollout show r-8f310a2c
  rackwright rollout show r-8f31 -o json")]
    Show {
        /// Its id, or the start of it
        rollout: String,
    },
    /// Begin one that was planned; erases disks
    #[command(after_help = "Examples:
  rackwright rollout begin r-8f310a2c
  rackwright rollout begin r-8f310a2c --confirm '8 compute' --no-wait")]
    Begin {
        /// Its id, or the start of it
        rollout: String,
        #[command(flatten)]
        begin: Start,
    },
    /// Follow it until it ends; Ctrl-C stops watching only
    #[command(after_help = "Examples:
  rackwright rollout watch r-8f310a2c
  rackwright rollout watch r-8f31 --timeout 2h -o json

The exit code is 8 when it has stopped, or a node did not come through.")]
    Watch {
        /// Its id, or the start of it
        rollout: String,
        /// Stop watching then, with exit code 7
        #[arg(long, value_name = "TIME", value_parser = super::span)]
        timeout: Option<Duration>,
    },
    /// Begin no other node for now; those under way go on
    #[command(after_help = "Examples:
  rackwright rollout stop r-8f310a2c
  rackwright rollout stop r-8f31 -o json")]
    Stop {
        /// Its id, or the start of it
        rollout: String,
    },
    /// Go on with one that has stopped
    #[command(after_help = "Examples:
  rackwright rollout resume r-8f310a2c
  rackwright rollout resume r-8f31 -o json

The failures that it has stopped for are taken as seen, until they are tried
again. What has failed since stops it once more.")]
    Resume {
        /// Its id, or the start of it
        rollout: String,
    },
    /// Never go on with it; those under way go on
    #[command(after_help = "Examples:
  rackwright rollout cancel r-8f310a2c
  rackwright rollout cancel r-8f31 -o json")]
    Cancel {
        /// Its id, or the start of it
        rollout: String,
    },
}

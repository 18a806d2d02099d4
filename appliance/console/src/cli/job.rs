//! `rackwright job …` and `rackwright event …`

use std::time::Duration;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum JobCommand {
    /// All jobs
    #[command(
        alias = "ls",
        after_help = "Examples:
  rackwright job list
  rackwright job list -o json"
    )]
    List,
    /// One job in full
    #[command(after_help = "Examples:
  rackwright job show 5f3a2b1c9d8e7f60
  rackwright job show 5f3a2b1c9d8e7f60 -o json")]
    Show {
        /// The job's id, or the start of it
        job: String,
    },
    /// Give up taking an image; the node goes back
    #[command(after_help = "Examples:
  rackwright job cancel 5f3a2b1c9d8e7f60
  rackwright job cancel 5f3a -o json

Only a job that takes an image: it has changed nothing. A disk that is being
written is of no use half-written; plan the node again instead.")]
    Cancel {
        /// The job's id, or the start of it
        job: String,
    },
    /// Follow jobs until they end; Ctrl-C stops watching only
    #[command(after_help = "Examples:
  rackwright job watch
  rackwright job watch n1 n2 n3
  rackwright job watch 5f3a2b1c9d8e7f60 --timeout 10m -o json

Without names, all jobs that run, also those that begin meanwhile. Several are
shown with a bar for each node, the way its image comes, and, for a node that
keeps the others waiting, the reason.")]
    Watch {
        /// Jobs, by id or the start of it, or nodes, by name
        names: Vec<String>,
        /// Stop watching then, with exit code 7
        #[arg(long, value_name = "TIME", value_parser = super::span)]
        timeout: Option<Duration>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// The newest events, oldest of them first
    #[command(
        alias = "ls",
        after_help = "Examples:
  rackwright event list
  rackwright event list --node n1 --limit 100
  rackwright event list --journal

With --journal: what operators asked for, what was refused and why, and what
came of it. That is never shortened, and event verify checks it."
    )]
    List {
        /// From the journal: who did what, and what came of it
        #[arg(long)]
        journal: bool,
        /// How many
        #[arg(long, short = 'n', default_value_t = 30)]
        limit: u32,
        /// Only of this one: name, id, MAC or code
        #[arg(long)]
        node: Option<String>,
    },
    /// Whether the journal is what was written
    #[command(after_help = "Examples:
  rackwright event verify
  rackwright event verify -o json

Walks the chain from its first record and compares it with every signed head.
The exit code is 9 when a record was changed, deleted, put in or moved, or the
end was cut off; the first one is named.")]
    Verify,
    /// The newest signed head of the journal, to be kept elsewhere
    #[command(after_help = "Examples:
  rackwright event head
  rackwright event head -o json

Whoever has this line on another machine or on paper can show later that the
journal had come that far.")]
    Head,
    /// Events as they happen
    #[command(after_help = "Examples:
  rackwright event watch
  rackwright event watch --node n1 -o json")]
    Watch {
        /// How many old ones first
        #[arg(long, short = 'n', default_value_t = 5)]
        limit: u32,
        /// Only of this one: name, id, MAC or code
        #[arg(long)]
        node: Option<String>,
    },
}

//! `rackwright network …`

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

const CHECK_EXAMPLES: &str = "Examples:
  rackwright network check
  rackwright network check --role compute --no-throughput
  rackwright network check --nodes n1,n2,n7 --timeout 5m -o json
  rackwright network check eno2

Every node sends every other packets of all sizes, asks whether somebody else
has its addresses, and hears which switch it is at; then pairs transfer as much
as goes for a second each way, no card in two at once, and not while images are
sent. It takes some 5 s, 15 s more when a node does not answer, and with
transfers 2 to 3 s for each node. Nothing is changed. Exit code 9 when something
is wrong. Ctrl-C stops watching, never the check: rackwright network stop.

With an interface of the controller: only who else gives addresses there.";

/// Whom, and how.
#[derive(Args, Debug)]
pub(crate) struct CheckArgs {
    /// Only look for other DHCP servers there
    #[arg(conflicts_with_all = ["nodes", "role", "no_throughput", "transfer_seconds", "beside_jobs", "no_wait", "timeout"])]
    pub(crate) interface: Option<String>,
    /// These nodes: name, id or MAC
    #[arg(long, value_name = "NODE", value_delimiter = ',', conflicts_with = "role")]
    pub(crate) nodes: Vec<String>,
    /// Every node with this role
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,
    /// No transfers
    #[arg(long)]
    pub(crate) no_throughput: bool,
    /// How long each transfer lasts, 1 to 10
    #[arg(long, value_name = "SECONDS", conflicts_with = "no_throughput")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=10))]
    pub(crate) transfer_seconds: Option<u32>,
    /// Transfers even while images are sent
    #[arg(long, conflicts_with = "no_throughput")]
    pub(crate) beside_jobs: bool,
    /// Print the check's id and leave it to itself
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Stop watching then, with exit code 7
    #[arg(long, value_name = "TIME", value_parser = super::span)]
    pub(crate) timeout: Option<Duration>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// The provisioning networks, and other DHCP servers on them
    #[command(after_help = "Examples:
  rackwright network list
  rackwright network list -o json")]
    List,
    /// Check the network between the nodes
    #[command(after_help = CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// The last check: what was tried, what is wrong, what to do
    #[command(after_help = "Examples:
  rackwright network show
  rackwright network show -o json

Exit code 9 when something was wrong; 4 when it was stopped.")]
    Show,
    /// End the check that runs
    #[command(after_help = "Examples:
  rackwright network stop
  rackwright network stop -o json")]
    Stop,
    /// Which link of which node is at which port of which switch
    #[command(after_help = "Examples:
  rackwright network map
  rackwright network map -o json

As switches say by LLDP, every 30 s, and nodes tell: no check is needed. A dash
is a port that says nothing.")]
    Map,
    /// Who has which address on the provisioning network
    #[command(after_help = "Examples:
  rackwright network leases
  rackwright network leases -o json")]
    Leases,
    /// Free the address of what is no node, or end a quarantine
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
    /// Servers known before they come, and fixed addresses
    #[command(after_help = "Examples:
  rackwright network reservations
  rackwright network reservations -o json")]
    Reservations,
    /// Make a server known before it comes
    #[command(after_help = "Examples:
  rackwright network reserve 52:54:00:12:34:56
  rackwright network reserve 52:54:00:12:34:56 10.77.0.21

With dhcp = \"known\" in the configuration, only servers that were approved or
reserved are answered. Without an address it gets the next that is free.")]
    Reserve {
        /// Hardware address of the NIC that boots
        mac: String,
        /// The IPv4 address it shall have
        address: Option<Ipv4Addr>,
    },
    /// Reserve for all servers of a list (CSV): all of them or none
    #[command(after_help = "Examples:
  rackwright network import servers.csv
  rackwright network import servers.csv --dry-run
  printf '52:54:00:12:34:56,10.77.0.21\\n' | rackwright network import -

One server a line: hardware address, then its address or nothing. With headings
(mac, ip) the columns may stand anywhere; others are left alone. What a server
has reserved already is replaced.")]
    Import {
        /// The file; - is standard input
        file: PathBuf,
        /// Only say what would be wrong
        #[arg(long)]
        dry_run: bool,
    },
    /// Take back what was reserved or fixed for a NIC
    #[command(after_help = "Examples:
  rackwright network unreserve 52:54:00:12:34:56
  rackwright network unreserve 52-54-00-12-34-56

An address that the server uses stays its own; one it never took is free again.")]
    Unreserve {
        /// Hardware address
        mac: String,
    },
}

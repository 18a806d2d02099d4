//! `rackwright network …`

use std::net::Ipv4Addr;
use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// The provisioning networks, and other DHCP servers on them
    #[command(after_help = "Examples:
  rackwright network list
  rackwright network list -o json")]
    List,
    /// Look for other DHCP servers now
    #[command(after_help = "Examples:
  rackwright network check
  rackwright network check eno2

Asks on every network, or on one, who else gives addresses there, and waits for
the answers. Exit code 9 when somebody does and it is in the way.")]
    Check {
        /// One interface; all of them otherwise
        interface: Option<String>,
    },
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

//! `rackwright network …`

use std::net::Ipv4Addr;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum NetworkCommand {
    /// Who has which address on the provisioning network
    #[command(after_help = "Examples:
  rackwright network leases
  rackwright network leases -o json")]
    Leases,
    /// Give back the address of a machine that is no node
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

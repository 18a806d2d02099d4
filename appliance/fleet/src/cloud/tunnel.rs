//! The network of tunnels: what instances say to each other, from node to node.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use protocol::HardwareAddress;

/// A network that has nothing in it but tunnels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Its network address and prefix length; at least as large as the provisioning network.
    pub subnet: Ipv4Net,
    /// The cards of nodes that are plugged into it; empty: the other one of a node that has two.
    pub ports: BTreeSet<HardwareAddress>,
}

impl Tunnel {
    /// A node's address here: it has the number that it has in its provisioning network.
    pub(super) fn address(&self, node: Ipv4Addr, provisioned: Ipv4Net) -> Ipv4Net {
        let number = u32::from(node) & u32::from(provisioned.hostmask()) & u32::from(self.subnet.hostmask());
        let address = Ipv4Addr::from(u32::from(self.subnet.network()) | number);
        Ipv4Net::new(address, self.subnet.prefix_len()).unwrap_or(self.subnet)
    }
}

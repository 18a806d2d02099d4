//! Whose NIC is whose, for questions that come by the thousand: the fleet answers them by looking at every node.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use fleet::{Fleet, Node, State};
use protocol::{HardwareAddress, NodeId};
use pxe::Mac;
use pxe::dhcp::Leases;

use super::hardware;

/// An index of a fleet's Ethernet NICs; made anew when a node has changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Nics {
    owners: BTreeMap<Mac, NodeId>,
    /// NICs of servers that an operator has let in.
    let_in: BTreeSet<Mac>,
}

impl Nics {
    pub(super) fn of(fleet: &Fleet) -> Self {
        let mac = |address: &HardwareAddress| address.as_str().parse::<Mac>().ok();
        let mut nics = Self::default();
        // As Fleet::owner decides: the NIC that a server boots by counts first.
        // What is retired has no claim to an address any more.
        let here = || fleet.nodes.values().filter(|node| node.state != State::Retired);
        for node in here() {
            if let Some(mac) = mac(&node.boot.mac) {
                nics.owners.entry(mac).or_insert(node.id);
            }
        }
        for node in here() {
            for mac in node.macs().filter_map(mac) {
                nics.owners.entry(mac).or_insert(node.id);
                if node.is_let_in() {
                    nics.let_in.insert(mac);
                }
            }
        }
        nics
    }

    /// Whether a node's change leaves the index as it is.
    pub(super) fn same(before: &Node, after: &Node) -> bool {
        before.is_let_in() == after.is_let_in() && before.macs().eq(after.macs())
    }

    /// The node that has this NIC.
    pub(super) fn owner(&self, mac: Mac) -> Option<NodeId> {
        self.owners.get(&mac).copied()
    }

    /// Whether an operator has let the server with this NIC in.
    pub(super) fn knows(&self, mac: Mac) -> bool {
        self.let_in.contains(&mac)
    }

    /// The address each NIC of a node has: one that was set for it counts from when it has taken it.
    pub(super) fn addresses(&self, leases: &Leases) -> BTreeMap<HardwareAddress, Ipv4Addr> {
        let address = |mac: &Mac| Some((hardware(*mac)?, leases.get(*mac)?.in_use()));
        self.owners.keys().filter_map(address).collect()
    }
}

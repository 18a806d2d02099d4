//! The network outside: what instances reach through their routers, and where their floating addresses come from.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use protocol::HardwareAddress;

use crate::Node;

/// What the placeholder of a port says where there is none: no card has the address that is everybody's.
const NO_PORT: &str = "ff:ff:ff:ff:ff:ff";

/// The network outside, as neutron is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Its network address and prefix length.
    pub subnet: Ipv4Net,
    /// Its router: the way on.
    pub gateway: Ipv4Addr,
    /// The lowest address that virtual routers and instances are given.
    pub first: Ipv4Addr,
    /// The highest one.
    pub last: Ipv4Addr,
    /// The VLAN that it is on the wire; none: untagged.
    pub vlan: Option<u16>,
    /// The cards of network nodes that are plugged into it; empty: the other one of a node that has two.
    pub ports: BTreeSet<HardwareAddress>,
}

impl External {
    /// What `${cloud.external.NAME}` stands for; none: there is no such name.
    pub(crate) fn value(external: Option<&Self>, name: &str) -> Option<String> {
        let text = |of: &dyn Fn(&Self) -> String| external.map(of).unwrap_or_default();
        Some(match name {
            "subnet" => text(&|one| one.subnet.to_string()),
            "gateway" => text(&|one| one.gateway.to_string()),
            "first" => text(&|one| one.first.to_string()),
            "last" => text(&|one| one.last.to_string()),
            "vlan" => text(&|one| one.vlan.map(|vlan| vlan.to_string()).unwrap_or_default()),
            _ => return None,
        })
    }

    /// The card of this node that is in the network, by its address.
    ///
    /// # Errors
    /// It has none, or nobody said which, for a person.
    pub(crate) fn port(external: Option<&Self>, node: &Node) -> Result<String, String> {
        let Some(external) = external else { return Ok(NO_PORT.to_owned()) };
        let others =
            node.inventory.nics.iter().map(|nic| nic.mac.clone()).filter(|mac| *mac != node.boot.mac);
        let others = others.collect::<BTreeSet<_>>();
        let named = others.intersection(&external.ports).collect::<Vec<_>>();
        let cards = if external.ports.is_empty() { others.iter().collect() } else { named };
        match cards.as_slice() {
            [one] => Ok(one.to_string()),
            [] => Err(format!(
                "a card for the network outside: ports in [cloud.external] of rackwright.toml names none of {}'s{}",
                node.name,
                listed(&others)
            )),
            several => Err(format!(
                "one card for the network outside, and {} has {}: name one of them under ports in [cloud.external] of \
                 rackwright.toml: {}",
                node.name,
                several.len(),
                words(several.iter().copied())
            )),
        }
    }
}

fn listed(others: &BTreeSet<HardwareAddress>) -> String {
    if others.is_empty() {
        ", which has only the one that it booted from".to_owned()
    } else {
        format!(": {}", words(others))
    }
}

fn words<'a>(cards: impl IntoIterator<Item = &'a HardwareAddress>) -> String {
    cards.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

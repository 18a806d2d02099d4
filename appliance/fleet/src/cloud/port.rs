//! Which card of a node is in which network of the cloud.

use std::collections::BTreeSet;

use protocol::HardwareAddress;

use super::Cloud;
use crate::Node;

/// What stands for a card where there is none to name: no card has the address that is everybody's.
pub(super) const NO_PORT: &str = "ff:ff:ff:ff:ff:ff";

/// A network that has cards of nodes in it, beside the one that they boot from.
struct Network<'a> {
    /// What it is for, in a sentence.
    what: &'static str,
    /// Its table in the configuration.
    table: &'static str,
    /// The cards that the operator has named.
    ports: &'a BTreeSet<HardwareAddress>,
}

/// The card that is in the network outside.
pub(super) fn external(cloud: &Cloud, node: &Node) -> Result<String, String> {
    let Some(external) = &cloud.external else { return Ok(NO_PORT.to_owned()) };
    let taken = cloud.tunnel.iter().flat_map(|tunnel| &tunnel.ports);
    Network { what: "the network outside", table: "[cloud.external]", ports: &external.ports }
        .card(node, &taken.collect())
}

/// The card that is in the network of tunnels.
pub(super) fn tunnel(cloud: &Cloud, node: &Node) -> Result<String, String> {
    let Some(tunnel) = &cloud.tunnel else { return Ok(NO_PORT.to_owned()) };
    let taken = cloud.external.iter().flat_map(|external| &external.ports);
    Network { what: "tunnels", table: "[cloud.tunnel]", ports: &tunnel.ports }.card(node, &taken.collect())
}

impl Network<'_> {
    /// The card of this node that is named, or the only one that is neither another network's nor the one that it boots from.
    fn card(&self, node: &Node, taken: &BTreeSet<&HardwareAddress>) -> Result<String, String> {
        let others = node.inventory.nics.iter().map(|nic| &nic.mac);
        let others = others.filter(|mac| **mac != node.boot.mac).collect::<BTreeSet<_>>();
        let named = others.iter().copied().filter(|mac| self.ports.contains(*mac)).collect::<Vec<_>>();
        let free = others.iter().copied().filter(|mac| !taken.contains(*mac)).collect();
        let cards: Vec<&HardwareAddress> = if self.ports.is_empty() { free } else { named };
        let Self { what, table, .. } = self;
        match cards.as_slice() {
            [one] => Ok(one.to_string()),
            [] => Err(format!(
                "a card for {what}: {table} in rackwright.toml has none of {}'s{}",
                node.name,
                listed(&others)
            )),
            several => Err(format!(
                "one card for {what}, and {} has {}: name one of them under ports in {table} of rackwright.toml: {}",
                node.name,
                several.len(),
                words(several)
            )),
        }
    }
}

fn listed(others: &BTreeSet<&HardwareAddress>) -> String {
    if others.is_empty() {
        ", which has only the one that it booted from".to_owned()
    } else {
        format!(": {}", words(others))
    }
}

fn words<'a>(cards: impl IntoIterator<Item = &'a &'a HardwareAddress>) -> String {
    cards.into_iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

//! Which node a hello may come from, by hardware alone. It only finds the record: nobody is let in by it.
//!
//! A NIC tells more the more it is the server's own: the one that boots comes before the others, and those that many
//! servers of one make have alike (a management controller's USB network card) tell nothing.

use std::collections::BTreeSet;

use protocol::{HardwareAddress, Hello, Inventory, Nic, Smbios};

use crate::{Fleet, Node, State};

/// Drivers of network cards on USB: of management controllers with one address on every board, and of adapters that
/// are carried from server to server.
const CARRIED: [&str; 9] = [
    "asix",
    "ax88179_178a",
    "cdc_eem",
    "cdc_ether",
    "cdc_ncm",
    "cdc_subset",
    "r8152",
    "rndis_host",
    "smsc95xx",
];

/// What makers write where there is no serial number or UUID.
const NONSENSE: [&str; 12] = [
    "0123456789",
    "03000200-0400-0500-0006-000700080009",
    "123456789",
    "chassis serial number",
    "default string",
    "n/a",
    "none",
    "not applicable",
    "not specified",
    "serial",
    "system serial number",
    "to be filled by o.e.m.",
];

/// Nodes that this hello may come from.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Match<'a> {
    /// None that is known.
    Nobody,
    /// This one.
    One(&'a Node),
    /// This one by its NIC, but the board is another.
    OtherBoard(&'a Node),
    /// This one by a NIC that does not boot, and no board to compare.
    Unsure(&'a Node),
    /// More than one.
    Several(&'a Node, &'a Node),
}

/// Looks for the node that this hello may come from.
pub(crate) fn find<'a>(fleet: &'a Fleet, hello: &Hello) -> Match<'a> {
    let own = addresses(&hello.boot.mac, &hello.inventory);
    let boots = |node: &&Node| {
        own.contains(&node.boot.mac) || addresses(&node.boot.mac, &node.inventory).contains(&hello.boot.mac)
    };
    match pair(fleet, boots) {
        (Some(one), Some(other)) => return Match::Several(one, other),
        (Some(node), None) if boards(node, hello) == Boards::Differ => return Match::OtherBoard(node),
        (Some(node), None) => return Match::One(node),
        (None, _) => {}
    }
    // Another NIC boots: the same server only if its board says so, and certainly not if it says otherwise.
    let shares = |node: &&Node| {
        !own.is_disjoint(&addresses(&node.boot.mac, &node.inventory)) && boards(node, hello) != Boards::Differ
    };
    match pair(fleet, shares) {
        (Some(one), Some(other)) => Match::Several(one, other),
        (Some(node), None) if boards(node, hello) == Boards::Same => Match::One(node),
        (Some(node), None) => Match::Unsure(node),
        (None, _) => Match::Nobody,
    }
}

/// The first two that fit; those that were sent away or are retired count only when no other does.
fn pair(fleet: &Fleet, fits: impl Fn(&&Node) -> bool) -> (Option<&Node>, Option<&Node>) {
    let gone = |node: &&Node| matches!(node.state, State::Rejected { .. } | State::Retired);
    let mut wanted = fleet.nodes.values().filter(|node| !gone(node)).filter(&fits);
    match wanted.next() {
        Some(first) => (Some(first), wanted.next()),
        None => (fleet.nodes.values().find(|node| fits(node)), None),
    }
}

/// The addresses that belong to the server itself: the NIC that boots, whatever it is, and all that stay in it.
fn addresses<'a>(boot: &'a HardwareAddress, inventory: &'a Inventory) -> BTreeSet<&'a HardwareAddress> {
    let stays = |nic: &&Nic| !CARRIED.contains(&nic.driver.as_str());
    inventory.nics.iter().filter(stays).map(|nic| &nic.mac).chain([boot]).collect()
}

/// What a node says that it is made of, as far as it is believed: a NIC that another admitted server has is that server's,
/// until that one is seen without it. Otherwise one could say that it has another's, and the other would be held for a
/// person at its next boot. And the first such NIC with its owner, when it was not said before.
pub(crate) fn believed<'a>(
    fleet: &'a Fleet,
    node: &Node,
    mut inventory: Inventory,
) -> (Inventory, Option<(HardwareAddress, &'a Node)>) {
    let others = || fleet.nodes.values().filter(|other| other.id != node.id && other.is_let_in());
    let owner =
        |nic: &Nic| others().find(|other| addresses(&other.boot.mac, &other.inventory).contains(&nic.mac));
    let had =
        |nic: &Nic| nic.mac == node.boot.mac || node.inventory.nics.iter().any(|own| own.mac == nic.mac);
    let taken = inventory.nics.iter().filter(|nic| !had(nic));
    let taken = taken.filter_map(|nic| Some((nic.mac.clone(), owner(nic)?))).collect::<Vec<_>>();
    inventory.nics.retain(|nic| taken.iter().all(|(mac, _)| *mac != nic.mac));
    (inventory, taken.into_iter().next())
}

/// Another node with a board of the same UUID or serial number, and no NIC in common: it is another server all the same.
pub(crate) fn board_twin<'a>(fleet: &'a Fleet, hello: &Hello) -> Option<&'a Node> {
    let gone = |node: &&Node| matches!(node.state, State::Rejected { .. } | State::Retired);
    let mut others = fleet.nodes.values().filter(|node| !gone(node));
    others.find(|node| boards(node, hello) == Boards::Same)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Boards {
    Same,
    Differ,
    Unknown,
}

fn boards(node: &Node, hello: &Hello) -> Boards {
    let (known, new) = (&node.inventory.smbios, &hello.inventory.smbios);
    let fields: [fn(&Smbios) -> &str; 2] = [|board| &board.uuid, |board| &board.serial];
    let told = fields.iter().find_map(|field| Some((telling(field(known))?, telling(field(new))?)));
    match told {
        Some((known, new)) if known == new => Boards::Same,
        Some(_) => Boards::Differ,
        None => Boards::Unknown,
    }
}

/// A serial number or UUID that tells one board from another.
fn telling(text: &str) -> Option<String> {
    let text = text.trim().to_ascii_lowercase();
    let digits = || text.chars().filter(char::is_ascii_alphanumeric);
    let varies = digits().any(|digit| Some(digit) != digits().next());
    (varies && !NONSENSE.contains(&text.as_str())).then_some(text)
}

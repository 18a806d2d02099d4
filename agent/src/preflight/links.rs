//! Our links: every card, and whatever has an address and a card under it, as bonds and VLANs have.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;

use protocol::{ADDRESSES_MAX, LINKS_MAX, Link, LinkAddress};

use super::ears::Neighbours;
use crate::inventory::read;

/// Bonds of VLANs of bridges: nobody builds higher.
const DEEPEST: u32 = 4;
const CLASS: &str = "sys/class/net";

/// All of them. `own` is the address that the controller is reached from: its link is told of whatever it is.
pub(super) fn take(root: &Path, own: Option<Ipv4Addr>, neighbours: &Neighbours) -> Vec<Link> {
    let addresses = addresses();
    let is_own = |name: &String| {
        let of_it = addresses.get(name).map(Vec::as_slice).unwrap_or_default();
        own.is_some_and(|own| of_it.iter().any(|one| one.address == own))
    };
    let names = read::names(root, CLASS);
    let names = names.iter().filter(|name| {
        is_card(root, name) || is_own(name) || (addresses.contains_key(*name) && is_wire(root, name, DEEPEST))
    });
    let links = names.filter_map(|name| link(root, name, &addresses, neighbours));
    links.take(LINKS_MAX).collect()
}

/// The names of cards, at which LLDP is listened for; where there are none, of all but the loopback: a container's.
pub(super) fn wires(root: &Path) -> Vec<String> {
    let names = read::names(root, CLASS);
    let cards = names.iter().filter(|name| is_card(root, name)).cloned().collect::<Vec<_>>();
    if cards.is_empty() {
        names.into_iter().filter(|name| name != "lo").take(LINKS_MAX).collect()
    } else {
        cards
    }
}

fn link(
    root: &Path,
    name: &str,
    addresses: &BTreeMap<String, Vec<LinkAddress>>,
    neighbours: &Neighbours,
) -> Option<Link> {
    let at = |file: &str| format!("{CLASS}/{name}/{file}");
    let speed = read::number::<u32>(root, &at("speed"));
    Some(Link {
        name: crate::text::name(name),
        mac: read::text(root, &at("address")).parse().ok()?,
        carrier: read::text(root, &at("carrier")) == "1",
        mtu: read::number(root, &at("mtu"))?,
        // How drivers say that they don't know.
        speed_mbps: speed.filter(|mbps| *mbps > 0 && *mbps != u32::MAX),
        addresses: addresses.get(name).cloned().unwrap_or_default(),
        neighbours: neighbours.get(name).cloned().unwrap_or_default(),
    })
}

fn is_card(root: &Path, name: &str) -> bool {
    let device = root.join(CLASS).join(name).join("device");
    device.exists() && !device.join("physfn").exists()
}

/// Whether what is sent there leaves by a card in the end: a bridge for guests alone does not.
fn is_wire(root: &Path, name: &str, deepest: u32) -> bool {
    let under = || {
        let entries = read::names(root, &format!("{CLASS}/{name}"));
        entries.into_iter().filter_map(|entry| entry.strip_prefix("lower_").map(str::to_owned))
    };
    is_card(root, name) || (deepest > 0 && under().any(|lower| is_wire(root, &lower, deepest - 1)))
}

/// IPv4 addresses by link.
fn addresses() -> BTreeMap<String, Vec<LinkAddress>> {
    let mut all = BTreeMap::<String, Vec<LinkAddress>>::new();
    for one in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let v4 = |any: Option<&nix::sys::socket::SockaddrStorage>| Some(any?.as_sockaddr_in()?.ip());
        let (address, mask) = (v4(one.address.as_ref()), v4(one.netmask.as_ref()));
        let Some((address, mask)) = address.zip(mask).filter(|(address, _)| !address.is_loopback()) else {
            continue;
        };
        let prefix = u8::try_from(u32::from(mask).leading_ones()).unwrap_or(32);
        let of_link = all.entry(one.interface_name).or_default();
        if of_link.len() < ADDRESSES_MAX {
            of_link.push(LinkAddress { address, prefix });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A card, a VLAN on a bond of it, and a bridge that only guests are at.
    fn tree() -> tempfile::TempDir {
        let tree = tempfile::tempdir().unwrap();
        for (path, text) in [
            ("eno1/device/vendor", "0x8086"),
            ("eno1/address", "52:54:00:00:00:01\n"),
            ("eno1/mtu", "9000\n"),
            ("eno1/speed", "25000\n"),
            ("eno1/carrier", "1\n"),
            ("bond0/lower_eno1/x", ""),
            ("bond0.7/lower_bond0/x", ""),
            ("virbr0/lower_vnet0/x", ""),
            ("vnet0/mtu", "1500"),
            ("eno1v0/device/physfn/x", ""),
        ] {
            let path = tree.path().join(CLASS).join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        tree
    }

    #[test]
    fn what_leaves_by_a_card_is_a_wire() {
        let tree = tree();
        for (name, wanted) in
            [("eno1", true), ("bond0.7", true), ("virbr0", false), ("eno1v0", false), ("no", false)]
        {
            assert_eq!(is_wire(tree.path(), name, DEEPEST), wanted, "{name}");
        }
        assert_eq!(wires(tree.path()), ["eno1"]);
        let links = take(tree.path(), None, &Neighbours::new());
        assert_eq!(links.len(), 1);
        assert_eq!((links[0].mtu, links[0].speed_mbps, links[0].carrier), (9000, Some(25_000), true));
    }
}

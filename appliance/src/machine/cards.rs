//! The machine's network cards: which there are, whether a cable is in, what they are on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use ipnet::Ipv4Net;
use setup::{Gateway, Interface};

use super::dhcp;
use crate::net::{Link, Net, Until};

/// `linux/if_arp.h`, ARPHRD_ETHER.
const ETHERNET: &str = "1";
/// What stands in the folder of an interface that is no card: it is made of others, or of a program.
const MADE: [&str; 4] = ["bridge", "bonding", "tun_flags", "brport"];
/// A card that was off and its switch agree on a speed within this.
const AGREEMENT: Duration = Duration::from_secs(4);

/// What these cards are on. Those that are off are switched on, where that is permitted: nobody can see a cable in one that
/// is off. None is given an address.
pub(super) fn cards(names: Vec<String>) -> Vec<Interface> {
    let links = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(wake(&names)),
        Err(_) => BTreeMap::new(),
    };
    let mut addresses = addresses();
    let gateways = fs::read_to_string("/proc/net/route").map(|text| gateways(&text)).unwrap_or_default();
    let asked: Vec<(String, String)> = links
        .values()
        .filter(|link| link.carrier)
        .filter_map(|link| Some((link.name.clone(), link.mac.as_ref()?.to_string())))
        .collect();
    let mut servers = dhcp::servers(&asked);
    let alive = alive(&links, &gateways);
    let card = |name: String| Interface {
        mac: links.get(&name).and_then(|link| link.mac.as_ref()).map(ToString::to_string),
        link: links.get(&name).map(|link| link.carrier),
        addresses: addresses.remove(&name).unwrap_or_default(),
        gateway: gateways
            .get(&name)
            .map(|address| Gateway { address: *address, answers: alive.get(&name).copied() }),
        dhcp: servers.remove(&name).unwrap_or_default().into_iter().collect(),
        name,
    };
    names.into_iter().map(card).collect()
}

/// Ethernet interfaces that are hardware, in the order of their names; where none is (a container), those that are not made of
/// others.
pub(super) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_ethernet = |path: &Path| {
        fs::read_to_string(path.join("type")).is_ok_and(|kind| kind.trim() == ETHERNET)
            && !MADE.iter().any(|name| path.join(name).exists())
            && !fs::read_to_string(path.join("uevent")).is_ok_and(|text| text.contains("DEVTYPE="))
    };
    let mut all: Vec<(String, bool)> = entries
        .filter(|entry| is_ethernet(&entry.path()))
        .filter_map(|entry| {
            Some((entry.file_name().into_string().ok()?, entry.path().join("device").exists()))
        })
        .collect();
    all.sort();
    let has_hardware = all.iter().any(|(_, is_hardware)| *is_hardware);
    all.into_iter().filter(|(_, is_hardware)| *is_hardware || !has_hardware).map(|(name, _)| name).collect()
}

/// Switches cards on and waits until those have a link that get one. What the kernel does not say or permit is left out.
async fn wake(names: &[String]) -> BTreeMap<String, Link> {
    let mut links = BTreeMap::new();
    let Ok(net) = Net::open() else { return links };
    let mut off = Vec::new();
    for name in names {
        let Ok(Some(link)) = net.look(name).await else { continue };
        if !link.up && net.ensure_up(&link).await.is_ok() {
            off.push(name);
        }
        // One that stays off says nothing about its cable.
        if link.up {
            links.insert(name.clone(), link);
        }
    }
    let end = tokio::time::Instant::now() + AGREEMENT;
    for name in off {
        let patience = end.saturating_duration_since(tokio::time::Instant::now());
        let _ = net.wait(name, Until::Carrier, patience, |_| {}).await;
        if let Ok(Some(link)) = net.look(name).await {
            links.insert(name.clone(), link);
        }
    }
    links
}

/// Which ways out answer, by card.
fn alive(links: &BTreeMap<String, Link>, gateways: &BTreeMap<String, Ipv4Addr>) -> BTreeMap<String, bool> {
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return BTreeMap::new();
    };
    runtime.block_on(async {
        let mut alive = BTreeMap::new();
        let Ok(net) = Net::open() else { return alive };
        for (name, gateway) in gateways {
            let Some(link) = links.get(name) else { continue };
            if let Ok(found) = net.who_has(link, &BTreeSet::from([*gateway])).await {
                alive.insert(name.clone(), found.contains_key(gateway));
            }
        }
        alive
    })
}

/// IPv4 addresses by interface.
fn addresses() -> BTreeMap<String, Vec<Ipv4Net>> {
    let mut all = BTreeMap::<String, Vec<Ipv4Net>>::new();
    for one in nix::ifaddrs::getifaddrs().into_iter().flatten() {
        let v4 = |any: Option<&nix::sys::socket::SockaddrStorage>| Some(any?.as_sockaddr_in()?.ip());
        let Some((address, mask)) = v4(one.address.as_ref()).zip(v4(one.netmask.as_ref())) else { continue };
        if let Ok(net) = Ipv4Net::with_netmask(address, mask) {
            all.entry(one.interface_name).or_default().push(net);
        }
    }
    all
}

/// Default routes by interface: `/proc/net/route`, whose numbers are the bytes of an address as the machine has them.
pub(super) fn gateways(text: &str) -> BTreeMap<String, Ipv4Addr> {
    let row = |line: &str| {
        let mut fields = line.split_whitespace();
        let (name, to, by) = (fields.next()?, fields.next()?, fields.next()?);
        let gateway = u32::from_str_radix(by, 16).ok().map(u32::from_be).filter(|gateway| *gateway != 0)?;
        (to == "00000000").then(|| (name.to_owned(), Ipv4Addr::from(gateway)))
    };
    text.lines().filter_map(row).collect()
}

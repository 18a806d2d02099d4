//! Whether an address is in use on a link: the kernel's own ARP (RFC 826, RFC 5227 §2.1.1), asked for through netlink.
//!
//! No raw socket: an entry with `NTF_USE` makes the kernel resolve the address as if a packet had to go there, and the
//! neighbour table says who answered.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use futures_util::TryStreamExt;
use protocol::HardwareAddress;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::RouteType;

use super::{Link, Net, NetError, fault, hardware_address};

/// A host on the link answers within a few milliseconds; a busy service processor within some hundred.
const ANSWER: Duration = Duration::from_millis(300);

impl Net {
    /// Asks the link for each of these addresses at once, and gives those that somebody answered for within 300 ms, each
    /// with the hardware address that answered. What was asked is forgotten by the kernel afterwards.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NotPermitted`].
    pub async fn who_has(
        &self,
        link: &Link,
        addresses: &BTreeSet<Ipv4Addr>,
    ) -> Result<BTreeMap<Ipv4Addr, HardwareAddress>, NetError> {
        // What the kernel knows from before says who was there: with it, it would not ask.
        for entry in self.neighbours(link, addresses).await? {
            let _ = self.handle.neighbours().del(entry).execute().await;
        }
        for address in addresses {
            let ask = self.handle.neighbours().add(link.index, IpAddr::V4(*address));
            let ask =
                ask.state(NeighbourState::None).flags(NeighbourFlags::Use).kind(RouteType::Unicast).replace();
            ask.execute().await.map_err(fault("asking for an address on", &link.name))?;
        }
        tokio::time::sleep(ANSWER).await;
        let mut found = BTreeMap::new();
        for entry in self.neighbours(link, addresses).await? {
            if let (Some(address), Some(mac)) = (address_of(&entry), answered(&entry)) {
                found.insert(address, mac);
            }
            // Best effort: the kernel drops them by itself, only later.
            let _ = self.handle.neighbours().del(entry).execute().await;
        }
        Ok(found)
    }

    /// What the kernel knows of these addresses on a link.
    async fn neighbours(
        &self,
        link: &Link,
        addresses: &BTreeSet<Ipv4Addr>,
    ) -> Result<Vec<NeighbourMessage>, NetError> {
        let table = self.handle.neighbours().get().set_address_family(AddressFamily::Inet).execute();
        let table = table.try_collect::<Vec<_>>().await;
        let table = table.map_err(fault("reading the neighbours of", &link.name))?;
        let asked =
            |entry: &NeighbourMessage| address_of(entry).is_some_and(|address| addresses.contains(&address));
        Ok(table.into_iter().filter(|entry| entry.header.ifindex == link.index && asked(entry)).collect())
    }
}

fn address_of(entry: &NeighbourMessage) -> Option<Ipv4Addr> {
    entry.attributes.iter().find_map(|attribute| {
        let NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) = attribute else { return None };
        Some(*address)
    })
}

/// Who answered; none while nobody has, or when the kernel has given up.
fn answered(entry: &NeighbourMessage) -> Option<HardwareAddress> {
    if !matches!(entry.header.state, NeighbourState::Reachable | NeighbourState::Permanent) {
        return None;
    }
    let mac = entry.attributes.iter().find_map(|attribute| {
        let NeighbourAttribute::LinkLayerAddress(bytes) = attribute else { return None };
        Some(bytes)
    })?;
    hardware_address(mac)
}

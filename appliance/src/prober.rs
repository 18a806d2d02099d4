//! Finds out ahead of time which free addresses really are: whoever has one of them although nobody was given it is asked
//! by ARP before a machine is offered it, and no machine waits for that.
//!
//! Knows when to ask and how many at once. Refuses to decide: the writer prefers what was found free, and puts what is in
//! use into quarantine. Subnets behind relays cannot be asked by ARP; their machines decline what is in use.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use protocol::HardwareAddress;
use pxe::dhcp::{Mode, Stance};

use crate::listen::{Place, Stop};
use crate::net::{Link, Net, NetError, Presence};
use crate::writer::{Core, now};

/// Addresses that are known to be free ahead of need: a thousand servers switched on at once.
const AHEAD: usize = 1024;
/// Asked at once; the kernel keeps a thousand neighbours by default (arp(7), gc_thresh3).
const AT_ONCE: usize = 128;
/// How long nothing is done after a look that had nothing to ask. What was found free counts for ten minutes.
const PAUSE: Duration = Duration::from_secs(5);
/// How long nothing is done after the kernel refused.
const REFUSED: Duration = Duration::from_secs(60);

/// Asks on one network until told to stop.
pub async fn run(place: Place, core: Core, mut stop: Stop) {
    loop {
        let pause = match round(&place, &core).await {
            Ok(true) => Duration::ZERO,
            Ok(false) => PAUSE,
            Err(error) => {
                tracing::warn!(interface = %place.interface, why = crate::chain(&error), "addresses are not probed");
                REFUSED
            }
        };
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Asks for the next addresses; whether there were any.
async fn round(place: &Place, core: &Core) -> Result<bool, NetError> {
    let link = match &*place.presence.borrow() {
        Presence::Ready(link) if link.carrier => link.clone(),
        Presence::Ready(_) | Presence::Gone | Presence::NoAddress(_) => return Ok(false),
    };
    let wanted = wanted(place, core);
    if wanted.is_empty() {
        return Ok(false);
    }
    let used = ask(&link, &wanted).await?;
    let free = wanted.into_iter().filter(|address| !used.contains_key(address)).collect();
    // Nothing can be saved now, or the daemon stops: not at once again.
    Ok(core.probed(free, used).await)
}

/// What may be given next on this network, while it gives addresses.
fn wanted(place: &Place, core: &Core) -> BTreeSet<Ipv4Addr> {
    let world = core.world();
    let watched = world.fleet.networks.get(&place.interface);
    let network = world.networks.iter().find(|network| network.interface == place.interface);
    let Some(policy) = network.map(|network| &network.local) else { return BTreeSet::new() };
    let serves = watched.is_none_or(|watched| watched.stance() == Stance::Serve);
    if !serves || policy.proxy || policy.mode == Mode::Off {
        return BTreeSet::new();
    }
    let next = world.leases.to_probe(policy, AHEAD, pxe::Time(now().0));
    next.into_iter().take(AT_ONCE).collect()
}

async fn ask(
    link: &Link,
    addresses: &BTreeSet<Ipv4Addr>,
) -> Result<BTreeMap<Ipv4Addr, HardwareAddress>, NetError> {
    Net::open()?.who_has(link, addresses).await
}

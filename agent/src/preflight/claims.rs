//! Whether another machine has an address of ours: asked by ARP, as RFC 5227 has it, but faster: three probes within half a second, and
//! a while to answer.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use nix::libc::ETH_P_ARP;
use protocol::{Claim, HardwareAddress, Rival};
use socket2::{Domain, Protocol, Socket, Type};

use super::arp::{self, Mac};
use crate::sys;

const PROBES: u32 = 3;
const APART: Duration = Duration::from_millis(250);
const ANSWERS: Duration = Duration::from_millis(750);
/// More than this many of one link are somebody's play.
const MOST: usize = 64;
/// Longer than an ARP frame.
const FRAME_BYTES: usize = 128;

/// Who else has these addresses.
///
/// # Errors
/// The kernel's: only root may ask; the link is gone.
pub(super) fn rivals(claims: &[Claim]) -> io::Result<Vec<Rival>> {
    let mut links = BTreeMap::<&str, Vec<Ipv4Addr>>::new();
    for claim in claims {
        links.entry(&claim.link).or_default().push(claim.address);
    }
    let own = own_macs()?;
    let mut rivals = Vec::new();
    for (link, addresses) in links {
        rivals.extend(on(link, &addresses, &own)?);
    }
    Ok(rivals)
}

fn on(link: &str, addresses: &[Ipv4Addr], own: &BTreeMap<String, Mac>) -> io::Result<Vec<Rival>> {
    let mac = *own.get(link).ok_or(io::ErrorKind::NotFound)?;
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    let protocol = u16::try_from(ETH_P_ARP).map_err(io::Error::other)?;
    sys::bind_packet(&socket, protocol, nix::net::if_::if_nametoindex(link)?)?;
    let mut found = BTreeSet::new();
    for number in 1..=PROBES {
        for address in addresses {
            socket.send(&arp::probe(mac, *address))?;
        }
        let until = Instant::now() + if number == PROBES { ANSWERS } else { APART };
        while let Some((mac, address)) = next(&socket, until)? {
            let is_rival = addresses.contains(&address) && !own.values().any(|own| *own == mac);
            if is_rival && found.len() < MOST {
                found.insert((address, mac));
            }
        }
    }
    let rivals = found.into_iter().filter_map(|(address, mac)| Some(Rival { address, mac: text(mac)? }));
    Ok(rivals.collect())
}

/// The next that claims an address; nothing when the time is over.
fn next(socket: &Socket, until: Instant) -> io::Result<Option<(Mac, Ipv4Addr)>> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        let mut frame = [0; FRAME_BYTES];
        let mut from = socket;
        match from.read(&mut frame) {
            Ok(bytes) => {
                let claimed = arp::claimant(frame.get(..bytes).unwrap_or_default());
                if claimed.is_some() {
                    return Ok(claimed);
                }
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
}

/// The addresses of all our links: one of them that answers for another is no stranger.
fn own_macs() -> io::Result<BTreeMap<String, Mac>> {
    let all = nix::ifaddrs::getifaddrs()?;
    let own = all.filter_map(|address| {
        let mac = address.address.as_ref()?.as_link_addr()?.addr()?;
        Some((address.interface_name, mac))
    });
    Ok(own.collect())
}

fn text(mac: Mac) -> Option<HardwareAddress> {
    mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":").parse().ok()
}

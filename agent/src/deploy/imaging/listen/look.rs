//! Whether packets to a group come here though nobody here has joined it: then the switch sends them to everybody.
//!
//! Looked at before joining, because then they have to come. A switch that has learned who listens keeps them from a port where nobody does.

use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use nix::libc::ETH_P_IP;
use protocol::Seat;
use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// How long is looked. While somebody does, something is sent every 20 ms.
const LOOK: Duration = Duration::from_millis(400);
/// Longer than all headers that are looked at.
const HEAD_BYTES: usize = 128;
const UDP: u8 = 17;

/// A look, on a thread of its own.
#[derive(Debug)]
pub(super) struct Look {
    found: Arc<OnceLock<Option<bool>>>,
}

impl Look {
    /// Begins to look on the network of our address there.
    pub(super) fn begin(seat: &Seat, local: Ipv4Addr) -> Self {
        let found = Arc::new(OnceLock::new());
        let (tell, seat) = (Arc::clone(&found), seat.clone());
        let look = move || {
            // Only root may look. Who can't joins without.
            let _once = tell.set(floods(&seat, local).ok());
        };
        if std::thread::Builder::new().name("look".to_owned()).spawn(look).is_err() {
            let _once = found.set(None);
        }
        Self { found }
    }

    /// What it has found, once it is over: whether the packets come; none when it could not be seen.
    pub(super) fn found(&self) -> Option<Option<bool>> {
        self.found.get().copied()
    }
}

fn floods(seat: &Seat, local: Ipv4Addr) -> io::Result<bool> {
    let name = interface_of(local)?;
    let index = nix::net::if_::if_nametoindex(name.as_str())?;
    // In network byte order, as all of packet(7).
    let protocol = u16::try_from(ETH_P_IP).map_err(io::Error::other)?.to_be();
    let mut socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(protocol))))?;
    // The card itself keeps groups away that nobody has joined.
    sys::all_multicast(&socket, index)?;
    let begun = Instant::now();
    let mut packet = [0; HEAD_BYTES];
    loop {
        let rest = LOOK.saturating_sub(begun.elapsed());
        if rest.is_zero() {
            return Ok(false);
        }
        socket.set_read_timeout(Some(rest))?;
        match socket.read(&mut packet) {
            Ok(bytes) if is_of(packet.get(..bytes).unwrap_or_default(), seat) => return Ok(true),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// The kernel's name of the interface that has our address.
fn interface_of(local: Ipv4Addr) -> io::Result<String> {
    let is_it = |address: &nix::ifaddrs::InterfaceAddress| {
        let v4 = address.address.as_ref().and_then(|any| any.as_sockaddr_in());
        v4.map(|v4| v4.ip()) == Some(local)
    };
    let found = nix::ifaddrs::getifaddrs()?.find(is_it);
    found.map(|address| address.interface_name).ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
}

/// Whether a packet, from its IPv4 header on (RFC 791, RFC 768), is of what a seat is for.
fn is_of(packet: &[u8], seat: &Seat) -> bool {
    let read = || {
        let first = *packet.first()?;
        let header = usize::from(first & 0xf) * 4;
        let address = |at: usize| packet.get(at..)?.first_chunk::<4>().copied().map(Ipv4Addr::from);
        // What is behind the first fragment has no ports.
        let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?) & 0x1fff;
        let port = u16::from_be_bytes(*packet.get(header.checked_add(2)?..)?.first_chunk()?);
        let is_udp = first >> 4 == 4 && header >= 20 && *packet.get(9)? == UDP && fragment == 0;
        Some((is_udp, address(12)?, address(16)?, port))
    };
    read() == Some((true, *seat.source.ip(), seat.group, seat.port))
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddrV4, UdpSocket};
    use std::sync::atomic::{AtomicBool, Ordering};

    use protocol::ReportKey;

    use super::*;

    fn seat(group: Ipv4Addr) -> Seat {
        Seat {
            session: 1,
            group,
            port: 8444,
            source: SocketAddrV4::new(Ipv4Addr::LOCALHOST, 1000),
            slot: 0,
            key: ReportKey([0; 32]),
            looks_first: true,
        }
    }

    fn packet() -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        packet[9] = UDP;
        packet[12..16].copy_from_slice(&[127, 0, 0, 1]);
        packet[16..20].copy_from_slice(&[239, 192, 1, 2]);
        packet[22..24].copy_from_slice(&8444_u16.to_be_bytes());
        packet
    }

    #[test]
    fn only_packets_of_the_transmission_count() {
        let seat = seat(Ipv4Addr::new(239, 192, 1, 2));
        assert!(is_of(&packet(), &seat));
        let with_options = [&[0x46], &packet()[1..20], &[0; 4], &packet()[20..]].concat();
        assert!(is_of(&with_options, &seat));
        for (what, at, byte) in [
            ("IPv6", 0, 0x65),
            ("a header that is too short", 0, 0x44),
            ("a header longer than the packet", 0, 0x4f),
            ("a later fragment", 7, 1),
            ("TCP", 9, 6),
            ("from another", 15, 2),
            ("to another group", 19, 3),
            ("to another port", 23, 0),
        ] {
            let mut packet = packet();
            packet[at] = byte;
            assert!(!is_of(&packet, &seat), "{what}");
        }
        for length in 0..24 {
            assert!(!is_of(&packet()[..length], &seat), "{length} bytes");
        }
    }

    /// Needs a packet socket, as root has; for everybody else there is nothing to be seen.
    #[test]
    fn what_was_not_joined_is_seen_where_it_comes() {
        let end = Arc::new(AtomicBool::new(false));
        let sent = Ipv4Addr::new(239, 192, 7, 1);
        let ended = Arc::clone(&end);
        let sender = std::thread::spawn(move || {
            let socket = socket2::Socket::new(Domain::IPV4, Type::DGRAM, None).unwrap();
            socket.set_multicast_if_v4(&Ipv4Addr::LOCALHOST).unwrap();
            socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0).into()).unwrap();
            let socket = UdpSocket::from(socket);
            while !ended.load(Ordering::Relaxed) {
                socket.send_to(b"beat", (sent, 8444)).unwrap();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let seen = floods(&seat(sent), Ipv4Addr::LOCALHOST);
        let other = floods(&seat(Ipv4Addr::new(239, 192, 7, 2)), Ipv4Addr::LOCALHOST);
        end.store(true, Ordering::Relaxed);
        sender.join().unwrap();
        match seen {
            Ok(floods) => assert_eq!((floods, other.unwrap()), (true, false)),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::PermissionDenied),
        }
        assert!(floods(&seat(sent), Ipv4Addr::new(192, 0, 2, 1)).is_err(), "an address that is not ours");
    }
}

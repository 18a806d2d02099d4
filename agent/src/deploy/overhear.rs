//! Packets to groups that come here though nobody here has joined them: a switch that has learned who listens keeps them from a port
//! where nobody does.

use std::io::{self, Read as _};
use std::net::Ipv4Addr;
use std::time::Duration;

use nix::libc::ETH_P_IP;
use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// Longer than all headers that are looked at.
const HEAD_BYTES: usize = 128;
const UDP: u8 = 17;

/// What is looked at of a UDP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) source: Ipv4Addr,
    pub(super) group: Ipv4Addr,
    pub(super) port: u16,
}

/// All IPv4 packets that come by one interface.
#[derive(Debug)]
pub(super) struct Overhearing(Socket);

impl Overhearing {
    /// On the network of our address there.
    ///
    /// # Errors
    /// Only root may; there is no such address.
    pub(super) fn begin(local: Ipv4Addr) -> io::Result<Self> {
        let name = interface_of(local)?;
        let index = nix::net::if_::if_nametoindex(name.as_str())?;
        // In network byte order, as all of packet(7).
        let protocol = u16::try_from(ETH_P_IP).map_err(io::Error::other)?.to_be();
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(protocol))))?;
        // The card itself keeps groups away that nobody has joined.
        sys::all_multicast(&socket, index)?;
        Ok(Self(socket))
    }

    /// What has come next, within this time: a UDP packet, or nothing that is looked at.
    ///
    /// # Errors
    /// The kernel's: the interface is gone.
    pub(super) fn next(&mut self, within: Duration) -> io::Result<Option<Head>> {
        self.0.set_read_timeout(Some(within))?;
        let mut packet = [0; HEAD_BYTES];
        match self.0.read(&mut packet) {
            Ok(bytes) => Ok(Head::of(packet.get(..bytes).unwrap_or_default())),
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl Head {
    /// Of a packet from its IPv4 header on (RFC 791, RFC 768).
    fn of(packet: &[u8]) -> Option<Self> {
        let first = *packet.first()?;
        let header = usize::from(first & 0xf) * 4;
        let address = |at: usize| packet.get(at..)?.first_chunk::<4>().copied().map(Ipv4Addr::from);
        // What is behind the first fragment has no ports.
        let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?) & 0x1fff;
        let port = u16::from_be_bytes(*packet.get(header.checked_add(2)?..)?.first_chunk()?);
        let is_udp = first >> 4 == 4 && header >= 20 && *packet.get(9)? == UDP && fragment == 0;
        is_udp.then_some(Head { source: address(12)?, group: address(16)?, port })
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

#[cfg(test)]
mod tests {
    use super::*;

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
    fn only_whole_heads_of_udp_packets_are_read() {
        let group = Ipv4Addr::new(239, 192, 1, 2);
        let head = Some(Head { source: Ipv4Addr::LOCALHOST, group, port: 8444 });
        assert_eq!(Head::of(&packet()), head);
        let with_options = [&[0x46], &packet()[1..20], &[0; 4], &packet()[20..]].concat();
        assert_eq!(Head::of(&with_options), head);
        for (what, at, byte) in [
            ("IPv6", 0, 0x65),
            ("a header that is too short", 0, 0x44),
            ("a header longer than the packet", 0, 0x4f),
            ("a later fragment", 7, 1),
            ("TCP", 9, 6),
        ] {
            let mut packet = packet();
            packet[at] = byte;
            assert_eq!(Head::of(&packet), None, "{what}");
        }
        for length in 0..24 {
            assert_eq!(Head::of(&packet()[..length]), None, "{length} bytes");
        }
    }
}

//! A magic packet: the NIC's address sixteen times, to everybody on its network.

use std::net::{Ipv4Addr, SocketAddrV4};

use fleet::power::{Act, Fault, Word};
use futures_util::future::BoxFuture;
use pxe::Mac;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Reach;

/// UDP's discard: nobody answers there, and NICs do not care.
const PORT: u16 = 9;
/// How often it is sent: nobody says that it came.
const TIMES: usize = 3;

/// A NIC that may be waiting for its packet.
#[derive(Debug)]
pub struct Magic {
    mac: Mac,
    /// The provisioning interface that it is behind.
    interface: String,
    to: Ipv4Addr,
}

impl Magic {
    /// For this NIC, out of this interface.
    pub fn new(mac: Mac, interface: String) -> Self {
        Self { mac, interface, to: Ipv4Addr::BROADCAST }
    }

    /// The same, to this address: for tests on loopback.
    #[must_use]
    pub fn to(self, to: Ipv4Addr) -> Self {
        Self { to, ..self }
    }

    fn send(&self, port: u16) -> std::io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_broadcast(true)?;
        // Whatever the routes say: another network has another server with that address, perhaps.
        socket.bind_device(Some(self.interface.as_bytes()))?;
        let to = SockAddr::from(SocketAddrV4::new(self.to, port));
        let packet = packet(self.mac);
        for _ in 0..TIMES {
            socket.send_to(&packet, &to)?;
        }
        Ok(())
    }
}

/// Six times FF, then the address sixteen times.
fn packet(mac: Mac) -> Vec<u8> {
    let mut bytes = vec![0xFF; 6];
    for _ in 0..16 {
        bytes.extend(mac.octets());
    }
    bytes
}

impl Reach for Magic {
    fn ask(&self, act: Act) -> BoxFuture<'_, Result<Word, Fault>> {
        Box::pin(async move {
            if act != Act::Wake {
                return Err(Fault::Refused("a magic packet can wake a server, and nothing else".to_owned()));
            }
            let failed = |error| Fault::Unreachable(format!("no packet leaves {}: {error}", self.interface));
            self.send(PORT).map_err(failed)?;
            Ok(Word::default())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_packet_is_heard() {
        let listener = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
        let mac: Mac = "52:54:00:ab:cd:ef".parse().unwrap();
        let magic = Magic::new(mac, "lo".to_owned()).to(Ipv4Addr::LOCALHOST);
        magic.send(listener.local_addr().unwrap().port()).unwrap();
        let mut bytes = [0; 200];
        let length = listener.recv(&mut bytes).unwrap();
        assert_eq!(length, 102);
        assert_eq!(bytes[..6], [0xFF; 6]);
        assert!(bytes[6..102].chunks(6).all(|chunk| chunk == [0x52, 0x54, 0x00, 0xab, 0xcd, 0xef]));
    }
}

//! The querier's raw sockets: one for each network that has nodes.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Instant;

use cast::Micros;
use cast::querier::Querier;
use socket2::{Domain, Protocol, Socket, Type};

const IGMP: i32 = 2;
const ALL_SYSTEMS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(224, 0, 0, 1), 0);
/// How long after a socket was not to be had it is tried again.
const AGAIN: Micros = Micros(30_000_000);
/// A query is short; what is longer is cut.
const LARGEST: usize = 128;
/// Messages looked at in one round: answers to our queries come here too.
const AT_ONCE: usize = 1024;

/// All of them.
#[derive(Debug)]
pub(super) struct Querying {
    begun: Instant,
    networks: BTreeMap<Ipv4Addr, Asking>,
}

#[derive(Debug)]
struct Asking {
    querier: Querier,
    /// None where there is none to be had: without the right to, or without the network.
    socket: Option<UdpSocket>,
    /// When that was tried last.
    tried: Micros,
}

impl Querying {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), networks: BTreeMap::new() }
    }

    /// Asks where it is time to, on these networks and on no others.
    pub(super) fn round(&mut self, networks: &[Ipv4Addr]) {
        let now = Micros(u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.networks.retain(|local, _| networks.contains(local));
        for local in networks {
            let asking = self.networks.entry(*local).or_insert_with(|| Asking::begin(*local, now));
            asking.round(now);
        }
    }
}

impl Asking {
    fn begin(local: Ipv4Addr, now: Micros) -> Self {
        let socket = open(local);
        if let Err(error) = &socket {
            tracing::warn!(%local, %error, "no IGMP queries can be sent: a switch that needs them may not pass images on");
        }
        Self { querier: Querier::new(local, now), socket: socket.ok(), tried: now }
    }

    fn round(&mut self, now: Micros) {
        if self.socket.is_none() && now.since(self.tried) >= AGAIN {
            // Its interface may have come.
            (self.socket, self.tried) = (open(self.querier.own()).ok(), now);
        }
        let Some(socket) = &self.socket else { return };
        let mut buffer = [0; LARGEST];
        for _ in 0..AT_ONCE {
            let Ok((bytes, _from)) = socket.recv_from(&mut buffer) else { break };
            if self.querier.hear(buffer.get(..bytes).unwrap_or_default(), now) {
                tracing::debug!(local = %self.querier.own(), "somebody else sends IGMP queries");
            }
        }
        if let Some(query) = self.querier.query(now) {
            // One that is lost is followed by another.
            let _lost = socket.send_to(&query, ALL_SYSTEMS);
        }
    }
}

/// A raw socket of one interface. (The standard library has a safe way to read from it, whatever it calls it.)
fn open(local: Ipv4Addr) -> io::Result<UdpSocket> {
    let interface = super::interface_of(local).ok_or(io::ErrorKind::AddrNotAvailable)?;
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(IGMP)))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_header_included_v4(true)?;
    socket.set_multicast_if_v4(&local)?;
    socket.set_multicast_loop_v4(false)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

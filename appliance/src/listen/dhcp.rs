//! DHCP on the wire: ports 67 and 4011 of one interface.
//!
//! Two sockets per port. One has no address, or the kernel would not give it broadcasts; the other has ours, so that
//! what is sent comes from it, whatever other addresses the interface has. Both are tied to the interface.
//!
//! Refuses to know what a packet means: it hands raw bytes to the [`DhcpService`], which decides inside the writer
//! and answers when the lease is durable. All that is read here is the hardware address, as a key for the rate.

mod bucket;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Instant;

use pxe::dhcp::{Arrival, Door};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::Semaphore;

use super::supervise::supervise;
use super::{ListenerState, Place, Stop};
use bucket::Buckets;

/// The ports of RFC 2131 §4.1 and of PXE 2.1 §2.2.
pub const PORTS: [(Door, u16); 2] = [(Door::Lan, 67), (Door::Proxy, 4011)];

/// Packets that wait for the writer at once. Clients repeat themselves: more waiting is only older questions.
const IN_FLIGHT: usize = 256;
/// What the kernel keeps while we are busy, in bytes: a thousand servers switched on at once.
const RECEIVE_BUFFER: usize = 1 << 20;
/// The largest packet that a client may send, in bytes: an Ethernet frame's worth.
const LARGEST: usize = 1500;
/// Where BOOTP has the client's hardware address (RFC 951 §3).
const CHADDR: std::ops::Range<usize> = 28..34;

/// A packet that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpIn {
    /// The interface.
    pub interface: String,
    /// The controller's address on it.
    pub address: Ipv4Addr,
    /// To which port, from where.
    pub arrival: Arrival,
    /// The UDP payload, not looked at.
    pub bytes: Vec<u8>,
}

/// What to do about it. Reasons are for `status` and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DhcpAnswer {
    /// What this promises is durable: send it, from the port the request came to.
    Send {
        /// To whom; 255.255.255.255 goes out of the interface the request came in by.
        to: SocketAddrV4,
        /// The UDP payload.
        packet: Vec<u8>,
    },
    /// Say nothing, and that is normal.
    Silence,
    /// Say nothing: it was not DHCP as a client speaks it.
    Malformed(String),
}

/// Decides about packets. Called for many at once.
pub trait DhcpService: Send + Sync + 'static {
    /// Answers one packet, once what the answer promises is durable.
    fn answer(&self, packet: DhcpIn) -> impl Future<Output = DhcpAnswer> + Send;
}

/// Serves one port of one interface until told to stop.
pub async fn serve<S: DhcpService>(
    place: Place,
    (door, port): (Door, u16),
    service: Arc<S>,
    state: Arc<ListenerState>,
    stop: Stop,
) {
    let (interface, address) = (place.interface.clone(), place.address);
    let each = Arc::clone(&state);
    supervise(place, state, stop, move |_link| {
        let desk = Desk {
            interface: interface.clone(),
            address,
            door,
            service: Arc::clone(&service),
            state: Arc::clone(&each),
            permits: Arc::new(Semaphore::new(IN_FLIGHT)),
        };
        async move {
            match desk.open(port) {
                Ok((everyone, own)) => desk.receive(everyone, Arc::new(own)).await,
                Err(error) => error,
            }
        }
    })
    .await;
}

/// One port's sockets at work.
struct Desk<S> {
    interface: String,
    address: Ipv4Addr,
    door: Door,
    service: Arc<S>,
    state: Arc<ListenerState>,
    permits: Arc<Semaphore>,
}

impl<S: DhcpService> Desk<S> {
    /// The socket for broadcasts, and the one with our address.
    fn open(&self, port: u16) -> io::Result<(UdpSocket, UdpSocket)> {
        let everyone = socket(&self.interface, Ipv4Addr::UNSPECIFIED, port)?;
        let own = socket(&self.interface, self.address, port)?;
        self.state.bound(own.local_addr()?);
        tracing::info!(interface = %self.interface, address = %self.address, port, "dhcp listens");
        Ok((everyone, own))
    }

    /// Takes packets until a socket fails.
    async fn receive(&self, everyone: UdpSocket, own: Arc<UdpSocket>) -> io::Error {
        let mut buckets = Buckets::default();
        let (mut one, mut two) = ([0u8; LARGEST], [0u8; LARGEST]);
        loop {
            let (arrived, buffer) = tokio::select! {
                arrived = everyone.recv_from(&mut one) => (arrived, &one),
                arrived = own.recv_from(&mut two) => (arrived, &two),
            };
            match arrived {
                Ok((length, SocketAddr::V4(source))) => {
                    let bytes = buffer.get(..length).unwrap_or_default();
                    self.take(bytes, source, &own, &mut buckets);
                }
                Ok((_, SocketAddr::V6(_))) => {}
                // An answer of ours could not be delivered; the kernel tells it here.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) => return e,
            }
        }
    }

    /// Hands one packet on, unless there are too many.
    fn take(&self, bytes: &[u8], source: SocketAddrV4, own: &Arc<UdpSocket>, buckets: &mut Buckets) {
        self.state.received();
        let Some(chaddr) = bytes.get(CHADDR).and_then(|raw| raw.first_chunk::<6>()) else {
            return self.state.refused(format!("{} bytes from {source} are too few for DHCP", bytes.len()));
        };
        if !buckets.take(*chaddr, Instant::now()) {
            return self.state.dropped(format!("{} asks too often", mac(chaddr)));
        }
        let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() else {
            return self.state.dropped(format!("{IN_FLIGHT} packets are waiting for the data base already"));
        };
        let packet = DhcpIn {
            interface: self.interface.clone(),
            address: self.address,
            arrival: Arrival { door: self.door, source },
            bytes: bytes.to_vec(),
        };
        let (service, state, own) = (Arc::clone(&self.service), Arc::clone(&self.state), Arc::clone(own));
        tokio::spawn(async move {
            match service.answer(packet).await {
                DhcpAnswer::Send { to, packet } => match own.send_to(&packet, to).await {
                    Ok(_) => state.answered(),
                    Err(e) => state.trouble(format!("answering {to} failed: {e}")),
                },
                DhcpAnswer::Silence => {}
                DhcpAnswer::Malformed(why) => state.refused(format!("malformed, from {source}: {why}")),
            }
            drop(permit);
        });
    }
}

fn socket(interface: &str, address: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    // The kernel may give less; then more is lost in a storm, and the clients ask again.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    socket.bind(&SocketAddr::from((address, port)).into())?;
    UdpSocket::from_std(socket.into())
}

fn mac(raw: &[u8; 6]) -> String {
    raw.map(|b| format!("{b:02x}")).join(":")
}

//! DHCP on the wire: ports 67 and 4011 of one interface.
//!
//! Two sockets per port. One has no address, or the kernel would not give it broadcasts; the other has ours, so that
//! what is sent comes from it, whatever other addresses the interface has. Both are tied to the interface.
//!
//! What has arrived is handed on together, and so are the answers, so that a thousand servers that are switched on at
//! once share the data base's syncs. When much arrives, a short pause between two looks makes that cheap, and answers
//! leave in small bursts: a relay, a switch or a client has room for some hundred packets. When more arrives than the
//! writer can take, it waits here, in the order of what would be lost.
//!
//! Refuses to know what a packet means: the [`DhcpService`] reads it, decides inside the writer and answers when what
//! the answer promises is durable. All that is read here is the hardware address, as a key for the rate.

mod bucket;
mod pace;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pxe::dhcp::{Arrival, Door};
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;

use super::supervise::supervise;
use super::{ListenerState, Place, Stop};
use crate::writer::Urgency;
use bucket::Buckets;
use pace::{Outlet, Pace};
use queue::Queue;

/// The ports of RFC 2131 §4.1 and of PXE 2.1 §2.2.
pub const PORTS: [(Door, u16); 2] = [(Door::Lan, 67), (Door::Proxy, 4011)];

/// Packets that are with the writer at once: what it saves in one transaction, and the next meanwhile.
const IN_FLIGHT: usize = 2048;
/// Packets read from one socket before the other has its turn.
const DRAIN: usize = 256;
/// The pause, when there is much to do.
const PAUSE: Duration = Duration::from_millis(1);
/// What the kernel keeps while we are busy, in bytes: some thousand packets.
const RECEIVE_BUFFER: usize = 4 << 20;
/// The largest packet that a client may send, in bytes: an Ethernet frame's worth.
const LARGEST: usize = 1500;
/// Where BOOTP has the client's hardware address (RFC 951 §3).
const CHADDR: std::ops::Range<usize> = 28..34;

/// A packet that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DhcpIn {
    /// The interface.
    pub interface: Arc<str>,
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
}

/// Decides about packets.
pub trait DhcpService: Send + Sync + 'static {
    /// A packet that was read.
    type Question: Send;
    /// The answer to one, still in the writer's words.
    type Decided: Send;

    /// Reads a packet, and says what is lost when there is no time for it.
    ///
    /// # Errors
    /// What is wrong with a packet that is not DHCP as a client speaks it.
    fn read(&self, packet: DhcpIn) -> Result<(Urgency, Self::Question), String>;

    /// Hands questions to whoever decides. For each there will be one answer, once what it promises is durable.
    fn ask(
        &self,
        questions: Vec<Self::Question>,
        answers: &mpsc::UnboundedSender<Vec<Self::Decided>>,
    ) -> impl Future<Output = ()> + Send;

    /// What to do about an answer.
    fn say(&self, decided: Self::Decided) -> DhcpAnswer;
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
        let mut desk = Desk {
            interface: interface.as_str().into(),
            address,
            door,
            service: Arc::clone(&service),
            state: Arc::clone(&each),
            buckets: Buckets::default(),
            pace: Pace::default(),
            outlet: Outlet::default(),
            queue: Queue::default(),
            asked: 0,
            outgoing: VecDeque::new(),
        };
        async move {
            match desk.open(port) {
                Ok((everyone, own)) => desk.serve(&everyone, &own).await,
                Err(error) => error,
            }
        }
    })
    .await;
}

/// One port's sockets at work.
struct Desk<S: DhcpService> {
    interface: Arc<str>,
    address: Ipv4Addr,
    door: Door,
    service: Arc<S>,
    state: Arc<ListenerState>,
    buckets: Buckets,
    pace: Pace,
    outlet: Outlet,
    /// What waits here.
    queue: Queue<S::Question>,
    /// How many are with the writer.
    asked: usize,
    /// Answers that are to be sent.
    outgoing: VecDeque<(SocketAddrV4, Vec<u8>)>,
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

    /// Takes packets and gives answers until a socket fails.
    async fn serve(&mut self, everyone: &UdpSocket, own: &UdpSocket) -> io::Error {
        let (answers, mut decided) = mpsc::unbounded_channel();
        loop {
            let ready = tokio::select! {
                Some(decided) = decided.recv() => {
                    self.say(decided);
                    Ok(())
                }
                ready = everyone.readable() => ready,
                ready = own.readable() => ready,
                () = std::future::ready(()), if !self.outgoing.is_empty() => Ok(()),
            };
            if let Err(error) = ready.and_then(|()| self.drain(everyone)).and_then(|()| self.drain(own)) {
                return error;
            }
            while let Ok(decided) = decided.try_recv() {
                self.say(decided);
            }
            self.send(own).await;
            let room = IN_FLIGHT.saturating_sub(self.asked).min(self.queue.len());
            if room > 0 {
                let questions = self.queue.next(room);
                self.asked += questions.len();
                self.service.ask(questions, &answers).await;
            }
            if !self.outgoing.is_empty() || self.pace.is_brisk(Instant::now()) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Reads what a socket has.
    fn drain(&mut self, socket: &UdpSocket) -> io::Result<()> {
        let mut buffer = [0u8; LARGEST];
        for _ in 0..DRAIN {
            match socket.try_recv_from(&mut buffer) {
                Ok((length, SocketAddr::V4(source))) => {
                    self.take(buffer.get(..length).unwrap_or_default(), source);
                }
                Ok((_, SocketAddr::V6(_))) => {}
                // An answer of ours could not be delivered; the kernel tells it here.
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Puts one packet in the queue, unless there are too many.
    fn take(&mut self, bytes: &[u8], source: SocketAddrV4) {
        self.state.received();
        self.pace.count();
        let Some(chaddr) = bytes.get(CHADDR).and_then(|raw| raw.first_chunk::<6>()) else {
            return self.state.refused(format!("{} bytes from {source} are too few for DHCP", bytes.len()));
        };
        if !self.buckets.take(*chaddr, Instant::now()) {
            return self.state.dropped(format!("{} asks too often", mac(chaddr)));
        }
        let packet = DhcpIn {
            interface: Arc::clone(&self.interface),
            address: self.address,
            arrival: Arrival { door: self.door, source },
            bytes: bytes.to_vec(),
        };
        match self.service.read(packet) {
            Err(why) => self.state.refused(format!("malformed, from {source}: {why}")),
            Ok((urgency, question)) => {
                if let Some(dropped) = self.queue.push(urgency, question) {
                    self.state.dropped(dropped.to_string());
                }
            }
        }
    }

    fn say(&mut self, decided: Vec<S::Decided>) {
        self.asked = self.asked.saturating_sub(decided.len());
        for decided in decided {
            if let DhcpAnswer::Send { to, packet } = self.service.say(decided) {
                self.outgoing.push_back((to, packet));
            }
        }
    }

    async fn send(&mut self, own: &UdpSocket) {
        let now = Instant::now();
        while !self.outgoing.is_empty() && self.outlet.take(now) {
            let Some((to, packet)) = self.outgoing.pop_front() else { return };
            match own.send_to(&packet, to).await {
                Ok(_) => self.state.answered(),
                Err(e) => self.state.trouble(format!("answering {to} failed: {e}")),
            }
        }
    }
}

fn socket(interface: &str, address: Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    // As much as an administrator may have, else as much as anybody may: then more is lost in a storm, and the clients
    // ask again.
    if set_socket_recv_buffer_size_force(&socket, RECEIVE_BUFFER).is_err() {
        let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    }
    socket.bind(&SocketAddr::from((address, port)).into())?;
    UdpSocket::from_std(socket.into())
}

fn mac(raw: &[u8; 6]) -> String {
    raw.map(|b| format!("{b:02x}")).join(":")
}

//! Other DHCP servers on a provisioning network: listens on port 68 to what they tell machines, always, and asks for
//! them, at the start, every minute, and whenever somebody wants to know.
//!
//! Refuses to know what a server means for us: it hands every sighting to the [`ForeignService`], which decides. Hears
//! broadcasts, and what is sent to this card; a switch does not bring more.

#[cfg(test)]
pub(crate) mod tests;

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::time::Duration;

use pxe::Mac;
use pxe::dhcp::probe::{self, Heard};
use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::supervise::supervise;
use super::{ListenerState, Place, Stop};
use crate::net::{Link, Presence};

/// The ports of RFC 2131 §4.1.
const CLIENTS: u16 = 68;
const SERVERS: u16 = 67;
/// The pauses between the first looks after a start, and then always: a switch may keep our port dark for half a minute.
const FIRST_PAUSES: [Duration; 3] =
    [Duration::from_secs(6), Duration::from_secs(10), Duration::from_secs(20)];
const PAUSE: Duration = Duration::from_secs(60);
/// The pause while there is somebody else.
const PAUSE_BESIDE: Duration = Duration::from_secs(8);
/// Questions of a look, and how long after each answers are waited for: a server that pings an address before it offers
/// it answers after some 3 s.
const QUESTIONS: u32 = 3;
const WAIT: Duration = Duration::from_millis(1300);
/// An answer to a look is one to the last few questions: a slow server must not count as answering somebody else.
const REMEMBERED: usize = 8;
/// The largest packet, in bytes: an Ethernet frame's worth.
const LARGEST: usize = 1500;

/// What was heard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who says it: the server's own word, else where it was sent from.
    pub server: Ipv4Addr,
    /// It answers our question.
    pub answers: bool,
    /// The message.
    pub heard: Heard,
}

/// Decides what another server means.
pub trait ForeignService: Send + Sync + 'static {
    /// Another server was heard.
    fn heard(&self, interface: &str, sighting: Sighting) -> impl Future<Output = ()> + Send;

    /// A cable was put in: whatever was known of the network may be of another one.
    fn plugged(&self, interface: &str) -> impl Future<Output = ()> + Send;

    /// A look ended.
    fn looked(&self, interface: &str) -> impl Future<Output = ()> + Send;

    /// Whether another server is there now: then it is looked at more often.
    fn beside(&self, interface: &str) -> bool;

    /// Returns when somebody wants a look.
    fn wanted(&self, interface: &str) -> impl Future<Output = ()> + Send;
}

/// Watches one interface until told to stop.
pub async fn serve<S: ForeignService>(place: Place, service: Arc<S>, state: Arc<ListenerState>, stop: Stop) {
    let (interface, own, presence) = (place.interface.clone(), place.address, place.presence.clone());
    let each = Arc::clone(&state);
    supervise(place, state, stop, move |link| {
        let post = Post {
            interface: interface.clone(),
            own,
            link,
            presence: presence.clone(),
            service: Arc::clone(&service),
            state: Arc::clone(&each),
        };
        async move { post.stay().await.unwrap_or_else(|error| error) }
    })
    .await;
}

struct Post<S> {
    interface: String,
    own: Ipv4Addr,
    link: Link,
    presence: watch::Receiver<Presence>,
    service: Arc<S>,
    state: Arc<ListenerState>,
}

/// Where a look is.
struct Look {
    /// Questions still to be asked.
    left: u32,
    /// When the next question, the end, or the next look is due.
    due: Instant,
    /// Whether a look is under way.
    under_way: bool,
    /// Looks since the start, or since a cable was put in.
    ended: usize,
}

impl Look {
    fn begun() -> Self {
        Self { left: QUESTIONS, due: Instant::now(), under_way: true, ended: 0 }
    }

    fn begin(&mut self) {
        (self.left, self.due, self.under_way) = (QUESTIONS, Instant::now(), true);
    }
}

fn has_carrier(presence: &Presence) -> bool {
    matches!(presence, Presence::Ready(link) if link.carrier)
}

impl<S: ForeignService> Post<S> {
    /// Listens and looks until the socket fails.
    async fn stay(&self) -> Result<io::Error, io::Error> {
        let socket = socket(&self.interface, self.own)?;
        self.state.bound(socket.local_addr()?);
        let mut asked: Vec<u32> = Vec::new();
        let mut look = Look::begun();
        let mut presence = self.presence.clone();
        let mut carrier = has_carrier(&presence.borrow_and_update());
        // Also when the interface went away and came back: it may lead somewhere else now.
        self.service.plugged(&self.interface).await;
        let mut buffer = [0u8; LARGEST];
        loop {
            tokio::select! {
                arrived = socket.recv_from(&mut buffer) => match arrived {
                    Ok((length, SocketAddr::V4(source))) => {
                        self.take(buffer.get(..length).unwrap_or_default(), source, &asked).await;
                    }
                    Ok((_, SocketAddr::V6(_))) => {}
                    Err(error) => return Ok(error),
                },
                () = sleep_until(look.due) => self.step(&socket, &mut look, &mut asked).await,
                // Through no cable nothing can be seen; putting one in begins a look anyway.
                () = self.service.wanted(&self.interface), if carrier && !look.under_way => look.begin(),
                // The supervisor ends this when nobody watches any more.
                Ok(()) = presence.changed() => {
                    let before = std::mem::replace(&mut carrier, has_carrier(&presence.borrow_and_update()));
                    if carrier && !before {
                        self.service.plugged(&self.interface).await;
                        look = Look::begun();
                    }
                }
            }
        }
    }

    /// The next question of a look, its end, or the beginning of the next.
    async fn step(&self, socket: &UdpSocket, look: &mut Look, asked: &mut Vec<u32>) {
        if !look.under_way {
            look.begin();
        }
        if let Some(left) = look.left.checked_sub(1) {
            self.ask(socket, asked).await;
            (look.left, look.due) = (left, Instant::now() + WAIT);
            return;
        }
        // Through no cable nothing was seen.
        if has_carrier(&self.presence.borrow()) {
            self.service.looked(&self.interface).await;
        }
        let first = FIRST_PAUSES.get(look.ended).copied().unwrap_or(PAUSE);
        let pause = if self.service.beside(&self.interface) { PAUSE_BESIDE } else { first };
        (look.under_way, look.due, look.ended) =
            (false, Instant::now() + pause, look.ended.saturating_add(1));
    }

    async fn ask(&self, socket: &UdpSocket, asked: &mut Vec<u32>) {
        let mac = self.link.mac.as_ref().and_then(|mac| mac.as_str().parse::<Mac>().ok());
        let (Some(mac), Some(xid)) = (mac, random()) else {
            return self.state.trouble(format!("{} has no Ethernet address to ask with", self.interface));
        };
        if asked.len() >= REMEMBERED {
            asked.remove(0);
        }
        asked.push(xid);
        let to = SocketAddrV4::new(Ipv4Addr::BROADCAST, SERVERS);
        match socket.send_to(&probe::discover(mac, xid), to).await {
            Ok(_) => self.state.answered(),
            Err(error) => self.state.trouble(format!("asking for other DHCP servers failed: {error}")),
        }
    }

    async fn take(&self, bytes: &[u8], source: SocketAddrV4, asked: &[u32]) {
        if *source.ip() == self.own {
            return;
        }
        self.state.received();
        match Heard::parse(bytes) {
            Ok(heard) => {
                let server = heard.server.unwrap_or(*source.ip());
                // A relay's address or ours in it: an answer of our own that came back.
                if server != self.own {
                    let answers = asked.contains(&heard.xid);
                    self.service.heard(&self.interface, Sighting { server, answers, heard }).await;
                }
            }
            Err(why) => self.state.refused(format!("malformed, from {source}: {why}")),
        }
    }
}

fn random() -> Option<u32> {
    let mut octets = [0; 4];
    SystemRandom::new().fill(&mut octets).ok()?;
    Some(u32::from_be_bytes(octets))
}

/// Hears broadcasts to port 68. What we broadcast ourselves comes back to it: the filter drops that in the kernel, or a
/// boot storm would be heard twice.
fn socket(interface: &str, own: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.attach_filter(&not_from(own))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, CLIENTS)).into())?;
    UdpSocket::from_std(socket.into())
}

/// Classic BPF (bpf(4)): the source address of the IP header, by `SKF_NET_OFF` of `linux/filter.h`.
fn not_from(own: Ipv4Addr) -> [SockFilter; 4] {
    const LOAD_WORD: u16 = 0x20;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const SOURCE: u32 = 0xfff0_0000 + 12;
    [
        SockFilter::new(LOAD_WORD, 0, 0, SOURCE),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, u32::from(own)),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}

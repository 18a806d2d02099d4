//! Router solicitations on the wire: one raw ICMPv6 socket on one interface.
//!
//! Refuses to know who is answered: the [`NdpService`] decides. Servers boot without this too, only later; so what is
//! missing here (IPv6 is off on the interface) is said once and is no fault of the appliance.

#[cfg(test)]
mod tests;

use std::io;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::net::UdpSocket;

use super::supervise::supervise;
use super::{ListenerState, Place, Stop};
use crate::net::{Link, Net};

/// All routers on the link (RFC 4291 §2.7.1): whom solicitations are sent to.
const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
/// What no router lets through: who has it is on this link (RFC 4861 §6.1.1).
const HOPS: u32 = 255;
/// How often an interface without a link-local address is looked at again. An address that was just made is not one
/// for a second or two, until the kernel knows that nobody else has it.
const LOOK: Duration = Duration::from_secs(3);
/// How often an address that is there is looked at again: IPv6 can be switched off under us, and nobody says so.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// The largest message looked at, in bytes: an Ethernet frame's worth.
const LARGEST: usize = 1500;

/// What lets router solicitations with a hop limit of 255 through and nothing else, in the kernel, so that no other
/// ICMPv6 message wakes us: classic BPF (`linux/filter.h`), because neither ICMP6_FILTER nor a packet's hop limit is to
/// be had without `unsafe`. The message begins at 0, the IPv6 header at SKF_NET_OFF, its hop limit 7 further.
const ONLY_SOLICITATIONS: [SockFilter; 6] = {
    const LOAD_BYTE: u16 = 0x30;
    const JUMP_IF_EQUAL: u16 = 0x15;
    const RETURN: u16 = 0x06;
    const HOP_LIMIT: u32 = 0xfff0_0000 + 7;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, 0),
        SockFilter::new(JUMP_IF_EQUAL, 0, 3, 133),
        SockFilter::new(LOAD_BYTE, 0, 0, HOP_LIMIT),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, HOPS),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
        SockFilter::new(RETURN, 0, 0, 0),
    ]
};

/// What to say to a router solicitation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NdpAnswer {
    /// This ICMPv6 message, to where it came from; the kernel writes the checksum.
    Send(Vec<u8>),
    /// Nothing, for this reason, and that is normal.
    Silence(String),
    /// Nothing: it was not a router solicitation as hosts send it.
    Malformed(String),
}

/// Decides about router solicitations.
pub trait NdpService: Send + Sync + 'static {
    /// Answers one. Must not wait.
    fn answer(&self, message: &[u8], source: Ipv6Addr) -> NdpAnswer;
}

/// Serves one interface until told to stop.
pub async fn serve<S: NdpService>(place: Place, service: Arc<S>, state: Arc<ListenerState>, stop: Stop) {
    let each = Arc::clone(&state);
    supervise(place, state, stop, move |link| {
        let desk = Desk { link, service: Arc::clone(&service), state: Arc::clone(&each) };
        async move { desk.stay().await }
    })
    .await;
}

struct Desk<S> {
    link: Link,
    service: Arc<S>,
    state: Arc<ListenerState>,
}

impl<S: NdpService> Desk<S> {
    /// Listens whenever the interface has a link-local address, the only source an advertisement may have.
    async fn stay(&self) -> io::Error {
        loop {
            let why = match self.own().await {
                Ok(Some(own)) => self.receive(own).await,
                Ok(None) => "it has no IPv6 link-local address".to_owned(),
                Err(why) => why,
            };
            self.state.without(&format!("{}: {why}; iPXE waits some seconds longer", self.link.name));
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The interface's link-local address.
    async fn own(&self) -> Result<Option<Ipv6Addr>, String> {
        let net = Net::open().map_err(|error| crate::chain(&error))?;
        net.link_local(&self.link).await.map_err(|error| crate::chain(&error))
    }

    /// Takes solicitations until something is not as it was; says what.
    async fn receive(&self, own: Ipv6Addr) -> String {
        let socket = match socket(&self.link) {
            Ok(socket) => socket,
            Err(error) => return format!("no ICMPv6 socket: {error}"),
        };
        self.state.bound(SocketAddrV6::new(own, 0, 0, self.link.index).into());
        tracing::info!(interface = %self.link.name, address = %own, "ndp listens");
        let mut buffer = [0u8; LARGEST];
        let mut look = tokio::time::interval_at(tokio::time::Instant::now() + LOOK_AGAIN, LOOK_AGAIN);
        loop {
            tokio::select! {
                arrived = socket.recv_from(&mut buffer) => match arrived {
                    Ok((length, SocketAddr::V6(source))) => {
                        self.take(buffer.get(..length).unwrap_or_default(), source, &socket).await;
                    }
                    Ok((_, SocketAddr::V4(_))) => {}
                    Err(error) => return format!("receiving failed: {error}"),
                },
                _ = look.tick() => match self.own().await {
                    Ok(now) if now == Some(own) => {}
                    Ok(_) => return "its IPv6 link-local address is gone".to_owned(),
                    Err(why) => return why,
                },
            }
        }
    }

    async fn take(&self, message: &[u8], source: SocketAddrV6, socket: &UdpSocket) {
        self.state.received();
        match self.service.answer(message, *source.ip()) {
            // A raw socket takes no port; the scope says which link.
            NdpAnswer::Send(bytes) => {
                let to = SocketAddrV6::new(*source.ip(), 0, 0, self.link.index);
                match socket.send_to(&bytes, to).await {
                    Ok(_) => self.state.answered(),
                    Err(error) => self.state.trouble(format!("answering {to} failed: {error}")),
                }
            }
            // Every host asks when it comes up: nothing that `status` should show.
            NdpAnswer::Silence(why) => tracing::debug!(%source, why, "ndp silence"),
            NdpAnswer::Malformed(why) => self.state.refused(format!("malformed, from {source}: {why}")),
        }
    }
}

/// A raw socket, in tokio's type for datagrams: there is none for raw ones, and the system calls are the same.
fn socket(link: &Link) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
    socket.attach_filter(&ONLY_SOLICITATIONS)?;
    socket.bind_device(Some(link.name.as_bytes()))?;
    socket.set_unicast_hops_v6(HOPS)?;
    socket.set_nonblocking(true)?;
    socket.join_multicast_v6(&ALL_ROUTERS, link.index)?;
    UdpSocket::from_std(socket.into())
}

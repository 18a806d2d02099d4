//! TFTP on the wire: our own listener and bounds, the `tftpd` crate as the sender of blocks.
//!
//! ```text
//! packet to :69 --pxe::tftp::decide--> Serve --caps--> Transfer: OACK, repeated until ACK 0
//!                                        | Error: one packet          |  tftpd::Worker on its own thread
//!                                        | Silence: counted           |  through a Line that drops duplicate ACKs
//! ```
//!
//! What the crate's own server does (open by the client's path, windows of any size, sleeps that the client chooses)
//! cannot be reached from here: it gets an open file, bounds that `pxe` decided, and a `Line` to talk through.

mod line;
#[cfg(test)]
mod tests;
mod transfer;

use std::collections::BTreeSet;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};

use pxe::files::{NotFound, Transport};
use pxe::tftp::{TftpAnswer, TftpError, TftpWhy, Transfer, decide};
use pxe::trace::{End, Fetch};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::files::{Asker, FileService, Files, Served};
use super::supervise::supervise;
use super::{Gate, ListenerState, Place, Stop};
use transfer::{Ended, Job};

/// The port of RFC 1350.
pub const PORT: u16 = 69;
/// Transfers in all; each has a thread.
const TRANSFERS: usize = 256;
/// Transfers to one address.
const TRANSFERS_EACH: usize = 16;
/// A request is not longer, in bytes (RFC 2347).
const LARGEST: usize = 512;

/// Serves boot files on one interface until told to stop.
pub async fn serve<S: FileService>(
    place: Place,
    port: u16,
    files: Files<S>,
    state: Arc<ListenerState>,
    stop: Stop,
) {
    let shelf = Arc::new(Shelf {
        interface: place.interface.clone(),
        address: SocketAddrV4::new(place.address, port),
        files,
        state: Arc::clone(&state),
        gate: Gate::new(TRANSFERS, TRANSFERS_EACH),
        busy: Mutex::default(),
        stop: stop.clone(),
    });
    supervise(place, state, stop, move |link| {
        let shelf = Arc::clone(&shelf);
        async move {
            match shelf.open() {
                Ok(socket) => shelf.receive(socket, u16::try_from(link.mtu).unwrap_or(u16::MAX)).await,
                Err(error) => error,
            }
        }
    })
    .await;
}

/// What one interface's listener has.
struct Shelf<S> {
    interface: String,
    address: SocketAddrV4,
    files: Files<S>,
    state: Arc<ListenerState>,
    gate: Arc<Gate>,
    /// Clients' ports with a transfer under way: a repeated request is not another one.
    busy: Mutex<BTreeSet<SocketAddr>>,
    stop: Stop,
}

impl<S: FileService> Shelf<S> {
    fn open(&self) -> io::Result<UdpSocket> {
        let socket = socket(&self.interface, self.address)?;
        self.state.bound(socket.local_addr()?);
        tracing::info!(interface = %self.interface, address = %self.address, "tftp listens");
        UdpSocket::from_std(socket)
    }

    async fn receive(self: &Arc<Self>, socket: UdpSocket, mtu: u16) -> io::Error {
        let mut buffer = [0u8; LARGEST];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, peer)) => self.take(buffer.get(..length).unwrap_or_default(), peer, mtu),
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) => return e,
            }
        }
    }

    /// One packet to the port of requests.
    fn take(self: &Arc<Self>, packet: &[u8], peer: SocketAddr, mtu: u16) {
        self.state.received();
        match decide(packet, mtu) {
            TftpAnswer::Silence(why) => self.state.refused(format!("{peer}: {why}")),
            TftpAnswer::Error(error) => self.refuse(&error, peer),
            TftpAnswer::Serve { what, transfer } => match Served::of(what) {
                Some(what) => self.start(what, transfer, peer),
                None => self.state.refused(format!("{peer}: {what:?} stands for nothing")),
            },
        }
    }

    /// One ERROR, from a port of its own as every answer (RFC 1350 §4).
    fn refuse(&self, error: &TftpError, peer: SocketAddr) {
        let end = match error.why {
            TftpWhy::NotFound(NotFound::Probe | NotFound::OnPurpose) => End::Optional,
            TftpWhy::NotFound(NotFound::Unknown) => End::NotFound,
            why @ (TftpWhy::Refused(_) | TftpWhy::ReadOnly | TftpWhy::Mode | TftpWhy::Malformed) => {
                End::Refused { why: why.to_string().into() }
            }
        };
        self.files.asked(Fetch::tftp(error.name.as_str(), end), None, &self.asker(peer));
        if matches!(error.why, TftpWhy::NotFound(NotFound::Probe | NotFound::OnPurpose)) {
            tracing::debug!(%peer, name = %error.name, "tftp: an optional file we do not have");
            self.state.answered();
        } else {
            tracing::warn!(%peer, name = %error.name, why = %error.why, "tftp refused");
            self.state.refused(format!("{peer}: {error}"));
        }
        self.send_error(&error.packet(), peer);
    }

    fn send_error(&self, packet: &[u8], peer: SocketAddr) {
        let sent = self.transfer_socket().and_then(|socket| socket.send_to(packet, peer));
        if let Err(e) = sent {
            self.state.trouble(format!("refusing {peer} failed: {e}"));
        }
    }

    /// A socket on a port of its own.
    fn transfer_socket(&self) -> io::Result<std::net::UdpSocket> {
        socket(&self.interface, SocketAddrV4::new(*self.address.ip(), 0))
    }

    fn start(self: &Arc<Self>, what: Served, bounds: Transfer, peer: SocketAddr) {
        // Over a cap nothing is sent: the client asks again, and by then there is room.
        let seat = match self.gate.enter(peer.ip()) {
            Ok(seat) => seat,
            Err(full) => {
                let fetch = bounds.fetch(&what.to_string(), End::Busy);
                self.files.asked(fetch, Some(what), &self.asker(peer));
                return self.state.dropped(format!("{peer}: {what} not sent: {full}"));
            }
        };
        if !self.busy().insert(peer) {
            return tracing::debug!(%peer, "tftp: a repeated request");
        }
        let shelf = Arc::clone(self);
        tokio::spawn(async move {
            shelf.send(what, bounds, peer).await;
            shelf.busy().remove(&peer);
            drop(seat);
        });
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, BTreeSet<SocketAddr>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, what: Served, bounds: Transfer, peer: SocketAddr) {
        let asker = self.asker(peer);
        let told = |end| self.files.asked(bounds.fetch(&what.to_string(), end), Some(what), &asker);
        let content = match self.files.open(what, &asker).await {
            Ok(content) => content,
            Err(why) => {
                told(End::Missing { why: why.as_str().into() });
                tracing::warn!(%peer, %what, %why, "tftp: not there");
                self.state.refused(format!("{peer}: {what}: {why}"));
                return self.send_error(b"\0\x05\0\x01no such file\0", peer);
            }
        };
        if !bounds.carries(content.length()) {
            self.state.refused(format!("{peer}: {what} does not fit into 65535 blocks of {}", bounds.block));
            return self.send_error(b"\0\x05\0\0too big for this block size\0", peer);
        }
        let socket = match self.transfer_socket() {
            Ok(socket) => socket,
            Err(e) => return self.state.dropped(format!("{peer}: {what} not sent: {e}")),
        };
        let length = content.length();
        let ended = match Job::new(content, bounds, peer, socket) {
            Ok(job) => job.run(self.stop.clone()).await,
            Err(e) => Ended::Failed(e.to_string()),
        };
        told(match &ended {
            Ended::Whole => End::Whole { bytes: length },
            Ended::Refused(said) => End::BrokenOff { said: said.as_str().into() },
            Ended::Failed(why) => End::Stopped { sent: None, why: why.as_str().into() },
        });
        self.ended(&ended, what, &asker);
    }

    fn asker(&self, peer: SocketAddr) -> Asker {
        let (interface, address) = (self.interface.clone(), *self.address.ip());
        Asker { peer, interface, address, transport: Transport::Tftp }
    }

    fn ended(&self, ended: &Ended, what: Served, asker: &Asker) {
        let peer = asker.peer;
        match ended {
            Ended::Whole => {
                tracing::info!(%peer, %what, "tftp served");
                self.state.answered();
                self.files.served(what, asker);
            }
            // UEFI asks for a size that way, and breaks off (PXE 2.1; RFC 2349).
            Ended::Refused(why) => {
                tracing::debug!(%peer, %what, %why, "tftp: the client broke off");
                self.state.answered();
            }
            Ended::Failed(why) => {
                tracing::warn!(%peer, %what, %why, "tftp: not sent to the end");
                self.state.trouble(format!("{peer}: {what} not sent to the end: {why}"));
            }
        }
    }
}

fn socket(interface: &str, address: SocketAddrV4) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::V4(address).into())?;
    Ok(socket.into())
}

//! TFTP on the wire: our own listener and bounds, and one thread that sends.
//!
//! ```text
//! packet to :69 --pxe::tftp::decide--> Serve --caps--> Engine: one thread for all transfers of an interface,
//!                                        | Error: one packet     each with a socket of its own and a pxe::tftp::Sender
//!                                        | Silence: counted
//! ```
//!
//! A client that asks again from the same port is no second transfer: it has not got our answer, or it has broken off
//! and asks otherwise, as firmware does that wanted the size only, or does not like the options that it got.

mod engine;
mod line;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pxe::files::{NotFound, Transport};
use pxe::tftp::{TftpAnswer, TftpError, TftpWhy, Transfer, decide};
use pxe::trace::{self, Fetch};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::files::{Asker, FileService, Files, Served};
use super::supervise::{stopped, supervise};
use super::{Gate, ListenerState, Place, Seat, Stop};
use engine::{End, Engine, Job};
use line::Outcome;

/// The port of RFC 1350.
pub const PORT: u16 = 69;
/// Transfers in all; each has a socket.
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
        numbers: AtomicU64::new(1),
        stop: stop.clone(),
    });
    supervise(place, state, stop, move |link| {
        let shelf = Arc::clone(&shelf);
        async move {
            match shelf.open() {
                Ok((socket, engine)) => {
                    shelf.receive(socket, &engine, u16::try_from(link.mtu).unwrap_or(u16::MAX)).await
                }
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
    /// Clients' ports with a transfer under way.
    busy: Mutex<BTreeMap<SocketAddr, Busy>>,
    /// The next transfer's.
    numbers: AtomicU64,
    stop: Stop,
}

/// A client's port with a transfer under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Busy {
    /// What it asked for last.
    asked: (Served, Transfer),
    /// The number of the transfer; none while the file is being opened.
    number: Option<u64>,
    /// Requests that came since the transfer began.
    requests: u32,
}

impl<S: FileService> Shelf<S> {
    fn open(&self) -> io::Result<(UdpSocket, Arc<Engine>)> {
        let socket = socket(&self.interface, self.address)?;
        let engine = Engine::start(&self.interface)?;
        self.state.bound(socket.local_addr()?);
        tracing::info!(interface = %self.interface, address = %self.address, "tftp listens");
        Ok((UdpSocket::from_std(socket)?, Arc::new(engine)))
    }

    async fn receive(self: &Arc<Self>, socket: UdpSocket, engine: &Arc<Engine>, mtu: u16) -> io::Error {
        let mut buffer = [0u8; LARGEST];
        loop {
            match socket.recv_from(&mut buffer).await {
                Ok((length, peer)) => self.take(buffer.get(..length).unwrap_or_default(), peer, engine, mtu),
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(e) => return e,
            }
        }
    }

    /// One packet to the port of requests.
    fn take(self: &Arc<Self>, packet: &[u8], peer: SocketAddr, engine: &Arc<Engine>, mtu: u16) {
        self.state.received();
        match decide(packet, mtu) {
            TftpAnswer::Silence(why) => self.state.refused(format!("{peer}: {why}")),
            TftpAnswer::Error(error) => self.refuse(&error, peer),
            TftpAnswer::Serve { what, transfer } => match Served::of(what) {
                Some(what) => self.asked((what, transfer), peer, engine),
                None => self.state.refused(format!("{peer}: {what:?} stands for nothing")),
            },
        }
    }

    /// One ERROR, from a port of its own as every answer (RFC 1350 §4).
    fn refuse(&self, error: &TftpError, peer: SocketAddr) {
        let end = match error.why {
            TftpWhy::NotFound(NotFound::Probe) => trace::End::Optional,
            TftpWhy::NotFound(NotFound::OnPurpose | NotFound::Unknown) => trace::End::NotFound,
            why @ (TftpWhy::Refused(_) | TftpWhy::ReadOnly | TftpWhy::Mode | TftpWhy::Malformed) => {
                trace::End::Refused { why: why.to_string().into() }
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

    fn asked(self: &Arc<Self>, asked: (Served, Transfer), peer: SocketAddr, engine: &Arc<Engine>) {
        let mut all = self.busy();
        if let Some(busy) = all.get_mut(&peer) {
            let same = busy.asked == asked;
            busy.asked = asked;
            let number = busy.number;
            busy.requests += u32::from(number.is_some());
            drop(all);
            tracing::debug!(%peer, same, "tftp: another request from the same port");
            return number.into_iter().for_each(|number| engine.asked(number, same));
        }
        // Over a cap nothing is sent: the client asks again, and by then there is room.
        let seat = match self.gate.enter(peer.ip()) {
            Ok(seat) => seat,
            Err(full) => {
                let (what, transfer) = asked;
                let fetch = transfer.fetch(&what.to_string(), trace::End::Busy);
                self.files.asked(fetch, Some(what), &self.asker(peer));
                return self.state.dropped(format!("{peer}: {what} not sent: {full}"));
            }
        };
        all.insert(peer, Busy { asked, number: None, requests: 0 });
        drop(all);
        tokio::spawn(Arc::clone(self).attend(asked, peer, Arc::clone(engine), seat));
    }

    /// Sends what the client asks for, until it has nothing more to ask from this port.
    async fn attend(
        self: Arc<Self>,
        first: (Served, Transfer),
        peer: SocketAddr,
        engine: Arc<Engine>,
        seat: Seat,
    ) {
        let mut asked = first;
        loop {
            let answered = self.send(asked, peer, &engine).await;
            let mut all = self.busy();
            match all.get_mut(&peer) {
                Some(busy) if busy.requests > answered || busy.asked != asked => {
                    asked = busy.asked;
                    (busy.number, busy.requests) = (None, 0);
                }
                _ => {
                    all.remove(&peer);
                    break;
                }
            }
        }
        drop(seat);
    }

    fn busy(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddr, Busy>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many requests that came meanwhile are answered with it.
    async fn send(&self, (what, transfer): (Served, Transfer), peer: SocketAddr, engine: &Engine) -> u32 {
        let asker = self.asker(peer);
        let told = |end| self.files.asked(transfer.fetch(&what.to_string(), end), Some(what), &asker);
        let content = match self.files.load(what, &asker).await {
            Ok(content) => content,
            Err(why) => {
                told(trace::End::Missing { why: why.as_str().into() });
                tracing::warn!(%peer, %what, %why, "tftp: not there");
                self.state.refused(format!("{peer}: {what}: {why}"));
                self.send_error(b"\0\x05\0\x01no such file\0", peer);
                return 0;
            }
        };
        if transfer.comes_round(u64::try_from(content.len()).unwrap_or(u64::MAX)) {
            tracing::warn!(%peer, %what, block = transfer.block, "tftp: block numbers will come round to 0");
        }
        let socket = self.transfer_socket().and_then(|socket| socket.connect(peer).map(|()| socket));
        let socket = match socket {
            Ok(socket) => socket,
            Err(e) => {
                self.state.dropped(format!("{peer}: {what} not sent: {e}"));
                return 0;
            }
        };
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        match self.busy().get_mut(&peer) {
            Some(busy) if busy.asked == (what, transfer) => busy.number = Some(number),
            // It has asked for something else while the file was opened.
            _ => return 0,
        }
        let length = u64::try_from(content.len()).unwrap_or(u64::MAX);
        let end = engine.begin(number, Job { content, transfer, socket });
        let stopping = || {
            let outcome = Outcome::Failed("the controller is stopping".into());
            End { outcome, taken: None, answered: 0 }
        };
        let mut stop = self.stop.clone();
        let end = tokio::select! {
            end = end => end.unwrap_or_else(|_| stopping()),
            () = stopped(&mut stop) => stopping(),
        };
        told(match &end.outcome {
            Outcome::Whole => trace::End::Whole { bytes: length },
            Outcome::BrokenOff(said) => trace::End::BrokenOff { said: said.as_str().into() },
            Outcome::Failed(why) => trace::End::Stopped { sent: end.taken, why: why.as_str().into() },
        });
        self.ended(&end.outcome, what, &asker);
        end.answered
    }

    fn asker(&self, peer: SocketAddr) -> Asker {
        let (interface, address) = (self.interface.clone(), *self.address.ip());
        Asker { peer, interface, address, transport: Transport::Tftp }
    }

    fn ended(&self, outcome: &Outcome, what: Served, asker: &Asker) {
        let peer = asker.peer;
        match outcome {
            Outcome::Whole => {
                tracing::info!(%peer, %what, "tftp served");
                self.state.answered();
                self.files.served(what, asker);
            }
            // UEFI asks for a size that way, and breaks off (PXE 2.1; RFC 2349).
            Outcome::BrokenOff(why) => {
                tracing::debug!(%peer, %what, %why, "tftp: the client broke off");
                self.state.answered();
            }
            Outcome::Failed(why) => {
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

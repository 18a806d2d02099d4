//! Transfers of as much as goes, by TCP, counted where they arrive. Whoever sends says first, with the check's key, who it is and in which
//! step; each is let in once, so that what somebody has recorded is good for nothing.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use protocol::{HEAD_BYTES, Heed, NetworkStep, PROBE_PORT, Probe, ProbeKind, Stream, Streamed};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Socket, Type};

use super::post::{Posts, Shared};

/// How long the other side may take to say anything.
const SILENCE: Duration = Duration::from_secs(2);
/// How much longer than it lasts a transfer is waited for: the other node may be told of it later.
const LATE: Duration = Duration::from_secs(5);
/// How often it is looked whether this is over, in nanoseconds.
const PATIENCE_NANOSECONDS: i64 = 100_000_000;
const PIECE_BYTES: usize = 256 << 10;
/// What says that a transfer may begin.
const GO: u8 = b'k';

/// Sends for as long as the step says.
///
/// # Errors
/// There is no way, nobody answers, or the other side does not want it.
pub(super) fn send(posts: &Posts, step: &NetworkStep, stream: &Stream) -> io::Result<()> {
    let own = step.endpoints.iter().find(|endpoint| endpoint.network == stream.network);
    let own = own.ok_or(io::ErrorKind::AddrNotAvailable)?.address;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddrV4::new(own, 0).into())?;
    socket.connect_timeout(&SocketAddrV4::new(stream.address, PROBE_PORT).into(), SILENCE)?;
    let mut socket = TcpStream::from(socket);
    socket.set_write_timeout(Some(SILENCE))?;
    socket.set_read_timeout(Some(SILENCE))?;
    let (check, from, number) = (posts.shared.check, posts.shared.me, mark(step));
    let (to, network) = (stream.to, stream.network);
    let probe = Probe { kind: ProbeKind::Stream, size: 0, check, from, to, network, number };
    socket.write_all(&probe.head(&posts.shared.key))?;
    let mut go = [0];
    socket.read_exact(&mut go)?;
    if go != [GO] {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    let piece = vec![0; PIECE_BYTES];
    let until = Instant::now() + Duration::from_millis(u64::from(stream.milliseconds.min(Stream::MOST_MS)));
    while Instant::now() < until {
        match socket.write(&piece) {
            Ok(_) => {}
            // A slow link has taken nothing for a while: what it took is counted.
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                break;
            }
            Err(error) => return Err(error),
        }
    }
    // What lies in the buffers of a slow link would take long, and is not counted by then.
    socket.shutdown(Shutdown::Write)
}

/// Waits for the transfer that is to come; nothing when it does not.
pub(super) fn heard(posts: &Posts, step: &NetworkStep, heed: &Heed) -> Option<Streamed> {
    let lasts = Duration::from_millis(u64::from(heed.milliseconds.min(Stream::MOST_MS)));
    let until = Instant::now() + lasts + LATE;
    while Instant::now() < until {
        let streamed = posts.shared.streamed(heed.from, heed.network, mark(step));
        if streamed.is_some_and(|streamed| streamed.micros > 0) {
            return streamed;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    None
}

/// What a transfer is told by from those of other steps.
fn mark(step: &NetworkStep) -> u16 {
    u16::try_from(step.number & 0xffff).unwrap_or_default()
}

/// Lets members send, one after the other, until this is over.
pub(super) fn serve(listener: &TcpListener, network: u16, shared: &Shared) {
    let patience = Timespec { tv_sec: 0, tv_nsec: PATIENCE_NANOSECONDS };
    if listener.set_nonblocking(true).is_err() {
        return;
    }
    while !shared.is_over() {
        let mut ready = [PollFd::new(listener, PollFlags::IN)];
        if poll(&mut ready, Some(&patience)).is_err() {
            std::thread::sleep(Duration::from_millis(100));
            continue;
        }
        let Ok((mut stream, SocketAddr::V4(peer))) = listener.accept() else { continue };
        let peer = IpAddr::V4(*peer.ip());
        // Strangers don't even hold anybody up.
        if shared.knows(peer) {
            drop(count(&mut stream, peer, network, shared));
        }
    }
}

fn count(stream: &mut TcpStream, peer: IpAddr, network: u16, shared: &Shared) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    let mut head = [0; HEAD_BYTES];
    stream.read_exact(&mut head)?;
    let probe = Probe::read(&head, &shared.key).filter(|probe| probe.kind == ProbeKind::Stream);
    let probe = probe.filter(|probe| shared.is_of(probe, network, peer) && shared.begins(probe));
    let Some(probe) = probe else { return Ok(()) };
    stream.write_all(&[GO])?;
    let mut piece = vec![0; PIECE_BYTES];
    let (mut bytes, mut first, mut last) = (0_u64, None, Duration::ZERO);
    let begun = Instant::now();
    let longest = Duration::from_millis(u64::from(Stream::MOST_MS)) + SILENCE;
    while begun.elapsed() < longest && !shared.is_over() {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(came) => {
                let at = begun.elapsed();
                // The first piece says when it began, and not how fast it came.
                match first {
                    None => first = Some(at),
                    Some(_) => bytes += came as u64,
                }
                last = at;
            }
        }
    }
    let took = last.saturating_sub(first.unwrap_or(last));
    shared.ends(&probe, bytes, u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    Ok(())
}

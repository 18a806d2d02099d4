//! What `tftpd`'s worker talks through instead of a socket.
//!
//! It keeps three faults of the worker from doing harm. A duplicate acknowledgement sends it into a loop that polls
//! until its timeout: those never reach it. Its polling is endless: after a few polls each one waits a millisecond.
//! And every way it can fail prints on the daemon's standard error: so it is never told of a failure. A transfer that
//! has ended is acknowledged to its end without a packet, which takes the time of reading the file.

use std::error::Error;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tftpd::{ErrorCode, Packet, Socket};

use super::transfer::Ended;

/// Polls without waiting, before each waits.
const POLLS: u64 = 8;
/// How long a poll waits after those.
const PAUSE: Duration = Duration::from_millis(1);
/// The longest wait for a packet, so that an ended transfer is noticed.
const LONGEST_WAIT: Duration = Duration::from_millis(100);
/// An acknowledgement has four octets, an error a short text.
const LARGEST: usize = 128;

/// What the watch sees of a transfer.
#[derive(Debug)]
pub(super) struct Progress {
    start: Instant,
    /// Milliseconds after `start` of the last new acknowledgement.
    last: AtomicU64,
    over: AtomicBool,
    how: Mutex<Option<Ended>>,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            last: AtomicU64::new(0),
            over: AtomicBool::new(false),
            how: Mutex::default(),
        }
    }

    /// How long nothing new was acknowledged.
    pub(super) fn idle(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    /// Ends the transfer early; the first reason stays.
    pub(super) fn end(&self, how: Ended) {
        self.how.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(how);
        self.over.store(true, Ordering::Release);
    }

    pub(super) fn has_ended(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// How it was ended early, if it was.
    pub(super) fn ended(&self) -> Option<Ended> {
        self.how.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn moved(&self) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }
}

/// The worker's socket.
pub(super) struct Line {
    socket: UdpSocket,
    peer: SocketAddr,
    window: u16,
    progress: Arc<Progress>,
    waits: bool,
    timeout: Duration,
    at: Mutex<At>,
}

/// Where the transfer is.
#[derive(Debug, Default)]
struct At {
    /// The last block that the worker has been told is acknowledged.
    acknowledged: u16,
    /// The furthest block that the worker has sent; it goes back when it repeats a window.
    sent: u16,
    /// Polls in a row that brought nothing.
    empty: u64,
}

impl Line {
    /// The socket must be connected and non-blocking.
    pub(super) fn new(socket: UdpSocket, peer: SocketAddr, window: u16, progress: Arc<Progress>) -> Self {
        let timeout = Duration::from_secs(1);
        Self { socket, peer, window, progress, waits: true, timeout, at: Mutex::default() }
    }

    fn at(&self) -> std::sync::MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next packet that the worker shall see before `until`.
    fn next(&self, until: Instant) -> Option<Packet> {
        let mut buffer = [0u8; LARGEST];
        loop {
            if self.progress.has_ended() {
                return self.pretend();
            }
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    if let Some(packet) = self.sift(buffer.get(..length).unwrap_or_default()) {
                        return Some(packet);
                    }
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    if Instant::now() >= until {
                        return None;
                    }
                    self.wait(until);
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => self.progress.end(Ended::Failed(format!("the client is gone ({e})"))),
            }
        }
    }

    /// Acknowledges what the worker sent last, once.
    fn pretend(&self) -> Option<Packet> {
        let mut at = self.at();
        let new = at.sent.wrapping_sub(at.acknowledged);
        at.acknowledged = at.sent;
        (new != 0).then_some(Packet::Ack(at.sent))
    }

    /// An acknowledgement of something new, in the window; everything else is for us, or for nobody.
    fn sift(&self, packet: &[u8]) -> Option<Packet> {
        match packet {
            [0, 4, high, low, ..] => {
                let block = u16::from_be_bytes([*high, *low]);
                let mut at = self.at();
                let outstanding = at.sent.wrapping_sub(at.acknowledged).min(self.window);
                let new = block.wrapping_sub(at.acknowledged);
                if new == 0 || new > outstanding {
                    return None;
                }
                at.acknowledged = block;
                self.progress.moved();
                Some(Packet::Ack(block))
            }
            [0, 5, rest @ ..] => {
                self.progress.end(Ended::Refused(error_text(rest)));
                None
            }
            _ => None,
        }
    }

    fn wait(&self, until: Instant) {
        let left = until.saturating_duration_since(Instant::now());
        let Ok(left) = Timespec::try_from(left) else { return };
        // An interrupted or failed wait is a short one.
        let _ = poll(&mut [PollFd::new(&self.socket, PollFlags::IN)], Some(&left));
    }
}

impl Socket for Line {
    fn send(&self, packet: &Packet) -> Result<(), Box<dyn Error>> {
        if let Packet::Data { block_num, .. } = packet {
            let mut at = self.at();
            if block_num.wrapping_sub(at.acknowledged) <= self.window {
                let furthest =
                    at.sent.wrapping_sub(at.acknowledged).max(block_num.wrapping_sub(at.acknowledged));
                at.sent = at.acknowledged.wrapping_add(furthest);
            }
            at.empty = 0;
        }
        if self.progress.has_ended() {
            return Ok(());
        }
        match self.socket.send(&packet.serialize()?) {
            Ok(_) => Ok(()),
            // The worker waits a moment and sends it again.
            Err(e) if e.kind() == ErrorKind::WouldBlock => Err(e.into()),
            Err(e) => {
                self.progress.end(Ended::Failed(format!("sending: {e}")));
                Ok(())
            }
        }
    }

    fn send_to(&self, packet: &Packet, _to: &SocketAddr) -> Result<(), Box<dyn Error>> {
        self.send(packet)
    }

    fn recv_with_size(&self, _size: usize) -> Result<Packet, Box<dyn Error>> {
        let wait = if self.waits {
            self.timeout.min(LONGEST_WAIT)
        } else {
            let mut at = self.at();
            at.empty = at.empty.saturating_add(1);
            if at.empty > POLLS { PAUSE } else { Duration::ZERO }
        };
        self.next(Instant::now() + wait).ok_or_else(|| io::Error::from(ErrorKind::WouldBlock).into())
    }

    fn recv_from_with_size(&self, size: usize) -> Result<(Packet, SocketAddr), Box<dyn Error>> {
        Ok((self.recv_with_size(size)?, self.peer))
    }

    fn remote_addr(&self) -> Result<SocketAddr, Box<dyn Error>> {
        Ok(self.peer)
    }

    fn set_read_timeout(&mut self, timeout: Duration) -> Result<(), Box<dyn Error>> {
        self.timeout = timeout;
        Ok(())
    }

    fn set_write_timeout(&mut self, _: Duration) -> Result<(), Box<dyn Error>> {
        Ok(())
    }

    fn set_nonblocking(&mut self, nonblocking: bool) -> Result<(), Box<dyn Error>> {
        self.waits = !nonblocking;
        Ok(())
    }
}

/// The body of an ERROR packet, for a log.
pub(super) fn error_text(body: &[u8]) -> String {
    let (code, text) = body.split_at_checked(2).unwrap_or_default();
    let code = code.last().copied().unwrap_or(0);
    let name = ErrorCode::from_u16(code.into()).map_or("unknown".into(), |c| format!("{c:?}"));
    let text = text.iter().take_while(|&&b| b != 0).take(80);
    let text = text.map(|&b| if b.is_ascii_graphic() || b == b' ' { char::from(b) } else { '?' });
    format!("error {code} ({name}): {}", text.collect::<String>())
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;

    use tftpd::{Packet, Socket};

    use super::{Ended, Line, Progress, error_text};

    fn line(window: u16) -> (Line, UdpSocket, Arc<Progress>) {
        let (ours, client) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        ours.connect(client.local_addr().unwrap()).unwrap();
        client.connect(ours.local_addr().unwrap()).unwrap();
        ours.set_nonblocking(true).unwrap();
        let (peer, progress) = (client.local_addr().unwrap(), Arc::new(Progress::new()));
        (Line::new(ours, peer, window, Arc::clone(&progress)), client, progress)
    }

    fn data(line: &Line, block_num: u16) {
        line.send(&Packet::Data { block_num, data: vec![7; 8] }).unwrap();
    }

    #[test]
    fn only_new_acknowledgements_inside_the_window_reach_the_worker() {
        let (line, client, _) = line(4);
        for block in 1..=4 {
            data(&line, block);
        }
        // The window is being repeated when the client's answer to its first sending comes.
        data(&line, 1);
        for block in [0u16, 9999, 5, 65535, 2, 2, 1, 4] {
            let [high, low] = block.to_be_bytes();
            client.send(&[0, 4, high, low]).unwrap();
        }
        client.send(b"\0\x03\0\x01data").unwrap();
        client.send(b"\0").unwrap();
        assert_eq!(line.recv().unwrap(), Packet::Ack(2));
        assert_eq!(line.recv().unwrap(), Packet::Ack(4));
        assert!(line.recv().is_err());
    }

    #[test]
    fn block_numbers_come_round() {
        let (line, client, _) = line(4);
        line.at().acknowledged = 65_534;
        line.at().sent = 65_534;
        for block in [65_535, 0, 1] {
            data(&line, block);
        }
        client.send(&[0, 4, 0, 1]).unwrap();
        assert_eq!(line.recv().unwrap(), Packet::Ack(1));
    }

    #[test]
    fn a_transfer_that_ended_is_acknowledged_without_a_packet() {
        let (line, client, progress) = line(4);
        data(&line, 1);
        client.send(b"\0\x05\0\x08enough\0").unwrap();
        assert_eq!(line.recv().unwrap(), Packet::Ack(1), "the worker is not told");
        assert_eq!(progress.ended(), Some(Ended::Refused("error 8 (RefusedOption): enough".into())));
        client.recv(&mut [0; 20]).unwrap();
        data(&line, 2);
        assert_eq!(line.recv().unwrap(), Packet::Ack(2));
        assert!(line.recv().is_err());
        client.set_nonblocking(true).unwrap();
        assert!(client.recv(&mut [0; 20]).is_err(), "nothing more is sent");
    }

    #[test]
    fn error_texts_are_made_printable_and_short() {
        assert_eq!(error_text(b"\0\x01no\x1b[2J\xff\0rest"), "error 1 (FileNotFound): no?[2J?");
        assert_eq!(error_text(b""), "error 0 (NotDefined): ");
        assert_eq!(error_text(&[0, 200]), "error 200 (unknown): ");
        assert!(error_text(&[b'x'; 500]).len() < 120);
    }
}

//! One transfer: its socket, what it sends, and the [`Sender`] that decides.

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use pxe::tftp::{LARGEST_BLOCK, Packet, Sender, Transfer};

use super::engine::{End, Job};

/// An acknowledgement has four octets, an error a short text.
const LARGEST: usize = 128;
/// The octets of a DATA packet before its data.
const HEADER: usize = 4;
/// Packets of a client that are taken before others have their turn.
const TURN: usize = 32;

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The last block was acknowledged.
    Whole,
    /// The client sent an ERROR.
    BrokenOff(String),
    /// It went away, asked for something else, or something broke.
    Failed(String),
}

/// A transfer under way.
pub(super) struct Line {
    content: Arc<Vec<u8>>,
    transfer: Transfer,
    socket: UdpSocket,
    sender: Sender,
    failed: Option<String>,
    answered: u32,
}

impl Line {
    pub(super) fn new(job: Job, sender: Sender) -> Self {
        let Job { content, transfer, socket } = job;
        Self { content, transfer, socket, sender, failed: None, answered: 0 }
    }

    pub(super) fn socket(&self) -> &UdpSocket {
        &self.socket
    }

    /// The kernel has a packet. One is taken: if there are more, it says so again.
    pub(super) fn hear(&mut self, now: Duration) {
        self.take(now);
    }

    /// True when there was one.
    fn take(&mut self, now: Duration) -> bool {
        let mut buffer = [0; LARGEST];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                self.sender.hear(buffer.get(..length).unwrap_or_default(), now);
                true
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => false,
            Err(e) => self.fail(format!("the client is gone ({e})")),
        }
    }

    fn fail(&mut self, why: String) -> bool {
        self.failed.get_or_insert(why);
        false
    }

    /// The client has sent another request. What it said before that lies in this socket: an ERROR most likely, as
    /// firmware sends that has learnt the size, or does not like the options.
    pub(super) fn asked(&mut self, same: bool, now: Duration) {
        for _ in 0..TURN {
            if !self.take(now) {
                break;
            }
        }
        if self.sender.ended().is_some() || self.failed.is_some() {
            return;
        }
        if same {
            self.answered += 1;
            self.sender.asked_again(now);
        } else {
            self.fail("the client asked for something else".to_owned());
        }
    }

    pub(super) fn late(&mut self, now: Duration) {
        self.sender.late(now);
    }

    pub(super) fn deadline(&self) -> Duration {
        self.sender.deadline()
    }

    /// Sends what there is to send now; false when the kernel has no room for all of it.
    pub(super) fn send(&mut self) -> bool {
        let mut buffer = [0; HEADER + LARGEST_BLOCK as usize];
        while self.failed.is_none()
            && let Some(packet) = self.sender.next()
        {
            let sent = match packet {
                Packet::Oack => {
                    let size = u64::try_from(self.content.len()).unwrap_or(u64::MAX);
                    self.socket.send(&self.transfer.oack(size).unwrap_or_default())
                }
                Packet::Data { number, offset, length } => {
                    let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                    let end = offset.saturating_add(length.into());
                    let data = self.content.get(offset..end).unwrap_or_default();
                    self.socket.send(fill(&mut buffer, number, data))
                }
            };
            match sent {
                Ok(_) => self.sender.sent(),
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return false,
                Err(e) => {
                    self.fail(format!("sending: {e}"));
                }
            }
        }
        true
    }

    /// How it ended; nothing while it goes on.
    pub(super) fn end(&self) -> Option<End> {
        let outcome = match (self.sender.ended(), &self.failed) {
            (Some(ended), _) => ended.into(),
            (None, Some(why)) => Outcome::Failed(why.clone()),
            (None, None) => return None,
        };
        Some(End { outcome, taken: self.sender.taken(), answered: self.answered })
    }
}

/// A DATA packet (RFC 1350 §5).
fn fill<'a>(buffer: &'a mut [u8], number: u16, data: &[u8]) -> &'a [u8] {
    let [high, low] = number.to_be_bytes();
    if let Some((header, rest)) = buffer.split_first_chunk_mut::<HEADER>()
        && let Some(room) = rest.get_mut(..data.len())
    {
        *header = [0, 3, high, low];
        room.copy_from_slice(data);
    }
    buffer.get(..HEADER + data.len()).unwrap_or_default()
}

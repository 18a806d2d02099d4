//! One transfer after its request, as a state machine: what the client said goes in, which packet to send comes out.
//!
//! Knows windows, block numbers and when to say something again. Refuses to know sockets and clocks: a packet that was
//! not sent is asked for again, and the time is an argument, as the time since any fixed moment.
//!
//! What a client, or somebody in its name, can make us send is bounded. Before its first acknowledgement: the OACK or
//! the first block [`OPENINGS`] times, and once for every further request. After it: a window each time-out for
//! [`PATIENCE`], and a window each acknowledgement of something new. A repeated acknowledgement brings nothing with
//! windows of one block (the sorcerer's apprentice, RFC 1123 §4.2.3.1); with longer ones it says that a block was lost
//! (RFC 7440 §4), and is believed once until the window after the one that was repeated has gone through.

use core::time::Duration;

use super::{DEFAULT_TIMEOUT, Transfer, printable};

/// How often the first packet is sent to a client that says nothing: an OACK and its headers are then less than three
/// times what the request cost.
pub const OPENINGS: u32 = 3;
/// Nothing new was acknowledged for so long, or for eight of the client's time-outs: it is gone.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// Block numbers that there are.
const NUMBERS: u64 = 1 << 16;

/// How a transfer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The last block was acknowledged.
    Whole,
    /// The client sent an ERROR; this is its text, made printable.
    BrokenOff(String),
    /// The client acknowledged nothing at all.
    Unanswered,
    /// The client acknowledged nothing new for so long.
    Silent(Duration),
}

/// A packet to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// [`Transfer::oack`].
    Oack,
    /// A DATA packet.
    Data {
        /// Its number on the wire: comes round to 0 after 65,535.
        number: u16,
        /// Where its octets begin in what is sent.
        offset: u64,
        /// How many they are: fewer than a block in the last one.
        length: u16,
    },
}

/// One transfer under way.
#[derive(Clone, Debug)]
pub struct Sender {
    transfer: Transfer,
    size: u64,
    /// Blocks in all: the last one is shorter than the others, or empty.
    blocks: u64,
    /// Blocks that were acknowledged.
    done: u64,
    /// Blocks up to here were sent since the last step back.
    sent: u64,
    /// Blocks up to here were ever sent.
    furthest: u64,
    oack: Oack,
    heard: bool,
    /// Sendings of the first packet.
    openings: u32,
    /// A repeated acknowledgement is believed only when everything before this block was acknowledged.
    believed_from: u64,
    moved: Duration,
    deadline: Duration,
    ended: Option<Ended>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oack {
    /// There is none, or it was acknowledged.
    Over,
    /// It is to be sent.
    Due,
    /// It was sent.
    Sent,
}

impl Sender {
    /// The sending of `size` octets as agreed.
    #[must_use]
    pub fn new(transfer: Transfer, size: u64, now: Duration) -> Sender {
        let oack = if transfer.oack(size).is_some() { Oack::Due } else { Oack::Over };
        let blocks = size / u64::from(transfer.block.max(1)) + 1;
        let mut sender = Sender {
            transfer,
            size,
            blocks,
            done: 0,
            sent: 0,
            furthest: 0,
            oack,
            heard: false,
            openings: 1,
            believed_from: 0,
            moved: now,
            deadline: now,
            ended: None,
        };
        sender.wait(now);
        sender
    }

    /// What is to be sent now; nothing until something is heard, or [`Sender::deadline`] has come. The same again until
    /// it was [`Sender::sent`].
    #[must_use]
    pub fn next(&self) -> Option<Packet> {
        if self.ended.is_some() {
            return None;
        }
        match self.oack {
            Oack::Due => return Some(Packet::Oack),
            Oack::Sent => return None,
            Oack::Over => {}
        }
        let until = self.done.saturating_add(self.transfer.window.into()).min(self.blocks);
        (self.sent < until).then(|| {
            let block = u64::from(self.transfer.block);
            let offset = self.sent.saturating_mul(block);
            let length = self.size.saturating_sub(offset).min(block);
            Packet::Data {
                number: low(self.sent.wrapping_add(1)),
                offset,
                length: u16::try_from(length).unwrap_or(self.transfer.block),
            }
        })
    }

    /// What [`Sender::next`] gave was sent.
    pub fn sent(&mut self) {
        if self.oack == Oack::Due {
            self.oack = Oack::Sent;
        } else if self.next().is_some() {
            self.sent = self.sent.saturating_add(1);
            self.furthest = self.furthest.max(self.sent);
        }
    }

    /// A packet of the client, from its port. Whatever it is: what is no acknowledgement of this transfer is ignored.
    pub fn hear(&mut self, packet: &[u8], now: Duration) {
        if self.ended.is_some() {
            return;
        }
        match packet {
            [0, 4, high, low, ..] => self.acknowledged(u16::from_be_bytes([*high, *low]), now),
            [0, 5, rest @ ..] => self.ended = Some(Ended::BrokenOff(error_text(rest))),
            _ => {}
        }
    }

    fn acknowledged(&mut self, number: u16, now: Duration) {
        if self.oack != Oack::Over {
            // Before the OACK was sent, nothing can have been meant by it.
            if number == 0 && self.oack == Oack::Sent {
                self.oack = Oack::Over;
                self.progress(now);
            }
            return;
        }
        let ahead = u64::from(number.wrapping_sub(low(self.done)));
        let outstanding = self.furthest.saturating_sub(self.done).min(self.transfer.window.into());
        if ahead == 0 {
            self.again();
        } else if ahead <= outstanding {
            let before = self.sent;
            self.done = self.done.saturating_add(ahead);
            // Less than all: what comes after it was lost (RFC 7440 §4). More than what was sent again: the first sending
            // has arrived after all.
            self.sent = self.done;
            if self.done < before {
                self.believed_from =
                    self.done.saturating_add(u64::from(self.transfer.window)).saturating_add(1);
            }
            self.progress(now);
            if self.done >= self.blocks {
                self.ended = Some(Ended::Whole);
            }
        }
    }

    /// The last acknowledgement came once more.
    fn again(&mut self) {
        let window = u64::from(self.transfer.window);
        // Only a whole window that is out can have lost its beginning.
        let out = self.sent == self.done.saturating_add(window).min(self.blocks);
        if window > 1 && self.heard && out && self.done >= self.believed_from {
            self.sent = self.done;
            self.believed_from = self.done.saturating_add(window).saturating_add(1);
        }
    }

    fn progress(&mut self, now: Duration) {
        self.heard = true;
        self.moved = now;
        self.wait(now);
    }

    fn wait(&mut self, now: Duration) {
        self.deadline = now.saturating_add(self.timeout());
    }

    /// As the client asked, once it is heard: until then it may be somebody else's address, and costs us a second at a
    /// time.
    fn timeout(&self) -> Duration {
        let seconds = if self.heard { self.transfer.timeout } else { DEFAULT_TIMEOUT };
        Duration::from_secs(seconds.into())
    }

    /// The client has asked for the same once more, from the same port: it has not got the answer.
    pub fn asked_again(&mut self, now: Duration) {
        if !self.heard {
            self.step_back();
            self.wait(now);
        }
    }

    fn step_back(&mut self) {
        self.sent = self.done;
        if self.oack == Oack::Sent {
            self.oack = Oack::Due;
        }
    }

    /// When [`Sender::late`] wants to be called, unless something new is heard before.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// Time has passed. Before the deadline nothing happens; then what is not acknowledged is sent again, or the transfer
    /// ends.
    pub fn late(&mut self, now: Duration) {
        if self.ended.is_some() || now < self.deadline {
            return;
        }
        self.wait(now);
        if self.heard {
            let quiet = now.saturating_sub(self.moved);
            if quiet >= PATIENCE.max(self.timeout().saturating_mul(8)) {
                self.ended = Some(Ended::Silent(quiet));
            }
        } else if self.openings > OPENINGS {
            self.ended = Some(Ended::Unanswered);
        } else if self.openings == OPENINGS {
            // Silence costs nobody anything, and the answer to the last sending may be on its way.
            self.openings += 1;
            return;
        } else {
            self.openings += 1;
        }
        self.step_back();
    }

    /// Octets that the client has acknowledged; nothing while it has not answered at all.
    #[must_use]
    pub fn taken(&self) -> Option<u64> {
        self.heard.then(|| self.done.saturating_mul(self.transfer.block.into()).min(self.size))
    }

    /// How it ended; nothing while it goes on.
    #[must_use]
    pub const fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref()
    }
}

impl core::fmt::Display for Ended {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Ended::Whole => f.write_str("the last block was acknowledged"),
            Ended::BrokenOff(text) => write!(f, "the client broke off: {text}"),
            Ended::Unanswered => write!(f, "the first packet was not answered {OPENINGS} times"),
            Ended::Silent(quiet) => write!(f, "nothing new was acknowledged for {} s", quiet.as_secs()),
        }
    }
}

/// The number of a block on the wire.
fn low(block: u64) -> u16 {
    u16::try_from(block % NUMBERS).unwrap_or_default()
}

/// The body of an ERROR packet, for a log (RFC 1350, appendix; RFC 2347).
fn error_text(body: &[u8]) -> String {
    let (code, text) = body.split_first_chunk::<2>().unwrap_or((&[0, 0], &[]));
    let code = u16::from_be_bytes(*code);
    let name = match code {
        0 => "not defined",
        1 => "file not found",
        2 => "access violation",
        3 => "disk full",
        4 => "illegal operation",
        5 => "unknown transfer",
        6 => "file exists",
        7 => "no such user",
        8 => "options refused",
        _ => "unknown",
    };
    let text: Vec<u8> = text.iter().take_while(|octet| **octet != 0).copied().collect();
    format!("error {code} ({name}): {}", printable(&text, 80))
}

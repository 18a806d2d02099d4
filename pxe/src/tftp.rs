//! TFTP: reading a request, and bounding what it asks for (RFC 1350, 2347, 2348, 2349, 7440).
//!
//! What a client may make us spend is decided here: a block that fits the network, a window of 16 blocks, a timeout of
//! 10 seconds. The transfer that follows is a [`Sender`].

mod sender;

pub use sender::{Ended, OPENINGS, PATIENCE, Packet, Sender};

use crate::files::{NotFound, Refused, Resolved, Transport, resolve};
use crate::trace::{End, Fetch};

/// The block size of a client that asks for none.
pub const DEFAULT_BLOCK: u16 = 512;
/// The largest block: what fits an Ethernet frame after IP, UDP and TFTP.
pub const LARGEST_BLOCK: u16 = 1468;
/// The largest window; more brings nothing.
pub const LARGEST_WINDOW: u16 = 16;
/// The longest time between two sendings of a block that a client may ask for, in seconds.
pub const LONGEST_TIMEOUT: u8 = 10;
/// The seconds between two sendings when the client asks for none.
pub const DEFAULT_TIMEOUT: u8 = 1;

/// IP, UDP and TFTP headers, as UEFI counts them.
const HEADERS: u16 = 32;
const SMALLEST_BLOCK: u16 = 8;

/// What a packet to port 69 gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TftpAnswer {
    /// Send this.
    Serve {
        /// What: never [`Resolved::NotFound`] or [`Resolved::Refused`].
        what: Resolved,
        /// How.
        transfer: Transfer,
    },
    /// Send [`TftpError::packet`], once.
    Error(TftpError),
    /// Send nothing.
    Silence(Silent),
}

/// A refusal that is sent to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why} ({name})")]
pub struct TftpError {
    /// What the client asked for, made printable; for the log.
    pub name: String,
    /// Why it does not get it.
    pub why: TftpWhy,
}

/// Why a request is refused. The text is sent; it names no path of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TftpWhy {
    /// There is no such file.
    #[error("{0}")]
    NotFound(NotFound),
    /// No file of ours could have that name.
    #[error("{0}")]
    Refused(Refused),
    /// A write request.
    #[error("this server is read-only")]
    ReadOnly,
    /// A mode other than `octet`.
    #[error("only mode octet is served")]
    Mode,
    /// A request without name or mode.
    #[error("the request is malformed")]
    Malformed,
}

/// Why a packet to port 69 is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Silent {
    /// DATA, ACK, ERROR or OACK: belongs to a transfer, and those have ports of their own.
    #[error("a packet of a transfer (opcode {0}), on the port for requests")]
    NotARequest(u16),
    /// Shorter than an opcode, or an opcode that there is not.
    #[error("not a TFTP packet")]
    Garbage,
}

/// The bounds of one transfer, agreed with the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Octets of a block.
    pub block: u16,
    /// Blocks between two acknowledgements.
    pub window: u16,
    /// Seconds between two sendings of what is not acknowledged.
    pub timeout: u8,
    /// The client asked for these; an OACK names nothing else.
    asked: Asked,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    block: bool,
    window: bool,
    timeout: bool,
    size: bool,
}

impl Transfer {
    /// What the black box keeps of a request with these options, once it has ended.
    #[must_use]
    pub fn fetch(&self, name: &str, end: End) -> Fetch {
        Fetch {
            block: self.asked.block.then_some(self.block),
            window: self.asked.window.then_some(self.window),
            size: self.asked.size,
            ..Fetch::tftp(name, end)
        }
    }

    /// The OACK that opens the transfer of `size` octets; None when the client asked for no option that we take, and
    /// the first block opens it.
    #[must_use]
    pub fn oack(&self, size: u64) -> Option<Vec<u8>> {
        let options = [
            (self.asked.block, "blksize", u64::from(self.block)),
            (self.asked.window, "windowsize", u64::from(self.window)),
            (self.asked.timeout, "timeout", u64::from(self.timeout)),
            (self.asked.size, "tsize", size),
        ];
        let mut packet = vec![0, 6];
        for (_, name, value) in options.iter().filter(|(asked, ..)| *asked) {
            packet.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
        }
        (packet.len() > 2).then_some(packet)
    }

    /// Whether the block number comes round to 0 before `size` octets are sent, which some firmware cannot follow.
    #[must_use]
    pub fn comes_round(&self, size: u64) -> bool {
        size / u64::from(self.block.max(1)) >= u64::from(u16::MAX)
    }
}

impl TftpError {
    /// The ERROR packet.
    #[must_use]
    pub fn packet(&self) -> Vec<u8> {
        let mut packet = vec![0, 5, 0, self.why.code()];
        packet.extend_from_slice(self.why.to_string().as_bytes());
        packet.push(0);
        packet
    }
}

impl TftpWhy {
    /// The code on the wire (RFC 1350, appendix).
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            TftpWhy::NotFound(_) => 1,
            TftpWhy::Refused(_) | TftpWhy::ReadOnly => 2,
            TftpWhy::Mode | TftpWhy::Malformed => 4,
        }
    }
}

/// What a packet to port 69 gets, on an interface of this MTU. Total.
#[must_use]
pub fn decide(packet: &[u8], mtu: u16) -> TftpAnswer {
    let Some((opcode, rest)) = packet.split_first_chunk::<2>() else {
        return TftpAnswer::Silence(Silent::Garbage);
    };
    let mut texts = texts(rest);
    let name = texts.next();
    let refuse = |why| {
        TftpAnswer::Error(TftpError { name: printable(name.unwrap_or_default(), 100).replace(' ', "?"), why })
    };
    match u16::from_be_bytes(*opcode) {
        1 => {}
        2 => return refuse(TftpWhy::ReadOnly),
        other @ 3..=6 => return TftpAnswer::Silence(Silent::NotARequest(other)),
        _ => return TftpAnswer::Silence(Silent::Garbage),
    }
    let (Some(file), Some(mode)) = (name, texts.next()) else { return refuse(TftpWhy::Malformed) };
    if !mode.eq_ignore_ascii_case(b"octet") {
        return refuse(TftpWhy::Mode);
    }
    match resolve(file, Transport::Tftp) {
        Resolved::NotFound(why) => refuse(TftpWhy::NotFound(why)),
        Resolved::Refused(why) => refuse(TftpWhy::Refused(why)),
        what @ (Resolved::Static(_)
        | Resolved::GrubConfig
        | Resolved::Autoexec
        | Resolved::Join
        | Resolved::NodeGrub(_)
        | Resolved::NodeScript(_)) => TftpAnswer::Serve { what, transfer: agree(texts, mtu) },
    }
}

/// The NUL-terminated texts of a packet; ends at one that is not terminated.
fn texts(mut octets: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let end = octets.iter().position(|octet| *octet == 0)?;
        let (text, rest) = octets.split_at_checked(end)?;
        octets = rest.get(1..).unwrap_or_default();
        Some(text)
    })
}

/// Takes the options that we know, each at its first mention and only with a number that RFCs allow; never more than
/// was asked. What is not taken is left out of the OACK, as RFC 2347 has it.
fn agree<'a>(mut texts: impl Iterator<Item = &'a [u8]>, mtu: u16) -> Transfer {
    let mut transfer =
        Transfer { block: DEFAULT_BLOCK, window: 1, timeout: DEFAULT_TIMEOUT, asked: Asked::default() };
    let largest = mtu.saturating_sub(HEADERS).clamp(SMALLEST_BLOCK, LARGEST_BLOCK);
    while let (Some(name), Some(value)) = (texts.next(), texts.next()) {
        let Some(number) = number(value) else { continue };
        let bounded = u16::try_from(number).unwrap_or(u16::MAX);
        match name.to_ascii_lowercase().as_slice() {
            b"blksize" if !transfer.asked.block && bounded >= SMALLEST_BLOCK => {
                transfer.asked.block = true;
                transfer.block = bounded.min(largest);
            }
            b"windowsize" if !transfer.asked.window && bounded >= 1 => {
                transfer.asked.window = true;
                transfer.window = bounded.min(LARGEST_WINDOW);
            }
            // The OACK must repeat the number, so another cannot be put in its place (RFC 2349).
            b"timeout" if !transfer.asked.timeout => {
                if let Some(seconds) = u8::try_from(number).ok().filter(|s| (1..=LONGEST_TIMEOUT).contains(s))
                {
                    transfer.asked.timeout = true;
                    transfer.timeout = seconds;
                }
            }
            b"tsize" => transfer.asked.size = true,
            _ => {}
        }
    }
    transfer
}

/// Decimal digits and nothing else, saturating.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = text.iter().map(|digit| u64::from(digit - b'0'));
    Some(digits.fold(0_u64, |sum, digit| sum.saturating_mul(10).saturating_add(digit)))
}

/// At most so many octets of a text of the client's; what no log should be given is a question mark.
fn printable(text: &[u8], most: usize) -> String {
    let plain = |octet: &u8| octet.is_ascii_graphic() || *octet == b' ';
    text.iter().take(most).map(|octet| if plain(octet) { char::from(*octet) } else { '?' }).collect()
}

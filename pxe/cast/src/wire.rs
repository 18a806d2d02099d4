//! What is on the wire, byte for byte; numbers are little-endian. Specified in `appliance/docs/cast.md`.
//!
//! Data and beats go to the group of an image, reports to the controller. Data carries no signature: each piece has a digest in
//! the manifest, which is signed. Reports are authenticated, each receiver with a key of its own: whoever could forge one
//! could have everything sent again.

pub mod door;
pub mod waiting;

/// The port that groups are sent to.
pub const PORT: u16 = 8444;
/// The version that is spoken here.
pub const VERSION: u8 = 1;
/// Bytes of a symbol: with all headers a packet has 1460 bytes, which every Ethernet carries whole.
pub const SYMBOL_BYTES: usize = 1408;
/// Bytes before a symbol.
pub const HEADER_BYTES: usize = 24;
/// Bytes of a data packet.
pub const DATA_BYTES: usize = HEADER_BYTES + SYMBOL_BYTES;
/// Bytes of a beat.
pub const BEAT_BYTES: usize = 16;
/// Symbols that a group has at most.
pub const SYMBOLS_MAX: u16 = 1024;
/// Bytes of a report's authentication code.
pub const CODE_BYTES: usize = 16;
/// Bytes of a report at most.
pub const REPORT_BYTES_MAX: usize = 1408;

const KIND_DATA: u8 = 1;
const KIND_BEAT: u8 = 2;
const KIND_REPORT: u8 = 3;
const REPORT_HEAD: usize = 36;
const RUN_BYTES: usize = 4;
/// Runs that a report has at most.
pub const RUNS_MAX: usize = (REPORT_BYTES_MAX - REPORT_HEAD - CODE_BYTES) / RUN_BYTES;
/// In the flags of data and beats: a report is wanted now.
const ASKS: u16 = 1;

/// A packet, or a number in it, that nobody of ours has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum Malformed {
    #[error("another length than its kind has")]
    Length,
    #[error("another version")]
    Version,
    #[error("of no kind that belongs here")]
    Kind,
    #[error("an impossible number in it")]
    Number,
    #[error("not authentic")]
    Forged,
}

/// What stands before a symbol.
///
/// ```text
/// 0 version  1 kind=1  2 symbol u16  4 session u64  12 group u32  16 symbols u16  18 flags u16  20 sequence u32  24 the symbol
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Data {
    /// The transmission it belongs to: random, told to receivers over TLS.
    pub session: u64,
    /// The number of its group.
    pub group: u32,
    /// How many symbols of data that group has, 1 to [`SYMBOLS_MAX`].
    pub symbols: u16,
    /// Which one this is: below `symbols` a piece of the data itself, from there on a repair symbol.
    pub symbol: u16,
    /// Counts every data packet of the session, and wraps; what is missing was lost.
    pub sequence: u32,
    /// A report is wanted now.
    pub asks: bool,
}

/// Tells where the sender is while it sends nothing, so that the last symbols are missed too.
///
/// ```text
/// 0 version  1 kind=2  2 flags u16  4 session u64  12 next sequence u32
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// The transmission.
    pub session: u64,
    /// The sequence number of the next data packet.
    pub next: u32,
    /// A report is wanted now.
    pub asks: bool,
}

/// What comes from the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard<'a> {
    /// A symbol.
    Data(Data, &'a [u8; SYMBOL_BYTES]),
    /// A beat.
    Beat(Beat),
}

/// So many groups in a row which each lack the same number of symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// How many groups, at least one.
    pub groups: u16,
    /// How many more symbols each of them needs; 0: none, whatever the reason.
    pub deficit: u16,
}

/// What a receiver lacks of a stretch of groups, never which symbols.
///
/// ```text
/// 0 version  1 kind=3  2 flags=0 u16  4 session u64  12 slot u32  16 number u32  20 next u32  24 received u32
/// 28 first group u32  32 groups u32  36 runs of 4 bytes: groups u16, deficit u16  then 16 bytes: the code
/// ```
/// The code is the beginning of the keyed BLAKE3 hash of all before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The transmission.
    pub session: u64,
    /// Whose it is: a number that the controller gave.
    pub slot: u32,
    /// Counts this receiver's reports: one with a number that was heard before is a replay.
    pub number: u32,
    /// What was sent before this sequence number has arrived, or will not.
    pub next: u32,
    /// Data packets of the session that have arrived since the receiver joined, and those missed while nothing at all came for
    /// a fifth of a second or longer; wraps. All others up to `next` were lost.
    pub received: u32,
    /// The first group that it speaks of.
    pub first: u32,
    /// From there on, without gaps; at most [`RUNS_MAX`].
    pub runs: Vec<Run>,
}

impl Data {
    /// The header, to be sent before the symbol.
    #[must_use]
    pub fn header(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Bytes::<HEADER_BYTES>::begin(KIND_DATA);
        bytes.put(2, &self.symbol.to_le_bytes());
        bytes.put(4, &self.session.to_le_bytes());
        bytes.put(12, &self.group.to_le_bytes());
        bytes.put(16, &self.symbols.to_le_bytes());
        bytes.put(18, &flags(self.asks).to_le_bytes());
        bytes.put(20, &self.sequence.to_le_bytes());
        bytes.0
    }
}

impl Beat {
    /// The packet.
    #[must_use]
    pub fn packet(&self) -> [u8; BEAT_BYTES] {
        let mut bytes = Bytes::<BEAT_BYTES>::begin(KIND_BEAT);
        bytes.put(2, &flags(self.asks).to_le_bytes());
        bytes.put(4, &self.session.to_le_bytes());
        bytes.put(12, &self.next.to_le_bytes());
        bytes.0
    }
}

/// Reads a packet of the sender's. Whether it belongs to a session, and the numbers in it to a group, is for the caller to say.
///
/// # Errors
/// It is no packet of ours.
pub fn hear(packet: &[u8]) -> Result<Heard<'_>, Malformed> {
    match kind(packet)? {
        KIND_DATA => {
            let (head, symbol) = packet.split_at_checked(HEADER_BYTES).ok_or(Malformed::Length)?;
            let symbol: &[u8; SYMBOL_BYTES] = symbol.try_into().map_err(|_| Malformed::Length)?;
            let data = Data {
                symbol: u16_at(head, 2)?,
                session: u64_at(head, 4)?,
                group: u32_at(head, 12)?,
                symbols: u16_at(head, 16)?,
                asks: asks(u16_at(head, 18)?)?,
                sequence: u32_at(head, 20)?,
            };
            if data.symbols == 0 || data.symbols > SYMBOLS_MAX {
                return Err(Malformed::Number);
            }
            Ok(Heard::Data(data, symbol))
        }
        KIND_BEAT if packet.len() == BEAT_BYTES => Ok(Heard::Beat(Beat {
            asks: asks(u16_at(packet, 2)?)?,
            session: u64_at(packet, 4)?,
            next: u32_at(packet, 12)?,
        })),
        KIND_BEAT => Err(Malformed::Length),
        _ => Err(Malformed::Kind),
    }
}

impl Report {
    /// The packet, authenticated with the receiver's key. Runs beyond [`RUNS_MAX`] are left out: the receiver tells them in
    /// another.
    #[must_use]
    pub fn packet(&self, key: &[u8; 32]) -> Vec<u8> {
        let runs = self.runs.get(..self.runs.len().min(RUNS_MAX)).unwrap_or_default();
        let groups = runs.iter().map(|run| u32::from(run.groups)).sum::<u32>();
        let mut bytes = Vec::with_capacity(REPORT_HEAD + runs.len() * RUN_BYTES + CODE_BYTES);
        bytes.extend([VERSION, KIND_REPORT, 0, 0]);
        bytes.extend(self.session.to_le_bytes());
        for number in [self.slot, self.number, self.next, self.received, self.first, groups] {
            bytes.extend(number.to_le_bytes());
        }
        for run in runs {
            bytes.extend(run.groups.to_le_bytes());
            bytes.extend(run.deficit.to_le_bytes());
        }
        let code = code(&bytes, key);
        bytes.extend(code);
        bytes
    }

    /// Reads a report. `key_of` gives the key of a session's slot; none when there is no such receiver.
    ///
    /// # Errors
    /// It is no report of ours, or nobody's who may report.
    pub fn read(packet: &[u8], key_of: impl Fn(u64, u32) -> Option<[u8; 32]>) -> Result<Report, Malformed> {
        if kind(packet)? != KIND_REPORT {
            return Err(Malformed::Kind);
        }
        if packet.len() > REPORT_BYTES_MAX {
            return Err(Malformed::Length);
        }
        let signed = packet.len().checked_sub(CODE_BYTES).ok_or(Malformed::Length)?;
        let (body, given) = packet.split_at_checked(signed).ok_or(Malformed::Length)?;
        let runs = body.get(REPORT_HEAD..).ok_or(Malformed::Length)?;
        let (session, slot) = (u64_at(body, 4)?, u32_at(body, 12)?);
        let key = key_of(session, slot).ok_or(Malformed::Forged)?;
        if !is_same(&code(body, &key), given) {
            return Err(Malformed::Forged);
        }
        let (runs, rest) = runs.as_chunks::<RUN_BYTES>();
        if !rest.is_empty() {
            return Err(Malformed::Length);
        }
        let run = |[a, b, c, d]: &[u8; RUN_BYTES]| Run {
            groups: u16::from_le_bytes([*a, *b]),
            deficit: u16::from_le_bytes([*c, *d]),
        };
        let runs: Vec<Run> = runs.iter().map(run).collect();
        let first = u32_at(body, 28)?;
        let groups = runs.iter().map(|run| u32::from(run.groups)).sum::<u32>();
        let is_sound = runs.iter().all(|run| run.groups > 0 && run.deficit <= SYMBOLS_MAX);
        if u16_at(body, 2)? != 0
            || !is_sound
            || groups != u32_at(body, 32)?
            || first.checked_add(groups).is_none()
        {
            return Err(Malformed::Number);
        }
        let (number, next, received) = (u32_at(body, 16)?, u32_at(body, 20)?, u32_at(body, 24)?);
        Ok(Report { session, slot, number, next, received, first, runs })
    }
}

/// A packet of a fixed length.
struct Bytes<const N: usize>([u8; N]);

impl<const N: usize> Bytes<N> {
    fn begin(kind: u8) -> Self {
        let mut bytes = Self([0; N]);
        bytes.put(0, &[VERSION, kind]);
        bytes
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + value.len()) {
            place.copy_from_slice(value);
        }
    }
}

fn kind(packet: &[u8]) -> Result<u8, Malformed> {
    match packet {
        [VERSION, kind, ..] => Ok(*kind),
        [_, _, ..] => Err(Malformed::Version),
        [] | [_] => Err(Malformed::Length),
    }
}

fn flags(asks: bool) -> u16 {
    if asks { ASKS } else { 0 }
}

fn asks(flags: u16) -> Result<bool, Malformed> {
    match flags {
        0 => Ok(false),
        ASKS => Ok(true),
        _ => Err(Malformed::Number),
    }
}

fn code(body: &[u8], key: &[u8; 32]) -> [u8; CODE_BYTES] {
    let whole = blake3::keyed_hash(key, body);
    let mut code = [0; CODE_BYTES];
    code.iter_mut().zip(whole.as_bytes()).for_each(|(to, from)| *to = *from);
    code
}

/// In a time that does not depend on where they differ.
fn is_same(one: &[u8; CODE_BYTES], other: &[u8]) -> bool {
    let differs = one.iter().zip(other).fold(0, |differs, (a, b)| differs | (a ^ b));
    other.len() == CODE_BYTES && differs == 0
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Malformed> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Malformed> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64, Malformed> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Malformed> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(Malformed::Length)
}

#[cfg(test)]
mod tests;

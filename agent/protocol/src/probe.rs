//! Packets that nodes send each other while the network between them is looked at.
//!
//! ```text
//!  0        4      5       6         8          12        14      16           18      20
//!  | "RWNP" | kind | version | size  | check    | from    | to    | network    | number | MAC (16)
//! ```
//! All numbers are big-endian. The MAC is the first half of keyed BLAKE3 over all before it. A question is followed by zeros up to the
//! size of IPv4 packet that it is to have, and says that size; an answer is the head alone, so that it is never longer than what it
//! answers. Behind the head of a transfer, on TCP, comes what is counted.

use crate::ReportKey;

/// The UDP and TCP port of a check.
pub const PROBE_PORT: u16 = 8447;
/// Bytes of the head.
pub const HEAD_BYTES: usize = 36;
/// IPv4 and UDP headers before it, in bytes.
pub const IP_UDP_BYTES: usize = 28;
/// The smallest IPv4 packet that is sent, in bytes.
pub const SMALLEST: u16 = 64;

const MAGIC: [u8; 4] = *b"RWNP";
const VERSION: u8 = 1;
const SIGNED_BYTES: usize = 20;

/// What a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeKind {
    /// Whether it arrives.
    Question,
    /// That it has.
    Answer,
    /// The beginning of a transfer.
    Stream,
}

/// The head of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What it is for.
    pub kind: ProbeKind,
    /// The size of the IPv4 packet of the question, in bytes; 0 for a transfer.
    pub size: u16,
    /// The check.
    pub check: u32,
    /// The member that sent it.
    pub from: u16,
    /// The member that it is for.
    pub to: u16,
    /// The network.
    pub network: u16,
    /// Which of several; the step, of a transfer.
    pub number: u16,
}

impl Probe {
    /// The head, signed.
    pub fn head(&self, key: &ReportKey) -> [u8; HEAD_BYTES] {
        let kind = match self.kind {
            ProbeKind::Question => 1,
            ProbeKind::Answer => 2,
            ProbeKind::Stream => 3,
        };
        let mut signed = Vec::with_capacity(SIGNED_BYTES);
        signed.extend(MAGIC);
        signed.extend([kind, VERSION]);
        signed.extend(self.size.to_be_bytes());
        signed.extend(self.check.to_be_bytes());
        for number in [self.from, self.to, self.network, self.number] {
            signed.extend(number.to_be_bytes());
        }
        let mac = mac(key, &signed);
        let mut head = [0; HEAD_BYTES];
        head.iter_mut().zip(signed.into_iter().chain(mac)).for_each(|(place, byte)| *place = byte);
        head
    }

    /// The payload of a question: the head, and zeros up to its size.
    pub fn question(&self, key: &ReportKey) -> Vec<u8> {
        let mut packet = self.head(key).to_vec();
        packet.resize(usize::from(self.size).saturating_sub(IP_UDP_BYTES).max(HEAD_BYTES), 0);
        packet
    }

    /// The answer to a question.
    #[must_use]
    pub fn answer(&self) -> Self {
        Self { kind: ProbeKind::Answer, from: self.to, to: self.from, ..*self }
    }

    /// What came, if it is of whoever has the key, whole, and as long as it says.
    pub fn read(packet: &[u8], key: &ReportKey) -> Option<Self> {
        let (head, rest) = packet.split_first_chunk::<HEAD_BYTES>()?;
        let (signed, tag) = head.split_first_chunk::<SIGNED_BYTES>()?;
        let (magic, numbers) = signed.split_first_chunk::<4>()?;
        let [kind, version, numbers @ ..] = numbers else { return None };
        if *magic != MAGIC || *version != VERSION || !equal(&mac(key, signed), tag) {
            return None;
        }
        let (size, numbers) = numbers.split_first_chunk::<2>()?;
        let (check, numbers) = numbers.split_first_chunk::<4>()?;
        let mut numbers = numbers.as_chunks::<2>().0.iter().map(|two| u16::from_be_bytes(*two));
        let kind = match kind {
            1 => ProbeKind::Question,
            2 => ProbeKind::Answer,
            3 => ProbeKind::Stream,
            _ => return None,
        };
        let probe = Self {
            kind,
            size: u16::from_be_bytes(*size),
            check: u32::from_be_bytes(*check),
            from: numbers.next()?,
            to: numbers.next()?,
            network: numbers.next()?,
            number: numbers.next()?,
        };
        let is_whole = match kind {
            ProbeKind::Question => packet.len() + IP_UDP_BYTES == usize::from(probe.size),
            ProbeKind::Answer | ProbeKind::Stream => rest.is_empty(),
        };
        is_whole.then_some(probe)
    }
}

fn mac(key: &ReportKey, signed: &[u8]) -> [u8; 16] {
    let hash = blake3::keyed_hash(&key.0, signed);
    hash.as_bytes().first_chunk::<16>().copied().unwrap_or_default()
}

/// In a time that says nothing of where they differ.
fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |all, (a, b)| all | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe() -> Probe {
        Probe {
            kind: ProbeKind::Question,
            size: 1500,
            check: 0x0102_0304,
            from: 1,
            to: 2,
            network: 3,
            number: 4,
        }
    }

    #[test]
    fn what_is_sent_is_read_and_an_answer_is_never_longer() {
        let key = ReportKey([7; 32]);
        let packet = probe().question(&key);
        assert_eq!(packet.len(), 1472);
        assert_eq!(Probe::read(&packet, &key), Some(probe()));
        let answer = probe().answer();
        assert_eq!((answer.from, answer.to, answer.size), (2, 1, 1500));
        let head = answer.head(&key);
        assert_eq!(Probe::read(&head, &key), Some(answer));
        let smallest = Probe { size: SMALLEST, ..probe() }.question(&key);
        assert!(head.len() <= smallest.len());
    }

    #[test]
    fn nothing_else_is_read() {
        let key = ReportKey([7; 32]);
        let packet = probe().question(&key);
        assert_eq!(Probe::read(&packet, &ReportKey([8; 32])), None, "another check's key");
        for at in 0..HEAD_BYTES {
            let mut bent = packet.clone();
            bent[at] ^= 1;
            assert_eq!(Probe::read(&bent, &key), None, "byte {at}");
        }
        for length in [0, 3, 19, 35, 36, 1471] {
            assert_eq!(Probe::read(&packet[..length], &key), None, "{length} bytes");
        }
        let longer = [&packet[..], &[0]].concat();
        assert_eq!(Probe::read(&longer, &key), None);
        let with_more = [&probe().answer().head(&key)[..], &[0]].concat();
        assert_eq!(Probe::read(&with_more, &key), None);
    }
}

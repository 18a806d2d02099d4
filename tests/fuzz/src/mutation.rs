//! Mutations of seeds without libFuzzer: the same ones on every run of every machine.

/// An endless stream of inputs near some seeds, decided by one number.
#[derive(Clone, Debug)]
pub struct Mutations<'a> {
    seeds: &'a [Vec<u8>],
    dice: SplitMix,
}

/// SplitMix64 (Steele, Lea, Flood 2014): small, and good enough to choose places with.
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`; 0 when that is 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.next().checked_rem(end).unwrap_or(0)).unwrap_or(0)
    }

    fn byte(&mut self) -> u8 {
        let [byte, ..] = self.next().to_le_bytes();
        byte
    }
}

/// Bytes that parsers stumble over: ends of ranges, delimiters, a terminal's escape.
const ODD: &[u8] =
    &[0, 1, 0x7f, 0x80, 0xfe, 0xff, b'\n', b'\r', 0x1b, b' ', b'"', b'%', b'-', b'.', b'/', b'\\'];

impl<'a> Mutations<'a> {
    /// The stream of this number.
    #[must_use]
    pub fn new(seeds: &'a [Vec<u8>], number: u64) -> Mutations<'a> {
        Mutations { seeds, dice: SplitMix(number) }
    }

    fn seed(&mut self) -> &'a [u8] {
        let at = self.dice.below(self.seeds.len());
        self.seeds.get(at).map_or(&[], Vec::as_slice)
    }

    /// One change; most keep what the input is.
    fn change(&mut self, bytes: &mut Vec<u8>) {
        let length = bytes.len();
        let at = self.dice.below(length.saturating_add(1));
        let end = at.saturating_add(1 + self.dice.below(16)).min(length);
        match self.dice.below(8) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.insert(at, self.dice.byte()),
            3 => {
                let again = bytes.get(at..end).unwrap_or_default().to_vec();
                drop(bytes.splice(at..at, again));
            }
            4 => {
                let other = self.seed();
                let from = self.dice.below(other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(other.get(from..).unwrap_or_default());
            }
            kind => {
                let (bit, odd) = (self.dice.below(8), self.dice.below(ODD.len()));
                let any = self.dice.byte();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = match kind {
                        5 => *byte ^ (1 << bit),
                        6 => ODD.get(odd).copied().unwrap_or(0),
                        _ => any,
                    };
                }
            }
        }
    }
}

impl Iterator for Mutations<'_> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let mut bytes = self.seed().to_vec();
        for _ in 0..=self.dice.below(4) {
            self.change(&mut bytes);
        }
        Some(bytes)
    }
}

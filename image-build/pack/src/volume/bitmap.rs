//! Bitmaps of blocks or clusters: one bit for each, lowest bit first, 1 for used.

use std::ops::Range;

/// A stretch of a bitmap. No bit is set beyond its length.
pub(super) struct Bitmap {
    words: Vec<u64>,
    length: u64,
}

impl Bitmap {
    /// The first `length` bits of `bytes`; what is not there is 0. `length` is bounded by the caller.
    pub(super) fn new(bytes: &[u8], length: u64) -> Bitmap {
        let count = usize::try_from(length.div_ceil(64)).unwrap_or_default();
        let mut words = vec![0; count];
        for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
            *word = bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte));
        }
        if let (Some(last), bits @ 1..) = (words.last_mut(), length % 64) {
            *last &= !(u64::MAX << bits);
        }
        Bitmap { words, length }
    }

    /// How many bits are set.
    pub(super) fn ones(&self) -> u64 {
        self.words.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Sets a range of bits, as far as it lies within the length.
    pub(super) fn set(&mut self, range: Range<u64>) {
        let end = range.end.min(self.length);
        let mut bit = range.start;
        while bit < end {
            let in_word = bit % 64;
            let count = (64 - in_word).min(end - bit);
            let index = usize::try_from(bit / 64).unwrap_or(usize::MAX);
            if let Some(word) = self.words.get_mut(index) {
                *word |= (u64::MAX >> (64 - count)) << in_word;
            }
            bit += count;
        }
    }

    /// The runs of set bits, ascending.
    pub(super) fn runs(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut next = 0;
        std::iter::from_fn(move || {
            let start = self.find(next, true);
            next = self.find(start, false);
            (start < self.length).then_some(start..next)
        })
    }

    /// The first bit from `from` on that is so; the length when there is none.
    fn find(&self, from: u64, is_set: bool) -> u64 {
        let skipped = usize::try_from(from / 64).unwrap_or(usize::MAX);
        let mut mask = u64::MAX << (from % 64);
        for (index, word) in (from / 64..).zip(self.words.iter().skip(skipped)) {
            let wanted = if is_set { *word } else { !*word } & mask;
            if wanted != 0 {
                return (index * 64 + u64::from(wanted.trailing_zeros())).min(self.length);
            }
            mask = u64::MAX;
        }
        self.length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn its_runs_are_its_bits(
            bytes in prop::collection::vec(prop_oneof![Just(0), Just(0xFF), any::<u8>()], 0..40),
            length in 0_u64..300,
            (start, count) in (0_u64..320, 0_u64..140),
        ) {
            let mut bitmap = Bitmap::new(&bytes, length);
            bitmap.set(start..start + count);
            let is_set = |bit: u64| {
                let byte = bytes.get(usize::try_from(bit / 8).unwrap()).copied().unwrap_or_default();
                byte >> (bit % 8) & 1 == 1 || (start..start + count).contains(&bit)
            };
            let want = (0..length).filter(|bit| is_set(*bit)).collect::<Vec<_>>();
            prop_assert_eq!(bitmap.ones(), want.len() as u64);
            let runs = bitmap.runs().collect::<Vec<_>>();
            prop_assert!(runs.iter().all(|run| !run.is_empty()));
            prop_assert!(runs.windows(2).all(|pair| pair[0].end < pair[1].start));
            prop_assert_eq!(runs.into_iter().flatten().collect::<Vec<_>>(), want);
        }
    }
}

//! The blocks of a window: which hold data, which must read as zeros, and which are free.

use std::ops::Range;

use crate::{Extents, WINDOW};

/// Bytes of a block, the finest thing that an image tells apart: the page, and the block of most file systems. Blocks are
/// counted from the start of the disk; a disk's last block may be shorter.
pub const BLOCK: u32 = 4096;

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Block {
    /// Its bytes are in the image.
    Data,
    /// It must read as zeros.
    Zero,
    /// Nobody uses it: it may hold anything.
    Free,
}

/// The blocks of one window in order, as runs of one kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockMap {
    /// (what, how many): no run is empty, neighbours differ.
    runs: Vec<(Block, u32)>,
}

impl BlockMap {
    /// Blocks in order.
    pub fn new(blocks: impl IntoIterator<Item = Block>) -> BlockMap {
        let mut runs: Vec<(Block, u32)> = Vec::new();
        for block in blocks {
            match runs.last_mut() {
                Some((kind, count)) if *kind == block => *count += 1,
                Some(_) | None => runs.push((block, 1)),
            }
        }
        BlockMap { runs }
    }

    /// From runs as they are written down; `None` unless they are what [`BlockMap::runs`] could give for a window of so
    /// many bytes.
    pub(crate) fn from_runs(runs: Vec<(Block, u32)>, bytes: u32) -> Option<BlockMap> {
        let total = runs.iter().try_fold(0_u32, |sum, (_, count)| sum.checked_add(*count))?;
        let is_canonical = runs.iter().all(|(_, count)| *count > 0)
            && runs.iter().zip(runs.iter().skip(1)).all(|((one, _), (next, _))| one != next);
        (is_canonical && total == bytes.div_ceil(BLOCK)).then_some(BlockMap { runs })
    }

    /// What these bytes of a window are, when `used` of the disk is in use and the window begins at `offset` there. A block
    /// that is used in part is used.
    #[must_use]
    pub fn scan(raw: &[u8], offset: u64, used: &Extents) -> BlockMap {
        let block = u64::from(BLOCK);
        let mut kinds = vec![Block::Free; raw.len().div_ceil(BLOCK as usize)];
        for range in used.within(offset..offset.saturating_add(raw.len() as u64)) {
            let first = usize::try_from((range.start - offset) / block).unwrap_or(usize::MAX);
            let end = usize::try_from((range.end - offset).div_ceil(block)).unwrap_or(usize::MAX);
            kinds.iter_mut().take(end).skip(first).for_each(|kind| *kind = Block::Data);
        }
        let blocks = raw.chunks(BLOCK as usize).zip(kinds);
        BlockMap::new(blocks.map(
            |(bytes, kind)| {
                if kind == Block::Data && is_zero(bytes) { Block::Zero } else { kind }
            },
        ))
    }

    /// The runs in order, each with where it lies in a window of so many bytes.
    pub fn runs(&self, bytes: u32) -> impl Iterator<Item = (Block, Range<usize>)> + '_ {
        let mut next = 0_u32;
        self.runs.iter().map(move |(kind, count)| {
            let begin = next;
            next = next.saturating_add(count.saturating_mul(BLOCK)).min(bytes);
            (*kind, begin as usize..next as usize)
        })
    }

    /// The runs as they are written down: what, and how many blocks.
    pub(crate) fn raw_runs(&self) -> &[(Block, u32)] {
        &self.runs
    }

    /// Bytes of data in a window of so many bytes.
    #[must_use]
    pub fn data_bytes(&self, bytes: u32) -> u32 {
        let data = self.runs(bytes).filter(|(kind, _)| *kind == Block::Data);
        data.map(|(_, range)| u32::try_from(range.len()).unwrap_or(WINDOW)).sum()
    }

    /// Bytes of data and zeros: what a disk must hold.
    #[must_use]
    pub fn used_bytes(&self, bytes: u32) -> u32 {
        let used = self.runs(bytes).filter(|(kind, _)| *kind != Block::Free);
        used.map(|(_, range)| u32::try_from(range.len()).unwrap_or(WINDOW)).sum()
    }

    /// The data of a window, one run after another.
    #[must_use]
    pub fn gather(&self, raw: &[u8]) -> Vec<u8> {
        let bytes = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        let mut data = Vec::with_capacity(self.data_bytes(bytes) as usize);
        for (_, range) in self.runs(bytes).filter(|(kind, _)| *kind == Block::Data) {
            data.extend_from_slice(raw.get(range).unwrap_or_default());
        }
        data
    }

    /// The reverse, in place: the data at the start of the window goes where it belongs, everything else becomes zero.
    pub fn scatter(&self, window: &mut [u8]) {
        let bytes = u32::try_from(window.len()).unwrap_or(u32::MAX);
        let mut rest = self.data_bytes(bytes) as usize;
        if rest == window.len() {
            return;
        }
        let runs = self.runs(bytes).collect::<Vec<_>>();
        // From the end: a run never moves down, so nothing is overwritten that has yet to move.
        for (kind, range) in runs.into_iter().rev() {
            if kind == Block::Data {
                rest = rest.saturating_sub(range.len());
                window.copy_within(rest..rest + range.len(), range.start);
            } else if let Some(run) = window.get_mut(range) {
                // The data that has yet to move belongs to runs before this one, so it lies before this one.
                run.fill(0);
            }
        }
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> u32 {
        self.runs.iter().map(|(_, count)| count).sum()
    }

    /// Whether nothing of the window is used.
    #[must_use]
    pub fn is_free(&self) -> bool {
        self.runs.iter().all(|(kind, _)| *kind == Block::Free)
    }
}

/// Whether these are zeros only.
#[must_use]
pub fn is_zero(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<32>();
    words.iter().all(|word| *word == [0; 32]) && rest.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn used_blocks_are_data_or_zero_and_all_others_free() {
        let mut raw = vec![0; 5 * 4096 + 512];
        raw[4096] = 1;
        raw[3 * 4096] = 1;
        raw[5 * 4096 + 511] = 1;
        let offset = 1 << 20;
        // The second block's last byte, the third whole, and the short one at the end.
        let used =
            [8191..12288, 20480..20992].map(|range: Range<u64>| range.start + offset..range.end + offset);
        let map = BlockMap::scan(&raw, offset, &used.into_iter().collect());
        let runs = map.runs(20992).collect::<Vec<_>>();
        let want = [
            (Block::Free, 0..4096),
            (Block::Data, 4096..8192),
            (Block::Zero, 8192..12288),
            (Block::Free, 12288..20480),
            (Block::Data, 20480..20992),
        ];
        assert_eq!(runs, want);
        assert_eq!((map.data_bytes(20992), map.used_bytes(20992)), (4608, 8704));
        assert_eq!(BlockMap::from_runs(map.raw_runs().to_vec(), 20992), Some(map));
    }

    #[test]
    fn runs_that_are_not_canonical_are_refused() {
        use Block::{Data, Free};
        let bad = [
            vec![],
            vec![(Data, 1)],
            vec![(Data, 0), (Free, 2)],
            vec![(Data, 1), (Data, 1)],
            vec![(Data, 3)],
            vec![(Data, u32::MAX), (Free, 3)],
        ];
        for runs in bad {
            assert_eq!(BlockMap::from_runs(runs.clone(), 8192), None, "{runs:?}");
        }
        assert!(BlockMap::from_runs(vec![(Data, 1), (Free, 1)], 8192).is_some());
    }
}

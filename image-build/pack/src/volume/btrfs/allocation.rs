//! What the extent tree says is in use, as logical addresses.

use super::chunk::Chunks;
use super::node::Key;
use super::superblock::Superblock;
use super::{Unread, doubtful};
use crate::Extents;

/// An extent by its length.
const EXTENT_ITEM: u8 = 168;
/// A node by its level: skinny metadata.
const METADATA_ITEM: u8 = 169;

/// The most ranges that are kept apart, 16 MiB of them: the map on the device is made next to it.
const RANGES_MAX: usize = 1 << 20;

/// Collects the extents in the order of the tree.
#[derive(Debug)]
pub(super) struct Allocation<'a> {
    superblock: &'a Superblock,
    chunks: &'a Chunks,
    ranges: Extents,
    ranges_max: usize,
    /// What ranges are rounded to; grows when there are too many.
    granule: u64,
    end: u64,
    bytes: u64,
}

impl<'a> Allocation<'a> {
    pub(super) fn new(superblock: &'a Superblock, chunks: &'a Chunks) -> Allocation<'a> {
        let granule = u64::from(superblock.sector_bytes);
        let ranges = Extents::new();
        Allocation { superblock, chunks, ranges, ranges_max: RANGES_MAX, granule, end: 0, bytes: 0 }
    }

    /// Adds an item of the extent tree. References, block groups and the like are not extents.
    pub(super) fn add(&mut self, key: Key) -> Result<(), Unread> {
        let (start, bytes) = match key.kind {
            EXTENT_ITEM => (key.object, key.offset),
            METADATA_ITEM => (key.object, u64::from(self.superblock.node_bytes)),
            _ => return Ok(()),
        };
        let is_aligned = (start | bytes).is_multiple_of(u64::from(self.superblock.sector_bytes));
        let range = start..start.saturating_add(bytes);
        if bytes == 0 || !is_aligned || start < self.end || !self.chunks.hold(&range) {
            return Err(doubtful(format!("the extent of {bytes} bytes at {start} can't be")));
        }
        self.end = range.end;
        self.bytes = self.bytes.saturating_add(bytes);
        self.ranges.add(rounded(range, self.granule));
        while self.ranges.iter().len() > self.ranges_max {
            self.granule = self.granule.saturating_mul(2);
            self.ranges = self.ranges.iter().map(|range| rounded(range, self.granule)).collect();
        }
        Ok(())
    }

    /// All that is in use: when it is as much as the superblock says. Rounded, it may reach beyond a chunk.
    pub(super) fn finish(self) -> Result<Extents, Unread> {
        let (have, want) = (self.bytes, self.superblock.bytes_used);
        if have != want {
            return Err(doubtful(format!(
                "its extents are {have} bytes, and not the {want} that are in use"
            )));
        }
        Ok(self.ranges)
    }

    #[cfg(test)]
    pub(super) fn with_ranges_max(self, ranges_max: usize) -> Allocation<'a> {
        Allocation { ranges_max, ..self }
    }
}

fn rounded(range: std::ops::Range<u64>, granule: u64) -> std::ops::Range<u64> {
    let start = range.start - range.start % granule;
    start..range.end.checked_next_multiple_of(granule).unwrap_or(u64::MAX)
}

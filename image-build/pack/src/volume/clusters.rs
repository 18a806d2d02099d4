//! Clusters of a volume, as bitmaps and tables say which are in use.

use std::ops::Range;

use super::bitmap::Bitmap;
use crate::Extents;

/// Collects the clusters in use, in ascending order, as bytes of the volume.
#[derive(Debug)]
pub(super) struct Clusters {
    used: Extents,
    /// Where the first cluster begins, bytes.
    base: u64,
    /// Bytes of a cluster.
    bytes: u64,
    /// How many there are.
    count: u64,
    /// The cluster that the next bit is for.
    next: u64,
}

impl Clusters {
    /// None in use yet. The caller has made sure that `base + bytes × count` is within the volume. `used` is what else is
    /// in use, below `base`.
    pub(super) fn new(used: Extents, base: u64, bytes: u64, count: u64) -> Clusters {
        Clusters { used, base, bytes, count, next: 0 }
    }

    /// The bytes of clusters, counted from the first one; those beyond the last are cut off.
    fn range(&self, clusters: Range<u64>) -> Range<u64> {
        let at = |n: u64| self.base.saturating_add(n.min(self.count).saturating_mul(self.bytes));
        at(clusters.start)..at(clusters.end)
    }

    /// Adds one cluster.
    pub(super) fn add(&mut self, cluster: u64) {
        let range = self.range(cluster..cluster.saturating_add(1));
        self.used.add(range);
    }

    /// Takes the next bytes of a bitmap: its lowest bit is the first cluster, 1 is in use. Bits beyond the last cluster mean
    /// nothing.
    pub(super) fn push_bitmap(&mut self, bitmap: &[u8]) {
        let bits = (bitmap.len() as u64).saturating_mul(8).min(self.count - self.next);
        for run in Bitmap::new(bitmap, bits).runs() {
            let range = self.range(self.next + run.start..self.next + run.end);
            self.used.add(range);
        }
        self.next += bits;
    }

    /// What is in use.
    pub(super) fn into_used(self) -> Extents {
        self.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitmap_ends_at_the_last_cluster() {
        let mut clusters = Clusters::new(Extents::all(100), 1000, 10, 19);
        clusters.push_bitmap(&[0b1000_0001, 0xff]);
        clusters.push_bitmap(&[0b1111_1101, 0xff]);
        let used = clusters.into_used();
        assert_eq!(used.iter().collect::<Vec<_>>(), [0..100, 1000..1010, 1070..1170, 1180..1190]);
    }
}

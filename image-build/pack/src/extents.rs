//! Sets of byte ranges: which part of a disk is in use.

use std::ops::Range;

/// The most ranges that a set keeps: 64 MiB of them.
const RANGES_MAX: usize = 4 << 20;

/// A set of bytes as ascending, disjoint ranges that do not touch.
///
/// A hostile file system can claim every second block of a large disk. When a set would grow beyond a bound, the smallest
/// gaps are filled: a set may then hold more than what was put in, never less.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extents {
    ranges: Vec<Range<u64>>,
    /// Gaps shorter than this are filled; 0 while the set is exact.
    gap: u64,
}

impl Extents {
    /// Nothing.
    #[must_use]
    pub fn new() -> Extents {
        Extents::default()
    }

    /// The bytes from 0 up to `bytes`.
    #[must_use]
    pub fn all(bytes: u64) -> Extents {
        let mut all = Extents::new();
        all.add(0..bytes);
        all
    }

    /// Adds a range. Ascending ranges cost nothing; one before the last costs a search and a shift.
    pub fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let gap = self.gap;
        match self.ranges.last_mut() {
            Some(last) if range.start >= last.start => {
                if range.start <= last.end.saturating_add(gap) {
                    last.end = last.end.max(range.end);
                } else {
                    self.ranges.push(range);
                }
            }
            Some(_) => self.add_within(range),
            None => self.ranges.push(range),
        }
        self.bound();
    }

    fn add_within(&mut self, range: Range<u64>) {
        let begin = self.ranges.partition_point(|kept| kept.end < range.start);
        let end = self.ranges.partition_point(|kept| kept.start <= range.end);
        let touched = self.ranges.get(begin..end).unwrap_or_default();
        let start = touched.first().map_or(range.start, |kept| kept.start.min(range.start));
        let stop = touched.last().map_or(range.end, |kept| kept.end.max(range.end));
        self.ranges.splice(begin..end, std::iter::once(start..stop));
    }

    fn bound(&mut self) {
        while self.ranges.len() > RANGES_MAX {
            self.gap = self.gap.saturating_mul(2).max(4096);
            let gap = self.gap;
            self.ranges.dedup_by(|next, kept| {
                let joins = next.start <= kept.end.saturating_add(gap);
                if joins {
                    kept.end = kept.end.max(next.end);
                }
                joins
            });
        }
    }

    /// Adds every range of `other`, moved by `offset` bytes upwards.
    pub fn add_all(&mut self, other: &Extents, offset: u64) {
        for range in &other.ranges {
            self.add(range.start.saturating_add(offset)..range.end.saturating_add(offset));
        }
    }

    /// Takes a range out.
    pub fn remove(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let begin = self.ranges.partition_point(|kept| kept.end <= range.start);
        let end = self.ranges.partition_point(|kept| kept.start < range.end);
        let touched = self.ranges.get(begin..end).unwrap_or_default();
        let (Some(first), Some(last)) = (touched.first(), touched.last()) else { return };
        let left = first.start..range.start;
        let right = range.end..last.end;
        let rest = [left, right].into_iter().filter(|range| !range.is_empty()).collect::<Vec<_>>();
        self.ranges.splice(begin..end, rest);
    }

    /// The ranges, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Range<u64>> + '_ {
        self.ranges.iter().cloned()
    }

    /// The parts of the ranges that lie within `window`, ascending.
    pub fn within(&self, window: Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let begin = self.ranges.partition_point(|kept| kept.end <= window.start);
        let rest = self.ranges.get(begin..).unwrap_or_default();
        let inside = rest.iter().take_while({
            let end = window.end;
            move |kept| kept.start < end
        });
        inside.map(move |kept| kept.start.max(window.start)..kept.end.min(window.end))
    }

    /// Whether all of a range is in the set.
    #[must_use]
    pub fn contains(&self, range: Range<u64>) -> bool {
        let bytes = range.end.saturating_sub(range.start);
        self.within(range).map(|part| part.end - part.start).sum::<u64>() == bytes
    }

    /// How many bytes are in the set.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The end of the last range; 0 when there is none.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.end)
    }
}

impl FromIterator<Range<u64>> for Extents {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Extents {
        let mut extents = Extents::new();
        ranges.into_iter().for_each(|range| extents.add(range));
        extents
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn members(extents: &Extents) -> Vec<u64> {
        extents.iter().flatten().collect()
    }

    proptest! {
        #[test]
        fn it_is_a_set(ops in prop::collection::vec((any::<bool>(), 0_u64..200, 0_u64..30), 0..60)) {
            let (mut extents, mut model) = (Extents::new(), std::collections::BTreeSet::new());
            for (is_adding, start, length) in ops {
                let range = start..start + length;
                if is_adding {
                    extents.add(range.clone());
                    model.extend(range);
                } else {
                    extents.remove(range.clone());
                    model.retain(|n| !range.contains(n));
                }
                prop_assert_eq!(members(&extents), model.iter().copied().collect::<Vec<_>>());
                let ranges = extents.iter().collect::<Vec<_>>();
                prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
                let window = extents.within(40..90).flatten().collect::<Vec<_>>();
                prop_assert_eq!(window, model.range(40..90).copied().collect::<Vec<_>>());
            }
            prop_assert_eq!(extents.bytes(), model.len() as u64);
            for range in [40..90, 60..62, 7..7] {
                prop_assert_eq!(extents.contains(range.clone()), range.clone().all(|n| model.contains(&n)));
            }
        }
    }

    #[test]
    fn a_hostile_number_of_ranges_becomes_fewer_that_hold_them_all() {
        let many = (RANGES_MAX as u64) + 10;
        let mut extents = Extents::new();
        (0..many).for_each(|n| extents.add(n * 8192..n * 8192 + 4096));
        assert!(extents.iter().len() <= RANGES_MAX);
        assert_eq!((extents.iter().next().unwrap().start, extents.end()), (0, (many - 1) * 8192 + 4096));
        assert!(extents.bytes() >= many * 4096);
    }
}

//! Which group is sent next to those who lack all of it, or far more than others.

use std::collections::BTreeSet;

/// How soon a group is sent: the higher, the sooner. 0: not at all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(usize);

impl Rank {
    /// Of a group that so many lack. Those that twice as many lack go first; of these, those that a few repairs complete, for they
    /// fill receivers' memory.
    pub(super) fn of(lacking: u32, is_mendable: bool) -> Rank {
        let digits = lacking.checked_ilog2().map_or(0, |log| log as usize + 1);
        Rank(if digits > 0 { digits * 2 + usize::from(is_mendable) } else { 0 })
    }
}

/// Groups that are due, in turn among those of one rank.
#[derive(Debug, Default)]
pub(super) struct Carousel {
    due: Vec<BTreeSet<u32>>,
    /// Where it goes on.
    next: u32,
}

impl Carousel {
    /// A group has another rank.
    pub(super) fn set(&mut self, group: u32, before: Rank, now: Rank) {
        if before == now {
            return;
        }
        if let Some(due) = self.due.get_mut(before.0) {
            due.remove(&group);
        }
        if now > Rank(0) {
            if self.due.len() <= now.0 {
                self.due.resize_with(now.0 + 1, BTreeSet::new);
            }
            self.due.get_mut(now.0).into_iter().for_each(|due| _ = due.insert(group));
        }
    }

    /// The next group, which is not due any more then.
    pub(super) fn turn(&mut self) -> Option<u32> {
        let due = self.due.iter_mut().rev().find(|due| !due.is_empty())?;
        let group = due.range(self.next..).next().or_else(|| due.first()).copied()?;
        due.remove(&group);
        self.next = group.saturating_add(1);
        Some(group)
    }

    /// The rank of the next group.
    pub(super) fn rank(&self) -> Rank {
        Rank(self.due.iter().rposition(|due| !due.is_empty()).unwrap_or(0))
    }

    /// Whether none is due.
    pub(super) fn is_empty(&self) -> bool {
        self.rank() == Rank(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_more_receivers_lack_goes_first_and_in_turn() {
        let (mut carousel, none) = (Carousel::default(), Rank::default());
        let many = Rank::of(8, false);
        (0..6).for_each(|group| carousel.set(group, none, many));
        assert_eq!([carousel.turn(), carousel.turn(), carousel.turn()], [Some(0), Some(1), Some(2)]);
        (0..3).for_each(|group| carousel.set(group, none, Rank::of(1, false)));
        (3..6).for_each(|group| carousel.set(group, many, Rank::of(9, false)));
        carousel.set(4, many, Rank::of(0, true));
        carousel.set(2, Rank::of(1, false), Rank::of(1, true));
        let rest: Vec<u32> = std::iter::from_fn(|| carousel.turn()).collect();
        assert_eq!(rest, [3, 5, 2, 0, 1]);
        assert!(carousel.is_empty());
    }
}

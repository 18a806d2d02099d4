//! Which group is sent next to those who lack all of it, or far more than others.

use std::collections::BTreeSet;

/// Groups that are due, by how many lack them: those that twice as many lack go first, and in turn.
#[derive(Debug, Default)]
pub(super) struct Carousel {
    /// By the number of binary digits of how many lack it.
    due: Vec<BTreeSet<u32>>,
    /// Where it goes on.
    next: u32,
}

impl Carousel {
    /// So many lack a group now, and so many did before; none if it was not due.
    pub(super) fn set(&mut self, group: u32, before: u32, now: u32) {
        let (before, now) = (digits(before), digits(now));
        if before == now {
            return;
        }
        if before > 0
            && let Some(due) = self.due.get_mut(before)
        {
            due.remove(&group);
        }
        if now > 0 {
            if self.due.len() <= now {
                self.due.resize_with(now + 1, BTreeSet::new);
            }
            self.due.get_mut(now).into_iter().for_each(|due| _ = due.insert(group));
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

    /// Whether none is due.
    pub(super) fn is_empty(&self) -> bool {
        self.due.iter().all(BTreeSet::is_empty)
    }
}

fn digits(number: u32) -> usize {
    number.checked_ilog2().map_or(0, |log| log as usize + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_more_receivers_lack_goes_first_and_in_turn() {
        let mut carousel = Carousel::default();
        for group in 0..6 {
            carousel.set(group, 0, 8);
        }
        assert_eq!([carousel.turn(), carousel.turn(), carousel.turn()], [Some(0), Some(1), Some(2)]);
        for group in 0..3 {
            carousel.set(group, 0, 1);
        }
        (3..6).for_each(|group| carousel.set(group, 8, 9));
        carousel.set(4, 9, 0);
        let rest: Vec<u32> = std::iter::from_fn(|| carousel.turn()).collect();
        assert_eq!(rest, [3, 5, 0, 1, 2]);
        assert!(carousel.is_empty());
    }
}

//! Questions that wait because the writer has enough: who is next, and who is dropped when there are too many.

use std::collections::VecDeque;

use crate::writer::Urgency;

/// Questions that wait at most. A thousand servers, each a few times.
const MOST: usize = 4096;

/// The most urgent first, and among those the oldest first.
#[derive(Debug)]
pub(super) struct Queue<T> {
    strangers: VecDeque<T>,
    known: VecDeque<T>,
    underway: VecDeque<T>,
}

/// Why a question was dropped, for `status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Dropped(pub(super) Urgency);

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { strangers: VecDeque::new(), known: VecDeque::new(), underway: VecDeque::new() }
    }
}

impl<T> Queue<T> {
    pub(super) fn len(&self) -> usize {
        self.strangers.len() + self.known.len() + self.underway.len()
    }

    /// Takes one in. When there are too many, the newest of the least urgent goes: those before it have waited
    /// already, and its machine will ask again.
    pub(super) fn push(&mut self, urgency: Urgency, question: T) -> Option<Dropped> {
        let full = self.len() >= MOST;
        match urgency {
            Urgency::Stranger => self.strangers.push_back(question),
            Urgency::Known => self.known.push_back(question),
            Urgency::Underway => self.underway.push_back(question),
        }
        if !full {
            return None;
        }
        let stranger = self.strangers.pop_back().map(|_| Urgency::Stranger);
        let known = || self.known.pop_back().map(|_| Urgency::Known);
        let gone = stranger.or_else(known);
        let gone = gone.or_else(|| self.underway.pop_back().map(|_| Urgency::Underway));
        gone.map(Dropped)
    }

    /// The next questions, at most so many.
    pub(super) fn next(&mut self, most: usize) -> Vec<T> {
        let mut next = Vec::new();
        for queue in [&mut self.underway, &mut self.known, &mut self.strangers] {
            let room = most.saturating_sub(next.len()).min(queue.len());
            next.extend(queue.drain(..room));
        }
        next
    }
}

impl std::fmt::Display for Dropped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let whom = match self.0 {
            Urgency::Stranger => "the first question of a machine that is not known here",
            Urgency::Known => "the first question of a known machine",
            Urgency::Underway => "a question",
        };
        write!(f, "{whom} was dropped: {MOST} packets are waiting for the data base already")
    }
}

#[cfg(test)]
mod tests {
    use super::{Dropped, MOST, Queue};
    use crate::writer::Urgency::{Known, Stranger, Underway};

    #[test]
    fn who_goes_on_is_first_and_the_newest_stranger_goes_first() {
        let mut queue = Queue::default();
        for (urgency, what) in
            [(Stranger, "s1"), (Known, "k1"), (Underway, "u1"), (Stranger, "s2"), (Underway, "u2")]
        {
            assert_eq!(queue.push(urgency, what), None);
        }
        assert_eq!(queue.next(4), ["u1", "u2", "k1", "s1"]);
        assert_eq!(queue.next(4), ["s2"]);
        assert!(queue.next(4).is_empty());
    }

    #[test]
    fn it_is_bounded_and_drops_what_is_least_urgent() {
        let mut queue = Queue::default();
        for i in 0..MOST {
            let urgency = if i < 10 { Stranger } else { Known };
            assert_eq!(queue.push(urgency, i), None);
        }
        assert_eq!(queue.push(Stranger, 7000), Some(Dropped(Stranger)));
        for i in 0..10 {
            assert_eq!(queue.push(Underway, 8000 + i), Some(Dropped(Stranger)), "{i}");
        }
        assert_eq!(queue.push(Underway, 9000), Some(Dropped(Known)));
        assert_eq!(queue.len(), MOST);
        assert_eq!(queue.next(11).last(), Some(&9000));
        let rest = queue.next(MOST);
        assert_eq!((rest.first(), rest.last()), (Some(&10), Some(&(MOST - 2))), "the newest known one went");
        for i in 0..MOST {
            assert_eq!(queue.push(Underway, i), None);
        }
        assert_eq!(queue.push(Stranger, 1), Some(Dropped(Stranger)), "never one that goes on");
        assert_eq!(queue.push(Underway, 1), Some(Dropped(Underway)), "but for more of the same");
    }
}

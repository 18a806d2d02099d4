//! One sending of a group, and what its receivers say to it.

/// From so many receivers on, one in ten is left behind when it lacks far more than the others; of fewer, one.
const MANY: u32 = 10;

/// The answers to one sending of a group.
#[derive(Debug, Clone, Default)]
pub(super) struct Round {
    /// Receivers that lacked it when it was sent, and have not answered.
    pub(super) awaited: u32,
    /// It was sent to those who had nothing of it, and not for the first time.
    pub(super) is_again: bool,
    /// It has been waited for all answers long enough.
    pub(super) is_late: bool,
    /// It is to be looked at.
    pub(super) is_ready: bool,
    /// A bit for each receiver's place: it has answered.
    heard: Vec<u64>,
    /// How many answered that they lack so many symbols; ascending, without those who lack none.
    lacking: Vec<(u16, u32)>,
}

impl Round {
    pub(super) fn new(awaited: u32, is_again: bool) -> Round {
        Round { awaited, is_again, ..Round::default() }
    }

    /// Takes an answer: `before` is what the receiver lacked of it until now, `deficit` what it lacks. Says whether it is the first one.
    pub(super) fn hear(&mut self, at: usize, before: u16, deficit: u16) -> bool {
        let is_first = self.mark(at);
        if !is_first {
            self.remove(before);
        } else if before > 0 {
            self.awaited = self.awaited.saturating_sub(1);
        }
        self.add(deficit);
        is_first
    }

    /// A receiver does not count any more.
    pub(super) fn forget(&mut self, at: usize, deficit: u16) {
        if self.unmark(at) {
            self.remove(deficit);
        } else if deficit > 0 {
            self.awaited = self.awaited.saturating_sub(1);
        }
    }

    /// How many symbols the receiver lacks who lacks most; none when nobody lacks any.
    pub(super) fn most(&self) -> Option<u16> {
        self.lacking.last().map(|(deficit, _)| *deficit)
    }

    /// Of those who lack at most `limit` symbols: how many the one lacks who lacks most and not far more than the others. `live`
    /// receivers there are.
    pub(super) fn most_of_many(&self, limit: u16, live: u32) -> Option<u16> {
        let end = self.lacking.partition_point(|(deficit, _)| *deficit <= limit);
        let (mendable, beyond) = self.lacking.split_at_checked(end)?;
        let live = live.saturating_sub(beyond.iter().map(|(_, receivers)| receivers).sum());
        let limit = usual(mendable, live).saturating_mul(2).saturating_add(16);
        let counted = mendable.iter().rev().find(|(deficit, _)| live < 2 || *deficit <= limit);
        counted.map(|(deficit, _)| *deficit)
    }

    fn mark(&mut self, at: usize) -> bool {
        let (word, bit) = (at / 64, 1_u64 << (at % 64));
        if self.heard.len() <= word {
            self.heard.resize(word + 1, 0);
        }
        let Some(word) = self.heard.get_mut(word) else { return false };
        let is_first = *word & bit == 0;
        *word |= bit;
        is_first
    }

    fn unmark(&mut self, at: usize) -> bool {
        let bit = 1_u64 << (at % 64);
        let Some(word) = self.heard.get_mut(at / 64) else { return false };
        let was_marked = *word & bit != 0;
        *word &= !bit;
        was_marked
    }

    fn add(&mut self, deficit: u16) {
        if deficit == 0 {
            return;
        }
        match self.lacking.binary_search_by_key(&deficit, |(known, _)| *known) {
            Ok(at) => self.lacking.get_mut(at).into_iter().for_each(|(_, receivers)| *receivers += 1),
            Err(at) => self.lacking.insert(at, (deficit, 1)),
        }
    }

    fn remove(&mut self, deficit: u16) {
        let Ok(at) = self.lacking.binary_search_by_key(&deficit, |(known, _)| *known) else { return };
        let Some((_, receivers)) = self.lacking.get_mut(at) else { return };
        *receivers -= 1;
        if *receivers == 0 {
            self.lacking.remove(at);
        }
    }
}

/// What the worst of `live` lacks when one in ten is left out; among few, one.
fn usual(lacking: &[(u16, u32)], live: u32) -> u16 {
    let mut left_out = if live >= MANY { live / MANY } else { 1 };
    for (deficit, receivers) in lacking.iter().rev() {
        if *receivers > left_out {
            return *deficit;
        }
        left_out -= receivers;
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(deficits: &[u16]) -> Round {
        let mut round = Round::new(u32::try_from(deficits.len()).unwrap(), true);
        for (at, deficit) in deficits.iter().enumerate() {
            assert!(round.hear(at, 1024, *deficit));
        }
        assert_eq!(round.awaited, 0);
        round
    }

    #[test]
    fn an_answer_counts_once_and_may_be_corrected() {
        let mut round = round(&[3, 0, 9]);
        assert_eq!(round.most(), Some(9));
        assert!(!round.hear(2, 9, 4));
        assert_eq!(round.most(), Some(4));
        round.forget(2, 4);
        assert_eq!(round.most(), Some(3));
        assert!(round.hear(2, 0, 7), "somebody else in its place, who lacked nothing");
        assert_eq!((round.most(), round.awaited), (Some(7), 0));
    }

    #[test]
    fn who_lacks_far_more_than_the_others_is_left_out() {
        let mut many = vec![20; 20];
        (many[3], many[7]) = (300, 57);
        assert_eq!(round(&many).most_of_many(256, 20), Some(20));
        many[9] = 57;
        assert_eq!(round(&many).most_of_many(256, 20), Some(57), "three of twenty are not few");
        assert_eq!(round(&[0, 300]).most_of_many(256, 2), None);
        assert_eq!(round(&[0, 12]).most_of_many(256, 2), Some(12), "a few symbols more are no matter");
        assert_eq!(round(&[0, 200]).most_of_many(256, 2), None);
        assert_eq!(round(&[200]).most_of_many(256, 1), Some(200));
        assert_eq!(round(&[300]).most_of_many(256, 1), None, "more than repairs can mend");
        assert_eq!(round(&[]).most_of_many(256, 1), None);
    }
}

//! How far the sender is, and how much of what it has sent has arrived.
//!
//! Sequence numbers are not authenticated. What a report says with one of them must not be wrong for long because a stranger, or a bent
//! packet, said a number that the sender has not reached: then no report would be believed any more. So a number far from all
//! others counts only when the next packet goes on from it, as the sender's do (after RFC 3550, appendix A.1).
//!
//! What is missing was lost. But where nothing at all came for a while, a switch did not know yet that somebody listens here, or a cable was
//! out: that says nothing of how well this network carries what is sent at this rate, and is not counted as lost.

use crate::Micros;

/// Numbers closer than this are of the stream that is being heard. At 10 Gb/s, 80 ms.
const NEAR: u32 = 1 << 16;
/// Of so many packets before the last it is known whether they have arrived: a network may deliver one twice.
const WINDOW: u32 = 1024;
const WORDS: usize = 16;
/// Where nothing came for so long, nothing could: a network that is only sent too much still carries something.
const SILENCE: Micros = Micros(200_000);

/// The numbers that have arrived.
#[derive(Debug, Clone, Default)]
pub(super) struct Sequence {
    /// The one behind the highest that was heard of; none before anything was.
    next: Option<u32>,
    /// Packets that have arrived, each once, or that nobody could have heard; wraps.
    received: u32,
    /// The moment, and when the last packet of the stream came.
    now: Micros,
    last: Option<Micros>,
    /// Which of the last ones have: a bit for each, by its number modulo [`WINDOW`].
    seen: [u64; WORDS],
    /// The one behind a packet that was far from all others.
    doubted: Option<u32>,
}

impl Sequence {
    /// What was sent before this number has arrived, or will not; 0 before anything was heard.
    pub(super) fn next(&self) -> u32 {
        self.next.unwrap_or(0)
    }

    /// How many packets have arrived, and were missed while nothing at all came.
    pub(super) fn received(&self) -> u32 {
        self.received
    }

    /// What comes from now on comes at this moment.
    pub(super) fn tick(&mut self, now: Micros) {
        self.now = self.now.max(now);
    }

    /// A packet of this number has arrived.
    pub(super) fn arrived(&mut self, number: u32) {
        self.reach(number, number.wrapping_add(1));
        if self.is_new(number) {
            self.received = self.received.wrapping_add(1);
        }
    }

    /// The sender's next packet will have this number.
    pub(super) fn told(&mut self, next: u32) {
        self.reach(next, next);
    }

    /// Goes on to `end`, if that is where the stream goes on from `begin`.
    fn reach(&mut self, begin: u32, end: u32) {
        let Some(next) = self.next else {
            (self.next, self.last) = (Some(end), Some(self.now));
            return;
        };
        if end.wrapping_sub(next) <= NEAR {
            self.excuse(begin.wrapping_sub(next));
            self.advance(next, end);
        } else if begin != end && next.wrapping_sub(end) <= WINDOW {
            // It comes late. What lies further back is doubted as what is far ahead is, and so is a beat: it may be the sender's, and what
            // is near was a stranger's.
        } else if self.doubted == Some(begin) {
            // The one that was doubted has come, and was counted.
            self.excuse(begin.wrapping_sub(next).wrapping_sub(1));
            (self.next, self.doubted, self.seen) = (Some(end), None, [0; WORDS]);
        } else {
            self.doubted = Some(end);
        }
    }

    /// So many packets were missed since the last one that came; they are not lost if that is long ago.
    fn excuse(&mut self, missed: u32) {
        let last = self.last.replace(self.now);
        // Backwards is a stranger, or a sender who has begun anew.
        if missed < u32::MAX / 2 && last.is_some_and(|last| self.now.since(last) >= SILENCE) {
            self.received = self.received.wrapping_add(missed);
        }
    }

    fn advance(&mut self, next: u32, end: u32) {
        let ahead = end.wrapping_sub(next);
        for step in 0..ahead.min(WINDOW) {
            let (word, bit) = place(next.wrapping_add(step));
            self.seen.get_mut(word).into_iter().for_each(|word| *word &= !bit);
        }
        (self.next, self.doubted) = (Some(end), None);
    }

    /// Whether no packet of this number has arrived before, as far as is known.
    fn is_new(&mut self, number: u32) -> bool {
        let behind = self.next().wrapping_sub(number);
        if !(1..=WINDOW).contains(&behind) {
            return true;
        }
        let (word, bit) = place(number);
        let Some(word) = self.seen.get_mut(word) else { return true };
        let was_seen = *word & bit != 0;
        *word |= bit;
        !was_seen
    }
}

/// The word and the bit in it that stand for a number.
fn place(number: u32) -> (usize, u64) {
    let at = number % WINDOW;
    (usize::try_from(at / 64).unwrap_or(0), 1 << (at % 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(numbers: impl IntoIterator<Item = u32>) -> (u32, u32) {
        let mut sequence = Sequence::default();
        numbers.into_iter().for_each(|number| sequence.arrived(number));
        (sequence.next(), sequence.received())
    }

    #[test]
    fn lost_late_and_repeated_packets() {
        assert_eq!(after([]), (0, 0));
        assert_eq!(after([7]), (8, 1), "who comes late begins where the sender is");
        assert_eq!(after([0, 1, 4]), (5, 3), "lost");
        assert_eq!(after([0, 3, 1, 2]), (4, 4), "in another order");
        assert_eq!(after([0, 1, 1, 0, 2, 2]), (3, 3), "twice");
        assert_eq!(after([0, 1024, 1, 1, 1024]), (1025, 3), "twice, at the end of what is remembered");
        assert_eq!(after([u32::MAX - 1, u32::MAX, 0, 0, u32::MAX]), (1, 3), "the numbers wrap");
        assert_eq!(after([0, 1, 2, 2000, 3072, 3072]), (3073, 5), "no trace of what is long past");
    }

    #[test]
    fn a_number_far_away_counts_when_the_next_one_goes_on_from_it() {
        let far = 1 << 30;
        assert_eq!(after([5, far]).0, 6, "one is doubted");
        assert_eq!(after([5, far, 6, far, 7]).0, 8);
        assert_eq!(after([5, far, far + 7, far + 1000]).0, 6, "neither follows the other");
        assert_eq!(after([5, far, 6, far + 1]).0, 7, "another came in between");
        assert_eq!(after([5, far, far + 1]), (far + 2, 3), "the sender, after a long silence");
        assert_eq!(after([5, far + 4, far + 5]), (far + 6, 3), "nothing of what was before is seen in it");
        assert_eq!(after([5, far, far + 1, 6, 7]), (8, 5), "a stranger, and the sender after him");
        assert_eq!(after([5, 5 + NEAR]).0, 6 + NEAR, "the last that is near");
        assert_eq!(after([5, 6 + NEAR]).0, 6, "the first that is far");
        assert_eq!(after([1 << 20, 0, 1, 2]), (3, 4), "backwards");
        assert_eq!(
            after([5, 60_000, 6, 7]).0,
            8,
            "a stranger who is not far ahead, and the sender after him"
        );
        assert_eq!(after([5, 60_000, 59_000 - WINDOW]).0, 60_001, "one that lies far back is doubted");
    }

    /// How many were lost of packets that come at these milliseconds.
    fn lost(packets: &[(u64, u32)]) -> u32 {
        let mut sequence = Sequence::default();
        for (milli, number) in packets {
            sequence.tick(Micros(milli * 1000));
            sequence.arrived(*number);
        }
        sequence.next() - packets[0].1 - sequence.received()
    }

    #[test]
    fn what_is_missed_while_nothing_comes_is_not_lost() {
        assert_eq!(lost(&[(0, 0), (1, 100), (2, 101)]), 99);
        assert_eq!(lost(&[(0, 0), (199, 100), (200, 101)]), 99, "it is thin, and not cut off");
        assert_eq!(lost(&[(0, 0), (200, 100), (201, 101)]), 0);
        assert_eq!(lost(&[(0, 0), (200, 100), (201, 111), (202, 113)]), 11, "and then some were");
        assert_eq!(
            lost(&[(0, 5), (900, 1 << 20), (901, (1 << 20) + 1)]),
            0,
            "so long that the first is doubted"
        );
        assert_eq!(lost(&[(0, 5), (1, 1 << 20), (2, (1 << 20) + 1)]), (1 << 20) - 6);
        assert_eq!(lost(&[(0, 0), (500, 1), (501, 2)]), 0, "nothing was sent");
        let mut sequence = Sequence::default();
        sequence.arrived(0);
        for (milli, next) in [(300, 40), (301, 50)] {
            sequence.tick(Micros(milli * 1000));
            sequence.told(next);
        }
        assert_eq!((sequence.next(), sequence.received()), (50, 40), "told of it by a beat");
    }

    #[test]
    fn a_beat_tells_of_packets_that_did_not_arrive() {
        let mut sequence = Sequence::default();
        sequence.arrived(0);
        sequence.told(3);
        assert_eq!((sequence.next(), sequence.received()), (3, 1));
        sequence.told(2);
        sequence.arrived(2);
        sequence.arrived(2);
        assert_eq!((sequence.next(), sequence.received()), (3, 2), "late");
        sequence.told(1 << 30);
        assert_eq!(sequence.next(), 3);
        sequence.told(1 << 30);
        assert_eq!(sequence.next(), 1 << 30, "said twice");
        for next in [30, 20, 20] {
            sequence.told((1 << 30) + next);
        }
        assert_eq!(
            sequence.next(),
            (1 << 30) + 20,
            "a stranger who is hardly ahead, and the sender who says it twice"
        );
        sequence.told(5);
        sequence.arrived(5);
        assert_eq!(sequence.next(), 6, "said, and gone on from");
    }
}

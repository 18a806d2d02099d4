//! What was sent when, of late.

use std::collections::VecDeque;

use super::pace::WIRE_BYTES;
use crate::Micros;

/// Moments that are kept: four seconds of them at least.
const KEPT: usize = 4096;
/// Moments closer than this are one, in nanoseconds.
const SPACING: u64 = 1_000_000;

/// How many symbols had been sent at which moment. Only the time counts in which something was sent: after a pause, what the rate
/// was before and after it is what matters.
#[derive(Debug, Clone, Default)]
pub(super) struct Timeline {
    sent: u64,
    /// Time that counts, in nanoseconds, and the last moment of it.
    busy: u64,
    last: Option<Micros>,
    /// What the last symbols that were sent take.
    takes: u64,
    /// Symbols sent, and the time; ascending. A symbol's moment lies between the two around it.
    moments: VecDeque<(u64, u64)>,
}

impl Timeline {
    /// Symbols sent in all.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// So many more go now, at a rate of so many bytes a second.
    pub(super) fn send(&mut self, symbols: u64, rate: u64, now: Micros) {
        let passed = self.last.map_or(0, |last| now.since(last).0.saturating_mul(1000));
        self.busy = self.busy.saturating_add(passed.min(self.takes.saturating_mul(2)));
        (self.last, self.takes) = (Some(now), nanos(symbols.saturating_mul(WIRE_BYTES), rate));
        if self.moments.back().is_none_or(|(_, last)| self.busy - last >= SPACING) {
            if self.moments.len() == KEPT {
                self.moments.pop_front();
            }
            self.moments.push_back((self.sent, self.busy));
        }
        self.sent = self.sent.saturating_add(symbols);
    }

    /// Bytes a second on the wire between two symbols; none when that is too long ago, or too short to tell.
    pub(super) fn rate(&self, from: u64, to: u64) -> Option<u64> {
        let took = self.moment(to)?.checked_sub(self.moment(from)?)?;
        let bytes = u128::from(to.checked_sub(from)?) * u128::from(WIRE_BYTES) * 1_000_000_000;
        u64::try_from(bytes.checked_div(u128::from(took))?).ok()
    }

    /// In nanoseconds; behind the last moment that was kept, what has been sent since takes what it should.
    fn moment(&self, symbol: u64) -> Option<u64> {
        let next = self.moments.partition_point(|(sent, _)| *sent <= symbol);
        let (before, then) = *self.moments.get(next.checked_sub(1)?)?;
        let last = (self.sent, self.busy.saturating_add(self.takes));
        let (after, later) = self.moments.get(next).copied().unwrap_or(last);
        let part = u128::from(later.saturating_sub(then)) * u128::from(symbol.saturating_sub(before));
        u64::try_from(part / u128::from(after.saturating_sub(before).max(1))).ok()?.checked_add(then)
    }
}

/// How long so many bytes take at so many a second.
fn nanos(bytes: u64, rate: u64) -> u64 {
    u64::try_from(u128::from(bytes) * 1_000_000_000 / u128::from(rate.max(1))).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_between_any_two_symbols() {
        let mut timeline = Timeline::default();
        let rate = 5_000 * WIRE_BYTES;
        for step in 0..100_u64 {
            // A pause in the middle does not count.
            let pause = if step > 50 { 900_000 } else { 0 };
            timeline.send(10, rate, Micros(step * 2_000 + pause));
        }
        assert_eq!(timeline.sent(), 1000);
        assert_eq!(timeline.rate(0, 500), Some(rate));
        assert_eq!(timeline.rate(13, 57), Some(rate), "between moments");
        assert_eq!(timeline.rate(990, 1000), Some(rate), "to the end");
        assert!(timeline.rate(0, 1000).unwrap() > rate / 100 * 97);
        assert_eq!(timeline.rate(5, 5), None, "no time at all");
        assert_eq!(timeline.rate(57, 13), None);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut timeline = Timeline::default();
        for step in 0..10_000_u64 {
            timeline.send(1, 1_000 * WIRE_BYTES, Micros(step * 1_000));
        }
        assert_eq!(timeline.rate(0, 9_999), None);
        assert_eq!(timeline.rate(9_000, 9_999), Some(1_000 * WIRE_BYTES));
        assert!(timeline.moments.len() <= KEPT);
    }
}

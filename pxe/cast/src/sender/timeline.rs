//! What was sent when, of late.

use std::collections::VecDeque;

use super::pace::WIRE_BYTES;
use crate::Micros;

/// Moments that are kept: four seconds of them at least.
const KEPT: usize = 4096;
/// Moments closer than this are one.
const SPACING: Micros = Micros(1_000);

/// How many symbols had been sent at which moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Timeline {
    sent: u64,
    /// Ascending; a symbol's moment lies between the two around it.
    moments: VecDeque<(u64, Micros)>,
}

impl Timeline {
    /// Symbols sent in all.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// So many more go now.
    pub(super) fn send(&mut self, symbols: u64, now: Micros) {
        if self.moments.back().is_none_or(|(_, last)| now.since(*last) >= SPACING) {
            if self.moments.len() == KEPT {
                self.moments.pop_front();
            }
            self.moments.push_back((self.sent, now));
        }
        self.sent = self.sent.saturating_add(symbols);
    }

    /// Bytes a second on the wire between two symbols; none when that is too long ago, or too short to tell.
    pub(super) fn rate(&self, from: u64, to: u64) -> Option<u64> {
        let took = self.moment(to)?.checked_sub(self.moment(from)?)?;
        let bytes = u128::from(to.checked_sub(from)?) * u128::from(WIRE_BYTES) * 1_000_000_000;
        u64::try_from(bytes.checked_div(took)?).ok()
    }

    /// In nanoseconds; behind the last moment that was kept, that one.
    fn moment(&self, symbol: u64) -> Option<u128> {
        let next = self.moments.partition_point(|(sent, _)| *sent <= symbol);
        let (before, then) = *self.moments.get(next.checked_sub(1)?)?;
        let then = u128::from(then.0) * 1000;
        let Some((after, later)) = self.moments.get(next) else { return Some(then) };
        let (part, whole) = (u128::from(symbol - before), u128::from(after - before));
        let span = (u128::from(later.0) * 1000).saturating_sub(then);
        Some(then + span * part / whole.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_told_between_any_two_symbols() {
        let mut timeline = Timeline::default();
        for step in 0..100_u64 {
            timeline.send(10, Micros(step * 2_000));
        }
        assert_eq!(timeline.sent(), 1000);
        let rate = Some(5_000 * WIRE_BYTES);
        assert_eq!(timeline.rate(0, 990), rate);
        assert_eq!(timeline.rate(13, 57), rate, "between moments");
        assert_eq!(timeline.rate(5, 5), None, "no time at all");
        assert_eq!(timeline.rate(57, 13), None);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut timeline = Timeline::default();
        for step in 0..10_000_u64 {
            timeline.send(1, Micros(step * 1_000));
        }
        assert_eq!(timeline.rate(0, 9_999), None);
        assert_eq!(timeline.rate(9_000, 9_999), Some(1_000 * WIRE_BYTES));
        assert!(timeline.moments.len() <= KEPT);
    }
}

//! How far something is, how fast it goes and when it will be there: numbers in, a line out.

use std::collections::VecDeque;

use crate::text::{bar, bytes, duration};

/// How far back a rate looks: long enough to be calm, short enough to see a cable pulled.
const WINDOW_MS: u64 = 15_000;
/// A rate over less than this is noise.
const LEAST_MS: u64 = 900;

/// Bytes over time.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    samples: VecDeque<(u64, u64)>,
}

impl Meter {
    /// So many bytes were done at that time. Fewer than before means that it began again.
    pub(crate) fn note(&mut self, now_ms: u64, done: u64) {
        if self.samples.back().is_some_and(|(_, before)| done < *before) {
            self.samples.clear();
        }
        self.samples.push_back((now_ms, done));
        // One sample older than the window stays, so that there is always a stretch to measure.
        while self.samples.get(1).is_some_and(|(at, _)| now_ms.saturating_sub(*at) > WINDOW_MS) {
            self.samples.pop_front();
        }
    }

    /// Bytes per second; none before there is something to tell.
    pub(crate) fn rate(&self) -> Option<u64> {
        let ((from, first), (to, last)) = (*self.samples.front()?, *self.samples.back()?);
        let took = to.saturating_sub(from);
        let bytes = u128::from(last.saturating_sub(first)) * 1000;
        (took >= LEAST_MS).then(|| u64::try_from(bytes / u128::from(took)).unwrap_or(u64::MAX))
    }

    /// Seconds until all is done at this rate; none when nothing moves.
    pub(crate) fn left(&self, total: u64) -> Option<u64> {
        let (_, done) = *self.samples.back()?;
        self.rate().filter(|rate| *rate > 0).map(|rate| total.saturating_sub(done).div_ceil(rate))
    }
}

/// Percent, rounded down; of nothing, all is done.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    match u128::from(done) * 100 / u128::from(total.max(1)) {
        _ if total == 0 => 100,
        percent => u64::try_from(percent.min(100)).unwrap_or(100),
    }
}

/// `[####------]   41 %  410 MiB of 1 GiB  95 MiB/s  6s left`: 63 columns at most.
pub(crate) fn line(done: u64, total: u64, meter: &Meter) -> String {
    let percent = percent(done, total);
    let rate = meter.rate().map(|rate| format!("  {}/s", bytes(rate))).unwrap_or_default();
    let left = match meter.left(total) {
        Some(seconds) if percent < 100 => format!("  {} left", duration(seconds)),
        _ => String::new(),
    };
    format!("{}  {percent:>3} %  {} of {}{rate}{left}", bar(percent, 10), bytes(done), bytes(total))
}

/// When to write a line where nothing can be redrawn: every ten percent, and every five seconds in which it moved.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    last: Option<(u64, u64)>,
}

impl Pace {
    const MOVED_MS: u64 = 5_000;
    const STILL_MS: u64 = 30_000;

    /// Whether a line is due now; counts it as written.
    pub(crate) fn is_due(&mut self, now_ms: u64, percent: u64) -> bool {
        let due = match self.last {
            None => true,
            Some((at, before)) => {
                let waited = now_ms.saturating_sub(at);
                let moved = percent != before;
                percent.abs_diff(before) >= 10
                    || (moved && waited >= Self::MOVED_MS)
                    // A sign of life in between: the log of a script shall not look dead.
                    || waited >= Self::STILL_MS
            }
        };
        if due {
            self.last = Some((now_ms, percent));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meter(samples: &[(u64, u64)]) -> Meter {
        let mut meter = Meter::default();
        samples.iter().for_each(|(at, done)| meter.note(*at, *done));
        meter
    }

    #[test]
    fn rates() {
        assert_eq!(meter(&[]).rate(), None);
        assert_eq!(meter(&[(0, 0), (500, 99)]).rate(), None, "too short to tell");
        assert_eq!(meter(&[(0, 0), (2000, 100)]).rate(), Some(50));
        assert_eq!(meter(&[(0, 0), (2000, 100)]).left(200), Some(2));
        assert_eq!(meter(&[(0, 7), (5000, 7)]).left(200), None, "nothing moves: no promise");
        assert_eq!(meter(&[(0, 500), (1000, 600), (2000, 0), (3000, 10)]).rate(), Some(10), "it began again");
        let old = meter(&[(0, 0), (1000, 1000), (60_000, 1000), (61_000, 1000)]);
        assert_eq!(old.rate(), Some(0), "what was fast a minute ago says nothing");
        assert_eq!(meter(&[(5, 0), (5, u64::MAX)]).rate(), None);
        assert_eq!(meter(&[(9, 1), (3, 2)]).rate(), None, "a clock that goes back");
    }

    #[test]
    fn lines() {
        let half = meter(&[(0, 0), (2000, 512 << 20)]);
        assert_eq!(
            line(512 << 20, 1 << 30, &half),
            "[#####-----]   50 %  512 MiB of 1 GiB  256 MiB/s  2s left"
        );
        assert_eq!(line(0, 0, &Meter::default()), "[##########]  100 %  0 B of 0 B");
        let slow = meter(&[(0, 0), (1000, 1023 << 20)]);
        assert!(line(1023 << 20, 99 << 30, &slow).len() <= 63, "{}", line(1023 << 20, 99 << 30, &slow));
        assert_eq!(percent(u64::MAX, u64::MAX), 100);
        assert_eq!(percent(3, 2), 100);
        assert_eq!(percent(199, 200), 99);
    }

    #[test]
    fn lines_come_when_something_moved() {
        let mut pace = Pace::default();
        let table = [
            (0, 0, true),
            (1000, 3, false),
            (2000, 10, true),
            (6000, 11, false),
            (7000, 12, true),
            (20_000, 12, false),
            (37_000, 12, true),
            (38_000, 99, true),
            (39_000, 0, true),
        ];
        for (at, percent, due) in table {
            assert_eq!(pace.is_due(at, percent), due, "{at} ms {percent} %");
        }
    }
}

//! How fast something goes, from samples of how far it is: bytes per second and time left, over the last seconds.

use std::collections::VecDeque;

use crate::Millis;

/// Older samples say nothing about now.
const HORIZON: Millis = Millis(10_000);
/// Closer samples than this add nothing; so at most 101 are kept.
const SPACING: Millis = Millis(100);
/// A speed over less than this is noise.
const SHORTEST: Millis = Millis(500);

/// A moving average of a growing count of bytes.
#[derive(Debug, Clone, Default)]
pub struct Rate {
    samples: VecDeque<(Millis, u64)>,
}

impl Rate {
    /// No samples yet.
    #[must_use]
    pub fn new() -> Rate {
        Rate::default()
    }

    /// Notes that `bytes` were done at `now`. A count or a clock that went back begins anew.
    pub fn sample(&mut self, now: Millis, bytes: u64) {
        if let Some(&(last, before)) = self.samples.back() {
            if now < last || bytes < before {
                self.samples.clear();
            } else if now.since(last) < SPACING {
                return;
            }
        }
        // The newest sample beyond the horizon stays: the horizon is then always covered.
        while self.samples.get(1).is_some_and(|(then, _)| now.since(*then) >= HORIZON) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, bytes));
    }

    /// Bytes per second over the last 10 s; None before there is half a second to judge by.
    #[must_use]
    pub fn bytes_per_second(&self) -> Option<u64> {
        let (&(from, before), &(to, after)) = (self.samples.front()?, self.samples.back()?);
        let span = to.since(from);
        if span < SHORTEST {
            return None;
        }
        let thousandfold = u128::from(after - before) * 1000;
        u64::try_from(thousandfold / u128::from(span.0)).ok()
    }

    /// How long until `total` bytes are done at this speed; None when that can't be said (no speed yet, or stalled).
    #[must_use]
    pub fn left(&self, total: u64) -> Option<Millis> {
        let speed = self.bytes_per_second().filter(|speed| *speed > 0)?;
        let (_, done) = self.samples.back()?;
        let millis = u128::from(total.saturating_sub(*done)) * 1000 / u128::from(speed);
        u64::try_from(millis).ok().map(Millis)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rate(samples: &[(u64, u64)]) -> Rate {
        let mut rate = Rate::new();
        for (now, bytes) in samples {
            rate.sample(Millis(*now), *bytes);
        }
        rate
    }

    #[test]
    fn a_steady_stream_has_its_speed_and_time_left() {
        let steady = rate(&[(0, 0), (1000, 5000), (2000, 10_000)]);
        assert_eq!(steady.bytes_per_second(), Some(5000));
        assert_eq!(steady.left(20_000), Some(Millis(2000)));
        assert_eq!(steady.left(0), Some(Millis(0)));
    }

    #[test]
    fn too_little_says_nothing() {
        assert_eq!(rate(&[]).bytes_per_second(), None);
        assert_eq!(rate(&[(0, 0)]).bytes_per_second(), None);
        assert_eq!(rate(&[(0, 0), (499, 9)]).bytes_per_second(), None);
    }

    #[test]
    fn only_the_last_ten_seconds_count() {
        let mut rate = rate(&[(0, 0), (1000, 1_000_000)]);
        for second in 2..=20 {
            rate.sample(Millis(second * 1000), 1_000_000);
        }
        assert_eq!(rate.bytes_per_second(), Some(0));
        assert_eq!(rate.left(2_000_000), None, "stalled");
    }

    #[test]
    fn going_back_begins_anew() {
        assert_eq!(rate(&[(0, 0), (1000, 500), (2000, 100)]).bytes_per_second(), None);
        assert_eq!(rate(&[(5000, 0), (1000, 500)]).bytes_per_second(), None);
    }

    #[test]
    fn a_flood_of_samples_is_bounded_and_extremes_do_not_overflow() {
        let mut flood = Rate::new();
        for now in 0..100_000 {
            flood.sample(Millis(now), now);
        }
        assert!(flood.samples.len() <= 102, "{}", flood.samples.len());
        let extreme = rate(&[(0, 0), (u64::MAX, u64::MAX)]);
        assert_eq!(extreme.bytes_per_second(), Some(1000));
        assert_eq!(rate(&[(0, 0), (1000, 1)]).left(u64::MAX), None);
    }
}

//! Whether packets come so fast that looking at each as it comes is what costs.

use std::time::{Duration, Instant};

/// How long packets are counted.
const WINDOW: Duration = Duration::from_millis(10);
/// Packets in that time that are many: 4,000 a second.
const MANY: u32 = 40;

/// A count over the last moments.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<Instant>,
    count: u32,
    brisk: bool,
}

impl Pace {
    /// A packet came.
    pub(super) fn count(&mut self) {
        self.count = self.count.saturating_add(1);
    }

    /// Whether many came a moment ago.
    pub(super) fn is_brisk(&mut self, now: Instant) -> bool {
        let window = now.saturating_duration_since(*self.since.get_or_insert(now));
        if window >= WINDOW {
            // A long silence is one window too.
            self.brisk = self.count >= MANY && window < WINDOW * 2;
            (self.since, self.count) = (Some(now), 0);
        }
        self.brisk || self.count >= MANY
    }
}

#[cfg(test)]
mod tests {
    use super::{MANY, Pace, WINDOW};
    use std::time::Instant;

    #[test]
    fn a_stream_is_brisk_and_a_trickle_is_not() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        let mut feed = |from: u32, packets: u32| {
            for _ in 0..packets {
                pace.count();
            }
            pace.is_brisk(start + WINDOW * from)
        };
        assert!(!feed(0, MANY - 1));
        assert!(feed(0, 1), "a storm is noticed at once");
        assert!(feed(1, 1), "and is not over when one window is");
        assert!(!feed(2, 1));
        assert!(!feed(3, 3));
        assert!(!feed(50, 2), "and a long silence ends it");
    }
}

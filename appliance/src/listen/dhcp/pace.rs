//! Whether packets come so fast that looking at each as it comes is what costs; and how many answers may leave at once.

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

/// The time of one answer: 40,000 a second, more than any data base saves leases.
const EACH: Duration = Duration::from_micros(25);
/// Answers that may leave at once after a pause: a client's socket has room for some two hundred.
const BURST: u32 = 128;

/// A bucket of answers.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    /// When it was empty; time since then has filled it.
    empty: Option<Instant>,
}

impl Outlet {
    /// Whether one may leave now; it has, then.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let oldest = now.checked_sub(EACH * BURST).unwrap_or(now);
        let empty = self.empty.map_or(oldest, |empty| empty.max(oldest)) + EACH;
        let fits = empty <= now;
        if fits {
            self.empty = Some(empty);
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST, EACH, MANY, Outlet, Pace, WINDOW};
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

    #[test]
    fn answers_leave_in_small_bursts_and_as_fast_as_time_goes() {
        let (mut outlet, start) = (Outlet::default(), Instant::now() + WINDOW);
        let mut leave = |after: u32| (0..1000).filter(|_| outlet.take(start + EACH * after)).count();
        assert_eq!(leave(0), BURST as usize);
        assert_eq!((leave(0), leave(40), leave(60)), (0, 40, 20));
        assert_eq!(leave(100_000), BURST as usize, "however long the pause was");
    }
}

//! When to try again, and when to stop trying.

use crate::Millis;

const FIRST: u64 = 250;
const LONGEST: u64 = 10_000;

/// The pause after so many failures in a row: 250 ms, doubling, at most 10 s.
pub(crate) fn pause(failures: u32) -> Millis {
    let doubled = FIRST.checked_shl(failures.saturating_sub(1)).unwrap_or(LONGEST);
    Millis(doubled.min(LONGEST))
}

/// One thing that is tried until it works: a flush, a disarm, the seed.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tries {
    failures: u32,
    not_before: Millis,
}

impl Tries {
    /// Notes a failure; true when it was one too many.
    pub(crate) fn failed(&mut self, now: Millis, allowed: u32) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.not_before = now.after(pause(self.failures));
        self.failures >= allowed.max(1)
    }

    pub(crate) fn ready(&self, now: Millis) -> bool {
        now >= self.not_before
    }

    pub(crate) fn not_before(&self) -> Millis {
        self.not_before
    }
}

/// The health of what pieces are fetched from. Failures of several fetches at once are one outage: while it is being
/// waited out, more of them change nothing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Source {
    tries: Tries,
    since: Option<Millis>,
}

impl Source {
    /// Something arrived: all is well.
    pub(crate) fn arrived(&mut self) {
        *self = Source::default();
    }

    /// A fetch failed; true when nothing has arrived for longer than `patience`.
    pub(crate) fn failed(&mut self, now: Millis, patience: Millis) -> bool {
        let since = *self.since.get_or_insert(now);
        if self.tries.ready(now) {
            self.tries.failed(now, u32::MAX);
        }
        now.since(since) >= patience
    }

    pub(crate) fn ready(&self, now: Millis) -> bool {
        self.tries.ready(now)
    }

    pub(crate) fn not_before(&self) -> Millis {
        self.tries.not_before()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_ten_seconds() {
        let pauses: Vec<u64> = [0, 1, 2, 3, 6, 7, 40, u32::MAX].map(|n| pause(n).0).into();
        assert_eq!(pauses, [250, 250, 500, 1000, 8000, 10_000, 10_000, 10_000]);
    }

    #[test]
    fn one_outage_counts_once_and_ends_patience_in_time() {
        let mut source = Source::default();
        let patience = Millis(1000);
        assert!(!source.failed(Millis(100), patience));
        assert!(!source.failed(Millis(101), patience), "the second fetch of the same outage");
        assert_eq!(source.not_before(), Millis(350));
        assert!(!source.failed(Millis(350), patience));
        assert_eq!(source.not_before(), Millis(850));
        assert!(source.failed(Millis(1100), patience));
        source.arrived();
        assert!(source.ready(Millis(0)));
        assert!(!source.failed(Millis(2000), patience), "a new outage has its own patience");
    }
}

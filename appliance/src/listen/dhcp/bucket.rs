//! How often one hardware address may ask.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Packets that may come at once: a boot has four stages that each ask a few times.
const BURST: u32 = 20;
/// One more packet each so often.
const REFILL: Duration = Duration::from_millis(250);
/// Addresses remembered, some 4 MiB: more than can be answered in the time in which they are.
const MOST: usize = 65_536;

/// A token bucket for each hardware address. Bounded: when full, those that have all their tokens are forgotten, and
/// if none has, newcomers share one bucket, so that a flood of made-up addresses slows nobody who came before.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    each: BTreeMap<[u8; 6], Bucket>,
    newcomers: Option<Bucket>,
    swept: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// When it will have been refilled.
    full_at: Instant,
}

impl Bucket {
    fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + REFILL;
        let fits = full_at <= now + REFILL * BURST;
        if fits {
            self.full_at = full_at;
        }
        fits
    }
}

impl Buckets {
    /// Whether this address may ask now.
    pub(super) fn take(&mut self, chaddr: [u8; 6], now: Instant) -> bool {
        if let Some(bucket) = self.each.get_mut(&chaddr) {
            return bucket.take(now);
        }
        // Not for every packet of a flood: sweeping is what costs.
        if self.each.len() >= MOST && self.swept.is_none_or(|swept| now >= swept + REFILL) {
            self.each.retain(|_, bucket| bucket.full_at > now);
            self.swept = Some(now);
        }
        if self.each.len() >= MOST {
            return self.newcomers.get_or_insert(Bucket { full_at: now }).take(now);
        }
        self.each.entry(chaddr).or_insert(Bucket { full_at: now }).take(now)
    }
}

#[cfg(test)]
mod tests {
    use super::{BURST, Buckets, MOST, REFILL};
    use std::time::Instant;

    #[test]
    fn a_burst_is_allowed_and_then_one_at_a_time() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let allowed = (0..100).filter(|_| buckets.take([1; 6], start)).count();
        assert_eq!(allowed, BURST as usize);
        assert!(buckets.take([2; 6], start), "another address has its own");
        assert!(buckets.take([1; 6], start + REFILL));
        assert!(!buckets.take([1; 6], start + REFILL));
    }

    #[test]
    fn a_flood_of_addresses_is_bounded_and_spares_the_others() {
        let (mut buckets, start) = (Buckets::default(), Instant::now());
        let flood = (0..100_000u32).filter(|i| {
            let [a, b, c, d] = i.to_be_bytes();
            buckets.take([2, 0, a, b, c, d], start)
        });
        assert_eq!(flood.count(), MOST + BURST as usize);
        assert_eq!(buckets.each.len(), MOST);
        assert!(buckets.take([2, 0, 0, 0, 0, 1], start), "one that came before the flood was full");
        assert!(buckets.take([9; 6], start + REFILL * BURST), "and all is well when it is over");
    }
}

//! Who is given the next bytes where all that is sent must stay below a cap: all who want some get evenly much.
//!
//! One bucket holds the cap. Of those who wait, the one goes first that was given least since it came, so that a newcomer is
//! served at once, somebody with ten requests gets no more than somebody with one, and whoever takes its bytes slowly
//! leaves the rest to the others. (Start-time fair queueing: Goyal, Vin and Cheng, SIGCOMM 1996.)

use std::collections::BTreeMap;

use crate::Micros;

/// How much unused time is made up for.
const DEPTH: Micros = Micros(10_000);
/// What may be asked for at once is the cap's for so much time …
const BLOCK: Micros = Micros(10_000);
/// … and at least and at most so many bytes.
const BLOCK_LEAST: u64 = 512;
const BLOCK_MOST: u64 = 256 << 10;
/// The bucket counts in bytes × microseconds a second, so that nothing is lost in rounding.
const SECOND: i128 = 1_000_000;

/// The cap of one network, and who waits for a part of it. `K` is who gets an even share.
#[derive(Debug)]
pub struct Shares<K> {
    /// Bytes a second; none: nobody waits.
    rate: Option<u64>,
    bucket: i128,
    filled: Micros,
    each: BTreeMap<K, Share>,
    /// Where the one stood that was served last.
    reached: u128,
    given: u64,
}

/// What one has had, and wants.
#[derive(Debug, Default)]
struct Share {
    had: u128,
    /// Bytes that are wanted, by request.
    waiting: BTreeMap<u64, u64>,
}

impl<K: Ord + Copy> Default for Shares<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Ord + Copy> Shares<K> {
    /// Without a cap.
    pub fn new() -> Self {
        Self { rate: None, bucket: 0, filled: Micros(0), each: BTreeMap::new(), reached: 0, given: 0 }
    }

    /// From now on at most so many bytes a second, or as many as anybody wants. 0 counts as 1.
    pub fn limit(&mut self, rate: Option<u64>, now: Micros) {
        let rate = rate.map(|rate| rate.max(1));
        if self.rate != rate {
            (self.rate, self.bucket, self.filled) = (rate, 0, now);
        }
    }

    /// How many bytes one request may ask for at once; none: there is no cap. In any second at most the cap and 2 % more are
    /// given if nobody asks for more than this at once.
    pub fn most(&self) -> Option<u64> {
        let rate = self.rate?;
        Some((rate.saturating_mul(BLOCK.0) / 1_000_000).clamp(BLOCK_LEAST, BLOCK_MOST))
    }

    /// A request of somebody wants its next bytes. One that asks again while it waits has changed its mind. Of several
    /// requests of one, the lowest number goes first: it ends soonest, and none is cut off for being slow.
    pub fn ask(&mut self, who: K, request: u64, bytes: u64, now: Micros) {
        self.fill(now);
        if self.bucket >= self.depth() && self.is_still() {
            // Nobody has wanted anything for a while: nobody is owed anything.
            self.each.clear();
        }
        let reached = self.reached;
        let share = self.each.entry(who).or_default();
        if share.waiting.is_empty() {
            share.had = share.had.max(reached);
        }
        share.waiting.insert(request, bytes);
    }

    /// A request waits no more, or is over.
    pub fn forget(&mut self, who: K, request: u64) {
        if let Some(share) = self.each.get_mut(&who) {
            share.waiting.remove(&request);
        }
    }

    /// Who may send now; none: nobody, before [`Shares::wake`].
    pub fn poll(&mut self, now: Micros) -> Option<(K, u64)> {
        self.fill(now);
        if self.rate.is_some() && self.bucket <= 0 {
            return None;
        }
        let waiting = self.each.iter_mut().filter(|(_, share)| !share.waiting.is_empty());
        let (who, share) = waiting.min_by_key(|(_, share)| share.had)?;
        let (who, (request, bytes)) = (*who, share.waiting.pop_first()?);
        self.reached = share.had;
        share.had = share.had.saturating_add(bytes.into());
        self.given = self.given.saturating_add(bytes);
        if self.rate.is_some() {
            self.bucket = self.bucket.saturating_sub(i128::from(bytes).saturating_mul(SECOND));
        }
        // Whoever is not ahead of the others is as good as new.
        let reached = self.reached;
        self.each.retain(|_, share| !share.waiting.is_empty() || share.had > reached);
        Some((who, request))
    }

    /// When somebody may send next; none: nobody waits.
    pub fn wake(&self, now: Micros) -> Option<Micros> {
        if self.is_still() {
            return None;
        }
        let Some(rate) = self.rate else { return Some(now) };
        let lacking = self.bucket.saturating_neg().max(0);
        // One more: a bucket that is just empty lets nobody through.
        let wait = u64::try_from(lacking / i128::from(rate)).unwrap_or(u64::MAX).saturating_add(1);
        Some(self.filled.after(Micros(wait)))
    }

    /// All bytes that were given so far.
    pub fn given(&self) -> u64 {
        self.given
    }

    fn is_still(&self) -> bool {
        self.each.values().all(|share| share.waiting.is_empty())
    }

    fn depth(&self) -> i128 {
        i128::from(self.rate.unwrap_or(0)).saturating_mul(DEPTH.0.into())
    }

    fn fill(&mut self, now: Micros) {
        let Some(rate) = self.rate else { return };
        let more = i128::from(rate).saturating_mul(now.since(self.filled).0.into());
        self.bucket = self.bucket.saturating_add(more).min(self.depth());
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
#[path = "shares_tests.rs"]
mod tests;

//! What images may take of a network: transmissions and those who fetch share one cap, which the hours of the day may change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet::hours::{Cap, Hours, cap};

use super::delivery::Delivery;
use super::network::link_mbit;
use super::{Casts, MBIT, USUAL_LINK};
use crate::listen::Stop;
use crate::listen::turns::Turns;

/// How often it is looked at who wants how much.
const LEVEL_EVERY: Duration = Duration::from_millis(1000 / LOOKS);
const LOOKS: u64 = 4;
/// How often the clock on the wall is looked at.
const CLOCK_EVERY: Duration = Duration::from_secs(60);
/// So long after the last time somebody fetched much, it is still kept room for.
const LINGERS: Duration = Duration::from_secs(2);

/// The cap, and those who fetch, by our address on their network.
#[derive(Debug)]
pub(super) struct Limit {
    cap: Mutex<Cap>,
    fetching: Mutex<BTreeMap<Ipv4Addr, Fetching>>,
}

/// All answers on one network.
#[derive(Debug)]
struct Fetching {
    turns: Arc<Turns>,
    /// What they had got at the last look.
    given: u64,
    busy_until: Option<Instant>,
}

impl Limit {
    pub(super) fn new(mbit: Option<u64>) -> Self {
        Self { cap: Mutex::new(Cap { mbit, spares: false }), fetching: Mutex::default() }
    }

    /// Megabits a second that all together may use; none: what the link can; 0: nothing is sent to all.
    pub(super) fn mbit(&self) -> Option<u64> {
        self.cap().mbit
    }

    /// Megabits a second that a link of so many may be used for, whichever way images come.
    pub(super) fn of_link(&self, link: u64) -> u64 {
        let cap = self.cap();
        match cap.mbit {
            Some(0) => cap.parts(link, false, true).fetching.unwrap_or(link),
            mbit => mbit.map_or(link, |mbit| mbit.min(link)),
        }
    }

    /// Bytes a second that all transmissions on a network may take together.
    pub(super) fn sending(&self, local: Ipv4Addr) -> u64 {
        let fetches = lock(&self.fetching).get(&local).is_some_and(Fetching::is_busy);
        let link = link_mbit(local).unwrap_or(USUAL_LINK);
        self.cap().parts(link, true, fetches).sending.saturating_mul(MBIT)
    }

    /// Gives those who fetch what is theirs, where something is sent (`sending`) and elsewhere; the networks on which they have
    /// become many or few.
    fn level(&self, sending: &[Ipv4Addr], now: Instant) -> Vec<Ipv4Addr> {
        let cap = self.cap();
        let mut changed = Vec::new();
        for (local, one) in &mut *lock(&self.fetching) {
            let was_busy = one.is_busy();
            one.look(cap, now);
            if one.is_busy() != was_busy {
                changed.push(*local);
            }
            one.turns.limit(fetching(cap, *local, sending.contains(local)));
        }
        changed
    }

    fn cap(&self) -> Cap {
        *lock(&self.cap)
    }
}

impl Fetching {
    fn is_busy(&self) -> bool {
        self.busy_until.is_some()
    }

    /// A twentieth of the cap is what listeners need now and then: nobody makes room for that.
    fn look(&mut self, cap: Cap, now: Instant) {
        let given = self.turns.given();
        let got = given.saturating_sub(std::mem::replace(&mut self.given, given));
        if got > cap.mbit.unwrap_or(0).saturating_mul(MBIT) / LOOKS / 20 {
            self.busy_until = Some(now + LINGERS);
        } else if self.busy_until.is_some_and(|until| now >= until) {
            self.busy_until = None;
        }
    }
}

/// Bytes a second for those who fetch. Of sixteen octets on the wire, one belongs to what is around the image's: frames,
/// addresses, TLS.
fn fetching(cap: Cap, local: Ipv4Addr, sends: bool) -> Option<u64> {
    cap.mbit?;
    let link = link_mbit(local).unwrap_or(USUAL_LINK);
    Some(cap.parts(link, sends, true).fetching?.saturating_mul(MBIT) / 16 * 15)
}

impl Casts {
    /// From now on images may take so much. Where nothing may be sent to all any more, what is being sent ends, and its listeners
    /// fetch. May wait for that, some hundredths of a second.
    pub fn set_limit(&self, cap: Cap) {
        *lock(&self.limit.cap) = cap;
        let ended = {
            let mut all = self.lock();
            if self.limit.mbit() == Some(0) {
                // Or the next one who asks is told by the old plan to listen.
                all.deliveries.values_mut().for_each(Delivery::outdate);
                self.end(&mut all, |_| true);
            } else {
                let locals: Vec<_> = all.deliveries.values().map(|delivery| delivery.local).collect();
                locals.into_iter().for_each(|local| self.share(&all, local));
            }
            std::mem::take(&mut all.ended)
        };
        drop(ended);
        self.level();
    }

    /// Where answers to those who fetch wait for their turn, on the network of our address there.
    pub fn turns(&self, local: Ipv4Addr) -> Arc<Turns> {
        if let Some(one) = lock(&self.limit.fetching).get(&local) {
            return Arc::clone(&one.turns);
        }
        let sends = self.sending().contains(&local);
        let turns = Turns::new();
        turns.limit(fetching(self.limit.cap(), local, sends));
        let one = Fetching { turns, given: 0, busy_until: None };
        Arc::clone(&lock(&self.limit.fetching).entry(local).or_insert(one).turns)
    }

    /// Keeps to what the hours of the day allow, by the local clock, and shares it between who is sent to and who fetches; until
    /// told to stop.
    pub async fn keep_limit(self: Arc<Self>, usual_mbit: Option<u64>, hours: Vec<Hours>, mut stop: Stop) {
        let (mut now_is, mut looked) = (self.limit.cap(), None::<Instant>);
        loop {
            if !hours.is_empty() && looked.is_none_or(|at| at.elapsed() >= CLOCK_EVERY) {
                looked = Some(Instant::now());
                now_is = self.look_at_the_clock(now_is, usual_mbit, &hours).await;
            }
            self.level();
            tokio::select! {
                _ = stop.changed() => return,
                () = tokio::time::sleep(LEVEL_EVERY) => {}
            }
        }
    }

    async fn look_at_the_clock(
        self: &Arc<Self>,
        before: Cap,
        usual_mbit: Option<u64>,
        hours: &[Hours],
    ) -> Cap {
        let next = match crate::clock::moment() {
            Ok(moment) => cap(hours, usual_mbit, moment),
            Err(error) => {
                tracing::warn!(
                    why = crate::chain(&error),
                    "the hours for images are not kept: no local time"
                );
                return before;
            }
        };
        if next != before {
            tracing::info!(
                mbit = next.mbit,
                "what images may take of a network is another from this hour on"
            );
            let casts = Arc::clone(self);
            drop(tokio::task::spawn_blocking(move || casts.set_limit(next)).await);
        }
        next
    }

    fn level(&self) {
        self.limit.level(&self.sending(), Instant::now());
        let all = self.lock();
        let sending = all.deliveries.values().filter(|delivery| delivery.transmission().is_some());
        let locals: BTreeSet<_> = sending.map(|delivery| delivery.local).collect();
        locals.into_iter().for_each(|local| self.share(&all, local));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole whenever the lock is free.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "limit_tests.rs"]
mod tests;

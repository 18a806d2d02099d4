//! Which address a machine is given.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::lease::Leases;
use super::policy::Policy;
use super::why::Why;
use crate::{Mac, Time};

/// How long it counts that nobody was found to use an address.
const PROBED_SECONDS: u64 = 600;

impl Leases {
    /// The address that `mac` has or would be given now, and the machine that must go for it.
    pub(super) fn address_for(
        &self,
        policy: &Policy,
        mac: Mac,
        wish: Option<Ipv4Addr>,
        now: Time,
    ) -> Result<(Ipv4Addr, Option<Mac>), Why> {
        match self.get(mac) {
            Some(held) if policy.is_for_clients(held.ip) && held.pinned => self.fixed(held.ip, now),
            // What a person fixed is never moved, also not when the server was plugged into another network.
            Some(held) if held.pinned => Err(Why::FixedElsewhere(held.ip)),
            // A quarantined address is nobody's: apply() removes the lease when it quarantines.
            Some(held) if policy.is_for_clients(held.ip) => Ok((held.ip, None)),
            _ => self.allocate(policy, wish, now),
        }
    }

    /// An address that a person chose. Nothing else is offered in its place.
    fn fixed(&self, address: Ipv4Addr, now: Time) -> Result<(Ipv4Addr, Option<Mac>), Why> {
        match self.quarantine_of(address, now) {
            Some(until) => Err(Why::FixedIsInUse { address, until }),
            None => Ok((address, None)),
        }
    }

    /// What the client would like when that is free, else the lowest free address, before all others one that was
    /// found unused a moment ago; else one that was offered longest ago and never taken.
    fn allocate(
        &self,
        policy: &Policy,
        wish: Option<Ipv4Addr>,
        now: Time,
    ) -> Result<(Ipv4Addr, Option<Mac>), Why> {
        let wish = wish.filter(|ip| {
            policy.is_pooled(*ip) && self.holder(*ip).is_none() && self.quarantine_of(*ip, now).is_none()
        });
        let probed = || self.free(policy, now, |first, last| self.probed_between(first, last, now)).next();
        let lowest = || self.free(policy, now, |first, last| self.free_between(first, last)).next();
        if let Some(ip) = wish.or_else(probed).or_else(lowest) {
            return Ok((ip, None));
        }
        let pooled = |mac: Mac| self.get(mac).map(|lease| lease.ip).filter(|ip| policy.is_pooled(*ip));
        let stale = self.ends.offers_until(now).find_map(|mac| Some((pooled(mac)?, Some(mac))));
        stale.ok_or_else(|| self.exhausted(policy, now))
    }

    /// Notes that a free address was found used by nobody, by asking the network for it. It is preferred for ten
    /// minutes, or until it is given to a machine. Not durable: after a restart the network is asked again.
    pub fn probed(&mut self, ip: Ipv4Addr, at: Time) {
        let old = |(ip, then): (&Ipv4Addr, &Time)| (then.plus_seconds(PROBED_SECONDS) <= at).then_some(*ip);
        let old = self.probed.iter().filter_map(old).collect::<Vec<_>>();
        for ip in old {
            self.probed.remove_mut(&ip);
        }
        if self.holder(ip).is_none() {
            self.probed.insert_mut(ip, at);
        }
    }

    /// Of the `count` addresses that would be given next, those that were not probed in the last ten minutes, in that
    /// order. Empty when all of them were.
    #[must_use]
    pub fn to_probe(&self, policy: &Policy, count: usize, now: Time) -> Vec<Ipv4Addr> {
        let mut seen = BTreeSet::new();
        let next = self.free(policy, now, |first, last| self.free_between(first, last));
        let next = next.filter(|ip| seen.insert(*ip)).take(count);
        next.filter(|ip| !self.was_probed(*ip, now)).collect()
    }

    fn was_probed(&self, ip: Ipv4Addr, now: Time) -> bool {
        self.probed.get(&ip).is_some_and(|at| at.plus_seconds(PROBED_SECONDS) > now)
    }

    /// Those of a source that clients may have now, pool after pool.
    fn free<'a, Source: Iterator<Item = u32> + 'a>(
        &'a self,
        policy: &'a Policy,
        now: Time,
        source: impl Fn(u32, u32) -> Source + 'a,
    ) -> impl Iterator<Item = Ipv4Addr> + 'a {
        let addresses =
            clipped(policy).flat_map(move |(first, last)| source(first, last)).map(Ipv4Addr::from);
        addresses.filter(move |ip| policy.is_for_clients(*ip) && self.quarantine_of(*ip, now).is_none())
    }

    /// The addresses from `first` to `last` that nobody holds, lowest first, each found in a few steps.
    fn free_between(&self, first: u32, last: u32) -> impl Iterator<Item = u32> {
        let next = |ip: &u32| self.taken.free_from(ip.checked_add(1)?);
        std::iter::successors(self.taken.free_from(first), next).take_while(move |ip| *ip <= last)
    }

    fn probed_between(&self, first: u32, last: u32, now: Time) -> impl Iterator<Item = u32> {
        let between = self.probed.range(Ipv4Addr::from(first)..=Ipv4Addr::from(last)).map(|(ip, _)| *ip);
        between.filter(move |ip| self.was_probed(*ip, now)).map(u32::from)
    }

    /// How full the pools are.
    #[must_use]
    pub fn room(&self, policy: &Policy, now: Time) -> Room {
        let pools = merged(clipped(policy).collect());
        let all: u64 = pools.iter().map(|(first, last)| u64::from(last.saturating_sub(*first)) + 1).sum();
        let in_pools: u64 = pools.iter().map(|(first, last)| self.taken.within(*first, *last)).sum();
        let pooled = |ip: &Ipv4Addr| {
            let inside = |(first, last): &(u32, u32)| (*first..=*last).contains(&u32::from(*ip));
            pools.iter().any(inside)
        };
        // In the pools, but no client's; held by a machine all the same, if the policy has changed since.
        let ours = [policy.subnet.network(), policy.subnet.broadcast(), policy.server];
        let ours = ours.into_iter().chain(policy.relay).chain(policy.router).filter(pooled);
        let ours = ours.collect::<BTreeSet<_>>();
        let count = |among: &mut dyn Iterator<Item = Ipv4Addr>| among.fold(0_u64, |sum, _| sum + 1);
        let lost = count(&mut ours.iter().copied().filter(|ip| self.holder(*ip).is_some()));
        let alone = |ip: &Ipv4Addr| policy.is_pooled(*ip) && self.holder(*ip).is_none();
        let quarantined = count(&mut self.quarantined(now).map(|(ip, _)| ip).filter(alone));
        let size = all.saturating_sub(count(&mut ours.iter().copied()));
        Room { size, held: in_pools.saturating_sub(lost), quarantined }
    }

    fn exhausted(&self, policy: &Policy, now: Time) -> Why {
        let Room { size, held, quarantined } = self.room(policy, now);
        Why::PoolExhausted { size, held, quarantined }
    }
}

/// How full the pools of a subnet are, in addresses that could be a client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All of them.
    pub size: u64,
    /// Held by a machine, with a lease that runs or not.
    pub held: u64,
    /// Nobody's for a while, because somebody uses them unasked.
    pub quarantined: u64,
}

/// The pools as ranges inside the subnet, in their order.
fn clipped(policy: &Policy) -> impl Iterator<Item = (u32, u32)> {
    let (lowest, highest) = (policy.subnet.network(), policy.subnet.broadcast());
    let ranges = policy.pools.iter().map(move |pool| (pool.first.max(lowest), pool.last.min(highest)));
    ranges.filter(|(first, last)| first <= last).map(|(first, last)| (first.into(), last.into()))
}

/// The same addresses in ranges that do not overlap.
fn merged(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut merged: Vec<(u32, u32)> = Vec::new();
    for (first, last) in ranges {
        match merged.last_mut() {
            Some(before) if before.1 >= first => before.1 = before.1.max(last),
            _ => merged.push((first, last)),
        }
    }
    merged
}

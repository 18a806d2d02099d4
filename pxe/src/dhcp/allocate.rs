//! Which address a machine is given.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::lease::{Lease, Leases};
use super::policy::Policy;
use super::why::Why;
use crate::{Mac, Time};

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

    /// What the client would like when that is free, else the lowest free address, else one that was offered longest
    /// ago and never taken.
    fn allocate(
        &self,
        policy: &Policy,
        wish: Option<Ipv4Addr>,
        now: Time,
    ) -> Result<(Ipv4Addr, Option<Mac>), Why> {
        let free = |ip: &Ipv4Addr| {
            policy.is_pooled(*ip) && self.holder(*ip).is_none() && self.quarantine_of(*ip, now).is_none()
        };
        // Ends after as many steps as addresses are taken, however wide the pools are.
        let (lowest, highest) = (policy.subnet.network(), policy.subnet.broadcast());
        let pooled = || {
            let clipped = policy.pools.iter().map(|pool| (pool.first.max(lowest), pool.last.min(highest)));
            clipped.flat_map(|(first, last)| u32::from(first)..=u32::from(last))
        };
        if let Some(ip) = wish.filter(free).or_else(|| pooled().map(Ipv4Addr::from).find(free)) {
            return Ok((ip, None));
        }
        let stale =
            |(mac, lease): &(Mac, &Lease)| policy.is_pooled(lease.ip) && self.was_never_taken(*mac, now);
        if let Some((evicted, lease)) = self.iter().filter(stale).min_by_key(|(_, lease)| lease.expires) {
            return Ok((lease.ip, Some(evicted)));
        }
        Err(self.exhausted(policy, now))
    }

    fn exhausted(&self, policy: &Policy, now: Time) -> Why {
        let count = |addresses: &BTreeSet<Ipv4Addr>| {
            addresses.iter().filter(|ip| policy.is_pooled(**ip)).fold(0_u64, |sum, _| sum + 1)
        };
        let held: BTreeSet<Ipv4Addr> = self.iter().map(|(_, lease)| lease.ip).collect();
        let alone: BTreeSet<Ipv4Addr> =
            self.quarantined(now).map(|(ip, _)| ip).filter(|ip| !held.contains(ip)).collect();
        let (held, quarantined) = (count(&held), count(&alone));
        // Nothing is left, so what is taken is all there is.
        Why::PoolExhausted { size: held + quarantined, held, quarantined }
    }
}

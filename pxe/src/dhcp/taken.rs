//! Indices of the leases: which addresses are taken, as ranges; and whose lease ended when.
//!
//! So that the lowest free address, and the lease that ran out longest ago, are found in a few steps however many
//! leases there are. Knows nothing of what a lease means.

use std::net::Ipv4Addr;

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use crate::{Mac, Time};

/// A set of addresses, kept as the first and last of every range without a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Taken {
    runs: RedBlackTreeMapSync<u32, u32>,
}

impl Taken {
    /// The range that holds an address.
    fn run(&self, ip: u32) -> Option<(u32, u32)> {
        let (&first, &last) = self.runs.range(..=ip).next_back()?;
        (last >= ip).then_some((first, last))
    }

    /// The lowest address from this one on that is not in the set.
    pub(super) fn free_from(&self, ip: u32) -> Option<u32> {
        self.run(ip).map_or(Some(ip), |(_, last)| last.checked_add(1))
    }

    /// How many addresses from `first` to `last` are in the set.
    pub(super) fn within(&self, first: u32, last: u32) -> u64 {
        let length = |first: u32, last: u32| u64::from(last.saturating_sub(first)) + 1;
        let reaching_in = self.run(first).filter(|(start, _)| *start < first);
        let from_before = reaching_in.map_or(0, |(_, end)| length(first, end.min(last)));
        let runs = self.runs.range(first..=last).map(|(start, end)| length(*start, (*end).min(last)));
        from_before + runs.sum::<u64>()
    }

    pub(super) fn insert(&mut self, ip: Ipv4Addr) {
        let ip = u32::from(ip);
        if self.run(ip).is_some() {
            return;
        }
        let below = ip.checked_sub(1).and_then(|below| self.run(below));
        let above = ip.checked_add(1).and_then(|above| self.run(above));
        if let Some((first, _)) = above {
            self.runs.remove_mut(&first);
        }
        let first = below.map_or(ip, |(first, _)| first);
        self.runs.insert_mut(first, above.map_or(ip, |(_, last)| last));
    }

    pub(super) fn remove(&mut self, ip: Ipv4Addr) {
        let ip = u32::from(ip);
        let Some((first, last)) = self.run(ip) else { return };
        self.runs.remove_mut(&first);
        if first < ip {
            self.runs.insert_mut(first, ip.saturating_sub(1));
        }
        if last > ip {
            self.runs.insert_mut(ip.saturating_add(1), last);
        }
    }
}

/// Machines by the end of their lease, those that have only an offer apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Ends {
    offered: RedBlackTreeSetSync<(Time, Mac)>,
    had: RedBlackTreeSetSync<(Time, Mac)>,
}

impl Ends {
    fn of(&mut self, offered: bool) -> &mut RedBlackTreeSetSync<(Time, Mac)> {
        if offered { &mut self.offered } else { &mut self.had }
    }

    pub(super) fn insert(&mut self, mac: Mac, expires: Time, offered: bool) {
        self.of(offered).insert_mut((expires, mac));
    }

    pub(super) fn remove(&mut self, mac: Mac, expires: Time, offered: bool) {
        self.of(offered).remove_mut(&(expires, mac));
    }

    /// Whose offer is off, longest ago first.
    pub(super) fn offers_until(&self, now: Time) -> impl Iterator<Item = Mac> {
        until(&self.offered, now).map(|(_, mac)| mac)
    }

    /// Whose lease or offer has ended, longest ago first.
    pub(super) fn until(&self, now: Time) -> impl Iterator<Item = Mac> {
        let (mut offered, mut had) = (until(&self.offered, now).peekable(), until(&self.had, now).peekable());
        std::iter::from_fn(move || {
            let offer_first = match (offered.peek(), had.peek()) {
                (Some(offer), Some(had)) => offer < had,
                (offer, _) => offer.is_some(),
            };
            if offer_first { offered.next() } else { had.next() }
        })
        .map(|(_, mac)| mac)
    }
}

fn until(set: &RedBlackTreeSetSync<(Time, Mac)>, now: Time) -> impl Iterator<Item = (Time, Mac)> {
    set.iter().copied().take_while(move |(expires, _)| *expires <= now)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::Taken;

    /// Near both ends of what there is, where neighbours are missing, and few enough to touch.
    fn any_address() -> impl Strategy<Value = u32> {
        prop_oneof![0..12_u32, u32::MAX - 12..=u32::MAX]
    }

    proptest! {
        #[test]
        fn ranges_say_what_a_plain_set_says(changes in prop::collection::vec((any_address(), any::<bool>()), 0..60)) {
            let (mut taken, mut plain) = (Taken::default(), BTreeSet::new());
            for (ip, insert) in changes {
                if insert {
                    taken.insert(Ipv4Addr::from(ip));
                    plain.insert(ip);
                } else {
                    taken.remove(Ipv4Addr::from(ip));
                    plain.remove(&ip);
                }
                for from in (0..13).chain(u32::MAX - 13..=u32::MAX) {
                    let free = (from..=u32::MAX).find(|ip| !plain.contains(ip));
                    prop_assert_eq!(taken.free_from(from), free);
                    for to in [from, from.saturating_add(5), u32::MAX] {
                        prop_assert_eq!(taken.within(from, to), plain.range(from..=to).count() as u64);
                    }
                }
                let runs = taken.runs.iter().map(|(first, last)| (*first, *last)).collect::<Vec<_>>();
                prop_assert!(runs.windows(2).all(|two| u64::from(two[0].1) + 1 < u64::from(two[1].0)), "{:?}", runs);
            }
        }
    }
}

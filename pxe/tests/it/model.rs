//! The leases beside a plain model of them: two maps and a search from the start of the pool.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use proptest::prelude::*;
use pxe::dhcp::{Decision, Lease, LeaseChange, LeaseState, Leases, Reply, Why};
use pxe::{Mac, Time};

use crate::wire::{NOW, Packet, Server, ip, mac, policy, selecting};

#[derive(Clone, Debug)]
enum Happening {
    Discover(Mac),
    Take(Mac),
    Decline(Mac),
    Fix(Mac, Ipv4Addr),
    Release(Mac),
    Unpin(Mac),
    Reclaim,
    Probed(Ipv4Addr),
    Wait(u64),
}

/// More machines than the pool has addresses.
fn any_happening() -> impl Strategy<Value = Happening> {
    let any_mac = || (1_u8..16).prop_map(mac);
    let any_address = || (98_u8..112).prop_map(ip);
    let waits = prop_oneof![1_u64..90, 500_u64..5_000, 80_000_u64..90_000];
    prop_oneof![
        6 => any_mac().prop_map(Happening::Discover),
        6 => any_mac().prop_map(Happening::Take),
        1 => any_mac().prop_map(Happening::Decline),
        1 => (any_mac(), any_address()).prop_map(|(mac, ip)| Happening::Fix(mac, ip)),
        1 => any_mac().prop_map(Happening::Release),
        1 => any_mac().prop_map(Happening::Unpin),
        1 => Just(Happening::Reclaim),
        3 => any_address().prop_map(Happening::Probed),
        2 => waits.prop_map(Happening::Wait),
    ]
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Plain {
    leases: BTreeMap<Mac, Lease>,
    quarantined: BTreeMap<Ipv4Addr, Time>,
    probed: BTreeMap<Ipv4Addr, Time>,
    /// What a restart would find.
    durable: BTreeMap<Mac, Lease>,
}

impl Plain {
    fn holder(&self, ip: Ipv4Addr) -> Option<Mac> {
        self.leases.iter().find(|(_, lease)| lease.ip == ip).map(|(mac, _)| *mac)
    }

    fn apply(&mut self, change: &LeaseChange, passing: bool) {
        let offered = |lease: &Lease| lease.state == LeaseState::Offered && !lease.pinned;
        for mac in change.evicts.filter(|mac| offered(&self.leases[mac])).into_iter().chain([change.mac]) {
            self.leases.remove(&mac);
        }
        self.quarantined.extend(change.quarantine);
        let lease = change.lease.clone().map(|lease| (change.mac, lease));
        self.probed.retain(|ip, _| lease.as_ref().is_none_or(|(_, lease)| lease.ip != *ip));
        self.leases.extend(lease.clone());
        if !passing {
            for mac in change.evicts.into_iter().chain([change.mac]) {
                self.durable.remove(&mac);
            }
            self.durable.extend(lease);
        }
    }

    /// The pool's free addresses, lowest first.
    fn free(&self, now: Time) -> Vec<Ipv4Addr> {
        let free = |ip: &Ipv4Addr| {
            self.holder(*ip).is_none() && self.quarantined.get(ip).is_none_or(|until| *until <= now)
        };
        (100..110).map(ip).filter(free).collect()
    }

    fn was_probed(&self, ip: Ipv4Addr, now: Time) -> bool {
        self.probed.get(&ip).is_some_and(|at| at.plus_seconds(600) > now)
    }

    /// What a machine that nobody knows is offered, and who must go for it.
    fn next(&self, now: Time) -> Option<(Ipv4Addr, Option<Mac>)> {
        let free = self.free(now);
        let probed = free.iter().find(|ip| self.was_probed(**ip, now));
        let stale = |(_, lease): &(&Mac, &Lease)| {
            let pooled = (ip(100)..=ip(109)).contains(&lease.ip);
            lease.state == LeaseState::Offered && !lease.pinned && lease.expires <= now && pooled
        };
        let stale = || self.leases.iter().filter(stale).min_by_key(|(_, lease)| lease.expires);
        let free = probed.or(free.first()).map(|ip| (*ip, None));
        free.or_else(|| stale().map(|(mac, lease)| (lease.ip, Some(*mac))))
    }
}

/// Makes a change in both, as the writer does: an offer without a row, everything else with one.
fn change(leases: &mut Leases, plain: &mut Plain, change: &LeaseChange) {
    let passing = leases.is_passing(change);
    if passing {
        leases.offer(change).unwrap()
    } else {
        leases.apply(change).unwrap()
    }
    plain.apply(change, passing);
}

fn decided(server: &Server, packet: &Packet) -> Option<LeaseChange> {
    match server.decide(&packet.request(), crate::wire::broadcast()) {
        Decision::Reply(reply) => reply.lease,
        Decision::Record { lease, .. } => Some(*lease),
        Decision::Ignore(_) => None,
    }
}

fn happen(server: &mut Server, plain: &mut Plain, happening: &Happening) {
    let (now, leases) = (server.now, &server.leases);
    let held = |mac: &Mac| leases.get(*mac).map(|lease| lease.ip);
    let made = match happening {
        Happening::Wait(seconds) => {
            server.now = now.plus_seconds(*seconds);
            None
        }
        Happening::Probed(ip) => {
            server.leases.probed(*ip, now);
            if plain.holder(*ip).is_none() {
                plain.probed.insert(*ip, now);
            }
            None
        }
        Happening::Discover(mac) => decided(server, &Packet::of(*mac, 1)),
        Happening::Take(mac) => held(mac).and_then(|ip| decided(server, &selecting(*mac, ip))),
        Happening::Decline(mac) => {
            let decline = |ip: Ipv4Addr| Packet::of(*mac, 4).with(50, ip.octets()).with(54, [10, 77, 0, 1]);
            held(mac).and_then(|ip| decided(server, &decline(ip)))
        }
        Happening::Fix(mac, ip) => leases.set_address(&server.policy, *mac, *ip, now).ok(),
        Happening::Release(mac) => leases.release(*mac, now),
        Happening::Unpin(mac) => leases.unpin(*mac),
        Happening::Reclaim => {
            let change = leases.reclaim(&server.policy, |kept| kept == mac(1), now);
            let over = |(held, lease): &(&Mac, &Lease)| {
                let pooled = (ip(100)..=ip(109)).contains(&lease.ip);
                lease.expires <= now && !lease.pinned && pooled && **held != mac(1)
            };
            let oldest = plain.leases.iter().filter(over).min_by_key(|(_, lease)| lease.expires);
            assert_eq!(change.as_ref().map(|change| change.mac), oldest.map(|(mac, _)| *mac));
            change
        }
    };
    if let Some(made) = made {
        change(&mut server.leases, plain, &made);
    }
}

fn same(server: &Server, plain: &Plain) {
    let leases = &server.leases;
    let all = leases.iter().map(|(mac, lease)| (mac, lease.clone())).collect::<BTreeMap<_, _>>();
    assert_eq!(all, plain.leases);
    for ip in (95..115).map(ip) {
        assert_eq!(leases.holder(ip), plain.holder(ip), "{ip}");
    }
    let stranger = server.decide(&Packet::of(mac(200), 1).request(), crate::wire::broadcast());
    let offered = match stranger {
        Decision::Reply(reply) => {
            let Reply { address, lease, .. } = *reply;
            Some((address.unwrap(), lease.unwrap().evicts))
        }
        Decision::Ignore(Why::PoolExhausted { size, held, quarantined }) => {
            let held_now = (100..110).filter(|last| plain.holder(ip(*last)).is_some()).count() as u64;
            assert_eq!((held, quarantined, size), (held_now, 10 - held_now, 10));
            None
        }
        other @ (Decision::Record { .. } | Decision::Ignore(_)) => panic!("{other:?}"),
    };
    assert_eq!(offered, plain.next(server.now));
    for count in [0, 3, 20] {
        let next = plain.free(server.now).into_iter().take(count);
        let unknown = next.filter(|ip| !plain.was_probed(*ip, server.now)).collect::<Vec<_>>();
        assert_eq!(leases.to_probe(&server.policy, count, server.now), unknown);
    }
}

proptest! {
    #[test]
    fn the_leases_are_what_plain_tables_are(happenings in prop::collection::vec(any_happening(), 1..150)) {
        let (mut server, mut plain) = (Server::new(), Plain::default());
        let mut copies = Vec::new();
        for happening in &happenings {
            copies.push((server.leases.clone(), plain.clone()));
            happen(&mut server, &mut plain, happening);
            same(&server, &plain);
        }
        // A copy is as it was, whatever was done since.
        for (leases, plain) in copies {
            let then = leases.iter().map(|(mac, lease)| (mac, lease.clone())).collect::<BTreeMap<_, _>>();
            prop_assert_eq!(then, plain.leases);
        }
        // What a restart finds does not contradict itself: no row of an offer was left behind.
        prop_assert!(Leases::from_rows(plain.durable, plain.quarantined).is_ok());
    }
}

#[test]
fn an_offer_needs_a_row_only_when_one_is_changed_by_it() {
    let mut server = Server::new();
    let offer = |server: &Server, mac| decided(server, &Packet::of(mac, 1)).unwrap();
    let first = offer(&server, mac(1));
    assert!(server.leases.is_passing(&first));
    server.leases.offer(&first).unwrap();
    let taken = decided(&server, &selecting(mac(1), ip(100))).unwrap();
    assert!(!server.leases.is_passing(&taken), "an acknowledgement promises");
    server.leases.apply(&taken).unwrap();
    // The server was moved to another network: what it is offered there puts its old address in quarantine.
    server.policy.subnet = "10.78.0.0/24".parse().unwrap();
    server.policy.server = Ipv4Addr::new(10, 78, 0, 1);
    server.policy.pools = policy()
        .pools
        .iter()
        .map(|pool| pxe::dhcp::Pool {
            first: Ipv4Addr::new(10, 78, 0, pool.first.octets()[3]),
            last: Ipv4Addr::new(10, 78, 0, pool.last.octets()[3]),
        })
        .collect();
    let moved = offer(&server, mac(1));
    assert!(moved.quarantine.is_some() && !server.leases.is_passing(&moved));
    // Offers that have a row, as earlier versions wrote them, are evicted with it.
    let mut server = Server::new();
    for last in 1..=10 {
        let change = offer(&server, mac(last));
        server.leases.apply(&change).unwrap();
    }
    server.now = NOW.plus_seconds(61);
    let evicting = offer(&server, mac(11));
    assert!(evicting.evicts == Some(mac(1)) && !server.leases.is_passing(&evicting), "{evicting:?}");
}

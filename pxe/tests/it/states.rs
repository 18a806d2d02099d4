//! Who gets which address, and keeps it.

use std::net::{Ipv4Addr, SocketAddrV4};

use pxe::Time;
use pxe::dhcp::{
    AddressError, BadPolicy, Decision, Kind, Lease, LeaseState, Leases, Mode, Policy, Pool, ReplyKind, Room,
    Why,
};

use crate::clients::{networkd, ovmf_pxe};
use crate::wire::{Answer, NOW, Packet, SERVER, Server, ip, mac, policy, replied};

fn nakked(decision: Decision) -> bool {
    let reply = replied(decision);
    assert_eq!(reply.lease, None);
    let answer = Answer::of(&reply);
    let bare = answer.options.iter().all(|(code, _)| [53, 54, 61, 82].contains(code));
    answer.kind() == 6 && answer.yiaddr().is_unspecified() && bare
}

fn ignored(decision: Decision) -> Why {
    match decision {
        Decision::Ignore(why) => why,
        other @ (Decision::Reply(_) | Decision::Record { .. }) => panic!("not silent: {other:?}"),
    }
}

fn using(mut packet: Packet, address: Ipv4Addr) -> Packet {
    packet.ciaddr = address;
    packet
}

#[test]
fn the_lowest_free_address_goes_to_whoever_asks_first_and_stays() {
    let mut server = Server::new();
    assert_eq!(server.address_of(mac(9)), ip(100));
    assert_eq!(server.address_of(mac(1)), ip(101));
    server.now = server.now.plus_seconds(400 * 86_400);
    assert_eq!(server.address_of(mac(5)), ip(102), "leases that ran out are not given away");
    assert_eq!(server.address_of(mac(1)), ip(101));
}

#[test]
fn a_wish_is_granted_when_the_address_is_free_and_pooled() {
    let wish = |last| replied(Server::new().hear(&Packet::of(mac(1), 1).with(50, ip(last).octets()))).address;
    assert_eq!(wish(107), Some(ip(107)));
    for last in [99, 110, 1, 0, 255] {
        assert_eq!(wish(last), Some(ip(100)), "wished for {last}");
    }
    let mut server = Server::new();
    server.address_of(mac(1));
    let reply = replied(server.hear(&Packet::of(mac(2), 1).with(50, ip(100).octets())));
    assert_eq!(reply.address, Some(ip(101)), "held by another");
    let reply = replied(server.hear(&Packet::of(mac(1), 1).with(50, ip(105).octets())));
    assert_eq!(reply.address, Some(ip(100)), "has one already");
}

#[test]
fn repeats_are_answered_again_and_written_once() {
    let mut server = Server::new();
    let first = replied(server.hear(&ovmf_pxe(mac(1), 1)));
    assert!(first.lease.is_some());
    let again = replied(server.hear(&ovmf_pxe(mac(1), 1)));
    assert_eq!((again.lease, &again.packet), (None, &first.packet));
    server.now = server.now.plus_seconds(61);
    let later = replied(server.hear(&ovmf_pxe(mac(1), 1)));
    assert!(later.lease.is_some(), "the offer had run out, and is made anew");
    assert_eq!(later.packet, first.packet);
}

#[test]
fn selecting() {
    let mut server = Server::new();
    server.hear(&Packet::of(mac(1), 1));
    let other = Ipv4Addr::new(10, 77, 0, 66);
    let theirs = Packet::of(mac(1), 3).with(50, ip(100).octets()).with(54, other.octets());
    assert_eq!(ignored(server.hear(&theirs)), Why::OtherServer(other));
    assert!(nakked(server.hear(&ask(101))), "not what was offered");
    assert!(nakked(server.hear(&ask(1))), "our own address");
    let reply = replied(server.hear(&ask(100)));
    let change = reply.lease.clone().unwrap();
    let lease = change.lease.unwrap();
    assert_eq!((lease.state, lease.expires), (LeaseState::Bound, NOW.plus_seconds(3600)));
    assert_eq!((change.evicts, change.quarantine), (None, None));
    let far = Packet::of(mac(1), 3).with(50, [192, 0, 2, 1]).with(54, SERVER.octets());
    assert!(nakked(server.hear(&far)));
}

fn ask(last: u8) -> Packet {
    crate::wire::selecting(mac(1), ip(last))
}

#[test]
fn init_reboot() {
    let mut server = Server::new();
    let remembered = |last: u8| Packet::of(mac(1), 3).with(50, ip(last).octets());
    assert!(nakked(server.hear(&remembered(104))), "nobody knows it: begin again");
    server.address_of(mac(1));
    let reply = replied(server.hear(&remembered(100)));
    assert_eq!((reply.kind, reply.address), (ReplyKind::Ack, Some(ip(100))));
    assert!(nakked(server.hear(&remembered(104))), "another address than its own");
    let far = Packet::of(mac(1), 3).with(50, [192, 0, 2, 1]);
    assert_eq!(ignored(server.hear(&far)), Why::SubnetNotOurs(Ipv4Addr::new(192, 0, 2, 1)));
}

#[test]
fn renewing_and_rebinding() {
    let mut server = Server::new();
    server.address_of(mac(1));
    server.now = server.now.plus_seconds(1800);
    let reply = replied(server.hear(&using(networkd(mac(1), 3), ip(100))));
    assert_eq!(reply.to, SocketAddrV4::new(ip(100), 68), "it has an address to be answered at");
    assert_eq!(Answer::of(&reply).address(12), ip(100), "ciaddr");
    assert_eq!(server.leases.get(mac(1)).unwrap().expires, server.now.plus_seconds(3600));
    let wrong = server.hear(&using(networkd(mac(1), 3), ip(101)));
    assert!(nakked(wrong.clone()));
    assert_eq!(*replied(wrong).to.ip(), Ipv4Addr::BROADCAST, "never to an address anybody may claim");
    let far = Ipv4Addr::new(192, 0, 2, 1);
    assert_eq!(ignored(server.hear(&using(networkd(mac(1), 3), far))), Why::SubnetNotOurs(far));
}

#[test]
fn a_controller_that_lost_its_leases_lets_every_node_keep_its_address() {
    let mut server = Server::new();
    let reply = replied(server.hear(&using(networkd(mac(3), 3), ip(107))));
    assert_eq!((reply.kind, reply.address), (ReplyKind::Ack, Some(ip(107))));
    assert!(nakked(server.hear(&using(networkd(mac(4), 3), ip(107)))), "held by now");
    assert!(nakked(server.hear(&using(networkd(mac(4), 3), ip(50)))), "not pooled");
}

#[test]
fn a_ciaddr_that_is_not_the_clients_address_is_not_sent_to() {
    let mut server = Server::new();
    server.address_of(mac(1));
    let reply = replied(server.hear(&using(ask(100), ip(200))));
    assert_eq!(*reply.to.ip(), Ipv4Addr::BROADCAST);
    let reply = replied(server.hear(&using(Packet::of(mac(1), 1), ip(200))));
    assert_eq!(*reply.to.ip(), Ipv4Addr::BROADCAST);
}

#[test]
fn decline_puts_the_address_in_quarantine_for_a_day() {
    let mut server = Server::new();
    server.address_of(mac(1));
    let decline = Packet::of(mac(1), 4).with(50, ip(100).octets()).with(54, SERVER.octets());
    assert!(matches!(server.hear(&decline), Decision::Record { .. }));
    assert_eq!(server.address_of(mac(1)), ip(101), "the machine gets another");
    assert_eq!(server.address_of(mac(2)), ip(102), "and nobody gets that one");
    assert_eq!(
        ignored(server.hear(&decline)),
        Why::NotItsAddress { kind: Kind::Decline, asked: ip(100), mac: mac(1) },
        "a repeat changes nothing"
    );
    server.now = server.now.plus_seconds(86_400);
    assert_eq!(server.address_of(mac(3)), ip(100), "a day later it is tried again");
}

#[test]
fn declines_and_releases_that_mean_nothing() {
    let mut server = Server::new();
    server.address_of(mac(1));
    let before = server.leases.clone();
    let decline = |last| Packet::of(mac(last), 4);
    let not_its = |kind, last| Why::NotItsAddress { kind, asked: ip(100), mac: mac(last) };
    let other = Ipv4Addr::new(10, 77, 0, 66);
    let table = [
        (decline(2).with(50, ip(100).octets()), not_its(Kind::Decline, 2)),
        (decline(1), Why::NoAddress(Kind::Decline)),
        (decline(1).with(50, ip(100).octets()).with(54, other.octets()), Why::OtherServer(other)),
        (using(Packet::of(mac(2), 7), ip(100)), not_its(Kind::Release, 2)),
        (Packet::of(mac(1), 7), Why::NoAddress(Kind::Release)),
        (Packet::of(mac(1), 3), Why::NoAddress(Kind::Request)),
        (Packet::of(mac(1), 8), Why::NoAddress(Kind::Inform)),
    ];
    for (packet, why) in table {
        assert_eq!(ignored(server.hear(&packet)), why);
        assert_eq!(server.leases, before, "{why}");
    }
}

#[test]
fn release_keeps_the_address() {
    let mut server = Server::new();
    server.address_of(mac(1));
    let release = using(Packet::of(mac(1), 7).with(54, SERVER.octets()), ip(100));
    assert!(matches!(server.hear(&release), Decision::Record { .. }));
    assert_eq!(server.leases.get(mac(1)).unwrap().state, LeaseState::Released);
    server.now = server.now.plus_seconds(1_000_000);
    assert_eq!(server.address_of(mac(2)), ip(101));
    assert_eq!(server.address_of(mac(1)), ip(100));
}

#[test]
fn inform_gets_everything_but_an_address() {
    let mut server = Server::new();
    let reply = replied(server.hear(&using(networkd(mac(1), 8), ip(30))));
    let answer = Answer::of(&reply);
    assert_eq!((answer.kind(), answer.yiaddr()), (5, Ipv4Addr::UNSPECIFIED));
    assert_eq!((answer.option(51), answer.option(1)), (None, Some(&[255, 255, 255, 0][..])));
    assert_eq!((reply.to, reply.lease), (SocketAddrV4::new(ip(30), 68), None));
    assert_eq!(ignored(server.hear(&using(networkd(mac(1), 8), SERVER))), Why::SubnetNotOurs(SERVER));
}

#[test]
fn an_exhausted_pool_says_so_and_offers_never_taken_are_the_last_reserve() {
    let mut server = Server::new();
    for last in 1..=8 {
        server.address_of(mac(last));
    }
    server.hear(&Packet::of(mac(20), 1));
    server.now = server.now.plus_seconds(30);
    server.hear(&Packet::of(mac(21), 1));
    let full = Why::PoolExhausted { size: 10, held: 10, quarantined: 0 };
    assert_eq!(ignored(server.hear(&Packet::of(mac(30), 1))), full, "both offers stand");
    let room = Room { size: 10, held: 10, quarantined: 0 };
    assert_eq!(server.leases.room(&server.policy, server.now), room);
    server.now = server.now.plus_seconds(31);
    let reply = replied(server.hear(&Packet::of(mac(30), 1)));
    assert_eq!(reply.address, Some(ip(108)), "the older offer's");
    assert_eq!(reply.lease.unwrap().evicts, Some(mac(20)));
    assert!(nakked(server.hear(&crate::wire::selecting(mac(20), ip(108)))), "it came too late");
}

#[test]
fn fixed_addresses_win_and_are_nobody_elses() {
    let mut server = Server::new();
    server.fix(mac(1), ip(100));
    server.fix(mac(2), ip(30));
    assert_eq!(server.address_of(mac(9)), ip(101), "100 is fixed for another");
    assert_eq!(server.address_of(mac(1)), ip(100));
    assert_eq!(server.address_of(mac(2)), ip(30), "outside of every pool");
    server.fix(mac(9), ip(31));
    assert!(nakked(server.hear(&using(networkd(mac(9), 3), ip(101)))), "it moves when it asks");
    assert_eq!(server.address_of(mac(9)), ip(31));
    assert_eq!(
        server.leases.quarantine_of(ip(101), server.now),
        Some(NOW.plus_seconds(3600)),
        "it may still use it"
    );
}

#[test]
fn a_fixed_address_in_use_by_somebody_is_not_replaced_by_another() {
    let mut server = Server::new();
    server.fix(mac(1), ip(30));
    server.fix(mac(2), ip(31));
    for (last, address) in [(1, ip(30)), (2, ip(31))] {
        assert_eq!(server.address_of(mac(last)), address);
        server.hear(&Packet::of(mac(last), 4).with(50, address.octets()));
        let until = server.now.plus_seconds(86_400);
        assert_eq!(ignored(server.hear(&Packet::of(mac(last), 1))), Why::FixedIsInUse { address, until });
    }
    server.now = server.now.plus_seconds(86_400);
    assert_eq!((server.address_of(mac(1)), server.address_of(mac(2))), (ip(30), ip(31)));
}

#[test]
fn modes() {
    let mut server = Server::new();
    server.policy.mode = Mode::Off;
    assert_eq!(ignored(server.hear(&Packet::of(mac(1), 1))), Why::Off);
    server.policy.mode = Mode::KnownOnly;
    assert_eq!(ignored(server.hear(&Packet::of(mac(1), 1))), Why::UnknownMachine(mac(1)));
    server.known.insert(mac(1));
    assert_eq!(server.address_of(mac(1)), ip(100));
    server.fix(mac(3), ip(31));
    assert_eq!(server.address_of(mac(3)), ip(31));
}

#[test]
fn the_operator_sets_an_address() {
    let mut server = Server::new();
    server.policy.router = Some(ip(254));
    server.fix(mac(7), ip(70));
    server.address_of(mac(1));
    server.address_of(mac(2));
    let decline = Packet::of(mac(2), 4).with(50, ip(101).octets());
    server.hear(&decline);
    let far = Ipv4Addr::new(192, 0, 2, 1);
    let table = [
        (mac(3), far, AddressError::Outside(far)),
        (mac(3), ip(0), AddressError::NotForClients(ip(0))),
        (mac(3), ip(255), AddressError::NotForClients(ip(255))),
        (mac(3), SERVER, AddressError::NotForClients(SERVER)),
        (mac(3), ip(254), AddressError::NotForClients(ip(254))),
        (mac(3), ip(100), AddressError::Held { ip: ip(100), by: mac(1) }),
        (mac(3), ip(101), AddressError::InUse(ip(101))),
        (mac(3), ip(70), AddressError::Held { ip: ip(70), by: mac(7) }),
    ];
    for (mac, address, why) in table {
        assert_eq!(server.leases.set_address(&server.policy, mac, address, server.now), Err(why));
    }
    let change = server.leases.set_address(&server.policy, mac(1), ip(42), server.now).unwrap();
    server.leases.apply(&change).unwrap();
    assert_eq!(server.leases.holder(ip(42)), Some(mac(1)));
    assert!(nakked(server.hear(&using(networkd(mac(1), 3), ip(100)))), "it learns of it when it renews");
    assert_eq!(server.address_of(mac(5)), ip(102), "100 may be in use until the lease has run out");
    assert_eq!(server.address_of(mac(1)), ip(42));
    server.now = server.now.plus_seconds(3600);
    assert_eq!(server.address_of(mac(6)), ip(100));
}

#[test]
fn what_the_operator_fixed_is_taken_back() {
    let mut server = Server::new();
    assert_eq!(server.leases.unpin(mac(1)), None, "nothing was fixed");
    let fix = |server: &mut Server, last: u8| {
        let change = server.leases.set_address(&server.policy, mac(1), ip(last), server.now).unwrap();
        server.leases.apply(&change).unwrap();
    };
    fix(&mut server, 42);
    let change = server.leases.unpin(mac(1)).unwrap();
    server.leases.apply(&change).unwrap();
    assert_eq!(server.leases.holder(ip(42)), None, "it never came for it");
    fix(&mut server, 43);
    server.address_of(mac(1));
    let change = server.leases.unpin(mac(1)).unwrap();
    server.leases.apply(&change).unwrap();
    let lease = server.leases.get(mac(1)).unwrap();
    assert_eq!((lease.ip, lease.pinned), (ip(43), false), "what it uses stays its own");
}

#[test]
fn an_address_that_was_set_and_not_yet_taken_can_be_taken_back() {
    for back in [true, false] {
        let mut server = Server::new();
        let first = server.address_of(mac(1));
        let set = |server: &mut Server, address| {
            let change = server.leases.set_address(&server.policy, mac(1), address, server.now).unwrap();
            server.leases.apply(&change).unwrap();
        };
        set(&mut server, ip(42));
        if back {
            set(&mut server, first);
        } else {
            let change = server.leases.unpin(mac(1)).unwrap();
            server.leases.apply(&change).unwrap();
        }
        let lease = server.leases.get(mac(1)).unwrap().clone();
        assert_eq!((lease.ip, lease.in_use(), lease.pinned), (first, first, back));
        assert_eq!(server.address_of(mac(1)), first, "it goes on with the address it has");
        assert_eq!(server.leases.holder(ip(42)), None);
    }
}

#[test]
fn the_operator_releases_an_address() {
    let mut server = Server::new();
    assert_eq!(server.leases.release(mac(1), server.now), None);
    server.address_of(mac(1));
    let change = server.leases.release(mac(1), server.now).unwrap();
    server.leases.apply(&change).unwrap();
    assert_eq!(server.leases.get(mac(1)), None);
    assert_eq!(server.address_of(mac(2)), ip(101), "its client may use it until the lease has run out");
    server.now = server.now.plus_seconds(3600);
    assert_eq!(server.address_of(mac(3)), ip(100));
}

#[test]
fn rows_and_late_changes_that_contradict_are_refused() {
    let mut server = Server::new();
    server.address_of(mac(1));
    let row = server.leases.get(mac(1)).unwrap().clone();
    assert!(Leases::from_rows([(mac(1), row.clone()), (mac(2), row.clone())], []).is_err());
    let reread = Leases::from_rows([(mac(1), row.clone())], []).unwrap();
    assert_eq!(reread, server.leases);

    // Decided before mac(1) had taken the address; applied after.
    let late =
        |evicts| pxe::dhcp::LeaseChange { mac: mac(2), lease: Some(row.clone()), evicts, quarantine: None };
    for evicts in [None, Some(mac(1)), Some(mac(3))] {
        assert!(server.leases.apply(&late(evicts)).is_err());
        assert_eq!(server.leases, reread, "refused means unchanged");
    }
}

#[test]
fn a_machine_whose_subnet_is_gone_is_given_an_address_of_the_new_one() {
    let mut server = Server::new();
    server.address_of(mac(1));
    server.policy.server = Ipv4Addr::new(10, 99, 0, 1);
    server.policy.subnet = "10.99.0.0/24".parse().unwrap();
    let first = Ipv4Addr::new(10, 99, 0, 10);
    server.policy.pools = vec![Pool { first, last: Ipv4Addr::new(10, 99, 0, 20) }];
    let reply = replied(server.hear(&Packet::of(mac(1), 1)));
    assert_eq!(reply.address, Some(first));
}

#[test]
fn policies_that_cannot_be_meant() {
    let with = |change: fn(&mut Policy)| {
        let mut changed = policy();
        change(&mut changed);
        changed.check()
    };
    assert_eq!(policy().check(), Ok(()));
    assert_eq!(with(|p| p.server = ip(0)), Err(BadPolicy::Server(ip(0))));
    assert_eq!(with(|p| p.relay = Some(ip(255))), Err(BadPolicy::Server(ip(255))));
    assert_eq!(with(|p| p.subnet = "10.77.0.0/31".parse().unwrap()), Err(BadPolicy::Prefix(31)));
    assert_eq!(with(|p| p.subnet = "0.0.0.0/0".parse().unwrap()), Err(BadPolicy::Prefix(0)));
    let backwards = BadPolicy::Backwards { first: ip(9), last: ip(8) };
    assert_eq!(with(|p| p.pools = vec![Pool { first: ip(9), last: ip(8) }]), Err(backwards));
    let far = Ipv4Addr::new(10, 78, 0, 8);
    assert_eq!(
        with(|p| p.pools.push(Pool { first: ip(9), last: Ipv4Addr::new(10, 78, 0, 8) })),
        Err(BadPolicy::Outside(far))
    );
    assert_eq!(with(|p| p.router = Some(Ipv4Addr::new(10, 78, 0, 8))), Err(BadPolicy::Outside(far)));
    assert_eq!(with(|p| p.lease_seconds = 59), Err(BadPolicy::LeaseTooShort(59)));
}

/// The widest pool there is, in an instant: the search is over the addresses taken, not over the pool.
#[test]
fn a_pool_as_wide_as_the_internet() {
    let mut server = Server::new();
    server.policy.subnet = "10.0.0.0/8".parse().unwrap();
    server.policy.pools = vec![Pool { first: Ipv4Addr::UNSPECIFIED, last: Ipv4Addr::BROADCAST }];
    assert_eq!(server.address_of(mac(1)), Ipv4Addr::new(10, 0, 0, 1), "not the network's");
}

#[test]
fn leases_survive_a_store() {
    let mut server = Server::new();
    server.address_of(mac(1));
    let lease: &Lease = server.leases.get(mac(1)).unwrap();
    let text = serde_json::to_string(lease).unwrap();
    assert_eq!(&serde_json::from_str::<Lease>(&text).unwrap(), lease, "{text}");
    assert_eq!(Time(1_500).seconds_since(Time(400)), 1);
}

#[test]
fn an_empty_pool_takes_back_the_lease_that_ran_out_first_unless_it_is_kept() {
    let mut server = Server::new();
    for last in 0..10 {
        server.address_of(mac(last));
        server.now = server.now.plus_seconds(1);
    }
    let none = |_| false;
    assert_eq!(server.leases.reclaim(&server.policy, none, server.now), None, "all run");
    server.now = server.now.plus_seconds(3600);
    let change = server.leases.reclaim(&server.policy, none, server.now).unwrap();
    assert_eq!((change.mac, &change.lease, change.quarantine), (mac(0), &None, None));
    let kept = |machine| machine == mac(0);
    assert_eq!(server.leases.reclaim(&server.policy, kept, server.now).unwrap().mac, mac(1));
    // Not what a person set.
    server.fix(mac(1), ip(101));
    assert_eq!(server.leases.reclaim(&server.policy, kept, server.now).unwrap().mac, mac(2));
    assert_eq!(server.leases.reclaim(&server.policy, |_| true, server.now), None);
}

#[test]
fn a_machine_has_its_old_address_until_it_has_taken_the_new_one() {
    let mut server = Server::new();
    let first = server.address_of(mac(1));
    let in_use = |server: &Server| server.leases.get(mac(1)).unwrap().in_use();
    for next in [ip(50), ip(51)] {
        let change = server.leases.set_address(&server.policy, mac(1), next, server.now).unwrap();
        server.leases.apply(&change).unwrap();
        assert_eq!(in_use(&server), first);
    }
    // Offered is not taken.
    assert_eq!(replied(server.hear(&Packet::of(mac(1), 1))).address, Some(ip(51)));
    assert_eq!(in_use(&server), first);
    assert_eq!(server.address_of(mac(1)), ip(51));
    assert_eq!(in_use(&server), ip(51));
    // A machine that has never taken one has none to leave.
    server.hear(&Packet::of(mac(2), 1));
    let change = server.leases.set_address(&server.policy, mac(2), ip(60), server.now).unwrap();
    assert_eq!(change.lease.unwrap().in_use(), ip(60));
}

//! What holds for every conversation on several networks, with relays, modes that are switched, and beside another
//! DHCP server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddrV4};

use proptest::prelude::*;
use pxe::dhcp::{
    Arrival, Decision, Door, Lease, LeaseState, Mode, Policy, Pool, Reply, ReplyKind, Stance, VendorClass,
};
use pxe::{Mac, Time};

use crate::clients;
use crate::wire::{Answer, Packet, SERVER, Server, ip, mac, policy};

const RELAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 254);

fn far(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, last)
}

/// Our own subnet and one behind a relay; ten addresses in each.
fn server(mode: Mode) -> Server {
    let local = Policy { mode, ..policy() };
    let relayed = Policy {
        subnet: "10.78.0.0/24".parse().unwrap(),
        relay: Some(RELAY),
        pools: vec![Pool { first: far(100), last: far(109) }],
        ..local.clone()
    };
    let mut server = Server { policy: local, relayed: vec![relayed], ..Server::new() };
    server.known.extend([mac(1), mac(2), mac(3)]);
    server
}

#[derive(Clone, Debug)]
enum Happening {
    Packet(Packet, Arrival),
    SetAddress(Mac, Ipv4Addr),
    Free(Mac),
    Wait(u64),
    Mode(Mode),
    Proxy(bool),
    Stance(Stance),
}

fn any_address() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        5 => (98_u8..112).prop_map(ip),
        3 => (98_u8..112).prop_map(far),
        1 => Just(RELAY),
        1 => any::<u32>().prop_map(Ipv4Addr::from)
    ]
}

fn any_client() -> impl Strategy<Value = fn(Mac, u8) -> Packet> {
    prop::sample::select(vec![
        clients::ovmf_pxe as fn(Mac, u8) -> Packet,
        clients::ovmf_http,
        clients::ipxe_rom,
        clients::ipxe_undionly,
        clients::ipxe_efi,
        clients::networkd,
    ])
}

/// What relays put into option 82: whole sub-options that mean something, and anything.
fn any_information() -> impl Strategy<Value = Vec<u8>> {
    let address = |code: u8, address: Ipv4Addr| [&[code, 4][..], &address.octets()].concat();
    prop_oneof![
        Just(vec![]),
        Just(vec![1, 4, b'e', b't', b'h', b'1']),
        Just(address(5, Ipv4Addr::new(10, 78, 0, 0))),
        Just(address(11, RELAY)),
        any_address().prop_map(move |meant| address(5, meant)),
        prop::collection::vec(any::<u8>(), 0..255),
    ]
}

prop_compose! {
    fn any_packet()(
        client in any_client(),
        kind in prop_oneof![4 => Just(1_u8), 6 => Just(3), 1 => Just(4), 1 => Just(7), 1 => Just(8)],
        mac in (1_u8..8).prop_map(mac),
        asked in prop::option::of(any_address()),
        chosen in prop::option::weighted(0.5, prop_oneof![4 => Just(SERVER), 1 => Just(RELAY), 1 => any_address()]),
        ciaddr in prop::option::weighted(0.3, any_address()),
        giaddr in prop::option::weighted(0.3, prop_oneof![4 => Just(RELAY), 1 => Just(ip(2)), 1 => any_address()]),
        information in prop::option::weighted(0.3, any_information()),
        size in prop::option::weighted(0.3, any::<u16>()),
        long_id in prop::option::weighted(0.05, 0_usize..255),
        direct in any::<bool>(),
        source in any_address(),
        proxy_door in prop::bool::weighted(0.15),
    ) -> (Packet, Arrival) {
        let mut packet = client(mac, kind);
        if let Some(asked) = asked {
            packet = packet.with(50, asked.octets());
        }
        if let Some(chosen) = chosen {
            packet = packet.with(54, chosen.octets());
        }
        if let Some(size) = size {
            packet = packet.without(57).with(57, size.to_be_bytes());
        }
        if let Some(length) = long_id {
            packet = packet.without(61).with(61, vec![7; length]);
        }
        if let Some(information) = information {
            packet = packet.with(82, information);
        }
        packet.ciaddr = ciaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
        packet.giaddr = giaddr.unwrap_or(Ipv4Addr::UNSPECIFIED);
        let door = if proxy_door { Door::Proxy } else { Door::Lan };
        let from = match giaddr {
            Some(relay) => SocketAddrV4::new(relay, 67),
            None if direct => SocketAddrV4::new(packet.ciaddr, 68),
            None => SocketAddrV4::new(source, if proxy_door { 4011 } else { 68 }),
        };
        (packet, Arrival { door, source: from })
    }
}

fn any_happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        30 => any_packet().prop_map(|(packet, arrival)| Happening::Packet(packet, arrival)),
        2 => ((1_u8..8).prop_map(mac), any_address()).prop_map(|(mac, to)| Happening::SetAddress(mac, to)),
        1 => (1_u8..8).prop_map(|last| Happening::Free(mac(last))),
        3 => prop_oneof![1_u64..90, 1_000_u64..5_000, 80_000_u64..90_000].prop_map(Happening::Wait),
        1 => prop::sample::select(vec![Mode::Full, Mode::KnownOnly, Mode::Off]).prop_map(Happening::Mode),
        1 => any::<bool>().prop_map(Happening::Proxy),
        1 => prop::sample::select(vec![Stance::Serve, Stance::Serve, Stance::Listening, Stance::Paused(ip(9))])
            .prop_map(Happening::Stance),
    ]
}

/// What the clients were told.
#[derive(Default)]
struct Told {
    uses: BTreeMap<Ipv4Addr, (Mac, Time)>,
    own: BTreeMap<Mac, Ipv4Addr>,
}

impl Told {
    fn acknowledged(&mut self, server: &Server, mac: Mac, address: Ipv4Addr) {
        let now = server.now;
        if let Some((user, until)) = self.uses.get(&address) {
            assert!(*user == mac || *until <= now, "{address} is {user}'s until {until:?}, and now {mac}'s");
        }
        let network = server.network();
        let subnet = |address| network.subnet_of(address).map(|policy| policy.subnet);
        // A machine has one address: what it takes in another network, it has for the one it had.
        let own = self.own.insert(mac, address).filter(|own| subnet(*own) == subnet(address));
        assert!(own.is_none_or(|own| own == address), "{mac} had {own:?} and now has {address}");
        self.uses.retain(|_, (user, _)| *user != mac);
        self.uses.insert(address, (mac, now.plus_seconds(u64::from(server.policy.lease_seconds))));
    }
}

fn happen(server: &mut Server, told: &mut Told, happening: &Happening) {
    match happening {
        Happening::Wait(seconds) => server.now = server.now.plus_seconds(*seconds),
        Happening::Mode(mode) => {
            server.policy.mode = *mode;
            server.relayed[0].mode = *mode;
        }
        Happening::Proxy(on) => server.policy.proxy = *on,
        Happening::Stance(stance) => server.stance = *stance,
        Happening::SetAddress(mac, address) => {
            let network = server.network();
            let Some(policy) = network.subnet_of(*address) else { return };
            if let Ok(change) = server.leases.set_address(policy, *mac, *address, server.now) {
                server.leases.apply(&change).unwrap();
                told.own.remove(mac);
            }
        }
        Happening::Free(mac) => {
            if let Some(change) = server.leases.release(*mac, server.now) {
                server.leases.apply(&change).unwrap();
                told.own.remove(mac);
            }
        }
        Happening::Packet(packet, arrival) => heard(server, told, packet, *arrival),
    }
}

fn heard(server: &mut Server, told: &mut Told, packet: &Packet, arrival: Arrival) {
    let request = packet.request();
    let sender = request.mac;
    let fixed = server.leases.get(sender).filter(|lease| lease.pinned).map(|lease| lease.ip);
    let before = server.leases.get(sender).map(|lease| lease.ip);
    let stranger = !server.known.contains(&sender) && fixed.is_none();
    let bound = |lease: &&Lease| lease.state == LeaseState::Bound && lease.expires > server.now;
    let runs = server.leases.get(sender).filter(bound).map(|lease| lease.ip);
    let (mode, network) = (server.policy.mode, server.network());
    let decision = server.hear_at(packet, arrival);
    if matches!(decision, Decision::Ignore(_)) {
        return;
    }
    assert_ne!(mode, Mode::Off, "answered though DHCP is off");
    assert!(mode == Mode::Full || !stranger, "a stranger was answered: {packet:?}");
    let policy = network.policy(&request, *arrival.source.ip()).expect("answered for a network that is none");
    let silent = server.stance != Stance::Serve && policy.relay.is_none();
    let runs_elsewhere = runs.is_some_and(|address| !policy.subnet.contains(&address));
    match decision {
        Decision::Record { lease, .. } => {
            assert!(!policy.proxy && !silent, "recorded what is another server's");
            told.uses.retain(|_, (user, _)| *user != sender);
            if lease.quarantine.is_some() {
                told.own.remove(&sender);
            }
        }
        Decision::Reply(reply) => {
            goes_where_it_may(server, packet, arrival, &reply);
            fits(packet, &reply);
            let promised = reply.address.is_some() || reply.lease.is_some();
            // Only what runs is kept up.
            let kept = runs.is_some() && reply.address == runs && reply.kind == ReplyKind::Ack;
            assert!(!policy.proxy || !promised || kept, "an address beside another server");
            assert!(!silent || kept, "an answer where another server may be");
            assert_eq!(reply.boot.is_some(), request.boots() && reply.kind != ReplyKind::Nak);
            let Some(address) = reply.address else { return };
            assert!(policy.is_for_clients(address), "{address} is nobody's, or of another network");
            assert!(fixed.is_none_or(|fixed| fixed == address), "{fixed:?} is fixed and {address} was given");
            if reply.kind == ReplyKind::Ack || !runs_elsewhere {
                assert_eq!(server.leases.holder(address), Some(sender), "promised and not recorded");
            }
            assert_eq!(
                server.leases.get(sender).map(|lease| lease.ip),
                before.filter(|_| runs_elsewhere && reply.kind == ReplyKind::Offer).or(Some(address))
            );
            let moves = before.is_some_and(|own| !policy.subnet.contains(&own)) && !runs_elsewhere;
            if reply.kind == ReplyKind::Offer && moves {
                // Where it was, its time is over, and it has come to another network.
                told.own.remove(&sender);
            }
            if reply.kind == ReplyKind::Ack {
                told.acknowledged(server, sender, address);
            }
        }
        Decision::Ignore(_) => {}
    }
}

/// To everybody on the wire, to the relay that asked, or to the client where it is.
fn goes_where_it_may(server: &Server, packet: &Packet, arrival: Arrival, reply: &Reply) {
    let (to, network) = (reply.to, server.network());
    let answer = Answer::of(reply);
    assert_eq!(answer.address(24), packet.giaddr);
    if arrival.door == Door::Proxy {
        assert_eq!(to, arrival.source);
        assert!(network.subnet_of(*to.ip()).is_some_and(|policy| policy.is_for_clients(*to.ip())));
    } else if !packet.giaddr.is_unspecified() {
        assert_eq!(to, SocketAddrV4::new(packet.giaddr, 67));
        assert!(packet.giaddr == RELAY || server.policy.is_for_clients(packet.giaddr), "{to} is no relay");
    } else if !to.ip().is_broadcast() {
        assert_eq!(to, SocketAddrV4::new(packet.ciaddr, 68));
        assert!(network.subnet_of(*to.ip()).is_some_and(|policy| policy.is_for_clients(*to.ip())));
        let nak = reply.kind == ReplyKind::Nak;
        assert!(!nak || *arrival.source.ip() == packet.ciaddr, "a refusal to whom anybody may name");
    } else {
        assert_eq!(to.port(), 68);
    }
}

/// Option 82 whole and last; no more than the client takes, what its relay takes out not counted; 53 first.
fn fits(packet: &Packet, reply: &Reply) {
    let answer = Answer::of(reply);
    let of = |options: &[(u8, Vec<u8>)], code: u8| -> Option<Vec<u8>> {
        let parts: Vec<&[u8]> =
            options.iter().filter(|(other, _)| *other == code).map(|(_, value)| value.as_slice()).collect();
        (!parts.is_empty()).then(|| parts.concat())
    };
    let relayed = of(&packet.options, 82);
    assert_eq!(of(&answer.options, 82), relayed);
    assert!(relayed.is_none() || answer.options.last().unwrap().0 == 82);
    assert_eq!(answer.options[0].0, 53);
    let own: usize =
        answer.options.iter().filter(|(code, _)| *code != 82).map(|(_, value)| value.len() + 2).sum();
    let limit =
        of(&packet.options, 57).map_or(576, |size| usize::from(u16::from_be_bytes([size[0], size[1]])));
    assert!(241 + own <= limit.max(576) - 28, "{} octets for one that takes {limit}", 241 + own);
    assert!(reply.packet.len() <= 1472);
    assert!(of(&answer.options, 52).is_none(), "overload");
    let id = of(&packet.options, 61).filter(|id| !id.is_empty());
    assert_eq!(of(&answer.options, 61), id, "RFC 6842");
}

proptest! {
    /// No two machines ever share an address; a machine's address changes only with its network, by DECLINE or by a
    /// person; no stranger is answered where only known machines are; every reply goes where it may and fits.
    #[test]
    fn nothing_is_shared_moved_or_told_to_strangers(happenings in prop::collection::vec(any_happening(), 1..100)) {
        let (mut server, mut told) = (server(Mode::Full), Told::default());
        for happening in &happenings {
            happen(&mut server, &mut told, happening);
            for (mac, lease) in server.leases.iter() {
                prop_assert_eq!(server.leases.holder(lease.ip), Some(mac));
            }
        }
    }

    /// The same where only known machines are answered, from the first packet on, beside another server or not.
    #[test]
    fn strangers_are_never_answered((packet, arrival) in any_packet(), proxy in any::<bool>(), last in 4_u8..8) {
        let mut server = server(Mode::KnownOnly);
        server.policy.proxy = proxy;
        let packet = Packet { mac: mac(last).octets(), ..packet };
        let decision = server.hear_at(&packet, arrival);
        prop_assert!(matches!(decision, Decision::Ignore(_)), "{:?}", decision);
    }

    /// A controller's question is the one exception, and gets nothing but a name.
    #[test]
    fn a_controllers_question_gets_nothing((packet, arrival) in any_packet(), proxy in any::<bool>()) {
        let mut server = server(Mode::KnownOnly);
        server.policy.proxy = proxy;
        let packet = packet.without(60).with(60, "RackwrightProbe");
        prop_assume!(packet.request().vendor == VendorClass::Probe && arrival.door == Door::Lan);
        if let Decision::Reply(reply) = server.hear_at(&packet, arrival) {
            prop_assert!(reply.address.is_none() && reply.boot.is_none() && reply.lease.is_none());
            goes_where_it_may(&server, &packet, arrival, &reply);
        }
        prop_assert_eq!(server.leases.iter().count(), 0);
    }
}

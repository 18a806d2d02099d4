//! Clients behind relays: whose packet it is, where the reply goes, and what it must carry.

use std::net::{Ipv4Addr, SocketAddrV4};

use pxe::dhcp::{Arrival, Decision, Door, Policy, Pool, ReplyKind, Why};

use crate::clients::{networkd, ovmf_pxe};
use crate::wire::{Answer, Packet, SERVER, Server, ip, mac, policy, replied, selecting};

const RELAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 254);

fn far(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 78, 0, last)
}

/// A server with 10.78.0.0/24 behind the relay 10.78.0.254.
fn server() -> Server {
    let relayed = Policy {
        subnet: "10.78.0.0/24".parse().unwrap(),
        relay: Some(RELAY),
        pools: vec![Pool { first: far(100), last: far(109) }],
        ..policy()
    };
    Server { relayed: vec![relayed], ..Server::new() }
}

fn relayed(mut packet: Packet) -> Packet {
    (packet.giaddr, packet.hops) = (RELAY, 1);
    packet
}

/// Octets of option 82 for one sub-option.
fn sub(code: u8, value: &[u8]) -> Vec<u8> {
    [&[code, u8::try_from(value.len()).unwrap()], value].concat()
}

#[test]
fn a_subnet_behind_a_relay() {
    let mut server = server();
    let reply = replied(server.hear(&relayed(ovmf_pxe(mac(5), 1))));
    let answer = Answer::of(&reply);
    assert_eq!((reply.address, reply.to), (Some(far(100)), SocketAddrV4::new(RELAY, 67)));
    assert_eq!(answer.option(3), Some(&RELAY.octets()[..]), "the relay is the way out");
    assert_eq!(answer.option(54), Some(&SERVER.octets()[..]));
    assert_eq!((answer.siaddr(), answer.file().as_str()), (SERVER, "sb/shimx64.efi"));
    let ack = replied(server.hear(&relayed(selecting(mac(5), far(100)))));
    assert_eq!((ack.kind, ack.to), (ReplyKind::Ack, SocketAddrV4::new(RELAY, 67)));
    // A machine on our own wire at the same time.
    assert_eq!(server.address_of(mac(6)), ip(100));
    server.relayed[0].router = Some(far(1));
    let reply = replied(server.hear(&relayed(ovmf_pxe(mac(5), 1))));
    assert_eq!(Answer::of(&reply).option(3), Some(&far(1).octets()[..]), "the router comes first");
}

#[test]
fn renewing_from_behind_a_router_is_answered_there() {
    let mut server = server();
    server.hear(&relayed(ovmf_pxe(mac(5), 1)));
    server.hear(&relayed(selecting(mac(5), far(100))));
    let routed = |address: Ipv4Addr| Arrival { door: Door::Lan, source: SocketAddrV4::new(address, 68) };
    let mut renew = networkd(mac(5), 3);
    renew.ciaddr = far(100);
    let reply = replied(server.hear_at(&renew, routed(far(100))));
    assert_eq!((reply.kind, reply.to), (ReplyKind::Ack, SocketAddrV4::new(far(100), 68)));
    // A refusal that is broadcast here is heard by nobody there.
    renew.ciaddr = far(105);
    let reply = replied(server.hear_at(&renew, routed(far(105))));
    assert_eq!((reply.kind, reply.to), (ReplyKind::Nak, SocketAddrV4::new(far(105), 68)));
    // But only to where it came from.
    let reply = replied(server.hear_at(&renew, routed(far(106))));
    assert_eq!((reply.kind, *reply.to.ip()), (ReplyKind::Nak, Ipv4Addr::BROADCAST));
}

#[test]
fn a_client_that_has_moved_between_our_subnets_is_told_to_begin_again() {
    let mut server = server();
    server.address_of(mac(5));
    let remembers = |address: Ipv4Addr| Packet::of(mac(5), 3).with(50, address.octets());
    let reply = replied(server.hear(&relayed(remembers(ip(100)))));
    assert_eq!((reply.kind, reply.to), (ReplyKind::Nak, SocketAddrV4::new(RELAY, 67)));
    let reply = replied(server.hear(&remembers(far(100))));
    assert_eq!((reply.kind, *reply.to.ip()), (ReplyKind::Nak, Ipv4Addr::BROADCAST));
    let other = Ipv4Addr::new(192, 168, 1, 5);
    assert_eq!(
        server.hear(&relayed(remembers(other))),
        Decision::Ignore(Why::SubnetNotOurs(other)),
        "of other people's networks we know nothing"
    );
}

/// A card that was moved behind a relay, or somebody there who says that he is it.
#[test]
fn an_offer_in_another_network_costs_nobody_the_address_it_has() {
    let mut server = server();
    assert_eq!(server.address_of(mac(5)), ip(100));
    for _ in 0..3 {
        let offer = replied(server.hear(&relayed(ovmf_pxe(mac(5), 1))));
        assert_eq!((offer.address, offer.lease), (Some(far(100)), None));
    }
    let mut renew = networkd(mac(5), 3);
    renew.ciaddr = ip(100);
    assert_eq!(replied(server.hear(&renew)).address, Some(ip(100)));
    // What is offered so is nobody's yet: who takes it first has it, and the other is told.
    server.hear(&relayed(ovmf_pxe(mac(6), 1)));
    assert_eq!(replied(server.hear(&relayed(selecting(mac(6), far(100))))).kind, ReplyKind::Ack);
    assert_eq!(replied(server.hear(&relayed(selecting(mac(5), far(100))))).kind, ReplyKind::Nak);
    // When it takes one there, it has moved, and its old address waits until nobody can be using it.
    let offer = replied(server.hear(&relayed(ovmf_pxe(mac(5), 1))));
    assert_eq!(offer.address, Some(far(101)));
    let ack = replied(server.hear(&relayed(selecting(mac(5), far(101)))));
    assert_eq!((ack.kind, ack.address), (ReplyKind::Ack, Some(far(101))));
    assert_eq!(server.leases.quarantine_of(ip(100), server.now), Some(server.now.plus_seconds(3600)));
}

/// RFC 3527: giaddr is where the relay is reached, the sub-option where the client is.
#[test]
fn link_selection() {
    let mut server = server();
    let mut packet = ovmf_pxe(mac(5), 1).with(82, [sub(1, b"eth1"), sub(5, &[10, 78, 0, 0])].concat());
    packet.giaddr = ip(2);
    // Any host of our own subnet could say so; the router is believed.
    assert_eq!(server.hear(&packet), Decision::Ignore(Why::RelayNotOurs(ip(2))));
    server.policy.router = Some(ip(2));
    let reply = replied(server.hear(&packet));
    assert_eq!((reply.address, reply.to), (Some(far(100)), SocketAddrV4::new(ip(2), 67)));
    // The client's own choice (RFC 3011) comes after the relay's, and is given back.
    let mut packet = packet.with(118, [10, 77, 0, 0]);
    let reply = replied(server.hear(&packet));
    assert_eq!(reply.address, Some(far(100)));
    assert_eq!(Answer::of(&reply).option(118), Some(&[10, 77, 0, 0][..]));
    packet = packet.without(82).without(118).with(118, [10, 78, 0, 0]);
    assert_eq!(replied(server.hear(&packet)).address, Some(far(100)));
}

/// RFC 5107: the client takes the relay for the server.
#[test]
fn a_relay_may_stand_for_the_server() {
    let mut server = server();
    let information = [sub(11, &RELAY.octets()), sub(10, &[0x80])].concat();
    let through = |packet: Packet| relayed(packet).with(82, &information);
    let offer = replied(server.hear(&through(ovmf_pxe(mac(5), 1))));
    let answer = Answer::of(&offer);
    assert_eq!(answer.option(54), Some(&RELAY.octets()[..]));
    assert_eq!((answer.siaddr(), answer.option(82)), (SERVER, Some(information.as_slice())));
    let chosen =
        |server: Ipv4Addr| Packet::of(mac(5), 3).with(50, far(100).octets()).with(54, server.octets());
    for named in [RELAY, SERVER] {
        let ack = replied(server.hear(&through(chosen(named))));
        assert_eq!((ack.kind, ack.address), (ReplyKind::Ack, Some(far(100))), "{named}");
        assert_eq!(Answer::of(&ack).option(54), Some(&RELAY.octets()[..]));
    }
    let without = relayed(chosen(RELAY));
    assert_eq!(server.hear(&without), Decision::Ignore(Why::OtherServer(RELAY)));
    // Without a relay nobody may say who we are.
    let direct = ovmf_pxe(mac(6), 1).with(82, &information);
    assert_eq!(Answer::of(&replied(server.hear(&direct))).option(54), Some(&SERVER.octets()[..]));
}

#[test]
fn whatever_a_relay_has_put_in_comes_back_as_it_was() {
    let table: Vec<Vec<Vec<u8>>> = vec![
        vec![vec![]],
        vec![vec![0]],
        vec![sub(1, b"")],
        vec![sub(200, b"unknown"), sub(151, &[0, 1]), sub(152, &[])],
        vec![vec![1, 200, 7]],
        vec![vec![9; 255]],
        vec![vec![9; 255], vec![1]],
        vec![vec![9; 200], vec![1; 200], vec![2; 200]],
    ];
    for parts in table {
        let packet = parts.iter().fold(relayed(ovmf_pxe(mac(5), 1)), |packet, part| packet.with(82, part));
        let reply = replied(server().hear(&packet));
        let options = Answer::of(&reply).options;
        let last: Vec<u8> =
            options.iter().filter(|(code, _)| *code == 82).flat_map(|(_, value)| value.clone()).collect();
        assert_eq!(last, parts.concat());
        assert_eq!(options.last().unwrap().0, 82, "nothing comes after it");
    }
    let too_much = (0..5).fold(relayed(ovmf_pxe(mac(5), 1)), |packet, _| packet.with(82, [9; 255]));
    assert!(matches!(server().hear(&too_much), Decision::Ignore(Why::ReplyTooLong(_))));
}

#[test]
fn a_relay_in_the_subnet_gets_the_reply_with_its_option_last_and_untouched() {
    let mut server = Server::new();
    // Sub-options out of order and one twice: exactly what a map would not give back.
    let information = [2, 3, 9, 9, 9, 1, 1, 7, 2, 1, 8];
    let mut packet = ovmf_pxe(mac(5), 1).with(82, information).with(12, "after");
    (packet.giaddr, packet.hops) = (ip(2), 1);
    let reply = replied(server.hear(&packet));
    let answer = Answer::of(&reply);
    assert_eq!(reply.to, SocketAddrV4::new(ip(2), 67));
    assert_eq!(answer.options.last(), Some(&(82, information.to_vec())));
    assert_eq!((answer.address(24), answer.raw[3]), (ip(2), 1), "giaddr and hops");

    let mut elsewhere = selecting(mac(5), ip(77));
    elsewhere.giaddr = ip(2);
    elsewhere.flags = 0;
    let reply = replied(server.hear(&elsewhere));
    let nak = Answer::of(&reply);
    assert_eq!((nak.kind(), reply.to), (6, SocketAddrV4::new(ip(2), 67)));
    assert_eq!(nak.raw[10], 0x80, "a relay must broadcast a NAK");
}

#[test]
fn relay_information_longer_than_one_option_comes_back_whole() {
    let (first, second) = ([7; 255], [8; 45]);
    let mut packet = Packet::of(mac(5), 1).with(82, first).with(82, second);
    packet.giaddr = ip(2);
    let reply = replied(Server::new().hear(&packet));
    let options = Answer::of(&reply).options;
    assert_eq!(options[options.len() - 2..], [(82, first.to_vec()), (82, second.to_vec())]);
}

#[test]
fn relay_information_without_content_comes_back_too() {
    let mut packet = Packet::of(mac(5), 1).with(82, []);
    packet.giaddr = ip(2);
    let reply = replied(Server::new().hear(&packet));
    assert_eq!(Answer::of(&reply).options.last(), Some(&(82, vec![])));
}

#[test]
fn relays_that_are_not_ours_are_not_believed() {
    let relayed = |giaddr: Ipv4Addr| {
        let mut packet = ovmf_pxe(mac(5), 1);
        packet.giaddr = giaddr;
        packet
    };
    let far = Ipv4Addr::new(10, 78, 0, 1);
    let table = [
        (relayed(far), Why::RelayNotOurs(far)),
        (relayed(SERVER), Why::RelayNotOurs(SERVER)),
        (relayed(ip(255)), Why::RelayNotOurs(ip(255))),
        (relayed(ip(2)).with(82, [5, 4, 10, 78, 0, 0]), Why::SubnetNotOurs(Ipv4Addr::new(10, 78, 0, 0))),
        (ovmf_pxe(mac(5), 1).with(118, [10, 78, 0, 0]), Why::SubnetNotOurs(Ipv4Addr::new(10, 78, 0, 0))),
    ];
    for (packet, why) in table {
        assert_eq!(Server::new().hear(&packet), Decision::Ignore(why));
    }
}

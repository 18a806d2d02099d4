//! What is answered while nothing can be saved.

use pxe::dhcp::{Reply, ReplyKind, standing};

use crate::clients::{networkd, ovmf_pxe};
use crate::wire::{Answer, NOW, Packet, Server, broadcast, ip, mac, selecting};

/// The answer of a server that can save nothing.
fn hear(server: &Server, packet: &Packet) -> Option<Reply> {
    let (network, request) = (server.network(), packet.request());
    let machine = server.machine(request.mac);
    let reply = standing(&network, &server.leases, machine, &request, broadcast(), server.now);
    reply.map(|reply| {
        assert_eq!(reply.lease, None, "nothing is to be saved");
        *reply
    })
}

fn renewal(last: u8) -> Packet {
    let mut packet = networkd(mac(1), 3);
    packet.ciaddr = ip(last);
    packet
}

fn seconds(reply: &Reply) -> u32 {
    let answer = Answer::of(reply);
    let (_, value) = answer.options.iter().find(|(code, _)| *code == 51).unwrap();
    u32::from_be_bytes(value.as_slice().try_into().unwrap())
}

#[test]
fn a_lease_that_runs_is_given_to_its_end_and_not_a_second_longer() {
    let mut server = Server::new();
    server.address_of(mac(1));
    for (passed, left) in [(0, 3600), (1800, 1800), (3540, 60)] {
        server.now = NOW.plus_seconds(passed);
        for packet in [renewal(100), ovmf_pxe(mac(1), 1), selecting(mac(1), ip(100))] {
            let reply = hear(&server, &packet).unwrap();
            assert_eq!((reply.address, seconds(&reply)), (Some(ip(100)), left), "after {passed} s");
        }
    }
    for passed in [3541, 3600, 100_000] {
        server.now = NOW.plus_seconds(passed);
        assert_eq!(hear(&server, &renewal(100)), None, "after {passed} s");
    }
}

#[test]
fn what_would_need_a_row_is_not_answered() {
    let mut server = Server::new();
    assert_eq!(hear(&server, &ovmf_pxe(mac(1), 1)), None, "a new machine");
    server.hear(&ovmf_pxe(mac(1), 1));
    assert_eq!(hear(&server, &selecting(mac(1), ip(100))), None, "an offer that was never taken");
    server.address_of(mac(1));
    let moved = server.leases.set_address(&server.policy, mac(1), ip(42), server.now).unwrap();
    server.leases.apply(&moved).unwrap();
    assert_eq!(hear(&server, &selecting(mac(1), ip(42))), None, "an address it has not taken yet");
}

#[test]
fn a_refusal_promises_nothing_and_is_sent() {
    let mut server = Server::new();
    server.address_of(mac(1));
    let reply = hear(&server, &renewal(105)).unwrap();
    assert_eq!((reply.kind, reply.address), (ReplyKind::Nak, None));
}

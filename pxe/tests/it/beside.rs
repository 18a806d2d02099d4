//! Beside another DHCP server that gives the addresses (proxyDHCP, PXE 2.1, 2.2.3).

use std::net::{Ipv4Addr, SocketAddrV4};

use pxe::BootPath;
use pxe::dhcp::{Arrival, Decision, Door, Kind, Mode, Policy, Pool, ReplyKind, Stance, Why};

use crate::clients::{bios_rom, ipxe_efi, ipxe_rom, ipxe_undionly, networkd, ovmf_http, ovmf_pxe};
use crate::wire::{Answer, Packet, SERVER, Server, broadcast, ip, mac, policy, replied};

fn server() -> Server {
    let mut server = Server::new();
    server.policy.proxy = true;
    server
}

const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 250);
const SCRIPT: &str = "http://10.77.0.1/boot/52-54-00-ab-cd-05/script.ipxe";

#[test]
fn firmware_is_offered_a_boot_file_and_no_address() {
    let table: [(Packet, &str, BootPath, &str); 6] = [
        (ovmf_pxe(mac(5), 1), "sb/shimx64.efi", BootPath::UefiPxe, "PXEClient"),
        (ovmf_http(mac(5), 1), "http://10.77.0.1/sb/shimx64.efi", BootPath::UefiHttp, "HTTPClient"),
        (bios_rom(mac(5), 1), "undionly.kpxe", BootPath::BiosPxe, "PXEClient"),
        (ipxe_rom(mac(5), 1), "undionly.kpxe", BootPath::BiosPxe, "PXEClient"),
        (ipxe_undionly(mac(5), 1), SCRIPT, BootPath::BiosPxe, "PXEClient"),
        (ipxe_efi(mac(5), 1), SCRIPT, BootPath::UefiPxe, "PXEClient"),
    ];
    for (packet, file, path, class) in table {
        let mut server = server();
        let reply = replied(server.hear(&packet));
        let answer = Answer::of(&reply);
        assert_eq!((reply.kind, reply.address, &reply.lease), (ReplyKind::Offer, None, &None), "{file}");
        assert_eq!(reply.boot.map(|(_, path)| path), Some(path), "{file}");
        assert_eq!((answer.kind(), answer.yiaddr(), answer.siaddr()), (2, Ipv4Addr::UNSPECIFIED, SERVER));
        assert_eq!((answer.file().as_str(), answer.option(60)), (file, Some(class.as_bytes())));
        assert_eq!(answer.option(67), Some(format!("{file}\0").as_bytes()));
        assert_eq!(answer.option(54), Some(&SERVER.octets()[..]));
        assert!(answer.option(97).is_some());
        let straight = answer.option(43) == Some(&[6, 1, 8, 255]);
        assert_eq!(straight, class == "PXEClient", "{file}");
        for code in [1, 3, 6, 28, 51, 58, 59, 175] {
            assert_eq!(answer.option(code), None, "{file}: option {code}");
        }
        assert_eq!(*reply.to.ip(), Ipv4Addr::BROADCAST);
        assert_eq!(server.leases.iter().count(), 0);
    }
}

#[test]
fn everything_about_addresses_is_the_other_servers() {
    for kind in [1, 3, 4, 7, 8] {
        let mut packet = networkd(mac(5), kind).with(50, ip(100).octets());
        packet.ciaddr = ip(100);
        assert_eq!(server().hear(&packet), Decision::Ignore(Why::NotBooting), "an installed system");
    }
    let table = [(3, Kind::Request), (4, Kind::Decline), (7, Kind::Release), (8, Kind::Inform)];
    for (kind, named) in table {
        for chosen in [SERVER, OTHER] {
            let packet = ovmf_pxe(mac(5), kind).with(50, ip(100).octets()).with(54, chosen.octets());
            assert_eq!(server().hear(&packet), Decision::Ignore(Why::AddressesElsewhere(named)));
        }
    }
}

#[test]
fn port_4011_is_answered_to_whatever_address_the_other_server_gave() {
    let from = Arrival { door: Door::Proxy, source: SocketAddrV4::new(ip(33), 4011) };
    for (kind, chosen) in [(3, None), (3, Some(SERVER)), (8, None)] {
        let mut packet = ovmf_pxe(mac(5), kind);
        packet.ciaddr = ip(33);
        if let Some(chosen) = chosen {
            packet = packet.with(54, chosen.octets());
        }
        let mut server = server();
        let reply = replied(server.hear_at(&packet, from));
        let answer = Answer::of(&reply);
        assert_eq!((reply.kind, reply.to, reply.address), (ReplyKind::Ack, from.source, None));
        assert_eq!((answer.file().as_str(), answer.siaddr()), ("sb/shimx64.efi", SERVER));
        assert_eq!(answer.option(60), Some(&b"PXEClient"[..]));
        assert_eq!((reply.lease, server.leases.iter().count()), (None, 0));
    }
}

#[test]
fn only_known_machines_also_beside_another_server() {
    let mut server = server();
    server.policy.mode = Mode::KnownOnly;
    let stranger = Decision::Ignore(Why::UnknownMachine(mac(5)));
    let at_4011 = Arrival { door: Door::Proxy, source: SocketAddrV4::new(ip(33), 4011) };
    for kind in [1, 3, 8] {
        for arrival in [broadcast(), at_4011] {
            assert_eq!(server.hear_at(&ovmf_pxe(mac(5), kind), arrival), stranger);
        }
    }
    server.known.insert(mac(5));
    assert_eq!(replied(server.hear(&ovmf_pxe(mac(5), 1))).kind, ReplyKind::Offer);
    assert_eq!(replied(server.hear_at(&ovmf_pxe(mac(5), 3), at_4011)).kind, ReplyKind::Ack);
    server.policy.mode = Mode::Off;
    assert_eq!(server.hear(&ovmf_pxe(mac(5), 1)), Decision::Ignore(Why::Off));
}

/// A network that is switched over while machines have addresses from us, and back again.
#[test]
fn switching_over_and_back_moves_nobody() {
    let mut server = Server::new();
    assert_eq!(server.address_of(mac(5)), ip(100));
    server.policy.proxy = true;
    let mut renew = networkd(mac(5), 3);
    renew.ciaddr = ip(100);
    let renewed = replied(server.hear(&renew));
    assert_eq!((renewed.kind, renewed.address), (ReplyKind::Ack, Some(ip(100))), "what runs is kept up");
    renew.ciaddr = ip(102);
    assert_eq!(server.hear(&renew), Decision::Ignore(Why::NotBooting), "it asks the other one");
    assert_eq!(replied(server.hear(&ovmf_pxe(mac(6), 1))).address, None);
    server.policy.proxy = false;
    assert_eq!((server.address_of(mac(6)), server.address_of(mac(5))), (ip(101), ip(100)));
}

/// While another server is there, or may be, a machine may go on with what it has from us, and nothing else is said.
#[test]
fn only_what_runs_is_kept_up_while_a_network_pauses() {
    let relay = Ipv4Addr::new(10, 78, 0, 254);
    let far = Policy {
        subnet: "10.78.0.0/24".parse().unwrap(),
        relay: Some(relay),
        pools: vec![Pool { first: Ipv4Addr::new(10, 78, 0, 100), last: Ipv4Addr::new(10, 78, 0, 109) }],
        ..policy()
    };
    for (stance, why) in [(Stance::Listening, Why::Listening), (Stance::Paused(ip(9)), Why::Foreign(ip(9)))] {
        let mut server = Server { relayed: vec![far.clone()], ..Server::new() };
        let own = server.address_of(mac(5));
        server.stance = stance;
        let renewing = |ciaddr| Packet { ciaddr, ..networkd(mac(5), 3) };
        let rebooting = |address: Ipv4Addr| networkd(mac(5), 3).with(50, address.octets());
        for packet in [renewing(own), rebooting(own)] {
            let reply = replied(server.hear(&packet));
            assert_eq!((reply.kind, reply.address), (ReplyKind::Ack, Some(own)), "{stance:?}");
        }
        let silent = [
            ovmf_pxe(mac(5), 1),
            ovmf_pxe(mac(6), 1),
            rebooting(own).with(54, SERVER.octets()),
            renewing(ip(101)),
            rebooting(ip(101)),
            Packet { ciaddr: own, ..networkd(mac(5), 8) },
            Packet { ciaddr: own, ..networkd(mac(6), 3) },
        ];
        for packet in silent {
            assert_eq!(server.hear(&packet), Decision::Ignore(why), "{packet:?}");
        }
        let at_4011 = Arrival { door: Door::Proxy, source: SocketAddrV4::new(own, 4011) };
        assert_eq!(server.hear_at(&ovmf_pxe(mac(5), 3), at_4011), Decision::Ignore(why));
        let through = Packet { giaddr: relay, ..ovmf_pxe(mac(7), 1) };
        assert_eq!(replied(server.hear(&through)).kind, ReplyKind::Offer, "another network");
        server.now = server.now.plus_seconds(u64::from(server.policy.lease_seconds));
        assert_eq!(server.hear(&renewing(own)), Decision::Ignore(why), "its time is over");
    }
}

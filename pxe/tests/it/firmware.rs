//! Every client of `clients` against the one shape of reply.

use std::net::{Ipv4Addr, SocketAddrV4};

use pxe::BootPath;
use pxe::dhcp::{Arrival, Decision, Door, Ipxe, LeaseState, ReplyKind, VendorClass, Why};

use crate::clients::{
    bios_rom, encapsulated, ipxe_efi, ipxe_rom, ipxe_undionly, networkd, ovmf_http, ovmf_pxe,
};
use crate::wire::{Answer, Packet, SERVER, Server, broadcast, ip, mac, replied, selecting};

const SCRIPT: &str = "http://10.77.0.1/boot/52-54-00-ab-cd-05/script.ipxe";

fn everywhere() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::BROADCAST, 68)
}

type Boots = Option<(&'static str, BootPath)>;

/// (client, its DISCOVER, what it is told to boot).
fn clients() -> Vec<(&'static str, Packet, Boots)> {
    const SHIM: Boots = Some(("sb/shimx64.efi", BootPath::UefiPxe));
    const UNDIONLY: Boots = Some(("undionly.kpxe", BootPath::BiosPxe));
    const BIOS_SCRIPT: Boots = Some((SCRIPT, BootPath::BiosPxe));
    let arch = |list: &[u8]| ovmf_pxe(mac(5), 1).without(93).with(93, list);
    let version = |version| ipxe_rom(mac(5), 1).without(175).with(175, encapsulated(version));
    vec![
        ("OVMF", ovmf_pxe(mac(5), 1), SHIM),
        ("x64 that says 9", arch(&[0, 9]), SHIM),
        ("a list, ours second", arch(&[0, 6, 0, 7]), SHIM),
        ("BIOS ROM", bios_rom(mac(5), 1), UNDIONLY),
        ("bare PXEClient", bios_rom(mac(5), 1).without(60).with(60, "PXEClient"), UNDIONLY),
        ("iPXE ROM of 2019", ipxe_rom(mac(5), 1), UNDIONLY),
        ("iPXE that does not say which", ipxe_rom(mac(5), 1).without(175), UNDIONLY),
        ("1.19.9", version([1, 19, 9]), UNDIONLY),
        ("1.20.0", version([1, 20, 0]), BIOS_SCRIPT),
        ("2.0.0", version([2, 0, 0]), BIOS_SCRIPT),
        ("without HTTP", ipxe_rom(mac(5), 1).without(175).with(175, [0xeb, 3, 1, 21, 1]), UNDIONLY),
        ("our undionly, which says 1.0.0", ipxe_undionly(mac(5), 1), BIOS_SCRIPT),
        ("user class as RFC 3004", ipxe_undionly(mac(5), 1).without(77).with(77, "\u{4}iPXE"), BIOS_SCRIPT),
        ("175 alone", ipxe_undionly(mac(5), 1).without(77), BIOS_SCRIPT),
        ("iPXE under UEFI", ipxe_efi(mac(5), 1), Some((SCRIPT, BootPath::UefiPxe))),
        ("installed system", networkd(mac(5), 1), None),
        ("service processor", networkd(mac(5), 1).with(60, "iDRAC"), None),
    ]
}

#[test]
fn each_client_is_told_what_it_can_boot() {
    for (client, packet, boot) in clients() {
        let reply = replied(Server::new().hear(&packet));
        let answer = Answer::of(&reply);
        assert_eq!((reply.kind, reply.to), (ReplyKind::Offer, everywhere()), "{client}");
        assert_eq!((answer.kind(), answer.yiaddr()), (2, ip(100)), "{client}");
        assert_eq!(reply.boot.map(|(_, path)| path), boot.map(|(_, path)| path), "{client}");
        let Some((file, _)) = boot else {
            assert_eq!((answer.siaddr(), answer.sname()), (Ipv4Addr::UNSPECIFIED, String::new()), "{client}");
            for code in [43, 60, 66, 67, 175] {
                assert_eq!(answer.option(code), None, "{client}: option {code}");
            }
            continue;
        };
        assert_eq!((answer.siaddr(), answer.sname().as_str()), (SERVER, "10.77.0.1"), "{client}");
        assert_eq!(answer.file(), file, "{client}");
        assert_eq!(answer.option(67), Some(format!("{file}\0").as_bytes()), "{client}");
        assert_eq!(answer.option(66), Some(&b"10.77.0.1\0"[..]), "{client}");
        assert_eq!(answer.option(60), Some(&b"PXEClient"[..]), "{client}");
        assert_eq!(answer.option(43), Some(&[6, 1, 8, 255][..]), "{client}");
    }
}

#[test]
fn firmware_that_we_have_nothing_for_is_told_nothing_and_costs_no_address() {
    let arch = |arch: u16| ovmf_pxe(mac(5), 1).without(93).with(93, arch.to_be_bytes());
    let table = [
        (arch(6), Why::ArchUnsupported(6)),
        (arch(11), Why::NoArm64Files),
        (arch(0x27), Why::ArchUnsupported(0x27)),
        (arch(41), Why::ArchUnsupported(41)),
        (arch(10), Why::ArchUnsupported(10)),
        (ovmf_http(mac(5), 1).without(93).with(93, [0, 15]), Why::ArchUnsupported(15)),
        (arch(20), Why::ArchUnsupported(20)),
        (arch(22), Why::ArchUnsupported(22)),
        (arch(27), Why::ArchUnsupported(27)),
        (arch(0xfff0), Why::ArchUnsupported(0xfff0)),
        (arch(7).without(93), Why::ArchMissing),
        (arch(7).without(93).with(93, [7]), Why::ArchMissing),
    ];
    for (packet, why) in table {
        let mut server = Server::new();
        assert_eq!(server.hear(&packet), Decision::Ignore(why));
        assert_eq!(server.leases.iter().count(), 0, "{why}");
    }
}

/// Firmware that boots by HTTP takes an offer only with its own vendor class, and wants a URL.
#[test]
fn http_boot() {
    const SHIM: &str = "http://10.77.0.1/sb/shimx64.efi";
    let ebc = ovmf_http(mac(5), 1).without(93).with(93, [0, 17]);
    let odd = ovmf_pxe(mac(5), 1).without(60).with(60, "HTTPClient");
    for packet in [ovmf_http(mac(5), 1), ebc, odd] {
        let mut server = Server::new();
        let reply = replied(server.hear(&packet));
        let answer = Answer::of(&reply);
        assert_eq!(reply.boot.map(|(_, path)| path), Some(BootPath::UefiHttp));
        assert_eq!(reply.what, format!("offer 10.77.0.100, boot {SHIM}"));
        assert_eq!((answer.yiaddr(), answer.siaddr(), answer.file().as_str()), (ip(100), SERVER, SHIM));
        assert_eq!(answer.option(67), Some(format!("{SHIM}\0").as_bytes()));
        assert_eq!(answer.option(60), Some(&b"HTTPClient"[..]), "and not what stands behind it");
        assert_eq!((answer.option(43), answer.option(66)), (None, None));
        assert!(answer.option(97).is_some());
        let ack = replied(server.hear(&selecting(mac(5), ip(100)).with(93, [0, 16]).with(60, "HTTPClient")));
        assert_eq!(ack.boot, reply.boot);
        assert_eq!(server.leases.get(mac(5)).unwrap().path, Some(BootPath::UefiHttp));
    }
    let mut server = Server::new();
    server.policy.http = pxe::HttpBase("10.77.0.1:8080".parse().unwrap());
    let reply = replied(server.hear(&ovmf_http(mac(5), 1)));
    assert_eq!(Answer::of(&reply).file(), "http://10.77.0.1:8080/sb/shimx64.efi");
    // iPXE that it has loaded carries on what our answer said.
    let ipxe = ipxe_efi(mac(5), 1).without(60).with(60, "HTTPClient");
    let reply = replied(Server::new().hear(&ipxe));
    assert_eq!((Answer::of(&reply).file().as_str(), reply.boot.unwrap().1), (SCRIPT, BootPath::UefiHttp));
}

#[test]
fn every_architecture_is_booted_or_its_silence_says_what_it_is() {
    for number in 0..=64_u16 {
        let packet = ovmf_pxe(mac(5), 1).without(93).with(93, number.to_be_bytes());
        match Server::new().hear(&packet) {
            Decision::Reply(reply) => assert!([0, 7, 9, 16, 17].contains(&number), "{}", reply.what),
            Decision::Ignore(why) => {
                let text = why.to_string();
                if [11, 19].contains(&number) {
                    assert_eq!(why, Why::NoArm64Files);
                    continue;
                }
                assert!(text.contains(&format!("architecture {number} (")), "{text}");
                assert_eq!(
                    text.contains("that nobody here knows"),
                    ![6, 10, 15, 18].contains(&number) && !(20..=41).contains(&number),
                    "{text}"
                );
            }
            Decision::Record { what, .. } => panic!("{what}"),
        }
    }
}

/// Every option of the offer, octet for octet and in order.
#[test]
fn the_offer_to_ovmf() {
    let mut server = Server::new();
    server.policy.router = Some(ip(254));
    server.policy.dns = vec![SERVER];
    let reply = replied(server.hear(&ovmf_pxe(mac(5), 1)));
    let answer = Answer::of(&reply);
    let uuid = ovmf_pxe(mac(5), 1).options.into_iter().find(|(code, _)| *code == 97).unwrap().1;
    let expected: Vec<(u8, Vec<u8>)> = vec![
        (53, vec![2]),
        (54, vec![10, 77, 0, 1]),
        (51, 3600_u32.to_be_bytes().to_vec()),
        (1, vec![255, 255, 255, 0]),
        (3, vec![10, 77, 0, 254]),
        (6, vec![10, 77, 0, 1]),
        (28, vec![10, 77, 0, 255]),
        (43, vec![6, 1, 8, 255]),
        (58, 1800_u32.to_be_bytes().to_vec()),
        (59, 3150_u32.to_be_bytes().to_vec()),
        (60, b"PXEClient".to_vec()),
        (66, b"10.77.0.1\0".to_vec()),
        (67, b"sb/shimx64.efi\0".to_vec()),
        (97, uuid),
    ];
    assert_eq!(answer.options, expected);
    assert_eq!(answer.raw[4..8], 0x1234_abcd_u32.to_be_bytes(), "xid");
    assert_eq!(answer.raw[10..12], [0x80, 0], "flags");
    assert_eq!(answer.raw[28..44], [0x52, 0x54, 0, 0xab, 0xcd, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], "chaddr");
    assert_eq!(reply.what, "offer 10.77.0.100, boot sb/shimx64.efi");
}

#[test]
fn ipxe_is_told_not_to_wait_for_proxies_and_gets_its_identifier_back() {
    let reply = replied(Server::new().hear(&ipxe_efi(mac(5), 1)));
    let answer = Answer::of(&reply);
    assert_eq!(answer.option(175), Some(&[0xb0, 1, 1][..]));
    assert_eq!(answer.option(61), Some(&[1, 0x52, 0x54, 0, 0xab, 0xcd, 5][..]));
}

/// ROM, then our iPXE, then the kernel's successor: four clients to look at, one machine, one address.
#[test]
fn a_whole_bios_boot_keeps_one_address() {
    let mut server = Server::new();
    let stages = [ipxe_rom, ipxe_undionly, networkd, ipxe_rom];
    for (at, stage) in stages.into_iter().enumerate() {
        let offer = replied(server.hear(&stage(mac(5), 1)));
        assert_eq!(offer.address, Some(ip(100)), "stage {at}");
        let taken = stage(mac(5), 3).with(50, ip(100).octets()).with(54, SERVER.octets());
        let ack = replied(server.hear(&taken));
        assert_eq!(
            (ack.kind, ack.address, ack.to),
            (ReplyKind::Ack, Some(ip(100)), everywhere()),
            "stage {at}"
        );
        assert_eq!(ack.boot, offer.boot, "stage {at}");
        assert!(ack.lease.is_some(), "stage {at}: an ACK promises an expiry, and that must be durable");
    }
    let lease = server.leases.get(mac(5)).unwrap();
    assert_eq!((lease.state, lease.path), (LeaseState::Bound, Some(BootPath::BiosPxe)));
    assert_eq!(lease.hostname.as_ref().map(|name| name.as_str()), Some("compute-3"));
}

fn port_4011() -> Arrival {
    Arrival { door: Door::Proxy, source: SocketAddrV4::new(ip(100), 4011) }
}

#[test]
fn the_proxy_port_answers_with_a_file_and_no_address() {
    let mut server = Server::new();
    let mut packet = ovmf_pxe(mac(5), 3);
    (packet.ciaddr, packet.flags) = (ip(100), 0);
    let reply = replied(server.hear_at(&packet, port_4011()));
    let answer = Answer::of(&reply);
    assert_eq!(reply.to, port_4011().source, "back to the port it came from");
    assert_eq!((answer.kind(), answer.yiaddr(), answer.siaddr()), (5, Ipv4Addr::UNSPECIFIED, SERVER));
    assert_eq!(answer.file(), "sb/shimx64.efi");
    assert_eq!(answer.option(60), Some(&b"PXEClient"[..]));
    assert!(answer.option(97).is_some());
    for code in [1, 3, 51, 58, 59] {
        assert_eq!(answer.option(code), None, "option {code}");
    }
    assert_eq!((reply.lease, server.leases.iter().count()), (None, 0));
}

#[test]
fn what_the_proxy_port_does_not_answer() {
    let from = |address| Arrival { door: Door::Proxy, source: SocketAddrV4::new(address, 4011) };
    let outside = Ipv4Addr::new(192, 0, 2, 7);
    let table = [
        (ovmf_pxe(mac(5), 1), port_4011(), Why::NotOnPxePort(pxe::dhcp::Kind::Discover)),
        (ovmf_pxe(mac(5), 7), port_4011(), Why::NotOnPxePort(pxe::dhcp::Kind::Release)),
        (networkd(mac(5), 3), port_4011(), Why::NotPxe),
        (ovmf_pxe(mac(5), 3), from(outside), Why::SourceNotOurs(outside)),
        (ovmf_pxe(mac(5), 3), from(SERVER), Why::SourceNotOurs(SERVER)),
        (ovmf_pxe(mac(5), 3), from(ip(255)), Why::SourceNotOurs(ip(255))),
        (ovmf_http(mac(5), 3), port_4011(), Why::NotPxe),
    ];
    for (packet, arrival, why) in table {
        assert_eq!(Server::new().hear_at(&packet, arrival), Decision::Ignore(why));
    }
}

#[test]
fn what_a_request_says_of_its_sender() {
    let request = ipxe_efi(mac(5), 1).with(12, "Node-07.lab.example").request();
    assert_eq!(request.ipxe, Some(Ipxe { version: Some([1, 0, 0]), asks_time: false, http: true }));
    assert_eq!(request.vendor, VendorClass::Pxe);
    assert_eq!(request.uuid, None, "QEMU without -uuid sends zeros");
    assert_eq!(request.hostname.unwrap().as_str(), "node-07");
    let vendor = networkd(mac(5), 1).with(60, b"NVIDIA/BF\xff\x1b[2J").request().vendor;
    assert_eq!(vendor, VendorClass::Other("NVIDIA/BF??[2J".into()));
    let reply = replied(Server::new().hear_at(&ipxe_efi(mac(5), 1), broadcast()));
    assert_eq!(Answer::of(&reply).option(97), Some(&[0; 17][..]), "echoed all the same");
    let uuid = ovmf_pxe(mac(5), 1).request().uuid.unwrap();
    assert_eq!(uuid.to_string(), "00112233-4455-6677-8899-aabbccddeeff");
    let none = replied(Server::new().hear(&ovmf_pxe(mac(5), 1).without(97).with(97, [])));
    assert_eq!(Answer::of(&none).option(97), None, "ROMs without a UUID");
}

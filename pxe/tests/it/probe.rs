//! Controllers that look for other DHCP servers, and what they make of the answers.

use std::net::{Ipv4Addr, SocketAddrV4};

use pxe::dhcp::probe::{Heard, HeardKind, discover};
use pxe::dhcp::{Decision, Kind, Malformed, Mode, Reply, ReplyKind, Request, VendorClass, Why};
use pxe::mac::BadMac;

use crate::clients::{networkd, ovmf_http, ovmf_pxe};
use crate::wire::{Answer, NOW, Packet, SERVER, Server, broadcast, ip, mac, replied};

/// The controller's question, answered.
fn asked(server: &Server) -> Decision {
    let request = Request::parse(&discover(mac(9), 7)).unwrap();
    pxe::dhcp::decide(
        &pxe::dhcp::Network { site: "lab east".into(), ..server.network() },
        &server.leases,
        server.machine(request.mac),
        &request,
        broadcast(),
        NOW,
    )
}

#[test]
fn the_question_is_a_discover_that_every_server_answers() {
    let octets = discover(mac(9), 0x0102_0304);
    assert_eq!(octets[..12], [1, 1, 6, 0, 1, 2, 3, 4, 0, 0, 0x80, 0]);
    assert!(octets[12..28].iter().all(|octet| *octet == 0), "no address of any kind");
    assert_eq!(octets[28..34], mac(9).octets());
    let options = [
        &[99, 130, 83, 99, 53, 1, 1, 55, 8, 1, 3, 6, 28, 43, 60, 66, 67, 60, 15][..],
        b"RackwrightProbe",
        &[255],
    ];
    assert_eq!(octets[236..300], [options.concat(), vec![0; 300 - 236 - 35]].concat());
    let request = Request::parse(&octets).unwrap();
    assert_eq!((request.kind, request.vendor.clone()), (Kind::Discover, VendorClass::Probe));
    assert!(!request.boots() && request.arch.is_none());
}

#[test]
fn another_controller_is_told_who_we_are_and_given_nothing() {
    for mode in [Mode::Full, Mode::KnownOnly] {
        let mut server = Server::new();
        server.policy.mode = mode;
        let reply = replied(asked(&server));
        assert_eq!((reply.kind, reply.address, reply.boot), (ReplyKind::Offer, None, None));
        assert_eq!((&reply.lease, *reply.to.ip()), (&None, Ipv4Addr::BROADCAST));
        assert_eq!(
            reply.what,
            "another controller looks for DHCP servers: told that this is rackwright lab east"
        );
        let answer = Answer::of(&reply);
        let mut codes: Vec<u8> = answer.options.iter().map(|(code, _)| *code).collect();
        codes.sort_unstable();
        assert_eq!(codes, [53, 54, 60, 224]);
        let heard = Heard::parse(&reply.packet).unwrap();
        let expected = Heard {
            kind: HeardKind::Offer,
            xid: 7,
            mac: mac(9),
            server: Some(SERVER),
            address: None,
            boots: false,
            site: Some("lab east".into()),
        };
        assert_eq!(heard, expected, "{mode:?}");
    }
    let mut server = Server::new();
    server.policy.mode = Mode::Off;
    assert_eq!(asked(&server), Decision::Ignore(Why::Off));
}

#[test]
fn only_the_question_itself_is_answered_so() {
    let marked = |kind| networkd(mac(1), kind).with(60, "RackwrightProbe");
    for (kind, named) in [(3, Kind::Request), (4, Kind::Decline), (7, Kind::Release), (8, Kind::Inform)] {
        let mut packet = marked(kind).with(50, ip(100).octets());
        packet.ciaddr = ip(100);
        assert_eq!(Server::new().hear(&packet), Decision::Ignore(Why::NotAProbe(named)));
    }
    let like = |class: &str| networkd(mac(1), 1).with(60, class);
    for class in ["RackwrightProbe2", "rackwrightprobe", "RackwrightProbe:x", "RackwrightProb"] {
        assert_eq!(replied(Server::new().hear(&like(class))).address, Some(ip(100)), "{class}");
    }
}

#[test]
fn the_name_of_a_site_travels_in_print_only() {
    let named = |name: &str| {
        let server = Server::new();
        let network = pxe::dhcp::Network { site: name.into(), ..server.network() };
        let request = Request::parse(&discover(mac(9), 7)).unwrap();
        let decided =
            pxe::dhcp::decide(&network, &server.leases, Default::default(), &request, broadcast(), NOW);
        Heard::parse(&replied(decided).packet).unwrap().site
    };
    assert_eq!(named(""), Some(String::new()));
    assert_eq!(named(&"x".repeat(300)), Some("x".repeat(40)));
    assert_eq!(named("a\u{1b}[2J\nb"), Some("a?[2J?b".into()));
}

/// An answer of some server, octet for octet.
fn answer(change: impl FnOnce(&mut Packet)) -> Packet {
    let mut packet = Packet::of(mac(9), 2);
    packet.op = 2;
    change(&mut packet);
    packet
}

fn heard(packet: &Packet) -> Result<Heard, Malformed> {
    Heard::parse(&packet.bytes())
}

#[test]
fn what_servers_say() {
    let other = Ipv4Addr::new(10, 77, 0, 66);
    let plain = answer(|_| {}).with(54, other.octets()).with(1, [255, 255, 255, 0]);
    let silent = Heard {
        kind: HeardKind::Offer,
        xid: 0x1234_abcd,
        mac: mac(9),
        server: Some(other),
        address: None,
        boots: false,
        site: None,
    };
    assert_eq!(heard(&plain), Ok(silent.clone()));
    let kinds =
        [(5, HeardKind::Ack), (6, HeardKind::Nak), (1, HeardKind::Other(1)), (255, HeardKind::Other(255))];
    for (number, kind) in kinds {
        let packet = plain.clone().without(53).with(53, [number]);
        assert_eq!(heard(&packet), Ok(Heard { kind, ..silent.clone() }));
    }
    let bootp = heard(&plain.clone().without(53).without(54)).unwrap();
    assert_eq!((bootp.kind, bootp.server), (HeardKind::Bootp, None));

    let boots = |packet: Packet| heard(&packet).unwrap().boots;
    assert!(boots(plain.clone().with(60, "PXEClient")), "a PXE proxy");
    assert!(boots(plain.clone().with(60, "HTTPClient")));
    assert!(boots(plain.clone().with(67, "pxelinux.0")));
    assert!(boots(answer(|packet| packet.file = b"pxelinux.0".to_vec())));
    assert!(!boots(plain.clone().with(67, [0])), "an empty name");
    assert!(!boots(plain.clone().with(43, [1, 4, 10, 0, 0, 9])), "an access point's controller");
    let overloaded = answer(|packet| packet.file = vec![12, 1, b'x', 255]).with(52, [1]);
    assert!(!boots(overloaded), "options in the field, not a name");

    let site = |packet: Packet| heard(&packet).unwrap().site;
    let ours = plain.with(60, "RackwrightProbe");
    assert_eq!(site(ours.clone().with(224, "rackwright lab")), Some("lab".into()));
    assert_eq!(site(ours.clone().with(224, b"rackwright \xff\x1b[2J")), Some("??[2J".into()));
    assert_eq!(site(ours.clone().with(224, "something else")), None);
    assert_eq!(site(ours), None);
    let unmarked = answer(|_| {}).with(224, "rackwright lab");
    assert_eq!(site(unmarked), None, "224 is everybody's");
}

#[test]
fn our_own_replies_are_read_back() {
    let mut server = Server::new();
    for packet in [ovmf_pxe(mac(1), 1), ovmf_pxe(mac(1), 3).with(50, ip(100).octets())] {
        let reply: Reply = replied(server.hear(&packet));
        let heard = Heard::parse(&reply.packet).unwrap();
        assert_eq!((heard.address, heard.server, heard.boots), (reply.address, Some(SERVER), true));
        assert_eq!(reply.to, SocketAddrV4::new(Ipv4Addr::BROADCAST, 68));
    }
}

#[test]
fn messages_that_no_server_sends() {
    let length = |code, length| Malformed::OptionLength { code, length };
    let table = [
        (answer(|p| p.op = 1), Malformed::NotAReply(1)),
        (answer(|p| p.op = 0), Malformed::NotAReply(0)),
        (answer(|p| p.htype = 32), Malformed::NotEthernet { htype: 32, hlen: 6 }),
        (answer(|p| p.hlen = 255), Malformed::NotEthernet { htype: 1, hlen: 255 }),
        (answer(|p| p.mac = [0; 6]), Malformed::Mac(BadMac::Zero)),
        (answer(|p| p.mac = [255; 6]), Malformed::Mac(BadMac::Group)),
        (answer(|p| p.cookie = [0; 4]), Malformed::NoCookie),
        (answer(|_| {}).with(53, [2]), length(53, 2)),
        (answer(|_| {}).with(54, [1; 3]), length(54, 3)),
        (answer(|_| {}).with(52, [9]), length(52, 1)),
        (ovmf_http(mac(1), 1), Malformed::NotAReply(1)),
    ];
    for (packet, why) in table {
        assert_eq!(heard(&packet), Err(why));
    }
    let whole = answer(|_| {}).with(54, SERVER.octets()).with(67, "x").bytes();
    for length in 0..whole.len() - 1 {
        let boundary = [240, 243, 249, 252].contains(&length);
        assert_eq!(Heard::parse(&whole[..length]).is_ok(), boundary, "{length} octets");
    }
    assert_eq!(Heard::parse(&[2; 3000]), Err(Malformed::TooLong(3000)));
}

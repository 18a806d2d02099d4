//! Packets that nobody sane sends.

use pxe::dhcp::{Malformed, Request};
use pxe::mac::BadMac;

use crate::clients::{ipxe_efi, ovmf_pxe};
use crate::wire::{Answer, Packet, Server, mac, replied};

fn parse(packet: &Packet) -> Result<Request, Malformed> {
    Request::parse(&packet.bytes())
}

fn changed(change: impl FnOnce(&mut Packet)) -> Packet {
    let mut packet = ovmf_pxe(mac(5), 1);
    change(&mut packet);
    packet
}

#[test]
fn messages_that_are_refused() {
    let length = |code, length| Malformed::OptionLength { code, length };
    let table = [
        (changed(|p| p.op = 2), Malformed::NotARequest(2)),
        (changed(|p| p.op = 0), Malformed::NotARequest(0)),
        (changed(|p| p.htype = 32), Malformed::NotEthernet { htype: 32, hlen: 6 }),
        (changed(|p| p.hlen = 17), Malformed::NotEthernet { htype: 1, hlen: 17 }),
        (changed(|p| p.hlen = 255), Malformed::NotEthernet { htype: 1, hlen: 255 }),
        (changed(|p| p.hlen = 0), Malformed::NotEthernet { htype: 1, hlen: 0 }),
        (changed(|p| p.mac = [0; 6]), Malformed::Mac(BadMac::Zero)),
        (changed(|p| p.mac = [255; 6]), Malformed::Mac(BadMac::Group)),
        (changed(|p| p.mac[0] |= 1), Malformed::Mac(BadMac::Group)),
        (changed(|p| p.cookie = [0; 4]), Malformed::NoCookie),
        (changed(|p| p.cookie[3] = 98), Malformed::NoCookie),
        (changed(|p| p.options.clear()), Malformed::NoKind),
        (ovmf_pxe(mac(5), 2), Malformed::Kind(2)),
        (ovmf_pxe(mac(5), 5), Malformed::Kind(5)),
        (ovmf_pxe(mac(5), 0), Malformed::Kind(0)),
        (ovmf_pxe(mac(5), 1).with(53, [3]), length(53, 2)),
        (ovmf_pxe(mac(5), 1).without(53).with(53, []), length(53, 0)),
        (ovmf_pxe(mac(5), 1).with(50, [10, 77, 0]), length(50, 3)),
        (ovmf_pxe(mac(5), 1).with(54, []), length(54, 0)),
        (ovmf_pxe(mac(5), 1).with(118, [1; 5]), length(118, 5)),
        (ovmf_pxe(mac(5), 1).with(52, [0]), length(52, 1)),
        (ovmf_pxe(mac(5), 1).with(52, [1, 1]), length(52, 2)),
    ];
    for (packet, why) in table {
        assert_eq!(parse(&packet), Err(why));
    }
}

#[test]
fn every_way_to_cut_a_message_short() {
    let whole = ipxe_efi(mac(5), 1).bytes();
    let complete = parse(&ipxe_efi(mac(5), 1)).unwrap();
    // Without its END it is whole all the same: some firmware sends it so.
    assert_eq!(Request::parse(&whole[..whole.len() - 1]).as_ref(), Ok(&complete));
    for length in 0..whole.len() - 1 {
        match Request::parse(&whole[..length]) {
            Err(Malformed::Truncated(got)) => assert!(length < 240 && got == length),
            Err(Malformed::NoKind) => assert_eq!(length, 240),
            Err(Malformed::OptionCut(_)) => assert!(length > 240),
            // Cut between two options: nothing tells it from one that ends there.
            Ok(request) => assert_eq!((request.mac, request.xid), (complete.mac, complete.xid)),
            Err(other) => panic!("cut to {length}: {other}"),
        }
    }
    assert_eq!(Request::parse(&[1; 2049]), Err(Malformed::TooLong(2049)));
}

#[test]
fn options_that_run_past_the_end() {
    let whole = ovmf_pxe(mac(5), 1).bytes();
    for tail in [&[12][..], &[12, 1], &[12, 255, 0], &[0, 0, 61, 9, 1, 2]] {
        let code = if tail[0] == 0 { 61 } else { 12 };
        let cut = [&whole[..whole.len() - 1], tail].concat();
        assert_eq!(Request::parse(&cut), Err(Malformed::OptionCut(code)), "{tail:?}");
    }
}

/// One option that an owned decoder would choke on hides nothing.
#[test]
fn a_bad_hostname_does_not_turn_firmware_into_a_plain_host() {
    for name in [&b"\xff\xfe\xfd"[..], b"", b"...", b"-", b"\x00\x00", &[b'x'; 255]] {
        let mut packet = ovmf_pxe(mac(5), 1);
        packet.options.insert(1, (12, name.to_vec()));
        let request = parse(&packet).unwrap();
        assert!(request.boots(), "{name:?}");
        if let Some(hostname) = request.hostname {
            assert!(
                hostname.as_str().len() <= 63 && hostname.as_str().bytes().all(|b| b == b'x'),
                "{name:?}"
            );
        }
    }
    let injected = ovmf_pxe(mac(5), 1).with(12, "a\n;$(reboot)\u{1b}[31m");
    assert_eq!(parse(&injected).unwrap().hostname.unwrap().as_str(), "areboot31m");
}

#[test]
fn overload_is_read_once_and_does_not_loop() {
    let hidden = [&[93, 2, 0, 7, 60, 9][..], b"PXEClient", &[255]].concat();
    let bare = Packet::of(mac(5), 1);
    for (value, sname, file) in [(1, vec![], hidden.clone()), (2, hidden.clone(), vec![])] {
        let mut packet = bare.clone().with(52, [value]);
        (packet.sname, packet.file) = (sname, file);
        let request = parse(&packet).unwrap();
        assert!(request.boots() && request.arch == Some(pxe::dhcp::Arch::UEFI_X64), "52={value}");
    }
    // Overload that asks for overload, and an END that is missing.
    let mut packet = bare.clone().with(52, [3]);
    (packet.sname, packet.file) = (vec![52, 1, 3, 0, 0], [&[52, 1, 3][..], &[0; 125]].concat());
    assert!(parse(&packet).is_ok());
    packet.file = [[0; 127].as_slice(), &[60]].concat();
    assert_eq!(parse(&packet), Err(Malformed::OptionCut(60)));
    // Not said to be options, so not read as options.
    let mut packet = bare;
    packet.file = hidden;
    assert!(!parse(&packet).unwrap().boots());
}

#[test]
fn parts_of_an_option_are_joined_wherever_they_stand() {
    let packet = Packet::of(mac(5), 1).with(60, "PXECl").with(93, [0]).with(60, "ient").with(93, [7]);
    let request = parse(&packet).unwrap();
    assert!(request.boots() && request.arch == Some(pxe::dhcp::Arch::UEFI_X64));
}

#[test]
fn sub_options_that_lie() {
    for encapsulated in [&[][..], &[0xeb], &[0xeb, 200, 1, 21, 1], &[0xeb, 2, 1, 21], &[0xff; 40], &[0; 40]] {
        let packet = ipxe_efi(mac(5), 1).without(175).with(175, encapsulated);
        let ipxe = parse(&packet).unwrap().ipxe.unwrap();
        assert_eq!(ipxe.version, None, "{encapsulated:?}");
    }
    for class in [&b"\xffiPXE"[..], b"\x05iPXE", b"ipxe", b"", b"iPXE2", b"\x00\x00\x00"] {
        let packet = ipxe_efi(mac(5), 1).without(175).without(77).with(77, class);
        assert_eq!(parse(&packet).unwrap().ipxe, None, "{class:?}");
    }
}

#[test]
fn echoes_that_do_not_fit_a_frame_are_not_sent() {
    let mut packet = ovmf_pxe(mac(5), 1).with(61, [7; 255]);
    let reply = replied(Server::new().hear(&packet));
    assert_eq!(Answer::of(&reply).option(61), Some(&[7; 255][..]));
    for _ in 0..5 {
        packet = packet.with(61, [7; 255]);
    }
    let mut server = Server::new();
    let decision = server.hear(&packet);
    let pxe::dhcp::Decision::Ignore(pxe::dhcp::Why::ReplyTooLong(length)) = decision else {
        panic!("{decision:?}");
    };
    assert!(length > 1472);
    assert_eq!(server.leases.iter().count(), 0, "nothing promised, nothing recorded");
}

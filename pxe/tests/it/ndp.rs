//! Router solicitations: those of firmware that we boot are answered, nobody else's.

use std::net::Ipv6Addr;

use pxe::mac::BadMac;
use pxe::ndp::{BOOTING_SECONDS, Booting, NO_ROUTER, Why, answer};
use pxe::{Mac, Time};

use crate::clients::{ipxe_efi, networkd};
use crate::wire::{NOW, Server, mac, replied};

/// What iPXE sends: header and source link-layer address option.
const SOLICITATION: [u8; 16] = [133, 0, 0x12, 0x34, 0, 0, 0, 0, 1, 1, 0x52, 0x54, 0x00, 0xab, 0xcd, 5];
/// fe80::5054:ff:feab:cd05, what 52:54:00:ab:cd:05 makes for itself.
const ITS_OWN: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0x5054, 0x00ff, 0xfeab, 0xcd05);

fn booting(mac: Mac, now: Time) -> Booting {
    let mut booting = Booting::default();
    let mut server = Server::new();
    booting.told(&replied(server.hear(&ipxe_efi(mac, 1))), now);
    booting
}

fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut message = SOLICITATION.to_vec();
    change(&mut message);
    message
}

#[test]
fn firmware_that_we_boot_is_told_that_there_is_no_router() {
    let booting = booting(mac(5), NOW);
    let sent = answer(&booting, &SOLICITATION, ITS_OWN, NOW).unwrap();
    // Type 134; hop limit, flags, lifetime, reachable time, retransmission time: all unspecified. No prefix.
    assert_eq!(sent, [134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(sent, NO_ROUTER);
    // Another option before and after it: read over.
    let others = changed(|m| {
        m.splice(8..8, [14, 1, 1, 2, 3, 4, 5, 6]);
        m.extend([200, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    });
    assert_eq!(answer(&booting, &others, ITS_OWN, NOW), Ok(NO_ROUTER));
}

#[test]
fn nobody_else_is_answered() {
    let none = Booting::default();
    assert_eq!(answer(&none, &SOLICITATION, ITS_OWN, NOW), Err(Why::NotBooting(mac(5))));
    let other = booting(mac(6), NOW);
    assert_eq!(answer(&other, &SOLICITATION, ITS_OWN, NOW), Err(Why::NotBooting(mac(5))));
    // An installed system has an address from us and no boot file.
    let mut installed = Booting::default();
    installed.told(&replied(Server::new().hear(&networkd(mac(5), 1))), NOW);
    assert_eq!(answer(&installed, &SOLICITATION, ITS_OWN, NOW), Err(Why::NotBooting(mac(5))));
    let booting = booting(mac(5), NOW);
    let late = NOW.plus_seconds(BOOTING_SECONDS);
    assert_eq!(answer(&booting, &SOLICITATION, ITS_OWN, late), Err(Why::NotBooting(mac(5))));
    assert!(answer(&booting, &SOLICITATION, ITS_OWN, Time(late.0 - 1)).is_ok());
    for source in ["fe80::1", "::", "2001:db8::5054:ff:feab:cd05", "ff02::1"] {
        let source_address = source.parse().unwrap();
        let why = answer(&booting, &SOLICITATION, source_address, NOW);
        assert_eq!(why, Err(Why::NotItsAddress { source_address, mac: mac(5) }));
        assert!(!why.unwrap_err().is_malformed());
    }
    assert_eq!(answer(&booting, &SOLICITATION[..8], ITS_OWN, NOW), Err(Why::NoMac));
}

#[test]
fn messages_that_nobody_sane_sends() {
    let booting = booting(mac(5), NOW);
    let table = [
        (vec![], Why::Truncated(0)),
        (SOLICITATION[..7].to_vec(), Why::Truncated(7)),
        (changed(|m| m[0] = 134), Why::NotASolicitation(134, 0)),
        (changed(|m| m[0] = 135), Why::NotASolicitation(135, 0)),
        (changed(|m| m[1] = 1), Why::NotASolicitation(133, 1)),
        (changed(|m| m[9] = 0), Why::OptionCut),
        (changed(|m| m[9] = 255), Why::OptionCut),
        (changed(|m| m.push(1)), Why::OptionCut),
        (changed(|m| m.extend([1, 1, 0])), Why::OptionCut),
        (SOLICITATION[..15].to_vec(), Why::OptionCut),
        (SOLICITATION[..9].to_vec(), Why::OptionCut),
        (
            changed(|m| {
                m[9] = 2;
                m.extend([0; 8]);
            }),
            Why::NotEthernet,
        ),
        (changed(|m| m[10..].fill(0)), Why::Mac(BadMac::Zero)),
        (changed(|m| m[10..].fill(255)), Why::Mac(BadMac::Group)),
        (changed(|m| m[10] |= 1), Why::Mac(BadMac::Group)),
    ];
    for (message, why) in table {
        assert_eq!(answer(&booting, &message, ITS_OWN, NOW), Err(why), "{message:?}");
        assert!(why.is_malformed());
    }
}

#[test]
fn a_flood_of_machines_is_bounded_and_the_newest_stay() {
    let mut booting = Booting::default();
    let mut reply = replied(Server::new().hear(&ipxe_efi(mac(5), 1)));
    for i in 0..5_000u32 {
        reply.packet[28..34].copy_from_slice(&[[2, 0].as_slice(), &i.to_be_bytes()].concat());
        booting.told(&reply, Time(NOW.0 + u64::from(i)));
    }
    assert!(format!("{booting:?}").matches("Mac(").count() <= 4096);
    reply.packet[28..34].copy_from_slice(&mac(5).octets());
    booting.told(&reply, NOW.plus_seconds(6));
    assert!(answer(&booting, &SOLICITATION, ITS_OWN, NOW.plus_seconds(6)).is_ok());
}

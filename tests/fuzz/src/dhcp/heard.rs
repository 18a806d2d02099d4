//! What another DHCP server says.

use pxe::dhcp::probe::{Heard, HeardKind, LONGEST_SITE, discover};
use pxe::dhcp::{Kind, Request, VendorClass};

use super::wire::{Head, address, joined, octets, option, options};
use crate::Reached;

/// What is parsed says what the octets say, and holds nothing that could not be printed.
pub(crate) fn run(data: &[u8]) -> Reached {
    let heard = match Heard::parse(data) {
        Ok(heard) => heard,
        Err(why) => {
            assert!(why.to_string().is_ascii());
            return Reached::Refusal;
        }
    };
    assert_eq!(octets(data, 0), [2, 1, 6]);
    assert_eq!(heard.mac.octets(), octets(data, 28));
    assert_eq!(heard.xid.to_be_bytes(), octets(data, 4));
    let yiaddr = Some(address(data, 16)).filter(|address| !address.is_unspecified());
    assert_eq!(heard.address, yiaddr);
    assert!(heard.server.is_none_or(|server| !server.is_unspecified()));
    if let Some(site) = &heard.site {
        assert!(site.len() <= LONGEST_SITE && site.bytes().all(|b| (b' '..=b'~').contains(&b)));
    }
    let raw = options(data.get(240..).unwrap_or_default()).expect("a message with a cut option was taken");
    if joined(&raw, 52).is_none() {
        let kind = match joined(&raw, 53).as_deref() {
            Some([2]) => HeardKind::Offer,
            Some([5]) => HeardKind::Ack,
            Some([6]) => HeardKind::Nak,
            Some([other]) => HeardKind::Other(*other),
            None => HeardKind::Bootp,
            Some(other) => panic!("a message type of {} octets", other.len()),
        };
        assert_eq!(heard.kind, kind);
    }
    let asked = Request::parse(&discover(heard.mac, heard.xid)).expect("our own question is a request");
    assert_eq!((asked.kind, asked.vendor), (Kind::Discover, VendorClass::Probe));
    Reached::Inside
}

/// An offer, one of a PXE proxy, a controller's answer, a refusal, BOOTP.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let head = Head { flags: 0x8000, mac: [0x52, 0x54, 0, 0xab, 0xcd, 5], ..Head::default() };
    let from_server = |parts: &[Vec<u8>]| {
        let mut message = head.message(&[parts.concat(), vec![255]].concat());
        message.splice(..1, [2]);
        message
    };
    let server = option(54, &[10, 77, 0, 66]);
    let boot = [option(60, b"PXEClient"), option(43, &[6, 1, 8, 255]), option(67, b"pxelinux.0")].concat();
    let ours = [option(60, b"RackwrightProbe"), option(224, b"rackwright lab")].concat();
    vec![
        from_server(&[option(53, &[2]), server.clone(), option(1, &[255, 255, 255, 0])]),
        from_server(&[option(53, &[2]), server.clone(), boot.clone()]),
        from_server(&[option(53, &[2]), server.clone(), ours]),
        from_server(&[option(53, &[6]), server]),
        from_server(&[boot]),
    ]
}

//! One message from a client.

use pxe::dhcp::{Request, VendorClass};

use super::wire::{CLIENTS, Head, address, client, joined, octets, option, options};
use crate::Reached;

const OVERLOAD: u8 = 52;
const RELAY_AGENT: u8 = 82;

/// What is parsed says what the octets say, and holds nothing that could not be printed or stored.
pub(crate) fn run(data: &[u8]) -> Reached {
    let request = match Request::parse(data) {
        Ok(request) => request,
        Err(why) => {
            assert!(why.to_string().is_ascii());
            return Reached::Refusal;
        }
    };
    assert_eq!(request.mac.octets(), octets(data, 28));
    assert_eq!(request.xid.to_be_bytes(), octets(data, 4));
    assert_eq!((request.ciaddr, request.giaddr), (address(data, 12), address(data, 24)));
    if let Some(hostname) = &request.hostname {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        assert!((1..=63).contains(&hostname.as_str().len()) && hostname.as_str().bytes().all(plain));
    }
    if let VendorClass::Other(text) = &request.vendor {
        assert!(text.len() <= 64 && text.bytes().all(|b| b.is_ascii_graphic()));
    }
    assert!(request.machine_id.as_ref().is_none_or(|id| id.len() == 17));
    let area = data.get(240..).unwrap_or_default();
    let raw = options(area).expect("a message with a cut option was taken");
    if joined(&raw, OVERLOAD).is_none() {
        assert_eq!(request.relay82, joined(&raw, RELAY_AGENT), "option 82 is kept raw");
    }
    assert_eq!(Request::parse(data).as_ref(), Ok(&request), "parsing is a function");
    Reached::Inside
}

/// A DISCOVER of every client, a REQUEST through a relay, options in `file`, an option in two parts.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let head = Head { flags: 0x8000, mac: [0x52, 0x54, 0, 0xab, 0xcd, 5], ..Head::default() };
    let discover = |number| head.message(&[option(53, &[1]), client(number), vec![255]].concat());
    let mut all: Vec<Vec<u8>> = (0..CLIENTS.len()).map(discover).collect();
    let relayed = Head { giaddr: [10, 77, 0, 254], ..head.clone() };
    let relay = option(RELAY_AGENT, b"\x01\x04eth1\x05\x04\x0a\x4d\x00\x00");
    let chosen = [option(53, &[3]), option(50, &[10, 77, 0, 100]), option(54, &[10, 77, 0, 1])].concat();
    all.push(relayed.message(&[chosen, relay.clone(), relay, vec![255]].concat()));
    let mut overloaded = head.message(&[option(53, &[1]), option(OVERLOAD, &[1]), vec![255]].concat());
    overloaded.splice(108..124, [option(93, &[0, 7]), option(60, b"PXEClient"), vec![255]].concat());
    all.push(overloaded);
    all
}

//! Which address a machine is told to keep.

use std::net::{IpAddr, Ipv4Addr};

use fleet::{Site, Subnet};
use protocol::CaPin;
use pxe::dhcp::{Lease, LeaseState};
use pxe::{BootPath, Time};

use super::address;

fn ip(third: u8, last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, third, last)
}

fn site() -> Site {
    let subnet = |third: u8| Subnet {
        net: format!("10.77.{third}.0/24").parse().unwrap(),
        controller: ip(0, 1),
        gateway: None,
    };
    Site {
        name: "lab".to_owned(),
        subnets: vec![subnet(0), subnet(5)],
        ca: CaPin([7; 32]),
        addresses: std::collections::BTreeMap::new(),
        cloud: None,
    }
}

fn lease(ip: Ipv4Addr, leaving: Option<Ipv4Addr>) -> Lease {
    Lease {
        ip,
        state: LeaseState::Bound,
        pinned: false,
        since: Time(0),
        expires: Time(3_600_000),
        client_id: None,
        hostname: None,
        arch: None,
        path: Some(BootPath::UefiPxe),
        leaving,
    }
}

#[test]
fn the_address_we_gave_or_the_one_that_another_server_gave() {
    let (ours, other) = (ip(0, 100), ip(0, 33));
    let outside = Ipv4Addr::new(192, 0, 2, 7);
    let table = [
        ("ours", Some(lease(ours, None)), ours, Some(ours)),
        ("one that it leaves at its next request", Some(lease(ours, Some(other))), other, Some(ours)),
        ("another server's, since", Some(lease(ours, None)), other, Some(other)),
        ("another server's in the other subnet", Some(lease(ours, None)), ip(5, 9), Some(ip(5, 9))),
        ("another server's", None, other, Some(other)),
        ("through something that hides it", Some(lease(ours, None)), outside, Some(ours)),
        ("nobody's", None, outside, None),
    ];
    for (case, lease, peer, expected) in table {
        assert_eq!(address(lease.as_ref(), IpAddr::V4(peer), &site()), expected, "{case}");
    }
    assert_eq!(address(None, "::1".parse().unwrap(), &site()), None);
}

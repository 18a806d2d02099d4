//! The network outside: what instances reach through their routers, and where their floating addresses come from.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use protocol::HardwareAddress;

/// The network outside, as neutron is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct External {
    /// Its network address and prefix length.
    pub subnet: Ipv4Net,
    /// Its router: the way on.
    pub gateway: Ipv4Addr,
    /// The lowest address that virtual routers and instances are given.
    pub first: Ipv4Addr,
    /// The highest one.
    pub last: Ipv4Addr,
    /// The VLAN that it is on the wire; none: untagged.
    pub vlan: Option<u16>,
    /// The cards of network nodes that are plugged into it; empty: the other one of a node that has two.
    pub ports: BTreeSet<HardwareAddress>,
}

impl External {
    /// What `${cloud.external.NAME}` stands for; none: there is no such name.
    pub(super) fn value(external: Option<&Self>, name: &str) -> Option<String> {
        let text = |of: &dyn Fn(&Self) -> String| external.map(of).unwrap_or_default();
        Some(match name {
            "subnet" => text(&|one| one.subnet.to_string()),
            "gateway" => text(&|one| one.gateway.to_string()),
            "first" => text(&|one| one.first.to_string()),
            "last" => text(&|one| one.last.to_string()),
            "vlan" => text(&|one| one.vlan.map(|vlan| vlan.to_string()).unwrap_or_default()),
            _ => return None,
        })
    }
}

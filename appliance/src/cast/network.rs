//! Networks: who is on which, where groups lie, and what links can.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use pack::Digest;

/// The network of a node: the smallest of ours that has its address. Where none has it, the node is alone on one of its own.
pub fn network_of(peer: IpAddr, subnets: impl Iterator<Item = Ipv4Net>) -> Option<Ipv4Net> {
    let IpAddr::V4(peer) = peer else { return None };
    let ours = subnets.filter(|net| net.contains(&peer)).max_by_key(Ipv4Net::prefix_len);
    Some(ours.unwrap_or(Ipv4Net::from(peer)))
}

/// A group of the organisation's scope (239.192.0.0/14, RFC 2365 §6.2), and none that nodes wait in ([`cast::wire::waiting`]). The
/// lower 23 bits, which are all that switches see, are never those of 224.0.0.x: switches flood that to everybody.
pub(super) fn group_of(image: &Digest, local: Ipv4Addr) -> Ipv4Addr {
    let mut hash = blake3::Hasher::new();
    hash.update(image.to_string().as_bytes()).update(&local.octets());
    let mut bytes = [0; 3];
    hash.finalize_xof().fill(&mut bytes);
    let [high, middle, low] = bytes;
    Ipv4Addr::new(239, 192 + high % 3, middle, low)
}

/// The kernel's name of the interface that has our address.
pub(super) fn interface_of(local: Ipv4Addr) -> Option<String> {
    let addresses = nix::ifaddrs::getifaddrs().ok()?;
    let is_it = |address: &nix::ifaddrs::InterfaceAddress| {
        let ip = address.address.as_ref().and_then(|any| any.as_sockaddr_in()).map(|v4| v4.ip());
        ip == Some(local)
    };
    Some(addresses.into_iter().find(is_it)?.interface_name)
}

/// What the link of our address says it can, in megabits a second.
pub(super) fn link_mbit(local: Ipv4Addr) -> Option<u64> {
    let name = interface_of(local)?;
    let speed = std::fs::read_to_string(format!("/sys/class/net/{name}/speed")).ok()?;
    // A link that is down, or has no speed, says -1.
    speed.trim().parse().ok().filter(|mbit| *mbit > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_on_the_smallest_network_that_has_its_address() {
        let nets = ["10.0.0.0/8", "10.77.0.0/24", "10.78.0.0/24"].map(|net| net.parse().unwrap());
        let of = |peer: &str| network_of(peer.parse().unwrap(), nets.into_iter());
        assert_eq!(of("10.77.0.9"), Some(nets[1]));
        assert_eq!(of("10.9.0.9"), Some(nets[0]));
        assert_eq!(of("192.0.2.1"), "192.0.2.1/32".parse().ok(), "none of ours");
        assert_eq!(of("fe80::1"), None);
    }
}

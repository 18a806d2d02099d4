//! Groups of nodes that wait for a job. Each joins one of its own; the controller now and then sends a packet to each. Whoever gets one
//! that was for another is behind a switch that floods.

use std::net::Ipv4Addr;

/// What the controller sends to a waiting node's group. Nobody reads it: that it comes is what it says.
pub const PROBE: &[u8; 16] = b"rackwright probe";

/// The group that a node waits in: 239.195.0.0/16 of the organisation's scope (RFC 2365 §6.2), with the lower half of its address. Its
/// lower 23 bits, which are all that switches see, are never those of 224.0.0.x.
#[must_use]
pub fn group_of(address: Ipv4Addr) -> Ipv4Addr {
    let [_, _, high, low] = address.octets();
    Ipv4Addr::new(239, 195, high, low)
}

/// Whether a group may be one that a node waits in.
#[must_use]
pub fn is_group(group: Ipv4Addr) -> bool {
    matches!(group.octets(), [239, 195, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_nodes_of_a_network_wait_in_different_groups() {
        let of = |high, low| group_of(Ipv4Addr::new(10, 77, high, low));
        assert_ne!(of(0, 1), of(0, 2));
        assert_ne!(of(0, 1), of(1, 1));
        for group in [of(0, 0), of(255, 255)] {
            assert!(is_group(group) && group.is_multicast());
            assert_ne!(group.octets()[1] & 0x7f, 0, "switches flood 224.0.0.x");
        }
        assert!(!is_group(Ipv4Addr::new(239, 192, 0, 1)) && !is_group(Ipv4Addr::new(10, 195, 0, 1)));
    }
}

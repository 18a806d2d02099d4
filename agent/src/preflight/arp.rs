//! ARP packets (RFC 826) on Ethernet.

use std::net::Ipv4Addr;

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

const ARP: [u8; 2] = [0x08, 0x06];
/// Ethernet, IPv4, and the lengths of their addresses.
const KINDS: [u8; 6] = [0, 1, 8, 0, 6, 4];
/// A frame is no shorter.
const FRAME_BYTES: usize = 60;

/// The frame that asks whether somebody has an address, without saying that we have it (RFC 5227, §1.1).
pub(super) fn probe(own: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = [0xff; 6].to_vec();
    frame.extend(own);
    frame.extend(ARP);
    frame.extend(KINDS);
    // A request.
    frame.extend([0, 1]);
    frame.extend(own);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(FRAME_BYTES, 0);
    frame
}

/// Who says in this frame that an address is theirs: the sender of a request or of an answer.
pub fn claimant(frame: &[u8]) -> Option<(Mac, Ipv4Addr)> {
    let rest = frame.get(12..)?;
    let rest = rest.strip_prefix(&ARP)?.strip_prefix(&KINDS)?;
    let (operation, rest) = rest.split_first_chunk::<2>()?;
    let (mac, rest) = rest.split_first_chunk::<6>()?;
    let (address, rest) = rest.split_first_chunk::<4>()?;
    let address = Ipv4Addr::from(*address);
    // A probe claims nothing; and no machine has a group's address for its own.
    let claims = matches!(operation, [0, 1 | 2]) && rest.len() >= 10;
    let is_one = mac.first().is_some_and(|first| first & 1 == 0) && *mac != [0; 6];
    (claims && is_one && !address.is_unspecified()).then_some((*mac, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Mac = [2, 0, 0, 0, 0, 1];

    /// An answer of this address.
    fn answer() -> Vec<u8> {
        let mut frame = probe(OWN, Ipv4Addr::new(10, 0, 0, 9));
        frame[21] = 2;
        frame[28..32].copy_from_slice(&[10, 0, 0, 7]);
        frame
    }

    #[test]
    fn whoever_claims_an_address_is_heard_and_nobody_else() {
        assert_eq!(claimant(&answer()), Some((OWN, Ipv4Addr::new(10, 0, 0, 7))));
        assert_eq!(claimant(&probe(OWN, Ipv4Addr::new(10, 0, 0, 9))), None, "a probe claims nothing");
        for length in 0..42 {
            assert_eq!(claimant(&answer()[..length]), None, "{length} bytes");
        }
        for (what, at, byte) in [
            ("another EtherType", 12, 0x86),
            ("another kind of network", 15, 6),
            ("another protocol", 16, 0x86),
            ("longer addresses", 18, 8),
            ("RARP", 21, 3),
            ("a group's address", 22, 3),
        ] {
            let mut frame = answer();
            frame[at] = byte;
            assert_eq!(claimant(&frame), None, "{what}");
        }
    }
}

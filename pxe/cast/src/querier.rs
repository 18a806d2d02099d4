//! The IGMP querier of a network that has none.
//!
//! A switch with IGMP snooping learns who wants a group from the answers to a router's general queries (RFC 4541 §2.1.1). Without
//! a router that asks, some send a group to every port, and others to none after a few minutes. So the
//! controller asks itself, as version 2 of the protocol has it, which every switch understands (RFC 2236); and is silent where
//! somebody with a lower address asks (§3).

use std::net::Ipv4Addr;

use crate::Micros;

/// An IPv4 header with the router alert option, and a query.
pub const QUERY_BYTES: usize = 32;

const PROTOCOL_IGMP: u8 = 2;
const QUERY: u8 = 0x11;
const ALL_SYSTEMS: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);
/// Tenths of a second within which hosts answer.
const ANSWER_WITHIN: u8 = 10;
/// Two soon after each other, in case one is lost (RFC 2236 §8.6, §8.7).
const AT_FIRST: u32 = 2;
const AT_FIRST_EVERY: Micros = Micros(2_000_000);
const EVERY: Micros = Micros(30_000_000);
/// How long another querier counts as there (RFC 2236 §8.5, with the usual values).
const OTHER_PRESENT: Micros = Micros(255_000_000);

/// Decides when to ask on one network.
#[derive(Debug, Clone, Copy)]
pub struct Querier {
    own: Ipv4Addr,
    asked: u32,
    next: Micros,
    other_until: Option<Micros>,
}

impl Querier {
    /// One that asks at once, and speaks with this address.
    #[must_use]
    pub fn new(own: Ipv4Addr, now: Micros) -> Querier {
        Querier { own, asked: 0, next: now, other_until: None }
    }

    /// The address that it speaks with.
    #[must_use]
    pub fn own(&self) -> Ipv4Addr {
        self.own
    }

    /// Takes an IPv4 packet with whatever IGMP message. True when it was a query that silences this one.
    pub fn hear(&mut self, packet: &[u8], now: Micros) -> bool {
        let is_lower =
            source_of_query(packet).is_some_and(|source| !source.is_unspecified() && source < self.own);
        if is_lower {
            self.other_until = Some(now.after(OTHER_PRESENT));
        }
        is_lower
    }

    /// The packet to send now, if it is time: an IPv4 packet whose header's checksum the kernel writes (raw(7)).
    pub fn query(&mut self, now: Micros) -> Option<[u8; QUERY_BYTES]> {
        if self.other_until.is_some_and(|until| now < until) || now < self.next {
            return None;
        }
        self.other_until = None;
        self.asked = self.asked.saturating_add(1);
        self.next = now.after(if self.asked < AT_FIRST { AT_FIRST_EVERY } else { EVERY });
        Some(packet(self.own))
    }
}

fn packet(own: Ipv4Addr) -> [u8; QUERY_BYTES] {
    let [a, b, c, d] = own.octets();
    let [e, f, g, h] = ALL_SYSTEMS.octets();
    // Type, time, and a group of zeros; the checksum is the ones' complement of their sum.
    let [high, low] = (!u16::from_be_bytes([QUERY, ANSWER_WITHIN])).to_be_bytes();
    [
        0x46,
        0xc0,
        0,
        32,
        0,
        0,
        0,
        0,
        1,
        PROTOCOL_IGMP,
        0,
        0,
        a,
        b,
        c,
        d,
        e,
        f,
        g,
        h,
        0x94,
        4,
        0,
        0,
        QUERY,
        ANSWER_WITHIN,
        high,
        low,
        0,
        0,
        0,
        0,
    ]
}

/// Who sent a general query, if that is what it is; of version 3 too, which is longer.
fn source_of_query(packet: &[u8]) -> Option<Ipv4Addr> {
    let first = *packet.first()?;
    let header = usize::from(first & 15) * 4;
    let is_igmp = first >> 4 == 4 && header >= 20 && *packet.get(9)? == PROTOCOL_IGMP;
    let message: &[u8; 8] = packet.get(header..)?.first_chunk()?;
    let [kind, .., a, b, c, d] = *message;
    if !is_igmp || kind != QUERY || [a, b, c, d] != [0; 4] {
        return None;
    }
    packet.get(12..16)?.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
    /// Bytes of the header of our own.
    const HEADER: usize = 24;

    fn second(second: u64) -> Micros {
        Micros(second * 1_000_000)
    }

    #[test]
    fn the_packet_is_a_general_query_that_hosts_take() {
        let packet = Querier::new(OWN, Micros(0)).query(Micros(0)).unwrap();
        assert_eq!(source_of_query(&packet), Some(OWN));
        let sum: u32 =
            packet[HEADER..].chunks(2).map(|two| u32::from(u16::from_be_bytes([two[0], two[1]]))).sum();
        assert_eq!(sum, 0xffff, "the sum with its checksum (RFC 1071)");
        assert_eq!((packet[8], &packet[20..24]), (1, &[0x94, 4, 0, 0][..]), "one hop, router alert");
    }

    #[test]
    fn it_asks_twice_and_then_every_half_minute() {
        let mut querier = Querier::new(OWN, second(7));
        let asked: Vec<u64> = (0..100).filter(|at| querier.query(second(*at)).is_some()).collect();
        assert_eq!(asked, [7, 9, 39, 69, 99]);
    }

    #[test]
    fn a_lower_address_silences_it_while_it_asks() {
        let mut querier = Querier::new(OWN, Micros(0));
        let from = |last| packet(Ipv4Addr::new(10, 0, 0, last));
        assert!(!querier.hear(&from(9), Micros(0)), "that one has to be silent itself");
        assert!(!querier.hear(&from(5), Micros(0)), "our own");
        assert!(
            !querier.hear(&packet(Ipv4Addr::UNSPECIFIED), Micros(0)),
            "a switch that asks in nobody's name"
        );
        assert!(querier.query(Micros(0)).is_some());
        assert!(querier.hear(&from(1), second(1)));
        assert_eq!(querier.query(second(200)), None);
        assert!(querier.query(second(256)).is_some(), "it has gone");
    }

    #[test]
    fn other_packets_say_nothing() {
        let good = packet(Ipv4Addr::new(10, 0, 0, 1));
        let mut querier = Querier::new(OWN, Micros(0));
        for length in 0..QUERY_BYTES {
            assert!(!querier.hear(&good[..length], Micros(0)), "{length} bytes");
        }
        for (at, byte) in [(0, 0x66), (0, 0x44), (0, 0x4f), (9, 17), (HEADER, 0x16), (HEADER + 4, 239)] {
            let mut bad = good;
            bad[at] = byte;
            assert!(!querier.hear(&bad, Micros(0)), "byte {at} is {byte}");
        }
    }
}

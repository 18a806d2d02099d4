//! Ranges of addresses.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A range as it is written, `10.10.10.100-10.10.10.199`; both ends are part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: Ipv4Addr,
    pub(crate) last: Ipv4Addr,
}

impl Range {
    pub(crate) fn parse(text: &str) -> Option<Range> {
        let (first, last) = text.split_once('-')?;
        Some(Range { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
    }

    pub(crate) fn holds(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }

    /// The addresses from `from` to `to` 256ths of a network, without its own and its broadcast address.
    fn part(net: Ipv4Net, from: u64, to: u64) -> Option<Range> {
        let (network, broadcast) =
            (u64::from(u32::from(net.network())), u64::from(u32::from(net.broadcast())));
        let size = broadcast - network + 1;
        let address = |part: u64| u32::try_from(network + size * part / 256).ok().map(Ipv4Addr::from);
        let (low, high) = (Ipv4Addr::from(u32::from(net.network()).checked_add(1)?), {
            Ipv4Addr::from(u32::from(net.broadcast()).checked_sub(1)?)
        });
        let range = Range { first: address(from)?.max(low), last: address(to)?.min(high) };
        (range.first <= range.last).then_some(range)
    }

    /// The first of some parts of a network that holds none of these addresses; the most usual part first.
    pub(crate) fn free(net: Ipv4Net, taken: &[Ipv4Addr], parts: &[(u64, u64)]) -> Option<Range> {
        let mut ranges = parts.iter().filter_map(|(from, to)| Range::part(net, *from, *to));
        ranges.find(|range| !taken.iter().any(|address| range.holds(*address)))
    }
}

impl std::fmt::Display for Range {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

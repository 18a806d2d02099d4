//! Who sends to whom, and when.

use std::collections::BTreeSet;

/// Packet sizes on which networks commonly end: without room for VXLAN, GRE, PPPoE, VLAN tags; Ethernet's own; jumbo frames of several
/// makers.
const LADDER: [u16; 12] = [576, 1280, 1400, 1450, 1476, 1492, 1496, 1500, 4000, 8950, 8996, 9000];

/// Every pair of so many, once, in rounds in which nobody is twice: a tournament. An even number takes one round less than there are
/// players, an odd one as many as there are.
pub fn rounds(players: u16) -> Vec<Vec<(u16, u16)>> {
    if players < 2 {
        return Vec::new();
    }
    // Whoever meets the one that is not there rests.
    let seats = players.next_multiple_of(2);
    let turning = seats - 1;
    let rounds = (0..turning).map(|round| {
        let fixed = std::iter::once((turning, round));
        let others = (1..seats / 2).map(move |at| ((round + at) % turning, (round + turning - at) % turning));
        fixed.chain(others).filter(|(a, b)| *a < players && *b < players).map(|(a, b)| (a.min(b), a.max(b)))
    });
    rounds.map(Iterator::collect).collect()
}

/// The sizes of packets that are tried from a link of one MTU to one of another: both, and those on which networks commonly end; none
/// that the link itself can't send.
pub fn sizes(own: u32, other: u32) -> Vec<u16> {
    let [own, other] = [own, other].map(|mtu| u16::try_from(mtu).unwrap_or(u16::MAX));
    let all = LADDER.into_iter().chain([own, other]);
    let all = all.filter(|size| (protocol::SMALLEST..=own).contains(size));
    all.collect::<BTreeSet<_>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_meets_everybody_once_and_is_nowhere_twice() {
        for players in 0..=u16::try_from(protocol::MEMBERS_MAX).unwrap() {
            let rounds = rounds(players);
            let wanted = if players < 2 { 0 } else { usize::from(players - 1 + players % 2) };
            assert_eq!(rounds.len(), wanted, "{players}");
            let mut met = BTreeSet::new();
            for round in &rounds {
                let busy = round.iter().flat_map(|(a, b)| [a, b]).collect::<BTreeSet<_>>();
                assert_eq!(busy.len(), 2 * round.len(), "{players}: somebody is in two tests at once");
                assert!(round.iter().all(|pair| pair.0 < pair.1 && met.insert(*pair)), "{players}");
            }
            assert_eq!(met.len(), usize::from(players) * usize::from(players.saturating_sub(1)) / 2);
        }
    }

    #[test]
    fn the_whole_mtu_is_tried_and_what_lies_below() {
        assert_eq!(sizes(1500, 1500), [576, 1280, 1400, 1450, 1476, 1492, 1496, 1500]);
        assert_eq!(sizes(1400, 1500).last(), Some(&1400));
        assert!(sizes(1500, 1337).contains(&1337), "how much a smaller link takes is seen");
        assert_eq!(sizes(9000, 9000).len(), 12);
        assert_eq!(sizes(70_000, 9000).last(), Some(&u16::MAX));
        assert_eq!(sizes(0, 1500), [] as [u16; 0]);
    }
}

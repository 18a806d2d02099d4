//! Many symbols at once, for whoever counts them and holds none: a simulation of ten thousand receivers.

use super::{Gather, Heard};
use crate::wire::Data;

impl Gather {
    /// Takes up to 64 symbols that follow each other, as [`Gather::data`] takes one: a bit of `arrived` says which of them did, from
    /// the first on. Says whether their group is complete, or whether any was kept.
    pub fn burst(&mut self, first: &Data, arrived: u64) -> Heard {
        let steps = || (0..u64::BITS).filter(move |step| arrived & (1 << step) != 0);
        let (Some(last), count) = (steps().next_back(), u64::from(arrived.count_ones())) else {
            return Heard::Useless;
        };
        let end = first.symbol.saturating_add(u16::try_from(last).unwrap_or(u16::MAX));
        let place = if first.session == self.session { self.place(first.group).copied() } else { None };
        let Some(place) = place.filter(|place| first.symbols == place.symbols && end < place.all()) else {
            self.counters.foreign += count;
            return Heard::Foreign;
        };
        steps().for_each(|step| self.sequence.arrived(first.sequence.wrapping_add(step)));
        self.asked |= first.asks;
        let mut heard = Heard::Useless;
        let mut rest = steps();
        // The first one that is kept opens the group; the others find it open.
        let symbol = |step: u32| first.symbol.saturating_add(u16::try_from(step).unwrap_or(u16::MAX));
        if let Some(step) = rest.next() {
            heard = self.take(&Data { symbol: symbol(step), ..*first }, place);
        }
        let left = place.symbols.saturating_sub(1);
        if let Some(open) = self.open.get_mut(&first.group) {
            while open.count < left {
                let Some(step) = rest.next() else { return heard };
                if open.mark(symbol(step)) {
                    self.counters.kept += 1;
                    heard = Heard::Kept;
                } else {
                    self.counters.repeated += 1;
                }
            }
        }
        for step in rest {
            let place = self.place(first.group).copied().unwrap_or(place);
            let taken = self.take(&Data { symbol: symbol(step), ..*first }, place);
            if matches!(taken, Heard::Complete(_)) || heard == Heard::Useless {
                heard = taken;
            }
        }
        heard
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Limits;
    use super::*;
    use crate::groups::Groups;
    use crate::{Micros, Piece};

    proptest! {
        #[test]
        fn many_at_once_are_as_many_one_by_one(
            bursts in prop::collection::vec((0..3_u32, 0..90_u16, any::<u64>(), 1..64_u32), 1..40),
            open_bytes in prop_oneof![Just(0), Just(1 << 20)],
        ) {
            let piece = |id: u32| Piece { id, offset: u64::from(id) << 24, stored: 70 * 1408, bytes: 1 };
            let groups = Groups::of(&(0..3).map(piece).collect::<Vec<_>>());
            let mut one = Gather::new(&groups, 1, 1, Limits { open_bytes });
            (0..2).for_each(|group| one.need(group));
            let mut many = one.clone();
            let mut sequence = 0_u32;
            for (group, symbol, arrived, count) in bursts {
                let count = count.min(86_u32.saturating_sub(u32::from(symbol)));
                let arrived = arrived & ((1 << count) - 1);
                let first = Data { session: 1, group, symbols: 70, symbol, sequence, asks: false };
                let mut complete = None;
                for step in (0..count).filter(|step| arrived & (1 << step) != 0) {
                    let symbol = symbol + u16::try_from(step).unwrap();
                    let data = Data { symbol, sequence: sequence.wrapping_add(step), ..first };
                    if let Heard::Complete(missing) = one.data(&data) {
                        complete = Some(missing);
                    }
                }
                let at_once = match many.burst(&first, arrived) {
                    Heard::Complete(missing) => Some(missing),
                    Heard::Kept | Heard::Useless | Heard::Foreign => None,
                };
                prop_assert_eq!(at_once, complete);
                prop_assert_eq!(many.counters(), one.counters());
                sequence = sequence.wrapping_add(count);
            }
            let later = Micros(1_000_000);
            prop_assert_eq!(many.report(later), one.report(later));
        }
    }
}

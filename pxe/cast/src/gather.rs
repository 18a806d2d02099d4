//! One receiver of a transmission: which symbols it has, when a group is complete, and what it says that it lacks.
//!
//! It never sees a byte of the image. Whoever holds the symbols is told whether to keep each, and when a group can be decoded.

mod burst;
mod sequence;

use std::collections::BTreeMap;

use sequence::Sequence;

use crate::Micros;
use crate::code::repairs;
use crate::groups::Groups;
use crate::wire::{Beat, Data, RUNS_MAX, Report, Run, SYMBOL_BYTES};

/// How often what is lacking is said, asked or not.
const EVERY: Micros = Micros(250_000);
/// How often at most, however often somebody asks.
const GAP: Micros = Micros(10_000);

/// How much may be under way at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of groups that are not complete. One group is always allowed. Symbols of others are not kept, and stay lacking.
    pub open_bytes: u64,
}

/// What to do with a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// It belongs to another transmission, or to no group of this one.
    Foreign,
    /// It is there already, is not needed, or there is no room for it.
    Useless,
    /// Keep it.
    Kept,
    /// Keep it: its group is complete. The data symbols that did not come are these, ascending, and as many repair symbols did.
    Complete(Vec<u16>),
}

/// What became of all that was heard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Symbols that were to be kept.
    pub kept: u64,
    /// Symbols of groups that were not needed, or not any more.
    pub unneeded: u64,
    /// Symbols that were there already.
    pub repeated: u64,
    /// Symbols for which there was no room.
    pub no_room: u64,
    /// Packets of another transmission, or of symbols or groups that there are not.
    pub foreign: u64,
    /// Groups that were complete.
    pub complete: u64,
    /// And those of them that were not what they should be.
    pub spoilt: u64,
    /// Reports that were made.
    pub reports: u64,
}

/// One group to one receiver.
#[derive(Debug, Clone, Copy)]
struct Place {
    symbols: u16,
    needed: bool,
}

/// A group of which some symbols are here.
#[derive(Debug, Clone)]
struct Open {
    /// A bit for each symbol.
    here: Vec<u64>,
    count: u16,
}

/// The receiving state.
#[derive(Debug, Clone)]
pub struct Gather {
    session: u64,
    slot: u32,
    limits: Limits,
    places: Vec<Place>,
    open: BTreeMap<u32, Open>,
    open_bytes: u64,
    sequence: Sequence,
    counters: Counters,
    number: u32,
    reported: Option<Micros>,
    asked: bool,
    /// Where the next report begins, while what is lacking is being said.
    saying: Option<usize>,
}

impl Gather {
    /// A receiver that needs nothing yet.
    #[must_use]
    pub fn new(groups: &Groups, session: u64, slot: u32, limits: Limits) -> Gather {
        let places =
            groups.iter().map(|(_, group)| Place { symbols: group.symbols, needed: false }).collect();
        Gather {
            session,
            slot,
            limits,
            places,
            open: BTreeMap::new(),
            open_bytes: 0,
            sequence: Sequence::default(),
            counters: Counters::default(),
            number: 0,
            reported: None,
            asked: false,
            saying: None,
        }
    }

    /// This group is needed, from the beginning.
    pub fn need(&mut self, group: u32) {
        if let Some(place) = self.place(group) {
            let was_needed = std::mem::replace(&mut place.needed, true);
            self.asked |= !was_needed;
        }
    }

    /// This group is not needed, or not any more: its symbols can be forgotten.
    pub fn drop_need(&mut self, group: u32) {
        if let Some(place) = self.place(group) {
            place.needed = false;
            self.close(group);
        }
    }

    /// What was complete is not what it should be: it is needed again, from the beginning.
    pub fn spoilt(&mut self, group: u32) {
        self.counters.spoilt += u64::from(self.place(group).is_some());
        self.close(group);
        self.need(group);
    }

    /// What is taken from now on comes at this moment.
    pub fn tick(&mut self, now: Micros) {
        self.sequence.tick(now);
    }

    /// Takes the head of a symbol.
    pub fn data(&mut self, data: &Data) -> Heard {
        let place = if data.session == self.session { self.place(data.group).copied() } else { None };
        let is_of = |place: &Place| data.symbols == place.symbols && data.symbol < place.all();
        let Some(place) = place.filter(is_of) else {
            self.counters.foreign += 1;
            return Heard::Foreign;
        };
        self.sequence.arrived(data.sequence);
        self.asked |= data.asks;
        self.take(data, place)
    }

    fn take(&mut self, data: &Data, place: Place) -> Heard {
        if !place.needed {
            self.counters.unneeded += 1;
            return Heard::Useless;
        }
        if !self.has_room(data.group, place.symbols) {
            self.counters.no_room += 1;
            return Heard::Useless;
        }
        let open = self.open.entry(data.group).or_insert_with(|| {
            self.open_bytes += bytes(place.symbols);
            Open { here: vec![0; usize::from(place.all()).div_ceil(64)], count: 0 }
        });
        if !open.mark(data.symbol) {
            self.counters.repeated += 1;
            return Heard::Useless;
        }
        self.counters.kept += 1;
        if open.count < place.symbols {
            return Heard::Kept;
        }
        let missing = (0..place.symbols).filter(|symbol| !open.has(*symbol)).collect();
        self.counters.complete += 1;
        self.drop_need(data.group);
        Heard::Complete(missing)
    }

    /// Takes a beat; false when it is another transmission's.
    pub fn beat(&mut self, beat: &Beat) -> bool {
        if beat.session != self.session {
            self.counters.foreign += 1;
            return false;
        }
        self.sequence.told(beat.next);
        self.asked |= beat.asks;
        true
    }

    /// The next part of what is lacking, when it is time to say it; call it until there is none.
    pub fn report(&mut self, now: Micros) -> Option<Report> {
        let since = self.reported.map(|at| now.since(at));
        let is_due = since.is_none_or(|since| since >= EVERY || self.asked && since >= GAP);
        if self.saying.is_none() && is_due {
            (self.reported, self.asked, self.saying) = (Some(now), false, Some(0));
        }
        let first = self.saying?;
        let (runs, end) = self.runs(first);
        self.saying = Some(end).filter(|end| *end < self.places.len());
        self.number = self.number.wrapping_add(1);
        self.counters.reports += 1;
        Some(Report {
            session: self.session,
            slot: self.slot,
            number: self.number,
            next: self.sequence.next(),
            received: self.sequence.received(),
            first: u32::try_from(first).unwrap_or(u32::MAX),
            runs,
        })
    }

    /// Symbols that are lacking of all that is needed.
    #[must_use]
    pub fn lacks(&self) -> u64 {
        (0_u32..).zip(&self.places).map(|(group, place)| u64::from(self.deficit(group, *place))).sum()
    }

    /// What became of all that was heard.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Runs from a group on, as many as a report has, and the group behind them.
    fn runs(&self, first: usize) -> (Vec<Run>, usize) {
        let (mut runs, mut end) = (Vec::<Run>::new(), first);
        let numbered = (0_u32..).zip(&self.places).skip(first);
        for deficit in numbered.map(|(group, place)| self.deficit(group, *place)) {
            let is_full = runs.len() == RUNS_MAX;
            match runs.last_mut() {
                Some(last) if last.deficit == deficit && last.groups < u16::MAX => last.groups += 1,
                Some(_) | None if is_full => break,
                Some(_) | None => runs.push(Run { groups: 1, deficit }),
            }
            end += 1;
        }
        (runs, end)
    }

    fn deficit(&self, group: u32, place: Place) -> u16 {
        match place.needed {
            true => place.symbols - self.open.get(&group).map_or(0, |open| open.count),
            false => 0,
        }
    }

    fn has_room(&self, group: u32, symbols: u16) -> bool {
        let all = self.open_bytes + bytes(symbols);
        self.open.is_empty() || self.open.contains_key(&group) || all <= self.limits.open_bytes
    }

    fn close(&mut self, group: u32) {
        if self.open.remove(&group).is_some()
            && let Some(place) = self.place(group)
        {
            let symbols = place.symbols;
            self.open_bytes = self.open_bytes.saturating_sub(bytes(symbols));
        }
    }

    fn place(&mut self, group: u32) -> Option<&mut Place> {
        self.places.get_mut(usize::try_from(group).ok()?)
    }
}

impl Place {
    /// Symbols of data and repair.
    fn all(self) -> u16 {
        self.symbols + repairs(self.symbols)
    }
}

impl Open {
    /// Notes that a symbol is here; false when it was before.
    fn mark(&mut self, symbol: u16) -> bool {
        let bit = 1 << (symbol % 64);
        let word = self.here.get_mut(usize::from(symbol / 64)).filter(|word| **word & bit == 0);
        word.is_some_and(|word| {
            *word |= bit;
            self.count += 1;
            true
        })
    }

    fn has(&self, symbol: u16) -> bool {
        self.here.get(usize::from(symbol / 64)).is_some_and(|word| word & (1 << (symbol % 64)) != 0)
    }
}

fn bytes(symbols: u16) -> u64 {
    u64::from(symbols) * SYMBOL_BYTES as u64
}

#[cfg(test)]
mod tests;

//! What the receivers lack, group by group: never who lacks it, nor which symbols.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Range;

use crate::Micros;
use crate::code::repairs;
use crate::groups::Groups;

/// What was not asked for again for so long is not lacked by anybody who lives: a receiver says what it lacks four times a second.
const STALE: Micros = Micros(2_000_000);

/// One group to the sender.
#[derive(Debug, Clone, Default)]
struct Want {
    symbols: u16,
    /// Repair symbols that there are.
    repairs: u16,
    /// The repair symbol that is sent next.
    next_repair: u16,
    /// How many of them were not sent since the data symbols last were. Whoever still lacks some when all were sent has the others:
    /// nothing but the data helps.
    unsent: u16,
    /// The most symbols that somebody lacks who has others.
    lacks: u16,
    /// When that was last said, and when somebody last said that he has next to nothing.
    lacks_at: Micros,
    fresh_at: Micros,
    /// How many symbols had been sent in all when the last of this group was.
    sent: u64,
}

/// What is to be sent of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) group: u32,
    pub(super) of: u16,
    /// Stretches of symbols.
    pub(super) symbols: VecDeque<Range<u16>>,
    pub(super) is_repair: bool,
}

/// All groups.
#[derive(Debug)]
pub(super) struct Wants {
    groups: Vec<Want>,
    /// Groups that somebody has next to nothing of.
    fresh: BTreeSet<u32>,
    /// Where the carousel is.
    cursor: u32,
    /// Groups that are to be mended, those first that were asked for first.
    mend: VecDeque<u32>,
}

impl Wants {
    pub(super) fn new(groups: &Groups) -> Wants {
        let want = |symbols: u16| {
            let repairs = repairs(symbols);
            Want { symbols, repairs, unsent: repairs, ..Want::default() }
        };
        let groups = groups.iter().map(|(_, group)| want(group.symbols)).collect();
        Wants { groups, fresh: BTreeSet::new(), cursor: 0, mend: VecDeque::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.fresh.is_empty() && self.mend.is_empty()
    }

    /// Somebody who has heard of everything before symbol `heard` lacks so many symbols of each of these groups. It does not count
    /// where more was sent since: that may be what is lacking.
    pub(super) fn lack(&mut self, groups: Range<u32>, deficit: u16, heard: u64, now: Micros) {
        let Ok(from) = usize::try_from(groups.start) else { return };
        for (number, want) in groups.zip(self.groups.iter_mut().skip(from)) {
            if want.sent > heard {
                continue;
            }
            if deficit > want.unsent.min(want.symbols / 2) {
                want.fresh_at = now;
                self.fresh.insert(number);
                continue;
            }
            if want.lacks == 0 {
                self.mend.push_back(number);
            }
            (want.lacks, want.lacks_at) = (want.lacks.max(deficit), now);
        }
    }

    /// The next group to send: mending goes first, so that receivers hold few groups that are not complete. `loss` is what
    /// is lost on the way, of a million.
    pub(super) fn next(&mut self, loss: u32, now: Micros) -> Option<Due> {
        while let Some(group) = self.mend.pop_front() {
            let Some(want) = self.want(group) else { continue };
            let lacks = std::mem::take(&mut want.lacks);
            if lacks > 0 && now.since(want.lacks_at) < STALE {
                let symbols = want.take_repairs(with_loss(lacks, loss));
                return Some(Due { group, of: want.symbols, symbols, is_repair: true });
            }
        }
        while let Some(group) = self.next_fresh() {
            let Some(want) = self.want(group) else { continue };
            if now.since(want.fresh_at) < STALE {
                let mut symbols = VecDeque::new();
                symbols.push_back(0..want.symbols);
                want.unsent = want.repairs;
                symbols.extend(want.take_repairs(lost(want.symbols, loss)));
                return Some(Due { group, of: want.symbols, symbols, is_repair: false });
            }
        }
        None
    }

    /// A symbol of this group was the last of so many.
    pub(super) fn sent(&mut self, group: u32, in_all: u64) {
        if let Some(want) = self.want(group) {
            want.sent = in_all;
        }
    }

    fn next_fresh(&mut self) -> Option<u32> {
        let next = self.fresh.range(self.cursor..).next().or_else(|| self.fresh.first()).copied()?;
        self.fresh.remove(&next);
        self.cursor = next.saturating_add(1);
        Some(next)
    }

    fn want(&mut self, group: u32) -> Option<&mut Want> {
        self.groups.get_mut(usize::try_from(group).ok()?)
    }
}

impl Want {
    /// So many repair symbols that were not sent for longest, and not since the data was.
    fn take_repairs(&mut self, count: u16) -> VecDeque<Range<u16>> {
        let count = count.min(self.unsent);
        self.unsent -= count;
        if count == 0 {
            return VecDeque::new();
        }
        let from = self.next_repair;
        let to_end = count.min(self.repairs - from);
        let rest = count - to_end;
        self.next_repair = if rest > 0 { rest } else { (from + to_end) % self.repairs };
        let at = self.symbols;
        [from..from + to_end, 0..rest]
            .into_iter()
            .filter(|stretch| stretch.start < stretch.end)
            .map(|r| at + r.start..at + r.end)
            .collect()
    }
}

/// What is lost of so many symbols, rounded down: what is made up for in advance.
fn lost(symbols: u16, loss: u32) -> u16 {
    u16::try_from(u64::from(symbols) * u64::from(loss) / u64::from(1_000_000_u32.saturating_sub(loss).max(1)))
        .unwrap_or(u16::MAX)
}

/// How many are sent that so many arrive: what is lost on average, and one more where anything is.
fn with_loss(symbols: u16, loss: u32) -> u16 {
    let more = if loss == 0 { 0 } else { lost(symbols, loss).saturating_add(1) };
    symbols.saturating_add(more)
}

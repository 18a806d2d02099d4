//! What every receiver lacks of every group, and so what is sent next.
//!
//! A deficit counts when it is settled: when the receiver has heard of something that was sent after the group, or could have.
//! Until then it may be what is still on its way. After a group was sent there is a round of answers; when all have
//! answered, or some do not for too long, those who still lack some are sent repair symbols, as many as the one lacks who lacks most.
//! Whoever lacks far more than the others waits until nothing else is to be sent.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::carousel::{Carousel, Rank};
use super::provision;
use super::round::Round;
use crate::Micros;
use crate::code::repairs;
use crate::groups::Groups;
use crate::wire::Run;

/// How long answers are waited for while there is something else to send: receivers report four times a second.
const PATIENCE: Micros = Micros(300_000);
/// And while there is not: receivers were asked.
const PATIENCE_AT_END: Micros = Micros(40_000);
/// Of so many symbols that are sent, one may be for somebody who lacks far more than the others.
const SPARED: u64 = 100;
/// And so many at first.
const SPARED_AT_FIRST: u64 = 32;
/// Cells that are compared at once.
const STRIDE: usize = 64;

/// One group to the sender.
#[derive(Debug, Clone)]
struct Group {
    symbols: u16,
    repairs: u16,
    /// The symbol that is sent next; behind the last one it begins again.
    next: u16,
    /// So many from there on were not sent since it was sent as a whole.
    unsent: u16,
    /// Receivers that lack some of it.
    lacking: u32,
    /// No receiver lacks more symbols of it.
    most: u16,
    /// The one who lacked so many may be gone.
    is_most_stale: bool,
    /// How many symbols had been sent in all when the last of this group was; all there will ever be, while it is being sent.
    sent: u64,
    /// It was sent last to those who had nothing of it.
    is_whole: bool,
    /// There is a round of answers to it.
    in_round: bool,
    /// Its rank in the carousel.
    rank: Rank,
}

/// What is to be sent of one group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) group: u32,
    pub(super) of: u16,
    /// Stretches of symbols.
    pub(super) symbols: VecDeque<Range<u16>>,
}

/// What is known for sending.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions {
    /// What is lost on the way, of a million.
    pub(super) loss: u32,
    /// Receivers that count.
    pub(super) live: u32,
}

/// A round of answers that goes on.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    group: u32,
    /// How many symbols had been sent in all when the last of the group was.
    in_all: u64,
    sent: Micros,
}

/// All groups, all receivers.
#[derive(Debug)]
pub(super) struct Deficits {
    groups: Vec<Group>,
    /// For each receiver's place the symbols it lacks of each group; what was settled last.
    columns: Vec<Vec<u16>>,
    /// And of all groups.
    sums: Vec<u64>,
    carousel: Carousel,
    rounds: BTreeMap<u32, Round>,
    /// Rounds that can be decided.
    ready: VecDeque<u32>,
    /// Rounds in the order in which their groups were sent: those that were sent as a whole, and repairs.
    waiting: [VecDeque<Waiting>; 2],
    /// Symbols that were sent and not yet spared for those who lack far more than the others.
    spared: u64,
    /// Groups that such a one waits for, with what it lacks; those that lack least first. Some may have been sent since.
    deferred: BTreeSet<(u16, u32)>,
}

impl Deficits {
    pub(super) fn new(groups: &Groups) -> Deficits {
        Deficits {
            groups: groups.iter().map(|(_, group)| Group::new(group.symbols)).collect(),
            columns: Vec::new(),
            sums: Vec::new(),
            carousel: Carousel::default(),
            rounds: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: [VecDeque::new(), VecDeque::new()],
            spared: SPARED_AT_FIRST * SPARED,
            deferred: BTreeSet::new(),
        }
    }

    /// How many groups there are.
    pub(super) fn len(&self) -> usize {
        self.groups.len()
    }

    /// Whether somebody lacks some of a group.
    pub(super) fn is_lacking(&self, group: u32) -> bool {
        let group = usize::try_from(group).ok().and_then(|at| self.groups.get(at));
        group.is_some_and(|group| group.lacking > 0)
    }

    /// Symbols that a receiver lacks.
    pub(super) fn lacks(&self, at: usize) -> u64 {
        self.sums.get(at).copied().unwrap_or(0)
    }

    /// How many receivers lack something.
    pub(super) fn lacking(&self) -> u32 {
        u32::try_from(self.sums.iter().filter(|sum| **sum > 0).count()).unwrap_or(u32::MAX)
    }

    /// Whether nothing is known to be lacking, nor waited for.
    pub(super) fn is_done(&self) -> bool {
        self.rounds.is_empty() && self.carousel.is_empty()
    }

    /// Whether nothing is to be sent before somebody answers.
    pub(super) fn is_waiting(&self) -> bool {
        self.carousel.is_empty() && self.ready.is_empty()
    }

    /// When somebody has not answered for so long that it is not waited for.
    pub(super) fn wake(&self) -> Option<Micros> {
        let fronts = self.waiting.iter().filter_map(VecDeque::front);
        fronts.map(|waiting| waiting.sent.after(PATIENCE_AT_END)).min()
    }

    /// What is known twice, and not the same; for tests.
    #[cfg(test)]
    pub(super) fn disagreement(&self) -> Option<String> {
        for (at, group) in self.groups.iter().enumerate() {
            let lacking =
                self.columns.iter().filter(|column| column.get(at).is_some_and(|cell| *cell > 0)).count();
            let has_round = self.rounds.contains_key(&u32::try_from(at).ok()?);
            let is_filed = group.rank > Rank::default();
            if lacking != usize::try_from(group.lacking).ok()? || has_round != group.in_round {
                return Some(format!("{at}: {lacking} lack it, a round: {has_round}; {group:?}"));
            }
            if is_filed == has_round && lacking > 0 {
                return Some(format!(
                    "{at}: it is lacked, and neither due nor waited for, or both; {group:?}"
                ));
            }
        }
        let sums = self.columns.iter().map(|column| column.iter().map(|cell| u64::from(*cell)).sum::<u64>());
        (!sums.eq(self.sums.iter().copied())).then(|| format!("{:?}", self.sums))
    }

    /// What a receiver lacks does not count any more.
    pub(super) fn clear(&mut self, at: usize) {
        let Some(column) = self.columns.get_mut(at).map(std::mem::take) else { return };
        for (number, deficit) in (0_u32..).zip(column).filter(|(_, deficit)| *deficit > 0) {
            let Some(group) = group_of(&mut self.groups, number) else { continue };
            group.is_most_stale |= deficit == group.most;
            group.lacking -= 1;
            if !group.in_round {
                group.file(number, &mut self.carousel);
            } else if let Some(round) = self.rounds.get_mut(&number) {
                round.forget(at, deficit);
            }
            self.settle(number);
        }
        self.sums.get_mut(at).into_iter().for_each(|sum| *sum = 0);
    }

    /// A receiver that has heard of everything before symbol `until` lacks this of the groups from `first` on. Says whether a group
    /// became complete there (true), or was sent there in vain (false).
    pub(super) fn hear(&mut self, at: usize, first: u32, runs: &[Run], until: u64) -> Option<bool> {
        if self.columns.len() <= at {
            self.columns.resize_with(at + 1, Vec::new);
            self.sums.resize(at + 1, 0);
        }
        let count = self.groups.len();
        self.columns.get_mut(at).into_iter().for_each(|column| column.resize(count, 0));
        let answered = self.answer(at, first, runs, until);
        let (mut begin, mut changed) = (first, Vec::new());
        for run in runs {
            let end = begin.saturating_add(u32::from(run.groups));
            self.differing(at, begin..end, run.deficit, &mut changed);
            for group in changed.drain(..) {
                self.set(at, group, run.deficit, until);
            }
            begin = end;
        }
        answered
    }

    /// Takes a report as an answer to what was sent of late.
    fn answer(&mut self, at: usize, first: u32, runs: &[Run], until: u64) -> Option<bool> {
        let (mut runs, mut end, mut deficit) = (runs.iter(), first, 0);
        let (mut settled, mut outcome) = (Vec::new(), None);
        let column = self.columns.get_mut(at)?;
        'groups: for (number, round) in self.rounds.range_mut(first..) {
            while *number >= end {
                let Some(run) = runs.next() else { break 'groups };
                (end, deficit) = (end.saturating_add(u32::from(run.groups)), run.deficit);
            }
            let Some(group) = group_of(&mut self.groups, *number) else { continue };
            let deficit = deficit.min(group.symbols);
            if until < group.sent && deficit > 0 {
                continue;
            }
            let Some(cell) = usize::try_from(*number).ok().and_then(|at| column.get_mut(at)) else {
                continue;
            };
            let before = std::mem::replace(cell, deficit);
            let is_first = round.hear(at, before, deficit);
            group.count(before, deficit);
            self.sums
                .get_mut(at)
                .into_iter()
                .for_each(|sum| *sum = *sum + u64::from(deficit) - u64::from(before));
            let is_vain = round.is_again && is_first && deficit > group.repairs;
            if before > 0 && (deficit == 0 || is_vain) {
                outcome = Some(outcome.unwrap_or(false) || deficit == 0);
            }
            if round.awaited == 0 || round.is_late && deficit > 0 {
                settled.push(*number);
            }
        }
        settled.into_iter().for_each(|group| self.settle(group));
        outcome
    }

    /// A round that may be over, or can be decided.
    fn settle(&mut self, number: u32) {
        let Some(group) = group_of(&mut self.groups, number).filter(|group| group.sent < u64::MAX) else {
            return;
        };
        let Some(round) = self.rounds.get_mut(&number) else { return };
        if round.most().is_some() && (round.awaited == 0 || round.is_late) {
            if !std::mem::replace(&mut round.is_ready, true) {
                self.ready.push_back(number);
            }
        } else if round.awaited == 0 {
            self.rounds.remove(&number);
            group.in_round = false;
            group.file(number, &mut self.carousel);
        }
    }

    /// Groups of a stretch of which another deficit is known.
    fn differing(&self, at: usize, groups: Range<u32>, deficit: u16, changed: &mut Vec<u32>) {
        let (Ok(begin), Ok(end)) = (usize::try_from(groups.start), usize::try_from(groups.end)) else {
            return;
        };
        let Some(cells) = self.columns.get(at).and_then(|column| column.get(begin..end)) else { return };
        for (number, cells) in (groups.start..).step_by(STRIDE).zip(cells.chunks(STRIDE)) {
            // Without a branch for each cell: nearly all are as they were.
            if cells.iter().fold(0, |differs, cell| differs | (cell ^ deficit)) != 0 {
                let differ = (number..).zip(cells).filter(|(_, cell)| **cell != deficit);
                changed.extend(differ.map(|(number, _)| number));
            }
        }
    }

    /// A deficit of a group that no answers are waited for to.
    fn set(&mut self, at: usize, number: u32, deficit: u16, until: u64) {
        let Some(group) = group_of(&mut self.groups, number) else { return };
        let deficit = deficit.min(group.symbols);
        if group.in_round || deficit > 0 && until < group.sent {
            return;
        }
        let Some(cell) =
            self.columns.get_mut(at).and_then(|column| column.get_mut(usize::try_from(number).ok()?))
        else {
            return;
        };
        let before = std::mem::replace(cell, deficit);
        group.count(before, deficit);
        group.file(number, &mut self.carousel);
        self.sums
            .get_mut(at)
            .into_iter()
            .for_each(|sum| *sum = *sum + u64::from(deficit) - u64::from(before));
    }

    /// Repairs, after a round of answers.
    pub(super) fn next_repairs(&mut self, conditions: Conditions, now: Micros) -> Option<Due> {
        self.wait_no_longer(now);
        while let Some(group) = self.ready.pop_front() {
            if let Some(due) = self.decide(group, conditions) {
                return Some(due);
            }
        }
        None
    }

    /// The next group when there is nothing to repair.
    pub(super) fn next_group(&mut self, conditions: Conditions) -> Option<Due> {
        if let Some(due) = self.spare(conditions) {
            return Some(due);
        }
        let group = self.carousel.turn()?;
        group_of(&mut self.groups, group)?.rank = Rank::default();
        let most = self.most(group);
        self.begin(group, most, conditions)
    }

    /// What those are sent who lack far more than the others, when enough was sent to all.
    fn spare(&mut self, conditions: Conditions) -> Option<Due> {
        while let Some((deficit, number)) = self.deferred.first().copied() {
            let group = group_of(&mut self.groups, number)?;
            let is_current = group.rank > Rank::default() && group.most == deficit && !group.is_most_stale;
            let cost = u64::from(group.cost(deficit, conditions.loss)) * SPARED;
            if is_current && cost > self.spared {
                return None;
            }
            self.deferred.pop_first();
            if is_current {
                self.spared -= cost;
                self.carousel.set(number, std::mem::take(&mut group.rank), Rank::default());
                return self.begin(number, deficit, conditions);
            }
        }
        None
    }

    /// All symbols of a group that was to be sent are sent. Says whether answers to it are wanted before anything else.
    pub(super) fn sent(&mut self, number: u32, in_all: u64, now: Micros) -> bool {
        let Some(group) = group_of(&mut self.groups, number) else { return false };
        group.sent = in_all;
        let [whole, repairs] = &mut self.waiting;
        let queue = if group.is_whole { whole } else { repairs };
        queue.push_back(Waiting { group: number, in_all, sent: now });
        let is_urgent = group.is_urgent(self.carousel.rank());
        self.settle(number);
        is_urgent
    }

    fn wait_no_longer(&mut self, now: Micros) {
        let rank = self.carousel.rank();
        for queue in 0..self.waiting.len() {
            while let Some(waiting) = self.waiting.get(queue).and_then(VecDeque::front).copied() {
                let group =
                    group_of(&mut self.groups, waiting.group).filter(|group| group.sent == waiting.in_all);
                let is_urgent = group.as_ref().is_some_and(|group| group.is_urgent(rank));
                let patience = if is_urgent { PATIENCE_AT_END } else { PATIENCE };
                let round = self.rounds.get_mut(&waiting.group).filter(|_| group.is_some());
                if round.is_some() && now.since(waiting.sent) < patience {
                    break;
                }
                self.waiting.get_mut(queue).and_then(VecDeque::pop_front);
                if let Some(round) = round {
                    round.is_late = true;
                    self.settle(waiting.group);
                }
            }
        }
    }

    /// What to send after a round of answers.
    fn decide(&mut self, number: u32, conditions: Conditions) -> Option<Due> {
        let group = group_of(&mut self.groups, number)?;
        let round = self.rounds.get_mut(&number).filter(|round| round.is_ready)?;
        round.is_ready = false;
        let all = round.most()?;
        let many = round.most_of_many(group.repairs, conditions.live);
        let more = |deficit: u16| u64::from(group.cost(deficit, conditions.loss)) * SPARED;
        let extra = more(all).saturating_sub(many.map_or(0, more));
        let deficit = if all <= group.repairs && extra <= self.spared {
            self.spared -= extra;
            all
        } else if let Some(many) = many {
            many
        } else {
            // They wait for the end.
            (group.most, group.is_most_stale, group.in_round) = (all, false, false);
            self.rounds.remove(&number);
            group.file(number, &mut self.carousel);
            if all <= group.repairs {
                self.deferred.insert((all, number));
            }
            return None;
        };
        self.begin(number, deficit, conditions)
    }

    /// Begins a round: so many symbols for those who lack at most so many.
    fn begin(&mut self, number: u32, deficit: u16, conditions: Conditions) -> Option<Due> {
        let group = group_of(&mut self.groups, number)?;
        let cost = group.cost(deficit, conditions.loss);
        let is_whole = deficit > group.repairs || cost >= group.symbols;
        let symbols = if is_whole {
            group.whole(provision::ahead(group.symbols, group.lacking, conditions.loss))
        } else {
            group.take(cost)
        };
        let is_again = is_whole && group.sent > 0;
        (group.sent, group.in_round, group.is_whole) = (u64::MAX, true, is_whole);
        let count: u64 = symbols.iter().map(|stretch| u64::from(stretch.end - stretch.start)).sum();
        self.spared = self.spared.saturating_add(count).min(u64::from(group.repairs) * SPARED * 4);
        self.rounds.insert(number, Round::new(group.lacking, is_again));
        Some(Due { group: number, of: group.symbols, symbols })
    }

    /// The most symbols that somebody lacks of a group.
    fn most(&mut self, number: u32) -> u16 {
        let Some(group) = group_of(&mut self.groups, number) else { return 0 };
        if std::mem::take(&mut group.is_most_stale) {
            let Ok(at) = usize::try_from(number) else { return 0 };
            group.most = self.columns.iter().filter_map(|column| column.get(at)).copied().max().unwrap_or(0);
        }
        group.most
    }
}

impl Group {
    fn new(symbols: u16) -> Group {
        let repairs = repairs(symbols);
        Group {
            symbols,
            repairs,
            next: symbols,
            unsent: repairs,
            lacking: 0,
            most: 0,
            is_most_stale: false,
            sent: 0,
            is_whole: false,
            in_round: false,
            rank: Rank::default(),
        }
    }

    fn count(&mut self, before: u16, deficit: u16) {
        self.lacking = self.lacking + u32::from(deficit > 0) - u32::from(before > 0);
        if deficit >= self.most {
            (self.most, self.is_most_stale) = (deficit, false);
        } else {
            self.is_most_stale |= before == self.most;
        }
    }

    /// It is due, or not, while no answers are waited for to it.
    fn file(&mut self, number: u32, carousel: &mut Carousel) {
        let rank = Rank::of(self.lacking, self.sent > 0 && self.most <= self.repairs);
        carousel.set(number, std::mem::replace(&mut self.rank, rank), rank);
    }

    /// Whether answers to it matter more than what would be sent next, of that rank.
    fn is_urgent(&self, next: Rank) -> bool {
        let rank = Rank::of(self.lacking, !self.is_whole);
        rank > next || rank == next && !self.is_whole
    }

    /// How many symbols are sent to somebody who lacks so many.
    fn cost(&self, deficit: u16, loss: u32) -> u16 {
        if deficit <= self.unsent {
            provision::again(deficit, loss).min(self.unsent)
        } else {
            provision::anew(deficit, self.symbols, self.symbols + self.repairs, loss)
        }
    }

    /// All data symbols, and so many repair symbols with them.
    fn whole(&mut self, ahead: u16) -> VecDeque<Range<u16>> {
        let ahead = ahead.min(self.repairs);
        (self.next, self.unsent) = (0, self.symbols + self.repairs);
        self.take(self.symbols + ahead)
    }

    /// So many symbols that were not sent for longest.
    fn take(&mut self, count: u16) -> VecDeque<Range<u16>> {
        let all = self.symbols + self.repairs;
        let (from, count) = (self.next, count.min(all));
        let to_end = count.min(all - from);
        let rest = count - to_end;
        self.next = if rest > 0 { rest } else { (from + to_end) % all };
        self.unsent = self.unsent.saturating_sub(count);
        [from..from + to_end, 0..rest].into_iter().filter(|stretch| stretch.start < stretch.end).collect()
    }
}

fn group_of(groups: &mut [Group], number: u32) -> Option<&mut Group> {
    groups.get_mut(usize::try_from(number).ok()?)
}

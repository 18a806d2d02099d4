//! Who fetches from whom: one behind the other, by how much each has had.
//!
//! ```text
//! controller ─► a ─► b ─► c ─► d          each has at most two that fetch from it first
//!                    └──► e               e is slow: nobody fetches from it
//! ```
//! Whoever stands further back fetches from somebody further ahead, so that there is no circle. When one dies, it is not there any
//! more, and those behind it move up.

use std::collections::{BTreeMap, BTreeSet};

use super::{Known, Node};
use crate::Micros;

/// So much may somebody be behind one that it gives to: orders don't change for less, in bytes.
pub(super) const SLACK: u64 = 64 << 20;
/// So near are two that are as far as each other: one request, in bytes.
const NEAR: u64 = 16 << 20;
/// How many may fetch from one first.
pub(super) const FOLLOWERS: usize = 2;
/// How many sources somebody is told of.
pub(super) const SOURCES: usize = 3;
/// So long somebody has to hold up who is behind it, to be slow.
const PATIENCE: Micros = Micros(2_000_000);
/// What was longer ago than this, and went well, does not count any more.
const RENEWED: Micros = Micros(5_000_000);
/// So long the next one has to show that it was the first one that was slow, and not the controller.
const TRIAL: Micros = Micros(5_000_000);
/// A first one that gets less than this part of what the link takes may be slow.
const SUSPICIOUS: u64 = 4;

/// How much somebody had had at a moment, and the one before it; none: the controller.
#[derive(Debug, Clone, Copy)]
struct Mark {
    since: Micros,
    had: u64,
    before: Option<Node>,
    before_had: u64,
}

/// One that fetches from somebody who has everything was taken for slow: the one behind it fetches there too, and has to be faster.
#[derive(Debug, Clone, Copy)]
struct Trial {
    suspect: Node,
    then: Mark,
    next: Node,
    next_had: u64,
}

/// The order of all, and what was found of them.
#[derive(Debug, Default)]
pub(super) struct Chain {
    order: Vec<Node>,
    /// Nobody fetches from them.
    slow: BTreeSet<Node>,
    /// Since when somebody holds up who is behind it.
    holding_up: BTreeMap<Node, Mark>,
    trial: Option<Trial>,
    /// They were tried, and the one behind them was no faster.
    acquitted: BTreeSet<Node>,
    /// From whom each fetched first.
    firsts: BTreeMap<Node, Option<Node>>,
}

impl Chain {
    /// It begins anew: at the end, and as fast as any.
    pub(super) fn forget(&mut self, node: Node) {
        self.order.retain(|one| *one != node);
        self.slow.remove(&node);
        self.acquitted.remove(&node);
    }

    /// The sources of those who are fetching, from all who live and are no liars. `link` is what a wire takes, in bytes a second.
    pub(super) fn sources(
        &mut self,
        live: &BTreeMap<Node, &Known>,
        fetching: &BTreeSet<Node>,
        liars: &BTreeSet<Node>,
        (link, now): (u64, Micros),
    ) -> BTreeMap<Node, Vec<Node>> {
        self.settle(live);
        self.find_slow(live, link, now);
        let gives = |node: &Node| {
            let has_door = live.get(node).is_some_and(|known| known.has_door);
            has_door && !self.slow.contains(node) && !liars.contains(node)
        };
        let can_give: Vec<(usize, Node)> =
            self.order.iter().copied().enumerate().filter(|(_, node)| gives(node)).collect();
        let mut followers: BTreeMap<Node, usize> = BTreeMap::new();
        let mut sources = BTreeMap::new();
        // Those who give to others first: the chain must not break because somebody slow has taken a place.
        let places = || self.order.iter().copied().enumerate().filter(|(_, node)| fetching.contains(node));
        let (fast, slow): (Vec<_>, Vec<_>) = places().partition(|(_, node)| gives(node));
        for (place, node) in fast.into_iter().chain(slow) {
            let Some(own) = live.get(&node) else { continue };
            // From one who gives to nobody nothing can come back: it may fetch from whoever has enough.
            let ahead = if gives(&node) {
                can_give.partition_point(|(other, _)| *other < place)
            } else {
                can_give.len()
            };
            let is_good = |other: &&(usize, Node)| {
                let had = live.get(&other.1).map_or(0, |known| known.had_bytes);
                had.saturating_add(SLACK) >= own.had_bytes && !own.shunned.contains(&other.1)
            };
            // The nearest ones: those further ahead have others to give to.
            let good = || can_give.iter().take(ahead).rev().filter(is_good).map(|(_, other)| *other);
            let has_room = |other: &Node| followers.get(other).is_none_or(|count| *count < FOLLOWERS);
            let first = good().find(has_room);
            self.firsts.insert(node, first);
            let Some(first) = first else { continue };
            *followers.entry(first).or_default() += 1;
            let others = good().filter(|other| *other != first).take(SOURCES - 1);
            sources.insert(node, std::iter::once(first).chain(others).collect());
        }
        self.firsts.retain(|node, _| fetching.contains(node));
        sources
    }

    /// Puts whoever is far ahead of somebody before it; all others stay where they are. Then nobody has had more than one before it,
    /// by more than the slack.
    fn settle(&mut self, live: &BTreeMap<Node, &Known>) {
        let had = |node: &Node| live.get(node).map_or(0, |known| known.had_bytes);
        let known: BTreeSet<Node> = self.order.iter().copied().collect();
        let mut new: Vec<Node> = live.keys().copied().filter(|node| !known.contains(node)).collect();
        new.sort_by_key(|node| std::cmp::Reverse(had(node)));
        let mut order: Vec<Node> = Vec::with_capacity(live.len());
        let mut least = u64::MAX;
        for node in std::mem::take(&mut self.order).into_iter().chain(new) {
            if !live.contains_key(&node) {
                continue;
            }
            let own = had(&node);
            let is_behind = |other: &Node| had(other).saturating_add(SLACK) < own;
            let place =
                if least.saturating_add(SLACK) < own { order.iter().position(is_behind) } else { None };
            order.insert(place.unwrap_or(order.len()), node);
            least = least.min(own);
        }
        self.order = order;
        for set in [&mut self.slow, &mut self.acquitted] {
            set.retain(|node| live.contains_key(node));
        }
    }

    /// Who holds up the one behind it, by what was said since it was last planned.
    fn find_slow(&mut self, live: &BTreeMap<Node, &Known>, link: u64, now: Micros) {
        let had = |node: Node| live.get(&node).map_or(0, |known| known.had_bytes);
        let standing: BTreeMap<Node, Node> =
            self.order.iter().copied().zip(self.order.iter().copied().skip(1)).map(|(a, b)| (b, a)).collect();
        let mut marks = BTreeMap::new();
        let mut slow = Vec::new();
        for (behind, first) in &self.firsts {
            let Some(node) = first.filter(|first| !self.slow.contains(behind) && !self.slow.contains(first))
            else {
                continue;
            };
            // One that listens fetches from nobody; but somebody stands before it.
            let before = self.firsts.get(&node).copied().unwrap_or_else(|| standing.get(&node).copied());
            let (its, own) = (had(*behind), had(node));
            let is_behind = match before {
                Some(before) => had(before) > own.saturating_add(SLACK),
                // The controller has everything: what counts is how fast it comes.
                None => own > 0 && self.firsts.contains_key(&node),
            };
            if !is_behind || its.saturating_add(NEAR) < own || !live.contains_key(behind) {
                continue;
            }
            let here = Mark { since: now, had: own, before, before_had: before.map_or(0, had) };
            let mark = self.holding_up.get(&node).filter(|mark| mark.before == before).unwrap_or(&here);
            let waited = now.since(mark.since);
            let came = own.saturating_sub(mark.had);
            let more = here.before_had.saturating_sub(mark.before_had);
            // One that was held up by another, and now is only late, is as fast as the one before it. When that one has everything, there is
            // only the link to compare with.
            let due = if more > 0 { more / 10 * 9 } else { in_time(link / SUSPICIOUS, waited) };
            if waited < PATIENCE || came.saturating_add(2 * NEAR) >= due {
                let mark = if waited >= RENEWED && came >= due { here } else { *mark };
                marks.insert(node, mark);
            } else if more > 0 {
                slow.push(node);
            } else if self.trial.is_none() && !self.acquitted.contains(&node) {
                self.trial = Some(Trial { suspect: node, then: here, next: *behind, next_had: its });
                slow.push(node);
            }
        }
        self.holding_up = marks;
        self.slow.extend(slow);
        self.judge(live, now);
    }

    /// Ends a trial: who got at least twice as much as the suspect shows that the controller was not what was slow.
    fn judge(&mut self, live: &BTreeMap<Node, &Known>, now: Micros) {
        let Some(Trial { suspect, then, next, next_had }) = self.trial else { return };
        let gained = |node: Node, had: u64| live.get(&node).map(|known| known.had_bytes.saturating_sub(had));
        let (Some(its), Some(own)) = (gained(next, next_had), gained(suspect, then.had)) else {
            // Nothing was shown.
            self.slow.remove(&suspect);
            self.trial = None;
            return;
        };
        if now.since(then.since) < TRIAL {
            return;
        }
        self.trial = None;
        if its < own.saturating_mul(2) || its == 0 {
            self.slow.remove(&suspect);
            self.acquitted.insert(suspect);
            // It would be the next suspect, and as innocent.
            self.acquitted.insert(next);
        }
    }
}

/// How many bytes a rate is, in bytes a second, in this time.
fn in_time(rate: u64, time: Micros) -> u64 {
    u64::try_from(u128::from(rate) * u128::from(time.0) / 1_000_000).unwrap_or(u64::MAX)
}

//! Links and transfers that are slower than they should be.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::{View, majority, median};
use super::{Finding, Severity};

/// Less than this part of what is usual, or of what the link can, is slow.
const SLOW_PERCENT: u64 = 60;
/// One transfer by one processor does not fill a faster link.
const FILLED_MBIT: u64 = 10_000;
const NEXT: &str = "look at the cable and the plug, what the switch port has negotiated (duplex too), and its error counters";

/// Whoever is slower than most others, or than its link.
pub(super) fn slow(view: &View<'_>) -> Vec<Finding> {
    let mut findings = negotiated(view);
    let rates = view.pairs.iter().filter_map(|(way, pair)| Some((*way, pair.kbit?)));
    let rates = rates.collect::<BTreeMap<_, _>>();
    let Some(usual) = usual(&rates) else { return findings };
    let mut bad =
        rates.iter().filter(|(way, rate)| is_slow(view, **way, **rate, usual)).collect::<BTreeMap<_, _>>();
    if bad.len() == rates.len() && bad.len() > 2 {
        let text = format!(
            "transfers on {} reach {} in the middle, which is little for its links",
            view.subnet(),
            rate(usual)
        );
        let members = view.network.places.iter().map(|place| place.member);
        findings.push(view.finding(
            (Severity::Warn, "slow"),
            members,
            text,
            "look at what the switch is busy with: other traffic, storms (rackwright metrics)",
        ));
        return findings;
    }
    while let Some(member) = troubled(&rates, &bad) {
        let own = bad.iter().filter(|((a, b), _)| *a == member || *b == member).map(|(_, rate)| **rate);
        let text = format!(
            "transfers with {} on {} reach {} in the middle, among the others {}",
            view.name(member),
            view.subnet(),
            rate(median(own.collect()).unwrap_or_default()),
            rate(usual)
        );
        findings.push(view.finding((Severity::Warn, "slow"), [member], text, NEXT));
        bad.retain(|(a, b), _| *a != member && *b != member);
    }
    let singles = bad.into_iter().map(|((from, to), kbit)| {
        let text = format!(
            "the transfer from {} to {} on {} reached {}, others reach {}",
            view.name(*from),
            view.name(*to),
            view.subnet(),
            rate(*kbit),
            rate(usual)
        );
        view.finding((Severity::Warn, "slow"), [*from, *to], text, NEXT)
    });
    findings.extend(singles);
    findings
}

/// What a node can that is like most: the middle of the best that each has reached. One that is slow makes many pairs slow, and hides no
/// other's best.
fn usual(rates: &BTreeMap<(u16, u16), u64>) -> Option<u64> {
    let mut best = BTreeMap::<u16, u64>::new();
    for ((from, to), rate) in rates {
        for member in [from, to] {
            let best = best.entry(*member).or_default();
            *best = (*best).max(*rate);
        }
    }
    median(best.into_values().collect())
}

fn is_slow(view: &View<'_>, (from, to): (u16, u16), kbit: u64, usual: u64) -> bool {
    let speed = |member: u16| {
        view.network.places.iter().find(|place| place.member == member).and_then(|place| place.speed_mbps)
    };
    let link = speed(from).zip(speed(to)).map(|(a, b)| u64::from(a.min(b)).min(FILLED_MBIT) * 1000);
    let below = |of: u64| kbit.saturating_mul(100) < of.saturating_mul(SLOW_PERCENT);
    // Less than is usual is no fault of two that can't do more.
    below(usual.min(link.unwrap_or(usual))) || link.is_some_and(below)
}

/// A member most of whose transfers are slow one way or the other, out of two or more.
fn troubled(rates: &BTreeMap<(u16, u16), u64>, bad: &BTreeMap<&(u16, u16), &u64>) -> Option<u16> {
    let count = |member: u16, of: fn(&(u16, u16)) -> u16| {
        let slow = bad.keys().filter(|way| of(way) == member).count();
        (slow, rates.keys().filter(|way| of(way) == member).count())
    };
    let most = |member: u16, of: fn(&(u16, u16)) -> u16| {
        let (slow, all) = count(member, of);
        slow > 1 && 3 * slow >= 2 * all
    };
    let members = bad.keys().flat_map(|(a, b)| [*a, *b]).collect::<BTreeSet<_>>();
    let total = |member: u16| count(member, |way| way.0).0 + count(member, |way| way.1).0;
    let is_it = |member: &u16| most(*member, |way| way.0) || most(*member, |way| way.1);
    members.into_iter().filter(is_it).max_by_key(|member| (total(*member), std::cmp::Reverse(*member)))
}

/// Links that have negotiated less than most.
fn negotiated(view: &View<'_>) -> Vec<Finding> {
    let speeds = view.network.places.iter().filter_map(|place| Some((place, place.speed_mbps?)));
    let speeds = speeds.collect::<Vec<_>>();
    let Some(usual) = majority(speeds.iter().map(|(_, speed)| *speed)) else { return Vec::new() };
    let slower = speeds.into_iter().filter(|(_, speed)| *speed < usual);
    let finding = |(place, speed): (&super::Place, u32)| {
        let text = format!(
            "{} of {} has negotiated {speed} Mbit/s, most others on {} {usual}",
            place.link,
            view.name(place.member),
            view.subnet()
        );
        view.finding((Severity::Warn, "link-speed"), [place.member], text, NEXT)
    };
    slower.map(finding).collect()
}

/// As people say it.
fn rate(kbit: u64) -> String {
    match kbit {
        0..1000 => format!("{kbit} kbit/s"),
        1000..10_000_000 => format!("{} Mbit/s", kbit / 1000),
        _ => format!("{}.{} Gbit/s", kbit / 1_000_000, kbit / 100_000 % 10),
    }
}

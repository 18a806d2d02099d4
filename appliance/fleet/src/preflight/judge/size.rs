//! Packets that are too large for the way: settings that differ, then ways that carry less than both ends are set to.

use std::collections::{BTreeMap, BTreeSet};

use super::{View, majority};
use crate::preflight::{Finding, Place, Severity};

pub(super) fn too_large(view: &View<'_>) -> Vec<Finding> {
    let places = view.network.places.iter().map(|place| (place.member, place)).collect::<BTreeMap<_, _>>();
    let mut findings = settings(view);
    // What only a smaller setting at the other end keeps away is said with the setting.
    let short = view.pairs.iter().filter(|((from, to), pair)| {
        let mtu = |member: &u16| places.get(member).map_or(0, |place| place.mtu);
        pair.arrived && u32::from(pair.largest) < mtu(from).min(mtu(to)).min(u32::from(u16::MAX))
    });
    let mut short = short.map(|(way, pair)| (*way, pair.largest)).collect::<BTreeMap<_, _>>();
    let whole = view.pairs.values().filter(|pair| pair.arrived).count();
    if !short.is_empty() && short.len() == whole && whole > 2 {
        findings.push(everybody(view, &short));
        return findings;
    }
    while let Some(member) = troubled(view, &short) {
        findings.push(one(view, member, &short));
        short.retain(|(from, to), _| *from != member && *to != member);
    }
    findings.extend(single(view, &short));
    findings
}

/// Links that are set otherwise than most are, or than others, where there is no most.
fn settings(view: &View<'_>) -> Vec<Finding> {
    let places = &view.network.places;
    let all = places.iter().map(|place| place.mtu).collect::<BTreeSet<_>>();
    if all.len() < 2 {
        return Vec::new();
    }
    const NEXT: &str = "set the same MTU on all links of this network, on the switch no less: packets of the larger \
                        size are lost on their way to the smaller";
    let said = |places: &[&Place]| {
        places.iter().map(|place| format!("{} ({})", view.name(place.member), place.link)).collect()
    };
    let Some(usual) = majority(places.iter().map(|place| place.mtu)) else {
        let of = |mtu: &u32| {
            let with = places.iter().filter(|place| place.mtu == *mtu).collect::<Vec<_>>();
            format!("{mtu} on {}", super::some(said(&with)))
        };
        let said = all.iter().map(of).collect::<Vec<_>>().join(", ");
        let text = format!("links on {} are set to different MTUs: {said}", view.subnet());
        let members = places.iter().map(|place| place.member);
        return vec![view.finding((Severity::Fail, "mtu-setting"), members, text, NEXT)];
    };
    let odd = all.into_iter().filter(|mtu| *mtu != usual);
    let finding = |mtu: u32| {
        let with = places.iter().filter(|place| place.mtu == mtu).collect::<Vec<_>>();
        let members = with.iter().map(|place| place.member).collect::<Vec<_>>();
        let text =
            format!("{} on {} has MTU {mtu}, most others {usual}", super::some(said(&with)), view.subnet());
        view.finding((Severity::Fail, "mtu-setting"), members, text, NEXT)
    };
    odd.map(finding).collect()
}

const SWITCH: &str = "set the MTU of the switch ports and of whatever is between, as a tunnel, to the links' own, or the links' to \
                      what passes";

fn everybody(view: &View<'_>, short: &BTreeMap<(u16, u16), u16>) -> Finding {
    let largest = short.values().max().copied().unwrap_or_default();
    let mtu = majority(view.network.places.iter().map(|place| place.mtu));
    let mtu = mtu.map_or_else(|| "of the links".to_owned(), |mtu| mtu.to_string());
    let text = format!(
        "no pair on {} passes packets of the MTU {mtu}: the largest that arrived has {largest} bytes",
        view.subnet()
    );
    let members = view.network.places.iter().map(|place| place.member);
    view.finding((Severity::Fail, "mtu"), members, text, SWITCH)
}

/// A member all of whose ways carry less, out of more than one other.
fn troubled(view: &View<'_>, short: &BTreeMap<(u16, u16), u16>) -> Option<u16> {
    let members = short.keys().flat_map(|(a, b)| [*a, *b]).collect::<BTreeSet<_>>();
    let all = |member: u16, of: fn(&(u16, u16)) -> u16| {
        let mut ways = view.pairs.iter().filter(|(way, pair)| of(way) == member && pair.arrived).peekable();
        ways.peek().is_some() && ways.all(|(way, _)| short.contains_key(way))
    };
    let others = |member: u16| {
        let met = short.keys().filter(|(a, b)| *a == member || *b == member);
        met.map(|(a, b)| if *a == member { *b } else { *a }).collect::<BTreeSet<_>>().len()
    };
    let bad = |member: &u16| {
        others(*member) > 1 && (all(*member, |(from, _)| *from) || all(*member, |(_, to)| *to))
    };
    members.into_iter().filter(bad).max_by_key(|member| (others(*member), std::cmp::Reverse(*member)))
}

fn one(view: &View<'_>, member: u16, short: &BTreeMap<(u16, u16), u16>) -> Finding {
    let of = |place: fn(&(u16, u16)) -> u16| short.iter().filter(move |(way, _)| place(way) == member);
    let (sent, came) = (of(|(from, _)| *from).count(), of(|(_, to)| *to).count());
    let largest = of(|(from, _)| *from).chain(of(|(_, to)| *to)).map(|(_, largest)| *largest).max();
    let ways = match (sent, came) {
        (_, 0) => "from",
        (0, _) => "to",
        _ => "from and to",
    };
    let mtu = view.network.places.iter().find(|place| place.member == member).map_or(0, |place| place.mtu);
    let text = format!(
        "large packets {ways} {} on {} are lost: {} bytes pass, its MTU is {mtu}",
        view.name(member),
        view.subnet(),
        largest.unwrap_or_default()
    );
    view.finding((Severity::Fail, "mtu"), [member], text, SWITCH)
}

fn single(view: &View<'_>, short: &BTreeMap<(u16, u16), u16>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for ((from, to), largest) in short {
        let back = short.get(&(*to, *from));
        if back.is_some() && from > to {
            continue;
        }
        let (one, other, subnet) = (view.name(*from), view.name(*to), view.subnet());
        let passes = back.map_or(*largest, |back| (*back).min(*largest));
        let text = match back {
            Some(_) => {
                format!("large packets between {one} and {other} on {subnet} are lost: {passes} bytes pass")
            }
            None => format!("large packets from {one} to {other} on {subnet} are lost: {passes} bytes pass"),
        };
        findings.push(view.finding((Severity::Fail, "mtu"), [*from, *to], text, SWITCH));
    }
    findings
}

//! Who does not reach whom. Whoever has trouble with everybody is named, and those pairs are not; then parts of the network that do not
//! reach each other; then what is left, by whoever has most of it.

use std::collections::{BTreeMap, BTreeSet};

use super::View;
use crate::preflight::{Finding, Severity};

const CABLE: &str = "look at its cable, its switch port and the port's VLAN, and at packet filters on it";
const FILTER: &str =
    "look for a packet filter on one of them, a private VLAN, or a switch that confuses their MACs";
const SPLIT: &str = "look at the cable between their switches, and whether its ports carry this VLAN";

/// A node that has trouble with every other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    Both,
    Sends,
    Receives,
}

pub(super) fn unreachable(view: &View<'_>) -> Vec<Finding> {
    let bad = view.pairs.iter().filter(|(_, pair)| !pair.arrived).map(|(way, _)| *way);
    let mut bad = bad.collect::<BTreeSet<_>>();
    let mut findings = Vec::new();
    if let Some(parts) = parts(view) {
        findings.push(split(view, &parts));
        let part = |member: u16| parts.iter().position(|part| part.contains(&member));
        bad.retain(|(a, b)| part(*a) == part(*b));
    }
    // Whoever is cut off is no witness against the others.
    while let Some((member, trouble)) = troubled(view, &bad) {
        findings.push(alone(view, member, trouble));
        bad.retain(|(from, to)| *from != member && *to != member);
    }
    findings.extend(rest(view, bad));
    findings
}

/// The worst of those who have trouble with all whom they could meet: two at least, because of two alone nobody knows whose it is.
fn troubled(view: &View<'_>, bad: &BTreeSet<(u16, u16)>) -> Option<(u16, Trouble)> {
    let members = bad.iter().flat_map(|(a, b)| [*a, *b]).collect::<BTreeSet<_>>();
    let judged = members.into_iter().filter_map(|member| {
        let sent = view.pairs.keys().filter(|(from, _)| *from == member);
        let came = view.pairs.keys().filter(|(_, to)| *to == member);
        let all = |ways: &[(u16, u16)]| ways.len() > 1 && ways.iter().all(|way| bad.contains(way));
        let (sent, came) = (sent.copied().collect::<Vec<_>>(), came.copied().collect::<Vec<_>>());
        let count = sent.iter().chain(&came).filter(|way| bad.contains(way)).count();
        let trouble = match (all(&sent), all(&came)) {
            (true, true) => Trouble::Both,
            (true, false) => Trouble::Sends,
            (false, true) => Trouble::Receives,
            (false, false) => return None,
        };
        Some((count, member, trouble))
    });
    judged
        .max_by_key(|(count, member, _)| (*count, std::cmp::Reverse(*member)))
        .map(|(_, member, trouble)| (member, trouble))
}

fn alone(view: &View<'_>, member: u16, trouble: Trouble) -> Finding {
    let (name, subnet) = (view.name(member), view.subnet());
    let (code, text) = match trouble {
        Trouble::Both => ("unreachable", format!("{name} reaches nobody on {subnet}, and nobody reaches it")),
        Trouble::Sends => {
            ("one-way", format!("what {name} sends on {subnet} reaches nobody, though others reach it"))
        }
        Trouble::Receives => {
            ("one-way", format!("nobody reaches {name} on {subnet}, though what it sends arrives"))
        }
    };
    view.finding((Severity::Fail, code), [member], text, CABLE)
}

/// The parts that a network is in, when each is whole, has two members or more, and nothing goes between them.
fn parts(view: &View<'_>) -> Option<Vec<BTreeSet<u16>>> {
    let mut parts = Vec::<BTreeSet<u16>>::new();
    let members = view.pairs.keys().flat_map(|(a, b)| [*a, *b]).collect::<BTreeSet<_>>();
    for member in members {
        let meets = |other: &u16| {
            [(member, *other), (*other, member)]
                .iter()
                .any(|way| view.pairs.get(way).is_some_and(|p| p.arrived))
        };
        let (near, far) = parts.into_iter().partition::<Vec<_>, _>(|part| part.iter().any(meets));
        let joined = near.into_iter().flatten().chain([member]).collect();
        parts = far.into_iter().chain([joined]).collect();
    }
    // One alone is not a part but a node in trouble.
    parts.retain(|part| part.len() > 1);
    parts.sort_by_key(|part| (std::cmp::Reverse(part.len()), part.first().copied()));
    (parts.len() > 1).then_some(parts)
}

fn split(view: &View<'_>, parts: &[BTreeSet<u16>]) -> Finding {
    let said = parts.iter().map(|part| view.names(part.iter().copied())).collect::<Vec<_>>().join(" | ");
    let text = format!("{} is in {} parts that do not reach each other: {said}", view.subnet(), parts.len());
    let members = parts.iter().skip(1).flatten().copied();
    view.finding((Severity::Fail, "split"), members, text, SPLIT)
}

/// Single pairs, by whoever has most of them.
fn rest(view: &View<'_>, mut bad: BTreeSet<(u16, u16)>) -> Vec<Finding> {
    let mut findings = Vec::new();
    while !bad.is_empty() {
        let mut counts = BTreeMap::<u16, usize>::new();
        for (from, to) in &bad {
            *counts.entry(*from).or_default() += 1;
            *counts.entry(*to).or_default() += 1;
        }
        let most = counts.iter().max_by_key(|(member, count)| (**count, std::cmp::Reverse(**member)));
        let Some(member) = most.map(|(member, _)| *member) else { break };
        let others = |both: bool| {
            let met = bad.iter().filter(|(a, b)| *a == member || *b == member);
            let met = met.map(|(a, b)| if *a == member { *b } else { *a }).collect::<BTreeSet<_>>();
            let is_both = |other: &u16| bad.contains(&(member, *other)) && bad.contains(&(*other, member));
            met.into_iter().filter(|other| is_both(other) == both).collect::<Vec<_>>()
        };
        let (name, subnet) = (view.name(member), view.subnet());
        let both = others(true);
        if !both.is_empty() {
            let text = format!(
                "{name} and {} do not reach each other on {subnet}, though they reach others",
                view.names(both.iter().copied())
            );
            let text = if view.network.places.len() > 2 {
                text
            } else {
                text.replace(", though they reach others", "")
            };
            let members = both.into_iter().chain([member]);
            findings.push(view.finding((Severity::Fail, "unreachable"), members, text, FILTER));
        }
        for other in others(false) {
            let (from, to) = if bad.contains(&(member, other)) { (member, other) } else { (other, member) };
            let text = format!(
                "what {} sends to {} on {subnet} does not arrive, the other way it does",
                view.name(from),
                view.name(to)
            );
            findings.push(view.finding((Severity::Fail, "one-way"), [from, to], text, FILTER));
        }
        bad.retain(|(from, to)| *from != member && *to != member);
    }
    findings
}

//! What the results mean: who does not reach whom, with a common cause said once, and what to do about it.

mod reach;
mod size;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::Ipv4Net;
use protocol::HardwareAddress;

use super::{Finding, Network, Pair, Results, Severity, cabling, speed};

/// Names that are said before the rest is only counted.
const NAMES: usize = 8;

/// Everything that was found out, the worst first. `owner` says which node a network card is of.
pub fn judge(results: &Results, owner: &dyn Fn(&HardwareAddress) -> Option<String>) -> Vec<Finding> {
    let mut findings = lost(results);
    findings.extend(duplicates(results, owner));
    for (at, network) in (0..).zip(&results.networks) {
        let pairs = results.pairs.iter().filter(|pair| pair.network == at).copied();
        let view = View { results, network, pairs: pairs.map(|pair| ((pair.from, pair.to), pair)).collect() };
        findings.extend(reach::unreachable(&view));
        findings.extend(size::too_large(&view));
        findings.extend(speed::slow(&view));
    }
    findings.extend(cabling::odd(&results.members));
    findings.extend(results.left_out.iter().map(|text| Finding {
        severity: Severity::Note,
        code: "left-out".to_owned(),
        nodes: BTreeSet::new(),
        network: None,
        text: text.clone(),
        next: String::new(),
    }));
    findings.sort();
    findings
}

/// One network of a check.
pub(super) struct View<'a> {
    pub(super) results: &'a Results,
    pub(super) network: &'a Network,
    /// By who sent, and to whom.
    pub(super) pairs: BTreeMap<(u16, u16), Pair>,
}

impl View<'_> {
    pub(super) fn name(&self, member: u16) -> String {
        let member = self.results.members.get(usize::from(member));
        member.map(|member| member.name.clone()).unwrap_or_default()
    }

    /// Names of many, some of them.
    pub(super) fn names(&self, members: impl IntoIterator<Item = u16>) -> String {
        some(members.into_iter().map(|member| self.name(member)).collect())
    }

    /// A finding about these.
    pub(super) fn finding(
        &self,
        (severity, code): (Severity, &str),
        members: impl IntoIterator<Item = u16>,
        text: String,
        next: &str,
    ) -> Finding {
        Finding {
            severity,
            code: code.to_owned(),
            nodes: members.into_iter().map(|member| self.name(member)).collect(),
            network: Some(self.network.subnet),
            text,
            next: next.to_owned(),
        }
    }

    pub(super) fn subnet(&self) -> Ipv4Net {
        self.network.subnet
    }
}

/// Some of many names, and how many more there are.
pub(super) fn some(names: Vec<String>) -> String {
    let said = names.iter().take(NAMES).cloned().collect::<Vec<_>>().join(", ");
    let more = names.len().saturating_sub(NAMES);
    if more == 0 { said } else { format!("{said} and {more} more") }
}

/// What most have: more than half of them.
pub(super) fn majority<T: Ord + Copy>(all: impl IntoIterator<Item = T>) -> Option<T> {
    let mut counts = BTreeMap::<T, usize>::new();
    for one in all {
        *counts.entry(one).or_default() += 1;
    }
    let total = counts.values().sum::<usize>();
    counts.into_iter().find(|(_, count)| 2 * count > total).map(|(one, _)| one)
}

/// The middle of many.
pub(super) fn median(mut all: Vec<u64>) -> Option<u64> {
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}

fn lost(results: &Results) -> Vec<Finding> {
    let lost = results.members.iter().filter_map(|member| Some((member, member.lost.as_ref()?)));
    let finding = |(member, why): (&super::Member, &String)| Finding {
        severity: Severity::Fail,
        code: "lost".to_owned(),
        nodes: BTreeSet::from([member.name.clone()]),
        network: None,
        text: format!("{} was not checked to the end: {why}", member.name),
        next: format!("rackwright node why {}", member.name),
    };
    lost.map(finding).collect()
}

/// Addresses that two have: by their own word, and by what another machine answers.
fn duplicates(results: &Results, owner: &dyn Fn(&HardwareAddress) -> Option<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen = BTreeSet::new();
    let name = |member: u16| results.members.get(usize::from(member)).map(|m| m.name.clone());
    for (at, network) in (0_u16..).zip(&results.networks) {
        let mut first = BTreeMap::new();
        for place in &network.places {
            let Some(other) = first.insert(place.address, place.member) else { continue };
            seen.insert((at, place.address));
            let both = [other, place.member].into_iter().filter_map(name).collect::<Vec<_>>();
            let text = format!("{} is an address of {} alike", place.address, both.join(" and "));
            findings.push(duplicate(Some(network.subnet), both, text));
        }
    }
    for (member, rival) in &results.rivals {
        let mine = name(*member).unwrap_or_default();
        let is_of = |network: &&Network| network.subnet.contains(&rival.address);
        let network = results.networks.iter().find(is_of).map(|network| network.subnet);
        let at = results.networks.iter().position(|network| network.subnet.contains(&rival.address));
        if at.and_then(|at| u16::try_from(at).ok()).is_some_and(|at| seen.contains(&(at, rival.address))) {
            continue;
        }
        let who = match owner(&rival.mac).filter(|node| *node != mine) {
            Some(node) => format!("{node} ({})", rival.mac),
            None => format!("a machine that is no node ({})", rival.mac),
        };
        let nodes = owner(&rival.mac).into_iter().chain([mine.clone()]).collect();
        let text = format!("{} of {mine} is also used by {who}", rival.address);
        findings.push(duplicate(network, nodes, text));
    }
    findings
}

fn duplicate(network: Option<Ipv4Net>, nodes: Vec<String>, text: String) -> Finding {
    Finding {
        severity: Severity::Fail,
        code: "duplicate".to_owned(),
        nodes: nodes.into_iter().collect(),
        network,
        text,
        next: "give one of them another address: rackwright node set-address for a node; take a machine that is \
               no node off the network, or its address out of the pool"
            .to_owned(),
    }
}

//! Which link is at which port of which switch, and which is not where those like it are.
//!
//! There is no plan of the cabling in the configuration. What is expected is that nodes of one product are cabled alike: links of the
//! same name at the same switch, or spread over as many switches as there are racks, and in the same VLAN.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{Link, Neighbour};

use super::judge::some;
use super::{Finding, Member, Severity};

/// One end of a cable, and what LLDP says of the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment<'a> {
    /// The node.
    pub node: &'a str,
    /// Its link.
    pub link: &'a Link,
    /// The other end; several where something between passes LLDP on.
    pub neighbour: Option<&'a Neighbour>,
}

/// Every link of every node, once for each neighbour of it.
pub fn attachments<'a>(nodes: impl IntoIterator<Item = (&'a str, &'a [Link])>) -> Vec<Attachment<'a>> {
    let mut all = Vec::new();
    for (node, links) in nodes {
        for link in links {
            if link.neighbours.is_empty() {
                all.push(Attachment { node, link, neighbour: None });
            }
            let heard = link.neighbours.iter();
            all.extend(heard.map(|neighbour| Attachment { node, link, neighbour: Some(neighbour) }));
        }
    }
    all
}

/// What is not cabled as it is elsewhere.
pub(super) fn odd(members: &[Member]) -> Vec<Finding> {
    let mut findings = shared_ports(members);
    let mut alike = BTreeMap::<(&str, &str), Vec<(&Member, &Neighbour)>>::new();
    for member in members {
        for link in &member.links {
            // What has several neighbours is no plain cable, and one alone says nothing of others.
            if let [neighbour] = link.neighbours.as_slice() {
                alike.entry((&member.product, &link.name)).or_default().push((member, neighbour));
            }
        }
    }
    for ((_, link), heard) in alike {
        findings.extend(apart(link, "switch", &heard, |neighbour| Some(switch(neighbour))));
        findings.extend(apart(link, "VLAN", &heard, |neighbour| neighbour.vlan.map(|vlan| vlan.to_string())));
    }
    findings
}

/// What a switch is called: its name, where it has one.
pub fn switch(neighbour: &Neighbour) -> String {
    if neighbour.system.is_empty() { neighbour.chassis.clone() } else { neighbour.system.clone() }
}

/// Those few that are elsewhere than nearly all: three of four at least, and three or more.
fn apart(
    link: &str,
    what: &str,
    heard: &[(&Member, &Neighbour)],
    of: impl Fn(&Neighbour) -> Option<String>,
) -> Vec<Finding> {
    let said = heard.iter().filter_map(|(member, neighbour)| Some((*member, *neighbour, of(neighbour)?)));
    let said = said.collect::<Vec<_>>();
    let mut counts = BTreeMap::<&str, usize>::new();
    for (_, _, value) in &said {
        *counts.entry(value).or_default() += 1;
    }
    let usual = counts.iter().find(|(_, count)| **count >= 3 && 4 * **count >= 3 * said.len());
    let Some((usual, count)) = usual.map(|(usual, count)| ((*usual).to_owned(), *count)) else {
        return Vec::new();
    };
    let others = said.iter().filter(|(_, _, value)| *value != usual);
    let finding = |(member, neighbour, value): &(&Member, &Neighbour, String)| Finding {
        severity: Severity::Warn,
        code: "cabling".to_owned(),
        nodes: BTreeSet::from([member.name.clone()]),
        network: None,
        text: format!(
            "{link} of {} is in {what} {value} ({} port {}), that of {count} nodes like it in {usual}",
            member.name,
            switch(neighbour),
            neighbour.port
        ),
        next: match what {
            "VLAN" => "set the VLAN of that switch port as on the others',",
            _ => "put the cable into the switch that the others are in,",
        }
        .to_owned()
            + " unless it is meant so: rackwright network map",
    };
    others.map(finding).collect()
}

/// Ports that two nodes say they are at: there is something between that passes LLDP on.
fn shared_ports(members: &[Member]) -> Vec<Finding> {
    let mut at = BTreeMap::<(&str, &str), BTreeSet<String>>::new();
    let mut switches = BTreeMap::new();
    for member in members {
        for neighbour in member.links.iter().flat_map(|link| &link.neighbours) {
            at.entry((&neighbour.chassis, &neighbour.port)).or_default().insert(member.name.clone());
            switches.insert(neighbour.chassis.as_str(), switch(neighbour));
        }
    }
    let shared = at.into_iter().filter(|(_, nodes)| nodes.len() > 1);
    let finding = |((chassis, port), nodes): ((&str, &str), BTreeSet<String>)| Finding {
        severity: Severity::Note,
        code: "cabling".to_owned(),
        network: None,
        text: format!(
            "{} are all at port {port} of {}: a switch between passes LLDP on, or has none of its own",
            some(nodes.iter().cloned().collect()),
            switches.get(chassis).map_or(chassis, String::as_str)
        ),
        nodes,
        next: String::new(),
    };
    shared.map(finding).collect()
}

//! Which site CA nodes trust, and how another takes its place without anybody being locked out.
//!
//! While it is changed both are trusted: the controller shows itself under either, and takes certificates of either. Nodes are told the
//! wanted one over the line they have; what was written on a disk or on a kernel command line under the other stays good. At the end
//! the other is refused, and that is refused itself as long as a node depends on it.
//!
//! ```text
//! settled ─begin→ changing ─(every node shows that it is on the wanted one)→ finish → settled
//!                    └─abort→ changing back ─(the same)→ finish → settled, as before
//! ```

use std::collections::BTreeSet;

use protocol::{CaPin, HardwareAddress, NodeId};
use serde::{Deserialize, Serialize};

use crate::certificate::{Certificate, Stage};
use crate::patience::SILENT_SECONDS;
use crate::{Change, Denied, Fleet, Node, Outcome, Site, State, Time, clock};

/// Who runs its own system, or is about to, by phase; whoever else was let in sits in the ramdisk.
const INSTALLED: [&str; 4] = ["booting", "enrolling", "active", "draining"];

/// Which CA is to be trusted, and which still is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The one that signs, and that every node shall trust.
    pub wanted: CaPin,
    /// The one that is trusted as well while it is changed.
    pub other: Option<CaPin>,
    /// The one that nodes trust of whom nothing else is known.
    pub first: CaPin,
    /// When it was begun, turned back or finished.
    pub since: Time,
}

/// What an operator wants of the site CA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A new one was made, and shall take the place of this one.
    Begin {
        /// The one there is.
        current: CaPin,
        /// The new one; durable, and trusted by nobody yet.
        new: CaPin,
    },
    /// It shall not, after all.
    Abort,
    /// The other is trusted no longer.
    Finish {
        /// Nodes that depend on it, and are left behind.
        leave: BTreeSet<NodeId>,
    },
}

/// Whose word it is under which CA it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// A ramdisk's with this key, in its hello.
    Ramdisk(protocol::Key),
    /// The installed system's, when it enrolled or renewed.
    System,
}

/// A node that depends on the CA which is to be refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub node: NodeId,
    /// Why it has not moved, for a person.
    pub why: String,
}

/// The CA that signs now; this one, where it was never changed.
pub fn wanted(fleet: &Fleet, site: &Site) -> CaPin {
    fleet.trust.as_ref().map_or(site.ca, |trust| trust.wanted)
}

/// The CA that a node is told to trust, while it is being changed.
pub fn told(fleet: &Fleet) -> Option<CaPin> {
    fleet.trust.as_ref().filter(|trust| trust.other.is_some()).map(|trust| trust.wanted)
}

/// The CA that an installed system is told to move to: none when it is there, or nothing is changed.
pub fn hint(fleet: &Fleet, node: &Node) -> Option<CaPin> {
    let trust = fleet.trust.as_ref().filter(|trust| trust.other.is_some())?;
    (!system_is_on(fleet, trust, node)).then_some(trust.wanted)
}

/// Whether this certificate of a ramdisk without work is to be replaced by one of the wanted CA, for which it says hello again. Of a
/// ramdisk at work it is not: it goes on with what it has.
pub fn is_stale(fleet: &Fleet, certificate: &Certificate) -> bool {
    let Some(trust) = fleet.trust.as_ref().filter(|trust| trust.other.is_some()) else { return false };
    let idle = fleet
        .nodes
        .get(&certificate.node)
        .is_some_and(|node| matches!(node.state, State::Inspecting | State::Ready | State::Planned { .. }));
    idle && trust.of(certificate.ca) != trust.wanted
}

/// What a machine is told to trust on its kernel command line, and what of the other CA is left on its disk, perhaps. An agent of before
/// changes knows one only: that under which the node was last heard.
pub fn boot_pins(fleet: &Fleet, site: &Site, mac: &HardwareAddress) -> (CaPin, Option<CaPin>) {
    let wanted = wanted(fleet, site);
    let Some((trust, other)) = fleet.trust.as_ref().and_then(|trust| Some((trust, trust.other?))) else {
        return (wanted, None);
    };
    let node = fleet.owner(mac).filter(|node| node.is_let_in());
    let Some(node) = node else { return (wanted, Some(other)) };
    let last = if node.run.is_some() { node.pin } else { node.deploy.and_then(|deploy| deploy.pin) };
    if trust.of(last) == other { (other, Some(wanted)) } else { (wanted, Some(other)) }
}

/// Every node that would be locked out if the change were finished now.
pub fn waits(fleet: &Fleet, now: Time) -> Vec<Waiting> {
    let Some(trust) = fleet.trust.as_ref().filter(|trust| trust.other.is_some()) else { return Vec::new() };
    let nodes = fleet.nodes.values().filter(|node| node.is_let_in());
    let waiting = nodes.filter_map(|node| {
        let why = why_waiting(fleet, trust, node, now)?;
        Some(Waiting { node: node.id, why })
    });
    waiting.collect()
}

impl Trust {
    /// The CA of whatever it was not written down for.
    fn of(&self, pin: Option<CaPin>) -> CaPin {
        pin.unwrap_or(self.first)
    }

    /// Whether somebody was left behind by an earlier change.
    fn has_lost(&self, pin: Option<CaPin>) -> bool {
        let pin = self.of(pin);
        pin != self.wanted && Some(pin) != self.other
    }
}

/// Whether an installed system trusts the wanted CA, and can hold no certificate of the other.
fn system_is_on(fleet: &Fleet, trust: &Trust, node: &Node) -> bool {
    let own = fleet
        .certificates
        .values()
        .filter(|row| (row.node, row.stage, row.generation) == (node.id, Stage::Run, node.generation));
    trust.of(node.pin) == trust.wanted && own.into_iter().all(|row| trust.of(row.ca) == trust.wanted)
}

fn why_waiting(fleet: &Fleet, trust: &Trust, node: &Node, now: Time) -> Option<String> {
    let phase = node.state.phase();
    let silent = now.seconds_since(node.heard) >= SILENT_SECONDS;
    if node.run.is_some() && !system_is_on(fleet, trust, node) && !trust.has_lost(node.pin) {
        let newest = fleet.certificates.values().filter(|row| (row.node, row.stage) == (node.id, Stage::Run));
        let newest = newest.max_by_key(|row| row.number).filter(|row| row.generation == node.generation);
        let has_its_own = newest.is_some_and(|row| trust.of(row.ca) == trust.wanted);
        return Some(if silent {
            format!("off or silent since {}: it moves when it is back", node.heard)
        } else if has_its_own && trust.of(node.pin) != trust.wanted {
            "it has its certificate, and does not say that it trusts the CA; if that lasts for minutes, its agent is too old for it: \
             write it again, with an image of this version"
                .to_owned()
        } else {
            "it renews its certificate when it next asks for its state, within two minutes".to_owned()
        });
    }
    let deploy = node.deploy.filter(|deploy| !trust.has_lost(deploy.pin))?;
    let first_boot = phase == "booting" && node.run.is_none();
    if !first_boot && INSTALLED.contains(&phase) {
        return None;
    }
    let own = fleet.certificates.values().filter(|row| {
        (row.node, row.stage, row.generation, row.key)
            == (node.id, Stage::Deploy, node.generation, deploy.key)
    });
    let newest = own.max_by_key(|row| row.until).is_none_or(|row| trust.of(row.ca) == trust.wanted);
    let taken = node.state.job().and_then(|id| fleet.jobs.get(&id)).and_then(|job| job.taken_with.as_ref());
    let taken = taken.and_then(|print| fleet.certificates.get(print));
    let job = taken.is_none_or(|row| trust.of(row.ca) == trust.wanted);
    if trust.of(deploy.pin) == trust.wanted && newest && job {
        return None;
    }
    Some(if first_boot {
        format!("its disk was written under the other CA, and has not booted since {}", node.since)
    } else if silent {
        format!("its ramdisk is silent since {}: restart it", node.heard)
    } else if node.state.job().is_some() {
        "it is at work in the ramdisk under the other CA; its system moves when it is up".to_owned()
    } else {
        "its ramdisk says hello again within a minute; if not, it is of an older version: restart it"
            .to_owned()
    })
}

/// Decides about the site CA.
pub(crate) fn step(fleet: &Fleet, verb: Verb, now: Time) -> Result<Outcome, Denied> {
    let trust = fleet.trust.as_ref();
    let changing = trust.and_then(|trust| Some((trust, trust.other?)));
    let none = || {
        Denied::Conflict("the site CA is not being changed (rackwright key ca rotate begins it)".to_owned())
    };
    match verb {
        Verb::Begin { current, new } => {
            clock::refuse(fleet)?;
            if let Some((trust, _)) = changing {
                return Err(Denied::Conflict(format!(
                    "the site CA is being changed since {}: see rackwright key ca show, then finish or abort that",
                    trust.since
                )));
            }
            let first = trust.map_or(current, |trust| trust.first);
            let begun = Trust { wanted: new, other: Some(current), first, since: now };
            Ok(changed(begun, "begun: nodes are told the new CA"))
        }
        Verb::Abort => {
            let (trust, other) = changing.ok_or_else(none)?;
            let back = Trust { wanted: other, other: Some(trust.wanted), since: now, ..trust.clone() };
            let mut world = fleet.clone();
            world.trust = Some(back.clone());
            // Nobody has seen the new one yet: there is nothing to wait for.
            if waits(&world, now).is_empty() {
                return Ok(finished(fleet, &back, &BTreeSet::new(), now));
            }
            Ok(changed(back, "turned back: nodes are told the CA of before"))
        }
        Verb::Finish { leave } => {
            let (trust, _) = changing.ok_or_else(none)?;
            let waiting = waits(fleet, now);
            let left = waiting.iter().filter(|waiting| !leave.contains(&waiting.node)).collect::<Vec<_>>();
            if let Some(first) = left.first() {
                let name =
                    |waiting: &&Waiting| fleet.nodes.get(&waiting.node).map(|node| node.name.to_string());
                let names = left.iter().take(20).filter_map(name).collect::<Vec<_>>().join(" ");
                return Err(Denied::Conflict(format!(
                    "{} nodes still depend on the CA that would be refused: {names} ({}); rackwright key ca show says why each",
                    left.len(),
                    first.why
                )));
            }
            Ok(finished(fleet, trust, &leave, now))
        }
    }
}

fn changed(trust: Trust, text: &str) -> Outcome {
    let mut outcome = Outcome::default();
    let text = format!("{text} ({})", trust.wanted);
    outcome.facts.push(crate::Fact { node: None, mac: None, kind: "ca".to_owned(), text });
    outcome.changes.push(Change::Trust(Box::new(trust)));
    outcome
}

/// The other is trusted no longer, and no certificate that it signed.
fn finished(fleet: &Fleet, trust: &Trust, leave: &BTreeSet<NodeId>, now: Time) -> Outcome {
    let settled = Trust { other: None, first: trust.wanted, since: now, ..trust.clone() };
    let mut outcome = changed(settled, "finished: no other CA is trusted");
    let void = fleet.certificates.values().filter(|row| trust.of(row.ca) != trust.wanted);
    outcome.changes.extend(void.map(|row| Change::ForgetCertificate(row.fingerprint.clone())));
    // From here on who was not heard is on the CA that is left; who was left behind is remembered as that.
    let waiting = waits(fleet, now).into_iter().filter(|waiting| leave.contains(&waiting.node));
    for node in waiting.filter_map(|waiting| fleet.nodes.get(&waiting.node)) {
        let mut next = node.clone();
        next.pin = trust.other;
        next.deploy.iter_mut().for_each(|deploy| deploy.pin = trust.other);
        outcome.fact(node.id, "ca", "left behind: it trusts only the CA that is refused now");
        outcome.changes.push(Change::Node(Box::new(next)));
    }
    outcome
}

/// Somebody has proven under which CA it is.
pub(crate) fn pinned(fleet: &Fleet, node: &Node, holder: Holder, pin: CaPin) -> Outcome {
    let mut outcome = Outcome::default();
    let mut next = node.clone();
    match holder {
        Holder::System => next.pin = Some(pin),
        Holder::Ramdisk(key) => {
            next.deploy
                .iter_mut()
                .filter(|deploy| deploy.key == key)
                .for_each(|deploy| deploy.pin = Some(pin));
            next.claim.iter_mut().filter(|claim| claim.key == key).for_each(|claim| claim.pin = Some(pin));
        }
    }
    if next != *node {
        if holder == Holder::System && told(fleet) == Some(pin) {
            outcome.fact(node.id, "ca", "its installed system trusts the new CA");
        }
        outcome.changes.push(Change::Node(Box::new(next)));
    }
    outcome
}

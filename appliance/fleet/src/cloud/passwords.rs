//! Which passwords the services of the cloud have, and how others take their place on every node.
//!
//! The control node comes first: the database, the message queue and keystone are there, and say whose password is right. As long as it
//! has not said that it is through, all other nodes keep what they have; what they were given before would be refused. Then they are
//! told, each when it asks, and one that is off when it is back.
//!
//! ```text
//! settled ─rotate→ control node ─(it went through, and what keeps accounts is well)→ all others ─(each went through)→ settled
//! ```
//!
//! The new ones are durable, together with the documents that have them, before anything is sent; those of before are forgotten when the
//! control node is through, and nothing accepts them any more. What lasts ([`super::CloudKey::lasting`]) is no password.

use protocol::{NodeId, ServiceHealth, TaskResult};
use serde::{Deserialize, Serialize};

use super::Salt;
use crate::catalog::Service;
use crate::converge::{control_node, runs};
use crate::entropy::Entropy;
use crate::patience::SILENT_SECONDS;
use crate::{Catalog, Change, Denied, Fact, Fleet, Node, Outcome, State, Time};

/// One set of all passwords.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition {
    /// How many rotations there were; 0: these are the first passwords.
    pub number: u64,
    /// What they are made of beside the key.
    pub salt: Option<Salt>,
}

/// The passwords of the cloud, once they were rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passwords {
    /// Those that all nodes shall have.
    pub wanted: Edition,
    /// Those that all but the control node have, until that is through.
    pub before: Option<Edition>,
    /// When the rotation was begun.
    pub since: Time,
}

/// A node that has not gone through its document with the new passwords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub node: NodeId,
    /// Why, for a person.
    pub why: String,
    /// It is off, or silent. The rotation goes on without it, unless it is the control node.
    pub away: bool,
}

/// What all nodes shall have.
pub fn wanted(fleet: &Fleet) -> Edition {
    fleet.passwords.as_ref().map(|passwords| passwords.wanted).unwrap_or_default()
}

/// Who is given what, looked at once for all nodes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Editions {
    wanted: Edition,
    /// All but this node have those of before.
    first: Option<(NodeId, Edition)>,
}

impl Editions {
    pub(crate) fn of(fleet: &Fleet) -> Self {
        let before = fleet.passwords.as_ref().and_then(|passwords| passwords.before);
        // Without a control node there is nobody to wait for.
        let first = first(fleet).zip(before).map(|(control, before)| (control.id, before));
        Self { wanted: wanted(fleet), first }
    }

    /// What this node's document is made with.
    pub(crate) fn of_node(&self, node: NodeId) -> Edition {
        self.first.filter(|(control, _)| *control != node).map_or(self.wanted, |(_, before)| before)
    }
}

/// The node that is told before all others. One without a system has no database that knows the passwords of before.
fn first(fleet: &Fleet) -> Option<&Node> {
    control_node(fleet).filter(|control| control.has_system())
}

/// Begins a rotation.
///
/// # Errors
/// [`Denied::Conflict`]: the rack is no cloud, or a rotation is still going on.
pub(crate) fn rotate(
    fleet: &Fleet,
    catalog: &Catalog,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    if !catalog.is_cloud() {
        return Err(Denied::Conflict(
            "this rack is no cloud, and has none of its passwords ([cloud] in rackwright.toml makes it one)"
                .to_owned(),
        ));
    }
    if let Some(why) = goes_on(fleet, catalog, now) {
        return Err(Denied::Conflict(format!(
            "the passwords of the cloud are still being rotated: {why} (rackwright cloud passwords show)"
        )));
    }
    if let Some(node) = fleet.nodes.values().find(|node| is_on_its_way_down(node)) {
        return Err(Denied::Conflict(format!(
            "{0} is on its way down, and what it does for that it does with the passwords of now: wait for it, or see to it (rackwright \
             node why {0})",
            node.name
        )));
    }
    let before = wanted(fleet);
    let salt = Some(Salt::new(dice.draw()));
    let wanted = Edition { number: before.number + 1, salt };
    let begun = Passwords { wanted, before: Some(before), since: now };
    Ok(changed(begun, "another set is made: the control node is told first".to_owned()))
}

/// Whether its system gives its work away now, or stays up after it could not: it gets no document meanwhile.
fn is_on_its_way_down(node: &Node) -> bool {
    let enters = matches!(&node.state, State::Rescue { rescue } if rescue.entered.is_none());
    let stays = matches!(&node.state, State::Attention { phase, .. } if phase == "draining");
    node.document.leaves && (enters || stays || node.state.phase() == "draining")
}

/// Why the rotation is not over; none: it is, but for nodes that are away.
pub fn goes_on(fleet: &Fleet, catalog: &Catalog, now: Time) -> Option<String> {
    let is_open = fleet.passwords.as_ref().is_some_and(|passwords| passwords.before.is_some());
    let is_first = |node: NodeId| first(fleet).is_some_and(|control| control.id == node);
    let waits = waits(fleet, catalog, now);
    let counts = waits.iter().filter(|waiting| !waiting.away || (is_open && is_first(waiting.node)));
    // The one that all others wait for.
    let waiting = counts.min_by_key(|waiting| !is_first(waiting.node))?;
    let name = fleet.nodes.get(&waiting.node).map(|node| node.name.to_string()).unwrap_or_default();
    Some(format!("{name}: {}", waiting.why))
}

/// Every node with a system that has not gone through its document with the passwords that are wanted.
pub fn waits(fleet: &Fleet, catalog: &Catalog, now: Time) -> Vec<Waiting> {
    let Some(passwords) = fleet.passwords.as_ref().filter(|_| catalog.is_cloud()) else { return Vec::new() };
    let control = first(fleet);
    let nodes = fleet.nodes.values().filter(|node| node.has_system() && node.is_let_in());
    let waiting = nodes.filter_map(|node| {
        let why = why_waiting(passwords, catalog, node, control)?;
        let silent = now.seconds_since(node.heard) >= SILENT_SECONDS;
        let (why, away) = match (silent, runs(node)) {
            (true, _) => (format!("off or silent since {}: it has them when it is back", node.heard), true),
            (false, false) => (format!("{}: it has them when its system is up", node.state.word()), true),
            (false, true) => (why, false),
        };
        Some(Waiting { node: node.id, why, away })
    });
    waiting.collect()
}

fn why_waiting(
    passwords: &Passwords,
    catalog: &Catalog,
    node: &Node,
    first: Option<&Node>,
) -> Option<String> {
    let others = first.filter(|first| first.id != node.id && passwords.before.is_some());
    if let Some(first) = others {
        return Some(format!("it is told when {} is through", first.name));
    }
    let number = passwords.wanted.number;
    if node.document.passwords != number {
        return Some(format!("its document can't be made: rackwright node why {}", node.name));
    }
    if node.document.taken != number {
        return Some(format!("it goes through generation {} of its document", node.document.generation));
    }
    // What is not well there later is another matter.
    passwords.before.and_then(|_| ill_account(catalog, node))
}

/// What of the control node does not accept the new passwords yet. A service that was never begun accepts none.
fn ill_account(catalog: &Catalog, node: &Node) -> Option<String> {
    let begun = |service: &&Service| node.document.released.contains(&service.name);
    let services = catalog.services_of(&node.roles);
    let mut accounts = services.into_iter().filter(|service| catalog.keeps_accounts(service)).filter(begun);
    accounts.find_map(|service| {
        // One that waits for another keeps the health that it had; a pass tells only of the tasks that it came to.
        let done = |name: &str| {
            let mut all = node.report.iter().flat_map(|report| &report.tasks);
            all.any(|told| told.name == name && !matches!(told.result, TaskResult::Failed { .. }))
        };
        if let Some(task) = service.tasks.iter().find(|task| !done(&task.name)) {
            return Some(format!("{} is not through with its task {}", service.name, task.name));
        }
        let told = node.report.iter().flat_map(|report| &report.services);
        match told.into_iter().find(|told| told.name == service.name).map(|told| &told.health) {
            Some(ServiceHealth::Well) => None,
            Some(ServiceHealth::Coming { what }) => Some(format!("{} waits for {what}", service.name)),
            Some(ServiceHealth::Ill { why }) => Some(format!("{} is not well: {why}", service.name)),
            None => Some(format!("nothing was heard of {}", service.name)),
        }
    })
}

/// Whether the control node is through, or there is none to wait for: then all others are told. To be asked after every report of it, and
/// now and then.
pub(crate) fn advance(fleet: &Fleet, catalog: &Catalog) -> Option<Outcome> {
    let passwords = fleet.passwords.as_ref().filter(|passwords| passwords.before.is_some())?;
    let first = first(fleet);
    if first.is_some_and(|control| why_waiting(passwords, catalog, control, first).is_some()) {
        return None;
    }
    let through = Passwords { before: None, ..passwords.clone() };
    let text = match first {
        Some(control) => format!("{} is through: all other nodes are told", control.name),
        None => "there is no control node to wait for: all nodes are told".to_owned(),
    };
    Some(changed(through, text))
}

/// The same, of the world that a report makes.
pub(crate) fn reported(fleet: &Fleet, catalog: &Catalog, node: NodeId, outcome: &mut Outcome) {
    let is_open = fleet.passwords.as_ref().is_some_and(|passwords| passwords.before.is_some());
    if !is_open || first(fleet).is_none_or(|control| control.id != node) {
        return;
    }
    let mut after = fleet.clone();
    outcome.changes.iter().for_each(|change| after.put(change.clone()));
    if let Some(advanced) = advance(&after, catalog) {
        outcome.changes.extend(advanced.changes);
        outcome.facts.extend(advanced.facts);
    }
}

fn changed(passwords: Passwords, text: String) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.facts.push(Fact { node: None, mac: None, kind: "passwords".to_owned(), text });
    outcome.changes.push(Change::Passwords(Box::new(passwords)));
    outcome
}

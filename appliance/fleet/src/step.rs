//! The one function that changes a node: an event in, changes and effects out.
//!
//! A pair of state and event that is not listed is refused, as a value: a new event starts out denied everywhere.

use std::collections::BTreeSet;

use protocol::{Inventory, NodeId};

use crate::cloud::passwords;
use crate::entropy::Entropy;
use crate::event::UnitVerb;
use crate::plan::{Plan, PlanState};
use crate::tpm::KnownTpm;
use crate::{Catalog, Change, Denied, Event, Fact, Fleet, Name, Node, Outcome, Reply, State, Time};
use crate::{
    adopt, attendance, burn_in, capture, clock, enroll, hold, imaging, network, patience, plan, power,
    preflight, replace, rescue, retire, rollout, running, service, trust,
};

/// Decides one event. Changes nothing by itself: the writer saves the outcome's changes in one transaction.
///
/// # Errors
/// [`Denied`]: nothing was changed, and the text says what to do instead.
#[expect(clippy::too_many_lines, reason = "a table: a line for each event, and nothing else")]
pub fn step(
    fleet: &Fleet,
    catalog: &Catalog,
    event: Event,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    refuse(fleet, catalog, &event)?;
    match event {
        Event::Replace { old, new, force } => replace::replace(fleet, (old, new), force, now),
        Event::Hold { node, why } => hold::hold(fleet, fleet.node(node)?, why, now),
        Event::Release { node } => hold::release(fleet.node(node)?),
        Event::Hello { hello, proven, answered } => {
            enroll::enroll(fleet, &hello, enroll::Checked { proven, answered }, now, dice)
        }
        Event::Invite { name, seconds } => adopt::invite(fleet, name, seconds, now, dice),
        Event::Revoke { invitation } => adopt::revoke(fleet, &invitation, now),
        Event::Approve { node, name, roles, moved } => {
            enroll::approve(fleet, fleet.node(node)?, enroll::Terms { name, roles, moved }, now)
        }
        Event::Issued(certificate) => Ok(changes([Change::Certificate(certificate)])),
        Event::Asked { node, certificate, inventory } => {
            asked(fleet, fleet.node(node)?, &certificate, *inventory, (now, dice))
        }
        Event::Progressed { node, progress } => imaging::progressed(fleet, fleet.node(node)?, progress, now),
        Event::Verified { node, receipt } => imaging::verified(fleet, fleet.node(node)?, receipt, now),
        Event::Enrolled { node, certificate, key, uptime_seconds } => {
            running::enrolled(fleet, fleet.node(node)?, &certificate, (key, uptime_seconds), now, dice)
        }
        Event::Pinned { node, holder, pin } => Ok(trust::pinned(fleet, fleet.node(node)?, holder, pin)),
        Event::Trust(verb) => trust::step(fleet, verb, now),
        Event::Rotate => passwords::rotate(fleet, catalog, now, dice),
        Event::Clock(verb) => clock::step(fleet, verb),
        Event::Lapsed { node } => running::lapsed(fleet.node(node)?, now),
        Event::Ticketed { node, key } => running::ticketed(fleet, fleet.node(node)?, key, (now, dice)),
        Event::Escrowed { node, files } => Ok(escrowed(fleet.node(node)?, files)),
        Event::Reported { node, report } => {
            let mut outcome = running::reported(fleet, fleet.node(node)?, *report, now)?;
            passwords::reported(fleet, catalog, node, &mut outcome);
            Ok(outcome)
        }
        Event::Served { mac, what, text } => Ok(served(fleet, &mac, &what, text)),
        Event::Foreign { interface, sighting } => network::noticed(fleet, &interface, &sighting, now),
        Event::Plugged { interface } => network::plugged(fleet, &interface),
        Event::Look { interface } => network::look(fleet, &interface, now),
        Event::Looked { interface } => network::looked(fleet, &interface, now),
        Event::Reject { node, why } => reject(fleet, fleet.node(node)?, why, now),
        Event::Rename { node, name } => rename(fleet, fleet.node(node)?, name),
        Event::SetRoles { node, roles } => set_roles(fleet, catalog, fleet.node(node)?, roles, now),
        Event::Plan { node, image, disk, data, roles, erase, verify } => {
            let image = image.map(|digest| fleet.find_image(&digest.to_string())).transpose()?;
            let (disk, data, roles) = (disk.as_ref(), data.as_ref(), roles.as_ref());
            let wish = plan::Wish { image, disk, data, roles, erase: &erase, verify };
            planned(fleet, catalog, fleet.node(node)?, wish, now, dice)
        }
        Event::Rescue { node, wish } => rescue::begin(fleet, fleet.node(node)?, *wish, now, dice),
        Event::Rescued { node, told } => Ok(rescued(fleet, fleet.node(node)?, told, now)),
        Event::EndRescue { node } => rescue::end(fleet, fleet.node(node)?, now),
        Event::Service { node, why } => service::begin(fleet, fleet.node(node)?, why, now),
        Event::EndService { node } => service::end(fleet, fleet.node(node)?, now),
        Event::Retire { node, keep } => retire::planned(fleet, fleet.node(node)?, &keep, now, dice),
        Event::Erased { node, erasure } => retire::erased(fleet, fleet.node(node)?, *erasure, now),
        Event::Test { node, wish } => burn_in::begin(fleet, fleet.node(node)?, wish, now, dice),
        Event::Tested { node, report } => Ok(burn_in::told(fleet, fleet.node(node)?, *report, now)),
        Event::Delete { node } => retire::delete(fleet, fleet.node(node)?),
        Event::Apply { plan, force } => imaging::apply(fleet, &plan, force, now, dice),
        Event::Roll(wish) => rollout::planned(fleet, catalog, &wish, now, dice),
        Event::Rollout { rollout, verb } => rollout::carry_out(fleet, &rollout, verb, now),
        Event::Preflight(verb) => preflight::carry_out(fleet, verb, now, dice),
        Event::Capture { node, wish } => capture::begin(fleet, catalog, fleet.node(node)?, *wish, now, dice),
        Event::Sealing { node, job, image } => capture::sealing(fleet, fleet.node(node)?, job, image),
        Event::Captured { node, job, image, found } => {
            capture::captured(fleet, fleet.node(node)?, job, *image, found, now)
        }
        Event::Cancel { job } => capture::cancelled(fleet, job, now),
        Event::Retry { node } => imaging::retry(fleet, fleet.node(node)?, now, dice),
        Event::Unit { node, unit, verb } => running::wish(catalog, fleet.node(node)?, &unit, verb),
        Event::Logs { node, unit, lines } => running::logs(fleet.node(node)?, &unit, lines),
        Event::Imported(image) => Ok(crate::image::imported(image)),
        Event::ForgetImage(digest) => crate::image::forget(fleet, digest),
        Event::Power { node, what } => power::step(fleet, node, *what, now, dice),
        Event::Tick => Ok(ticked(fleet, catalog, now, dice)),
    }
}

/// Deadlines, then what goes on by itself.
fn ticked(fleet: &Fleet, catalog: &Catalog, now: Time, dice: &mut Entropy) -> Outcome {
    let mut outcome = patience::overdue(fleet, clock::judged(fleet, now));
    // Its control node may have left.
    if let Some(advanced) = passwords::advance(fleet, catalog) {
        outcome.changes.extend(advanced.changes);
        outcome.facts.extend(advanced.facts);
    }
    // A time that is not believed is none in which the controller was there, or was not.
    if fleet.clock.is_none() {
        attendance::look(fleet, now, &mut outcome);
    }
    // A node that has just been moved is not moved once more by what still sees it as it was.
    if outcome.changes.iter().any(|change| matches!(change, Change::Node(_))) {
        return outcome;
    }
    let Outcome { changes, effects, facts, reply: _ } = rollout::advance(fleet, now, dice);
    outcome.changes.extend(changes);
    outcome.effects.extend(effects);
    outcome.facts.extend(facts);
    outcome
}

/// A ramdisk asks for work: to restart comes before all else.
fn asked(
    fleet: &Fleet,
    node: &Node,
    certificate: &str,
    inventory: Inventory,
    (now, dice): (Time, &mut Entropy),
) -> Result<Outcome, Denied> {
    match power::asked(fleet, node, now) {
        Some(restart) => Ok(restart),
        None => imaging::asked(fleet, node, certificate, inventory, (now, dice)),
    }
}

/// A ramdisk tells how its rescue goes; one that is to restart goes no further.
fn rescued(fleet: &Fleet, node: &Node, told: protocol::Rescue, now: Time) -> Outcome {
    match power::asked(fleet, node, now) {
        Some(restart) => Outcome { reply: Reply::GoOn(false), ..restart },
        None => rescue::told(node, told, now),
    }
}

/// What is refused whatever the rest of it is: a role that there is not, and what may not be done with a held node.
fn refuse(fleet: &Fleet, catalog: &Catalog, event: &Event) -> Result<(), Denied> {
    refuse_held(fleet, event)?;
    if let Event::Approve { roles, .. } | Event::Plan { roles, .. } = event {
        check_roles(catalog, roles.as_ref())?;
    }
    if let Event::Approve { node, roles: Some(roles), .. } = event {
        let node = fleet.node(*node)?;
        if node.claim.as_ref().is_some_and(|claim| claim.adoption.is_some()) {
            adopt::refuse_data(catalog, node, roles)?;
        }
    }
    if let Event::Capture { wish, .. } = event {
        check_roles(catalog, wish.roles.as_ref())?;
    }
    Ok(())
}

/// What may not be done with a node that is held.
fn refuse_held(fleet: &Fleet, event: &Event) -> Result<(), Denied> {
    if let Event::Plan { node, .. }
    | Event::Approve { node, .. }
    | Event::Reject { node, .. }
    | Event::SetRoles { node, .. }
    | Event::Retire { node, .. }
    | Event::Capture { node, .. }
    | Event::Rescue { node, .. }
    | Event::Service { node, .. }
    | Event::Test { node, .. }
    | Event::Retry { node } = event
    {
        return hold::refuse_held(fleet.node(*node)?);
    }
    Ok(())
}

fn escrowed(node: &Node, files: usize) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.fact(node.id, "escrowed", format!("{files} identity files kept"));
    outcome
}

pub(crate) fn changes(changes: impl IntoIterator<Item = Change>) -> Outcome {
    Outcome { changes: changes.into_iter().collect(), ..Outcome::default() }
}

/// A refusal because of the state.
pub(crate) fn refused(node: &Node, event: &'static str, hint: &str) -> Denied {
    Denied::State { name: node.name.to_string(), state: node.state.word(), event, hint: hint.to_owned() }
}

/// The node in another state, since now.
pub(crate) fn moved(node: &Node, state: State, now: Time) -> Node {
    let mut node = node.clone();
    if node.state != state {
        node.since = now;
    }
    node.state = state;
    node
}

pub(crate) fn check_roles(catalog: &Catalog, roles: Option<&BTreeSet<String>>) -> Result<(), Denied> {
    let unknown = roles.into_iter().flatten().find(|role| !catalog.has_role(role));
    match unknown {
        None => Ok(()),
        Some(role) => Err(Denied::Missing { kind: "role", name: role.clone() }),
    }
}

fn served(fleet: &Fleet, mac: &protocol::HardwareAddress, what: &str, text: String) -> Outcome {
    let node = fleet.owner(mac).map(|node| node.id);
    let fact = Fact { node, mac: Some(mac.clone()), kind: what.to_owned(), text };
    Outcome { facts: vec![fact], ..Outcome::default() }
}

fn reject(fleet: &Fleet, node: &Node, why: String, now: Time) -> Result<Outcome, Denied> {
    let is_new = matches!(
        node.state,
        State::Discovered | State::Inspecting | State::Testing { .. } | State::Rejected { .. }
    );
    // What is half erased is not forgotten without proof.
    let is_given_up = matches!(node.state, State::Attention { .. })
        && imaging::is_rejectable(node)
        && retire::of_node(fleet, node).is_none();
    let rejectable = is_new || node.state.is_ready() || is_given_up;
    let mut next = node.clone();
    let mut outcome = Outcome::default();
    // A system that asked to be adopted is told, and stops.
    let asks = node.claim.as_ref().filter(|claim| claim.adoption.is_some());
    outcome.changes.extend(asks.and_then(|claim| adopt::turned_away(fleet, claim.key, &why, now)));
    if rejectable {
        let idle = withdraw(fleet, node, "its server was rejected", now, &mut outcome);
        next = moved(&idle, State::Rejected { why: why.clone() }, now);
        next.generation += 1;
        (next.deploy, next.claim, next.hold) = (None, None, None);
        next.tpm = KnownTpm::default();
        outcome.changes.extend(imaging::ended_jobs(fleet, node, "its server was rejected", now));
        outcome.fact(node.id, "rejected", why);
    } else if let Some(claim) = next.claim.take() {
        // The node itself stays; only the key that came in its name is sent away.
        outcome.fact(node.id, "rejected", format!("a key claimed since {} was refused: {why}", claim.since));
    } else {
        return Err(refused(node, "rejecting", "; only a node that is not installed can be rejected"));
    }
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

fn rename(fleet: &Fleet, node: &Node, name: Name) -> Result<Outcome, Denied> {
    enroll::refuse_taken(fleet, node, &name)?;
    let mut next = node.clone();
    let mut outcome = Outcome::default();
    outcome.fact(node.id, "renamed", format!("{} is now {name}", node.name));
    next.name = name;
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

fn set_roles(
    fleet: &Fleet,
    catalog: &Catalog,
    node: &Node,
    roles: BTreeSet<String>,
    now: Time,
) -> Result<Outcome, Denied> {
    check_roles(catalog, Some(&roles))?;
    if node.adopted.is_some() {
        adopt::refuse_data(catalog, node, &roles)?;
    }
    let installed = node.installed.as_ref().and_then(|installed| fleet.images.get(&installed.image));
    if let Some(missing) = installed.and_then(|image| roles.difference(&image.roles).next()) {
        return Err(Denied::Conflict(format!(
            "the image on {} does not carry {missing}: set the role and rebuild in one go with another image \
             (rackwright node rebuild {} --role {missing} --image IMAGE)",
            node.name, node.name
        )));
    }
    let mut outcome = Outcome::default();
    let text = roles.iter().cloned().collect::<Vec<_>>().join(", ");
    outcome.fact(node.id, "roles", if text.is_empty() { "none".to_owned() } else { text });
    let mut next = withdraw(fleet, node, "the roles were changed", now, &mut outcome);
    next.roles = roles;
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

/// Takes back an open plan of this node.
pub(crate) fn withdraw(fleet: &Fleet, node: &Node, why: &str, now: Time, outcome: &mut Outcome) -> Node {
    let open = fleet.plans.values().filter(|plan| plan.node == node.id && plan.state == PlanState::Open);
    for plan in open {
        let state = PlanState::Withdrawn { why: why.to_owned() };
        outcome.changes.push(Change::Plan(Box::new(Plan { state, ..plan.clone() })));
    }
    outcome.changes.extend(retire::open(fleet, node.id).map(|open| retire::withdrawn(open, why)));
    if matches!(node.state, State::Planned { .. }) { moved(node, State::Ready, now) } else { node.clone() }
}

pub(crate) fn planned(
    fleet: &Fleet,
    catalog: &Catalog,
    node: &Node,
    wish: plan::Wish<'_>,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    let made = plan::plan(fleet, catalog, node, wish, now, dice)?;
    let mut outcome = Outcome::default();
    let mut next = withdraw(fleet, node, "a newer plan was made", now, &mut outcome);
    // An active node stays what it is until the plan is applied.
    if matches!(next.state, State::Ready) {
        next = moved(&next, State::Planned { plan: made.id.clone() }, now);
    }
    outcome.fact(node.id, "planned", format!("{}: {} on {}", made.id, made.image_name, made.target.disk));
    outcome.changes.push(Change::Node(Box::new(next)));
    outcome.changes.push(Change::Plan(Box::new(made.clone())));
    outcome.reply = Reply::Plan(Box::new(made));
    Ok(outcome)
}

/// Which nodes an event is about, for the writer's log.
pub fn about(event: &Event) -> Option<NodeId> {
    match event {
        Event::Asked { node, .. }
        | Event::Progressed { node, .. }
        | Event::Verified { node, .. }
        | Event::Enrolled { node, .. }
        | Event::Lapsed { node }
        | Event::Pinned { node, .. }
        | Event::Ticketed { node, .. }
        | Event::Escrowed { node, .. }
        | Event::Reported { node, .. }
        | Event::Approve { node, .. }
        | Event::Reject { node, .. }
        | Event::Rename { node, .. }
        | Event::SetRoles { node, .. }
        | Event::Plan { node, .. }
        | Event::Retire { node, .. }
        | Event::Erased { node, .. }
        | Event::Rescue { node, .. }
        | Event::Rescued { node, .. }
        | Event::EndRescue { node }
        | Event::Service { node, .. }
        | Event::EndService { node }
        | Event::Test { node, .. }
        | Event::Tested { node, .. }
        | Event::Delete { node }
        | Event::Capture { node, .. }
        | Event::Sealing { node, .. }
        | Event::Captured { node, .. }
        | Event::Retry { node }
        | Event::Hold { node, .. }
        | Event::Replace { old: node, .. }
        | Event::Release { node }
        | Event::Unit { node, .. }
        | Event::Power { node, .. }
        | Event::Logs { node, .. } => Some(*node),
        Event::Issued(certificate) => Some(certificate.node),
        Event::Hello { .. }
        | Event::Served { .. }
        | Event::Foreign { .. }
        | Event::Plugged { .. }
        | Event::Look { .. }
        | Event::Looked { .. }
        | Event::Apply { .. }
        | Event::Trust(_)
        | Event::Rotate
        | Event::Invite { .. }
        | Event::Revoke { .. }
        | Event::Clock(_)
        | Event::Roll(_)
        | Event::Rollout { .. }
        | Event::Preflight(_)
        | Event::Cancel { .. }
        | Event::Imported(_)
        | Event::ForgetImage(_)
        | Event::Tick => None,
    }
}

impl UnitVerb {
    /// `start`, `stop`, `restart`.
    pub fn word(self) -> &'static str {
        match self {
            UnitVerb::Start => "start",
            UnitVerb::Stop => "stop",
            UnitVerb::Restart => "restart",
        }
    }
}

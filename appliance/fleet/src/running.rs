//! From the first boot to active, and what keeps an active node what it should be.

use std::mem::discriminant;

use protocol::{Key, Order, OrderKind, Report, ServiceHealth, ServiceReport, TaskResult};

use crate::capture;
use crate::certificate::{Grant, superseded};
use crate::clock;
use crate::entropy::Entropy;
use crate::event::UnitVerb;
use crate::imaging::{attention, installed};
use crate::job::{Job, JobState};
use crate::node::{Approved, Lapsed};
use crate::step::{changes, moved, refused};
use crate::{Catalog, Change, Denied, Effect, Fleet, Node, Outcome, Reply, State, Time, power};
use crate::{rescue, returning};

/// The installed system wants a certificate of its own.
pub(crate) fn enrolled(
    fleet: &Fleet,
    node: &Node,
    certificate: &str,
    (key, uptime): (Key, u32),
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    if node.run.is_some_and(|known| known != key) {
        return Err(Denied::Conflict(format!(
            "{} has enrolled already, with another key: its deploy certificate is used up",
            node.name
        )));
    }
    clock::refuse(fleet)?;
    let mut outcome = Outcome::default();
    let mut next = node.clone();
    match &node.state {
        // The system that was read is up again, and had its certificate renewed before it reported.
        State::Booting { .. } | State::Attention { .. } if comes_back(fleet, node) => {}
        State::Booting { job } | State::Returning { job: Some(job) } => {
            outcome.fact(node.id, "enrolled", format!("first boot up, {uptime} s after its kernel"));
            next = moved(node, State::Enrolling { job: Some(*job) }, now);
        }
        State::Attention { phase, job: Some(job), .. } if phase == "booting" || phase == "returning" => {
            outcome.fact(node.id, "enrolled", "it came up after all");
            next = moved(node, State::Enrolling { job: Some(*job) }, now);
        }
        State::Attention { phase, .. } if phase == "enrolling" && node.adopted.is_some() => {
            outcome.fact(node.id, "enrolled", "it has enrolled after all");
            next = moved(node, State::Enrolling { job: None }, now);
        }
        State::Enrolling { .. } | State::Active | State::Draining { .. } | State::Capturing { .. } => {}
        // It goes on being mended, or worked at.
        State::Rescue { .. } | State::Servicing { .. }
            if node.run.is_some() || returning::awaited(fleet, node).is_some() => {}
        State::Returning { job: None } if node.run.is_some() => {}
        State::Attention { .. } if node.run == Some(key) => {}
        State::Verifying { .. } | State::Attention { .. } => {
            next = unreceipted(fleet, node, certificate, now, &mut outcome)?;
        }
        State::Discovered
        | State::Rejected { .. }
        | State::Inspecting
        | State::Testing { .. }
        | State::Ready
        | State::Planned { .. }
        | State::Imaging { .. }
        | State::Retiring { .. }
        | State::Rescue { .. }
        | State::Servicing { .. }
        | State::Returning { .. }
        | State::Retired => return Err(refused(node, "enrolling", "")),
    }
    next.run = Some(key);
    next.heard = now;
    next.certificates += 1;
    if let Some(lapsed) = next.lapsed.take() {
        outcome.fact(
            node.id,
            "renewed",
            format!("its certificate is renewed; it was refused since {}", lapsed.since),
        );
    }
    outcome.effects.push(Effect::Issue(Grant::run(&next, key, now, dice)));
    let superseded = superseded(fleet, node, certificate).into_iter();
    outcome.changes.extend(superseded.map(|row| Change::ForgetCertificate(row.fingerprint.clone())));
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

/// A node whose system is up, and says so before the receipt of its disk came.
fn unreceipted(
    fleet: &Fleet,
    node: &Node,
    certificate: &str,
    now: Time,
    outcome: &mut Outcome,
) -> Result<Node, Denied> {
    let job = written_with(fleet, node, certificate).ok_or_else(|| refused(node, "enrolling", ""))?;
    outcome.fact(node.id, "enrolled", "its own disk came up; the receipt of it was lost");
    outcome.changes.push(Change::Job(Box::new(Job { state: JobState::Verified, ..job.clone() })));
    let mut next = moved(node, State::Enrolling { job: Some(job.id) }, now);
    next.document.released.clear();
    let installed = Some(installed(fleet, job, now));
    Ok(Node { installed, adopted: None, report: None, reported: None, ..next })
}

/// The node's job in flight that was taken with this certificate: a seed has it only when the whole disk was read back,
/// so a system that shows it while the receipt is still waited for says the same as the receipt.
pub(crate) fn written_with<'a>(fleet: &'a Fleet, node: &Node, certificate: &str) -> Option<&'a Job> {
    let writes = ["imaging", "verifying"].contains(&node.state.phase());
    let job = node.state.job().filter(|_| writes).and_then(|id| fleet.jobs.get(&id))?;
    (!job.state.ended() && job.taken_with.as_deref() == Some(certificate)).then_some(job)
}

/// The installed system came back too late to renew its certificate by itself.
pub(crate) fn lapsed(node: &Node, now: Time) -> Result<Outcome, Denied> {
    if node.run.is_none() {
        return Err(refused(node, "being refused a certificate", "; its installed system has not enrolled"));
    }
    let mut outcome = Outcome::default();
    if node.lapsed.is_none() {
        outcome.fact(node.id, "lapsed", "it is back, and its certificate ended too long ago for a new one");
        let lapsed = Some(Lapsed { since: now, pardoned: false });
        outcome.changes.push(Change::Node(Box::new(Node { lapsed, ..node.clone() })));
    }
    Ok(outcome)
}

/// An operator says that a node which came back too late is the server that it was.
pub(crate) fn pardoned(node: &Node, lapsed: Lapsed) -> Outcome {
    let mut outcome = Outcome::default();
    outcome.fact(node.id, "pardoned", "it may have its certificate renewed");
    let lapsed = Some(Lapsed { pardoned: true, ..lapsed });
    outcome.changes.push(Change::Node(Box::new(Node { lapsed, ..node.clone() })));
    outcome
}

/// The installed system hands in the key of the ramdisk it is about to restart into.
pub(crate) fn ticketed(
    fleet: &Fleet,
    node: &Node,
    key: Key,
    (now, dice): (Time, &mut Entropy),
) -> Result<Outcome, Denied> {
    let waits = matches!(&node.state, State::Draining { .. })
        || matches!(&node.state, State::Rescue { rescue } if rescue.entered.is_none())
        || matches!(&node.state, State::Attention { phase, .. } if phase == "draining");
    if !waits || node.hold.is_some() {
        return Err(refused(node, "handing in a ticket", "; nobody asked for a rebuild"));
    }
    // Else the other one's next hello would be taken for this one's.
    let is_key_of = |other: &&Node| {
        let claimed = other.claim.as_ref().map(|claim| claim.key);
        [other.deploy.map(|deploy| deploy.key), other.run, claimed].contains(&Some(key))
    };
    if fleet.nodes.values().filter(|other| other.id != node.id).any(|other| is_key_of(&other)) {
        return Err(Denied::Conflict("the ticket's key is another node's".to_owned()));
    }
    let mut outcome = Outcome::default();
    let mut next = node.clone();
    // A capture leaves the key that it was let in with on the disk: the same key, and a ticket again.
    if node.deploy.is_none_or(|deploy| deploy.key != key || !deploy.ticket) {
        next.deploy = Some(Approved {
            key,
            nonce: protocol::Nonce(dice.draw()),
            ticket: true,
            pin: node.pin,
            question: None,
        });
        outcome.fact(node.id, "ticket", "restarting into the ramdisk");
        if node.document.leaves && node.state.phase() == "draining" {
            next.since = now;
        }
    }
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

/// The node, as far as any report changes it.
fn heard(node: &Node, report: &Report, now: Time) -> Node {
    let mut next = node.clone();
    next.speaks(Some(&report.boot_id), now);
    next.reported = Some(now);
    let failed = report.tasks.iter().any(|task| matches!(task.result, TaskResult::Failed { .. }));
    if report.generation == node.document.generation && report.applying.is_none() && !failed {
        next.document.taken = node.document.passwords;
    }
    next.orders.retain(|order| order.id > report.done_order);
    next
}

/// A report: facts about units, tasks, drift, and a sign of life.
pub(crate) fn reported(fleet: &Fleet, node: &Node, report: Report, now: Time) -> Result<Outcome, Denied> {
    let mut outcome = Outcome::default();
    let mut next = heard(node, &report, now);
    for drift in &report.drift {
        outcome.fact(node.id, "drift", format!("{}: {}; {}", drift.what, drift.found, drift.done));
    }
    unit_facts(node, &report, &mut outcome);
    service_facts(node, &report, &mut outcome);
    let up = all_up(node, &report);
    let job = node.state.job();
    let settled = node.state == State::Active;
    let comes_up = ["booting", "enrolling", "active", "returning"].contains(&node.state.phase());
    // It was active before, whether all its units were up or not.
    let comes_back = comes_back(fleet, node);
    if comes_up && (up || comes_back) && !settled {
        next = moved(&next, State::Active, now);
        let units = format!("{} units up", report.units.len());
        outcome.fact(node.id, "active", if up { units } else { "its own system is up again".to_owned() });
        if let Some(job) = job.and_then(|id| fleet.jobs.get(&id)).filter(|job| !job.state.ended()) {
            let mut job = job.clone();
            job.state = JobState::Done;
            job.ended = Some(now);
            outcome.changes.push(Change::Job(Box::new(job)));
        }
        outcome.changes.extend(capture::of_node(fleet, node).and_then(|capture| capture::back(capture, now)));
    }
    if let (State::Returning { job: Some(job) }, false) = (&node.state, up) {
        next = moved(&next, State::Enrolling { job: Some(*job) }, now);
        outcome.fact(node.id, "enrolling", "its own system is up; its units have their time");
    }
    let cant = not_redeployed(node, &report);
    if matches!(node.state, State::Rescue { .. }) {
        rescue::reported(node, &mut next, cant, now, &mut outcome);
    } else if let Some(why) = cant {
        let cause = format!("it can't restart into the ramdisk: {why}");
        outcome.fact(node.id, "failed", cause.clone());
        let way_out = capture::way_out(fleet, node);
        let verbs = ["retry", "plan"].into_iter().chain(way_out.as_deref()).collect::<Vec<_>>();
        next = moved(&next, attention(node, cause, &verbs), now);
    }
    if let Some(why) = not_restarted(node, &report) {
        power::stays(fleet, node, &why, now, &mut outcome);
    }
    // To what nobody asked there is no answer.
    let asked = |answer: &&protocol::Answer| answer.order <= node.last_order;
    outcome.reply = Reply::Answers(report.answers.iter().filter(asked).cloned().collect());
    next.report = Some(Report { answers: Vec::new(), drift: Vec::new(), ..report });
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

/// Whether the node is on its way back from the ramdisk, or from a service, into the system that it had.
pub(crate) fn comes_back(fleet: &Fleet, node: &Node) -> bool {
    match node.state.phase() {
        "booting" => capture::of_node(fleet, node).is_some(),
        "returning" => node.state.job().is_none(),
        _ => false,
    }
}

/// Why a node that shall be rebuilt stays in its installed system, when it says so.
fn not_redeployed(node: &Node, report: &Report) -> Option<String> {
    let waits = matches!(node.state, State::Draining { .. } | State::Rescue { .. });
    let ordered = node.redeploy.filter(|_| waits)?;
    report.answers.iter().find(|answer| answer.order == ordered)?.error.clone()
}

/// Why a node that shall restart stays up, when it says so.
fn not_restarted(node: &Node, report: &Report) -> Option<String> {
    let ordered = node.orders.iter().find(|order| order.kind.restarts())?;
    report.answers.iter().find(|answer| answer.order == ordered.id)?.error.clone()
}

/// Whether the node has its whole document applied and every unit it should run is running.
fn all_up(node: &Node, report: &Report) -> bool {
    node.document.generation > 0
        && report.generation == node.document.generation
        && report.units.iter().all(|unit| unit.active == "active" || !node.should_run(&unit.name))
        && report.tasks.iter().all(|task| !matches!(task.result, TaskResult::Failed { .. }))
}

/// One fact for every unit or task whose state is news.
fn unit_facts(node: &Node, report: &Report, outcome: &mut Outcome) {
    let before = node.report.as_ref();
    for unit in &report.units {
        let known = before.and_then(|old| old.units.iter().find(|old| old.name == unit.name));
        if known.is_some_and(|old| old.active == unit.active && old.result == unit.result) {
            continue;
        }
        let passing =
            ["activating", "deactivating", "reloading", "refreshing"].contains(&unit.active.as_str());
        if passing || (known.is_none() && unit.active == "inactive") {
            continue;
        }
        let kind = if unit.active == "failed" { "unit-failed" } else { "unit" };
        let last = unit.log.last().map(|line| format!(": {line}")).unwrap_or_default();
        outcome.fact(node.id, kind, format!("{} is {} ({}){last}", unit.name, unit.active, unit.sub));
    }
    for task in &report.tasks {
        let known = before.and_then(|old| old.tasks.iter().find(|old| old.name == task.name));
        if known.is_none_or(|old| old.result != task.result) {
            let (kind, text) = match &task.result {
                TaskResult::Already => continue,
                TaskResult::Done => ("task", format!("{} done", task.name)),
                TaskResult::Failed { why } => ("task-failed", format!("{} failed: {why}", task.name)),
            };
            outcome.fact(node.id, kind, text);
        }
    }
}

/// One fact for every service that is well, or is not any more. What is on its way is no news.
fn service_facts(node: &Node, report: &Report, outcome: &mut Outcome) {
    let before = node.report.as_ref();
    for service in &report.services {
        let known = before.and_then(|old| old.services.iter().find(|old| old.name == service.name));
        // Why it is not well may change with every look: that is no news.
        let same = |old: &ServiceReport| discriminant(&old.health) == discriminant(&service.health);
        if known.is_some_and(same) {
            continue;
        }
        match &service.health {
            ServiceHealth::Well => outcome.fact(node.id, "service", format!("{} is well", service.name)),
            ServiceHealth::Ill { why } => {
                outcome.fact(node.id, "service-ill", format!("{} is not well: {why}", service.name));
            }
            ServiceHealth::Coming { .. } => {}
        }
    }
}

/// A wish about one unit of a node's roles.
pub(crate) fn wish(catalog: &Catalog, node: &Node, unit: &str, verb: UnitVerb) -> Result<Outcome, Denied> {
    if !catalog.units_of(&node.roles).any(|known| known == unit) {
        return Err(Denied::Missing { kind: "unit", name: format!("{unit} on {}", node.name) });
    }
    let mut next = node.clone();
    match verb {
        UnitVerb::Start => drop(next.wishes.stopped.remove(unit)),
        UnitVerb::Stop => drop(next.wishes.stopped.insert(unit.to_owned())),
        UnitVerb::Restart => {
            next.wishes.stopped.remove(unit);
            *next.wishes.restarts.entry(unit.to_owned()).or_default() += 1;
        }
    }
    let mut outcome = changes([Change::Node(Box::new(next))]);
    outcome.fact(node.id, "wish", format!("{} {unit}", verb.word()));
    Ok(outcome)
}

/// Asks a node for journal lines.
pub(crate) fn logs(node: &Node, unit: &str, lines: u32) -> Result<Outcome, Denied> {
    if node.run.is_none() {
        return Err(refused(node, "reading a journal", "; its installed system has not enrolled"));
    }
    let mut next = node.clone();
    let order = give_order(&mut next, OrderKind::Logs { unit: unit.to_owned(), lines: lines.clamp(1, 1000) });
    Ok(Outcome { reply: Reply::Order(order), ..changes([Change::Node(Box::new(next))]) })
}

/// What becomes of the system disk once the ramdisk runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SystemDisk {
    /// It is looked at.
    Kept,
    /// What is on it is lost.
    Rewritten,
}

/// Orders the installed system to restart into the ramdisk, in place of an earlier such order; with `force` whatever runs on it.
pub(crate) fn order_redeploy(node: &mut Node, force: bool, disk: SystemDisk) {
    node.orders.retain(|order| !order.kind.redeploys());
    let keeps = disk == SystemDisk::Kept;
    node.redeploy = Some(give_order(node, OrderKind::Redeploy { force, keeps }));
    node.redeploy_forced = force;
}

/// The order to restart into the ramdisk once more, as it was given.
pub(crate) fn order_again(node: &mut Node, disk: SystemDisk) {
    order_redeploy(node, node.redeploy_forced, disk);
}

/// Orders the installed system to restart as what it is, in place of an earlier such order; with `force` whatever runs on it.
pub(crate) fn order_restart(node: &mut Node, force: bool) {
    node.orders.retain(|order| !order.kind.restarts());
    give_order(node, OrderKind::Restart { force });
}

/// Adds an order; old ones that nobody fetched are dropped.
fn give_order(node: &mut Node, kind: OrderKind) -> u64 {
    node.last_order += 1;
    node.orders.push(Order { id: node.last_order, kind });
    // Never one to go down: a state waits for that.
    while node.orders.len() > 16
        && let Some(old) = node.orders.iter().position(|order| matches!(order.kind, OrderKind::Logs { .. }))
    {
        node.orders.remove(old);
    }
    node.last_order
}

/// The cause for `Attention` of a node that came up, but not whole.
pub(crate) fn stuck(node: &Node, waited: u64) -> State {
    let why = not_up(node).unwrap_or_else(|| "it has not reported yet".to_owned());
    attention(node, format!("not active after {waited} s: {why}"), &["why", "retry", "rebuild"])
}

/// What an enrolling node still waits for.
pub(crate) fn not_up(node: &Node) -> Option<String> {
    let report = node.report.as_ref()?;
    let absent = |unit: &&protocol::UnitReport| unit.load == "not-found" && node.should_run(&unit.name);
    if let Some(unit) = report.units.iter().find(absent) {
        // What else fails, fails because of that.
        let last = unit.log.last().cloned();
        return Some(last.unwrap_or_else(|| format!("{} is not installed there", unit.name)));
    }
    let failed_task = report.tasks.iter().find_map(|task| match &task.result {
        TaskResult::Failed { why } => Some(format!("task {} failed: {why}", task.name)),
        TaskResult::Already | TaskResult::Done => None,
    });
    let down = |unit: &&protocol::UnitReport| unit.active != "active" && node.should_run(&unit.name);
    let unit = report.units.iter().find(down).map(|unit| {
        let last = unit.log.last().map(|line| format!(": {line}")).unwrap_or_default();
        format!("{} is {} ({}){last}", unit.name, unit.active, unit.sub)
    });
    let behind = (report.generation != node.document.generation)
        .then(|| format!("generation {} is being applied", node.document.generation));
    let ill = report.services.iter().find_map(|service| match &service.health {
        ServiceHealth::Ill { why } => Some(format!("{} is not well: {why}", service.name)),
        ServiceHealth::Well | ServiceHealth::Coming { .. } => None,
    });
    failed_task.or(unit).or(ill).or(behind)
}

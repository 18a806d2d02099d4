//! How long every state may last, and what it waits for: the whole table of patience.

use crate::certificate::{LATE_SECONDS, is_awaited, is_erasing, is_standing};
use crate::imaging::attention;
use crate::job::Work;
use crate::network;
use crate::node::State;
use crate::running::{not_up, stuck};
use crate::step::moved;
use crate::{Change, Fleet, Node, Outcome, Time, burn_in, capture, clock, drain, power, rescue};

/// What a node waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// For a person: what must happen next, and who does it.
    pub reason: String,
    /// When it becomes a matter for a person; `None`: it may wait for ever.
    pub until: Option<Time>,
}

/// Seconds without a sign of life after which an active node is called silent.
pub const SILENT_SECONDS: u64 = 90;

/// Seconds without progress after which a job needs a person.
const IMAGING_SECONDS: u64 = 15 * 60;
/// The same of erasing, as long as its agent is heard: a drive's own firmware does it in one command, which may take an hour, and
/// nothing is counted meanwhile.
const ERASING_SECONDS: u64 = 75 * 60;
const INSPECTING_SECONDS: u64 = 10 * 60;
/// A server with much memory may spend ten minutes in its firmware.
const BOOTING_SECONDS: u64 = 25 * 60;
const ENROLLING_SECONDS: u64 = 25 * 60;
/// Until a system that was told to restart is in the ramdisk.
pub(crate) const DRAINING_SECONDS: u64 = 25 * 60;

/// Until it has given its work away, however large that is: a service's own limit comes before.
const LEAVING_SECONDS: u64 = 6 * 3600;

/// What this node waits for, and how long it may.
pub fn wait(fleet: &Fleet, node: &Node) -> Option<Wait> {
    let limited = |reason: String, from: Time, seconds: u64| {
        Some(Wait { reason, until: Some(from.plus_seconds(seconds)) })
    };
    let for_ever = |reason: String| Some(Wait { reason, until: None });
    let name = &node.name;
    let job = node.state.job().and_then(|job| Work::of(fleet, job));
    let is_capture = matches!(job, Some(Work::Capture(_)));
    // Not its own fault: no deadline runs meanwhile.
    let waits = network::waits_for_network(&node.state);
    if let Some(reason) = network::held(fleet, node, job).filter(|_| waits) {
        return for_ever(reason);
    }
    let working = |reason: &str| {
        let from = job.and_then(Work::progressed).unwrap_or(node.since).max(node.since);
        limited(reason.to_owned(), from, IMAGING_SECONDS)
    };
    if let Some(hold) = &node.hold {
        return for_ever(format!("you: it is held: {} (rackwright node release {name})", hold.why));
    }
    if let Some(reason) = lapsed(node) {
        return for_ever(reason);
    }
    if let Some(reason) = clock::keeps_waiting(fleet, node) {
        return for_ever(reason);
    }
    match &node.state {
        State::Discovered => for_ever(to_be_approved(node)),
        State::Rejected { .. } | State::Retired => None,
        State::Inspecting => {
            limited("its agent to ask for work".to_owned(), node.since.max(node.heard), INSPECTING_SECONDS)
        }
        State::Testing { .. } => Some(testing(fleet, node)),
        State::Ready => for_ever(to_be_planned(node)),
        State::Planned { plan } => for_ever(format!("the plan to be applied (rackwright apply {plan})")),
        State::Imaging { .. } => working("the image to be written"),
        State::Verifying { .. } => working("the disk to be proven"),
        State::Capturing { .. } => working("the image to be taken"),
        State::Retiring { .. } => Some(erasing(node, job)),
        State::Booting { .. } if !is_capture => {
            limited("its first boot to enrol".to_owned(), node.since, BOOTING_SECONDS)
        }
        State::Booting { .. } | State::Returning { .. } => {
            limited("its own system to come up again".to_owned(), node.since, BOOTING_SECONDS)
        }
        State::Enrolling { .. } => {
            let what = not_up(node).unwrap_or_else(|| "its first report".to_owned());
            limited(format!("its units to be up: {what}"), node.since, ENROLLING_SECONDS)
        }
        State::Active => not_up(node).and_then(for_ever),
        State::Draining { .. } => limited(to_be_drained(node), drained_from(node), DRAINING_SECONDS),
        State::Rescue { rescue } => for_ever(rescue::waits_for(node, rescue)),
        State::Servicing { why, .. } => {
            for_ever(format!("you: it is in service: {why} (rackwright node service {name} off)"))
        }
        State::Attention { cause, verbs, .. } => {
            for_ever(format!("you: {cause} (safe now: {})", verbs.join(", ")))
        }
    }
}

fn to_be_approved(node: &Node) -> String {
    let name = &node.name;
    match node.claim.as_ref().and_then(|claim| claim.adoption.as_ref()) {
        Some(system) => format!(
            "you to compare the code in its journal and adopt it (rackwright node approve {name}): it runs {system}, and its disks stay as \
             they are"
        ),
        None => {
            format!("you to compare the code on its screen and approve it (rackwright node approve {name})")
        }
    }
}

fn to_be_drained(node: &Node) -> String {
    if node.claim.is_some() {
        return format!(
            "you: it is in the ramdisk with a new key; compare the code on its screen (rackwright node approve {})",
            node.name
        );
    }
    if node.adopted.is_some() {
        return "it to restart and boot from the network, where it shows a code once more: see to it that its firmware tries the \
                network before its disk"
            .to_owned();
    }
    let gives_away = node.orders.iter().any(|order| order.kind.redeploys());
    drain::moving(node).filter(|_| gives_away).unwrap_or_else(|| "it to restart into the ramdisk".to_owned())
}

/// From when on it must have restarted. Giving its work away may take hours, in which its system reports and its order is open; with its
/// ticket it begins to count.
fn drained_from(node: &Node) -> Time {
    let gives_away = node.document.leaves && node.orders.iter().any(|order| order.kind.redeploys());
    let reported = node.reported.filter(|_| gives_away);
    let latest = node.since.plus_seconds(LEAVING_SECONDS);
    reported.map_or(node.since, |reported| reported.max(node.since).min(latest))
}

fn to_be_planned(node: &Node) -> String {
    let name = &node.name;
    if node.roles.is_empty() {
        return format!("a role (rackwright node role set {name} ROLE), then a plan");
    }
    format!("a plan (rackwright node plan {name})")
}

/// What a node waits for that came back with a certificate which ended too long ago.
fn lapsed(node: &Node) -> Option<String> {
    let lapsed = node.lapsed.filter(|_| node.run.is_some() && node.is_let_in())?;
    if lapsed.pardoned {
        return Some("its installed system to ask again for its certificate".to_owned());
    }
    Some(format!(
        "you: it is refused since {}, because its certificate ended more than {} days before; when it is the server that it was: \
         rackwright node retry {}",
        lapsed.since,
        LATE_SECONDS / 86_400,
        node.name
    ))
}

/// An agent that tests speaks every other second, whatever it does.
fn testing(fleet: &Fleet, node: &Node) -> Wait {
    let from = node.since.max(node.heard);
    let row = burn_in::of_node(fleet, node);
    let Some((row, limit)) = row.and_then(|row| Some((row, row.limit()?))) else {
        let until = node.since.plus_seconds(INSPECTING_SECONDS);
        return Wait { reason: "its agent to begin its test".to_owned(), until: Some(until) };
    };
    let until = from.plus_seconds(burn_in::SILENT_SECONDS).min(limit);
    Wait { reason: format!("its test to end; it was last heard of {}", row.doing()), until: Some(until) }
}

/// An agent that is silent has no longer than one that writes an image.
fn erasing(node: &Node, job: Option<Work<'_>>) -> Wait {
    let from = job.and_then(Work::progressed).unwrap_or(node.since).max(node.since);
    let silent = from.max(node.heard).plus_seconds(IMAGING_SECONDS);
    let until = from.plus_seconds(ERASING_SECONDS).min(silent);
    Wait { reason: "its disks to be erased".to_owned(), until: Some(until) }
}

/// Every node whose patience is over goes to `Attention`; certificates that ended long ago and that neither a first
/// boot nor an agent that erases may still show, nor an installed system that is back after a while, are forgotten.
pub fn overdue(fleet: &Fleet, now: Time) -> Outcome {
    let mut outcome = Outcome::default();
    for node in fleet.nodes.values() {
        let Some(Wait { reason, until: Some(until) }) = wait(fleet, node) else { continue };
        if now < until {
            continue;
        }
        let waited = now.seconds_since(node.since);
        let state = if matches!(node.state, State::Enrolling { .. }) {
            stuck(node, waited)
        } else if let Some(row) = burn_in::in_flight(fleet, node) {
            attention(node, burn_in::silence(row, node, now), &burn_in::VERBS)
        } else {
            let way_out = capture::way_out(fleet, node);
            let verbs = ["why", "retry"].into_iter().chain(way_out.as_deref()).collect::<Vec<_>>();
            attention(node, format!("waited {waited} s for {reason}"), &verbs)
        };
        if let State::Attention { cause, .. } = &state {
            outcome.fact(node.id, "attention", cause.clone());
        }
        outcome.changes.push(Change::Node(Box::new(moved(node, state, now))));
    }
    rescue::overdue(fleet, now, &mut outcome);
    power::overdue(fleet, now, &mut outcome);
    let ended = fleet.certificates.values().filter(|row| row.until.plus_seconds(86_400) < now);
    let ended =
        ended.filter(|row| !is_awaited(fleet, row) && !is_erasing(fleet, row) && !is_standing(fleet, row));
    outcome.changes.extend(ended.map(|row| Change::ForgetCertificate(row.fingerprint.clone())));
    outcome
}

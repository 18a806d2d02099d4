//! Beginning and ending a check.

use super::{CheckId, Member, Preflight, PreflightState, Results, STREAM_SECONDS_MAX, Verb, Wish, judge};
use crate::entropy::Entropy;
use crate::job::{JobState, Work};
use crate::patience::SILENT_SECONDS;
use crate::{Change, Denied, Fact, Fleet, Node, Outcome, Reply, State, Time};

/// Does what is said about checks.
pub(crate) fn carry_out(fleet: &Fleet, verb: Verb, now: Time, dice: &mut Entropy) -> Result<Outcome, Denied> {
    match verb {
        Verb::Begin(wish) => begin(fleet, &wish, now, dice),
        Verb::Stop => {
            let running = running(fleet).ok_or_else(|| {
                Denied::Conflict("no check of the network runs: see rackwright network show".to_owned())
            })?;
            let ended = Preflight { state: PreflightState::Stopped, ended: Some(now), ..running.clone() };
            Ok(changed(ended, "stopped"))
        }
        Verb::End(results) => Ok(end(fleet, *results, now)),
    }
}

/// No check of the time before a restore goes on.
pub fn abandon(fleet: &Fleet, now: Time) -> Outcome {
    let stopped = |running: &Preflight| {
        let ended = Preflight { state: PreflightState::Stopped, ended: Some(now), ..running.clone() };
        changed(ended, "stopped: the controller was restored from a backup, in which it ran")
    };
    running(fleet).map(stopped).unwrap_or_default()
}

/// The check that goes on.
fn running(fleet: &Fleet) -> Option<&Preflight> {
    fleet.preflight.as_deref().filter(|check| check.state == PreflightState::Running)
}

/// Why nothing large may be sent now: images are, or are taken.
pub fn busy(fleet: &Fleet) -> Option<String> {
    let moves = Work::all(fleet).filter(|work| *work.state() == JobState::Running);
    let (id, node, what) = moves
        .filter_map(|work| match work {
            Work::Image(job) => Some((job.id, job.node, "an image is on its way to or from")),
            Work::Capture(capture) => Some((capture.id, capture.node, "an image is on its way to or from")),
            Work::BurnIn(test) => Some((test.id, test.node, "there is a test of")),
            Work::Retirement(_) => None,
        })
        .next()?;
    let node = fleet.nodes.get(&node).map(|node| node.name.to_string()).unwrap_or_default();
    Some(format!("{what} {node} (job {id})"))
}

fn begin(fleet: &Fleet, wish: &Wish, now: Time, dice: &mut Entropy) -> Result<Outcome, Denied> {
    if let Some(running) = running(fleet) {
        return Err(Denied::Conflict(format!(
            "the check {} has run for {} s: rackwright network show follows it, rackwright network stop ends it",
            running.id,
            now.seconds_since(running.begun)
        )));
    }
    if wish.terms.stream_seconds > STREAM_SECONDS_MAX {
        return Err(Denied::Conflict(format!("a transfer takes {STREAM_SECONDS_MAX} s at most")));
    }
    let (mut members, mut absent) = (Vec::new(), Vec::new());
    let mut wanted = fleet.nodes.values().filter(|node| is_meant(node, wish)).collect::<Vec<_>>();
    wanted.sort_by(|a, b| a.name.cmp(&b.name));
    for node in wanted {
        match unfit(node, now) {
            Some(why) => absent.push((node.name.to_string(), why)),
            None => members.push(member(node)),
        }
    }
    if members.len() > protocol::MEMBERS_MAX {
        return Err(Denied::Conflict(format!(
            "{} nodes are more than the {} that are checked together: choose with --role or --nodes",
            members.len(),
            protocol::MEMBERS_MAX
        )));
    }
    if let (Some(group), true) = (&wish.group, members.is_empty()) {
        let why = absent.iter().map(|(name, why)| format!("{name} {why}")).collect::<Vec<_>>();
        let why = if why.is_empty() { "there are none".to_owned() } else { why.join(", ") };
        return Err(Denied::Conflict(format!("no node of {group} can take part: {why}")));
    }
    let check = Preflight {
        id: CheckId(u32::from_be_bytes(dice.draw())),
        begun: now,
        ended: None,
        terms: wish.terms,
        state: PreflightState::Running,
        members,
        absent,
        networks: Vec::new(),
        pairs: Vec::new(),
        findings: Vec::new(),
    };
    let text = format!("begun with {} nodes", check.members.len());
    Ok(changed(check, &text))
}

fn is_meant(node: &Node, wish: &Wish) -> bool {
    node.is_let_in() && wish.group.as_ref().is_none_or(|group| group.has(node))
}

fn member(node: &Node) -> Member {
    Member {
        node: node.id,
        name: node.name.to_string(),
        product: node.inventory.smbios.model(),
        links: Vec::new(),
        lost: None,
    }
}

/// Why its agent does not ask what to try, as the end of a sentence.
fn unfit(node: &Node, now: Time) -> Option<String> {
    let listens =
        node.state.is_settled() || matches!(node.state, State::Inspecting | State::Enrolling { .. });
    if !listens {
        return Some(format!("is {}", node.state.word()));
    }
    let silent = now.seconds_since(node.heard);
    (silent >= SILENT_SECONDS).then(|| format!("has not been heard for {silent} s"))
}

/// One that was stopped meanwhile stays so.
fn end(fleet: &Fleet, results: Results, now: Time) -> Outcome {
    let Some(check) = running(fleet).filter(|check| check.id == results.id) else {
        return Outcome::default();
    };
    let owner = |mac: &protocol::HardwareAddress| fleet.owner(mac).map(|node| node.name.to_string());
    let findings = judge(&results, &owner);
    let bad = findings.iter().filter(|finding| finding.severity != super::Severity::Note).count();
    let text = format!("through: {bad} findings; rackwright network show");
    let Results { members, networks, pairs, .. } = results;
    let ended = Preflight {
        state: PreflightState::Done,
        ended: Some(now),
        members,
        networks,
        pairs,
        findings,
        ..check.clone()
    };
    changed(ended, &text)
}

fn changed(check: Preflight, text: &str) -> Outcome {
    let text = format!("{} {text}", check.id);
    let fact = Fact { node: None, mac: None, kind: "network-check".to_owned(), text };
    let reply = Reply::Preflight(Box::new(check.clone()));
    Outcome {
        changes: vec![Change::Preflight(Box::new(check))],
        facts: vec![fact],
        reply,
        ..Outcome::default()
    }
}

//! What an operator says to a rollout.

use std::collections::BTreeSet;

use super::{Reached, Rollout, RolloutId, RolloutState, Verb, taken_back};
use crate::{Change, Denied, Fact, Fleet, Outcome, Reply, Time};

/// Begins, stops, resumes or cancels.
pub(crate) fn carry_out(fleet: &Fleet, id: &RolloutId, verb: Verb, now: Time) -> Result<Outcome, Denied> {
    let missing = || Denied::Missing { kind: "rollout", name: id.to_string() };
    let rollout = fleet.rollouts.get(id).ok_or_else(missing)?;
    let mut next = Rollout { ended: Some(now), ..rollout.clone() };
    let mut outcome = Outcome::default();
    let text = match (verb, &rollout.state) {
        (Verb::Begin, RolloutState::Open) => {
            (next.state, next.ended) = (RolloutState::Running, None);
            format!("{id} has begun: {}", rollout.phrase())
        }
        (Verb::Stop, RolloutState::Running) => {
            next.state = stopped("an operator has stopped it");
            format!("{id} begins no other node")
        }
        (Verb::Resume, RolloutState::Stopped { why, seen }) => {
            // What somebody has seen does not stop it once more; what came since does.
            next.forgiven.extend(seen.iter().cloned());
            (next.state, next.ended) = (RolloutState::Running, None);
            format!("{id} goes on; it was stopped because {why}")
        }
        (Verb::Cancel, RolloutState::Open | RolloutState::Running | RolloutState::Stopped { .. }) => {
            next.state = RolloutState::Withdrawn { why: "an operator has cancelled it".to_owned() };
            outcome.changes.extend(all_taken_back(
                fleet,
                rollout,
                &format!("the rollout {id} was cancelled"),
                now,
            ));
            format!("{id} was cancelled")
        }
        (Verb::Begin | Verb::Stop | Verb::Resume | Verb::Cancel, state) => {
            let hint = hint(id, verb, state);
            return Err(Denied::Conflict(format!("the rollout {id} is {}: {hint}", state.word())));
        }
    };
    outcome.facts.push(fact(text));
    outcome.changes.push(Change::Rollout(Box::new(next.clone())));
    outcome.reply = Reply::Rollout(Box::new(next));
    Ok(outcome)
}

/// Lets nothing go on that was wanted when a backup was made: what ran is stopped, what waited to be begun is withdrawn.
pub fn abandon(fleet: &Fleet, why: &str, now: Time) -> Outcome {
    let mut outcome = Outcome::default();
    for rollout in fleet.rollouts.values() {
        let id = &rollout.id;
        let (state, text) = match &rollout.state {
            RolloutState::Running => {
                (stopped(why), format!("{id} has stopped: {why}; rackwright rollout show {id}"))
            }
            RolloutState::Open => {
                outcome.changes.extend(all_taken_back(fleet, rollout, why, now));
                (RolloutState::Withdrawn { why: why.to_owned() }, format!("{id} was withdrawn: {why}"))
            }
            RolloutState::Stopped { .. } | RolloutState::Done | RolloutState::Withdrawn { .. } => continue,
        };
        outcome.facts.push(fact(text));
        outcome.changes.push(Change::Rollout(Box::new(Rollout {
            state,
            ended: Some(now),
            ..rollout.clone()
        })));
    }
    outcome
}

fn stopped(why: &str) -> RolloutState {
    RolloutState::Stopped { why: why.to_owned(), seen: BTreeSet::new() }
}

fn fact(text: String) -> Fact {
    Fact { node: None, mac: None, kind: "rollout".to_owned(), text }
}

fn hint(id: &RolloutId, verb: Verb, state: &RolloutState) -> String {
    match (state, verb) {
        (RolloutState::Open, Verb::Stop) => format!("give it up (rackwright rollout cancel {id})"),
        (RolloutState::Open, _) => format!("begin it (rackwright rollout begin {id})"),
        (RolloutState::Running, _) => format!("stop it first (rackwright rollout stop {id})"),
        (RolloutState::Stopped { .. }, _) => format!("let it go on (rackwright rollout resume {id})"),
        (RolloutState::Done | RolloutState::Withdrawn { .. }, _) => {
            "make another one (rackwright rebuild --help)".to_owned()
        }
    }
}

/// The plans whose turn has not come, and the nodes that waited with them.
fn all_taken_back(fleet: &Fleet, rollout: &Rollout, why: &str, now: Time) -> Vec<Change> {
    let waiting = rollout.reached(fleet).filter(|(_, reached)| *reached == Reached::Waiting);
    waiting.flat_map(|(step, _)| taken_back(fleet, step, why, now)).collect()
}

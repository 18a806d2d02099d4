//! What an operator says to a rollout.

use super::{Reached, Rollout, RolloutId, RolloutState, Verb};
use crate::plan::{Plan, PlanState};
use crate::{Change, Denied, Fact, Fleet, Outcome, Reply, Time};

/// Begins, stops, resumes or cancels.
pub(crate) fn carry_out(fleet: &Fleet, id: &RolloutId, verb: Verb, now: Time) -> Result<Outcome, Denied> {
    let missing = || Denied::Missing { kind: "rollout", name: id.to_string() };
    let rollout = fleet.rollouts.get(id).ok_or_else(missing)?;
    let mut next = rollout.clone();
    let mut outcome = Outcome::default();
    let text = match (verb, &rollout.state) {
        (Verb::Begin, RolloutState::Open) => {
            next.state = RolloutState::Running;
            format!("{id} has begun: {}", rollout.phrase())
        }
        (Verb::Stop, RolloutState::Running) => {
            next.state = RolloutState::Stopped { why: "an operator has stopped it".to_owned() };
            next.ended = Some(now);
            format!("{id} begins no other node")
        }
        (Verb::Resume, RolloutState::Stopped { why }) => {
            // What somebody has seen does not stop it once more.
            let seen = rollout.reached(fleet).filter(|(_, reached)| is_over_badly(reached));
            next.forgiven.extend(seen.map(|(step, _)| step.plan.clone()));
            next.state = RolloutState::Running;
            next.ended = None;
            format!("{id} goes on; it was stopped because {why}")
        }
        (Verb::Cancel, RolloutState::Open | RolloutState::Running | RolloutState::Stopped { .. }) => {
            let why = format!("the rollout {id} was cancelled");
            next.state = RolloutState::Withdrawn { why: "an operator has cancelled it".to_owned() };
            next.ended = Some(now);
            outcome.changes.extend(withdrawn(fleet, rollout, &why, now));
            why
        }
        (Verb::Begin | Verb::Stop | Verb::Resume | Verb::Cancel, state) => {
            return Err(Denied::Conflict(format!(
                "the rollout {id} is {}: {}",
                state.word(),
                hint(id, state)
            )));
        }
    };
    outcome.facts.push(Fact { node: None, mac: None, kind: "rollout".to_owned(), text });
    outcome.changes.push(Change::Rollout(Box::new(next.clone())));
    outcome.reply = Reply::Rollout(Box::new(next));
    Ok(outcome)
}

fn is_over_badly(reached: &Reached) -> bool {
    matches!(reached, Reached::Failed(..) | Reached::Dropped(_))
}

fn hint(id: &RolloutId, state: &RolloutState) -> String {
    match state {
        RolloutState::Open => format!("begin it (rackwright rollout begin {id})"),
        RolloutState::Running => format!("stop it first (rackwright rollout stop {id})"),
        RolloutState::Stopped { .. } => format!("let it go on (rackwright rollout resume {id})"),
        RolloutState::Done | RolloutState::Withdrawn { .. } => {
            "make another one (rackwright rebuild --help)".to_owned()
        }
    }
}

/// The plans whose turn has not come, and the nodes that waited with them.
fn withdrawn(fleet: &Fleet, rollout: &Rollout, why: &str, now: Time) -> Vec<Change> {
    let mut changes = Vec::new();
    let waiting = rollout.reached(fleet).filter(|(_, reached)| *reached == Reached::Waiting);
    for (step, _) in waiting {
        let Some(plan) = fleet.plans.get(&step.plan) else { continue };
        let state = PlanState::Withdrawn { why: why.to_owned() };
        changes.push(Change::Plan(Box::new(Plan { state, ..plan.clone() })));
        let node = fleet.nodes.get(&step.node);
        let node =
            node.filter(|node| matches!(&node.state, crate::State::Planned { plan } if *plan == step.plan));
        changes.extend(
            node.map(|node| Change::Node(Box::new(crate::step::moved(node, crate::State::Ready, now)))),
        );
    }
    changes
}

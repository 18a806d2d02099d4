//! What a rollout does next: one function, asked at every tick, and by whoever wants to see why it waits.

use super::{Reached, Rollout, RolloutState, Step, is_down};
use crate::entropy::Entropy;
use crate::plan::{PlanState, Unplannable};
use crate::{Change, Denied, Fact, Fleet, Node, Outcome, Time, imaging, network};

/// What a rollout that runs does next.
#[derive(Debug)]
pub enum Next {
    /// Begin this one; what that brings about.
    Begin(Step, Box<Outcome>),
    /// Take this one out: its plan holds no more.
    Drop(Step, String),
    /// Nothing yet, for this reason.
    Wait(String),
    /// Begin no other, for this reason.
    Stop(String),
    /// All are through.
    Finish,
}

/// How far a rollout is, and who of its group is down.
struct Progress<'a> {
    rollout: &'a Rollout,
    steps: Vec<(&'a Step, Reached)>,
    down: Vec<(&'a Node, String)>,
}

/// What this rollout does next. Changes nothing.
pub fn next(fleet: &Fleet, rollout: &Rollout, now: Time, dice: &mut Entropy) -> Next {
    let down = rollout.group.members(fleet).filter_map(|node| Some((node, is_down(node, now)?)));
    let progress = Progress { rollout, steps: rollout.reached(fleet).collect(), down: down.collect() };
    if let Some(why) = progress.fails(fleet) {
        return Next::Stop(why);
    }
    let waiting = progress.steps.iter().enumerate().filter(|(_, (_, reached))| *reached == Reached::Waiting);
    let waiting = waiting.map(|(at, (step, _))| (at, *step)).collect::<Vec<_>>();
    let mut reasons = Vec::new();
    for (at, step) in &waiting {
        match progress.begin(fleet, *at, step, now, dice) {
            Ok(outcome) => return Next::Begin((*step).clone(), Box::new(outcome)),
            Err(Denied::Unplannable(Unplannable::Stale { why, .. })) => {
                return Next::Drop((*step).clone(), why);
            }
            Err(why) => reasons.push(why.to_string()),
        }
    }
    match (reasons.into_iter().next(), progress.underway()) {
        (Some(why), _) => Next::Wait(why),
        (None, 0) => Next::Finish,
        (None, left) => Next::Wait(format!("{left} to be active again")),
    }
}

impl Progress<'_> {
    fn underway(&self) -> usize {
        self.steps.iter().filter(|(_, reached)| matches!(reached, Reached::Underway(_))).count()
    }

    /// Why no other node may be begun any more.
    fn fails(&self, fleet: &Fleet) -> Option<String> {
        let name = |step: &Step| name(fleet, step);
        let seen = |step: &Step| self.rollout.forgiven.contains(&step.plan);
        let news = || self.steps.iter().enumerate().filter(|(_, (step, _))| !seen(step));
        let canary =
            news().take_while(|(at, _)| *at < self.rollout.canaries).find_map(|(_, (step, reached))| {
                match reached {
                    Reached::Failed(_, why) | Reached::Dropped(why) => {
                        Some(format!("the canary {} did not come through: {why}", name(step)))
                    }
                    Reached::Waiting | Reached::Underway(_) | Reached::Done(_) => None,
                }
            });
        let failed = news().filter_map(|(_, (step, reached))| match reached {
            Reached::Failed(_, why) => Some(format!("{}: {why}", name(step))),
            Reached::Waiting | Reached::Underway(_) | Reached::Done(_) | Reached::Dropped(_) => None,
        });
        let failed = failed.collect::<Vec<_>>();
        let enough = failed.len() >= self.rollout.stop_after as usize;
        canary.or_else(|| enough.then(|| format!("{} failed: {}", failed.len(), failed.join("; "))))
    }

    /// Begins this one, or says what it waits for.
    fn begin(
        &self,
        fleet: &Fleet,
        at: usize,
        step: &Step,
        now: Time,
        dice: &mut Entropy,
    ) -> Result<Outcome, Denied> {
        let node = fleet.node(step.node)?;
        let wait = |why: String| Err(Denied::Conflict(why));
        let before = self.steps.iter().take(self.rollout.canaries.min(at));
        let unproven = before.filter(|(step, reached)| {
            !matches!(reached, Reached::Done(_)) && !self.rollout.forgiven.contains(&step.plan)
        });
        if let Some((canary, _)) = unproven.into_iter().next() {
            return wait(format!("the canary {} to be active again", name(fleet, canary)));
        }
        let most = self.rollout.max_unavailable as usize;
        if self.underway() >= most {
            return wait(format!("{} to be active again", self.underway()));
        }
        // One that is down already is not missed when it is rebuilt.
        let is_down = self.down.iter().any(|(down, _)| down.id == node.id);
        if !is_down && self.down.len() >= most {
            let down = self.down.iter().map(|(node, why)| format!("{} ({why})", node.name));
            return wait(format!(
                "{} to be at work again: no more than {most} of {} may be down at a time",
                down.collect::<Vec<_>>().join(", "),
                self.rollout.group
            ));
        }
        match network::held(fleet, node, None) {
            Some(why) => wait(why),
            None => imaging::apply(fleet, &step.plan, now, dice),
        }
    }
}

fn name(fleet: &Fleet, step: &Step) -> String {
    fleet.nodes.get(&step.node).map_or_else(|| step.node.short(), |node| node.name.to_string())
}

/// Every rollout that runs goes on. One node is begun at a time, so that none is begun that another rollout counts on.
pub(crate) fn advance(fleet: &Fleet, now: Time, dice: &mut Entropy) -> Outcome {
    let mut outcome = Outcome::default();
    let mut is_begun = false;
    for rollout in fleet.rollouts.values().filter(|rollout| rollout.state == RolloutState::Running) {
        let id = &rollout.id;
        match next(fleet, rollout, now, dice) {
            Next::Wait(_) => {}
            Next::Begin(..) if is_begun => {}
            Next::Begin(step, begins) => {
                is_begun = true;
                let Outcome { changes, effects, facts, reply: _ } = *begins;
                outcome.changes.extend(changes);
                outcome.effects.extend(effects);
                outcome.fact(step.node, "rollout", format!("{id} begins with it"));
                outcome.facts.extend(facts);
            }
            Next::Drop(step, why) => {
                outcome.fact(step.node, "rollout", format!("{id} leaves it out: {why}"));
                if let Some(plan) = fleet.plans.get(&step.plan).cloned() {
                    let state = PlanState::Withdrawn { why };
                    outcome.changes.push(Change::Plan(Box::new(crate::plan::Plan { state, ..plan })));
                }
            }
            Next::Stop(why) => {
                let text = format!("{id} has stopped: {why}; rackwright rollout show {id}");
                end(&mut outcome, rollout, RolloutState::Stopped { why }, text, now);
            }
            Next::Finish => {
                let done = rollout.reached(fleet).filter(|(_, one)| matches!(one, Reached::Done(_))).count();
                let text = format!("{id} is through: {done} of {} are active again", rollout.steps.len());
                end(&mut outcome, rollout, RolloutState::Done, text, now);
            }
        }
    }
    outcome
}

fn end(outcome: &mut Outcome, rollout: &Rollout, state: RolloutState, text: String, now: Time) {
    outcome.facts.push(Fact { node: None, mac: None, kind: "rollout".to_owned(), text });
    outcome.changes.push(Change::Rollout(Box::new(Rollout { state, ended: Some(now), ..rollout.clone() })));
}

//! What a rollout does next: one function, asked at every tick, and by whoever wants to see why it waits.

use super::{Reached, Rollout, RolloutState, Step, down, is_silent, taken_back};
use crate::entropy::Entropy;
use crate::network::Rule;
use crate::plan::{PlanId, Unplannable};
use crate::{Change, Denied, Fact, Fleet, Node, Outcome, State, Time, clock, imaging, limits, network};

/// What a rollout that runs does next.
#[derive(Debug)]
pub enum Next {
    /// Begin this one; what that brings about.
    Begin(Step, Box<Outcome>),
    /// Take this one out: its plan holds no more.
    Drop(Step, String),
    /// Nothing yet, for this reason.
    Wait(String),
    /// Begin no other, for this reason, after these failures.
    Stop(String, Vec<PlanId>),
    /// All are through.
    Finish,
}

/// A rollout that counts on a group, and who of that is not at work.
struct Budget<'a> {
    rollout: &'a Rollout,
    down: Vec<(&'a Node, String)>,
}

/// How far a rollout is, and what keeps it from going on.
struct Progress<'a> {
    fleet: &'a Fleet,
    rollout: &'a Rollout,
    steps: Vec<(&'a Step, Reached)>,
    /// Its own budget first, then that of every other one that runs.
    budgets: Vec<Budget<'a>>,
    now: Time,
}

/// What this rollout does next. Changes nothing.
pub fn next(fleet: &Fleet, rollout: &Rollout, now: Time, dice: &mut Entropy) -> Next {
    let others = fleet.rollouts.values();
    let others = others.filter(|other| other.state == RolloutState::Running && other.id != rollout.id);
    let budgets = std::iter::once(rollout).chain(others);
    let budgets = budgets.map(|rollout| Budget { rollout, down: down(fleet, rollout, now) }).collect();
    let steps = rollout.reached(fleet).collect();
    Progress { fleet, rollout, steps, budgets, now }.next(dice)
}

impl<'a> Progress<'a> {
    fn next(&self, dice: &mut Entropy) -> Next {
        if let Some(stop) = self.fails() {
            return stop;
        }
        let underway = self.steps.iter().filter(|(_, reached)| matches!(reached, Reached::Underway(_)));
        let underway = underway.map(|(step, _)| self.name(step)).collect::<Vec<_>>();
        let back = || Next::Wait(format!("{} to be active again", underway.join(", ")));
        let mut waiting = self.waiting().peekable();
        if waiting.peek().is_none() {
            return if underway.is_empty() { Next::Finish } else { back() };
        }
        if let Some((step, why)) = self.waiting().find_map(|(_, step)| Some((step, self.is_gone(step)?))) {
            return Next::Drop(step.clone(), why);
        }
        if underway.len() >= self.rollout.max_unavailable as usize {
            return back();
        }
        if let Err(why) = limits::refuse_more(self.fleet, true, self.now) {
            return Next::Wait(why.to_string());
        }
        // It would wait in the ramdisk for a certificate, and be missed meanwhile.
        if let Some(why) = clock::problem(self.fleet) {
            return Next::Wait(format!("certificates to be issued again: {why}"));
        }
        let mut reason = None;
        for (at, step) in waiting {
            if let Some(canary) = self.unproven_before(at) {
                // Whoever comes later waits for the same.
                let why = format!("the canary {} to be active again", self.name(canary));
                return Next::Wait(reason.unwrap_or(why));
            }
            match self.begin(step, dice) {
                Ok(outcome) => return Next::Begin(step.clone(), Box::new(outcome)),
                Err(Denied::Unplannable(Unplannable::Stale { why, .. })) => {
                    return Next::Drop(step.clone(), why);
                }
                Err(why) => drop(reason.get_or_insert_with(|| why.to_string())),
            }
        }
        Next::Wait(reason.unwrap_or_default())
    }

    fn waiting(&self) -> impl Iterator<Item = (usize, &'a Step)> {
        let waiting = self.steps.iter().enumerate().filter(|(_, (_, reached))| *reached == Reached::Waiting);
        waiting.map(|(at, (step, _))| (at, *step))
    }

    /// Why this one will never have its turn, when its server is not of the rack any more.
    fn is_gone(&self, step: &Step) -> Option<String> {
        let node = self.fleet.nodes.get(&step.node)?;
        (!node.is_let_in()).then(|| format!("{} is {}", node.name, node.state.word()))
    }

    /// Why no other node may be begun any more.
    fn fails(&self) -> Option<Next> {
        let mut seen = Vec::new();
        let (mut failed, mut canary) = (Vec::new(), None);
        for (at, (step, reached)) in self.steps.iter().enumerate() {
            let is_canary = at < self.rollout.canaries;
            let why = match reached {
                _ if self.rollout.forgiven.contains(&step.plan) => continue,
                Reached::Failed(_, why) => why,
                Reached::Dropped(why) if is_canary => why,
                Reached::Dropped(_) | Reached::Waiting | Reached::Underway(_) | Reached::Done(_) => continue,
            };
            seen.push(step.plan.clone());
            failed.push(format!("{}: {why}", self.name(step)));
            if is_canary {
                canary.get_or_insert_with(|| {
                    format!("the canary {} did not come through: {why}", self.name(step))
                });
            }
        }
        let enough = failed.len() >= self.rollout.stop_after as usize;
        let why =
            canary.or_else(|| enough.then(|| format!("{} failed: {}", failed.len(), failed.join("; "))))?;
        Some(Next::Stop(why, seen))
    }

    /// A canary before this one that is not through. One that failed, and was seen to, is passed over; one that is tried again is not.
    fn unproven_before(&self, at: usize) -> Option<&'a Step> {
        let mut before = self.steps.iter().take(self.rollout.canaries.min(at));
        let unproven = before.find(|(step, reached)| match reached {
            Reached::Done(_) => false,
            Reached::Waiting | Reached::Underway(_) => true,
            Reached::Failed(..) | Reached::Dropped(_) => !self.rollout.forgiven.contains(&step.plan),
        });
        unproven.map(|(step, _)| *step)
    }

    /// Begins this one, or says what it waits for.
    fn begin(&self, step: &Step, dice: &mut Entropy) -> Result<Outcome, Denied> {
        let (fleet, node) = (self.fleet, self.fleet.node(step.node)?);
        let wait = |why: String| Err(Denied::Conflict(why));
        if node.state == State::Active && is_silent(node, self.now) {
            return wait(format!("{} to be heard: it is silent, and would not restart", node.name));
        }
        if let Some(why) = self.budgets.iter().find_map(|budget| budget.is_spent(node, self.rollout)) {
            return wait(why);
        }
        if let Some(why) = network::held(fleet, node, None) {
            return wait(why);
        }
        // What was known of other DHCP servers is forgotten at every start.
        let is_unlooked =
            |network: &&network::Network| network.rule == Rule::Pause && network.looked.is_none();
        if let Some(network) = fleet.network_of(node).filter(is_unlooked) {
            return wait(format!("a look for other DHCP servers on {}", network.interface));
        }
        imaging::apply(fleet, &step.plan, self.rollout.force, self.now, dice)
    }

    fn name(&self, step: &Step) -> String {
        self.fleet.nodes.get(&step.node).map_or_else(|| step.node.short(), |node| node.name.to_string())
    }
}

impl Budget<'_> {
    /// Why this node may not go down now for the rollout `by`. One that certainly does not work is not missed.
    fn is_spent(&self, node: &Node, by: &Rollout) -> Option<String> {
        let Rollout { id, group, max_unavailable, .. } = self.rollout;
        if node.state != State::Active || !group.has(node) {
            return None;
        }
        let others = || self.down.iter().filter(|(down, _)| down.id != node.id);
        if others().count() < *max_unavailable as usize {
            return None;
        }
        let down = others().map(|(node, why)| format!("{} ({why})", node.name)).collect::<Vec<_>>();
        let whose = if *id == by.id { String::new() } else { format!(" by the rollout {id}") };
        Some(format!(
            "{} to be at work again: no more than {max_unavailable} of {group} may be down at a time{whose}",
            down.join(", ")
        ))
    }
}

/// Every rollout that runs goes on. One node is begun at a time, so that none is begun that another rollout counts on.
pub(crate) fn advance(fleet: &Fleet, now: Time, dice: &mut Entropy) -> Outcome {
    let mut outcome = Outcome::default();
    let mut is_begun = false;
    for rollout in fleet.rollouts.values().filter(|rollout| rollout.state == RolloutState::Running) {
        if let Some(remembers) = tried_again(fleet, rollout) {
            outcome.changes.push(remembers);
            continue;
        }
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
                outcome.changes.extend(taken_back(fleet, &step, &why, now));
            }
            Next::Stop(why, seen) => {
                let text = format!("{id} has stopped: {why}; rackwright rollout show {id}");
                let seen = seen.into_iter().collect();
                end(&mut outcome, rollout, RolloutState::Stopped { why, seen }, text, now);
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

/// A failure that was forgiven and is tried again counts anew.
fn tried_again(fleet: &Fleet, rollout: &Rollout) -> Option<Change> {
    let again = rollout.reached(fleet).filter(|(step, reached)| {
        matches!(reached, Reached::Underway(_) | Reached::Done(_)) && rollout.forgiven.contains(&step.plan)
    });
    let again = again.map(|(step, _)| step.plan.clone()).collect::<Vec<_>>();
    if again.is_empty() {
        return None;
    }
    let mut next = rollout.clone();
    next.forgiven.retain(|plan| !again.contains(plan));
    Some(Change::Rollout(Box::new(next)))
}

fn end(outcome: &mut Outcome, rollout: &Rollout, state: RolloutState, text: String, now: Time) {
    outcome.facts.push(Fact { node: None, mac: None, kind: "rollout".to_owned(), text });
    outcome.changes.push(Change::Rollout(Box::new(Rollout { state, ended: Some(now), ..rollout.clone() })));
}

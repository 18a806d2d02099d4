//! Making a rollout: every plan of it, so that all is seen before anything is confirmed.

use std::collections::BTreeSet;

use protocol::NodeId;

use super::{Group, Rollout, RolloutId, RolloutState, Step, Wish, taken_back};
use crate::entropy::Entropy;
use crate::plan::{self, PlanKind};
use crate::{Catalog, Change, Denied, Fleet, Node, Outcome, Reply, State, Time, hold, step};

/// Plans the rebuild of every node of a group.
pub(crate) fn planned(
    fleet: &Fleet,
    catalog: &Catalog,
    wish: &Wish,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    step::check_roles(catalog, wish.group.roles().as_ref())?;
    let members = in_order(fleet, wish)?;
    refuse_stuck(fleet, wish, members.first().copied())?;
    for node in &members {
        refuse_busy(fleet, node)?;
    }
    let mut outcome = Outcome::default();
    let (mut steps, mut skips) = (Vec::new(), Vec::new());
    for (at, node) in members.into_iter().enumerate() {
        let is_named = at < wish.canaries.len() || matches!(wish.group, Group::Nodes { .. });
        match one(fleet, catalog, node, wish, now, dice) {
            Ok((step, planned)) => {
                steps.push(step);
                outcome.changes.extend(planned.changes);
                outcome.facts.extend(planned.facts);
            }
            Err(why) if is_named => return Err(why),
            Err(why) => skips.push((node.id, why.to_string())),
        }
    }
    if steps.is_empty() {
        return Err(nobody(fleet, &wish.group, &skips));
    }
    outcome.changes.extend(replaced(fleet, &steps, now));
    let made = Rollout {
        id: RolloutId(format!("r-{:08x}", u32::from_be_bytes(dice.draw()))),
        group: wish.group.clone(),
        steps,
        canaries: wish.canaries.len(),
        skips,
        max_unavailable: wish.max_unavailable,
        stop_after: wish.stop_after,
        force: wish.force,
        made: now,
        ended: None,
        forgiven: BTreeSet::new(),
        state: RolloutState::Open,
    };
    outcome.changes.push(Change::Rollout(Box::new(made.clone())));
    outcome.reply = Reply::Rollout(Box::new(made));
    Ok(outcome)
}

/// The canaries as they were named, then those that do not work, whom nobody misses, then all others; by name.
fn in_order<'a>(fleet: &'a Fleet, wish: &'a Wish) -> Result<Vec<&'a Node>, Denied> {
    if wish.max_unavailable == 0 || wish.stop_after == 0 {
        return Err(Denied::Conflict("max-unavailable and stop-after are 1 or more".to_owned()));
    }
    let mut order = Vec::<&Node>::new();
    for canary in &wish.canaries {
        let node = fleet.node(*canary)?;
        let is_member = wish.group.members(fleet).any(|member| member.id == node.id);
        if !is_member || order.iter().any(|before| before.id == node.id) {
            let why = if is_member { "named twice" } else { "not of this group" };
            return Err(Denied::Conflict(format!("the canary {} is {why}", node.name)));
        }
        order.push(node);
    }
    let mut rest =
        wish.group.members(fleet).filter(|node| !wish.canaries.contains(&node.id)).collect::<Vec<_>>();
    rest.sort_by_key(|node| (node.state == State::Active, natural(node.name.as_str())));
    order.extend(rest);
    Ok(order)
}

/// `n2` comes before `n10`.
pub(crate) fn natural(name: &str) -> (String, u64, String) {
    let start = name.trim_end_matches(|letter: char| letter.is_ascii_digit());
    let number = name.strip_prefix(start).and_then(|digits| digits.parse().ok()).unwrap_or(0);
    (start.to_owned(), number, name.to_owned())
}

fn one(
    fleet: &Fleet,
    catalog: &Catalog,
    node: &Node,
    wish: &Wish,
    now: Time,
    dice: &mut Entropy,
) -> Result<(Step, Outcome), Denied> {
    hold::refuse_held(node)?;
    let image = wish.image.map(|digest| fleet.find_image(&digest.to_string())).transpose()?;
    let terms = plan::Wish { image, verify: wish.verify, ..plan::Wish::default() };
    let outcome = step::planned(fleet, catalog, node, terms, now, dice)?;
    if let Reply::Plan(made) = &outcome.reply
        && made.kind == PlanKind::Rebuild
    {
        return Ok((Step { node: node.id, plan: made.id.clone() }, outcome));
    }
    Err(Denied::Conflict(format!(
        "{0} has no system yet: it is installed by a plan of its own (rackwright node plan {0})",
        node.name
    )))
}

fn refuse_busy(fleet: &Fleet, node: &Node) -> Result<(), Denied> {
    let mut begun = fleet.rollouts.values().filter(|rollout| rollout.state.is_begun());
    match begun.find(|rollout| rollout.has(fleet, node.id)) {
        None => Ok(()),
        Some(rollout) => Err(Denied::Conflict(format!(
            "{} is part of the rollout {1}, which has begun: wait for its end, or end it (rackwright rollout cancel {1})",
            node.name, rollout.id
        ))),
    }
}

/// The first canary would wait for ever for others that are down, and they for it.
fn refuse_stuck(fleet: &Fleet, wish: &Wish, first: Option<&Node>) -> Result<(), Denied> {
    let Some(first) = first.filter(|node| !wish.canaries.is_empty() && node.state == State::Active) else {
        return Ok(());
    };
    let members = wish.group.members(fleet).filter(|node| node.id != first.id && node.installed.is_some());
    // What is only silent, or takes something in, may be at work again any moment.
    let down = members.filter(|node| node.state != State::Active);
    let down = down.map(|node| format!("{} ({})", node.name, node.state.word())).collect::<Vec<_>>();
    if down.len() < wish.max_unavailable as usize {
        return Ok(());
    }
    Err(Denied::Conflict(format!(
        "down already: {}; so no canary could begin with at most {} down: make one of these the canary, or raise \
         --max-unavailable",
        down.join(", "),
        wish.max_unavailable
    )))
}

/// Rollouts that wait to be begun and have lost a plan to a newer one.
fn replaced(fleet: &Fleet, steps: &[Step], now: Time) -> Vec<Change> {
    let takes = |step: &Step| steps.iter().any(|taken| taken.node == step.node);
    let open = fleet.rollouts.values().filter(|rollout| rollout.state == RolloutState::Open);
    let mut changes = Vec::new();
    for rollout in open.filter(|rollout| rollout.steps.iter().any(takes)) {
        let why = "a newer one was made";
        let left = rollout.steps.iter().filter(|step| !takes(step));
        changes.extend(left.flat_map(|step| taken_back(fleet, step, why, now)));
        let state = RolloutState::Withdrawn { why: why.to_owned() };
        changes.push(Change::Rollout(Box::new(Rollout { state, ended: Some(now), ..rollout.clone() })));
    }
    changes
}

fn nobody(fleet: &Fleet, group: &Group, skips: &[(NodeId, String)]) -> Denied {
    let name = |id| fleet.nodes.get(id).map_or_else(String::new, |node| node.name.to_string());
    let why = skips.iter().map(|(id, why)| format!("{}: {why}", name(id))).collect::<Vec<_>>();
    let why =
        if why.is_empty() { format!("there is no {group} (rackwright node list)") } else { why.join("; ") };
    Denied::Conflict(format!("nothing can be rebuilt: {why}"))
}

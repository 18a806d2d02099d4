//! Rollouts as people see them.

use serde::{Deserialize, Serialize};

use crate::entropy::Entropy;
use crate::rollout::{Next, Reached, Rollout, RolloutState, next};
use crate::{Fleet, Time};

/// A rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutView {
    /// Its id.
    pub id: String,
    /// `open`, `running`, `stopped`, `done`, `withdrawn`.
    pub state: String,
    /// Why it is stopped or withdrawn; what it waits for while it runs.
    pub note: Option<String>,
    /// The role whose nodes it rebuilds, or `nodes` where they were named.
    pub group: String,
    /// What is typed to begin it: how many, and of what.
    pub confirm: String,
    /// At most so many of the group are down at a time.
    pub max_unavailable: u32,
    /// After so many failures no other node is begun.
    pub stop_after: u32,
    /// Whether virtual machines that run on a node are ended; else it waits until there are none.
    #[serde(default)]
    pub force: bool,
    /// When it was made, RFC 3339.
    pub made: String,
    /// When it ended or was stopped, RFC 3339.
    pub ended: Option<String>,
    /// Its nodes, in the order in which they are begun.
    pub steps: Vec<RolloutStepRow>,
    /// Nodes of the group that are left alone.
    pub skips: Vec<SkipRow>,
}

/// One node of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RolloutStepRow {
    /// The node's name.
    pub node: String,
    /// Whether it goes before all others, to show whether it goes well.
    pub canary: bool,
    /// Its plan.
    pub plan: String,
    /// The image that it gets.
    pub image: String,
    /// The disk that is erased.
    pub disk: String,
    /// Size of that in bytes.
    pub disk_bytes: u64,
    /// `waiting`, `underway`, `done`, `failed`, `dropped`.
    pub state: String,
    /// The job, once it has begun.
    pub job: Option<String>,
    /// Why it failed or was taken out.
    pub note: Option<String>,
}

/// A node that is left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SkipRow {
    /// Its name.
    pub node: String,
    /// Why.
    pub why: String,
}

/// A rollout.
pub fn rollout_view(fleet: &Fleet, rollout: &Rollout, now: Time) -> RolloutView {
    let name =
        |id| fleet.nodes.get(id).map_or_else(|| protocol::NodeId::short(id), |node| node.name.to_string());
    let steps = rollout.reached(fleet).enumerate().map(|(at, (step, reached))| {
        let plan = fleet.plans.get(&step.plan);
        let (job, note) = match &reached {
            Reached::Waiting => (None, None),
            Reached::Underway(job) | Reached::Done(job) => (Some(job.to_string()), None),
            Reached::Failed(job, why) => (Some(job.to_string()), Some(why.clone())),
            Reached::Dropped(why) => (None, Some(why.clone())),
        };
        RolloutStepRow {
            node: name(&step.node),
            canary: at < rollout.canaries,
            plan: step.plan.to_string(),
            image: plan.map(|plan| plan.image_name.clone()).unwrap_or_default(),
            disk: plan.map(|plan| plan.target.disk.to_string()).unwrap_or_default(),
            disk_bytes: plan.map_or(0, |plan| plan.target.bytes),
            state: reached.word().to_owned(),
            job,
            note,
        }
    });
    RolloutView {
        id: rollout.id.to_string(),
        state: rollout.state.word().to_owned(),
        note: note(fleet, rollout, now),
        group: rollout.group.to_string(),
        confirm: rollout.phrase(),
        max_unavailable: rollout.max_unavailable,
        stop_after: rollout.stop_after,
        force: rollout.force,
        made: rollout.made.to_string(),
        ended: rollout.ended.map(|at| at.to_string()),
        steps: steps.collect(),
        skips: rollout.skips.iter().map(|(id, why)| SkipRow { node: name(id), why: why.clone() }).collect(),
    }
}

fn note(fleet: &Fleet, rollout: &Rollout, now: Time) -> Option<String> {
    if rollout.state != RolloutState::Running {
        return rollout.state.why().map(str::to_owned);
    }
    // What it would do now is what it does at the next tick; nothing comes of these dice.
    match next(fleet, rollout, now, &mut Entropy::new(&[0; 32])) {
        Next::Wait(why) => Some(format!("waiting for {why}")),
        Next::Begin(..) | Next::Drop(..) | Next::Stop(..) | Next::Finish => None,
    }
}

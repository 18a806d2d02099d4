//! Rolling operations: many nodes rebuilt, a few at a time, first those that are to show whether it goes well.
//!
//! A rollout holds one frozen plan for each node, made and confirmed together. What has become of them is not written down a second
//! time but read from the plans and jobs, so that a retry, a restart or a lost message can't make the two differ.

mod advance;
mod make;
mod verb;

use std::collections::BTreeSet;
use std::fmt;

use pack::Digest;
use protocol::{JobId, NodeId, Verify};
use serde::{Deserialize, Serialize};

use crate::job::JobState;
use crate::patience::SILENT_SECONDS;
use crate::plan::{Plan, PlanId, PlanState};
use crate::running::not_up;
use crate::step::moved;
use crate::{Change, Fleet, Node, State, Time};
pub use advance::{Next, next};
pub use verb::abandon;

pub(crate) use advance::advance;
pub(crate) use make::{natural, planned};
pub(crate) use verb::carry_out;

/// A rollout's id: `r-` and eight hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RolloutId(pub String);

impl fmt::Display for RolloutId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Many nodes to be rebuilt one after the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollout {
    /// Its id.
    pub id: RolloutId,
    /// Among whom it keeps enough at work.
    pub group: Group,
    /// One plan for each node, in the order in which they are begun; the canaries first.
    pub steps: Vec<Step>,
    /// How many of them are canaries.
    pub canaries: usize,
    /// Nodes of the group that are left alone, and why.
    pub skips: Vec<(NodeId, String)>,
    /// As [`Wish::max_unavailable`].
    pub max_unavailable: u32,
    /// As [`Wish::stop_after`].
    pub stop_after: u32,
    /// As [`Wish::force`].
    #[serde(default)]
    pub force: bool,
    /// When it was made.
    pub made: Time,
    /// When it ended, or was stopped.
    pub ended: Option<Time>,
    /// Failures that somebody has seen and gone on after, as long as they are not tried again.
    pub forgiven: BTreeSet<PlanId>,
    /// What becomes of it.
    pub state: RolloutState,
}

/// One node of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Who.
    pub node: NodeId,
    /// By which plan.
    pub plan: PlanId,
}

/// Among whom a rollout keeps enough at work.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
pub enum Group {
    /// Every node that has this role, now or later.
    Role {
        /// Its name.
        role: String,
    },
    /// These.
    Nodes {
        /// Who.
        nodes: BTreeSet<NodeId>,
    },
}

/// What becomes of a rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum RolloutState {
    /// May be begun.
    Open,
    /// Goes on by itself.
    Running,
    /// Begins no other node until somebody says so; those that are under way go on.
    Stopped {
        /// Why.
        why: String,
        /// The failures that have stopped it: what whoever lets it go on has seen. Empty when an operator stopped it.
        #[serde(default)]
        seen: BTreeSet<PlanId>,
    },
    /// Nothing is left to be begun, and nothing is under way.
    Done,
    /// Will never go on.
    Withdrawn {
        /// Why.
        why: String,
    },
}

/// What the operator said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whom.
    pub group: Group,
    /// With this image; otherwise for each node the one that fits it.
    pub image: Option<Digest>,
    /// These first, one after the other, and no other before all of them are active.
    pub canaries: Vec<NodeId>,
    /// At most so many of the group are not at work at a time, for whatever reason; at least 1.
    pub max_unavailable: u32,
    /// After so many failures no other node is begun; at least 1. One of a canary is always enough.
    pub stop_after: u32,
    /// What is to prove that the disks hold the image.
    pub verify: Verify,
    /// Also nodes on which virtual machines run, which are then ended; else the rollout waits until there are none.
    pub force: bool,
}

/// What an operator wants of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Begin.
    Begin,
    /// Begin no other node for now.
    Stop,
    /// Go on after it was stopped.
    Resume,
    /// Never go on.
    Cancel,
}

/// How far one node of a rollout is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// Its turn is still to come.
    Waiting,
    /// It is being rebuilt.
    Underway(JobId),
    /// It is active again.
    Done(JobId),
    /// It is not, and a person should look.
    Failed(JobId, String),
    /// It was taken out: its plan holds no more.
    Dropped(String),
}

impl RolloutState {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            RolloutState::Open => "open",
            RolloutState::Running => "running",
            RolloutState::Stopped { .. } => "stopped",
            RolloutState::Done => "done",
            RolloutState::Withdrawn { .. } => "withdrawn",
        }
    }

    /// Why it is what it is, where somebody or something made it so.
    pub fn why(&self) -> Option<&str> {
        match self {
            RolloutState::Stopped { why, .. } | RolloutState::Withdrawn { why } => Some(why),
            RolloutState::Open | RolloutState::Running | RolloutState::Done => None,
        }
    }

    /// Whether it may still begin a node.
    pub(crate) fn is_begun(&self) -> bool {
        matches!(self, RolloutState::Running | RolloutState::Stopped { .. })
    }
}

impl Reached {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            Reached::Waiting => "waiting",
            Reached::Underway(_) => "underway",
            Reached::Done(_) => "done",
            Reached::Failed(..) => "failed",
            Reached::Dropped(_) => "dropped",
        }
    }
}

impl Rollout {
    /// What a person types to begin it: how many, and of what.
    pub fn phrase(&self) -> String {
        format!("{} {}", self.steps.len(), self.group)
    }

    /// How far each node is, by its plan and its job.
    pub fn reached<'a>(&'a self, fleet: &'a Fleet) -> impl Iterator<Item = (&'a Step, Reached)> {
        self.steps.iter().map(|step| (step, reached(fleet, step)))
    }

    /// Whether it is still to begin this node, or has not got to its end.
    pub(crate) fn has(&self, fleet: &Fleet, node: NodeId) -> bool {
        let is_open = |reached: &Reached| matches!(reached, Reached::Waiting | Reached::Underway(_));
        self.reached(fleet).any(|(step, reached)| step.node == node && is_open(&reached))
    }
}

impl fmt::Display for Group {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Group::Role { role } => f.write_str(role),
            Group::Nodes { .. } => f.write_str("nodes"),
        }
    }
}

impl Group {
    /// The role that it is of, to be looked up in the catalog.
    pub(crate) fn roles(&self) -> Option<BTreeSet<String>> {
        match self {
            Group::Role { role } => Some([role.clone()].into()),
            Group::Nodes { .. } => None,
        }
    }

    pub(crate) fn has(&self, node: &Node) -> bool {
        match self {
            Group::Role { role } => node.roles.contains(role),
            Group::Nodes { nodes } => nodes.contains(&node.id),
        }
    }

    /// The nodes of it that were let in.
    pub(crate) fn members<'a>(&'a self, fleet: &'a Fleet) -> impl Iterator<Item = &'a Node> {
        fleet.nodes.values().filter(|node| node.is_let_in() && self.has(node))
    }
}

fn reached(fleet: &Fleet, step: &Step) -> Reached {
    let Some(plan) = fleet.plans.get(&step.plan) else {
        return Reached::Dropped("its plan is gone".to_owned());
    };
    let job = match &plan.state {
        PlanState::Open if fleet.nodes.get(&step.node).is_none() => {
            return Reached::Dropped("the node is gone".to_owned());
        }
        PlanState::Open => return Reached::Waiting,
        PlanState::Withdrawn { why } => return Reached::Dropped(why.clone()),
        PlanState::Applied { job } => *job,
    };
    let state = fleet.jobs.get(&job).map(|job| &job.state);
    match (state, fleet.nodes.get(&step.node).map(|node| &node.state)) {
        (None, _) => Reached::Dropped("its job is gone".to_owned()),
        (Some(JobState::Done), _) => Reached::Done(job),
        (Some(JobState::Failed { why }), _) => Reached::Failed(job, why.clone()),
        // It may yet be retried; until somebody does, it is not on its way.
        (_, Some(State::Attention { cause, job: Some(own), .. })) if *own == job => {
            Reached::Failed(job, cause.clone())
        }
        (Some(JobState::Waiting | JobState::Running | JobState::Verified), _) => Reached::Underway(job),
    }
}

/// The nodes of its group that are not at work, and why. One that never had a system is not missed; one that is to be rebuilt had one,
/// whatever became of it.
fn down<'a>(fleet: &'a Fleet, rollout: &'a Rollout, now: Time) -> Vec<(&'a Node, String)> {
    let had_system =
        |node: &Node| node.installed.is_some() || rollout.steps.iter().any(|step| step.node == node.id);
    let members = rollout.group.members(fleet).filter(|node| had_system(node));
    members.filter_map(|node| Some((node, is_down(node, now)?))).collect()
}

fn is_silent(node: &Node, now: Time) -> bool {
    node.reported.is_none_or(|at| now.seconds_since(at) >= SILENT_SECONDS)
}

/// Why a node is not at work, when it is not.
fn is_down(node: &Node, now: Time) -> Option<String> {
    if node.state != State::Active {
        return Some(node.state.word().to_owned());
    }
    if is_silent(node, now) { Some("silent".to_owned()) } else { not_up(node) }
}

/// Takes back the plan of a step whose turn has not come, and with it the node that waits for it.
fn taken_back(fleet: &Fleet, step: &Step, why: &str, now: Time) -> impl Iterator<Item = Change> {
    let plan = fleet.plans.get(&step.plan).filter(|plan| plan.state == PlanState::Open);
    let plan = plan.map(|plan| {
        let state = PlanState::Withdrawn { why: why.to_owned() };
        Change::Plan(Box::new(Plan { state, ..plan.clone() }))
    });
    let waits = |node: &&Node| matches!(&node.state, State::Planned { plan } if *plan == step.plan);
    let node = fleet.nodes.get(&step.node).filter(waits);
    plan.into_iter().chain(node.map(|node| Change::Node(Box::new(moved(node, State::Ready, now)))))
}

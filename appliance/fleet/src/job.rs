//! Jobs: work in flight, resumable after any crash.

use pack::{Digest, PublicKey};
use protocol::{JobId, NodeId, Progress, Receipt, Target, Verify};
use serde::{Deserialize, Serialize};

use crate::capture::Capture;
use crate::plan::PlanId;
use crate::{Fleet, Time};

/// Writing one image to one disk of one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// The node.
    pub node: NodeId,
    /// The plan that was applied.
    pub plan: PlanId,
    /// The image.
    pub image: Digest,
    /// The only key whose signature on it counts.
    pub signer: PublicKey,
    /// The disk, as the plan named it.
    pub target: Target,
    /// What is to prove that it holds the image.
    #[serde(default)]
    pub verify: Verify,
    /// Where it is.
    pub state: JobState,
    /// When the plan was applied.
    pub created: Time,
    /// When the agent first took it.
    pub started: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// When it last went on: `progress` that says the same again does not count.
    pub progressed: Option<Time>,
    /// How often an agent took it: more than once means power cuts or restarts on the way.
    pub takes: u32,
    /// The fingerprint of the certificate it was last taken with; the seed of a finished disk carries that one.
    #[serde(default)]
    pub taken_with: Option<String>,
    /// What proves it.
    pub receipt: Option<Receipt>,
}

/// Where a job is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum JobState {
    /// The agent has not taken it yet.
    Waiting,
    /// The agent is writing.
    Running,
    /// The disk holds the image, or the store the image of the disk; the node is on its way to active.
    Verified,
    /// The node is active.
    Done,
    /// It can't go on.
    Failed {
        /// What, why, at which byte.
        why: String,
    },
}

impl JobState {
    /// One word.
    pub fn word(&self) -> &'static str {
        match self {
            JobState::Waiting => "waiting",
            JobState::Running => "running",
            JobState::Verified => "verified",
            JobState::Done => "done",
            JobState::Failed { .. } => "failed",
        }
    }

    /// Whether nothing more will happen to it.
    pub fn ended(&self) -> bool {
        matches!(self, JobState::Done | JobState::Failed { .. })
    }
}

/// Whatever is in flight under a job's id.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// An image is written.
    Image(&'a Job),
    /// An image is taken.
    Capture(&'a Capture),
}

impl<'a> Work<'a> {
    /// The work of this id.
    pub fn of(fleet: &'a Fleet, id: JobId) -> Option<Work<'a>> {
        let image = fleet.jobs.get(&id).map(Work::Image);
        image.or_else(|| fleet.captures.get(&id).map(Work::Capture))
    }

    /// All work there ever was, in no order.
    pub fn all(fleet: &'a Fleet) -> impl Iterator<Item = Work<'a>> {
        fleet.jobs.values().map(Work::Image).chain(fleet.captures.values().map(Work::Capture))
    }

    /// Its id.
    pub fn id(self) -> JobId {
        match self {
            Work::Image(job) => job.id,
            Work::Capture(capture) => capture.id,
        }
    }

    /// Where it is.
    pub fn state(self) -> &'a JobState {
        match self {
            Work::Image(job) => &job.state,
            Work::Capture(capture) => &capture.state,
        }
    }

    /// When it was asked for.
    pub fn created(self) -> Time {
        match self {
            Work::Image(job) => job.created,
            Work::Capture(capture) => capture.created,
        }
    }

    /// When the agent first took it.
    pub fn started(self) -> Option<Time> {
        match self {
            Work::Image(job) => job.started,
            Work::Capture(capture) => capture.started,
        }
    }

    /// When it last went on.
    pub fn progressed(self) -> Option<Time> {
        match self {
            Work::Image(job) => job.progressed,
            Work::Capture(capture) => capture.progressed,
        }
    }

    /// How far it is, as the agent says.
    pub fn progress(self) -> Option<&'a Progress> {
        match self {
            Work::Image(job) => job.progress.as_ref(),
            Work::Capture(capture) => capture.progress.as_ref(),
        }
    }
}

impl<'a> From<&'a Job> for Work<'a> {
    fn from(job: &'a Job) -> Self {
        Work::Image(job)
    }
}

impl<'a> From<&'a Capture> for Work<'a> {
    fn from(capture: &'a Capture) -> Self {
        Work::Capture(capture)
    }
}

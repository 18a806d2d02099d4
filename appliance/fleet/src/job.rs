//! Jobs: work in flight, resumable after any crash.

use pack::{Digest, PublicKey};
use protocol::{JobId, NodeId, Progress, Receipt, Target};
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::plan::PlanId;

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
    /// What was read back.
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
    /// The disk holds the image; the node is on its way to active.
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

//! Jobs: work in flight, resumable after any crash.

use pack::{Digest, PublicKey};
use protocol::{JobId, NodeId, Progress, Receipt, Target, Verify};
use serde::{Deserialize, Serialize};

use crate::burn_in::BurnIn;
use crate::capture::Capture;
use crate::plan::{PlanId, PlanState};
use crate::retire::Retirement;
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
    /// Whether that has led anywhere.
    #[serde(default)]
    pub headway: Headway,
    /// The fingerprint of the certificate it was last taken with; the seed of a finished disk carries that one.
    #[serde(default)]
    pub taken_with: Option<String>,
    /// What proves it.
    pub receipt: Option<Receipt>,
}

/// How far work ever was, and how often it was taken since without getting further. Every power cut and every answer that is lost
/// is a take; an agent that falls over at once, or does not understand what it is given, takes the work every second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headway {
    furthest: u64,
    vain: u32,
}

impl Headway {
    const MOST_IN_VAIN: u32 = 10;

    /// An agent takes the work.
    pub(crate) fn take(&mut self) {
        self.vain = self.vain.saturating_add(1);
    }

    /// It is so many bytes far.
    pub(crate) fn reach(&mut self, bytes: u64) {
        if bytes > self.furthest {
            *self = Self { furthest: bytes, vain: 0 };
        }
    }

    /// A person tries it again.
    pub(crate) fn forgive(&mut self) {
        self.vain = 0;
    }

    /// Why there is no use in its being taken again, when there is none.
    pub(crate) fn hopeless(&self) -> Option<String> {
        let Self { furthest, vain } = self;
        (*vain >= Self::MOST_IN_VAIN).then(|| {
            format!(
                "the agent has taken the job {vain} times and got no further than byte {furthest}: it restarts over and \
                 over, can't be reached, or is too old for what it is to do"
            )
        })
    }
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
    /// Disks are erased.
    Retirement(&'a Retirement),
    /// Hardware is tested.
    BurnIn(&'a BurnIn),
}

impl<'a> Work<'a> {
    /// The work of this id.
    pub fn of(fleet: &'a Fleet, id: JobId) -> Option<Work<'a>> {
        let image = fleet.jobs.get(&id).map(Work::Image);
        let work = image.or_else(|| fleet.captures.get(&id).map(Work::Capture));
        let work = work.or_else(|| fleet.retirements.get(&id).map(Work::Retirement));
        work.or_else(|| fleet.burn_ins.get(&id).map(Work::BurnIn))
    }

    /// All work there ever was, in no order.
    pub fn all(fleet: &'a Fleet) -> impl Iterator<Item = Work<'a>> {
        let images = fleet.jobs.values().map(Work::Image);
        let retirements =
            fleet.retirements.values().filter(|row| matches!(row.verdict, PlanState::Applied { .. }));
        let burn_ins = fleet.burn_ins.values().map(Work::BurnIn);
        let captures = fleet.captures.values().map(Work::Capture);
        images.chain(captures).chain(retirements.map(Work::Retirement)).chain(burn_ins)
    }

    /// Its id.
    pub fn id(self) -> JobId {
        match self {
            Work::Image(job) => job.id,
            Work::Capture(capture) => capture.id,
            Work::Retirement(row) => row.id,
            Work::BurnIn(row) => row.id,
        }
    }

    /// Where it is.
    pub fn state(self) -> &'a JobState {
        match self {
            Work::Image(job) => &job.state,
            Work::Capture(capture) => &capture.state,
            Work::Retirement(row) => &row.state,
            Work::BurnIn(row) => &row.state,
        }
    }

    /// When it was asked for.
    pub fn created(self) -> Time {
        match self {
            Work::Image(job) => job.created,
            Work::Capture(capture) => capture.created,
            Work::Retirement(row) => row.made,
            Work::BurnIn(row) => row.created,
        }
    }

    /// When the agent first took it.
    pub fn started(self) -> Option<Time> {
        match self {
            Work::Image(job) => job.started,
            Work::Capture(capture) => capture.started,
            Work::Retirement(row) => row.started,
            Work::BurnIn(row) => row.started,
        }
    }

    /// When it last went on.
    pub fn progressed(self) -> Option<Time> {
        match self {
            Work::Image(job) => job.progressed,
            Work::Capture(capture) => capture.progressed,
            Work::Retirement(row) => row.progressed,
            Work::BurnIn(row) => row.told,
        }
    }

    /// How far it is, as the agent says; a test is told in other words.
    pub fn progress(self) -> Option<&'a Progress> {
        match self {
            Work::Image(job) => job.progress.as_ref(),
            Work::Capture(capture) => capture.progress.as_ref(),
            Work::Retirement(row) => row.progress.as_ref(),
            Work::BurnIn(_) => None,
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

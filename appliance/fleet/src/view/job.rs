//! Jobs as people see them.

use serde::{Deserialize, Serialize};

use crate::Fleet;
use crate::job::{Job, JobState};

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// The node's name.
    pub node: String,
    /// The node's state now.
    pub node_state: String,
    /// The plan.
    pub plan: String,
    /// The image's name.
    pub image: String,
    /// The disk.
    pub disk: String,
    /// `waiting`, `running`, `verified`, `done`, `failed`.
    pub state: String,
    /// `disarm`, `write`, `read_back`, `arm`; none before the agent took it.
    pub phase: Option<String>,
    /// Bytes of the image on the disk.
    pub done_bytes: u64,
    /// Of these, right already.
    pub same_bytes: u64,
    /// Bytes read back.
    pub read_back_bytes: u64,
    /// All bytes.
    pub total_bytes: u64,
    /// Compressed bytes fetched.
    pub fetched_bytes: u64,
    /// Percent of writing and reading back together.
    pub percent: u8,
    /// How often an agent took it.
    pub takes: u32,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339.
    pub started: Option<String>,
    /// RFC 3339.
    pub ended: Option<String>,
    /// Why it failed.
    pub why: Option<String>,
}

/// Percent of a job: writing and reading back count alike. What its agent said last may be older than its end.
pub(super) fn percent(job: &Job) -> u8 {
    if matches!(job.state, JobState::Verified | JobState::Done) {
        return 100;
    }
    let Some(progress) = &job.progress else { return 0 };
    let done = progress.done_bytes.saturating_add(progress.read_back_bytes);
    let all = progress.total_bytes.saturating_mul(2).max(1);
    u8::try_from(done.saturating_mul(100) / all).unwrap_or(100).min(99)
}

/// A job.
pub fn job_row(fleet: &Fleet, job: &Job) -> JobRow {
    let node = fleet.nodes.get(&job.node);
    let progress = job.progress.as_ref();
    let bytes = |field: fn(&protocol::Progress) -> u64| progress.map_or(0, field);
    JobRow {
        id: job.id.to_string(),
        node: node.map_or_else(|| job.node.short(), |node| node.name.to_string()),
        node_state: node.map_or("", |node| node.state.word()).to_owned(),
        plan: job.plan.to_string(),
        image: fleet.images.get(&job.image).map_or_else(|| job.image.short(), |image| image.name.clone()),
        disk: job.target.disk.to_string(),
        state: job.state.word().to_owned(),
        phase: progress.and_then(|p| serde_json::to_value(p.phase).ok()?.as_str().map(str::to_owned)),
        done_bytes: bytes(|p| p.done_bytes),
        same_bytes: bytes(|p| p.same_bytes),
        read_back_bytes: bytes(|p| p.read_back_bytes),
        total_bytes: bytes(|p| p.total_bytes),
        fetched_bytes: bytes(|p| p.fetched_bytes),
        percent: percent(job),
        takes: job.takes,
        created: job.created.to_string(),
        started: job.started.map(|at| at.to_string()),
        ended: job.ended.map(|at| at.to_string()),
        why: match &job.state {
            JobState::Failed { why } => Some(why.clone()),
            JobState::Waiting | JobState::Running | JobState::Verified | JobState::Done => None,
        },
    }
}

//! Jobs as people see them.

use pack::Digest;
use protocol::{Found, Identity, NodeId, Verify};
use serde::{Deserialize, Serialize};

use crate::job::{JobState, Work};
use crate::{Fleet, Time};

/// A job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRow {
    /// Its id.
    pub id: String,
    /// `image`: one is written; `capture`: one is taken; `erase`: disks are erased; `test`: hardware is tested.
    pub kind: String,
    /// The node's name.
    pub node: String,
    /// The node's state now.
    pub node_state: String,
    /// The plan; a capture has none.
    pub plan: Option<String>,
    /// The image's name; empty where there is none.
    pub image: String,
    /// The image's digest; a capture has one when the image is in the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// Of a capture, what becomes of that by which the node is told apart: `generalize` or `as-is`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The disk.
    pub disk: String,
    /// `waiting`, `running`, `verified`, `done`, `failed`.
    pub state: String,
    /// `compare`, `disarm`, `write`, `read_back`, `arm`, of a capture `survey`, `capture`, of erasing `erase`,
    /// `prove`, of a test `cpu`, `memory`, `disk`, `network`; none before the agent took it.
    pub phase: Option<String>,
    /// Bytes of the image on the disk, or of the disk in the image.
    pub done_bytes: u64,
    /// Of these, right already; of a capture, in the store already.
    pub same_bytes: u64,
    /// Bytes read back.
    pub read_back_bytes: u64,
    /// All bytes.
    pub total_bytes: u64,
    /// Compressed bytes that went over the wire.
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
    /// Of a capture: what of the node was found.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<FoundRow>,
    /// How the image comes, while it is written and the node has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lane: Option<LaneRow>,
    /// While an image is written or taken: seconds since the node has said anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent_seconds: Option<u64>,
}

/// How an image comes to a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LaneRow {
    /// `multicast`: it is sent to this and other nodes at once; `others`: the node fetches it from other nodes that have it;
    /// `controller`: from there.
    pub lane: String,
    /// Compressed bytes that came by multicast.
    pub multicast_bytes: u64,
    /// Packets of a million that do not arrive, of late; none when nobody has counted.
    pub lost_ppm: Option<u32>,
    /// Why it fetches although others listen.
    pub why: Option<String>,
    /// Compressed bytes that the node has had so far, by its own word, however they came.
    #[serde(default)]
    pub had_bytes: u64,
    /// Compressed bytes that came from other nodes.
    #[serde(default)]
    pub peer_bytes: u64,
    /// Compressed bytes of the whole image.
    #[serde(default)]
    pub image_bytes: u64,
}

/// Something of a node that was found when an image of it was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FoundRow {
    /// The rule's name, as `image-build lint` says it.
    pub rule: String,
    /// What it is.
    pub what: String,
    /// In how many places.
    pub places: u64,
    /// Whether it is in the image.
    pub kept: bool,
}

/// Percent of a job: writing, and reading back where that belongs to it, count alike. What its agent said last may be older than its end.
pub(super) fn percent(work: Work<'_>) -> u8 {
    if matches!(work.state(), JobState::Verified | JobState::Done) {
        return 100;
    }
    if let Work::BurnIn(row) = work {
        return row.percent();
    }
    let Some(progress) = work.progress() else { return 0 };
    let (done, times) = match work {
        // Hardly anything is read back, and that at once.
        Work::Image(job) if job.verify == Verify::Stream => (progress.done_bytes, 1),
        Work::Image(_) => (progress.done_bytes.saturating_add(progress.read_back_bytes), 2),
        Work::Capture(_) | Work::Retirement(_) | Work::BurnIn(_) => (progress.done_bytes, 1),
    };
    let all = progress.total_bytes.saturating_mul(times).max(1);
    u8::try_from(done.saturating_mul(100) / all).unwrap_or(100).min(99)
}

/// What tells one kind of work from another.
struct Terms {
    kind: &'static str,
    node: NodeId,
    plan: Option<String>,
    image: String,
    digest: Option<Digest>,
    identity: Option<&'static str>,
    disk: String,
    takes: u32,
    ended: Option<Time>,
    found: Vec<FoundRow>,
}

fn terms(fleet: &Fleet, work: Work<'_>) -> Terms {
    match work {
        Work::Image(job) => Terms {
            kind: "image",
            node: job.node,
            plan: Some(job.plan.to_string()),
            image: fleet.images.get(&job.image).map_or_else(|| job.image.short(), |image| image.name.clone()),
            digest: Some(job.image),
            identity: None,
            disk: job.target.disk.to_string(),
            takes: job.takes,
            ended: job.ended,
            found: Vec::new(),
        },
        Work::Capture(capture) => Terms {
            kind: "capture",
            node: capture.node,
            plan: None,
            image: capture.name.clone(),
            digest: capture.image.filter(|_| matches!(capture.state, JobState::Verified | JobState::Done)),
            identity: Some(match capture.identity {
                Identity::Generalize { .. } => "generalize",
                Identity::AsIs => "as-is",
            }),
            disk: capture.subject.disk.to_string(),
            takes: capture.takes,
            ended: capture.ended,
            found: capture.found.iter().map(found_row).collect(),
        },
        Work::Retirement(row) => Terms {
            kind: "erase",
            node: row.node,
            plan: Some(row.plan.to_string()),
            image: String::new(),
            digest: None,
            identity: None,
            disk: row
                .disks
                .iter()
                .map(|disk| disk.doomed.disk.disk.to_string())
                .collect::<Vec<_>>()
                .join(", "),
            takes: row.takes,
            ended: row.ended,
            found: Vec::new(),
        },
        Work::BurnIn(row) => Terms {
            kind: "test",
            node: row.node,
            plan: None,
            image: String::new(),
            digest: None,
            identity: None,
            disk: String::new(),
            takes: row.takes,
            ended: row.ended,
            found: Vec::new(),
        },
    }
}

fn found_row(found: &Found) -> FoundRow {
    let Found { rule, what, places, kept } = found.clone();
    FoundRow { rule, what, places, kept }
}

/// What of it is done now, in one word.
fn phase(work: Work<'_>) -> Option<String> {
    if let Work::BurnIn(row) = work {
        return Some(row.report.as_ref()?.part?.word().to_owned());
    }
    serde_json::to_value(work.progress()?.phase).ok()?.as_str().map(str::to_owned)
}

/// A job.
pub fn job_row<'a>(fleet: &Fleet, work: impl Into<Work<'a>>) -> JobRow {
    let work = work.into();
    let Terms { kind, node, plan, image, digest, identity, disk, takes, ended, found } = terms(fleet, work);
    let known = fleet.nodes.get(&node);
    let progress = work.progress();
    let bytes = |field: fn(&protocol::Progress) -> u64| progress.map_or(0, field);
    JobRow {
        id: work.id().to_string(),
        kind: kind.to_owned(),
        node: known.map_or_else(|| node.short(), |node| node.name.to_string()),
        node_state: known.map_or("", |node| node.state.word()).to_owned(),
        plan,
        image,
        image_digest: digest.map(|digest| digest.to_string()),
        identity: identity.map(str::to_owned),
        disk,
        state: work.state().word().to_owned(),
        phase: phase(work),
        done_bytes: bytes(|p| p.done_bytes),
        same_bytes: bytes(|p| p.same_bytes),
        read_back_bytes: bytes(|p| p.read_back_bytes),
        total_bytes: bytes(|p| p.total_bytes),
        fetched_bytes: bytes(|p| p.fetched_bytes),
        percent: percent(work),
        takes,
        created: work.created().to_string(),
        started: work.started().map(|at| at.to_string()),
        ended: ended.map(|at| at.to_string()),
        why: match work.state() {
            JobState::Failed { why } => Some(why.clone()),
            JobState::Waiting | JobState::Running | JobState::Verified | JobState::Done => None,
        },
        found,
        lane: None,
        silent_seconds: None,
    }
}

//! What nodes say of how their images come, for those who look; in memory only.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use protocol::{CastAsk, CastReply, Hearing, JobId, NodeId};

use super::Casts;

/// What is older is of a job that is over, or of a node that is gone.
const FORGET: Duration = Duration::from_secs(600);

/// The last word of each node.
#[derive(Debug, Default)]
pub(super) struct Sayings(Mutex<BTreeMap<NodeId, Said>>);

/// What a node said last, and was answered.
#[derive(Clone, Debug)]
pub struct Said {
    /// When.
    pub at: Instant,
    /// Its job.
    pub job: JobId,
    /// How its listening goes.
    pub hearing: Hearing,
    /// Stored bytes that it has had.
    pub had_bytes: u64,
    /// Whether it was told where to listen.
    pub listens: bool,
    /// Whether it was told of others to fetch from.
    pub has_sources: bool,
}

impl Casts {
    /// A node has asked how its image shall come, and was told.
    pub fn note(&self, node: NodeId, ask: &CastAsk, reply: &CastReply) {
        let said = Said {
            at: Instant::now(),
            job: ask.job,
            hearing: ask.hearing,
            had_bytes: ask.had_bytes,
            listens: reply.seat.is_some(),
            has_sources: !reply.sources.is_empty(),
        };
        let mut sayings = self.sayings.lock();
        sayings.retain(|_, old| said.at.duration_since(old.at) < FORGET);
        sayings.insert(node, said);
    }

    /// What a node has said last; none when it never did, or long ago.
    pub fn said(&self, node: NodeId) -> Option<Said> {
        self.sayings.lock().get(&node).cloned()
    }
}

impl Sayings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeId, Said>> {
        // Whole whenever the lock is free.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! How much of each image was sent, and to whom: counted since the daemon was started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use pack::Digest;

/// A count that whoever sends adds to.
pub type Counter = Arc<AtomicU64>;

/// All counts. An image that was deleted stays among them: a count does not go back.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<BTreeMap<(Digest, &'static str), Counter>>);

/// To everybody at once.
pub(super) const MULTICAST: &str = "multicast";
/// To one node.
pub(super) const CONTROLLER: &str = "controller";

impl Tally {
    /// The count of an image and a lane.
    pub(super) fn of(&self, image: Digest, lane: &'static str) -> Counter {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry((image, lane)).or_default())
    }

    /// Every count.
    pub(super) fn all(&self) -> Vec<(Digest, &'static str, u64)> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|((image, lane), count)| (*image, *lane, count.load(Ordering::Relaxed))).collect()
    }
}

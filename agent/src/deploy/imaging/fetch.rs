//! Stored bytes over the wire: ranges of the image's data area, several at once, each checked before it is kept.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use cast::Outcome;
use pack::{Digest, Manifest};
use protocol::routes;

use crate::chain::Chain;
use crate::controller::{CallError, Controller, Line};

const DEADLINE: Duration = Duration::from_secs(30);

/// What has arrived and is not written yet, and the lines it comes over.
#[derive(Debug)]
pub(super) struct Fetcher {
    controller: Controller,
    route: String,
    manifest: Arc<Manifest>,
    idle: Mutex<Vec<Line>>,
    spool: Mutex<BTreeMap<u32, Bytes>>,
}

/// How a range went.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The answers to the order.
    pub(super) outcomes: Vec<Outcome>,
    /// The controller's final no, when that is what came.
    pub(super) refused: Option<String>,
}

impl Fetcher {
    pub(super) fn new(controller: Controller, image: Digest, manifest: Arc<Manifest>) -> Self {
        let route = routes::data(&image);
        Self { controller, route, manifest, idle: Mutex::default(), spool: Mutex::default() }
    }

    /// Fetches one range and checks every piece in it.
    pub(super) async fn fetch(self: Arc<Self>, ids: Vec<u32>, offset: u64, len: u64) -> Fetched {
        let body = self.get(offset, len).await;
        match body {
            Ok(body) => {
                let here = Arc::clone(&self);
                let sorted = tokio::task::spawn_blocking(move || here.sort(&ids, offset, &body)).await;
                let outcomes = sorted.unwrap_or_else(|error| vec![Outcome::Failed(error.to_string())]);
                Fetched { outcomes, refused: None }
            }
            Err(error) => {
                let why = Chain(&error).to_string();
                let refused = error.is_refusal().then(|| why.clone());
                Fetched { outcomes: vec![Outcome::Failed(why)], refused }
            }
        }
    }

    /// Takes a piece out of the spool; empty when it is not there, as it is for a window of zeros.
    pub(super) fn take(&self, id: u32) -> Bytes {
        lock(&self.spool).remove(&id).unwrap_or_default()
    }

    async fn get(&self, offset: u64, len: u64) -> Result<Bytes, CallError> {
        let most = usize::try_from(len).unwrap_or(usize::MAX);
        let kept = lock(&self.idle).pop();
        let mut line = kept.unwrap_or_else(|| Line::new(self.controller.clone()));
        let body = line.get(&self.route, Some((offset, most)), DEADLINE).await;
        lock(&self.idle).push(line);
        body
    }

    /// Cuts a range into its pieces and keeps those that are right.
    fn sort(&self, ids: &[u32], offset: u64, body: &Bytes) -> Vec<Outcome> {
        let piece = |id: u32| {
            let chunk = self.manifest.chunk(id).ok_or_else(|| "the image has no such window".to_owned())?;
            let from = usize::try_from(chunk.offset.saturating_sub(offset)).unwrap_or(usize::MAX);
            let to = from.saturating_add(usize::try_from(chunk.stored).unwrap_or(usize::MAX));
            let stored = body.get(from..to).ok_or_else(|| "it lies outside the range".to_owned())?;
            chunk.check_stored(stored).map_err(|error| Chain(&error).to_string())?;
            Ok::<Bytes, String>(body.slice(from..to))
        };
        let keep = |id: &u32| match piece(*id) {
            Ok(stored) => {
                lock(&self.spool).insert(*id, stored);
                Outcome::Arrived(*id)
            }
            Err(cause) => Outcome::Spoilt { id: *id, cause },
        };
        ids.iter().map(keep).collect()
    }
}

/// A poisoned lock guards bytes that are checked by digest anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

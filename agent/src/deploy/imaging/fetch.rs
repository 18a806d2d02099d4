//! What has been fetched and waits for the disk; and where stored bytes lie: ranges of the image's data area, several at once.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use cast::Outcome;
use pack::{ChunkError, Digest, Manifest};
use protocol::routes;

use crate::chain::Chain;
use crate::controller::{Controller, Line};
use crate::deploy::imaging::ranges::Ranges;
use crate::deploy::imaging::sharing::Sharing;
use crate::deploy::imaging::shelf::Shelf;
use crate::deploy::imaging::sources::{Sources, Supply};

const DEADLINE: Duration = Duration::from_secs(30);

/// Where an image's stored bytes come from.
pub trait Origin: Debug + Send + Sync + 'static {
    /// A range of the data area: exactly so many bytes, or why not. They are not believed before they were checked.
    fn range(&self, offset: u64, bytes: usize) -> impl Future<Output = Result<Bytes, NoRange>> + Send;
}

/// Why a range did not come.
#[derive(Debug, thiserror::Error)]
#[error("{why}")]
pub struct NoRange {
    /// For people.
    pub why: String,
    /// Whether asking again is of no use.
    pub is_final: bool,
}

/// Why a window did not come.
#[derive(Debug)]
pub(crate) enum NoWindow {
    /// The origin did not give its range.
    Range(NoRange),
    /// What came is not the window.
    Chunk(ChunkError),
}

/// The controller, over as many lines as are asked for at once.
#[derive(Debug)]
pub(crate) struct Wire {
    controller: Controller,
    route: String,
    idle: Mutex<Vec<Line>>,
}

impl Wire {
    pub(crate) fn new(controller: Controller, image: Digest) -> Self {
        Self { controller, route: routes::data(&image), idle: Mutex::default() }
    }
}

impl Origin for Wire {
    async fn range(&self, offset: u64, bytes: usize) -> Result<Bytes, NoRange> {
        let kept = lock(&self.idle).pop();
        let mut line = kept.unwrap_or_else(|| Line::new(self.controller.clone()));
        let body = line.get(&self.route, Some((offset, bytes)), DEADLINE).await;
        lock(&self.idle).push(line);
        body.map_err(|error| NoRange { why: Chain(&error).to_string(), is_final: error.is_refusal() })
    }
}

/// An image file on a medium of this machine.
#[derive(Debug)]
pub(crate) struct ImageFile {
    file: Arc<File>,
    /// Where its data area begins.
    begin: u64,
    ranges: Ranges,
}

impl ImageFile {
    pub(crate) fn new(file: File, begin: u64) -> Self {
        Self { file: Arc::new(file), begin, ranges: Ranges::default() }
    }
}

impl Origin for ImageFile {
    async fn range(&self, offset: u64, bytes: usize) -> Result<Bytes, NoRange> {
        let (file, at) = (Arc::clone(&self.file), self.begin.saturating_add(offset));
        let ranges = self.ranges.clone();
        let read = tokio::task::spawn_blocking(move || {
            let mut body = ranges.take(bytes);
            file.read_exact_at(&mut body, at).map(|()| Bytes::from_owner(body))
        });
        let told =
            |why: String| NoRange { why: format!("reading the image at byte {at}: {why}"), is_final: false };
        read.await.map_err(|error| told(error.to_string()))?.map_err(|error| told(error.to_string()))
    }
}

/// What has arrived and is not written yet, and where more of it is.
#[derive(Debug)]
pub(crate) struct Fetcher<O> {
    sources: Sources<O>,
    manifest: Arc<Manifest>,
    spool: Mutex<BTreeMap<u32, Bytes>>,
    /// Pieces that came before they were ordered.
    laid_by: Mutex<BTreeMap<u32, Bytes>>,
    /// What others may have of it.
    shelf: Option<Arc<Shelf>>,
}

/// How a range went.
#[derive(Debug)]
pub(crate) struct Fetched {
    /// The answers to the order.
    pub(crate) outcomes: Vec<Outcome>,
    /// The origin's final no, when that is what came.
    pub(crate) refused: Option<String>,
}

impl<O: Origin> Fetcher<O> {
    /// Fetches from the origin alone, and keeps nothing for others.
    pub(crate) fn new(origin: O, manifest: Arc<Manifest>) -> Self {
        let sources = Sources::new(origin, Arc::clone(&manifest));
        Self { sources, manifest, spool: Mutex::default(), laid_by: Mutex::default(), shelf: None }
    }

    /// The same, which fetches from others before it asks the origin, and gives them what it has.
    pub(crate) fn sharing(self, sharing: &Sharing) -> Self {
        let (sources, shelf) = (self.sources.with(sharing.peers()), Some(sharing.shelf()));
        Self { sources, shelf, ..self }
    }

    /// Fetches one range, of which every piece is checked; what was laid by is there already.
    pub(crate) async fn fetch(self: Arc<Self>, ids: Vec<u32>) -> Fetched {
        if let Some(outcomes) = self.take_up(&ids) {
            return Fetched { outcomes, refused: None };
        }
        let Supply { right, spoilt, missing } = self.sources.fetch(ids).await;
        let mut outcomes = Vec::new();
        for (id, stored) in right {
            self.shelve(id, &stored);
            self.keep(id, stored);
            outcomes.push(Outcome::Arrived(id));
        }
        outcomes.extend(spoilt.into_iter().map(|(id, cause)| Outcome::Spoilt { id, cause }));
        let refused = missing.as_ref().filter(|no| no.is_final).map(|no| no.why.clone());
        outcomes.extend(missing.map(|no| Outcome::Failed(no.why)));
        Fetched { outcomes, refused }
    }

    /// Fetches one window and unpacks it; one of which nothing is used is none and empty. It is not kept.
    pub(crate) async fn window(&self, id: u32) -> Result<Vec<u8>, NoWindow> {
        let Some(chunk) = self.manifest.chunk(id) else { return Ok(Vec::new()) };
        let stored = match chunk.stored {
            0 => Bytes::new(),
            // A window is at most a MiB.
            bytes => {
                let origin = self.sources.origin();
                origin.range(chunk.offset, bytes as usize).await.map_err(NoWindow::Range)?
            }
        };
        let mut raw = vec![0; chunk.bytes as usize];
        chunk.unpack(&stored, &mut raw).map_err(NoWindow::Chunk)?;
        Ok(raw)
    }

    /// Keeps a piece that came another way, and was found right.
    pub(crate) fn keep(&self, id: u32, stored: Bytes) {
        lock(&self.spool).insert(id, stored);
    }

    /// The same, for when it is ordered.
    pub(crate) fn lay_by(&self, id: u32, stored: Bytes) {
        lock(&self.laid_by).insert(id, stored);
    }

    /// Keeps a piece for others, if they may have any.
    pub(crate) fn shelve(&self, id: u32, stored: &Bytes) {
        if let (Some(shelf), Some(chunk)) = (&self.shelf, self.manifest.chunk(id)) {
            shelf.put(chunk.offset, stored);
        }
    }

    /// Others will not get this one here, unless it comes all the same: the disk has it.
    pub(crate) fn pass(&self, id: u32) {
        if let (Some(shelf), Some(chunk)) = (&self.shelf, self.manifest.chunk(id)) {
            shelf.pass(chunk.offset, u64::from(chunk.stored));
        }
    }

    /// The only piece of an order, if it was laid by. It serves once: who asks again had no luck with it.
    fn take_up(&self, ids: &[u32]) -> Option<Vec<Outcome>> {
        let [id] = ids else { return None };
        let stored = lock(&self.laid_by).remove(id)?;
        self.keep(*id, stored);
        Some(vec![Outcome::Arrived(*id)])
    }

    /// Takes a piece out of the spool; empty when it is not there, as it is for a window of zeros.
    pub(crate) fn take(&self, id: u32) -> Bytes {
        lock(&self.spool).remove(&id).unwrap_or_default()
    }
}

/// A poisoned lock guards bytes that are checked by digest anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

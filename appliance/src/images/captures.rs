//! Images that nodes take of their disks: the windows as they are told, the bytes as they come, and what they make together.
//!
//! Nothing of a capture outlives the daemon but the image itself: an agent that finds its windows forgotten tells them again,
//! from the first. Bytes that the store has by then are not sent twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use fleet::image::Image;
use pack::{About, BuildError, Builder, Chunk, Digest, MANIFEST_BYTES_MAX, ManifestError, Signed};
use protocol::{JobId, WINDOWS_MAX};

use super::packings::Packings;
use super::{ImageError, Images, Intake};

/// Why a window or its bytes are not taken.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The windows before these are not known.
    #[error(
        "begin again: {told} windows of this capture are known here, and {before} were to come before these"
    )]
    BeginAgain {
        /// How many are known.
        told: u64,
        /// How many should be.
        before: u64,
    },
    /// More at once than is taken.
    #[error("{0} windows at once are more than {WINDOWS_MAX}")]
    TooMany(usize),
    /// More than a manifest has room for.
    #[error(
        "the disk has more in use than an image has room for: its list of windows is longer than {MANIFEST_BYTES_MAX} bytes"
    )]
    TooLarge,
    /// Bytes of a window that was never told.
    #[error("window {0} was not told before its bytes came")]
    Unknown(u32),
    /// Not records.
    #[error("the windows can't be read: {0}")]
    Records(#[from] ManifestError),
    /// Not in order.
    #[error("the windows make no image: {0}")]
    Order(#[from] BuildError),
    /// The agent's sum is another.
    #[error(
        "{windows} windows with the root {root} are here, and the node read others: take the image again"
    )]
    Root {
        /// How many are here.
        windows: u64,
        /// What they add up to.
        root: Digest,
    },
    /// The store.
    #[error(transparent)]
    Image(#[from] ImageError),
}

impl CaptureError {
    /// Whether the same may go well a little later.
    pub fn may_pass(&self) -> bool {
        matches!(self, CaptureError::Image(ImageError::File { .. }))
    }
}

/// Every capture that is under way.
#[derive(Debug)]
pub struct Captures {
    images: Arc<Images>,
    sessions: Mutex<BTreeMap<JobId, Arc<Mutex<Session>>>>,
    /// Whose turn it is to seal; kept for as long as somebody seals or waits.
    turns: Mutex<BTreeMap<JobId, Weak<Turn>>>,
}

/// Held by the one who seals a capture.
pub(crate) type Turn = tokio::sync::Mutex<()>;

/// One capture: what was told of it, and the chunks on their way in.
#[derive(Debug)]
struct Session {
    chunks: Vec<Chunk>,
    record_bytes: usize,
    intake: Intake<Arc<Images>>,
}

impl Captures {
    /// None is under way.
    pub fn new(images: Arc<Images>) -> Self {
        Self { images, sessions: Mutex::default(), turns: Mutex::default() }
    }

    fn sessions(&self) -> MutexGuard<'_, BTreeMap<JobId, Arc<Mutex<Session>>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether none is under way.
    pub fn is_idle(&self) -> bool {
        self.sessions().is_empty()
    }

    /// Forgets what is not in `live`; what came of it leaves nothing in the store.
    pub fn keep(&self, live: &BTreeSet<JobId>) {
        let gone = {
            let mut sessions = self.sessions();
            let gone = sessions.keys().copied().filter(|job| !live.contains(job)).collect::<Vec<_>>();
            gone.into_iter().filter_map(|job| sessions.remove(&job)).collect::<Vec<_>>()
        };
        // The disk is waited for, and nobody else has to.
        drop(gone);
    }

    fn session(&self, job: JobId) -> Option<Arc<Mutex<Session>>> {
        self.sessions().get(&job).cloned()
    }

    /// Takes the next windows of a disk of `disk_bytes`, and says of which the stored bytes are missing. Saying the same again
    /// changes nothing; saying something else of a place that was told before takes back what was told from there on. Waits for
    /// the disk.
    ///
    /// # Errors
    /// [`CaptureError::BeginAgain`] when those before are not known; the others when these are no windows, or there is no room.
    pub fn windows(
        &self,
        job: JobId,
        before: u64,
        records: &[u8],
        disk_bytes: u64,
    ) -> Result<Vec<u32>, CaptureError> {
        let chunks = Chunk::decode_all(records, disk_bytes)?;
        if chunks.len() > WINDOWS_MAX {
            return Err(CaptureError::TooMany(chunks.len()));
        }
        let session = match self.session(job) {
            Some(session) => session,
            None if before > 0 => return Err(CaptureError::BeginAgain { told: 0, before }),
            None => self.begin(job),
        };
        lock(&session).take(before, &chunks)
    }

    fn begin(&self, job: JobId) -> Arc<Mutex<Session>> {
        let intake = Intake::begin(Arc::clone(&self.images));
        let session = Arc::new(Mutex::new(Session { chunks: Vec::new(), record_bytes: 0, intake }));
        let mut sessions = self.sessions();
        // Of two requests that begin it, the first does.
        Arc::clone(sessions.entry(job).or_insert(session))
    }

    /// Takes the stored bytes of a window that was told. Waits for the disk. When that is full to the last byte, the capture gives
    /// back what it has of it.
    ///
    /// # Errors
    /// [`CaptureError::BeginAgain`], [`CaptureError::Unknown`]; [`CaptureError::Image`] when they are not what was told.
    pub fn stored(&self, job: JobId, window: u32, bytes: &[u8]) -> Result<(), CaptureError> {
        let held = self.session(job).ok_or(CaptureError::BeginAgain { told: 0, before: 1 })?;
        let mut session = lock(&held);
        let chunk = session.chunks.binary_search_by_key(&window, |chunk| chunk.window);
        let chunk = chunk.ok().and_then(|at| session.chunks.get(at)).ok_or(CaptureError::Unknown(window))?;
        let chunk = chunk.clone();
        if !session.intake.lacks(&chunk) {
            // It came twice, or another capture has brought its data since it was asked for.
            return Ok(());
        }
        let put = session.intake.put(&chunk, bytes);
        drop(session);
        if put.as_ref().is_err_and(ImageError::is_full) {
            // The data base is on the same disk, and without it nobody could even cancel this.
            self.sessions().retain(|_, session| !Arc::ptr_eq(session, &held));
        }
        Ok(put?)
    }

    /// The image that the windows of a job make, signed with the controller's key; it is not in the store yet.
    ///
    /// # Errors
    /// [`CaptureError::Root`] when they are not those that the agent has read; [`CaptureError::Records`] when they make no image.
    pub fn sign(&self, job: JobId, about: About, windows: u64, root: Digest) -> Result<Signed, CaptureError> {
        let session = self.session(job).ok_or(CaptureError::BeginAgain { told: 0, before: windows })?;
        let session = lock(&session);
        let mut builder = Builder::new(about);
        for chunk in &session.chunks {
            builder.push_chunk(chunk.clone())?;
        }
        let manifest = builder.finish()?;
        let told = u64::try_from(session.chunks.len()).unwrap_or(u64::MAX);
        if (told, manifest.root()) != (windows, root) {
            return Err(CaptureError::Root { windows: told, root: manifest.root() });
        }
        Ok(Signed::new(&manifest, &self.images.key))
    }

    /// What whoever seals this capture must hold: the same for all who ask while one of them has it.
    pub fn turn(&self, job: JobId) -> Arc<Turn> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        if let Some(turn) = turns.get(&job).and_then(Weak::upgrade) {
            return turn;
        }
        let turn = Arc::new(Turn::default());
        turns.insert(job, Arc::downgrade(&turn));
        turn
    }

    /// Puts the image into the store: durable when this returns. Waits for the disk. The capture is over, whatever comes of it.
    ///
    /// # Errors
    /// [`CaptureError::Image`]: bytes that never came, or a disk that does not take them; then nothing is left of it.
    pub fn seal(&self, job: JobId, signed: Signed) -> Result<Image, CaptureError> {
        let forgotten = CaptureError::BeginAgain { told: 0, before: 1 };
        let session = self.sessions().remove(&job).ok_or(forgotten)?;
        let Ok(session) = Arc::try_unwrap(session) else {
            // Bytes are still coming, of an agent that says it has sent all.
            return Err(CaptureError::BeginAgain { told: 0, before: 1 });
        };
        let session = session.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(session.intake.seal(signed)?)
    }
}

/// A poisoned lock guards a list that is whole between any two statements.
fn lock(session: &Mutex<Session>) -> MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Session {
    /// What is told anew of the same place counts, and nothing that was told behind it: the disk is another since the node read it
    /// last, or the agent has begun again. What came of it stays; the sum at the end says whether all is of one reading.
    fn take(&mut self, before: u64, chunks: &[Chunk]) -> Result<Vec<u32>, CaptureError> {
        let told = u64::try_from(self.chunks.len()).unwrap_or(u64::MAX);
        let again = CaptureError::BeginAgain { told, before };
        let before = usize::try_from(before).ok().filter(|before| *before <= self.chunks.len());
        let before = before.ok_or(again)?;
        let (first, rest) = self.chunks.split_at(before);
        check_order(first.last(), chunks)?;
        // What an image holds is not how it is stored: another program, or another level, packs the same into other bytes.
        let as_kept = |chunk: &Chunk| self.intake.kept(chunk).unwrap_or_else(|| chunk.clone());
        let chunks = chunks.iter().map(as_kept).collect::<Vec<_>>();
        let known = rest.get(..chunks.len()).unwrap_or_default();
        let is_known =
            known.len() == chunks.len() && known.iter().zip(&chunks).all(|(k, c)| holds_same(k, c));
        let replaced = if is_known { known } else { rest };
        let end = before.saturating_add(replaced.len());
        let record_bytes = self.record_bytes.saturating_sub(encoded_bytes(replaced));
        let record_bytes = record_bytes.saturating_add(encoded_bytes(&chunks));
        if record_bytes > MANIFEST_BYTES_MAX {
            return Err(CaptureError::TooLarge);
        }
        let missing = self.missing(&chunks)?;
        self.record_bytes = record_bytes;
        self.chunks.splice(before..end, chunks);
        Ok(missing)
    }

    /// Of chunks with the same bytes the first is asked for.
    fn missing(&self, chunks: &[Chunk]) -> Result<Vec<u32>, CaptureError> {
        let mut asked = Packings::default();
        let mut wanted = chunks.iter().filter(|chunk| self.intake.lacks(chunk)).collect::<Vec<_>>();
        wanted.retain(|chunk| {
            let is_first = !asked.has(chunk);
            asked.add(chunk);
            is_first
        });
        self.intake.reserve(wanted.iter().map(|chunk| u64::from(chunk.stored)).sum())?;
        Ok(wanted.into_iter().map(|chunk| chunk.window).collect())
    }
}

/// How long the records of these chunks are in a manifest.
fn encoded_bytes(chunks: &[Chunk]) -> usize {
    Chunk::encode_all(chunks).len()
}

/// Windows come in the order of the disk.
fn check_order(before: Option<&Chunk>, chunks: &[Chunk]) -> Result<(), BuildError> {
    let mut after = before.map(|chunk| chunk.window);
    for Chunk { window, .. } in chunks {
        if let Some(after) = after.filter(|after| window <= after) {
            return Err(BuildError::Order { window: *window, after });
        }
        after = Some(*window);
    }
    Ok(())
}

/// Whether the same is on the disk, however it is stored.
fn holds_same(one: &Chunk, other: &Chunk) -> bool {
    (one.window, one.bytes, one.digest, &one.map) == (other.window, other.bytes, other.digest, &other.map)
}

//! From packed windows to the controller: their records in batches, then the stored bytes of those that its store lacks, and
//! the seal. What waits here is bounded: one batch, and as many windows as there are lines.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use data_encoding::BASE64;
use pack::{Chunk, Digest, Packed, merkle};
use protocol::{Envelope, JobId, Missing, NodeId, Windows, routes};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use crate::chain::Chain;
use crate::command::{CommandError, Reign};
use crate::controller::{CallError, Controller, Line};
use crate::deploy::capture::gauge::Gauge;

/// Windows that are told at once: at most as many MiB wait for the answer.
const BATCH: usize = 24;
/// Connections that carry stored bytes.
const LINES: usize = 4;
const DEADLINE: Duration = Duration::from_secs(60);
/// How a refusal begins that says: what was told is forgotten.
const AGAIN: &str = "begin again:";

/// Why not all was sent.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The controller has forgotten what it was told: it may be told again.
    #[error("{0}")]
    Again(String),
    /// The job was cancelled, or a new hello is needed.
    #[error("{0}")]
    Stopped(String),
    /// The controller's final no.
    #[error(transparent)]
    Refused(CallError),
    /// A command that is not for this node, or of a reign that is over.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// It wants what it was not told of.
    #[error("the controller asks for window {0}, of which it was not told")]
    Unknown(u32),
    /// A window that is none, which is a bug.
    #[error(transparent)]
    Window(#[from] pack::BuildError),
    /// A thread of ours died, which is a bug.
    #[error("sending")]
    Died(#[from] tokio::task::JoinError),
}

impl SendError {
    /// What a final no means.
    pub(super) fn of(error: CallError) -> Self {
        let CallError::Refused { status, why, .. } = &error else { return SendError::Refused(error) };
        match *status {
            409 if why.starts_with(AGAIN) => SendError::Again(why.clone()),
            // The certificate is of yesterday: what follows a hello mends that.
            401 | 403 => SendError::Stopped(Chain(&error).to_string()),
            _ => SendError::Refused(error),
        }
    }
}

/// What was sent, as the seal tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) windows: u64,
    pub(super) root: Digest,
}

/// Whom to send to, and for what.
#[derive(Debug)]
pub(super) struct Sending<'a> {
    pub(super) controller: Controller,
    pub(super) node: NodeId,
    pub(super) reign: Reign,
    pub(super) job: JobId,
    pub(super) gauge: &'a Gauge<'a>,
}

impl Sending<'_> {
    /// Sends everything that comes, which is in the order of the disk.
    ///
    /// # Errors
    /// [`SendError`]. A controller that is away is waited for.
    pub(super) async fn run(&mut self, mut packed: mpsc::Receiver<Packed>) -> Result<Sent, SendError> {
        let mut line = Line::new(self.controller.clone());
        let mut uploads = Uploads::new(self.controller.clone(), self.job);
        let (mut tree, mut told) = (merkle::Tree::default(), 0);
        loop {
            let mut batch = Batch::default();
            while batch.chunks.len() < BATCH
                && let Some(packed) = packed.recv().await
            {
                batch.add(packed)?;
            }
            if batch.chunks.is_empty() {
                break;
            }
            let missing = self.tell(&mut line, told, &batch).await?;
            for chunk in &batch.chunks {
                tree.push(chunk, chunk.digest);
                self.gauge.done(chunk, missing.contains(&chunk.window));
            }
            told += u64::try_from(batch.chunks.len()).unwrap_or(0);
            for window in missing {
                let stored = batch.stored.remove(&window).ok_or(SendError::Unknown(window))?;
                uploads.begin(window, stored, self.gauge).await?;
            }
        }
        uploads.end(self.gauge).await?;
        Ok(Sent { windows: told, root: tree.root() })
    }

    /// Tells of a batch; gives the windows that the store lacks.
    async fn tell(&mut self, line: &mut Line, before: u64, batch: &Batch) -> Result<Vec<u32>, SendError> {
        let records = BASE64.encode(&Chunk::encode_all(&batch.chunks));
        let windows = Windows { job: self.job, before, records };
        let trouble = |error: &CallError, _| self.gauge.trouble(error);
        let reply = line.insist::<_, Envelope<Missing>>(routes::WINDOWS, &windows, DEADLINE, trouble).await;
        let missing = self.reign.open(self.node, reply.map_err(SendError::of)?)?;
        if missing.go_on {
            self.gauge.no_trouble();
            return Ok(missing.windows);
        }
        Err(SendError::Stopped("the controller cancelled the job".to_owned()))
    }
}

/// Windows that are told together.
#[derive(Debug, Default)]
struct Batch {
    chunks: Vec<Chunk>,
    stored: BTreeMap<u32, Bytes>,
}

impl Batch {
    fn add(&mut self, packed: Packed) -> Result<(), SendError> {
        self.chunks.push(packed.chunk()?);
        self.stored.insert(packed.window, packed.stored.into());
        Ok(())
    }
}

/// Stored bytes under way, on a few lines at once.
#[derive(Debug)]
struct Uploads {
    controller: Controller,
    job: JobId,
    idle: Arc<Mutex<Vec<Line>>>,
    room: Arc<Semaphore>,
    under_way: JoinSet<Result<u64, CallError>>,
}

impl Uploads {
    fn new(controller: Controller, job: JobId) -> Self {
        let room = Arc::new(Semaphore::new(LINES));
        Self { controller, job, idle: Arc::default(), room, under_way: JoinSet::new() }
    }

    /// Sends the bytes of a window as soon as a line is free.
    async fn begin(&mut self, window: u32, stored: Bytes, gauge: &Gauge<'_>) -> Result<(), SendError> {
        let permit = Arc::clone(&self.room).acquire_owned().await;
        // Those that have ended made room.
        while let Some(ended) = self.under_way.try_join_next() {
            gauge.sent(ended?.map_err(SendError::of)?);
        }
        let (idle, controller) = (Arc::clone(&self.idle), self.controller.clone());
        let route = routes::stored(&self.job, window);
        self.under_way.spawn(async move {
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut line = kept.unwrap_or_else(|| Line::new(controller));
            let sent = put(&mut line, &route, &stored).await;
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            drop(permit);
            sent
        });
        Ok(())
    }

    /// Waits for the rest.
    async fn end(mut self, gauge: &Gauge<'_>) -> Result<(), SendError> {
        while let Some(ended) = self.under_way.join_next().await {
            gauge.sent(ended?.map_err(SendError::of)?);
        }
        Ok(())
    }
}

/// Sends bytes until they are taken; gives how many there were.
async fn put(line: &mut Line, route: &str, stored: &Bytes) -> Result<u64, CallError> {
    loop {
        match line.put(route, stored.clone(), DEADLINE).await {
            Ok(()) => return Ok(u64::try_from(stored.len()).unwrap_or(u64::MAX)),
            Err(error) if error.is_refusal() => return Err(error),
            Err(_) => tokio::time::sleep(line.pause()).await,
        }
    }
}

/// What the threads that pack are told when nobody takes windows any more.
#[derive(Debug, thiserror::Error)]
#[error("nobody takes the windows any more")]
pub struct NotTaken;

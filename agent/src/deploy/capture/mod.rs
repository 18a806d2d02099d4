//! One image from one disk; nothing is written.
//!
//! ```text
//! what killed runs have left removed -> the disk, or none -> all disks read-only, this one too -> opened, alone -> looked at again
//!   -> looked into (image-build): a view without what belongs to this machine, or a list of it -> surveyed
//!   -> packed on all cores, told, sent where the store lacks it -> sealed -> what the controller says next
//! ```
//! Disks that appear meanwhile are nobody's business here: nothing is opened for writing but the view, by `image-build`.

mod gauge;
mod look;
mod send;
pub(super) mod subject;

use std::sync::Arc;
use std::time::Instant;

use pack::disk::{Access, Disk, DiskError};
use pack::{Capture, Compression, Packed, Survey, WINDOWS_MAX};
use protocol::{CaptureJob, Envelope, Found, Identity, Progress, Seal, Task, routes};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use crate::chain::Chain;
use crate::controller::{CallError, Line};
use crate::deploy::Server;
use crate::deploy::hello::{Admitted, GRACE};
use crate::deploy::imaging::Next;
use crate::deploy::imaging::report::{self, Reporter};

use gauge::{Gauge, nothing_yet};
use look::View;
use send::{NotTaken, Sending, Sent};

pub use look::LookError;
pub use send::SendError;
pub use subject::Unfit;

/// zstd's own default: a core packs some 300 MB/s with it.
const LEVEL: i32 = 3;
/// More threads than this pack more than a network takes, and each has some MiB waiting.
const THREADS_MAX: usize = 10;
/// How often a controller may forget what it was told.
const ATTEMPTS: u32 = 5;

/// Why no image was taken.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    /// The choice of the disk.
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// What is on it.
    #[error(transparent)]
    Look(#[from] LookError),
    /// It can't be opened.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// It can't be read.
    #[error("surveying the disk")]
    Survey(#[source] std::io::Error),
    /// More than a manifest has room for.
    #[error("{} GiB of the disk are in use; an image has room for {} GiB", windows >> 10, WINDOWS_MAX >> 10)]
    TooLarge {
        /// How many windows of it are used.
        windows: u64,
    },
    /// Reading or packing.
    #[error(transparent)]
    Pack(#[from] pack::CaptureError<NotTaken>),
    /// Sending.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The controller restarts again and again.
    #[error("the controller has forgotten {ATTEMPTS} times what it was told, the last time with: {0}")]
    Forgetful(String),
    /// This machine gave up on its own work.
    #[error("capturing")]
    Thread(#[from] tokio::task::JoinError),
}

/// Does the job. A failure is told to the controller, which decides what becomes of it.
pub(super) async fn run(server: &mut Server, admitted: &Admitted, job: &CaptureJob) -> Next {
    server.screen.state("capturing", "");
    let outcome = work(server, admitted, job).await;
    server.screen.progress(None);
    match outcome {
        Ok(task) => {
            server.screen.state("captured", "");
            server.screen.milestone("captured");
            Some(task)
        }
        Err(CaptureError::Send(SendError::Stopped(why))) => {
            server.screen.state("stopped", &why);
            None
        }
        Err(error) => {
            let why = crate::text::clean(&Chain(&error).to_string(), 1000);
            server.screen.state("failed", &why);
            server.screen.milestone(&format!("failed: {why}"));
            report::confess(server, admitted, Progress { failed: Some(why), ..nothing_yet(job.job) }).await;
            None
        }
    }
}

async fn work(server: &mut Server, admitted: &Admitted, job: &CaptureJob) -> Result<Task, CaptureError> {
    let begun = Instant::now();
    let first = nothing_yet(job.job);
    let reporter = Reporter::begin(admitted.controller.clone(), admitted.node, server.reign, first);
    look::clear(&server.root).await;
    let (root, wanted) = (server.root.clone(), job.disk.clone());
    let ready = spawn_blocking(move || subject::ready(&root, &wanted)).await??;
    // Until the end, whichever it is.
    let _held = ready.held;
    let looked = tokio::select! {
        looked = look(server, job, ready.disk, ready.open) => looked?,
        why = reporter.stopped() => return Err(SendError::Stopped(why).into()),
    };
    let Looked { disk, sector_bytes, found, view } = looked;
    server.screen.state("capturing", "finding out what of the disk is used");
    let read = Arc::clone(&disk);
    let survey = spawn_blocking(move || pack::survey(&*read, sector_bytes)).await?;
    let survey = Arc::new(survey.map_err(CaptureError::Survey)?);
    let windows = survey.windows();
    if windows > WINDOWS_MAX {
        return Err(CaptureError::TooLarge { windows });
    }
    let sealed = repeat(server, admitted, job, &reporter, (&disk, &survey), &found, begun).await;
    drop(disk);
    if let Some(view) = view {
        view.end().await;
    }
    sealed
}

/// The disk as it shall be in the image.
struct Looked {
    disk: Arc<Disk>,
    sector_bytes: u32,
    found: Vec<Found>,
    /// What keeps it so.
    view: Option<View>,
}

/// Looks into the disk. Whoever does that wants it for himself: it is let go, and kept from being swapped meanwhile.
async fn look(
    server: &Server,
    job: &CaptureJob,
    disk: protocol::Disk,
    alone: Disk,
) -> Result<Looked, CaptureError> {
    let sector_bytes = alone.sector_bytes();
    let kept = Disk::open(alone.path(), Access::Read)?;
    drop(alone);
    match &job.identity {
        Identity::Generalize { keep } => {
            let mut view = look::generalized(&server.root, &disk.name, keep, &server.screen).await?;
            let disk = Arc::new(Disk::open(&view.path, Access::Read)?);
            let found = std::mem::take(&mut view.found);
            Ok(Looked { disk, sector_bytes, found, view: Some(view) })
        }
        Identity::AsIs => {
            let found = look::found(&server.root, &disk.name, &server.screen).await;
            let (root, wanted) = (server.root.clone(), job.disk.clone());
            let (_, alone) = spawn_blocking(move || subject::open(&root, &wanted, &disk)).await??;
            drop(kept);
            Ok(Looked { disk: Arc::new(alone), sector_bytes, found, view: None })
        }
    }
}

/// Packs, sends and seals; again, when the controller has forgotten what it was told.
async fn repeat(
    server: &mut Server,
    admitted: &Admitted,
    job: &CaptureJob,
    reporter: &Reporter,
    (disk, survey): (&Arc<Disk>, &Arc<Survey>),
    found: &[Found],
    begun: Instant,
) -> Result<Task, CaptureError> {
    let mut last = String::new();
    for _ in 0..ATTEMPTS {
        server.screen.state("capturing", &last);
        let sealed = match send(server, admitted, job, reporter, (disk, survey)).await {
            Ok(sent) => {
                let milliseconds = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
                let (job, layout, seed, found) =
                    (job.job, survey.layout(), survey.seed_place(), found.to_vec());
                let Sent { windows, root } = sent;
                seal(server, admitted, &Seal { job, windows, root, layout, seed, found, milliseconds }).await
            }
            Err(error) => Err(error),
        };
        match sealed {
            Err(CaptureError::Send(SendError::Again(why))) => last = why,
            other => return other,
        }
    }
    Err(CaptureError::Forgetful(last))
}

async fn send(
    server: &Server,
    admitted: &Admitted,
    job: &CaptureJob,
    reporter: &Reporter,
    (disk, survey): (&Arc<Disk>, &Arc<Survey>),
) -> Result<Sent, CaptureError> {
    let gauge = Gauge::new(job.job, survey.used.bytes(), &server.screen, reporter);
    let (controller, node, reign) = (admitted.controller.clone(), admitted.node, server.reign);
    let mut sending = Sending { controller, node, reign, job: job.job, gauge: &gauge };
    let (packed, packing) = pack(Arc::clone(disk), Arc::clone(survey));
    let sent = tokio::select! {
        sent = sending.run(packed) => sent,
        why = reporter.stopped() => Err(SendError::Stopped(why)),
    };
    // It ends when nobody takes its windows any more; a disk that can't be read says why there are none.
    match (packing.await?, sent) {
        (Err(error @ (pack::CaptureError::Read { .. } | pack::CaptureError::Chunk(_))), _)
        | (Err(error @ pack::CaptureError::Died), _) => Err(error.into()),
        (Ok(()) | Err(pack::CaptureError::Sink(NotTaken)), sent) => {
            let sent = sent?;
            gauge.end();
            Ok(sent)
        }
    }
}

type Packing = JoinHandle<Result<(), pack::CaptureError<NotTaken>>>;

/// Begins to pack the disk, on threads of its own.
fn pack(disk: Arc<Disk>, survey: Arc<Survey>) -> (mpsc::Receiver<Packed>, Packing) {
    let (give, taken) = mpsc::channel(1);
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(THREADS_MAX));
    let packing = spawn_blocking(move || {
        let compression = Compression::Zstd(LEVEL);
        let capture = Capture { source: &*disk, used: &survey.used, compression, threads };
        capture.run(|packed| give.blocking_send(packed).map_err(|_| NotTaken))
    });
    (taken, packing)
}

/// Seals until it is heard; gives what comes next.
async fn seal(server: &mut Server, admitted: &Admitted, seal: &Seal) -> Result<Task, CaptureError> {
    let mut line = Line::new(admitted.controller.clone());
    let screen = &server.screen;
    screen.state("capturing", "the controller makes the image");
    let trouble = |error: &CallError, _| screen.state("sealing the image", &Chain(error).to_string());
    let reply = line.insist::<_, Envelope<Task>>(routes::SEAL, seal, GRACE * 4, trouble).await;
    let opened = server.reign.open(admitted.node, reply.map_err(SendError::of)?);
    Ok(opened.map_err(SendError::from)?)
}

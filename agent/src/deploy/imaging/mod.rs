//! One image onto one disk.
//!
//! ```text
//! manifest (signed, the job's) -> disks looked at -> the planned one, or none -> all others read-only,
//!   also those to come -> opened, alone -> looked at again -> the image fitted to its size -> delivered (cast decides,
//!   deliver carries out) -> receipt -> what the controller says next
//! ```

pub mod deliver;
pub(crate) mod door;
pub(crate) mod fetch;
pub(crate) mod fitting;
#[cfg(test)]
mod fixture;
pub mod guard;
pub mod hold;
pub mod image;
pub mod listen;
mod lookout;
mod pipeline;
mod ranges;
pub mod ready;
pub(super) mod report;
pub(crate) mod sharing;
pub(crate) mod shelf;
pub(crate) mod sources;
mod spool;
pub mod target;
pub mod user;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cast::Left;
use pack::disk::Engine;
use pack::{Digest, Manifest};
use protocol::{
    Carried, Disk, Envelope, ImageJob, NodeId, Phase, Progress, Proof, Receipt, Seed, Signature, Task, routes,
};

use crate::chain::Chain;
use crate::controller::{CallError, Line};
use crate::deploy::Server;
use crate::deploy::hello::{Admitted, GRACE};
use crate::deploy::imaging::deliver::{Delivery, DeliveryError, Ended, PATIENCE};
use crate::deploy::imaging::fetch::{Fetcher, Wire};
use crate::deploy::imaging::fitting::FittingError;
use crate::deploy::imaging::guard::Unsafe;
use crate::deploy::imaging::hold::HoldError;
use crate::deploy::imaging::image::ImageError;
use crate::deploy::imaging::listen::{Listening, Office, Seating};
use crate::deploy::imaging::lookout::Lookout;
use crate::deploy::imaging::ready::{Here, Ready};
use crate::deploy::imaging::report::{Reporter, Told};
use crate::deploy::imaging::sharing::Sharing;
use crate::deploy::imaging::shelf::Budget;
use crate::deploy::imaging::target::{Begun, DiskError};
use crate::keys::KeyPair;

/// Why an image job can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ImagingError {
    /// The image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The disk's size.
    #[error(transparent)]
    Fitting(#[from] FittingError),
    /// The choice of the disk.
    #[error(transparent)]
    Unsafe(#[from] Unsafe),
    /// The disks' users.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// A disk that appeared while the image was written.
    #[error("a disk appeared that can't be protected")]
    Appeared(#[source] Arc<HoldError>),
    /// The disk itself.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The delivery; the receiver's own words.
    #[error("{0}")]
    Delivery(String),
    /// The threads that carry it out.
    #[error(transparent)]
    Begin(#[from] DeliveryError),
    /// This machine gave up on its own work.
    #[error("looking at the disks")]
    Thread(#[source] tokio::task::JoinError),
}

/// What the controller says after a job; `None`: ask it, after a new hello.
pub(super) type Next = Option<Task>;

enum Outcome {
    /// Others may fetch here until the receipt is handed in: whoever is behind is to lose nothing by our being done.
    Verified(Box<Receipt>, Lasting),
    Stopped(String),
}

/// What lasts longer than the delivery: the controller is told of the door, and the door is open.
struct Lasting {
    _seating: Seating,
    sharing: Sharing,
}

/// The others who write the same image.
struct Company {
    lasting: Lasting,
    listening: Listening,
    /// What may wait for the disk, where some of the memory is for them.
    spool_bytes: u64,
}

/// Does the job. A failure is told to the controller, which decides what becomes of it.
pub(super) async fn run(server: &mut Server, admitted: &Admitted, key: &KeyPair, job: &ImageJob) -> Next {
    server.screen.state("imaging", "");
    let outcome = work(server, admitted, key, job).await;
    server.screen.progress(None);
    match outcome {
        Ok(Outcome::Verified(receipt, _lasting)) => {
            server.screen.state("verified", "");
            server.screen.milestone("verified");
            hand_in(server, admitted, &receipt).await
        }
        Ok(Outcome::Stopped(why)) => {
            server.screen.state("stopped", &why);
            None
        }
        Err(error) => {
            let why = crate::text::clean(&Chain(&error).to_string(), 1000);
            server.screen.state("failed", &why);
            server.screen.milestone(&format!("failed: {why}"));
            report::confess(server, admitted, Progress { failed: Some(why), ..nothing_yet(job, 0) }).await;
            None
        }
    }
}

async fn work(
    server: &Server,
    admitted: &Admitted,
    key: &KeyPair,
    job: &ImageJob,
) -> Result<Outcome, ImagingError> {
    let begun = Instant::now();
    let manifest = match manifest(server, admitted, job).await? {
        Ok(manifest) => Arc::new(manifest),
        Err(why) => return Ok(Outcome::Stopped(why)),
    };
    let (root, planned, carried) = (server.root.clone(), job.clone(), Carried::of(manifest.layout()));
    let (node, sites) = (admitted.node, server.told.sites());
    let make_ready = move || ready::ready(&Here { root: &root, node, sites: &sites }, &planned, &carried);
    let ready = tokio::task::spawn_blocking(make_ready).await;
    let Ready { held: protected, disk, open: drive, has_begun } = ready.map_err(ImagingError::Thread)??;
    let reporter = {
        let first = nothing_yet(job, manifest.used_bytes());
        Reporter::begin(admitted.controller.clone(), admitted.node, server.reign, first)
    };
    let lookout = Lookout::begin(&server.root, &disk.name, protected);
    let wire = Wire::new(admitted.controller.clone(), job.image);
    let fetcher = Fetcher::new(wire, Arc::clone(&manifest));
    let trouble = |why: &str| server.screen.state("imaging", why);
    let fit = tokio::select! {
        fit = fitting::fit(&fetcher, &manifest, disk.bytes, PATIENCE, trouble) => fit,
        // Nothing was written yet.
        why = reporter.stopped() => return Ok(Outcome::Stopped(why)),
    };
    let fit = match fit {
        Ok(fit) => Arc::new(fit),
        Err(FittingError::Fetch { why, is_final: true }) => return Ok(Outcome::Stopped(why)),
        Err(error) => return Err(error.into()),
    };
    let company = company(server, admitted, job, &manifest, has_begun).await;
    let Company { lasting, listening, spool_bytes } = company;
    let fetcher = Arc::new(fetcher.sharing(&lasting.sharing));
    let delivery = Delivery {
        manifest,
        drive: Arc::new(drive),
        fit,
        fetcher,
        begun: Begun::Seed(Box::new(seed(server, admitted, key, job, false))),
        seed: Some(seed(server, admitted, key, job, true)),
        rotational: disk.rotational,
        engine: Engine::Uring,
        discard: true,
        has_begun,
        verify: job.verify,
        patience: PATIENCE,
        spool_bytes,
        watcher: &Told { job: job.job, screen: &server.screen, reporter: &reporter, lookout: &lookout },
    };
    match delivery.run(Some(listening)).await? {
        Ended::Done(progress, root) => {
            delivery.drive.reread_partitions();
            let bare = receipt(job, &progress, begun.elapsed());
            let durable = progress.bytes_durable;
            let receipt = signed(bare, admitted.node, key, (&disk, root, durable));
            Ok(Outcome::Verified(Box::new(receipt), lasting))
        }
        Ended::Failed(failure) => Err(ImagingError::Delivery(failure_words(&failure))),
        Ended::Stopped(why) => Ok(Outcome::Stopped(why)),
        Ended::Exposed(error) => Err(ImagingError::Appeared(error)),
    }
}

/// Joins the others. `has_begun`: the job has, before a restart.
async fn company(
    server: &Server,
    admitted: &Admitted,
    job: &ImageJob,
    manifest: &Arc<Manifest>,
    has_begun: bool,
) -> Company {
    let memory = spool::bytes(&server.root, manifest.data_bytes());
    let Budget { spool, shelf } = Budget::of(memory, manifest.data_bytes());
    let office = Office::new(admitted.controller.clone(), admitted.node, server.reign);
    let seating = Seating::begin(office, job.job);
    let live = seating.live(server.told.address.address);
    let sharing = Sharing::begin(&live, &job.image, shelf).await;
    let listening = Listening::new(Arc::clone(manifest), live, &sharing, memory, has_begun);
    Company { lasting: Lasting { _seating: seating, sharing }, listening, spool_bytes: spool }
}

/// The manifest, however long the controller is away; the inner error is its final no.
async fn manifest(
    server: &Server,
    admitted: &Admitted,
    job: &ImageJob,
) -> Result<Result<Manifest, String>, ImageError> {
    let mut line = Line::new(admitted.controller.clone());
    loop {
        match image::fetch(&mut line, job).await {
            Ok(manifest) => return Ok(Ok(manifest)),
            Err(ImageError::Fetch(error)) if error.is_refusal() => return Ok(Err(Chain(&error).to_string())),
            Err(ImageError::Fetch(error)) => {
                server.screen.state("imaging", &Chain(&error).to_string());
                tokio::time::sleep(line.pause()).await;
            }
            Err(error) => return Err(error),
        }
    }
}

fn seed(server: &Server, admitted: &Admitted, key: &KeyPair, job: &ImageJob, complete: bool) -> Seed {
    Seed {
        controller: server.told.controller,
        ca: server.told.ca,
        node: admitted.node,
        name: admitted.name.clone(),
        job: Some(job.job),
        key: key.pkcs8_base64(),
        certificate: if complete { admitted.certificate.clone() } else { String::new() },
        complete,
    }
}

fn receipt(job: &ImageJob, progress: &cast::Progress, took: Duration) -> Receipt {
    Receipt {
        job: job.job,
        image: job.image,
        disk: job.target.disk.clone(),
        total_bytes: progress.bytes_total,
        written_bytes: progress.receipt.bytes_written,
        same_bytes: progress.receipt.bytes_skipped,
        fetched_bytes: progress.receipt.bytes_fetched,
        milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        verify: job.verify,
        proof: None,
    }
}

/// The receipt with what was read from which disk, and this node's word for it.
fn signed(
    receipt: Receipt,
    node: NodeId,
    key: &KeyPair,
    (disk, root, durable_bytes): (&Disk, Digest, u64),
) -> Receipt {
    let (serial, wwn) = (disk.serial.clone(), disk.wwn.clone());
    let unsigned = Signature([0; 64]);
    let proof = Proof { root, serial, wwn, durable_bytes, key: key.public(), signature: unsigned };
    let mut receipt = Receipt { proof: Some(Box::new(proof)), ..receipt };
    // The signature is no part of what is signed.
    let statement = receipt.statement(&node).unwrap_or_default();
    if let Some(proof) = &mut receipt.proof {
        proof.signature = key.sign(statement.as_bytes());
    }
    receipt
}

fn nothing_yet(job: &ImageJob, total_bytes: u64) -> Progress {
    let (done_bytes, same_bytes, read_back_bytes, fetched_bytes) = (0, 0, 0, 0);
    let (phase, failed) = (Phase::Disarm, None);
    Progress {
        job: job.job,
        phase,
        total_bytes,
        done_bytes,
        same_bytes,
        read_back_bytes,
        fetched_bytes,
        failed,
    }
}

fn failure_words(failure: &cast::Failure) -> String {
    match failure.left {
        Left::Unbootable | Left::Whole => failure.to_string(),
        Left::Unknown => format!("{failure}; the disk could not be made unbootable"),
    }
}

/// Hands the receipt in until it is taken: without it the whole work would be done again.
async fn hand_in(server: &mut Server, admitted: &Admitted, receipt: &Receipt) -> Next {
    let mut line = Line::new(admitted.controller.clone());
    let screen = &server.screen;
    let trouble = |error: &CallError, _| screen.state("handing in the receipt", &Chain(error).to_string());
    let reply = line.insist::<_, Envelope<Task>>(routes::VERIFIED, receipt, GRACE, trouble).await;
    let task = match reply {
        Ok(envelope) => server.reign.open(admitted.node, envelope).map_err(|error| error.to_string()),
        Err(error) => Err(Chain(&error).to_string()),
    };
    task.inspect_err(|why| server.screen.state("the receipt was refused", why)).ok()
}

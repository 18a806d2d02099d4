//! Disks that are erased, each on a thread of its own, and proven before it is called so.
//!
//! ```text
//! the plan's disks open, all others read-only -> [firmware] -> [procedure] on each -> its Erasure signed and handed in, as soon as it is done
//! ```
//! One disk that refuses, fails or lies keeps no other from being erased; the job fails with it, by its name. The agent keeps
//! nothing: after a power cut the controller gives it those disks that are not proven, and each is begun again.

mod disk;
pub mod firmware;
pub mod nvme;
mod pattern;
pub mod procedure;
mod ready;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use protocol::{
    DiskId, Doomed, Envelope, EraseJob, Erasure, JobId, Nonce, Phase, Progress, Signature, Task, routes,
};
use tokio::task::{JoinError, JoinSet, spawn_blocking};

use crate::chain::Chain;
use crate::command::CommandError;
use crate::controller::{CallError, Line};
use crate::deploy::Server;
use crate::deploy::hello::{Admitted, GRACE};
use crate::deploy::imaging::Next;
use crate::deploy::imaging::hold::{HoldError, Protected};
use crate::deploy::imaging::report::{self, Reporter};
use crate::inventory;
use crate::keys::KeyPair;
use crate::screen::Bar;

use disk::Here;
use procedure::{Done, Step, Terms};
use ready::{Open, Ready, ready};

const EVERY: Duration = Duration::from_secs(1);

/// Why not every disk is erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseJobError {
    /// The other disks can't be protected.
    #[error(transparent)]
    Hold(#[from] HoldError),
    /// What the firmware keeps can't be removed.
    #[error(transparent)]
    Firmware(#[from] firmware::ForgetError),
    /// Some of the disks.
    #[error("{}", .0.join("; "))]
    Disks(Vec<String>),
    /// The controller wants it stopped.
    #[error("{0}")]
    Stopped(String),
    /// The controller does not take a proof.
    #[error("handing in the proof")]
    Call(#[from] CallError),
    /// Its answer is not for us.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// This machine gave up on its own work.
    #[error("erasing")]
    Thread(#[from] JoinError),
}

/// Does the job. A failure is told to the controller, which decides what becomes of it.
pub(super) async fn run(server: &mut Server, admitted: &Admitted, key: &KeyPair, job: &EraseJob) -> Next {
    server.screen.state("erasing", "");
    let outcome = work(server, admitted, key, job).await;
    server.screen.progress(None);
    match outcome {
        Ok(task) => {
            server.screen.state("erased", "");
            server.screen.milestone("erased");
            task
        }
        Err(EraseJobError::Stopped(why)) => {
            server.screen.state("stopped", &why);
            None
        }
        Err(error) => {
            let why = crate::text::clean(&Chain(&error).to_string(), 1000);
            server.screen.state("failed", &why);
            server.screen.milestone(&format!("failed: {why}"));
            report::confess(
                server,
                admitted,
                Progress { failed: Some(why), ..counted(job.job, Phase::Erase, 0) },
            )
            .await;
            None
        }
    }
}

fn counted(job: JobId, phase: Phase, total_bytes: u64) -> Progress {
    Progress {
        job,
        phase,
        total_bytes,
        done_bytes: 0,
        same_bytes: 0,
        read_back_bytes: 0,
        fetched_bytes: 0,
        failed: None,
    }
}

/// What all threads together have done.
#[derive(Debug, Default)]
struct Count {
    erased: AtomicU64,
    read: AtomicU64,
    stop: AtomicBool,
}

impl Count {
    fn step(&self, step: Step) -> bool {
        match step {
            Step::Erased(bytes) => self.erased.fetch_add(bytes, Ordering::Relaxed),
            Step::Read(bytes) => self.read.fetch_add(bytes, Ordering::Relaxed),
        };
        self.goes_on()
    }

    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}

/// A disk, and what became of it.
type Outcome = (Doomed, protocol::Disk, Result<(Done, Duration), String>);

/// The other disks' protection. Every thread has a hand on it, so that none writes when it is gone.
type Held = Arc<Mutex<Protected>>;

/// Threads that are told to stop when nobody waits for them any more.
struct Threads {
    set: JoinSet<Outcome>,
    count: Arc<Count>,
    held: Held,
}

impl Threads {
    /// Tells them to stop, and waits until they have: what a drive does in one command can't be stopped.
    async fn end(&mut self) {
        self.count.stop.store(true, Ordering::Relaxed);
        while self.set.join_next().await.is_some() {}
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.count.stop.store(true, Ordering::Relaxed);
    }
}

/// What came of the disks so far.
#[derive(Default)]
struct Sum {
    next: Next,
    /// Those of which nothing was heard yet.
    left: Vec<DiskId>,
    wrong: Vec<String>,
}

async fn work(
    server: &mut Server,
    admitted: &Admitted,
    key: &KeyPair,
    job: &EraseJob,
) -> Result<Next, EraseJobError> {
    let total = job.disks.iter().map(|doomed| doomed.disk.bytes).sum();
    let first = counted(job.job, Phase::Erase, total);
    let reporter = Reporter::begin(admitted.controller.clone(), admitted.node, server.reign, first);
    let (root, doomed) = (server.root.clone(), job.disks.clone());
    let Ready { held, disks, names } = spawn_blocking(move || ready(&root, &doomed)).await??;
    let (root, doomed) = (server.root.clone(), names.clone());
    let forgotten = spawn_blocking(move || firmware::forget(&root, &doomed)).await??;
    if !forgotten.is_empty() {
        server.screen.milestone(&format!("removed from the firmware: {}", forgotten.join(", ")));
    }
    let held = Arc::new(Mutex::new(held));
    let mut threads = Threads { set: JoinSet::new(), count: Arc::default(), held };
    let mut sum = Sum::default();
    for (doomed, open) in disks {
        match open {
            Ok(open) => {
                sum.left.push(doomed.disk.disk.clone());
                begin(&mut threads, &server.root, job.challenge, doomed, open);
            }
            Err(why) => sum.wrong.push(format!("{}: {}", doomed.disk.disk, Chain(&why))),
        }
    }
    while !threads.set.is_empty() {
        tokio::select! {
            done = threads.set.join_next() => {
                let Some(done) = done else { break };
                take_in(server, admitted, key, job.job, done, &mut sum).await;
            }
            why = reporter.stopped() => {
                server.screen.state("stopping", &why);
                threads.end().await;
                return Err(EraseJobError::Stopped(why));
            }
            () = tokio::time::sleep(EVERY) => {
                if let Err(error) = protect(server.root.clone(), &threads.held, names.clone()).await {
                    threads.end().await;
                    return Err(error);
                }
                tell(server, &reporter, job.job, &threads.count, total);
            }
        }
    }
    sum.wrong.extend(sum.left.iter().map(|disk| format!("{disk}: this machine gave up on its own work")));
    if sum.wrong.is_empty() { Ok(sum.next) } else { Err(EraseJobError::Disks(sum.wrong)) }
}

/// One disk is done, or failed, or its proof is not taken: whatever it is, the others go on.
async fn take_in(
    server: &mut Server,
    admitted: &Admitted,
    key: &KeyPair,
    job: JobId,
    done: Result<Outcome, JoinError>,
    sum: &mut Sum,
) {
    // A thread that fell over says nothing of its disk, which stays among those that are left.
    let Ok((doomed, disk, result)) = done else { return };
    sum.left.retain(|left| *left != doomed.disk.disk);
    let why = match result {
        Ok(done) => {
            let erasure = signed(admitted, key, job, (&disk, &doomed), done);
            match hand_in(server, admitted, &erasure).await {
                Ok(next) => {
                    sum.next = next;
                    return;
                }
                Err(error) => format!("its proof is not taken: {}", Chain(&error)),
            }
        }
        Err(why) => why,
    };
    sum.wrong.push(format!("{}: {why}", doomed.disk.disk));
}

fn begin(threads: &mut Threads, root: &Path, challenge: Nonce, doomed: Doomed, open: Open) {
    let (count, held) = (Arc::clone(&threads.count), Arc::clone(&threads.held));
    let namespaces = inventory::namespaces(root, &open.disk.name);
    threads.set.spawn_blocking(move || {
        let Open { disk, drive, marks } = open;
        let begun = Instant::now();
        let medium = Here { drive, bus: disk.bus, namespaces, count: Arc::clone(&count) };
        let terms = Terms { challenge: &challenge, disk: &doomed.disk.disk, marks: &marks };
        let done = procedure::erase(&medium, &terms, &|step| count.step(step));
        medium.drive.reread_partitions();
        let done = done.map(|done| (done, begun.elapsed())).map_err(|error| Chain(&error).to_string());
        drop(held);
        (doomed, disk, done)
    });
}

/// Disks that have appeared since refuse writes too.
async fn protect(root: PathBuf, held: &Held, names: Vec<String>) -> Result<(), EraseJobError> {
    let held = Arc::clone(held);
    let protected = spawn_blocking(move || {
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        // One that is on its way in or out is looked at again the next time.
        let _next_time = held.also_these(&root, &names);
    });
    Ok(protected.await?)
}

fn tell(server: &Server, reporter: &Reporter, job: JobId, count: &Count, total: u64) {
    let (done, read) = (count.erased.load(Ordering::Relaxed), count.read.load(Ordering::Relaxed));
    let phase = if done >= total { Phase::Prove } else { Phase::Erase };
    let (done_bytes, read_back_bytes) = (done.min(total), read);
    server.screen.progress(Some(Bar { what: "erasing", done: done_bytes, total, rate: 0 }));
    reporter.tell(Progress { done_bytes, read_back_bytes, ..counted(job, phase, total) });
}

fn signed(
    admitted: &Admitted,
    key: &KeyPair,
    job: JobId,
    (disk, doomed): (&protocol::Disk, &Doomed),
    (done, took): (Done, Duration),
) -> Erasure {
    let Done { method, firmware, written_bytes, canaries, samples, sampled_bytes } = done;
    let erasure = Erasure {
        job,
        disk: doomed.disk.disk.clone(),
        model: disk.model.clone(),
        serial: disk.serial.clone(),
        wwn: disk.wwn.clone(),
        bytes: disk.bytes,
        method,
        firmware: crate::text::clean(&firmware, 400),
        written_bytes,
        canaries,
        samples,
        sampled_bytes,
        milliseconds: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        key: key.public(),
        signature: Signature([0; 64]),
    };
    // The signature is no part of what is signed.
    let signature = key.sign(erasure.statement(&admitted.node).as_bytes());
    Erasure { signature, ..erasure }
}

/// Hands a proof in until it is taken: without it the whole disk would be erased again.
async fn hand_in(server: &mut Server, admitted: &Admitted, erasure: &Erasure) -> Result<Next, EraseJobError> {
    let mut line = Line::new(admitted.controller.clone());
    let screen = &server.screen;
    let trouble = |error: &CallError, _| screen.state("handing in the proof", &Chain(error).to_string());
    let reply = line.insist::<_, Envelope<Task>>(routes::ERASED, erasure, GRACE, trouble).await?;
    Ok(Some(server.reign.open(admitted.node, reply)?))
}

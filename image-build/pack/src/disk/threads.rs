//! The queue's engine where there is no `io_uring`: threads, each of which does one request at a time.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::Disk;
use super::error::DiskError;
use super::queue::{Done, Job, What};

/// More threads than this only wait for each other.
const THREADS_MAX: u16 = 32;

/// Requests that are not finished, on threads.
#[derive(Debug)]
pub(super) struct Threads<T> {
    /// `None` once the threads are to end.
    jobs: Option<Sender<(u64, Job<T>)>>,
    done: Receiver<Done<T>>,
    workers: Vec<JoinHandle<()>>,
    /// Requests of an earlier era than this are not begun.
    era: Arc<AtomicU64>,
    left: usize,
}

impl<T: Send + 'static> Threads<T> {
    pub(super) fn new(disk: &Arc<Disk>, depth: u16) -> io::Result<Threads<T>> {
        let (jobs, waiting) = mpsc::channel::<(u64, Job<T>)>();
        let (finished, done) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let era = Arc::new(AtomicU64::new(0));
        let mut threads = Threads { jobs: Some(jobs), done, workers: Vec::new(), era, left: 0 };
        for _ in 0..depth.clamp(1, THREADS_MAX) {
            let (disk, waiting) = (Arc::clone(disk), Arc::clone(&waiting));
            let (finished, era) = (finished.clone(), Arc::clone(&threads.era));
            let worker = std::thread::Builder::new().name("disk".to_owned()).spawn(move || {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((born, job)) = next else { return };
                    let done = if born < era.load(Ordering::Relaxed) {
                        job.cancelled(&disk)
                    } else {
                        job.run(&disk)
                    };
                    if finished.send(done).is_err() {
                        return;
                    }
                }
            })?;
            threads.workers.push(worker);
        }
        Ok(threads)
    }

    pub(super) fn submit(&mut self, job: Job<T>) {
        let born = self.era.load(Ordering::Relaxed);
        if self.jobs.as_ref().is_some_and(|jobs| jobs.send((born, job)).is_ok()) {
            self.left += 1;
        }
    }

    /// What is done, when something is.
    pub(super) fn poll(&mut self) -> Option<Done<T>> {
        match self.done.try_recv() {
            Ok(done) => {
                self.left = self.left.saturating_sub(1);
                Some(done)
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => None,
        }
    }

    /// What is done next; `None` when nothing is left to wait for.
    pub(super) fn wait(&mut self) -> Option<Done<T>> {
        if self.left == 0 {
            return None;
        }
        let done = self.done.recv().ok()?;
        self.left -= 1;
        Some(done)
    }

    /// Ends requests with [`DiskError::Cancelled`] as far as no thread has begun them.
    pub(super) fn cancel(&mut self) {
        self.era.fetch_add(1, Ordering::Relaxed);
    }
}

impl<T> Drop for Threads<T> {
    /// What no thread has begun is not begun any more.
    fn drop(&mut self) {
        self.era.fetch_add(1, Ordering::Relaxed);
        self.jobs = None;
        for worker in self.workers.drain(..) {
            // A worker has nothing to say; one that panicked has said it.
            _ = worker.join();
        }
    }
}

impl<T> Job<T> {
    fn run(self, disk: &Disk) -> Done<T> {
        let transfers = self.transfers(disk);
        let Job { tag, what, .. } = self;
        match what {
            What::Read(mut buffer) => {
                let result = transfers.into_iter().try_for_each(|run| disk.read_run(run, &mut buffer));
                Done { tag, buffer: Some(buffer), result }
            }
            What::Write(buffer) => {
                let result = transfers.into_iter().try_for_each(|run| disk.write_run(run, &buffer));
                Done { tag, buffer: None, result }
            }
        }
    }

    fn cancelled(self, disk: &Disk) -> Done<T> {
        let action = self.what.action();
        let result = Err(DiskError::Cancelled { action, path: disk.path.clone() });
        let buffer = match self.what {
            What::Read(buffer) => Some(buffer),
            What::Write(_) => None,
        };
        Done { tag: self.tag, buffer, result }
    }
}

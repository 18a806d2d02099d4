//! The way between the spool and the disk: hands that unpack and hash, as many as there are cores, and one thread that keeps
//! the disk's queue full. Nothing here waits for the wire, and the wire waits for nothing here.
//!
//! ```text
//! write:  stored bytes ─► a hand unpacks into a buffer ─► queue ─► Done
//! check:  queue reads into a buffer ─► a hand hashes it ─► Same or Differs
//! ```
//! An order holds at most one buffer, and there are as many buffers as orders: no thread ever waits for another's.

use std::io;
use std::num::NonZero;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use cast::{Outcome, Ticket};
use pack::disk::{Buffer, Done, Engine, Pool, Queue, Run};
use pack::{Block, Chunk, Digest, Fit, Manifest, Stretch};
use tokio::sync::mpsc::UnboundedSender;

use crate::chain::Chain;
use crate::deploy::imaging::target::{DiskError, Drive};

/// Free bytes between used ones that are transferred with them: one order to the disk is cheaper than two.
const GAP: u32 = 64 << 10;
/// Zeros from so many bytes on are left to the drive to write.
const ZEROS: u32 = 128 << 10;
/// Transfers at once: a disk that spins loses more by seeking between orders than it wins by having several.
const DEPTH_ROTATIONAL: u16 = 2;
const DEPTH: u16 = 16;
/// Orders of one kind at once, in MiB of memory too.
const ORDERS_MAX: u16 = 24;
/// While the queue has room, the disk is looked at this often. What it lacks then is work, not speed.
const GLANCE: Duration = Duration::from_micros(500);

/// What a disk is given at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width {
    /// Transfers.
    pub(super) depth: u16,
    /// Windows to be written, and as many to be read: those that are in the hands come on top of the transfers.
    pub(super) orders: u16,
    hands: u16,
}

impl Width {
    /// For such a disk, on this machine.
    pub(super) fn of(rotational: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let hands = u16::try_from(cores).unwrap_or(ORDERS_MAX).min(ORDERS_MAX);
        let depth = if rotational { DEPTH_ROTATIONAL } else { DEPTH };
        Self { depth, orders: (depth + hands).min(ORDERS_MAX), hands }
    }
}

/// What has become of an order.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) ticket: Ticket,
    pub(super) outcome: Outcome,
    /// Which window was read, and the digest of what is really there.
    pub(super) read: Option<(u32, Digest)>,
}

/// The threads. When it is dropped, what the disk has been given is waited for and the rest is not begun.
#[derive(Debug)]
pub(super) struct Pipeline {
    manifest: Arc<Manifest>,
    fit: Arc<Fit>,
    to_hands: Option<Sender<Work>>,
    to_queue: Sender<Feed>,
    threads: Vec<JoinHandle<()>>,
    words: String,
}

/// For a hand.
enum Work {
    Unpack { ticket: Ticket, id: u32, stored: Bytes },
    Hash { ticket: Ticket, id: u32, buffer: Buffer },
}

/// For the queue.
enum Feed {
    Read { ticket: Ticket, id: u32 },
    Write { ticket: Ticket, buffer: Buffer, runs: Vec<Run> },
    End,
}

impl Pipeline {
    /// Begins, with the engine that is wished for or, where the kernel has none, with threads.
    ///
    /// # Errors
    /// When there are no threads or no queue to be had.
    pub(super) fn begin(
        drive: &Arc<Drive>,
        (manifest, fit): (&Arc<Manifest>, &Arc<Fit>),
        (width, engine): (Width, Engine),
        tell: &UnboundedSender<Answer>,
    ) -> Result<Self, DiskError> {
        let pool = Pool::new(2 * width.orders + 2);
        let queue = Queue::new(drive.disk(), &pool, width.depth, engine).map_err(|e| drive.error(e))?;
        let words = words(&queue, width.depth);
        let (to_hands, work) = mpsc::channel();
        let (to_queue, told) = mpsc::channel();
        let work = Arc::new(Mutex::new(work));
        let (manifest, fit) = (Arc::clone(manifest), Arc::clone(fit));
        let shared = Shared { drive: Arc::clone(drive), manifest, fit, pool, tell: tell.clone() };
        let feeder = Feeder {
            shared: shared.clone(),
            queue,
            depth: usize::from(width.depth),
            told,
            to_hands: to_hands.clone(),
        };
        let mut pipeline = Self {
            manifest: Arc::clone(&shared.manifest),
            fit: Arc::clone(&shared.fit),
            to_hands: Some(to_hands),
            to_queue,
            threads: Vec::new(),
            words,
        };
        let failed = |source| {
            drive.error(pack::disk::DiskError::Queue { path: drive.disk().path().to_owned(), source })
        };
        pipeline.spawn("queue", move || feeder.run()).map_err(failed)?;
        for _ in 0..width.hands {
            let hand =
                Hand { shared: shared.clone(), work: Arc::clone(&work), to_queue: pipeline.to_queue.clone() };
            pipeline.spawn("unpack", move || hand.run()).map_err(failed)?;
        }
        Ok(pipeline)
    }

    /// What does the I/O, for people.
    pub(super) fn words(&self) -> &str {
        &self.words
    }

    /// Reads a window and hashes it.
    pub(super) fn check(&self, ticket: Ticket, id: u32) {
        // Nobody takes it when the queue's thread is gone, and then nobody waits for the answer either.
        let _gone = self.to_queue.send(Feed::Read { ticket, id });
    }

    /// The zeros of a window that are better written by the drive itself, each as offset on the disk and length, and whether
    /// anything is left to be written then.
    pub(super) fn zeros(&self, id: u32) -> (Vec<(u64, u64)>, bool) {
        let Some(chunk) = self.manifest.chunk(id) else { return (Vec::new(), true) };
        let (zeros, rest): (Vec<_>, Vec<_>) =
            self.fit.writes(chunk, GAP, ZEROS).into_iter().partition(|one| one.kind == Block::Zero);
        let zeros = zeros.into_iter().map(|one| (one.disk, one.buffer.len() as u64));
        (zeros.collect(), !rest.is_empty())
    }

    /// Where [`write`] is sent to by who zeroed first.
    pub(super) fn hands(&self) -> Hands {
        Hands(self.to_hands.clone())
    }

    fn spawn(&mut self, name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name(name.to_owned()).spawn(work)?);
        Ok(())
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        self.to_hands = None;
        let _gone = self.to_queue.send(Feed::End);
        for thread in self.threads.drain(..) {
            // One that panicked has said so.
            let _ended = thread.join();
        }
    }
}

/// The hands, for somebody who has something to do before.
#[derive(Debug)]
pub(super) struct Hands(Option<Sender<Work>>);

impl Hands {
    /// Unpacks stored bytes and writes what is not free and no long stretch of zeros.
    pub(super) fn write(&self, ticket: Ticket, id: u32, stored: Bytes) {
        if let Some(hands) = &self.0 {
            let _gone = hands.send(Work::Unpack { ticket, id, stored });
        }
    }
}

fn words<T: Send>(queue: &Queue<T>, depth: u16) -> String {
    match (queue.engine(), queue.fallback()) {
        (Engine::Uring, _) => format!("disk: io_uring, {depth} at once"),
        (Engine::Threads, None) => format!("disk: threads, {depth} at once"),
        (Engine::Threads, Some(why)) => format!("disk: threads, {depth} at once; io_uring: {why}"),
    }
}

/// What all threads have.
#[derive(Clone)]
struct Shared {
    drive: Arc<Drive>,
    manifest: Arc<Manifest>,
    fit: Arc<Fit>,
    pool: Pool,
    tell: UnboundedSender<Answer>,
}

impl Shared {
    fn answer(&self, ticket: Ticket, outcome: Outcome) {
        self.read(ticket, outcome, None);
    }

    fn fail(&self, ticket: Ticket, error: &DiskError) {
        self.answer(ticket, Outcome::Failed(Chain(error).to_string()));
    }

    fn read(&self, ticket: Ticket, outcome: Outcome, read: Option<(u32, Digest)>) {
        // Nobody listens any more: the job has ended.
        let _ended = self.tell.send(Answer { ticket, outcome, read });
    }

    /// The window; answers when there is none.
    fn chunk(&self, ticket: Ticket, id: u32) -> Option<&Chunk> {
        let chunk = self.manifest.chunk(id);
        if chunk.is_none() {
            self.answer(ticket, Outcome::Failed("the image has no such window".to_owned()));
        }
        chunk
    }
}

/// One of those who unpack and hash.
struct Hand {
    shared: Shared,
    work: Arc<Mutex<Receiver<Work>>>,
    to_queue: Sender<Feed>,
}

impl Hand {
    fn run(self) {
        loop {
            let next = self.work.lock().unwrap_or_else(PoisonError::into_inner).recv();
            match next {
                Ok(Work::Unpack { ticket, id, stored }) => self.unpack(ticket, id, &stored),
                Ok(Work::Hash { ticket, id, buffer }) => self.hash(ticket, id, buffer),
                Err(_) => return,
            }
        }
    }

    /// Nothing is written when the bytes are not what the manifest says.
    fn unpack(&self, ticket: Ticket, id: u32, stored: &[u8]) {
        let Some(chunk) = self.shared.chunk(ticket, id) else { return };
        let mut buffer = self.shared.pool.take();
        let window = buffer.get_mut(..chunk.bytes as usize).unwrap_or_default();
        if let Err(error) = chunk.unpack_checked(stored, window) {
            return self.shared.fail(ticket, &self.shared.drive.spoilt(error));
        }
        self.shared.fit.exchange(id, window);
        let runs = runs(&self.shared.fit, chunk, ZEROS);
        let _gone = self.to_queue.send(Feed::Write { ticket, buffer, runs });
    }

    fn hash(&self, ticket: Ticket, id: u32, mut buffer: Buffer) {
        let Some(chunk) = self.shared.chunk(ticket, id) else { return };
        let window = buffer.get_mut(..chunk.bytes as usize).unwrap_or_default();
        self.shared.fit.exchange(id, window);
        let found = chunk.digest_of(window);
        let outcome = if found == Some(chunk.digest) { Outcome::Same } else { Outcome::Differs };
        self.shared.read(ticket, outcome, found.map(|digest| (id, digest)));
    }
}

/// What of a window is transferred through a buffer, long stretches of zeros apart.
fn runs(fit: &Fit, chunk: &Chunk, zeros: u32) -> Vec<Run> {
    let writes = fit.writes(chunk, GAP, zeros).into_iter().filter(|one| one.kind != Block::Zero);
    let run = |Stretch { disk, buffer, .. }: Stretch| {
        // Within a window: neither is larger than that.
        let (start, bytes) = (u32::try_from(buffer.start).ok()?, u32::try_from(buffer.len()).ok()?);
        Some(Run { disk, buffer: start, bytes })
    };
    writes.filter_map(run).collect()
}

/// What the queue is asked for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    Read(Ticket, u32),
    Write(Ticket),
}

/// The one who keeps the queue full.
struct Feeder {
    shared: Shared,
    queue: Queue<Asked>,
    depth: usize,
    told: Receiver<Feed>,
    to_hands: Sender<Work>,
}

impl Feeder {
    fn run(mut self) {
        while self.take() {
            self.give();
        }
        self.queue.cancel();
        while self.queue.wait().is_some() {}
    }

    /// Takes all that is there; waits for it when there is nothing else to do. False at the end.
    fn take(&mut self) -> bool {
        let pending = self.queue.pending();
        let mut next = if pending == 0 {
            self.told.recv().map_err(|_| TryRecvError::Disconnected)
        } else if pending < self.depth {
            self.told.recv_timeout(GLANCE).map_err(|error| match error {
                RecvTimeoutError::Timeout => TryRecvError::Empty,
                RecvTimeoutError::Disconnected => TryRecvError::Disconnected,
            })
        } else {
            self.told.try_recv()
        };
        loop {
            match next {
                Ok(Feed::End) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
                Ok(Feed::Read { ticket, id }) => self.read(ticket, id),
                Ok(Feed::Write { ticket, buffer, runs }) => self.write(ticket, buffer, &runs),
            }
            next = self.told.try_recv();
        }
    }

    /// Passes on what is over; waits for one when the disk has all it can take.
    fn give(&mut self) {
        if self.queue.pending() >= self.depth
            && let Some(done) = self.queue.wait()
        {
            self.done(done);
        }
        while let Some(done) = self.queue.poll() {
            self.done(done);
        }
    }

    fn read(&mut self, ticket: Ticket, id: u32) {
        let Some(chunk) = self.shared.chunk(ticket, id) else { return };
        // Zeros are read like data: only the disk knows whether they are there.
        let runs = runs(&self.shared.fit, chunk, u32::MAX);
        let buffer = self.shared.pool.take();
        if let Err(error) = self.queue.read(Asked::Read(ticket, id), buffer, &runs) {
            self.shared.fail(ticket, &self.shared.drive.error(error));
        }
    }

    fn write(&mut self, ticket: Ticket, buffer: Buffer, runs: &[Run]) {
        if let Err(error) = self.queue.write(Asked::Write(ticket), Arc::new(buffer), runs) {
            self.shared.fail(ticket, &self.shared.drive.error(error));
        }
    }

    fn done(&self, done: Done<Asked>) {
        match (done.tag, done.result, done.buffer) {
            (Asked::Read(ticket, _) | Asked::Write(ticket), Err(error), _) => {
                self.shared.fail(ticket, &self.shared.drive.error(error));
            }
            (Asked::Write(ticket), Ok(()), _) => self.shared.answer(ticket, Outcome::Done),
            (Asked::Read(ticket, id), Ok(()), Some(buffer)) => {
                let _gone = self.to_hands.send(Work::Hash { ticket, id, buffer });
            }
            (Asked::Read(ticket, _), Ok(()), None) => {
                self.shared.answer(ticket, Outcome::Failed("the disk gave nothing back".to_owned()));
            }
        }
    }
}

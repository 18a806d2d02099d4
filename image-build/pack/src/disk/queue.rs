//! Reads and writes of a disk that are under way at the same time and end in any order.

use std::sync::Arc;

use super::error::{Action, DiskError};
use super::threads::Threads;
use super::transfer::Transfer;
use super::uring::Uring;
use super::{Access, Buffer, Disk, Pool};
use crate::WINDOW;

/// A contiguous stretch of a disk and its place in a buffer. All three in bytes and multiples of [`Disk::align`], except
/// the length of a read that ends where a file ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Where it begins on the disk.
    pub disk: u64,
    /// Where it begins in the buffer.
    pub buffer: u32,
    /// Its length.
    pub bytes: u32,
}

/// What does the I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// `io_uring` with a registered file and, where `RLIMIT_MEMLOCK` allows, registered buffers.
    Uring,
    /// Threads with `pread` and `pwrite`, 32 at most.
    Threads,
}

/// A request that is over.
#[derive(Debug)]
pub struct Done<T> {
    /// What the caller gave with it.
    pub tag: T,
    /// The buffer of a read. Outside the runs, and after an error everywhere, it holds what it held before or rubbish.
    /// `None` after a write, and when the queue itself broke ([`DiskError::Queue`]).
    pub buffer: Option<Buffer>,
    /// Whether all runs were transferred. After an error any of them may have been.
    pub result: Result<(), DiskError>,
}

/// Requests to one disk. A request is a buffer and the runs that belong to it: so the allocated blocks of a window are
/// one request, with gaps left out. `T` is what the caller wants to find at the end of each.
///
/// Nothing is ordered: who needs one write before another waits for the first, and flushes. Dropping a queue waits for what
/// the kernel has been given, and forgets the rest.
#[derive(Debug)]
pub struct Queue<T: Send + 'static> {
    disk: Arc<Disk>,
    inner: Inner<T>,
    pending: usize,
    fallback: Option<std::io::Error>,
}

#[derive(Debug)]
enum Inner<T> {
    Uring(Box<Uring<T>>),
    Threads(Threads<T>),
}

/// A request as an engine takes it: every run has been checked.
#[derive(Debug)]
pub(super) struct Job<T> {
    pub(super) tag: T,
    pub(super) what: What,
    runs: Vec<Run>,
}

#[derive(Debug)]
pub(super) enum What {
    Read(Buffer),
    Write(Arc<Buffer>),
}

impl<T: Send + 'static> Queue<T> {
    /// A queue with at most `depth` transfers under way: 2 for a disk with heads, 16 to 32 for NVMe; 1 to 4096. With
    /// [`Engine::Uring`] where the kernel has no `io_uring` or forbids it, threads do the work and [`Queue::fallback`]
    /// says why. Buffers of any pool are taken; those of `pool` cost the kernel less.
    ///
    /// # Errors
    /// [`DiskError::Queue`] when no thread can be started.
    pub fn new(disk: &Arc<Disk>, pool: &Pool, depth: u16, engine: Engine) -> Result<Queue<T>, DiskError> {
        let depth = depth.clamp(1, 4096);
        let disk = Arc::clone(disk);
        let uring = match engine {
            Engine::Uring => Uring::new(&disk, pool, depth).map_err(Some),
            Engine::Threads => Err(None),
        };
        let (inner, fallback) = match uring {
            Ok(uring) => (Inner::Uring(Box::new(uring)), None),
            Err(reason) => {
                let threads = Threads::new(&disk, depth)
                    .map_err(|source| DiskError::Queue { path: disk.path.clone(), source })?;
                (Inner::Threads(threads), reason)
            }
        };
        Ok(Queue { disk, inner, pending: 0, fallback })
    }

    /// What does the I/O.
    pub fn engine(&self) -> Engine {
        match self.inner {
            Inner::Uring(_) => Engine::Uring,
            Inner::Threads(_) => Engine::Threads,
        }
    }

    /// Why threads do the I/O although `io_uring` was asked for.
    pub fn fallback(&self) -> Option<&std::io::Error> {
        self.fallback.as_ref()
    }

    /// Requests whose end has not been taken with [`Queue::wait`] or [`Queue::poll`].
    pub fn pending(&self) -> usize {
        self.pending
    }

    /// Begins to fill parts of a buffer from the disk. Runs that overlap in the buffer leave rubbish there. Never waits:
    /// what is beyond the depth begins later.
    ///
    /// # Errors
    /// When a run is not aligned or does not lie within the disk and the buffer; nothing has been begun then.
    pub fn read(&mut self, tag: T, buffer: Buffer, runs: &[Run]) -> Result<(), DiskError> {
        self.submit(Job { tag, what: What::Read(buffer), runs: runs.to_vec() })
    }

    /// Begins to write parts of a buffer to the disk. The buffer may be shared with queues of other disks; it returns
    /// to its pool when all have let go of it. Never waits: what is beyond the depth begins later.
    ///
    /// # Errors
    /// As [`Queue::read`], and when the disk is open for reading only.
    pub fn write(&mut self, tag: T, buffer: Arc<Buffer>, runs: &[Run]) -> Result<(), DiskError> {
        self.submit(Job { tag, what: What::Write(buffer), runs: runs.to_vec() })
    }

    /// A request that is over; `None` when none is now.
    pub fn poll(&mut self) -> Option<Done<T>> {
        let done = match &mut self.inner {
            Inner::Uring(uring) => uring.poll(),
            Inner::Threads(threads) => threads.poll(),
        };
        self.taken(done)
    }

    /// Waits until a request is over; `None` when none is pending.
    pub fn wait(&mut self) -> Option<Done<T>> {
        let done = match &mut self.inner {
            Inner::Uring(uring) => uring.wait(),
            Inner::Threads(threads) => threads.wait(),
        };
        self.taken(done)
    }

    /// Begins nothing more of what is pending. Every request still ends, with [`DiskError::Cancelled`] when something of it
    /// was not begun: take them with [`Queue::wait`].
    pub fn cancel(&mut self) {
        match &mut self.inner {
            Inner::Uring(uring) => uring.cancel(),
            Inner::Threads(threads) => threads.cancel(),
        }
    }

    fn submit(&mut self, job: Job<T>) -> Result<(), DiskError> {
        let action = job.what.action();
        job.runs.iter().try_for_each(|run| self.disk.check(action, *run))?;
        match &mut self.inner {
            Inner::Uring(uring) => uring.submit(job),
            Inner::Threads(threads) => threads.submit(job),
        }
        self.pending += 1;
        Ok(())
    }

    fn taken(&mut self, done: Option<Done<T>>) -> Option<Done<T>> {
        self.pending -= usize::from(done.is_some());
        done
    }
}

impl What {
    pub(super) fn action(&self) -> Action {
        match self {
            What::Read(_) => Action::Read,
            What::Write(_) => Action::Write,
        }
    }
}

impl<T> Job<T> {
    pub(super) fn transfers(&self, disk: &Disk) -> Vec<Transfer> {
        let action = self.what.action();
        let transfer =
            |run: &Run| Transfer::new(action, run.disk, run.buffer as usize, run.bytes as usize, disk.align);
        self.runs.iter().map(transfer).collect()
    }
}

impl Disk {
    /// Whether a run may be transferred. So large a buffer has room for the rest of a file's last sector: [`WINDOW`] is
    /// a multiple of every alignment.
    fn check(&self, action: Action, run: Run) -> Result<(), DiskError> {
        let (offset, bytes, place) = (run.disk, u64::from(run.bytes), u64::from(run.buffer));
        let (path, align) = (self.path.clone(), self.align);
        if action != Action::Read && self.access != Access::Write {
            return Err(DiskError::ReadOnly { action, path });
        }
        if place + bytes > u64::from(WINDOW) {
            return Err(DiskError::Buffer { action, bytes, place, end: u64::from(WINDOW) });
        }
        let end = offset.saturating_add(bytes);
        if end > self.bytes {
            return Err(DiskError::Beyond { action, path, offset, bytes, end: self.bytes });
        }
        let is_whole = |number: u64| number.is_multiple_of(u64::from(align));
        let is_tail = action == Action::Read && end == self.bytes;
        if bytes == 0 || !is_whole(offset) || !(is_whole(bytes) || is_tail) {
            return Err(DiskError::Unaligned { action, path, offset, bytes, align });
        }
        if !is_whole(place) {
            return Err(DiskError::BufferUnaligned { action, bytes, place, align });
        }
        Ok(())
    }
}

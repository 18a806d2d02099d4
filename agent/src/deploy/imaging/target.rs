//! The disk that is written: opened for this alone, past the page cache. Every error names disk, place and cause.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pack::disk::{self, Access, Buffer, Pool, Queue, Run, is_read_only, reread_partitions, set_read_only};
use pack::{BLOCK, Digest, Source as _};
use protocol::{Disk, SEED_BYTES, SEED_OFFSET, Seed, SeedError};

use crate::inventory;
use crate::leave::leave;

const WINDOW: u64 = pack::WINDOW as u64;
/// A drive may take minutes to discard all of itself: no new part is begun after so long.
const DISCARD_LIMIT: Duration = Duration::from_secs(5);
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// Seeds and marks are few: one buffer is enough for them.
const ASIDE: u16 = 1;

/// What went wrong with the disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Not opened.
    #[error("opening {disk} for writing")]
    Open {
        /// The disk.
        disk: String,
        /// What the kernel says; `EBUSY` when something uses it.
        source: io::Error,
    },
    /// What was opened is not what was looked at.
    #[error("{disk} changed while it was opened: {what}")]
    Changed {
        /// The disk.
        disk: String,
        /// What differs.
        what: &'static str,
    },
    /// Reading or writing failed.
    #[error("{doing} {disk} at byte {at}")]
    Io {
        /// The disk.
        disk: String,
        /// `reading`, `writing`, `flushing`, ….
        doing: String,
        /// Where.
        at: u64,
        /// What the kernel says.
        source: io::Error,
    },
    /// It never came to reading or writing.
    #[error("using {disk}")]
    Use {
        /// The disk.
        disk: String,
        /// Why.
        source: disk::DiskError,
    },
    /// The stored bytes did not become the window.
    #[error("unpacking for {disk}")]
    Unpack {
        /// The disk.
        disk: String,
        /// What is wrong with them.
        source: pack::ChunkError,
    },
    /// The seed does not fit its place, or is not what is read back from it.
    #[error("writing the seed")]
    Seed(#[from] SeedError),
}

/// What is left on a disk that has been made unbootable: by this the next run knows its own work, and goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The node's seed, at its place.
    Seed(Box<Seed>),
    /// The image's name in the first block, which is written last.
    Image(Digest),
}

impl Begun {
    /// The first block of a disk that was left with this image's mark.
    fn block(image: Digest) -> Vec<u8> {
        // Nothing that a firmware would take for a boot sector or a table.
        let mut block = format!("rackwright: not finished: {image}\n").into_bytes();
        block.resize(BLOCK as usize, 0);
        block
    }

    /// Whether a disk that begins like this was left with this image's mark.
    pub fn is_of(image: Digest, begins: &[u8]) -> bool {
        begins.get(..BLOCK as usize) == Some(&Self::block(image))
    }
}

/// The open disk. All its methods block: they belong on a thread of their own.
#[derive(Debug)]
pub struct Drive {
    disk: Arc<disk::Disk>,
    name: String,
    /// What seeds and marks are written from.
    aside: Pool,
    /// Whether a mark of this job lies on it: from then on nothing is left that the plan saw.
    begun: AtomicBool,
}

impl Drive {
    /// Opens the disk that was chosen. The kernel refuses when it is mounted or claimed in any other way (`O_EXCL`).
    /// Errors call it `name`: as the plan does.
    ///
    /// # Errors
    /// [`DiskError::Open`]; [`DiskError::Changed`] when the device behind the name is another than the one that was
    /// looked at, or the drive is write-protected.
    pub fn open(root: &Path, disk: &Disk, name: impl fmt::Display) -> Result<Self, DiskError> {
        let name = name.to_string();
        let path = inventory::device(root, &disk.name);
        let open = |access| disk::Disk::open(&path, access).map_err(|error| opening(name.clone(), error));
        let failed = |source| DiskError::Open { disk: name.clone(), source };
        let looked_at = open(Access::Read)?;
        same(root, disk, &name, &looked_at)?;
        // A job for another disk may have left the kernel's own write protection on.
        set_read_only(&looked_at, false).map_err(failed)?;
        if is_read_only(&looked_at).map_err(failed)? {
            return Err(DiskError::Changed { disk: name, what: "it is write-protected" });
        }
        drop(looked_at);
        let opened = patiently(|| open(Access::Write), is_busy)?;
        same(root, disk, &name, &opened)?;
        let (disk, aside, begun) = (Arc::new(opened), Pool::new(ASIDE), AtomicBool::new(false));
        Ok(Self { disk, name, aside, begun })
    }

    /// What a queue is made for.
    pub(in crate::deploy) fn disk(&self) -> &Arc<disk::Disk> {
        &self.disk
    }

    /// What went wrong, by the name that the plan has for this disk and not by the kernel's.
    pub(super) fn error(&self, error: disk::DiskError) -> DiskError {
        let disk = self.name.clone();
        match error {
            disk::DiskError::Io { action, offset, source, .. } => {
                DiskError::Io { disk, doing: action.to_string(), at: offset, source }
            }
            disk::DiskError::Flush { source, .. } => {
                DiskError::Io { disk, doing: "flushing".to_owned(), at: 0, source }
            }
            source @ (disk::DiskError::Open { .. }
            | disk::DiskError::Kind { .. }
            | disk::DiskError::Unaligned { .. }
            | disk::DiskError::BufferUnaligned { .. }
            | disk::DiskError::Beyond { .. }
            | disk::DiskError::Buffer { .. }
            | disk::DiskError::ReadOnly { .. }
            | disk::DiskError::Cancelled { .. }
            | disk::DiskError::Queue { .. }) => DiskError::Use { disk, source },
        }
    }

    /// The same for stored bytes that did not become the window.
    pub(super) fn spoilt(&self, source: pack::ChunkError) -> DiskError {
        DiskError::Unpack { disk: self.name.clone(), source }
    }

    /// Everything written so far survives a power cut.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn flush(&self) -> Result<(), DiskError> {
        self.disk.flush().map_err(|error| self.error(error))
    }

    /// Leaves the mark of a job that has only begun, durably; then makes the disk unbootable: no first MiB, no last, and no
    /// older backup of a table where this image would have its own on a disk of its size ([`pack::Fit::vacated`]).
    ///
    /// With a seed, a power cut leaves one of two disks, and the next boot can tell them apart: one whose ends are
    /// what the plan saw (the seed's place is no part of what it looked at), or one whose seed names this job. The mark
    /// of an image lies in the first MiB and comes after it: before that, nothing but the ends is lost.
    ///
    /// # Errors
    /// [`DiskError`]. When the first seed can't be left, the ends have not been touched.
    pub fn disarm(&self, mark: &Begun, vacated: Range<u64>) -> Result<(), DiskError> {
        let left = match mark {
            Begun::Seed(seed) => self.write_seed(seed).and_then(|()| self.flush()),
            Begun::Image(_) => Ok(()),
        };
        // A disk that is undone because its tables failed must not boot, whether or not it takes another seed.
        if left.is_err() && !self.begun.load(Ordering::Acquire) {
            return left;
        }
        self.begun.store(true, Ordering::Release);
        let bytes = self.disk.bytes();
        // The end may be unaligned to a MiB, never to a sector.
        self.zero(bytes.saturating_sub(WINDOW), WINDOW.min(bytes))?;
        self.zero(0, WINDOW.min(bytes))?;
        if let Begun::Image(image) = mark {
            self.write(0, &Begun::block(*image))?;
        }
        self.flush()?;
        // Only now: as long as another system may still boot, it has all of itself but the ends.
        if !vacated.is_empty() {
            self.zero(vacated.start, vacated.end - vacated.start)?;
            self.flush()?;
        }
        left
    }

    /// Whether this image's mark lies on the disk.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn has_begun(&self, image: Digest) -> Result<bool, DiskError> {
        let mut begins = vec![0; BLOCK as usize];
        self.read("reading", 0, &mut begins)?;
        Ok(Begun::is_of(image, &begins))
    }

    /// Tells the drive that nothing of what is on it is needed any more, but for the seed's place and both ends, which are
    /// zeros and have to stay so: it then has free blocks to write to. Ends after a few seconds, and where the drive can't:
    /// both are no harm.
    pub fn discard(&self) {
        let begun = Instant::now();
        let end = self.disk.bytes().saturating_sub(WINDOW);
        let seed = SEED_OFFSET..SEED_OFFSET + SEED_BYTES;
        for (from, to) in [(WINDOW, seed.start.min(end)), (seed.end, end)] {
            // A part that is empty, or begins behind its end, is finished at once.
            let _how_far = self.disk.discard(from..to, || begun.elapsed() < DISCARD_LIMIT);
        }
    }

    /// Writes a seed at its place, beside the newest one there, durably, and reads it back.
    ///
    /// # Errors
    /// [`DiskError::Seed`] also when something else is read back; [`DiskError::Io`].
    pub fn write_seed(&self, seed: &Seed) -> Result<(), DiskError> {
        let mut place = vec![0; usize::try_from(SEED_BYTES).unwrap_or(0)];
        let read = |place: &mut [u8]| self.read("reading the seed of", SEED_OFFSET, place);
        let write = |offset: u64, bytes: &[u8]| {
            let written = self.write(SEED_OFFSET + offset, bytes);
            written.map_err(|mut error| {
                if let DiskError::Io { doing, .. } = &mut error {
                    "writing the seed to".clone_into(doing);
                }
                error
            })?;
            self.flush()
        };
        leave(seed, &mut place, read, write)
    }

    /// Lets the kernel see the new partitions. Nobody needs them before the restart.
    pub fn reread_partitions(&self) {
        let _optional = reread_partitions(&*self.disk);
    }

    /// Zeros, by the drive where it can. Bytes, multiples of the sector.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub(super) fn zero(&self, at: u64, bytes: u64) -> Result<(), DiskError> {
        let end = at.saturating_add(bytes);
        match self.disk.zero(at..end) {
            // Not every drive that says it can does: what it is sent it may take.
            Err(disk::DiskError::Io { .. }) => self.write_zeros(at, end),
            Err(error) => Err(self.error(error)),
            Ok(()) => Ok(()),
        }
    }

    fn write_zeros(&self, mut at: u64, end: u64) -> Result<(), DiskError> {
        let zeros = vec![0; pack::WINDOW as usize];
        while at < end {
            let bytes = (end - at).min(WINDOW);
            self.write(at, usize::try_from(bytes).ok().and_then(|n| zeros.get(..n)).unwrap_or_default())?;
            at += bytes;
        }
        Ok(())
    }

    /// Reads a range, past all caches of this machine.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub(in crate::deploy) fn read(&self, doing: &str, at: u64, place: &mut [u8]) -> Result<(), DiskError> {
        let (disk, doing) = (self.name.clone(), doing.to_owned());
        // The kernel's own words and number, without those that name the device by a name of today.
        let cause = |error: io::Error| match error.downcast::<disk::DiskError>() {
            Ok(disk::DiskError::Io { source, .. }) => source,
            Ok(other) => io::Error::other(other),
            Err(error) => error,
        };
        self.disk.read_at(at, place).map_err(|error| DiskError::Io { disk, doing, at, source: cause(error) })
    }

    /// Writes a few bytes, at most a window, and waits for it. Not durable before a flush.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub(in crate::deploy) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DiskError> {
        let mut buffer: Buffer = self.aside.take();
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        if let Some(place) = buffer.get_mut(..bytes.len()) {
            place.copy_from_slice(bytes);
        }
        // Longer than the buffer is an error of the queue's.
        let run = Run { disk: at, buffer: 0, bytes: length };
        let told = |error| self.error(error);
        let mut queue = Queue::new(&self.disk, &self.aside, 1, disk::Engine::Threads).map_err(told)?;
        queue.write((), Arc::new(buffer), &[run]).map_err(told)?;
        queue.wait().map_or(Ok(()), |done| done.result).map_err(told)
    }
}

fn opening(name: String, error: disk::DiskError) -> DiskError {
    if let disk::DiskError::Open { source, .. } = error {
        return DiskError::Open { disk: name, source };
    }
    DiskError::Use { disk: name, source: error }
}

fn is_busy(error: &DiskError) -> bool {
    matches!(error, DiskError::Open { source, .. } if source.kind() == io::ErrorKind::ResourceBusy)
}

/// The kernel itself claims a disk for a moment, while it looks for partitions: only one that stays busy is in use.
pub(in crate::deploy) fn patiently<E>(
    open: impl Fn() -> Result<disk::Disk, E>,
    is_busy: impl Fn(&E) -> bool,
) -> Result<disk::Disk, E> {
    for _ in 0..BUSY_TRIES {
        match open() {
            Err(error) if is_busy(&error) => std::thread::sleep(BUSY_PAUSE),
            other => return other,
        }
    }
    open()
}

/// Whether the device that was opened is the one that was looked at: names move when a disk is pulled and put.
pub(in crate::deploy) fn same(
    root: &Path,
    disk: &Disk,
    name: &str,
    opened: &disk::Disk,
) -> Result<(), DiskError> {
    let failed = |source| DiskError::Open { disk: name.to_owned(), source };
    let changed = |what| DiskError::Changed { disk: name.to_owned(), what };
    let device = rustix::fs::fstat(opened).map_err(|errno| failed(errno.into()))?.st_rdev;
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let listed = std::fs::read_to_string(root.join("sys/block").join(&disk.name).join("dev"));
    if listed.map_err(failed)?.trim() != number {
        return Err(changed("its device number"));
    }
    if opened.bytes() != disk.bytes {
        return Err(changed("its size"));
    }
    Ok(())
}

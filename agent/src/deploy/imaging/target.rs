//! The disk that is written: opened for this alone, past the page cache. Every error names disk, place and cause.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pack::{Block, Chunk};
use protocol::{Disk, DiskId, SEED_BYTES, SEED_OFFSET, Seed, SeedError};
use rustix::fs::OFlags;

use crate::deploy::imaging::buffer::{Buffer, Buffers};
use crate::inventory;
use crate::leave::leave;
use crate::sys;

const WINDOW: u64 = pack::WINDOW as u64;
/// Free blocks between used ones that are written through, in bytes: one order to the disk is cheaper than two.
const GAP: u32 = 64 << 10;
/// Zeros from so many bytes on are left to the drive to write.
const ZEROS: u32 = 128 << 10;
/// A drive may take minutes to discard all of itself: so much at once, in bytes, and no new part after so long.
const DISCARD_SLICE: u64 = 1 << 30;
const DISCARD_LIMIT: Duration = Duration::from_secs(5);
const BUSY_TRIES: u32 = 10;
const BUSY_PAUSE: Duration = Duration::from_millis(200);

/// What went wrong with the disk.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Not opened.
    #[error("opening {disk} for writing")]
    Open {
        /// The disk.
        disk: DiskId,
        /// What the kernel says; `EBUSY` when something uses it.
        source: io::Error,
    },
    /// What was opened is not what was looked at.
    #[error("{disk} changed while it was opened: {what}")]
    Changed {
        /// The disk.
        disk: DiskId,
        /// What differs.
        what: &'static str,
    },
    /// Reading or writing failed.
    #[error("{doing} {disk} at byte {at}")]
    Io {
        /// The disk.
        disk: DiskId,
        /// `reading`, `writing`, `flushing`, ….
        doing: &'static str,
        /// Where.
        at: u64,
        /// What the kernel says.
        source: io::Error,
    },
    /// The stored bytes did not become the window.
    #[error("unpacking for {disk}")]
    Unpack {
        /// The disk.
        disk: DiskId,
        /// What is wrong with them.
        source: pack::ChunkError,
    },
    /// The seed does not fit its place, or is not what is read back from it.
    #[error("writing the seed")]
    Seed(#[from] SeedError),
}

/// The open disk. All its methods block: they belong on a thread of their own.
#[derive(Debug)]
pub struct Drive {
    file: File,
    id: DiskId,
    bytes: u64,
    buffers: Buffers,
    /// Whether a seed of this job lies on it: from then on nothing is left that the plan saw.
    begun: AtomicBool,
}

impl Drive {
    /// Opens the disk that was chosen. `O_EXCL`: the kernel refuses when it is mounted or claimed in any other way.
    ///
    /// # Errors
    /// [`DiskError::Open`]; [`DiskError::Changed`] when the device behind the name is another than the one that was
    /// looked at, or the drive is write-protected.
    pub fn open(root: &Path, disk: &Disk, id: DiskId) -> Result<Self, DiskError> {
        let opened = |source| DiskError::Open { disk: id.clone(), source };
        let path = inventory::device(root, &disk.name);
        let looked_at = File::open(&path).map_err(opened)?;
        same(root, disk, &id, &looked_at)?;
        // A job for another disk may have left the kernel's own write protection on.
        sys::set_read_only(&looked_at, false).map_err(opened)?;
        if sys::is_read_only(&looked_at).map_err(opened)? {
            return Err(DiskError::Changed { disk: id, what: "it is write-protected" });
        }
        drop(looked_at);
        let flags = OFlags::DIRECT | OFlags::EXCL;
        let flags = i32::try_from(flags.bits()).map_err(|e| opened(io::Error::other(e)))?;
        let file = patiently(|| OpenOptions::new().read(true).write(true).custom_flags(flags).open(&path));
        let file = file.map_err(opened)?;
        same(root, disk, &id, &file)?;
        let (buffers, begun) = (Buffers::default(), AtomicBool::new(false));
        Ok(Self { file, id, bytes: disk.bytes, buffers, begun })
    }

    /// Whether this window of the disk holds what it should; read past the page cache.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn holds(&self, chunk: &Chunk) -> Result<bool, DiskError> {
        let mut buffer = self.buffers.take();
        let window = window(&mut buffer, chunk);
        let at = chunk.disk_offset();
        self.file.read_exact_at(window, at).map_err(self.io("reading", at))?;
        Ok(chunk.matches(window))
    }

    /// Unpacks stored bytes and writes the window. Nothing is written when they are not what the manifest says.
    ///
    /// # Errors
    /// [`DiskError::Unpack`], [`DiskError::Io`].
    pub fn write(&self, chunk: &Chunk, stored: &[u8]) -> Result<(), DiskError> {
        let at = chunk.disk_offset();
        let mut buffer = self.buffers.take();
        let window = window(&mut buffer, chunk);
        let disk = || self.id.clone();
        chunk.unpack(stored, window).map_err(|source| DiskError::Unpack { disk: disk(), source })?;
        for (kind, range) in chunk.writes(GAP, ZEROS) {
            let (at, bytes) = (at + range.start as u64, range.len() as u64);
            let run = window.get(range).unwrap_or_default();
            match kind {
                Block::Zero => self.zero(at, bytes)?,
                Block::Data | Block::Free => {
                    self.file.write_all_at(run, at).map_err(self.io("writing", at))?;
                }
            }
        }
        Ok(())
    }

    /// Everything written so far survives a power cut.
    ///
    /// # Errors
    /// [`DiskError::Io`].
    pub fn flush(&self) -> Result<(), DiskError> {
        rustix::fs::fdatasync(&self.file).map_err(|e| self.io("flushing", 0)(e.into()))
    }

    /// Leaves the seed of a job that has only begun, durably; then makes the disk unbootable: no first MiB, no last.
    ///
    /// In this order a power cut leaves one of two disks, and the next boot can tell them apart: one whose ends are
    /// what the plan saw (the seed's place is no part of what it looked at), or one whose seed names this job.
    ///
    /// # Errors
    /// [`DiskError`]. When the first seed can't be left, the ends have not been touched.
    pub fn disarm(&self, begun: &Seed) -> Result<(), DiskError> {
        let left = self.write_seed(begun).and_then(|()| self.flush());
        // A disk that is undone because its tables failed must not boot, whether or not it takes another seed.
        if left.is_err() && !self.begun.load(Ordering::Acquire) {
            return left;
        }
        self.begun.store(true, Ordering::Release);
        let end = self.bytes.saturating_sub(WINDOW);
        // The end may be unaligned to a MiB, never to a sector.
        self.zero(end, self.bytes - end)?;
        self.zero(0, WINDOW.min(self.bytes))?;
        self.flush()?;
        left
    }

    /// Tells the drive that nothing of what is on it is needed any more, but for the seed's place: it then has free blocks to
    /// write to. Ends after a few seconds, and where the drive can't: both are no harm.
    pub fn discard(&self) {
        let begun = Instant::now();
        let seed = SEED_OFFSET..SEED_OFFSET + SEED_BYTES;
        for part in [0..seed.start, seed.end..self.bytes] {
            let mut at = part.start;
            while at < part.end && begun.elapsed() < DISCARD_LIMIT {
                let bytes = DISCARD_SLICE.min(part.end - at);
                if sys::discard(&self.file, at, bytes).is_err() {
                    return;
                }
                at += bytes;
            }
        }
    }

    /// Writes a seed at its place, beside the newest one there, durably, and reads it back.
    ///
    /// # Errors
    /// [`DiskError::Seed`] also when something else is read back; [`DiskError::Io`].
    pub fn write_seed(&self, seed: &Seed) -> Result<(), DiskError> {
        let mut place = self.buffers.take();
        let read = |place: &mut [u8]| {
            self.file.read_exact_at(place, SEED_OFFSET).map_err(self.io("reading the seed of", SEED_OFFSET))
        };
        let write = |offset: u64, bytes: &[u8]| {
            // The bytes come from anywhere in memory; O_DIRECT wants them at the start of a page.
            let mut buffer = self.buffers.take();
            let aligned =
                buffer.get_mut(..bytes.len()).ok_or(SeedError::Damaged("it is longer than a window"))?;
            aligned.copy_from_slice(bytes);
            let at = SEED_OFFSET + offset;
            self.file.write_all_at(aligned, at).map_err(self.io("writing the seed to", at))?;
            self.flush()
        };
        leave(seed, &mut place, read, write)
    }

    /// Lets the kernel see the new partitions. Nobody needs them before the restart.
    pub fn reread_partitions(&self) {
        let _optional = sys::reread_partitions(&self.file);
    }

    /// Zeros, by the drive where it can.
    fn zero(&self, at: u64, bytes: u64) -> Result<(), DiskError> {
        if sys::zero_out(&self.file, at, bytes).is_ok() {
            return Ok(());
        }
        // Whatever the reason was: if it is the medium, this will say so again.
        let mut buffer = self.buffers.take();
        buffer.fill(0);
        let mut done = 0;
        while done < bytes {
            let length = (bytes - done).min(WINDOW);
            let zeros = usize::try_from(length).ok().and_then(|n| buffer.get(..n)).unwrap_or_default();
            self.file.write_all_at(zeros, at + done).map_err(self.io("writing zeros to", at + done))?;
            done += length;
        }
        Ok(())
    }

    fn io(&self, doing: &'static str, at: u64) -> impl Fn(io::Error) -> DiskError {
        let disk = self.id.clone();
        move |source| DiskError::Io { disk: disk.clone(), doing, at, source }
    }
}

/// The kernel itself claims a disk for a moment, while it looks for partitions: only one that stays busy is in use.
fn patiently(open: impl Fn() -> io::Result<File>) -> io::Result<File> {
    for _ in 0..BUSY_TRIES {
        match open() {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => std::thread::sleep(BUSY_PAUSE),
            other => return other,
        }
    }
    open()
}

/// Whether the device that was opened is the one that was looked at: names move when a disk is pulled and put.
fn same(root: &Path, disk: &Disk, id: &DiskId, file: &File) -> Result<(), DiskError> {
    let opened = |source| DiskError::Open { disk: id.clone(), source };
    let changed = |what| DiskError::Changed { disk: id.clone(), what };
    let device = file.metadata().map_err(opened)?.rdev();
    let number = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    let listed = std::fs::read_to_string(root.join("sys/block").join(&disk.name).join("dev"));
    if listed.map_err(opened)?.trim() != number {
        return Err(changed("its device number"));
    }
    if sys::disk_bytes(file).map_err(opened)? != disk.bytes {
        return Err(changed("its size"));
    }
    Ok(())
}

fn window<'a>(buffer: &'a mut Buffer, chunk: &Chunk) -> &'a mut [u8] {
    let length = usize::try_from(chunk.bytes).unwrap_or(0);
    buffer.get_mut(..length).unwrap_or_default()
}

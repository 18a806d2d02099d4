//! Disks: block devices and files that stand for one, read and written past the page cache.
//!
//! ```text
//! capture:  Disk::open(path, ReadExclusive) -> Queue::new; Pool::take -> Queue::read -> Queue::wait -> a filled Buffer
//! write:    Disk::open(path, Write) -> discard -> Queue::new; Pool::take, fill it -> Queue::write -> Queue::wait -> flush
//! readers:  a Disk is a [`Source`]: any range; what is not aligned, through a buffer that is
//! ```
//!
//! A read of a disk that is going bad and a write to one that lies are what this module is for: every error says what was
//! done where, a short transfer is continued, and no buffer is used again while the kernel may still touch it.
//!
//! The only module of this crate that does I/O. Whether to write, and what, is decided elsewhere.
#![expect(clippy::disallowed_types, reason = "this module is the crate's way to the disk")]

mod erase;
mod error;
mod pool;
mod queue;
mod threads;
mod transfer;
mod uring;

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, FileTypeExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

pub use crate::sys::{is_read_only, is_rotational, reread_partitions, set_read_only};
pub use erase::{DiscardEnd, Discarded};
pub use error::{Action, DiskError};
pub use pool::{Buffer, Pool};
pub use queue::{Done, Engine, Queue, Run};

use crate::Source;
use crate::source::within;
use pool::Aligned;
use transfer::{Next, Transfer};

/// Sector size of a file that stands for a disk, where nothing else says one.
const SECTOR: u32 = 512;

/// The largest sector that the kernel knows (`BLK_MAX_BLOCK_SIZE`). A window is a multiple of it.
const ALIGN_MAX: u32 = 1 << 16;

/// What a disk is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To read, whoever else uses it.
    Read,
    /// To read, and nobody else has it mounted or claimed, nor a partition of it (`O_EXCL`); `EBUSY` otherwise.
    ReadExclusive,
    /// To read and write, under the same condition.
    Write,
}

/// An open disk.
#[derive(Debug)]
pub struct Disk {
    file: File,
    path: PathBuf,
    access: Access,
    is_device: bool,
    is_direct: bool,
    bytes: u64,
    sector_bytes: u32,
    physical_bytes: u32,
    align: u32,
}

impl Disk {
    /// Opens a block device or a file that exists. A device is never read or written through the page cache. A file is
    /// where its file system cannot do otherwise ([`Disk::is_direct`]).
    ///
    /// # Errors
    /// [`DiskError::Open`] with what the kernel says, [`DiskError::Kind`] for anything else than a device or a file.
    pub fn open(path: &Path, access: Access) -> Result<Disk, DiskError> {
        let failed = |source| DiskError::Open { path: path.to_owned(), source };
        // Looked at before it is opened: opening a pipe would wait for ever.
        kind(path, &std::fs::metadata(path).map_err(failed)?)?;
        let open = |flags| rustix::fs::open(path, flags | access.flags(), Mode::empty()).map(File::from);
        let direct = open(OFlags::DIRECT);
        let refused = matches!(direct, Err(Errno::INVAL | Errno::OPNOTSUPP));
        let file = if refused { open(OFlags::empty()) } else { direct };
        let mut file = file.map_err(|error| failed(error.into()))?;
        let is_device = kind(path, &file.metadata().map_err(failed)?)?;
        let align = if refused { None } else { alignment(&file, is_device).map_err(failed)? };
        if align.is_none() {
            if is_device {
                return Err(failed(Errno::INVAL.into()));
            }
            file = open(OFlags::empty()).map_err(|error| failed(error.into()))?;
        }
        // The kernel opens such a device for writing, and refuses every write.
        if is_device && access == Access::Write && is_read_only(&file).map_err(failed)? {
            let words = "the device is set read-only";
            return Err(failed(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, words)));
        }
        let bytes = (&file).seek(SeekFrom::End(0)).map_err(failed)?;
        let (sector_bytes, physical_bytes) = match (is_device, align) {
            (true, Some(sector)) => {
                (sector, rustix::fs::ioctl_blkpbszget(&file).map_err(|error| failed(error.into()))?)
            }
            (true, None) | (false, _) => (SECTOR, SECTOR),
        };
        let (path, is_direct, align) = (path.to_owned(), align.is_some(), align.unwrap_or(1));
        Ok(Disk { file, path, access, is_device, is_direct, bytes, sector_bytes, physical_bytes, align })
    }

    /// Length in bytes when it was opened.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Where it was opened. The name may since stand for another disk: the open one is known by its descriptor.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it is a block device and not a file.
    #[must_use]
    pub fn is_device(&self) -> bool {
        self.is_device
    }

    /// Whether the page cache is passed by. It always is for a block device.
    #[must_use]
    pub fn is_direct(&self) -> bool {
        self.is_direct
    }

    /// Bytes of a logical sector: what addresses on it, as in a partition table, are counted in. 512 for a file.
    #[must_use]
    pub fn sector_bytes(&self) -> u32 {
        self.sector_bytes
    }

    /// Bytes that the device writes at once inside: smaller writes cost it a read. 512 for a file.
    #[must_use]
    pub fn physical_bytes(&self) -> u32 {
        self.physical_bytes
    }

    /// What offsets and lengths of a [`Queue`]'s runs must be multiples of; 1 where the page cache is in use.
    #[must_use]
    pub fn align(&self) -> u32 {
        self.align
    }

    /// Makes everything durable that was written before (`fdatasync`, FLUSH of the drive).
    ///
    /// # Errors
    /// What the kernel says. Then nobody knows what has been written since the last flush.
    pub fn flush(&self) -> Result<(), DiskError> {
        self.file.sync_data().map_err(|source| DiskError::Flush { path: self.path.clone(), source })
    }

    /// Does a transfer between the disk and a buffer, in as many calls as it takes.
    fn read_run(&self, mut run: Transfer, buffer: &mut [u8]) -> Result<(), DiskError> {
        loop {
            let rest = run.rest();
            let part = buffer.get_mut(rest.buffer).unwrap_or_default();
            match run.advance(self.file.read_at(part, rest.disk)) {
                Next::Call => {}
                Next::Finished => return Ok(()),
                Next::Failed(source) => return Err(self.failed(&run, source)),
            }
        }
    }

    fn write_run(&self, mut run: Transfer, buffer: &[u8]) -> Result<(), DiskError> {
        loop {
            let rest = run.rest();
            let part = buffer.get(rest.buffer).unwrap_or_default();
            match run.advance(self.file.write_at(part, rest.disk)) {
                Next::Call => {}
                Next::Finished => return Ok(()),
                Next::Failed(source) => return Err(self.failed(&run, source)),
            }
        }
    }

    /// Whether the kernel takes this as it is: anything, where it reads through the page cache.
    fn is_aligned(&self, offset: u64, part: &[u8]) -> bool {
        let align = self.align as usize;
        let is_whole = part.len().is_multiple_of(align) && part.as_ptr().addr().is_multiple_of(align);
        is_whole && offset.is_multiple_of(u64::from(self.align))
    }

    fn failed(&self, run: &Transfer, source: io::Error) -> DiskError {
        let (action, path, offset) = (run.action, self.path.clone(), run.rest().disk);
        DiskError::Io { action, path, offset, bytes: run.missing(), source }
    }
}

impl Access {
    fn flags(self) -> OFlags {
        let mode = match self {
            Access::Read => OFlags::RDONLY,
            Access::ReadExclusive => OFlags::RDONLY | OFlags::EXCL,
            Access::Write => OFlags::RDWR | OFlags::EXCL,
        };
        mode | OFlags::CLOEXEC
    }
}

/// Whether this is a block device; false for a file.
fn kind(path: &Path, metadata: &std::fs::Metadata) -> Result<bool, DiskError> {
    let kind = metadata.file_type();
    if kind.is_file() || kind.is_block_device() {
        Ok(kind.is_block_device())
    } else {
        Err(DiskError::Kind { path: path.to_owned() })
    }
}

/// What direct I/O must be aligned to; `None` where there is none. A file system that does not say (`statx(2)`, before
/// Linux 6.1) gets what every one takes.
fn alignment(file: &File, is_device: bool) -> io::Result<Option<u32>> {
    let align = if is_device {
        rustix::fs::ioctl_blksszget(file)?
    } else {
        let known = rustix::fs::statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::DIOALIGN);
        match known {
            Ok(known) if known.stx_mask & StatxFlags::DIOALIGN.bits() != 0 => {
                known.stx_dio_offset_align.max(known.stx_dio_mem_align)
            }
            Ok(_) | Err(_) => pool::ALIGN,
        }
    };
    Ok(Some(align).filter(|align| align.is_power_of_two() && *align <= ALIGN_MAX))
}

impl AsFd for Disk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Source for Disk {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        within(self.bytes, offset, out.len())?;
        let align = u64::from(self.align);
        let mut at = offset;
        let mut bounce = Aligned::default();
        for part in out.chunks_mut(crate::WINDOW as usize) {
            if self.is_aligned(at, part) {
                let run = Transfer::new(Action::Read, at, 0, part.len(), self.align);
                self.read_run(run, part).map_err(told)?;
                at += part.len() as u64;
                continue;
            }
            let lead = at % align;
            // At most one alignment in front of the part and one behind it; neither is large.
            let skip = usize::try_from(lead).unwrap_or_default();
            let bytes = skip + part.len();
            if bounce.len() < bytes {
                bounce = Aligned::new(bytes.next_multiple_of(self.align as usize));
            }
            let run = Transfer::new(Action::Read, at - lead, 0, bytes, self.align);
            self.read_run(run, &mut bounce).map_err(told)?;
            part.copy_from_slice(bounce.get(skip..bytes).unwrap_or_default());
            at += part.len() as u64;
        }
        Ok(())
    }
}

/// The error of a [`Source`]: of the kernel's kind, with everything that is known of it.
fn told(error: DiskError) -> io::Error {
    let kind = if let DiskError::Io { source, .. } = &error { source.kind() } else { io::ErrorKind::Other };
    io::Error::new(kind, error)
}

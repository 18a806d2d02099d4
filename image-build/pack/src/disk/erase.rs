//! Zeros and discards: stretches of a disk whose bytes are given without being sent.

use std::io;
use std::ops::Range;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::error::{Action, DiskError};
use super::pool::Aligned;
use super::transfer::Transfer;
use super::{Access, Disk};
use crate::{WINDOW, sys};

/// One call to the kernel erases no more than this: it cannot be stopped before it is done.
const SLICE: u64 = 1 << 30;

/// How far a discard went.
#[derive(Debug)]
pub struct Discarded {
    /// Bytes from the start of the range that were discarded.
    pub bytes: u64,
    /// Why it went no further.
    pub end: DiscardEnd,
}

/// Why a discard ended.
#[derive(Debug)]
pub enum DiscardEnd {
    /// The whole range was discarded.
    Finished,
    /// The caller had enough.
    Stopped,
    /// The device would not: most often `EOPNOTSUPP`.
    Refused(io::Error),
}

impl Disk {
    /// Makes a range of bytes, both ends multiples of the sector size, read as zeros: by the drive itself where it can
    /// (WRITE ZEROES, `FALLOC_FL_ZERO_RANGE`), else by writing them. Not durable before [`Disk::flush`].
    ///
    /// # Errors
    /// When the range is not aligned or not within the disk, the disk is open for reading only, or the device fails.
    pub fn zero(&self, range: Range<u64>) -> Result<(), DiskError> {
        self.check_range(&range)?;
        let mut at = range.start;
        while at < range.end {
            let bytes = (range.end - at).min(SLICE);
            // On a block device this is what BLKZEROOUT does (block/fops.c, blkdev_fallocate), in a form that is safe.
            match fallocate(&self.file, FallocateFlags::ZERO_RANGE | FallocateFlags::KEEP_SIZE, at, bytes) {
                Ok(()) => at += bytes,
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) => {
                    return self.write_zeros(at..range.end);
                }
                Err(error) => {
                    let (path, offset, source) = (self.path.clone(), at, error.into());
                    return Err(DiskError::Io { action: Action::Zero, path, offset, bytes, source });
                }
            }
        }
        Ok(())
    }

    /// Tells the device that nobody needs a range of bytes any more, both ends multiples of the sector size. What it
    /// reads as afterwards is up to the device. `more` is asked before every GiB whether to go on: large or odd drives take
    /// minutes. Nothing that happens here is a reason to stop a job.
    pub fn discard(&self, range: Range<u64>, mut more: impl FnMut() -> bool) -> Discarded {
        let mut bytes = 0;
        let end = loop {
            let at = range.start.saturating_add(bytes);
            if at >= range.end {
                break DiscardEnd::Finished;
            }
            if !more() {
                break DiscardEnd::Stopped;
            }
            let slice = (range.end - at).min(SLICE);
            let said = if self.is_device {
                sys::discard(&self.file, at, slice)
            } else {
                let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                fallocate(&self.file, punch, at, slice).map_err(io::Error::from)
            };
            match said {
                Ok(()) => bytes += slice,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break DiscardEnd::Refused(error),
            }
        };
        Discarded { bytes, end }
    }

    fn check_range(&self, range: &Range<u64>) -> Result<(), DiskError> {
        let (action, path, offset) = (Action::Zero, self.path.clone(), range.start);
        let bytes = range.end.saturating_sub(range.start);
        if self.access != Access::Write {
            return Err(DiskError::ReadOnly { action, path });
        }
        if range.end > self.bytes {
            return Err(DiskError::Beyond { action, path, offset, bytes, end: self.bytes });
        }
        let align = self.align;
        if [range.start, range.end].iter().any(|end| !end.is_multiple_of(u64::from(align))) {
            return Err(DiskError::Unaligned { action, path, offset, bytes, align });
        }
        Ok(())
    }

    fn write_zeros(&self, range: Range<u64>) -> Result<(), DiskError> {
        let zeros = Aligned::new(WINDOW as usize);
        let mut at = range.start;
        while at < range.end {
            let bytes = usize::try_from(range.end - at).map_or(zeros.len(), |left| left.min(zeros.len()));
            self.write_run(Transfer::new(Action::Zero, at, 0, bytes, self.align), &zeros)?;
            at += bytes as u64;
        }
        Ok(())
    }
}

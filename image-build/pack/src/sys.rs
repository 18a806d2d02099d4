//! The kernel's calls that have no safe form: block device ioctls (linux/fs.h) and `io_uring` (`io_uring(7)`).
//! The only file of the crate with `unsafe`; every function is safe to call with any open file.
#![expect(unsafe_code, reason = "these calls have no safe form; each block says why it is sound")]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::with_exposed_provenance_mut;
use std::sync::Arc;

use io_uring::{IoUring, opcode, squeue, types::Fixed};
use rustix::ioctl::{Getter, NoArg, Opcode, Setter, ioctl};

use crate::WINDOW;
use crate::disk::{Buffer, Pool};

const BLKROSET: Opcode = 0x125d;
const BLKROGET: Opcode = 0x125e;
const BLKRRPART: Opcode = 0x125f;
const BLKDISCARD: Opcode = 0x1277;
const BLKROTATIONAL: Opcode = 0x127e;

/// Makes the kernel refuse (or accept again) writes to a whole disk and its partitions.
///
/// # Errors
/// What the kernel says; `ENOTTY` for anything but a block device.
pub fn set_read_only(disk: impl AsFd, read_only: bool) -> io::Result<()> {
    // SAFETY: BLKROSET reads one int from the pointer it is given; `Setter` points at one that it owns.
    let done = unsafe { ioctl(disk, Setter::<BLKROSET, i32>::new(i32::from(read_only))) };
    Ok(done?)
}

/// Whether the kernel refuses writes to a disk.
///
/// # Errors
/// What the kernel says; `ENOTTY` for anything but a block device.
pub fn is_read_only(disk: impl AsFd) -> io::Result<bool> {
    // SAFETY: BLKROGET writes one int to the pointer it is given; `Getter` points at room for one.
    let flag = unsafe { ioctl(disk, Getter::<BLKROGET, i32>::new()) }?;
    Ok(flag != 0)
}

/// Asks the kernel to read the partition table again.
///
/// # Errors
/// What the kernel says; `EBUSY` when a partition is in use, `EINVAL` for a device that has no partitions.
pub fn reread_partitions(disk: impl AsFd) -> io::Result<()> {
    // SAFETY: BLKRRPART takes no argument.
    let done = unsafe { ioctl(disk, NoArg::<BLKRRPART>::new()) };
    Ok(done?)
}

/// Whether a disk has heads that must be moved, as far as the kernel knows.
///
/// # Errors
/// What the kernel says; `ENOTTY` for anything but a block device.
pub fn is_rotational(disk: impl AsFd) -> io::Result<bool> {
    // SAFETY: BLKROTATIONAL writes one unsigned short to the pointer it is given; `Getter` points at room for one.
    let flag = unsafe { ioctl(disk, Getter::<BLKROTATIONAL, u16>::new()) }?;
    Ok(flag != 0)
}

/// Tells a block device that nobody needs a stretch any more. What it reads as afterwards is up to the device. Offset
/// and length in bytes.
///
/// # Errors
/// What the kernel says; `EOPNOTSUPP` for a device that cannot, `EINVAL` for what is not a number of sectors.
pub(crate) fn discard(disk: impl AsFd, offset: u64, bytes: u64) -> io::Result<()> {
    // SAFETY: BLKDISCARD reads two u64 (start, length) from the pointer it is given; `Setter` owns the array.
    let done = unsafe { ioctl(disk, Setter::<BLKDISCARD, [u64; 2]>::new([offset, bytes])) };
    Ok(done?)
}

/// A buffer that the kernel may use. Nobody else reads or writes one that is being read into, and nobody else writes
/// one that is being written to a disk, until this value is gone.
#[derive(Debug)]
pub(crate) struct Lent {
    address: usize,
    held: Held,
}

#[derive(Debug)]
enum Held {
    ForRead(Buffer),
    ForWrite(Arc<Buffer>),
}

impl Lent {
    /// A buffer that a read fills.
    pub(crate) fn for_read(mut buffer: Buffer) -> Lent {
        Lent { address: buffer.as_mut_ptr().expose_provenance(), held: Held::ForRead(buffer) }
    }

    /// A buffer whose bytes are written, perhaps to several disks at once.
    pub(crate) fn for_write(buffer: Arc<Buffer>) -> Lent {
        Lent { address: buffer.as_ptr().expose_provenance(), held: Held::ForWrite(buffer) }
    }

    /// The buffer that was read into; `None` for one that was written.
    pub(crate) fn into_filled(self) -> Option<Buffer> {
        match self.held {
            Held::ForRead(buffer) => Some(buffer),
            Held::ForWrite(_) => None,
        }
    }

    fn slot(&self, pool: &Pool) -> Option<u16> {
        match &self.held {
            Held::ForRead(buffer) => buffer.slot(pool),
            Held::ForWrite(buffer) => buffer.slot(pool),
        }
    }
}

/// An `io_uring` on one file, which shares its buffers with nobody while the kernel may use them.
pub(crate) struct Ring {
    ring: IoUring,
    /// The pool whose buffers are registered under their slots, and those that are.
    registered: Option<(Pool, BTreeSet<u16>)>,
    /// What the kernel may be using, by the number of the transfer.
    lent: BTreeMap<u64, Arc<Lent>>,
    depth: usize,
    /// The file, which is registered: the kernel keeps it open for itself.
    _file: std::os::fd::OwnedFd,
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({} of {} in flight)", self.lent.len(), self.depth)
    }
}

impl Ring {
    /// A ring for at most `depth` transfers at once. Each buffer of `pool` is registered when it is first used, if the kernel
    /// lets us (`RLIMIT_MEMLOCK`, Linux 5.19): registering pins its pages, and whoever needs few is ready at once. One
    /// that is not registered is mapped for each transfer.
    ///
    /// # Errors
    /// What the kernel says: `ENOSYS` without `io_uring`, `EPERM` where it is forbidden.
    pub(crate) fn new(file: impl AsFd, pool: &Pool, depth: u16) -> io::Result<Ring> {
        let file = file.as_fd().try_clone_to_owned()?;
        let ring = IoUring::builder().dontfork().build(u32::from(depth))?;
        ring.submitter().register_files(&[file.as_raw_fd()])?;
        let slots = u32::try_from(pool.buffers()).unwrap_or(u32::MAX);
        let registered = ring.submitter().register_buffers_sparse(slots);
        let registered = registered.ok().map(|()| (pool.clone(), BTreeSet::new()));
        Ok(Ring { ring, registered, lent: BTreeMap::new(), depth: usize::from(depth), _file: file })
    }

    /// The slot under which the kernel knows a buffer, if it does.
    fn registered(&mut self, lent: &Lent) -> Option<u16> {
        let (pool, slots) = self.registered.as_mut()?;
        let slot = lent.slot(pool)?;
        if !slots.contains(&slot) {
            let address = *pool.addresses().get(usize::from(slot))?;
            let (iov_base, iov_len) = (with_exposed_provenance_mut(address), WINDOW as usize);
            let vector = [libc::iovec { iov_base, iov_len }];
            // SAFETY: the vector is the memory of a buffer of `pool`: it is mapped now, and stays so because the ring holds a
            // clone of the pool and every buffer that is out holds the pool too. Registering only pins pages.
            let done = unsafe { self.ring.submitter().register_buffers_update(slot.into(), &vector, None) };
            done.ok()?;
            slots.insert(slot);
        }
        Some(slot)
    }

    /// Whether another transfer fits.
    pub(crate) fn has_room(&self) -> bool {
        self.lent.len() < self.depth
    }

    /// How many transfers the kernel has.
    pub(crate) fn in_flight(&self) -> usize {
        self.lent.len()
    }

    /// Queues a transfer between a part of a buffer and the file from `offset` on, under a number that no other
    /// transfer in flight has. It begins with the next [`Ring::submit`]. `patient` lets a kernel thread wait for what the
    /// device is short of, after it said `EAGAIN`.
    ///
    /// # Errors
    /// When the part does not lie within the buffer, the number is taken or the ring is full.
    pub(crate) fn push(
        &mut self,
        number: u64,
        lent: &Arc<Lent>,
        part: Range<usize>,
        offset: u64,
        patient: bool,
    ) -> io::Result<()> {
        let bytes = part.end.checked_sub(part.start).and_then(|bytes| u32::try_from(bytes).ok());
        let Some(bytes) = bytes.filter(|_| part.end <= WINDOW as usize) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        if !self.has_room() || self.lent.contains_key(&number) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        let slot = self.registered(lent);
        let start = with_exposed_provenance_mut::<u8>(lent.address + part.start);
        let entry = match (&lent.held, slot) {
            (Held::ForRead(_), Some(slot)) => {
                opcode::ReadFixed::new(Fixed(0), start, bytes, slot).offset(offset).build()
            }
            (Held::ForRead(_), None) => opcode::Read::new(Fixed(0), start, bytes).offset(offset).build(),
            (Held::ForWrite(_), Some(slot)) => {
                opcode::WriteFixed::new(Fixed(0), start.cast_const(), bytes, slot).offset(offset).build()
            }
            (Held::ForWrite(_), None) => {
                opcode::Write::new(Fixed(0), start.cast_const(), bytes).offset(offset).build()
            }
        };
        let flags = if patient { squeue::Flags::ASYNC } else { squeue::Flags::empty() };
        let entry = entry.user_data(number).flags(flags);
        // Lent before the kernel can know of it.
        self.lent.insert(number, Arc::clone(lent));
        // SAFETY: the entry's bytes lie within a buffer of WINDOW bytes that `self.lent` keeps until the kernel has
        // said that the transfer is over, and longer when that never happens (see `drop`). Nobody else uses it
        // meanwhile in a way that races: see `Lent`.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| {
            self.lent.remove(&number);
            io::ErrorKind::ResourceBusy.into()
        })
    }

    /// Gives the kernel what was queued, and waits until at least `least` transfers are over.
    ///
    /// # Errors
    /// When the kernel no longer takes calls for the ring. Interruptions and shortages that pass are none.
    pub(crate) fn submit(&mut self, least: usize) -> io::Result<()> {
        if least == 0 && self.ring.submission().is_empty() {
            return Ok(());
        }
        loop {
            match self.ring.submit_and_wait(least) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Too much is in flight (EBUSY, EAGAIN): what has ended is to be taken first.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ResourceBusy) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One transfer that is over: its number and how many bytes were moved. Its buffer is no longer lent to the kernel.
    pub(crate) fn completed(&mut self) -> Option<(u64, io::Result<usize>)> {
        let entry = self.ring.completion().next()?;
        self.lent.remove(&entry.user_data());
        let said = usize::try_from(entry.result())
            .map_err(|_| io::Error::from_raw_os_error(entry.result().saturating_neg()));
        Some((entry.user_data(), said))
    }
}

impl Drop for Ring {
    /// Waits for what is in flight: the kernel writes into those buffers.
    fn drop(&mut self) {
        while !self.lent.is_empty() {
            if self.submit(1).is_err() {
                // Nobody will ever say when these may be used again: they are never freed.
                std::mem::forget(std::mem::take(&mut self.lent));
                return;
            }
            while self.completed().is_some() {}
        }
        // The kernel takes a closed ring apart later. The disk and the memory are to be free now: the next one who wants
        // the disk for itself must get it. What fails here is done then.
        _ = self.ring.submitter().unregister_files();
        _ = self.ring.submitter().unregister_buffers();
    }
}

//! The planned disk in hand, and all others out of reach: look, choose, protect, open, look again.
//!
//! The steps are written against [`Disks`], so that the same code runs on a server and on a simulated one whose disks are
//! swapped at the worst moment.

use std::path::Path;

use protocol::{CaPin, Carried, Disk, DiskId, ImageJob, NodeId};

use crate::deploy::imaging::guard::{self, Left, Unsafe};
use crate::deploy::imaging::hold::{HoldError, Protected};
use crate::deploy::imaging::target::{DiskError, Drive};
use crate::deploy::imaging::{ImagingError, user};
use crate::deploy::seeds;
use crate::inventory::{self, probe};

/// A server's disks, as far as one of them is to be written.
pub trait Disks {
    /// What keeps the others read-only while it lives.
    type Held;
    /// What is written through. While it lives, the kernel gives the disk's name and number to no other.
    type Open;
    /// All disks and what is on them, as they are now.
    fn look(&self) -> Vec<Disk>;
    /// The GPT partitions of a disk that was looked at.
    fn partitions(&self, disk: &Disk) -> Vec<probe::Partition>;
    /// What the seed on a disk says of it.
    fn left(&self, disk: &Disk, job: &ImageJob) -> Left;
    /// Whether nobody uses the disk of this name.
    ///
    /// # Errors
    /// [`HoldError::InUse`].
    fn unused(&self, name: &str) -> Result<(), HoldError>;
    /// Makes everything but the disk of this name read-only.
    ///
    /// # Errors
    /// [`HoldError::Protect`].
    fn protect(&self, name: &str) -> Result<Self::Held, HoldError>;
    /// Opens what has the name of this disk now, for this alone.
    ///
    /// # Errors
    /// [`DiskError::Open`], [`DiskError::Changed`].
    fn open(&self, disk: &Disk, id: DiskId) -> Result<Self::Open, DiskError>;
}

/// The planned disk in hand.
#[derive(Debug)]
pub struct Ready<Held, Open> {
    /// What keeps the others read-only.
    pub held: Held,
    /// The disk, as it was seen when it was open.
    pub disk: Disk,
    /// What it is written through.
    pub open: Open,
    /// Whether it says itself that this job has begun on it.
    pub has_begun: bool,
}

/// Has the planned disk open and everything else protected, or refuses. Nothing is written.
///
/// Between a look and an open a disk can be pulled and another put in, which gets its name, and may have its size. So
/// the disks are looked at once more when it is open: what is seen then is what will be written.
///
/// # Errors
/// [`ImagingError`]: what is in doubt.
pub fn ready<D: Disks>(
    disks: &D,
    job: &ImageJob,
    image: &Carried,
) -> Result<Ready<D::Held, D::Open>, ImagingError> {
    let before = planned(disks, job, image)?;
    disks.unused(&before.name)?;
    let held = disks.protect(&before.name)?;
    let open = disks.open(&before, job.target.disk.clone())?;
    let after = planned(disks, job, image)?;
    if after.name != before.name {
        let (id, before, after) = (job.target.disk.clone(), before.name, after.name);
        return Err(Unsafe::Swapped { id, before, after }.into());
    }
    let has_begun = disks.left(&after, job) == Left::Begun;
    Ok(Ready { held, disk: after, open, has_begun })
}

fn planned<D: Disks>(disks: &D, job: &ImageJob, image: &Carried) -> Result<Disk, Unsafe> {
    let looked = disks.look();
    let left = |disk: &Disk| disks.left(disk, job);
    guard::choose(&looked, job, image, |disk| disks.partitions(disk), left).cloned()
}

/// The disks of this server.
#[derive(Clone, Copy, Debug)]
pub struct Here<'a> {
    /// `/`, or a test's tree.
    pub root: &'a Path,
    /// This node.
    pub node: NodeId,
    /// Its site, by every CA that it has.
    pub sites: &'a [CaPin],
}

impl Disks for Here<'_> {
    type Held = Protected;
    type Open = Drive;

    fn look(&self) -> Vec<Disk> {
        inventory::disks(self.root)
    }

    fn partitions(&self, disk: &Disk) -> Vec<probe::Partition> {
        probe::partitions_of(&inventory::device(self.root, &disk.name), disk)
    }

    fn left(&self, disk: &Disk, job: &ImageJob) -> Left {
        let seed = seeds::read(&inventory::device(self.root, &disk.name));
        seed.map_or(Left::Nothing, |seed| Left::of(&seed, job, self.node, self.sites))
    }

    fn unused(&self, name: &str) -> Result<(), HoldError> {
        user::unused(self.root, name)
    }

    fn protect(&self, name: &str) -> Result<Protected, HoldError> {
        Protected::all_but(self.root, name)
    }

    fn open(&self, disk: &Disk, id: DiskId) -> Result<Drive, DiskError> {
        Drive::open(self.root, disk, id)
    }
}

//! Keeping hands off: a disk in use is not written, and while one is written all others refuse writes.

use std::fs::File;
use std::io;
use std::path::Path;

use pack::disk::{Access, Disk, DiskError, is_read_only, set_read_only};
use rustix::io::Errno;

use crate::deploy::imaging::user;
use crate::inventory;

/// Why the disks can't be made safe.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// Somebody uses the disk.
    #[error("the disk {disk} is in use: {by}")]
    InUse {
        /// Its name now.
        disk: String,
        /// Who.
        by: String,
    },
    /// A disk that is only to be read can't be protected.
    #[error("setting the disk {disk} read-only")]
    Keep {
        /// Its name now.
        disk: String,
        /// What the kernel says.
        source: io::Error,
    },
    /// Another disk can't be protected.
    #[error("setting the other disk {disk} read-only")]
    Protect {
        /// Its name now.
        disk: String,
        /// What the kernel says.
        source: io::Error,
    },
}

/// The disks that refuse writes as long as this lives, with their partitions, and what is made of them: the kernel does
/// not ask a disk whether it may be written when the writer came through an array or a volume on it. Those that were
/// read-only before stay so.
#[derive(Debug, Default)]
pub struct Protected {
    disks: Vec<File>,
}

impl Protected {
    /// Everything refuses writes from here on: nothing is to be written.
    ///
    /// # Errors
    /// [`HoldError::Keep`]: one that can't be protected, unless there is no medium in it. Those that were done are undone.
    pub fn all(root: &Path) -> Result<Self, HoldError> {
        let mut protected = Self::default();
        for disk in inventory::writable_names(root) {
            match protected.add(root, &disk) {
                Err(source) if !is_gone(&source) => return Err(HoldError::Keep { disk, source }),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(protected)
    }

    /// Everything but `target` refuses writes from here on.
    ///
    /// # Errors
    /// [`HoldError::Protect`]: one that can't be protected, unless there is no medium in it. Those that were done
    /// are undone.
    pub fn all_but(root: &Path, target: &str) -> Result<Self, HoldError> {
        Self::all_but_these(root, &[target.to_owned()])
    }

    /// Everything but these refuses writes from here on.
    ///
    /// # Errors
    /// As [`Protected::all_but`].
    pub fn all_but_these(root: &Path, targets: &[String]) -> Result<Self, HoldError> {
        let mut protected = Self::default();
        for disk in inventory::writable_names(root).into_iter().filter(|disk| !targets.contains(disk)) {
            match protected.add(root, &disk) {
                Err(source) if !is_gone(&source) => return Err(HoldError::Protect { disk, source }),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(protected)
    }

    /// Everything but `target` that nobody uses refuses writes from here on; the second are the names of the others. For a
    /// system that runs from one of its disks: that one can't be written past its file system by accident, and would
    /// not live without being written.
    ///
    /// # Errors
    /// As [`Protected::all_but`].
    pub fn all_unused_but(root: &Path, target: &str) -> Result<(Self, Vec<String>), HoldError> {
        let mut protected = Self::default();
        let others = inventory::writable_names(root).into_iter().filter(|disk| disk != target);
        let (free, in_use): (Vec<_>, Vec<_>) = others.partition(|disk| is_unused(root, disk));
        for disk in free {
            match protected.add(root, &disk) {
                Err(source) if !is_gone(&source) => return Err(HoldError::Protect { disk, source }),
                Ok(()) | Err(_) => {}
            }
        }
        Ok((protected, in_use))
    }

    /// So do the disks that have appeared since, and those whose protection somebody took off. One that is on its way
    /// in or out has no device to write to, and is looked at again the next time.
    ///
    /// # Errors
    /// [`HoldError::Protect`]: one that can't be protected. All others are.
    pub fn also(&mut self, root: &Path, target: &str) -> Result<(), HoldError> {
        self.also_these(root, &[target.to_owned()])
    }

    /// The same where these are to be written.
    ///
    /// # Errors
    /// As [`Protected::also`].
    pub fn also_these(&mut self, root: &Path, targets: &[String]) -> Result<(), HoldError> {
        let mut wrong = None;
        for disk in inventory::writable_names(root).into_iter().filter(|disk| !targets.contains(disk)) {
            match self.add(root, &disk) {
                Err(source) if !is_gone(&source) => wrong = Some(HoldError::Protect { disk, source }),
                Ok(()) | Err(_) => {}
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    fn add(&mut self, root: &Path, disk: &str) -> io::Result<()> {
        let file = File::open(inventory::device(root, disk))?;
        if !is_read_only(&file)? {
            set_read_only(&file, true)?;
            self.disks.push(file);
        }
        Ok(())
    }
}

/// Neither by what `/sys` and `/proc` tell, nor by what the kernel says to somebody who wants it for himself: in a container
/// the mounts are others.
fn is_unused(root: &Path, disk: &str) -> bool {
    let claimed = || match Disk::open(&inventory::device(root, disk), Access::ReadExclusive) {
        Err(DiskError::Open { source, .. }) => source.kind() == io::ErrorKind::ResourceBusy,
        Ok(_) | Err(_) => false,
    };
    user::unused(root, disk).is_ok() && !claimed()
}

/// There is no such device, or none any more, or no medium in it: nothing that could be written to.
fn is_gone(error: &io::Error) -> bool {
    let gone = [Errno::NOENT, Errno::NXIO, Errno::NODEV, Errno::NOMEDIUM].map(Errno::raw_os_error);
    error.raw_os_error().is_some_and(|code| gone.contains(&code))
}

impl Drop for Protected {
    fn drop(&mut self) {
        for disk in &self.disks {
            // A disk that was pulled out meanwhile needs no protection any more.
            let _gone = set_read_only(disk, false);
        }
    }
}

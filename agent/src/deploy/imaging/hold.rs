//! Keeping hands off: a disk in use is not written, and while one is written all others refuse writes.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::io::Errno;

use crate::inventory;
use crate::sys;

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
    /// Everything but `target` refuses writes from here on.
    ///
    /// # Errors
    /// [`HoldError::Protect`]: one that can't be protected, unless there is no medium in it. Those that were done
    /// are undone.
    pub fn all_but(root: &Path, target: &str) -> Result<Self, HoldError> {
        let mut protected = Self::default();
        for disk in inventory::writable_names(root).into_iter().filter(|disk| disk != target) {
            match protected.add(root, &disk) {
                Err(source) if !is_gone(&source) => return Err(HoldError::Protect { disk, source }),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(protected)
    }

    /// So do the disks that have appeared since, and those whose protection somebody took off. One that is on its way
    /// in or out has no device to write to, and is looked at again the next time.
    ///
    /// # Errors
    /// [`HoldError::Protect`]: one that can't be protected. All others are.
    pub fn also(&mut self, root: &Path, target: &str) -> Result<(), HoldError> {
        let mut wrong = None;
        for disk in inventory::writable_names(root).into_iter().filter(|disk| disk != target) {
            match self.add(root, &disk) {
                Err(source) if !is_gone(&source) => wrong = Some(HoldError::Protect { disk, source }),
                Ok(()) | Err(_) => {}
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    fn add(&mut self, root: &Path, disk: &str) -> io::Result<()> {
        let file = File::open(inventory::device(root, disk))?;
        if !sys::is_read_only(&file)? {
            sys::set_read_only(&file, true)?;
            self.disks.push(file);
        }
        Ok(())
    }
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
            let _gone = sys::set_read_only(disk, false);
        }
    }
}

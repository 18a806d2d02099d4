//! The disk that is written to: the one that was shown, from the first byte to the last.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use setup::install::Disk;

use super::{disks, program};

const MIB: u64 = 1 << 20;
/// Of `linux/fcntl.h`: whatever uses a disk, even if nobody sees it, has it open so.
const O_EXCL: i32 = 0o200;
/// Programs that look at a disk when it changes have it open for a moment.
const TRIES: u32 = 10;

/// An open disk.
pub(super) struct Target {
    file: File,
    path: PathBuf,
    bytes: u64,
    sequence: String,
}

impl Target {
    /// The disk that was shown, if it is still that, and nobody uses it.
    ///
    /// # Errors
    /// It is another one, or in use.
    pub(super) fn claimed(shown: &Disk) -> Result<Target, String> {
        let path = PathBuf::from(&shown.path);
        let failed = |why| format!("opening {}: {why}", path.display());
        // A number that the kernel gives no other disk until it restarts, whatever name that gets.
        let sequence = sequence(&path)?;
        drop(File::options().write(true).custom_flags(O_EXCL).open(&path).map_err(failed)?);
        let loops =
            program::run("losetup", ["--noheadings", "--output", "NAME", "--associated", &shown.path])?;
        if !loops.trim().is_empty() {
            return Err(format!(
                "{} is in use by {}: restart the machine, and install again",
                shown.path,
                loops.trim()
            ));
        }
        let file = File::options().read(true).write(true).open(&path).map_err(failed)?;
        let target = Target { file, path, bytes: shown.bytes, sequence };
        if !disks::all()?.contains(shown) {
            return Err(
                "the disk is not what was shown any more: rackwright install --list shows what is there"
                    .to_owned(),
            );
        }
        target.is_same()?;
        Ok(target)
    }

    /// What the kernel calls it.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The disk itself, whatever has its name.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// That its name is still its own: programs get it by that.
    ///
    /// # Errors
    /// It was pulled out.
    pub(super) fn is_same(&self) -> Result<(), String> {
        if sequence(&self.path)? == self.sequence {
            return Ok(());
        }
        Err(format!(
            "{} is another disk now: was it pulled out? Nothing more was written",
            self.path.display()
        ))
    }

    /// Nothing boots from it any more, and nothing is known of what was on it: both ends, with boot sector, both partition tables and the
    /// marks of most file systems.
    ///
    /// # Errors
    /// What could not be written.
    pub(super) fn clear(&self) -> Result<(), String> {
        self.forget(0)?;
        self.forget(self.bytes.saturating_sub(MIB))?;
        for _ in 0..TRIES {
            // One that is read by somebody just now is asked again.
            let _ = program::run("udevadm", ["settle", "--timeout=10"]);
            if program::run("blockdev", ["--rereadpt", &self.path.to_string_lossy()]).is_ok() {
                return Ok(());
            }
            sleep(Duration::from_secs(1));
        }
        Err(format!(
            "{} is in use by a program that is not known: restart the machine, and install again",
            self.path.display()
        ))
    }

    /// Zeros in place of the MiB from there.
    ///
    /// # Errors
    /// As [`Target::put`].
    pub(super) fn forget(&self, at: u64) -> Result<(), String> {
        self.put(&vec![0; usize::try_from(MIB).unwrap_or_default()], at)
    }

    /// Bytes from there, and waits until they are on the disk.
    ///
    /// # Errors
    /// What could not be written.
    pub(super) fn put(&self, bytes: &[u8], at: u64) -> Result<(), String> {
        let done = self.file.write_all_at(bytes, at).and_then(|()| self.file.sync_all());
        done.map_err(|why| format!("writing {}: {why}", self.path.display()))
    }
}

/// `diskseq` of Documentation/ABI/stable/sysfs-block.
fn sequence(disk: &Path) -> Result<String, String> {
    let name = disk.file_name().unwrap_or_default().to_string_lossy();
    let path = Path::new("/sys/class/block").join(&*name).join("diskseq");
    fs::read_to_string(&path)
        .map_err(|why| format!("{} is gone: reading {}: {why}", disk.display(), path.display()))
}

//! Parts of a disk as devices of their own, before its partition table is written, and file systems on them for a while.

use std::fs;
use std::path::{Path, PathBuf};

use setup::install::Place;

use super::program;

/// A part of a disk, or a file, as a device; dropped, it is none any more.
pub(super) struct Loop(String);

impl Loop {
    /// Of a part of a disk.
    pub(super) fn of(disk: &Path, place: Place) -> Result<Loop, String> {
        let (offset, bytes) = (place.offset().to_string(), place.bytes().to_string());
        let words = ["--find", "--show", "--offset", &offset, "--sizelimit", &bytes].map(str::to_owned);
        let device =
            program::run("losetup", words.iter().map(String::as_str).chain([&*disk.to_string_lossy()]))?;
        Ok(Loop(device.trim().to_owned()))
    }

    pub(super) fn device(&self) -> &str {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // It goes when the machine restarts, at the latest.
        let _ = program::run("losetup", ["--detach", &self.0]);
    }
}

/// A mounted file system; dropped, it is unmounted.
pub(super) struct Mounted(PathBuf);

impl Mounted {
    /// What is in a file or on a device, with these options. `name` is unique among what is mounted at a time.
    pub(super) fn at(name: &str, what: &Path, options: &str) -> Result<Mounted, String> {
        let place = Path::new("/run").join(format!("rackwright-{name}-{}", std::process::id()));
        fs::create_dir_all(&place).map_err(|why| format!("making {}: {why}", place.display()))?;
        let mounted = Mounted(place);
        let words = ["-o", options].map(Path::new);
        program::run("mount", words.into_iter().chain([what, &mounted.0]))?;
        Ok(mounted)
    }

    pub(super) fn path(&self, inside: &str) -> PathBuf {
        self.0.join(inside)
    }

    /// Unmounts it; everything that was written is on the disk then.
    pub(super) fn close(self) -> Result<(), String> {
        let done = program::run("umount", [&self.0]).map(drop);
        let _ = fs::remove_dir(&self.0);
        std::mem::forget(self);
        done
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = program::run("umount", [&self.0]);
        let _ = fs::remove_dir(&self.0);
    }
}

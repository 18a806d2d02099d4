//! The root file system of a disk file, mounted for reading.

use std::io;
use std::path::{Path, PathBuf};

use crate::rack::gpt::Partition;
use crate::tool::{Tool, ToolError};

/// A mounted file system; dropping it unmounts it.
#[derive(Debug)]
pub struct Mounted {
    place: PathBuf,
}

/// Why it is not mounted.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The place for it.
    #[error("preparing {}", place.display())]
    Place {
        /// Where it should be.
        place: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// mount said no.
    #[error("mounting a disk file")]
    Mount(#[from] ToolError),
}

impl Mounted {
    /// Mounts one partition of `disk` at `place`, which is made when needed; nothing can write to it.
    ///
    /// # Errors
    /// [`MountError`].
    pub fn read_only(disk: &Path, partition: Partition, place: PathBuf) -> Result<Mounted, MountError> {
        std::fs::create_dir_all(&place)
            .map_err(|source| MountError::Place { place: place.clone(), source })?;
        // noload: the journal of an image is clean, and replaying one would write.
        let options = format!("ro,noload,loop,offset={},sizelimit={}", partition.offset, partition.bytes);
        Tool::new("mount").args(["-t", "ext4", "-o", &options]).arg(disk).arg(&place).read()?;
        Ok(Mounted { place })
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Path {
        &self.place
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // What can't be unmounted now stays until the machine restarts; it is read-only and in a folder of its own.
        let _ = Tool::new("umount").arg("--lazy").arg(&self.place).cleaning().read();
    }
}

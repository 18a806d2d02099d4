//! The boot store: the loaders, the kernel and the ramdisk that `image-build ramdisk` made.
//!
//! Knows which files there must be, and opens them by constant names under a directory that it holds open: no name
//! that came over a wire ever reaches the file system. Refuses symbolic links, so that nobody who may write the
//! directory can have another file served.

#[cfg(test)]
pub(crate) mod tests;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use pxe::files::StoreFile;
use rustix::fs::{AtFlags, Mode, OFlags};

/// What was put into the store, written beside the files.
const VERSIONS: &str = "versions.json";
/// The guest that proves clouds.
const GUEST: &str = "guest.img";
/// `versions.json` is not longer, in bytes.
const MAX_VERSIONS: u64 = 1 << 20;
/// No file of a boot store is larger, in bytes: firmware would run out of memory.
const MAX_FILE: u64 = 1 << 30;

/// Why there is no boot store.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// The directory cannot be opened.
    #[error("opening the boot store {}; `image-build ramdisk --out {}` makes it", path.display(), path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file is missing or unusable.
    #[error("the boot store has no usable {name} ({why}); run `image-build ramdisk --out {}`", path.display())]
    File {
        /// The directory.
        path: PathBuf,
        /// The file's name in it.
        name: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// A boot store that had what no boot can do without when it was opened.
#[derive(Debug)]
pub struct BootStore {
    path: PathBuf,
    directory: OwnedFd,
    /// What it had.
    there: BTreeSet<StoreFile>,
    versions: serde_json::Value,
}

impl BootStore {
    /// Opens a store and looks at every file. One that is not required may be missing; one that is there must be usable.
    ///
    /// # Errors
    /// [`BootError`], naming the step that makes what is missing.
    pub fn open(path: &Path) -> Result<Self, BootError> {
        Self::requiring(&StoreFile::REQUIRED, path)
    }

    fn requiring(required: &[StoreFile], path: &Path) -> Result<Self, BootError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|e| BootError::Directory { path: path.into(), source: e.into() })?;
        let (there, versions) = (BTreeSet::new(), serde_json::Value::Null);
        let mut store = Self { path: path.into(), directory, there, versions };
        for file in StoreFile::ALL {
            if required.contains(&file) || store.is_named(file) {
                store.file(file)?;
                store.there.insert(file);
            }
        }
        store.versions = store.read_versions()?;
        Ok(store)
    }

    /// What the store had when it was opened beyond what it must have: what it has not, no server should be told to ask
    /// for.
    pub fn extras(&self) -> BTreeSet<StoreFile> {
        self.there.iter().copied().filter(|file| !StoreFile::REQUIRED.contains(file)).collect()
    }

    /// Whether there is anything under its name; what it is, is seen when it is opened.
    fn is_named(&self, file: StoreFile) -> bool {
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        rustix::fs::statat(&self.directory, file.store_name(), flags).err() != Some(rustix::io::Errno::NOENT)
    }

    /// A file, opened for this reader alone, and its length in bytes.
    ///
    /// # Errors
    /// [`BootError::File`]: the store never had it, or it is gone since, or was changed into something else.
    pub fn file(&self, file: StoreFile) -> Result<(File, u64), BootError> {
        self.named(file.store_name())
    }

    /// The length of a file in bytes.
    ///
    /// # Errors
    /// As [`BootStore::file`].
    pub fn length(&self, file: StoreFile) -> Result<u64, BootError> {
        self.file(file).map(|(_, length)| length)
    }

    /// The kernel of the guest that proves clouds: every server's.
    ///
    /// # Errors
    /// As [`BootStore::file`].
    pub fn guest_kernel(&self) -> Result<(File, u64), BootError> {
        self.file(StoreFile::Kernel)
    }

    /// The ramdisk of the guest that proves clouds. No machine boots it from here, and an older store has none.
    ///
    /// # Errors
    /// As [`BootStore::file`].
    pub fn guest_ramdisk(&self) -> Result<(File, u64), BootError> {
        self.named(GUEST)
    }

    /// What `image-build` wrote about what it put here.
    pub fn versions(&self) -> &serde_json::Value {
        &self.versions
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn named(&self, name: &'static str) -> Result<(File, u64), BootError> {
        let wrong = |why: String| BootError::File { path: self.path.clone(), name, why };
        // NONBLOCK: opening a pipe that somebody put here must not stop us.
        // NOFOLLOW is enough, because a name is one constant component; openat2 is refused by older containers.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW;
        let opened = rustix::fs::openat(&self.directory, name, flags, Mode::empty());
        let file = match opened {
            Ok(fd) => File::from(fd),
            Err(rustix::io::Errno::LOOP) => return Err(wrong("it is a symbolic link".into())),
            Err(e) => return Err(wrong(io::Error::from(e).to_string())),
        };
        let meta = file.metadata().map_err(|e| wrong(e.to_string()))?;
        match meta.len() {
            _ if !meta.is_file() => Err(wrong("it is not a regular file".into())),
            0 => Err(wrong("it is empty".into())),
            length if length > MAX_FILE => Err(wrong(format!("{length} bytes are too many"))),
            length => Ok((file, length)),
        }
    }

    fn read_versions(&self) -> Result<serde_json::Value, BootError> {
        let (file, _) = self.named(VERSIONS)?;
        let wrong = |why: String| BootError::File { path: self.path.clone(), name: VERSIONS, why };
        let mut text = Vec::new();
        file.take(MAX_VERSIONS).read_to_end(&mut text).map_err(|e| wrong(e.to_string()))?;
        serde_json::from_slice(&text).map_err(|e| wrong(format!("it is not JSON: {e}")))
    }
}

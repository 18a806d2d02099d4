//! The folder of the store, and the few ways in which it is changed. What is written under a name that counts was synced
//! before it got the name; a name counts when the folder was synced after it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::ImageError;
#[cfg(test)]
use super::tests::power::Power;

/// A file that is being written: of no account, and removed at the next start.
const PART: &str = "part";

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    parts: AtomicU64,
    /// Where the tests cut the power.
    #[cfg(test)]
    pub(super) power: Power,
}

/// A name in the folder.
pub(super) fn is_part(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|kind| kind == PART)
}

impl Folder {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            parts: AtomicU64::new(0),
            #[cfg(test)]
            power: Power::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The names of its files, in order.
    pub(super) fn names(&self) -> Result<Vec<String>, ImageError> {
        let entries = std::fs::read_dir(&self.path).map_err(|source| self.failed("listing", "", source))?;
        let names = entries.map(|entry| entry.map(|entry| entry.file_name().into_string().ok()));
        let names = names.collect::<io::Result<Vec<_>>>();
        let names = names.map_err(|source| self.failed("listing", "", source))?;
        let mut names = names.into_iter().flatten().collect::<Vec<_>>();
        names.sort();
        Ok(names)
    }

    /// A new file under a name of no account. Two uploads at once do not share one.
    pub(super) fn part(&self) -> Result<(String, File), ImageError> {
        let name = format!("{}.{PART}", self.parts.fetch_add(1, Ordering::Relaxed));
        let file = self.step().and_then(|()| {
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(self.join(&name))
        });
        let file = file.map_err(|source| self.failed("making", &name, source))?;
        Ok((name, file))
    }

    /// Writes at a place of an open file, whatever an attempt before has left there.
    pub(super) fn write(&self, name: &str, file: &File, at: u64, bytes: &[u8]) -> Result<(), ImageError> {
        let written = self.step().and_then(|()| {
            #[cfg(test)]
            self.power.wrote(&self.join(name));
            #[cfg(test)]
            self.power.tears(file, at, bytes)?;
            file.write_all_at(bytes, at)
        });
        written.map_err(|source| self.failed("writing", name, source))
    }

    /// Cuts off what stands behind a place: of a write that failed midway.
    pub(super) fn cut(&self, name: &str, file: &File, at: u64) -> Result<(), ImageError> {
        let cut = self.step().and_then(|()| file.set_len(at));
        cut.map_err(|source| self.failed("writing", name, source))
    }

    /// What was written is durable.
    pub(super) fn sync_file(&self, name: &str, file: &File) -> Result<(), ImageError> {
        self.synced(name, || file.sync_all())
    }

    /// The data that was written is on the disk: the rest of [`Folder::sync_file`] is short.
    pub(super) fn write_out(&self, name: &str, file: &File) -> Result<(), ImageError> {
        self.synced(name, || file.sync_data())
    }

    fn synced(&self, name: &str, sync: impl FnOnce() -> io::Result<()>) -> Result<(), ImageError> {
        let synced = self.step().and_then(|()| sync());
        #[cfg(test)]
        if synced.is_ok() {
            self.power.synced(&self.join(name));
        }
        synced.map_err(|source| self.failed("syncing", name, source))
    }

    /// Another name; whatever had it is gone. Durable after [`Folder::sync`].
    pub(super) fn rename(&self, from: &str, to: &str) -> Result<(), ImageError> {
        let renamed = self.step().and_then(|()| {
            #[cfg(test)]
            self.power.renames(&self.join(from), &self.join(to));
            std::fs::rename(self.join(from), self.join(to))
        });
        renamed.map_err(|source| self.failed("naming", from, source))
    }

    /// Removes a file; that there is none is as good. Durable after [`Folder::sync`].
    pub(super) fn remove(&self, name: &str) -> Result<(), ImageError> {
        let removed = self.step().and_then(|()| {
            #[cfg(test)]
            self.power.removes(&self.join(name));
            std::fs::remove_file(self.join(name))
        });
        match removed {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done.map_err(|source| self.failed("removing", name, source)),
        }
    }

    /// Names that were given and taken are durable.
    pub(super) fn sync(&self) -> Result<(), ImageError> {
        let synced = self.step().and_then(|()| File::open(&self.path)?.sync_all());
        #[cfg(test)]
        if synced.is_ok() {
            self.power.synced_folder();
        }
        synced.map_err(|source| self.failed("syncing the folder", "", source))
    }

    /// A small file, whole or as it was, and durable.
    pub(super) fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), ImageError> {
        let (part, file) = self.part()?;
        let done = self.write(&part, &file, 0, bytes).and_then(|()| self.sync_file(&part, &file));
        let done = done.and_then(|()| self.rename(&part, name)).and_then(|()| self.sync());
        if done.is_err() {
            // Best effort: what is left is removed at the next start.
            drop(self.remove(&part));
        }
        done
    }

    /// That an operation on a file failed.
    pub(super) fn failed(&self, what: &'static str, name: &str, source: io::Error) -> ImageError {
        let path = if name.is_empty() { self.path.clone() } else { self.join(name) };
        ImageError::File { what, path, source }
    }

    #[cfg(test)]
    fn step(&self) -> io::Result<()> {
        self.power.step()
    }

    #[cfg(not(test))]
    fn step(&self) -> io::Result<()> {
        Ok(())
    }
}

//! The record of a set-up that goes on: in memory (`/run`), because nothing is written to a disk before it is confirmed. It
//! survives whatever ends the program, and not a restart of the machine.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use setup::record::{HEAD, MAX_BYTES};

/// The daemon has `run/rackwright` for itself, and takes it along when it ends.
const FOLDER: &str = "run/rackwright-setup";
const NAME: &str = "record";

#[derive(Debug)]
pub(super) struct Record {
    path: PathBuf,
}

impl Record {
    pub(super) fn below(root: &Path) -> Record {
        Record { path: root.join(FOLDER).join(NAME) }
    }

    pub(super) fn read(&self) -> Option<String> {
        bounded(&self.path, u64::try_from(MAX_BYTES).unwrap_or(u64::MAX))
    }

    /// An empty one, in a folder that nobody else looks into.
    pub(super) fn begin(&self) -> io::Result<()> {
        self.forget();
        if let Some(folder) = self.path.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.path);
        file?.write_all(HEAD.as_bytes())
    }

    /// One write for one line: a line is there whole, or breaks off at the end.
    pub(super) fn add(&self, line: &str) -> io::Result<()> {
        OpenOptions::new().append(true).open(&self.path)?.write_all(line.as_bytes())
    }

    pub(super) fn forget(&self) {
        drop(fs::remove_file(&self.path));
    }
}

/// A file's text, when it is no longer than that. A line that breaks off may do so in the middle of a character.
pub(super) fn bounded(path: &Path, most: u64) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most + 1).read_to_end(&mut bytes).ok()?;
    let fits = bytes.len() <= usize::try_from(most).unwrap_or(usize::MAX);
    fits.then(|| String::from_utf8_lossy(&bytes).into_owned())
}

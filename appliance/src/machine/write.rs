//! Writes what set-up came to: every file whole or not at all, what was there before kept beside it, the configuration last.
//! Whatever ends it before that, a machine that was no controller is none yet, and the next set-up writes everything again. Of one that
//! was, files of the set-up before may have been put aside already: their copies are beside them.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use console::wizard::Written;
use setup::{File, OWNED, Outcome};

use crate::backup::durable;

/// More copies of one file than anybody makes.
const MOST_COPIES: u32 = 1000;

/// Why it was not written.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// A configuration came to be there meanwhile.
    #[error("{} is there already", path.display())]
    Configured {
        /// The configuration.
        path: PathBuf,
    },
    /// The kernel refused.
    #[error("{what} {}", path.display())]
    File {
        /// Gerund.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

/// Writes the files below a root, in their order. Those of an earlier set-up that are not among them are put aside.
///
/// # Errors
/// [`WriteError`]; every file is the old one or the new one.
pub(super) fn write(root: &Path, outcome: &Outcome, force: bool) -> Result<Written, WriteError> {
    let mut written = Written::default();
    let last = outcome.files.last().map(|file| root.join(file.path));
    if let Some(path) = last.filter(|path| !force && path.symlink_metadata().is_ok()) {
        return Err(WriteError::Configured { path });
    }
    let is_new = |path: &str| outcome.files.iter().any(|file| file.path == path);
    for path in OWNED.into_iter().filter(|path| !is_new(path)) {
        written.kept.extend(put_aside(&root.join(path))?);
    }
    for file in &outcome.files {
        let path = root.join(file.path);
        if fs::read(&path).is_ok_and(|old| old == file.content.as_bytes()) {
            continue;
        }
        written.kept.extend(put(&path, file)?);
        written.files.push(path);
    }
    Ok(written)
}

/// Writes one, and gives where the old one is kept.
fn put(path: &Path, file: &File) -> Result<Option<PathBuf>, WriteError> {
    let failed = |what| move |source| WriteError::File { what, path: path.into(), source };
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
    if let Some(folder) = missing.first() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(folder)
            .map_err(failed("making the folder of"))?;
    }
    for folder in missing {
        durable::sync_folder_of(folder).map_err(failed("making the folder of"))?;
    }
    let kept = keep(path)?;
    durable::publish(path, file.content.as_bytes()).map_err(failed("writing"))?;
    Ok(kept)
}

/// Gives a file a second name; none when there is no such file.
fn keep(path: &Path) -> Result<Option<PathBuf>, WriteError> {
    let failed = |source| WriteError::File { what: "keeping a copy of", path: path.into(), source };
    for number in 1..=MOST_COPIES {
        let mut name = path.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".old{number}"));
        let copy = path.with_file_name(name);
        match fs::hard_link(path, &copy) {
            Ok(()) => return Ok(Some(copy)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(io::ErrorKind::AlreadyExists.into()))
}

fn put_aside(path: &Path) -> Result<Option<PathBuf>, WriteError> {
    let failed = |source| WriteError::File { what: "putting aside", path: path.into(), source };
    let kept = keep(path)?;
    if kept.is_some() {
        fs::remove_file(path).and_then(|()| durable::sync_folder_of(path)).map_err(failed)?;
    }
    Ok(kept)
}

//! File operations whose errors name the file, and a working directory that goes away with its owner.

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

/// A file operation that did not work, with the file.
#[derive(Debug, thiserror::Error)]
#[error("{doing} {}", path.display())]
pub struct FileError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Turns the error of `doing` something to `path` into one that says so.
pub fn named(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FileError + use<> {
    let path = path.to_owned();
    move |source| FileError { doing, path, source }
}

/// The whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, FileError> {
    fs::read(path).map_err(named("reading", path))
}

/// The whole file as text.
pub fn read_text(path: &Path) -> Result<String, FileError> {
    fs::read_to_string(path).map_err(named("reading", path))
}

/// Writes a file in one go, making the folders above it.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    fs::write(path, bytes).map_err(named("writing", path))
}

/// Makes a new file for writing, emptying an old one.
pub fn create(path: &Path) -> Result<File, FileError> {
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    let mut options = File::options();
    options.read(true).write(true).create(true).truncate(true).open(path).map_err(named("creating", path))
}

/// Opens a file for reading.
pub fn open(path: &Path) -> Result<File, FileError> {
    File::open(path).map_err(named("opening", path))
}

/// What the file system says about a file, not following a link.
pub fn look(path: &Path) -> Result<Metadata, FileError> {
    fs::symlink_metadata(path).map_err(named("looking at", path))
}

/// Makes a folder and those above it; being there already is fine.
pub fn make_folder(path: &Path) -> Result<(), FileError> {
    fs::create_dir_all(path).map_err(named("making the folder", path))
}

/// The folder that a file is in, or would be.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Copies content and permission bits, making the folders above `to`; holes stay holes where the file
/// system can share blocks or copy them in the kernel.
pub fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    if let Some(folder) = to.parent() {
        make_folder(folder)?;
    }
    fs::copy(from, to).map(drop).map_err(named("copying", from))
}

/// A second name for a file that nobody will change, or a copy where the file system has no second names.
pub fn share(from: &Path, to: &Path) -> Result<(), FileError> {
    if let Some(folder) = to.parent() {
        make_folder(folder)?;
    }
    fs::hard_link(from, to).or_else(|_| copy(from, to))
}

/// Moves a file or folder within one file system.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    fs::rename(from, to).map_err(named("renaming", from))
}

/// Sets the permission bits.
pub fn set_mode(path: &Path, mode: u32) -> Result<(), FileError> {
    fs::set_permissions(path, Permissions::from_mode(mode)).map_err(named("setting the mode of", path))
}

/// The paths inside a folder, sorted: the order must be the same in every run.
pub fn list(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = fs::read_dir(path).map_err(named("listing", path))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(named("listing", path))?;
    paths.sort();
    Ok(paths)
}

/// Every path below a folder, folders before what is in them, sorted by name at each level.
pub fn walk(path: &Path) -> Result<Vec<PathBuf>, FileError> {
    let mut found = Vec::new();
    for entry in list(path)? {
        let is_folder = look(&entry)?.is_dir();
        found.push(entry.clone());
        if is_folder {
            found.extend(walk(&entry)?);
        }
    }
    Ok(found)
}

/// A folder of one's own; removed, with what is in it, when this value goes.
#[derive(Debug)]
pub struct WorkFolder(PathBuf);

impl WorkFolder {
    /// Makes one inside `parent`. Those that killed processes left there are removed.
    pub fn make(parent: &Path) -> Result<WorkFolder, FileError> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        make_folder(parent)?;
        for left in list(parent)?.iter().filter(|path| owner_is_gone(path)) {
            drop(fs::remove_dir_all(left));
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("image-build.{}.{number}", std::process::id()));
        fs::create_dir(&path).map_err(named("making the folder", &path))?;
        Ok(WorkFolder(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Whether this is such a folder of a process that is no more.
fn owner_is_gone(path: &Path) -> bool {
    is_of_gone_process(&path.file_name().unwrap_or_default().to_string_lossy())
}

/// Whether this is the name of a [`WorkFolder`] of a process that is no more.
#[must_use]
pub fn is_of_gone_process(name: &str) -> bool {
    let process = name.strip_prefix("image-build.").and_then(|rest| rest.split_once('.'));
    let process = process.and_then(|(process, _)| process.parse::<u32>().ok());
    process.is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // Nothing can be done about a failure here, and the folder's name says whose it is.
        drop(fs::remove_dir_all(&self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_file() {
        let error = read(Path::new("/nonexistent/file")).unwrap_err();
        assert_eq!(error.to_string(), "reading /nonexistent/file");
    }

    #[test]
    fn what_a_killed_process_left_is_removed() {
        let work = WorkFolder::make(&std::env::temp_dir()).unwrap();
        let (gone, other) = (work.path().join("image-build.4194305.0"), work.path().join("image-build.x"));
        make_folder(&gone).unwrap();
        make_folder(&other).unwrap();
        let mine = WorkFolder::make(work.path()).unwrap();
        let also_mine = WorkFolder::make(work.path()).unwrap();
        assert!(!gone.exists() && other.exists() && mine.path().exists() && also_mine.path().exists());
    }

    #[test]
    fn walking_is_sorted_and_the_folder_goes_away() {
        let work = WorkFolder::make(&std::env::temp_dir()).unwrap();
        let at = work.path().to_owned();
        for name in ["b/2", "b/1", "a", "c"] {
            write(&at.join(name), b"x").unwrap();
        }
        let found: Vec<_> =
            walk(&at).unwrap().iter().map(|p| p.strip_prefix(&at).unwrap().to_owned()).collect();
        assert_eq!(found, ["a", "b", "b/1", "b/2", "c"].map(PathBuf::from));
        drop(work);
        assert!(!at.exists());
    }
}

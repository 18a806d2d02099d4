//! The files of a document against the files on the disk.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

use pack::Digest;
use protocol::{File, StateDocument};

use super::accounts;
use super::folder::replace;
use super::path::{PathError, below_root};
use crate::chain::Chain;

/// Beside the place of a file that was not there.
const NONE: &str = "there-was-none";

/// Why a file is not as the document wants it.
#[derive(Debug, thiserror::Error)]
pub(super) enum FileError {
    /// A place that no document may write to.
    #[error("{path:?} is refused: {why}")]
    Path {
        /// The path, shortened.
        path: String,
        /// Why.
        why: PathError,
    },
    /// The content is not the one that the digest is of.
    #[error("the content of {0} is damaged: its digest is another")]
    Digest(String),
    /// Modes have twelve bits.
    #[error("{path} wants mode {mode:o}")]
    Mode {
        /// The file.
        path: String,
        /// What it wants.
        mode: u32,
    },
    /// No such user or group here.
    #[error("{path} belongs to {account:?}, and there is no such account here")]
    Account {
        /// The file.
        path: String,
        /// User or group.
        account: String,
    },
    /// The file system said no.
    #[error("writing {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What is to be done about one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// It is as it shall be.
    None,
    /// Only owner or mode differ: nothing needs to read it again.
    Dress,
    /// The content differs, or there is no such file.
    Content,
}

/// The files of a document that are not as they shall be.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Places of those that are right.
    pub(super) right: Vec<String>,
    /// Which of the document's files differ, by their number in it.
    pub(super) due: Vec<(usize, Difference)>,
    /// What is wrong with the others.
    pub(super) wrong: Vec<String>,
}

/// Compares all files of a document with the disk.
pub(super) fn survey(root: &Path, document: &StateDocument) -> Survey {
    let mut survey = Survey::default();
    for (number, file) in document.files.iter().enumerate() {
        match check(root, file).map(|checked| checked.difference()) {
            Ok(Difference::None) => survey.right.push(file.path.clone()),
            Ok(difference) => survey.due.push((number, difference)),
            Err(error) => survey.wrong.push(Chain(&error).to_string()),
        }
    }
    survey
}

/// Writes one file of a document.
pub(super) fn write(root: &Path, file: &File) -> Result<(), FileError> {
    check(root, file)?.write()
}

/// Keeps what is there before it is written over for the first time, below `folder` under its own path; where nothing is there, that.
/// On the disk when this returns.
pub(super) fn spare(root: &Path, folder: &Path, file: &File) -> Result<(), FileError> {
    let checked = check(root, file)?;
    let kept = folder.join(file.path.trim_start_matches('/'));
    let none = kept.with_added_extension(NONE);
    if kept.symlink_metadata().is_ok() || none.exists() {
        return Ok(());
    }
    let keep = || {
        kept.parent().map_or(Ok(()), fs::create_dir_all)?;
        match fs::symlink_metadata(&checked.path) {
            Ok(meta) => {
                let content = fs::read(&checked.path)?;
                replace(&kept, &content, |copy| {
                    fchown(copy, Some(meta.uid()), Some(meta.gid()))?;
                    copy.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777))
                })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => replace(&none, b"", |_| Ok(())),
            Err(error) => Err(error),
        }
    };
    keep().map_err(|source| FileError::Io { path: kept.clone(), source })
}

/// A file that may be written: every part of it has been checked.
#[derive(Debug)]
struct Checked<'a> {
    path: PathBuf,
    content: &'a [u8],
    mode: u32,
    owner: u32,
    group: u32,
}

/// Checks everything about a file that can be wrong before anything is written.
fn check<'a>(root: &Path, file: &'a File) -> Result<Checked<'a>, FileError> {
    let below = below_root(&file.path)
        .map_err(|why| FileError::Path { path: file.path.chars().take(120).collect(), why })?;
    if Digest::of(file.content.as_bytes()) != file.digest {
        return Err(FileError::Digest(file.path.clone()));
    }
    if file.mode & !0o7777 != 0 {
        return Err(FileError::Mode { path: file.path.clone(), mode: file.mode });
    }
    let unknown = |account: &str| FileError::Account { path: file.path.clone(), account: account.to_owned() };
    Ok(Checked {
        path: root.join(below),
        content: file.content.as_bytes(),
        mode: file.mode,
        owner: accounts::user(root, &file.owner).ok_or_else(|| unknown(&file.owner))?,
        group: accounts::group(root, &file.group).ok_or_else(|| unknown(&file.group))?,
    })
}

impl Checked<'_> {
    /// Compares with what is on the disk. What can't be read differs: writing it tells why.
    fn difference(&self) -> Difference {
        let Ok(meta) = fs::symlink_metadata(&self.path) else { return Difference::Content };
        let same_length = u64::try_from(self.content.len()).is_ok_and(|length| length == meta.len());
        if !meta.is_file() || !same_length || fs::read(&self.path).is_ok_and(|there| there != self.content) {
            return Difference::Content;
        }
        let dressed =
            meta.mode() & 0o7777 == self.mode && meta.uid() == self.owner && meta.gid() == self.group;
        if dressed { Difference::None } else { Difference::Dress }
    }

    /// Puts it there whole; parents are made where they are missing.
    fn write(&self) -> Result<(), FileError> {
        let write = || {
            self.path.parent().map_or(Ok(()), fs::create_dir_all)?;
            replace(&self.path, self.content, |file| {
                fchown(file, Some(self.owner), Some(self.group))?;
                // After the owner: changing that drops the set-user-id bits.
                file.set_permissions(fs::Permissions::from_mode(self.mode))
            })
        };
        write().map_err(|source| FileError::Io { path: self.path.clone(), source })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use pack::Digest;
    use protocol::File;

    use super::{Difference, FileError, check};

    fn file(path: &str, content: &str) -> File {
        File {
            path: path.into(),
            mode: 0o640,
            owner: "root".into(),
            group: "root".into(),
            digest: Digest::of(content.as_bytes()),
            content: content.into(),
            restarts: Vec::new(),
        }
    }

    #[test]
    fn a_file_is_written_once_and_found_right_after() {
        let root = tempfile::tempdir().unwrap();
        let wanted = file("/etc/deep/er/x.conf", "a = 1\n");
        let there = root.path().join("etc/deep/er/x.conf");
        let checked = check(root.path(), &wanted).unwrap();
        assert_eq!(checked.difference(), Difference::Content);
        checked.write().unwrap();
        assert_eq!(checked.difference(), Difference::None);
        assert_eq!(std::fs::metadata(&there).unwrap().permissions().mode() & 0o7777, 0o640);
        let names = std::fs::read_dir(there.parent().unwrap()).unwrap().count();
        assert_eq!(names, 1, "no draft stays");

        std::fs::set_permissions(&there, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(checked.difference(), Difference::Dress);
        std::fs::write(&there, "a = 2\n").unwrap();
        assert_eq!(checked.difference(), Difference::Content, "of the same length");
        checked.write().unwrap();
        assert_eq!(std::fs::read_to_string(&there).unwrap(), "a = 1\n");
    }

    #[test]
    fn a_link_is_replaced_and_what_it_points_at_is_left_alone() {
        let root = tempfile::tempdir().unwrap();
        let outside = root.path().join("precious");
        std::fs::write(&outside, "a = 1\n").unwrap();
        std::fs::create_dir(root.path().join("etc")).unwrap();
        symlink(&outside, root.path().join("etc/x")).unwrap();
        let wanted = file("/etc/x", "a = 1\n");
        let checked = check(root.path(), &wanted).unwrap();
        assert_eq!(checked.difference(), Difference::Content);
        checked.write().unwrap();
        assert_eq!(checked.difference(), Difference::None);
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "a = 1\n");
        assert!(std::fs::symlink_metadata(root.path().join("etc/x")).unwrap().is_file());
    }

    #[test]
    fn what_is_wrong_with_a_file_is_found_before_it_is_written() {
        let root = tempfile::tempdir().unwrap();
        let refused = |file: &File| check(root.path(), file).map(drop).unwrap_err();
        assert!(matches!(refused(&file("/etc/../x", "")), FileError::Path { .. }));
        let mut damaged = file("/etc/x", "a");
        damaged.content.push('b');
        assert!(matches!(refused(&damaged), FileError::Digest(_)));
        let mut mode = file("/etc/x", "a");
        mode.mode = 0o100_644;
        assert!(matches!(refused(&mode), FileError::Mode { .. }));
        let mut owner = file("/etc/x", "a");
        owner.owner = "nobody-like-that".into();
        assert!(matches!(refused(&owner), FileError::Account { .. }));
        assert!(std::fs::read_dir(root.path()).unwrap().next().is_none());
    }
}

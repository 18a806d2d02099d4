//! A file system as a linter sees it: names in, bytes out, and nothing that leads out of it.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// A device, a pipe, a socket: never opened.
    Other,
}

/// What the file system says about a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// What it is.
    pub kind: Kind,
    /// Its length in bytes.
    pub bytes: u64,
    /// How much room it takes, in bytes.
    pub allocated: u64,
    /// How many names it has.
    pub names: u64,
    /// The number of its inode, and of its file system.
    pub inode: (u64, u64),
}

/// One file system, or several put together. Paths are relative to its root and have neither `.` nor `..` in them; the
/// empty path is the root. No call follows a symbolic link: [`resolve`] does, and stays inside.
pub trait Tree {
    /// What a path is; `None` when there is nothing.
    ///
    /// # Errors
    /// When the file system can't be read.
    fn look(&self, path: &Path) -> io::Result<Option<Look>>;

    /// Hands over the names in a folder, in any order, until told to stop.
    ///
    /// # Errors
    /// When it is no folder, or can't be read.
    fn each(&self, path: &Path, then: &mut dyn FnMut(&OsStr) -> bool) -> io::Result<()>;

    /// The first so many bytes of a regular file.
    ///
    /// # Errors
    /// When it is no regular file, or can't be read.
    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>>;

    /// Where a link points.
    ///
    /// # Errors
    /// When it is no link, or can't be read.
    fn target(&self, path: &Path) -> io::Result<PathBuf>;
}

/// A file system that may be changed.
pub trait Edit: Tree {
    /// Removes a file, a link, a device, an empty folder.
    ///
    /// # Errors
    /// When the file system refuses.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Overwrites the first MiB of a regular file with zeros where it lies, durably. An image is made of pieces larger than
    /// some file systems' blocks: what a removed file leaves beside a block in use would get into it.
    ///
    /// # Errors
    /// When it is none, or the file system refuses.
    fn wipe(&self, path: &Path) -> io::Result<()>;

    /// Replaces the content of a regular file, keeping owner and mode.
    ///
    /// # Errors
    /// When it is none, or the file system refuses.
    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()>;
}

/// As many links as the kernel follows.
const LINKS_MAX: usize = 40;
/// As long as a path may be for the kernel.
const PATH_MAX: usize = 4095;

/// Where a path leads when every link in it is followed the way that the installed system would: an absolute link begins
/// at the root of the tree, and above that is nothing. `None` when there is nothing, or links go round.
///
/// # Errors
/// When the file system can't be read.
pub fn resolve(tree: &dyn Tree, path: &Path) -> io::Result<Option<PathBuf>> {
    let mut ahead: Vec<OsString> = Vec::new();
    push(&mut ahead, path);
    let (mut at, mut links) = (PathBuf::new(), 0);
    while let Some(name) = ahead.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&name);
        if next.as_os_str().len() > PATH_MAX {
            return Ok(None);
        }
        let Some(look) = tree.look(&next)? else { return Ok(None) };
        match look.kind {
            Kind::Link => {
                links += 1;
                let target = tree.target(&next)?;
                if links > LINKS_MAX || ahead.len() > PATH_MAX {
                    return Ok(None);
                }
                if target.is_absolute() {
                    at = PathBuf::new();
                }
                push(&mut ahead, &target);
            }
            Kind::File | Kind::Other if !ahead.is_empty() => return Ok(None),
            Kind::File | Kind::Other | Kind::Folder => at = next,
        }
    }
    Ok(Some(at))
}

/// Puts the steps of a path on top, the first one uppermost.
fn push(ahead: &mut Vec<OsString>, path: &Path) {
    let steps = path.components().filter_map(|step| match step {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    });
    let steps: Vec<_> = steps.collect();
    ahead.extend(steps.into_iter().rev());
}

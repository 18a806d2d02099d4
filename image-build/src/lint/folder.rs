//! A folder of this machine as a tree: a mounted file system, or one that was unpacked.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::tree::{Edit, Kind, Look, Tree};

/// A folder that is held open. Nothing below it is reached through a link or a mount.
#[derive(Debug)]
pub struct Folder {
    top: OwnedFd,
}

const BENEATH: ResolveFlags =
    ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS).union(ResolveFlags::NO_XDEV);

/// How much of a file is overwritten, in bytes.
const WIPED_MAX: usize = 1 << 20;
/// How much of a path is given to the kernel at once, in bytes.
const PIECE_MAX: usize = 2048;

impl Folder {
    /// Opens a folder by its path on this machine.
    ///
    /// # Errors
    /// When it is none, or may not be entered.
    pub fn open(path: &Path) -> io::Result<Folder> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Folder { top: rustix::fs::openat(CWD, path, flags, Mode::empty())? })
    }

    /// A folder that is open already, as the root of a mount is.
    #[must_use]
    pub fn of(top: OwnedFd) -> Folder {
        Folder { top }
    }

    /// A folder below this one.
    ///
    /// # Errors
    /// When there is none.
    pub fn below(&self, path: &Path) -> io::Result<Folder> {
        Ok(Folder { top: self.at(path, OFlags::PATH | OFlags::DIRECTORY)? })
    }

    /// A path to it for a program that this one starts: it may have no other.
    #[must_use]
    pub fn link(&self) -> PathBuf {
        format!("/proc/{}/fd/{}", std::process::id(), self.top.as_raw_fd()).into()
    }

    /// Writes back what the file system still has in memory.
    ///
    /// # Errors
    /// When the device refuses.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(self.at(Path::new(""), OFlags::RDONLY | OFlags::DIRECTORY)?)?)
    }

    /// Opens what is at a path, however long: the kernel takes 4095 bytes at once.
    fn at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let (mut far, mut piece) = (None::<OwnedFd>, PathBuf::new());
        for step in path {
            if piece.as_os_str().len() + step.len() > PIECE_MAX {
                far =
                    Some(open(far.as_ref().unwrap_or(&self.top), &piece, OFlags::PATH | OFlags::DIRECTORY)?);
                piece.clear();
            }
            piece.push(step);
        }
        open(far.as_ref().unwrap_or(&self.top), &piece, flags)
    }

    /// The folder that something is in, and its name there.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(OwnedFd, &'a OsStr)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = path.parent().unwrap_or(Path::new(""));
        Ok((self.at(parent, OFlags::PATH | OFlags::DIRECTORY)?, name))
    }

    /// Opens a file that was seen to be a regular one; a pipe in its place would not be waited for.
    fn file(&self, path: &Path, flags: OFlags) -> io::Result<File> {
        let is_file = self.look(path)?.is_some_and(|look| look.kind == Kind::File);
        if !is_file {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(File::from(self.at(path, flags | OFlags::NONBLOCK | OFlags::NOCTTY)?))
    }
}

fn open(at: &OwnedFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(rustix::fs::openat2(at, path, flags, Mode::empty(), BENEATH)?)
}

impl Tree for Folder {
    fn look(&self, path: &Path) -> io::Result<Option<Look>> {
        let found = if path.as_os_str().is_empty() {
            rustix::fs::statat(&self.top, "", AtFlags::EMPTY_PATH)
        } else {
            let (parent, name) = match self.place(path) {
                Ok(place) => place,
                Err(error) if is_absence(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            rustix::fs::statat(&parent, name, AtFlags::SYMLINK_NOFOLLOW)
        };
        match found {
            Ok(stat) => Ok(Some(look(&stat))),
            Err(error) if is_absence(&error.into()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn each(&self, path: &Path, then: &mut dyn FnMut(&OsStr) -> bool) -> io::Result<()> {
        let folder = match self.at(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            // Something is mounted on it.
            Err(error) if error.raw_os_error() == Some(Errno::XDEV.raw_os_error()) => return Ok(()),
            other => other?,
        };
        for entry in Dir::read_from(folder.as_fd())? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            let own = matches!(name.as_bytes(), b"." | b".." | b"") || name.as_bytes().contains(&b'/');
            if !own && !then(name) {
                return Ok(());
            }
        }
        Ok(())
    }

    fn read(&self, path: &Path, bytes_max: usize) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        self.file(path, OFlags::RDONLY)?.take(bytes_max as u64).read_to_end(&mut content)?;
        Ok(content)
    }

    fn target(&self, path: &Path) -> io::Result<PathBuf> {
        let (parent, name) = self.place(path)?;
        let target = rustix::fs::readlinkat(&parent, name, Vec::new())?;
        Ok(PathBuf::from(OsStr::from_bytes(target.to_bytes())))
    }
}

impl Edit for Folder {
    fn remove(&self, path: &Path) -> io::Result<()> {
        let (parent, name) = self.place(path)?;
        match rustix::fs::unlinkat(&parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?),
            other => Ok(other?),
        }
    }

    fn wipe(&self, path: &Path) -> io::Result<()> {
        let mut file = self.file(path, OFlags::WRONLY)?;
        let bytes = usize::try_from(file.metadata()?.len()).unwrap_or(WIPED_MAX).min(WIPED_MAX);
        file.write_all(&vec![0; bytes])?;
        file.sync_data()
    }

    fn write(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.wipe(path)?;
        let mut file = self.file(path, OFlags::WRONLY | OFlags::TRUNC)?;
        file.write_all(content)?;
        file.sync_all()
    }
}

/// What means that there is nothing of this name here: absent, below a file, behind a link or a mount, too long.
fn is_absence(error: &io::Error) -> bool {
    let absences = [Errno::NOENT, Errno::NOTDIR, Errno::LOOP, Errno::XDEV, Errno::NAMETOOLONG];
    absences.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

fn look(stat: &Stat) -> Look {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Folder,
        FileType::Symlink => Kind::Link,
        FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Kind::Other,
    };
    let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
    Look {
        kind,
        bytes: unsigned(stat.st_size),
        allocated: unsigned(stat.st_blocks).saturating_mul(512),
        names: stat.st_nlink,
        inode: (stat.st_dev, stat.st_ino),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::id;

    use super::super::tree::resolve;
    use super::*;
    use crate::files::WorkFolder;

    fn tree() -> (WorkFolder, Folder) {
        let work = WorkFolder::make(&std::env::temp_dir()).unwrap();
        let at = work.path();
        std::fs::create_dir_all(at.join("root/etc/real")).unwrap();
        std::fs::write(at.join("outside"), "secret of the host").unwrap();
        std::fs::write(at.join("root/etc/real/file"), "content").unwrap();
        for (name, target) in [
            ("up", "../../../../../../../../../../outside".to_owned()),
            ("abs", at.join("outside").display().to_string()),
            ("in", "/etc/real".to_owned()),
            ("near", "real/../real/file".to_owned()),
            ("loop", "loop".to_owned()),
            ("proc", format!("/proc/{}/root/etc", id())),
        ] {
            symlink(target, at.join("root/etc").join(name)).unwrap();
        }
        let folder = Folder::open(&at.join("root")).unwrap();
        (work, folder)
    }

    #[test]
    fn links_are_followed_inside_and_never_out() {
        let (_work, folder) = tree();
        let found = |path: &str| resolve(&folder, Path::new(path)).unwrap();
        assert_eq!(found("/etc/in/file"), Some("etc/real/file".into()));
        assert_eq!(found("/etc/near"), Some("etc/real/file".into()));
        assert_eq!(found("/../../etc/./real/"), Some("etc/real".into()));
        for path in ["/etc/up", "/etc/abs", "/etc/loop", "/etc/proc/passwd", "/etc/real/file/x", "/nothing"] {
            assert_eq!(found(path), None, "{path}");
        }
    }

    #[test]
    fn no_call_goes_through_a_link() {
        let (_work, folder) = tree();
        for path in ["etc/in/file", "etc/near", "etc/abs", "../outside", "/etc/real/file"] {
            assert!(folder.read(Path::new(path), 10).is_err(), "{path}");
            assert!(folder.write(Path::new(path), b"x").is_err(), "{path}");
        }
        assert_eq!(folder.read(Path::new("etc/real/file"), 4).unwrap(), b"cont");
        assert_eq!(folder.look(Path::new("etc/in/file")).unwrap(), None);
        assert_eq!(folder.look(Path::new("etc/in")).unwrap().unwrap().kind, Kind::Link);
        folder.write(Path::new("etc/real/file"), b"new").unwrap();
        assert_eq!(folder.read(Path::new("etc/real/file"), 99).unwrap(), b"new");
        folder.remove(Path::new("etc/real/file")).unwrap();
        folder.remove(Path::new("etc/real")).unwrap();
        assert_eq!(folder.look(Path::new("etc/real")).unwrap(), None);
    }
}

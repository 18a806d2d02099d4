//! File systems of a disk, opened without a place in this machine's tree of folders.
//!
//! A mount is an open file that was never attached anywhere, and a loop device is told to go away with its last user. So
//! nothing outlives the process, however it ends, and nobody else can enter meanwhile.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string,
    fsmount, fsopen,
};

use super::LintError;
use super::folder::Folder;
use crate::files;
use crate::tools::Call;

/// Whether a file system may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Not a byte of the device is written: no journal is replayed.
    Read,
    /// It is mounted as at any boot.
    Change,
}

/// A stretch of a disk or file as a block device.
#[derive(Debug)]
pub struct Loop {
    path: PathBuf,
    /// While it is open, the device stays.
    _open: File,
}

impl Loop {
    /// Makes a block device of so many bytes at an offset.
    ///
    /// # Errors
    /// When the kernel has no loop devices, or this is not run by root.
    pub fn attach(of: &Path, offset: u64, bytes: u64, access: Access) -> Result<Loop, LintError> {
        let (offset, bytes) = (offset.to_string(), bytes.to_string());
        let call =
            Call::new("losetup").args(["--find", "--show", "--offset", &offset, "--sizelimit", &bytes]);
        let call = if access == Access::Read { call.arg("--read-only") } else { call };
        let name = call.arg(of).run()?;
        let path = PathBuf::from(OsStr::from_bytes(name.trim_ascii()));
        let open = files::open(&path);
        // The kernel detaches a device that is in use when the last user goes; this one is.
        Call::new("losetup").arg("--detach").arg(&path).run()?;
        if access == Access::Change {
            // It keeps the flag of whoever had its number before.
            Call::new("blockdev").arg("--setrw").arg(&path).run()?;
        }
        Ok(Loop { path, _open: open? })
    }

    /// Its path below `/dev`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What blkid says of it: the value of one tag, empty when it has none.
    #[must_use]
    pub fn tag(&self, name: &str) -> String {
        let call =
            Call::new("blkid").args(["--probe", "--match-tag", name, "--output", "value"]).arg(&self.path);
        let value = call.run().unwrap_or_default();
        String::from_utf8_lossy(value.trim_ascii()).into_owned()
    }
}

/// The file systems that are looked into, by blkid's name.
#[must_use]
pub fn is_known(kind: &str) -> bool {
    matches!(kind, "ext2" | "ext3" | "ext4" | "xfs" | "btrfs" | "vfat")
}

/// Mounts a file system; `part` is a btrfs subvolume by path or id, as `subvol=@home`.
///
/// # Errors
/// What the kernel says, in its words: it may not have this file system, or not like what is on the device.
pub fn mount(kind: &str, device: &Path, access: Access, part: Option<(&str, &str)>) -> io::Result<Folder> {
    // The newest driver mounts the older formats too, and it is the one that kernels have.
    let driver = if kind.starts_with("ext") { "ext4" } else { kind };
    let context = fsopen(driver, FsOpenFlags::FSOPEN_CLOEXEC)?;
    let top = configure(&context, kind, device, access, part).map_err(|error| explained(&context, error))?;
    Ok(Folder::of(top))
}

fn configure(
    context: &OwnedFd,
    kind: &str,
    device: &Path,
    access: Access,
    part: Option<(&str, &str)>,
) -> io::Result<OwnedFd> {
    fsconfig_set_string(context, "source", device)?;
    if access == Access::Read {
        fsconfig_set_flag(context, "ro")?;
    }
    match (kind, access) {
        ("xfs", Access::Change) => fsconfig_set_flag(context, "nouuid")?,
        ("xfs", Access::Read) => {
            fsconfig_set_flag(context, "nouuid")?;
            fsconfig_set_flag(context, "norecovery")?;
        }
        ("btrfs", Access::Read) => fsconfig_set_string(context, "rescue", "nologreplay")?,
        (_, Access::Read) if kind.starts_with("ext") => fsconfig_set_flag(context, "noload")?,
        // Else the kernel begins to fill the tables of inodes that nobody has used yet: changes without end.
        (_, Access::Change) if kind.starts_with("ext") => fsconfig_set_flag(context, "noinit_itable")?,
        (_, Access::Read | Access::Change) => {}
    }
    if let Some((name, value)) = part {
        fsconfig_set_string(context, name, value)?;
    }
    fsconfig_create(context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NOEXEC
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let read_only = MountAttrFlags::MOUNT_ATTR_RDONLY;
    let attributes = if access == Access::Read { attributes | read_only } else { attributes };
    Ok(fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// The kernel's own words are in the context; they begin with `e ` for an error.
fn explained(context: &OwnedFd, error: io::Error) -> io::Error {
    let mut line = vec![0; 1024];
    let mut said = Vec::new();
    while let Ok(length) = rustix::io::read(context, &mut line) {
        let text = String::from_utf8_lossy(line.get(..length).unwrap_or_default());
        said.push(super::text::escaped(text.trim_end().get(2..).unwrap_or_default()));
        if length == 0 || said.len() >= 8 {
            break;
        }
    }
    let said = said.join("; ");
    if said.is_empty() { error } else { io::Error::new(error.kind(), format!("{error} ({said})")) }
}

/// Has the file system's own checker look at it, read-only.
///
/// # Errors
/// When it finds a fault, or is not installed.
pub fn check(kind: &str, device: &Path) -> Result<(), LintError> {
    let call = match kind {
        "ext2" | "ext3" | "ext4" => Call::new("e2fsck").args(["-f", "-n"]),
        "xfs" => Call::new("xfs_repair").arg("-n"),
        "btrfs" => Call::new("btrfs").args(["check", "--readonly"]),
        "vfat" => Call::new("fsck.fat").arg("-n"),
        _ => return Ok(()),
    };
    call.arg(device).run()?;
    Ok(())
}

//! The seed's partition: on the disk that carries the root file system, and on no other. A disk that was moved here from
//! another rack may have a whole seed too, of a node that this one is not; udev's link by the partition's name would lead to
//! either of them.
//!
//! ```text
//! mount of the root -> its device -> what that is made of (dm, md: `slaves`) -> the one disk -> its GPT -> the partition
//! ```
//! Asked is the kernel alone, so that no program has to have run before. Whatever is not plain is a reason, not a guess.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use protocol::{SEED_BYTES, SEED_OFFSET};

use crate::inventory::{self, probe};

/// The type of the seed's partition: as image-build makes it, and as a capture knows it.
const SEED_TYPE: &str = "52415754-5345-4544-8000-000000000001";
/// The kernel counts partitions in these, whatever the disk's sectors are.
const SYS_SECTOR: u64 = 512;
/// Devices that a root file system is made of. Nobody has as many.
const DEVICES_MAX: usize = 64;

/// Why nobody can say where the seed's partition is.
#[derive(Debug, thiserror::Error)]
pub(super) enum RootDiskError {
    /// The kernel did not say.
    #[error("reading {}", path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The root is no mount, or the kernel tells of it in other words.
    #[error("nothing is mounted on {}", .0.display())]
    NotMounted(PathBuf),
    /// Overlays, network file systems, file systems that don't tell their disks.
    #[error("the root file system ({0}) does not say on which disk it lies")]
    NoDevice(String),
    /// Its devices are more than were looked at.
    #[error("the root file system lies on more than {DEVICES_MAX} devices")]
    TooMany,
    /// Only one of them can be the one that was deployed.
    #[error("the root file system lies on several disks ({0}): any of them could be the one with the seed")]
    SeveralDisks(String),
    /// What carries the root is no disk that can be deployed to.
    #[error("{0}, with the root file system, is no disk")]
    NoDisk(String),
    /// It was not made by image-build, or its table is damaged.
    #[error("the disk of the root file system, {0}, has no seed partition")]
    Absent(String),
    /// Only one can be the one that was written.
    #[error("the disk of the root file system, {0}, has several seed partitions")]
    SeveralPartitions(String),
    /// The ramdisk writes a seed at one place only.
    #[error("the seed partition of {disk} has {bytes} bytes at {offset}, not {SEED_BYTES} at {SEED_OFFSET}")]
    Elsewhere {
        /// Its disk.
        disk: String,
        /// Its first byte on the disk.
        offset: u64,
        /// Its length.
        bytes: u64,
    },
    /// The partition table was written since the kernel read it.
    #[error("the kernel does not know the seed partition of {0}")]
    Unknown(String),
}

/// The device of the seed's partition on the disk of the file system that is mounted on `root`; `proc`, `sys` and `dev` are
/// below it.
pub(super) fn seed_partition(root: &Path) -> Result<PathBuf, RootDiskError> {
    let disk = one_disk(&disks(devices(root)?)?)?;
    let name = disk.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let about = inventory::one(root, &name).ok_or_else(|| RootDiskError::NoDisk(name.clone()))?;
    let partitions = probe::partitions_of(&inventory::device(root, &name), &about);
    let mut seeds = partitions.iter().filter(|partition| partition.kind.eq_ignore_ascii_case(SEED_TYPE));
    let Some(seed) = seeds.next() else { return Err(RootDiskError::Absent(name)) };
    if seeds.next().is_some() {
        return Err(RootDiskError::SeveralPartitions(name));
    }
    if seed.offset != SEED_OFFSET || seed.bytes < SEED_BYTES {
        return Err(RootDiskError::Elsewhere { disk: name, offset: seed.offset, bytes: seed.bytes });
    }
    let is_it = |part: &PathBuf| {
        let bytes = |file: &str| number(&part.join(file))?.checked_mul(SYS_SECTOR);
        part.join("partition").exists()
            && (bytes("start"), bytes("size")) == (Some(seed.offset), Some(seed.bytes))
    };
    let device = inside(&disk)?.into_iter().find(is_it).ok_or(RootDiskError::Unknown(name))?;
    Ok(inventory::device(root, &device.file_name().unwrap_or_default().to_string_lossy()))
}

/// The devices in `/sys` of the file system that is mounted on `root`.
fn devices(root: &Path) -> Result<Vec<PathBuf>, RootDiskError> {
    let path = root.join("proc/self/mountinfo");
    let text = fs::read_to_string(&path).map_err(|source| RootDiskError::Io { path, source })?;
    let mount = mount(&text, root).ok_or_else(|| RootDiskError::NotMounted(root.to_owned()))?;
    let no_device = || RootDiskError::NoDevice(mount.kind.clone());
    if !mount.number.starts_with("0:") {
        return Ok(vec![device(root, &mount.number)?]);
    }
    // Of a file system with many devices the kernel gives a number that is nobody's, and the path of one device.
    if mount.kind != "btrfs" || !mount.source.starts_with("/dev/") {
        return Err(no_device());
    }
    let path = root.join(mount.source.trim_start_matches('/'));
    let source = fs::metadata(&path).map_err(|source| RootDiskError::Io { path, source })?;
    if !source.file_type().is_block_device() {
        return Err(no_device());
    }
    let number = format!("{}:{}", rustix::fs::major(source.rdev()), rustix::fs::minor(source.rdev()));
    let one = device(root, &number)?;
    // Documentation/ABI/testing/sysfs-fs-btrfs: a folder for each file system, a link for each of its devices.
    for pool in inside(&root.join("sys/fs/btrfs"))?.iter().filter(|pool| pool.join("devices").is_dir()) {
        let all =
            inside(&pool.join("devices"))?.iter().map(|link| real(link)).collect::<Result<Vec<_>, _>>()?;
        if all.contains(&one) {
            return Ok(all);
        }
    }
    Err(no_device())
}

/// A line of `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
struct Mount {
    /// Major and minor number of the device, as `254:4`.
    number: String,
    kind: String,
    source: String,
}

/// What is mounted on a path: the last one, which hides the others.
fn mount(mountinfo: &str, on: &Path) -> Option<Mount> {
    let parse = |line: &str| {
        let (mount, what) = line.split_once(" - ")?;
        let mut mount = mount.split(' ').skip(2);
        let (number, _, place) = (mount.next()?, mount.next()?, mount.next()?);
        let mut what = what.split(' ');
        let (kind, source) = (what.next()?, what.next()?);
        let is_it = Path::new(place) == on;
        is_it.then(|| Mount { number: number.to_owned(), kind: kind.to_owned(), source: source.to_owned() })
    };
    mountinfo.lines().rev().find_map(parse)
}

/// The disks that devices lie on, in the end.
fn disks(devices: Vec<PathBuf>) -> Result<BTreeSet<PathBuf>, RootDiskError> {
    let (mut open, mut seen, mut disks) = (devices, BTreeSet::new(), BTreeSet::new());
    while let Some(device) = open.pop() {
        if !seen.insert(device.clone()) {
            continue;
        }
        if seen.len() > DEVICES_MAX {
            return Err(RootDiskError::TooMany);
        }
        let below = if device.join("slaves").is_dir() { inside(&device.join("slaves"))? } else { Vec::new() };
        if !below.is_empty() {
            let below = below.iter().map(|link| real(link)).collect::<Result<Vec<_>, _>>()?;
            open.extend(below);
        } else if device.join("partition").exists() {
            open.extend(device.parent().map(Path::to_owned));
        } else {
            disks.insert(device);
        }
    }
    Ok(disks)
}

fn one_disk(disks: &BTreeSet<PathBuf>) -> Result<PathBuf, RootDiskError> {
    let name = |disk: &PathBuf| disk.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let names = || disks.iter().map(name).collect::<Vec<_>>().join(", ");
    match (disks.first(), disks.len()) {
        (Some(one), 1) => Ok(one.clone()),
        (Some(_) | None, _) => Err(RootDiskError::SeveralDisks(names())),
    }
}

/// Where `/sys` tells of the device with this number.
fn device(root: &Path, number: &str) -> Result<PathBuf, RootDiskError> {
    real(&root.join("sys/dev/block").join(number))
}

fn real(path: &Path) -> Result<PathBuf, RootDiskError> {
    fs::canonicalize(path).map_err(|source| RootDiskError::Io { path: path.to_owned(), source })
}

/// What is in a folder.
fn inside(folder: &Path) -> Result<Vec<PathBuf>, RootDiskError> {
    let failed = |source| RootDiskError::Io { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
pub(super) mod tests;

//! What a volume is, and which of its bytes are in use: one reader for each kind, and raw for all others.
//!
//! A volume is a partition, a disk without partitions, a logical volume. A reader takes the allocation map out of the
//! file system's own structures, read-only, and includes its metadata: superblocks, tables, maps, journals. It answers
//! for a clean file system only: where a journal or log must be replayed, the maps on the disk are not the truth, and
//! every byte counts as used. More than what is used is always right, less never.

use std::io;

use crate::{Extents, Source};

mod btrfs;
mod clusters;
mod exfat;
mod ext;
mod fat;
mod fields;
mod lvm;
mod md;
mod ntfs;
mod owner;
mod swap;
mod xfs;

/// One volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// `ext4`, `xfs`, `lvm`, `raw` ….
    pub kind: &'static str,
    /// Its UUID or serial number in the spelling that blkid has; empty when it has none.
    pub uuid: String,
    /// Its label; the group's name for LVM. At most 255 bytes, whatever is on the disk; empty when it has none.
    pub label: String,
    /// The bytes in use, counted from the volume's start.
    pub used: Extents,
    /// Why all of it counts as used, when its kind has a reader: what that could not make sense of, or need not be true.
    pub why_whole: Option<String>,
    /// The volumes that it is made into: logical volumes, an array's content.
    pub inside: Vec<Inner>,
}

/// A volume inside another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inner {
    /// Its name there: `root` for the logical volume, empty for an array's content.
    pub name: String,
    /// Length in bytes.
    pub bytes: u64,
    /// What it is; its `used` is counted from its own start.
    pub volume: Volume,
}

/// Why a reader has no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// It is not of this kind; another reader may know it.
    #[error("it is of another kind")]
    Other,
    /// It is of this kind, and its maps can't be relied upon; why, for people.
    #[error("{0}")]
    Doubtful(String),
    /// The device failed.
    #[error("reading")]
    Io(#[from] io::Error),
}

/// How deep volumes may lie in volumes: array, volume group, volume.
const DEPTH: u8 = 3;

type Reader = fn(&dyn Source, u8) -> Result<Volume, Unread>;

/// Members of something bigger first: what they hold may look like a file system of its own.
const READERS: &[(&str, Reader)] = &[
    ("raw", owner::read),
    ("linux_raid_member", md::read),
    ("LVM2_member", lvm::read),
    ("swap", swap::read),
    ("xfs", xfs::read),
    ("btrfs", btrfs::read),
    ("ext", ext::read),
    ("ntfs", ntfs::read),
    ("exfat", exfat::read),
    ("fat", fat::read),
];

/// Looks at a volume.
///
/// # Errors
/// When the device can't be read. What is on it is never an error: what no reader knows is raw, and used as a whole.
pub fn read(source: &dyn Source) -> io::Result<Volume> {
    read_at_depth(source, DEPTH)
}

fn read_at_depth(source: &dyn Source, depth: u8) -> io::Result<Volume> {
    for (kind, reader) in READERS {
        match reader(source, depth) {
            Ok(volume) => return Ok(volume),
            Err(Unread::Other) => {}
            Err(Unread::Doubtful(why)) => return Ok(whole(kind, source, Some(why))),
            Err(Unread::Io(error)) => return Err(error),
        }
    }
    Ok(whole("raw", source, None))
}

fn whole(kind: &'static str, source: &dyn Source, why_whole: Option<String>) -> Volume {
    let used = Extents::all(source.bytes());
    Volume { kind, uuid: String::new(), label: String::new(), used, why_whole, inside: Vec::new() }
}

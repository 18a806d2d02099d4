//! What a volume is, and which of its bytes are in use: one reader for each kind, and raw for all others.
//!
//! A volume is a partition, a disk without partitions, a logical volume. A reader takes the allocation map out of the
//! file system's own structures, read-only, and includes its metadata: superblocks, tables, maps, journals. It answers
//! for a clean file system only: where a journal or log must be replayed, the maps on the disk are not the truth, and
//! every byte counts as used. More than what is used is always right, less never.

use std::io;

use crate::{Extents, Source};

mod bitmap;
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
    /// `ext4`, `xfs`, `LVM2_member` … as blkid has it, `raw` for what no reader knows.
    pub kind: &'static str,
    /// Its UUID or serial number in the spelling that blkid has; empty when it has none. It is there for a volume that is
    /// used as a whole as well, as far as it could be read: a copy of it on another disk is the same volume twice.
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

impl Volume {
    /// What no reader knows, or may look into: used as a whole.
    pub(crate) fn raw(bytes: u64, why_whole: Option<String>) -> Volume {
        let used = Extents::all(bytes);
        Volume { kind: "raw", uuid: String::new(), label: String::new(), used, why_whole, inside: Vec::new() }
    }
}

/// What a volume is and is called: found before its map, and true of one whose map is not.
#[derive(Debug, Default)]
struct Name {
    /// These three as in [`Volume`].
    kind: &'static str,
    uuid: String,
    label: String,
}

impl Name {
    /// The volume with its map; all of it is used when that is doubtful.
    fn with(self, used: Result<Extents, Unread>, source: &dyn Source) -> Result<Volume, Unread> {
        let Name { kind, uuid, label } = self;
        let (used, why_whole) = match used {
            Ok(used) => (used, None),
            Err(Unread::Doubtful(why)) => (Extents::all(source.bytes()), Some(why)),
            Err(error @ (Unread::Other | Unread::Io(_))) => return Err(error),
        };
        Ok(Volume { kind, uuid, label, used, why_whole, inside: Vec::new() })
    }
}

/// Why a reader has no map.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unread {
    /// It is not of this kind; another reader may know it.
    #[error("it is of another kind")]
    Other,
    /// It is of this kind, and its maps can't be relied upon; why, for people. No reader ends with it: [`Name::with`] makes it
    /// a volume.
    #[error("{0}")]
    Doubtful(String),
    /// The device failed.
    #[error("reading")]
    Io(#[from] io::Error),
}

// What is said of a volume in the same words, whatever its kind.

/// Of a log that is not empty.
const REPLAY: &str = "its log must be replayed: mount and unmount it once";
/// Of a mark that no unmount took away.
const UNCLEAN: &str = "it was not unmounted, or has errors that nobody repaired";

fn doubtful(why: impl Into<String>) -> Unread {
    Unread::Doubtful(why.into())
}

/// Of a file system of which a part is not there.
fn longer(bytes: u64, volume_bytes: u64) -> Unread {
    doubtful(format!("it is longer than its volume: {bytes} bytes, of which {volume_bytes} are there"))
}

/// Refuses bits of features that a reader does not know; `field` is the name of the word that has them.
fn unknown(field: &str, bits: impl Into<u64>) -> Result<(), Unread> {
    match bits.into() {
        0 => Ok(()),
        bits => Err(doubtful(format!("it has unknown features: {field} {bits:#x}"))),
    }
}

/// How deep volumes may lie in volumes: array, volume group, volume.
const DEPTH: u8 = 3;

type Reader = fn(&dyn Source, u8) -> Result<Volume, Unread>;

/// Members of something bigger first: what they hold may look like a file system of its own.
const READERS: &[Reader] = &[
    owner::read,
    md::read,
    lvm::read,
    swap::read,
    xfs::read,
    btrfs::read,
    ext::read,
    ntfs::read,
    exfat::read,
    fat::read,
];

/// Looks at a volume.
///
/// # Errors
/// When the device can't be read. What is on it is never an error: what no reader knows is raw, and used as a whole.
pub fn read(source: &dyn Source) -> io::Result<Volume> {
    read_at_depth(source, DEPTH)
}

fn read_at_depth(source: &dyn Source, depth: u8) -> io::Result<Volume> {
    for reader in READERS {
        match reader(source, depth) {
            Ok(volume) => return Ok(volume),
            Err(Unread::Other) => {}
            Err(Unread::Doubtful(why)) => return Ok(Volume::raw(source.bytes(), Some(why))),
            Err(Unread::Io(error)) => return Err(error),
        }
    }
    Ok(Volume::raw(source.bytes(), None))
}

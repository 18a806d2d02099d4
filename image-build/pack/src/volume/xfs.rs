//! XFS, versions 4 and 5.
//!
//! A file system is cut into allocation groups. Each has a tree of its free blocks, sorted by where they lie; what is not
//! in it is in use: the headers, the trees, the log, the blocks kept ready for the trees, inodes, files. Every structure
//! that is read is checked by what it says of itself: magic, place, owner, and in version 5 UUID and checksum.
//!
//! The data part is all there is here: a realtime device is a volume of its own. Its log may be one too; whether the trees
//! are the truth can't be known then.
//!
//! After "XFS Algorithms & Data Structures", 3rd edition (xfs_filesystem_structure), all numbers big-endian, checksums
//! CRC-32C and little-endian.

mod fields;
mod group;
mod log;
mod superblock;

use self::superblock::Superblock;
use super::{Unread, Volume};
use crate::{Extents, Source};

/// The map of an XFS whose log is empty.
///
/// # Errors
/// [`Unread::Doubtful`] when the log must be replayed or is on another device, for features that are not known here, and
/// when any structure is not what it should be.
pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    let superblock = Superblock::read(source)?;
    log::check(source, &superblock)?;
    let mut used = Extents::new();
    for number in 0..superblock.groups {
        group::read(source, &superblock, number, &mut used)?;
    }
    let log = superblock.log.clone().unwrap_or_default();
    let log_bytes = used.within(log.clone()).map(|range| range.end - range.start).sum::<u64>();
    if log_bytes != log.end - log.start {
        return Err(doubtful("a part of its log is in the free space"));
    }
    Ok(Volume {
        kind: "xfs",
        uuid: superblock.uuid_text(),
        label: superblock.label,
        used,
        why_whole: None,
        inside: Vec::new(),
    })
}

fn doubtful(why: impl Into<String>) -> Unread {
    Unread::Doubtful(why.into())
}

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

mod group;
mod log;
mod superblock;

use self::superblock::Superblock;
use super::fields::Fields;
use super::{Name, REPLAY, Unread, Volume, doubtful, longer, unknown};
use crate::{Extents, Source, checksum, field, names, source};

const MAGIC: &[u8; 4] = b"XFSB";

/// The map of an XFS whose log is empty; all of one whose log must be replayed or is on another device, with features that
/// are not known here, or with a structure that is not what it should be.
pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    if source.bytes() < 512 {
        return Err(Unread::Other);
    }
    let start = source::read(source, 0, 512)?;
    if !start.starts_with(MAGIC) {
        return Err(Unread::Other);
    }
    let label = names::label(start.get(108..120).unwrap_or_default());
    let name = Name { kind: "xfs", uuid: names::uuid_or_none(field::array(&start, 32)), label };
    name.with(used(source, Fields(&start)), source)
}

fn used(source: &dyn Source, start: Fields<'_>) -> Result<Extents, Unread> {
    let superblock = Superblock::read(source, start)?;
    log::check(source, &superblock)?;
    let mut used = Extents::new();
    for number in 0..superblock.groups {
        group::read(source, &superblock, number, &mut used)?;
    }
    if !used.contains(superblock.log.unwrap_or_default()) {
        return Err(doubtful("a part of its log is in the free space"));
    }
    Ok(used)
}

/// Whether the checksum at `at`, the one little-endian field, is that of all bytes, itself taken as zeros.
fn has_checksum(fields: Fields<'_>, at: usize) -> Result<bool, Unread> {
    Ok(checksum::crc32c_around(fields.0, at) == fields.le32(at)?)
}

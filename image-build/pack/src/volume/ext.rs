//! ext2, ext3 and ext4.
//!
//! The block bitmaps of all groups, and the metadata that they must have set. A bitmap that was never written is made up
//! from the layout, as the kernel does it at the first use. Checksums are checked where there are any, and the number of
//! free blocks everywhere: a bitmap that is wrong would lose data.

use super::{Unread, Volume};
use crate::{Extents, Source, source};

mod bitmap;
mod checksum;
mod group;
mod layout;
mod superblock;

use group::Groups;
use layout::Layout;
use superblock::Superblock;

pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    let length = superblock::BYTES;
    if source::within(source.bytes(), superblock::OFFSET, length).is_err() {
        return Err(Unread::Other);
    }
    let raw = source::read(source, superblock::OFFSET, length)?;
    let superblock = Superblock::new(&raw).ok_or(Unread::Other)?;
    // A file system that can't be relied upon keeps its name: its UUID may be on another disk, too.
    let (used, why_whole) = match used(source, &superblock) {
        Ok(used) => (used, None),
        Err(Unread::Doubtful(why)) => (Extents::all(source.bytes()), Some(why)),
        Err(error @ (Unread::Other | Unread::Io(_))) => return Err(error),
    };
    let (kind, uuid, label) = (superblock.kind(), uuid(superblock.uuid()), label(superblock.label()));
    Ok(Volume { kind, uuid, label, used, why_whole, inside: Vec::new() })
}

fn used(source: &dyn Source, superblock: &Superblock<'_>) -> Result<Extents, Unread> {
    if superblock.is_journal() {
        return Err(doubtful("it is the journal of a file system that lies elsewhere"));
    }
    superblock.check()?;
    let layout = Layout::new(superblock, source.bytes())?;
    let mut used = Groups::new(source, &layout).used()?;
    // The boot block is nobody's, and may hold a boot loader.
    used.add(0..superblock::OFFSET);
    // So is what lies behind the file system: a hash tree or another's metadata are put there.
    used.add(layout.blocks * layout.block_bytes..source.bytes());
    Ok(used)
}

/// A UUID of 16 bytes as blkid spells it; empty when it is all zeros, which is none.
pub(super) fn uuid(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    let groups = [0..4, 4..6, 6..8, 8..10, 10..16].map(|range| bytes.get(range).unwrap_or_default());
    groups.map(|group| data_encoding::HEXLOWER.encode(group)).join("-")
}

/// A label that is padded with zero bytes; the caller bounds it.
pub(super) fn label(bytes: &[u8]) -> String {
    let label = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(label).trim_end().to_owned()
}

fn doubtful(why: &str) -> Unread {
    Unread::Doubtful(why.to_owned())
}

/// A little-endian number; 0 where there are no bytes.
fn u16_at(raw: &[u8], at: usize) -> u16 {
    raw.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u16::from_le_bytes(*bytes))
}

/// A little-endian number; 0 where there are no bytes.
fn u32_at(raw: &[u8], at: usize) -> u32 {
    raw.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

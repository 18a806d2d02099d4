//! ext2, ext3 and ext4.
//!
//! The block bitmaps of all groups, and the metadata that they must have set. A bitmap that was never written is made up
//! from the layout, as the kernel does it at the first use. Checksums are checked where there are any, and the number of
//! free blocks everywhere: a bitmap that is wrong would lose data.

use super::{Name, Unread, Volume, doubtful, longer, unknown};
use crate::{Extents, Source, field, names, source};

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
    let (uuid, label) = (names::uuid_or_none(superblock.uuid()), names::label(superblock.label()));
    Name { kind: superblock.kind(), uuid, label }.with(used(source, &superblock), source)
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

/// A little-endian number; 0 where there are no bytes.
fn u16_at(raw: &[u8], at: usize) -> u16 {
    field::le16(raw, at).unwrap_or_default()
}

/// A little-endian number; 0 where there are no bytes.
fn u32_at(raw: &[u8], at: usize) -> u32 {
    field::le32(raw, at).unwrap_or_default()
}

//! Btrfs, of one device or the part of it that lies on this one.
//!
//! Every byte that a btrfs file system uses, for data or metadata, belongs to an item of its extent tree: so do snapshots,
//! compressed files, preallocated space and the space cache. The map is that tree, put through the chunks that say where
//! logical addresses lie on the device: once for `single`, twice for `DUP`. What is not in a chunk is free, as is what
//! the last transaction freed. The structures are those of the kernel's `fs/btrfs` and `include/uapi/linux/btrfs_tree.h`.
//!
//! A file system that was not unmounted is whole as of its last commit, but for a log tree: that one's blocks have no
//! extent items, and mounting it allocates more.

use self::allocation::Allocation;
use self::chunk::Chunks;
use self::superblock::Superblock;
use self::tree::{EXTENT_TREE, Forest, Root};
use super::fields::Fields;
use super::{Name, REPLAY, Unread, Volume, doubtful, longer, unknown};
use crate::{Extents, Source, field, names};

mod allocation;
mod checksum;
mod chunk;
mod node;
mod superblock;
mod tree;

/// The file system keeps nothing of its own here but the first superblock; GRUB does, on both sides of that.
const RESERVED: u64 = 1 << 20;

pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    let block = Superblock::find(source)?;
    let label = names::label(block.get(0x12b..0x22b).unwrap_or_default());
    let name = Name { kind: "btrfs", uuid: names::uuid_or_none(field::array(&block, 0x20)), label };
    name.with(used(source, &block), source)
}

fn used(source: &dyn Source, block: &[u8]) -> Result<Extents, Unread> {
    let superblock = Superblock::read(block, source.bytes())?;
    let system = Chunks::system(&superblock)?;
    let mut chunks = system.clone();
    Forest { source, superblock: &superblock, chunks: &system }.walk(
        &superblock.chunk_root,
        |key, bytes| {
            if key.kind == chunk::ITEM { chunks.add(&superblock, key.offset, bytes) } else { Ok(()) }
        },
    )?;
    let forest = Forest { source, superblock: &superblock, chunks: &chunks };
    let extent_root = extent_root(&forest)?;
    let mut allocation = Allocation::new(&superblock, &chunks);
    forest.walk(&extent_root, |key, _| allocation.add(key))?;
    let mut used = Extents::all(RESERVED.min(source.bytes()));
    chunks.place(&allocation.finish()?, &mut used)?;
    Superblock::copies(source.bytes()).for_each(|copy| used.add(copy));
    Ok(used)
}

fn extent_root(forest: &Forest<'_>) -> Result<Root, Unread> {
    let mut found = None;
    forest.walk(&forest.superblock.root, |key, bytes| {
        if (key.object, key.kind) == (EXTENT_TREE, tree::ROOT_ITEM) {
            found = Some(Root::parse(EXTENT_TREE, bytes)?);
        }
        Ok(())
    })?;
    found.ok_or_else(|| doubtful("it has no extent tree"))
}

#[cfg(test)]
mod tests;

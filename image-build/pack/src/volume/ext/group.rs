//! The block groups: their descriptors, their metadata, and which of their blocks are in use.
//!
//! Descriptors as in the kernel's `Documentation/filesystems/ext4/group_descr.rst`.

use std::ops::Range;

use super::layout::Layout;
use super::superblock::Checksum;
use super::{Unread, doubtful, u16_at, u32_at};
use crate::checksum::{crc16_on, crc32c_on};
use crate::volume::bitmap::Bitmap;
use crate::{Extents, Source, source};

/// The bitmap of the group was never written: nothing but metadata is in use.
const BLOCK_UNINIT: u16 = 0x2;

/// The most stretches of metadata that are kept: 8 MiB of them. The largest ext3 has 400,000, and ext4 puts the metadata of
/// many groups into one.
const STRETCHES_MAX: usize = 1 << 19;

/// The fewest bytes that are read at once: bitmaps and descriptors mostly lie side by side.
const READ_BYTES: u64 = 64 << 10;

/// Blocks, and the last ones that were read.
struct Blocks<'a> {
    of: &'a dyn Source,
    block_bytes: u64,
    blocks: u64,
    read: Vec<u8>,
    first: u64,
}

impl<'a> Blocks<'a> {
    fn new(of: &'a dyn Source, layout: &Layout) -> Blocks<'a> {
        let Layout { block_bytes, blocks, .. } = *layout;
        Blocks { of, block_bytes, blocks, read: Vec::new(), first: 0 }
    }

    /// The bytes of a block that lies within the file system.
    fn get(&mut self, block: u64) -> Result<&[u8], Unread> {
        if self.place(block).is_none() && block < self.blocks {
            let count = (READ_BYTES / self.block_bytes).min(self.blocks - block);
            let length = usize::try_from(count * self.block_bytes).unwrap_or_default();
            self.read = source::read(self.of, block * self.block_bytes, length)?;
            self.first = block;
        }
        let place = self.place(block).and_then(|place| self.read.get(place));
        place.ok_or_else(|| doubtful(format!("block {block} does not exist")))
    }

    fn place(&self, block: u64) -> Option<Range<usize>> {
        let begin = block.checked_sub(self.first)?.checked_mul(self.block_bytes)?;
        let range =
            usize::try_from(begin).ok()?..usize::try_from(begin.checked_add(self.block_bytes)?).ok()?;
        (range.end <= self.read.len()).then_some(range)
    }
}

/// What the descriptor of one group says.
struct Descriptor {
    block_bitmap: u64,
    inode_bitmap: u64,
    inode_table: Range<u64>,
    /// Free clusters.
    free: u64,
    is_uninit: bool,
    /// Of the block bitmap, and which bits of it are kept.
    checksum: (u32, u32),
}

impl Descriptor {
    fn new(raw: &[u8], group: u64, layout: &Layout) -> Result<Descriptor, Unread> {
        let wide = |low: usize, high: usize| u64::from(u32_at(raw, high)) << 32 | u64::from(u32_at(raw, low));
        let inode_table = wide(0x8, 0x28);
        let low = u32::from(u16_at(raw, 0x18));
        let has_high = raw.len() > 32;
        let checksum =
            if has_high { (u32::from(u16_at(raw, 0x38)) << 16 | low, u32::MAX) } else { (low, 0xFFFF) };
        let descriptor = Descriptor {
            block_bitmap: wide(0x0, 0x20),
            inode_bitmap: wide(0x4, 0x24),
            inode_table: inode_table..inode_table.saturating_add(layout.inode_table_blocks),
            free: u64::from(u16_at(raw, 0x2C)) << 16 | u64::from(u16_at(raw, 0xC)),
            is_uninit: layout.checksum != Checksum::None && u16_at(raw, 0x12) & BLOCK_UNINIT != 0,
            checksum,
        };
        let home = if layout.is_flexible { layout.first_block..layout.blocks } else { layout.group(group) };
        let is_home = |range: &Range<u64>| home.start <= range.start && range.end <= home.end;
        if !descriptor.metadata().iter().all(is_home) {
            return Err(doubtful(format!("the metadata of group {group} lies where it can't")));
        }
        Ok(descriptor)
    }

    fn metadata(&self) -> [Range<u64>; 3] {
        let single = |block: u64| block..block.saturating_add(1);
        [single(self.block_bitmap), single(self.inode_bitmap), self.inode_table.clone()]
    }
}

/// Whether a descriptor has the checksum that it must have.
fn is_intact(raw: &[u8], group: u64, checksum: Checksum) -> bool {
    let number = u32::try_from(group).unwrap_or(u32::MAX).to_le_bytes();
    let before = raw.get(..0x1E).unwrap_or_default();
    let after = raw.get(0x20..).unwrap_or_default();
    let sum = match checksum {
        Checksum::None => return true,
        Checksum::Crc16(seed) => u32::from(crc16_on(seed, &[&number, before, after])),
        Checksum::Crc32c(seed) => crc32c_on(seed, &[&number, before, &[0, 0], after]) & 0xFFFF,
    };
    sum == u32::from(u16_at(raw, 0x1E))
}

/// All groups of one file system.
pub(super) struct Groups<'a> {
    layout: &'a Layout,
    descriptors: Blocks<'a>,
    bitmaps: Blocks<'a>,
}

impl<'a> Groups<'a> {
    pub(super) fn new(of: &'a dyn Source, layout: &'a Layout) -> Groups<'a> {
        Groups { layout, descriptors: Blocks::new(of, layout), bitmaps: Blocks::new(of, layout) }
    }

    /// The bytes in use.
    pub(super) fn used(&mut self) -> Result<Extents, Unread> {
        let metadata = self.metadata()?;
        let block_bytes = self.layout.block_bytes;
        let mut used = Extents::new();
        for group in 0..self.layout.groups {
            let blocks = self.layout.group(group);
            for run in self.bitmap(group, &metadata)?.runs() {
                let start = blocks.start + run.start * self.layout.cluster_blocks;
                let end = (blocks.start + run.end * self.layout.cluster_blocks).min(blocks.end);
                used.add(start * block_bytes..end * block_bytes);
            }
        }
        Ok(used)
    }

    fn descriptor(&mut self, group: u64) -> Result<Descriptor, Unread> {
        let per_block = self.layout.descriptors_per_block();
        let block = self.descriptors.get(self.layout.descriptor_block(group / per_block))?;
        let size = usize::try_from(self.layout.descriptor_bytes).unwrap_or_default();
        let index = usize::try_from(group % per_block).unwrap_or_default();
        let raw = block.chunks_exact(size).nth(index).unwrap_or_default();
        if !is_intact(raw, group, self.layout.checksum) {
            let why = format!("the descriptor of group {group} has a wrong checksum: check it with e2fsck");
            return Err(doubtful(why));
        }
        Descriptor::new(raw, group, self.layout)
    }

    /// The blocks of the metadata of all groups, wherever it lies. A group without a written bitmap has nothing else, and
    /// with flexible groups it may have metadata of others.
    fn metadata(&mut self) -> Result<Extents, Unread> {
        let mut stretches = Stretches::default();
        for group in 0..self.layout.groups {
            let blocks = self.layout.group(group);
            let leading = blocks.start..blocks.start + self.layout.leading_blocks(group);
            if leading.end > blocks.end {
                return Err(doubtful(format!("group {group} has no room for its descriptors")));
            }
            let [block_bitmap, inode_bitmap, inode_table] = self.descriptor(group)?.metadata();
            stretches.push([leading, block_bitmap, inode_bitmap, inode_table])?;
        }
        stretches.finish()
    }

    /// The clusters of a group that are in use.
    fn bitmap(&mut self, group: u64, metadata: &Extents) -> Result<Bitmap, Unread> {
        let descriptor = self.descriptor(group)?;
        let (cluster_blocks, blocks) = (self.layout.cluster_blocks, self.layout.group(group));
        let clusters = (blocks.end - blocks.start).div_ceil(cluster_blocks);
        let mut bitmap = if descriptor.is_uninit {
            Bitmap::new(&[], clusters)
        } else {
            self.written_bitmap(group, &descriptor, clusters)?
        };
        for range in metadata.within(blocks.clone()) {
            let first = (range.start - blocks.start) / cluster_blocks;
            bitmap.set(first..(range.end - blocks.start).div_ceil(cluster_blocks));
        }
        Ok(bitmap)
    }

    fn written_bitmap(&mut self, group: u64, of: &Descriptor, clusters: u64) -> Result<Bitmap, Unread> {
        let bytes = self.layout.blocks_per_group / self.layout.cluster_blocks / 8;
        let raw = self.bitmaps.get(of.block_bitmap)?;
        let raw = raw.get(..usize::try_from(bytes).unwrap_or_default()).unwrap_or_default();
        if let Checksum::Crc32c(seed) = self.layout.checksum {
            let (want, mask) = of.checksum;
            if crc32c_on(seed, &[raw]) & mask != want {
                let why =
                    format!("the block bitmap of group {group} has a wrong checksum: check it with e2fsck");
                return Err(doubtful(why));
            }
        }
        let bitmap = Bitmap::new(raw, clusters);
        // The only check of a bitmap that an older file system has; e2fsck would complain as well.
        let free = clusters - bitmap.ones();
        if free != of.free {
            return Err(doubtful(format!(
                "group {group} says that {} clusters are free, and its bitmap {free}: check it with e2fsck",
                of.free
            )));
        }
        Ok(bitmap)
    }
}

/// Where the metadata lies, by what it is: each kind in order mostly fills one stretch after another.
#[derive(Default)]
struct Stretches {
    kinds: [Vec<Range<u64>>; 4],
}

impl Stretches {
    fn push(&mut self, ranges: [Range<u64>; 4]) -> Result<(), Unread> {
        for (kind, range) in self.kinds.iter_mut().zip(ranges) {
            match kind.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                Some(_) | None if range.is_empty() => {}
                Some(_) | None => kind.push(range),
            }
        }
        if self.kinds.iter().map(Vec::len).sum::<usize>() > STRETCHES_MAX {
            return Err(doubtful("its metadata lies in too many places"));
        }
        Ok(())
    }

    /// The blocks, when none of them is used twice.
    fn finish(self) -> Result<Extents, Unread> {
        let [mut all, others @ ..] = self.kinds;
        others.into_iter().for_each(|kind| all.extend(kind));
        all.sort_unstable_by_key(|range| range.start);
        if let Some((range, _)) = all.iter().zip(all.iter().skip(1)).find(|(one, next)| next.start < one.end)
        {
            let why =
                format!("metadata is said to overlap from block {} on: check it with e2fsck", range.start);
            return Err(doubtful(why));
        }
        Ok(all.into_iter().collect())
    }
}

//! How the blocks of a file system are laid out: what a superblock says, when it is possible.

use std::ops::Range;

use super::superblock::{Checksum, Superblock, compat, incompat, ro_compat};
use super::{Unread, doubtful, longer};

/// Where things lie. Numbers of blocks and groups unless they say bytes; every product of them fits 64 bits, because the
/// blocks were found to lie within the volume.
#[derive(Debug)]
pub(super) struct Layout {
    /// 1024 to 65536.
    pub(super) block_bytes: u64,
    pub(super) blocks: u64,
    /// Where group 0 begins.
    pub(super) first_block: u64,
    /// How many blocks one bit of a bitmap stands for; a power of two.
    pub(super) cluster_blocks: u64,
    /// A multiple of 8 × `cluster_blocks`; one block has a bit for each cluster.
    pub(super) blocks_per_group: u64,
    pub(super) groups: u64,
    /// Of one group.
    pub(super) inode_table_blocks: u64,
    /// 32 to 1024; a power of two.
    pub(super) descriptor_bytes: u64,
    /// Blocks kept free behind the descriptors, for more of them.
    pub(super) reserved_blocks: u64,
    /// The first group of descriptor blocks that lies apart; `None` when none does.
    pub(super) first_meta_group: Option<u64>,
    /// Whether metadata of one group may lie in another.
    pub(super) is_flexible: bool,
    pub(super) copies: Copies,
    pub(super) checksum: Checksum,
}

/// Which groups have a copy of the superblock.
#[derive(Debug)]
pub(super) enum Copies {
    All,
    /// 0, 1 and the powers of 3, 5 and 7.
    Sparse,
    /// 0 and these.
    Listed([u64; 2]),
}

impl Layout {
    /// For a volume of so many bytes.
    pub(super) fn new(superblock: &Superblock<'_>, volume_bytes: u64) -> Result<Layout, Unread> {
        let (block_bytes, blocks) = blocks(superblock, volume_bytes)?;
        let cluster_blocks = cluster_blocks(superblock, block_bytes)?;
        let first_block = superblock.u32(0x14);
        // The boot block lies before group 0 when it is a block; with clusters it is in the group.
        let may_be = if block_bytes > 1024 { 0..=0 } else { u64::from(cluster_blocks == 1)..=1 };
        if !may_be.contains(&first_block) || first_block >= blocks {
            return Err(doubtful("its first block is not where it must be"));
        }
        let blocks_per_group = superblock.u32(0x20);
        let bits = blocks_per_group / cluster_blocks;
        if bits == 0 || bits > 8 * block_bytes || !blocks_per_group.is_multiple_of(8 * cluster_blocks) {
            return Err(doubtful(format!("{blocks_per_group} blocks in a group are impossible")));
        }
        let groups = (blocks - first_block).div_ceil(blocks_per_group);
        let is_meta = superblock.incompat & incompat::META_BG != 0;
        let layout = Layout {
            block_bytes,
            blocks,
            first_block,
            cluster_blocks,
            blocks_per_group,
            groups,
            inode_table_blocks: inode_table_blocks(superblock, block_bytes, groups)?,
            descriptor_bytes: descriptor_bytes(superblock)?,
            reserved_blocks: if is_meta { 0 } else { superblock.u16(0xCE) },
            first_meta_group: is_meta.then(|| superblock.u32(0x104)),
            is_flexible: superblock.incompat & incompat::FLEX_BG != 0,
            copies: copies(superblock),
            checksum: superblock.checksum(),
        };
        let is_beyond = layout.first_meta_group.is_some_and(|first| first > layout.descriptor_blocks());
        if layout.reserved_blocks > block_bytes / 4 || is_beyond {
            return Err(doubtful("its group descriptors can't lie where they are said to"));
        }
        Ok(layout)
    }

    /// The blocks of group `group`, which is one of [`Layout::groups`].
    pub(super) fn group(&self, group: u64) -> Range<u64> {
        let start = self.first_block + group * self.blocks_per_group;
        start..(start + self.blocks_per_group).min(self.blocks)
    }

    /// Whether a group begins with a copy of the superblock.
    pub(super) fn has_superblock(&self, group: u64) -> bool {
        match &self.copies {
            Copies::All => true,
            Copies::Sparse => group <= 1 || [3, 5, 7].into_iter().any(|base| is_power(group, base)),
            Copies::Listed(listed) => group == 0 || listed.contains(&group),
        }
    }

    /// How many descriptors one block has.
    pub(super) fn descriptors_per_block(&self) -> u64 {
        self.block_bytes / self.descriptor_bytes
    }

    /// How many blocks the descriptors of all groups fill.
    fn descriptor_blocks(&self) -> u64 {
        self.groups.div_ceil(self.descriptors_per_block())
    }

    /// Blocks before the superblock in group 0: with small blocks and clusters, the boot block is one of the group's.
    fn boot_blocks(&self, group: u64) -> u64 {
        u64::from(group == 0 && self.block_bytes == 1024 && self.first_block == 0)
    }

    /// The block that has the `index`th block of the descriptors.
    pub(super) fn descriptor_block(&self, index: u64) -> u64 {
        if self.first_meta_group.is_none_or(|first| index < first) {
            return self.first_block + self.boot_blocks(0) + 1 + index;
        }
        let group = index * self.descriptors_per_block();
        self.group(group).start + self.boot_blocks(group) + u64::from(self.has_superblock(group))
    }

    /// How many blocks at a group's start hold the superblock, descriptors, room for more of them, and the boot block.
    pub(super) fn leading_blocks(&self, group: u64) -> u64 {
        let has_superblock = self.has_superblock(group);
        let per_block = self.descriptors_per_block();
        let descriptors = match self.first_meta_group {
            Some(first) if group / per_block >= first => {
                u64::from(group % per_block <= 1 || group % per_block == per_block - 1)
            }
            _ if !has_superblock => 0,
            Some(first) => first,
            None => self.descriptor_blocks() + self.reserved_blocks,
        };
        self.boot_blocks(group) + u64::from(has_superblock) + descriptors
    }
}

/// Bytes of a block, and how many there are.
fn blocks(superblock: &Superblock<'_>, volume_bytes: u64) -> Result<(u64, u64), Unread> {
    let (revision, log) = (superblock.u32(0x4C), superblock.u32(0x18));
    if revision > 1 || log > 6 {
        return Err(doubtful("its revision or block size is unknown"));
    }
    let block_bytes = 1024_u64 << log;
    let has_64bit = superblock.incompat & incompat::BIT64 != 0;
    let high = if has_64bit { superblock.u32(0x150) } else { 0 };
    let blocks = high << 32 | superblock.u32(0x4);
    let bytes = blocks.saturating_mul(block_bytes);
    if bytes > volume_bytes || bytes == u64::MAX {
        return Err(longer(bytes, volume_bytes));
    }
    Ok((block_bytes, blocks))
}

fn cluster_blocks(superblock: &Superblock<'_>, block_bytes: u64) -> Result<u64, Unread> {
    if superblock.ro_compat & ro_compat::BIGALLOC == 0 {
        return Ok(1);
    }
    // At most 512 MiB, as mke2fs has it.
    let log = superblock.u32(0x1C);
    let cluster_bytes = if log <= 19 { 1024_u64 << log } else { 0 };
    if cluster_bytes < block_bytes {
        return Err(doubtful("its cluster size is unknown"));
    }
    Ok(cluster_bytes / block_bytes)
}

fn inode_table_blocks(superblock: &Superblock<'_>, block_bytes: u64, groups: u64) -> Result<u64, Unread> {
    let per_group = superblock.u32(0x28);
    let inode_bytes = if superblock.u32(0x4C) == 0 { 128 } else { superblock.u16(0x58) };
    if !inode_bytes.is_power_of_two() || inode_bytes < 128 || inode_bytes > block_bytes {
        return Err(doubtful(format!("inodes of {inode_bytes} bytes are impossible")));
    }
    let all = per_group.checked_mul(groups);
    if per_group == 0 || per_group > 8 * block_bytes || all != Some(superblock.u32(0)) {
        return Err(doubtful(format!("{per_group} inodes in a group are impossible")));
    }
    Ok((per_group * inode_bytes).div_ceil(block_bytes))
}

fn descriptor_bytes(superblock: &Superblock<'_>) -> Result<u64, Unread> {
    if superblock.incompat & incompat::BIT64 == 0 {
        return Ok(32);
    }
    match superblock.u16(0xFE) {
        bytes @ 64..=1024 if bytes.is_power_of_two() => Ok(bytes),
        bytes => Err(doubtful(format!("group descriptors of {bytes} bytes are impossible"))),
    }
}

fn copies(superblock: &Superblock<'_>) -> Copies {
    if superblock.compat & compat::SPARSE_SUPER2 != 0 {
        Copies::Listed([superblock.u32(0x24C), superblock.u32(0x250)])
    } else if superblock.ro_compat & ro_compat::SPARSE_SUPER != 0 {
        Copies::Sparse
    } else {
        Copies::All
    }
}

/// Whether `number` is `base`, or `base` times itself, and so on.
fn is_power(number: u64, base: u64) -> bool {
    let mut power = base;
    while power < number {
        power = power.saturating_mul(base);
    }
    power == number
}

//! The superblock: what the file system says it is, and how its blocks are laid out.
//!
//! Fields and features as in the kernel's `Documentation/filesystems/ext4/super.rst`.

use super::checksum::crc32c;
use super::{Unread, doubtful, u16_at, u32_at};

/// Where it lies.
pub(super) const OFFSET: u64 = 1024;
/// Its length.
pub(super) const BYTES: usize = 1024;

/// Feature bits, by the word that they are in.
pub(super) mod compat {
    pub(crate) const HAS_JOURNAL: u32 = 0x4;
    pub(crate) const SPARSE_SUPER2: u32 = 0x200;
}

/// A kernel that does not know one of these must not read the file system.
pub(super) mod incompat {
    pub(crate) const FILETYPE: u32 = 0x2;
    pub(crate) const RECOVER: u32 = 0x4;
    pub(crate) const JOURNAL_DEV: u32 = 0x8;
    pub(crate) const META_BG: u32 = 0x10;
    pub(crate) const BIT64: u32 = 0x80;
    pub(crate) const FLEX_BG: u32 = 0x200;
    pub(crate) const CSUM_SEED: u32 = 0x2000;
    /// Those above, and extents, multiple mount protection, extended attributes in inodes, data in directory entries,
    /// large directories, inline data, encryption, case folding: none of which changes what a bitmap means.
    pub(crate) const KNOWN: u32 =
        0x2 | 0x4 | 0x8 | 0x10 | 0x40 | 0x80 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x3_E000;
}

/// A kernel that does not know one of these must not write: bigalloc shows that a bitmap may mean something else, too.
pub(super) mod ro_compat {
    pub(crate) const SPARSE_SUPER: u32 = 0x1;
    pub(crate) const LARGE_FILE: u32 = 0x2;
    pub(crate) const BTREE_DIR: u32 = 0x4;
    pub(crate) const GDT_CSUM: u32 = 0x10;
    pub(crate) const BIGALLOC: u32 = 0x200;
    pub(crate) const METADATA_CSUM: u32 = 0x400;
    /// Those above, and huge files, many links, extra inode fields, quotas, read-only, projects, shared blocks, verity,
    /// an orphan file. Not the snapshots and replicas that no kernel ever had.
    pub(crate) const KNOWN: u32 =
        0x7 | 0x8 | 0x10 | 0x20 | 0x40 | 0x100 | 0x200 | 0x400 | 0x1000 | 0x2000 | 0x1_C000;
}

/// Which checksum the descriptors of the groups have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    None,
    /// With what the UUID has added up to.
    Crc16(u16),
    /// With the seed.
    Crc32c(u32),
}

/// The bytes, known to have the magic number.
pub(super) struct Superblock<'a> {
    raw: &'a [u8],
    compat: u32,
    incompat: u32,
    ro_compat: u32,
}

impl<'a> Superblock<'a> {
    /// `None` unless the magic number is there.
    pub(super) fn new(raw: &'a [u8]) -> Option<Superblock<'a>> {
        let [compat, incompat, ro_compat] = [0x5C, 0x60, 0x64].map(|at| u32_at(raw, at));
        (u16_at(raw, 0x38) == 0xEF53).then_some(Superblock { raw, compat, incompat, ro_compat })
    }

    /// The name that blkid has for it: by the features, not by the driver that last wrote it.
    pub(super) fn kind(&self) -> &'static str {
        let old_incompat = incompat::FILETYPE | incompat::RECOVER | incompat::META_BG;
        let old_ro_compat = ro_compat::SPARSE_SUPER | ro_compat::LARGE_FILE | ro_compat::BTREE_DIR;
        if self.is_journal() {
            "jbd"
        } else if self.incompat & !old_incompat != 0 || self.ro_compat & !old_ro_compat != 0 {
            "ext4"
        } else if self.compat & compat::HAS_JOURNAL != 0 {
            "ext3"
        } else {
            "ext2"
        }
    }

    /// Whether this is the journal of a file system that lies elsewhere.
    pub(super) fn is_journal(&self) -> bool {
        self.incompat & incompat::JOURNAL_DEV != 0
    }

    pub(super) fn uuid(&self) -> &'a [u8] {
        self.raw.get(0x68..0x78).unwrap_or_default()
    }

    pub(super) fn label(&self) -> &'a [u8] {
        self.raw.get(0x78..0x88).unwrap_or_default()
    }

    fn checksum(&self) -> Checksum {
        if self.ro_compat & ro_compat::METADATA_CSUM != 0 {
            let is_kept = self.incompat & incompat::CSUM_SEED != 0;
            let seed = if is_kept { u32_at(self.raw, 0x270) } else { crc32c(u32::MAX, self.uuid()) };
            Checksum::Crc32c(seed)
        } else if self.ro_compat & ro_compat::GDT_CSUM != 0 {
            Checksum::Crc16(super::checksum::crc16(u16::MAX, self.uuid()))
        } else {
            Checksum::None
        }
    }

    /// Refuses what the bitmaps of which can't be relied upon.
    pub(super) fn check(&self) -> Result<(), Unread> {
        if self.ro_compat & ro_compat::METADATA_CSUM != 0 {
            if self.raw.get(0x175) != Some(&1) {
                return Err(doubtful("it has checksums of an unknown kind"));
            }
            let summed = self.raw.get(..0x3FC).unwrap_or_default();
            if crc32c(u32::MAX, summed) != u32_at(self.raw, 0x3FC) {
                return Err(doubtful("its superblock's checksum is wrong: check it with e2fsck"));
            }
        }
        let unknown = (self.incompat & !incompat::KNOWN, self.ro_compat & !ro_compat::KNOWN);
        if unknown != (0, 0) {
            let (incompat, ro_compat) = unknown;
            let why = format!(
                "it has features that this reader does not know: incompat {incompat:#x}, ro_compat {ro_compat:#x}"
            );
            return Err(Unread::Doubtful(why));
        }
        if self.incompat & incompat::RECOVER != 0 {
            return Err(doubtful("its journal must be replayed: mount and unmount it once"));
        }
        match u16_at(self.raw, 0x3A) & 7 {
            1 => Ok(()),
            0 => Err(doubtful("it was not unmounted cleanly: check it with e2fsck")),
            _ => Err(doubtful("it is marked as having errors: check it with e2fsck")),
        }
    }
}

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
    Listed([u32; 2]),
}

impl Layout {
    /// For a volume of so many bytes.
    pub(super) fn new(superblock: &Superblock<'_>, volume_bytes: u64) -> Result<Layout, Unread> {
        let Superblock { raw, compat, incompat, ro_compat } = *superblock;
        let revision = u32_at(raw, 0x4C);
        let (log, first_block) = (u32_at(raw, 0x18), u64::from(u32_at(raw, 0x14)));
        if revision > 1 || log > 6 {
            return Err(doubtful("its revision or block size is unknown"));
        }
        let block_bytes = 1024_u64 << log;
        let has_64bit = incompat & incompat::BIT64 != 0;
        let high = if has_64bit { u32_at(raw, 0x150) } else { 0 };
        let blocks = u64::from(high) << 32 | u64::from(u32_at(raw, 0x4));
        if blocks.checked_mul(block_bytes).is_none_or(|bytes| bytes > volume_bytes) {
            return Err(Unread::Doubtful(format!(
                "it has {blocks} blocks of {block_bytes} bytes, more than the volume, which has {volume_bytes} bytes"
            )));
        }
        let cluster_blocks = cluster_blocks(superblock, log)?;
        let may_begin_at_1 = log == 0;
        let must_begin_at_1 = may_begin_at_1 && cluster_blocks == 1;
        if first_block >= blocks
            || first_block > u64::from(may_begin_at_1)
            || (must_begin_at_1 && first_block == 0)
        {
            return Err(doubtful("its first block is not where it must be"));
        }
        let blocks_per_group = u64::from(u32_at(raw, 0x20));
        let bits = blocks_per_group / cluster_blocks;
        if bits == 0 || bits > 8 * block_bytes || blocks_per_group % (8 * cluster_blocks) != 0 {
            return Err(Unread::Doubtful(format!("{blocks_per_group} blocks in a group are impossible")));
        }
        let groups = (blocks - first_block).div_ceil(blocks_per_group);
        let is_meta = incompat & incompat::META_BG != 0;
        let layout = Layout {
            block_bytes,
            blocks,
            first_block,
            cluster_blocks,
            blocks_per_group,
            groups,
            inode_table_blocks: inode_table_blocks(raw, block_bytes, groups)?,
            descriptor_bytes: if has_64bit { u64::from(u16_at(raw, 0xFE)) } else { 32 },
            reserved_blocks: if is_meta { 0 } else { u64::from(u16_at(raw, 0xCE)) },
            first_meta_group: is_meta.then(|| u64::from(u32_at(raw, 0x104))),
            is_flexible: incompat & incompat::FLEX_BG != 0,
            copies: copies(compat, ro_compat, raw),
            checksum: superblock.checksum(),
        };
        let size = layout.descriptor_bytes;
        if !size.is_power_of_two() || size > 1024 || (has_64bit && size < 64) {
            return Err(Unread::Doubtful(format!("group descriptors of {size} bytes are impossible")));
        }
        if layout.reserved_blocks > block_bytes / 4
            || layout.first_meta_group.is_some_and(|first| first > layout.descriptor_blocks())
        {
            return Err(doubtful("its group descriptors can't lie where they are said to"));
        }
        Ok(layout)
    }

    /// The blocks of group `group`, which is one of [`Layout::groups`].
    pub(super) fn group(&self, group: u64) -> std::ops::Range<u64> {
        let start = self.first_block + group * self.blocks_per_group;
        start..(start + self.blocks_per_group).min(self.blocks)
    }

    /// Whether a group begins with a copy of the superblock.
    pub(super) fn has_superblock(&self, group: u64) -> bool {
        match &self.copies {
            Copies::All => true,
            Copies::Sparse => group <= 1 || [3, 5, 7].into_iter().any(|base| is_power(group, base)),
            Copies::Listed(listed) => group == 0 || listed.map(u64::from).contains(&group),
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

fn cluster_blocks(superblock: &Superblock<'_>, log_block: u32) -> Result<u64, Unread> {
    if superblock.ro_compat & ro_compat::BIGALLOC == 0 {
        return Ok(1);
    }
    // At most 512 MiB, as mke2fs has it.
    let log_cluster = u32_at(superblock.raw, 0x1C);
    match log_cluster.checked_sub(log_block) {
        Some(log) if log_cluster <= 19 => Ok(1 << log),
        Some(_) | None => Err(doubtful("its cluster size is unknown")),
    }
}

fn inode_table_blocks(raw: &[u8], block_bytes: u64, groups: u64) -> Result<u64, Unread> {
    let per_group = u64::from(u32_at(raw, 0x28));
    let inode_bytes = if u32_at(raw, 0x4C) == 0 { 128 } else { u64::from(u16_at(raw, 0x58)) };
    if !inode_bytes.is_power_of_two() || inode_bytes < 128 || inode_bytes > block_bytes {
        return Err(Unread::Doubtful(format!("inodes of {inode_bytes} bytes are impossible")));
    }
    if per_group == 0
        || per_group > 8 * block_bytes
        || per_group.checked_mul(groups) != Some(u64::from(u32_at(raw, 0)))
    {
        return Err(Unread::Doubtful(format!("{per_group} inodes in a group are impossible")));
    }
    Ok((per_group * inode_bytes).div_ceil(block_bytes))
}

fn copies(compat: u32, ro_compat: u32, raw: &[u8]) -> Copies {
    if compat & compat::SPARSE_SUPER2 != 0 {
        Copies::Listed([u32_at(raw, 0x24C), u32_at(raw, 0x250)])
    } else if ro_compat & ro_compat::SPARSE_SUPER != 0 {
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

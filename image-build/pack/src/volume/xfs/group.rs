//! One allocation group: its header, and its tree of free blocks.

use super::superblock::Superblock;
use super::{Fields, Unread, doubtful, has_checksum};
use crate::{Extents, Source, source};

/// The most levels that a tree can have: `XFS_BTREE_MAXLEVELS`.
const LEVELS_MAX: u32 = 9;
/// Sectors at the start of a group that hold its superblock, headers of free space and inodes, and free list.
const HEADER_SECTORS: u32 = 4;
/// A record or key: first block, number of blocks.
const RECORD: usize = 8;
const POINTER: usize = 4;

/// Adds all blocks of a group that its tree of free blocks does not have.
pub(super) fn read(
    source: &dyn Source,
    superblock: &Superblock,
    number: u32,
    used: &mut Extents,
) -> Result<(), Unread> {
    let group = Group { source, superblock, number, blocks: superblock.blocks_of(number) };
    let header = group.header()?;
    let first = (HEADER_SECTORS * u32::from(superblock.sector_bytes)).div_ceil(superblock.block_bytes);
    let mut walk = Walk { group, root: header.root, visits: group.blocks, next: 0, first, free: 0, used };
    walk.block(header.root, header.levels - 1)?;
    if walk.free != header.free {
        let (tree, says) = (walk.free, header.free);
        return Err(group.doubtful(&format!("its tree has {tree} free blocks, its header says {says}")));
    }
    walk.use_up_to(group.blocks);
    Ok(())
}

#[derive(Clone, Copy)]
struct Group<'a> {
    source: &'a dyn Source,
    superblock: &'a Superblock,
    number: u32,
    blocks: u32,
}

/// What the header says of the free blocks.
struct Header {
    root: u32,
    levels: u32,
    free: u32,
}

impl Group<'_> {
    fn doubtful(&self, what: &str) -> Unread {
        doubtful(format!("allocation group {}: {what}", self.number))
    }

    fn expect(&self, is_so: bool, otherwise: &str) -> Result<(), Unread> {
        if is_so { Ok(()) } else { Err(self.doubtful(otherwise)) }
    }

    /// Where one of its blocks begins, in bytes.
    fn offset(&self, block: u32) -> u64 {
        self.superblock.offset_of(self.number) + u64::from(block) * u64::from(self.superblock.block_bytes)
    }

    /// The AGF, in the group's second sector.
    fn header(&self) -> Result<Header, Unread> {
        let sector = self.superblock.sector_bytes;
        let bytes = source::read(self.source, self.offset(0) + u64::from(sector), sector.into())?;
        let fields = Fields(&bytes);
        let is_ours = bytes.starts_with(b"XAGF") && fields.be32(4)? == 1 && fields.be32(8)? == self.number;
        self.expect(is_ours, "it has no header")?;
        if self.superblock.has_checksums {
            self.expect(has_checksum(fields, 216)?, "its header has a wrong checksum")?;
            let is_ours = fields.array(64)? == self.superblock.meta_uuid;
            self.expect(is_ours, "its header is another file system's")?;
        }
        self.expect(fields.be32(12)? == self.blocks, "its header has a wrong length")?;
        let header = Header { root: fields.be32(16)?, levels: fields.be32(28)?, free: fields.be32(52)? };
        self.expect((1..=LEVELS_MAX).contains(&header.levels), "its tree has an impossible height")?;
        Ok(header)
    }

    /// A block of the tree of the level where it must be, 0 for leaves. At least one record is in it, but for the
    /// root of an empty tree.
    fn tree_block(&self, block: u32, level: u32, is_root: bool) -> Result<TreeBlock, Unread> {
        self.expect(block < self.blocks, "its tree leaves the group")?;
        let offset = self.offset(block);
        let length = usize::try_from(self.superblock.block_bytes).unwrap_or(0);
        let bytes = source::read(self.source, offset, length)?;
        let fields = Fields(&bytes);
        let (magic, header) = if self.superblock.has_checksums { (b"AB3B", 56) } else { (b"ABTB", 16) };
        let is_ours = bytes.starts_with(magic) && u32::from(fields.be16(4)?) == level;
        self.expect(is_ours, &format!("block {block} is not a level {level} of its tree"))?;
        if self.superblock.has_checksums {
            self.expect(has_checksum(fields, 52)?, &format!("block {block} has a wrong checksum"))?;
            let is_ours = fields.be64(16)? == offset / 512
                && fields.array(32)? == self.superblock.meta_uuid
                && fields.be32(48)? == self.number;
            self.expect(is_ours, &format!("block {block} belongs elsewhere"))?;
        }
        let records = usize::from(fields.be16(6)?);
        let entry = if level == 0 { RECORD } else { RECORD + POINTER };
        let most = (length - header) / entry;
        let is_empty_tree = records == 0 && is_root && level == 0;
        let is_sane = records <= most && (records > 0 || is_empty_tree);
        self.expect(is_sane, &format!("block {block} has {records} records"))?;
        // Pointers lie behind room for the most keys.
        let begin = if level == 0 { header } else { header + most * RECORD };
        Ok(TreeBlock { bytes, begin, records })
    }
}

/// A block of the tree that was found in order.
struct TreeBlock {
    bytes: Vec<u8>,
    /// Where its records, or pointers, begin.
    begin: usize,
    records: usize,
}

impl TreeBlock {
    /// Records of a leaf or pointers of another block, as big-endian numbers.
    fn entries<const N: usize>(&self) -> impl Iterator<Item = [u8; N]> + '_ {
        let (entries, _) = self.bytes.get(self.begin..).unwrap_or_default().as_chunks::<N>();
        entries.iter().take(self.records).copied()
    }
}

/// A way through the tree in the order of the blocks.
///
/// It ends: every leaf has a record, records must ascend, so no leaf is seen twice, and the height is bounded. The count of
/// visits says the same once more.
struct Walk<'a> {
    group: Group<'a>,
    root: u32,
    /// Blocks of the tree that may still be looked at.
    visits: u32,
    /// The first block that no record was about yet.
    next: u32,
    /// The first block that may be free: those before hold the headers.
    first: u32,
    /// Free blocks so far.
    free: u32,
    used: &'a mut Extents,
}

impl Walk<'_> {
    /// Everything under a block. No deeper than there are levels.
    fn block(&mut self, block: u32, level: u32) -> Result<(), Unread> {
        self.group.expect(self.visits > 0, "its tree has more blocks than the group")?;
        self.visits -= 1;
        let found = self.group.tree_block(block, level, block == self.root)?;
        let Some(below) = level.checked_sub(1) else {
            return found.entries::<RECORD>().try_for_each(|record| self.record(u64::from_be_bytes(record)));
        };
        found.entries::<POINTER>().try_for_each(|block| self.block(u32::from_be_bytes(block), below))
    }

    /// Free blocks: the upper half says where they begin, the lower half how many they are.
    fn record(&mut self, record: u64) -> Result<(), Unread> {
        let halves = (u32::try_from(record >> 32), u32::try_from(record & u64::from(u32::MAX)));
        let (Ok(start), Ok(count)) = halves else { return Ok(()) };
        let end = start.checked_add(count).filter(|end| count > 0 && *end <= self.group.blocks);
        let Some(end) = end.filter(|_| start >= self.next.max(self.first)) else {
            return Err(self.group.doubtful(&format!("{count} free blocks at {start} are out of place")));
        };
        self.use_up_to(start);
        self.next = end;
        self.free += count;
        Ok(())
    }

    /// All blocks from the last record up to here are in use.
    fn use_up_to(&mut self, block: u32) {
        self.used.add(self.group.offset(self.next)..self.group.offset(block));
    }
}

//! The superblock: the shape of the file system, and what one must know to read it.

use std::ops::Range;

use super::{Fields, Unread, doubtful, has_checksum, longer, unknown};
use crate::{Source, source};

const SECTORS: std::ops::RangeInclusive<u16> = 512..=32768;
const BLOCKS: std::ops::RangeInclusive<u32> = 512..=65536;

/// The fewest blocks of a group, the last one too.
const GROUP_BLOCKS_MIN: u32 = 64;
const GROUP_BYTES_MAX: u64 = 1 << 40;
const LOG_BYTES_MAX: u64 = 2 << 30;

/// `sb_versionnum` of version 4: everything but the bits for 4 itself and for shared file systems, which never were.
const VERSION_4_KNOWN: u16 = 0xfdff & !VERSION;
const VERSION: u16 = 0xf;
const VERSION_4_MORE: u16 = 0x8000;
/// `sb_features2` of version 4: lazy counters, attr2, 32-bit project ids, file types in directories.
const FEATURES2_KNOWN: u32 = 0x2 | 0x8 | 0x80 | 0x200;
/// `sb_features_ro_compat`: free inode tree, reverse map, reflink, counted inode trees.
const RO_COMPAT_KNOWN: u32 = 0xf;
/// `sb_features_incompat`: file types, sparse inodes, second UUID, big timestamps, 64-bit extent counts, exchanged ranges,
/// parent pointers, metadata directories. Not: "needs repair", and zones, which lie behind the groups on the same device.
const INCOMPAT_KNOWN: u32 = 0x1ef;
const INCOMPAT_META_UUID: u32 = 0x4;
const INCOMPAT_NEEDS_REPAIR: u32 = 0x10;
/// `sb_features_log_incompat`: logged attributes. Says nothing once the log is empty.
const LOG_INCOMPAT_KNOWN: u32 = 0x1;

/// What the readers of the other structures need.
#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) has_checksums: bool,
    pub(super) sector_bytes: u16,
    pub(super) block_bytes: u32,
    pub(super) groups: u32,
    /// Blocks of every group but the last.
    pub(super) group_blocks: u32,
    /// All blocks.
    pub(super) blocks: u64,
    /// Where the log is on this device; `None` when it is on another.
    pub(super) log: Option<Range<u64>>,
    pub(super) uuid: [u8; 16],
    /// The UUID that is in the metadata: a file system may have got another one later.
    pub(super) meta_uuid: [u8; 16],
}

impl Superblock {
    /// The primary one, which begins with `start`; every number in it is consistent with the others and with the length of the source.
    pub(super) fn read(source: &dyn Source, start: Fields<'_>) -> Result<Superblock, Unread> {
        let sector_bytes = start.be16(102)?;
        if !SECTORS.contains(&sector_bytes)
            || !sector_bytes.is_power_of_two()
            || source.bytes() < u64::from(sector_bytes)
        {
            return Err(doubtful(format!("its superblock has sectors of {sector_bytes} bytes")));
        }
        let bytes = source::read(source, 0, usize::from(sector_bytes))?;
        let fields = Fields(&bytes);
        let has_checksums = known_version(fields)?;
        let superblock = Superblock::parse(fields, has_checksums, sector_bytes)?;
        let claimed = superblock.blocks.saturating_mul(superblock.block_bytes.into());
        if claimed > source.bytes() {
            return Err(longer(claimed, source.bytes()));
        }
        Ok(superblock)
    }

    fn parse(fields: Fields<'_>, has_checksums: bool, sector_bytes: u16) -> Result<Superblock, Unread> {
        let bad = |what: &str| Err(doubtful(format!("its superblock is not valid: {what}")));
        let (block_bytes, blocks) = (fields.be32(4)?, fields.be64(8)?);
        let (group_blocks, groups) = (fields.be32(84)?, fields.be32(88)?);
        if !BLOCKS.contains(&block_bytes)
            || !block_bytes.is_power_of_two()
            || block_bytes < u32::from(sector_bytes)
            || u32::from(fields.byte(120)?) != block_bytes.trailing_zeros()
        {
            return bad("block size");
        }
        let group_bytes = u64::from(group_blocks) * u64::from(block_bytes);
        if group_blocks < GROUP_BLOCKS_MIN || group_bytes > GROUP_BYTES_MAX {
            return bad("blocks of an allocation group");
        }
        let Some(before_last) = groups.checked_sub(1).map(|full| u64::from(full) * u64::from(group_blocks))
        else {
            return bad("number of allocation groups");
        };
        let last = u64::from(GROUP_BLOCKS_MIN)..=u64::from(group_blocks);
        if !blocks.checked_sub(before_last).is_some_and(|count| last.contains(&count)) {
            return bad("number of blocks");
        }
        if fields.byte(126)? != 0 {
            return bad("mkfs did not end");
        }
        let uuid = fields.array(32)?;
        let mut superblock = Superblock {
            has_checksums,
            sector_bytes,
            block_bytes,
            groups,
            group_blocks,
            blocks,
            log: None,
            uuid,
            meta_uuid: uuid,
        };
        if has_checksums && fields.be32(216)? & INCOMPAT_META_UUID != 0 {
            superblock.meta_uuid = fields.array(248)?;
        }
        superblock.log = superblock.log_range(fields)?;
        Ok(superblock)
    }

    /// Bytes of the log: it lies within one group.
    fn log_range(&self, fields: Fields<'_>) -> Result<Option<Range<u64>>, Unread> {
        let (start, blocks) = (fields.be64(48)?, fields.be32(96)?);
        if start == 0 {
            return Ok(None);
        }
        let bad = || doubtful("its superblock is not valid: place of the log");
        // A block number is that of the group, then that within the group, in as few bits as hold a whole group.
        let bits = u32::from(fields.byte(124)?);
        if bits != self.group_blocks.next_power_of_two().trailing_zeros() {
            return Err(bad());
        }
        let group = u32::try_from(start >> bits).map_err(|_| bad())?;
        let first = start & ((1 << bits) - 1);
        let bytes = u64::from(blocks) * u64::from(self.block_bytes);
        let is_within = group < self.groups && first + u64::from(blocks) <= self.blocks_of(group).into();
        if !is_within || !(1024..=LOG_BYTES_MAX).contains(&bytes) {
            return Err(bad());
        }
        let offset = self.offset_of(group) + first * u64::from(self.block_bytes);
        Ok(Some(offset..offset + bytes))
    }

    /// Blocks of a group; the last one has what is left.
    pub(super) fn blocks_of(&self, group: u32) -> u32 {
        let left = self.blocks.saturating_sub(u64::from(group) * u64::from(self.group_blocks));
        u32::try_from(left).map_or(self.group_blocks, |left| left.min(self.group_blocks))
    }

    /// Where a group begins, in bytes. For groups that are there: the superblock was checked against overflow.
    pub(super) fn offset_of(&self, group: u32) -> u64 {
        u64::from(group) * u64::from(self.group_blocks) * u64::from(self.block_bytes)
    }
}

/// Whether it is version 5, the one with checksums; an error for versions and features that are not known.
fn known_version(fields: Fields<'_>) -> Result<bool, Unread> {
    let version = fields.be16(100)?;
    let (has_checksums, features) = match version & VERSION {
        4 => {
            let more = if version & VERSION_4_MORE == 0 { 0 } else { fields.be32(200)? };
            let unknown = version & !VERSION & !VERSION_4_KNOWN;
            (false, [("version", u32::from(unknown)), ("features2", more & !FEATURES2_KNOWN), ("", 0)])
        }
        5 => {
            if !has_checksum(fields, 224)? {
                return Err(doubtful("its superblock has a wrong checksum"));
            }
            let incompat = fields.be32(216)?;
            if incompat & INCOMPAT_NEEDS_REPAIR != 0 {
                return Err(doubtful("it is marked for repair: run xfs_repair on it"));
            }
            let ro_compat = fields.be32(212)? & !RO_COMPAT_KNOWN;
            let log_incompat = fields.be32(220)? & !LOG_INCOMPAT_KNOWN;
            let incompat = incompat & !INCOMPAT_KNOWN;
            (true, [("ro_compat", ro_compat), ("incompat", incompat), ("log_incompat", log_incompat)])
        }
        old_or_new => return Err(doubtful(format!("it is XFS version {old_or_new}: 4 and 5 are known"))),
    };
    features.into_iter().try_for_each(|(field, bits)| unknown(field, bits))?;
    Ok(has_checksums)
}

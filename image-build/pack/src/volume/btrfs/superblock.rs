//! The superblock: where everything begins, and what a reader has to know to go on.

use std::ops::Range;

use super::checksum::Checksum;
use super::tree::{CHUNK_TREE, ROOT_TREE, Root};
use super::{Fields, REPLAY, Unread, doubtful, longer, unknown};
use crate::{Source, source};

/// Where it lies. Later copies are written with it, and read by nobody but a rescue.
const OFFSET: u64 = 64 << 10;
const COPIES: [u64; 3] = [OFFSET, 64 << 20, 256 << 30];
const BYTES: usize = 4096;
const MAGIC: [u8; 8] = *b"_BHRfS_M";

/// The nodes were written, and a file system that is a seed: the flags that change nothing here. Others are for a
/// file system with errors, a dump without data, and conversions that were broken off.
const FLAGS: u64 = 1 | 1 << 32;
/// Mixed back references, default subvolume, mixed groups, LZO, Zstandard, big metadata, extended references, RAID 5/6, skinny
/// metadata, no holes, metadata UUID, RAID1 of 3 and 4, simple quotas. Not zoned (12), extent tree v2 (13), RAID
/// stripe tree (14): there, other trees say what is where.
const INCOMPATIBLE: u64 = 0xfff | 1 << 16;
const METADATA_UUID: u64 = 1 << 10;
/// Free space tree, whether it is valid, verity, and block group tree: items that nothing is taken from here.
const COMPATIBLE_READ_ONLY: u64 = 0xf;

const NODE_BYTES_MAX: u32 = 64 << 10;
const SYSTEM_CHUNKS_AT: usize = 0x32b;
const SYSTEM_CHUNKS_BYTES: usize = 2048;

#[derive(Debug)]
pub(super) struct Superblock {
    pub(super) checksum: Checksum,
    pub(super) root: Root,
    pub(super) chunk_root: Root,
    /// Bytes of all extents, on all devices, each counted once.
    pub(super) bytes_used: u64,
    pub(super) devices: u64,
    pub(super) sector_bytes: u32,
    pub(super) node_bytes: u32,
    /// This device's number, UUID and length as the file system knows it: at most that of the volume.
    pub(super) device: u64,
    pub(super) device_uuid: [u8; 16],
    pub(super) device_bytes: u64,
    /// What the nodes carry; the file system's UUID but for one that was changed without writing them all.
    pub(super) node_uuid: [u8; 16],
    /// The chunks that hold the chunk tree: each a key and a chunk item.
    pub(super) system_chunks: Vec<u8>,
}

impl Superblock {
    /// Its bytes.
    pub(super) fn find(source: &dyn Source) -> Result<Vec<u8>, Unread> {
        if source.bytes() < OFFSET + BYTES as u64 {
            return Err(Unread::Other);
        }
        let block = source::read(source, OFFSET, BYTES)?;
        if Fields(&block).array(0x40)? == MAGIC { Ok(block) } else { Err(Unread::Other) }
    }

    /// Of a volume of so many bytes, when all that it says is understood.
    pub(super) fn read(block: &[u8], volume_bytes: u64) -> Result<Superblock, Unread> {
        let kind = Fields(block).le16(0xc4)?;
        let checksum =
            Checksum::new(kind).ok_or_else(|| doubtful(format!("its checksums are of kind {kind}")))?;
        if !checksum.holds(block) || Fields(block).le64(0x30)? != OFFSET {
            return Err(doubtful("its superblock is damaged"));
        }
        check_features(block)?;
        let superblock = Superblock::parse(block, checksum)?;
        superblock.check(volume_bytes)?;
        Ok(superblock)
    }

    fn parse(block: &[u8], checksum: Checksum) -> Result<Superblock, Unread> {
        let uuid = Fields(block).array(0x20)?;
        let is_changed = Fields(block).le64(0xbc)? & METADATA_UUID != 0;
        let system = Fields(block).le32(0xa0)? as usize;
        let system = SYSTEM_CHUNKS_AT..SYSTEM_CHUNKS_AT.saturating_add(system.min(SYSTEM_CHUNKS_BYTES + 1));
        let within = system.len() <= SYSTEM_CHUNKS_BYTES;
        let system_chunks = block.get(system).filter(|_| within);
        Ok(Superblock {
            checksum,
            root: Root {
                tree: ROOT_TREE,
                address: Fields(block).le64(0x50)?,
                generation: Fields(block).le64(0x48)?,
                level: Fields(block).byte(0xc6)?,
            },
            chunk_root: Root {
                tree: CHUNK_TREE,
                address: Fields(block).le64(0x58)?,
                generation: Fields(block).le64(0xa4)?,
                level: Fields(block).byte(0xc7)?,
            },
            bytes_used: Fields(block).le64(0x78)?,
            devices: Fields(block).le64(0x88)?,
            sector_bytes: Fields(block).le32(0x90)?,
            node_bytes: Fields(block).le32(0x94)?,
            device: Fields(block).le64(0xc9)?,
            device_bytes: Fields(block).le64(0xd1)?,
            device_uuid: Fields(block).array(0x10b)?,
            node_uuid: if is_changed { Fields(block).array(0x23b)? } else { uuid },
            system_chunks: system_chunks
                .ok_or_else(|| doubtful("its list of system chunks is too long"))?
                .to_vec(),
        })
    }

    fn check(&self, volume_bytes: u64) -> Result<(), Unread> {
        let (sector, node) = (self.sector_bytes, self.node_bytes);
        if !(sector.is_power_of_two() && node.is_power_of_two() && (4096..=node).contains(&sector))
            || node > NODE_BYTES_MAX
        {
            return Err(doubtful(format!("its sectors are of {sector} bytes and its nodes of {node}")));
        }
        if self.device_bytes > volume_bytes {
            return Err(longer(self.device_bytes, volume_bytes));
        }
        if self.device == 0 {
            return Err(doubtful("it is the target of a replacement that has not come to its end"));
        }
        Ok(())
    }

    /// Where the superblocks lie that fit into so many bytes.
    pub(super) fn copies(volume_bytes: u64) -> impl Iterator<Item = Range<u64>> {
        let copies = COPIES.into_iter().map(|start| start..start + BYTES as u64);
        copies.filter(move |copy| copy.end <= volume_bytes)
    }
}

/// Refuses what would make other structures than the ones read here the truth.
fn check_features(block: &[u8]) -> Result<(), Unread> {
    unknown("flags", Fields(block).le64(0x38)? & !FLAGS)?;
    unknown("incompat", Fields(block).le64(0xbc)? & !INCOMPATIBLE)?;
    // Who only reads files may ignore these; the extent tree could be another.
    unknown("ro_compat", Fields(block).le64(0xb4)? & !COMPATIBLE_READ_ONLY)?;
    if Fields(block).le64(0x60)? != 0 {
        return Err(doubtful(REPLAY));
    }
    Ok(())
}

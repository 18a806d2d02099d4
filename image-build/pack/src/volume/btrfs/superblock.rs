//! The superblock: where everything begins, and what a reader has to know to go on.

use std::ops::Range;

use super::checksum::Checksum;
use super::tree::{CHUNK_TREE, ROOT_TREE, Root};
use super::{Unread, doubtful, field};
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
const LABEL_AT: usize = 0x12b;
const LABEL_BYTES: usize = 256;

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
    pub(super) label: String,
    /// The chunks that hold the chunk tree: each a key and a chunk item.
    pub(super) system_chunks: Vec<u8>,
    pub(super) uuid: [u8; 16],
}

impl Superblock {
    /// The first superblock, when all that it says is understood.
    pub(super) fn read(source: &dyn Source) -> Result<Superblock, Unread> {
        if source.bytes() < OFFSET + BYTES as u64 {
            return Err(Unread::Other);
        }
        let block = source::read(source, OFFSET, BYTES)?;
        if field::bytes(&block, 0x40)? != MAGIC {
            return Err(Unread::Other);
        }
        let kind = field::u16(&block, 0xc4)?;
        let checksum =
            Checksum::new(kind).ok_or_else(|| doubtful(format!("its checksums are of kind {kind}")))?;
        if !checksum.holds(&block) || field::u64(&block, 0x30)? != OFFSET {
            return Err(doubtful("its superblock is damaged"));
        }
        check_features(&block)?;
        let superblock = Superblock::parse(&block, checksum)?;
        superblock.check(source.bytes())?;
        Ok(superblock)
    }

    fn parse(block: &[u8], checksum: Checksum) -> Result<Superblock, Unread> {
        let uuid = field::bytes(block, 0x20)?;
        let is_changed = field::u64(block, 0xbc)? & METADATA_UUID != 0;
        let system = field::u32(block, 0xa0)? as usize;
        let system = SYSTEM_CHUNKS_AT..SYSTEM_CHUNKS_AT.saturating_add(system.min(SYSTEM_CHUNKS_BYTES + 1));
        let within = system.len() <= SYSTEM_CHUNKS_BYTES;
        let system_chunks = block.get(system).filter(|_| within);
        Ok(Superblock {
            checksum,
            root: Root {
                tree: ROOT_TREE,
                address: field::u64(block, 0x50)?,
                generation: field::u64(block, 0x48)?,
                level: field::u8(block, 0xc6)?,
            },
            chunk_root: Root {
                tree: CHUNK_TREE,
                address: field::u64(block, 0x58)?,
                generation: field::u64(block, 0xa4)?,
                level: field::u8(block, 0xc7)?,
            },
            bytes_used: field::u64(block, 0x78)?,
            devices: field::u64(block, 0x88)?,
            sector_bytes: field::u32(block, 0x90)?,
            node_bytes: field::u32(block, 0x94)?,
            device: field::u64(block, 0xc9)?,
            device_bytes: field::u64(block, 0xd1)?,
            device_uuid: field::bytes(block, 0x10b)?,
            node_uuid: if is_changed { field::bytes(block, 0x23b)? } else { uuid },
            label: label(&field::bytes::<LABEL_BYTES>(block, LABEL_AT)?),
            system_chunks: system_chunks
                .ok_or_else(|| doubtful("its list of system chunks is too long"))?
                .to_vec(),
            uuid,
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
            let (want, have) = (self.device_bytes, volume_bytes);
            return Err(doubtful(format!("it is cut short: {have} bytes of {want} are there")));
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

    /// The file system's UUID as blkid spells it.
    pub(super) fn uuid(&self) -> String {
        let digits = data_encoding::HEXLOWER.encode(&self.uuid);
        let parts = [0..8, 8..12, 12..16, 16..20, 20..32].map(|part| digits.get(part).unwrap_or_default());
        parts.join("-")
    }
}

/// Refuses what would make other structures than the ones read here the truth.
fn check_features(block: &[u8]) -> Result<(), Unread> {
    let unknown = [
        ("flags", field::u64(block, 0x38)? & !FLAGS),
        ("incompatible features", field::u64(block, 0xbc)? & !INCOMPATIBLE),
        // Who only reads files may ignore these; the extent tree could be another.
        ("compatible features", field::u64(block, 0xb4)? & !COMPATIBLE_READ_ONLY),
    ];
    if let Some((which, bits)) = unknown.into_iter().find(|(_, bits)| *bits != 0) {
        return Err(doubtful(format!("it has {which} that are not understood: {bits:#x}")));
    }
    if field::u64(block, 0x60)? != 0 {
        return Err(doubtful("its log must be replayed: mount and unmount it once"));
    }
    Ok(())
}

fn label(bytes: &[u8; LABEL_BYTES]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let mut label = String::from_utf8_lossy(text).into_owned();
    label.truncate(label.floor_char_boundary(LABEL_BYTES - 1));
    label
}

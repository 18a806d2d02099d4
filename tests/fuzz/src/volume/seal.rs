//! Checksums made right again, so that what they cover is read. Where the structures are is the base's to say.

use std::ops::Range;

use crc::{Algorithm, CRC_32_ISCSI, CRC_32_ISO_HDLC, Crc};

use super::bent::Bent;

static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);
static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
static LVM2: Crc<u32> =
    Crc::<u32>::new(&Algorithm { init: 0xf597_a6cf_u32.reverse_bits(), xorout: 0, ..CRC_32_ISO_HDLC });

/// For formats without checksums, and those whose checksums are not the point.
pub(super) fn nothing(_: &mut Bent<'_>) {}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at)) | u64::from(le32(bytes, at + 4)) << 32
}

fn be32(bytes: &[u8], at: usize) -> u64 {
    u64::from(le32(bytes, at).swap_bytes())
}

/// CRC-32C that goes on from a seed and is not inverted, as ext4 has it.
fn ext4_sum(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut digest = CRC32C.digest_with_initial(seed.reverse_bits());
    parts.iter().for_each(|part| digest.update(part));
    !digest.finalize()
}

/// Block bitmaps, descriptors of groups, superblock: four groups of 1024 blocks of 1 KiB.
pub(super) fn ext4(bent: &mut Bent<'_>) {
    let seed = ext4_sum(u32::MAX, &[&bent.get(1024 + 0x68, 16)]);
    for group in 0_u32..4 {
        let place = 2048 + u64::from(group) * 64;
        let mut descriptor = bent.get(place, 64);
        let bitmap = bent.get(u64::from(le32(&descriptor, 0)) * 1024, 128);
        let [a, b, c, d] = ext4_sum(seed, &[&bitmap]).to_le_bytes();
        bent.put(place + 0x18, &[a, b]);
        bent.put(place + 0x38, &[c, d]);
        bent.put(place + 0x1e, &[0, 0]);
        descriptor = bent.get(place, 64);
        let [low, high, ..] = ext4_sum(seed, &[&group.to_le_bytes(), &descriptor]).to_le_bytes();
        bent.put(place + 0x1e, &[low, high]);
    }
    let sum = ext4_sum(u32::MAX, &[&bent.get(1024, 0x3fc)]);
    bent.put(1024 + 0x3fc, &sum.to_le_bytes());
}

/// Seals one structure that has the CRC-32C of all its bytes at `at`.
fn crc32c(bent: &mut Bent<'_>, place: Range<u64>, at: u64) {
    if bent.is_changed(place.clone()) {
        bent.put(place.start + at, &[0; 4]);
        let length = usize::try_from(place.end - place.start).unwrap_or(0);
        let sum = CRC32C.checksum(&bent.get(place.start, length));
        bent.put(place.start + at, &sum.to_le_bytes());
    }
}

/// The superblock; of both groups the header of free space and the root of its tree.
pub(super) fn xfs(bent: &mut Bent<'_>) {
    let mut superblock = [0; 512];
    bent.base.read(0, &mut superblock);
    let (block, group_blocks) = (be32(&superblock, 4), be32(&superblock, 84));
    crc32c(bent, 0..512, 224);
    for group in 0..2 {
        let begin = group * group_blocks * block;
        let mut header = [0; 512];
        bent.base.read(begin + 512, &mut header);
        crc32c(bent, begin + 512..begin + 1024, 216);
        let root = begin + be32(&header, 16) * block;
        crc32c(bent, root..root + block, 52);
    }
}

/// The superblock and every node: all blocks that have their own checksum in the base.
pub(super) fn btrfs(bent: &mut Bent<'_>) {
    for (at, block) in &bent.base.blocks {
        let (sum, summed) = block.split_at_checked(32).unwrap_or_default();
        if bent.is_changed(*at..at + 4096) && sum.starts_with(&CRC32C.checksum(summed).to_le_bytes()) {
            let sum = CRC32C.checksum(&bent.get(at + 32, 4064));
            bent.put(*at, &sum.to_le_bytes());
        }
    }
}

/// The boot region: sector 11 repeats the sum of the eleven before it.
pub(super) fn exfat(bent: &mut Bent<'_>) {
    let region = bent.get(0, 11 * 512);
    let summed = region.iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
    let sum = summed.fold(0_u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
    bent.put(11 * 512, &sum.to_le_bytes().repeat(128));
}

/// The label, the header of the metadata area, and the description that this names.
pub(super) fn lvm(bent: &mut Bent<'_>) {
    const AREA: u64 = 4096;
    let sum = LVM2.checksum(&bent.get(512 + 20, 492));
    bent.put(512 + 16, &sum.to_le_bytes());
    let header = bent.get(AREA, 512);
    let (offset, bytes) = (le64(&header, 40), le64(&header, 48));
    if let Some(bytes) = usize::try_from(bytes).ok().filter(|bytes| *bytes <= 64 << 10) {
        let sum = LVM2.checksum(&bent.get(AREA.saturating_add(offset), bytes));
        bent.put(AREA + 56, &sum.to_le_bytes());
    }
    let sum = LVM2.checksum(&bent.get(AREA + 4, 508));
    bent.put(AREA, &sum.to_le_bytes());
}

/// The superblock of version 1.2 with 128 roles.
pub(super) fn md(bent: &mut Bent<'_>) {
    bent.put(4096 + 216, &[0; 4]);
    let block = bent.get(4096, 512);
    let sum = (0..512).step_by(4).map(|at| u64::from(le32(&block, at))).sum::<u64>();
    let folded = u32::try_from((sum + (sum >> 32)) & u64::from(u32::MAX)).unwrap_or_default();
    bent.put(4096 + 216, &folded.to_le_bytes());
}

/// Both headers and both tables of 128 entries.
pub(super) fn gpt(bent: &mut Bent<'_>) {
    let last = bent.base.bytes - 512;
    for (header, table) in [(512, 1024), (last, last - 32 * 512)] {
        let entries = CRC32.checksum(&bent.get(table, 128 * 128));
        bent.put(header + 88, &entries.to_le_bytes());
        bent.put(header + 16, &[0; 4]);
        let sum = CRC32.checksum(&bent.get(header, 92));
        bent.put(header + 16, &sum.to_le_bytes());
    }
}

//! Version 0.90 of the superblock: in the byte order of the machine that made it, in the last 64 KiB block but none.

use super::{MAGIC, Member, SUPERBLOCK, Unread, doubtful, fold};
use crate::field::{array, be32, le32};
use crate::source::read;
use crate::{Extents, Source};

/// `MD_RESERVED_BYTES`.
const RESERVED: u64 = 64 << 10;

/// Words of `mdp_superblock_s`, as byte offsets.
const MINOR: usize = 8;
const UUID: [usize; 4] = [20, 52, 56, 60];
const LEVEL: usize = 28;
const KIB: usize = 32;
const RAID_DISKS: usize = 40;
const NOT_PERSISTENT: usize = 48;
const STATE: usize = 132;
const CHECKSUM: usize = 152;
const THIS_ROLE: usize = 992 * 4 + 12;
const THIS_STATE: usize = 992 * 4 + 16;

/// The superblock, if there is one.
pub(super) fn superblock(source: &dyn Source) -> Result<Option<Member>, Unread> {
    let Some(at) = (source.bytes() / RESERVED * RESERVED).checked_sub(RESERVED) else { return Ok(None) };
    let block = read(source, at, SUPERBLOCK)?;
    if be32(&block, 0) == Some(MAGIC) {
        return Err(doubtful("its superblock is of a machine with the other byte order"));
    }
    if le32(&block, 0) != Some(MAGIC) || le32(&block, 4) != Some(0) {
        return Ok(None);
    }
    let (words, _) = block.as_chunks::<4>();
    let sum = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum::<u64>();
    let told = le32(&block, CHECKSUM).unwrap_or_default();
    if fold(sum - u64::from(told)) != told {
        return Err(doubtful("its superblock is damaged"));
    }
    let mut bytes = [0; 16];
    for (to, at) in bytes.chunks_exact_mut(4).zip(UUID) {
        let mut word = array::<4>(&block, at).unwrap_or_default();
        word.reverse();
        to.copy_from_slice(&word);
    }
    let end = u64::from(le32(&block, KIB).unwrap_or_default()) * 1024;
    // What lies behind the content is used: bitmap and superblock, or a file system that replaced the array.
    let mut used = Extents::new();
    used.add(end.min(at)..source.bytes());
    let is_within = end <= at;
    let doubt = doubt(&block).or((!is_within).then_some("its content lies over its superblock"));
    let (uuid, doubt) = (crate::names::uuid(bytes), doubt.map(str::to_owned));
    Ok(Some(Member { uuid, label: String::new(), content: 0..end, used, doubt }))
}

fn doubt(block: &[u8]) -> Option<&'static str> {
    if le32(block, LEVEL)? != 1 {
        return Some("only a mirror's member holds a volume as it is");
    }
    if le32(block, MINOR)? != 90 || le32(block, NOT_PERSISTENT)? != 0 {
        return Some("the array is being reshaped");
    }
    // Clean, perhaps with a bitmap; an array with errors or in a cluster has other bits too.
    const CLEAN: u32 = 1;
    const BITMAP: u32 = 1 << 8;
    if le32(block, STATE)? & !BITMAP != CLEAN {
        return Some("the array was not in sync");
    }
    // Active and in sync; flags of how it is read besides.
    const MEMBER: u32 = 0b110;
    const READING: u32 = 1 << 9 | 1 << 10;
    let is_member =
        le32(block, THIS_STATE)? & !READING == MEMBER && le32(block, THIS_ROLE)? < le32(block, RAID_DISKS)?;
    (!is_member).then_some("it is a spare or a faulty member")
}

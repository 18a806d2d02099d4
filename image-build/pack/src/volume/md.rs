//! A member of a Linux software RAID: versions 0.90, 1.0, 1.1 and 1.2 of the superblock.
//!
//! Only a mirror's member holds a volume as it is; of every other level, and of a mirror whose halves may differ, all bytes
//! count. Layout: the kernel's include/uapi/linux/raid/md_p.h and Documentation/admin-guide/md.rst.

use std::ops::Range;

use super::{Inner, Name, Unread, Volume, doubtful};
use crate::field::{array, le16, le32, le64};
use crate::names::uuid;
use crate::source::read as bytes_at;
use crate::{Extents, Part, Source};

mod old;

/// As blkid names it.
const KIND: &str = "linux_raid_member";
const MAGIC: u32 = 0xa92b_4efc;
const SECTOR: u64 = 512;
/// Bytes of a superblock with its table of roles.
const SUPERBLOCK: usize = 4096;
/// `MD_FEATURE_BITMAP_OFFSET`: the only feature of an array at rest.
const BITMAP: u32 = 1;
const BITMAP_MAGIC: u32 = 0x6d74_6962;

/// What a superblock of any version says.
struct Member {
    uuid: String,
    label: String,
    /// The volume's bytes on this disk.
    content: Range<u64>,
    /// Superblock, bitmap, list of bad blocks.
    used: Extents,
    /// Why the content may not be what the array holds.
    doubt: Option<String>,
}

pub(super) fn read(source: &dyn Source, depth: u8) -> Result<Volume, Unread> {
    let member = match member(source) {
        Ok(member) => member,
        Err(why) => return Name { kind: KIND, ..Name::default() }.with(Err(why), source),
    };
    let name = Name { kind: KIND, uuid: member.uuid, label: member.label };
    if let Some(why) = member.doubt {
        return name.with(Err(doubtful(why)), source);
    }
    let bytes = member.content.end - member.content.start;
    let Some(content) = Part::new(source, member.content.start, bytes) else {
        return name.with(Err(doubtful("its content lies beyond the disk")), source);
    };
    let Some(depth) = depth.checked_sub(1) else {
        return name.with(Ok(Extents::all(source.bytes())), source);
    };
    let volume = super::read_at_depth(&content, depth)?;
    let mut used = member.used;
    used.add_all(&volume.used, member.content.start);
    let inside = vec![Inner { name: String::new(), bytes, volume }];
    Ok(Volume { inside, ..name.with(Ok(used), source)? })
}

/// The one superblock that there is.
fn member(source: &dyn Source) -> Result<Member, Unread> {
    let mut members = Vec::new();
    for at in places(source.bytes()) {
        members.extend(superblock(source, at)?);
    }
    members.extend(old::superblock(source)?);
    let mut members = members.into_iter();
    let member = members.next().ok_or(Unread::Other)?;
    if members.next().is_some() {
        return Err(doubtful("it has superblocks of two arrays"));
    }
    Ok(member)
}

/// Where superblocks of version 1 are: 1.1, 1.2, 1.0.
fn places(bytes: u64) -> impl Iterator<Item = u64> {
    let at_end = (bytes / SECTOR).checked_sub(16).map(|sectors| sectors / 8 * 8 * SECTOR);
    let at_end = at_end.filter(|at| *at > 4096);
    [Some(0), Some(4096), at_end].into_iter().flatten().filter(move |at| at + SUPERBLOCK as u64 <= bytes)
}

/// A superblock of version 1 at this place.
fn superblock(source: &dyn Source, at: u64) -> Result<Option<Member>, Unread> {
    let block = bytes_at(source, at, SUPERBLOCK)?;
    if le32(&block, 0) != Some(MAGIC) || le32(&block, 4) != Some(1) || le64(&block, 144) != Some(at / SECTOR)
    {
        return Ok(None);
    }
    let damaged = || doubtful("its superblock is damaged");
    if checksum(&block).is_none_or(|sum| le32(&block, 216) != Some(sum)) {
        return Err(damaged());
    }
    let name = array::<32>(&block, 32).unwrap_or_default();
    let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
    let label = String::from_utf8_lossy(name).chars().filter(|letter| !letter.is_control()).collect();
    let place = |field| le64(&block, field).and_then(|sectors| sectors.checked_mul(SECTOR));
    let (size, begin) = place(80).zip(place(128)).ok_or_else(damaged)?;
    let end = begin.checked_add(size).ok_or_else(damaged)?;
    let block_end = at + SUPERBLOCK as u64;
    let mut member = Member {
        uuid: uuid(array(&block, 16).unwrap_or_default()),
        label,
        content: begin..end,
        used: Extents::new(),
        doubt: doubt(&block).map(str::to_owned),
    };
    if end > source.bytes() || begin < block_end && at < end {
        member.doubt = Some("its content lies over its superblock or beyond the disk".to_owned());
    } else if at >= end {
        // A file system that replaced the array could lie here too.
        member.used.add(0..begin);
        member.used.add(end..source.bytes());
    } else {
        member.used.add(at..block_end);
        besides(source, &block, at, &mut member)?;
    }
    Ok(Some(member))
}

/// Bitmap and list of bad blocks between superblock and content.
fn besides(source: &dyn Source, block: &[u8], at: u64, member: &mut Member) -> Result<(), Unread> {
    let begin = member.content.start;
    let signed = |field| le32(block, field).map_or(0, |sectors| i64::from(sectors.cast_signed()) * 512);
    let mut areas = Vec::new();
    let bad_blocks = u64::from(le16(block, 186).unwrap_or_default()) * SECTOR;
    if bad_blocks > 0 {
        areas.push((at.checked_add_signed(signed(188)), bad_blocks));
    }
    if le32(block, 8).unwrap_or_default() & BITMAP != 0 {
        let place = at.checked_add_signed(signed(96));
        let bytes = match place.filter(|place| *place < begin) {
            Some(place) => bitmap_bytes(source, place)?.unwrap_or(begin - place),
            None => SECTOR,
        };
        areas.push((place, bytes));
    }
    for (place, bytes) in areas {
        match place.and_then(|place| Some(place..place.checked_add(bytes)?)) {
            Some(area) if area.end <= begin => member.used.add(area),
            Some(_) | None => {
                member.doubt = Some("its bitmap or its list of bad blocks lies over its content".to_owned())
            }
        }
    }
    Ok(())
}

/// Length of the bitmap at a place: its superblock of 256 bytes, and one bit for each chunk. `None` when it does not say.
fn bitmap_bytes(source: &dyn Source, at: u64) -> Result<Option<u64>, Unread> {
    if at.checked_add(256).is_none_or(|end| end > source.bytes()) {
        return Ok(None);
    }
    let header = bytes_at(source, at, 256)?;
    let is_bitmap = le32(&header, 0) == Some(BITMAP_MAGIC);
    let sectors = le64(&header, 40).filter(|_| is_bitmap);
    let chunk = le32(&header, 52).filter(|chunk| chunk.is_power_of_two());
    let reserved = u64::from(le32(&header, 64).unwrap_or_default()) * SECTOR;
    // A cluster has several bitmaps behind each other.
    let is_one = le32(&header, 68) == Some(0);
    let bytes = sectors.zip(chunk).filter(|_| is_one).and_then(|(sectors, chunk)| {
        let bits = sectors.checked_mul(SECTOR)?.div_ceil(u64::from(chunk));
        Some(bits.div_ceil(8).checked_add(256)?.checked_next_multiple_of(4096)?.max(reserved))
    });
    Ok(bytes)
}

/// Why a member's content may not be what its array holds.
fn doubt(block: &[u8]) -> Option<&'static str> {
    let (features, level) = (le32(block, 8)?, le32(block, 72)?.cast_signed());
    if level != 1 {
        return Some("only a mirror's member holds a volume as it is");
    }
    if features & !BITMAP != 0 {
        return Some(
            "the array is being rebuilt or reshaped, has bad blocks, or a feature that is not known",
        );
    }
    if le64(block, 208)? != u64::MAX {
        return Some("the array was not in sync");
    }
    let number = usize::try_from(le32(block, 160)?).ok()?;
    let devices = usize::try_from(le32(block, 220)?).ok()?;
    let role = le16(block, number.checked_mul(2)?.checked_add(256)?).filter(|_| number < devices);
    match role {
        Some(role) if u32::from(role) < le32(block, 92)? => None,
        Some(_) | None => Some("it is a spare, a faulty member or a journal"),
    }
}

/// The sum over the superblock and its table of roles, without the sum itself.
fn checksum(block: &[u8]) -> Option<u32> {
    let devices = usize::try_from(le32(block, 220)?).ok()?;
    let summed = block.get(..devices.checked_mul(2)?.checked_add(256)?)?;
    let (words, rest) = summed.as_chunks::<4>();
    let sum = words.iter().map(|word| u64::from(u32::from_le_bytes(*word))).sum::<u64>();
    let rest = le16(rest, 0).map_or(0, u64::from);
    Some(fold(sum + rest - u64::from(le32(block, 216)?)))
}

/// The two halves of a sum, added; a carry is lost.
fn fold(sum: u64) -> u32 {
    let (high, low) = (sum >> 32, sum & u64::from(u32::MAX));
    u32::try_from((high + low) & u64::from(u32::MAX)).unwrap_or_default()
}

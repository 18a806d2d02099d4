//! Chunks: where stretches of the file system's address space lie on its devices.

use std::collections::BTreeMap;
use std::ops::Range;

use super::node::{KEY_BYTES, Key};
use super::superblock::Superblock;
use super::{Fields, Unread, doubtful};
use crate::Extents;

/// The kind of a chunk's key; its offset is the logical address.
pub(super) const ITEM: u8 = 228;

/// More than 100 TiB in chunks of the usual 1 GiB.
const CHUNKS_MAX: usize = 1 << 17;
const HEAD_BYTES: usize = 48;
const STRIPE_BYTES: usize = 32;

const DATA_SYSTEM_METADATA: u64 = 0b111;
const RAID0: u64 = 1 << 3;
const RAID1: u64 = 1 << 4;
const DUP: u64 = 1 << 5;
const RAID10: u64 = 1 << 6;
const RAID5: u64 = 1 << 7;
const RAID6: u64 = 1 << 8;
const RAID1C3: u64 = 1 << 9;
const RAID1C4: u64 = 1 << 10;

/// All chunks by logical address, disjoint.
#[derive(Debug, Clone, Default)]
pub(super) struct Chunks {
    chunks: BTreeMap<u64, Chunk>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Chunk {
    /// Of logical addresses.
    bytes: u64,
    lies: Lies,
}

/// What this device has of a chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Lies {
    /// All of it at each of these places; none for a chunk on other devices.
    Copies(Vec<u64>),
    /// Some of its pieces, and parity perhaps, spread over each of these.
    Pieces(Vec<Range<u64>>),
}

/// How the logical bytes of a chunk are laid over its stripes.
struct Profile {
    stripes: u16,
    /// How many stripes' worth of data it has; `None` when each stripe has it all.
    data_stripes: Option<u16>,
}

impl Chunks {
    /// Those that the superblock lists.
    pub(super) fn system(superblock: &Superblock) -> Result<Chunks, Unread> {
        let mut chunks = Chunks::default();
        let mut rest = superblock.system_chunks.as_slice();
        while !rest.is_empty() {
            let key = Key::parse(rest, 0)?;
            let item = rest.get(KEY_BYTES..).unwrap_or_default();
            let bytes = HEAD_BYTES + usize::from(Fields(item).le16(44)?) * STRIPE_BYTES;
            let (chunk, after) =
                item.split_at_checked(bytes).ok_or_else(|| doubtful("a system chunk is cut short"))?;
            if key.kind != ITEM {
                return Err(doubtful("its list of system chunks is damaged"));
            }
            chunks.add(superblock, key.offset, chunk)?;
            rest = after;
        }
        Ok(chunks)
    }

    /// Adds a chunk item; the same again is no error.
    pub(super) fn add(&mut self, superblock: &Superblock, logical: u64, item: &[u8]) -> Result<(), Unread> {
        let chunk = Chunk::parse(superblock, logical, item)?;
        if self.chunks.get(&logical) == Some(&chunk) {
            return Ok(());
        }
        let end = logical.saturating_add(chunk.bytes);
        let before = self.chunks.range(..end).next_back();
        if before.is_some_and(|(start, before)| start.saturating_add(before.bytes) > logical) {
            return Err(doubtful(format!("the chunk at {logical} overlaps another")));
        }
        if self.chunks.len() == CHUNKS_MAX {
            return Err(doubtful(format!("it has more than {CHUNKS_MAX} chunks")));
        }
        self.chunks.insert(logical, chunk);
        Ok(())
    }

    /// Whether a range lies in one chunk.
    pub(super) fn hold(&self, range: &Range<u64>) -> bool {
        self.at(range).is_some()
    }

    fn at(&self, range: &Range<u64>) -> Option<(u64, &Chunk)> {
        let (start, chunk) = self.chunks.range(..=range.start).next_back()?;
        (range.end <= start.saturating_add(chunk.bytes)).then_some((*start, chunk))
    }

    /// The places on this device that hold a range.
    pub(super) fn copies(&self, range: &Range<u64>) -> Result<Vec<u64>, Unread> {
        let at = range.start;
        let (start, chunk) = self.at(range).ok_or_else(|| doubtful(format!("{at} is in no chunk")))?;
        match &chunk.lies {
            Lies::Copies(places) if !places.is_empty() => {
                Ok(places.iter().map(|place| place.saturating_add(at - start)).collect())
            }
            Lies::Copies(_) | Lies::Pieces(_) => Err(doubtful("part of its metadata is on other devices")),
        }
    }

    /// Adds what a set of logical addresses uses of this device. A chunk of pieces counts as used from end to end.
    pub(super) fn place(&self, logical: &Extents, used: &mut Extents) -> Result<(), Unread> {
        let mut parts: Vec<(Range<u64>, Option<u64>)> = Vec::new();
        for (start, chunk) in &self.chunks {
            match &chunk.lies {
                Lies::Copies(places) => {
                    let part = |place: &u64| (*place..place.saturating_add(chunk.bytes), Some(*start));
                    parts.extend(places.iter().map(part));
                }
                Lies::Pieces(ranges) => parts.extend(ranges.iter().map(|range| (range.clone(), None))),
            }
        }
        // Ascending on the device, as the set likes it.
        parts.sort_unstable_by_key(|(range, _)| range.start);
        let mut end = 0;
        for (range, start) in parts {
            if range.start < end {
                return Err(doubtful(format!("two chunks lie at {} of the device", range.start)));
            }
            end = range.end;
            let Some(start) = start else {
                used.add(range);
                continue;
            };
            let window = start..start.saturating_add(range.end - range.start);
            for extent in logical.within(window) {
                used.add(extent.start - start + range.start..extent.end - start + range.start);
            }
        }
        Ok(())
    }
}

impl Chunk {
    fn parse(superblock: &Superblock, logical: u64, item: &[u8]) -> Result<Chunk, Unread> {
        let bytes = Fields(item).le64(0)?;
        let count = Fields(item).le16(44)?;
        let is_aligned = (bytes | logical).is_multiple_of(u64::from(superblock.sector_bytes));
        let is_whole = item.len() == HEAD_BYTES + usize::from(count) * STRIPE_BYTES;
        if bytes == 0 || !is_aligned || !is_whole || logical.checked_add(bytes).is_none() {
            return Err(doubtful(format!("the chunk at {logical} is damaged")));
        }
        let profile = Profile::new(Fields(item).le64(24)?, count, Fields(item).le16(46)?)
            .filter(|profile| profile.stripes == count)
            .ok_or_else(|| doubtful(format!("the chunk at {logical} is of an unknown kind")))?;
        let stripe_bytes = profile.data_stripes.map_or(bytes, |stripes| bytes.div_ceil(u64::from(stripes)));
        let stripes = stripes_here(superblock, item.get(HEAD_BYTES..).unwrap_or_default(), stripe_bytes)?;
        if stripes.is_empty() && superblock.devices == 1 {
            return Err(doubtful(format!("the chunk at {logical} is on no device")));
        }
        let lies = match profile.data_stripes {
            None => Lies::Copies(stripes.into_iter().map(|stripe| stripe.start).collect()),
            Some(_) => Lies::Pieces(stripes),
        };
        Ok(Chunk { bytes, lies })
    }
}

/// The stripes on this device.
fn stripes_here(superblock: &Superblock, stripes: &[u8], bytes: u64) -> Result<Vec<Range<u64>>, Unread> {
    let mut here = Vec::new();
    for stripe in stripes.chunks_exact(STRIPE_BYTES) {
        if Fields(stripe).le64(0)? != superblock.device {
            continue;
        }
        let start = Fields(stripe).le64(8)?;
        let end = start.checked_add(bytes).filter(|end| *end <= superblock.device_bytes);
        let end = end.ok_or_else(|| doubtful(format!("a chunk at {start} is not within the device")))?;
        if Fields(stripe).array(16)? != superblock.device_uuid || here.len() == 2 {
            return Err(doubtful("its chunks and its devices do not fit together"));
        }
        here.push(start..end);
    }
    Ok(here)
}

impl Profile {
    fn new(kind: u64, count: u16, sub_stripes: u16) -> Option<Profile> {
        let copies = |stripes| Profile { stripes, data_stripes: None };
        let pieces = |data_stripes: u16| {
            (data_stripes > 0).then_some(Profile { stripes: count, data_stripes: Some(data_stripes) })
        };
        match kind & !DATA_SYSTEM_METADATA {
            0 => Some(copies(1)),
            DUP | RAID1 => Some(copies(2)),
            RAID1C3 => Some(copies(3)),
            RAID1C4 => Some(copies(4)),
            RAID0 if count == 1 => Some(copies(1)),
            RAID0 => pieces(count),
            RAID10 => pieces(count.checked_div(sub_stripes)?),
            RAID5 => pieces(count.checked_sub(1)?),
            RAID6 => pieces(count.checked_sub(2)?),
            _ => None,
        }
    }
}

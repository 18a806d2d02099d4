//! What a group's description says about one of its physical volumes.

use std::collections::BTreeSet;
use std::ops::Range;

use super::text::{Section, Value};

/// 512-byte sectors, in which descriptions count whatever the disk has.
const SECTOR: u64 = 512;
/// More stripes than LVM makes.
const STRIPES_MAX: usize = 128;

/// A group, seen from one physical volume.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: String,
    /// The logical volumes that have extents here.
    pub(super) volumes: Vec<Logical>,
}

/// A logical volume.
#[derive(Debug)]
pub(super) struct Logical {
    pub(super) name: String,
    pub(super) bytes: u64,
    pub(super) extents: Held,
}

/// The extents of a logical volume on this physical volume.
#[derive(Debug)]
pub(super) enum Held {
    /// All of it lies here in plain segments, ascending and without gaps.
    Plain(Vec<Segment>),
    /// It can't be read through: why, and all bytes that it has here, some perhaps told too many.
    Whole(String, Vec<Range<u64>>),
}

/// A stretch of a logical volume: its bytes go round the stripes, `stripe` bytes on each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// First byte in the logical volume.
    pub(super) first: u64,
    pub(super) bytes: u64,
    /// Bytes on one stripe before the next; all of the segment where there is one.
    pub(super) stripe: u64,
    /// Where each begins in the physical volume; at least one.
    pub(super) places: Vec<u64>,
}

impl Segment {
    /// Where its stripes lie on the disk.
    pub(super) fn disk(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let each = self.bytes / self.places.len() as u64;
        self.places.iter().map(move |place| *place..place + each)
    }

    /// The stretch of each stripe on which these bytes of the segment lie. Of several stripes, whole rounds: some hundred
    /// KiB too much.
    pub(super) fn rows(&self, range: Range<u64>) -> Range<u64> {
        if self.places.len() == 1 {
            return range;
        }
        let round = self.stripe * self.places.len() as u64;
        range.start / round * self.stripe..range.end.div_ceil(round) * self.stripe
    }

    /// Where a byte of the segment lies on the disk, and how many of its bytes follow there, itself included.
    pub(super) fn piece(&self, at: u64) -> Option<(u64, u64)> {
        let count = self.places.len() as u64;
        let (stripe, within) = (at / self.stripe, at % self.stripe);
        let place = self.places.get(usize::try_from(stripe % count).ok()?)?;
        Some((place + stripe / count * self.stripe + within, self.stripe - within))
    }
}

/// Number of the description; higher is newer.
pub(super) fn number(text: &str) -> Option<u64> {
    group(&Section::parse(text).ok()?)?.1.number("seqno")
}

/// The one section that is a group.
fn group<'a, 'b>(all: &'b Section<'a>) -> Option<(&'a str, &'b Section<'a>)> {
    let mut groups = all.sections().filter(|(_, section)| section.section("physical_volumes").is_some());
    groups.next().filter(|_| groups.next().is_none())
}

/// Parses the description, for the physical volume with this UUID and length. The error says what is wrong.
pub(super) fn parse(text: &str, uuid: &str, bytes: u64) -> Result<Group, String> {
    let all = Section::parse(text)?;
    let (name, group) = group(&all).ok_or("it describes no group, or two")?;
    for status in group.list("status").iter().filter_map(Value::as_text) {
        if matches!(status, "EXPORTED" | "PVMOVE" | "PARTIAL") {
            return Err(format!("the group is {}", status.to_ascii_lowercase()));
        }
    }
    let disk = Disk::find(group, uuid, bytes)?;
    let none = Section::default();
    let volumes = group.section("logical_volumes").unwrap_or(&none);
    let built_upon = built_upon(volumes);
    let mut held: Vec<Logical> = Vec::new();
    for (name, volume) in volumes.sections() {
        let is_moving = volume.list("status").iter().filter_map(Value::as_text).any(|word| word == "PVMOVE");
        if is_moving {
            return Err("extents are being moved to another disk".to_owned());
        }
        held.extend(disk.logical(name, volume, built_upon.contains(name))?);
    }
    if overlaps(&held) {
        return Err("volumes lie over each other".to_owned());
    }
    Ok(Group { name: name.to_owned(), volumes: held })
}

/// Whether an extent belongs to two volumes, or twice to one.
fn overlaps(volumes: &[Logical]) -> bool {
    let segments = volumes.iter().flat_map(|volume| match &volume.extents {
        Held::Plain(segments) => segments.as_slice(),
        Held::Whole(..) => &[],
    });
    let mut ranges = segments.flat_map(Segment::disk).collect::<Vec<_>>();
    ranges.sort_by_key(|range| range.start);
    ranges.iter().zip(ranges.iter().skip(1)).any(|(one, next)| next.start < one.end)
}

/// Names that segments mention: the volumes of a mirror, the origin of a snapshot, the data of a pool.
fn built_upon<'a>(volumes: &Section<'a>) -> BTreeSet<&'a str> {
    let segments = volumes.sections().flat_map(|(_, volume)| volume.sections());
    let values = segments.flat_map(|(_, segment)| segment.values()).filter(|(name, _)| *name != "type");
    values.flat_map(|(_, values)| values).filter_map(Value::as_text).collect()
}

/// The physical volume as its group has it.
struct Disk<'a> {
    /// Its name in segments: `pv0`.
    key: &'a str,
    extent: u64,
    /// First byte of its first extent.
    start: u64,
    count: u64,
}

impl<'a> Disk<'a> {
    fn find(group: &Section<'a>, uuid: &str, bytes: u64) -> Result<Disk<'a>, String> {
        let is_it = |section: &Section<'_>| {
            section.text("id").is_some_and(|id| id.bytes().filter(|b| *b != b'-').eq(uuid.bytes()))
        };
        let mut all = group.section("physical_volumes").into_iter().flat_map(Section::sections);
        let (key, disk) =
            all.find(|(_, section)| is_it(section)).ok_or("the group does not know this disk")?;
        let words =
            ["status", "flags"].into_iter().flat_map(|name| disk.list(name)).filter_map(Value::as_text);
        if let Some(word) = words.into_iter().find(|word| matches!(*word, "MISSING" | "EXPORTED")) {
            return Err(format!("the group has this disk as {}", word.to_ascii_lowercase()));
        }
        let sectors = |section: &Section<'_>, name| section.number(name).and_then(|n| n.checked_mul(SECTOR));
        let extent =
            sectors(group, "extent_size").filter(|bytes| *bytes > 0).ok_or("extents have no size")?;
        let start = sectors(disk, "pe_start").ok_or("the disk's extents begin nowhere")?;
        let count = disk.number("pe_count").ok_or("the disk has no number of extents")?;
        let end = count.checked_mul(extent).and_then(|bytes| bytes.checked_add(start));
        match end {
            Some(end) if end <= bytes => Ok(Disk { key, extent, start, count }),
            Some(_) | None => Err("its extents lie beyond the disk".to_owned()),
        }
    }

    /// A logical volume; `None` when nothing of it lies here.
    fn logical(
        &self,
        name: &str,
        volume: &Section<'_>,
        is_built_upon: bool,
    ) -> Result<Option<Logical>, String> {
        let wrong = |what: &str| format!("volume {name}: {what}");
        let count = volume.number("segment_count").ok_or_else(|| wrong("its segments are not counted"))?;
        let mut segments = Vec::new();
        for (_, segment) in volume.sections().filter(|(key, _)| key.starts_with("segment")) {
            let first = segment.number("start_extent").and_then(|extent| extent.checked_mul(self.extent));
            let bytes = segment.number("extent_count").and_then(|extents| extents.checked_mul(self.extent));
            let (first, bytes) = first.zip(bytes).ok_or_else(|| wrong("a segment has no place"))?;
            segments.push((first, bytes, segment));
        }
        segments.sort_by_key(|(first, _, _)| *first);
        let end = segments.iter().try_fold(
            0_u64,
            |end, (first, bytes, _)| {
                if *first == end { end.checked_add(*bytes) } else { None }
            },
        );
        let bytes = end.filter(|_| u64::try_from(segments.len()) == Ok(count));
        let bytes = bytes.ok_or_else(|| wrong("its segments do not follow each other"))?;
        let mut ranges = Vec::new();
        for (_, bytes, segment) in &segments {
            self.held(*bytes, segment, &mut ranges)
                .ok_or_else(|| wrong("it lies beyond the disk's extents"))?;
        }
        if ranges.is_empty() {
            return Ok(None);
        }
        let plain = segments.iter().map(|(first, bytes, segment)| self.plain(*first, *bytes, segment));
        let extents = match (unusual(volume, is_built_upon), plain.collect::<Result<_, _>>()) {
            (None, Ok(plain)) => Held::Plain(plain),
            (Some(why), _) | (None, Err(why)) => Held::Whole(why, ranges),
        };
        Ok(Some(Logical { name: name.to_owned(), bytes, extents }))
    }

    /// The bytes here that a segment of any type has: a list of it names this disk, and an extent.
    fn held(&self, bytes: u64, segment: &Section<'_>, ranges: &mut Vec<Range<u64>>) -> Option<()> {
        // All stripes are of one length. Areas of other types are at most as long as the segment.
        let is_striped = segment.text("type") == Some("striped");
        let stripes = segment.number("stripe_count").filter(|_| is_striped);
        let listed = u64::try_from(segment.list("stripes").len() / 2).unwrap_or(u64::MAX);
        let bytes = match stripes {
            Some(count) if count == listed && count > 0 => bytes.div_ceil(count),
            Some(_) | None => bytes,
        };
        for (_, values) in segment.values() {
            let pairs = values.iter().zip(values.iter().skip(1));
            for (_, place) in pairs.filter(|(name, _)| name.as_text() == Some(self.key)) {
                let Some(extent) = place.as_number() else { continue };
                let begin = self.place(extent)?;
                let limit = self.place(self.count)?;
                if begin >= limit && bytes > 0 {
                    return None;
                }
                ranges.push(begin..begin.checked_add(bytes)?.min(limit));
            }
        }
        Some(())
    }

    /// Where an extent begins.
    fn place(&self, extent: u64) -> Option<u64> {
        (extent <= self.count).then(|| self.start + extent * self.extent)
    }

    /// A segment that can be read through; else why not.
    fn plain(&self, first: u64, bytes: u64, segment: &Section<'_>) -> Result<Segment, String> {
        let kind = segment.text("type").unwrap_or("of no type");
        if !matches!(kind, "striped" | "linear") {
            return Err(format!("it has a segment of type {}", short(kind)));
        }
        let count = segment.number("stripe_count").and_then(|count| usize::try_from(count).ok()).unwrap_or(0);
        let list = segment.list("stripes");
        if count == 0 || count > STRIPES_MAX || list.len() != count * 2 || bytes == 0 {
            return Err("its stripes make no sense".to_owned());
        }
        let mut places = Vec::new();
        let each = bytes / u64::try_from(count).unwrap_or(u64::MAX);
        for (name, extent) in list.iter().step_by(2).zip(list.iter().skip(1).step_by(2)) {
            if name.as_text() != Some(self.key) {
                return Err("it lies on other disks too".to_owned());
            }
            let place = extent.as_number().and_then(|extent| self.place(extent));
            let end = place.and_then(|place| place.checked_add(each));
            let is_here = end.is_some_and(|end| self.place(self.count).is_some_and(|limit| end <= limit));
            places.push(place.filter(|_| is_here).ok_or("it lies beyond the disk's extents")?);
        }
        let stripe = match count {
            1 => bytes,
            _ => segment.number("stripe_size").and_then(|sectors| sectors.checked_mul(SECTOR)).unwrap_or(0),
        };
        if stripe == 0 || !each.is_multiple_of(stripe) || each.checked_mul(count as u64) != Some(bytes) {
            return Err("its stripes make no sense".to_owned());
        }
        Ok(Segment { first, bytes, stripe, places })
    }
}

/// Why a volume is more than a stretch of the disk that someone mounts.
fn unusual(volume: &Section<'_>, is_built_upon: bool) -> Option<String> {
    if is_built_upon {
        return Some("other volumes are built upon it".to_owned());
    }
    let words = volume.list("status").iter().filter_map(Value::as_text).collect::<Vec<_>>();
    let usual = ["READ", "WRITE", "VISIBLE", "FIXED_MINOR"];
    if let Some(word) = words.iter().find(|word| !usual.contains(word)) {
        return Some(format!("it is {}", short(&word.to_ascii_lowercase())));
    }
    if let Some(word) = volume.list("flags").iter().filter_map(Value::as_text).find(|word| !is_harmless(word))
    {
        return Some(format!("it has the flag {}", short(word)));
    }
    (!words.contains(&"VISIBLE")).then(|| "it is internal to the group".to_owned())
}

/// Flags about activation, not about where bytes are.
fn is_harmless(flag: &str) -> bool {
    matches!(flag, "ACTIVATION_SKIP" | "NOAUTOACTIVATE")
}

fn short(text: &str) -> String {
    text.chars().take(32).map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

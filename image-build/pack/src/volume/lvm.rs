//! A physical volume of LVM2.
//!
//! The label and the metadata areas are used as a whole. Logical volumes that lie in plain segments on this disk are read
//! like any other volume; of all others every extent counts. Extents of no logical volume are free.

use std::io;

use self::group::{Group, Held, Logical, Segment};
use self::label::Label;
use super::{Inner, Name, Unread, Volume, doubtful};
use crate::{Extents, Source};

mod group;
mod label;
mod text;

/// As blkid names it.
const KIND: &str = "LVM2_member";
/// LVM allows 127 letters.
const NAME_MAX: usize = 127;

pub(super) fn read(source: &dyn Source, depth: u8) -> Result<Volume, Unread> {
    let label = match label::find(source) {
        Ok(label) => label,
        Err(why) => return Name { kind: KIND, ..Name::default() }.with(Err(why), source),
    };
    let name = Name { kind: KIND, uuid: spelled(&label.uuid), label: String::new() };
    let group = match group(source, &label) {
        Ok(group) => group,
        Err(why) => return name.with(Err(why), source),
    };
    let mut volume = name.with(Ok(label.used), source)?;
    let Some(group) = group else { return Ok(volume) };
    volume.label = group.name.chars().take(NAME_MAX).collect();
    volume.inside =
        group.volumes.iter().map(|logical| look(source, logical, depth)).collect::<io::Result<_>>()?;
    spread(&group.volumes, &volume.inside, &mut volume.used);
    Ok(volume)
}

/// The group that it belongs to, if it does to any.
fn group(source: &dyn Source, label: &Label) -> Result<Option<Group>, Unread> {
    let number = |text: &str| group::number(text).ok_or_else(|| doubtful("a description makes no sense"));
    let Some(description) = label.description(source, number)? else { return Ok(None) };
    let group = group::parse(&description, &label.uuid, source.bytes());
    group.map(Some).map_err(|why| doubtful(format!("the description of its volume group: {why}")))
}

/// Looks into a logical volume.
fn look(source: &dyn Source, logical: &Logical, depth: u8) -> io::Result<Inner> {
    let name = logical.name.chars().take(NAME_MAX).collect();
    let bytes = logical.bytes;
    let volume = match &logical.extents {
        Held::Whole(why, _) => Volume::raw(bytes, Some(why.clone())),
        Held::Plain(segments) => match depth.checked_sub(1) {
            Some(depth) => super::read_at_depth(&Content { of: source, bytes, segments }, depth)?,
            None => Volume::raw(bytes, None),
        },
    };
    Ok(Inner { name, bytes, volume })
}

/// Adds where on the disk the logical volumes' used bytes lie. In the order of the disk: a set grows at its end for nothing.
fn spread(volumes: &[Logical], inside: &[Inner], used: &mut Extents) {
    let mut pieces = Vec::new();
    for (volume, inner) in volumes.iter().zip(inside) {
        match &volume.extents {
            Held::Whole(_, ranges) => pieces.extend(ranges.iter().map(|range| (range.clone(), None))),
            Held::Plain(segments) => {
                for segment in segments {
                    pieces.extend(segment.disk().map(|range| (range, Some((segment, &inner.volume.used)))));
                }
            }
        }
    }
    pieces.sort_by_key(|(range, _)| range.start);
    for (place, content) in pieces {
        let Some((segment, content)) = content else {
            used.add(place);
            continue;
        };
        for range in content.within(segment.first..segment.first + segment.bytes) {
            let rows = segment.rows(range.start - segment.first..range.end - segment.first);
            used.add(place.start + rows.start..place.start + rows.end);
        }
    }
}

/// A logical volume as a source.
struct Content<'a> {
    of: &'a dyn Source,
    bytes: u64,
    segments: &'a [Segment],
}

impl Source for Content<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        crate::source::within(self.bytes, offset, out.len())?;
        let (mut at, mut rest) = (offset, out);
        while !rest.is_empty() {
            let number = self.segments.partition_point(|segment| segment.first + segment.bytes <= at);
            let segment = self.segments.get(number).ok_or(io::ErrorKind::UnexpectedEof)?;
            let (place, run) = segment.piece(at - segment.first).ok_or(io::ErrorKind::UnexpectedEof)?;
            let length = usize::try_from(run).unwrap_or(usize::MAX).min(rest.len());
            let (now, later) = rest.split_at_mut(length);
            self.of.read_at(place, now)?;
            (at, rest) = (at + length as u64, later);
        }
        Ok(())
    }
}

/// A UUID as LVM's tools write it: groups of 6, 4, 4, 4, 4, 4 and 6 letters.
fn spelled(uuid: &str) -> String {
    let mut spelled = String::new();
    for (at, letter) in uuid.chars().enumerate() {
        if matches!(at, 6 | 10 | 14 | 18 | 22 | 26) {
            spelled.push('-');
        }
        spelled.push(letter);
    }
    spelled
}

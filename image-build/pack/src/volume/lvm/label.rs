//! The label of a physical volume and its metadata areas, which hold the group's description.
//!
//! Written after the description of the format in libvslvm's documentation, and checked against lvm2.

use std::io;

use super::{Unread, doubtful};
use crate::checksum::crc32_lvm2 as checksum;
use crate::field::{array, le32, le64};
use crate::source::read;
use crate::{Extents, Source};

const SECTOR: u64 = 512;
/// The label is in one of the first four sectors.
const LABEL_SECTORS: u64 = 4;
/// A description of ten thousand volumes is shorter.
const TEXT_MAX: u64 = 4 << 20;
/// LVM's tools write at most two metadata areas and one area for a boot loader on a volume.
const AREAS_MAX: usize = 8;
/// Bytes of the header of a metadata area; its ring of text follows.
const AREA_HEADER: u64 = 512;

/// What the label says.
#[derive(Debug)]
pub(super) struct Label {
    /// 32 letters.
    pub(super) uuid: String,
    /// The label's sectors, metadata areas, and the boot loader's area.
    pub(super) used: Extents,
    metadata: Vec<Area>,
    /// Whether it belongs to a group, as far as the label says it.
    in_use: Option<bool>,
}

#[derive(Debug, Clone, Copy)]
struct Area {
    offset: u64,
    bytes: u64,
}

/// Finds the label.
pub(super) fn find(source: &dyn Source) -> Result<Label, Unread> {
    let length = source.bytes().min(LABEL_SECTORS * SECTOR);
    let head = read(source, 0, usize::try_from(length).map_err(io::Error::other)?)?;
    let mut sectors = head.chunks_exact(512).zip(0_u64..);
    let is_label =
        |sector: &[u8]| array(sector, 0) == Some(*b"LABELONE") && array(sector, 24) == Some(*b"LVM2 001");
    let Some((sector, number)) = sectors.find(|(sector, _)| is_label(sector)) else {
        return Err(Unread::Other);
    };
    let doubt = |why: &str| doubtful(format!("the label of the physical volume {why}"));
    let summed = sector.get(20..).unwrap_or_default();
    if le64(sector, 8) != Some(number) || le32(sector, 16) != Some(checksum(summed)) {
        return Err(doubt("is damaged"));
    }
    let header = le32(sector, 20).and_then(|at| usize::try_from(at).ok());
    let header = header.and_then(|at| sector.get(at..)).ok_or_else(|| doubt("lies beyond its sector"))?;
    parse(header, source.bytes()).ok_or_else(|| doubt("makes no sense"))
}

/// Parses the physical volume's header: UUID, size, three lists of areas.
fn parse(header: &[u8], bytes: u64) -> Option<Label> {
    let uuid = array::<32>(header, 0)?;
    let uuid =
        std::str::from_utf8(&uuid).ok().filter(|uuid| uuid.bytes().all(|b| b.is_ascii_graphic()))?.to_owned();
    let mut at = 40;
    let data = areas(header, &mut at)?;
    let metadata = areas(header, &mut at)?;
    // An extension of version 0 is none: labels of old tools end here, in zeros.
    let version = le32(header, at).unwrap_or(0);
    let flags = le32(header, at.checked_add(4)?).unwrap_or(0);
    at = at.checked_add(8)?;
    let boot = if version > 0 { areas(header, &mut at)? } else { Vec::new() };
    let mut used = Extents::all((LABEL_SECTORS * SECTOR).min(bytes));
    for area in metadata.iter().chain(&boot) {
        let end = area.offset.checked_add(area.bytes).filter(|end| *end <= bytes)?;
        used.add(area.offset..end);
    }
    data.iter().all(|area| area.offset <= bytes).then_some(())?;
    let in_use = (version >= 2).then_some(flags & 1 != 0);
    Some(Label { uuid, used, metadata, in_use })
}

/// A list of areas that ends with an offset of 0.
fn areas(header: &[u8], at: &mut usize) -> Option<Vec<Area>> {
    let mut areas = Vec::new();
    loop {
        let (offset, bytes) = (le64(header, *at)?, le64(header, at.checked_add(8)?)?);
        *at = at.checked_add(16)?;
        if offset == 0 {
            return Some(areas);
        }
        if areas.len() == AREAS_MAX {
            return None;
        }
        areas.push(Area { offset, bytes });
    }
}

impl Label {
    /// The newest description of the group, as `parse_number` tells its number; `None` for a volume of no group.
    pub(super) fn description(
        &self,
        source: &dyn Source,
        parse_number: impl Fn(&str) -> Result<u64, Unread>,
    ) -> Result<Option<String>, Unread> {
        let mut newest: Option<(u64, String)> = None;
        for area in &self.metadata {
            let Some(text) = text(source, *area)? else { continue };
            let number = parse_number(&text)?;
            if newest.as_ref().is_none_or(|(kept, _)| number > *kept) {
                newest = Some((number, text));
            }
        }
        let is_elsewhere = match self.in_use {
            Some(in_use) => in_use,
            // Old tools do not say it; a volume of its own has a metadata area.
            None => self.metadata.is_empty(),
        };
        if newest.is_none() && is_elsewhere {
            return Err(doubtful("the description of its volume group is on other disks"));
        }
        Ok(newest.map(|(_, text)| text))
    }
}

/// The text in a metadata area; `None` when the area is empty or said to be ignored.
fn text(source: &dyn Source, area: Area) -> Result<Option<String>, Unread> {
    let doubt = |why: &str| doubtful(format!("a metadata area {why}"));
    if area.bytes <= AREA_HEADER {
        return Err(doubt("is too short"));
    }
    let header = read(source, area.offset, 512)?;
    if array(&header, 4) != Some(*b" LVM2 x[5A%r0N*>") || le32(&header, 20) != Some(1) {
        return Err(doubt("has no header"));
    }
    if le32(&header, 0) != Some(checksum(header.get(4..).unwrap_or_default())) {
        return Err(doubt("is damaged"));
    }
    let field = |at| le64(&header, at).unwrap_or_default();
    if (field(24), field(32)) != (area.offset, area.bytes) {
        return Err(doubt("has another place"));
    }
    let (offset, bytes) = (field(40), field(48));
    let sum_flags = (le32(&header, 56).unwrap_or_default(), le32(&header, 60).unwrap_or_default());
    let (sum, flags) = sum_flags;
    // Ignored: the group keeps its description on other disks.
    if flags & 1 != 0 || offset == 0 {
        return Ok(None);
    }
    // The second place is filled between the two halves of a change.
    if field(64) != 0 {
        return Err(doubt("holds a change that was not finished"));
    }
    let ring = area.bytes - AREA_HEADER;
    if offset < AREA_HEADER || offset >= area.bytes || bytes == 0 || bytes > ring.min(TEXT_MAX) {
        return Err(doubt("names an impossible place"));
    }
    let until_end = bytes.min(area.bytes - offset);
    let length = |bytes: u64| usize::try_from(bytes).map_err(io::Error::other);
    let mut raw = read(source, area.offset + offset, length(until_end)?)?;
    raw.extend(read(source, area.offset + AREA_HEADER, length(bytes - until_end)?)?);
    if checksum(&raw) != sum {
        return Err(doubt("has a damaged description"));
    }
    Ok(Some(String::from_utf8_lossy(&raw).into_owned()))
}

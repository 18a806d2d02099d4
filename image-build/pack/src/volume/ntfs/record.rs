//! A record of the master file table, and the attributes in it.

use super::runs::{Run, runs};
use crate::field::{byte, le16, le32, le64};

/// Types of attributes.
pub(super) const VOLUME_NAME: u32 = 0x60;
pub(super) const VOLUME_INFORMATION: u32 = 0x70;
pub(super) const DATA: u32 = 0x80;
const END: u32 = u32::MAX;

/// Bytes that one number of the update sequence protects, whatever the sector size.
const STRIDE: usize = 512;

/// The content of an attribute.
#[derive(Debug)]
pub(super) enum Content {
    /// Within the record.
    Resident(Vec<u8>),
    /// In clusters of the volume.
    Clusters(Stream),
}

/// Content in clusters of the volume.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) runs: Vec<Run>,
    /// How many bytes of it are written; the runs have at least as many.
    pub(super) bytes: u64,
}

/// Puts the ends of the sectors back that were replaced when a structure was written; `None` when one of them does not
/// have the number of that write: it was written in part.
pub(super) fn fix(mut bytes: Vec<u8>, magic: [u8; 4]) -> Option<Vec<u8>> {
    if !bytes.starts_with(&magic) {
        return None;
    }
    let at = usize::from(le16(&bytes, 4)?);
    let count = usize::from(le16(&bytes, 6)?);
    if !bytes.len().is_multiple_of(STRIDE) || count != bytes.len() / STRIDE + 1 || !at.is_multiple_of(2) {
        return None;
    }
    let sequence = bytes.get(at..at.checked_add(count * 2)?)?.to_vec();
    let (number, ends) = sequence.split_first_chunk::<2>()?;
    for (sector, end) in bytes.chunks_mut(STRIDE).zip(ends.as_chunks::<2>().0) {
        let place = sector.last_chunk_mut::<2>()?;
        if place != number {
            return None;
        }
        *place = *end;
    }
    Some(bytes)
}

/// The first attribute of a type without a name, in a record whose sectors are fixed. `Ok(None)` when there is none.
///
/// # Errors
/// `Err` says what makes no sense.
pub(super) fn attribute(
    record: &[u8],
    kind: u32,
    clusters: u64,
    cluster_bytes: u64,
) -> Result<Option<Content>, &'static str> {
    let Some(body) = find(record, kind).ok_or("a record's attributes make no sense")? else {
        return Ok(None);
    };
    let content = match byte(body, 8) {
        Some(0) => resident(body).map(Content::Resident),
        Some(_) => stream(body, clusters, cluster_bytes).map(Content::Clusters),
        None => None,
    };
    content.map(Some).ok_or("an attribute's content makes no sense")
}

/// `Some(None)` when the record has no such attribute, `None` when its attributes make no sense.
fn find(record: &[u8], kind: u32) -> Option<Option<&[u8]>> {
    let (flags, base) = (le16(record, 22)?, le64(record, 32)?);
    let end = usize::try_from(le32(record, 24)?).ok()?;
    // In use, and not a continuation of another record.
    if flags & 1 == 0 || base != 0 {
        return None;
    }
    let mut rest = record.get(usize::from(le16(record, 20)?)..end)?;
    loop {
        let this = le32(rest, 0)?;
        if this == END {
            return Some(None);
        }
        // An attribute is at least as long as the header of a resident one: every step goes on.
        let length = usize::try_from(le32(rest, 4)?).ok().filter(|length| *length >= 24)?;
        let (attribute, after) = rest.split_at_checked(length)?;
        if this == kind && byte(attribute, 9)? == 0 {
            return Some(Some(attribute));
        }
        rest = after;
    }
}

fn resident(attribute: &[u8]) -> Option<Vec<u8>> {
    let length = usize::try_from(le32(attribute, 16)?).ok()?;
    let at = usize::from(le16(attribute, 20)?);
    Some(attribute.get(at..at.checked_add(length)?)?.to_vec())
}

/// Sparse, compressed and encrypted content is refused. What is not written, and what goes on in another record, does not
/// count as content.
fn stream(attribute: &[u8], clusters: u64, cluster_bytes: u64) -> Option<Stream> {
    let (flags, first, last) = (le16(attribute, 12)?, le64(attribute, 16)?, le64(attribute, 24)?);
    let (bytes, initialized) = (le64(attribute, 48)?, le64(attribute, 56)?);
    let runs = runs(attribute.get(usize::from(le16(attribute, 32)?)..)?, clusters)?;
    let total = runs.iter().try_fold(0_u64, |sum, run| sum.checked_add(run.clusters))?;
    if flags != 0 || first != 0 || total != last.checked_add(1)? {
        return None;
    }
    Some(Stream { runs, bytes: bytes.min(initialized).min(total.saturating_mul(cluster_bytes)) })
}

//! Where the logical volumes of one disk lie. LVM's own tool says so; without a device mapper, a volume that lies in one
//! piece can be looked into nevertheless.

use std::ops::Range;
use std::path::Path;

use serde::Deserialize;

use crate::tools::{Call, ToolError};

/// blkid's name of a physical volume.
pub const KIND: &str = "LVM2_member";
/// The most volumes that are looked at.
const VOLUMES_MAX: usize = 256;

/// Why LVM's volumes are not known.
#[derive(Debug, thiserror::Error)]
pub enum LvmError {
    /// Its tool failed, or is not installed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// Its answer makes no sense.
    #[error("reading what lvs said: {0}")]
    Parse(#[from] serde_json::Error),
}

/// One logical volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logical {
    /// Its volume group.
    pub group: String,
    /// Its name there.
    pub name: String,
    /// Its bytes, counted from the start of the physical volume, when it lies in one piece.
    pub place: Option<Range<u64>>,
}

#[derive(Deserialize)]
struct Answer {
    report: Vec<Report>,
}

#[derive(Deserialize)]
struct Report {
    seg: Vec<Segment>,
}

#[derive(Deserialize)]
struct Segment {
    vg_name: String,
    lv_name: String,
    segtype: String,
    vg_extent_size: String,
    pe_start: String,
    seg_pe_ranges: String,
}

/// The logical volumes of the group that this physical volume belongs to.
///
/// # Errors
/// When LVM's tool is not installed, or can't make sense of the volume.
pub fn volumes(device: &Path) -> Result<Vec<Logical>, LvmError> {
    let columns = "vg_name,lv_name,segtype,vg_extent_size,pe_start,seg_pe_ranges";
    let call = Call::new("lvm").args(["lvs", "--readonly", "--driverloaded", "n", "--segments", "--devices"]);
    let call =
        call.arg(device).args(["--units", "b", "--nosuffix", "--reportformat", "json", "--options", columns]);
    // Our own descriptors are closed on exec; those of whoever started us may not be.
    let said = call.env("LVM_SUPPRESS_FD_WARNINGS", "1").run()?;
    Ok(parse(&said, &device.display().to_string())?)
}

fn parse(said: &[u8], device: &str) -> Result<Vec<Logical>, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(said)?;
    let mut volumes: Vec<Logical> = Vec::new();
    for segment in answer.report.into_iter().flat_map(|report| report.seg).take(VOLUMES_MAX) {
        let known =
            volumes.iter_mut().find(|one| one.group == segment.vg_name && one.name == segment.lv_name);
        match known {
            // A second piece, wherever it lies.
            Some(volume) => volume.place = None,
            None => {
                let place = place(&segment, device);
                volumes.push(Logical { group: segment.vg_name, name: segment.lv_name, place });
            }
        }
    }
    Ok(volumes)
}

/// `/dev/loop0:0-24` is the first 25 extents.
fn place(segment: &Segment, device: &str) -> Option<Range<u64>> {
    let extents = segment.seg_pe_ranges.strip_prefix(device)?.strip_prefix(':')?;
    let (first, last) = extents.split_once('-')?;
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let (bytes, start): (u64, u64) = (segment.vg_extent_size.parse().ok()?, segment.pe_start.parse().ok()?);
    let at = |extent: u64| extent.checked_mul(bytes)?.checked_add(start);
    let place = at(first)?..at(last.checked_add(1)?)?;
    (segment.segtype == "linear" && !place.is_empty()).then_some(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_one_piece_has_a_place() {
        let segment = |name: &str, kind: &str, ranges: &str| {
            format!(
                "{{\"vg_name\":\"vg\",\"lv_name\":\"{name}\",\"segtype\":\"{kind}\",\"vg_extent_size\":\"4194304\",\
                 \"pe_start\":\"1048576\",\"seg_pe_ranges\":\"{ranges}\"}}"
            )
        };
        let segments = [
            segment("root", "linear", "/dev/loop0:0-24"),
            segment("two", "linear", "/dev/loop0:25-25"),
            segment("two", "linear", "/dev/loop0:30-30"),
            segment("mirror", "raid1", "mirror_rimage_0:0-9"),
            segment("other", "linear", "/dev/sdb:0-9"),
            segment("huge", "linear", "/dev/loop0:0-18446744073709551615"),
        ];
        let said = format!("{{\"report\":[{{\"seg\":[{}]}}]}}", segments.join(","));
        let places: Vec<_> = parse(said.as_bytes(), "/dev/loop0")
            .unwrap()
            .into_iter()
            .map(|one| (one.name, one.place))
            .collect();
        assert_eq!(places.len(), 5);
        assert_eq!(places[0], ("root".to_owned(), Some(1 << 20..(1 << 20) + (25 << 22))));
        assert!(places[1..].iter().all(|(_, place)| place.is_none()));
        assert!(parse(b"{", "x").is_err());
    }
}

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
    #[error("reading what pvs said: {0}")]
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
    pvseg: Vec<Segment>,
}

/// A run of extents of the physical volume.
#[derive(Deserialize)]
struct Segment {
    vg_name: String,
    /// Empty for free extents, in brackets for a part of another volume.
    lv_name: String,
    /// The first letter is `-` for a volume that is neither snapshot nor origin of one, nor mirrored.
    lv_attr: String,
    lv_size: String,
    segtype: String,
    vg_extent_size: String,
    pe_start: String,
    pvseg_start: String,
    pvseg_size: String,
}

/// The logical volumes of the group that this physical volume belongs to.
///
/// # Errors
/// When LVM's tool is not installed, or can't make sense of the volume.
pub fn volumes(device: &Path) -> Result<Vec<Logical>, LvmError> {
    let columns = "vg_name,lv_name,lv_attr,lv_size,segtype,vg_extent_size,pe_start,pvseg_start,pvseg_size";
    let call = Call::new("lvm").args(["pvs", "--readonly", "--driverloaded", "n", "--segments", "--devices"]);
    let call =
        call.arg(device).args(["--units", "b", "--nosuffix", "--reportformat", "json", "--options", columns]);
    // Our own descriptors are closed on exec; those of whoever started us may not be.
    let said = call.env("LVM_SUPPRESS_FD_WARNINGS", "1").run()?;
    Ok(parse(&said)?)
}

fn parse(said: &[u8]) -> Result<Vec<Logical>, serde_json::Error> {
    let answer: Answer = serde_json::from_slice(said)?;
    let mut volumes: Vec<Logical> = Vec::new();
    let segments = answer.report.into_iter().flat_map(|report| report.pvseg);
    for segment in segments.filter(|segment| !segment.lv_name.is_empty()).take(VOLUMES_MAX) {
        let known =
            volumes.iter_mut().find(|one| one.group == segment.vg_name && one.name == segment.lv_name);
        match known {
            // A second piece, wherever it lies.
            Some(volume) => volume.place = None,
            None => {
                let place = place(&segment);
                volumes.push(Logical { group: segment.vg_name, name: segment.lv_name, place });
            }
        }
    }
    Ok(volumes)
}

fn place(segment: &Segment) -> Option<Range<u64>> {
    let number = |text: &str| text.parse::<u64>().ok();
    let (extent, start) = (number(&segment.vg_extent_size)?, number(&segment.pe_start)?);
    let first = number(&segment.pvseg_start)?.checked_mul(extent)?.checked_add(start)?;
    let bytes = number(&segment.pvseg_size)?.checked_mul(extent)?;
    let whole = number(&segment.lv_size)? == bytes && bytes > 0;
    let plain =
        segment.segtype == "linear" && segment.lv_attr.starts_with('-') && !segment.lv_name.starts_with('[');
    (whole && plain).then_some(first..first.checked_add(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lies_in_one_piece_has_a_place() {
        let segment = |name: &str, attributes: &str, kind: &str, first: u64, count: u64, all: u64| {
            format!(
                "{{\"vg_name\":\"vg\",\"lv_name\":\"{name}\",\"lv_attr\":\"{attributes}\",\"lv_size\":\"{}\",\
                 \"segtype\":\"{kind}\",\"vg_extent_size\":\"4194304\",\"pe_start\":\"1048576\",\
                 \"pvseg_start\":\"{first}\",\"pvseg_size\":\"{count}\"}}",
                u128::from(all) << 22
            )
        };
        let segments = [
            segment("root", "-wi-a-----", "linear", 2, 25, 25),
            segment("two", "-wi-a-----", "linear", 27, 1, 2),
            segment("two", "-wi-a-----", "linear", 30, 1, 2),
            segment("elsewhere", "-wi-a-----", "linear", 31, 1, 2),
            segment("[m_rimage_0]", "iwi-aor---", "linear", 32, 1, 1),
            segment("origin", "owi-a-s---", "linear", 33, 1, 1),
            segment("striped", "-wi-a-----", "striped", 34, 1, 1),
            segment("huge", "-wi-a-----", "linear", u64::MAX, u64::MAX, 1),
            segment("", "", "free", 35, 1, 0),
        ];
        let said = format!("{{\"report\":[{{\"pvseg\":[{}]}}]}}", segments.join(","));
        let found = parse(said.as_bytes()).unwrap();
        assert_eq!(found.len(), 7);
        assert_eq!(found[0].name, "root");
        assert_eq!(found[0].place, Some((1 << 20) + (2 << 22)..(1 << 20) + (27 << 22)));
        assert!(found[1..].iter().all(|one| one.place.is_none()), "{found:?}");
        assert!(parse(b"{").is_err());
    }
}

//! Members of arrays: Linux software RAID, and the RAID of mainboards' firmware.

use crate::inventory::probe::field::{array, be32, is, label, le32, uuid};
use crate::inventory::probe::{Found, Reader};

const MAGIC: u32 = 0xa92b_4efc;

/// Linux software RAID: version 0.90 and 1.0 at the end, 1.1 at the start, 1.2 at 4 KiB (md(4), linux/raid/md_p.h).
pub(super) fn md(read: &Reader<'_>, head: &[u8], bytes: u64) -> Option<Found> {
    let is_new = |block: &[u8], at: usize| le32(block, at) == Some(MAGIC) && le32(block, at + 4) == Some(1);
    let new = |block: &[u8], at: usize| Found::new("mdraid", label(block, at + 32, 32), uuid(block, at + 16));
    if let Some(at) = [0, 4096].into_iter().find(|&at| is_new(head, at)) {
        return Some(new(head, at));
    }
    let at_end = (bytes / 512).checked_sub(16).map(|sectors| (sectors & !7) * 512);
    if let Some(block) = at_end.and_then(|at| read(at, 512)).filter(|block| is_new(block, 0)) {
        return Some(new(&block, 0));
    }
    old(&read((bytes & !0xffff).checked_sub(0x10000)?, 512)?)
}

/// Version 0.90 is in the byte order of the machine that made it; its UUID is in two pieces.
fn old(block: &[u8]) -> Option<Found> {
    let word = |at| if le32(block, 0) == Some(MAGIC) { le32(block, at) } else { be32(block, at) };
    if word(0)? != MAGIC || word(4)? != 0 {
        return None;
    }
    let pieces: [[u8; 4]; 4] = [array(block, 20)?, array(block, 52)?, array(block, 56)?, array(block, 60)?];
    Some(Found::new("mdraid", String::new(), uuid(pieces.as_flattened(), 0)))
}

/// RAID of the mainboard's firmware, near the end: Intel's and NVIDIA's in the last sector but one, SNIA DDF and LSI's
/// in the last, Promise's 63 sectors before the end. A drive with sectors of 4 KiB counts in those.
pub(super) fn firmware(read: &Reader<'_>, bytes: u64) -> Option<Found> {
    let named = |kind| Some(Found::new(kind, String::new(), String::new()));
    for sector in [512, 4096] {
        let at = |back: u64| read(bytes.checked_sub(sector * back)?, 512);
        let last_but_one = at(2).unwrap_or_default();
        let last = at(1).unwrap_or_default();
        if is(&last_but_one, 0, b"Intel Raid ISM Cfg Sig. ") {
            return named("isw-raid");
        }
        if is(&last_but_one, 0, b"NVIDIA") {
            return named("nvidia-raid");
        }
        if be32(&last, 0) == Some(0xde11_de11) {
            return named("ddf-raid");
        }
        if is(&last, 0, b"$XIDE$") {
            return named("lsi-raid");
        }
        if at(63).is_some_and(|block| is(&block, 0, b"Promise Technology, Inc.")) {
            return named("promise-raid");
        }
    }
    None
}

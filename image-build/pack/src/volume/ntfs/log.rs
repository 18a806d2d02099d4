//! `$LogFile`: whether its records must be replayed before the volume's structures are true.
//!
//! Two restart pages begin it, the newer of which counts. Windows marks it on a clean unmount; a hibernated system, and one
//! that was shut down for a fast start, does not.

use super::record::fix;
use crate::field::{le16, le32, le64};

/// Restart pages are this long at most, as far as they are looked at.
const PAGE_MAX: usize = 64 << 10;

/// The longest beginning of the log that is needed: two pages.
pub(super) const HEAD_MAX: u64 = 2 * PAGE_MAX as u64;

const RESTART: [u8; 4] = *b"RSTR";

/// No client of the log has anything open.
const NO_CLIENT: u16 = 0xffff;

/// The flag that a clean unmount sets.
const CLEAN: u16 = 2;

/// Whether nothing is to be replayed, by the log's beginning. A log that was emptied is all ones.
pub(super) fn is_clean(head: &[u8]) -> bool {
    if head.len() >= 8192 && head.iter().all(|byte| *byte == 0xff) {
        return true;
    }
    restart_pages(head).unwrap_or_default()
}

fn restart_pages(head: &[u8]) -> Option<bool> {
    let length = usize::try_from(le32(head, 16)?).ok()?;
    if !length.is_power_of_two() || !(512..=PAGE_MAX).contains(&length) {
        return None;
    }
    let (one, rest) = head.split_at_checked(length)?;
    let pages = [restart(one)?, restart(rest.get(..length)?)?];
    let newest = pages.iter().map(|(number, _)| *number).max()?;
    Some(pages.iter().all(|(number, is_clean)| *number < newest || *is_clean))
}

/// The number of the last record that a restart page knows, and whether it was clean. A log of version 2 is never at rest:
/// an unmount makes it one of version 1 again.
fn restart(page: &[u8]) -> Option<(u64, bool)> {
    let page = fix(page.to_vec(), RESTART)?;
    let area = page.get(usize::from(le16(&page, 24)?)..)?;
    let is_old = le16(&page, 28)? == 1;
    let is_closed = le16(area, 12)? == NO_CLIENT || le16(area, 14)? & CLEAN != 0;
    Some((le64(area, 0)?, is_old && is_closed))
}

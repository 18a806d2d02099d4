//! Swap space: its first page says what it is, and nothing in all others outlives a reboot, unless a system sleeps there.
//!
//! The header is the kernel's `union swap_header`; the magic number ends the first page, so that it tells how long a page
//! is. A hibernating kernel puts its own there.

use super::ext::{label, uuid};
use super::{Unread, Volume};
use crate::{Extents, Source, source};

/// The pages of all architectures.
const PAGES: [u64; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// A magic number lies so many bytes before the page's end.
const MAGIC_BYTES: u64 = 10;
/// Hibernated by the kernel, by user space, by an old and the newest kernel, by TuxOnIce.
const ASLEEP: [&[u8]; 5] =
    [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001", b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c"];

pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    for page in PAGES.into_iter().take_while(|page| *page <= source.bytes()) {
        let magic = source::read(source, page - MAGIC_BYTES, 10)?;
        let is_asleep = ASLEEP.iter().any(|asleep| magic.starts_with(asleep));
        if !is_asleep && magic != b"SWAPSPACE2" && magic != b"SWAP-SPACE" {
            continue;
        }
        let header = source::read(source, 1024, 512)?;
        if magic == b"SWAPSPACE2" && !is_header(&header) {
            continue;
        }
        // The first format has bits for pages where the second has the names.
        let (uuid, label) = if magic == b"SWAP-SPACE" {
            <_>::default()
        } else {
            (uuid(header.get(12..28).unwrap_or_default()), label(header.get(28..44).unwrap_or_default()))
        };
        let why_whole = is_asleep.then(|| "it holds a hibernated system".to_owned());
        let used = Extents::all(if is_asleep { source.bytes() } else { page });
        return Ok(Volume { kind: "swap", uuid, label, used, why_whole, inside: Vec::new() });
    }
    Err(Unread::Other)
}

/// Whether a header may be one: version 1 in either byte order, and the padding behind the label left empty. What a file
/// system left of a swap space's first page is none.
fn is_header(header: &[u8]) -> bool {
    let version = header.get(..4).unwrap_or_default();
    let pages = header.get(4..8).unwrap_or_default();
    let padding = header.get(44..512).unwrap_or_default();
    (version == [1, 0, 0, 0] || version == [0, 0, 0, 1])
        && pages != [0; 4]
        && padding.iter().all(|byte| *byte == 0)
}

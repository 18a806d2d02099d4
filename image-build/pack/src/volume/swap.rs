//! Swap space: its first page says what it is, and nothing in all others outlives a reboot, unless a system sleeps there.
//!
//! The header is the kernel's `union swap_header`; the magic number ends the first page, so that it tells how long a page
//! is. A hibernating kernel puts its own there.

use super::{Name, Unread, Volume, doubtful};
use crate::{Extents, Source, field, names, source};

/// The pages of all architectures.
const PAGES: [u64; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// The magic numbers: the first format, which has no names, and the second.
const OLD: &[u8] = b"SWAP-SPACE";
const NEW: &[u8] = b"SWAPSPACE2";
/// In their place: hibernated by the kernel of old, by user space in two ways, by the kernel of now.
const ASLEEP: [&[u8]; 4] = [b"S1SUSPEND", b"S2SUSPEND", b"ULSUSPEND", b"LINHIB0001"];
/// TuxOnIce puts this at the start.
const TUX_ON_ICE: &[u8] = b"\xed\xc3\x02\xe9\x98\x56\xe5\x0c";

pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    if source.bytes() < 4096 {
        return Err(Unread::Other);
    }
    let start = source::read(source, 0, 1024 + 512)?;
    let header = start.get(1024..).unwrap_or_default();
    if start.starts_with(TUX_ON_ICE) {
        return asleep(source, header);
    }
    for page in PAGES.into_iter().take_while(|page| *page <= source.bytes()) {
        let magic = source::read(source, page - 10, 10)?;
        if ASLEEP.iter().any(|asleep| magic.starts_with(asleep)) {
            return asleep(source, header);
        }
        if magic == OLD {
            return named("swap", &[]).with(Ok(Extents::all(page)), source);
        }
        if magic == NEW && is_header(header) {
            return named("swap", header).with(Ok(Extents::all(page)), source);
        }
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

fn asleep(source: &dyn Source, header: &[u8]) -> Result<Volume, Unread> {
    let header = if is_header(header) { header } else { &[] };
    named("swsuspend", header).with(Err(doubtful("it holds a hibernated system")), source)
}

fn named(kind: &'static str, header: &[u8]) -> Name {
    let label = names::label(header.get(28..44).unwrap_or_default());
    Name { kind, uuid: names::uuid_or_none(field::array(header, 12)), label }
}

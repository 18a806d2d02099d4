//! Owners of a whole volume whose content nobody can tell apart: encryption, pools, and storage that is not Linux's.
//!
//! They are looked for before all others, because most of them leave the beginning of a volume as they found it: a
//! superblock that was there before is still there, and its maps would free what the new owner has written. Every byte
//! counts as used.

use super::{Name, Unread, Volume};
use crate::field::{array, be32};
use crate::source::read as bytes_at;
use crate::{Extents, Source};

/// Name as blkid has it, place, bytes.
type Mark = (&'static str, u64, &'static [u8]);

/// Formats: LUKS on-disk format 1.2.3 and LUKS2, libbde's documentation of BitLocker, Ceph's bluestore label, the kernel's
/// bcache and bcachefs, libvmfs.
const MARKS: &[Mark] = &[
    ("crypto_LUKS", 0, b"LUKS\xba\xbe"),
    ("BitLocker", 3, b"-FVE-FS-"),
    ("BitLocker", 424, b"\x3b\xd6\x67\x49\x29\x2e\xd8\x4a\x83\x99\xf6\xa3\x39\xe3\xd0\x01"),
    ("ceph_bluestore", 0, b"bluestore block device\n"),
    ("bcache", 4096 + 24, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81"),
    ("bcache", 4096 + 24, b"\xc6\x85\x73\xf6\x66\xce\x90\xa9\xd9\x6a\x60\xcf\x80\x3d\xf7\xef"),
    ("VMFS_volume_member", 1 << 20, b"\x0d\xd0\x01\xc0"),
];

/// Bytes that are read at once.
const BLOCK: usize = 4096;

pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    for (kind, at, mark) in MARKS {
        if *at + mark.len() as u64 <= source.bytes() && bytes_at(source, *at, mark.len())? == *mark {
            return owned(kind, source);
        }
    }
    if has_uberblock(source)? {
        return owned("zfs_member", source);
    }
    if is_replicated(source)? {
        return owned("drbd", source);
    }
    Err(Unread::Other)
}

/// A uberblock of ZFS in one of the two labels at the front: a ring of 128 KiB in the second half of each label of 256 KiB.
fn has_uberblock(source: &dyn Source) -> Result<bool, Unread> {
    const LABEL: u64 = 256 << 10;
    let rings = [LABEL / 2..LABEL, LABEL + LABEL / 2..2 * LABEL];
    let magic = 0x00ba_b10c_u64;
    let is_uberblock = |block: &[u8; 1024]| {
        let told = array(block, 0);
        told == Some(magic.to_le_bytes()) || told == Some(magic.to_be_bytes())
    };
    for at in rings.into_iter().flat_map(|ring| ring.step_by(BLOCK)) {
        if at + BLOCK as u64 > source.bytes() {
            break;
        }
        let block = bytes_at(source, at, BLOCK)?;
        if block.as_chunks::<1024>().0.iter().any(is_uberblock) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// DRBD's metadata behind a file system: in the last 4 KiB, in network byte order.
fn is_replicated(source: &dyn Source) -> Result<bool, Unread> {
    let block = BLOCK as u64;
    let Some(at) = (source.bytes() / block * block).checked_sub(block) else { return Ok(false) };
    let block = bytes_at(source, at, 64)?;
    Ok(matches!(be32(&block, 60), Some(0x8374_026b..=0x8374_026d)))
}

fn owned(kind: &'static str, source: &dyn Source) -> Result<Volume, Unread> {
    Name { kind, ..Name::default() }.with(Ok(Extents::all(source.bytes())), source)
}

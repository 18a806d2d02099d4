//! Members of something bigger, by what stands at their beginning: LVM, LUKS, bcache, VMFS. Writing one of these kills
//! what it belongs to. Arrays and pools, whose labels are in several places, are in [`super::raid`] and [`super::pool`].

use crate::inventory::probe::field::{array, be16, be32, is, label, le32, le64, uuid};
use crate::inventory::probe::{Found, Reader, pool, raid};

/// What the volume of so many bytes is a member of.
pub(super) fn find(read: &Reader<'_>, bytes: u64) -> Vec<Found> {
    let head = read(0, 8192).unwrap_or_default();
    let found = [
        lvm(read, &head),
        luks(&head),
        raid::md(read, &head, bytes),
        raid::firmware(read, bytes),
        pool::zfs(read, bytes),
        pool::ceph(&head),
        bcache(&head),
        vmfs(read),
        drbd(read, bytes),
    ];
    found.into_iter().flatten().collect()
}

/// What is left of a member whose beginning was wiped. It counts only where nothing else begins: a file system or a
/// table that was made later owns the bytes that these stand in.
pub(super) fn echoes(read: &Reader<'_>) -> Vec<Found> {
    [pool::ceph_again(read), luks_again(read)].into_iter().flatten().collect()
}

/// LVM2: a label in one of the first four sectors (lvm2's lib/format_text/layout.h).
fn lvm(read: &Reader<'_>, head: &[u8]) -> Option<Found> {
    let at =
        (0..4).map(|n| n * 512).find(|&at| is(head, at, b"LABELONE") && is(head, at + 24, b"LVM2 001"))?;
    let header = at.checked_add(usize::try_from(le32(head, at + 20)?).ok()?)?;
    let group = volume_group(read, head, header).unwrap_or_default();
    Some(Found::new("lvm", group, volume_id(head, header).unwrap_or_default()))
}

/// The physical volume's id: 32 letters, which LVM's tools write in groups.
fn volume_id(head: &[u8], header: usize) -> Option<String> {
    let id = array::<32>(head, header)?;
    if !id.iter().all(u8::is_ascii_alphanumeric) {
        return None;
    }
    let mut letters = id.iter().map(|b| char::from(*b));
    let mut group = |length: usize| letters.by_ref().take(length).collect::<String>();
    Some([6, 4, 4, 4, 4, 4, 6].map(&mut group).join("-"))
}

/// The volume group's name opens its text metadata: behind the list of data areas, the first metadata area has a
/// header that says where the current text begins.
fn volume_group(read: &Reader<'_>, head: &[u8], header: usize) -> Option<String> {
    let mut at = header.checked_add(40)?;
    while array::<16>(head, at)? != [0; 16] {
        at += 16;
    }
    let area = le64(head, at + 16)?;
    let area_header = read(area, 512)?;
    if !is(&area_header, 4, b" LVM2 x[5A%r0N*>") {
        return None;
    }
    let text = read(area.checked_add(le64(&area_header, 40)?)?, 256)?;
    let name = text.split(|byte| matches!(byte, b' ' | b'{' | b'\n')).next()?;
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'_' | b'.' | b'-');
    name.iter().all(is_name).then(|| crate::text::name_of_bytes(name))
}

/// LUKS 1 and 2.
fn luks(head: &[u8]) -> Option<Found> {
    is(head, 0, b"LUKS\xba\xbe").then(|| luks_header(head))
}

fn luks_header(head: &[u8]) -> Found {
    let name = if be16(head, 6) == Some(2) { label(head, 24, 48) } else { String::new() };
    Found::new("luks", name, label(head, 168, 40))
}

/// The second header of LUKS 2, at one of these places by the size of the first (LUKS2 On-Disk Format, 2.2).
fn luks_again(read: &Reader<'_>) -> Option<Found> {
    let places = [0x4000, 0x8000, 0x1_0000, 0x2_0000, 0x4_0000, 0x8_0000, 0x10_0000, 0x20_0000, 0x40_0000];
    let mut headers = places.into_iter().filter_map(|at| read(at, 512));
    headers.find(|header| is(header, 0, b"SKUL\xba\xbe")).map(|header| luks_header(&header))
}

/// bcache, backing or cache device; the label and the UUID are its own.
fn bcache(head: &[u8]) -> Option<Found> {
    const MAGIC: [u8; 16] =
        [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81];
    is(head, 4096 + 24, &MAGIC)
        .then(|| Found::new("bcache", label(head, 4096 + 72, 32), uuid(head, 4096 + 40)))
}

fn vmfs(read: &Reader<'_>) -> Option<Found> {
    let header = read(1 << 20, 512)?;
    (le32(&header, 0)? == 0xc001_d00d).then(|| Found::new("vmfs", String::new(), String::new()))
}

/// DRBD with its metadata on the same volume, in the last 4 KiB: version 8.3, 8.4 in either state, 9.
fn drbd(read: &Reader<'_>, bytes: u64) -> Option<Found> {
    let block = read((bytes & !0xfff).checked_sub(4096)?, 512)?;
    let is_one = matches!(be32(&block, 60)?, 0x8374_026b..=0x8374_026e);
    is_one.then(|| Found::new("drbd", String::new(), String::new()))
}

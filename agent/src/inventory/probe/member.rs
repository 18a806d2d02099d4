//! Members of something bigger: LVM, LUKS, software and firmware RAID, ZFS, Ceph, bcache, VMFS. Writing one of these
//! kills what it belongs to, so they are recognised also where their owner keeps the label at the end.

use crate::inventory::probe::Reader;
use crate::inventory::probe::field::{array, be16, be32, is, label, le32, le64};

type Found = (&'static str, String);

/// What the volume is a member of, and that one's name.
pub(super) fn find(read: &Reader<'_>, bytes: u64) -> Vec<Found> {
    let head = read(0, 8192).unwrap_or_default();
    let found = [
        lvm(read, &head),
        luks(&head),
        mdraid(read, &head, bytes),
        firmware_raid(read, bytes),
        zfs(read, bytes),
        ceph(&head),
        bcache(&head),
        vmfs(read),
    ];
    found.into_iter().flatten().collect()
}

/// LVM2: a label in one of the first four sectors (lvm2's lib/format_text/layout.h).
fn lvm(read: &Reader<'_>, head: &[u8]) -> Option<Found> {
    let at =
        (0..4).map(|n| n * 512).find(|&at| is(head, at, b"LABELONE") && is(head, at + 24, b"LVM2 001"))?;
    let header = at.checked_add(usize::try_from(le32(head, at + 20)?).ok()?)?;
    Some(("lvm", volume_group(read, head, header).unwrap_or_default()))
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
    if !is(head, 0, b"LUKS\xba\xbe") {
        return None;
    }
    let name = if be16(head, 6)? == 2 { label(head, 24, 48) } else { String::new() };
    Some(("luks", name))
}

/// Linux software RAID: version 0.90 and 1.0 at the end, 1.1 at the start, 1.2 at 4 KiB.
fn mdraid(read: &Reader<'_>, head: &[u8], bytes: u64) -> Option<Found> {
    const MAGIC: u32 = 0xa92b_4efc;
    let is_one = |block: &[u8], at: usize, major: u32| {
        le32(block, at) == Some(MAGIC) && le32(block, at + 4) == Some(major)
    };
    for at in [0, 4096] {
        if is_one(head, at, 1) {
            return Some(("mdraid", label(head, at + 32, 32)));
        }
    }
    let new = (bytes / 512).checked_sub(16).map(|sectors| (sectors & !7) * 512);
    if let Some(block) = new.and_then(|at| read(at, 512)).filter(|block| is_one(block, 0, 1)) {
        return Some(("mdraid", label(&block, 32, 32)));
    }
    let old = (bytes & !0xffff).checked_sub(0x10000);
    let is_old = old.and_then(|at| read(at, 512)).is_some_and(|block| is_one(&block, 0, 0));
    is_old.then(|| ("mdraid", String::new()))
}

/// RAID of the mainboard's firmware: Intel's in the last sector but one, SNIA DDF in the last.
fn firmware_raid(read: &Reader<'_>, bytes: u64) -> Option<Found> {
    let tail = read(bytes.checked_sub(1024)?, 1024)?;
    if is(&tail, 0, b"Intel Raid ISM Cfg Sig. ") {
        return Some(("isw-raid", String::new()));
    }
    (be32(&tail, 512)? == 0xde11_de11).then(|| ("ddf-raid", String::new()))
}

/// ZFS: four labels, two at each end; in each, name-value pairs at 16 KiB and a ring of uberblocks at 128 KiB.
fn zfs(read: &Reader<'_>, bytes: u64) -> Option<Found> {
    const LABEL: u64 = 256 << 10;
    let aligned = bytes & !(LABEL - 1);
    let places = [Some(0), Some(LABEL), aligned.checked_sub(2 * LABEL), aligned.checked_sub(LABEL)];
    places.into_iter().flatten().find_map(|at| {
        let ring = read(at + (128 << 10), 128 << 10)?;
        let (blocks, _) = ring.as_chunks::<1024>();
        let is_uberblock = |block: &[u8; 1024]| {
            let magic = array::<8>(block, 0);
            magic == Some(0x00ba_b10c_u64.to_le_bytes()) || magic == Some(0x00ba_b10c_u64.to_be_bytes())
        };
        blocks.iter().any(is_uberblock).then(|| {
            let pairs = read(at + (16 << 10), 16 << 10).unwrap_or_default();
            ("zfs", pool_name(&pairs).unwrap_or_default())
        })
    })
}

/// The value of the pair `name`, which is XDR: the key's length and text, type 9 (string), one of them, its length
/// and text.
fn pool_name(pairs: &[u8]) -> Option<String> {
    const KEY: &[u8] = b"\0\0\0\x04name\0\0\0\x09\0\0\0\x01";
    let at = pairs.windows(KEY.len()).position(|window| window == KEY)?.checked_add(KEY.len())?;
    let length = usize::try_from(be32(pairs, at)?).ok().filter(|&n| n <= 256)?;
    Some(label(pairs, at.checked_add(4)?, length))
}

fn ceph(head: &[u8]) -> Option<Found> {
    // The line after it is the OSD's UUID.
    is(head, 0, b"bluestore block device\n").then(|| ("ceph", label(head, 23, 36)))
}

fn bcache(head: &[u8]) -> Option<Found> {
    const MAGIC: [u8; 16] =
        [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81];
    is(head, 4096 + 24, &MAGIC).then(|| ("bcache", String::new()))
}

fn vmfs(read: &Reader<'_>) -> Option<Found> {
    let header = read(1 << 20, 512)?;
    (le32(&header, 0)? == 0xc001_d00d).then(|| ("vmfs", String::new()))
}

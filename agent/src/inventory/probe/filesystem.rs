//! File systems and swap, by their superblocks.

use crate::inventory::probe::Reader;
use crate::inventory::probe::field::{is, label, le16, le32};

/// What the volume is formatted as, and its label.
pub(super) fn find(read: &Reader<'_>) -> Option<(&'static str, String)> {
    let head = read(0, 8192)?;
    ext(&head)
        .or_else(|| xfs(&head))
        .or_else(|| fat(&head))
        .or_else(|| swap(&head))
        .or_else(|| f2fs(&head))
        .or_else(|| btrfs(read))
        .or_else(|| iso9660(read))
}

/// ext2, ext3 and ext4: magic at 1080, features tell which (Documentation/filesystems/ext4/super.rst).
fn ext(head: &[u8]) -> Option<(&'static str, String)> {
    const JOURNAL: u32 = 0x4;
    /// Extents, 64 bit, flexible groups.
    const OF_EXT4: u32 = 0x40 | 0x80 | 0x200;
    if le16(head, 1024 + 56)? != 0xef53 {
        return None;
    }
    let (compatible, incompatible) = (le32(head, 1024 + 92)?, le32(head, 1024 + 96)?);
    let kind = match (incompatible & OF_EXT4 != 0, compatible & JOURNAL != 0) {
        (true, _) => "ext4",
        (false, true) => "ext3",
        (false, false) => "ext2",
    };
    Some((kind, label(head, 1024 + 120, 16)))
}

fn xfs(head: &[u8]) -> Option<(&'static str, String)> {
    is(head, 0, b"XFSB").then(|| ("xfs", label(head, 108, 12)))
}

/// FAT12, FAT16, FAT32, exFAT and NTFS: the boot sector's own words.
fn fat(head: &[u8]) -> Option<(&'static str, String)> {
    if !is(head, 510, &[0x55, 0xaa]) {
        return None;
    }
    let name = |at| Some(label(head, at, 11)).filter(|l| l != "NO NAME").unwrap_or_default();
    if is(head, 3, b"NTFS    ") {
        Some(("ntfs", String::new()))
    } else if is(head, 3, b"EXFAT   ") {
        Some(("exfat", String::new()))
    } else if is(head, 82, b"FAT32   ") {
        Some(("vfat", name(71)))
    } else if is(head, 54, b"FAT12   ") || is(head, 54, b"FAT16   ") {
        Some(("vfat", name(43)))
    } else {
        None
    }
}

/// Linux swap: the signature ends the first page, which is 4 KiB, or 8 KiB on some.
fn swap(head: &[u8]) -> Option<(&'static str, String)> {
    let ends_page = |page: usize| is(head, page - 10, b"SWAPSPACE2") || is(head, page - 10, b"SWAP-SPACE");
    (ends_page(4096) || ends_page(8192)).then(|| ("swap", label(head, 1024 + 28, 16)))
}

fn f2fs(head: &[u8]) -> Option<(&'static str, String)> {
    (le32(head, 1024)? == 0xf2f5_2010).then(|| ("f2fs", String::new()))
}

fn btrfs(read: &Reader<'_>) -> Option<(&'static str, String)> {
    let superblock = read(64 << 10, 4096)?;
    is(&superblock, 0x40, b"_BHRfS_M").then(|| ("btrfs", label(&superblock, 0x12b, 256)))
}

fn iso9660(read: &Reader<'_>) -> Option<(&'static str, String)> {
    let descriptor = read(32 << 10, 2048)?;
    is(&descriptor, 1, b"CD001").then(|| ("iso9660", label(&descriptor, 40, 32)))
}

//! File systems and swap, by their superblocks.

use protocol::SystemPart;

use crate::inventory::probe::field::{array, be32, is, label, le16, le32, le64, serial, uuid};
use crate::inventory::probe::{Found, Reader};

/// What the volume is formatted as.
pub(super) fn find(read: &Reader<'_>) -> Option<Found> {
    let head = read(0, 8192)?;
    ext(&head)
        .or_else(|| xfs(&head))
        .or_else(|| boot_sector(&head))
        .or_else(|| swap(&head))
        .or_else(|| f2fs(&head))
        .or_else(|| bcachefs(&head))
        .or_else(|| btrfs(read))
        .or_else(|| gfs2(read))
        .or_else(|| ocfs2(read))
        .or_else(|| iso9660(read))
}

/// ext2, ext3 and ext4: magic at 1080, features tell which (Documentation/filesystems/ext4/super.rst).
fn ext(head: &[u8]) -> Option<Found> {
    const JOURNAL: u32 = 0x4;
    /// Extents, 64 bit, flexible groups.
    const OF_EXT4: u32 = 0x40 | 0x80 | 0x200;
    /// Where a root is mounted when a file is first opened on it: the ramdisks of Debian and Dracut mount it elsewhere
    /// than on `/`, the Debian installer too.
    const ROOTS: [&str; 4] = ["/", "/root", "/sysroot", "/target"];
    if le16(head, 1024 + 56)? != 0xef53 {
        return None;
    }
    let (compatible, incompatible) = (le32(head, 1024 + 92)?, le32(head, 1024 + 96)?);
    let kind = match (incompatible & OF_EXT4 != 0, compatible & JOURNAL != 0) {
        (true, _) => "ext4",
        (false, true) => "ext3",
        (false, false) => "ext2",
    };
    let mounted = label(head, 1024 + 136, 64);
    let system = ROOTS.contains(&mounted.as_str()).then_some(SystemPart::Root);
    Some(Found { kind, label: label(head, 1024 + 120, 16), uuid: uuid(head, 1024 + 104), system })
}

fn xfs(head: &[u8]) -> Option<Found> {
    is(head, 0, b"XFSB").then(|| Found::new("xfs", label(head, 108, 12), uuid(head, 32)))
}

/// FAT12, FAT16, FAT32, exFAT, NTFS, ReFS and BitLocker: the boot sector's own words.
fn boot_sector(head: &[u8]) -> Option<Found> {
    // ReFS has the word and no signature at the sector's end.
    if is(head, 3, b"ReFS\0\0\0\0") {
        return Some(Found::new("refs", String::new(), String::new()));
    }
    if !is(head, 510, &[0x55, 0xaa]) {
        return None;
    }
    let name = |at| Some(label(head, at, 11)).filter(|l| l != "NO NAME").unwrap_or_default();
    let short = |at| array::<4>(head, at).map(|number| serial(&number)).unwrap_or_default();
    if is(head, 3, b"NTFS    ") {
        let number = array::<8>(head, 72).map(|number| serial(&number)).unwrap_or_default();
        Some(Found::new("ntfs", String::new(), number))
    } else if is(head, 3, b"-FVE-FS-") {
        Some(Found::new("bitlocker", String::new(), String::new()))
    } else if is(head, 3, b"EXFAT   ") {
        Some(Found::new("exfat", String::new(), short(100)))
    } else if is(head, 82, b"FAT32   ") {
        Some(Found::new("vfat", name(71), short(67)))
    } else if is(head, 54, b"FAT12   ") || is(head, 54, b"FAT16   ") {
        Some(Found::new("vfat", name(43), short(39)))
    } else {
        None
    }
}

/// Linux swap: the signature ends the first page, which is 4 KiB, or 8 KiB on some.
fn swap(head: &[u8]) -> Option<Found> {
    let ends_page = |page: usize| is(head, page - 10, b"SWAPSPACE2") || is(head, page - 10, b"SWAP-SPACE");
    let is_swap = ends_page(4096) || ends_page(8192);
    is_swap.then(|| Found::new("swap", label(head, 1024 + 28, 16), uuid(head, 1024 + 12)))
}

fn f2fs(head: &[u8]) -> Option<Found> {
    (le32(head, 1024)? == 0xf2f5_2010).then(|| Found::new("f2fs", String::new(), uuid(head, 1024 + 108)))
}

/// One of bcache's younger relatives, which may be on several disks.
fn bcachefs(head: &[u8]) -> Option<Found> {
    const MAGIC: [u8; 16] =
        [0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef];
    is(head, 4096 + 24, &MAGIC)
        .then(|| Found::new("bcachefs", label(head, 4096 + 72, 32), uuid(head, 4096 + 56)))
}

/// btrfs; `btrfs-pool` where it is on more than one disk.
fn btrfs(read: &Reader<'_>) -> Option<Found> {
    let superblock = read(64 << 10, 4096)?;
    if !is(&superblock, 0x40, b"_BHRfS_M") {
        return None;
    }
    let kind = if le64(&superblock, 0x88)? > 1 { "btrfs-pool" } else { "btrfs" };
    Some(Found::new(kind, label(&superblock, 0x12b, 256), uuid(&superblock, 0x20)))
}

/// GFS2, which many servers mount at once; its label is the cluster's name and its own (linux/gfs2_ondisk.h).
fn gfs2(read: &Reader<'_>) -> Option<Found> {
    let superblock = read(64 << 10, 512)?;
    let is_one = be32(&superblock, 0)? == 0x0116_1970 && be32(&superblock, 4)? == 1;
    is_one.then(|| Found::new("gfs2", label(&superblock, 160, 64), uuid(&superblock, 256)))
}

/// OCFS2, which many servers mount at once: its superblock is the third block, of 512 bytes to 4 KiB.
fn ocfs2(read: &Reader<'_>) -> Option<Found> {
    let mut blocks = [512_u64, 1024, 2048, 4096].into_iter().filter_map(|block| read(2 * block, 8));
    blocks.any(|start| is(&start, 0, b"OCFSV2")).then(|| Found::new("ocfs2", String::new(), String::new()))
}

fn iso9660(read: &Reader<'_>) -> Option<Found> {
    let descriptor = read(32 << 10, 2048)?;
    is(&descriptor, 1, b"CD001").then(|| Found::new("iso9660", label(&descriptor, 40, 32), String::new()))
}

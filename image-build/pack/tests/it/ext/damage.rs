//! What is dirty, broken or a lie counts as used as a whole, and costs neither time nor memory.

use std::time::{Duration, Instant};

use pack::volume::{self, Volume};
use pack::{Extents, Source, source};
use proptest::prelude::*;
use proptest::sample::Index;

use super::fill;
use super::image::{debugfs, made};
use crate::lab::{Loop, MIB, run};

/// A small file system without checksums: every byte that is changed has its effect. Groups of 256 KiB.
fn plain() -> Vec<u8> {
    let options = "^metadata_csum,^uninit_bg,64bit,^resize_inode,^has_journal";
    made(4 * MIB, "ext4", &["-b", "1024", "-g", "256", "-N", "512", "-O", options, "-L", "plain"]).load()
}

/// One with checksums everywhere.
fn summed() -> Vec<u8> {
    let image =
        made(16 * MIB, "ext4", &["-b", "1024", "-g", "1024", "-O", "64bit,metadata_csum", "-L", "summed"]);
    image.load()
}

fn read(source: &dyn Source) -> Volume {
    #[expect(clippy::disallowed_methods, reason = "a test measures")]
    let begin = Instant::now();
    let volume = volume::read(source).unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(volume.used.end() <= source.bytes());
    volume
}

fn is_whole(source: &dyn Source, why: &str) -> Volume {
    let volume = read(source);
    let said = volume.why_whole.clone().unwrap_or_default();
    assert!(said.contains(why), "{said:?}, not {why:?}");
    assert_eq!(volume.used, Extents::all(source.bytes()));
    volume
}

/// Changes bytes of the superblock.
type Patch = (usize, &'static [u8]);

#[test]
fn a_superblock_that_lies_is_not_believed() {
    let good = plain();
    assert_eq!(read(&good).why_whole, None);
    let lies: &[(&str, &[Patch], &str)] = &[
        ("block size huge", &[(0x18, &[7])], "block size"),
        ("block size endless", &[(0x18, &[0xFF; 4])], "block size"),
        ("blocks of 64 KiB", &[(0x18, &[6])], "longer than its volume"),
        ("no blocks", &[(0x4, &[0; 4])], "first block"),
        ("2^32-1 blocks", &[(0x4, &[0xFF; 4])], "longer than its volume"),
        ("2^64-1 blocks", &[(0x4, &[0xFF; 4]), (0x150, &[0xFF; 4])], "longer than its volume"),
        ("2^54 blocks", &[(0x150, &[0, 0, 0x40, 0])], "longer than its volume"),
        ("one block more than there are", &[(0x4, &[1, 0x10])], "longer than its volume"),
        ("no blocks in a group", &[(0x20, &[0; 4])], "blocks in a group"),
        ("one block in a group", &[(0x20, &[1, 0])], "blocks in a group"),
        ("2^32-1 blocks in a group", &[(0x20, &[0xFF; 4])], "blocks in a group"),
        ("8 blocks in a group", &[(0x20, &[8, 0])], "inodes in a group"),
        ("no inodes in a group", &[(0x28, &[0; 4])], "inodes in a group"),
        ("2^32-1 inodes in a group", &[(0x28, &[0xFF; 4])], "inodes in a group"),
        ("2^32-1 inodes", &[(0x0, &[0xFF; 4])], "inodes in a group"),
        ("inodes of no bytes", &[(0x58, &[0, 0])], "inodes of 0 bytes"),
        ("inodes larger than a block", &[(0x58, &[0, 8])], "inodes of 2048 bytes"),
        ("descriptors of no bytes", &[(0xFE, &[0, 0])], "descriptors of 0 bytes"),
        ("descriptors of 32 bytes for 64 bits", &[(0xFE, &[32, 0])], "descriptors of 32 bytes"),
        ("descriptors of 65 bytes", &[(0xFE, &[65, 0])], "descriptors of 65 bytes"),
        ("descriptors of 32 KiB", &[(0xFE, &[0, 0x80])], "descriptors of 32768 bytes"),
        ("descriptors of 128 bytes", &[(0xFE, &[128, 0])], "group"),
        ("begins at block 0", &[(0x14, &[0])], "first block"),
        ("begins at block 2", &[(0x14, &[2])], "first block"),
        ("begins at block 2^32-1", &[(0x14, &[0xFF; 4])], "first block"),
        ("room for 2^16-1 descriptor blocks", &[(0xCE, &[0xFF; 2])], "descriptors"),
        ("room for 256 descriptor blocks", &[(0xCE, &[0, 1])], "no room"),
        ("descriptors apart, from 2^32-1 on", &[(0x60, &[0xD2]), (0x104, &[0xFF; 4])], "descriptors"),
        (
            "clusters smaller than blocks",
            &[(0x65, &[2]), (0x18, &[1]), (0x1C, &[0]), (0x4, &[0, 4])],
            "cluster",
        ),
        ("clusters of 2^32 blocks", &[(0x65, &[2]), (0x1C, &[32])], "cluster"),
        ("one cluster in a group", &[(0x65, &[2]), (0x1C, &[8])], "blocks in a group"),
        ("checksums that it has not", &[(0x65, &[4])], "checksum"),
        ("compression", &[(0x60, &[0xC3])], "incompat 0x1"),
        ("incompatible with all", &[(0x60, &[0xC2, 2, 0, 0x80])], "incompat 0x80000000"),
        ("snapshots", &[(0x64, &[0xEB])], "ro_compat 0x80"),
        ("revision 2", &[(0x4C, &[2])], "revision"),
        ("a journal to be replayed", &[(0x60, &[0xC6])], "must be replayed: mount and unmount it once"),
        ("mounted", &[(0x3A, &[0])], "not unmounted"),
        ("with errors", &[(0x3A, &[3])], "errors"),
        ("with orphans", &[(0x3A, &[5])], "errors"),
        ("a journal of its own", &[(0x60, &[0xCA])], "journal"),
    ];
    for (what, patches, why) in lies {
        println!("{what}");
        let mut bad = good.clone();
        patches.iter().for_each(|(at, bytes)| bad[1024 + at..][..bytes.len()].copy_from_slice(bytes));
        let volume = is_whole(&bad, why);
        assert_eq!(volume.label, "plain", "{what}");
    }
}

#[test]
fn descriptors_that_lie_are_not_believed() {
    let good = plain();
    let gdt = 2048;
    let number = |at: usize| u32::from_le_bytes(*good[gdt + at..].first_chunk().unwrap());
    let (block_bitmap, inode_bitmap, inode_table) = (number(0), number(4), number(8));
    let lies: &[(usize, u32, &str)] = &[
        (0, 0, "group 0 lies where it can't"),
        (0, 4096, "group 0 lies where it can't"),
        (0, u32::MAX, "group 0 lies where it can't"),
        (0x20, 1, "group 0 lies where it can't"),
        (0x20, u32::MAX, "group 0 lies where it can't"),
        (4, u32::MAX, "group 0 lies where it can't"),
        (8, 4095, "group 0 lies where it can't"),
        (8, u32::MAX, "group 0 lies where it can't"),
        (0x28, u32::MAX, "group 0 lies where it can't"),
        // The superblock, the descriptors, another bitmap, a table; and those of another group.
        (0, 1, "overlap"),
        (0, 2, "overlap"),
        (0, inode_bitmap, "overlap"),
        (4, block_bitmap, "overlap"),
        (0, inode_table, "overlap"),
        (8, block_bitmap, "overlap"),
        (64, block_bitmap, "overlap"),
        (64 + 8, inode_table + 1, "overlap"),
        (64, 257, "overlap"),
        // A data block; and free blocks that are not.
        (0, 4000, "its bitmap"),
        (0xC, 0, "its bitmap"),
    ];
    for (at, value, why) in lies {
        let mut bad = good.clone();
        bad[gdt + at..][..4].copy_from_slice(&value.to_le_bytes());
        println!("{at} {value}");
        is_whole(&bad, why);
    }
    let mut bad = good.clone();
    bad[usize::try_from(block_bitmap).unwrap() * 1024..][..1024].fill(0);
    is_whole(&bad, "its bitmap");
}

#[test]
fn a_checksum_that_is_wrong_is_seen() {
    let good = summed();
    assert_eq!(read(&good).why_whole, None);
    let number = |at: usize| u32::from_le_bytes(*good[at..].first_chunk().unwrap());
    let bitmap = usize::try_from(number(2048)).unwrap() * 1024;
    for (at, why) in [
        (1024 + 0x2C, "superblock"),
        (1024 + 0x3FF, "superblock"),
        (2048 + 3 * 64, "group 3"),
        (bitmap, "bitmap"),
    ] {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        is_whole(&bad, why);
        is_whole(&bad, "checksum");
    }
    let image = made(16 * MIB, "ext4", &["-b", "1024", "-g", "1024", "-O", "^metadata_csum,uninit_bg"]);
    let mut bad = image.load();
    assert_eq!(read(&bad).why_whole, None);
    bad[2048 + 64 + 0x10] ^= 1;
    is_whole(&bad, "group 1 has a wrong checksum");
}

#[test]
fn what_is_cut_off_is_whole_or_another_kind() {
    let good = plain();
    for length in [1024 + 1024, 2048 + 1, 4096, 100_000, good.len() - 1] {
        is_whole(&good[..length].to_vec(), "longer than its volume");
    }
    for length in [0, 1, 511, 1024, 1080, 2047] {
        let volume = read(&good[..length].to_vec());
        assert_eq!((volume.kind, volume.used), ("raw", Extents::all(length as u64)));
    }
}

/// So many bytes, of which only the first few are not zeros.
struct Huge(Vec<u8>, u64);

impl Source for Huge {
    fn bytes(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        source::within(self.1, offset, out.len())?;
        out.fill(0);
        let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        let count = out.len().min(self.0.len() - begin);
        out[..count].copy_from_slice(&self.0[begin..begin + count]);
        Ok(())
    }
}

#[test]
fn a_small_file_can_claim_a_huge_disk_and_gains_nothing() {
    let mut image = plain();
    // 2^32-1 blocks in groups of 8, one inode each: half a billion groups.
    image[1024 + 4..][..4].copy_from_slice(&[0xFF; 4]);
    image[1024 + 0x20..][..4].copy_from_slice(&[8, 0, 0, 0]);
    image[1024 + 0x28..][..4].copy_from_slice(&[1, 0, 0, 0]);
    image[1024..][..4].copy_from_slice(&[0, 0, 0, 0x20]);
    is_whole(&Huge(image.clone(), 1 << 42), "room");
    // With clusters, and no copies of the descriptors.
    image[1024 + 0x5D] |= 2;
    is_whole(&Huge(image.clone(), 1 << 42), "group");
    image[1024 + 0x150..][..4].copy_from_slice(&[0xFF; 4]);
    is_whole(&Huge(image, u64::MAX), "");
}

#[test]
fn what_is_mounted_is_whole() {
    for (kind, options, why) in [
        ("ext2", "", "not unmounted"),
        ("ext3", "", "must be replayed"),
        ("ext4", "", "must be replayed: mount and unmount it once"),
        ("ext4", "-O ^has_journal", "not unmounted"),
    ] {
        let image =
            made(16 * MIB, kind, &options.split_whitespace().chain(["-L", "busy"]).collect::<Vec<_>>());
        let mount = image.mount("rw");
        fill::few(mount.path());
        run("sync", &["-f", mount.path().to_str().unwrap()]);
        let volume = is_whole(&image.load(), why);
        assert_eq!((volume.kind, volume.label.as_str()), (kind, "busy"));
        assert_eq!(volume.uuid, image.blkid("UUID"));
        drop(mount);
        assert_eq!(image.volume().why_whole, None);
        debugfs(&image, "set_super_value state 3");
        is_whole(&image, "errors");
    }
}

#[test]
fn a_journal_on_another_disk_is_whole_and_its_file_system_is_not() {
    let journal = made(8 * MIB, "ext4", &["-b", "1024", "-O", "journal_dev"]);
    let volume = is_whole(&journal, "the journal of a file system that lies elsewhere");
    assert_eq!([volume.kind, &volume.uuid], ["jbd", &journal.blkid("UUID")]);
    let device = Loop::new(journal.path());
    let options = ["-b", "1024", "-J", &format!("device={}", device.name()), "-L", "outside"];
    let image = made(16 * MIB, "ext4", &options);
    drop(device);
    super::is_right(&image, &image.volume(), "external journal");
}

#[test]
fn changed_metadata_never_panics_and_never_takes_long() {
    let images = [plain(), summed()];
    let change = (any::<bool>(), any::<Index>(), any::<u8>());
    let changes = prop::collection::vec(change, 1..12);
    proptest!(ProptestConfig::with_cases(600), |(which in 0_usize..2, changes in changes, length in any::<Index>())| {
        let mut bad = images[which].clone();
        for (is_superblock, place, byte) in changes {
            // The superblock, or the descriptors and the first bitmaps.
            let (from, count) = if is_superblock { (1024, 1024) } else { (2048, 16 << 10) };
            bad[from + place.index(count)] = byte;
        }
        let volume = read(&bad);
        prop_assert!(volume.used.bytes() >= 1024);
        bad.truncate(length.index(bad.len()));
        read(&bad);
    });
}

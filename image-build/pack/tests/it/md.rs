//! Members of Linux software RAID, written after the kernel's md_p.h and checked by libblkid: no kernel here has md.

use pack::volume::{self, Volume};
use pack::{Extents, Source};
use proptest::prelude::*;

use crate::lab::{Disk, MIB, run};

/// A mirror's half. Fields as in `mdp_superblock_1`; sizes in bytes.
pub(crate) struct Mirror {
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
    pub(crate) edit: fn(&mut [u8]),
}

impl Default for Mirror {
    fn default() -> Mirror {
        Mirror { offset: MIB, bytes: 4 * MIB, edit: |_| {} }
    }
}

fn put(to: &mut [u8], at: usize, bytes: &[u8]) {
    to[at..at + bytes.len()].copy_from_slice(bytes);
}

/// `calc_sb_1_csum`.
fn checksum(block: &[u8]) -> u32 {
    let devices = usize::try_from(u32::from_le_bytes(block[220..224].try_into().unwrap())).unwrap();
    let words = block[..(256 + devices * 2).min(block.len())].chunks(4);
    let sum =
        words.map(|word| word.iter().rev().fold(0_u64, |sum, byte| sum << 8 | u64::from(*byte))).sum::<u64>();
    u32::try_from(((sum & 0xffff_ffff) + (sum >> 32)) & 0xffff_ffff).unwrap()
}

impl Mirror {
    /// The superblock for this place.
    fn block(&self, at: u64) -> Vec<u8> {
        let mut block = vec![0; 4096];
        put(&mut block, 0, &0xa92b_4efc_u32.to_le_bytes());
        put(&mut block, 4, &1_u32.to_le_bytes());
        put(&mut block, 16, &[0x11; 16]);
        put(&mut block, 32, b"rack:0");
        put(&mut block, 64, &1_700_000_000_u64.to_le_bytes());
        put(&mut block, 72, &1_u32.to_le_bytes());
        put(&mut block, 80, &(self.bytes / 512).to_le_bytes());
        put(&mut block, 92, &2_u32.to_le_bytes());
        put(&mut block, 128, &(self.offset / 512).to_le_bytes());
        put(&mut block, 136, &(self.bytes / 512).to_le_bytes());
        put(&mut block, 144, &(at / 512).to_le_bytes());
        put(&mut block, 168, &[0x22; 16]);
        put(&mut block, 200, &7_u64.to_le_bytes());
        put(&mut block, 208, &u64::MAX.to_le_bytes());
        put(&mut block, 220, &128_u32.to_le_bytes());
        // Role 0 for this device, 1 for the other, all others are spares.
        block[256..512].fill(0xff);
        put(&mut block, 256, &[0, 0, 1, 0]);
        (self.edit)(&mut block);
        put(&mut block, 216, &[0; 4]);
        let sum = checksum(&block);
        put(&mut block, 216, &sum.to_le_bytes());
        block
    }

    pub(crate) fn write(&self, disk: &mut [u8], at: usize) {
        put(disk, at, &self.block(at as u64));
    }

    fn on(&self, bytes: u64, at: u64) -> Vec<u8> {
        let mut disk = vec![0; usize::try_from(bytes).unwrap()];
        self.write(&mut disk, usize::try_from(at).unwrap());
        disk
    }
}

const DISK: u64 = 8 * MIB;

fn read(disk: &dyn Source) -> Volume {
    let volume = volume::read(disk).unwrap();
    assert_eq!(volume.kind, "linux_raid_member");
    assert!(volume.used.end() <= disk.bytes());
    volume
}

fn whole(disk: &dyn Source) -> String {
    let volume = read(disk);
    assert_eq!(volume.used, Extents::all(disk.bytes()));
    assert_eq!(volume.inside, []);
    volume.why_whole.unwrap()
}

fn blkid(disk: &[u8]) -> Vec<String> {
    let file = Disk::new(disk.len() as u64);
    file.write(0, disk);
    let tags = ["-s", "LABEL", "-s", "TYPE", "-s", "UUID", "-s", "VERSION"];
    let path = file.path();
    let told = run("blkid", &[&["-p", "-o", "export"][..], &tags, &[path.to_str().unwrap()]].concat());
    told.lines().filter(|line| !line.starts_with("DEVNAME")).map(str::to_owned).collect()
}

#[test]
fn a_half_of_every_version_holds_a_volume() {
    let end = DISK - 8192;
    for (version, at, offset, want) in [
        ("1.0", end, 0, vec![0..4 * MIB, 4 * MIB..DISK]),
        ("1.1", 0, MIB, vec![0..4096, MIB..5 * MIB]),
        ("1.2", 4096, MIB, vec![4096..8192, MIB..5 * MIB]),
    ] {
        let disk = Mirror { offset, ..Mirror::default() }.on(DISK, at);
        let found = read(&disk);
        assert_eq!((found.why_whole.as_deref(), found.label.as_str()), (None, "rack:0"), "{version}");
        assert_eq!(found.used, want.into_iter().collect::<Extents>(), "{version}");
        let inside = &found.inside[0];
        assert_eq!((inside.name.as_str(), inside.bytes, inside.volume.kind), ("", 4 * MIB, "raw"));
        let want = [
            "LABEL=rack:0".to_owned(),
            format!("UUID={}", found.uuid),
            format!("VERSION={version}"),
            format!("TYPE={}", found.kind),
        ];
        let mut told = blkid(&disk);
        told.sort();
        let mut want = want.to_vec();
        want.sort();
        assert_eq!(told, want, "{version}");
    }
}

/// Version 0.90: `mdp_super_t`, words in the machine's order.
fn old(bytes: usize, edit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut disk = vec![0; bytes];
    let at = bytes / 65536 * 65536 - 65536;
    let block = &mut disk[at..at + 4096];
    let words =
        [(0, 0xa92b_4efc_u32), (2, 90), (4, 0), (5, 0x1122_3344), (7, 1), (8, 4 << 10), (9, 2), (10, 2)];
    let more = [(13, 0x5566_7788), (14, 0x99aa_bbcc), (15, 0xddee_ff00), (33, 1), (34, 2), (35, 2)];
    let this = [(992, 0), (995, 0), (996, 0b110)];
    for (word, value) in words.into_iter().chain(more).chain(this) {
        put(block, word * 4, &value.to_le_bytes());
    }
    edit(block);
    let sum =
        block.chunks(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap()))).sum::<u64>();
    let sum = u32::try_from(((sum & 0xffff_ffff) + (sum >> 32)) & 0xffff_ffff).unwrap();
    put(block, 38 * 4, &sum.to_le_bytes());
    disk
}

#[test]
fn a_half_of_the_old_version() {
    let disk = old((8 << 20) + 5 * 512, |_| {});
    let found = read(&disk);
    assert_eq!(found.why_whole, None);
    assert_eq!(found.uuid, "11223344-5566-7788-99aa-bbccddeeff00");
    assert_eq!((found.inside[0].bytes, found.used), (4 * MIB, Extents::all(disk.bytes())));
    let told = blkid(&disk);
    assert!(told.contains(&format!("UUID={}", found.uuid)), "{told:?}");
    assert!(told.contains(&"VERSION=0.90.0".to_owned()), "{told:?}");

    let word = |at: usize, value: u32| move |block: &mut [u8]| put(block, at * 4, &value.to_le_bytes());
    for (why, disk) in [
        ("only a mirror's member", old(8 << 20, word(7, 5))),
        ("being reshaped", old(8 << 20, word(2, 91))),
        ("not in sync", old(8 << 20, word(33, 0))),
        ("not in sync", old(8 << 20, word(33, 3))),
        ("a spare or a faulty", old(8 << 20, word(996, 0))),
        ("a spare or a faulty", old(8 << 20, word(995, 2))),
        ("lies over its superblock", old(8 << 20, word(8, u32::MAX))),
    ] {
        let told = whole(&disk);
        assert!(told.contains(why), "{why}: {told}");
    }
    assert_eq!(read(&old(8 << 20, word(33, 0x101))).why_whole, None, "clean, with a bitmap");
    let mut disk = old(8 << 20, |_| {});
    let at = disk.len() - 65536;
    disk[at + 700] = 1;
    assert_eq!(whole(&disk), "its superblock is damaged");
    disk[at..at + 4].reverse();
    assert_eq!(whole(&disk), "its superblock is of a machine with the other byte order");
}

#[test]
fn bitmap_and_bad_blocks_are_used() {
    let mirror = Mirror {
        edit: |block| {
            put(block, 8, &1_u32.to_le_bytes());
            put(block, 96, &8_u32.to_le_bytes());
            put(block, 186, &8_u16.to_le_bytes());
            put(block, 188, &64_u32.to_le_bytes());
        },
        ..Mirror::default()
    };
    let mut disk = mirror.on(DISK, 4096);
    // No bitmap there: everything up to the content could be it.
    assert_eq!(read(&disk).used, with(Extents::new(), 4096..5 * MIB));
    // One bit for each 512 bytes.
    put(&mut disk, 8192, b"bitm");
    put(&mut disk, 8192 + 40, &(4 * MIB / 512).to_le_bytes());
    put(&mut disk, 8192 + 52, &512_u32.to_le_bytes());
    let want = [4096..8192, 8192..12288, 36864..40960, MIB..5 * MIB];
    assert_eq!(read(&disk).used, want.clone().into_iter().collect::<Extents>());
    put(&mut disk, 8192 + 64, &16_u32.to_le_bytes());
    assert_eq!(read(&disk).used, with(want.clone().into_iter().collect(), 8192..16384));
    // Larger than the place for it.
    put(&mut disk, 8192 + 64, &u32::MAX.to_le_bytes());
    assert!(whole(&disk).contains("lies over its content"));
    put(&mut disk, 8192 + 64, &0_u32.to_le_bytes());
    put(&mut disk, 8192 + 40, &u64::MAX.to_le_bytes());
    assert_eq!(read(&disk).used.bytes(), 5 * MIB - 4096);

    for (at, value) in [(96, (2048 - 8_i32)), (188, 2048), (96, -100), (188, i32::MIN)] {
        let mut disk = mirror.on(DISK, 4096);
        put(&mut disk, 4096 + at, &value.to_le_bytes());
        put(&mut disk, 4096 + 216, &[0; 4]);
        let sum = checksum(&disk[4096..8192]);
        put(&mut disk, 4096 + 216, &sum.to_le_bytes());
        let told = whole(&disk);
        assert!(told.contains("lies over its content"), "{at} {value}: {told}");
    }
}

fn with(mut extents: Extents, range: std::ops::Range<u64>) -> Extents {
    extents.add(range);
    extents
}

#[test]
fn members_that_need_not_hold_what_their_array_holds() {
    type Edit = fn(&mut [u8]);
    let level = "only a mirror's member";
    let rebuilt = "being rebuilt or reshaped";
    let role = "a spare, a faulty member or a journal";
    let over = "lies over its superblock or beyond";
    let cases: [(&str, Edit); 18] = [
        (level, |b| put(b, 72, &0_u32.to_le_bytes())),
        (level, |b| put(b, 72, &(-1_i32).to_le_bytes())),
        (level, |b| put(b, 72, &5_u32.to_le_bytes())),
        (level, |b| put(b, 72, &10_u32.to_le_bytes())),
        (rebuilt, |b| put(b, 8, &2_u32.to_le_bytes())),
        (rebuilt, |b| put(b, 8, &4_u32.to_le_bytes())),
        (rebuilt, |b| put(b, 8, &8_u32.to_le_bytes())),
        (rebuilt, |b| put(b, 8, &512_u32.to_le_bytes())),
        (rebuilt, |b| put(b, 8, &(1_u32 << 31).to_le_bytes())),
        ("not in sync", |b| put(b, 208, &0_u64.to_le_bytes())),
        (role, |b| put(b, 256, &0xffff_u16.to_le_bytes())),
        (role, |b| put(b, 256, &0xfffe_u16.to_le_bytes())),
        (role, |b| put(b, 256, &0xfffd_u16.to_le_bytes())),
        (role, |b| put(b, 160, &127_u32.to_le_bytes())),
        (role, |b| put(b, 160, &u32::MAX.to_le_bytes())),
        (over, |b| put(b, 80, &(16_u64 << 11).to_le_bytes())),
        (over, |b| put(b, 128, &0_u64.to_le_bytes())),
        ("its superblock is damaged", |b| put(b, 80, &u64::MAX.to_le_bytes())),
    ];
    for (why, edit) in cases {
        let told = whole(&Mirror { edit, ..Mirror::default() }.on(DISK, 4096));
        assert!(told.contains(why), "{why}: {told}");
    }
    let mut disk = Mirror::default().on(DISK, 4096);
    disk[4096 + 300] ^= 1;
    assert_eq!(whole(&disk), "its superblock is damaged");
    let mut disk = Mirror::default().on(DISK, 4096);
    put(&mut disk, 0, &Mirror { offset: 2 * MIB, ..Mirror::default() }.block(0));
    assert_eq!(whole(&disk), "it has superblocks of two arrays");
    // A superblock that was copied to another place is none.
    let mut disk = vec![0; usize::try_from(DISK).unwrap()];
    put(&mut disk, 0, &Mirror::default().block(4096));
    assert_eq!(volume::read(&disk).unwrap().kind, "raw");
}

/// A file system on a mirror, for every place of the superblock: what is used of the half is enough for it.
#[test]
fn a_file_system_on_a_mirror() {
    let content = Disk::new(16 * MIB);
    run("mkfs.ext4", &["-q", content.name()]);
    let end = 24 * MIB - 8192;
    for (at, offset) in [(end, 0), (0, MIB), (4096, 2 * MIB)] {
        let mut disk = Mirror { offset, bytes: 16 * MIB, ..Mirror::default() }.on(24 * MIB, at);
        put(&mut disk, usize::try_from(offset).unwrap(), &content.read(0, 16 << 20));
        let found = read(&disk);
        let inside = &found.inside[0].volume;
        assert_eq!((inside.kind, inside.why_whole.as_deref()), ("ext4", None));
        let behind = if offset == 0 { 8 * MIB } else { 4096 };
        assert_eq!(found.used.bytes(), inside.used.bytes() + behind);
        assert!(inside.used.bytes() < 8 * MIB);
    }
}

/// Arrays in arrays end at some depth, and the innermost counts as a whole.
#[test]
fn arrays_in_arrays() {
    let mut disk = vec![0; usize::try_from(DISK).unwrap()];
    for n in 0..6_usize {
        let bytes = DISK - (n as u64 + 1) * 8192;
        put(&mut disk, n * 8192, &Mirror { offset: 8192, bytes, ..Mirror::default() }.block(0));
    }
    let mut volume = &read(&disk);
    let mut depth = 0;
    while let Some(inside) = volume.inside.first() {
        (volume, depth) = (&inside.volume, depth + 1);
    }
    assert_eq!((depth, volume.used.bytes()), (3, volume.used.end()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn no_superblock_makes_it_fall(
        edits in prop::collection::vec((0_usize..512, any::<u8>()), 1..8),
        place in 0_usize..4,
        is_summed in any::<bool>(),
    ) {
        let at = [0, 4096, usize::try_from(DISK).unwrap() - 8192, usize::try_from(DISK).unwrap() - 65536][place];
        let mut disk = if place == 3 {
            old(8 << 20, |_| {})
        } else {
            let offset = if place == 2 { 0 } else { MIB };
            Mirror { offset, ..Mirror::default() }.on(DISK, at as u64)
        };
        for (byte, value) in edits {
            disk[at + byte] = value;
        }
        if is_summed && place < 3 {
            put(&mut disk, at + 216, &[0; 4]);
            let sum = checksum(&disk[at..at + 4096]);
            put(&mut disk, at + 216, &sum.to_le_bytes());
        }
        let found = volume::read(&disk).unwrap();
        prop_assert!(found.used.end() <= DISK && !found.used.is_empty());
    }
}

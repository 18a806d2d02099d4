//! Whole disks: what an image must have of them, and what it must not.

use std::ops::Range;

use pack::{Extents, Source, Span, Survey, survey};
use proptest::prelude::*;

use crate::lab::{Disk, Loop, MIB, run};
use crate::md::Mirror;

const SEED: &str = "52415754-5345-4544-8000-000000000001";
const LINUX: &str = "0FC63DAF-8483-4772-8E79-3D69D8477DE4";

fn look(disk: &dyn Source, sector_bytes: u32) -> Survey {
    let found = survey(disk, sector_bytes).unwrap();
    assert!(found.used.end() <= disk.bytes());
    found
}

fn set(ranges: &[Range<u64>]) -> Extents {
    ranges.iter().cloned().collect()
}

fn mib(range: Range<u64>) -> Range<u64> {
    range.start * MIB..range.end * MIB
}

/// A mirror's half whose content is 1 MiB long, 1 MiB behind its start: of a partition it uses two pieces.
fn fill(disk: &Disk, at: u64) {
    let mut half = vec![0; 2 << 20];
    Mirror { offset: MIB, bytes: MIB, ..Mirror::default() }.write(&mut half, 4096);
    disk.write(at, &half);
}

fn half(at: u64) -> [Range<u64>; 2] {
    [at + 4096..at + 8192, at + MIB..at + 2 * MIB]
}

/// Only what is used, on a blank disk.
fn restored(disk: &Disk, found: &Survey) -> Disk {
    let copy = Disk::new(disk.bytes());
    for range in found.used.iter() {
        copy.write(range.start, &disk.read(range.start, usize::try_from(range.end - range.start).unwrap()));
    }
    copy
}

/// The disk of a node: code for BIOSes, the seed, a volume, free space between, and an unknown one.
#[test]
fn a_disk_with_a_gpt() {
    for sector in [512, 4096] {
        let disk = Disk::new(64 * MIB);
        let script = format!(
            "label: gpt\nstart=1MiB, size=1MiB, type=21686148-6449-6E6F-744E-656564454649\n\
             size=2MiB, type={SEED}\nsize=8MiB, type={LINUX}\nstart=32MiB, size=4MiB\n\
             start=40MiB, size=8MiB, type=516e7cb4-6ecf-11d6-8ff8-00022d09712b\n"
        );
        disk.partition(sector, &script);
        fill(&disk, 4 * MIB);
        fill(&disk, 40 * MIB);
        let found = look(&disk, sector);
        assert_eq!(found.seed, Some(Span { offset: 2 * MIB, bytes: 2 * MIB }));
        let kinds = found.volumes.iter().map(|one| (one.partition, one.volume.kind)).collect::<Vec<_>>();
        assert_eq!(kinds, [(1, "raw"), (3, "linux_raid_member"), (4, "raw"), (5, "raw")]);
        let [one, two] = half(4 * MIB);
        let want = [mib(0..2), one, two, mib(32..36), mib(40..48), mib(63..64)];
        assert_eq!(found.used, set(&want), "{sector}");
        assert_eq!(found.table.as_ref().unwrap().sector_bytes, sector);
        let copy = restored(&disk, &found);
        let (before, after) = (Loop::of_sectors(disk.path(), sector), Loop::of_sectors(copy.path(), sector));
        let dump = |device: &Loop| run("sfdisk", &["-d", device.name()]).replace(device.name(), "X");
        assert_eq!(dump(&before), dump(&after));
        assert!(run("sgdisk", &["-v", after.name()]).contains("No problems found"));
    }
}

/// What a manifest says of a disk.
#[test]
fn the_layout_for_a_manifest() {
    let disk = Disk::new(64 * MIB);
    disk.partition(512, "label: dos\nlabel-id: 0x00c0ffee\nstart=1MiB, size=4MiB, type=fd\n");
    fill(&disk, MIB);
    let layout = look(&disk, 512).layout();
    let table = layout.table.unwrap();
    assert_eq!((table.kind.as_str(), table.id.as_str(), layout.sector_bytes), ("mbr", "00c0ffee", 512));
    let [one] = &layout.partitions[..] else { panic!("{layout:?}", layout = layout.partitions) };
    assert_eq!((one.number, one.kind.as_str(), one.uuid.as_str()), (1, "0xfd", "00c0ffee-01"));
    let volumes = layout.volumes.iter().map(|one| (one.kind.as_str(), one.offset, one.bytes, one.used_bytes));
    let want = [("linux_raid_member", MIB, 4 * MIB, MIB + 4096), ("raw", MIB, MIB, MIB)];
    assert_eq!(volumes.collect::<Vec<_>>(), want);
}

/// File systems in partitions: what is used of them, on a blank disk, is whole.
#[test]
fn file_systems_survive_in_what_is_used() {
    let disk = Disk::new(128 * MIB);
    disk.partition(512, "label: gpt\nstart=1MiB, size=20MiB\nsize=40MiB\n");
    let [boot, root] = [(Disk::new(20 * MIB), MIB), (Disk::new(40 * MIB), 21 * MIB)];
    run("mkfs.vfat", &[boot.0.name()]);
    run("mkfs.ext4", &["-q", root.0.name()]);
    for (volume, offset) in [&boot, &root] {
        disk.write(*offset, &volume.read(0, usize::try_from(volume.bytes()).unwrap()));
    }
    let found = look(&disk, 512);
    let kinds = found.volumes.iter().map(|one| (one.volume.kind, one.volume.why_whole.as_deref()));
    assert_eq!(kinds.collect::<Vec<_>>(), [("vfat", None), ("ext4", None)]);
    assert!(found.used.bytes() < 24 * MIB, "{} bytes", found.used.bytes());
    let copy = restored(&disk, &found);
    for (volume, offset) in [&boot, &root] {
        volume.write(0, &copy.read(*offset, usize::try_from(volume.bytes()).unwrap()));
    }
    run("fsck.vfat", &["-n", boot.0.name()]);
    run("e2fsck", &["-f", "-n", root.0.name()]);
}

/// One node's secret does not travel, wherever its place is.
#[test]
fn the_seed_is_never_used() {
    let disk = Disk::new(16 * MIB);
    let script = format!(
        "label: gpt\nfirst-lba: 34\nstart=64, size=64, type={SEED}\nstart=2048, size=1MiB\n\
         start=31744, size=900, type={SEED}\n"
    );
    disk.partition(512, &script);
    let secret = [0x5e; 512 * 64];
    disk.write(64 * 512, &secret);
    disk.write(31744 * 512, &secret);
    let found = look(&disk, 512);
    assert_eq!(found.seed, Some(Span { offset: 64 * 512, bytes: 64 * 512 }));
    let end = (31744 + 900) * 512;
    assert_eq!(found.used, set(&[0..64 * 512, 128 * 512..2 * MIB, 15 * MIB..31744 * 512, end..16 * MIB]));
    assert!(found.volumes.iter().all(|one| one.partition == 2));
    let mut copy = vec![0; 16 << 20];
    restored(&disk, &found).read_at(0, &mut copy).unwrap();
    assert!(!copy.windows(16).any(|bytes| bytes == [0x5e; 16]));
}

#[test]
fn a_disk_with_logical_partitions() {
    let disk = Disk::new(64 * MIB);
    let script = "label: dos\nstart=4MiB, size=4MiB, type=83\nstart=10MiB, size=40MiB, type=f\n\
                  start=11MiB, size=4MiB, type=fd\nstart=20MiB, size=4MiB, type=a5\n";
    disk.partition(512, script);
    fill(&disk, 11 * MIB);
    fill(&disk, 20 * MIB);
    // Boot code between the table and the first partition.
    disk.write(3 * MIB, b"core.img");
    let found = look(&disk, 512);
    let table = found.table.as_ref().unwrap();
    let chain = table.metadata.iter().skip(1).collect::<Vec<_>>();
    assert_eq!(chain.len(), 2);
    let [one, two] = half(11 * MIB);
    let want = [mib(0..8), one, two, mib(20..24), mib(63..64)];
    assert_eq!(found.used, set(&[&want[..], &chain].concat()));
    let kinds = found.volumes.iter().map(|one| (one.partition, one.volume.kind)).collect::<Vec<_>>();
    assert_eq!(kinds, [(1, "raw"), (5, "linux_raid_member"), (6, "raw")]);
    assert_eq!(found.seed, None);
    let dump = |disk: &Disk| run("sfdisk", &["-d", disk.name()]).replace(disk.name(), "X");
    assert_eq!(dump(&disk), dump(&restored(&disk, &found)));
}

#[test]
fn room_before_a_late_first_partition_is_free() {
    let disk = Disk::new(64 * MIB);
    disk.partition(512, "label: dos\nstart=40MiB, size=4MiB, type=83\n");
    assert_eq!(look(&disk, 512).used, set(&[mib(0..16), mib(40..44), mib(63..64)]));
    let empty = Disk::new(64 * MIB);
    empty.partition(512, "label: gpt\n");
    let found = look(&empty, 512);
    assert_eq!((found.used, found.volumes), (set(&[mib(0..16), mib(63..64)]), vec![]));
}

#[test]
fn a_disk_without_partitions_is_one_volume() {
    let disk = Disk::new(64 * MIB);
    fill(&disk, 0);
    let found = look(&disk, 512);
    assert_eq!((found.table, found.damage, found.volumes.len()), (None, None, 1));
    assert_eq!((found.volumes[0].partition, found.volumes[0].volume.kind), (0, "linux_raid_member"));
    assert_eq!(found.used, set(&[mib(0..2), mib(63..64)]));
    for bytes in [0, 1, 511, 512, 4096, MIB - 1, 2 * MIB + 1] {
        let blank = vec![0; usize::try_from(bytes).unwrap()];
        let found = look(&blank, 512);
        assert_eq!((found.used, found.volumes[0].volume.kind), (Extents::all(bytes), "raw"));
    }
}

#[test]
fn a_disk_whose_table_makes_no_sense_is_taken_as_a_whole() {
    let disk = Disk::new(64 * MIB);
    disk.partition(512, "label: gpt\nsize=4MiB\n");
    let found = look(&disk, 4096);
    let why = "this partition table was made for 512-byte sectors, and the disk has 4096-byte sectors";
    assert_eq!(found.damage.as_deref(), Some(why));
    assert_eq!((found.table, found.seed, &found.used), (None, None, &Extents::all(64 * MIB)));
    assert_eq!(found.volumes[0].volume.why_whole.as_deref(), Some(why));
    disk.write(446, &[0; 16]);
    let found = look(&disk, 512);
    assert_eq!(found.used, Extents::all(64 * MIB));
    assert!(found.damage.unwrap().contains("no MBR that protects it"));
}

/// A device that can't be read is an error, not a disk that is empty.
#[test]
fn a_device_that_fails() {
    struct Broken(Vec<u8>, Range<u64>);
    impl Source for Broken {
        fn bytes(&self) -> u64 {
            self.0.bytes()
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
            let end = offset + out.len() as u64;
            if offset < self.1.end && self.1.start < end {
                return Err(std::io::Error::other("bad sector"));
            }
            self.0.read_at(offset, out)
        }
    }
    let disk = Disk::new(8 * MIB);
    disk.partition(512, "label: gpt\nstart=1MiB, size=4MiB\n");
    let mut raw = disk.read(0, 8 << 20);
    for bad in [0..1, 600..601, 2000..2001, MIB..MIB + 1, 8 * MIB - 1..8 * MIB] {
        assert!(survey(&Broken(raw.clone(), bad.clone()), 512).is_err(), "{bad:?}");
    }
    raw.fill(0);
    assert!(survey(&Broken(raw, 4096..4097), 512).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Whatever is written on a disk: its edges are used, all volumes lie on it, and what they use is used.
    #[test]
    fn no_disk_makes_it_fall(
        edits in prop::collection::vec((0_usize..(8 << 20), prop::collection::vec(any::<u8>(), 1..40)), 0..8),
        head in prop::collection::vec((0_usize..2048, any::<u8>()), 0..8),
        sector in prop::sample::select(vec![512_u32, 4096, 0, 3, u32::MAX]),
        kind in 0_usize..3,
    ) {
        use std::sync::OnceLock;
        static DISKS: OnceLock<[Vec<u8>; 3]> = OnceLock::new();
        let disks = DISKS.get_or_init(|| {
            let made = |script| {
                let disk = Disk::new(8 * MIB);
                disk.partition(512, script);
                fill(&disk, 2 * MIB);
                disk.read(0, 8 << 20)
            };
            [
                made("label: gpt\nstart=1MiB, size=1MiB\nstart=2MiB, size=4MiB\n"),
                made("label: dos\nstart=1MiB, size=6MiB, type=5\nstart=2MiB, size=4MiB\n"),
                vec![0; 8 << 20],
            ]
        });
        let mut disk = disks[kind].clone();
        for (at, bytes) in edits {
            let end = (at + bytes.len()).min(disk.len());
            disk[at..end].copy_from_slice(&bytes[..end - at]);
        }
        head.into_iter().for_each(|(at, byte)| disk[at] = byte);
        let found = survey(&disk, sector).unwrap();
        prop_assert!(found.used.end() <= 8 * MIB);
        for edge in [0..MIB, 7 * MIB..8 * MIB] {
            prop_assert_eq!(found.used.within(edge.clone()).collect::<Vec<_>>(), [edge]);
        }
        for one in &found.volumes {
            prop_assert!(one.offset + one.bytes <= 8 * MIB);
            for range in one.volume.used.iter() {
                let range = one.offset + range.start..one.offset + range.end;
                prop_assert_eq!(found.used.within(range.clone()).collect::<Vec<_>>(), [range]);
            }
        }
    }
}

//! Partition tables against sfdisk, sgdisk and libblkid (through partx), and tables that nobody should have made.

use pack::table::{self, Kind, NoTable, Table, Unfit, refit};
use pack::{Extents, Source};
use proptest::prelude::*;

use crate::lab::{Disk, Loop, MIB, run};

const GPT: &str = "label: gpt
label-id: 11111111-2222-3333-4444-555555555555
size=4MiB, type=21686148-6449-6E6F-744E-656564454649, uuid=00000000-0000-0000-0000-000000000001, name=\"boot\"
size=8MiB, uuid=00000000-0000-0000-0000-00000000000A, name=\"r\u{e4}ck one\", attrs=\"LegacyBIOSBootable\"
start=24MiB, size=6MiB, uuid=00000000-0000-0000-0000-000000000003
";
const MBR: &str = "label: dos
label-id: 0x0012abcd
size=4MiB, type=7, bootable
size=4MiB, type=83
size=40MiB, type=f
size=4MiB, type=82
size=3MiB, type=83
size=5MiB, type=83
size=6MiB, type=8e
";

fn read(disk: &dyn Source, sector_bytes: u32) -> Table {
    table::read(disk, sector_bytes).unwrap()
}

fn senseless(disk: &dyn Source, sector_bytes: u32) -> String {
    match table::read(disk, sector_bytes) {
        Err(NoTable::Senseless(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// Number, offset, bytes, PARTUUID and type of every partition, as libblkid has them.
fn partx(disk: &Disk, sector_bytes: u32) -> Vec<String> {
    let device = Loop::of_sectors(disk.path(), sector_bytes);
    let columns = "NR,START,SIZE,UUID,TYPE";
    let told = run("partx", &["-r", "-g", "-b", "-o", columns, device.name()]);
    told.lines().map(str::to_owned).collect()
}

/// The same of ours; libblkid counts starts in 512-byte sectors.
fn lines(table: &Table) -> Vec<String> {
    let line = |one: &table::Partition| {
        format!("{} {} {} {} {}", one.number, one.offset / 512, one.bytes, one.uuid, one.kind)
    };
    table.partitions.iter().map(line).collect()
}

#[test]
fn gpt_as_libblkid_reads_it() {
    for sector in [512_u32, 4096] {
        let disk = Disk::new(64 * MIB);
        disk.partition(sector, GPT);
        let found = read(&disk, sector);
        assert_eq!(lines(&found), partx(&disk, sector));
        assert_eq!((found.kind, found.sector_bytes), (Kind::Gpt, sector));
        assert_eq!(found.id, "11111111-2222-3333-4444-555555555555");
        assert_eq!(found.damage, Vec::<String>::new());
        let names = found.partitions.iter().map(|one| (one.name.as_str(), one.bootable)).collect::<Vec<_>>();
        assert_eq!(names, [("boot", false), ("r\u{e4}ck one", true), ("", false)]);
        // The table is where the disk is not zero, and nowhere else.
        let s = u64::from(sector);
        let half = 16384_u64.next_multiple_of(s);
        let end = 64 * MIB;
        let want = [0..2 * s + half, end - s - half..end].into_iter().collect::<Extents>();
        assert_eq!(found.metadata, want);
        let other = 4096 + 512 - sector;
        let why = table::read(&disk, other).unwrap_err();
        assert!(
            matches!(why, NoTable::SectorBytes { made_for, asked } if made_for == sector && asked == other)
        );
        assert_eq!(
            why.to_string(),
            format!(
                "this partition table was made for {sector}-byte sectors, and the disk has {other}-byte sectors"
            )
        );
    }
}

#[test]
fn mbr_as_libblkid_reads_it() {
    for sector in [512_u32, 4096] {
        let disk = Disk::new(64 * MIB);
        disk.partition(sector, MBR);
        let found = read(&disk, sector);
        assert_eq!(lines(&found), partx(&disk, sector));
        assert_eq!((found.kind, found.id.as_str()), (Kind::Mbr, "0012abcd"));
        assert_eq!(found.partitions.len(), 7);
        assert!(found.partitions[0].bootable && found.partitions[2].is_extended());
        assert_eq!(found.metadata.bytes(), 4 * u64::from(sector), "one record, three in the chain");
    }
}

#[test]
fn sixty_logical_partitions() {
    let disk = Disk::new(200 * MIB);
    let script = "label: dos\nsize=190MiB, type=5\n".to_owned() + &"size=1MiB, type=83\n".repeat(50);
    disk.partition(512, &script);
    assert_eq!(lines(&read(&disk, 512)), partx(&disk, 512));
}

#[test]
fn a_broken_half_is_said_and_the_other_used() {
    let disk = Disk::new(64 * MIB);
    disk.partition(512, GPT);
    let whole = read(&disk, 512);
    for (at, want) in [
        (512 + 60, "the primary GPT is no good, the backup is used: its checksum is wrong"),
        (1024 + 300, "the primary GPT is no good, the backup is used: the checksum of its entries is wrong"),
        (64 * MIB - 512 + 60, "the backup GPT is no good: its checksum is wrong"),
        (64 * MIB - 16000, "the backup GPT is no good: the checksum of its entries is wrong"),
    ] {
        let broken = disk.copy();
        broken.write(at, &[0xa5]);
        let found = read(&broken, 512);
        assert_eq!(found.damage, [want]);
        assert_eq!((found.partitions, found.id), (whole.partitions.clone(), whole.id.clone()));
    }
    disk.write(512, &[0; 512]);
    disk.write(64 * MIB - 512, &[0; 512]);
    assert!(senseless(&disk, 512).starts_with("there is a protective MBR, and of the GPT neither"));
}

#[test]
fn a_table_on_a_larger_disk_than_it_was_made_for() {
    let mut disk = Disk::new(64 * MIB);
    disk.partition(512, GPT);
    disk.resize(80 * MIB);
    let found = read(&disk, 512);
    assert_eq!(found.damage, ["the backup GPT is not at the end of the disk"]);
    assert!(found.metadata.within(64 * MIB - 512..64 * MIB).next().is_some());
}

#[test]
fn hybrid_tables() {
    let disk = Disk::new(64 * MIB);
    disk.partition(512, GPT);
    run("sgdisk", &["-h", "2:3", disk.name()]);
    let found = read(&disk, 512);
    assert_eq!(found.partitions.len(), 3);
    assert_eq!(found.damage[0], "the MBR is a hybrid: its entry 2 is also a partition of the GPT");
    // A partition that only the MBR knows.
    disk.write(446 + 2 * 16 + 8, &(100_000_u32).to_le_bytes());
    assert_eq!(senseless(&disk, 512), "entry 3 of the hybrid MBR is no partition of the GPT");
}

#[test]
fn a_gpt_that_nothing_protects_is_no_answer() {
    let disk = Disk::new(64 * MIB);
    disk.partition(512, GPT);
    let unprotected = disk.copy();
    unprotected.write(446, &[0; 66]);
    assert_eq!(senseless(&unprotected, 512), "there is a GPT, and no MBR that protects it");
    disk.write(446, &entry(0, 0x83, 20_000, 1000));
    let found = read(&disk, 512);
    assert_eq!((found.kind, found.partitions.len()), (Kind::Mbr, 1));
    assert_eq!(found.damage, ["the remains of a GPT lie behind the master boot record"]);
    disk.write(446, &entry(0, 0xee, 2, 1000));
    assert!(senseless(&disk, 512).starts_with("the MBR protects a GPT from some other sector"));
}

#[test]
fn a_disk_without_partitions() {
    let bare = |disk: &dyn Source| matches!(table::read(disk, 512), Err(NoTable::Absent));
    let disk = Disk::new(64 * MIB);
    assert!(bare(&disk));
    let path = disk.path();
    for more in [&["-F", "16"][..], &["-F", "32"], &["--mbr=yes"]] {
        run("mkfs.vfat", &[more, &[path.to_str().unwrap()]].concat());
        assert!(bare(&disk), "{more:?}");
    }
    // Boot code, ends with the signature, and is no table.
    disk.write(0, &[0x33; 510]);
    assert!(bare(&disk));
    assert!(bare(&vec![0; 100]) && bare(&Vec::new()));
    assert_eq!(senseless(&disk, 1000), "a disk has no sectors of 1000 bytes");
}

#[test]
fn a_boot_sector_that_is_also_a_table_is_no_answer() {
    let disk = Disk::new(64 * MIB);
    run("mkfs.vfat", &["-F", "32", disk.name()]);
    disk.write(446, &entry(0x80, 0x83, 2048, 2048));
    assert_eq!(senseless(&disk, 512), "the first sector is also the boot sector of FAT");
    disk.write(0, b"\xeb\x52\x90NTFS    ");
    assert_eq!(senseless(&disk, 512), "the first sector is also the boot sector of NTFS");
    disk.write(0, &[0; 440]);
    assert_eq!(read(&disk, 512).partitions.len(), 1);
}

/// One entry of a boot record.
fn entry(flag: u8, kind: u8, first: u32, sectors: u32) -> [u8; 16] {
    let mut entry = [0; 16];
    (entry[0], entry[4]) = (flag, kind);
    entry[8..12].copy_from_slice(&first.to_le_bytes());
    entry[12..16].copy_from_slice(&sectors.to_le_bytes());
    entry
}

/// A disk of 8 MiB with these records: sector, entries.
fn records(records: &[(usize, &[[u8; 16]])]) -> Vec<u8> {
    let mut disk = vec![0; 8 << 20];
    for (sector, entries) in records {
        let at = sector * 512;
        disk[at + 510..at + 512].copy_from_slice(&[0x55, 0xaa]);
        entries
            .iter()
            .enumerate()
            .for_each(|(n, entry)| disk[at + 446 + n * 16..][..16].copy_from_slice(entry));
    }
    disk
}

#[test]
fn hostile_chains() {
    let base = [entry(0, 0x05, 100, 10_000)];
    let good = records(&[
        (0, &base),
        (100, &[entry(0, 0x83, 2, 50), entry(0, 0x05, 100, 100)]),
        (200, &[entry(0, 0x83, 2, 50)]),
    ]);
    assert_eq!(read(&good, 512).partitions.len(), 3);
    assert_eq!(read(&records(&[(0, &base)]), 512).partitions.len(), 1, "nothing in it");
    let volume = entry(0, 0x83, 2, 50);
    for (why, chain) in [
        ("leads backwards", vec![(100, vec![volume, entry(0, 0x05, 0, 100)])]),
        ("leads backwards", vec![(100, vec![entry(0, 0x85, 100, 9)]), (200, vec![entry(0, 0x0f, 50, 9)])]),
        ("out of the extended", vec![(100, vec![volume, entry(0, 0x05, 10_000, 100)])]),
        ("out of the extended", vec![(100, vec![volume, entry(0, 0x05, u32::MAX, 100)])]),
        ("is no boot record", vec![(100, vec![volume, entry(0, 0x05, 300, 100)])]),
        ("more than one", vec![(100, vec![volume, entry(0, 0x83, 100, 5)])]),
        ("more than one", vec![(100, vec![entry(0, 0x05, 300, 5), entry(0, 0x05, 400, 5)])]),
        ("outside of its extended", vec![(100, vec![entry(0, 0x83, 2, 9_999)])]),
        ("outside of its extended", vec![(100, vec![entry(0, 0x83, 0, 9)])]),
        ("over the table", vec![(100, vec![entry(0, 0x83, 2, 150), entry(0, 5, 100, 9)]), (200, vec![])]),
        (
            "partitions 5 and 6 overlap",
            vec![
                (100, vec![entry(0, 0x83, 150, 50), entry(0, 5, 100, 9)]),
                (200, vec![entry(0, 0x83, 60, 9)]),
            ],
        ),
    ] {
        let mut all = vec![(0, base.as_slice())];
        all.extend(chain.iter().map(|(sector, entries)| (*sector, entries.as_slice())));
        let told = senseless(&records(&all), 512);
        assert!(told.contains(why), "{why}: {told}");
    }
    let links =
        (0..200).map(|n| (100 + n, [entry(0, 0x05, u32::try_from(n).unwrap() + 1, 9)])).collect::<Vec<_>>();
    let mut all = vec![(0, base.as_slice())];
    all.extend(links.iter().map(|(sector, entries)| (*sector, entries.as_slice())));
    assert!(senseless(&records(&all), 512).contains("too long"));
}

#[test]
fn hostile_first_records() {
    for (why, entries) in [
        ("partitions 1 and 2 overlap", vec![entry(0, 0x83, 100, 50), entry(0, 0x83, 149, 5)]),
        ("partitions 3 and 1 overlap", vec![entry(0, 5, 100, 50), [0; 16], entry(0, 0x83, 50, 500)]),
        ("partition 1 ends 512 bytes beyond", vec![entry(0, 0x83, 100, (8 << 11) - 99)]),
        ("partition 1 ends", vec![entry(0, 0x83, u32::MAX, u32::MAX)]),
    ] {
        let told = senseless(&records(&[(0, &entries)]), 512);
        assert!(told.starts_with(why), "{why}: {told}");
    }
}

/// A GPT of one half whose checksums are right whatever is written into it.
fn forged(edit: impl FnOnce(&mut [u8], &mut [u8])) -> Vec<u8> {
    let disk = Disk::new(8 * MIB);
    disk.partition(512, "label: gpt\nstart=2048, size=2048\nstart=6144, size=2048\n");
    let mut raw = disk.read(0, 8 << 20);
    raw[(8 << 20) - 512..].fill(0);
    let (head, entries) = raw[512..].split_at_mut(512);
    let entries = &mut entries[..16384];
    edit(head, entries);
    let count = usize::try_from(u32::from_le_bytes(head[80..84].try_into().unwrap())).unwrap();
    let size = usize::try_from(u32::from_le_bytes(head[84..88].try_into().unwrap())).unwrap();
    if let Some(summed) = entries.get(..count.saturating_mul(size)) {
        head[88..92].copy_from_slice(&crc32(summed).to_le_bytes());
    }
    head[16..20].fill(0);
    let length = usize::try_from(u32::from_le_bytes(head[12..16].try_into().unwrap())).unwrap();
    let sum = crc32(&head[..length.min(512)]);
    head[16..20].copy_from_slice(&sum.to_le_bytes());
    raw
}

/// CRC-32 bit by bit: not what is tested.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[test]
fn hostile_gpts_with_right_checksums() {
    type Edit = fn(&mut [u8], &mut [u8]);
    assert_eq!(read(&forged(|_, _| {}), 512).partitions.len(), 2);
    let cases: [(&str, Edit); 14] = [
        ("its length is impossible", |h, _| h[12..16].copy_from_slice(&513_u32.to_le_bytes())),
        ("its length is impossible", |h, _| h[12..16].copy_from_slice(&91_u32.to_le_bytes())),
        ("written for another place", |h, _| h[24] = 2),
        ("an impossible number", |h, _| h[80..84].fill(0xff)),
        ("an impossible number", |h, _| h[80..84].fill(0)),
        ("an impossible size", |h, _| h[84..88].copy_from_slice(&136_u32.to_le_bytes())),
        ("an impossible size", |h, _| h[84..88].copy_from_slice(&(1_u32 << 30).to_le_bytes())),
        ("entries lie beyond", |h, _| h[72..80].fill(0xff)),
        ("entries lie beyond", |h, _| h[72..80].fill(0)),
        ("partition 1 ends before it begins", |_, e| e[40..48].copy_from_slice(&2047_u64.to_le_bytes())),
        ("partition 1 ends before it begins", |_, e| {
            e[32..40].fill(0);
            e[40..48].fill(0xff);
        }),
        ("partition 1 ends", |_, e| e[40..48].copy_from_slice(&u64::MAX.to_le_bytes())),
        ("partitions 1 and 2 overlap", |_, e| e[40..48].copy_from_slice(&6144_u64.to_le_bytes())),
        ("partition 1 lies over the table", |_, e| e[32..40].copy_from_slice(&33_u64.to_le_bytes())),
    ];
    for (why, edit) in cases {
        let told = senseless(&forged(edit), 512);
        assert!(told.contains(why), "{why}: {told}");
    }
    let many = forged(|_, entries| {
        for (entry, n) in entries.chunks_exact_mut(128).zip(0_u64..) {
            entry[..16].fill(1);
            entry[32..40].copy_from_slice(&(2048 + n).to_le_bytes());
            entry[40..48].copy_from_slice(&(2048 + n).to_le_bytes());
        }
    });
    assert_eq!(read(&many, 512).partitions.len(), 128);
    let outside = forged(|header, _| header[40..48].copy_from_slice(&4000_u64.to_le_bytes()));
    let damage = read(&outside, 512).damage;
    assert!(damage.contains(&"partition 1 lies outside of the usable sectors".to_owned()), "{damage:?}");
}

/// The table as sfdisk makes it on a disk of this size: what refitting must come to, byte by byte.
fn fresh(bytes: u64, sector: u32) -> Disk {
    let disk = Disk::new(bytes);
    disk.partition(sector, GPT);
    disk
}

#[test]
fn refitting_comes_to_what_sfdisk_makes_on_that_disk() {
    for (sector, old, new) in [
        (512_u32, 64, 64),
        (512, 64, 100),
        (512, 64, 33),
        (4096, 64, 64),
        (4096, 64, 100),
        (4096, 64, 33),
        // More sectors than the protective MBR can tell.
        (512, 64, 3 << 20),
    ] {
        let (old, new) = (old * MIB, new * MIB);
        let image = fresh(old, sector);
        let fitted = refit(&image.read(0, 1 << 20), old, new, sector).unwrap();
        let want = fresh(new, sector);
        assert_eq!(fitted.first, want.read(0, 1 << 20), "{sector} {new}");
        assert_eq!(fitted.at + fitted.last.len() as u64, new);
        assert_eq!(fitted.last, want.read(fitted.at, fitted.last.len()), "{sector} {new}");
        assert_eq!(fitted.content_end, 30 * MIB);
        let mut disk = image.copy();
        disk.resize(new);
        disk.write(0, &fitted.first);
        disk.write(fitted.at, &fitted.last);
        let found = read(&disk, sector);
        assert_eq!((found.damage, found.partitions.len()), (Vec::new(), 3));
        let device = Loop::of_sectors(disk.path(), sector);
        let told = run("sgdisk", &["-v", device.name()]);
        assert!(told.contains("No problems found"), "{told}");
    }
}

/// `sgdisk -e` ends with the same places, but it aligns the last usable sector in its newer versions.
#[test]
fn refitting_has_the_backup_where_sgdisk_moves_it() {
    let mut disk = fresh(64 * MIB, 512);
    let fitted = refit(&disk.read(0, 1 << 20), 64 * MIB, 100 * MIB, 512).unwrap();
    disk.resize(100 * MIB);
    run("sgdisk", &["-e", disk.name()]);
    let (ours, theirs) = (&fitted.first[512..], disk.read(512, 92));
    for (what, range) in [("places", 24..48), ("disk and entries", 56..92)] {
        assert_eq!(ours[range.clone()], theirs[range], "{what}");
    }
    assert_eq!(fitted.first[1024..1024 + 16384], disk.read(1024, 16384));
    assert_eq!(fitted.last.last_chunk::<512>().unwrap()[..8], *b"EFI PART");
}

#[test]
fn what_does_not_fit_is_told_with_the_bytes() {
    let image = fresh(64 * MIB, 512);
    let first = image.read(0, 1 << 20);
    // The third partition ends at 30 MiB; 33 sectors of backup follow.
    let least = 30 * MIB + 33 * 512;
    assert!(refit(&first, 64 * MIB, least, 512).is_ok());
    let why = refit(&first, 64 * MIB, least - 512, 512).unwrap_err();
    assert_eq!(why, Unfit::Partition { partition: 3, by: 512 });
    assert_eq!(why.to_string(), "the disk is 512 bytes too small: partition 3 would not lie on it");
    assert_eq!(refit(&first, 64 * MIB, 0, 512), Err(Unfit::Partition { partition: 3, by: 30 * MIB }));
    let other = refit(&first, 64 * MIB, 64 * MIB, 4096).unwrap_err().to_string();
    assert!(other.contains("made for 512-byte sectors"), "{other}");
    let mut broken = first.clone();
    broken[600] ^= 1;
    assert!(matches!(refit(&broken, 64 * MIB, 64 * MIB, 512), Err(Unfit::Table(_))));
    assert!(matches!(refit(&first[..1024], 64 * MIB, 64 * MIB, 512), Err(Unfit::Table(_))));

    let mbr = Disk::new(64 * MIB);
    mbr.partition(512, MBR);
    let first = mbr.read(0, 1 << 20);
    let fitted = refit(&first, 64 * MIB, 100 * MIB, 512).unwrap();
    assert_eq!((fitted.first, fitted.last.len(), fitted.at), (first.clone(), 0, 100 * MIB));
    let end = read(&mbr, 512).partitions.iter().map(table::Partition::end).max().unwrap();
    assert_eq!(fitted.content_end, end);
    assert!(refit(&first, 64 * MIB, end, 512).is_ok());
    assert_eq!(refit(&first, 64 * MIB, end - 1, 512), Err(Unfit::Partition { partition: 4, by: 1 }));

    assert!(refit(&[0; 1 << 20], 64 * MIB, 65 * MIB, 512).is_ok());
    assert_eq!(refit(&[0; 1 << 20], 64 * MIB, 63 * MIB, 512), Err(Unfit::Bare { by: MIB }));
}

fn small(script: &str) -> Vec<u8> {
    let disk = Disk::new(8 * MIB);
    disk.partition(512, script);
    disk.read(0, 8 << 20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Bytes of a GPT and of a chain, changed at will: an answer or a refusal, whose partitions lie on the disk, apart from
    /// each other and from the table.
    #[test]
    fn no_change_makes_it_fall(
        edits in prop::collection::vec((0_usize..4096, any::<u8>()), 1..12),
        is_gpt in any::<bool>(),
        is_summed in any::<bool>(),
        new in 0..(16 * MIB),
    ) {
        use std::sync::OnceLock;
        static DISKS: OnceLock<[Vec<u8>; 2]> = OnceLock::new();
        let disks = DISKS.get_or_init(|| [
            small("label: dos\nsize=1MiB\nsize=6MiB, type=5\nsize=1MiB\nsize=1MiB\n"),
            small("label: gpt\nsize=1MiB\nsize=2MiB\n"),
        ]);
        let mut disk = disks[usize::from(is_gpt)].clone();
        for (at, byte) in edits {
            // Where tables are: the first sectors, and the chain at 2 MiB and 4 MiB.
            let at = if is_gpt || at < 512 { at } else { (at % 512) + (2 << 20) * (1 + at / 512 % 2) };
            disk[at] = byte;
        }
        if is_gpt && is_summed {
            let sum = crc32(&disk[1024..1024 + 16384]);
            disk[512 + 88..512 + 92].copy_from_slice(&sum.to_le_bytes());
            disk[512 + 16..512 + 20].fill(0);
            let sum = crc32(&disk[512..512 + 92]);
            disk[512 + 16..512 + 20].copy_from_slice(&sum.to_le_bytes());
        }
        let bytes = disk.len() as u64;
        if let Ok(table) = table::read(&disk, 512) {
            let mut volumes = table.partitions.iter().filter(|one| !one.is_extended()).collect::<Vec<_>>();
            volumes.sort_by_key(|one| one.offset);
            prop_assert!(volumes.windows(2).all(|pair| pair[0].end() <= pair[1].offset));
            prop_assert!(volumes.iter().all(|one| one.bytes > 0 && one.end() <= bytes));
            prop_assert!(volumes.iter().all(|one| table.metadata.within(one.offset..one.end()).next().is_none()));
        }
        let _ = table::read(&disk, 4096);
        if let Ok(fitted) = refit(&disk[..1 << 20], bytes, new, 512) {
            prop_assert!(fitted.at >= fitted.content_end && fitted.at + fitted.last.len() as u64 <= new);
            prop_assert_eq!(fitted.first.len(), 1 << 20);
        }
    }
}

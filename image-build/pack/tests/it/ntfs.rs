//! NTFS.

use pack::Extents;

use crate::lab::{Disk, Loop, Mount, Patch, assert_whole, beyond, contents, done, each, fill, flip, patched};

/// A filled volume, and the files that are in it.
fn filled(mib: u64, sector: u32, options: &str) -> (Disk, std::path::PathBuf) {
    let image = Disk::new(mib << 20);
    done(&format!("mkfs.ntfs -F -Q -q -L Größe€💾 -s {sector} {options} {{}}"), image.path());
    let files = image.dir("files");
    fill(&files);
    let mount = Mount::in_user_space(image.path(), "ntfs-3g", sector);
    fill(mount.path());
    drop(mount);
    (image, files)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn u16_at(bytes: &[u8], at: usize) -> usize {
    u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()).into()
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()).try_into().unwrap()
}

fn cluster_bytes(bytes: &[u8]) -> usize {
    let sectors = usize::from(bytes[13]);
    u16_at(bytes, 11) * if sectors > 128 { 1 << (256 - sectors) } else { sectors }
}

/// Where a record of the master file table is; none of these tables is in pieces.
fn record(bytes: &[u8], number: usize) -> usize {
    usize::try_from(u64_at(bytes, 48)).unwrap() * cluster_bytes(bytes) + number * 1024
}

/// Where an attribute of a record is.
fn attribute(bytes: &[u8], number: usize, kind: usize) -> usize {
    let mut at = record(bytes, number) + u16_at(bytes, record(bytes, number) + 20);
    while u32_at(bytes, at) != kind {
        at += u32_at(bytes, at + 4);
    }
    at
}

/// Where the mapping pairs of a record's content are, and where the content begins.
fn runs(bytes: &[u8], number: usize) -> (usize, usize) {
    let data = attribute(bytes, number, 0x80);
    let pairs = data + u16_at(bytes, data + 32);
    let (length, distance) = (usize::from(bytes[pairs] & 0xf), usize::from(bytes[pairs] >> 4));
    let first = &bytes[pairs + 1 + length..][..distance];
    let first = first.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    (pairs, first * cluster_bytes(bytes))
}

const KINDS: [(u64, u32, &str); 5] = [
    (32, 512, "-c 512"),
    (32, 512, "-c 4096"),
    (64, 512, "-c 65536"),
    (64, 4096, "-c 4096"),
    (96, 512, "-c 262144"),
];

#[test]
fn what_is_used_is_what_partclone_saves_and_the_whole_file_system() {
    each(&KINDS, |&(mib, sector, options)| {
        println!("{options}");
        let (image, files) = filled(mib, sector, options);
        let volume = image.map("ntfs");
        image.assert_named(&volume);
        assert_eq!(volume.label, "Größe€💾");
        assert!(volume.used.iter().len() > 1 && volume.used.bytes() < (mib << 20) * 3 / 4);
        let theirs = image.partclone("ntfs");
        assert_eq!(beyond(&theirs, &volume.used), Extents::new());
        // What partclone leaves out: sectors after the last cluster, with the copy of the boot sector.
        let bytes = image.load();
        let clusters = u64_at(&bytes, 40) * u64::from(sector) / cluster_bytes(&bytes) as u64;
        let tail = clusters * cluster_bytes(&bytes) as u64..mib << 20;
        assert_eq!(beyond(&volume.used, &theirs), [tail].into_iter().collect());
        let restored = image.only(&volume.used);
        done("ntfsfix -n {}", Loop::of_sectors(restored.path(), sector).path());
        let mount = Mount::in_user_space(restored.path(), "ntfs-3g", sector);
        assert_eq!(contents(mount.path()), contents(&files));
    });
}

#[test]
fn a_volume_that_was_not_unmounted_is_not_believed() {
    let bytes = filled(32, 512, "-c 4096").0.load();
    let information = attribute(&bytes, 3, 0x70);
    let at = information + u16_at(&bytes, information + 20);
    for flags in [&[0x01, 0x00], &[0x00, 0x40], &[0x01, 0x80]] {
        let dirty = patched(&bytes, &[(at + 10, flags)]);
        assert_whole(&dirty, bytes.len(), Some("not unmounted"));
        Disk::of(&bytes).assert_named(&dirty);
    }
    assert_eq!(patched(&bytes, &[(at + 10, &[0x00, 0x80])]).why_whole, None);
    for version in [0, 2, 4, 0xff] {
        assert_whole(&patched(&bytes, &[(at + 8, &[version])]), bytes.len(), Some("version"));
    }
    assert_whole(&patched(&bytes, &[(information, &[0x71])]), bytes.len(), Some("its version"));
}

/// A page as Windows begins its log with.
fn restart(number: u64, version: u8, client: u16, flags: u8) -> Vec<u8> {
    let mut page = vec![0; 4096];
    page[..4].copy_from_slice(b"RSTR");
    page[4..8].copy_from_slice(&[0x1e, 0, 9, 0]);
    page[16..24].copy_from_slice(&[0, 16, 0, 0, 0, 16, 0, 0]);
    page[24..30].copy_from_slice(&[0x30, 0, 1, 0, version, 0]);
    page[0x30..0x38].copy_from_slice(&number.to_le_bytes());
    page[0x3c..0x3e].copy_from_slice(&client.to_le_bytes());
    page[0x3e] = flags;
    page[0x1e] = 7;
    (0..8).for_each(|sector| page[sector * 512 + 510] = 7);
    page
}

#[test]
fn a_log_that_must_be_replayed_is_not_passed_over() {
    let bytes = filled(32, 512, "-c 4096").0.load();
    let (_, log) = runs(&bytes, 2);
    assert_eq!(bytes[log..log + 8192], [0xff; 8192]);
    let with = |one: &[u8], two: &[u8]| patched(&bytes, &[(log, one), (log + 4096, two)]);
    let none = 0xffff;
    let clean = [
        [restart(5, 1, none, 0), restart(5, 1, none, 0)],
        [restart(5, 1, 0, 2), restart(4, 1, 0, 0)],
        [restart(4, 1, 0, 0), restart(5, 1, none, 2)],
        [restart(4, 2, 0, 0), restart(5, 1, 0, 2)],
    ];
    for [one, two] in &clean {
        assert_eq!(with(one, two).why_whole, None);
    }
    let mut torn = restart(5, 1, none, 2);
    torn[1022] = 6;
    let mut long = restart(5, 1, none, 2);
    long[16..20].copy_from_slice(&[0xff; 4]);
    let mut far = restart(5, 1, none, 2);
    far[24..26].copy_from_slice(&[0xff; 2]);
    let open = [
        [restart(5, 1, 0, 0), restart(5, 1, 0, 0)],
        [restart(5, 1, 0, 2), restart(6, 1, 0, 0)],
        [restart(5, 1, 0, 2), restart(5, 1, 0, 0)],
        [restart(5, 2, none, 2), restart(5, 2, none, 2)],
        [torn, restart(4, 1, none, 2)],
        [long.clone(), long],
        [far.clone(), far],
        [vec![0; 4096], vec![0; 4096]],
        [vec![0xff; 4096], restart(5, 1, 0, 0)],
        [restart(5, 1, none, 2), vec![0xff; 4096]],
    ];
    for [one, two] in &open {
        assert_whole(&with(one, two), bytes.len(), Some("log must be replayed"));
    }
}

#[test]
fn a_boot_sector_that_makes_no_sense_is_not_believed() {
    let bytes = filled(32, 512, "-c 4096").0.load();
    let raw: [Patch<'_>; 4] = [(3, b"NTFZ"), (510, &[0]), (16, &[2]), (22, &[1])];
    for (at, patch) in raw {
        assert_whole(&patched(&bytes, &[(at, patch)]), bytes.len(), None);
    }
    let senseless = Some("boot sector makes no sense");
    let outside = Some("lies outside");
    let longer = Some("longer than its volume");
    let doubtful: [(usize, &[u8], Option<&str>); 16] = [
        (11, &[0, 0], senseless),
        (11, &[0, 1], senseless),
        (11, &[1, 2], senseless),
        (11, &[0, 0x20], senseless),
        (13, &[0], senseless),
        (13, &[3], senseless),
        (13, &[0xf4], Some("record 0")),
        (13, &[0xf3], senseless),
        (40, &[0; 8], outside),
        (40, &[0xff; 8], longer),
        (48, &[0xff; 8], outside),
        (48, &[0xff; 2], outside),
        (48, &[0; 1], Some("record 0")),
        (64, &[0], senseless),
        (64, &[0x80], senseless),
        (64, &[0xef], senseless),
    ];
    for (at, patch, why) in doubtful {
        assert_whole(&patched(&bytes, &[(at, patch)]), bytes.len(), why);
    }
    assert_whole(&pack::volume::read(&bytes[..31 << 20].to_vec()).unwrap(), 31 << 20, longer);
    for length in [0, 1, 511] {
        assert_whole(&pack::volume::read(&bytes[..length].to_vec()).unwrap(), length, None);
    }
}

#[test]
fn records_that_make_no_sense_are_not_believed() {
    let bytes = filled(32, 512, "-c 4096").0.load();
    for number in [0, 2, 3, 6] {
        let at = record(&bytes, number);
        let first = at + u16_at(&bytes, at + 20);
        let not_whole: [Patch<'_>; 6] = [
            (at, b"BAAD"),
            (at + 4, &[0xff, 0xff]),
            (at + 4, &[0xff, 0x03]),
            (at + 6, &[2, 0]),
            (at + 6, &[0, 0]),
            (at + 510, &[0xee, 0xee]),
        ];
        let not_sensible: [Patch<'_>; 10] = [
            (at + 22, &[0]),
            (at + 32, &[1]),
            (at + 20, &[0xff, 0xff]),
            (at + 20, &[0xf8, 0x03]),
            (at + 24, &[0; 4]),
            (at + 24, &[0xff; 4]),
            (first + 4, &[0; 4]),
            (first + 4, &[16, 0, 0, 0]),
            (first + 4, &[0xff; 4]),
            (first + 4, &[0xf8, 0xff, 0xff, 0x7f]),
        ];
        for (at, patch) in not_whole {
            assert_whole(&patched(&bytes, &[(at, patch)]), bytes.len(), Some("is not whole"));
        }
        for (at, patch) in not_sensible {
            assert_whole(&patched(&bytes, &[(at, patch)]), bytes.len(), Some("make no sense"));
        }
    }
}

#[test]
fn content_that_makes_no_sense_is_not_believed() {
    let bytes = filled(32, 512, "-c 4096").0.load();
    for number in [0, 2, 6] {
        let (data, (pairs, _)) = (attribute(&bytes, number, 0x80), runs(&bytes, number));
        let senseless: [Patch<'_>; 12] = [
            // Outside, before the start, a hole, an empty run, a negative one, one that overflows, one without an end.
            (pairs, &[0x41, 1, 0xff, 0xff, 0xff, 0x7f, 0]),
            (pairs, &[0x11, 1, 0x80, 0]),
            (pairs, &[0x01, 1, 0]),
            (pairs, &[0x11, 0, 1, 0]),
            (pairs, &[0x11, 0xff, 1, 0]),
            (pairs, &[0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            (pairs, &[0xff]),
            (pairs, &[0]),
            (data + 32, &[0xff, 0xff]),
            (data + 12, &[1]),
            (data + 16, &[1]),
            (data + 24, &[0xff; 8]),
        ];
        for (at, patch) in senseless {
            assert_whole(&patched(&bytes, &[(at, patch)]), bytes.len(), Some("makes no sense"));
        }
        let short: [Patch<'_>; 2] = [(data + 48, &[0; 8]), (data + 56, &[0; 8])];
        let why = if number == 2 { "log must be" } else { "too short" };
        for (at, patch) in short {
            assert_whole(&patched(&bytes, &[(at, patch)]), bytes.len(), Some(why));
        }
        assert_whole(&patched(&bytes, &[(data, &[0x81])]), bytes.len(), Some("has no clusters"));
        assert_whole(&patched(&bytes, &[(data + 9, &[4])]), bytes.len(), Some("has no clusters"));
    }
    // The bitmap does not have the boot sector's cluster, or its own.
    let (_, bitmap) = runs(&bytes, 6);
    let own = bitmap / 4096;
    let cleared = bytes[bitmap + own / 8] & !(1 << (own % 8));
    let patches: [Patch<'_>; 2] = [(bitmap, &[bytes[bitmap] & 0xfe]), (bitmap + own / 8, &[cleared])];
    for (at, patch) in patches {
        assert_whole(&patched(&bytes, &[(at, patch)]), bytes.len(), Some("bitmap does not have"));
    }
}

#[test]
fn damage_never_leads_astray() {
    let bytes = filled(32, 512, "-c 4096").0.load();
    let (_, log) = runs(&bytes, 2);
    let records = [0, 2, 3, 6].map(|number| record(&bytes, number)..record(&bytes, number) + 512);
    let [a, b, c, d] = records;
    flip(&bytes, &[11..80, log..log + 64, a, b, c, d], 1500);
}

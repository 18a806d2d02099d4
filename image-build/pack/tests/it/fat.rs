//! FAT12, FAT16 and FAT32.

use pack::Extents;

use crate::lab::{
    Disk, MIB, Patch, assert_whole, beyond, content, contents, done, each, fill, flip, patched,
};

/// A filled volume, and the files that are in it.
fn filled(mib: u64, options: &str) -> (Disk, std::path::PathBuf) {
    let image = Disk::new(mib << 20);
    done(&format!("mkfs.vfat -n PLAN -i 12ab34cd {options} {{}}"), image.path());
    let files = image.dir("files");
    fill(&files);
    for n in 0..5 {
        done(&format!("mcopy -s -i {{}} {}/dir{n} ::/", files.display()), image.path());
    }
    let delete = |n: usize| {
        let name = format!("dir{}/a_file_with_a_long_name_{n}", n % 5);
        done(&format!("mdel -i {{}} ::/{name}"), image.path());
        std::fs::remove_file(files.join(name)).unwrap();
    };
    [1, 7, 11, 31].into_iter().for_each(delete);
    std::fs::write(files.join("gap"), content(99, 200_000)).unwrap();
    done(&format!("mcopy -i {{}} {}/gap ::/", files.display()), image.path());
    [20, 40].into_iter().for_each(delete);
    (image, files)
}

/// FAT12 with sectors of 512 bytes, FAT16 with either, FAT32.
const KINDS: [(u64, &str); 7] = [
    (8, "-F 12 -s 8"),
    (8, "-F 12 -s 16 -S 512 -R 3"),
    (40, "-F 16 -s 4"),
    (64, "-F 16 -s 2 -S 4096"),
    (40, "-F 32 -s 1"),
    (270, "-F 32 -s 1 -S 4096"),
    (40, "-F 32 -s 1 -f 1"),
];

/// The number between two texts.
fn number(text: &str, after: &str, before: &str) -> u64 {
    let found = text
        .match_indices(after)
        .find_map(|(at, _)| text[at + after.len()..].split_once(before)?.0.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {after}…{before} in {text}"))
}

#[test]
fn what_is_used_is_what_partclone_saves_and_the_whole_file_system() {
    each(&KINDS, |&(mib, options)| {
        println!("{options}");
        let (image, files) = filled(mib, options);
        let volume = image.map("vfat");
        image.assert_named(&volume);
        assert_eq!((&*volume.uuid, &*volume.label), ("12AB-34CD", "PLAN"));
        assert!(volume.used.iter().len() > 1 && volume.used.bytes() < (mib << 20) * 3 / 4);
        // partclone 0.3.23 reads FAT12 as if its entries had 16 bits, and would lose files.
        if !options.contains("-F 12") {
            assert_eq!(volume.used, image.partclone("vfat"));
        }
        let restored = image.only(&volume.used);
        let said = done("fsck.vfat -n -v {}", restored.path());
        let used = number(&said, " files, ", "/") * number(&said, "\n", " bytes per cluster");
        let data_at = number(&said, "Data area starts at byte ", " ");
        assert_eq!(volume.used.bytes(), data_at + used, "{said}");
        let out = restored.dir("out");
        done(&format!("mcopy -s -i {{}} ::/ {}", out.display()), restored.path());
        assert_eq!(contents(&out), contents(&files));
    });
}

#[test]
fn bad_clusters_are_free() {
    let image = Disk::new(40 * MIB);
    // Blocks of 1 KiB, far from anything that is used.
    let list = image.dir("list").join("bad");
    std::fs::write(&list, "30000\n30001\n").unwrap();
    done(&format!("mkfs.vfat -F 32 -s 2 -l {} {{}}", list.display()), image.path());
    let used = image.volume().used;
    assert!(used.end() < 2 << 20, "{used:?}");
    assert_eq!(beyond(&used, &image.partclone("vfat")), Extents::new());
}

#[test]
fn a_table_that_need_not_be_true_is_not_believed() {
    let unmounted = Some("not unmounted");
    let (fat16, fat32) = (filled(40, "-F 16 -s 4").0.load(), filled(40, "-F 32 -s 1").0.load());
    let fat12 = filled(8, "-F 12 -s 8").0.load();
    let at = |bytes: &[u8]| usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
    let (at12, at16, at32) = (at(&fat12), at(&fat16), at(&fat32));
    for flags in [0x7f, 0xbf, 0x3f] {
        assert_whole(&patched(&fat16, &[(at16 + 3, &[flags])]), fat16.len(), unmounted);
    }
    for flags in [0x07, 0x0b, 0x03] {
        assert_whole(&patched(&fat32, &[(at32 + 7, &[flags])]), fat32.len(), unmounted);
    }
    assert_whole(&patched(&fat12, &[(37, &[1])]), fat12.len(), unmounted);
    assert_whole(&patched(&fat16, &[(37, &[2])]), fat16.len(), unmounted);
    let dirty = patched(&fat32, &[(65, &[1])]);
    assert_whole(&dirty, fat32.len(), unmounted);
    assert_eq!([dirty.kind, &dirty.uuid, &dirty.label], ["vfat", "12AB-34CD", "PLAN"]);
    // One entry of the first table is changed, and not that of its copy.
    for (bytes, entry) in [(&fat12, at12 + 9), (&fat16, at16 + 50), (&fat32, at32 + 4000)] {
        let other = !bytes[entry];
        assert_whole(&patched(bytes, &[(entry, &[other])]), bytes.len(), Some("tables differ"));
    }
    // What the upper four bits of FAT32 are is nobody's business.
    assert_eq!(patched(&fat32, &[(at32 + 4003, &[0xf0 | fat32[at32 + 4003]])]).kind, "vfat");
    // Without mirroring, the table in use counts, and no other.
    assert_eq!(patched(&fat32, &[(40, &[0x81]), (at32 + 4000, &[0x55])]).why_whole, None);
    assert_whole(&patched(&fat32, &[(40, &[0x82])]), fat32.len(), Some("none of its tables"));
}

#[test]
fn a_boot_sector_that_makes_no_sense_is_not_believed() {
    let fat16 = filled(40, "-F 16 -s 4").0.load();
    let fat32 = filled(40, "-F 32 -s 1").0.load();
    let raw: [Patch<'_>; 17] = [
        (0, &[0xfa]),
        (510, &[0, 0]),
        (11, &[0, 0]),
        (11, &[0, 1]),
        (11, &[0, 3]),
        (11, &[0, 32]),
        (13, &[0]),
        (13, &[3]),
        (14, &[0, 0]),
        (14, &[2, 0]),
        (14, &[0xff, 0xff]),
        (16, &[0]),
        (17, &[0, 0]),
        (19, &[0, 0]),
        (21, &[0xf1]),
        (22, &[0, 0]),
        (54, b"JFS     "),
    ];
    for (at, patch) in raw {
        let at_total: Patch<'_> = if at == 19 { (32, &[0; 4]) } else { (at, patch) };
        assert_whole(&patched(&fat16, &[(at, patch), at_total]), fat16.len(), None);
    }
    let doubtful: [(&[Patch<'_>], &str); 5] = [
        (&[(22, &[1, 0])], "shorter than its clusters"),
        (&[(19, &[0, 0]), (32, &[0xff; 4])], "longer than its volume"),
        (&[(19, &[20, 0])], "no clusters"),
        (&[(54, b"FAT12   ")], "another FAT"),
        (&[(13, &[1]), (19, &[0, 0]), (32, &[0, 0x3f, 1, 0])], "more clusters than"),
    ];
    for (patches, why) in doubtful {
        assert_whole(&patched(&fat16, patches), fat16.len(), Some(why));
    }
    let doubtful: [(usize, &[u8], &str); 6] = [
        (36, &[1, 0, 0, 0], "shorter than its clusters"),
        (36, &[0xff; 4], "no clusters"),
        (42, &[1], "version"),
        (44, &[0, 0, 0, 0], "root directory"),
        (44, &[0xff; 4], "root directory"),
        (44, &[0, 0x20, 1, 0], "root directory"),
    ];
    for (at, patch, why) in doubtful {
        assert_whole(&patched(&fat32, &[(at, patch)]), fat32.len(), Some(why));
    }
    let guid =
        [0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01];
    let encrypted = patched(&fat32, &[(424, &guid)]);
    assert_eq!((encrypted.kind, encrypted.used), ("BitLocker", pack::Extents::all(fat32.len() as u64)));
    assert_whole(&pack::volume::read(&fat32[..20 << 20].to_vec()).unwrap(), 20 << 20, Some("longer than"));
    for length in [0, 1, 511, 512, 600, 16383] {
        assert_whole(&pack::volume::read(&fat32[..length].to_vec()).unwrap(), length, None);
    }
}

/// GRUB's installer keeps the parameter block of the sector that it writes its own into; its image then lies where the
/// table of a FAT was.
#[test]
fn a_disk_with_partitions_is_not_fat() {
    let (image, _) = filled(40, "-F 16 -s 4");
    let mut sector = image.load();
    sector[512..8 * 512].copy_from_slice(&content(1, 7 * 512));
    sector[0..3].copy_from_slice(&[0xeb, 0x63, 0x90]);
    assert_whole(&pack::volume::read(&sector).unwrap(), sector.len(), None);
    let mut mbr = vec![0; 1 << 20];
    mbr[0..3].copy_from_slice(&[0xeb, 0x63, 0x90]);
    mbr[446..462].copy_from_slice(&[0x80, 0, 2, 0, 0x0c, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0]);
    mbr[510..512].copy_from_slice(&[0x55, 0xaa]);
    assert_whole(&pack::volume::read(&mbr).unwrap(), mbr.len(), None);
}

#[test]
fn labels_are_those_of_the_root_directory() {
    let (image, _) = filled(40, "-F 32 -s 1");
    let bytes = image.load();
    let entry = bytes.windows(12).position(|window| window == b"PLAN       \x08").unwrap();
    for patch in [&b"\x05BC        "[..], b"NO NAME    ", b"A\0C        ", b"  X  Y     ", b"\xe5BC        "]
    {
        let mut bytes = bytes.clone();
        bytes[entry..entry + 11].copy_from_slice(patch);
        let label = Disk::of(&bytes).blkid("LABEL");
        assert_eq!(pack::volume::read(&bytes).unwrap().label, label, "{patch:x?}");
    }
    // A directory that goes round, without a label or an end.
    let at = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
    let fat = usize::try_from(u32::from_le_bytes(bytes[36..40].try_into().unwrap())).unwrap() * 512;
    let round = [2, 0, 0, 0];
    let junk = [b'x'; 512];
    let root = at + 2 * fat;
    let volume = patched(&bytes, &[(at + 8, &round), (at + fat + 8, &round), (root, &junk)]);
    assert_eq!((volume.kind, volume.why_whole, &*volume.label), ("vfat", None, ""));
}

#[test]
fn damage_never_leads_astray() {
    for (mib, options) in [(5, "-F 12 -s 8"), (5, "-F 16 -s 1"), (40, "-F 32 -s 1")] {
        let bytes = filled(mib, options).0.load();
        let at = usize::from(u16::from_le_bytes([bytes[14], bytes[15]])) * 512;
        flip(&bytes, &[11..64, 64..96, at..at + 16, at..at + 4096], 300);
    }
}

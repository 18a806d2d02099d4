//! exFAT.

use pack::Extents;
use pack::volume::Volume;

use crate::lab::{Disk, Loop, Mount, Patch, assert_whole, beyond, contents, done, each, fill, flip, patched};

/// A filled volume, and the files that are in it.
fn filled(mib: u64, sector: u32, options: &str) -> (Disk, std::path::PathBuf) {
    let image = Disk::new(mib << 20);
    {
        let device = Loop::of_sectors(image.path(), sector);
        done(&format!("mkfs.exfat -L Größe€ {options} {{}}"), device.path());
    }
    let files = image.dir("files");
    fill(&files);
    let mount = Mount::in_user_space(image.path(), "mount.exfat-fuse", sector);
    fill(mount.path());
    drop(mount);
    (image, files)
}

const KINDS: [(u64, u32, &str); 5] = [
    (16, 512, "-c 512"),
    (32, 512, "-c 4096"),
    (64, 512, "-c 128K -b 4M"),
    (64, 4096, "-c 4096"),
    (64, 512, "-c 32K --pack-bitmap"),
];

#[test]
fn what_is_used_is_what_partclone_saves_and_the_whole_file_system() {
    each(&KINDS, |&(mib, sector, options)| {
        println!("{options}");
        let (image, files) = filled(mib, sector, options);
        let volume = image.map("exfat");
        image.assert_named(&volume);
        assert_eq!(volume.label, "Größe€");
        assert!(volume.used.iter().len() > 1 && volume.used.bytes() < (mib << 20) * 3 / 4);
        let theirs = image.partclone("exfat");
        assert_eq!(beyond(&theirs, &volume.used), Extents::new());
        assert_eq!(beyond(&volume.used, &theirs), Extents::new());
        let restored = image.only(&volume.used);
        done("fsck.exfat -n {}", Loop::of_sectors(restored.path(), sector).path());
        let mount = Mount::in_user_space(restored.path(), "mount.exfat-fuse", sector);
        assert_eq!(contents(mount.path()), contents(&files));
    });
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()).try_into().unwrap()
}

/// Where things are on a volume with sectors of 512 bytes.
struct Places {
    fat: usize,
    heap: usize,
    cluster: usize,
    /// The entry of the bitmap.
    entry: usize,
    root: usize,
    bitmap: usize,
}

impl Places {
    fn of(bytes: &[u8]) -> Places {
        let (fat, heap) = (u32_at(bytes, 80) * 512, u32_at(bytes, 88) * 512);
        let cluster = 512 << bytes[109];
        let root = heap + (u32_at(bytes, 96) - 2) * cluster;
        let entry = (root..).step_by(32).find(|at| bytes[*at] == 0x81).unwrap();
        let bitmap = heap + (u32_at(bytes, entry + 20) - 2) * cluster;
        Places { fat, heap, cluster, entry, root, bitmap }
    }
}

/// The sum of the boot region, as the specification's own code has it.
fn sum(bytes: &mut [u8]) {
    let mut sum = 0_u32;
    for (at, byte) in bytes[..11 * 512].iter().enumerate() {
        if at != 106 && at != 107 && at != 112 {
            sum = (if sum & 1 == 1 { 0x8000_0000 } else { 0_u32 }) + (sum >> 1);
            sum = sum.wrapping_add(u32::from(*byte));
        }
    }
    bytes[11 * 512..12 * 512].as_chunks_mut().0.iter_mut().for_each(|place| *place = sum.to_le_bytes());
}

/// As [`patched`], with the sum of the boot region made right.
fn patched_and_summed(bytes: &[u8], patches: &[Patch<'_>]) -> Volume {
    let mut bytes = bytes.to_vec();
    for (at, patch) in patches {
        bytes[*at..*at + patch.len()].copy_from_slice(patch);
    }
    sum(&mut bytes);
    pack::volume::read(&bytes).unwrap()
}

#[test]
fn a_volume_that_was_not_unmounted_is_not_believed() {
    let bytes = filled(32, 512, "-c 4096").0.load();
    for flags in [2, 4, 6] {
        let dirty = patched(&bytes, &[(106, &[flags])]);
        assert_whole(&dirty, bytes.len(), Some("not unmounted"));
        Disk::of(&bytes).assert_named(&dirty);
    }
    // Zeros are to be written on the next mount: nothing that the map depends on.
    assert_eq!(patched(&bytes, &[(106, &[8])]).why_whole, None);
}

#[test]
fn a_boot_region_that_makes_no_sense_is_not_believed() {
    let bytes = filled(32, 512, "-c 4096").0.load();
    assert_eq!(patched_and_summed(&bytes, &[]), pack::volume::read(&bytes).unwrap());
    let raw: [Patch<'_>; 5] = [(3, b"EXFAZ"), (510, &[0]), (11, &[1]), (108, &[8]), (108, &[13])];
    for (at, patch) in raw {
        assert_whole(&patched(&bytes, &[(at, patch)]), bytes.len(), None);
    }
    for at in [0, 72, 500, 600, 11 * 512 - 1, 11 * 512, 12 * 512 - 1] {
        let other = !bytes[at];
        assert_whole(&patched(&bytes, &[(at, &[other])]), bytes.len(), Some("checksum"));
    }
    let doubtful: [(&[Patch<'_>], &str); 20] = [
        (&[(105, &[2])], "version"),
        (&[(109, &[17])], "makes no sense"),
        (&[(109, &[0xff])], "makes no sense"),
        (&[(110, &[0])], "makes no sense"),
        (&[(110, &[3])], "makes no sense"),
        (&[(92, &[0; 4])], "makes no sense"),
        (&[(92, &[0xff; 4])], "makes no sense"),
        (&[(92, &[0xf5, 0xff, 0xff, 0xff])], "do not fit"),
        (&[(72, &[0xff; 8])], "longer than its volume"),
        (&[(72, &[0; 8])], "do not fit"),
        (&[(80, &[0; 4])], "do not fit"),
        (&[(80, &[0xff; 4])], "do not fit"),
        (&[(84, &[0xff; 4])], "do not fit"),
        (&[(84, &[1, 0, 0, 0])], "shorter than its clusters"),
        (&[(88, &[0xff; 4])], "do not fit"),
        (&[(106, &[1])], "none of its tables"),
        (&[(110, &[2])], "one bitmap for each"),
        (&[(96, &[0; 4])], "leaves the volume"),
        (&[(96, &[0xff; 4])], "leaves the volume"),
        (&[(109, &[0])], "one bitmap for each"),
    ];
    for (patches, why) in doubtful {
        assert_whole(&patched_and_summed(&bytes, patches), bytes.len(), Some(why));
    }
    assert_whole(&pack::volume::read(&bytes[..31 << 20].to_vec()).unwrap(), 31 << 20, Some("longer than"));
    assert_whole(&pack::volume::read(&bytes[..600].to_vec()).unwrap(), 600, Some("longer than"));
    for length in [0, 1, 511] {
        assert_whole(&pack::volume::read(&bytes[..length].to_vec()).unwrap(), length, None);
    }
}

#[test]
fn a_root_directory_or_bitmap_that_makes_no_sense_is_not_believed() {
    let bytes = filled(16, 512, "-c 512").0.load();
    let at = Places::of(&bytes);
    let link = |cluster: usize| at.fat + cluster * 4;
    let root = (at.root - at.heap) / at.cluster + 2;
    let bitmap = (at.bitmap - at.heap) / at.cluster + 2;
    let number = u32::try_from(root).unwrap().to_le_bytes();
    let junk = [0x85; 512];
    let doubtful: [(&[Patch<'_>], &str); 12] = [
        // Round and round, out of the volume.
        (&[(at.root, &junk), (link(root), &number)], "no end"),
        (&[(at.root, &junk), (link(root), &[0; 4])], "leaves the volume"),
        (&[(at.root, &junk), (link(root), &[0xf7, 0xff, 0xff, 0xff])], "leaves the volume"),
        (&[(at.root, &[0])], "one bitmap for each"),
        (&[(at.entry + 1, &[1])], "one bitmap for each"),
        (&[(at.entry + 20, &[0; 4])], "bitmap leaves"),
        (&[(at.entry + 20, &[0xff; 4])], "bitmap leaves"),
        (&[(at.entry + 24, &[0; 8])], "bitmap is shorter"),
        (&[(link(bitmap), &[0xff; 4])], "not in one piece"),
        (&[(link(bitmap + 1), &[9, 0, 0, 0])], "not in one piece"),
        (&[(at.bitmap, &[bytes[at.bitmap] & !1])], "lies in itself"),
        (&[(at.bitmap, &[0; 512])], "lies in itself"),
    ];
    for (patches, why) in doubtful {
        assert_whole(&patched(&bytes, patches), bytes.len(), Some(why));
    }
}

/// TexFAT: a second table behind the first, a second bitmap in the last cluster.
#[test]
fn of_two_bitmaps_both_count() {
    let mut bytes = filled(64, 512, "-c 128K").0.load();
    let at = Places::of(&bytes);
    let (length, clusters) = (u32_at(&bytes, 84) * 512, u32_at(&bytes, 92));
    let last = clusters + 1;
    bytes[at.fat + last * 4..at.fat + last * 4 + 4].copy_from_slice(&[0xff; 4]);
    let set = |bytes: &mut [u8], bitmap: usize, n: usize| bytes[bitmap + n / 8] |= 1 << (n % 8);
    set(&mut bytes, at.bitmap, clusters - 1);
    let second = at.heap + (clusters - 1) * at.cluster;
    bytes.copy_within(at.bitmap..at.bitmap + at.cluster, second);
    set(&mut bytes, at.bitmap, clusters - 3);
    set(&mut bytes, second, clusters - 5);
    bytes.copy_within(at.fat..at.fat + length, at.fat + length);
    let end = (at.root..).step_by(32).find(|at| bytes[*at] == 0).unwrap();
    bytes.copy_within(at.entry..at.entry + 32, end);
    bytes[end + 1] = 1;
    bytes[end + 20..end + 24].copy_from_slice(&u32::try_from(last).unwrap().to_le_bytes());
    for flags in [0, 1] {
        let volume = patched_and_summed(&bytes, &[(110, &[2]), (106, &[flags])]);
        assert_eq!(volume.why_whole, None);
        let tail = volume.used.within(second as u64 - 5 * at.cluster as u64..u64::MAX).collect::<Vec<_>>();
        let range = |n: usize| (at.heap + n * at.cluster) as u64..(at.heap + (n + 1) * at.cluster) as u64;
        assert_eq!(tail, [range(clusters - 5), range(clusters - 3), range(clusters - 1)]);
    }
}

#[test]
fn damage_never_leads_astray() {
    let bytes = filled(16, 512, "-c 4096").0.load();
    let at = Places::of(&bytes);
    flip(&bytes, &[106..108, at.root..at.root + 256, at.fat..at.fat + 64, at.bitmap..at.bitmap + 4], 1000);
    // The boot region, with its sum kept right, is read as far as the fields go.
    for place in 64..120 {
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            let volume = patched_and_summed(&bytes, &[(place, &[byte])]);
            assert!(volume.used.end() <= bytes.len() as u64);
        }
    }
}

//! Signatures laid out as the formats' own documents say; checked once by hand against what mkfs.ext2/3/4, mkfs.xfs,
//! mkfs.btrfs, mkfs.vfat, mkfs.ntfs, mkswap, cryptsetup (LUKS 1 and 2), pvcreate, vgcreate, sfdisk and sgdisk write.

use super::holds;

const DISK: u64 = 64 << 20;

/// A disk that is zeros but for a few bytes.
struct Sparse {
    bytes: u64,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Sparse {
    fn read(&self, at: u64, length: usize) -> Option<Vec<u8>> {
        let end = at.checked_add(length as u64).filter(|&end| end <= self.bytes)?;
        let mut out = vec![0; length];
        for (from, bytes) in &self.pieces {
            for (place, byte) in (*from..).zip(bytes).filter(|(place, _)| (at..end).contains(place)) {
                out[usize::try_from(place - at).unwrap()] = *byte;
            }
        }
        Some(out)
    }

    fn kinds(&self) -> Vec<(String, String)> {
        holds(&|at, length| self.read(at, length), self.bytes, 512)
            .into_iter()
            .map(|h| (h.kind, h.label))
            .collect()
    }
}

fn disk(pieces: &[(u64, &[u8])]) -> Sparse {
    Sparse { bytes: DISK, pieces: pieces.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect() }
}

/// Places in bytes and what stands there, and what must be seen: kind and label.
type Row<'a> = (&'a [(u64, &'a [u8])], &'a str, &'a str);

const MD: &[u8] = &[0xfc, 0x4e, 0x2b, 0xa9];
const UBERBLOCK: &[u8] = &[0x0c, 0xb1, 0xba, 0, 0, 0, 0, 0];
const MDA: &[u8] = b" LVM2 x[5A%r0N*>";
const PAIRS: &[u8] = b"\0\0\0\x04name\0\0\0\x09\0\0\0\x01\0\0\0\x04tank\0\0\0\0";
const BCACHE: &[u8] =
    &[0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca, 0x82, 0x65, 0xf5, 0x7f, 0x48, 0xba, 0x6d, 0x81];

const BCACHEFS: &[u8] =
    &[0xc6, 0x85, 0x73, 0xf6, 0x66, 0xce, 0x90, 0xa9, 0xd9, 0x6a, 0x60, 0xcf, 0x80, 0x3d, 0xf7, 0xef];

fn table() -> Vec<Row<'static>> {
    vec![
        (&[(1080, &[0x53, 0xef]), (1144, b"e")], "ext2", "e"),
        (&[(1080, &[0x53, 0xef]), (1116, &[4]), (1144, b"e")], "ext3", "e"),
        (&[(1080, &[0x53, 0xef]), (1120, &[0x40]), (1144, b"root\x1b[2J")], "ext4", "root[2J"),
        (&[(0, b"XFSB"), (108, b"data")], "xfs", "data"),
        (&[(65600, b"_BHRfS_M"), (65835, b"pool")], "btrfs", "pool"),
        (&[(510, &[0x55, 0xaa]), (82, b"FAT32   "), (71, b"EFI        ")], "vfat", "EFI"),
        (&[(510, &[0x55, 0xaa]), (54, b"FAT16   "), (43, b"NO NAME    ")], "vfat", ""),
        (&[(510, &[0x55, 0xaa]), (3, b"NTFS    ")], "ntfs", ""),
        (&[(510, &[0x55, 0xaa]), (3, b"EXFAT   ")], "exfat", ""),
        (&[(4086, b"SWAPSPACE2"), (1052, b"sw")], "swap", "sw"),
        (&[(1024, &[0x10, 0x20, 0xf5, 0xf2])], "f2fs", ""),
        (&[(32769, b"CD001"), (32808, b"DEBIAN")], "iso9660", "DEBIAN"),
        (&[(0, b"LUKS\xba\xbe\0\x01")], "luks", ""),
        (&[(0, b"LUKS\xba\xbe\0\x02"), (24, b"secret")], "luks", "secret"),
        (&[(0, MD), (4, &[1]), (32, b"any:0")], "mdraid", "any:0"),
        (&[(4096, MD), (4100, &[1]), (4128, b"any:1")], "mdraid", "any:1"),
        (&[(DISK - 8192, MD), (DISK - 8188, &[1]), (DISK - 8160, b"any:2")], "mdraid", "any:2"),
        (&[(DISK - 65536, MD)], "mdraid", ""),
        (&[(DISK - 1024, b"Intel Raid ISM Cfg Sig. ")], "isw-raid", ""),
        (&[(DISK - 512, &[0xde, 0x11, 0xde, 0x11])], "ddf-raid", ""),
        (&[(0x20000, UBERBLOCK), (0x4200, PAIRS)], "zfs", "tank"),
        (&[(DISK - 0x40000 + 0x2f000, UBERBLOCK)], "zfs", ""),
        (&[(0, b"bluestore block device\n0d5a")], "ceph", "0d5a"),
        (&[(4096 + 24, BCACHE)], "bcache", ""),
        (&[(1 << 20, &[0x0d, 0xd0, 0x01, 0xc0])], "vmfs", ""),
        (&[(DISK - 4096 + 60, &[0x83, 0x74, 0x02, 0x6d])], "drbd", ""),
        (&[(DISK - 8192, b"Intel Raid ISM Cfg Sig. ")], "isw-raid", ""),
        (&[(DISK - 1024, b"NVIDIA")], "nvidia-raid", ""),
        (&[(DISK - 512, b"$XIDE$")], "lsi-raid", ""),
        (&[(DISK - 63 * 512, b"Promise Technology, Inc.")], "promise-raid", ""),
        (&[(DISK - 65536, &[0xa9, 0x2b, 0x4e, 0xfc])], "mdraid", ""),
        (&[(65600, b"_BHRfS_M"), (65672, &[2]), (65835, b"both")], "btrfs-pool", "both"),
        (&[(65536, &[1, 0x16, 0x19, 0x70, 0, 0, 0, 1]), (65696, b"c:f")], "gfs2", "c:f"),
        (&[(8192, b"OCFSV2")], "ocfs2", ""),
        (&[(4120, BCACHEFS), (4168, b"bc")], "bcachefs", "bc"),
        (&[(510, &[0x55, 0xaa]), (3, b"-FVE-FS-")], "bitlocker", ""),
        (&[(3, b"ReFS\0\0\0\0")], "refs", ""),
        // What is left when the beginning was wiped.
        (&[(0x4000, b"SKUL\xba\xbe\0\x02")], "luks", ""),
        (
            &[
                (512, b"LABELONE"),
                (532, &[32]),
                (536, b"LVM2 001"),
                (512 + 32 + 40, &[0, 0, 0x10]),
                (512 + 32 + 40 + 32, &[0, 0x10]),
                (4096 + 4, MDA),
                (4096 + 40, &[0, 2]),
                (4096 + 512, b"vg_data-1 {\nid = \"x\""),
            ],
            "lvm",
            "vg_data-1",
        ),
    ]
}

#[test]
fn every_signature_is_seen_and_named() {
    for (pieces, kind, label) in table() {
        assert_eq!(disk(pieces).kinds(), [(kind.to_owned(), label.to_owned())], "{kind} {label}");
    }
    assert_eq!(disk(&[]).kinds(), []);
}

#[test]
fn a_disk_can_hold_several_things() {
    let ext4: &[(u64, &[u8])] = &[(1080, &[0x53, 0xef]), (1120, &[0x40])];
    let both = [ext4, &[(DISK - 65536, MD)]].concat();
    let kinds = disk(&both).kinds().into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
    assert_eq!(kinds, ["ext4", "mdraid"], "an array's old file system is not all there is");
}

#[test]
fn what_lies_in_a_partition_is_told_by_its_number() {
    let entry = [0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0];
    let at = 2048 * 512;
    let sparse = disk(&[(446, &entry), (510, &[0x55, 0xaa]), (at, b"XFSB"), (at + 108, b"x")]);
    let found = holds(&|at, length| sparse.read(at, length), DISK, 512);
    let told = found.iter().map(|h| (h.kind.as_str(), h.partition, h.label.as_str())).collect::<Vec<_>>();
    assert_eq!(told, [("mbr", 0, ""), ("partition", 1, ""), ("xfs", 1, "x")]);
}

/// Formatting a disk and partitioning it later leaves both in its first sector.
#[test]
fn an_old_boot_sector_hides_no_partitions() {
    let entry = [0, 0, 0, 0, 0x8e, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0];
    let at = 2048 * 512;
    let sparse = disk(&[
        (82, b"FAT32   "),
        (440, &[0x78, 0x56, 0x34, 0x12]),
        (446, &entry),
        (510, &[0x55, 0xaa]),
        (at, b"LABELONE"),
        (at + 24, b"LVM2 001"),
    ]);
    let found = holds(&|at, length| sparse.read(at, length), DISK, 512);
    let told = found.iter().map(|h| (h.kind.as_str(), h.partition, h.uuid.as_str())).collect::<Vec<_>>();
    let want = [("vfat", 0, ""), ("mbr", 0, "12345678"), ("partition", 1, "12345678-01"), ("lvm", 1, "")];
    assert_eq!(told, want);
}

/// Where something was made over what was wiped, its leftovers are nobody's.
#[test]
fn echoes_count_only_where_nothing_begins() {
    let echo: (u64, &[u8]) = (0x4000, b"SKUL\xba\xbe\0\x02");
    assert_eq!(disk(&[echo]).kinds().len(), 1);
    assert_eq!(disk(&[echo, (0, b"XFSB")]).kinds(), [("xfs".to_owned(), String::new())]);
    let entry = [0, 0, 0, 0, 0x83, 0, 0, 0, 0, 8, 0, 0, 0, 0, 1, 0];
    let kinds = disk(&[echo, (446, &entry), (510, &[0x55, 0xaa])]).kinds();
    assert!(kinds.iter().all(|(kind, _)| kind != "luks"), "{kinds:?}");
}

#[test]
fn lies_and_noise_are_survived_on_disks_of_any_size() {
    let hostile: Vec<Vec<(u64, &[u8])>> = vec![
        // An LVM header, area and text at the end of the world.
        vec![(0, b"LABELONE"), (20, &[0xff; 4]), (24, b"LVM2 001")],
        vec![(0, b"LABELONE"), (20, &[32]), (24, b"LVM2 001"), (72, &[0xff; 8000])],
        vec![(0, b"LABELONE"), (20, &[32]), (24, b"LVM2 001"), (72, &[0; 16]), (88, &[0xff; 16])],
        // A pool's name of four thousand million letters.
        vec![(0x20000, UBERBLOCK), (0x4200, b"\0\0\0\x04name\0\0\0\x09\0\0\0\x01\xff\xff\xff\xff")],
        vec![(0x20000, UBERBLOCK), (0x8000 - 21, b"\0\0\0\x04name\0\0\0\x09\0\0\0\x01\0\0\0\x04t")],
        vec![(0, &[0xff; 8192])],
        vec![(446, &[0xff; 66])],
    ];
    for pieces in hostile {
        for bytes in [0, 1, 511, 512, 1024, 4096, 65535, 65536, 262_144, DISK, u64::MAX] {
            let mut sparse = disk(&pieces);
            sparse.bytes = bytes;
            let found = sparse.kinds();
            assert!(found.iter().all(|(_, label)| label.chars().count() <= 128), "{found:?}");
        }
    }
    let mut noise = vec![0; 1 << 20];
    for seed in 0_u8..8 {
        blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut noise);
        let read = |at: u64, length: usize| {
            let at = usize::try_from(at % 9973).ok()?;
            noise.get(at..at.checked_add(length)?).map(<[u8]>::to_vec)
        };
        assert!(holds(&read, 1 << 20, 512).len() < 3);
    }
}

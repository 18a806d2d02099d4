//! Volumes of owners that leave an older superblock where it was.

use pack::{Extents, Source, volume};

use crate::lab::{Disk, MIB, run};

const BYTES: u64 = 32 * MIB;

/// An ext4 file system, and on top of it what another owner wrote at these places.
fn over_ext4(marks: &[(u64, &[u8])]) -> Disk {
    let disk = Disk::new(BYTES);
    run("mkfs.ext4", &["-q", disk.name()]);
    marks.iter().for_each(|(at, mark)| disk.write(*at, mark));
    disk
}

#[test]
fn an_older_superblock_is_not_believed() {
    // The first version of the header, its cipher, hash and UUID.
    let mut luks = [0; 592];
    luks[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01");
    luks[8..11].copy_from_slice(b"aes");
    luks[168..204].copy_from_slice(b"11111111-2222-3333-4444-555555555555");
    let (little, big) = (0x00ba_b10c_u64.to_le_bytes(), 0x00ba_b10c_u64.to_be_bytes());
    type Case<'a> = (&'a str, Vec<(u64, &'a [u8])>);
    let cases: [Case<'_>; 8] = [
        ("crypto_LUKS", vec![(0, &luks)]),
        ("BitLocker", vec![(0, b"\xeb\x58\x90-FVE-FS-")]),
        ("ceph_bluestore", vec![(0, b"bluestore block device\n")]),
        ("bcache", vec![(4120, b"\xc6\x85\x73\xf6\x4e\x1a\x45\xca\x82\x65\xf5\x7f\x48\xba\x6d\x81")]),
        ("zfs_member", vec![((128 << 10) + 5 * 1024, &little)]),
        ("zfs_member", vec![((384 << 10) + 127 * 1024, &big)]),
        ("VMFS_volume_member", vec![(MIB, b"\x0d\xd0\x01\xc0")]),
        ("drbd", vec![(BYTES - 4096 + 60, b"\x83\x74\x02\x6d")]),
    ];
    for (kind, marks) in cases {
        let disk = over_ext4(&marks);
        let found = volume::read(&disk).unwrap();
        assert_eq!((found.kind, found.used), (kind, Extents::all(disk.bytes())));
    }
}

/// The names are libblkid's, where a few bytes are enough for it.
#[test]
fn names_are_those_of_libblkid() {
    let mut luks = [0; 592];
    luks[..8].copy_from_slice(b"LUKS\xba\xbe\0\x01");
    luks[168..204].copy_from_slice(b"11111111-2222-3333-4444-555555555555");
    for mark in [&luks[..], b"bluestore block device\n"] {
        let disk = Disk::new(BYTES);
        disk.write(0, mark);
        let told = run("blkid", &["-p", "-o", "value", "-s", "TYPE", disk.name()]);
        assert_eq!(told.trim(), volume::read(&disk).unwrap().kind);
    }
}

#[test]
fn a_volume_of_nobody_is_of_nobody() {
    for bytes in [0, 1, 3, 4095, 4096, 5000, 200 << 10, 300 << 10, 600 << 10] {
        assert_eq!(volume::read(&vec![0; bytes]).unwrap().kind, "raw");
    }
}

//! File systems of several devices: each device has a map of its own.

use std::path::Path;

use super::{fill, restore};
use crate::lab::{Disk, MIB, Mount, each, run, tree};

const BYTES: u64 = 144 * MIB;

fn make(count: usize, mkfs: &[&str]) -> Vec<Disk> {
    let disks = (0..count).map(|_| Disk::new(BYTES)).collect::<Vec<_>>();
    let names = disks.iter().map(Disk::name);
    let args = ["-q"].into_iter().chain(mkfs.iter().copied()).chain(names).collect::<Vec<_>>();
    run("mkfs.btrfs", &args);
    disks
}

#[test]
fn copies_are_exact_and_stripes_count_as_a_whole() {
    let table: [(usize, &[&str]); 6] = [
        (2, &["-m", "raid1", "-d", "raid1"]),
        (2, &["-m", "raid1", "-d", "single"]),
        (2, &["-m", "raid1", "-d", "raid0"]),
        (3, &["-m", "raid1c3", "-d", "raid5"]),
        (4, &["-m", "raid1c4", "-d", "raid10"]),
        (4, &["-m", "raid1c4", "-d", "raid6"]),
    ];
    each(&table, |&(count, mkfs)| {
        let disks = make(count, mkfs);
        let mount = Mount::new(&paths(&disks), "rw");
        fill::some(mount.path());
        let listing = tree(mount.path());
        drop(mount);
        let restored = disks.iter().map(put_back).collect::<Vec<_>>();
        let mount = Mount::new(&paths(&restored), "ro");
        restore::scrub(mount.path());
        assert_eq!(tree(mount.path()), listing);
    });
}

fn paths(disks: &[Disk]) -> Vec<&Path> {
    disks.iter().map(Disk::path).collect()
}

/// The used ranges of one device, on a dirty disk.
fn put_back(disk: &Disk) -> Disk {
    let used = disk.map("btrfs").used;
    assert!(used.bytes() < BYTES * 7 / 8);
    disk.only(&used)
}

#[test]
fn metadata_that_is_elsewhere_is_refused() {
    for disk in make(2, &["-m", "raid0", "-d", "raid0"]) {
        assert_eq!(disk.volume().why_whole.unwrap(), "part of its metadata is on other devices");
    }
}

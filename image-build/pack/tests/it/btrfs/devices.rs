//! File systems of several devices: each device has a map of its own.

use std::fs::File;
use std::path::{Path, PathBuf};

use pack::volume;
use tempfile::TempDir;

use super::{Disk, MIB, Mount, fill, restore, run};

fn make(dir: &Path, count: usize, mkfs: &[&str]) -> Vec<PathBuf> {
    let files = (0..count).map(|n| dir.join(format!("disk{n}"))).collect::<Vec<_>>();
    files.iter().for_each(|file| File::create_new(file).unwrap().set_len(160 * MIB).unwrap());
    let names = files.iter().map(|file| file.to_str().unwrap());
    let args = ["-q"].into_iter().chain(mkfs.iter().copied()).chain(names).collect::<Vec<_>>();
    run("btrfs-progs", "mkfs.btrfs", &args);
    files
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
    for (count, mkfs) in table {
        eprintln!("{mkfs:?}");
        let dir = TempDir::new().unwrap();
        let files = make(dir.path(), count, mkfs);
        let mount = Mount::new(&paths(&files), "rw");
        fill::some(mount.path());
        let listing = fill::listing(mount.path());
        drop(mount);
        let restored = files.iter().map(|file| put_back(file)).collect::<Vec<_>>();
        let mount = Mount::new(&paths(&restored), "ro");
        restore::scrub(mount.path());
        assert_eq!(fill::listing(mount.path()), listing);
    }
}

fn paths(files: &[PathBuf]) -> Vec<&Path> {
    files.iter().map(PathBuf::as_path).collect()
}

/// The used ranges of one device, on a dirty disk.
fn put_back(file: &Path) -> PathBuf {
    let disk = Disk::open(file);
    let volume = volume::read(&disk).unwrap();
    assert_eq!((volume.kind, &volume.why_whole), ("btrfs", &None));
    assert!(volume.used.bytes() < 140 * MIB);
    let to = file.with_extension("restored");
    restore::dirty(&disk, &volume.used, &to);
    to
}

#[test]
fn metadata_that_is_elsewhere_is_refused() {
    let dir = TempDir::new().unwrap();
    for file in make(dir.path(), 2, &["-m", "raid0", "-d", "raid0"]) {
        let volume = volume::read(&Disk::open(&file)).unwrap();
        assert_eq!(volume.why_whole.unwrap(), "part of its metadata is on other devices");
    }
}

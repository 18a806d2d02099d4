//! The ways to make a file system, and to use it.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use super::{btrfs, fill, made, oracle, refusal, restore};
use crate::lab::{Disk, MIB, Mount, each, run, tree};

/// Fills an image and holds what the reader says of it against all who know better.
fn prove(image: &Disk, options: &str, fill: impl Fn(&Mount)) {
    let mount = image.mount(options);
    fill(&mount);
    let files = tree(mount.path());
    drop(mount);
    let volume = image.map("btrfs");
    assert_eq!(volume.used, oracle::progs(image), "btrfs-progs says otherwise");
    oracle::compare_partclone(image, &volume.used);
    restore::prove(image, &volume.used, &files);
}

fn usual(mount: &Mount) {
    fill::some(mount.path());
    fill::fragment(mount.path(), 2);
}

#[test]
fn metadata_once_twice_and_mixed_with_data() {
    let table: [&[&str]; 5] = [
        &["-m", "dup", "-d", "single"],
        &["-m", "single", "-d", "single"],
        &["-m", "dup", "-d", "dup"],
        &["-m", "single", "-d", "raid0"],
        &["-M", "-n", "4096", "-s", "4096"],
    ];
    each(&table, |mkfs| prove(&made(240 * MIB, mkfs), "rw", usual));
}

#[test]
fn nodes_of_all_sizes() {
    each(&["4096", "8192", "16384", "32768", "65536"], |bytes| {
        prove(&made(224 * MIB, &["-n", bytes]), "rw", usual)
    });
}

#[test]
fn checksums_of_all_kinds() {
    each(&["crc32c", "xxhash", "sha256", "blake2"], |kind| {
        prove(&made(160 * MIB, &["--csum", kind]), "rw", usual)
    });
}

#[test]
fn features_old_and_new() {
    let table: [(&[&str], &str); 4] = [
        (&["-O", "^extref,^skinny-metadata,^no-holes", "-R", "^free-space-tree"], "rw,space_cache=v1"),
        (&["-R", "free-space-tree,quota"], "rw,space_cache=v2"),
        (&["-O", "raid56,raid1c34"], "rw,compress-force=lzo,autodefrag"),
        (&[], "rw,nodatacow"),
    ];
    each(&table, |(mkfs, options)| prove(&made(160 * MIB, mkfs), options, usual));
}

#[test]
fn subvolumes_snapshots_compression_and_reflinks() {
    prove(&made(320 * MIB, &[]), "rw,compress=zstd", |mount| {
        btrfs(&["subvolume", "create", &mount.at("one")]);
        fill::some(&mount.path().join("one"));
        for n in 0..4 {
            btrfs(&["subvolume", "snapshot", &mount.at("one"), &mount.at(&format!("snap{n}"))]);
            fs::write(mount.path().join(format!("one/after{n}")), vec![n; 70_000]).unwrap();
            fill::fragment(&mount.path().join(format!("snap{n}")), 1);
        }
        btrfs(&["subvolume", "snapshot", "-r", &mount.at("one"), &mount.at("read only")]);
        run("cp", &["--reflink=always", &mount.at("one/large"), &mount.at("clone")]);
        run("fallocate", &["-l", "9MiB", &mount.at("reserved")]);
    });
}

#[test]
fn a_subvolume_that_is_deleted_and_not_yet_gone() {
    prove(&made(160 * MIB, &["-n", "4096"]), "rw", |mount| {
        btrfs(&["subvolume", "create", &mount.at("one")]);
        fill::fragment(&mount.path().join("one"), 10);
        btrfs(&["subvolume", "snapshot", &mount.at("one"), &mount.at("two")]);
        fill::fragment(&mount.path().join("two"), 2);
        btrfs(&["subvolume", "delete", &mount.at("two")]);
    });
}

#[test]
fn many_extents_in_pieces() {
    let image = made(512 * MIB, &["-n", "4096"]);
    prove(&image, "rw", |mount| fill::fragment(mount.path(), 60));
    assert!(image.map("btrfs").used.iter().len() > 500);
}

#[test]
fn balanced_and_made_larger_and_smaller() {
    let image = made(320 * MIB, &[]);
    prove(&image, "rw", |mount| {
        usual(mount);
        let root = mount.path().to_str().unwrap();
        btrfs(&["filesystem", "resize", "300M", root]);
        btrfs(&["balance", "start", "--full-balance", root]);
        btrfs(&["filesystem", "resize", "max", root]);
    });
}

#[test]
fn a_disk_so_large_that_it_has_three_superblocks() {
    let image = made(300 << 30, &[]);
    usual(&image.mount("rw"));
    let used = image.map("btrfs").used;
    assert_eq!(used, oracle::progs(&image));
    assert!(used.bytes() < 64 * MIB, "{}", used.bytes());
    for copy in [64 << 10, 64 << 20, 256 << 30] {
        assert!(used.contains(copy..copy + 4096));
    }
}

#[test]
fn a_volume_longer_than_its_file_system() {
    let mut image = made(160 * MIB, &["-L", "short"]);
    usual(&image.mount("rw"));
    let before = image.map("btrfs");
    image.resize(400 * MIB + 512);
    assert_eq!(image.map("btrfs"), before);
    image.resize(159 * MIB);
    assert!(refusal(&image).starts_with("it is longer than its volume"));
}

#[test]
fn its_names_are_those_that_blkid_has() {
    let long = "ü".repeat(127);
    for label in ["", "root disk", "Größe", &long] {
        let image = made(128 * MIB, &["-L", label]);
        let mut volume = image.map("btrfs");
        image.assert_named(&volume);
        assert_eq!(volume.label, label);
        // The nodes keep the UUID that they were written with.
        run("btrfstune", &["-f", "-m", image.name()]);
        let uuid = std::mem::replace(&mut volume, image.map("btrfs")).uuid;
        assert_ne!(volume.uuid, uuid);
        image.assert_named(&volume);
    }
}

#[test]
fn a_log_is_not_replayed_but_refused() {
    let image = made(160 * MIB, &[]);
    let torn = {
        let mount = image.mount("rw,commit=300");
        fs::write(mount.path().join("a"), "first").unwrap();
        run("sync", &["-f", &mount.at("a")]);
        let file = File::options().write(true).open(mount.path().join("a")).unwrap();
        file.write_all_at(&[1; 70_000], 0).unwrap();
        file.sync_all().unwrap();
        image.copy()
    };
    assert_eq!(refusal(&torn), "its log must be replayed: mount and unmount it once");
    drop(torn.mount("rw"));
    assert_eq!(torn.map("btrfs").used, oracle::progs(&torn));
}

#[test]
fn the_power_went_after_a_commit() {
    let image = made(160 * MIB, &[]);
    let mount = image.mount("rw,commit=300");
    usual(&mount);
    btrfs(&["filesystem", "sync", mount.path().to_str().unwrap()]);
    let files = tree(mount.path());
    let torn = image.copy();
    drop(mount);
    let used = torn.map("btrfs").used;
    assert_eq!(used, oracle::progs(&torn));
    restore::prove(&torn, &used, &files);
}

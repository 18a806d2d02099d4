//! The ways to make and use one.

use std::collections::BTreeMap;

use pack::Extents;

use super::{Image, MIB, btrfs, fill, oracle, restore, run};

/// Everything that has to be true of an image.
fn check(image: &Image, files: &BTreeMap<String, String>) {
    let volume = image.map();
    let want = oracle::progs(image);
    assert_eq!(volume.used, want, "btrfs-progs knows better");
    against_partclone(image, &volume.used);
    restore::prove(image, &volume.used, files);
}

fn against_partclone(image: &Image, used: &Extents) {
    let saved = oracle::partclone(image);
    let mut missing = saved.clone();
    used.iter().for_each(|range| missing.remove(range));
    for range in missing.iter() {
        eprintln!("missing {range:?}");
    }
    let mut extra = used.clone();
    saved.iter().for_each(|range| extra.remove(range));
    for range in extra.iter() {
        eprintln!("extra {range:?}");
    }
}

#[test]
fn a_plain_one() {
    let image = Image::new(256 * MIB, &["-L", "a label"]);
    let mount = image.mount("rw");
    fill::some(mount.path());
    fill::fragment(mount.path(), 2);
    let files = fill::listing(mount.path());
    drop(mount);
    check(&image, &files);
}

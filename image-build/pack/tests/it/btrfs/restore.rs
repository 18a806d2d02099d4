//! The used ranges alone are the file system: on a disk that is full of something else.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use pack::{Extents, source};

use super::{Disk, Image, MIB, Mount, btrfs, fill};

/// A disk of as many bytes, all 0xAA but for the used ranges.
pub(super) fn dirty(from: &Disk, used: &Extents, to: &Path) {
    let bytes = pack::Source::bytes(from);
    let file = File::create(to).unwrap();
    let aa = vec![0xaa; 1 << 20];
    (0..bytes / MIB).for_each(|n| file.write_all_at(&aa, n * MIB).unwrap());
    copy(from, used, &file);
}

pub(super) fn copy(from: &Disk, used: &Extents, to: &File) {
    for range in used.iter() {
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from((range.end - at).min(MIB)).unwrap();
            to.write_all_at(&source::read(from, at, length).unwrap(), at).unwrap();
            at += length as u64;
        }
    }
}

/// Puts the used ranges back on a dirty disk: the checker finds nothing, a scrub reads every copy of every block without an
/// error, every file is there as it was.
pub(super) fn prove(image: &Image, used: &Extents, files: &BTreeMap<String, String>) {
    let to = image.dir.path().join("restored");
    dirty(&Disk::open(&image.path), used, &to);
    btrfs(&["check", "--readonly", "--check-data-csum", to.to_str().unwrap()]);
    let mount = Mount::new(&[&to], "ro");
    scrub(mount.path());
    assert_eq!(&fill::listing(mount.path()), files);
}

pub(super) fn scrub(dir: &Path) {
    let said = btrfs(&["scrub", "start", "-B", "-r", dir.to_str().unwrap()]);
    assert!(said.contains("no errors found"), "{said}");
}

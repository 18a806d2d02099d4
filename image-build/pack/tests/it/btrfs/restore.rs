//! The used ranges alone are the file system: on a disk that is full of something else.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use pack::{Extents, source};

use super::{Disk, Image, MIB, Mount, btrfs, fill};

/// A disk of as many bytes, all 0xAA but for the used ranges.
fn dirty(image: &Image, used: &Extents, to: &Path) {
    let from = Disk::open(&image.path);
    let bytes = pack::Source::bytes(&from);
    let file = File::create(to).unwrap();
    let aa = vec![0xaa; 1 << 20];
    (0..bytes / MIB).for_each(|n| file.write_all_at(&aa, n * MIB).unwrap());
    copy(&from, used, &file);
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
    dirty(image, used, &to);
    btrfs(&["check", "--readonly", "--check-data-csum", to.to_str().unwrap()]);
    let mount = Mount::new(&to, "ro");
    let scrub = btrfs(&["scrub", "start", "-B", "-r", mount.path().to_str().unwrap()]);
    assert!(scrub.contains("no errors found"), "{scrub}");
    assert_eq!(&fill::listing(mount.path()), files);
}

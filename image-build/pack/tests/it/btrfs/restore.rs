//! The used ranges alone are the file system: on a disk that is full of something else.

use std::collections::BTreeMap;
use std::path::Path;

use pack::Extents;

use super::btrfs;
use crate::lab::{Disk, tree};

/// Puts the used ranges back on a dirty disk: the checker finds nothing, a scrub reads every copy of every block without an
/// error, every file is there as it was.
pub(super) fn prove(image: &Disk, used: &Extents, files: &BTreeMap<String, String>) {
    let restored = image.only(used);
    btrfs(&["check", "--readonly", "--check-data-csum", restored.name()]);
    let mount = restored.mount("ro");
    scrub(mount.path());
    assert_eq!(&tree(mount.path()), files);
}

pub(super) fn scrub(dir: &Path) {
    let said = btrfs(&["scrub", "start", "-B", "-r", dir.to_str().unwrap()]);
    assert!(said.contains("no errors found"), "{said}");
}

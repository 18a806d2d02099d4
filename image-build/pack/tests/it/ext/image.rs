//! File systems that mke2fs makes.

use crate::lab::{Disk, attempt, run};

/// A disk with a file system that fills it.
pub(super) fn made(bytes: u64, kind: &str, options: &[&str]) -> Disk {
    Disk::made(bytes, "mke2fs", &[&["-q", "-F", "-t", kind], options].concat())
}

/// Lets e2fsck make everything right.
pub(super) fn repair(image: &Disk) {
    let output = attempt("e2fsck", &["-f", "-y", image.name()], "");
    assert!(output.status.code().is_some_and(|code| code <= 1), "{output:?}");
}

/// Carries out a line of debugfs.
pub(super) fn debugfs(image: &Disk, line: &str) {
    run("debugfs", &["-w", "-R", line, image.name()]);
}

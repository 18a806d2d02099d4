//! Files that take no room, and how much they take.

use std::fs;
use std::path::Path;

use crate::lab::Loop;

/// A file that reads as so many zeros and takes no room.
pub(super) fn sparse(path: &Path, bytes: u64) {
    fs::File::create(path).unwrap().set_len(bytes).unwrap();
}

/// Bytes that a file takes where it lies.
pub(super) fn used(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap()) * 512
}

/// A loop device with direct I/O to a file on a real file system.
pub(super) fn direct(file: &Path, sector: u32) -> Loop {
    Loop::with(file, &["--direct-io=on", "--sector-size", &sector.to_string()])
}

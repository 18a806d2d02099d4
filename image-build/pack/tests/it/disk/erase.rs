//! Zeros and discards.

use std::path::Path;
use std::sync::Arc;

use pack::disk::{Access, DiscardEnd, Disk, DiskError};
use pack::source::read;

use super::machine::{direct, sparse, used};
use super::{MIB, open};
use crate::lab::{Dice, Loop, Mounted, run};

fn filled(path: &Path, bytes: u64) -> Vec<u8> {
    let mut content = vec![0; bytes as usize];
    Dice(7).fill(&mut content);
    std::fs::write(path, &content).unwrap();
    content
}

fn zero_and_compare(path: &Path, mut content: Vec<u8>) {
    let disk = open(path, Access::Write);
    for range in [4096..8192, 3 * MIB - 4096..5 * MIB + 8192, 7 * MIB..8 * MIB, 0..0] {
        disk.zero(range.clone()).unwrap();
        content[range.start as usize..range.end as usize].fill(0);
    }
    disk.flush().unwrap();
    assert!(read(&*disk, 0, content.len()).unwrap() == content);
}

#[test]
fn a_zeroed_range_reads_as_zeros_and_nothing_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    let content = filled(&file, 8 * MIB);
    zero_and_compare(&file, content);
    for sector in [512, 4096] {
        let content = filled(&file, 8 * MIB);
        zero_and_compare(direct(&file, sector).path(), content);
    }
    // This file system knows no FALLOC_FL_ZERO_RANGE.
    let memory = Mounted::new(&dir.path().join("memory"), &["-t", "tmpfs", "-o", "size=32m", "none"]);
    let file = memory.root.join("disk");
    let content = filled(&file, 8 * MIB);
    zero_and_compare(&file, content.clone());
    std::fs::write(&file, &content).unwrap();
    zero_and_compare(Loop::new(&file).path(), content);
}

#[test]
fn a_range_that_cannot_be_zeroed_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    let content = filled(&file, 2 * MIB);
    let device = direct(&file, 4096);
    let disk = open(device.path(), Access::Write);
    assert!(matches!(disk.zero(0..512), Err(DiskError::Unaligned { .. })));
    assert!(matches!(disk.zero(0..2 * MIB + 4096), Err(DiskError::Beyond { .. })));
    drop(disk);
    let reader = Disk::open(device.path(), Access::Read).unwrap();
    assert!(matches!(reader.zero(0..4096), Err(DiskError::ReadOnly { .. })));
    let discarded = reader.discard(0..MIB, || true);
    assert!(matches!(discarded.end, DiscardEnd::Refused(_)) && discarded.bytes == 0, "{discarded:?}");
    drop((reader, device));
    assert!(std::fs::read(&file).unwrap() == content);
}

#[test]
fn discarded_bytes_take_no_room() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    filled(&file, 8 * MIB);
    run("sync", &[file.to_str().unwrap()]);
    let before = used(&file);
    assert!(before >= 8 * MIB);
    let device = direct(&file, 512);
    for path in [device.path(), &*file] {
        let disk = open(path, Access::Write);
        let range = if path == file { 0..2 * MIB } else { 2 * MIB..6 * MIB };
        let discarded = disk.discard(range.clone(), || true);
        assert!(matches!(discarded.end, DiscardEnd::Finished), "{discarded:?}");
        assert_eq!(discarded.bytes, range.end - range.start);
        disk.flush().unwrap();
    }
    assert!(used(&file) <= before - 6 * MIB, "{} of {before}", used(&file));
}

#[test]
fn a_discard_stops_when_the_caller_has_enough() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("disk");
    sparse(&file, 5 << 30);
    let device = direct(&file, 512);
    let disk: Arc<Disk> = open(device.path(), Access::Write);
    let mut slices = 0;
    let discarded = disk.discard(0..disk.bytes(), || {
        slices += 1;
        slices <= 2
    });
    assert!(matches!(discarded.end, DiscardEnd::Stopped));
    assert_eq!(discarded.bytes, 2 << 30);
    let discarded = disk.discard(MIB..disk.bytes() + 4096, || true);
    assert!(matches!(discarded.end, DiscardEnd::Refused(_)), "beyond the end: {discarded:?}");
    assert_eq!(discarded.bytes, 4 << 30);
}

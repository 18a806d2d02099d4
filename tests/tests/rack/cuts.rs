//! Power cuts on paper: of every state that a drive could have kept of what it was told, what firmware would find in its first MiB.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use xtask::rack::disk::MIB;
use xtask::rack::write_log::{Entry, WriteLog};

/// Of what boots: boot sector and partition table lie in it.
const HEAD: usize = 1 << 20;

/// Whose disk it is, going by its first MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// What was there before may boot, as a whole or not.
    Old,
    /// Nothing boots.
    None,
    /// Something of what was written may boot.
    New,
}

/// The first MiB as it surely is after what has been flushed.
pub(crate) struct Heads<'a> {
    log: &'a WriteLog,
    durable: File,
    old: Vec<u8>,
    new: Vec<u8>,
    scratch: File,
    dice: u64,
}

impl<'a> Heads<'a> {
    /// Of a disk before and after; two files beside it are used.
    pub(crate) fn new(log: &'a WriteLog, before: &Path, after: &Path) -> Heads<'a> {
        let head = |path: &Path| {
            let mut head = vec![0; HEAD];
            File::open(path).unwrap().read_exact_at(&mut head, 0).unwrap();
            head
        };
        let file = |ending: &str| {
            let path = before.with_extension(ending);
            File::options().read(true).write(true).create(true).truncate(true).open(path).unwrap()
        };
        let (old, new) = (head(before), head(after));
        let (durable, scratch) = (file("head"), file("scratch"));
        durable.write_all_at(&old, 0).unwrap();
        Heads { log, durable, old, new, scratch, dice: 0x9e37_79b9_7f4a_7c15 }
    }

    /// Everything that was told so far is kept.
    pub(crate) fn flush(&self, pending: &[&Entry]) {
        for entry in pending.iter().filter(|entry| range(entry).0 < MIB) {
            self.log.apply(entry, &self.durable, |_| true).unwrap();
        }
    }

    /// One of the states that a cut here can leave, and what was kept of each entry.
    pub(crate) fn cut(&mut self, pending: &[&Entry]) -> (Head, Vec<u64>) {
        let kept: Vec<u64> = pending.iter().map(|_| self.roll()).collect();
        let mut head = vec![0; HEAD];
        self.durable.read_exact_at(&mut head, 0).unwrap();
        for (entry, dice) in pending.iter().zip(&kept).filter(|(entry, _)| range(entry).0 < MIB) {
            self.overlay(entry, *dice, &mut head);
        }
        let sectors = || head.chunks(512).zip(self.old.chunks(512).zip(self.new.chunks(512)));
        let is_set = |sector: &[u8]| sector.iter().any(|byte| *byte != 0);
        let state = if sectors().any(|(is, (old, new))| is_set(is) && is == new && is != old) {
            Head::New
        } else if sectors().any(|(is, _)| is_set(is)) {
            Head::Old
        } else {
            Head::None
        };
        (state, kept)
    }

    fn overlay(&self, entry: &Entry, dice: u64, head: &mut [u8]) {
        self.scratch.set_len(0).unwrap();
        self.scratch.write_all_at(head, 0).unwrap();
        // All, nothing, or any of its sectors.
        let keeps = |sector: u64| match dice % 4 {
            0 => true,
            1 => false,
            _ => (dice.rotate_left((sector % 64) as u32) ^ sector.wrapping_mul(dice | 1)) & 8 == 0,
        };
        self.log.apply(entry, &self.scratch, keeps).unwrap();
        self.scratch.read_exact_at(head, 0).unwrap();
    }

    /// xorshift64: the same dice in every run.
    fn roll(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }
}

/// Where an entry is, and how long, in bytes.
pub(crate) fn range(entry: &Entry) -> (u64, u64) {
    match *entry {
        Entry::Write { at, bytes, .. } | Entry::Discard { at, bytes } => (at, bytes),
        Entry::Flush => (u64::MAX, 0),
    }
}

/// What another system may have left: boot code without partitions, data, and something in the last MiB.
pub(crate) fn old_system(disk: &Path) {
    let file = File::options().write(true).open(disk).unwrap();
    let bytes = file.metadata().unwrap().len();
    let mut boot = vec![0x5a; HEAD];
    boot[440..510].fill(0);
    boot[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (at, what) in [(0, &boot), (300 * MIB, &vec![0xa5; HEAD]), (bytes - MIB, &boot)] {
        file.write_all_at(what, at).unwrap();
    }
}

//! A power cut at every write of a whole deployment, in the only way that there are enough of: what the disk was told is
//! written down, and every state that a drive could have kept of it is looked at.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use xtask::rack::disk::{self, MIB, Stretch};
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Reboot, log_of};
use xtask::rack::write_log::{Entry, WriteLog};
use xtask::say;

use crate::cuts::{Head, Heads, old_system, range};
use crate::lab::{Lab, fail, spec};

/// The bar.
const CUTS: usize = 1000;
/// Where an agent keeps the node's seed.
const SEED: std::ops::Range<u64> = 66 * MIB..67 * MIB;

#[test]
fn no_power_cut_at_any_write_leaves_a_half_written_disk_that_boots() {
    let mut wanted = spec("n5", Firmware::Bios, 5, Bus::Virtio, false);
    wanted.disks[0].logged = true;
    let Some(mut lab) = Lab::up(vec![wanted]) else { return };
    let disk = lab.servers[0].files().disks[0].clone();
    let before = disk.with_extension("before");
    old_system(&disk);
    File::options().write(true).create_new(true).open(&before).unwrap().set_len(8 << 30).unwrap();
    old_system(&before);
    lab.start(0, Reboot::Off);
    lab.until("verified", |node| node.state == "booting");
    lab.servers[0].wait_off(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
    lab.compare(0);
    let log = WriteLog::open(&log_of(&disk)).unwrap();
    let replay = Replay::new(&log, &before, &disk, lab.promised(0));
    let told = replay.run();
    say::line(&format!(
        "    {} cuts at {} writes: {} leave the disk before, {} one that does not boot, {} the whole image; {} flushes; \
         at most {} MiB of {} MiB would be fetched again",
        told.cuts,
        told.writes,
        told.old,
        told.none,
        told.whole,
        told.flushes,
        told.lost_most / MIB,
        told.written / MIB,
    ));
    assert!(told.cuts >= CUTS, "{told:?}");
    assert!(told.old > 0 && told.none > 0 && told.whole > 0, "{told:?}");
    // A second's writes; without flushes on the way it would be everything.
    assert!(told.lost_most * 4 < told.written * 3, "one cut takes nearly all of the work: {told:?}");
    std::fs::remove_file(log_of(&disk)).unwrap();
    std::fs::remove_file(before).unwrap();
    lab.passed();
}

#[derive(Debug, Default)]
struct Told {
    writes: usize,
    cuts: usize,
    flushes: usize,
    old: usize,
    none: usize,
    whole: usize,
    /// Bytes of the image written, and the most of them that one cut takes.
    written: u64,
    lost_most: u64,
}

/// The disk as it surely is after what has been flushed, and what was told since.
struct Replay<'a> {
    log: &'a WriteLog,
    /// The disk as it becomes.
    durable: File,
    heads: Heads<'a>,
    disk: &'a Path,
    before: &'a Path,
    promised: Vec<Stretch>,
    bytes: u64,
}

impl<'a> Replay<'a> {
    fn new(log: &'a WriteLog, before: &'a Path, disk: &'a Path, mut promised: Vec<Stretch>) -> Replay<'a> {
        let durable = File::options().read(true).write(true).open(before).unwrap();
        let bytes = durable.metadata().unwrap().len();
        // The image's last MiB, with the backup of its table, is the disk's.
        promised.push(Stretch { offset: bytes - MIB, length: MIB });
        Replay { log, durable, heads: Heads::new(log, before, disk), disk, before, promised, bytes }
    }

    fn run(mut self) -> Told {
        let mut told = Told::default();
        let mut pending: Vec<&Entry> = Vec::new();
        let mut touched = false;
        for entry in self.log.entries() {
            if *entry == Entry::Flush {
                self.heads.flush(&pending);
                for entry in pending.drain(..) {
                    self.log.apply(entry, &self.durable, |_| true).unwrap();
                }
                told.flushes += 1;
                continue;
            }
            pending.push(entry);
            let content = self.content(entry);
            touched |= content > 0 || matches!(entry, Entry::Discard { .. });
            told.written += content;
            told.lost_most = told.lost_most.max(pending.iter().map(|entry| self.content(entry)).sum());
            told.writes += 1;
            // Each cut keeps another part of what was not flushed. The tables are few writes: more can become of them.
            let times = if pending.iter().any(|entry| range(entry).0 < MIB) { 20 } else { 3 };
            told.cuts += times;
            for _ in 0..times {
                self.cut(&pending, touched, &mut told);
            }
        }
        assert!(pending.is_empty(), "the last writes were never flushed");
        told
    }

    /// Bytes of the image in an entry: not the seed's, not what makes the disk unbootable, not what is given up.
    fn content(&self, entry: &Entry) -> u64 {
        let (at, bytes) = range(entry);
        let is_seed = SEED.contains(&at) && at + bytes <= SEED.end;
        let is_end = at < MIB || at + bytes > self.bytes - MIB;
        let is_write = matches!(entry, Entry::Write { .. });
        if is_write && !is_seed && !is_end { bytes } else { 0 }
    }

    /// One of the states that a cut here can leave.
    fn cut(&mut self, pending: &[&Entry], touched: bool, told: &mut Told) {
        let (head, kept) = self.heads.cut(pending);
        match head {
            Head::New => {
                told.whole += 1;
                self.assert_whole(pending, &kept);
            }
            Head::Old => {
                told.old += 1;
                assert!(!touched, "the old system may still boot, and something of the image is on its disk");
            }
            Head::None => told.none += 1,
        }
    }

    /// Everything but the first MiB is the image's: that much must be there before anything boots.
    fn assert_whole(&self, pending: &[&Entry], kept: &[u64]) {
        let held = pending.iter().map(|entry| range(entry)).collect::<Vec<_>>();
        let is_sure = |stretch: &&Stretch| {
            held.iter()
                .all(|(at, bytes)| stretch.offset + stretch.length <= *at || at + bytes <= stretch.offset)
        };
        let after = |stretch: &&Stretch| stretch.offset >= MIB;
        let sure: Vec<Stretch> = self.promised.iter().filter(after).filter(is_sure).copied().collect();
        let unsure = self.promised.iter().filter(after).filter(|stretch| !is_sure(stretch)).count();
        assert_eq!(unsure, 0, "{} writes beside the first MiB are not durable: {kept:?}", pending.len());
        disk::compare(self.before, self.disk, &sure).unwrap_or_else(|error| fail(&error));
    }
}

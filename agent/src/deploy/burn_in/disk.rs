//! Disks, read and never written: how fast from one end to the other, how long single blocks take, and which can't be read.
//!
//! ```text
//! rounds: start, middle, end (one after the other), then blocks at random, until the time is over; all disks at once
//! ```
//! The figures are those of the first round. Later ones go on where the last one stopped, so that a long test reads all of a disk.
//! Devices are opened read-only and past the page cache, and the kernel refuses writes to all of them meanwhile.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use protocol::{Disk, DiskBus, DiskFigures, Health, Part};
use rustix::fs::{Mode, OFlags};

use super::course::{Course, Until, mixed, per_second};
use super::{ata, health};
use crate::inventory;

const MIB: u64 = 1 << 20;
/// What is read at once from one end to the other.
const PIECE: u64 = MIB;
/// What is read at once at random.
const BLOCK: u64 = 4096;
/// What sector numbers are counted in, as the kernel does.
const SECTOR: u64 = 512;
/// The end of a disk, at most.
const END: u64 = 1 << 30;
/// A disk with so many errors is not read any further: each may take minutes.
const ERRORS_MAX: u64 = 16;
/// Reads at random whose time is kept.
const TIMES_MAX: usize = 1 << 20;
/// One of them that took so long is worth a look whatever the others do.
const SLOW: Duration = Duration::from_secs(2);
/// The longest that one round reads in one place.
const PLACE_MAX: Duration = Duration::from_secs(20);

/// Reads every disk of this server for so long.
pub fn run(course: &Course, root: &Path, time: Duration) {
    let until = course.until(time);
    let is_its = |disk: &Disk| !disk.removable && disk.bus != DiskBus::Usb;
    let disks = inventory::disks(root).into_iter().filter(is_its).collect::<Vec<_>>();
    if disks.is_empty() {
        course.remark(Part::Disk, "there is no disk", 1);
    }
    let all = std::thread::scope(|scope| {
        let one = |(number, disk)| scope.spawn(move || examine(course, root, disk, number, until));
        let threads = (0..).zip(&disks).map(one).collect::<Vec<_>>();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect::<Vec<_>>()
    });
    course.with(|report| {
        report.figures.disks = all;
        report.figures.disks.truncate(protocol::DISKS_MAX);
    });
}

fn examine(course: &Course, root: &Path, disk: &Disk, number: u64, until: Until<'_>) -> DiskFigures {
    let name = disk.id().map_or_else(|| disk.name.clone(), |id| id.to_string());
    let figures = DiskFigures {
        disk: name.clone(),
        model: disk.model.clone(),
        bytes: disk.bytes,
        ..DiskFigures::default()
    };
    let path = inventory::device(root, &disk.name);
    let file = match open(&path) {
        Ok(file) => file,
        Err(error) => {
            course.fault(Part::Disk, &format!("{name}: it can't be opened: {error}"), 1);
            return DiskFigures { errors: 1, ..figures };
        }
    };
    let asks = |file: &File| match disk.bus {
        DiskBus::Nvme => health::nvme(file),
        DiskBus::Sata => ata::health(file),
        DiskBus::Scsi | DiskBus::Virtio | DiskBus::Usb | DiskBus::Mmc | DiskBus::Other => {
            Health { unknown: Some("only NVMe and SATA drives are asked".to_owned()), ..Health::default() }
        }
    };
    let before = asks(&file);
    let mut reading = Reading {
        course,
        name: &name,
        file: &file,
        buffer: vec![0; usize::try_from(PIECE + BLOCK).unwrap_or(0)],
        figures,
        seed: mixed(course.seed() ^ number),
        drawn: 0,
    };
    reading.read_all(until);
    let after = asks(&file);
    health::judge(course, &name, &before, &after);
    DiskFigures { health: after, ..reading.figures }
}

fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// A disk that is read.
struct Reading<'a> {
    course: &'a Course,
    name: &'a str,
    file: &'a File,
    buffer: Vec<u8>,
    figures: DiskFigures,
    seed: u64,
    drawn: u64,
}

/// A stretch of a disk, and where reading goes on in it.
struct Place {
    from: u64,
    to: u64,
    next: u64,
}

impl Place {
    fn of(from: u64, to: u64) -> Self {
        Self { from, to, next: from }
    }
}

impl Reading<'_> {
    fn read_all(&mut self, until: Until<'_>) {
        let bytes = self.figures.bytes / BLOCK * BLOCK;
        let end = bytes - END.min(bytes / 4) / BLOCK * BLOCK;
        let middle = end / 2 / BLOCK * BLOCK;
        let mut places = [Place::of(0, middle), Place::of(middle, end), Place::of(end, bytes)];
        let slice = (until.left() / 6).clamp(Duration::from_millis(20), PLACE_MAX);
        let mut rates = Vec::new();
        let mut times = Vec::new();
        let mut is_first = true;
        while until.goes_on() && !self.is_given_up() {
            for place in &mut places {
                let rate = self.one_after_the_other(place, slice, until);
                if is_first {
                    rates.push(rate);
                }
            }
            self.at_random(bytes / BLOCK, slice, until, if is_first { Some(&mut times) } else { None });
            is_first = false;
        }
        let rate = |at: usize| rates.get(at).copied().flatten();
        (self.figures.start, self.figures.middle, self.figures.end) = (rate(0), rate(1), rate(2));
        times.sort_unstable();
        let part = |of_hundred: usize| {
            times.get((times.len() * of_hundred / 100).min(times.len().saturating_sub(1)))
        };
        self.figures.median_micros = part(50).copied();
        self.figures.p99_micros = part(99).copied();
        self.figures.max_micros = self.figures.max_micros.max(times.last().copied());
    }

    fn is_given_up(&self) -> bool {
        self.figures.errors >= ERRORS_MAX
    }

    /// Bytes a second; none where nothing was read.
    fn one_after_the_other(&mut self, place: &mut Place, slice: Duration, until: Until<'_>) -> Option<u64> {
        let (began, mut done) = (Instant::now(), 0);
        while began.elapsed() < slice && until.goes_on() && !self.is_given_up() {
            if place.next >= place.to {
                place.next = place.from;
            }
            let bytes = PIECE.min(place.to - place.next);
            if bytes == 0 {
                break;
            }
            match self.read(place.next, bytes) {
                Ok(()) => done += bytes,
                Err(error) => self.find(place.next, bytes, &error),
            }
            place.next += bytes;
        }
        self.figures.read_bytes += done;
        (done > 0).then(|| per_second(done, began.elapsed()))
    }

    /// Blocks all over the disk, each of which is timed.
    fn at_random(
        &mut self,
        blocks: u64,
        slice: Duration,
        until: Until<'_>,
        mut times: Option<&mut Vec<u64>>,
    ) {
        let began = Instant::now();
        while blocks > 0 && began.elapsed() < slice && until.goes_on() && !self.is_given_up() {
            self.drawn += 1;
            let at = mixed(self.seed.wrapping_add(self.drawn)) % blocks * BLOCK;
            let asked = Instant::now();
            if let Err(error) = self.read(at, BLOCK) {
                self.failed(at, &error);
                continue;
            }
            let took = asked.elapsed();
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.figures.random_reads += 1;
            self.figures.read_bytes += BLOCK;
            self.figures.max_micros = self.figures.max_micros.max(Some(micros));
            if let Some(times) = times.as_deref_mut().filter(|times| times.len() < TIMES_MAX) {
                times.push(micros);
            }
            if took >= SLOW {
                let what =
                    format!("{}: reads of 4 KiB that took longer than {} s", self.name, SLOW.as_secs());
                self.course.remark(Part::Disk, &what, 1);
            }
        }
    }

    /// Something within this can't be read: where, to the block.
    fn find(&mut self, from: u64, bytes: u64, error: &io::Error) {
        let mut found = false;
        for at in (from..from + bytes).step_by(usize::try_from(BLOCK).unwrap_or(1)) {
            if self.is_given_up() || !self.course.goes_on() {
                return;
            }
            match self.read(at, BLOCK.min(from + bytes - at)) {
                Ok(()) => self.figures.read_bytes += BLOCK,
                Err(error) => {
                    found = true;
                    self.failed(at, &error);
                }
            }
        }
        if !found {
            // It could be read the second time, which the first time does not undo.
            self.failed(from, error);
        }
    }

    fn failed(&mut self, at: u64, error: &io::Error) {
        self.figures.errors += 1;
        let what = format!("{}: sector {} can't be read: {error}", self.name, at / SECTOR);
        self.course.fault(Part::Disk, &what, 1);
        if self.is_given_up() {
            let what = format!("{}: it was not read any further after {ERRORS_MAX} errors", self.name);
            self.course.remark(Part::Disk, &what, 1);
        }
    }

    fn read(&mut self, at: u64, bytes: u64) -> io::Result<()> {
        let length = usize::try_from(bytes).map_err(io::Error::other)?;
        // What is read past the page cache must lie so.
        let skip = self.buffer.as_ptr().align_offset(usize::try_from(BLOCK).unwrap_or(1));
        let room = self.buffer.get_mut(skip..skip + length);
        let room = room.ok_or_else(|| io::Error::other("there is no room for it"))?;
        self.file.read_exact_at(room, at)
    }
}

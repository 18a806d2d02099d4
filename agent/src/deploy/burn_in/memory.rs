//! Memory: as much of it as is free is filled with patterns and read back, by every core at once.
//!
//! ```text
//! per pattern: written upwards -> read upwards, each word inverted at once -> read downwards
//! ```
//! That is a moving inversion: it finds cells that do not hold, and those that change with their neighbours. The patterns are each
//! word's own address (lines that are crossed), solid and striped words, and words drawn from the job's seed. In the ramdisk
//! nothing is ever paged out. A word that is wrong is named by its physical address, where the kernel tells it.

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use protocol::{MemoryFigures, Part};

use super::course::{Course, Until, mixed, per_second};
use super::cpu::{cores, settle_on};

/// Words of a block: 16 MiB.
const BLOCK_WORDS: usize = 2 << 20;
const WORD_BYTES: u64 = 8;
/// So much stays free, at least: the kernel, its network and this agent live on.
const RESERVE: u64 = 384 << 20;
/// And of a large server so much of it, as a divisor.
const RESERVE_PART: u64 = 20;
/// Wrong words of one walk over a block that are named; a chip that is dead has millions.
const NAMED: usize = 8;

/// What happens to memory between writing and reading: nothing, but in a test that bends it.
pub trait Between: Sync {
    /// All of a core's blocks are written, and none is read yet.
    fn settle(&self, worker: usize, blocks: &mut [Vec<u64>]);
}

/// Nothing happens.
#[derive(Clone, Copy, Debug)]
pub struct Idle;

impl Between for Idle {
    fn settle(&self, _worker: usize, blocks: &mut [Vec<u64>]) {
        // What was written was written: the compiler may not know what is read.
        std::hint::black_box(blocks);
    }
}

/// What all cores have done.
#[derive(Debug, Default)]
struct Tally {
    held: AtomicU64,
    moved: AtomicU64,
    /// Whole patterns, of the core that has done the fewest.
    patterns: AtomicU64,
}

/// Tests what is free for so long. `root` is where `/proc` is.
pub fn run(course: &Course, between: &impl Between, root: &Path, time: Duration) {
    let until = course.until(time);
    let workers = cores();
    let share = free_for_this(root) / workers.len().max(1) as u64;
    let (tally, began) = (Tally::default(), Instant::now());
    tally.patterns.store(u64::MAX, Ordering::Relaxed);
    std::thread::scope(|scope| {
        for (worker, core) in workers.iter().enumerate() {
            let tally = &tally;
            scope.spawn(move || {
                settle_on(*core);
                let mut region = Region::new(root, share, tally);
                region.walk(course, between, worker, until, tally);
            });
        }
    });
    let held = tally.held.load(Ordering::Relaxed);
    let patterns = tally.patterns.load(Ordering::Relaxed);
    if held == 0 || patterns == 0 || patterns == u64::MAX {
        course.remark(
            Part::Memory,
            "not one pattern was read back: there was too little free memory, or time",
            1,
        );
    }
    course.with(|report| {
        report.figures.memory = Some(MemoryFigures {
            tested_bytes: held,
            total_bytes: known(root, "MemTotal:"),
            patterns: if patterns == u64::MAX { 0 } else { patterns },
            rate: per_second(tally.moved.load(Ordering::Relaxed), began.elapsed()),
            corrected: None,
            uncorrected: None,
        });
    });
}

/// A line of `/proc/meminfo`, in bytes; 0 when it is not there.
fn known(root: &Path, key: &str) -> u64 {
    meminfo(&std::fs::read_to_string(root.join("proc/meminfo")).unwrap_or_default(), key)
}

/// The value of a line like `MemAvailable:   123 kB`, in bytes; 0 when there is none, or it is none.
pub fn meminfo(text: &str, key: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.and_then(|kib| kib.checked_mul(1024)).unwrap_or(0)
}

/// What may be taken now without starving the rest.
fn free_for_this(root: &Path) -> u64 {
    let reserve = RESERVE.max(known(root, "MemTotal:") / RESERVE_PART);
    known(root, "MemAvailable:").saturating_sub(reserve)
}

/// One core's part of the memory.
struct Region {
    blocks: Vec<Vec<u64>>,
}

impl Region {
    /// So many bytes, touched by the core that will test them, so that they lie at its own memory controller.
    fn new(root: &Path, bytes: u64, tally: &Tally) -> Self {
        let mut blocks = Vec::new();
        let block_bytes = BLOCK_WORDS as u64 * WORD_BYTES;
        for _ in 0..bytes / block_bytes {
            // Others take some, too.
            if known(root, "MemAvailable:") < RESERVE {
                break;
            }
            let mut block = Vec::new();
            if block.try_reserve_exact(BLOCK_WORDS).is_err() {
                break;
            }
            // Not zero: zeroed memory is not there until it is written.
            block.resize(BLOCK_WORDS, 1_u64);
            blocks.push(block);
            tally.held.fetch_add(block_bytes, Ordering::Relaxed);
        }
        Self { blocks }
    }

    /// Pattern after pattern, until the time is over.
    fn walk(
        &mut self,
        course: &Course,
        between: &impl Between,
        worker: usize,
        until: Until<'_>,
        tally: &Tally,
    ) {
        let mut done = 0;
        while self.pattern(course, between, worker, (done, until), tally) {
            done += 1;
        }
        tally.patterns.fetch_min(done, Ordering::Relaxed);
    }

    /// One pattern over everything. False: the time was over before its end.
    fn pattern(
        &mut self,
        course: &Course,
        between: &impl Between,
        worker: usize,
        (number, until): (u64, Until<'_>),
        tally: &Tally,
    ) -> bool {
        let pattern = Pattern::number(number, course.seed());
        let counted = |blocks: usize, times: u64| {
            let bytes = blocks as u64 * BLOCK_WORDS as u64 * WORD_BYTES * times;
            tally.moved.fetch_add(bytes, Ordering::Relaxed);
        };
        if self.blocks.is_empty() {
            return false;
        }
        for block in &mut self.blocks {
            if !until.goes_on() {
                return false;
            }
            pattern.write(block);
            counted(1, 1);
        }
        between.settle(worker, &mut self.blocks);
        for block in &mut self.blocks {
            if !until.goes_on() {
                return false;
            }
            pattern.invert(block).tell(course, block);
            counted(1, 2);
        }
        between.settle(worker, &mut self.blocks);
        for block in self.blocks.iter_mut().rev() {
            if !until.goes_on() {
                return false;
            }
            pattern.read_inverted(block).tell(course, block);
            counted(1, 1);
        }
        true
    }
}

/// What every word of a block should be, by its place.
#[derive(Clone, Copy, Debug)]
enum Pattern {
    /// Its own address.
    Address,
    /// The same everywhere.
    Solid(u64),
    /// Drawn from a seed and its address.
    Random(u64),
}

impl Pattern {
    /// The patterns in their order, again and again; random ones are others each time.
    fn number(number: u64, seed: u64) -> Self {
        let stripes = [0, 0x5555_5555_5555_5555, 0x3333_3333_3333_3333, 0x0f0f_0f0f_0f0f_0f0f];
        match number % 4 {
            0 => Pattern::Address,
            1 => Pattern::Random(mixed(seed ^ number)),
            2 => Pattern::Solid(
                stripes.get(usize::try_from(number / 4 % 4).unwrap_or(0)).copied().unwrap_or(0),
            ),
            _ => Pattern::Solid(1 << (number / 4 % 64)),
        }
    }

    fn word(self, address: u64) -> u64 {
        match self {
            Pattern::Address => address,
            Pattern::Solid(word) => word,
            Pattern::Random(seed) => mixed(seed ^ address),
        }
    }

    fn write(self, block: &mut [u64]) {
        let base = address(block);
        for (word, at) in block.iter_mut().zip((base..).step_by(8)) {
            *word = self.word(at);
        }
    }

    /// Reads upwards, and writes the inverse of each word as soon as it was read.
    fn invert(self, block: &mut [u64]) -> Wrong {
        let (base, mut wrong) = (address(block), Wrong::default());
        for (word, at) in block.iter_mut().zip((base..).step_by(8)) {
            let right = self.word(at);
            wrong.look(at, *word ^ right);
            *word = !right;
        }
        wrong
    }

    /// Reads the inverse, downwards.
    fn read_inverted(self, block: &mut [u64]) -> Wrong {
        let (base, mut wrong) = (address(block), Wrong::default());
        let length = block.len() as u64 * WORD_BYTES;
        for (word, back) in block.iter().rev().zip((0..length).step_by(8)) {
            let at = base + length - WORD_BYTES - back;
            wrong.look(at, *word ^ !self.word(at));
        }
        wrong
    }
}

fn address(block: &[u64]) -> u64 {
    block.as_ptr().addr() as u64
}

/// Words of one walk that were not what they should be.
#[derive(Debug, Default)]
struct Wrong {
    /// Address and wrong bits, of the first ones.
    named: Vec<(u64, u64)>,
    count: u64,
}

impl Wrong {
    fn look(&mut self, at: u64, bits: u64) {
        if bits != 0 {
            self.count += 1;
            if self.named.len() < NAMED {
                self.named.push((at, bits));
            }
        }
    }

    fn tell(&self, course: &Course, block: &[u64]) {
        for (at, bits) in &self.named {
            let place = match physical(*at) {
                Some(place) => format!("physical address {place:#x}"),
                None => format!("byte {:#x} of a block", at - address(block)),
            };
            course.fault(Part::Memory, &format!("{place}: wrong bits {bits:#018x}"), 1);
        }
        let rest = self.count - self.named.len() as u64;
        if rest > 0 {
            course.fault(Part::Memory, "further words beside these", rest);
        }
    }
}

/// Where this process's memory lies in the machine's (`/proc/self/pagemap`); none where the kernel does not tell. Pages are of
/// 4 KiB here, or nothing is said.
fn physical(address: u64) -> Option<u64> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let mut entry = [0; 8];
    let map = std::fs::File::open("/proc/self/pagemap").ok()?;
    map.read_exact_at(&mut entry, (address >> 12) * 8).ok()?;
    let entry = u64::from_le_bytes(entry);
    let (is_present, frame) = (entry >> 63 == 1, entry & ((1 << 55) - 1));
    (is_present && frame != 0).then_some(frame << 12 | address & 0xfff)
}

#[cfg(test)]
mod tests {
    use super::{Between, Idle, Pattern, cores, meminfo, run};
    use crate::deploy::burn_in::course::Course;
    use protocol::{JobId, Part, TestJob};
    use std::collections::BTreeMap;
    use std::sync::Mutex;
    use std::time::Duration;

    /// Nothing here waits for a clock: the machine may be busy.
    const LONG: Duration = Duration::from_secs(120);

    fn course() -> Course {
        Course::begin(&TestJob { job: JobId([1; 8]), parts: [Part::Memory].into(), seconds: 1, seed: 7 })
    }

    /// A machine with so many MiB free for each core, by its own word.
    fn free(mib: usize) -> tempfile::TempDir {
        let root = tempfile::TempDir::new().unwrap();
        std::fs::create_dir(root.path().join("proc")).unwrap();
        let available = (mib * cores().len()) << 10;
        let available = available as u64 + (super::RESERVE >> 10);
        let text = format!("MemTotal: 4194304 kB\nMemFree: 1 kB\nMemAvailable: {available} kB\n");
        std::fs::write(root.path().join("proc/meminfo"), text).unwrap();
        root
    }

    /// What happens the so-manyth time to the blocks of a worker.
    type Bend = fn(u32, usize, &mut [Vec<u64>]);

    /// Bends memory when it is settled the so-manyth time, and ends the test when every core was there so often.
    struct Bent<'a> {
        course: &'a Course,
        times: Mutex<BTreeMap<usize, u32>>,
        last: u32,
        /// Asked before a thread has settled on one core.
        cores: usize,
        bend: Bend,
    }

    impl<'a> Bent<'a> {
        fn new(course: &'a Course, last: u32, bend: Bend) -> Self {
            Self { course, times: Mutex::default(), last, cores: cores().len(), bend }
        }
    }

    impl Between for Bent<'_> {
        fn settle(&self, worker: usize, blocks: &mut [Vec<u64>]) {
            let mut times = self.times.lock().unwrap();
            let time = times.entry(worker).or_default();
            (self.bend)(*time, worker, blocks);
            *time += 1;
            if times.len() == self.cores && times.values().all(|time| *time > self.last) {
                self.course.stop();
            }
            drop(times);
            Idle.settle(worker, blocks);
        }
    }

    #[test]
    fn memory_that_holds_has_no_fault() {
        let (course, root) = (course(), free(16));
        run(&course, &Bent::new(&course, 2, |_, _, _| {}), root.path(), LONG);
        let report = course.so_far();
        assert_eq!(report.faults, []);
        let figures = report.figures.memory.unwrap();
        assert_eq!(figures.tested_bytes, (cores().len() as u64) << 24, "{figures:?}");
        assert!(figures.patterns > 0 && figures.rate > 0 && figures.total_bytes == 4 << 30, "{figures:?}");
    }

    fn flip(blocks: &mut [Vec<u64>]) {
        let word = blocks.last_mut().and_then(|block| block.get_mut(12_345)).unwrap();
        *word ^= 1 << 42;
    }

    /// In whatever pattern, on the way up and on the way down.
    #[test]
    fn one_bit_that_does_not_hold_is_found_and_named() {
        let bends: [(u32, Bend); 4] = [
            (0, |time, worker, blocks| {
                if (time, worker) == (0, 0) {
                    flip(blocks)
                }
            }),
            (1, |time, worker, blocks| {
                if (time, worker) == (1, 0) {
                    flip(blocks)
                }
            }),
            (2, |time, worker, blocks| {
                if (time, worker) == (2, 0) {
                    flip(blocks)
                }
            }),
            (5, |time, worker, blocks| {
                if (time, worker) == (5, 0) {
                    flip(blocks)
                }
            }),
        ];
        for (at, bend) in bends {
            let (course, root) = (course(), free(16));
            run(&course, &Bent::new(&course, at + 1, bend), root.path(), LONG);
            let report = course.so_far();
            let [fault] = report.faults.as_slice() else { panic!("{at}: {:?}", report.faults) };
            assert!(fault.what.ends_with(": wrong bits 0x0000040000000000"), "{fault:?}");
            assert_eq!((fault.part, fault.count), (Part::Memory, 1));
            if rustix::process::geteuid().is_root() && cfg!(target_arch = "x86_64") {
                assert!(fault.what.starts_with("physical address 0x"), "{fault:?}");
            }
        }
    }

    #[test]
    fn memory_that_is_dead_is_counted_and_not_named_word_by_word() {
        let (course, root) = (course(), free(16));
        let dead =
            Bent::new(&course, 1, |_, _, blocks| blocks.iter_mut().flatten().for_each(|word| *word = 0x1234));
        run(&course, &dead, root.path(), LONG);
        let report = course.so_far();
        report.check().unwrap();
        assert!(report.fault_count() > 1 << 20, "{}", report.fault_count());
    }

    #[test]
    fn with_no_memory_to_spare_nothing_is_taken_and_that_is_said() {
        let (course, root) = (course(), free(0));
        run(&course, &Idle, root.path(), Duration::from_secs(1));
        let report = course.so_far();
        assert_eq!((report.faults.len(), report.remarks.len()), (0, 1), "{report:?}");
        assert_eq!(report.figures.memory.unwrap().tested_bytes, 0);
    }

    #[test]
    fn every_place_has_its_own_word() {
        let mut block = vec![0; 4096];
        for number in [0, 1] {
            Pattern::number(number, 9).write(&mut block);
            assert_eq!(block.iter().collect::<std::collections::BTreeSet<_>>().len(), 4096);
        }
        assert_ne!(Pattern::number(1, 9).word(8), Pattern::number(5, 9).word(8));
    }

    #[test]
    fn meminfo_of_any_text() {
        let table = [
            ("MemAvailable:        2048 kB\n", 2 << 20),
            ("MemAvailable: 18446744073709551615 kB\n", 0),
            ("MemAvailable: -1 kB\nMemAvailable: 5 kB", 0),
            ("MemAvailable:", 0),
            ("", 0),
        ];
        for (text, want) in table {
            assert_eq!(meminfo(text, "MemAvailable:"), want, "{text:?}");
        }
    }
}

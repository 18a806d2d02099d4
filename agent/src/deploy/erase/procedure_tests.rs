//! The procedure on disks in memory, most of which lie. None of them is a block device: what lies there is what this test says.

#![allow(clippy::cast_possible_truncation, reason = "a test's disk lies in memory")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use protocol::{DiskId, Method, Nonce};

use super::{BLOCK, Done, EraseError, LABELS, MIB, Medium, Step, Terms, erase};

const BYTES: u64 = 72 * MIB;
const PLANTED: u64 = 1000;

/// How a disk lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lie {
    /// It does not.
    None,
    /// Writes are taken, and lost; what was there stays.
    IgnoresAll,
    /// One block in so many keeps what it had, whatever is written to it after the first time.
    KeepsSome(u64),
    /// Only the last MiB that was written is there to be read, in a cache; the medium keeps what it had.
    Caches,
    /// What is written reads back, until the first flush after more than this many bytes.
    ForgetsAfter(u64),
    /// Everything reads as zeros, and is still there.
    SaysZeros,
    /// Its firmware says that it has erased, and has done nothing.
    FirmwareSaysSo,
    /// Its firmware has erased all but one block in so many.
    FirmwareLeaves(u64),
    /// A block can't be read.
    Broken(u64),
    /// It does not lie: a block can't be read until it is written, or its firmware has erased, which it does.
    BrokenBefore(u64),
}

#[derive(Debug, thiserror::Error)]
#[error("byte {0} can't be read")]
struct Unreadable(u64);

struct Memory {
    lie: Lie,
    firmware: bool,
    state: Mutex<State>,
}

struct State {
    medium: Vec<u8>,
    cache: BTreeMap<u64, Vec<u8>>,
    written: u64,
    touched: BTreeSet<u64>,
    erased: bool,
    /// Blocks that were read, one by one, after its firmware has erased.
    looked: BTreeSet<u64>,
}

impl Memory {
    fn new(lie: Lie) -> Self {
        let mut medium = vec![0; BYTES as usize];
        for number in 0..PLANTED {
            medium[planted(number) as usize..][..32].copy_from_slice(&mark(number));
        }
        let firmware = matches!(lie, Lie::FirmwareSaysSo | Lie::FirmwareLeaves(_) | Lie::BrokenBefore(_));
        let state = State {
            medium,
            cache: BTreeMap::new(),
            written: 0,
            touched: BTreeSet::new(),
            erased: false,
            looked: BTreeSet::new(),
        };
        Self { lie, firmware, state: Mutex::new(state) }
    }

    /// How many of the planted marks are anywhere on the medium, whatever the disk says.
    fn left(&self) -> usize {
        let state = self.state.lock().unwrap();
        let is_mark = |window: &[u8]| window.starts_with(b"planted mark no ");
        state.medium.windows(32).step_by(16).filter(|window| is_mark(window)).count()
    }
}

fn mark(number: u64) -> [u8; 32] {
    let mut mark = [b'.'; 32];
    mark[..16].copy_from_slice(b"planted mark no ");
    mark[16..24].copy_from_slice(&number.to_be_bytes());
    mark
}

/// All over the disk, the first sector, the last, and the seed's place among them.
fn planted(number: u64) -> u64 {
    match number {
        0 => 0,
        1 => BYTES - 512,
        2 => protocol::SEED_OFFSET,
        _ => number * (BYTES / PLANTED) / 16 * 16,
    }
}

impl Medium for Memory {
    type Error = Unreadable;

    fn bytes(&self) -> u64 {
        BYTES
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Unreadable> {
        let mut state = self.state.lock().unwrap();
        if state.erased && out.len() as u64 == BLOCK {
            state.looked.insert(at);
        }
        out.copy_from_slice(&state.medium[at as usize..][..out.len()]);
        match self.lie {
            Lie::SaysZeros => out.fill(0),
            Lie::Broken(broken)
                if (at..at + out.len() as u64).contains(&broken) && state.written > BYTES / 2 =>
            {
                return Err(Unreadable(broken));
            }
            Lie::BrokenBefore(broken)
                if (at..at + out.len() as u64).contains(&broken)
                    && !state.erased
                    && !state.touched.contains(&(broken / BLOCK)) =>
            {
                return Err(Unreadable(broken));
            }
            Lie::Caches | Lie::ForgetsAfter(_) => {
                let end = at + out.len() as u64;
                for (place, bytes) in &state.cache {
                    let (from, to) = (at.max(*place), end.min(place + bytes.len() as u64));
                    if from < to {
                        let part = &bytes[(from - place) as usize..(to - place) as usize];
                        out[(from - at) as usize..(to - at) as usize].copy_from_slice(part);
                    }
                }
            }
            Lie::None
            | Lie::IgnoresAll
            | Lie::KeepsSome(_)
            | Lie::FirmwareSaysSo
            | Lie::FirmwareLeaves(_)
            | Lie::BrokenBefore(_)
            | Lie::Broken(_) => {}
        }
        Ok(())
    }

    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Unreadable> {
        let mut state = self.state.lock().unwrap();
        state.written += bytes.len() as u64;
        match self.lie {
            Lie::IgnoresAll => {}
            Lie::Caches => {
                state.cache.insert(at, bytes.to_vec());
                while state.cache.values().map(Vec::len).sum::<usize>() > 2 << 20 {
                    state.cache.pop_first();
                }
            }
            Lie::ForgetsAfter(_) => drop(state.cache.insert(at, bytes.to_vec())),
            Lie::KeepsSome(one_in) => {
                for (block, part) in (at / BLOCK..).zip(bytes.chunks(BLOCK as usize)) {
                    if block % one_in == 7 && !state.touched.insert(block) {
                        continue;
                    }
                    state.medium[(block * BLOCK) as usize..][..part.len()].copy_from_slice(part);
                }
            }
            Lie::BrokenBefore(_) => {
                state.touched.extend(at / BLOCK..(at + bytes.len() as u64) / BLOCK);
                state.medium[at as usize..][..bytes.len()].copy_from_slice(bytes);
            }
            Lie::None | Lie::SaysZeros | Lie::FirmwareSaysSo | Lie::FirmwareLeaves(_) | Lie::Broken(_) => {
                state.medium[at as usize..][..bytes.len()].copy_from_slice(bytes)
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<(), Unreadable> {
        let mut state = self.state.lock().unwrap();
        if let Lie::ForgetsAfter(bytes) = self.lie
            && state.written > bytes
        {
            state.cache.clear();
        }
        Ok(())
    }

    fn settle(&self) -> Result<(), Unreadable> {
        Ok(())
    }

    fn firmware(&self) -> Result<(Option<Method>, String), Unreadable> {
        if !self.firmware {
            return Ok((None, String::new()));
        }
        let mut state = self.state.lock().unwrap();
        state.erased = true;
        if matches!(self.lie, Lie::BrokenBefore(_)) {
            state.medium.fill(0xff);
        }
        if let Lie::FirmwareLeaves(one_in) = self.lie {
            let blocks = (0..).zip(state.medium.chunks_mut(BLOCK as usize));
            blocks.filter(|(block, _)| block % one_in != 3).for_each(|(_, bytes)| bytes.fill(0xff));
        }
        Ok((Some(Method::NvmeSanitizeBlock), "done".to_owned()))
    }
}

fn tried(lie: Lie) -> (Memory, Result<Done, EraseError<Unreadable>>) {
    let memory = Memory::new(lie);
    let disk = DiskId::of("", "M").unwrap();
    let terms = Terms { challenge: &Nonce([3; 16]), disk: &disk, marks: &[MIB, 9 * MIB] };
    let done = erase(&memory, &terms, &|_| true);
    (memory, done)
}

#[test]
fn of_a_thousand_planted_blocks_none_is_left() {
    let (memory, done) = tried(Lie::None);
    let done = done.unwrap();
    assert_eq!(memory.left(), 0);
    assert_eq!((done.method, done.written_bytes), (Method::Overwrite, BYTES));
    assert!(done.canaries > 200 && done.samples > 5000, "{done:?}");
    assert!(done.sampled_bytes > done.samples * BLOCK, "a MiB where something is known to begin: {done:?}");
    let state = memory.state.lock().unwrap();
    let ends = [&state.medium[..MIB as usize], &state.medium[(BYTES - MIB) as usize..]];
    assert!(ends.iter().all(|end| end.iter().all(|byte| *byte == 0)), "it looks like an empty disk");
}

#[test]
fn a_disk_that_lies_is_never_called_erased() {
    let lies = [
        Lie::IgnoresAll,
        Lie::KeepsSome(1000),
        Lie::KeepsSome(100),
        Lie::Caches,
        Lie::ForgetsAfter(BYTES / 2),
        Lie::SaysZeros,
        Lie::FirmwareSaysSo,
        Lie::FirmwareLeaves(50),
    ];
    for lie in lies {
        let (memory, done) = tried(lie);
        assert!(
            matches!(done, Err(EraseError::Ignores { .. } | EraseError::Lies { .. })),
            "{lie:?}: {done:?}"
        );
        assert!(memory.left() > 0 || matches!(lie, Lie::KeepsSome(_)), "{lie:?} is a lie");
    }
    let (_, done) = tried(Lie::Broken(BYTES - 100));
    assert!(matches!(done, Err(EraseError::Disk(Unreadable(_)))), "{done:?}");
}

#[test]
fn firmware_that_does_what_it_says_is_believed_when_nothing_is_left() {
    let (memory, done) = tried(Lie::FirmwareLeaves(u64::MAX));
    let done = done.unwrap();
    assert_eq!(
        (done.method, done.written_bytes, done.firmware.as_str()),
        (Method::NvmeSanitizeBlock, 0, "done")
    );
    // One block in 2^64 that is left is block 3.
    assert_eq!(memory.left(), usize::from(planted(3) / BLOCK == 3));
}

#[test]
fn what_the_firmware_erased_is_counted_when_it_was_read_and_compared() {
    let (memory, done) = tried(Lie::FirmwareLeaves(u64::MAX));
    let done = done.unwrap();
    let looked = memory.state.lock().unwrap().looked.clone();
    for begin in [0, MIB, 9 * MIB, BYTES - MIB] {
        let blocks = (begin..begin + MIB).step_by(BLOCK as usize);
        assert_eq!(blocks.filter(|at| !looked.contains(at)).count(), 0, "the MiB at {begin}");
    }
    assert_eq!(done.sampled_bytes, done.samples * BLOCK);
    // A canary may lie where a sample is drawn, too.
    assert!(looked.len() as u64 + done.canaries >= done.samples, "{} of {done:?}", looked.len());
    let (_, other) = tried(Lie::BrokenBefore(9 * MIB + 100));
    assert_eq!(other.unwrap().samples, done.samples - 1, "with what can't be read nothing is compared");
}

#[test]
fn it_stops_when_it_is_told_to_and_says_so() {
    let memory = Memory::new(Lie::None);
    let disk = DiskId::of("", "M").unwrap();
    let terms = Terms { challenge: &Nonce([3; 16]), disk: &disk, marks: &[] };
    let stopped = erase(&memory, &terms, &|step| matches!(step, Step::Read(_)));
    assert!(matches!(stopped, Err(EraseError::Stopped)));
    assert!(memory.left() > 900, "it had hardly begun");
    assert!(LABELS.iter().all(|at| *at > BYTES), "no label lies on so small a disk");
}

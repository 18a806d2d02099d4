//! Erasing one disk, and proving it: what is written where, what is read back, and what must be there then.
//!
//! ```text
//! settle -> both ends zeros -> canaries laid, read back -> firmware, or every sector written over -> read back -> both ends zeros
//! ```
//! A disk that ignores writes has no canaries at the second look; one that forgets them, or only says that it was erased, has not
//! what it should have where nobody could know that it is looked at. Begun again it does all of it again.

use std::collections::BTreeSet;

use protocol::{CANARIES_MIN, DiskId, Method, Nonce, SAMPLES_MIN, SEED_BYTES, SEED_OFFSET};

use super::pattern::{BLOCK, BLOCK_BYTES, Pattern, Purpose, places};

const MIB: u64 = 1 << 20;
/// Blocks with a known pattern on a disk before it is erased, at most. After its firmware has erased it they are all that is certain to
/// have been something before: if it leaves one block in a thousand, this misses it once in 3,600 disks ((1 - f) to the power of these).
const CANARIES: usize = 8192;
/// On a small disk one block in so many is one, but no fewer than these.
const CANARIES_OF: u64 = 64;
const FEW_CANARIES: usize = 256;
/// Places that are read back, beside the canaries': of a disk that was written over both must have exactly what was written, so that
/// one block in a thousand is missed once in 13 million disks.
const SAMPLES: usize = 8192;
/// Where Ceph's `BlueStore` has more of its labels (BDEV_LABEL_POSITIONS).
const LABELS: [u64; 4] = [1 << 30, 10 << 30, 100 << 30, 1000 << 30];

/// A disk as the procedure sees it. All methods block. Offsets and lengths are multiples of its sectors, at most a MiB.
pub trait Medium {
    /// What goes wrong with it.
    type Error: std::error::Error + 'static;
    /// Size in bytes.
    fn bytes(&self) -> u64;
    /// Reads from the medium, not from a cache of this machine.
    ///
    /// # Errors
    /// What the disk says.
    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), Self::Error>;
    /// Writes.
    ///
    /// # Errors
    /// What the disk says.
    fn write(&self, at: u64, bytes: &[u8]) -> Result<(), Self::Error>;
    /// Makes what was written durable.
    ///
    /// # Errors
    /// What the disk says.
    fn flush(&self) -> Result<(), Self::Error>;
    /// Waits for what its firmware was told before a power cut, and looks whether there is more behind it than can be seen.
    ///
    /// # Errors
    /// It does not end; or there is.
    fn settle(&self) -> Result<(), Self::Error>;
    /// Has its firmware erase it. `None`: it can't, or would erase more than this disk; then why, where it said so.
    ///
    /// # Errors
    /// It has begun, and failed: what is on the disk now nobody knows.
    fn firmware(&self) -> Result<(Option<Method>, String), Self::Error>;
}

/// Why a disk is not called erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError<E: std::error::Error + 'static> {
    /// Reading, writing, or its firmware.
    #[error(transparent)]
    Disk(#[from] E),
    /// What was just written is not there.
    #[error("it says that it has written, and does not have it: byte {at} reads as something else")]
    Ignores {
        /// Where.
        at: u64,
    },
    /// It says that it was erased, and still has something.
    #[error("it says that it is erased, and is not: what lay at byte {at} is still there")]
    Lies {
        /// Where.
        at: u64,
    },
    /// Too small to be told anything from.
    #[error("it has {bytes} bytes, too few to prove anything of it")]
    Small {
        /// Its size.
        bytes: u64,
    },
    /// The controller wants it stopped.
    #[error("stopped by the controller")]
    Stopped,
}

/// Which disk, and by what it is proven.
#[derive(Debug)]
pub struct Terms<'a> {
    /// The job's.
    pub challenge: &'a Nonce,
    /// Its name.
    pub disk: &'a DiskId,
    /// Where something began that was recognised on it.
    pub marks: &'a [u64],
}

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// How.
    pub method: Method,
    /// What the firmware said.
    pub firmware: String,
    /// Bytes written over.
    pub written_bytes: u64,
    /// Canaries that lay there and are gone.
    pub canaries: u64,
    /// Places read back.
    pub samples: u64,
    /// Bytes of them.
    pub sampled_bytes: u64,
}

/// How far it is: bytes erased, and places read back. False: stop.
pub type Gauge<'a> = &'a dyn Fn(Step) -> bool;

/// Something that was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// So many bytes were written over.
    Erased(u64),
    /// So many bytes were read back.
    Read(u64),
}

/// Erases a disk, and proves it.
///
/// # Errors
/// [`EraseError`]: it is not erased, or nobody knows.
pub fn erase<M: Medium>(
    medium: &M,
    terms: &Terms<'_>,
    gauge: Gauge<'_>,
) -> Result<Done, EraseError<M::Error>> {
    let bytes = medium.bytes();
    if bytes < 4 * MIB {
        return Err(EraseError::Small { bytes });
    }
    medium.settle()?;
    let work = Work { medium, terms, gauge, buffer: vec![0; 1 << 20] };
    work.run(bytes)
}

/// Blocks, and what was in them where that could be read.
type Remembered = Vec<(u64, Option<blake3::Hash>)>;

struct Work<'a, M: Medium> {
    medium: &'a M,
    terms: &'a Terms<'a>,
    gauge: Gauge<'a>,
    buffer: Vec<u8>,
}

impl<M: Medium> Work<'_, M> {
    fn run(mut self, bytes: u64) -> Result<Done, EraseError<M::Error>> {
        self.ends(bytes)?;
        let canaries = self.lay_canaries(bytes)?;
        let samples = self.draw(Purpose::Sample, bytes, SAMPLES);
        let ranges = self.structured(bytes);
        let before = self.remember(&samples, &ranges)?;
        let (by_firmware, firmware) = self.medium.firmware()?;
        let (method, written_bytes) = match by_firmware {
            Some(method) => {
                self.step(Step::Erased(bytes))?;
                (method, 0)
            }
            None => (Method::Overwrite, self.write_over(bytes)?),
        };
        let (places, read_bytes) = if method == Method::Overwrite {
            self.is_written_over(&ranges, samples.iter().chain(&canaries))?;
            let structured = ranges.iter().map(|(at, end)| end - at).sum::<u64>();
            ((samples.len() + ranges.len()) as u64, structured + samples.len() as u64 * BLOCK)
        } else {
            let compared = self.is_something_else(&before)?;
            self.have_gone(&canaries)?;
            (compared, compared * BLOCK)
        };
        self.ends(bytes)?;
        let canaries = canaries.len() as u64;
        Ok(Done {
            method,
            firmware,
            written_bytes,
            canaries,
            samples: places + canaries,
            sampled_bytes: read_bytes + canaries * BLOCK,
        })
    }

    fn step(&self, step: Step) -> Result<(), EraseError<M::Error>> {
        if (self.gauge)(step) { Ok(()) } else { Err(EraseError::Stopped) }
    }

    fn draw(&self, purpose: Purpose, bytes: u64, count: usize) -> Vec<u64> {
        // Not among the ends, which are zeros again before anything else lies there.
        let mut places = places(self.terms.challenge, self.terms.disk, purpose, bytes - 2 * MIB, count);
        places.iter_mut().for_each(|at| *at += MIB);
        places
    }

    /// No table, no label, no first or last superblock: nothing of it boots, whatever happens next.
    fn ends(&mut self, bytes: u64) -> Result<(), EraseError<M::Error>> {
        let zeros = vec![0; 1 << 20];
        let places = [0, bytes - MIB];
        for at in places {
            self.medium.write(at, &zeros)?;
        }
        self.medium.flush()?;
        for at in places {
            self.medium.read(at, &mut self.buffer)?;
            if let Some(wrong) = self.buffer.iter().position(|byte| *byte != 0) {
                return Err(EraseError::Ignores { at: at + wrong as u64 });
            }
        }
        Ok(())
    }

    fn lay_canaries(&mut self, bytes: u64) -> Result<Vec<u64>, EraseError<M::Error>> {
        let pattern = Pattern::new(self.terms.challenge, self.terms.disk, Purpose::Canary);
        let share = usize::try_from(bytes / BLOCK / CANARIES_OF).unwrap_or(CANARIES);
        let places = self.draw(Purpose::Canary, bytes, share.clamp(FEW_CANARIES, CANARIES));
        let mut block = vec![0; BLOCK_BYTES];
        for at in &places {
            // Nothing is erased by it yet, but it takes a while, and can be stopped.
            self.step(Step::Erased(0))?;
            pattern.fill(*at, &mut block);
            self.medium.write(*at, &block)?;
        }
        self.medium.flush()?;
        for at in &places {
            self.step(Step::Read(0))?;
            pattern.fill(*at, &mut block);
            if self.block(*at)? != block {
                return Err(EraseError::Ignores { at: *at });
            }
        }
        Ok(places)
    }

    fn block(&self, at: u64) -> Result<Vec<u8>, EraseError<M::Error>> {
        let mut block = vec![0; BLOCK_BYTES];
        self.medium.read(at, &mut block)?;
        Ok(block)
    }

    /// What lies at the drawn places, and in every block where something is known to begin. With what can't be read now nothing
    /// can be compared afterwards: `None`.
    fn remember(&self, samples: &[u64], ranges: &[(u64, u64)]) -> Result<Remembered, EraseError<M::Error>> {
        let structured = ranges.iter().flat_map(|(at, end)| (*at..*end).step_by(BLOCK_BYTES));
        let bytes = self.medium.bytes();
        let places = structured.filter(|at| at + BLOCK <= bytes).chain(samples.iter().copied());
        let mut remembered = Vec::new();
        for at in places.collect::<BTreeSet<_>>() {
            // Nothing is proven by it yet, but it takes a while, and can be stopped.
            self.step(Step::Read(0))?;
            remembered.push((at, self.block(at).ok().map(|block| told_apart(&block))));
        }
        Ok(remembered)
    }

    /// Every sector once. The place of the seed comes last: as long as it is there, a power cut costs no new approval.
    fn write_over(&mut self, bytes: u64) -> Result<u64, EraseError<M::Error>> {
        let pattern = Pattern::new(self.terms.challenge, self.terms.disk, Purpose::Over);
        let seed = SEED_OFFSET.min(bytes)..(SEED_OFFSET + SEED_BYTES).min(bytes);
        let mut written = 0;
        for (mut at, end) in [(0, seed.start), (seed.end, bytes), (seed.start, seed.end)] {
            while at < end {
                let length = (end - at).min(MIB);
                let part = self.buffer.get_mut(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
                pattern.fill(at, part);
                self.medium.write(at, part)?;
                (at, written) = (at + length, written + length);
                self.step(Step::Erased(length))?;
            }
            self.medium.flush()?;
        }
        Ok(written)
    }

    /// Both ends, and wherever something is known to begin, a MiB each.
    fn structured(&self, bytes: u64) -> Vec<(u64, u64)> {
        let mut marks = vec![0, bytes - MIB, SEED_OFFSET];
        marks.extend(LABELS.iter().chain(self.terms.marks).map(|at| at / BLOCK * BLOCK));
        marks.retain(|at| at + BLOCK <= bytes);
        marks.sort_unstable();
        marks.dedup();
        marks.into_iter().map(|at| (at, (at + MIB).min(bytes))).collect()
    }

    fn is_written_over<'p>(
        &mut self,
        ranges: &[(u64, u64)],
        places: impl Iterator<Item = &'p u64>,
    ) -> Result<(), EraseError<M::Error>> {
        let pattern = Pattern::new(self.terms.challenge, self.terms.disk, Purpose::Over);
        let blocks = places.map(|at| (*at, at + BLOCK));
        let mut want = vec![0; 1 << 20];
        for (at, end) in ranges.iter().copied().chain(blocks) {
            let length = usize::try_from(end - at).unwrap_or(0);
            let (want, is) = (want.get_mut(..length), self.buffer.get_mut(..length));
            let (Some(want), Some(is)) = (want, is) else { continue };
            pattern.fill(at, want);
            self.medium.read(at, is)?;
            if let Some(wrong) = want.iter().zip(is.iter()).position(|(want, is)| want != is) {
                return Err(EraseError::Lies { at: at + wrong as u64 });
            }
            self.step(Step::Read(end - at))?;
        }
        Ok(())
    }

    /// After the firmware has erased it: nothing is where it was, but for blocks that were blank before. Gives how many were
    /// compared; every one must be readable by now.
    fn is_something_else(&self, before: &[(u64, Option<blake3::Hash>)]) -> Result<u64, EraseError<M::Error>> {
        let blanks = [0, 0xff].map(|byte| told_apart(&[byte; BLOCK_BYTES]));
        let mut compared = 0;
        for (at, before) in before {
            let now = told_apart(&self.block(*at)?);
            if *before == Some(now) && !blanks.contains(&now) {
                return Err(EraseError::Lies { at: *at });
            }
            compared += u64::from(before.is_some());
            self.step(Step::Read(BLOCK))?;
        }
        Ok(compared)
    }

    fn have_gone(&self, canaries: &[u64]) -> Result<(), EraseError<M::Error>> {
        let pattern = Pattern::new(self.terms.challenge, self.terms.disk, Purpose::Canary);
        let mut canary = vec![0; BLOCK_BYTES];
        for at in canaries {
            pattern.fill(*at, &mut canary);
            if self.block(*at)? == canary {
                return Err(EraseError::Lies { at: *at });
            }
        }
        Ok(())
    }
}

fn told_apart(block: &[u8]) -> blake3::Hash {
    blake3::hash(block)
}

const _: () = assert!(FEW_CANARIES as u64 >= CANARIES_MIN && SAMPLES as u64 >= SAMPLES_MIN);

#[cfg(test)]
#[path = "procedure_tests.rs"]
mod tests;

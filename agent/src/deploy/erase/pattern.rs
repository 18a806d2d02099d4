//! What is written over a disk, and where it is looked at: all drawn from the job's challenge, so that a disk can't have it ready.

use protocol::{DiskId, Nonce};

/// What patterns are made of; every disk's sectors are a multiple of it.
const SECTOR: usize = 512;
/// One place that is looked at.
pub(super) const BLOCK: u64 = 4096;
/// The same, in memory.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Random bytes that a pattern repeats, each time with the sector's number in it.
const TILE: usize = 1 << 20;

/// Bytes for every sector of one disk, no two alike: they can be neither compressed nor kept once for many.
#[derive(Debug)]
pub(super) struct Pattern {
    tile: Vec<u8>,
}

/// What is drawn for: each has bytes of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Blocks that must be gone afterwards.
    Canary,
    /// What the whole disk is written over with.
    Over,
    /// Places that are read back.
    Sample,
}

fn draw(challenge: &Nonce, disk: &DiskId, purpose: Purpose) -> blake3::OutputReader {
    let purpose = match purpose {
        Purpose::Canary => b"canary",
        Purpose::Over => b"over  ",
        Purpose::Sample => b"sample",
    };
    let mut hasher = blake3::Hasher::new_derive_key("rackwright 2026 erase pattern");
    hasher.update(purpose).update(&challenge.0).update(disk.as_str().as_bytes());
    hasher.finalize_xof()
}

impl Pattern {
    pub(super) fn new(challenge: &Nonce, disk: &DiskId, purpose: Purpose) -> Self {
        let mut tile = vec![0; TILE];
        draw(challenge, disk, purpose).fill(&mut tile);
        Self { tile }
    }

    /// What belongs at an offset; both offset and length are multiples of 512.
    pub(super) fn fill(&self, at: u64, out: &mut [u8]) {
        let tiles = self.tile.chunks_exact(SECTOR);
        let first = at / SECTOR as u64;
        let skip = usize::try_from(first % (TILE / SECTOR) as u64).unwrap_or(0);
        for ((number, sector), tile) in (first..).zip(out.chunks_mut(SECTOR)).zip(tiles.cycle().skip(skip)) {
            let Some(tile) = tile.get(..sector.len()) else { return };
            sector.copy_from_slice(tile);
            for (byte, digit) in sector.iter_mut().zip(number.to_le_bytes()) {
                *byte ^= digit;
            }
        }
    }
}

/// So many blocks of a disk, drawn at random, each once, in the order of the disk; fewer on a small one.
pub(super) fn places(
    challenge: &Nonce,
    disk: &DiskId,
    purpose: Purpose,
    bytes: u64,
    count: usize,
) -> Vec<u64> {
    let blocks = (bytes / BLOCK).max(1);
    let mut random = draw(challenge, disk, purpose);
    // Beside the pattern of the same purpose, which begins at the front.
    random.set_position(1 << 40);
    let mut drawn = std::collections::BTreeSet::new();
    for _ in 0..count {
        let mut number = [0; 8];
        random.fill(&mut number);
        drawn.insert(u64::from_le_bytes(number) % blocks * BLOCK);
    }
    drawn.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use protocol::{DiskId, Nonce};

    use super::{BLOCK, Pattern, Purpose, places};

    fn disk(serial: &str) -> DiskId {
        DiskId::of("", serial).unwrap()
    }

    #[test]
    fn every_sector_has_bytes_of_its_own_wherever_it_is_read_from() {
        let pattern = Pattern::new(&Nonce([1; 16]), &disk("A"), Purpose::Over);
        let mut whole = vec![0; 3 << 20];
        pattern.fill(0, &mut whole);
        let mut seen = std::collections::BTreeSet::new();
        assert!(whole.chunks(512).all(|sector| seen.insert(sector)), "two sectors are alike");
        for at in [0, 512, (1 << 20) - 512, 1 << 20, (2 << 20) + 1536] {
            let mut part = vec![0; 8192];
            pattern.fill(at as u64, &mut part);
            assert!(part == whole[at..at + 8192], "{at}");
        }
    }

    #[test]
    fn another_challenge_disk_or_purpose_has_other_bytes() {
        let fill = |challenge, serial, purpose| {
            let mut out = vec![0; 512];
            Pattern::new(&Nonce([challenge; 16]), &disk(serial), purpose).fill(0, &mut out);
            out
        };
        let one = fill(1, "A", Purpose::Over);
        assert_eq!(one, fill(1, "A", Purpose::Over));
        assert_ne!(one, fill(2, "A", Purpose::Over));
        assert_ne!(one, fill(1, "B", Purpose::Over));
        assert_ne!(one, fill(1, "A", Purpose::Canary));
    }

    #[test]
    fn places_lie_on_the_disk_and_all_over_it() {
        let drawn = places(&Nonce([1; 16]), &disk("A"), Purpose::Sample, 1 << 30, 4096);
        assert!(drawn.len() > 4000 && drawn.iter().all(|at| at % BLOCK == 0 && at + BLOCK <= 1 << 30));
        for eighth in 0..8_u64 {
            let within = drawn.iter().filter(|at| **at >> 27 == eighth).count();
            assert!((300..800).contains(&within), "{within} in eighth {eighth}");
        }
        assert_eq!(places(&Nonce([1; 16]), &disk("A"), Purpose::Sample, 512, 9), [0]);
    }
}

//! The seed: what the ramdisk leaves on the disk so that the installed system can enrol, and a resumed ramdisk can go on.
//!
//! It lies in a partition of its own that no image has data in, at the same place on every node, so that it is found
//! while the partition table is still missing. It is wiped as soon as the node has a certificate of its own.
//!
//! The place has two slots. A seed is written into the one that does not hold the newest, and the newest whole one
//! counts: a power cut in the middle of a write leaves the seed that was there before.
//!
//! ```text
//! slot: magic (8) | length of the JSON (4) | sequence (8) | JSON | BLAKE3 of all that (32) | zeros to a whole block
//! ```

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{CaPin, JobId, NodeId};

/// Where the seed lies, in bytes from the start of the disk: after the BIOS boot partition and the ESP.
pub const SEED_OFFSET: u64 = 66 << 20;
/// How much room it has, in bytes.
pub const SEED_BYTES: u64 = 1 << 20;

/// How much of the place one of its two slots has, in bytes.
pub const SEED_SLOT_BYTES: u64 = SEED_BYTES / 2;

const SLOT: usize = 512 << 10;
const MAGIC: &[u8; 8] = b"RWSEED2\n";
/// Before there were slots: the only seed, at the start of the place and without a sequence.
const ONE_MAGIC: &[u8; 8] = b"RWSEED1\n";
const LENGTH: usize = 8 + 4;
const SEQUENCE: usize = 8;
const CHECK: usize = 32;
const MAX: usize = 64 << 10;
/// No drive writes in larger units.
const BLOCK: usize = 4096;

/// What the ramdisk leaves behind.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seed {
    /// Where the controller's HTTPS listens.
    pub controller: SocketAddr,
    /// The site CA.
    pub ca: CaPin,
    /// Who this node is.
    pub node: NodeId,
    /// Its host name.
    pub name: String,
    /// The job that wrote it; none: a ticket for a rebuild. Only this job goes on with what it finds on the disk.
    pub job: Option<JobId>,
    /// The deploy key, PKCS#8, base64. Good for one enrolment and for this job.
    pub key: String,
    /// The deploy certificate, PEM; empty while the image is still being written.
    pub certificate: String,
    /// The disk holds the whole image, read back. Only then may the installed system use the seed.
    pub complete: bool,
}

impl std::fmt::Debug for Seed {
    /// Never the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seed").field("node", &self.node).field("job", &self.job).finish_non_exhaustive()
    }
}

/// Why bytes are not a seed.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// Nothing was ever left here, or it was wiped.
    #[error("there is no seed here")]
    Absent,
    /// Half-written or damaged.
    #[error("the seed is damaged: {0}")]
    Damaged(&'static str),
    /// Not the seed this version writes.
    #[error("decoding the seed")]
    Decode(#[source] serde_json::Error),
}

/// What is to be written to leave a seed in its place.
#[derive(Clone, PartialEq, Eq)]
pub struct SeedWrite {
    /// Where, in bytes from the start of the place; the start of a slot.
    pub offset: u64,
    /// What: whole blocks of 4 KiB.
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for SeedWrite {
    /// Never the bytes: the key is in them.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeedWrite").field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl Seed {
    /// The content of a whole place with this seed in it and no other; [`SEED_BYTES`] long.
    ///
    /// # Errors
    /// [`SeedError::Damaged`] when it does not fit.
    pub fn encode(&self) -> Result<Vec<u8>, SeedError> {
        let SeedWrite { mut bytes, .. } = self.write_over(&[])?;
        bytes.resize(SLOT * 2, 0);
        Ok(bytes)
    }

    /// What is to be written into a place that now holds `place`, so that this seed is the newest there. What is the
    /// newest until then is not touched. A place that can't be read is given as empty.
    ///
    /// # Errors
    /// [`SeedError::Damaged`] when it does not fit.
    pub fn write_over(&self, place: &[u8]) -> Result<SeedWrite, SeedError> {
        let (offset, sequence) = match newest(place) {
            Some((0, sequence, _)) => (SEED_SLOT_BYTES, sequence.saturating_add(1)),
            Some((_, sequence, _)) => (0, sequence.saturating_add(1)),
            None => (0, 1),
        };
        let json = serde_json::to_vec(self).map_err(SeedError::Decode)?;
        let length = u32::try_from(json.len()).ok().filter(|_| json.len() <= MAX);
        let length = length.ok_or(SeedError::Damaged("it is longer than 64 KiB"))?;
        let mut bytes = [MAGIC.as_slice(), &length.to_le_bytes(), &sequence.to_le_bytes(), &json].concat();
        bytes.extend_from_slice(blake3::hash(&bytes).as_bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        Ok(SeedWrite { offset, bytes })
    }

    /// The newest whole seed in a place. Of a place that is cut short, in what there is of it.
    ///
    /// # Errors
    /// [`SeedError`], never a panic, whatever the bytes.
    pub fn decode(place: &[u8]) -> Result<Self, SeedError> {
        if let Some((_, _, seed)) = newest(place) {
            return Ok(seed);
        }
        let whys = slots(place).into_iter().filter_map(|(_, slot)| parse(slot).err());
        let is_more = |why: &SeedError| !matches!(why, SeedError::Absent);
        Err(whys.into_iter().find(is_more).unwrap_or(SeedError::Absent))
    }

    /// Where the slots begin, in bytes from the start of the place, the one with the newest seed last. Wiped in this
    /// order, with a flush after each, no older seed becomes the newest on the way.
    pub fn wipe_order(place: &[u8]) -> [u64; 2] {
        if newest(place).is_some_and(|(offset, _, _)| offset == 0) {
            [SEED_SLOT_BYTES, 0]
        } else {
            [0, SEED_SLOT_BYTES]
        }
    }
}

/// The two slots, with their offsets in the place.
fn slots(place: &[u8]) -> [(u64, &[u8]); 2] {
    let (first, second) = place.split_at_checked(SLOT).unwrap_or((place, &[]));
    [(0, first), (SEED_SLOT_BYTES, second)]
}

/// Offset and sequence of the newest whole seed, and the seed.
fn newest(place: &[u8]) -> Option<(u64, u64, Seed)> {
    let whole = slots(place).into_iter().filter_map(|(offset, slot)| {
        let (sequence, seed) = parse(slot).ok()?;
        Some((offset, sequence, seed))
    });
    whole.max_by_key(|(_, sequence, _)| *sequence)
}

/// Sequence and seed of one slot.
fn parse(slot: &[u8]) -> Result<(u64, Seed), SeedError> {
    let (magic, rest) = slot.split_first_chunk::<8>().ok_or(SeedError::Absent)?;
    let head = match magic {
        MAGIC => LENGTH + SEQUENCE,
        ONE_MAGIC => LENGTH,
        _ => return Err(SeedError::Absent),
    };
    let (length, rest) = rest.split_first_chunk::<4>().ok_or(SeedError::Damaged("it has no length"))?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok().filter(|&n| n <= MAX);
    let end = head + length.ok_or(SeedError::Damaged("a wild length"))?;
    let body = slot.get(..end).ok_or(SeedError::Damaged("it ends early"))?;
    let check = slot.get(end..end + CHECK).ok_or(SeedError::Damaged("it has no checksum"))?;
    if blake3::hash(body).as_bytes() != check {
        return Err(SeedError::Damaged("its checksum is wrong"));
    }
    let sequence = rest.first_chunk::<SEQUENCE>().filter(|_| magic == MAGIC);
    let sequence = sequence.map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let seed = serde_json::from_slice(body.get(head..).unwrap_or_default()).map_err(SeedError::Decode)?;
    Ok((sequence, seed))
}

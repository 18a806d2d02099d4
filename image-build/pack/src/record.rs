//! One chunk as it is written in a manifest. Numbers are little-endian.
//!
//! ```text
//!      4  window
//!      1  codec: 0 zero, 1 raw, 2 zstd, 3 lz4
//!      2  number of runs, n
//!    2*n  runs: kind (0 data, 1 zero, 2 free), number of blocks less one
//!   then, unless the codec is zero:
//!      4  stored bytes
//!     32  digest of the data
//!   then, unless the codec is raw too:
//!     32  digest of the stored bytes
//! ```
//! Where a chunk's stored bytes begin is the sum of those before it; how long its window is follows from the disk.

use crate::check::ManifestError;
use crate::{Block, BlockMap, Chunk, Codec, Digest, WINDOW};

/// Appends a chunk's record.
pub(crate) fn write(chunk: &Chunk, out: &mut Vec<u8>) {
    out.extend_from_slice(&chunk.window.to_le_bytes());
    out.push(code(chunk.codec));
    write_map(&chunk.map, out);
    if chunk.codec != Codec::Zero {
        out.extend_from_slice(&chunk.stored.to_le_bytes());
        out.extend_from_slice(&chunk.digest.0);
    }
    if let (Codec::Zstd | Codec::Lz4, Some(digest)) = (chunk.codec, chunk.stored_digest) {
        out.extend_from_slice(&digest.0);
    }
}

/// Appends a map: the number of runs, then each. Also what a leaf of the Merkle tree is made of.
pub(crate) fn write_map(map: &BlockMap, out: &mut Vec<u8>) {
    let runs = map.raw_runs();
    out.extend_from_slice(&u16::try_from(runs.len()).unwrap_or(u16::MAX).to_le_bytes());
    for (kind, count) in runs {
        let kind = match kind {
            Block::Data => 0,
            Block::Zero => 1,
            Block::Free => 2,
        };
        out.extend_from_slice(&[kind, u8::try_from(count.saturating_sub(1)).unwrap_or(u8::MAX)]);
    }
}

fn code(codec: Codec) -> u8 {
    match codec {
        Codec::Zero => 0,
        Codec::Raw => 1,
        Codec::Zstd => 2,
        Codec::Lz4 => 3,
    }
}

impl Chunk {
    /// The records of these chunks as a manifest has them, one after the other.
    #[must_use]
    pub fn encode_all<'a>(chunks: impl IntoIterator<Item = &'a Chunk>) -> Vec<u8> {
        let mut out = Vec::new();
        chunks.into_iter().for_each(|chunk| write(chunk, &mut out));
        out
    }

    /// Chunks of a disk of `disk_bytes` from their records, until there are no more. They lie one after the other from 0; the
    /// rules of a manifest are not checked yet.
    ///
    /// # Errors
    /// [`ManifestError::Record`].
    pub fn decode_all(mut bytes: &[u8], disk_bytes: u64) -> Result<Vec<Chunk>, ManifestError> {
        let (mut chunks, mut offset) = (Vec::new(), 0_u64);
        while !bytes.is_empty() {
            let number = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
            let chunk = read(&mut bytes, offset, disk_bytes).ok_or(ManifestError::Record { number })?;
            offset = offset.saturating_add(u64::from(chunk.stored));
            chunks.push(chunk);
        }
        Ok(chunks)
    }
}

/// Reads so many records, which must fill `bytes`. What they say is checked by `check`, except for what can't be said in a
/// [`Chunk`].
///
/// # Errors
/// [`ManifestError::Cut`], [`ManifestError::Record`].
pub(crate) fn read_all(mut bytes: &[u8], count: u32, disk_bytes: u64) -> Result<Vec<Chunk>, ManifestError> {
    // The shortest record has nine bytes: a count that lies reserves no memory.
    let most = bytes.len() / 9;
    let mut chunks = Vec::with_capacity(most.min(usize::try_from(count).unwrap_or(usize::MAX)));
    let mut offset = 0_u64;
    for number in 0..count {
        let chunk = read(&mut bytes, offset, disk_bytes).ok_or(ManifestError::Record { number })?;
        offset = offset.saturating_add(u64::from(chunk.stored));
        chunks.push(chunk);
    }
    if bytes.is_empty() { Ok(chunks) } else { Err(ManifestError::Rest { bytes: bytes.len() }) }
}

fn read(bytes: &mut &[u8], offset: u64, disk_bytes: u64) -> Option<Chunk> {
    let window = u32::from_le_bytes(take(bytes)?);
    let [code] = take(bytes)?;
    let codec = [Codec::Zero, Codec::Raw, Codec::Zstd, Codec::Lz4].into_iter().nth(usize::from(code))?;
    let begins = u64::from(window) * u64::from(WINDOW);
    let length = u32::try_from(disk_bytes.checked_sub(begins)?.min(u64::from(WINDOW))).ok()?;
    let map = read_map(bytes, length)?;
    let (stored, digest) = match codec {
        Codec::Zero => (0, Digest::of(&[])),
        Codec::Raw | Codec::Zstd | Codec::Lz4 => (u32::from_le_bytes(take(bytes)?), Digest(take(bytes)?)),
    };
    let stored_digest = match codec {
        Codec::Zero => None,
        Codec::Raw => Some(digest),
        Codec::Zstd | Codec::Lz4 => Some(Digest(take(bytes)?)),
    };
    Some(Chunk { window, bytes: length, map, digest, codec, offset, stored, stored_digest })
}

fn read_map(bytes: &mut &[u8], length: u32) -> Option<BlockMap> {
    let count = usize::from(u16::from_le_bytes(take(bytes)?));
    let (runs, rest) = bytes.split_at_checked(count.checked_mul(2)?)?;
    *bytes = rest;
    let run = |[kind, count]: &[u8; 2]| {
        let kind = [Block::Data, Block::Zero, Block::Free].into_iter().nth(usize::from(*kind))?;
        Some((kind, u32::from(*count) + 1))
    };
    let (runs, _) = runs.as_chunks::<2>();
    BlockMap::from_runs(runs.iter().map(run).collect::<Option<Vec<_>>>()?, length)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

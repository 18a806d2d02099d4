//! What a pack of the image store says it holds (`appliance/docs/image-store.md`): an index after the stored bytes, and a footer that finds it.
//!
//! ```text
//!      0   n  stored bytes of chunks, one after another (a file of the old layout: its head first)
//!      n  44  for each chunk: 32 digest of the stored bytes, 8 where they begin, 4 how many; ascending by where
//!             footer: 8 magic "RWPACK01", 8 number of chunks, 32 BLAKE3 of the index
//! ```
//! Numbers are little-endian. The index stands behind the data because a capture knows its chunks only when the last of
//! them has come. The file is believed as far as its index is whole; the chunks are checked when they are read.

use crate::{Digest, MANIFEST_BYTES_MAX, WINDOW};

/// The last bytes of every pack.
pub const FOOTER_BYTES: usize = 48;
const MAGIC: [u8; 8] = *b"RWPACK01";
const RECORD_BYTES: usize = 44;
/// The most chunks that one pack holds: more than a manifest of the greatest length names.
pub const CHUNKS_MAX: usize = MANIFEST_BYTES_MAX / RECORD_BYTES;

/// One chunk of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Of the stored bytes.
    pub digest: Digest,
    /// Where they begin, in bytes from the start of the file.
    pub offset: u64,
    /// How many there are; 1 to [`WINDOW`].
    pub bytes: u32,
}

/// Why a file is no pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum IndexError {
    #[error("reading a pack: it does not end like one")]
    Magic,
    #[error("reading a pack: its index claims {chunks} chunks, more than the file has room for")]
    Chunks { chunks: u64 },
    #[error("reading a pack: its index is damaged")]
    Damaged,
    #[error("reading a pack: chunk {number} of its index lies outside the data or over another")]
    Place { number: usize },
}

/// Index and footer of these chunks, to be appended to the data.
#[must_use]
pub fn encode(records: &[Record]) -> Vec<u8> {
    let mut bytes =
        Vec::with_capacity(records.len().saturating_mul(RECORD_BYTES).saturating_add(FOOTER_BYTES));
    for record in records {
        bytes.extend_from_slice(&record.digest.0);
        bytes.extend_from_slice(&record.offset.to_le_bytes());
        bytes.extend_from_slice(&record.bytes.to_le_bytes());
    }
    let digest = Digest::of(&bytes);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&u64::try_from(records.len()).unwrap_or(u64::MAX).to_le_bytes());
    bytes.extend_from_slice(&digest.0);
    bytes
}

/// How long index and footer are together, in bytes, as a footer says it of a file of `file_bytes` bytes. What it says is
/// bounded by the file and by [`CHUNKS_MAX`], so that many bytes can be read into memory.
///
/// # Errors
/// [`IndexError::Magic`], [`IndexError::Chunks`].
pub fn tail_bytes(footer: &[u8; FOOTER_BYTES], file_bytes: u64) -> Result<usize, IndexError> {
    let (magic, rest) = footer.split_first_chunk::<8>().ok_or(IndexError::Magic)?;
    let (chunks, _) = rest.split_first_chunk::<8>().ok_or(IndexError::Magic)?;
    if *magic != MAGIC {
        return Err(IndexError::Magic);
    }
    let claimed = u64::from_le_bytes(*chunks);
    let refused = IndexError::Chunks { chunks: claimed };
    let chunks = usize::try_from(claimed).ok().filter(|chunks| *chunks <= CHUNKS_MAX).ok_or(refused)?;
    let tail = chunks.saturating_mul(RECORD_BYTES).saturating_add(FOOTER_BYTES);
    if u64::try_from(tail).is_ok_and(|tail| tail <= file_bytes) { Ok(tail) } else { Err(refused) }
}

/// The chunks of a pack of `file_bytes` bytes, from the bytes of its index and footer.
///
/// # Errors
/// [`IndexError`]: nothing of a pack is believed whose index is not what was written.
pub fn decode(tail: &[u8], file_bytes: u64) -> Result<Vec<Record>, IndexError> {
    let (index, footer) = tail.split_last_chunk::<FOOTER_BYTES>().ok_or(IndexError::Magic)?;
    if tail_bytes(footer, file_bytes)? != tail.len() {
        return Err(IndexError::Damaged);
    }
    if footer.last_chunk::<32>() != Some(&Digest::of(index).0) {
        return Err(IndexError::Damaged);
    }
    let data_bytes = file_bytes.saturating_sub(u64::try_from(tail.len()).unwrap_or(u64::MAX));
    let (records, _) = index.as_chunks::<RECORD_BYTES>();
    let mut filled = 0;
    let mut decoded = Vec::with_capacity(records.len());
    for (number, record) in records.iter().enumerate() {
        let record = read(record).ok_or(IndexError::Damaged)?;
        let end = record.offset.checked_add(u64::from(record.bytes)).filter(|end| *end <= data_bytes);
        match end {
            Some(end) if record.offset >= filled && (1..=WINDOW).contains(&record.bytes) => filled = end,
            Some(_) | None => return Err(IndexError::Place { number }),
        }
        decoded.push(record);
    }
    Ok(decoded)
}

fn read(record: &[u8; RECORD_BYTES]) -> Option<Record> {
    let (digest, rest) = record.split_first_chunk::<32>()?;
    let (offset, bytes) = rest.split_first_chunk::<8>()?;
    let bytes = u32::from_le_bytes(*bytes.first_chunk::<4>()?);
    Some(Record { digest: Digest(*digest), offset: u64::from_le_bytes(*offset), bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let record = |digest: &[u8], offset, bytes| Record { digest: Digest::of(digest), offset, bytes };
        vec![record(b"a", 0, 10), record(b"b", 10, 5), record(b"c", 40, 1)]
    }

    #[test]
    fn an_index_reads_back_and_every_flipped_bit_is_noticed() {
        let tail = encode(&records());
        let file = 41 + u64::try_from(tail.len()).unwrap();
        assert_eq!(tail_bytes(tail.last_chunk().unwrap(), file), Ok(tail.len()));
        assert_eq!(decode(&tail, file), Ok(records()));
        for at in 0..tail.len() * 8 {
            let mut bad = tail.clone();
            bad[at / 8] ^= 1 << (at % 8);
            assert!(decode(&bad, file).is_err(), "bit {at}");
        }
        for length in 0..tail.len() {
            assert!(decode(&tail[..length], file).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn chunks_outside_the_data_or_over_each_other_are_refused() {
        let place = |records: &[Record], data: u64| {
            let tail = encode(records);
            decode(&tail, data + u64::try_from(tail.len()).unwrap())
        };
        assert_eq!(place(&records(), 40), Err(IndexError::Place { number: 2 }));
        let mut over = records();
        over[1].offset = 9;
        assert_eq!(place(&over, 41), Err(IndexError::Place { number: 1 }));
        let mut wild = records();
        wild[2].offset = u64::MAX;
        assert_eq!(place(&wild, 41), Err(IndexError::Place { number: 2 }));
        let mut empty = records();
        empty[2].bytes = 0;
        assert_eq!(place(&empty, 41), Err(IndexError::Place { number: 2 }));
        empty[2].bytes = WINDOW + 1;
        assert_eq!(place(&empty, 41 << 20), Err(IndexError::Place { number: 2 }));
    }

    #[test]
    fn claims_of_more_chunks_than_there_is_room_for_are_refused_before_anything_is_read() {
        let mut footer: [u8; FOOTER_BYTES] = *encode(&[]).last_chunk().unwrap();
        assert_eq!(tail_bytes(&footer, 48), Ok(48));
        for chunks in [1, u64::MAX / 44, u64::MAX] {
            footer[8..16].copy_from_slice(&chunks.to_le_bytes());
            assert_eq!(tail_bytes(&footer, 48), Err(IndexError::Chunks { chunks }));
        }
        let chunks = u64::try_from(CHUNKS_MAX).unwrap() + 1;
        footer[8..16].copy_from_slice(&chunks.to_le_bytes());
        assert_eq!(tail_bytes(&footer, u64::MAX), Err(IndexError::Chunks { chunks }));
    }
}

//! One window of the disk: packed when an image is built, unpacked before it is written.
//!
//! Unpacking trusts nothing it is given: the output is never longer than the window, whatever the stored bytes
//! claim, and bytes that do not hash to what the manifest says are an error.

use std::ops::Range;

use thiserror::Error;

use crate::{BLOCK, Block, BlockMap, Digest, Extents, WINDOW, codec, is_zero};

/// How a chunk's data is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Codec {
    /// It has none: the window's blocks are zero or free.
    Zero,
    /// Stored as it is: it would not compress.
    Raw,
    /// One zstd frame (RFC 8878).
    Zstd,
    /// One lz4 block.
    Lz4,
}

/// What to compress with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// zstd at a level of 1 (quick) to 19 (small).
    Zstd(i32),
    /// lz4: larger, and unpacked three times as fast.
    Lz4,
}

/// One window of the disk of which something is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Which window: it starts at `window * WINDOW` on the disk.
    pub window: u32,
    /// Bytes of disk in it: [`WINDOW`], or less in the disk's last window.
    pub bytes: u32,
    /// What its blocks are.
    pub map: BlockMap,
    /// Digest of the data blocks' bytes, one after another.
    pub digest: Digest,
    /// How they are stored.
    pub codec: Codec,
    /// Where the stored bytes begin, counted from the start of the data area.
    pub offset: u64,
    /// How many bytes are stored; 0 for [`Codec::Zero`].
    pub stored: u32,
    /// Digest of the stored bytes: a fetched chunk is checked before anything inflates it. None for [`Codec::Zero`].
    pub stored_digest: Option<Digest>,
}

/// A window as [`pack_window`] packed it: a [`Chunk`] that does not know yet where it will lie, and its stored bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Which window.
    pub window: u32,
    /// Bytes of disk in it.
    pub bytes: u32,
    /// What its blocks are.
    pub map: BlockMap,
    /// Digest of the data.
    pub digest: Digest,
    /// How it is stored.
    pub codec: Codec,
    /// What to append to the data area.
    pub stored: Vec<u8>,
}

/// Why a window was not packed or unpacked.
#[derive(Debug, Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum ChunkError {
    #[error("packing window {window}: {bytes} bytes, expected 1 to {WINDOW}")]
    WindowSize { window: u32, bytes: usize },
    #[error("packing window {window}: the compression failed")]
    Compress { window: u32, source: std::io::Error },
    #[error("unpacking window {window}: {bytes} bytes stored, expected {expected}")]
    StoredSize { window: u32, bytes: usize, expected: u32 },
    #[error("unpacking window {window}: the stored bytes do not match their digest")]
    StoredDigest { window: u32 },
    #[error("unpacking window {window}: the buffer has {bytes} bytes, expected {expected}")]
    BufferSize { window: u32, bytes: usize, expected: u32 },
    #[error("unpacking window {window}: not compressed data of at most {expected} bytes")]
    Inflate { window: u32, expected: u32, source: std::io::Error },
    #[error("unpacking window {window}: {bytes} bytes came out, expected {expected}")]
    RawSize { window: u32, bytes: usize, expected: u32 },
    #[error("unpacking window {window}: the content does not match its digest")]
    RawDigest { window: u32 },
    #[error("unpacking window {window}: a block of zeros is told to be data")]
    ZeroData { window: u32 },
}

/// Packs one window that is used as a whole, with zstd.
///
/// # Errors
/// As [`pack_window`].
pub fn chunk(window: u32, raw: &[u8], level: i32) -> Result<Packed, ChunkError> {
    let all = Extents::all(raw.len() as u64);
    pack_window(window, raw, BlockMap::scan(raw, 0, &all), Compression::Zstd(level))
}

/// Packs the data blocks of one window: compressed when that saves at least 1/32, else raw.
///
/// Windows do not depend on each other: callers may pack on as many cores as they have and push in order.
///
/// # Errors
/// When `raw` is empty or longer than [`WINDOW`], or the compression fails (out of memory).
pub fn pack_window(
    window: u32,
    raw: &[u8],
    map: BlockMap,
    compression: Compression,
) -> Result<Packed, ChunkError> {
    let size = || ChunkError::WindowSize { window, bytes: raw.len() };
    let bytes = u32::try_from(raw.len()).map_err(|_| size())?;
    if bytes == 0 || bytes > WINDOW {
        return Err(size());
    }
    let gathered;
    let data = match map.data_bytes(bytes) {
        all if all == bytes => raw,
        _ => {
            gathered = map.gather(raw);
            gathered.as_slice()
        }
    };
    let digest = Digest::of(data);
    let failed = |source| ChunkError::Compress { window, source };
    let (codec, stored) = match compression {
        _ if data.is_empty() => (Codec::Zero, Vec::new()),
        Compression::None => (Codec::Raw, data.to_vec()),
        Compression::Zstd(level) => (Codec::Zstd, codec::zstd(data, level).map_err(failed)?),
        Compression::Lz4 => (Codec::Lz4, codec::lz4(data)),
    };
    let saves = stored.len() < data.len() - data.len() / 32;
    let (codec, stored) = match codec {
        Codec::Zstd | Codec::Lz4 if !saves => (Codec::Raw, data.to_vec()),
        Codec::Zero | Codec::Raw | Codec::Zstd | Codec::Lz4 => (codec, stored),
    };
    Ok(Packed { window, bytes, map, digest, codec, stored })
}

impl Chunk {
    /// Where the window begins on the disk, in bytes.
    #[must_use]
    pub fn disk_offset(&self) -> u64 {
        u64::from(self.window) * u64::from(WINDOW)
    }

    /// Bytes of the window that the disk must hold: data and zeros.
    #[must_use]
    pub fn used_bytes(&self) -> u32 {
        self.map.used_bytes(self.bytes)
    }

    /// Whether these bytes of a disk, the whole window, are what it should hold.
    #[must_use]
    pub fn matches(&self, raw: &[u8]) -> bool {
        self.digest_of(raw) == Some(self.digest)
    }

    /// The digest of the data in these bytes of a disk, the whole window: what the disk really holds, to be compared with
    /// [`Chunk::digest`]. `None` when they can't be the window whatever the digest: a block that must be zeros is not, or the
    /// other way round. What lies in free blocks does not matter.
    #[must_use]
    pub fn digest_of(&self, raw: &[u8]) -> Option<Digest> {
        if u32::try_from(raw.len()) != Ok(self.bytes) {
            return None;
        }
        let mut hasher = blake3::Hasher::new();
        for (kind, range) in self.map.runs(self.bytes) {
            let run = raw.get(range).unwrap_or_default();
            match kind {
                // No data block is zeros: a new disk is seen to differ without hashing it.
                Block::Data if run.chunks(BLOCK as usize).any(is_zero) => return None,
                Block::Data => drop(hasher.update(run)),
                Block::Zero if !is_zero(run) => return None,
                Block::Zero | Block::Free => {}
            }
        }
        Some(Digest(*hasher.finalize().as_bytes()))
    }

    /// What must be written so that the disk holds the window: stretches of it, each from the unpacked bytes or as zeros.
    /// Free gaps of up to `gap` bytes are written through, because one write is cheaper than two; zeros of at least `zeros`
    /// bytes are told apart, because a drive can write those without being sent them.
    #[must_use]
    pub fn writes(&self, gap: u32, zeros: u32) -> Vec<(Block, Range<usize>)> {
        let mut writes: Vec<(Block, Range<usize>)> = Vec::new();
        let mut free = 0;
        for (kind, range) in self.map.runs(self.bytes) {
            let kind = match kind {
                Block::Zero if range.len() < zeros as usize => Block::Data,
                other @ (Block::Data | Block::Zero | Block::Free) => other,
            };
            if kind == Block::Free {
                free = range.len();
                continue;
            }
            match writes.last_mut() {
                Some((last, written)) if *last == kind && free <= gap as usize => written.end = range.end,
                Some(_) | None => writes.push((kind, range)),
            }
            free = 0;
        }
        writes
    }

    /// Checks stored bytes as they arrived, before anything inflates them.
    ///
    /// # Errors
    /// When their length or their digest is not what the manifest says.
    pub fn check_stored(&self, stored: &[u8]) -> Result<(), ChunkError> {
        self.check_length(stored)?;
        match self.stored_digest {
            Some(digest) if Digest::of(stored) != digest => {
                Err(ChunkError::StoredDigest { window: self.window })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn check_length(&self, stored: &[u8]) -> Result<(), ChunkError> {
        if u32::try_from(stored.len()) == Ok(self.stored) {
            return Ok(());
        }
        let (window, expected) = (self.window, self.stored);
        Err(ChunkError::StoredSize { window, bytes: stored.len(), expected })
    }

    /// Turns stored bytes into the window's bytes: data where it belongs, zeros elsewhere. `out` must be exactly
    /// [`Chunk::bytes`] long (an aligned buffer of the caller's, so that it can be written without another copy). Nothing
    /// outside `out` grows: a frame that would inflate beyond it is an error. Calls [`Chunk::check_stored`] first.
    ///
    /// # Errors
    /// When anything differs from the manifest. `out` then holds rubbish and must not be written.
    pub fn unpack(&self, stored: &[u8], out: &mut [u8]) -> Result<(), ChunkError> {
        self.check_out(out)?;
        self.check_stored(stored)?;
        self.unpack_checked(stored, out)
    }

    /// As [`Chunk::unpack`], for who has called [`Chunk::check_stored`] with these bytes when they arrived: they are not hashed
    /// a second time. The content always is.
    ///
    /// # Errors
    /// As [`Chunk::unpack`], but for [`ChunkError::StoredDigest`].
    pub fn unpack_checked(&self, stored: &[u8], out: &mut [u8]) -> Result<(), ChunkError> {
        self.check_out(out)?;
        self.check_length(stored)?;
        let window = self.window;
        let expected = self.map.data_bytes(self.bytes);
        let data = out.get_mut(..expected as usize).unwrap_or_default();
        let inflate = |source| ChunkError::Inflate { window, expected, source };
        let bytes = match self.codec {
            Codec::Zero => 0,
            Codec::Raw if stored.len() == data.len() => {
                data.copy_from_slice(stored);
                data.len()
            }
            Codec::Raw => stored.len(),
            Codec::Zstd => codec::unzstd(stored, data).map_err(inflate)?,
            Codec::Lz4 => codec::unlz4(stored, data).map_err(inflate)?,
        };
        if bytes != data.len() {
            return Err(ChunkError::RawSize { window, bytes, expected });
        }
        if Digest::of(data) != self.digest {
            return Err(ChunkError::RawDigest { window });
        }
        if data.chunks(BLOCK as usize).any(is_zero) {
            return Err(ChunkError::ZeroData { window });
        }
        self.map.scatter(out);
        Ok(())
    }

    fn check_out(&self, out: &[u8]) -> Result<(), ChunkError> {
        if u32::try_from(out.len()) == Ok(self.bytes) && self.bytes <= WINDOW {
            return Ok(());
        }
        Err(ChunkError::BufferSize { window: self.window, bytes: out.len(), expected: self.bytes })
    }
}

//! One window of the disk: packed when an image is built, unpacked before it is written.
//!
//! Unpacking trusts nothing it is given: the output is never longer than the window, whatever the stored bytes
//! claim, and bytes that do not hash to what the manifest says are an error.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Digest, WINDOW};

/// How a window's bytes are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// The window reads as zeros; nothing is stored.
    Zero,
    /// Stored as it is: it would not compress.
    Raw,
    /// One zstd frame (RFC 8878).
    Zstd,
}

/// One window of the disk that holds image data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Chunk {
    /// Which window: it starts at `window * WINDOW` on the disk.
    pub window: u32,
    /// Bytes of disk in it: [`WINDOW`], or less in the disk's last window.
    pub bytes: u32,
    /// Digest of those bytes as they stand on the disk.
    pub digest: Digest,
    /// How they are stored.
    pub codec: Codec,
    /// Where the stored bytes begin, counted from the start of the data area.
    pub offset: u64,
    /// How many bytes are stored; 0 for [`Codec::Zero`].
    pub stored: u32,
    /// Digest of the stored bytes: a fetched chunk is checked before anything inflates it. None for [`Codec::Zero`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_digest: Option<Digest>,
}

/// A window as [`chunk`] packed it: a [`Chunk`] that does not know yet where it will lie, and its stored bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// Which window.
    pub window: u32,
    /// Bytes of disk in it.
    pub bytes: u32,
    /// Digest of those bytes.
    pub digest: Digest,
    /// How they are stored.
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
    #[error("packing window {window}: zstd failed")]
    Compress { window: u32, source: std::io::Error },
    #[error("unpacking window {window}: {bytes} bytes stored, expected {expected}")]
    StoredSize { window: u32, bytes: usize, expected: u32 },
    #[error("unpacking window {window}: the stored bytes do not match their digest")]
    StoredDigest { window: u32 },
    #[error("unpacking window {window}: the buffer has {bytes} bytes, expected {expected}")]
    BufferSize { window: u32, bytes: usize, expected: u32 },
    #[error("unpacking window {window}: not a zstd frame of at most {expected} bytes")]
    Inflate { window: u32, expected: u32, source: std::io::Error },
    #[error("unpacking window {window}: {bytes} bytes came out, expected {expected}")]
    RawSize { window: u32, bytes: usize, expected: u32 },
    #[error("unpacking window {window}: the content does not match its digest")]
    RawDigest { window: u32 },
}

/// Packs one window: `zero` when it is all zeros, zstd at `level` (1..=19) when that saves at least 1/32, else raw.
///
/// Windows do not depend on each other: callers may pack on as many cores as they have and push in order.
///
/// # Errors
/// When `raw` is empty or longer than [`WINDOW`], or zstd fails (out of memory).
pub fn chunk(window: u32, raw: &[u8], level: i32) -> Result<Packed, ChunkError> {
    let size = || ChunkError::WindowSize { window, bytes: raw.len() };
    let bytes = u32::try_from(raw.len()).map_err(|_| size())?;
    if bytes == 0 || bytes > WINDOW {
        return Err(size());
    }
    let (codec, stored) = if raw.iter().all(|byte| *byte == 0) {
        (Codec::Zero, Vec::new())
    } else {
        let squeezed =
            zstd::bulk::compress(raw, level).map_err(|source| ChunkError::Compress { window, source })?;
        if squeezed.len() < raw.len() - raw.len() / 32 {
            (Codec::Zstd, squeezed)
        } else {
            (Codec::Raw, raw.to_vec())
        }
    };
    Ok(Packed { window, bytes, digest: Digest::of(raw), codec, stored })
}

impl Chunk {
    /// Where the window begins on the disk, in bytes.
    #[must_use]
    pub fn disk_offset(&self) -> u64 {
        u64::from(self.window) * u64::from(WINDOW)
    }

    /// Whether these bytes of a disk are what this window should hold.
    #[must_use]
    pub fn matches(&self, raw: &[u8]) -> bool {
        u32::try_from(raw.len()) == Ok(self.bytes) && Digest::of(raw) == self.digest
    }

    /// Checks stored bytes as they arrived, before anything inflates them.
    ///
    /// # Errors
    /// When their length or their digest is not what the manifest says.
    pub fn check_stored(&self, stored: &[u8]) -> Result<(), ChunkError> {
        if u32::try_from(stored.len()) != Ok(self.stored) {
            let (window, expected) = (self.window, self.stored);
            return Err(ChunkError::StoredSize { window, bytes: stored.len(), expected });
        }
        match self.stored_digest {
            Some(digest) if Digest::of(stored) != digest => {
                Err(ChunkError::StoredDigest { window: self.window })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Turns stored bytes into the window's bytes. `out` must be exactly [`Chunk::bytes`] long (an aligned buffer
    /// of the caller's, so that it can be written without another copy). Nothing outside `out` grows: a frame that
    /// would inflate beyond it is an error. Calls [`Chunk::check_stored`] first.
    ///
    /// # Errors
    /// When anything differs from the manifest. `out` then holds rubbish and must not be written.
    pub fn unpack(&self, stored: &[u8], out: &mut [u8]) -> Result<(), ChunkError> {
        let window = self.window;
        if u32::try_from(out.len()) != Ok(self.bytes) || self.bytes > WINDOW {
            return Err(ChunkError::BufferSize { window, bytes: out.len(), expected: self.bytes });
        }
        self.check_stored(stored)?;
        let bytes = match self.codec {
            Codec::Zero => {
                out.fill(0);
                out.len()
            }
            Codec::Raw if stored.len() == out.len() => {
                out.copy_from_slice(stored);
                out.len()
            }
            Codec::Raw => stored.len(),
            Codec::Zstd => zstd::bulk::decompress_to_buffer(stored, out)
                .map_err(|source| ChunkError::Inflate { window, expected: self.bytes, source })?,
        };
        if bytes != out.len() {
            return Err(ChunkError::RawSize { window, bytes, expected: self.bytes });
        }
        if Digest::of(out) != self.digest {
            return Err(ChunkError::RawDigest { window });
        }
        Ok(())
    }
}

//! Collects packed windows, in disk order, into a manifest. The caller writes the stored bytes where it is told.

use thiserror::Error;

use crate::manifest::{Head, Wire};
use crate::{About, Chunk, Codec, Digest, Manifest, ManifestError, Packed, merkle};

/// An image that is being built.
#[derive(Debug)]
pub struct Builder {
    about: About,
    data_bytes: u64,
    chunks: Vec<Chunk>,
}

/// Why a window was not taken.
#[derive(Debug, Error, PartialEq, Eq)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum BuildError {
    #[error("adding window {window}: window {after} is already there")]
    Order { window: u32, after: u32 },
    #[error("adding window {window}: {bytes} stored bytes are more than a window")]
    StoredSize { window: u32, bytes: usize },
}

impl Builder {
    /// Begins an image without content.
    #[must_use]
    pub fn new(about: About) -> Builder {
        Builder { about, data_bytes: 0, chunks: Vec::new() }
    }

    /// Takes the next window, in ascending order, and says where its stored bytes go: at this offset from the
    /// start of the data area, which is always the end of what was pushed before. Free windows are left out.
    ///
    /// # Errors
    /// When the window is not after the last one, or is longer than a window can be.
    pub fn push(&mut self, packed: &Packed) -> Result<u64, BuildError> {
        self.push_chunk(packed.chunk()?)
    }

    /// As [`Builder::push`], of a window whose stored bytes are elsewhere. Its offset does not matter: it gets its own.
    ///
    /// # Errors
    /// When the window is not after the last one.
    pub fn push_chunk(&mut self, chunk: Chunk) -> Result<u64, BuildError> {
        let window = chunk.window;
        if let Some(last) = self.chunks.last()
            && window <= last.window
        {
            return Err(BuildError::Order { window, after: last.window });
        }
        let offset = self.data_bytes;
        self.data_bytes = offset.saturating_add(u64::from(chunk.stored));
        self.chunks.push(Chunk { offset, ..chunk });
        Ok(offset)
    }

    /// The windows so far, in the order of the disk.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    /// Closes the image.
    ///
    /// # Errors
    /// The first rule of [`Manifest`] it breaks, exactly as [`Manifest::decode`] would say.
    pub fn finish(self) -> Result<Manifest, ManifestError> {
        let Builder { about, data_bytes, chunks } = self;
        let About { name, arch, roles, disk_bytes, seed, packages, layout } = about;
        let root = merkle::root(&chunks);
        let count =
            u32::try_from(chunks.len()).map_err(|_| ManifestError::TooLong { bytes: chunks.len() })?;
        let head =
            Head { name, arch, roles, disk_bytes, data_bytes, chunks: count, root, seed, packages, layout };
        Manifest::try_from(Wire { head, chunks })
    }
}

impl Packed {
    /// What a manifest says of it. Where its stored bytes will lie it does not know: the offset is 0.
    ///
    /// # Errors
    /// When it is longer than a window can be.
    pub fn chunk(&self) -> Result<Chunk, BuildError> {
        let (window, bytes) = (self.window, self.stored.len());
        let stored = u32::try_from(bytes).map_err(|_| BuildError::StoredSize { window, bytes })?;
        let (map, digest, codec) = (self.map.clone(), self.digest, self.codec);
        let stored_digest = self.stored_digest();
        Ok(Chunk { window, bytes: self.bytes, map, digest, codec, offset: 0, stored, stored_digest })
    }

    /// The digest of the stored bytes, when any are stored.
    fn stored_digest(&self) -> Option<Digest> {
        match self.codec {
            Codec::Zero => None,
            Codec::Raw => Some(self.digest),
            Codec::Zstd | Codec::Lz4 => Some(Digest::of(&self.stored)),
        }
    }
}

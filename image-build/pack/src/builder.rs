//! Collects packed windows, in disk order, into a manifest. The caller writes the stored bytes where it is told.

use thiserror::Error;

use crate::manifest::{FORMAT, Wire};
use crate::{About, Chunk, Codec, Manifest, ManifestError, Packed};

/// An image that is being built.
#[derive(Debug)]
pub struct Builder {
    wire: Wire,
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
        let About { name, arch, roles, disk_bytes, seed, packages } = about;
        let (format, data_bytes, chunks) = (FORMAT, 0, Vec::new());
        Builder { wire: Wire { format, name, arch, roles, disk_bytes, data_bytes, seed, packages, chunks } }
    }

    /// Takes the next window, in ascending order, and says where its stored bytes go: at this offset from the
    /// start of the data area, which is always the end of what was pushed before. Free windows are left out.
    ///
    /// # Errors
    /// When the window is not after the last one, or is longer than a window can be.
    pub fn push(&mut self, packed: &Packed) -> Result<u64, BuildError> {
        let window = packed.window;
        if let Some(last) = self.wire.chunks.last()
            && window <= last.window
        {
            return Err(BuildError::Order { window, after: last.window });
        }
        let bytes = packed.stored.len();
        let stored = u32::try_from(bytes).map_err(|_| BuildError::StoredSize { window, bytes })?;
        let offset = self.wire.data_bytes;
        self.wire.data_bytes = offset.saturating_add(u64::from(stored));
        self.wire.chunks.push(Chunk {
            window,
            bytes: packed.bytes,
            digest: packed.digest,
            codec: packed.codec,
            offset,
            stored,
            stored_digest: packed.stored_digest(),
        });
        Ok(offset)
    }

    /// Closes the image.
    ///
    /// # Errors
    /// The first rule of [`Manifest`] it breaks, exactly as [`Manifest::decode`] would say.
    pub fn finish(self) -> Result<Manifest, ManifestError> {
        Manifest::try_from(self.wire)
    }
}

impl Packed {
    /// The digest of the stored bytes, when any are stored.
    fn stored_digest(&self) -> Option<crate::Digest> {
        match self.codec {
            Codec::Zero => None,
            Codec::Raw => Some(self.digest),
            Codec::Zstd => Some(crate::Digest::of(&self.stored)),
        }
    }
}

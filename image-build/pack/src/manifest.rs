//! The manifest: canonical JSON that lists an image's chunks. Its digest is the image's name.

use serde::{Deserialize, Serialize};

use crate::check::{self, ManifestError};
use crate::{Chunk, Digest};

/// The only manifest format there is so far.
pub const FORMAT: u32 = 1;

/// The longest manifest that is looked at, in bytes: some 70,000 windows.
pub const MANIFEST_BYTES_MAX: usize = 16 << 20;

/// A stretch of the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Span {
    /// First byte, counted from the start of the disk.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// What an image is, besides its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// What people call it: `a-z 0-9 . _ -`, beginning with a letter or digit, at most 64.
    pub name: String,
    /// Debian's name of the machine type: `amd64`.
    pub arch: String,
    /// Roles it can serve, sorted, none twice: `a-z 0-9 -`, beginning with a letter, at most 32 each, at most 16.
    pub roles: Vec<String>,
    /// Size of the disk it was built as; the smallest disk it fits. A multiple of 512, at most 64 TiB.
    pub disk_bytes: u64,
    /// Where the deploying agent may write the node's seed. No chunk may touch it.
    pub seed: Option<Span>,
    /// Digest of the list of packages it was built from.
    pub packages: Option<Digest>,
}

/// A valid manifest. Made by [`Manifest::decode`] and [`crate::Builder::finish`] only, so holding one proves:
/// chunks ascend and lie on the disk, the first and the last window are there, stored extents follow each other
/// without a gap and fill the data area exactly, nothing touches the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    wire: Wire,
    encoded: Vec<u8>,
}

/// The fields as they are written, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wire {
    pub(crate) format: u32,
    pub(crate) name: String,
    pub(crate) arch: String,
    pub(crate) roles: Vec<String>,
    pub(crate) disk_bytes: u64,
    pub(crate) data_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packages: Option<Digest>,
    pub(crate) chunks: Vec<Chunk>,
}

impl Manifest {
    /// Reads a manifest, refusing everything but the one canonical spelling of a valid one.
    ///
    /// # Errors
    /// The first rule it breaks.
    pub fn decode(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        if bytes.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong { bytes: bytes.len() });
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(ManifestError::Json)?;
        let manifest = Manifest::try_from(wire)?;
        // Two spellings would be two names for one image.
        if manifest.encoded != bytes {
            return Err(ManifestError::NotCanonical);
        }
        Ok(manifest)
    }

    /// The canonical bytes: what is hashed, signed, stored and sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encoded.clone()
    }

    /// The same bytes, borrowed.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The name of the image: the digest of the encoded manifest.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&self.encoded)
    }

    /// What people call the image.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.wire.name
    }

    /// Debian's name of the machine type it runs on.
    #[must_use]
    pub fn arch(&self) -> &str {
        &self.wire.arch
    }

    /// Roles it can serve, sorted.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.wire.roles
    }

    /// The smallest disk it fits, in bytes.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.wire.disk_bytes
    }

    /// Length of the data area, in bytes.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.wire.data_bytes
    }

    /// Where the node's seed goes, if the image takes one.
    #[must_use]
    pub fn seed(&self) -> Option<Span> {
        self.wire.seed
    }

    /// Digest of the list of packages it was built from, if known.
    #[must_use]
    pub fn packages(&self) -> Option<Digest> {
        self.wire.packages
    }

    /// The chunks, ascending by window. Never empty.
    #[must_use]
    pub fn chunks(&self) -> &[Chunk] {
        &self.wire.chunks
    }

    /// The chunk of this window; None when the window is free (not written).
    #[must_use]
    pub fn chunk(&self, window: u32) -> Option<&Chunk> {
        let at = self.wire.chunks.binary_search_by_key(&window, |chunk| chunk.window).ok()?;
        self.wire.chunks.get(at)
    }
}

impl TryFrom<Wire> for Manifest {
    type Error = ManifestError;

    fn try_from(wire: Wire) -> Result<Manifest, ManifestError> {
        check::wire(&wire)?;
        let encoded = serde_json::to_vec(&wire).map_err(ManifestError::Json)?;
        if encoded.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong { bytes: encoded.len() });
        }
        Ok(Manifest { wire, encoded })
    }
}

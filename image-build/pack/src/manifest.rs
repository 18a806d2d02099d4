//! The manifest: a head in canonical JSON, then one binary record for each chunk. Its digest is the image's name.
//!
//! ```text
//!      0   8  magic "RWMANIF2"; the last byte is the version of the format
//!      8   4  length of the head, little-endian
//!     12   n  head: JSON without spaces, fields in the order of [`Head`]
//!   12+n      as many records as the head says (see `record`)
//! ```

use serde::{Deserialize, Serialize};

use crate::check::{self, ManifestError};
use crate::{Chunk, Digest, Layout, record};

const MAGIC: [u8; 8] = *b"RWMANIF2";

/// The longest manifest that is looked at, in bytes: some 800,000 windows.
pub const MANIFEST_BYTES_MAX: usize = 64 << 20;

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
    /// Size of the disk it was taken from or built as. A multiple of the sector, at most 64 TiB.
    pub disk_bytes: u64,
    /// Where the deploying agent may write the node's seed. No chunk may touch it.
    pub seed: Option<Span>,
    /// Digest of the list of packages it was built from.
    pub packages: Option<Digest>,
    /// Sectors, partitions, file systems.
    pub layout: Layout,
}

/// A valid manifest. Made by [`Manifest::decode`] and [`crate::Builder::finish`] only, so holding one proves:
/// chunks ascend and lie on the disk, the first and the last window are there, stored extents follow each other
/// without a gap and fill the data area exactly, nothing touches the seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    wire: Wire,
    encoded: Vec<u8>,
}

/// What is written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wire {
    pub(crate) head: Head,
    pub(crate) chunks: Vec<Chunk>,
}

/// The fields of the head, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    pub(crate) name: String,
    pub(crate) arch: String,
    pub(crate) roles: Vec<String>,
    pub(crate) disk_bytes: u64,
    pub(crate) data_bytes: u64,
    pub(crate) chunks: u32,
    pub(crate) root: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<Span>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) packages: Option<Digest>,
    pub(crate) layout: Layout,
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
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(ManifestError::Cut)?;
        if magic.get(..7) != MAGIC.get(..7) {
            return Err(ManifestError::Magic);
        }
        if *magic != MAGIC {
            return Err(ManifestError::Format { format: magic.last().copied().map_or(' ', char::from) });
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(ManifestError::Cut)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        let (head, records) = rest.split_at_checked(length).ok_or(ManifestError::Cut)?;
        let head: Head = serde_json::from_slice(head).map_err(ManifestError::Json)?;
        let chunks = record::read_all(records, head.chunks, head.disk_bytes)?;
        let manifest = Manifest::try_from(Wire { head, chunks })?;
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

    /// The Merkle root of the content ([`crate::merkle`]): the same for two images that make the same disk, however they
    /// are compressed or called.
    #[must_use]
    pub fn root(&self) -> Digest {
        self.wire.head.root
    }

    /// What people call the image.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.wire.head.name
    }

    /// Debian's name of the machine type it runs on.
    #[must_use]
    pub fn arch(&self) -> &str {
        &self.wire.head.arch
    }

    /// Roles it can serve, sorted.
    #[must_use]
    pub fn roles(&self) -> &[String] {
        &self.wire.head.roles
    }

    /// Size of the disk it was taken from, in bytes.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.wire.head.disk_bytes
    }

    /// Length of the data area, in bytes.
    #[must_use]
    pub fn data_bytes(&self) -> u64 {
        self.wire.head.data_bytes
    }

    /// Where the node's seed goes, if the image takes one.
    #[must_use]
    pub fn seed(&self) -> Option<Span> {
        self.wire.head.seed
    }

    /// Digest of the list of packages it was built from, if known.
    #[must_use]
    pub fn packages(&self) -> Option<Digest> {
        self.wire.head.packages
    }

    /// Sectors, partitions and file systems.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.wire.head.layout
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

    /// Bytes of the disk that the image determines: data and zeros.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.wire.chunks.iter().map(|chunk| u64::from(chunk.used_bytes())).sum()
    }
}

impl TryFrom<Wire> for Manifest {
    type Error = ManifestError;

    fn try_from(wire: Wire) -> Result<Manifest, ManifestError> {
        check::wire(&wire)?;
        let head = serde_json::to_vec(&wire.head).map_err(ManifestError::Json)?;
        let length = u32::try_from(head.len()).map_err(|_| ManifestError::TooLong { bytes: head.len() })?;
        let mut encoded = [MAGIC.as_slice(), &length.to_le_bytes(), &head].concat();
        wire.chunks.iter().for_each(|chunk| record::write(chunk, &mut encoded));
        if encoded.len() > MANIFEST_BYTES_MAX {
            return Err(ManifestError::TooLong { bytes: encoded.len() });
        }
        Ok(Manifest { wire, encoded })
    }
}

//! What stands in front of the data area of a `.rwimage` file.
//!
//! ```text
//!      0   8  magic "RWIMAGE2"
//!      8   8  length of the manifest, little-endian
//!     16  32  public key
//!     48  64  signature
//!    112   n  manifest
//!  112+n      zeros up to a multiple of 4096: the data area begins here
//! ```
//! The data area ends the file: its length is the manifest's to say.

use thiserror::Error;

use crate::{MANIFEST_BYTES_MAX, Manifest, PublicKey, Signature, Signed};

/// The first eight bytes of every image file; the last of them is the version of this layout.
pub const MAGIC: [u8; 8] = *b"RWIMAGE2";

/// The data area begins at a multiple of this many bytes, so that it can be read past the page cache.
pub const DATA_ALIGN: usize = 4096;

const FIXED: usize = 112;

/// The head of an image file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The manifest and who vouches for it, not yet verified.
    pub signed: Signed,
}

/// What a prefix of a file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parsed {
    /// Right so far: read the file's first `.0` bytes (never more than 65 MiB) and ask again.
    Needs(usize),
    /// The whole head.
    Whole(Header),
}

/// Why a file is no image.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the message of each variant is its documentation")]
pub enum HeaderError {
    #[error("reading an image file: it does not begin like one")]
    Magic,
    #[error(
        "reading an image file: it claims a manifest of {bytes} bytes (allowed: 1 to {MANIFEST_BYTES_MAX})"
    )]
    ManifestBytes { bytes: u64 },
    #[error("reading an image file: bytes other than zero between manifest and data")]
    Padding,
    #[error("reading an image file: {bytes} bytes long, its manifest says {expected}")]
    FileBytes { bytes: u64, expected: u64 },
}

impl Header {
    /// Reads the head out of a file's first bytes: any number of them, even none. Longer is fine, what follows the
    /// head is not looked at.
    ///
    /// # Errors
    /// As soon as the bytes present show that the file is no image.
    pub fn parse(prefix: &[u8]) -> Result<Parsed, HeaderError> {
        let Some((fixed, rest)) = prefix.split_first_chunk::<FIXED>() else {
            let same = prefix.iter().zip(&MAGIC).all(|(is, should)| is == should);
            return if same { Ok(Parsed::Needs(FIXED)) } else { Err(HeaderError::Magic) };
        };
        let Some((magic, bytes, key, signature)) = fields(fixed) else { return Err(HeaderError::Magic) };
        if magic != MAGIC {
            return Err(HeaderError::Magic);
        }
        let length = usize::try_from(bytes).ok().filter(|length| (1..=MANIFEST_BYTES_MAX).contains(length));
        let length = length.ok_or(HeaderError::ManifestBytes { bytes })?;
        let begin = data_begin(length);
        let Some((manifest, padding)) = prefix.get(..begin).and(rest.split_at_checked(length)) else {
            return Ok(Parsed::Needs(begin));
        };
        if padding.iter().take(begin - FIXED - length).any(|byte| *byte != 0) {
            return Err(HeaderError::Padding);
        }
        let signed = Signed { manifest: manifest.to_vec(), key, signature };
        Ok(Parsed::Whole(Header { signed }))
    }

    /// The head as it is written: everything before the data area.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Signed { manifest, key, signature } = &self.signed;
        let mut bytes = Vec::with_capacity(data_begin(manifest.len()));
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&(manifest.len() as u64).to_le_bytes());
        bytes.extend_from_slice(&key.0);
        bytes.extend_from_slice(&signature.0);
        bytes.extend_from_slice(manifest);
        bytes.resize(data_begin(manifest.len()), 0);
        bytes
    }

    /// Where the data area begins, in bytes from the start of the file.
    #[must_use]
    pub fn data_begin(&self) -> u64 {
        data_begin(self.signed.manifest.len()) as u64
    }

    /// Checks the length of a file against what its (verified) manifest says it must be.
    ///
    /// # Errors
    /// When the file is shorter or longer.
    pub fn check_file_bytes(&self, manifest: &Manifest, bytes: u64) -> Result<(), HeaderError> {
        let expected = self.data_begin().saturating_add(manifest.data_bytes());
        if bytes == expected { Ok(()) } else { Err(HeaderError::FileBytes { bytes, expected }) }
    }
}

fn fields(fixed: &[u8; FIXED]) -> Option<([u8; 8], u64, PublicKey, Signature)> {
    let (magic, rest) = fixed.split_first_chunk::<8>()?;
    let (bytes, rest) = rest.split_first_chunk::<8>()?;
    let (key, rest) = rest.split_first_chunk::<32>()?;
    let (signature, _) = rest.split_first_chunk::<64>()?;
    Some((*magic, u64::from_le_bytes(*bytes), PublicKey(*key), Signature(*signature)))
}

fn data_begin(manifest_bytes: usize) -> usize {
    FIXED.saturating_add(manifest_bytes).div_ceil(DATA_ALIGN).saturating_mul(DATA_ALIGN)
}

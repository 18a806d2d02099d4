//! The image format: what a node image *is*, apart from where it is kept and how it travels.
//!
//! A disk is cut into windows of [`WINDOW`] bytes. A window that holds image data is a [`Chunk`]: hashed raw,
//! stored as zeros, raw or zstd. The [`Manifest`] lists the chunks; the BLAKE3 [`Digest`] of its encoded bytes is
//! the name of the image; an Ed25519 signature over that name ([`Signed`]) says who vouches for it. The
//! [`Header`] puts manifest and signature in front of the stored bytes: one `.rwimage` file.
//!
//! ```text
//! building:  About -> Builder; chunk(window, raw, level) -> Packed -> Builder::push -> offset    (caller writes)
//!            Builder::finish -> Manifest -> Signed::new(manifest, &SigningKey) -> Header::encode (caller writes)
//! reading:   Header::parse(prefix) -> Signed::verify(trusted) -> (Digest, Manifest)
//!            Chunk::check_stored(bytes as they arrived) -> Chunk::unpack(stored, window) -> write the window
//! ```
//!
//! A [`Manifest`] value is always a valid one: it comes out of [`Manifest::decode`] or [`Builder::finish`] and
//! nowhere else. This crate refuses to know files, sockets, keys at rest, and what a disk's file systems mean.

mod builder;
mod check;
mod chunk;
mod digest;
mod extents;
mod header;
mod manifest;
mod map;
mod sign;
pub mod source;
mod survey;
mod table;
pub mod volume;

pub use builder::{BuildError, Builder};
pub use check::{DISK_BYTES_MAX, ManifestError};
pub use chunk::{Chunk, ChunkError, Codec, Packed, chunk};
pub use digest::{Digest, DigestError};
pub use extents::Extents;
pub use header::{DATA_ALIGN, Header, HeaderError, MAGIC, Parsed};
pub use manifest::{About, FORMAT, MANIFEST_BYTES_MAX, Manifest, Span};
pub use map::{BLOCK, Block, BlockMap, is_zero};
pub use sign::{KeyError, PublicKey, Signature, Signed, SigningKey, VerifyError};
pub use source::{Part, Source};

/// Bytes of disk that one chunk stands for: the unit of hashing, comparing, fetching and writing.
///
/// 1 MiB loses 2 % of compression against 4 MiB windows and lets a resumed or changed disk skip finely.
pub const WINDOW: u32 = 1 << 20;

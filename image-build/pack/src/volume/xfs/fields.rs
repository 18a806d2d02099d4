//! The fields of a structure as it lies on the disk.

use crc::{CRC_32_ISCSI, Crc};

use super::{Unread, doubtful};

/// CRC-32C. The crate has the checksums of all disk formats and no dependencies but their catalogue.
static CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The bytes of one structure. A field that does not lie within them is an error, never a panic.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], Unread> {
        let found = self.0.get(at..).and_then(|rest| rest.first_chunk::<N>());
        found.copied().ok_or_else(|| doubtful("a structure is cut short"))
    }

    pub(super) fn u8(&self, at: usize) -> Result<u8, Unread> {
        self.array::<1>(at).map(|[byte]| byte)
    }

    pub(super) fn u16(&self, at: usize) -> Result<u16, Unread> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(super) fn u32(&self, at: usize) -> Result<u32, Unread> {
        self.array(at).map(u32::from_be_bytes)
    }

    pub(super) fn u64(&self, at: usize) -> Result<u64, Unread> {
        self.array(at).map(u64::from_be_bytes)
    }

    /// Whether the checksum at `at` is that of all bytes, itself taken as zeros.
    pub(super) fn has_checksum(&self, at: usize) -> Result<bool, Unread> {
        let stored = u32::from_le_bytes(self.array(at)?);
        let mut digest = CRC32C.digest();
        digest.update(self.0.get(..at).unwrap_or_default());
        digest.update(&[0; 4]);
        digest.update(self.0.get(at + 4..).unwrap_or_default());
        Ok(digest.finalize() == stored)
    }
}

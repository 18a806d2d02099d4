//! The fields of a structure that a volume can't be read without.

use super::{Unread, doubtful};
use crate::field;

/// The bytes of one structure. A field that does not lie within them is doubtful, never a panic.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn array<const N: usize>(self, at: usize) -> Result<[u8; N], Unread> {
        there(field::array(self.0, at))
    }

    pub(super) fn byte(self, at: usize) -> Result<u8, Unread> {
        there(field::byte(self.0, at))
    }

    pub(super) fn le16(self, at: usize) -> Result<u16, Unread> {
        there(field::le16(self.0, at))
    }

    pub(super) fn le32(self, at: usize) -> Result<u32, Unread> {
        there(field::le32(self.0, at))
    }

    pub(super) fn le64(self, at: usize) -> Result<u64, Unread> {
        there(field::le64(self.0, at))
    }

    pub(super) fn be16(self, at: usize) -> Result<u16, Unread> {
        there(field::be16(self.0, at))
    }

    pub(super) fn be32(self, at: usize) -> Result<u32, Unread> {
        there(field::be32(self.0, at))
    }

    pub(super) fn be64(self, at: usize) -> Result<u64, Unread> {
        there(field::be64(self.0, at))
    }
}

fn there<T>(field: Option<T>) -> Result<T, Unread> {
    field.ok_or_else(|| doubtful("one of its structures is cut short"))
}

//! Numbers in bytes, never beyond their end.

/// `N` bytes at an offset.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

pub(super) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

pub(super) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

pub(super) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Whether these bytes stand at an offset.
pub(super) fn is(bytes: &[u8], at: usize, want: &[u8]) -> bool {
    bytes.get(at..).is_some_and(|rest| rest.starts_with(want))
}

/// A label of fixed length, up to its first NUL.
pub(super) fn label(bytes: &[u8], at: usize, length: usize) -> String {
    crate::text::name_of_bytes(bytes.get(at..at.saturating_add(length)).unwrap_or_default())
}

//! Fields of structures on the disk: little-endian, at byte offsets.

use super::{Unread, doubtful};

pub(super) fn bytes<const N: usize>(of: &[u8], at: usize) -> Result<[u8; N], Unread> {
    let rest = of.get(at..).and_then(|rest| rest.first_chunk::<N>());
    rest.copied().ok_or_else(|| doubtful("one of its structures is cut short"))
}

pub(super) fn u8(of: &[u8], at: usize) -> Result<u8, Unread> {
    bytes::<1>(of, at).map(|[byte]| byte)
}

pub(super) fn u16(of: &[u8], at: usize) -> Result<u16, Unread> {
    bytes(of, at).map(u16::from_le_bytes)
}

pub(super) fn u32(of: &[u8], at: usize) -> Result<u32, Unread> {
    bytes(of, at).map(u32::from_le_bytes)
}

pub(super) fn u64(of: &[u8], at: usize) -> Result<u64, Unread> {
    bytes(of, at).map(u64::from_le_bytes)
}

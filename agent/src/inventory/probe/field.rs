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

/// Sixteen bytes at an offset as a UUID is written; empty when they are all zero.
pub(super) fn uuid(bytes: &[u8], at: usize) -> String {
    array::<16>(bytes, at).map_or_else(String::new, |id| spelled(&id, &[4, 2, 2, 2, 6], false))
}

/// The same in the order of GPT, whose first three fields are little-endian numbers (UEFI 2.10, appendix A).
pub(super) fn guid(raw: &[u8; 16]) -> String {
    let mut id = *raw;
    for field in [0..4, 4..6, 6..8] {
        if let Some(field) = id.get_mut(field) {
            field.reverse();
        }
    }
    spelled(&id, &[4, 2, 2, 2, 6], false)
}

/// A serial number of four or eight bytes, as blkid(8) writes those of FAT and NTFS; empty when it is zero.
pub(super) fn serial(number: &[u8]) -> String {
    let big_endian = number.iter().rev().copied().collect::<Vec<_>>();
    let groups: &[usize] = if number.len() == 4 { &[2, 2] } else { &[8] };
    spelled(&big_endian, groups, true)
}

fn spelled(id: &[u8], groups: &[usize], upper: bool) -> String {
    if id.iter().all(|byte| *byte == 0) {
        return String::new();
    }
    let mut bytes = id.iter();
    let digits = |byte: &u8| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") };
    let group = |length: &usize| bytes.by_ref().take(*length).map(digits).collect::<String>();
    groups.iter().map(group).collect::<Vec<_>>().join("-")
}

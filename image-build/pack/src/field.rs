//! Fixed-size fields of on-disk structures. A field that does not lie within the bytes is `None`.

/// So many bytes from `at` on.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// One byte.
pub(crate) fn byte(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// Little-endian, two bytes.
pub(crate) fn le16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

/// Little-endian, four bytes.
pub(crate) fn le32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

/// Little-endian, eight bytes.
pub(crate) fn le64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Big-endian, two bytes.
pub(crate) fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// Big-endian, four bytes.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Big-endian, eight bytes.
pub(crate) fn be64(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_be_bytes)
}

/// Writes a field; whether it lay within the bytes.
pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) -> bool {
    let place = at.checked_add(field.len()).and_then(|end| bytes.get_mut(at..end));
    place.is_some_and(|place| {
        place.copy_from_slice(field);
        true
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_within_or_are_not_there() {
        let mut bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!((le16(&bytes, 7), be16(&bytes, 7)), (Some(0x0908), Some(0x0809)));
        assert_eq!((le32(&bytes, 5), be32(&bytes, 5)), (Some(0x0908_0706), Some(0x0607_0809)));
        assert_eq!(le64(&bytes, 1), Some(0x0908_0706_0504_0302));
        assert_eq!(be64(&bytes, 1), Some(0x0203_0405_0607_0809));
        assert_eq!((le16(&bytes, 8), le32(&bytes, usize::MAX), le64(&bytes, 2)), (None, None, None));
        assert_eq!((byte(&bytes, 8), byte(&bytes, 9), array::<1>(&bytes, 10)), (Some(9), None, None));
        assert!(
            put(&mut bytes, 7, &[0, 0]) && !put(&mut bytes, 8, &[0, 0]) && !put(&mut bytes, usize::MAX, &[0])
        );
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 0, 0]);
    }
}

//! Fixed-size fields of on-disk structures. A field that does not lie within the bytes is `None`.

/// CRC-32 of ISO 3309, as UEFI has it.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    static CRC: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
    CRC.checksum(bytes)
}

/// So many bytes from `at` on.
pub(crate) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
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

/// Big-endian, four bytes.
pub(crate) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_be_bytes)
}

/// Writes a field; whether it lay within the bytes.
pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) -> bool {
    let place = at.checked_add(field.len()).and_then(|end| bytes.get_mut(at..end));
    place.is_some_and(|place| {
        place.copy_from_slice(field);
        true
    })
}

/// A UUID that is written in the order of its text (RFC 9562).
pub(crate) fn uuid(bytes: [u8; 16]) -> String {
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// A GUID as GPT has it: the first three fields are little-endian (UEFI 2.10, appendix A).
pub(crate) fn guid(bytes: [u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    let [i, j, k, l, m, n, o, p] = rest;
    uuid([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_lie_within_or_are_not_there() {
        let mut bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(le16(&bytes, 7), Some(0x0908));
        assert_eq!(le32(&bytes, 5), Some(0x0908_0706));
        assert_eq!(le64(&bytes, 1), Some(0x0908_0706_0504_0302));
        assert_eq!((le16(&bytes, 8), le32(&bytes, usize::MAX), le64(&bytes, 2)), (None, None, None));
        assert!(
            put(&mut bytes, 7, &[0, 0]) && !put(&mut bytes, 8, &[0, 0]) && !put(&mut bytes, usize::MAX, &[0])
        );
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 7, 0, 0]);
    }

    #[test]
    fn the_check_of_the_catalogue() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn the_two_orders_of_a_uuid() {
        let bytes = std::array::from_fn(|n| u8::try_from(n).unwrap());
        assert_eq!(uuid(bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(guid(bytes), "03020100-0504-0706-0809-0a0b0c0d0e0f");
    }
}

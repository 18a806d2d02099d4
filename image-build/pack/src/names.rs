//! UUIDs, serial numbers and labels as blkid spells them. What is all zeros is none.

/// The longest label, bytes.
pub(crate) const LABEL_MAX: usize = 255;

/// A UUID that is written in the order of its text (RFC 9562).
pub(crate) fn uuid(bytes: [u8; 16]) -> String {
    let hex = data_encoding::HEXLOWER.encode(&bytes);
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    [part(0..8), part(8..12), part(12..16), part(16..20), part(20..32)].join("-")
}

/// A UUID that may not be there: empty for zeros and for `None`.
pub(crate) fn uuid_or_none(bytes: Option<[u8; 16]>) -> String {
    bytes.filter(|bytes| *bytes != [0; 16]).map(uuid).unwrap_or_default()
}

/// A GUID as GPT has it: the first three fields are little-endian (UEFI 2.10, appendix A).
pub(crate) fn guid(bytes: [u8; 16]) -> String {
    let [a, b, c, d, e, f, g, h, rest @ ..] = bytes;
    let [i, j, k, l, m, n, o, p] = rest;
    uuid([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p])
}

/// The serial number of FAT and exFAT: `12AB-34CD`.
pub(crate) fn serial(number: u32) -> String {
    if number == 0 { String::new() } else { format!("{:04X}-{:04X}", number >> 16, number & 0xffff) }
}

/// The serial number of NTFS: sixteen digits.
pub(crate) fn long_serial(number: u64) -> String {
    if number == 0 { String::new() } else { format!("{number:016X}") }
}

/// A label in bytes: up to the first NUL, without white space at its end.
pub(crate) fn label(bytes: &[u8]) -> String {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    shortened(String::from_utf8_lossy(text).into_owned())
}

/// A label in little-endian UTF-16.
pub(crate) fn label_of_utf16(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    // No label is longer than that many units.
    let units = units.iter().take(LABEL_MAX).map(|unit| u16::from_le_bytes(*unit));
    let chars = char::decode_utf16(units.take_while(|unit| *unit != 0));
    shortened(chars.map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

fn shortened(mut label: String) -> String {
    label.truncate(label.floor_char_boundary(LABEL_MAX));
    label.truncate(label.trim_end_matches(|char: char| char.is_ascii_whitespace()).len());
    label
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_end_at_nul_and_within_255_bytes() {
        let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>();
        assert_eq!(label_of_utf16(&utf16("Größe 💾 \t\0rest")), "Größe 💾");
        assert_eq!(label_of_utf16(&utf16(&"€".repeat(128))), "€".repeat(85));
        assert_eq!(label_of_utf16(&[0x00, 0xd8, 0x41, 0x00, 0x42]), "\u{fffd}A");
        assert_eq!(label_of_utf16(&[]), "");
        assert_eq!((label(b"root disk \0x").as_str(), label(b"\0").as_str()), ("root disk", ""));
        assert_eq!(label(&[0xff; 300]), "\u{fffd}".repeat(85));
    }

    #[test]
    fn the_two_orders_of_a_uuid() {
        let bytes = std::array::from_fn(|n| u8::try_from(n).unwrap());
        assert_eq!(uuid(bytes), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(guid(bytes), "03020100-0504-0706-0809-0a0b0c0d0e0f");
        assert_eq!(uuid_or_none(Some(bytes)), uuid(bytes));
        assert_eq!((uuid_or_none(Some([0; 16])), uuid_or_none(None)), (String::new(), String::new()));
    }

    #[test]
    fn serial_numbers() {
        assert_eq!((serial(0x12ab_34cd), serial(0)), ("12AB-34CD".to_owned(), String::new()));
        assert_eq!((long_serial(0x1f), long_serial(0)), ("000000000000001F".to_owned(), String::new()));
    }
}

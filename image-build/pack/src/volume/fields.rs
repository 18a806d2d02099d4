//! Numbers, labels and serial numbers in structures on a disk. All numbers are little-endian; `None` is a field that lies
//! outside what was read.

/// So many bytes at an offset.
pub(super) fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

pub(super) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes_at(bytes, at).map(u16::from_le_bytes)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes_at(bytes, at).map(u64::from_le_bytes)
}

/// The serial number of FAT and exFAT as blkid spells it: `12AB-34CD`, empty when it is 0.
pub(super) fn serial(number: u32) -> String {
    if number == 0 { String::new() } else { format!("{:04X}-{:04X}", number >> 16, number & 0xffff) }
}

/// A label in UTF-16 as blkid spells it: up to the first NUL, without white space at its end, at most 255 bytes.
pub(super) fn label_of_utf16(bytes: &[u8]) -> String {
    let (units, _) = bytes.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    let mut label = String::new();
    for char in char::decode_utf16(units).map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)) {
        if label.len() + char.len_utf8() > 255 {
            break;
        }
        label.push(char);
    }
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
    }

    #[test]
    fn fields_outside_are_none() {
        assert_eq!(u32_at(&[1, 2, 3, 4, 5], 1), Some(0x0504_0302));
        assert_eq!(u32_at(&[1, 2, 3, 4, 5], 2), None);
        assert_eq!(u16_at(&[1, 2], usize::MAX), None);
        assert_eq!((serial(0x12ab_34cd), serial(0)), ("12AB-34CD".to_owned(), String::new()));
    }
}

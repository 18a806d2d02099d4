//! The two checksums of ext4: CRC-16 of `uninit_bg`, CRC-32C of `metadata_csum`. Neither inverts its result, so what has
//! been summed up so far can be handed on.

const CRC16: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u16;
    while byte < 256 {
        let mut rest = byte;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { (rest >> 1) ^ 0xA001 } else { rest >> 1 };
            bit += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "256 entries, and it is the compiler that runs this")]
        {
            table[byte as usize] = rest;
        }
        byte += 1;
    }
    table
};

const CRC32C: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u32;
    while byte < 256 {
        let mut rest = byte;
        let mut bit = 0;
        while bit < 8 {
            rest = if rest & 1 == 1 { (rest >> 1) ^ 0x82F6_3B78 } else { rest >> 1 };
            bit += 1;
        }
        #[expect(clippy::indexing_slicing, reason = "256 entries, and it is the compiler that runs this")]
        {
            table[byte as usize] = rest;
        }
        byte += 1;
    }
    table
};

/// CRC-16/ARC of `bytes`, from `seed` on.
pub(super) fn crc16(seed: u16, bytes: &[u8]) -> u16 {
    bytes.iter().fold(seed, |crc, byte| {
        let [low, _] = (crc ^ u16::from(*byte)).to_le_bytes();
        (crc >> 8) ^ CRC16.get(usize::from(low)).copied().unwrap_or_default()
    })
}

/// CRC-32C (Castagnoli) of `bytes`, from `seed` on.
pub(super) fn crc32c(seed: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(seed, |crc, byte| {
        let [low, ..] = (crc ^ u32::from(*byte)).to_le_bytes();
        (crc >> 8) ^ CRC32C.get(usize::from(low)).copied().unwrap_or_default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_of_checksums_agrees() {
        assert_eq!(crc16(0, b"123456789"), 0xBB3D);
        assert_eq!(!crc32c(u32::MAX, b"123456789"), 0xE306_9283);
    }

    #[test]
    fn a_sum_goes_on_where_it_was_left() {
        assert_eq!(crc16(crc16(7, b"1234"), b"56789"), crc16(7, b"123456789"));
        assert_eq!(crc32c(crc32c(7, b"1234"), b"56789"), crc32c(7, b"123456789"));
    }
}

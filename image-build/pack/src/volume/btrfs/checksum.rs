//! The checksum in front of every superblock and node.

/// Bytes that a structure keeps for its checksum, whatever the kind; the checksum is of all that follows.
pub(super) const BYTES: usize = 32;

/// The kinds of `enum btrfs_csum_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checksum {
    Crc32c,
    Sha256,
    /// xxhash64 and BLAKE2b, which are not worth a library each: the rest of what is checked (addresses, generations, the
    /// order of the keys, the sum of all extents) has to do.
    Unverified,
}

impl Checksum {
    pub(super) fn new(kind: u16) -> Option<Checksum> {
        match kind {
            0 => Some(Checksum::Crc32c),
            2 => Some(Checksum::Sha256),
            1 | 3 => Some(Checksum::Unverified),
            4.. => None,
        }
    }

    /// Whether a structure is what was written.
    pub(super) fn holds(self, structure: &[u8]) -> bool {
        let Some((sum, rest)) = structure.split_first_chunk::<BYTES>() else { return false };
        match self {
            Checksum::Crc32c => sum.starts_with(&crc32c(rest).to_le_bytes()),
            Checksum::Sha256 => ring::digest::digest(&ring::digest::SHA256, rest).as_ref() == sum,
            Checksum::Unverified => true,
        }
    }
}

/// Castagnoli's CRC, of which metadata is too little for more than a byte at a time.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, byte| {
        let [low, ..] = crc.to_le_bytes();
        let entry = TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default();
        (crc >> 8) ^ entry
    })
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    let mut rest: &mut [u32] = &mut table;
    while let Some((entry, after)) = rest.split_first_mut() {
        *entry = shifted(byte);
        byte += 1;
        rest = after;
    }
    table
};

const fn shifted(byte: u32) -> u32 {
    let (mut crc, mut bit) = (byte, 0);
    while bit < 8 {
        crc = if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
        bit += 1;
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_crc_of_rfc_3720() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
    }
}

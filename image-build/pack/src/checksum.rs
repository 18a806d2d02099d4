//! The checksums of tables and file systems. The crate `crc` has those of all formats and no dependencies but their
//! catalogue.

use crc::{Algorithm, CRC_16_ARC, CRC_32_ISCSI, CRC_32_ISO_HDLC, Crc, Digest, Table};

/// As LVM2 has it: it begins with a number of its own, and ends without inversion.
const LVM2: Algorithm<u32> = Algorithm { init: 0xf597_a6cf_u32.reverse_bits(), xorout: 0, ..CRC_32_ISO_HDLC };

static CRC16: Crc<u16> = Crc::<u16>::new(&CRC_16_ARC);
static CRC32: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);
/// Every block of metadata of a file system is summed up by it: sixteen bytes at a time.
static CRC32C: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISCSI);
static CRC32_LVM2: Crc<u32> = Crc::<u32>::new(&LVM2);

/// CRC-32 of ISO 3309, as UEFI has it.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    CRC32.checksum(bytes)
}

/// LVM2's CRC-32.
pub(crate) fn crc32_lvm2(bytes: &[u8]) -> u32 {
    CRC32_LVM2.checksum(bytes)
}

/// CRC-32C (Castagnoli).
pub(crate) fn crc32c(bytes: &[u8]) -> u32 {
    CRC32C.checksum(bytes)
}

/// CRC-32C of bytes of which the four at `at` are taken as zeros: where the sum itself lies.
pub(crate) fn crc32c_around(bytes: &[u8], at: usize) -> u32 {
    let (before, rest) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let mut digest = CRC32C.digest();
    for part in [before, &[0; 4], rest.get(4..).unwrap_or_default()] {
        digest.update(part);
    }
    digest.finalize()
}

/// CRC-32C of all parts, from what others have added up to, and not inverted in the end, so that it can go on.
pub(crate) fn crc32c_on(seed: u32, parts: &[&[u8]]) -> u32 {
    let mut digest: Digest<'_, u32, Table<16>> = CRC32C.digest_with_initial(seed.reverse_bits());
    parts.iter().for_each(|part| digest.update(part));
    !digest.finalize()
}

/// CRC-16/ARC of all parts, from what others have added up to.
pub(crate) fn crc16_on(seed: u16, parts: &[&[u8]]) -> u16 {
    let mut digest = CRC16.digest_with_initial(seed.reverse_bits());
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: &[u8] = b"123456789";

    #[test]
    fn the_catalogue_of_checksums_agrees() {
        assert_eq!((crc32(CHECK), crc32c(CHECK)), (0xcbf4_3926, 0xe306_9283));
        assert_eq!((crc16_on(0, &[CHECK]), !crc32c_on(u32::MAX, &[CHECK])), (0xbb3d, 0xe306_9283));
        // RFC 3720.
        assert_eq!((crc32c(&[0; 32]), crc32c(&[0xff; 32])), (0x8a91_36aa, 0x62a8_ab43));
    }

    #[test]
    fn a_sum_goes_on_where_it_was_left() {
        assert_eq!(crc16_on(crc16_on(7, &[b"1234"]), &[b"56789"]), crc16_on(7, &[CHECK]));
        assert_eq!(crc32c_on(crc32c_on(7, &[b"1234"]), &[b"56789"]), crc32c_on(7, &[b"12", b"3456789"]));
    }

    #[test]
    fn a_sum_is_not_part_of_itself() {
        assert_eq!(crc32c_around(b"12abcd3", 2), crc32c(b"12\0\0\0\x003"));
        assert_eq!(crc32c_around(b"12ab", 2), crc32c(b"12\0\0\0\0"));
        assert_eq!(crc32c_around(b"12", 9), crc32c(b"12\0\0\0\0"));
    }
}

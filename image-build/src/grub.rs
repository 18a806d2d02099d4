//! Joins GRUB's two BIOS pieces without grub-install: each holds the sector numbers of what comes next, at
//! fixed places (GRUB's include/grub/i386/pc/boot.h and grub-core/boot/i386/pc/{boot,diskboot}.S).

use crate::layout::{Part, SECTOR};

/// In boot.img: the sector of core.img's first sector, 8 bytes.
const KERNEL_SECTOR: usize = 0x5c;
/// In boot.img: a jump over the check of the drive number that firmware hands over. On a hard disk grub-setup puts
/// no-operations here, so that a BIOS which hands over nonsense is corrected.
const DRIVE_CHECK: usize = 0x66;
/// Code of the first sector; disk signature and old partition table follow.
const BOOT_CODE: usize = 440;
/// In core.img's first sector: sector (8 bytes), count (2), segment (2) of the rest.
const BLOCK_LIST: usize = 512 - 12;
/// Where the rest is loaded: 0x8200.
const SEGMENT: u16 = 0x820;

/// Pieces that do not fit together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum GrubError {
    /// Not a first sector of GRUB.
    #[error("boot.img is {0} bytes long and not a boot sector; is grub-pc-bin of the release broken?")]
    NotBoot(usize),
    /// Not loadable by the first sector.
    #[error(
        "core.img is {bytes} bytes, the BIOS boot partition has {room}; leave modules out of recipes/node.toml"
    )]
    CoreSize {
        /// Its size.
        bytes: usize,
        /// What there is.
        room: u64,
    },
}

/// The first 440 bytes of the disk, loading what lies in `place`.
pub fn boot(image: &[u8], place: Part) -> Result<Vec<u8>, GrubError> {
    let not_boot = || GrubError::NotBoot(image.len());
    if image.len() != 512 || image.get(510..) != Some(&[0x55, 0xaa]) {
        return Err(not_boot());
    }
    let mut code = image.get(..BOOT_CODE).ok_or_else(not_boot)?.to_vec();
    put(&mut code, KERNEL_SECTOR, &(place.offset() / SECTOR).to_le_bytes());
    put(&mut code, DRIVE_CHECK, &[0x90, 0x90]);
    Ok(code)
}

/// core.img, to be written at `place`: its first sector knows where the rest is.
pub fn core(mut image: Vec<u8>, place: Part) -> Result<Vec<u8>, GrubError> {
    let wrong = GrubError::CoreSize { bytes: image.len(), room: place.bytes() };
    let sectors = (image.len() as u64).div_ceil(SECTOR);
    let rest = u16::try_from(sectors.saturating_sub(1)).unwrap_or(u16::MAX);
    if sectors < 2 || sectors * SECTOR > place.bytes() || rest == u16::MAX {
        return Err(wrong);
    }
    put(&mut image, BLOCK_LIST, &(place.offset() / SECTOR + 1).to_le_bytes());
    put(&mut image, BLOCK_LIST + 8, &rest.to_le_bytes());
    put(&mut image, BLOCK_LIST + 10, &SEGMENT.to_le_bytes());
    Ok(image)
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + value.len()) {
        place.copy_from_slice(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::BIOS;

    #[test]
    fn the_pieces_know_where_the_next_one_is() {
        let mut image = vec![7; 512];
        image[510] = 0x55;
        image[511] = 0xaa;
        let code = boot(&image, BIOS).unwrap();
        assert_eq!(code.len(), 440);
        assert_eq!(code[KERNEL_SECTOR..KERNEL_SECTOR + 8], 2048_u64.to_le_bytes());
        assert_eq!(code[0x64..0x68], [7, 7, 0x90, 0x90]);
        let core = core(vec![0; 512 * 3 + 1], BIOS).unwrap();
        assert_eq!(core[500..512], [1, 8, 0, 0, 0, 0, 0, 0, 3, 0, 0x20, 8]);
    }

    #[test]
    fn pieces_of_a_wrong_size_are_refused() {
        for length in [0, 511, 512, 513] {
            assert_eq!(boot(&vec![0; length], BIOS), Err(GrubError::NotBoot(length)), "{length}");
        }
        for length in [0, 1, 512, (1 << 20) + 1] {
            assert!(core(vec![0; length], BIOS).is_err(), "{length}");
        }
        assert!(core(vec![0; 1 << 20], BIOS).is_ok());
    }
}

//! What a SATA drive says of itself: SMART RETURN STATUS and SMART READ DATA (ATA/ATAPI-8), carried by SCSI's ATA PASS-THROUGH (SAT-3,
//! 12.2). Both only ask. A controller that passes neither on leaves it unknown.

use std::fs::File;
use std::io;

use protocol::Health;

use crate::sys::{self, ScsiAnswer};

const PASS_THROUGH: u8 = 0x85;
const SMART: u8 = 0xb0;
const READ_DATA: u8 = 0xd0;
const RETURN_STATUS: u8 = 0xda;
/// By these in its registers a drive knows that SMART is meant, and says that it is well.
const KEY: (u8, u8) = (0x4f, 0xc2);
/// By these it says that it is about to fail.
const FAILING: (u8, u8) = (0xf4, 0x2c);
const ASKED_MS: u32 = 10_000;
const PAGE_BYTES: usize = 512;
/// Attributes: each has twelve bytes, from the third byte on.
const ATTRIBUTES: std::ops::Range<usize> = 2..362;
const HOURS: u8 = 9;
const CELSIUS: u8 = 194;
/// Sectors that could not be read, and wait for being written; and those that a look of the drive's own found.
const PENDING: u8 = 197;
const UNCORRECTABLE: u8 = 198;

/// Something that ATA commands can be given to.
trait Ata {
    fn ask(&self, command: &[u8; 16], data: &mut [u8]) -> io::Result<ScsiAnswer>;
}

impl Ata for &File {
    fn ask(&self, command: &[u8; 16], data: &mut [u8]) -> io::Result<ScsiAnswer> {
        sys::scsi_read(self, command, data, ASKED_MS)
    }
}

/// What the drive says.
pub(super) fn health(drive: &File) -> Health {
    asked(&drive)
}

fn asked(drive: &impl Ata) -> Health {
    let unknown = |why: String| Health { unknown: Some(why), ..Health::default() };
    // No data, and the registers back in what it says beside its status.
    let status = match drive.ask(&command(3 << 1, 0x20, RETURN_STATUS, 0), &mut []) {
        Ok(answer) => answer,
        Err(error) => return unknown(crate::text::clean(&format!("the drive can't be asked: {error}"), 200)),
    };
    let well = registers(&status.sense).and_then(|registers| match registers {
        KEY => Some(true),
        FAILING => Some(false),
        _ => None,
    });
    let mut page = vec![0; PAGE_BYTES];
    // One sector, read by the drive's processor.
    let read = drive.ask(&command(4 << 1, 0x0e, READ_DATA, 1), &mut page);
    let is_read = read.is_ok_and(|answer| answer.reached && answer.status == 0);
    let told = if is_read { attributes(&page) } else { None };
    if well.is_none() && told.is_none() {
        return unknown("the drive, or what it hangs on, does not say".to_owned());
    }
    Health { well, ..told.unwrap_or_default() }
}

fn command(protocol: u8, flags: u8, feature: u8, sectors: u8) -> [u8; 16] {
    [PASS_THROUGH, protocol, flags, 0, feature, 0, sectors, 0, 0, 0, KEY.0, 0, KEY.1, 0, SMART, 0]
}

/// The two registers that a drive answers with (LBA 15:8 and 23:16), from its sense data in descriptor format.
fn registers(sense: &[u8]) -> Option<(u8, u8)> {
    let byte = |at: usize| sense.get(at).copied();
    let is_descriptor = byte(0)? & 0x7f == 0x72 && byte(8)? == 0x09 && byte(9)? >= 12;
    is_descriptor.then_some(()).and_then(|()| Some((byte(17)?, byte(19)?)))
}

/// Reads the page of SMART READ DATA; `None` when its bytes do not add up, or say nothing that is known.
pub fn attributes(page: &[u8]) -> Option<Health> {
    let sum = page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    let table = page.get(ATTRIBUTES)?;
    if page.len() != PAGE_BYTES || sum != 0 || page.iter().all(|byte| *byte == 0) {
        return None;
    }
    // The low four bytes of six: what is above means something else with each maker.
    let raw = |wanted: u8| {
        let mut all = table.chunks_exact(12).filter(|attribute| attribute.first() == Some(&wanted));
        let bytes = all.next()?.get(5..9)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    let bad = [PENDING, UNCORRECTABLE].map(raw);
    let celsius = raw(CELSIUS).map(|raw| raw & 0xff).filter(|celsius| *celsius > 0);
    let health = Health {
        media_errors: bad.iter().flatten().map(|count| u64::from(*count)).reduce(u64::saturating_add),
        hours: raw(HOURS).map(u64::from),
        celsius: celsius.and_then(|celsius| i32::try_from(celsius).ok()),
        ..Health::default()
    };
    (health != Health::default()).then_some(health)
}

#[cfg(test)]
mod tests {
    use super::{Ata, FAILING, KEY, asked, attributes, registers};
    use crate::sys::ScsiAnswer;
    use std::io;

    /// With these attributes, adding up to nothing.
    fn page(attributes: &[(u8, u32)]) -> Vec<u8> {
        let mut page = vec![0; 512];
        page[0] = 16;
        for (slot, (id, raw)) in page[2..].chunks_mut(12).zip(attributes) {
            slot[0] = *id;
            slot[5..9].copy_from_slice(&raw.to_le_bytes());
        }
        let sum = page.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
        page[511] = sum.wrapping_neg();
        page
    }

    fn sense((mid, high): (u8, u8)) -> Vec<u8> {
        let mut sense = vec![0; 22];
        (sense[0], sense[7], sense[8], sense[9], sense[17], sense[19]) = (0x72, 14, 0x09, 12, mid, high);
        sense
    }

    struct Drive {
        registers: (u8, u8),
        page: Option<Vec<u8>>,
    }

    impl Ata for Drive {
        fn ask(&self, command: &[u8; 16], data: &mut [u8]) -> io::Result<ScsiAnswer> {
            assert_eq!((command[0], command[10], command[12], command[14]), (0x85, 0x4f, 0xc2, 0xb0));
            match (command[4], &self.page) {
                (0xda, _) => {
                    assert!(data.is_empty() && command[1] == 6 && command[2] == 0x20);
                    Ok(ScsiAnswer { status: 2, reached: true, sense: sense(self.registers) })
                }
                (0xd0, Some(page)) => {
                    assert!(data.len() == 512 && command[1] == 8 && command[2] == 0x0e && command[6] == 1);
                    data.copy_from_slice(page);
                    Ok(ScsiAnswer { status: 0, reached: true, sense: Vec::new() })
                }
                (0xd0, None) => Ok(ScsiAnswer { status: 2, reached: true, sense: Vec::new() }),
                other => panic!("a command that is no question: {other:?}"),
            }
        }
    }

    #[test]
    fn what_a_drive_says() {
        let all = page(&[(5, 1), (9, 4321), (194, 0x0017_0025), (197, 2), (198, 1)]);
        let health = asked(&Drive { registers: KEY, page: Some(all.clone()) });
        assert_eq!((health.well, health.hours, health.celsius), (Some(true), Some(4321), Some(37)));
        assert_eq!((health.media_errors, health.used_percent), (Some(3), None));
        assert_eq!(asked(&Drive { registers: FAILING, page: Some(all.clone()) }).well, Some(false));
        let bare = asked(&Drive { registers: KEY, page: None });
        assert_eq!((bare.well, bare.hours, bare.unknown), (Some(true), None, None));
        let half = asked(&Drive { registers: (0, 0), page: Some(all) });
        assert_eq!((half.well, half.hours, half.unknown), (None, Some(4321), None));
        let none = asked(&Drive { registers: (0, 0), page: None });
        assert!(none.well.is_none() && none.unknown.is_some());
    }

    /// A disk that is none behind SCSI is asked all the same, and the kernel says no.
    #[test]
    fn what_is_no_drive_is_unknown() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let health = super::health(&file);
        assert!(health.well.is_none() && health.unknown.unwrap().contains("can't be asked"));
    }

    #[test]
    fn any_bytes() {
        for bad in [
            vec![],
            page(&[]),
            page(&[(1, 5)]),
            vec![0; 512],
            vec![0xff; 512],
            vec![0; 513],
            page(&[(9, 1)])[..511].to_vec(),
        ] {
            assert_eq!(attributes(&bad), None, "{}", bad.len());
        }
        for bad in [vec![], vec![0x72; 8], vec![0x70; 64], vec![0xff; 19], sense(KEY)[..19].to_vec()] {
            assert_eq!(registers(&bad), None, "{bad:?}");
        }
        assert_eq!(
            registers(&[0x72, 0, 0, 0, 0, 0, 0, 14, 9, 12, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]),
            Some((1, 2))
        );
    }
}

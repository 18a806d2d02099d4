//! What a drive says of itself: of NVMe drives the log page SMART / Health Information (NVM Express Base 2.0, 5.16.1.3). SATA drives are
//! asked in [`super::ata`]; others are not, and that is said.

use std::fs::File;
use std::io;
use std::time::Duration;

use protocol::{Health, Part};

use super::course::Course;
use crate::deploy::erase::nvme::{Admin, Command};
use crate::sys;

const GET_LOG_PAGE: u8 = 0x02;
const SMART: u32 = 0x02;
const PAGE_BYTES: usize = 512;
/// The same in words of four bytes, less one, as it is asked for.
const PAGE_WORDS: u32 = 127;
/// Every namespace: the log is the controller's.
const ALL: u32 = 0xffff_ffff;
const ASKED_MS: u32 = 10_000;
/// A drive that has used up so much of its life is worth a look, in percent.
const USED: u32 = 90;

/// An open NVMe drive; nothing is sent to it that changes it.
struct Asked<'a>(&'a File);

impl Admin for Asked<'_> {
    fn send(&self, command: Command, data: &mut [u8]) -> io::Result<u16> {
        let Command { opcode, namespace, dwords: [ten, eleven], timeout_ms } = command;
        sys::nvme_admin(self.0, (opcode, namespace), [ten, eleven], data, timeout_ms)
    }

    fn namespace(&self) -> io::Result<u32> {
        sys::nvme_namespace(self.0)
    }

    fn pause(&self, _: Duration) -> bool {
        false
    }
}

/// What an NVMe drive says.
pub(super) fn nvme(drive: &File) -> Health {
    asked(&Asked(drive))
}

fn asked(drive: &impl Admin) -> Health {
    let mut page = vec![0; PAGE_BYTES];
    let dwords = [SMART | PAGE_WORDS << 16, 0];
    let command = Command { opcode: GET_LOG_PAGE, namespace: ALL, dwords, timeout_ms: ASKED_MS };
    let unknown = |why: String| Health { unknown: Some(why), ..Health::default() };
    match drive.send(command, &mut page) {
        Ok(0) => smart(&page).unwrap_or_else(|| unknown("the drive's answer means nothing".to_owned())),
        Ok(status) => unknown(format!("the drive refuses to say, status {status:#x}")),
        Err(error) => unknown(crate::text::clean(&format!("the drive can't be asked: {error}"), 200)),
    }
}

/// Reads a log page; `None` when it is none: all zero or too short.
pub fn smart(page: &[u8]) -> Option<Health> {
    let byte = |at: usize| page.get(at).copied();
    let (warning, used) = (byte(0)?, byte(5)?);
    let kelvin = u16::from_le_bytes([byte(1)?, byte(2)?]);
    // 16 bytes each; more than eight of them no drive lives to see.
    let number = |at: usize| {
        let low = page.get(at..at + 8)?.try_into().ok()?;
        let is_more = page.get(at + 8..at + 16)?.iter().any(|byte| *byte != 0);
        Some(if is_more { u64::MAX } else { u64::from_le_bytes(low) })
    };
    let (hours, media_errors) = (number(128)?, number(160)?);
    if page.iter().all(|byte| *byte == 0) {
        return None;
    }
    Some(Health {
        well: Some(warning == 0),
        used_percent: Some(used.into()),
        media_errors: Some(media_errors),
        hours: Some(hours),
        celsius: (kelvin > 0).then(|| i32::from(kelvin) - 273),
        unknown: None,
    })
}

/// What of it is a fault, and what is only worth a look: errors of years ago say less than one of now.
pub(super) fn judge(course: &Course, name: &str, before: &Health, after: &Health) {
    if after.well == Some(false) {
        let what = format!("{name}: the drive itself says that it is not well (SMART)");
        course.fault(Part::Disk, &what, 1);
    }
    let (was, is) = (before.media_errors.unwrap_or(0), after.media_errors.unwrap_or(0));
    if before.media_errors.is_some() && is > was {
        course.fault(Part::Disk, &format!("{name}: errors of its medium, by its own count"), is - was);
    } else if is > 0 {
        course.remark(Part::Disk, &format!("{name}: errors of its medium in its life, none of them now"), is);
    }
    if let Some(used) = after.used_percent.filter(|used| *used >= USED) {
        course.remark(Part::Disk, &format!("{name}: {used} % of its life are used up"), 1);
    }
}

#[cfg(test)]
mod tests {
    use super::{Admin, Command, asked, judge, smart};
    use crate::deploy::burn_in::course::Course;
    use protocol::{Health, JobId, Part, TestJob};
    use std::io;
    use std::time::Duration;

    fn page(warning: u8, used: u8, media_errors: u64) -> Vec<u8> {
        let mut page = vec![0; 512];
        (page[0], page[5]) = (warning, used);
        page[1..3].copy_from_slice(&310_u16.to_le_bytes());
        page[128..136].copy_from_slice(&1234_u64.to_le_bytes());
        page[160..168].copy_from_slice(&media_errors.to_le_bytes());
        page
    }

    /// A drive with this page, or this status.
    struct Drive(io::Result<u16>, Vec<u8>);

    impl Admin for Drive {
        fn send(&self, command: Command, data: &mut [u8]) -> io::Result<u16> {
            assert_eq!(
                (command.opcode, command.dwords, command.namespace),
                (2, [0x007f_0002, 0], 0xffff_ffff)
            );
            data.copy_from_slice(&self.1);
            self.0.as_ref().copied().map_err(|error| io::Error::from(error.kind()))
        }
        fn namespace(&self) -> io::Result<u32> {
            Ok(1)
        }
        fn pause(&self, _: Duration) -> bool {
            false
        }
    }

    fn told(before: &Health, after: &Health) -> (Vec<String>, usize) {
        let job = TestJob { job: JobId([1; 8]), parts: [Part::Disk].into(), seconds: 1, seed: 7 };
        let course = Course::begin(&job);
        judge(&course, "serial:A", before, after);
        let report = course.so_far();
        (report.faults.into_iter().map(|fault| fault.what).collect(), report.remarks.len())
    }

    #[test]
    fn what_a_drive_says_is_read_and_judged() {
        let health = asked(&Drive(Ok(0), page(0, 3, 0)));
        assert_eq!((health.well, health.used_percent, health.celsius), (Some(true), Some(3), Some(37)));
        assert_eq!((health.hours, health.media_errors), (Some(1234), Some(0)));
        assert_eq!(told(&health, &health), (Vec::new(), 0));
        let worn = smart(&page(0, 101, 5)).unwrap();
        assert_eq!(told(&worn, &worn), (Vec::new(), 2), "years ago, and worn out");
        let (faults, _) = told(&smart(&page(0, 3, 5)).unwrap(), &smart(&page(0, 3, 6)).unwrap());
        assert!(faults.len() == 1 && faults[0].contains("by its own count"), "{faults:?}");
        let (faults, _) = told(&health, &smart(&page(4, 3, 0)).unwrap());
        assert!(faults.len() == 1 && faults[0].contains("not well (SMART)"), "{faults:?}");
    }

    #[test]
    fn what_nobody_knows_is_neither_good_nor_bad() {
        for drive in [
            Drive(Ok(0x4002), page(0, 0, 0)),
            Drive(Err(io::ErrorKind::TimedOut.into()), page(0, 0, 0)),
            Drive(Ok(0), vec![0; 512]),
        ] {
            let health = asked(&drive);
            assert!(health.well.is_none() && health.unknown.is_some(), "{health:?}");
            assert_eq!(told(&health, &health), (Vec::new(), 0));
        }
    }

    #[test]
    fn a_page_of_any_bytes() {
        for length in [0, 1, 5, 135, 175, 176] {
            let read = smart(&vec![0xff; length]);
            assert_eq!(read.is_some(), length == 176, "{length}");
        }
        let most = smart(&[0xff; 512]).unwrap();
        assert_eq!((most.media_errors, most.celsius, most.well), (Some(u64::MAX), Some(65_262), Some(false)));
    }
}

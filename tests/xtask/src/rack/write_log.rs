//! Every write that a server's disk was sent, in order, with its flushes: what a power cut at any moment can leave.
//!
//! QEMU writes the log (driver `blklogwrites`) in the format of the kernel's dm-log-writes
//! (Documentation/admin-guide/device-mapper/log-writes.rst). A drive promises to keep what was written before the last flush;
//! of what came after it, it may have kept any part.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use rustix::fs::FallocateFlags;

const MAGIC: u64 = 0x006a_7366_7773_6872;
/// What we tell QEMU to count in, in bytes; also the room of an entry's head.
pub const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// One thing that the disk was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Bytes were written.
    Write {
        /// First byte on the disk.
        at: u64,
        /// How many.
        bytes: u64,
        /// Where they begin in the log.
        data: u64,
    },
    /// Bytes were given up: they may hold anything.
    Discard {
        /// First byte on the disk.
        at: u64,
        /// How many.
        bytes: u64,
    },
    /// What was done before is to last.
    Flush,
}

/// A log.
#[derive(Debug)]
pub struct WriteLog {
    file: File,
    entries: Vec<Entry>,
}

impl WriteLog {
    /// Reads the log of a server that was switched off.
    ///
    /// # Errors
    /// It can't be read, or is no such log. What a killed QEMU has written half is left out.
    pub fn open(path: &Path) -> io::Result<WriteLog> {
        let file = File::open(path)?;
        let end = file.metadata()?.len();
        let mut head = [0; 32];
        file.read_exact_at(&mut head, 0)?;
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "not a log of writes");
        if number(&head, 0) != Some(MAGIC) || number(&head, 1) != Some(1) {
            return Err(bad());
        }
        let (mut entries, mut next) = (Vec::new(), SECTOR);
        while next + SECTOR <= end {
            file.read_exact_at(&mut head, next)?;
            let field = |at| number(&head, at).ok_or_else(bad);
            let (at, bytes, flags) = (field(0)? * SECTOR, field(1)? * SECTOR, field(2)?);
            let data = next + SECTOR;
            next = if flags & DISCARD == 0 { data + bytes } else { data };
            if next > end {
                break;
            }
            match (flags & DISCARD, bytes) {
                (_, 0) => {}
                (0, _) => entries.push(Entry::Write { at, bytes, data }),
                _ => entries.push(Entry::Discard { at, bytes }),
            }
            if flags & (FLUSH | FUA) != 0 {
                entries.push(Entry::Flush);
            }
        }
        Ok(WriteLog { file, entries })
    }

    /// What the disk was told, in order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Does to `disk` what an entry did; of a write only the sectors that `kept` says,
    /// counted from its first.
    ///
    /// # Errors
    /// Reading the log or writing the disk.
    pub fn apply(&self, entry: &Entry, disk: &File, mut kept: impl FnMut(u64) -> bool) -> io::Result<()> {
        let (at, bytes, data) = match *entry {
            Entry::Write { at, bytes, data } => (at, bytes, data),
            Entry::Discard { at, bytes } => {
                let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                return Ok(rustix::fs::fallocate(disk, hole, at, bytes)?);
            }
            Entry::Flush => return Ok(()),
        };
        let mut sectors = vec![0; usize::try_from(SECTOR).unwrap_or_default()];
        let all = (0..bytes / SECTOR).map(|sector| (sector, kept(sector))).collect::<Vec<_>>();
        if all.iter().all(|(_, kept)| *kept) {
            sectors.resize(usize::try_from(bytes).map_err(io::Error::other)?, 0);
        }
        let step = sectors.len() as u64;
        for (sector, _) in all.iter().filter(|(sector, kept)| *kept && (sector * SECTOR).is_multiple_of(step))
        {
            let from = sector * SECTOR;
            self.file.read_exact_at(&mut sectors, data + from)?;
            disk.write_all_at(&sectors, at + from)?;
        }
        Ok(())
    }
}

fn number(head: &[u8], at: usize) -> Option<u64> {
    let bytes = head.get(at * 8..at * 8 + 8)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sector: u64, sectors: u64, flags: u64, data: &[u8]) -> Vec<u8> {
        let mut bytes = [sector, sectors, flags, 0].map(u64::to_le_bytes).concat();
        bytes.resize(512, 0);
        bytes.extend(data);
        bytes
    }

    #[test]
    fn a_log_is_read_and_applied_in_whole_and_in_part() {
        let dir = tempfile::tempdir().unwrap();
        let (log, disk) = (dir.path().join("log"), dir.path().join("disk"));
        let mut bytes = [MAGIC, 1, 4, 512].map(u64::to_le_bytes).concat();
        bytes.resize(512, 0);
        bytes.extend(entry(2, 2, 0, &[7; 1024]));
        bytes.extend(entry(0, 0, FLUSH, &[]));
        bytes.extend(entry(3, 1, DISCARD, &[]));
        bytes.extend(entry(9, 4, 0, &[1; 100]));
        std::fs::write(&log, bytes).unwrap();
        let log = WriteLog::open(&log).unwrap();
        let (write, discard) =
            (Entry::Write { at: 1024, bytes: 1024, data: 1024 }, Entry::Discard { at: 1536, bytes: 512 });
        assert_eq!(log.entries(), [write, Entry::Flush, discard], "the last was cut off");
        std::fs::write(&disk, [9; 4096]).unwrap();
        let file = File::options().write(true).open(&disk).unwrap();
        log.apply(&log.entries()[0], &file, |sector| sector == 1).unwrap();
        let held = || std::fs::read(&disk).unwrap();
        assert_eq!(held()[1024..2560], [[9; 512], [7; 512], [9; 512]].concat());
        log.apply(&log.entries()[0], &file, |_| true).unwrap();
        log.apply(&log.entries()[2], &file, |_| true).unwrap();
        assert_eq!(held()[1024..2048], [[7; 512], [0; 512]].concat());
    }
}

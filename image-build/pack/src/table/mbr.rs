//! The partition table of the master boot record, and the chain of logical partitions.
//!
//! Every boot record of the chain names one logical partition, relative to itself, and the next record, relative to the
//! extended partition. Linux, Windows and DOS write them in ascending order; other orders are refused, so that no chain
//! can turn back.

use super::{Kind, NoTable, Partition, Table, check};
use crate::field::{array, le16, le32};
use crate::{Extents, Source};

/// The kernel and blkid read as many; fdisk writes 56.
const LOGICAL_MAX: u32 = 100;
const PROTECTIVE: u8 = 0xee;

/// One used entry of a boot record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which of the four, from 1.
    pub(super) number: u32,
    pub(super) kind: u8,
    /// First sector, relative to what the record counts from.
    pub(super) first: u32,
    pub(super) sectors: u32,
    pub(super) bootable: bool,
}

impl Entry {
    /// Whether firmware and kernel take it for the sign of a GPT.
    pub(super) fn is_protective(&self) -> bool {
        self.kind == PROTECTIVE && self.first == 1
    }

    fn is_extended(&self) -> bool {
        matches!(self.kind, 0x05 | 0x0f | 0x85)
    }
}

/// The used entries of a boot record of at least 512 bytes; `None` when it is no table of partitions.
pub(super) fn entries(record: &[u8]) -> Option<Vec<Entry>> {
    if array(record, 510)? != [0x55, 0xaa] {
        return None;
    }
    let mut entries = Vec::new();
    for (number, at) in (1_u32..=4).zip((446..).step_by(16)) {
        let raw = array::<16>(record, at)?;
        let [flag, _, _, _, kind, ..] = raw;
        // Boot code ends with the same signature: a flag is 0 or 0x80.
        if flag & 0x7f != 0 {
            return None;
        }
        let (first, sectors) = (le32(&raw, 8)?, le32(&raw, 12)?);
        if kind != 0 && sectors != 0 {
            entries.push(Entry { number, kind, first, sectors, bootable: flag != 0 });
        }
    }
    Some(entries)
}

/// Reads the table whose first sector and entries are these.
pub(super) fn read(
    disk: &dyn Source,
    sector_bytes: u32,
    first: &[u8],
    entries: &[Entry],
) -> Result<Table, NoTable> {
    let mut table = primary(disk.bytes(), sector_bytes, first, entries)?;
    // Two extended partitions are unusual, but the kernel reads both.
    for entry in entries.iter().filter(|entry| entry.is_extended()) {
        logical(disk, *entry, &mut table)?;
    }
    if super::gpt::has_header(disk, sector_bytes)? {
        table.damage.push("the remains of a GPT lie behind the master boot record".to_owned());
    }
    let volumes = table.partitions.iter().filter(|partition| !partition.is_extended()).collect::<Vec<_>>();
    check(disk.bytes(), &table.metadata, &volumes)?;
    Ok(table)
}

/// The partitions of the first sector alone.
pub(super) fn primary(
    disk_bytes: u64,
    sector_bytes: u32,
    first: &[u8],
    entries: &[Entry],
) -> Result<Table, NoTable> {
    // mkfs.fat writes a partition from sector 0 on into the boot sector of a whole disk, as if it were a table.
    if entries.iter().any(|entry| entry.first == 0) {
        return Err(NoTable::Absent);
    }
    if entries.iter().any(|entry| entry.kind == PROTECTIVE) {
        return Err(NoTable::Senseless(
            "the MBR protects a GPT from some other sector than the second on".to_owned(),
        ));
    }
    if let Some(what) = boot_sector(first) {
        return Err(NoTable::Senseless(format!("the first sector is also the boot sector of {what}")));
    }
    let signature = le32(first, 440).filter(|signature| *signature != 0);
    let id = signature.map_or_else(String::new, |signature| format!("{signature:08x}"));
    let metadata = Extents::all(u64::from(sector_bytes));
    let partitions =
        entries.iter().map(|entry| partition(entry, entry.number, 0, &id, sector_bytes)).collect();
    let table = Table { kind: Kind::Mbr, id, sector_bytes, partitions, metadata, damage: Vec::new() };
    check(disk_bytes, &table.metadata, &table.partitions.iter().collect::<Vec<_>>())?;
    Ok(table)
}

/// Whose boot sector it is, besides what stands where a table has its entries.
fn boot_sector(first: &[u8]) -> Option<&'static str> {
    for (name, what) in [(b"NTFS    ", "NTFS"), (b"EXFAT   ", "exFAT")] {
        if array(first, 3)? == *name {
            return Some(what);
        }
    }
    // The fields that must be right in any FAT: GRUB keeps their place free in an MBR, and what stood there before.
    let sector = le16(first, 11)?;
    let [per_cluster, fats, media] = [first.get(13)?, first.get(16)?, first.get(21)?];
    let is_fat = matches!(sector, 512 | 1024 | 2048 | 4096)
        && per_cluster.is_power_of_two()
        && le16(first, 14)? > 0
        && (1..=2).contains(fats)
        && (*media == 0xf0 || *media >= 0xf8)
        && matches!(first.first(), Some(0xeb | 0xe9));
    is_fat.then_some("FAT")
}

/// Follows the chain in an extended partition.
fn logical(disk: &dyn Source, extended: Entry, table: &mut Table) -> Result<(), NoTable> {
    let senseless = |why: &str| NoTable::Senseless(format!("logical partitions: {why}"));
    let sector = u64::from(table.sector_bytes);
    let base = u64::from(extended.first);
    let end = base + u64::from(extended.sectors);
    let mut at = base;
    let mut number = table.partitions.last().map_or(5, |partition| partition.number.max(4) + 1);
    for count in 0.. {
        let record = crate::source::read(disk, at * sector, 512);
        let record = record.map_err(|error| beyond(error, "a boot record lies beyond the disk"))?;
        let found = match entries(&record) {
            Some(found) => found,
            // An extended partition that never had anything in it need not have a record.
            None if at == base && crate::is_zero(&record) => return Ok(()),
            None => return Err(senseless("the chain leads to what is no boot record")),
        };
        if count == LOGICAL_MAX {
            return Err(senseless("the chain is too long"));
        }
        table.metadata.add(at * sector..(at + 1) * sector);
        let mut volumes = found.iter().filter(|entry| !entry.is_extended());
        let mut nexts = found.iter().filter(|entry| entry.is_extended());
        let (volume, next) = (volumes.next(), nexts.next());
        if volumes.next().is_some() || nexts.next().is_some() {
            return Err(senseless("a boot record names more than one partition and one next record"));
        }
        if let Some(volume) = volume {
            let last = at + u64::from(volume.first) + u64::from(volume.sectors);
            if volume.first == 0 || last > end {
                return Err(senseless(&format!("partition {number} lies outside of its extended partition")));
            }
            table.partitions.push(partition(volume, number, at, &table.id, table.sector_bytes));
            number += 1;
        }
        let Some(next) = next else { return Ok(()) };
        let to = base + u64::from(next.first);
        if to <= at || to >= end {
            return Err(senseless("the chain leads backwards or out of the extended partition"));
        }
        at = to;
    }
    Ok(())
}

fn beyond(error: std::io::Error, why: &str) -> NoTable {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        NoTable::Senseless(why.to_owned())
    } else {
        NoTable::Io(error)
    }
}

fn partition(entry: &Entry, number: u32, base: u64, id: &str, sector_bytes: u32) -> Partition {
    let sector = u64::from(sector_bytes);
    Partition {
        number,
        kind: format!("0x{:x}", entry.kind),
        uuid: if id.is_empty() { String::new() } else { format!("{id}-{number:02x}") },
        name: String::new(),
        offset: (base + u64::from(entry.first)) * sector,
        bytes: u64::from(entry.sectors) * sector,
        bootable: entry.bootable,
    }
}

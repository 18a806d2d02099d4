//! Partition tables: GPT (UEFI specification 2.10, chapter 5) and MBR with logical partitions.
//!
//! The question is the one that the kernel and the firmware answer at boot: what does this disk consist of? Where they could
//! answer differently (a GPT without its protective MBR, entries that overlap, a boot sector that is also a table), there
//! is no answer, and the caller takes the disk as one piece.

use std::io;

use crate::{Extents, Source};

mod gpt;
mod mbr;
mod refit;

pub use refit::{Refit, Unfit, refit};

/// The most partitions that are looked at: as many as the kernel gives a disk (`DISK_MAX_PARTS`).
pub const PARTITIONS_MAX: usize = 256;

/// Which kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// GUID partition table.
    Gpt,
    /// Master boot record, with a chain of logical partitions or without.
    Mbr,
}

/// A partition table that makes sense: partitions lie on the disk, and neither overlap each other nor the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// GPT or MBR.
    pub kind: Kind,
    /// The disk's GUID, or the MBR's signature as eight hexadecimal digits; as blkid spells `PTUUID`. Empty for the
    /// signature 0, which is none.
    pub id: String,
    /// Bytes of the sectors in which the table counts.
    pub sector_bytes: u32,
    /// The partitions by number. Of an MBR also the extended partition, which holds the logical ones.
    pub partitions: Vec<Partition>,
    /// Every byte of the table itself: master or protective boot record, headers, entries, boot records of the chain.
    pub metadata: Extents,
    /// What is not as it should be, for people; the partitions are right nevertheless.
    pub damage: Vec<String>,
}

/// One partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// From 1; logical partitions from 5.
    pub number: u32,
    /// GUID, or the type byte as `0x83`; as blkid spells `PART_ENTRY_TYPE`.
    pub kind: String,
    /// `PARTUUID` as blkid spells it; empty in an MBR without signature.
    pub uuid: String,
    /// The name in a GPT, at most 36 characters, none of them a control character; else empty.
    pub name: String,
    /// First byte, counted from the start of the disk.
    pub offset: u64,
    /// Length in bytes, never 0.
    pub bytes: u64,
    /// The active partition of an MBR, or the attribute for old BIOSes of a GPT.
    pub bootable: bool,
}

impl Partition {
    /// The byte after the last.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }

    /// Whether it is the partition of an MBR that holds the logical ones, and no volume.
    #[must_use]
    pub fn is_extended(&self) -> bool {
        ["0x5", "0xf", "0x85"].contains(&self.kind.as_str())
    }
}

/// Why there is no table.
#[derive(Debug, thiserror::Error)]
pub enum NoTable {
    /// The disk has none.
    #[error("there is no partition table")]
    Absent,
    /// It was written for sectors of another size, and means other places on this disk.
    #[error(
        "this partition table was made for {made_for}-byte sectors, and the disk has {asked}-byte sectors"
    )]
    SectorBytes {
        /// The sectors in which it counts.
        made_for: u32,
        /// The sectors that the disk has.
        asked: u32,
    },
    /// There is one, and it makes no sense; why.
    #[error("the partition table makes no sense: {0}")]
    Senseless(String),
    /// The device failed.
    #[error("reading the partition table")]
    Io(#[from] io::Error),
}

/// Reads the partition table of a disk with sectors of so many bytes.
///
/// # Errors
/// [`NoTable`]; all but [`NoTable::Absent`] mean that the disk's layout is not known.
pub fn read(disk: &dyn Source, sector_bytes: u32) -> Result<Table, NoTable> {
    if !(512..=65536).contains(&sector_bytes) || !sector_bytes.is_power_of_two() {
        return Err(NoTable::Senseless(format!("a disk has no sectors of {sector_bytes} bytes")));
    }
    if disk.bytes() < u64::from(sector_bytes) {
        return Err(NoTable::Absent);
    }
    let first = crate::source::read(disk, 0, 512)?;
    match mbr::entries(&first) {
        Some(entries) if entries.iter().any(mbr::Entry::is_protective) => {
            gpt::read(disk, sector_bytes, &entries)
        }
        Some(entries) if !entries.is_empty() => mbr::read(disk, sector_bytes, &first, &entries),
        Some(_) | None => gpt::unprotected(disk, sector_bytes),
    }
}

/// Refuses what lies beside the disk, overlaps, or is too many. `metadata` is the table's own; extended partitions are
/// left out by the caller.
fn check(disk_bytes: u64, metadata: &Extents, partitions: &[&Partition]) -> Result<(), NoTable> {
    let senseless = |why: String| Err(NoTable::Senseless(why));
    if partitions.len() > PARTITIONS_MAX {
        return senseless(format!("it has more than {PARTITIONS_MAX} partitions"));
    }
    let mut sorted = partitions.to_vec();
    sorted.sort_by_key(|partition| (partition.offset, partition.number));
    for partition in &sorted {
        let number = partition.number;
        if partition.end() > disk_bytes {
            return senseless(format!(
                "partition {number} ends {} bytes beyond the disk",
                partition.end() - disk_bytes
            ));
        }
        if metadata.within(partition.offset..partition.end()).next().is_some() {
            return senseless(format!("partition {number} lies over the table itself"));
        }
    }
    let mut pairs = sorted.iter().zip(sorted.iter().skip(1));
    match pairs.find(|(one, next)| next.offset < one.end()) {
        Some((one, next)) => senseless(format!("partitions {} and {} overlap", one.number, next.number)),
        None => Ok(()),
    }
}

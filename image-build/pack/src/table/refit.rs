//! A disk image's partition table on a disk of another size.

use super::gpt::{self, Header};
use super::{Kind, NoTable, Table, mbr};
use crate::Source;
use crate::checksum::crc32;
use crate::field::{le32, put};

/// What an image's table becomes on another disk. Pure: nothing is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refit {
    /// The image's first bytes, as long as they were given.
    pub first: Vec<u8>,
    /// What belongs at the disk's end: the backup's entries and header. Empty when the table has no backup.
    pub last: Vec<u8>,
    /// Where `last` begins, in bytes; it ends with the disk's last whole sector. The disk's length when `last` is empty.
    pub at: u64,
    /// Where the last partition ends, in bytes. What an image has beyond it is the old backup, and nothing else.
    pub content_end: u64,
}

/// Why an image does not go onto a disk.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unfit {
    /// A partition would not fit.
    #[error("the disk is {by} bytes too small: partition {partition} would not lie on it")]
    Partition {
        /// The last partition.
        partition: u32,
        /// How many bytes larger the disk must be, at least.
        by: u64,
    },
    /// An image without a partition table, on a smaller disk.
    #[error("the disk is {by} bytes too small for an image without partitions")]
    Bare {
        /// How many bytes larger the disk must be.
        by: u64,
    },
    /// Partitions and the image's last MiB need more than the disk has.
    #[error("the image needs a disk of at least {need} bytes, this one has {have}")]
    Small {
        /// The smallest disk, in bytes.
        need: u64,
        /// The disk, in bytes.
        have: u64,
    },
    /// The image is more than its partitions.
    #[error("the image has something at byte {at}, beyond its partitions, and the disk has no place for it")]
    Stray {
        /// Where in the image.
        at: u64,
    },
    /// The image's table is not good enough to be moved; why.
    #[error("the image's partition table can't be fitted to another disk: {0}")]
    Table(String),
}

/// Fits an image's table to a disk of `disk_bytes_new`. `first` is the image's beginning, usually a MiB; it must hold the
/// primary GPT. Both disks have sectors of `sector_bytes`.
///
/// A GPT gets its backup at the new end, and the last usable sector before that. An MBR stays as it is.
///
/// # Errors
/// [`Unfit`]: a smaller disk that would cut a partition, or the backup; a table that makes no sense.
pub fn refit(
    first: &[u8],
    disk_bytes_old: u64,
    disk_bytes_new: u64,
    sector_bytes: u32,
) -> Result<Refit, Unfit> {
    let image = Beginning { first, bytes: disk_bytes_old };
    let entries = mbr::entries(first).unwrap_or_default();
    let is_mbr = !entries.is_empty() && !entries.iter().any(mbr::Entry::is_protective);
    // The chain of logical partitions lies elsewhere in the image; the extended partition holds all of it.
    let table = if is_mbr {
        mbr::primary(disk_bytes_old, sector_bytes, first, &entries)
    } else {
        super::read(&image, sector_bytes)
    };
    match table {
        Ok(table) if table.kind == Kind::Gpt => gpt(first, &table, &image, disk_bytes_new),
        Ok(table) => {
            let content_end = room(&table, disk_bytes_new)?;
            Ok(Refit { first: first.to_vec(), last: Vec::new(), at: disk_bytes_new, content_end })
        }
        Err(NoTable::Absent) => bare(first, disk_bytes_old, disk_bytes_new),
        Err(NoTable::Io(error)) => Err(Unfit::Table(error.to_string())),
        Err(why @ (NoTable::SectorBytes { .. } | NoTable::Senseless(_))) => {
            Err(Unfit::Table(why.to_string()))
        }
    }
}

/// Where the last partition ends; an error when that is beyond `end`.
fn room(table: &Table, end: u64) -> Result<u64, Unfit> {
    let Some(last) = table.partitions.iter().max_by_key(|partition| partition.end()) else { return Ok(0) };
    match last.end().checked_sub(end) {
        None | Some(0) => Ok(last.end()),
        Some(by) => Err(Unfit::Partition { partition: last.number, by }),
    }
}

fn bare(first: &[u8], old: u64, new: u64) -> Result<Refit, Unfit> {
    match old.checked_sub(new) {
        None | Some(0) => Ok(Refit { first: first.to_vec(), last: Vec::new(), at: new, content_end: old }),
        Some(by) => Err(Unfit::Bare { by }),
    }
}

fn gpt(first: &[u8], table: &Table, image: &dyn Source, disk_bytes: u64) -> Result<Refit, Unfit> {
    let unfit = |why: &str| Unfit::Table(why.to_owned());
    let sector_bytes = table.sector_bytes;
    let sector = u64::from(sector_bytes);
    let half = gpt::half(image, sector_bytes, 1).map_err(|error| Unfit::Table(error.to_string()))?;
    let half = half.map_err(|why| unfit(&format!("the primary GPT is no good: {why}")))?;
    let entries_sectors = half.header.entries_sectors(sector_bytes);
    let sectors = disk_bytes / sector;
    let backup = sectors.saturating_sub(1).saturating_sub(entries_sectors);
    let content_end = room(table, backup.saturating_mul(sector))?;
    if backup <= half.header.first_usable {
        return Err(unfit("the disk has no room for two tables"));
    }
    let header = Header { other: sectors - 1, last_usable: backup - 1, ..half.header };
    let mut fitted = first.to_vec();
    let begin = usize::try_from(sector).map_err(|_| unfit("impossible sectors"))?;
    let primary =
        fitted.get_mut(begin..begin * 2).ok_or_else(|| unfit("the image's beginning is too short"))?;
    sign(primary, &header).ok_or_else(|| unfit("the header is too short"))?;
    let mut second = primary.to_vec();
    sign(&mut second, &Header { this: header.other, other: header.this, entries: backup, ..header })
        .ok_or_else(|| unfit("the header is too short"))?;
    protect(&mut fitted, sectors);
    let mut last = half.entries;
    let padded = entries_sectors.saturating_mul(sector);
    last.resize(usize::try_from(padded).map_err(|_| unfit("impossible entries"))?, 0);
    last.extend_from_slice(&second);
    Ok(Refit { first: fitted, last, at: backup * sector, content_end })
}

/// Writes the places into a header's sector, and its checksum.
fn sign(sector: &mut [u8], header: &Header) -> Option<()> {
    let fields = [(24, header.this), (32, header.other), (48, header.last_usable), (72, header.entries)];
    let mut is_there = fields.iter().all(|(at, value)| put(sector, *at, &value.to_le_bytes()));
    is_there &= put(sector, 16, &[0; 4]);
    let crc = crc32(sector.get(..usize::try_from(header.length).ok()?)?);
    (is_there && put(sector, 16, &crc.to_le_bytes())).then_some(())
}

/// A protective MBR says how large the disk is. One that has other entries besides stays as it is.
fn protect(first: &mut [u8], sectors: u64) {
    let entries = mbr::entries(first).unwrap_or_default();
    let [only] = entries.as_slice() else { return };
    if only.is_protective() && only.first == 1 {
        let at = 446 + 16 * (usize::try_from(only.number).unwrap_or(1) - 1) + 12;
        let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
        if le32(first, at) != Some(size) {
            put(first, at, &size.to_le_bytes());
        }
    }
}

/// The beginning of an image of which nothing else is at hand; the rest reads as zeros.
struct Beginning<'a> {
    first: &'a [u8],
    bytes: u64,
}

impl Source for Beginning<'_> {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        crate::source::within(self.bytes, offset, out.len())?;
        out.fill(0);
        let known =
            usize::try_from(offset).ok().and_then(|begin| self.first.get(begin..)).unwrap_or_default();
        out.iter_mut().zip(known).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

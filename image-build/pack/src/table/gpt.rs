//! The GUID partition table.

use std::io;

use super::{Kind, NoTable, Partition, Table, check, mbr};
use crate::checksum::crc32;
use crate::field::{array, le32, le64};
use crate::names::guid;
use crate::{Extents, Source};

const SIGNATURE: &[u8; 8] = b"EFI PART";
/// Bytes of the header's fields.
pub(super) const HEADER: u32 = 92;
/// The specification asks for 128 × 2ⁿ; nobody has seen more than 128.
const ENTRY_MAX: u32 = 4096;
/// The usual table of 128 entries is 16 KiB; nobody has more than 32 of those.
const ENTRIES_BYTES_MAX: u32 = 512 << 10;

/// A header that says of itself that it is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes that its checksum covers.
    pub(super) length: u32,
    pub(super) this: u64,
    pub(super) other: u64,
    pub(super) first_usable: u64,
    pub(super) last_usable: u64,
    pub(super) disk: [u8; 16],
    pub(super) entries: u64,
    pub(super) count: u32,
    pub(super) entry_bytes: u32,
    pub(super) entries_crc: u32,
}

impl Header {
    /// Parses one sector; `at` is its number. The error says what is wrong.
    pub(super) fn parse(sector: &[u8], at: u64) -> Result<Header, &'static str> {
        let short = "the sector is too short";
        if array(sector, 0) != Some(*SIGNATURE) {
            return Err("it is not there");
        }
        let length = le32(sector, 12).ok_or(short)?;
        let summed =
            usize::try_from(length).ok().filter(|_| length >= HEADER).and_then(|end| sector.get(..end));
        let mut summed = summed.ok_or("its length is impossible")?.to_vec();
        summed.get_mut(16..20).ok_or(short)?.fill(0);
        if Some(crc32(&summed)) != le32(sector, 16) {
            return Err("its checksum is wrong");
        }
        let number = |place| le64(sector, place).ok_or(short);
        let half = |place| le32(sector, place).ok_or(short);
        let header = Header {
            length,
            this: number(24)?,
            other: number(32)?,
            first_usable: number(40)?,
            last_usable: number(48)?,
            disk: array(sector, 56).ok_or(short)?,
            entries: number(72)?,
            count: half(80)?,
            entry_bytes: half(84)?,
            entries_crc: half(88)?,
        };
        if header.this != at {
            return Err("it was written for another place");
        }
        let (count, bytes) = (header.count, header.entry_bytes);
        if !(128..=ENTRY_MAX).contains(&bytes) || !bytes.is_power_of_two() {
            return Err("its entries have an impossible size");
        }
        if count == 0 || count.checked_mul(bytes).is_none_or(|bytes| bytes > ENTRIES_BYTES_MAX) {
            return Err("it has an impossible number of entries");
        }
        Ok(header)
    }

    /// Bytes of all entries.
    pub(super) fn entries_bytes(&self) -> u32 {
        self.count.saturating_mul(self.entry_bytes)
    }

    /// Sectors of all entries.
    pub(super) fn entries_sectors(&self, sector_bytes: u32) -> u64 {
        u64::from(self.entries_bytes().div_ceil(sector_bytes))
    }

    /// The bytes on the disk that the header and its entries have.
    fn extents(&self, sector_bytes: u32) -> Extents {
        let sector = u64::from(sector_bytes);
        let range =
            |at: u64, count: u64| at.saturating_mul(sector)..at.saturating_add(count).saturating_mul(sector);
        [range(self.this, 1), range(self.entries, self.entries_sectors(sector_bytes))].into_iter().collect()
    }
}

/// A header and its entries, both whole.
#[derive(Debug)]
pub(super) struct Half {
    pub(super) header: Header,
    pub(super) entries: Vec<u8>,
}

/// Reads the header in this sector and its entries; the inner error says what is wrong.
pub(super) fn half(disk: &dyn Source, sector_bytes: u32, at: u64) -> io::Result<Result<Half, &'static str>> {
    let sector = u64::from(sector_bytes);
    let place = at
        .checked_mul(sector)
        .filter(|place| place.checked_add(sector).is_some_and(|end| end <= disk.bytes()));
    let Some(place) = place else { return Ok(Err("it lies beyond the disk")) };
    let length = usize::try_from(sector_bytes).map_err(io::Error::other)?;
    let header = match Header::parse(&crate::source::read(disk, place, length)?, at) {
        Ok(header) => header,
        Err(why) => return Ok(Err(why)),
    };
    let length = u64::from(header.entries_bytes());
    let place = header.entries.checked_mul(sector).filter(|place| *place >= sector);
    let place = place.filter(|place| place.checked_add(length).is_some_and(|end| end <= disk.bytes()));
    let Some(place) = place else { return Ok(Err("its entries lie beyond the disk")) };
    let entries = crate::source::read(disk, place, usize::try_from(length).map_err(io::Error::other)?)?;
    if crc32(&entries) != header.entries_crc {
        return Ok(Err("the checksum of its entries is wrong"));
    }
    Ok(Ok(Half { header, entries }))
}

/// Whether the first sector but one is a whole header.
pub(super) fn has_header(disk: &dyn Source, sector_bytes: u32) -> io::Result<bool> {
    Ok(half(disk, sector_bytes, 1)?.is_ok())
}

/// Reads the table of a disk whose first sector has these entries, one of them protective.
pub(super) fn read(
    disk: &dyn Source,
    sector_bytes: u32,
    protective: &[mbr::Entry],
) -> Result<Table, NoTable> {
    let last = disk.bytes() / u64::from(sector_bytes) - 1;
    let primary = half(disk, sector_bytes, 1)?;
    let second = second(disk, sector_bytes, last, primary.as_ref().ok())?;
    let mut damage = Vec::new();
    let (used, spare) = match (primary, second) {
        (Ok(primary), Ok(second)) => {
            damage.extend(difference(&primary, &second));
            (primary, Some(second))
        }
        (Ok(primary), Err(why)) => {
            damage.push(format!("the backup GPT is no good: {why}"));
            (primary, None)
        }
        (Err(why), Ok(second)) => {
            damage.push(format!("the primary GPT is no good, the backup is used: {why}"));
            (second, None)
        }
        (Err(why), Err(_)) => return Err(neither(disk, sector_bytes, why)?),
    };
    let sector = u64::from(sector_bytes);
    let mut metadata = Extents::all((2 * sector).min(disk.bytes()));
    metadata.add_all(&used.header.extents(sector_bytes), 0);
    metadata.add(last * sector..disk.bytes());
    if let Some(spare) = &spare {
        metadata.add_all(&spare.header.extents(sector_bytes), 0);
    }
    if used.header.this.max(used.header.other) != last {
        damage.push("the backup GPT is not at the end of the disk".to_owned());
    }
    let partitions = partitions(&used, sector)?;
    check(disk.bytes(), &metadata, &partitions.iter().collect::<Vec<_>>())?;
    let usable = used.header.first_usable.saturating_mul(sector)
        ..used.header.last_usable.saturating_add(1).saturating_mul(sector);
    let beside = partitions.iter().filter(|one| one.offset < usable.start || one.end() > usable.end);
    damage.extend(beside.map(|one| format!("partition {} lies outside of the usable sectors", one.number)));
    hybrid(protective, &partitions, sector, &mut damage)?;
    let id = guid(used.header.disk);
    Ok(Table { kind: Kind::Gpt, id, sector_bytes, partitions, metadata, damage })
}

/// The backup: where the primary says, else in the disk's last sector.
fn second(
    disk: &dyn Source,
    sector_bytes: u32,
    last: u64,
    primary: Option<&Half>,
) -> io::Result<Result<Half, &'static str>> {
    if let Some(said) = primary.map(|primary| primary.header.other).filter(|said| *said != last && *said != 1)
    {
        let found = half(disk, sector_bytes, said)?;
        if found.is_ok() {
            return Ok(found);
        }
    }
    half(disk, sector_bytes, last)
}

fn difference(primary: &Half, second: &Half) -> Option<String> {
    let is_same = primary.entries == second.entries && primary.header.disk == second.header.disk;
    (!is_same).then(|| "the backup GPT lists other partitions; the primary is used".to_owned())
}

/// Why there is neither: the other size of sectors, or damage.
fn neither(disk: &dyn Source, asked: u32, why: &str) -> io::Result<NoTable> {
    for made_for in [512, 4096] {
        if made_for != asked && has_header(disk, made_for)? {
            return Ok(NoTable::SectorBytes { made_for, asked });
        }
    }
    Ok(NoTable::Senseless(format!(
        "there is a protective MBR, and of the GPT neither the backup nor the primary: {why}"
    )))
}

/// What a GPT without a protective MBR means: Linux does not see it, other programs do.
pub(super) fn unprotected(disk: &dyn Source, sector_bytes: u32) -> Result<Table, NoTable> {
    if has_header(disk, sector_bytes)? {
        return Err(NoTable::Senseless("there is a GPT, and no MBR that protects it".to_owned()));
    }
    Err(NoTable::Absent)
}

fn partitions(half: &Half, sector: u64) -> Result<Vec<Partition>, NoTable> {
    let size = usize::try_from(half.header.entry_bytes).unwrap_or(usize::MAX);
    let entries = half.entries.chunks_exact(size).zip(1_u32..);
    let used = entries.filter(|(entry, _)| array(entry, 0) != Some([0; 16]));
    used.map(|(entry, number)| {
        partition(entry, number, sector)
            .ok_or_else(|| NoTable::Senseless(format!("partition {number} ends before it begins")))
    })
    .collect()
}

fn partition(entry: &[u8], number: u32, sector: u64) -> Option<Partition> {
    let (first, last) = (le64(entry, 32)?, le64(entry, 40)?);
    let count = last.checked_sub(first)?.checked_add(1)?;
    let (units, _) = entry.get(56..128)?.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|unit| *unit != 0);
    let letters = char::decode_utf16(units).map(|letter| letter.unwrap_or(char::REPLACEMENT_CHARACTER));
    Some(Partition {
        number,
        kind: guid(array(entry, 0)?),
        uuid: guid(array(entry, 16)?),
        name: letters
            .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
            .collect(),
        offset: first.saturating_mul(sector),
        bytes: count.saturating_mul(sector),
        bootable: le64(entry, 48)? & 4 != 0,
    })
}

/// An MBR that protects the GPT and names partitions besides. Those must be the GPT's: what another program sees
/// elsewhere would be lost.
fn hybrid(
    entries: &[mbr::Entry],
    partitions: &[Partition],
    sector: u64,
    damage: &mut Vec<String>,
) -> Result<(), NoTable> {
    for entry in entries.iter().filter(|entry| !entry.is_protective()) {
        let (first, sectors) = (u64::from(entry.first), u64::from(entry.sectors));
        let range = first * sector..(first + sectors) * sector;
        let is_known = partitions.iter().any(|one| one.offset <= range.start && range.end <= one.end());
        if !is_known {
            let why = format!("entry {} of the hybrid MBR is no partition of the GPT", entry.number);
            return Err(NoTable::Senseless(why));
        }
        damage
            .push(format!("the MBR is a hybrid: its entry {} is also a partition of the GPT", entry.number));
    }
    Ok(())
}

//! GUID partition tables (UEFI 2.10, chapter 5).

use crate::inventory::probe::field::{array, guid, is, le32, le64};
use crate::inventory::probe::{Partition, Reader};

const SIGNATURE: &[u8] = b"EFI PART";
const HEADER: usize = 92;
const ENTRY_MIN: u32 = 128;
const ENTRY_MAX: u32 = 4096;
/// The table of 128 entries is 16 KiB; nobody has more than 32 of those.
const ENTRIES_BYTES_MAX: u64 = 512 << 10;
/// Partitions beyond these are not told.
const PARTITIONS_MAX: usize = 128;

/// A table that was believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    /// Empty for the first one, else what is the matter.
    pub(super) label: String,
    /// The disk's id.
    pub(super) uuid: String,
    pub(super) partitions: Vec<Partition>,
    /// There are more partitions than these.
    pub(super) is_cut: bool,
}

/// The first table, or the one at the disk's end where the first is broken. Its sectors are the drive's, or 512 or
/// 4096 where the disk was written through another controller.
pub(super) fn read(read: &Reader<'_>, bytes: u64, sector: u32) -> Option<Table> {
    let mut sectors = vec![u64::from(sector), 512, 4096];
    sectors.retain(|s| (512..=65536).contains(s) && s.is_power_of_two());
    let first = sectors.iter().find_map(|&s| table(read, bytes, s, s));
    first.or_else(|| {
        let second = sectors.iter().find_map(|&s| table(read, bytes, s, bytes.checked_sub(s)?));
        second.map(|table| Table { label: "second table only".to_owned(), ..table })
    })
}

fn table(read: &Reader<'_>, bytes: u64, sector: u64, at: u64) -> Option<Table> {
    let block = read(at, 512)?;
    let header = block.get(..HEADER).filter(|h| is(h, 0, SIGNATURE))?;
    // Claims longer headers exist; their checksum covers what the claim says.
    let length = usize::try_from(le32(header, 12)?).ok().filter(|n| (HEADER..=block.len()).contains(n))?;
    let mut summed = block.get(..length)?.to_vec();
    summed.get_mut(16..20)?.fill(0);
    if crc32(&summed) != le32(header, 16)? {
        return None;
    }
    let (table, count, size) = (le64(header, 72)?, le32(header, 80)?, le32(header, 84)?);
    if !(ENTRY_MIN..=ENTRY_MAX).contains(&size) || !size.is_multiple_of(8) {
        return None;
    }
    let length = u64::from(count) * u64::from(size);
    let at = table.checked_mul(sector).filter(|&at| at < bytes)?;
    let length = Some(length).filter(|&n| n <= ENTRIES_BYTES_MAX && n <= bytes - at)?;
    let entries = read(at, usize::try_from(length).ok()?)?;
    if crc32(&entries) != le32(header, 88)? {
        return None;
    }
    let entries = entries.chunks_exact(usize::try_from(size).ok()?).zip(1_u32..);
    let found = entries.filter_map(|(entry, number)| partition(entry, number, sector, bytes));
    let mut partitions = found.take(PARTITIONS_MAX + 1).collect::<Vec<_>>();
    let is_cut = partitions.len() > PARTITIONS_MAX;
    partitions.truncate(PARTITIONS_MAX);
    let uuid = guid(&array(header, 56)?);
    Some(Table { label: String::new(), uuid, partitions, is_cut })
}

fn partition(entry: &[u8], number: u32, sector: u64, disk: u64) -> Option<Partition> {
    let kind = array::<16>(entry, 0)?;
    if kind == [0; 16] {
        return None;
    }
    let (first, last) = (le64(entry, 32)?, le64(entry, 40)?);
    let count = last.checked_sub(first)?.checked_add(1)?;
    let offset = first.checked_mul(sector)?;
    let bytes =
        count.checked_mul(sector).filter(|&b| offset.checked_add(b).is_some_and(|end| end <= disk))?;
    let (units, _) = entry.get(56..128)?.as_chunks::<2>();
    let units = units.iter().map(|unit| u16::from_le_bytes(*unit)).take_while(|&unit| unit != 0);
    let name =
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect::<String>();
    let (name, kind, uuid) = (crate::text::name(&name), guid(&kind), guid(&array(entry, 16)?));
    Some(Partition { number, name, kind, uuid, offset, bytes })
}

/// CRC-32 (ISO 3309), as UEFI uses it. Bit by bit: it sees a few KiB.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(u32::MAX, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

#[cfg(test)]
mod tests {
    use super::{Table, crc32, read};

    const DISK: usize = 4 << 20;

    fn table(sector: usize) -> Vec<u8> {
        let mut disk = vec![0; DISK];
        let mut entries = vec![0_u8; 128 * 128];
        let entry = &mut entries[3 * 128..4 * 128];
        entry[..16].fill(7);
        entry[32..40].copy_from_slice(&(64_u64).to_le_bytes());
        entry[40..48].copy_from_slice(&(127_u64).to_le_bytes());
        for (to, unit) in entry[56..].chunks_exact_mut(2).zip("rackwright-root".encode_utf16()) {
            to.copy_from_slice(&unit.to_le_bytes());
        }
        let mut header = vec![0_u8; 92];
        header[..8].copy_from_slice(b"EFI PART");
        header[12..16].copy_from_slice(&92_u32.to_le_bytes());
        header[72..80].copy_from_slice(&2_u64.to_le_bytes());
        header[80..84].copy_from_slice(&128_u32.to_le_bytes());
        header[84..88].copy_from_slice(&128_u32.to_le_bytes());
        header[88..92].copy_from_slice(&crc32(&entries).to_le_bytes());
        let sum = crc32(&header);
        header[16..20].copy_from_slice(&sum.to_le_bytes());
        disk[sector..sector + 92].copy_from_slice(&header);
        disk[2 * sector..2 * sector + entries.len()].copy_from_slice(&entries);
        disk
    }

    fn look(disk: &[u8], sector: u32) -> Option<Table> {
        let reader = |at: u64, length: usize| {
            let at = usize::try_from(at).ok()?;
            disk.get(at..at.checked_add(length)?).map(<[u8]>::to_vec)
        };
        read(&reader, disk.len() as u64, sector)
    }

    /// The header's checksum made right again after a change.
    fn resum(disk: &mut [u8]) {
        disk[528..532].fill(0);
        let sum = crc32(&disk[512..604]);
        disk[528..532].copy_from_slice(&sum.to_le_bytes());
    }

    #[test]
    fn a_table_in_sectors_of_any_size() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        for (sector, told) in [(512, 512), (4096, 4096), (4096, 512), (512, 4096)] {
            let found = look(&table(sector), told).unwrap();
            let [one] = found.partitions.as_slice() else { panic!("{found:?}") };
            assert_eq!((one.number, one.name.as_str()), (4, "rackwright-root"));
            assert_eq!((one.offset, one.bytes), (64 * sector as u64, 64 * sector as u64));
        }
    }

    #[test]
    fn the_second_table_is_said_to_be_one() {
        let mut disk = table(512);
        let header = disk[512..1024].to_vec();
        disk[DISK - 512..].copy_from_slice(&header);
        disk[512..1024].fill(0);
        assert_eq!(look(&disk, 512).unwrap().label, "second table only");
    }

    #[test]
    fn hostile_tables_are_no_tables() {
        type Edit = fn(&mut Vec<u8>);
        let edits: [(&str, Edit); 10] = [
            ("a flipped bit in the header", |d| d[560] ^= 1),
            ("a flipped bit in the entries", |d| d[1024 + 400] ^= 1),
            ("a header length beyond its sector", |d| d[524..528].copy_from_slice(&9999_u32.to_le_bytes())),
            ("a header length of nothing", |d| d[524..528].fill(0)),
            ("four thousand million entries", |d| d[592..596].fill(0xff)),
            ("entries of nothing", |d| d[596..600].fill(0)),
            ("entries of a GiB", |d| d[596..600].copy_from_slice(&(1_u32 << 30).to_le_bytes())),
            ("entries at the end of the world", |d| d[584..592].fill(0xff)),
            ("entries beyond the disk", |d| d[584..592].copy_from_slice(&8191_u64.to_le_bytes())),
            ("no table", |d| d.fill(0)),
        ];
        for (what, edit) in edits {
            let mut disk = table(512);
            edit(&mut disk);
            if !what.starts_with("a flipped") && what != "no table" {
                resum(&mut disk);
            }
            assert_eq!(look(&disk, 512), None, "{what}");
        }
        assert_eq!(look(&[], 512), None);
        assert_eq!(look(&[0; 600], 0), None);
    }

    #[test]
    fn wild_partitions_are_left_out() {
        for (first, last) in [(64, 63), (0, u64::MAX), (u64::MAX, u64::MAX), (8000, 9000)] {
            let mut disk = table(512);
            disk[1024 + 384 + 32..][..8].copy_from_slice(&u64::to_le_bytes(first));
            disk[1024 + 384 + 40..][..8].copy_from_slice(&u64::to_le_bytes(last));
            let sum = crc32(&disk[1024..1024 + 128 * 128]);
            disk[600..604].copy_from_slice(&sum.to_le_bytes());
            resum(&mut disk);
            assert_eq!(look(&disk, 512).unwrap().partitions, [], "{first} {last}");
        }
    }
}

//! Where a partition is on a disk file, from its GUID partition table (UEFI 2.10 §5.3).

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

/// Bytes of a sector.
const SECTOR: u64 = 512;
/// Bytes of an entry, and how many entries a table has: what our own images are made with.
const ENTRY: usize = 128;
const ENTRIES: usize = 128;

/// A partition, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
}

/// Finds the partition with this name in the primary table of `disk`.
///
/// # Errors
/// The file can't be read, or has no such partition.
pub fn partition(disk: &Path, name: &str) -> io::Result<Partition> {
    let mut table = vec![0_u8; ENTRY * ENTRIES];
    File::open(disk)?.read_exact_at(&mut table, 2 * SECTOR)?;
    let missing = || io::Error::other(format!("{} has no partition {name:?}", disk.display()));
    find(&table, name).ok_or_else(missing)
}

/// The entry whose name (UTF-16LE at offset 56, ended by zero) is this one.
fn find(entries: &[u8], name: &str) -> Option<Partition> {
    let wanted: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let named = |entry: &&[u8]| entry.get(56..).is_some_and(|text| text.starts_with(&wanted));
    let entry = entries.chunks_exact(ENTRY).find(named)?;
    let number = |at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
    let (first, last) = (number(32)?, number(40)?);
    let sectors = last.checked_sub(first)?.checked_add(1)?;
    Some(Partition { offset: first.checked_mul(SECTOR)?, bytes: sectors.checked_mul(SECTOR)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_is_found_by_its_whole_name() {
        let mut table = vec![0_u8; ENTRY * 4];
        for (entry, (lba, name)) in [(2048_u64, "root"), (4096, "root-2")].iter().enumerate() {
            let at = entry * ENTRY;
            table[at + 32..at + 40].copy_from_slice(&lba.to_le_bytes());
            table[at + 40..at + 48].copy_from_slice(&(lba + 7).to_le_bytes());
            for (index, unit) in name.encode_utf16().enumerate() {
                table[at + 56 + 2 * index..at + 58 + 2 * index].copy_from_slice(&unit.to_le_bytes());
            }
        }
        let at = |lba: u64| Some(Partition { offset: lba * SECTOR, bytes: 8 * SECTOR });
        assert_eq!(find(&table, "root"), at(2048));
        assert_eq!(find(&table, "root-2"), at(4096));
        assert_eq!(find(&table, "roo"), None);
        assert_eq!(find(&[], "root"), None);
        table[40..48].fill(0);
        assert_eq!(find(&table, "root"), None, "it ends before it begins");
    }
}

//! What is on a disk: partition tables, and the file systems, volumes and pools in them. Read-only, and pure: bytes
//! come through a [`Reader`].
//!
//! Knows enough of each format to recognise it and to name it to a person. Refuses to mount, check or repair.
//! The bytes are a stranger's: every length and count in them is bounded before it is used.

mod field;
mod filesystem;
mod gpt;
mod mbr;
mod member;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use protocol::{Disk, HOLDINGS_MAX, Holding};

/// Reads exactly so many bytes at an offset, or nothing.
pub type Reader<'a> = dyn Fn(u64, usize) -> Option<Vec<u8>> + 'a;

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its name; only GPT has one.
    pub name: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// Everything that is recognised on a disk of `bytes` bytes, whose sectors have `sector` bytes.
pub fn holds(read: &Reader<'_>, bytes: u64, sector: u32) -> Vec<Holding> {
    let mut out = volume(read, 0, bytes);
    // A FAT or NTFS boot sector ends like a partition table, with code where the table would be.
    let has_boot_sector = out.iter().any(|held| matches!(held.kind.as_str(), "vfat" | "exfat" | "ntfs"));
    let (table, partitions) = match gpt::read(read, bytes, sector) {
        Some(table) => (Some(("gpt", table.label)), table.partitions),
        None if has_boot_sector => (None, Vec::new()),
        None => match mbr::read(read, bytes) {
            Some(partitions) => (Some(("mbr", String::new())), partitions),
            None => (None, Vec::new()),
        },
    };
    out.extend(table.map(|(kind, label)| Holding {
        kind: kind.to_owned(),
        partition: 0,
        label,
        bytes: None,
    }));
    for partition in &partitions {
        let Partition { number, name, offset, bytes } = partition;
        let label = name.clone();
        out.push(Holding { kind: "partition".to_owned(), partition: *number, label, bytes: Some(*bytes) });
        let within = |at: u64, length: usize| {
            let end = at.checked_add(length as u64)?;
            if end > *bytes { None } else { read(offset.checked_add(at)?, length) }
        };
        out.extend(volume(&within, *number, *bytes));
        // A hostile table can claim thousands.
        if out.len() >= HOLDINGS_MAX {
            out.truncate(HOLDINGS_MAX);
            break;
        }
    }
    out
}

/// The GPT partitions of a disk that is there; none when it has no valid table.
pub fn partitions_of(device: &Path, disk: &Disk) -> Vec<Partition> {
    let Ok(file) = File::open(device) else { return Vec::new() };
    let read = |at: u64, length: usize| {
        let mut out = vec![0; length];
        file.read_exact_at(&mut out, at).ok().map(|()| out)
    };
    gpt::read(&read, disk.bytes, disk.sector_bytes).map(|table| table.partitions).unwrap_or_default()
}

/// What one volume (a partition, or a disk without partitions) is.
fn volume(read: &Reader<'_>, number: u32, bytes: u64) -> Vec<Holding> {
    let found = filesystem::find(read).into_iter().chain(member::find(read, bytes));
    let holding = |(kind, label): (&str, String)| Holding {
        kind: kind.to_owned(),
        partition: number,
        label,
        bytes: Some(bytes),
    };
    found.map(holding).collect()
}

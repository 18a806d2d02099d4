//! What is on a disk: partition tables, and the file systems, volumes and pools in them. Read-only, and pure: bytes
//! come through a [`Reader`].
//!
//! Knows enough of each format to recognise it and to name it to a person. Refuses to mount, check or repair.
//! The bytes are a stranger's: every length and count in them is bounded before it is used.

mod field;
mod filesystem;
mod gpt;
mod kind;
mod mbr;
mod member;
mod pool;
mod raid;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use protocol::{Disk, HOLDINGS_MAX, Holding, SystemPart};

/// Reads exactly so many bytes at an offset, or nothing.
pub type Reader<'a> = dyn Fn(u64, usize) -> Option<Vec<u8>> + 'a;

/// One partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its name; only GPT has one.
    pub name: String,
    /// Its type: a GUID in GPT, two hexadecimal digits in an old table.
    pub kind: String,
    /// Its PARTUUID; may be empty.
    pub uuid: String,
    /// Where it begins, in bytes.
    pub offset: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
}

/// A volume that was recognised.
#[derive(Clone, Debug)]
struct Found {
    kind: &'static str,
    label: String,
    uuid: String,
    system: Option<SystemPart>,
}

impl Found {
    fn new(kind: &'static str, label: String, uuid: String) -> Self {
        Self { kind, label, uuid, system: None }
    }

    fn held(self, partition: u32, bytes: u64) -> Holding {
        let Self { kind, label, uuid, system } = self;
        Holding { kind: kind.to_owned(), partition, label, bytes: Some(bytes), uuid, system }
    }
}

/// Everything that is recognised on a disk of `bytes` bytes, whose sectors have `sector` bytes; at most
/// [`HOLDINGS_MAX`], and then the last one is `more`.
pub fn holds(read: &Reader<'_>, bytes: u64, sector: u32) -> Vec<Holding> {
    let (tables, partitions, mut is_cut) = tables(read, bytes, sector);
    let mut out = volume(read, 0, bytes);
    if out.is_empty() && tables.is_empty() {
        out.extend(member::echoes(read).into_iter().map(|found| found.held(0, bytes)));
    }
    out.extend(tables);
    for partition in &partitions {
        out.push(kind::holding(partition));
        let within = |at: u64, length: usize| {
            let end = at.checked_add(length as u64)?;
            if end > partition.bytes { None } else { read(partition.offset.checked_add(at)?, length) }
        };
        let mut found = volume(&within, partition.number, partition.bytes);
        if found.is_empty() {
            let echoes = member::echoes(&within).into_iter();
            found.extend(echoes.map(|echo| echo.held(partition.number, partition.bytes)));
        }
        kind::mark(partition, &mut found);
        out.extend(found);
        // A hostile table can claim thousands.
        if out.len() >= HOLDINGS_MAX {
            is_cut = true;
            break;
        }
    }
    if is_cut {
        out.truncate(HOLDINGS_MAX - 1);
        out.push(Holding { kind: "more".to_owned(), ..Holding::default() });
    }
    out
}

/// The tables and what they divide the disk into. A disk can have one of each kind: an old table that was made over a
/// GPT whose second copy is still there, or beside one for old systems. What either says may be in use.
fn tables(read: &Reader<'_>, bytes: u64, sector: u32) -> (Vec<Holding>, Vec<Partition>, bool) {
    let table = |kind: &str, label: &str, uuid: &str| Holding {
        kind: kind.to_owned(),
        label: label.to_owned(),
        uuid: uuid.to_owned(),
        ..Holding::default()
    };
    let (mut tables, mut partitions, mut is_cut) = (Vec::new(), Vec::new(), false);
    if let Some(gpt) = gpt::read(read, bytes, sector) {
        tables.push(table("gpt", &gpt.label, &gpt.uuid));
        (partitions, is_cut) = (gpt.partitions, gpt.is_cut);
    }
    if let Some((id, old)) = mbr::read(read, bytes) {
        tables.push(table("mbr", "", &id));
        let places = partitions.iter().map(|p| (p.offset, p.bytes)).collect::<Vec<_>>();
        partitions.extend(old.into_iter().filter(|p| !places.contains(&(p.offset, p.bytes))));
    }
    (tables, partitions, is_cut)
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
    found.map(|found| found.held(number, bytes)).collect()
}

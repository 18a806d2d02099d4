//! The header of a qcow2 file, and all that can be refused by it alone.

use super::error::Qcow2Error;
use crate::{DISK_BYTES_MAX, Source, source};

const MAGIC: u32 = 0x5146_49fb;
const V2_BYTES: usize = 72;
const V3_BYTES: u32 = 104;
/// The longest L1 table, in entries: 8 MiB. QEMU takes 32, which only a disk of more than 32 GiB in clusters of 512 bytes
/// needs, or of 2 TiB in clusters of 4 KiB.
const L1_ENTRIES_MAX: u64 = 1 << 20;
/// The longest reference count table, in bytes: QEMU's own limit.
const REFCOUNT_TABLE_MAX: u64 = 8 << 20;
/// As much of a backing file's name as belongs into a message.
const NAME_MAX: u32 = 64;

const DIRTY: u64 = 1 << 0;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED: u64 = 1 << 4;
const RAW_DATA_FILE: u64 = 1 << 1;

const END_OF_EXTENSIONS: u32 = 0;
const ENCRYPTION_HEADER: u32 = 0x0537_be77;
const DATA_FILE_NAME: u32 = 0x4441_5441;

/// How compressed clusters are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// RFC 1951.
    Deflate,
    /// RFC 8878.
    Zstd,
}

/// A header that was checked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) version: u32,
    /// 9 to 21.
    pub(super) cluster_bits: u32,
    /// Length of the disk: a multiple of 512, at most [`DISK_BYTES_MAX`].
    pub(super) disk_bytes: u64,
    /// Length of the file.
    pub(super) file_bytes: u64,
    /// Where the L1 table begins.
    pub(super) l1_offset: u64,
    /// How many of its entries the disk needs; they lie within the file.
    pub(super) l1_entries: u64,
    /// Where the reference count table begins, and its length in bytes.
    pub(super) refcounts: (u64, u64),
    pub(super) compression: Compression,
    /// Whether L2 entries have subclusters.
    pub(super) is_extended: bool,
}

impl Header {
    /// Reads and checks the header.
    pub(super) fn read(file: &dyn Source) -> Result<Header, Qcow2Error> {
        let file_bytes = file.bytes();
        let start = first(file, V2_BYTES)?;
        if u32_at(&start, 0) != MAGIC {
            return Err(Qcow2Error::Magic);
        }
        let version = u32_at(&start, 4);
        if !matches!(version, 2 | 3) {
            return Err(Qcow2Error::Version { version });
        }
        let cluster_bits = u32_at(&start, 20);
        if !(9..=21).contains(&cluster_bits) {
            return Err(Qcow2Error::ClusterBits { bits: cluster_bits });
        }
        let start = first(file, 1 << cluster_bits)?;
        if u32_at(&start, 32) != 0 {
            return Err(Qcow2Error::Encrypted);
        }
        let (compression, is_extended, header_bytes) = features(&start, version, cluster_bits)?;
        backing_file(&start)?;
        extensions(&start, header_bytes)?;
        let disk_bytes = u64_at(&start, 24);
        if disk_bytes == 0 || disk_bytes > DISK_BYTES_MAX || !disk_bytes.is_multiple_of(512) {
            return Err(Qcow2Error::DiskBytes { bytes: disk_bytes });
        }
        let mut header = Header {
            version,
            cluster_bits,
            disk_bytes,
            file_bytes,
            l1_offset: u64_at(&start, 40),
            l1_entries: 0,
            refcounts: (u64_at(&start, 48), 0),
            compression,
            is_extended,
        };
        header.tables(u32_at(&start, 36), u32_at(&start, 56))?;
        Ok(header)
    }

    /// Checks the places of both tables.
    fn tables(&mut self, l1_entries: u32, refcount_clusters: u32) -> Result<(), Qcow2Error> {
        let table_bits = self.cluster_bits + self.l2_bits();
        let (needed, entries) = (self.disk_bytes.div_ceil(1 << table_bits), u64::from(l1_entries));
        if entries < needed || entries > L1_ENTRIES_MAX {
            return Err(Qcow2Error::L1Size { entries: l1_entries, needed, most: L1_ENTRIES_MAX });
        }
        let refcount_bytes = u64::from(refcount_clusters) << self.cluster_bits;
        if refcount_clusters == 0 || refcount_bytes > REFCOUNT_TABLE_MAX {
            return Err(Qcow2Error::RefcountTable { clusters: refcount_clusters });
        }
        self.place("the L1 table", self.l1_offset, entries * 8)?;
        self.l1_entries = needed;
        self.place("the reference count table", self.refcounts.0, refcount_bytes)?;
        self.refcounts.1 = refcount_bytes;
        Ok(())
    }

    /// Bytes of a cluster.
    pub(super) fn cluster(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Entries of an L2 table, as a power of two.
    pub(super) fn l2_bits(&self) -> u32 {
        self.cluster_bits - self.l2_entry().trailing_zeros()
    }

    /// Bytes of an L2 entry.
    pub(super) fn l2_entry(&self) -> u64 {
        if self.is_extended { 16 } else { 8 }
    }

    /// Checks that so many bytes of something begin with a cluster, lie within the file, and on nothing that the header
    /// names.
    pub(super) fn place(&self, what: &'static str, offset: u64, bytes: u64) -> Result<(), Qcow2Error> {
        if !offset.is_multiple_of(self.cluster()) {
            return Err(Qcow2Error::Unaligned { what, offset });
        }
        let end = offset.saturating_add(bytes);
        if end > self.file_bytes {
            return Err(Qcow2Error::CutOff { what, end, file: self.file_bytes });
        }
        let taken = [
            ("the header", 0, self.cluster()),
            ("the L1 table", self.l1_offset, self.l1_entries * 8),
            ("the reference count table", self.refcounts.0, self.refcounts.1),
        ];
        match taken.iter().find(|(_, begin, length)| offset < begin + length && *begin < end) {
            Some((other, ..)) => Err(Qcow2Error::Overlap { what, offset, other }),
            None => Ok(()),
        }
    }
}

/// So many bytes from the file's beginning.
fn first(file: &dyn Source, bytes: usize) -> Result<Vec<u8>, Qcow2Error> {
    if file.bytes() < bytes as u64 {
        return Err(Qcow2Error::CutOff { what: "the header", end: bytes as u64, file: file.bytes() });
    }
    Ok(source::read(file, 0, bytes)?)
}

/// Compression, whether there are subclusters, and where header extensions begin.
fn features(start: &[u8], version: u32, cluster_bits: u32) -> Result<(Compression, bool, usize), Qcow2Error> {
    if version == 2 {
        return Ok((Compression::Deflate, false, V2_BYTES));
    }
    let bits = u64_at(start, 72);
    // What is unknown goes first: an unknown feature may change what the others mean.
    let known = DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED;
    if bits & !known != 0 {
        return Err(Qcow2Error::Features { bits: bits & !known });
    }
    if bits & DATA_FILE != 0 || u64_at(start, 88) & RAW_DATA_FILE != 0 {
        return Err(Qcow2Error::DataFile);
    }
    if bits & CORRUPT != 0 {
        return Err(Qcow2Error::Corrupt);
    }
    if bits & DIRTY != 0 {
        return Err(Qcow2Error::Dirty);
    }
    let order = u32_at(start, 96);
    if order > 6 {
        return Err(Qcow2Error::RefcountOrder { order });
    }
    let bytes = u32_at(start, 100);
    if bytes < V3_BYTES || !bytes.is_multiple_of(8) || u64::from(bytes) > 1 << cluster_bits {
        return Err(Qcow2Error::HeaderBytes { bytes });
    }
    let kind = if bytes > V3_BYTES { start.get(104).copied().unwrap_or_default() } else { 0 };
    let compression = match (bits & COMPRESSION != 0, kind) {
        (false, 0) => Compression::Deflate,
        (true, 1) => Compression::Zstd,
        (false | true, _) => return Err(Qcow2Error::Compression { kind }),
    };
    if bits & EXTENDED != 0 && cluster_bits < 14 {
        return Err(Qcow2Error::ClustersTooSmall { bits: cluster_bits });
    }
    Ok((compression, bits & EXTENDED != 0, bytes as usize))
}

/// Refuses a backing file, naming it. The name is a stranger's: it is shown, never opened.
fn backing_file(start: &[u8]) -> Result<(), Qcow2Error> {
    let offset = u64_at(start, 8);
    if offset == 0 {
        return Ok(());
    }
    let begin = usize::try_from(offset).unwrap_or(usize::MAX);
    let name = start.get(begin..).unwrap_or_default().iter().take(u32_at(start, 16).min(NAME_MAX) as usize);
    let name = String::from_utf8_lossy(&name.copied().collect::<Vec<u8>>()).into_owned();
    Err(Qcow2Error::BackingFile { name })
}

/// Goes through the header extensions, refusing those that mean another file or a key. Each moves `at` on by at least
/// eight bytes.
fn extensions(start: &[u8], begin: usize) -> Result<(), Qcow2Error> {
    let mut at = begin;
    while at + 8 <= start.len() {
        let (kind, bytes) = (u32_at(start, at), u32_at(start, at + 4) as usize);
        match kind {
            END_OF_EXTENSIONS => return Ok(()),
            ENCRYPTION_HEADER => return Err(Qcow2Error::Encrypted),
            DATA_FILE_NAME => return Err(Qcow2Error::DataFile),
            _ => {}
        }
        if bytes > start.len() - at - 8 {
            return Err(Qcow2Error::Extension { at });
        }
        at += 8 + bytes.next_multiple_of(8);
    }
    Ok(())
}

/// A number of the header; the caller has read as much.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u32::from_be_bytes(*field))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..).and_then(|rest| rest.first_chunk());
    field.map_or(0, |field| u64::from_be_bytes(*field))
}

//! From a place on the disk to a place in the file: the L1 table, the L2 tables, and what their entries may say.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::error::Qcow2Error;
use super::header::Header;
use crate::{Source, source};

/// Tables are read by pages of this many bytes, and so many pages are kept: 4 MiB, however large the tables are.
const PAGE: u64 = 4096;
const PAGES_MAX: usize = 1024;

/// Bits 9 to 55 of an entry: a place in the file.
const OFFSET: u64 = 0x00ff_ffff_ffff_fe00;
/// L1: not shared with a snapshot. L2: the same of a standard cluster. Nothing here depends on it.
const COPIED: u64 = 1 << 63;
const COMPRESSED: u64 = 1 << 62;
/// The cluster reads as zeros, wherever it lies. Version 3, without subclusters.
const ZERO: u64 = 1;
/// Subclusters of a cluster.
const SUBCLUSTERS: u32 = 32;

/// Where some of the disk's bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere: they are zeros.
    Zero,
    /// In the file from this byte on.
    Stored(u64),
    /// In a compressed cluster: `bytes` at `offset` of the file hold it.
    Compressed { offset: u64, bytes: u64 },
}

/// The tables of one file.
pub(super) struct Tables<'a> {
    file: &'a dyn Source,
    pub(super) header: Header,
    pages: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl<'a> Tables<'a> {
    pub(super) fn new(file: &'a dyn Source, header: Header) -> Tables<'a> {
        Tables { file, header, pages: Mutex::default() }
    }

    pub(super) fn file(&self) -> &'a dyn Source {
        self.file
    }

    /// Where the disk's bytes from `at` on are, and for how many of them that holds: at least one, never beyond the
    /// disk's end. `at` lies on the disk.
    pub(super) fn find(&self, at: u64) -> Result<(Place, u64), Qcow2Error> {
        let header = &self.header;
        let table_bits = header.cluster_bits + header.l2_bits();
        let Some(table) = self.l2_table(at >> table_bits)? else {
            return Ok((Place::Zero, self.until(at, table_bits)));
        };
        let index = (at >> header.cluster_bits) & ((1 << header.l2_bits()) - 1);
        let place = table + index * header.l2_entry();
        let bitmap = if header.is_extended { self.word(place + 8)? } else { 0 };
        self.describe(at, self.word(place)?, bitmap)
    }

    /// The same by the L2 entry of the cluster that `at` lies in; `bitmap` is its second half, of subclusters.
    pub(super) fn describe(&self, at: u64, entry: u64, bitmap: u64) -> Result<(Place, u64), Qcow2Error> {
        if self.header.is_extended {
            return self.subclusters(at, entry, bitmap);
        }
        Ok((self.cluster(at, entry)?, self.until(at, self.header.cluster_bits)))
    }

    /// How far it is from `at` to the next multiple of 2^`bits`, or the disk's end.
    fn until(&self, at: u64, bits: u32) -> u64 {
        let end = (at >> bits).saturating_add(1).saturating_mul(1 << bits);
        end.min(self.header.disk_bytes) - at
    }

    /// Where an L2 table begins; None when it has none.
    pub(super) fn l2_table(&self, index: u64) -> Result<Option<u64>, Qcow2Error> {
        let header = &self.header;
        let entry = self.word(header.l1_offset + index * 8)?;
        if entry & !(OFFSET | COPIED) != 0 {
            let at = index << (header.cluster_bits + header.l2_bits());
            return Err(Qcow2Error::Reserved { entry, at });
        }
        match entry & OFFSET {
            0 => Ok(None),
            offset => header.place("an L2 table", offset, header.cluster()).map(|()| Some(offset)),
        }
    }

    /// What a plain L2 entry says.
    fn cluster(&self, at: u64, entry: u64) -> Result<Place, Qcow2Error> {
        if entry & COMPRESSED != 0 {
            return self.compressed(at, entry);
        }
        let zero = if self.header.version < 3 { 0 } else { ZERO };
        self.check_standard(at, entry, zero)?;
        if entry & ZERO != 0 || entry & OFFSET == 0 {
            return Ok(Place::Zero);
        }
        let offset = entry & OFFSET;
        let inside = at & (self.header.cluster() - 1);
        let begin = at - inside;
        let bytes = self.header.cluster().min(self.header.disk_bytes - begin);
        self.header.place("a cluster", offset, bytes)?;
        Ok(Place::Stored(offset + inside))
    }

    /// Refuses reserved bits, and a cluster in use that would be the header.
    fn check_standard(&self, at: u64, entry: u64, allowed: u64) -> Result<(), Qcow2Error> {
        let is_header = entry & OFFSET == 0 && entry & COPIED != 0;
        if entry & !(OFFSET | COPIED | allowed) != 0 || is_header {
            return Err(Qcow2Error::Reserved { entry, at });
        }
        Ok(())
    }

    /// What an L2 entry with subclusters says of the one at `at` and those after it that are like it.
    fn subclusters(&self, at: u64, entry: u64, bitmap: u64) -> Result<(Place, u64), Qcow2Error> {
        let header = &self.header;
        if entry & COMPRESSED != 0 {
            return Ok((self.compressed(at, entry)?, self.until(at, header.cluster_bits)));
        }
        self.check_standard(at, entry, 0)?;
        let allocated = u32::try_from(bitmap & u64::from(u32::MAX)).unwrap_or_default();
        let zero = u32::try_from(bitmap >> 32).unwrap_or_default();
        let offset = entry & OFFSET;
        if allocated & zero != 0 || (allocated != 0 && offset == 0) {
            return Err(Qcow2Error::Reserved { entry: bitmap, at });
        }
        let bits = header.cluster_bits - SUBCLUSTERS.trailing_zeros();
        let inside = at & (header.cluster() - 1);
        let first = u32::try_from(inside >> bits).unwrap_or_default();
        let from_here = allocated >> first;
        let is_stored = from_here & 1 == 1;
        let alike = if is_stored { from_here.trailing_ones() } else { from_here.trailing_zeros() };
        let alike = alike.min(SUBCLUSTERS - first);
        let end = (at - inside + (u64::from(first + alike) << bits)).min(header.disk_bytes);
        if !is_stored {
            return Ok((Place::Zero, end - at));
        }
        header.place("a cluster", offset, end - (at - inside))?;
        Ok((Place::Stored(offset + inside), end - at))
    }

    /// What an L2 entry of a compressed cluster says: a place to the byte, a length to the sector.
    fn compressed(&self, at: u64, entry: u64) -> Result<Place, Qcow2Error> {
        let header = &self.header;
        let sector_bits = header.cluster_bits - 8;
        let offset_bits = 62 - sector_bits;
        let offset = entry & ((1 << offset_bits) - 1);
        let sectors = (entry >> offset_bits) & ((1 << sector_bits) - 1);
        if entry & COPIED != 0 || offset >> 56 != 0 {
            return Err(Qcow2Error::Reserved { entry, at });
        }
        if offset < header.cluster() {
            return Err(Qcow2Error::Overlap { what: "a compressed cluster", offset, other: "the header" });
        }
        if offset >= header.file_bytes {
            let (what, file) = ("a compressed cluster", header.file_bytes);
            return Err(Qcow2Error::CutOff { what, end: offset.saturating_add(1), file });
        }
        // The file may end before the last sector does.
        let bytes = ((sectors + 1) * 512 - offset % 512).min(header.file_bytes - offset);
        Ok(Place::Compressed { offset, bytes })
    }

    /// The eight bytes at `offset`, a multiple of eight, from the pages that are kept.
    fn word(&self, offset: u64) -> io::Result<u64> {
        let (page, inside) = (offset / PAGE, usize::try_from(offset % PAGE).unwrap_or_default());
        let mut pages = self.pages.lock().unwrap_or_else(PoisonError::into_inner);
        if !pages.contains_key(&page) {
            let left = self.header.file_bytes.saturating_sub(page * PAGE).min(PAGE);
            let bytes = source::read(self.file, page * PAGE, usize::try_from(left).unwrap_or_default())?;
            if pages.len() >= PAGES_MAX {
                pages.clear();
            }
            pages.insert(page, bytes);
        }
        let word = pages.get(&page).and_then(|bytes| bytes.get(inside..)?.first_chunk());
        word.map(|word| u64::from_be_bytes(*word)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

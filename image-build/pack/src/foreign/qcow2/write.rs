//! Writes a qcow2 file, version 3: clusters in the order of the disk, each table where it is known, the header last. A file
//! whose writing was cut off is not a qcow2 file.

use std::io::{self, Seek, SeekFrom, Write};

use crate::{DISK_BYTES_MAX, is_zero};

/// Bytes of a cluster: QEMU's own choice.
pub const CLUSTER: usize = 1 << CLUSTER_BITS;

const CLUSTER_BITS: u32 = 16;
const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
/// Entries of an L2 table or of the reference count table in one cluster.
const ENTRIES: u64 = CLUSTER_BYTES / 8;
/// Reference counts in one cluster: 16 bits each.
const COUNTS: u64 = CLUSTER_BYTES / 2;
/// The entry's cluster belongs to nothing else.
const COPIED: u64 = 1 << 63;
const HEADER_BYTES: u32 = 104;
const REFCOUNT_ORDER: u32 = 4;

/// A qcow2 file that is being written. Holds one L2 table and the L1 table: 1 MiB for a disk of 64 TiB.
#[derive(Debug)]
pub struct Writer<W> {
    out: W,
    disk_bytes: u64,
    l1: Vec<u64>,
    /// The L2 table that is being filled: which, and its entries. Empty when no cluster of it was written.
    l2: (u64, Vec<u64>),
    /// Clusters written so far, header and L1 table among them.
    clusters: u64,
    /// The first byte of the disk that may come next.
    next: u64,
}

fn refused(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("writing qcow2: {what}"))
}

impl<W: Write + Seek> Writer<W> {
    /// Begins a file that holds nothing yet, for a disk of so many bytes: a multiple of 512, at most
    /// [`DISK_BYTES_MAX`].
    ///
    /// # Errors
    /// Another size, or what `out` says.
    pub fn new(mut out: W, disk_bytes: u64) -> io::Result<Writer<W>> {
        if disk_bytes == 0 || disk_bytes > DISK_BYTES_MAX || !disk_bytes.is_multiple_of(512) {
            return Err(refused("the disk must have whole sectors and at most 64 TiB"));
        }
        let l1_entries = disk_bytes.div_ceil(CLUSTER_BYTES * ENTRIES);
        let l1 = vec![0; usize::try_from(l1_entries).map_err(io::Error::other)?];
        let clusters = 1 + (l1_entries * 8).div_ceil(CLUSTER_BYTES);
        out.seek(SeekFrom::Start(clusters * CLUSTER_BYTES))?;
        Ok(Writer { out, disk_bytes, l1, l2: (0, Vec::new()), clusters, next: 0 })
    }

    /// Writes the disk's bytes from `offset` on: a multiple of [`CLUSTER`], behind all that came before. What is skipped
    /// reads as zeros; clusters of zeros are skipped too.
    ///
    /// # Errors
    /// Another place, or what `out` says.
    pub fn put(&mut self, offset: u64, raw: &[u8]) -> io::Result<()> {
        let end = offset.saturating_add(raw.len() as u64);
        if !offset.is_multiple_of(CLUSTER_BYTES) || offset < self.next || end > self.disk_bytes {
            return Err(refused("clusters must ascend and lie on the disk"));
        }
        for (begin, cluster) in (offset / CLUSTER_BYTES..).zip(raw.chunks(CLUSTER)) {
            if !is_zero(cluster) {
                self.cluster(begin, cluster)?;
            }
        }
        self.next = end.next_multiple_of(CLUSTER_BYTES);
        Ok(())
    }

    fn cluster(&mut self, number: u64, bytes: &[u8]) -> io::Result<()> {
        let (table, index) = (number / ENTRIES, number % ENTRIES);
        if self.l2.0 != table {
            self.finish_l2()?;
        }
        self.l2.0 = table;
        if self.l2.1.is_empty() {
            self.l2.1 = vec![0; CLUSTER / 8];
        }
        let offset = self.append(bytes)?;
        let entry = usize::try_from(index).ok().and_then(|index| self.l2.1.get_mut(index));
        *entry.ok_or_else(|| refused("no such cluster"))? = offset | COPIED;
        Ok(())
    }

    /// Writes one cluster behind the last, filled up with zeros; gives its place.
    fn append(&mut self, bytes: &[u8]) -> io::Result<u64> {
        self.out.write_all(bytes)?;
        if bytes.len() < CLUSTER {
            self.out.write_all(&vec![0; CLUSTER - bytes.len()])?;
        }
        self.clusters += 1;
        Ok((self.clusters - 1) * CLUSTER_BYTES)
    }

    fn finish_l2(&mut self) -> io::Result<()> {
        let (table, entries) = std::mem::take(&mut self.l2);
        if entries.is_empty() {
            return Ok(());
        }
        let offset = self.append(&big_endian(&entries))?;
        let entry = usize::try_from(table).ok().and_then(|table| self.l1.get_mut(table));
        *entry.ok_or_else(|| refused("no such table"))? = offset | COPIED;
        Ok(())
    }

    /// Writes what is left: reference counts, the L1 table, the header. Gives `out` back; making it durable is the
    /// caller's.
    ///
    /// # Errors
    /// What `out` says.
    pub fn finish(mut self) -> io::Result<W> {
        self.finish_l2()?;
        let begin = self.clusters;
        let (mut blocks, mut tables) = (0, 0);
        // Reference counts count their own clusters too.
        loop {
            let total = begin + blocks + tables;
            let needed = total.div_ceil(COUNTS);
            let needed_tables = needed.div_ceil(ENTRIES);
            if (needed, needed_tables) == (blocks, tables) {
                break;
            }
            (blocks, tables) = (needed, needed_tables);
        }
        let total = begin + blocks + tables;
        for block in 0..blocks {
            let used = (total - block * COUNTS).min(COUNTS);
            let used = usize::try_from(used).map_err(io::Error::other)?;
            self.append(&[0, 1].repeat(used))?;
        }
        let places: Vec<u64> = (begin..begin + blocks).map(|cluster| cluster * CLUSTER_BYTES).collect();
        for part in places.chunks(CLUSTER / 8) {
            self.append(&big_endian(part))?;
        }
        self.out.seek(SeekFrom::Start(CLUSTER_BYTES))?;
        self.out.write_all(&big_endian(&self.l1))?;
        self.out.seek(SeekFrom::Start(0))?;
        let header = self.header((begin + blocks) * CLUSTER_BYTES, tables)?;
        self.out.write_all(&header)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// The header with no extensions. What lies between it and the L1 table was never written.
    fn header(&self, refcount_table: u64, refcount_clusters: u64) -> io::Result<Vec<u8>> {
        let short = |number: u64| u32::try_from(number).map_err(io::Error::other);
        let (no_backing_file, no_encryption, no_snapshots, no_features) = (0_u64, 0_u32, 0_u64, 0_u64);
        let mut bytes = b"QFI\xfb".to_vec();
        bytes.extend(3_u32.to_be_bytes());
        bytes.extend(no_backing_file.to_be_bytes());
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend(CLUSTER_BITS.to_be_bytes());
        bytes.extend(self.disk_bytes.to_be_bytes());
        bytes.extend(no_encryption.to_be_bytes());
        bytes.extend(short(self.l1.len() as u64)?.to_be_bytes());
        bytes.extend(CLUSTER_BYTES.to_be_bytes());
        bytes.extend(refcount_table.to_be_bytes());
        bytes.extend(short(refcount_clusters)?.to_be_bytes());
        bytes.extend(0_u32.to_be_bytes());
        bytes.extend(no_snapshots.to_be_bytes());
        for _ in ["incompatible", "compatible", "autoclear"] {
            bytes.extend(no_features.to_be_bytes());
        }
        bytes.extend(REFCOUNT_ORDER.to_be_bytes());
        bytes.extend(HEADER_BYTES.to_be_bytes());
        // The end of the header extensions.
        bytes.extend([0; 8]);
        Ok(bytes)
    }
}

fn big_endian(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_be_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::super::Qcow2;
    use super::*;
    use crate::{Source, source};

    fn written(disk_bytes: u64, parts: &[(u64, Vec<u8>)]) -> Vec<u8> {
        let mut writer = Writer::new(Cursor::new(Vec::new()), disk_bytes).unwrap();
        for (offset, raw) in parts {
            writer.put(*offset, raw).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]
        #[test]
        fn what_was_written_is_read(
            clusters in prop::collection::vec((0_u64..3, 0_u8..3), 0..40),
            tail in 1_u64..128,
        ) {
            // Gaps, zeros and data, over the border of an L2 table.
            let first = ENTRIES - 20;
            let disk_bytes = (first + 150) * CLUSTER_BYTES + tail * 512;
            let mut at = first;
            let mut parts = vec![(0, vec![9; 512])];
            for (gap, byte) in clusters {
                at += gap;
                parts.push((at * CLUSTER_BYTES, vec![byte; CLUSTER]));
                at += 1;
            }
            parts.push((disk_bytes - tail * 512, vec![7; usize::try_from(tail * 512).unwrap()]));
            let file = written(disk_bytes, &parts);
            let disk = Qcow2::open(&file).unwrap();
            prop_assert_eq!(disk.bytes(), disk_bytes);
            let mut expected = 0;
            for (offset, raw) in &parts {
                prop_assert_eq!(&source::read(&disk, *offset, raw.len()).unwrap(), raw);
                let is_kept = !is_zero(raw);
                let begin = offset..&(offset + 1);
                prop_assert_eq!(disk.allocated().within(*begin.start..*begin.end).next().is_some(), is_kept);
                expected += if is_kept { raw.len().next_multiple_of(CLUSTER) as u64 } else { 0 };
            }
            prop_assert!(disk.allocated().bytes() <= expected);
        }
    }

    #[test]
    fn a_disk_of_nothing_is_four_clusters_and_the_largest_has_room() {
        let file = written(1 << 20, &[]);
        assert_eq!(file.len(), 4 * CLUSTER);
        assert!(Qcow2::open(&file).unwrap().allocated().is_empty());
        let file = written(DISK_BYTES_MAX, &[(DISK_BYTES_MAX - CLUSTER_BYTES, vec![1; CLUSTER])]);
        let disk = Qcow2::open(&file).unwrap();
        assert_eq!(source::read(&disk, DISK_BYTES_MAX - 1, 1).unwrap(), [1]);
    }

    #[test]
    fn wrong_places_and_sizes_are_refused() {
        for bytes in [0, 511, DISK_BYTES_MAX + 512] {
            assert!(Writer::new(Cursor::new(Vec::new()), bytes).is_err(), "{bytes}");
        }
        let mut writer = Writer::new(Cursor::new(Vec::new()), 3 * CLUSTER_BYTES).unwrap();
        writer.put(CLUSTER_BYTES, &[1]).unwrap();
        for (offset, bytes) in
            [(CLUSTER_BYTES, 1), (0, 1), (2 * CLUSTER_BYTES + 512, 1), (2 * CLUSTER_BYTES, CLUSTER + 1)]
        {
            assert!(writer.put(offset, &vec![1; bytes]).is_err(), "{offset}");
        }
    }
}

//! The disk in a qcow2 file, as a [`Source`].

use std::fmt;
use std::io;
use std::sync::{Mutex, PoisonError};

use super::cluster;
use super::error::Qcow2Error;
use super::header::Header;
use super::tables::{Place, Tables};
use crate::foreign::inflated_max;
use crate::source::{self, within};
use crate::{BLOCK, Extents, Source, is_zero};

/// [`Qcow2::allocated`] has at most about half as many ranges: 8 MiB of them.
const GRAINS_MAX: u64 = 1 << 20;

/// The disk in a qcow2 file. Its tables were read through when it was opened, so reading fails only when the file does,
/// or a compressed cluster is broken. Holds a few MiB besides [`Qcow2::allocated`], whatever the file says; a read
/// takes up to 16 MiB more.
pub struct Qcow2<'a> {
    tables: Tables<'a>,
    allocated: Extents,
    /// The compressed cluster that was read last: where it begins on the disk, and its bytes.
    last: Mutex<Option<(u64, Vec<u8>)>>,
}

impl fmt::Debug for Qcow2<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Qcow2").field("header", &self.tables.header).finish_non_exhaustive()
    }
}

impl<'a> Qcow2<'a> {
    /// Opens a file: checks its header and every entry of its tables.
    ///
    /// # Errors
    /// The first rule it breaks. Among them: no two parts of the disk share an L2 table, no more is mapped than the
    /// file holds, and no more comes out of compressed clusters than [`inflated_max`] allows. So the work is in
    /// proportion to the length of the file, and not to what it claims.
    pub fn open(file: &'a dyn Source) -> Result<Qcow2<'a>, Qcow2Error> {
        let tables = Tables::new(file, Header::read(file)?);
        no_shared_tables(&tables)?;
        let allocated = survey(&tables)?;
        Ok(Qcow2 { tables, allocated, last: Mutex::default() })
    }

    /// What is not known to be zero. May hold more, on a disk that is large or has small clusters.
    #[must_use]
    pub fn allocated(&self) -> &Extents {
        &self.allocated
    }

    /// Fills `out` from the compressed cluster that `at` lies in; all of it does.
    fn inflate(&self, at: u64, offset: u64, bytes: u64, out: &mut [u8]) -> Result<(), Qcow2Error> {
        let header = &self.tables.header;
        let inside = at & (header.cluster() - 1);
        let begin = at - inside;
        let inside = usize::try_from(inside).unwrap_or(usize::MAX);
        let last = || self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let copy = |cluster: &[u8], out: &mut [u8]| {
            let wanted = cluster.get(inside..).and_then(|rest| rest.get(..out.len()));
            wanted.map(|wanted| out.copy_from_slice(wanted))
        };
        if let Some((kept, cluster)) = last().as_ref()
            && *kept == begin
            && copy(cluster, out).is_some()
        {
            return Ok(());
        }
        let stored = source::read(self.tables.file(), offset, usize::try_from(bytes).unwrap_or(usize::MAX))?;
        let mut cluster = vec![0; 1 << header.cluster_bits];
        cluster::inflate(header.compression, &stored, &mut cluster)
            .map_err(|source| Qcow2Error::Inflate { offset, source })?;
        copy(&cluster, out).ok_or(Qcow2Error::Io(io::ErrorKind::UnexpectedEof.into()))?;
        *last() = Some((begin, cluster));
        Ok(())
    }
}

impl Source for Qcow2<'_> {
    fn bytes(&self) -> u64 {
        self.tables.header.disk_bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        within(self.bytes(), offset, out.len())?;
        let (mut at, mut rest) = (offset, out);
        while !rest.is_empty() {
            let (place, bytes) = self.tables.find(at)?;
            let length = usize::try_from(bytes).unwrap_or(usize::MAX).min(rest.len());
            let (part, after) = rest.split_at_mut(length);
            match place {
                Place::Zero => part.fill(0),
                Place::Stored(from) => self.tables.file().read_at(from, part)?,
                Place::Compressed { offset, bytes } => self.inflate(at, offset, bytes, part)?,
            }
            at += length as u64;
            rest = after;
        }
        Ok(())
    }
}

/// An L2 table that stands for two parts of the disk would make the work larger than the file.
fn no_shared_tables(tables: &Tables<'_>) -> Result<(), Qcow2Error> {
    let mut offsets = Vec::new();
    for index in 0..tables.header.l1_entries {
        offsets.extend(tables.l2_table(index)?);
    }
    offsets.sort_unstable();
    match offsets.iter().zip(offsets.iter().skip(1)).find(|(one, next)| one == next) {
        Some((offset, _)) => Err(Qcow2Error::SharedTable { offset: *offset }),
        None => Ok(()),
    }
}

/// Goes through all tables; gives what is not zero.
fn survey(tables: &Tables<'_>) -> Result<Extents, Qcow2Error> {
    let header = &tables.header;
    let mut found = Found::new(header);
    let mut table = vec![0; 1 << header.cluster_bits];
    for index in 0..header.l1_entries {
        let Some(offset) = tables.l2_table(index)? else { continue };
        tables.file().read_at(offset, &mut table)?;
        if is_zero(&table) {
            continue;
        }
        let (entries, _) = table.as_chunks::<8>();
        let mut entries = entries.iter().map(|entry| u64::from_be_bytes(*entry));
        let mut at = index << (header.cluster_bits + header.l2_bits());
        while let Some(entry) = entries.next().filter(|_| at < header.disk_bytes) {
            let bitmap = if header.is_extended { entries.next().unwrap_or_default() } else { 0 };
            let end = (at + header.cluster()).min(header.disk_bytes);
            while at < end {
                let (place, bytes) = tables.describe(at, entry, bitmap)?;
                found.add(place, at, bytes)?;
                at += bytes;
            }
        }
    }
    Ok(found.allocated)
}

/// What was found so far, and how much of it there may be.
struct Found {
    allocated: Extents,
    grain: u64,
    stored: u64,
    inflated: u64,
    disk: u64,
    file: u64,
    most: u64,
}

impl Found {
    fn new(header: &Header) -> Found {
        let (disk, file) = (header.disk_bytes, header.file_bytes);
        let grain = (disk / GRAINS_MAX).next_power_of_two().max(u64::from(BLOCK));
        Found {
            allocated: Extents::new(),
            grain,
            stored: 0,
            inflated: 0,
            disk,
            file,
            most: inflated_max(file),
        }
    }

    fn add(&mut self, place: Place, at: u64, bytes: u64) -> Result<(), Qcow2Error> {
        match place {
            Place::Zero => return Ok(()),
            Place::Stored(_) => self.stored += bytes,
            Place::Compressed { .. } => self.inflated += bytes,
        }
        let (file, most) = (self.file, self.most);
        if self.stored > file {
            return Err(Qcow2Error::SharedClusters { file });
        }
        if self.inflated > most {
            return Err(Qcow2Error::Bomb { file, most });
        }
        let (begin, end) = (at / self.grain * self.grain, (at + bytes).next_multiple_of(self.grain));
        self.allocated.add(begin..end.min(self.disk));
        Ok(())
    }
}

//! NTFS.
//!
//! In use is every cluster that the bitmap has (record 6 of the master file table), what follows the last cluster, and the
//! copy of the boot sector at the volume's end. The bitmap counts when the volume is not marked dirty and its log need not
//! be replayed; that takes in a hibernated Windows, whose log stays open, so `hiberfil.sys` is not looked for. Clusters that
//! are known as bad are in the bitmap and stay in.

use super::clusters::Clusters;
use super::{Name, UNCLEAN, Unread, Volume, doubtful, longer};
use crate::field::{byte, le16};
use crate::{Extents, Source, names, source};

mod boot;
mod log;
mod record;
mod runs;

use boot::Boot;
use record::{Content, Stream};

/// Records of the master file table that are always in the same place.
const MFT: u64 = 0;
const LOG: u64 = 2;
const VOLUME: u64 = 3;
const BITMAP: u64 = 6;

/// Volume flags: dirty; a check is under way.
const DIRTY: u16 = 0x0001;
const IN_CHECK: u16 = 0x4000;

/// Bytes of the bitmap that are read at a time.
const PIECE: usize = 1 << 20;

pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    let sector = boot::find(source)?;
    let mut name =
        Name { kind: "ntfs", uuid: names::long_serial(boot::serial(&sector)), label: String::new() };
    let used = used(source, &sector, &mut name);
    name.with(used, source)
}

/// Finds the label on the way: it lies in the master file table.
fn used(source: &dyn Source, sector: &[u8], name: &mut Name) -> Result<Extents, Unread> {
    let table = Table::open(source, Boot::read(sector, source.bytes())?)?;
    let record = table.record(VOLUME)?;
    name.label = table.label(&record)?;
    table.check_volume(&record)?;
    table.check_log()?;
    table.used()
}

/// The master file table.
struct Table<'a> {
    source: &'a dyn Source,
    boot: Boot,
    stream: Stream,
}

impl<'a> Table<'a> {
    /// Its first record says where it lies itself; where it goes on after many runs, in other records, does not matter here.
    fn open(source: &'a dyn Source, boot: Boot) -> Result<Table<'a>, Unread> {
        let first = source::read(source, boot.mft * boot.cluster_bytes, boot.record_bytes)?;
        let mut table = Table { source, boot, stream: Stream { runs: Vec::new(), bytes: 0 } };
        table.stream = table.data(MFT, &table.fixed(MFT, first)?)?;
        if table.stream.runs.first().is_none_or(|run| run.first != table.boot.mft) {
            return Err(doubtful("its master file table is not where its boot sector says"));
        }
        Ok(table)
    }

    fn fixed(&self, number: u64, record: Vec<u8>) -> Result<Vec<u8>, Unread> {
        record::fix(record, *b"FILE")
            .ok_or_else(|| doubtful(format!("record {number} of its master file table is not whole")))
    }

    fn record(&self, number: u64) -> Result<Vec<u8>, Unread> {
        let length = self.boot.record_bytes;
        let record = self.read(&self.stream, number * length as u64, length)?;
        self.fixed(number, record)
    }

    fn attribute(&self, number: u64, record: &[u8], kind: u32) -> Result<Option<Content>, Unread> {
        record::attribute(record, kind, self.boot.clusters, self.boot.cluster_bytes)
            .map_err(|why| doubtful(format!("record {number} of its master file table: {why}")))
    }

    /// The content of one of the system's files; it is never within the record.
    fn data(&self, number: u64, record: &[u8]) -> Result<Stream, Unread> {
        match self.attribute(number, record, record::DATA)? {
            Some(Content::Clusters(stream)) => Ok(stream),
            Some(Content::Resident(_)) | None => {
                Err(doubtful(format!("record {number} of its master file table has no clusters")))
            }
        }
    }

    /// So many bytes of a stream, from an offset in it.
    fn read(&self, stream: &Stream, offset: u64, length: usize) -> Result<Vec<u8>, Unread> {
        if offset.saturating_add(length as u64) > stream.bytes {
            return Err(doubtful("a file of the system is too short"));
        }
        let mut out = vec![0; length];
        let (mut skip, mut rest) = (offset, out.as_mut_slice());
        for run in &stream.runs {
            // Both are within the volume.
            let (at, bytes) = (run.first * self.boot.cluster_bytes, run.clusters * self.boot.cluster_bytes);
            if rest.is_empty() {
                break;
            }
            if skip >= bytes {
                skip -= bytes;
                continue;
            }
            let here = rest.len().min(usize::try_from(bytes - skip).unwrap_or(usize::MAX));
            let (part, after) = rest.split_at_mut(here);
            self.source.read_at(at + skip, part)?;
            (skip, rest) = (0, after);
        }
        Ok(out)
    }

    fn label(&self, record: &[u8]) -> Result<String, Unread> {
        match self.attribute(VOLUME, record, record::VOLUME_NAME)? {
            Some(Content::Resident(name)) => Ok(names::label_of_utf16(&name)),
            Some(Content::Clusters(_)) | None => Ok(String::new()),
        }
    }

    /// Accepts a volume of a known version that was unmounted.
    fn check_volume(&self, record: &[u8]) -> Result<(), Unread> {
        let information = self.attribute(VOLUME, record, record::VOLUME_INFORMATION)?;
        let Some(Content::Resident(information)) = information else {
            return Err(doubtful("it does not say its version"));
        };
        if !matches!(byte(&information, 8), Some(1 | 3)) {
            return Err(doubtful("its version is unknown"));
        }
        if le16(&information, 10).is_none_or(|flags| flags & (DIRTY | IN_CHECK) != 0) {
            return Err(doubtful(UNCLEAN));
        }
        Ok(())
    }

    fn check_log(&self) -> Result<(), Unread> {
        let log = self.data(LOG, &self.record(LOG)?)?;
        let length = usize::try_from(log.bytes.min(log::HEAD_MAX)).unwrap_or_default();
        if log::is_clean(&self.read(&log, 0, length)?) {
            Ok(())
        } else {
            Err(doubtful("its log must be replayed: it was not unmounted, or its system is hibernated"))
        }
    }

    fn used(&self) -> Result<Extents, Unread> {
        let boot = &self.boot;
        let bitmap = self.data(BITMAP, &self.record(BITMAP)?)?;
        let mut clusters = Clusters::new(Extents::new(), 0, boot.cluster_bytes, boot.clusters);
        let needed = boot.clusters.div_ceil(8);
        for piece in (0..needed).step_by(PIECE) {
            let length = usize::try_from((needed - piece).min(PIECE as u64)).unwrap_or_default();
            clusters.push_bitmap(&self.read(&bitmap, piece, length)?);
        }
        let mut used = clusters.into_used();
        let runs = self.stream.runs.iter().chain(&bitmap.runs).map(|run| (run.first, run.clusters));
        for (first, count) in runs.chain([(0, 1)]) {
            let range = first * boot.cluster_bytes..(first + count) * boot.cluster_bytes;
            if !used.contains(range) {
                return Err(doubtful("its bitmap does not have what it and the master file table lie in"));
            }
        }
        let end = self.source.bytes();
        let copy = (boot.sectors + 1).saturating_mul(boot.sector).min(end);
        used.add(boot.clusters * boot.cluster_bytes..copy);
        used.add(end.saturating_sub(boot.sector)..end);
        Ok(used)
    }
}

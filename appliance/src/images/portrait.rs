//! What is in an image, for a person.

use std::collections::BTreeSet;

use fleet::view::image::{Cell, ContentView, DiffView, PartitionRow, VolumeRow};
use pack::{Block, Digest, Manifest, PartitionId, VolumeId};

use super::diff::diff;
use super::{ImageError, Images};

/// Stretches of the disk that are told apart: what fits a line.
const CELLS: usize = 64;

impl Images {
    /// What is in an image.
    ///
    /// # Errors
    /// [`ImageError`], when it is not there.
    pub fn content(&self, digest: &Digest) -> Result<ContentView, ImageError> {
        let stored = self.stored(digest)?;
        let manifest = &stored.manifest;
        let alone = self.bytes_of(&BTreeSet::from([*digest]));
        let counted = counted(manifest);
        let layout = manifest.layout();
        Ok(ContentView {
            root: manifest.root().to_string(),
            sector_bytes: layout.sector_bytes,
            chunks: manifest.chunks().len(),
            data_bytes: counted.iter().map(|(data, _)| data).sum(),
            zero_bytes: counted.iter().map(|(_, zero)| zero).sum(),
            shared_bytes: Self::once(manifest).saturating_sub(alone),
            table: layout.table.as_ref().map(|table| table.kind.clone()),
            partitions: layout.partitions.iter().map(partition).collect(),
            volumes: layout.volumes.iter().map(volume).collect(),
            cells: cells(&counted, manifest.disk_bytes()),
        })
    }

    /// The digest of the list of packages that an image was built from; none: it does not say, or is not there.
    pub fn packages(&self, digest: &Digest) -> Option<Digest> {
        self.stored(digest).ok()?.manifest.packages()
    }

    /// The difference between two images.
    ///
    /// # Errors
    /// [`ImageError`], when one is not there.
    pub fn diff(&self, from: &Digest, to: &Digest) -> Result<DiffView, ImageError> {
        Ok(diff(&self.stored(from)?.manifest, &self.stored(to)?.manifest))
    }

    /// Stored bytes of an image, each chunk once.
    fn once(manifest: &Manifest) -> u64 {
        let mut seen = BTreeSet::new();
        let chunks = manifest.chunks().iter();
        let once = chunks.filter(|chunk| chunk.stored_digest.is_some_and(|digest| seen.insert(digest)));
        once.map(|chunk| u64::from(chunk.stored)).sum()
    }
}

/// The stretch of the disk of this number, in bytes from its start.
fn begin(cell: usize, disk_bytes: u64) -> u64 {
    let (cell, cells) = (u128::try_from(cell).unwrap_or(0), u128::try_from(CELLS).unwrap_or(1));
    u64::try_from(u128::from(disk_bytes) * cell / cells).unwrap_or(u64::MAX)
}

/// Bytes of data and of zeros in each stretch.
fn counted(manifest: &Manifest) -> Vec<(u64, u64)> {
    let disk = manifest.disk_bytes();
    let mut counted = vec![(0, 0); CELLS];
    let mut cell = 0;
    for chunk in manifest.chunks() {
        for (kind, range) in chunk.map.runs(chunk.bytes) {
            let offset = |at: usize| chunk.disk_offset() + u64::try_from(at).unwrap_or(0);
            let (mut at, end) = (offset(range.start), offset(range.end));
            while at < end && kind != Block::Free {
                // Runs ascend, so the stretch never goes back.
                while cell + 1 < CELLS && begin(cell + 1, disk) <= at {
                    cell += 1;
                }
                let stop = if cell + 1 < CELLS { begin(cell + 1, disk).min(end) } else { end };
                if let Some((data, zero)) = counted.get_mut(cell) {
                    *(if kind == Block::Data { data } else { zero }) += stop - at;
                }
                at = stop;
            }
        }
    }
    counted
}

fn cells(counted: &[(u64, u64)], disk: u64) -> Vec<Cell> {
    let cell = |(number, (data, zero)): (usize, &(u64, u64))| {
        let bytes = (begin(number + 1, disk) - begin(number, disk)).max(1);
        let percent = |part: u64| match u8::try_from(u128::from(part) * 100 / u128::from(bytes)) {
            Ok(0) if part > 0 => 1,
            Ok(percent) => percent.min(100),
            Err(_) => 100,
        };
        Cell { data: percent(*data), zero: percent(*zero) }
    };
    counted.iter().enumerate().map(cell).collect()
}

fn partition(partition: &PartitionId) -> PartitionRow {
    let PartitionId { number, kind, uuid, name, offset, bytes } = partition.clone();
    PartitionRow { number, kind, name, uuid, offset, bytes }
}

fn volume(volume: &VolumeId) -> VolumeRow {
    let VolumeId { kind, uuid, label, offset, bytes, used_bytes } = volume.clone();
    VolumeRow { kind, label, uuid, offset, bytes, used_bytes }
}

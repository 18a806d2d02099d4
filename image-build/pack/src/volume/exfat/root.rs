//! The root directory of exFAT: where the allocation bitmaps are, and the label.

use super::boot::Boot;
use super::{Unread, doubtful};
use crate::field::{byte, le32, le64};
use crate::names::label_of_utf16;
use crate::{Source, source};

/// The longest directory, section 7.4: 256 MiB.
const DIRECTORY_MAX: u64 = 256 << 20;

/// Bytes that are read at a time; the smallest cluster is as long as a sector, and a piece never goes beyond one.
const PIECE: usize = 64 << 10;

/// Types of entries: section 7.
const BITMAP: u8 = 0x81;
const LABEL: u8 = 0x83;

/// Where an allocation bitmap lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bitmap {
    pub(super) cluster: u32,
    /// Length in bytes.
    pub(super) bytes: u64,
}

/// What the root directory says.
#[derive(Debug, Default)]
pub(super) struct Root {
    /// Of the first and the second table.
    pub(super) bitmaps: [Option<Bitmap>; 2],
    pub(super) label: String,
}

impl Root {
    pub(super) fn read(source: &dyn Source, boot: &Boot) -> Result<Root, Unread> {
        let mut root = Root::default();
        let mut cluster = boot.root_cluster;
        let steps = boot.clusters.min(DIRECTORY_MAX / boot.cluster_bytes);
        for _ in 0..steps {
            let Some(at) = boot.cluster_at(cluster) else {
                return Err(doubtful("its root directory leaves the volume"));
            };
            for piece in (0..boot.cluster_bytes).step_by(PIECE) {
                let length =
                    usize::try_from((boot.cluster_bytes - piece).min(PIECE as u64)).unwrap_or_default();
                if root.take(&source::read(source, at + piece, length)?) {
                    return Ok(root);
                }
            }
            cluster = boot.next(source, cluster)?;
            if cluster == u32::MAX {
                return Ok(root);
            }
        }
        Err(doubtful("its root directory has no end"))
    }

    /// Takes entries in; whether the directory ends here.
    fn take(&mut self, entries: &[u8]) -> bool {
        for entry in entries.as_chunks::<32>().0 {
            match entry.first() {
                None | Some(0) => return true,
                Some(&BITMAP) => self.take_bitmap(entry),
                Some(&LABEL) if self.label.is_empty() => {
                    let length = usize::from(byte(entry, 1).unwrap_or_default()).min(11) * 2;
                    self.label = label_of_utf16(entry.get(2..2 + length).unwrap_or_default());
                }
                Some(_) => {}
            }
        }
        false
    }

    fn take_bitmap(&mut self, entry: &[u8]) {
        let table = usize::from(byte(entry, 1).unwrap_or_default() & 1);
        let bitmap = le32(entry, 20).zip(le64(entry, 24)).map(|(cluster, bytes)| Bitmap { cluster, bytes });
        if let Some(slot) = self.bitmaps.get_mut(table).filter(|slot| slot.is_none()) {
            *slot = bitmap;
        }
    }
}

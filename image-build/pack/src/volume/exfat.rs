//! exFAT, with one allocation bitmap or with two (TexFAT).
//!
//! In use is all before the first cluster (both boot regions, the tables and the gaps between them: at most a few MiB), and
//! every cluster that an allocation bitmap has. Clusters that are known as bad are in the bitmap too: only files that are
//! chained through the table could tell them from others, so they stay in.

use super::clusters::Clusters;
use super::{Name, UNCLEAN, Unread, Volume, doubtful, longer};
use crate::{Extents, Source, field, names, source};

mod boot;
mod root;

use boot::Boot;
use root::{Bitmap, Root};

/// Bytes of a bitmap that are read at a time.
const PIECE: usize = 1 << 20;

pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    let sector = boot::find(source)?;
    let serial = field::le32(&sector, 100).unwrap_or_default();
    let mut name = Name { kind: "exfat", uuid: names::serial(serial), label: String::new() };
    let used = used(source, &sector, &mut name);
    name.with(used, source)
}

/// Finds the label on the way: it lies in the root directory.
fn used(source: &dyn Source, sector: &[u8], name: &mut Name) -> Result<Extents, Unread> {
    let boot = Boot::read(source, sector)?;
    let root = Root::read(source, &boot)?;
    name.label.clone_from(&root.label);
    if boot.is_unclean {
        return Err(doubtful(UNCLEAN));
    }
    let bitmaps = bitmaps(source, &boot, &root)?;
    let used = clusters(source, &boot, &bitmaps)?;
    let starts = bitmaps.iter().map(|bitmap| bitmap.cluster).chain([boot.root_cluster]);
    for at in starts.filter_map(|cluster| boot.cluster_at(cluster)) {
        if !used.contains(at..at + boot.cluster_bytes) {
            return Err(doubtful("its bitmap does not have what it lies in itself"));
        }
    }
    Ok(used)
}

/// One bitmap for each table, each of them in one piece.
fn bitmaps(source: &dyn Source, boot: &Boot, root: &Root) -> Result<Vec<Bitmap>, Unread> {
    let bitmaps = root.bitmaps.iter().flatten().copied().collect::<Vec<_>>();
    if root.bitmaps.first().is_none_or(Option::is_none) || bitmaps.len() != usize::from(boot.fats) {
        return Err(doubtful("it has not one bitmap for each table"));
    }
    let needed = boot.clusters.div_ceil(8);
    for bitmap in &bitmaps {
        if bitmap.bytes < needed {
            return Err(doubtful("its bitmap is shorter than its clusters"));
        }
        check_in_one_piece(source, boot, bitmap.cluster, needed.div_ceil(boot.cluster_bytes))?;
    }
    Ok(bitmaps)
}

/// The specification lets the table say where the bitmap goes on. Linux takes it for one piece, and everything that
/// formats writes it so: one in pieces would be read differently by different systems.
fn check_in_one_piece(source: &dyn Source, boot: &Boot, first: u32, count: u64) -> Result<(), Unread> {
    let in_pieces = || doubtful("its bitmap is not in one piece");
    let last = u64::from(first) + count - 1;
    if boot.cluster_at(first).is_none() || last >= boot.clusters + 2 {
        return Err(doubtful("its bitmap leaves the volume"));
    }
    let mut cluster = u64::from(first);
    while cluster < last {
        // At most 2^20 bytes of the table.
        let links = (last - cluster).min(PIECE as u64 / 4);
        let length = usize::try_from(links * 4).unwrap_or_default();
        let table = source::read(source, boot.fat_at + cluster * 4, length)?;
        for (link, cluster) in table.as_chunks::<4>().0.iter().zip(cluster..) {
            if u64::from(u32::from_le_bytes(*link)) != cluster + 1 {
                return Err(in_pieces());
            }
        }
        cluster += links;
    }
    Ok(())
}

/// What either bitmap has: where a transaction was under way, only one of them is right.
fn clusters(source: &dyn Source, boot: &Boot, bitmaps: &[Bitmap]) -> Result<Extents, Unread> {
    let before = Extents::all(boot.heap_at);
    let mut clusters = Clusters::new(before, boot.heap_at, boot.cluster_bytes, boot.clusters);
    let needed = boot.clusters.div_ceil(8);
    for piece in (0..needed).step_by(PIECE) {
        let mut bits = vec![0; usize::try_from((needed - piece).min(PIECE as u64)).unwrap_or_default()];
        for at in bitmaps.iter().filter_map(|bitmap| boot.cluster_at(bitmap.cluster)) {
            let other = source::read(source, at + piece, bits.len())?;
            bits.iter_mut().zip(other).for_each(|(bits, other)| *bits |= other);
        }
        clusters.push_bitmap(&bits);
    }
    Ok(clusters.into_used())
}

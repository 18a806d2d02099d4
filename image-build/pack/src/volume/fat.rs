//! FAT12, FAT16 and FAT32.
//!
//! In use are the reserved sectors, all tables, the root directory of FAT12 and FAT16, and every cluster whose entry in the
//! table is neither 0 nor the mark of a bad one. The table counts when all its copies are equal and neither it nor the boot
//! sector says that the volume was not unmounted.

use super::clusters::Clusters;
use super::{Name, UNCLEAN, Unread, Volume, doubtful, longer};
use crate::field::{le16, le32};
use crate::{Extents, Source, names, source};

mod boot;
mod root;

use boot::{Boot, Layout, Width};

/// Entries that are read at a time; even, so that a batch of FAT12 begins on a byte.
const BATCH: u64 = 1 << 18;

/// Bit 0 of the boot sector's state: it was not unmounted. Bit 1: errors were seen, a scan of the surface is due.
const STATE: u8 = 3;

pub(super) fn read(source: &dyn Source, _depth: u8) -> Result<Volume, Unread> {
    if source.bytes() < 512 {
        return Err(Unread::Other);
    }
    let boot = Boot::parse(&source::read(source, 0, 512)?).ok_or(Unread::Other)?;
    // The table begins with the media type: the sure sign that there is one.
    if boot.fats_at().saturating_add(2) > source.bytes()
        || source::read(source, boot.fats_at(), 2)? != [boot.media, 0xff]
    {
        return Err(Unread::Other);
    }
    let mut name = Name { kind: "vfat", uuid: names::serial(boot.serial), label: String::new() };
    let used = used(source, &boot, &mut name);
    name.with(used, source)
}

/// Finds the label on the way: it lies behind the tables.
fn used(source: &dyn Source, boot: &Boot, name: &mut Name) -> Result<Extents, Unread> {
    let layout = boot.layout(source.bytes())?;
    name.label = root::label(source, &layout, boot.root_cluster)?;
    check_state(source, boot, &layout)?;
    let used = clusters(source, &layout)?;
    if layout.width == Width::Fat32 {
        let root = layout.cluster_at(u64::from(boot.root_cluster));
        if !root.is_some_and(|at| used.contains(at..at.saturating_add(layout.cluster_bytes))) {
            return Err(doubtful("its root directory is not in a cluster in use"));
        }
    }
    Ok(used)
}

/// FAT12 has no bits of its own in the table: its entries are too narrow.
fn check_state(source: &dyn Source, boot: &Boot, layout: &Layout) -> Result<(), Unread> {
    let clean_and_sound = match layout.width {
        Width::Fat12 => 0,
        Width::Fat16 => 0xc000,
        Width::Fat32 => 0x0c00_0000,
    };
    let entry = layout.entries(source, layout.fat, 0, 2)?.get(1).copied().unwrap_or_default();
    if boot.state & STATE != 0 || entry & clean_and_sound != clean_and_sound {
        return Err(doubtful(UNCLEAN));
    }
    Ok(())
}

/// What the tables say.
fn clusters(source: &dyn Source, layout: &Layout) -> Result<Extents, Unread> {
    let end = layout.clusters + 2;
    let before = Extents::all(layout.data_at);
    let mut clusters = Clusters::new(before, layout.data_at, layout.cluster_bytes, layout.clusters);
    let mut first = 0;
    while first < end {
        let count = (end - first).min(BATCH);
        let entries = layout.entries(source, layout.fat, first, count)?;
        // The first two stand for no cluster; not every system keeps their flags equal.
        let skip = usize::from(first == 0) * 2;
        for mirror in layout.mirrors.clone() {
            let other = layout.entries(source, mirror, first, count)?;
            if entries.get(skip..) != other.get(skip..) {
                return Err(doubtful("its tables differ"));
            }
        }
        for (cluster, entry) in (first..).zip(&entries).skip(skip) {
            if *entry != 0 && *entry != layout.width.bad() {
                clusters.add(cluster - 2);
            }
        }
        first += count;
    }
    Ok(clusters.into_used())
}

impl Layout {
    /// Entries of a table, `first` an even number.
    fn entries(&self, source: &dyn Source, fat: u64, first: u64, count: u64) -> Result<Vec<u32>, Unread> {
        let bits = self.width.bits();
        let at = self.fats_at + fat * self.fat_bytes + first * bits / 8;
        let length = usize::try_from((count * bits).div_ceil(8)).unwrap_or(usize::MAX);
        let bytes = source::read(source, at, length)?;
        let entry = |n: usize| match self.width {
            Width::Fat12 => le16(&bytes, n * 3 / 2).map(|pair| u32::from(pair >> (n % 2 * 4))),
            Width::Fat16 => le16(&bytes, n * 2).map(u32::from),
            Width::Fat32 => le32(&bytes, n * 4),
        };
        let count = usize::try_from(count).unwrap_or_default();
        Ok((0..count).filter_map(entry).map(|entry| entry & self.width.mask()).collect())
    }

    /// The entry of one cluster.
    fn entry(&self, source: &dyn Source, cluster: u64) -> Result<u64, Unread> {
        let even = cluster & !1;
        let entries = self.entries(source, self.fat, even, cluster - even + 1)?;
        Ok(entries.last().copied().unwrap_or_default().into())
    }

    /// Where a cluster begins; `None` when it is none of the volume's.
    fn cluster_at(&self, cluster: u64) -> Option<u64> {
        let n = cluster.checked_sub(2)?;
        (n < self.clusters).then(|| self.data_at + n * self.cluster_bytes)
    }
}

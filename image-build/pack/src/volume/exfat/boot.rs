//! The boot region of exFAT: where the tables and the clusters are.
//!
//! Microsoft, "exFAT file system specification", revision 1.00, section 3.

use super::{Unread, doubtful, longer};
use crate::field::{array, byte, le16, le32, le64};
use crate::{Source, source};

/// Where everything is, in bytes from the start of the volume. All of it is within the volume.
#[derive(Debug)]
pub(super) struct Boot {
    /// The table in use.
    pub(super) fat_at: u64,
    /// How many tables there are, 1 or 2, and allocation bitmaps with them.
    pub(super) fats: u8,
    /// Where cluster 2 is.
    pub(super) heap_at: u64,
    /// A power of two, at most 32 MiB.
    pub(super) cluster_bytes: u64,
    /// How many clusters there are: they are 2 up to this + 2.
    pub(super) clusters: u64,
    pub(super) root_cluster: u32,
    /// Not unmounted, or with errors.
    pub(super) is_unclean: bool,
}

/// Volume flags, section 3.1.13: the second table is in use; not unmounted; the medium failed.
const SECOND_FAT: u16 = 1;
const DIRTY: u16 = 2;
const FAILED: u16 = 4;

/// Where the length of a sector is, as a power of two.
const SHIFT: usize = 108;

/// The most clusters there can be: 2^32 - 11.
const CLUSTERS_MAX: u32 = u32::MAX - 10;

/// The first bytes of the boot sector, when they are exFAT's.
pub(super) fn find(source: &dyn Source) -> Result<Vec<u8>, Unread> {
    if source.bytes() < 512 {
        return Err(Unread::Other);
    }
    let sector = source::read(source, 0, 512)?;
    let is_exfat = array(&sector, 3) == Some(*b"EXFAT   ")
        && array(&sector, 510) == Some([0x55, 0xaa])
        && array(&sector, 11) == Some([0; 53])
        && byte(&sector, SHIFT).is_some_and(|shift| (9..=12).contains(&shift));
    if is_exfat { Ok(sector) } else { Err(Unread::Other) }
}

impl Boot {
    /// What those bytes say.
    pub(super) fn read(source: &dyn Source, sector: &[u8]) -> Result<Boot, Unread> {
        let shift = u32::from(byte(sector, SHIFT).unwrap_or_default());
        check_sum(source, shift)?;
        // No field lies outside 512 bytes.
        fields(sector, shift, source.bytes()).ok_or(Unread::Other)?
    }
}

/// Section 3.4: sector 11 repeats the sum of the eleven before it.
fn check_sum(source: &dyn Source, shift: u32) -> Result<(), Unread> {
    let length = 11_usize << shift;
    if source.bytes() < 24 << shift {
        return Err(longer(24 << shift, source.bytes()));
    }
    let region = source::read(source, 0, length)?;
    // The volume flags and the percentage in use change without the sum.
    let summed = region.iter().enumerate().filter(|(at, _)| !matches!(at, 106 | 107 | 112));
    let sum = summed.fold(0_u32, |sum, (_, byte)| sum.rotate_right(1).wrapping_add(u32::from(*byte)));
    let sums = source::read(source, length as u64, 1 << shift)?;
    if sums.as_chunks::<4>().0.iter().any(|kept| u32::from_le_bytes(*kept) != sum) {
        return Err(doubtful("its boot region has a wrong checksum"));
    }
    Ok(())
}

fn fields(sector: &[u8], shift: u32, volume: u64) -> Option<Result<Boot, Unread>> {
    let doubtful = |why: &str| Some(Err(doubtful(why)));
    let length = le64(sector, 72)?;
    let (fat, fat_length) = (u64::from(le32(sector, 80)?), u64::from(le32(sector, 84)?));
    let (heap, clusters) = (u64::from(le32(sector, 88)?), le32(sector, 92)?);
    let (revision, flags) = (le16(sector, 104)?, le16(sector, 106)?);
    let (cluster_shift, fats) = (u32::from(byte(sector, 109)?), byte(sector, 110)?);
    if revision >> 8 != 1 {
        return doubtful("its version is unknown");
    }
    if cluster_shift > 25 - shift || !(1..=2).contains(&fats) || !(1..=CLUSTERS_MAX).contains(&clusters) {
        return doubtful("its boot sector makes no sense");
    }
    if length > volume >> shift {
        return Some(Err(longer(length.saturating_mul(1 << shift), volume)));
    }
    let clusters = u64::from(clusters);
    if fat < 24 || fat + fat_length * u64::from(fats) > heap || heap + (clusters << cluster_shift) > length {
        return doubtful("its tables and clusters do not fit into it");
    }
    if (fat_length << shift) / 4 < clusters + 2 {
        return doubtful("its table is shorter than its clusters");
    }
    if flags & SECOND_FAT != 0 && fats == 1 {
        return doubtful("the table in use is none of its tables");
    }
    Some(Ok(Boot {
        fat_at: (fat + fat_length * u64::from(flags & SECOND_FAT)) << shift,
        fats,
        heap_at: heap << shift,
        cluster_bytes: 1 << (shift + cluster_shift),
        clusters,
        root_cluster: le32(sector, 96)?,
        is_unclean: flags & (DIRTY | FAILED) != 0,
    }))
}

impl Boot {
    /// Where a cluster begins; `None` when it is none of the volume's.
    pub(super) fn cluster_at(&self, cluster: u32) -> Option<u64> {
        let n = u64::from(cluster.checked_sub(2)?);
        (n < self.clusters).then(|| self.heap_at + n * self.cluster_bytes)
    }

    /// What follows a cluster of the volume in its chain.
    pub(super) fn next(&self, source: &dyn Source, cluster: u32) -> Result<u32, Unread> {
        let entry = source::read(source, self.fat_at + u64::from(cluster) * 4, 4)?;
        Ok(le32(&entry, 0).unwrap_or_default())
    }
}

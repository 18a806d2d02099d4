//! The boot sector of NTFS: where the clusters and the master file table are.
//!
//! The layout is that of the documentation of the Linux-NTFS project and of the kernel's `fs/ntfs3`.

use super::{Unread, doubtful, longer};
use crate::field::{array, byte, le16, le64};
use crate::{Source, source};

/// Where everything is. The file system is within the volume.
#[derive(Debug)]
pub(super) struct Boot {
    /// Bytes of a sector.
    pub(super) sector: u64,
    /// Sectors of the file system, without the copy of the boot sector that follows them.
    pub(super) sectors: u64,
    /// A power of two, at most 2 MiB.
    pub(super) cluster_bytes: u64,
    /// How many clusters there are; sectors may follow the last.
    pub(super) clusters: u64,
    /// The first cluster of the master file table.
    pub(super) mft: u64,
    /// Bytes of a record of the master file table: a power of two from 512 to 65536.
    pub(super) record_bytes: usize,
}

/// The boot sector's first 512 bytes, when they are NTFS's.
pub(super) fn find(source: &dyn Source) -> Result<Vec<u8>, Unread> {
    if source.bytes() < 512 {
        return Err(Unread::Other);
    }
    let sector = source::read(source, 0, 512)?;
    if is_ntfs(&sector) { Ok(sector) } else { Err(Unread::Other) }
}

/// The serial number in those bytes.
pub(super) fn serial(sector: &[u8]) -> u64 {
    le64(sector, 72).unwrap_or_default()
}

impl Boot {
    /// What those bytes say of a volume of so many bytes.
    pub(super) fn read(sector: &[u8], volume_bytes: u64) -> Result<Boot, Unread> {
        let boot = parse(sector).ok_or_else(|| doubtful("its boot sector makes no sense"))?;
        if boot.sectors > volume_bytes / boot.sector {
            return Err(longer(boot.sectors.saturating_mul(boot.sector), volume_bytes));
        }
        let record_clusters = (boot.record_bytes as u64).div_ceil(boot.cluster_bytes);
        if boot.mft.saturating_add(record_clusters) > boot.clusters {
            return Err(doubtful("its master file table lies outside it"));
        }
        Ok(boot)
    }
}

/// The name, and zero in every field that only FAT has.
fn is_ntfs(sector: &[u8]) -> bool {
    array(sector, 3) == Some(*b"NTFS    ")
        && array(sector, 510) == Some([0x55, 0xaa])
        && array(sector, 14) == Some([0; 7])
        && le16(sector, 22) == Some(0)
}

fn parse(sector: &[u8]) -> Option<Boot> {
    let bytes = u64::from(le16(sector, 11)?);
    let cluster_sectors = match byte(sector, 13)? {
        // Large clusters: a power of two, negative.
        shift @ 0xf4.. => 1 << (256 - u32::from(shift)),
        count => u64::from(count),
    };
    let cluster_bytes = bytes * cluster_sectors;
    let is_sane = (512..=4096).contains(&bytes)
        && bytes.is_power_of_two()
        && cluster_sectors.is_power_of_two()
        && cluster_bytes <= 2 << 20;
    let record_bytes = match byte(sector, 64)? {
        shift @ 0xf0..=0xf7 => 1 << (256 - u32::from(shift)),
        clusters @ 1..=0x7f => u64::from(clusters) * cluster_bytes,
        _ => return None,
    };
    let is_sane = is_sane && record_bytes.is_power_of_two() && (512..=65536).contains(&record_bytes);
    let sectors = le64(sector, 40)?;
    if !is_sane {
        return None;
    }
    Some(Boot {
        sector: bytes,
        sectors,
        cluster_bytes,
        clusters: sectors / cluster_sectors,
        mft: le64(sector, 48)?,
        record_bytes: usize::try_from(record_bytes).ok()?,
    })
}

//! The boot sector of NTFS: where the clusters and the master file table are.
//!
//! The layout is that of the documentation of the Linux-NTFS project and of the kernel's `fs/ntfs3`.

use super::super::Unread;
use super::super::fields::{bytes_at, u8_at, u16_at, u64_at};
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
    pub(super) serial: u64,
}

impl Boot {
    pub(super) fn read(source: &dyn Source) -> Result<Boot, Unread> {
        if source.bytes() < 512 {
            return Err(Unread::Other);
        }
        let sector = source::read(source, 0, 512)?;
        if !is_ntfs(&sector) {
            return Err(Unread::Other);
        }
        // No field lies outside 512 bytes.
        let doubtful = |why: &str| Unread::Doubtful(why.to_owned());
        let boot = parse(&sector).ok_or_else(|| doubtful("its boot sector makes no sense"))?;
        if boot.sectors > source.bytes() / boot.sector {
            return Err(doubtful("the file system is longer than the volume"));
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
    bytes_at(sector, 3) == Some(*b"NTFS    ")
        && bytes_at(sector, 510) == Some([0x55, 0xaa])
        && bytes_at(sector, 14) == Some([0; 7])
        && u16_at(sector, 22) == Some(0)
}

fn parse(sector: &[u8]) -> Option<Boot> {
    let bytes = u64::from(u16_at(sector, 11)?);
    let cluster_sectors = match u8_at(sector, 13)? {
        // Large clusters: a power of two, negative.
        shift @ 0xf4.. => 1 << (256 - u32::from(shift)),
        count => u64::from(count),
    };
    let cluster_bytes = bytes * cluster_sectors;
    let is_sane = (512..=4096).contains(&bytes)
        && bytes.is_power_of_two()
        && cluster_sectors.is_power_of_two()
        && cluster_bytes <= 2 << 20;
    let record_bytes = match u8_at(sector, 64)? {
        shift @ 0xf0..=0xf7 => 1 << (256 - u32::from(shift)),
        clusters @ 1..=0x7f => u64::from(clusters) * cluster_bytes,
        _ => return None,
    };
    let is_sane = is_sane && record_bytes.is_power_of_two() && (512..=65536).contains(&record_bytes);
    let sectors = u64_at(sector, 40)?;
    if !is_sane {
        return None;
    }
    Some(Boot {
        sector: bytes,
        sectors,
        cluster_bytes,
        clusters: sectors / cluster_sectors,
        mft: u64_at(sector, 48)?,
        record_bytes: usize::try_from(record_bytes).ok()?,
        serial: u64_at(sector, 72)?,
    })
}

//! The boot sector of FAT: where the tables and the clusters are.
//!
//! Microsoft, "FAT: General Overview of On-Disk Format", 1.03; the state byte is what Linux and Windows NT write.

use std::ops::Range;

use super::{Unread, doubtful, longer};
use crate::field::{array, byte, le16, le32};

/// Bits of an entry of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    Fat12,
    Fat16,
    Fat32,
}

impl Width {
    pub(super) fn bits(self) -> u64 {
        match self {
            Width::Fat12 => 12,
            Width::Fat16 => 16,
            Width::Fat32 => 32,
        }
    }

    /// The bits of an entry that count: the upper four of FAT32 are reserved.
    pub(super) fn mask(self) -> u32 {
        match self {
            Width::Fat12 => 0xfff,
            Width::Fat16 => 0xffff,
            Width::Fat32 => 0x0fff_ffff,
        }
    }

    /// What marks a bad cluster.
    pub(super) fn bad(self) -> u32 {
        self.mask() - 8
    }

    /// The most clusters that entries can name.
    fn clusters_max(self) -> u64 {
        u64::from(self.mask()) - 11
    }
}

/// The fields of a boot sector that looks like FAT's, as they are written there.
#[derive(Debug)]
pub(super) struct Boot {
    /// Bytes of a sector.
    sector: u64,
    cluster_sectors: u64,
    reserved: u64,
    fats: u64,
    root_entries: u64,
    sectors: u64,
    /// The media type, which the table's first entry repeats.
    pub(super) media: u8,
    fat_sectors: u64,
    is_fat32: bool,
    flags: u16,
    version: u16,
    pub(super) root_cluster: u32,
    /// Bit 0: mounted and written to; bit 1: a surface scan is due.
    pub(super) state: u8,
    pub(super) serial: u32,
    /// `FAT16   ` and the like; for people, says the specification.
    kind: [u8; 8],
}

/// Where everything is, in bytes from the start of the volume. All of it is within the volume.
#[derive(Debug)]
pub(super) struct Layout {
    pub(super) width: Width,
    pub(super) fats_at: u64,
    /// Bytes of one table.
    pub(super) fat_bytes: u64,
    /// The table that is read.
    pub(super) fat: u64,
    /// The tables that must be equal to it.
    pub(super) mirrors: Range<u64>,
    /// The root directory of FAT12 and FAT16.
    pub(super) root: Range<u64>,
    /// Where cluster 2 is.
    pub(super) data_at: u64,
    pub(super) cluster_bytes: u64,
    /// How many clusters there are: they are 2 up to this + 2.
    pub(super) clusters: u64,
}

/// Volumes with a boot sector like FAT's that are something else: JFS and HPFS.
const OTHER_KINDS: [&[u8; 8]; 2] = [b"JFS     ", b"HPFS    "];

/// What BitLocker To Go has at offset 424: files of the FAT that is seen cover an encrypted volume.
const BITLOCKER: [u8; 16] =
    [0x3b, 0xd6, 0x67, 0x49, 0x29, 0x2e, 0xd8, 0x4a, 0x83, 0x99, 0xf6, 0xa3, 0x39, 0xe3, 0xd0, 0x01];

impl Boot {
    /// `None` when it is not a boot sector of FAT. An MBR and a boot loader's sector end in the same two bytes: what tells
    /// them apart is that every field of the parameter block makes sense.
    pub(super) fn parse(sector: &[u8]) -> Option<Boot> {
        let sectors = match le16(sector, 19)? {
            0 => u64::from(le32(sector, 32)?),
            few => u64::from(few),
        };
        let short = le16(sector, 22)?;
        let is_fat32 = short == 0;
        let extended = if is_fat32 { 64 } else { 36 };
        let boot = Boot {
            sector: u64::from(le16(sector, 11)?),
            cluster_sectors: u64::from(byte(sector, 13)?),
            reserved: u64::from(le16(sector, 14)?),
            fats: u64::from(byte(sector, 16)?),
            root_entries: u64::from(le16(sector, 17)?),
            sectors,
            media: byte(sector, 21)?,
            fat_sectors: if is_fat32 { u64::from(le32(sector, 36)?) } else { u64::from(short) },
            is_fat32,
            flags: if is_fat32 { le16(sector, 40)? } else { 0 },
            version: if is_fat32 { le16(sector, 42)? } else { 0 },
            root_cluster: if is_fat32 { le32(sector, 44)? } else { 0 },
            state: byte(sector, extended + 1)?,
            serial: le32(sector, extended + 3)?,
            kind: array(sector, extended + 18)?,
        };
        let is_boot = matches!(byte(sector, 0)?, 0xeb | 0xe9) && array(sector, 510)? == [0x55, 0xaa];
        let is_other = OTHER_KINDS.contains(&&array(sector, 54)?) || array(sector, 424)? == BITLOCKER;
        (is_boot && !is_other && boot.is_sane()).then_some(boot)
    }

    fn is_sane(&self) -> bool {
        (512..=4096).contains(&self.sector)
            && self.sector.is_power_of_two()
            && self.cluster_sectors.is_power_of_two()
            && self.reserved > 0
            && self.fats > 0
            && (self.media == 0xf0 || self.media >= 0xf8)
            && self.fat_sectors > 0
            && self.sectors > 0
            && (self.root_entries == 0) == self.is_fat32
    }

    /// Where the first table is, in bytes.
    pub(super) fn fats_at(&self) -> u64 {
        self.reserved * self.sector
    }

    /// Where everything is on a volume of so many bytes.
    ///
    /// # Errors
    /// [`Unread::Doubtful`] when the fields contradict each other.
    pub(super) fn layout(&self, volume: u64) -> Result<Layout, Unread> {
        // No product of these overflows: sectors have 12 bits, counts 32, tables 8.
        let fat_bytes = self.fat_sectors * self.sector;
        let root_at = self.fats_at() + self.fats * fat_bytes;
        let data_at = root_at + (self.root_entries * 32).next_multiple_of(self.sector);
        let cluster_bytes = self.cluster_sectors * self.sector;
        let clusters = (self.sectors * self.sector).saturating_sub(data_at) / cluster_bytes;
        if self.sectors * self.sector > volume {
            return Err(longer(self.sectors * self.sector, volume));
        }
        if clusters == 0 {
            return Err(doubtful("it has no clusters"));
        }
        let width = self.width(clusters);
        if clusters > width.clusters_max() {
            return Err(doubtful("it has more clusters than its table can name"));
        }
        if fat_bytes * 8 / width.bits() < clusters + 2 {
            return Err(doubtful("its table is shorter than its clusters"));
        }
        if self.contradicts(width) {
            return Err(doubtful("it says to be another FAT than its number of clusters makes it"));
        }
        if self.version != 0 {
            return Err(doubtful("its version is unknown"));
        }
        let (fat, mirrors) = self.tables();
        if fat >= self.fats {
            return Err(doubtful("the table in use is none of its tables"));
        }
        let root = root_at..data_at;
        let fats_at = self.fats_at();
        Ok(Layout { width, fats_at, fat_bytes, fat, mirrors, root, data_at, cluster_bytes, clusters })
    }

    /// Linux and dosfstools go by which length of the table is there, then by the number of clusters.
    fn width(&self, clusters: u64) -> Width {
        if self.is_fat32 {
            Width::Fat32
        } else if clusters <= Width::Fat12.clusters_max() {
            Width::Fat12
        } else {
            Width::Fat16
        }
    }

    /// Whether the type that is written for people is another: systems could then differ on how to read it.
    fn contradicts(&self, width: Width) -> bool {
        match &self.kind {
            b"FAT12   " => width != Width::Fat12,
            b"FAT16   " => width != Width::Fat16,
            b"FAT32   " => width != Width::Fat32,
            _ => false,
        }
    }

    /// The table in use, and those that mirror it.
    fn tables(&self) -> (u64, Range<u64>) {
        if self.flags & 0x80 == 0 { (0, 1..self.fats) } else { (u64::from(self.flags & 0xf), 0..0) }
    }
}

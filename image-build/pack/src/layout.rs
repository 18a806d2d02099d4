//! What a manifest tells of the disk besides its bytes: sectors, partitions, file systems. From this a plan knows what an
//! image would put beside what is there already, without reading the image.

use serde::{Deserialize, Serialize};

use crate::{BLOCK, WINDOW};

/// How the disk is divided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Layout {
    /// Bytes of a logical sector: 512 or 4096. Partition tables count in them, so the image fits no other disk.
    pub sector_bytes: u32,
    /// The partition table; none when the disk is one volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<TableId>,
    /// The partitions, ascending by number; at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PartitionId>,
    /// The file systems and other volumes, in the order of the disk; at most 256.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeId>,
}

impl Default for Layout {
    /// 512-byte sectors, and nothing known of what is on them.
    fn default() -> Layout {
        Layout { sector_bytes: 512, table: None, partitions: Vec::new(), volumes: Vec::new() }
    }
}

impl Layout {
    /// The smallest disk that an image of a disk of so many bytes goes onto: up to the end of the last partition, and behind
    /// that the image's own last MiB, which is the backup GPT. An image without partitions needs a disk of its own size, and so does
    /// one whose last partition reaches into the last MiB. In bytes, a multiple of the sector.
    #[must_use]
    pub fn least_bytes(&self, disk_bytes: u64) -> u64 {
        let ends = self.partitions.iter().map(|one| one.offset.saturating_add(one.bytes));
        let Some(end) = ends.max().filter(|_| self.table.is_some()) else { return disk_bytes };
        // An image knows blocks: of the one that a partition ends in, it has all.
        let end = end.checked_next_multiple_of(u64::from(BLOCK)).unwrap_or(u64::MAX);
        disk_bytes - edge(disk_bytes).saturating_sub(end.max(u64::from(WINDOW)))
    }
}

/// Where the last MiB of a disk begins, or the block that its first byte lies in.
pub(crate) fn edge(disk_bytes: u64) -> u64 {
    let edge = disk_bytes.saturating_sub(u64::from(WINDOW));
    edge - edge % u64::from(BLOCK)
}

/// A partition table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TableId {
    /// `gpt` or `mbr`.
    pub kind: String,
    /// The disk's GUID, or the MBR's signature in eight hex digits; as blkid prints it.
    pub id: String,
}

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartitionId {
    /// Its number, from 1.
    pub number: u32,
    /// Its type: a GUID, or the MBR's byte as `0x83`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its UUID, in blkid's spelling (`PARTUUID`).
    pub uuid: String,
    /// Its name; only GPT has one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// First byte on the disk.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeId {
    /// `ext4`, `xfs`, `LVM2_member`, `raw` ….
    pub kind: String,
    /// UUID in blkid's spelling; empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Label, or the name of the volume group; empty when it has none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub label: String,
    /// First byte on the disk; of a volume inside another, that of the outer one.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Bytes of it that are in use.
    pub used_bytes: u64,
}

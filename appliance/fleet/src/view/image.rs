//! Images as people see them: one in full, the difference between two, what scrubs and prunes do.

use serde::{Deserialize, Serialize};

use super::ImageRow;

/// One image in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageView {
    /// What the list says.
    #[serde(flatten)]
    pub row: ImageRow,
    /// What the store knows; absent when its files are not there.
    #[serde(default)]
    pub content: Option<ContentView>,
    /// Windows (MiB of the disk) whose chunks are damaged in the store.
    #[serde(default)]
    pub damaged_windows: Vec<u32>,
    /// When it was last read through, RFC 3339.
    #[serde(default)]
    pub checked: Option<String>,
}

/// What is in an image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContentView {
    /// Merkle root of the content: the same for two images that make the same disk.
    pub root: String,
    /// Bytes of a logical sector.
    pub sector_bytes: u32,
    /// How many chunks.
    pub chunks: usize,
    /// Bytes of the disk that are data.
    pub data_bytes: u64,
    /// Bytes of the disk that must read as zeros.
    pub zero_bytes: u64,
    /// Stored bytes that another image has too.
    pub shared_bytes: u64,
    /// `gpt` or `mbr`; none when the disk is one volume.
    pub table: Option<String>,
    /// The partitions.
    pub partitions: Vec<PartitionRow>,
    /// The volumes.
    pub volumes: Vec<VolumeRow>,
    /// The disk in stretches of equal length.
    pub cells: Vec<Cell>,
}

/// A partition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionRow {
    /// From 1.
    pub number: u32,
    /// GUID, or the MBR's two hex digits.
    #[serde(rename = "type")]
    pub kind: String,
    /// Only GPT has one.
    pub name: String,
    /// `PARTUUID`.
    pub uuid: String,
    /// First byte on the disk.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
}

/// A volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeRow {
    /// `ext4`, `xfs`, ….
    pub kind: String,
    /// Label, or name of the volume group.
    pub label: String,
    /// UUID in blkid's spelling.
    pub uuid: String,
    /// First byte on the disk.
    pub offset: u64,
    /// Length in bytes.
    pub bytes: u64,
    /// Bytes in use.
    pub used_bytes: u64,
}

/// A stretch of the disk; what is neither data nor zero is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Percent of it that are data; at least 1 when there is any.
    pub data: u8,
    /// Percent of it that must read as zeros; at least 1 when there is any.
    pub zero: u8,
}

/// The difference between two images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffView {
    /// Name of the first.
    pub from: String,
    /// Its digest.
    pub from_digest: String,
    /// Name of the second.
    pub to: String,
    /// Its digest.
    pub to_digest: String,
    /// Of the whole disk.
    #[serde(flatten)]
    pub whole: DiffRow,
    /// Of each volume of the second, and of what lies outside them, `where` being `outside` then.
    pub volumes: Vec<VolumeDiff>,
    /// Why no disk goes from the first to the second, when it can't.
    #[serde(default)]
    pub obstacle: Option<String>,
}

/// The difference within one volume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VolumeDiff {
    /// Kind and label, or `outside`.
    #[serde(rename = "where")]
    pub place: String,
    /// First byte on the disk.
    pub offset: u64,
    /// The numbers.
    #[serde(flatten)]
    pub row: DiffRow,
}

/// Numbers of a difference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DiffRow {
    /// Windows that both define in the same way.
    pub same: Amount,
    /// Windows that both define and differ.
    pub changed: Amount,
    /// Windows that only the first defines.
    pub only_from: Amount,
    /// Windows that only the second defines.
    pub only_to: Amount,
    /// Stored bytes that a node which holds the first fetches at most to hold the second.
    pub fetch_bytes: u64,
}

/// So many chunks that define so many bytes of the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// Chunks.
    pub chunks: u64,
    /// Bytes of the disk, data and zeros.
    pub bytes: u64,
}

/// How far a scrub is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrubView {
    /// Whether it goes on.
    pub running: bool,
    /// The name of the image that is being read.
    pub image: Option<String>,
    /// Stored bytes read.
    pub done_bytes: u64,
    /// Stored bytes to be read in all.
    pub total_bytes: u64,
    /// Images that were read.
    pub found: Vec<ScrubRow>,
    /// RFC 3339; none when there was no scrub since the daemon started.
    pub begun: Option<String>,
    /// RFC 3339.
    pub ended: Option<String>,
}

/// What a scrub found of one image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ScrubRow {
    /// Its name.
    pub image: String,
    /// Its digest.
    pub digest: String,
    /// Stored bytes.
    pub bytes: u64,
    /// Damaged windows (MiB of the disk).
    pub bad: Vec<u32>,
}

/// What a prune removes, or removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneView {
    /// The images.
    pub images: Vec<PruneRow>,
    /// Bytes that become free, or are.
    pub bytes: u64,
    /// Whether it was done.
    pub done: bool,
    /// Packs that were rewritten because little of them was needed.
    #[serde(default)]
    pub rewritten: usize,
}

/// An image that a prune removes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PruneRow {
    /// Its name.
    pub name: String,
    /// Its digest.
    pub digest: String,
    /// RFC 3339.
    pub imported: String,
    /// Stored bytes that nothing else needs.
    pub bytes: u64,
}

/// The image store on one screen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreRow {
    /// How many images.
    pub images: usize,
    /// Stored bytes that they need, each chunk once.
    pub bytes: u64,
    /// Bytes that the packs take.
    pub pack_bytes: u64,
    /// What is wrong with images, and the command that mends it.
    pub problems: Vec<String>,
    /// The scrub.
    pub scrub: ScrubView,
}

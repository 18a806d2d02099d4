//! What is recognised on a disk, and which of it may not be erased unless it was named.
//!
//! [`foreign`] is used by the plan, on the newest look at the node, and by the agent, on its own look before it writes:
//! one rule on both sides.

use serde::{Deserialize, Serialize};

/// The GPT name of the root partition that a node of ours is told by.
pub const OWN_PARTITION: &str = "rackwright-root";
/// What the names of all partitions of such a disk begin with.
const OWN_PREFIX: &str = "rackwright-";

/// Members of something that lives on other disks too, or that nobody can read without a key which lies elsewhere.
/// `more`: there is more on the disk than is told, so that one of these may be among it.
const MEMBERS: [&str; 23] = [
    "bcache",
    "bcachefs",
    "bitlocker",
    "btrfs-pool",
    "ceph",
    "ddf-raid",
    "drbd",
    "gfs2",
    "gpfs",
    "isw-raid",
    "ldm",
    "lsi-raid",
    "luks",
    "lvm",
    "mdraid",
    "more",
    "nvidia-raid",
    "ocfs2",
    "promise-raid",
    "storage-spaces",
    "vmfs",
    "vsan",
    "zfs",
];
/// File systems that Linux is installed on.
const LINUX: [&str; 6] = ["btrfs", "ext2", "ext3", "ext4", "f2fs", "xfs"];
/// The file system that Windows is installed on.
const WINDOWS: [&str; 1] = ["ntfs"];
/// Not content of a partition, but where one is.
const TABLES: [&str; 3] = ["gpt", "mbr", "partition"];

/// Something recognised on a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holding {
    /// `gpt`, `mbr`, `partition`, `ext4`, `xfs`, `btrfs`, `ntfs`, `vfat`, `swap`, `lvm`, `luks`, `mdraid`, `zfs`, `ceph`,
    /// …; lower-case letters, digits and `-`. `unknown`: something is on it that none of these is. `more`: there is more
    /// than is told.
    pub kind: String,
    /// Partition number; 0 is the whole disk.
    pub partition: u32,
    /// Label, or name of the volume group, pool, array; cleaned of control characters; may be empty.
    pub label: String,
    /// Size in bytes where it is known.
    pub bytes: Option<u64>,
    /// What tells it from all others of its kind, as blkid(8) writes it: a file system's or an array's UUID, a FAT
    /// serial number, a physical volume's id, a table's disk id, a partition's PARTUUID; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// Whether an operating system starts from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<SystemPart>,
}

/// What a partition or file system is to an operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SystemPart {
    /// Its root: it was last mounted on `/`, or its partition's type says so.
    Root,
    /// An EFI system partition, by its type.
    Esp,
}

/// Those that a disk may not be erased with, unless they were named:
///
/// - every member of something bigger (LVM, RAID, Ceph, ZFS, …), and everything encrypted;
/// - when there is more than one operating system: what each of them starts from;
/// - on a disk of ours: whatever lies in a partition that no image of ours has.
///
/// One old installation, an unknown content and data on plain file systems are none: the plan shows them, and the
/// operator types the node's name.
pub fn foreign(holds: &[Holding]) -> Vec<&Holding> {
    let mut out = holds.iter().filter(|held| MEMBERS.contains(&held.kind.as_str())).collect::<Vec<_>>();
    out.extend(systems(holds));
    out.extend(added(holds));
    out.sort();
    out.dedup();
    out
}

/// What the operating systems start from, when there is more than one.
fn systems(holds: &[Holding]) -> Vec<&Holding> {
    let of = |kinds: &[&str]| holds.iter().filter(|h| kinds.contains(&h.kind.as_str())).collect::<Vec<_>>();
    let (windows, linux) = (of(&WINDOWS), of(&LINUX));
    let is_esp = |held: &&&Holding| held.system == Some(SystemPart::Esp);
    let partitions = of(&["partition"]);
    let esps = partitions.iter().filter(is_esp).copied().collect::<Vec<_>>();
    let roots = linux.iter().filter(|h| h.system == Some(SystemPart::Root)).copied().collect::<Vec<_>>();
    let linux = if roots.is_empty() { linux } else { roots.clone() };
    // File systems that nobody marked as a root may be parts of one system.
    let linuxes = roots.len().max(usize::from(!linux.is_empty()));
    if usize::from(!windows.is_empty()) + linuxes > 1 {
        [windows, linux].concat()
    } else if esps.len() > 1 {
        esps
    } else {
        Vec::new()
    }
}

/// What somebody put on a disk of ours beside what an image makes.
fn added(holds: &[Holding]) -> impl Iterator<Item = &Holding> {
    let tables = || holds.iter().filter(|held| held.kind == "partition");
    let is_ours = tables().any(|held| held.label == OWN_PARTITION);
    let ours = tables()
        .filter(|held| held.label.starts_with(OWN_PREFIX))
        .map(|held| held.partition)
        .collect::<Vec<_>>();
    holds.iter().filter(move |held| {
        let is_content = held.partition != 0 && !TABLES.contains(&held.kind.as_str());
        is_ours && is_content && !ours.contains(&held.partition)
    })
}

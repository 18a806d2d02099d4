//! Two disks of one server with one identifier: which of them is mounted at boot is chance.

use std::collections::BTreeSet;
use std::fmt;

use pack::Layout;

use crate::{Disk, Holding, OWN_PARTITION};

/// File systems and swap: what is mounted by UUID or label.
const MOUNTED: [&str; 14] = [
    "bcachefs",
    "btrfs",
    "btrfs-pool",
    "exfat",
    "ext2",
    "ext3",
    "ext4",
    "f2fs",
    "iso9660",
    "ntfs",
    "swap",
    "vfat",
    "xfs",
    "zfs",
];

/// What an image makes of the disk that it is written to, as far as the choice of that disk goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Carried {
    /// The sector size that its tables and file systems are made for, in bytes.
    pub sector_bytes: u32,
    /// What will be recognised on the disk: its table with its id, partitions, file systems, volume groups.
    pub holds: Vec<Holding>,
}

impl Carried {
    /// What a manifest says of the disk. One that names no volume is of the time before manifests did: then it is the
    /// label that every image of ours has.
    pub fn of(layout: &Layout) -> Self {
        let held = |kind: &str, partition, label: &str, uuid: &str| Holding {
            kind: kind.to_owned(),
            partition,
            label: label.to_owned(),
            uuid: uuid.to_owned(),
            ..Holding::default()
        };
        let mut holds =
            layout.table.iter().map(|table| held(&table.kind, 0, "", &table.id)).collect::<Vec<_>>();
        holds.extend(layout.partitions.iter().map(|p| held("partition", p.number, &p.name, &p.uuid)));
        holds.extend(layout.volumes.iter().map(|volume| {
            // blkid's words for members, in those of an inventory.
            let kind = match volume.kind.as_str() {
                "LVM2_member" => "lvm",
                "linux_raid_member" => "mdraid",
                "crypto_LUKS" => "luks",
                other => other,
            };
            held(kind, 0, &volume.label, &volume.uuid)
        }));
        if layout.volumes.is_empty() {
            holds.push(held("ext4", 0, OWN_PARTITION, ""));
        }
        Self { sector_bytes: layout.sector_bytes, holds }
    }
}

/// How something is found at boot, whatever disk it is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Handle {
    /// A partition table's disk id.
    Disk,
    /// `PARTUUID=`
    Partition,
    /// `UUID=`
    Uuid,
    /// `LABEL=`
    Label,
    /// An LVM volume group's name.
    VolumeGroup,
    /// A RAID array's UUID or name.
    Array,
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Handle::Disk => "disk id",
            Handle::Partition => "PARTUUID",
            Handle::Uuid => "UUID",
            Handle::Label => "label",
            Handle::VolumeGroup => "volume group",
            Handle::Array => "array",
        })
    }
}

/// One identifier that would be there twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clash {
    /// What it is.
    pub handle: Handle,
    /// The identifier.
    pub value: String,
    /// The disk that carries it already, as a person can type it.
    pub disk: String,
    /// The partition there; 0 is the whole disk.
    pub partition: u32,
}

impl fmt::Display for Clash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?} is on {}", self.handle, self.value, self.disk)?;
        if self.partition == 0 { Ok(()) } else { write!(f, ", partition {}", self.partition) }
    }
}

/// Every identifier of the image that one of these disks carries already. `others`: all disks of the server but the
/// one that is written.
///
/// Names of GPT partitions are none: tools give the same one (`EFI system partition`) to every disk.
pub fn clashes<'a>(image: &[Holding], others: impl IntoIterator<Item = &'a Disk>) -> Vec<Clash> {
    let carried = image.iter().flat_map(handles).collect::<BTreeSet<_>>();
    let mut out = BTreeSet::new();
    for disk in others {
        let title =
            || disk.id().map_or_else(|| format!("{} without serial", disk.model), |id| id.to_string());
        for held in &disk.holds {
            let twice = handles(held).filter(|handle| carried.contains(handle));
            out.extend(twice.map(|(handle, value)| Clash {
                handle,
                value,
                disk: title(),
                partition: held.partition,
            }));
        }
    }
    out.into_iter().collect()
}

/// By what this is found; UUIDs in one spelling.
fn handles(held: &Holding) -> impl Iterator<Item = (Handle, String)> {
    let kind = held.kind.as_str();
    let (by_uuid, by_label) = match kind {
        "gpt" | "mbr" => (Some(Handle::Disk), None),
        "partition" => (Some(Handle::Partition), None),
        "lvm" => (Some(Handle::Uuid), Some(Handle::VolumeGroup)),
        "mdraid" => (Some(Handle::Array), Some(Handle::Array)),
        "luks" => (Some(Handle::Uuid), Some(Handle::Label)),
        _ if MOUNTED.contains(&kind) => (Some(Handle::Uuid), Some(Handle::Label)),
        _ => (None, None),
    };
    let uuid = by_uuid.map(|handle| (handle, held.uuid.to_ascii_lowercase()));
    let label = by_label.map(|handle| (handle, held.label.clone()));
    [uuid, label].into_iter().flatten().filter(|(_, value)| !value.is_empty())
}

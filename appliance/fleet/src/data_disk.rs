//! The disk that a node's roles keep their data on: chosen in the plan, frozen there, and handed to the node by its
//! document only while it still is what the plan saw, or what the node has made of it since.

use pack::Digest;
use protocol::{Disk, DiskBus, DiskId};
use serde::{Deserialize, Serialize};

use crate::Node;
use crate::plan::{Unplannable, title};

/// The LVM volume group that a data disk becomes; `${disk.group}` in the catalog.
pub const VOLUME_GROUP: &str = "cinder-volumes";

/// A data disk as the plan saw it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataDisk {
    /// WWN or serial.
    pub disk: DiskId,
    /// Model.
    pub model: String,
    /// Serial number; may be empty.
    pub serial: String,
    /// Size in bytes.
    pub bytes: u64,
    /// First and last MiB ([`Disk::content`]) when it was chosen first; a rebuild keeps it.
    pub content: Digest,
    /// Whether it carries the volume group already: then that is kept.
    pub kept: bool,
}

impl DataDisk {
    /// Whether this is the disk that was chosen, untouched since, or with our volume group on it.
    pub fn is(&self, disk: &Disk) -> bool {
        let same = disk.id().as_ref() == Some(&self.disk)
            && disk.model == self.model
            && disk.bytes == self.bytes
            && path(disk).is_some();
        same && (disk.content == Some(self.content) || carries_group(disk))
    }

    fn of(disk: &Disk) -> Option<Self> {
        Some(Self {
            disk: disk.id()?,
            model: disk.model.clone(),
            serial: disk.serial.clone(),
            bytes: disk.bytes,
            content: disk.content?,
            kept: carries_group(disk),
        })
    }

    /// The disk in this node's inventory, if it is there and still what it should be.
    pub fn find<'a>(&self, node: &'a Node) -> Option<&'a Disk> {
        let mut named = named(&node.inventory.disks, &self.disk);
        let disk = named.next()?;
        (named.next().is_none() && self.is(disk)).then_some(disk)
    }
}

fn named<'a>(disks: &'a [Disk], id: &DiskId) -> impl Iterator<Item = &'a Disk> {
    disks.iter().filter(move |disk| disk.id().as_ref() == Some(id))
}

/// Whether the volume group and nothing else is on it.
fn carries_group(disk: &Disk) -> bool {
    !disk.holds.is_empty() && disk.holds.iter().all(|held| held.kind == "lvm" && held.label == VOLUME_GROUP)
}

/// Chooses the data disk beside the system disk: the one that was named, else the one this node has already, else
/// the only one that will do. A disk that holds anything but our volume group, or could not be read, never will.
///
/// # Errors
/// [`Unplannable`], with every disk's reason, or all that would do.
pub fn choose(node: &Node, system: &DiskId, wanted: Option<&DiskId>) -> Result<DataDisk, Unplannable> {
    let others = || node.inventory.disks.iter().filter(|disk| disk.id().as_ref() != Some(system));
    let had = node.installed.as_ref().and_then(|installed| installed.data.as_ref());
    if let Some(had) = had.filter(|had| wanted.is_none() && had.disk != *system) {
        let why = "it held its data, and is not there or holds something else now";
        let disk = had.find(node).ok_or_else(|| wrong(node, &had.disk, why))?;
        // Of a running node, the newest look at its disks is older than what it made of them.
        let kept = carries_group(disk) || node.run.is_some();
        return Ok(DataDisk { kept, ..had.clone() });
    }
    let grouped = others().filter(|disk| carries_group(disk)).collect::<Vec<_>>();
    if let Some(wanted) = wanted {
        return by_name(node, system, wanted, &grouped);
    }
    let fit = others().filter(|disk| unfit(node, disk, false).is_none()).collect::<Vec<_>>();
    // A node with the volume group uses that one, whatever else is free.
    match (grouped.as_slice(), fit.as_slice()) {
        ([one], _) | ([], [one]) => take(node, one, unfit(node, one, false)),
        ([], []) => Err(Unplannable::NoDataDisk {
            name: node.name.to_string(),
            why: others()
                .map(|d| format!("{}: {}", title(d), unfit(node, d, false).unwrap_or_default()))
                .collect(),
        }),
        ([], several) | (several, _) => Err(Unplannable::AmbiguousData {
            name: node.name.to_string(),
            disks: several.iter().map(|disk| title(disk)).collect(),
        }),
    }
}

fn by_name(
    node: &Node,
    system: &DiskId,
    wanted: &DiskId,
    grouped: &[&Disk],
) -> Result<DataDisk, Unplannable> {
    if wanted == system {
        return Err(wrong(node, wanted, "the image is written to it"));
    }
    let disk = named(&node.inventory.disks, wanted).next();
    let disk = disk.ok_or_else(|| wrong(node, wanted, "it is not there"))?;
    // The node looks for the group before it makes one, and would find the other.
    match grouped.iter().find(|other| other.id().as_ref() != Some(wanted)) {
        Some(other) if !carries_group(disk) => {
            let why = format!("{} carries the volume group {VOLUME_GROUP} already", title(other));
            Err(wrong(node, wanted, &why))
        }
        Some(_) | None => take(node, disk, unfit(node, disk, true)),
    }
}

fn take(node: &Node, disk: &Disk, unfit: Option<String>) -> Result<DataDisk, Unplannable> {
    let refused = |why: &str| Unplannable::WrongDataDisk {
        name: node.name.to_string(),
        disk: title(disk),
        why: why.to_owned(),
    };
    match unfit {
        Some(why) => Err(refused(&why)),
        None => DataDisk::of(disk).ok_or_else(|| refused("its content could not be read")),
    }
}

fn wrong(node: &Node, disk: &DiskId, why: &str) -> Unplannable {
    let (name, disk) = (node.name.to_string(), disk.to_string());
    Unplannable::WrongDataDisk { name, disk, why: why.to_owned() }
}

/// Why a disk can't hold data. One that can be taken out only does when it was named.
fn unfit(node: &Node, disk: &Disk, named_by_hand: bool) -> Option<String> {
    let Some(id) = disk.id() else {
        return Some("it has neither WWN nor serial, so it can't be told from another".to_owned());
    };
    if named(&node.inventory.disks, &id).count() > 1 {
        Some("two disks call themselves so".to_owned())
    } else if disk.content.is_none() {
        Some("its content could not be read".to_owned())
    } else if disk.read_only {
        Some("it is read-only".to_owned())
    } else if !disk.holds.is_empty() && !carries_group(disk) {
        let held = disk.holds.iter().map(|held| format!("{} {:?}", held.kind, held.label));
        Some(format!("it holds {}: erase it first if nobody needs that", held.collect::<Vec<_>>().join(", ")))
    } else if path(disk).is_none() {
        Some("no name under /dev/disk/by-id follows from what it says of itself".to_owned())
    } else if !named_by_hand && (disk.removable || disk.bus == DiskBus::Usb) {
        Some("removable or USB: only by name, with --data-disk".to_owned())
    } else {
        None
    }
}

/// The disk's path as udev gives it (60-persistent-storage.rules); none where udev's name is made of what we don't
/// know, as for a SCSI disk without a WWN.
pub fn path(disk: &Disk) -> Option<String> {
    let part = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join("_").replace('/', "_");
    let (model, serial) = (part(&disk.model), part(&disk.serial));
    let wwn = ["naa.", "eui."].iter().find_map(|kind| disk.wwn.strip_prefix(kind));
    let wwn = wwn.map(|digits| format!("wwn-0x{digits}"));
    let with_serial = |name: String| (!serial.is_empty()).then_some(name);
    let with_both = |name: String| with_serial(name).filter(|_| !model.is_empty());
    let name = match disk.bus {
        DiskBus::Virtio => with_serial(format!("virtio-{serial}")),
        DiskBus::Nvme if serial.is_empty() => (!disk.wwn.is_empty()).then(|| format!("nvme-{}", disk.wwn)),
        DiskBus::Nvme => with_both(format!("nvme-{model}_{serial}")),
        DiskBus::Sata => wwn.or_else(|| with_both(format!("ata-{model}_{serial}"))),
        DiskBus::Mmc => with_both(format!("mmc-{model}_{serial}")),
        DiskBus::Scsi | DiskBus::Usb | DiskBus::Other => wwn,
    };
    name.map(|name| format!("/dev/disk/by-id/{name}"))
}

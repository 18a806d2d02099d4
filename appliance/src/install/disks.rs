//! The disks of this machine, as lsblk(8) has them.

use std::fs::File;
use std::os::unix::fs::FileExt;

use serde::Deserialize;
use setup::install::Disk;

use super::program;

const COLUMNS: &str = "NAME,TYPE,SIZE,MODEL,SERIAL,WWN,RO,RM,FSTYPE,LABEL,PTTYPE,PARTLABEL,MOUNTPOINTS";
/// So much of both ends is looked at, in bytes.
const END: usize = 1 << 20;
/// The name of the medium's file system.
const MEDIUM: &str = "RACKWRIGHT";

#[derive(Deserialize)]
struct Listing {
    blockdevices: Vec<Device>,
}

#[derive(Deserialize)]
struct Device {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    size: u64,
    model: Option<String>,
    serial: Option<String>,
    wwn: Option<String>,
    ro: bool,
    rm: bool,
    fstype: Option<String>,
    label: Option<String>,
    pttype: Option<String>,
    partlabel: Option<String>,
    #[serde(default)]
    mountpoints: Vec<Option<String>>,
    #[serde(default)]
    children: Vec<Device>,
}

/// All of them, with what is on each.
///
/// # Errors
/// What lsblk said.
pub(super) fn all() -> Result<Vec<Disk>, String> {
    let text = program::run("lsblk", ["--json", "--bytes", "--paths", "--output", COLUMNS])?;
    let disks =
        parse(&text).map_err(|why| format!("lsblk printed something that is no list of disks: {why}"))?;
    Ok(disks.into_iter().map(unmarked).collect())
}

fn parse(text: &str) -> Result<Vec<Disk>, serde_json::Error> {
    let listing: Listing = serde_json::from_str(text)?;
    // Drives without a medium, and floppies of firmware, have no size.
    let disks = listing.blockdevices.iter().filter(|device| device.kind == "disk" && device.size > 0);
    Ok(disks.map(disk).collect())
}

/// What there is no mark of may be something all the same: encrypted, or damaged.
fn unmarked(disk: Disk) -> Disk {
    if !disk.content.is_empty() || disk.hindrance.is_some() {
        return disk;
    }
    let is_blank = File::open(&disk.path).and_then(|file| {
        let mut ends = vec![0; 2 * END];
        let (head, tail) = ends.split_at_mut(END);
        file.read_exact_at(head, 0)?;
        file.read_exact_at(tail, disk.bytes.saturating_sub(END as u64))?;
        Ok(ends.iter().all(|byte| *byte == 0))
    });
    let content = match is_blank {
        Ok(true) => Vec::new(),
        Ok(false) => vec!["something without a partition table or file system that is known".to_owned()],
        Err(why) => vec![format!("it can't be read: {why}")],
    };
    Disk { content, ..disk }
}

fn disk(device: &Device) -> Disk {
    let words = |text: &Option<String>| {
        text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
    };
    let name = words(&device.serial).or_else(|| words(&device.wwn));
    Disk {
        hindrance: hindrance(device, name.is_some()),
        name,
        model: words(&device.model).unwrap_or_else(|| "disk".to_owned()),
        bytes: device.size,
        path: device.name.clone(),
        removable: device.rm,
        content: content(device),
    }
}

fn hindrance(device: &Device, named: bool) -> Option<String> {
    if device.fstype.as_deref() == Some("iso9660") && device.label.as_deref() == Some(MEDIUM) {
        return Some("it is the medium".to_owned());
    }
    if device.ro {
        return Some("it is read-only".to_owned());
    }
    if let Some(use_of_it) = in_use(device) {
        return Some(use_of_it);
    }
    let nameless =
        "it has neither serial number nor World Wide Name, so nothing says for sure that it is this one";
    (!named).then(|| nameless.to_owned())
}

/// What it is used for now.
fn in_use(device: &Device) -> Option<String> {
    if let Some(place) = device.mountpoints.iter().flatten().next() {
        return Some(format!("{} is in use at {place}", device.name));
    }
    let beyond = device.children.iter().find(|child| child.kind != "part");
    if let Some(child) = beyond {
        return Some(format!("{} is part of {} ({})", device.name, child.name, child.kind));
    }
    device.children.iter().find_map(in_use)
}

/// What is on it, a line each.
fn content(device: &Device) -> Vec<String> {
    let own = [device.pttype.as_ref().map(|kind| format!("partition table ({kind})")), what(device)];
    let parts = device.children.iter().map(|part| {
        let is = what(part).unwrap_or_else(|| "nothing known".to_owned());
        let name = part.partlabel.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
        format!("{}{name}: {is}", part.name)
    });
    own.into_iter().flatten().chain(parts).collect()
}

fn what(device: &Device) -> Option<String> {
    let kind = device.fstype.as_ref()?;
    Some(device.label.as_ref().map_or_else(|| kind.clone(), |label| format!("{kind} {label:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As lsblk 2.41 prints it, in a live system with an empty disk, one that a Debian is on and mounted from, one of a volume group, a
    /// stick with the medium, and a drive for discs; by hand from the columns of its manual.
    const LISTING: &str = include_str!("lsblk.json");

    #[test]
    fn a_disk_is_told_with_all_that_is_on_it_and_what_is_in_its_way() {
        let disks = parse(LISTING).unwrap();
        let told = |number: usize| {
            let disk = &disks[number];
            (disk.name.as_deref(), disk.content.join(" | "), disk.hindrance.as_deref())
        };
        assert_eq!(disks.len(), 5);
        assert_eq!(told(0), (Some("CTRL1"), String::new(), None));
        let debian = r#"partition table (gpt) | /dev/sda1: vfat | /dev/sda2 "root": ext4 "debian""#;
        assert_eq!(told(1), (Some("S4EVNX0R"), debian.to_owned(), Some("/dev/sda2 is in use at /mnt")));
        let volumes = "partition table (dos) | /dev/sdb1: LVM2_member";
        assert_eq!(
            told(2),
            (Some("0x5002538e4"), volumes.to_owned(), Some("/dev/sdb1 is part of /dev/mapper/vg-home (lvm)"))
        );
        assert_eq!(disks[3].hindrance.as_deref(), Some("it is the medium"));
        assert!(disks[4].name.is_none() && disks[4].hindrance.as_deref().unwrap().contains("neither"));
    }

    #[test]
    fn what_is_no_listing_is_refused() {
        for text in ["", "{}", "[]", r#"{"blockdevices": [{"name": "/dev/sda"}]}"#, r#"{"blockdevices": 7}"#]
        {
            assert!(parse(text).is_err(), "{text}");
        }
        assert_eq!(parse(r#"{"blockdevices": []}"#).unwrap(), []);
    }
}

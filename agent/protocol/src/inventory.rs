//! What a server is made of: attributes, never its identity.

use std::fmt;
use std::str::FromStr;

use pack::Digest;
use serde::{Deserialize, Serialize};

use crate::{HardwareAddress, Holding, IdentityError};

/// The hardware as the agent read it from `/sys` and `/proc`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// Processors.
    pub cpu: Cpu,
    /// Memory that the kernel sees, in bytes.
    pub memory_bytes: u64,
    /// Network interfaces, the one that booted among them.
    pub nics: Vec<Nic>,
    /// Whole disks; never partitions, loops or RAM disks.
    pub disks: Vec<Disk>,
    /// What the board says of itself.
    pub smbios: Smbios,
    /// `bios` or `uefi`.
    pub firmware: String,
    /// The management controller, where one is seen.
    pub bmc: Option<Bmc>,
}

/// Processors, all of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cpu {
    /// As in `/proc/cpuinfo`.
    pub model: String,
    /// Hardware threads that are online.
    pub threads: u32,
    /// `x86_64` or `aarch64`.
    pub arch: String,
    /// Whether it can run virtual machines in hardware (vmx or svm).
    pub virtualisation: bool,
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// The kernel's name, for the screen only.
    pub name: String,
    /// Its permanent address.
    pub mac: HardwareAddress,
    /// Link speed in Mb/s, where the driver knows.
    pub speed_mbps: Option<u32>,
    /// Whether a cable is in.
    pub carrier: bool,
    /// Kernel driver.
    pub driver: String,
}

/// How a disk is named in every contract: by what is printed on it, never by the order it was found in. `wwn:` or
/// `serial:`, then 1 to 128 printable ASCII characters without blanks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct DiskId(String);

impl DiskId {
    const LONGEST: usize = 128;

    /// By World Wide Name where there is one, else by serial number; none of both means the disk can't be named,
    /// and so can't be written.
    pub fn of(wwn: &str, serial: &str) -> Option<Self> {
        let clean =
            |s: &str| s.chars().filter(|c| c.is_ascii_graphic()).take(Self::LONGEST).collect::<String>();
        match (clean(wwn), clean(serial)) {
            (wwn, _) if !wwn.is_empty() => Some(Self(format!("wwn:{wwn}"))),
            (_, serial) if !serial.is_empty() => Some(Self(format!("serial:{serial}"))),
            _ => None,
        }
    }

    /// `wwn:…` or `serial:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DiskId {
    type Err = IdentityError;
    /// Reads what [`DiskId::as_str`] wrote; nothing is cleaned here.
    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let name = text.strip_prefix("wwn:").or_else(|| text.strip_prefix("serial:"));
        let is_name =
            |n: &str| (1..=Self::LONGEST).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_graphic());
        if name.is_some_and(is_name) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdentityError::Disk(text.chars().take(80).collect()))
        }
    }
}

impl TryFrom<String> for DiskId {
    type Error = IdentityError;
    fn try_from(text: String) -> Result<Self, IdentityError> {
        text.parse()
    }
}

impl From<DiskId> for String {
    fn from(id: DiskId) -> String {
        id.0
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The bus a disk hangs on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DiskBus {
    /// Paravirtual.
    Virtio,
    /// NVM Express.
    Nvme,
    /// Serial ATA.
    Sata,
    /// SAS or another SCSI transport.
    Scsi,
    /// USB: never chosen without being named.
    Usb,
    /// SD or eMMC.
    Mmc,
    /// Anything else.
    #[default]
    Other,
}

/// One whole disk and what is on it now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The kernel's name, for the screen only; no contract names a disk by it.
    pub name: String,
    /// Model.
    pub model: String,
    /// Serial number, or empty.
    pub serial: String,
    /// World Wide Name or NVMe EUI, or empty.
    pub wwn: String,
    /// Size in bytes.
    pub bytes: u64,
    /// Logical sector in bytes.
    pub sector_bytes: u32,
    /// Bus.
    pub bus: DiskBus,
    /// Whether the medium can be taken out.
    pub removable: bool,
    /// Whether it spins.
    pub rotational: bool,
    /// Whether the kernel refuses writes to it.
    pub read_only: bool,
    /// What is recognised on it: partition tables, file systems, LVM, RAID, Ceph, ….
    pub holds: Vec<Holding>,
    /// BLAKE3 over its first and last MiB: changes when the disk was repartitioned or swapped.
    pub content: Option<Digest>,
}

impl Disk {
    /// How contracts name it; `None` when it has neither WWN nor serial.
    pub fn id(&self) -> Option<DiskId> {
        DiskId::of(&self.wwn, &self.serial)
    }
}

/// What the board says of itself (SMBIOS types 0, 1, 2). Vendors leave nonsense here: never a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Smbios {
    /// Maker.
    pub vendor: String,
    /// Product.
    pub product: String,
    /// Serial number.
    pub serial: String,
    /// UUID, lower case, as the kernel prints it.
    pub uuid: String,
    /// Firmware version.
    pub bios: String,
}

impl Smbios {
    /// Maker and product, as people name a server: `Dell Inc. PowerEdge R640`; empty when neither is known.
    pub fn model(&self) -> String {
        format!("{} {}", self.vendor, self.product).trim().to_owned()
    }
}

/// A management controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bmc {
    /// `ipmi` where the kernel has an IPMI device.
    pub kind: String,
}

#[cfg(test)]
mod tests {
    use super::DiskId;

    #[test]
    fn a_disk_from_a_wire_is_called_as_one_that_was_looked_at() {
        let seen =
            [DiskId::of("naa.5000c500a1b2c3d4", ""), DiskId::of("", "QM 0001"), DiskId::of("\u{1b}[2J", "x")];
        for id in seen.map(Option::unwrap) {
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(serde_json::from_str::<DiskId>(&json).unwrap(), id);
        }
        let long = format!("serial:{}", "x".repeat(129));
        for text in ["", "QM0001", "wwn:", "serial:a b", "serial:\u{1b}[2J", "serial:ä", "Serial:x", &long] {
            assert!(text.parse::<DiskId>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<DiskId>(text.into()).is_err(), "{text:?}");
        }
    }
}

//! Whole disks, from `/sys/block`, and what is on them now.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use pack::Digest;
use protocol::{Disk, DiskBus, Holding};

use crate::inventory::{probe, read};

const MIB: u64 = 1 << 20;
/// The kernel counts a disk in these, whatever its sectors are.
const SYS_SECTOR: u64 = 512;
/// Not disks, or made of disks that are listed themselves.
const SKIPPED: [&str; 11] = ["bcache", "dm-", "drbd", "fd", "loop", "md", "nbd", "ram", "rbd", "sr", "zram"];

/// Every disk, looked at now; sorted by name.
pub fn disks(root: &Path) -> Vec<Disk> {
    read::names(root, "sys/block").iter().filter_map(|name| disk(root, name)).collect()
}

/// The names of all block devices with something in them that can be written: disks, the boot parts of cards, and what
/// the kernel makes of disks (dm, md, network disks). No partitions: the kernel protects them with their disk. No loops
/// over files, RAM disks and discs.
pub fn writable_names(root: &Path) -> Vec<String> {
    let is_one = |name: &String| {
        let at = |file: &str| format!("sys/block/{name}/{file}");
        let none = ["fd", "ram", "sr", "zram"].iter().any(|kind| name.starts_with(kind));
        let over_file =
            name.starts_with("loop") && !read::text(root, &at("loop/backing_file")).starts_with("/dev/");
        let has_medium = read::number::<u64>(root, &at("size")).is_some_and(|sectors| sectors > 0);
        !none && !over_file && has_medium && read::text(root, &at("hidden")) != "1"
    };
    read::names(root, "sys/block").into_iter().filter(is_one).collect()
}

/// The numbers of the namespaces that this server sees as disks of the same NVMe drive as this one, itself among them; empty for
/// anything but an NVMe disk.
pub fn namespaces(root: &Path, name: &str) -> BTreeSet<u32> {
    let drive = |name: &str| std::fs::canonicalize(root.join(format!("sys/block/{name}/device"))).ok();
    let Some(own) = drive(name) else { return BTreeSet::new() };
    let names = read::names(root, "sys/block").into_iter();
    let beside = names.filter(|other| drive(other).as_ref() == Some(&own) && bytes(root, other).is_some());
    beside.filter_map(|other| read::number(root, &format!("sys/block/{other}/nsid"))).collect()
}

/// Where a disk of [`disks`] is opened. The name is only good until the next look.
pub fn device(root: &Path, name: &str) -> PathBuf {
    // A slash in a device's name is written as `!` in /sys (cciss!c0d0).
    root.join("dev").join(name.replace('!', "/"))
}

/// The size of a disk; `None` for what is none, and for a drive without a medium.
fn bytes(root: &Path, name: &str) -> Option<u64> {
    let at = |file: &str| format!("sys/block/{name}/{file}");
    let is_part_of_card = name.starts_with("mmcblk") && (name.contains("boot") || name.ends_with("rpmb"));
    if SKIPPED.iter().any(|kind| name.starts_with(kind)) || is_part_of_card {
        return None;
    }
    // The paths of a multipath NVMe drive are disks of their own in /sys, but nobody can open them.
    if read::text(root, &at("hidden")) == "1" {
        return None;
    }
    read::number::<u64>(root, &at("size"))?.checked_mul(SYS_SECTOR).filter(|&b| b > 0)
}

/// The disk of this name, looked at now, also when it is a loop over a file; `None` for what is no whole disk.
pub fn one(root: &Path, name: &str) -> Option<Disk> {
    let sectors = || read::number::<u64>(root, &format!("sys/block/{name}/size"));
    if name.starts_with("loop") {
        return Some(described(root, name, sectors()?.checked_mul(SYS_SECTOR).filter(|&b| b > 0)?));
    }
    disk(root, name)
}

fn disk(root: &Path, name: &str) -> Option<Disk> {
    Some(described(root, name, bytes(root, name)?))
}

fn described(root: &Path, name: &str, bytes: u64) -> Disk {
    let at = |file: &str| format!("sys/block/{name}/{file}");
    let sector_bytes = read::number(root, &at("queue/logical_block_size")).unwrap_or(512);
    let bus = bus(name, &std::fs::canonicalize(root.join(at(""))).unwrap_or_default());
    let mut disk = Disk {
        name: crate::text::name(name),
        model: first(&[
            ata_text(&read::bytes(root, &at("device/vpd_pg89")), ATA_MODEL),
            read::name(root, &at("device/model")),
            read::name(root, &at("device/name")),
        ]),
        serial: serial(root, name),
        wwn: first(&[wwn(&read::name(root, &at("wwid"))), wwn(&read::name(root, &at("device/wwid")))]),
        bytes,
        sector_bytes,
        bus,
        removable: read::text(root, &at("removable")) == "1",
        // QEMU and others say so of every virtio disk, whatever is behind it: it would be given little to do at once.
        rotational: bus != DiskBus::Virtio && read::text(root, &at("queue/rotational")) == "1",
        read_only: read::text(root, &at("ro")) == "1",
        ..Disk::default()
    };
    if let Ok(file) = File::open(device(root, name)) {
        let reader = |offset: u64, length: usize| {
            let mut out = vec![0; length];
            file.read_exact_at(&mut out, offset).ok().map(|()| out)
        };
        disk.holds = probe::holds(&reader, bytes, sector_bytes);
        if let Some(ends) = ends(&reader, bytes) {
            disk.content = Some(Digest::of(&ends));
            // What nothing here knows may be somebody's all the same: such a disk is not an empty one.
            let unknown = Holding { kind: "unknown".to_owned(), bytes: Some(bytes), ..Holding::default() };
            let is_unknown = disk.holds.is_empty() && ends.iter().any(|byte| *byte != 0);
            disk.holds.extend(is_unknown.then_some(unknown));
        }
    }
    disk
}

fn first(texts: &[String]) -> String {
    texts.iter().find(|t| !t.is_empty()).cloned().unwrap_or_default()
}

fn serial(root: &Path, name: &str) -> String {
    let at = |file: &str| format!("sys/block/{name}/{file}");
    first(&[
        read::name(root, &at("serial")),
        read::name(root, &at("device/serial")),
        vpd_serial(&read::bytes(root, &at("device/vpd_pg80"))),
    ])
}

/// The Unit Serial Number page (SPC-4, 7.8.14): page code at 1, length at 2, then ASCII.
pub fn vpd_serial(page: &[u8]) -> String {
    let Some(([_, 0x80, high, low], rest)) = page.split_first_chunk::<4>() else { return String::new() };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    crate::text::name_of_bytes(rest.get(..length).unwrap_or(rest))
}

/// Words of the ATA IDENTIFY data (ACS-4, 7.13.6) that hold the model: the kernel's own `model` is cut to 16 letters.
pub const ATA_MODEL: std::ops::Range<usize> = 27..47;

/// A text of the ATA Information page (SAT-4, 12.4.2), whose IDENTIFY data begins at byte 60: two letters to a word,
/// the second one first.
pub fn ata_text(page: &[u8], words: std::ops::Range<usize>) -> String {
    let data = if page.get(1) == Some(&0x89) { page.get(60..) } else { None };
    let (pairs, _) = data.unwrap_or_default().as_chunks::<2>();
    let letters = pairs.get(words).unwrap_or_default().iter().flat_map(|[second, first]| [*first, *second]);
    crate::text::name_of_bytes(&letters.collect::<Vec<_>>())
}

/// A World Wide Name: the kernel also makes ids up out of vendor and model (`t10.`, `nvme.`), and some drives carry
/// an all-zero one; none of these names a disk.
pub fn wwn(wwid: &str) -> String {
    let digits =
        ["naa.", "eui.", "uuid."].iter().find_map(|kind| wwid.strip_prefix(kind)).unwrap_or_default();
    let is_one = digits.bytes().any(|b| b.is_ascii_hexdigit() && b != b'0');
    if is_one { wwid.to_owned() } else { String::new() }
}

/// By the kernel's name where that says it, else by the path through the buses.
fn bus(name: &str, path: &Path) -> DiskBus {
    let through = |part: &str| {
        path.components()
            .filter_map(|c| c.as_os_str().to_str())
            .any(|c| c.strip_prefix(part).is_some_and(|rest| rest.starts_with(|d: char| d.is_ascii_digit())))
    };
    match name {
        n if n.starts_with("nvme") => DiskBus::Nvme,
        n if n.starts_with("vd") => DiskBus::Virtio,
        n if n.starts_with("mmcblk") => DiskBus::Mmc,
        _ if through("usb") => DiskBus::Usb,
        _ if through("ata") => DiskBus::Sata,
        n if n.starts_with("sd") => DiskBus::Scsi,
        _ => DiskBus::Other,
    }
}

/// The first and the last MiB, one after the other; of a smaller disk, what there is.
fn ends(read: &probe::Reader<'_>, bytes: u64) -> Option<Vec<u8>> {
    let length = bytes.min(MIB);
    let size = usize::try_from(length).ok()?;
    let mut ends = read(0, size)?;
    ends.extend(read(bytes - length, size)?);
    Some(ends)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use protocol::DiskBus;

    use super::{ATA_MODEL, ata_text, bus, vpd_serial, wwn};

    #[test]
    fn serial_pages_of_any_shape() {
        let table: [(&[u8], &str); 7] = [
            (b"\x00\x80\x00\x08  QM0001 ", "QM0001"),
            (b"\x00\x80\xff\xffQM", "QM"),
            (b"\x00\x80\x00\x00QM", ""),
            (b"\x00\x83\x00\x02QM", ""),
            (b"\x00\x80\x00\x04\x1b[2J", "[2J"),
            (b"\x00\x80", ""),
            (b"", ""),
        ];
        for (page, want) in table {
            assert_eq!(vpd_serial(page), want, "{page:?}");
        }
    }

    #[test]
    fn ata_models_in_full() {
        let mut page = vec![0; 572];
        page[1] = 0x89;
        let model = b"Samsung SSD 860 EVO 500GB               ";
        for (to, from) in page[60 + 54..].chunks_exact_mut(2).zip(model.chunks_exact(2)) {
            to.copy_from_slice(&[from[1], from[0]]);
        }
        assert_eq!(ata_text(&page, ATA_MODEL), "Samsung SSD 860 EVO 500GB");
        page[1] = 0x80;
        assert_eq!(ata_text(&page, ATA_MODEL), "");
        assert_eq!(ata_text(&[0, 0x89, 0], ATA_MODEL), "");
    }

    #[test]
    fn only_names_that_the_maker_gave_are_wwns() {
        let table = [
            ("naa.5000c500a1b2c3d4", true),
            ("eui.0025385b71b00000", true),
            ("uuid.3f6c7f0a-1111-2222-3333-444455556666", true),
            ("naa.0000000000000000", false),
            ("eui.0000000000000000", false),
            ("nvme.1b36-51454d55-51454d55-00000001", false),
            ("t10.ATA     QEMU HARDDISK   QM00001", false),
            ("", false),
        ];
        for (wwid, is_one) in table {
            assert_eq!(!wwn(wwid).is_empty(), is_one, "{wwid}");
        }
    }

    #[test]
    fn buses_by_name_and_path() {
        let table = [
            ("vda", "/sys/devices/pci0000:00/0000:00:04.0/virtio1/block/vda", DiskBus::Virtio),
            ("nvme0n1", "/sys/devices/pci0000:00/0000:00:05.0/nvme/nvme0/nvme0n1", DiskBus::Nvme),
            (
                "sda",
                "/sys/devices/pci0000:00/0000:00:1f.2/ata1/host0/target0:0:0/0:0:0:0/block/sda",
                DiskBus::Sata,
            ),
            (
                "sdb",
                "/sys/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host6/target6/6:0:0:0/block/sdb",
                DiskBus::Usb,
            ),
            (
                "sdc",
                "/sys/devices/pci0000:00/0000:00:06.0/virtio3/host7/target7/7:0:0:0/block/sdc",
                DiskBus::Scsi,
            ),
            ("mmcblk0", "/sys/devices/platform/mmc/mmc_host/mmc0/mmc0:0001/block/mmcblk0", DiskBus::Mmc),
            ("xvda", "/sys/devices/vbd-768/block/xvda", DiskBus::Other),
        ];
        for (name, path, want) in table {
            assert_eq!(bus(name, Path::new(path)), want, "{name}");
        }
    }
}

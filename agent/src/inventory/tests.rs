//! Trees as `/sys` has them, for kinds of servers that no test machine is.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use protocol::DiskBus;
use tempfile::TempDir;

use super::{namespaces, take};

fn put(root: &Path, path: &str, content: &[u8]) {
    let path = root.join(path);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// A disk below its place among the buses, linked from `/sys/block` as the kernel does.
fn disk(root: &Path, place: &str, files: &[(&str, &[u8])]) {
    let name = Path::new(place).file_name().unwrap();
    for (file, content) in [("size", b"2097152\n".as_slice()), ("removable", b"0\n"), ("dev", b"8:0\n")] {
        put(root, &format!("sys/devices/{place}/{file}"), content);
    }
    for (file, content) in files {
        put(root, &format!("sys/devices/{place}/{file}"), content);
    }
    fs::create_dir_all(root.join("sys/block")).unwrap();
    symlink(root.join("sys/devices").join(place), root.join("sys/block").join(name)).unwrap();
}

fn server() -> TempDir {
    let temp = TempDir::new().unwrap();
    let root = temp.path();
    disk(root, "pci0/virtio1/block/vda", &[("serial", b"VD-1\n"), ("queue/rotational", b"1\n")]);
    disk(
        root,
        "pci0/nvme/nvme0/nvme0n1",
        &[
            ("device/model", b"INTEL SSDPE2KX010T8                     \n"),
            ("device/serial", b"PHLJ1234  \n"),
            ("wwid", b"eui.01000000010000005cd2e4\n"),
            ("queue/logical_block_size", b"4096\n"),
        ],
    );
    disk(
        root,
        "pci0/ata1/host0/target0/0:0:0:0/block/sda",
        &[
            ("device/model", b"QEMU HARDDISK   \n"),
            ("device/vpd_pg80", b"\0\x80\0\x14             QM00001"),
            ("device/wwid", b"t10.ATA     QEMU HARDDISK      QM00001 \n"),
            ("queue/rotational", b"1\n"),
        ],
    );
    disk(
        root,
        "pci0/usb1/1-1/host6/target6/6:0:0:0/block/sdb",
        &[("device/model", b"Flash\x1b[31m Disk\n"), ("removable", b"1\n"), ("ro", b"1\n")],
    );
    for (place, size) in [
        ("virtual/block/loop0", "2048"),
        ("virtual/block/ram0", "2048"),
        ("virtual/block/zram0", "2048"),
        ("virtual/block/dm-0", "2048"),
        ("virtual/block/md127", "2048"),
        ("pci0/ata2/block/sr0", "2048"),
        ("pci0/mmc0/block/mmcblk0boot0", "2048"),
        ("pci0/usb2/block/sdz", "0"),
        ("virtual/block/sdy", "nonsense"),
        ("virtual/block/sdx", "99999999999999999999"),
        ("virtual/block/sdw", "18446744073709551615"),
    ] {
        disk(root, place, &[("size", size.as_bytes())]);
    }
    disk(root, "virtual/nvme1/nvme1c0n1", &[("hidden", b"1\n")]);
    temp
}

#[test]
fn disks_of_every_kind_and_nothing_that_is_none() {
    let server = server();
    let found = take(server.path()).disks;
    let told = found.iter().map(|d| {
        let id = d.id().map(|id| id.to_string()).unwrap_or_default();
        (d.name.as_str(), d.bus, d.model.as_str(), id)
    });
    let want = [
        ("nvme0n1", DiskBus::Nvme, "INTEL SSDPE2KX010T8", "wwn:eui.01000000010000005cd2e4".to_owned()),
        ("sda", DiskBus::Sata, "QEMU HARDDISK", "serial:QM00001".to_owned()),
        ("sdb", DiskBus::Usb, "Flash[31m Disk", String::new()),
        ("vda", DiskBus::Virtio, "", "serial:VD-1".to_owned()),
    ];
    assert_eq!(told.collect::<Vec<_>>(), want);
    assert_eq!(found.iter().map(|d| d.sector_bytes).collect::<Vec<_>>(), [4096, 512, 512, 512]);
    assert_eq!(
        found.iter().map(|d| d.rotational).collect::<Vec<_>>(),
        [false, true, false, false],
        "nobody knows of vda"
    );
    assert!(found[2].removable && found[2].read_only && found[2].id().is_none());
    assert!(found.iter().all(|d| d.bytes == 1 << 30 && d.content.is_none()), "no device to read from");
}

#[test]
fn cards_that_are_there_and_none_that_are_made_up() {
    let temp = TempDir::new().unwrap();
    let root = temp.path();
    let nic = |name: &str, files: &[(&str, &str)]| {
        for (file, content) in
            [("type", "1"), ("address", "52:54:00:00:00:02"), ("carrier", "0")].iter().chain(files)
        {
            put(root, &format!("sys/class/net/{name}/{file}"), content.as_bytes());
        }
    };
    nic("eth0", &[("device/uevent", ""), ("speed", "-1"), ("carrier", "1")]);
    nic("ib0", &[("device/uevent", ""), ("type", "32"), ("address", &["00"; 20].join(":"))]);
    nic("br0", &[]);
    nic("lo", &[("type", "772")]);
    nic("eth0v1", &[("device/physfn/uevent", "")]);
    nic("odd0", &[("device/uevent", ""), ("address", "none")]);
    symlink("../../../bus/pci/drivers/igb", root.join("sys/class/net/eth0/device/driver")).unwrap();
    let found = take(root).nics;
    let names = found.iter().map(|n| (n.name.as_str(), n.carrier, n.speed_mbps)).collect::<Vec<_>>();
    assert_eq!(names, [("eth0", true, None), ("ib0", false, None)]);
    assert_eq!(found[0].driver, "igb");
    assert_eq!(found[1].mac.as_str().len(), 59);
}

#[test]
fn board_firmware_and_management_controller() {
    let temp = TempDir::new().unwrap();
    let root = temp.path();
    let empty = take(root);
    assert_eq!((empty.firmware.as_str(), empty.bmc), ("bios", None));
    put(root, "sys/firmware/efi/fw_platform_size", b"64");
    put(root, "sys/class/dmi/id/sys_vendor", b"To Be Filled\x07 By O.E.M.\n");
    put(root, "sys/class/dmi/id/product_uuid", b"4C4C4544-0042-3510-8051-B4C04F4E4E32\n");
    put(root, "dev/ipmi0", b"");
    let found = take(root);
    assert_eq!((found.firmware.as_str(), found.bmc.unwrap().kind.as_str()), ("uefi", "ipmi"));
    assert_eq!(found.smbios.vendor, "To Be Filled By O.E.M.");
    assert_eq!(found.smbios.uuid, "4c4c4544-0042-3510-8051-b4c04f4e4e32");
}

#[test]
fn a_disk_with_something_unknown_on_it_is_not_an_empty_one() {
    let temp = TempDir::new().unwrap();
    let root = temp.path();
    disk(root, "pci0/virtio1/block/vda", &[("serial", b"VD-1\n"), ("size", b"8192\n")]);
    let size = 4 << 20;
    for (at, kinds) in [(None, &[][..]), (Some(17), &["unknown"]), (Some(size - 1), &["unknown"])] {
        let mut content = vec![0; size];
        at.into_iter().for_each(|at: usize| content[at] = 1);
        put(root, "dev/vda", &content);
        let found = take(root).disks.remove(0);
        assert_eq!(found.holds.iter().map(|held| held.kind.as_str()).collect::<Vec<_>>(), kinds, "{at:?}");
        assert!(found.content.is_some());
    }
}

#[test]
fn everything_that_can_be_written_is_among_the_names_to_protect() {
    let temp = TempDir::new().unwrap();
    let root = temp.path();
    let sizes = [
        ("sda", "8"),
        ("nvme0n1", "8"),
        ("nvme0n2", "8"),
        ("mmcblk0", "8"),
        ("mmcblk0boot0", "8"),
        ("dm-0", "8"),
        ("md127", "8"),
        ("bcache0", "8"),
        ("nbd0", "0"),
        ("ram0", "8"),
        ("sr0", "8"),
        ("zram0", "8"),
        ("loop0", "8"),
        ("loop1", "8"),
        ("nvme0c0n1", "8"),
    ];
    for (name, size) in sizes {
        put(root, &format!("sys/block/{name}/size"), size.as_bytes());
    }
    put(root, "sys/block/loop0/loop/backing_file", b"/srv/disk.img\n");
    put(root, "sys/block/loop1/loop/backing_file", b"/dev/sda1\n");
    put(root, "sys/block/nvme0c0n1/hidden", b"1\n");
    let want = ["bcache0", "dm-0", "loop1", "md127", "mmcblk0", "mmcblk0boot0", "nvme0n1", "nvme0n2", "sda"];
    assert_eq!(super::writable_names(root), want);
    let disks = super::disks(root).into_iter().map(|disk| disk.name).collect::<Vec<_>>();
    assert_eq!(disks, ["mmcblk0", "nvme0n1", "nvme0n2", "sda"], "what is made of disks is no disk");
}

/// Two namespaces of a drive that are disks, one that the kernel can't use, a hidden path; and a disk that is none of them.
#[test]
fn namespaces_of_one_drive_are_told_from_those_of_others() {
    let temp = TempDir::new().unwrap();
    let root = temp.path();
    for (drive, name, more) in [
        ("nvme0", "nvme0n1", ("nsid", &b"1\n"[..])),
        ("nvme0", "nvme0n2", ("nsid", b"7\n")),
        ("nvme0", "nvme0n3", ("size", b"0\n")),
        ("nvme0", "nvme0c0n4", ("hidden", b"1\n")),
        ("nvme1", "nvme1n1", ("nsid", b"3\n")),
    ] {
        let place = format!("pci0/{drive}/{name}");
        disk(root, &place, &[("nsid", b"9\n"), more]);
        symlink("..", root.join("sys/devices").join(&place).join("device")).unwrap();
    }
    disk(root, "pci0/virtio1/block/vda", &[]);
    assert_eq!(namespaces(root, "nvme0n1"), [1, 7].into());
    assert_eq!(namespaces(root, "nvme1n1"), [3].into());
    assert_eq!(namespaces(root, "vda"), [].into());
    assert_eq!(namespaces(root, "gone"), [].into());
}

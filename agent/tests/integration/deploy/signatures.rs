//! Disks that hold what must not be lost, made by the tools that make it: none is written unless the job names it.
//!
//! Debian packages of the tools: bcache-tools, btrfs-progs, cryptsetup-bin, dosfstools, e2fsprogs, fdisk, gfs2-utils, lvm2,
//! ntfs-3g, util-linux, xfsprogs. Arrays, ZFS and Ceph are laid out as their documents say, since their tools need a
//! kernel's driver or a cluster; blkid(8) has to agree.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use agent::deploy::imaging::ImagingError;
use agent::deploy::imaging::guard::Unsafe;
use agent::deploy::imaging::ready::{Here, ready};
use protocol::{CaPin, Carried, Holding, ImageJob, Mark, NodeId};

use super::image::{Image, MIB};
use super::is_root;
use super::machine::Machine;

const SIZE: u64 = 64 * MIB;
/// Larger than the smallest that any of the tools wants.
const LARGE: u64 = 320 * MIB;
const GIB: u64 = 1 << 30;

/// Runs a tool; it must succeed.
fn tool(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).env("LVM_SUPPRESS_FD_WARNINGS", "1");
    let out =
        command.output().unwrap_or_else(|error| panic!("{program}: {error}; is its package installed?"));
    assert!(out.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// What blkid(8) says of a device under this key.
fn blkid(device: &str, key: &str) -> Option<String> {
    let told = tool("blkid", &["-p", "-o", "export", device]);
    let value = told.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?;
    Some(value.replace('\\', ""))
}

fn lvm(device: &str, group: &str) {
    let config = format!(
        "devices{{use_devicesfile=0 obtain_device_list_from_udev=0 filter=[\"a|^{device}$|\",\"r|.*|\"]}} \
         activation{{udev_sync=0 udev_rules=0}} backup{{backup=0 archive=0}}"
    );
    tool("pvcreate", &["-ff", "-y", "--driverloaded", "n", "--config", &config, device]);
    if !group.is_empty() {
        tool("vgcreate", &["-y", "--driverloaded", "n", "--config", &config, group, device]);
    }
}

fn luks(device: &str, kind: &str) {
    let key = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(key.path(), "secret").unwrap();
    let iterations = ["--pbkdf", "pbkdf2", "--pbkdf-force-iterations", "1000"];
    let iterations = if kind == "luks2" { &iterations[..] } else { &iterations[2..] };
    let file = key.path().to_str().unwrap();
    let arguments = [&["luksFormat", "-q", "--type", kind][..], iterations, &[device, file]].concat();
    tool("cryptsetup", &arguments);
}

fn put(device: &str, at: u64, bytes: &[u8]) {
    let file = std::fs::OpenOptions::new().write(true).open(device).unwrap();
    file.write_all_at(bytes, at).unwrap();
    file.sync_all().unwrap();
}

fn set(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

/// The sum of md(4)'s superblocks: all words, the carries added at the end.
fn sum(block: &[u8]) -> [u8; 4] {
    let words = block.chunks_exact(4).map(|word| u64::from(u32::from_le_bytes(word.try_into().unwrap())));
    let sum = words.sum::<u64>();
    u32::try_from((sum & 0xffff_ffff) + (sum >> 32)).unwrap().to_le_bytes()
}

/// A superblock of version 1 at this byte (linux/raid/md_p.h, `struct mdp_superblock_1`).
fn md1(device: &str, at: u64) {
    let mut block = vec![0; 256 + 2 * 32];
    set(&mut block, 0, &[0xfc, 0x4e, 0x2b, 0xa9, 1, 0, 0, 0]);
    set(&mut block, 16, &[0x5a; 16]);
    set(&mut block, 32, b"any:data");
    set(&mut block, 72, &1_u32.to_le_bytes());
    set(&mut block, 80, &(SIZE / 1024).to_le_bytes());
    set(&mut block, 92, &2_u32.to_le_bytes());
    set(&mut block, 128, &2048_u64.to_le_bytes());
    set(&mut block, 136, &(SIZE / 1024).to_le_bytes());
    set(&mut block, 144, &(at / 512).to_le_bytes());
    set(&mut block, 168, &[0x77; 16]);
    set(&mut block, 220, &32_u32.to_le_bytes());
    let right = sum(&block);
    set(&mut block, 216, &right);
    put(device, at, &block);
}

/// A superblock of version 0.90 (`struct mdp_superblock_s`).
fn md0(device: &str) {
    let mut block = vec![0; 4096];
    set(&mut block, 0, &[0xfc, 0x4e, 0x2b, 0xa9]);
    set(&mut block, 8, &90_u32.to_le_bytes());
    set(&mut block, 20, &[0x11; 4]);
    set(&mut block, 28, &1_u32.to_le_bytes());
    set(&mut block, 40, &2_u32.to_le_bytes());
    set(&mut block, 52, &[0x22; 12]);
    let right = sum(&block);
    set(&mut block, 152, &right);
    put(device, (SIZE & !0xffff) - 0x1_0000, &block);
}

/// One label of ZFS: pairs and a ring of uberblocks.
fn zfs(device: &str, label: u64) {
    let pairs = b"\x01\x01\0\0\0\0\0\0\0\0\0\x01\0\0\0\x20\0\0\0\x20\0\0\0\x04name\0\0\0\x09\0\0\0\x01\0\0\0\x04tank\
                  \0\0\0\x28\0\0\0\x28\0\0\0\x09pool_guid\0\0\0\0\0\0\x08\0\0\0\x01\0\0\0\0\0\0\0\x2a\0\0\0\0\0\0\0\0";
    put(device, label + (16 << 10), pairs);
    for slot in 0..16 {
        put(device, label + (128 << 10) + slot * 1024, &0x00ba_b10c_u64.to_le_bytes());
    }
}

fn ceph(device: &str, at: u64) {
    put(device, at, b"bluestore block device\n9a1b2c3d-0000-4111-8222-333344445555\n");
}

/// How a disk is made, its size, what the refusal must say, and whether blkid(8) knows it.
type Case = (&'static str, u64, fn(&str), &'static str, bool);

const CASES: [Case; 17] = [
    (
        "LVM",
        SIZE,
        |d| lvm(d, "vg_test"),
        "lvm \"vg_test\" (whole disk); a new plan erases it with --erase lvm:vg_test",
        true,
    ),
    ("an LVM volume without a group", SIZE, |d| lvm(d, ""), "--erase lvm:", true),
    ("LUKS 1", SIZE, |d| luks(d, "luks1"), "--erase luks:", true),
    ("LUKS 2", SIZE, |d| luks(d, "luks2"), "--erase luks:", true),
    (
        "LUKS 2 without its first header",
        SIZE,
        |d| {
            luks(d, "luks2");
            put(d, 0, &[0; 4096])
        },
        "--erase luks:",
        false,
    ),
    ("md 1.2", SIZE, |d| md1(d, 4096), "mdraid \"any:data\" (whole disk)", true),
    ("md 1.1", SIZE, |d| md1(d, 0), "mdraid \"any:data\" (whole disk)", true),
    ("md 1.0", SIZE, |d| md1(d, SIZE - 8192), "mdraid \"any:data\" (whole disk)", true),
    ("md 0.90", SIZE, md0, "--erase mdraid:11111111-2222-2222-2222-222222222222", true),
    ("bcache", SIZE, |d| drop(tool("make-bcache", &["-B", d])), "--erase bcache:", true),
    (
        "GFS2",
        LARGE,
        |d| drop(tool("mkfs.gfs2", &["-O", "-q", "-p", "lock_dlm", "-t", "clu:fs", "-j1", "-J8", d])),
        "gfs2 \"clu:fs\"",
        true,
    ),
    ("ZFS", SIZE, |d| zfs(d, 0), "zfs \"tank\" (whole disk)", true),
    (
        "ZFS without its first labels",
        SIZE,
        |d| zfs(d, SIZE - (256 << 10)),
        "zfs \"tank\" (whole disk)",
        false,
    ),
    ("Ceph", SIZE, |d| ceph(d, 0), "--erase ceph:9a1b2c3d-0000-4111-8222-333344445555", true),
    (
        "Ceph without its first label",
        GIB + MIB,
        |d| ceph(d, GIB),
        "--erase ceph:9a1b2c3d-0000-4111-8222-333344445555",
        false,
    ),
    (
        "VMFS",
        SIZE,
        |d| put(d, MIB, &[0x0d, 0xd0, 0x01, 0xc0]),
        "vmfs (whole disk); a new plan erases it with --erase vmfs@0",
        false,
    ),
    (
        "the mainboard's RAID",
        SIZE,
        |d| put(d, SIZE - 1024, b"Intel Raid ISM Cfg Sig. 1.3.00"),
        "--erase isw-raid@0",
        false,
    ),
];

/// A server with an empty disk beside the one that is prepared.
fn machine(bytes: u64, prepare: impl Fn(&str)) -> Machine {
    let mut machine = Machine::new();
    machine.add_disk("vda", "DATA", 16 * MIB);
    machine.add_disk("vdb", "SYSTEM", bytes);
    prepare(machine.disks[1].device.to_str().unwrap());
    machine
}

fn digest(machine: &Machine) -> String {
    tool("sha256sum", &[machine.disks[1].file.to_str().unwrap()])
}

/// It takes a while to pack.
fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| Image::new(1))
}

/// What the agent says to this job; nothing is written in either case.
fn asked(machine: &Machine, job: &ImageJob) -> Result<(), ImagingError> {
    let image = Carried::of(image().manifest.layout());
    let here = Here { root: machine.path(), node: NodeId([1; 16]), sites: &[CaPin([2; 32])] };
    ready(&here, job, &image).map(drop)
}

fn holds(machine: &Machine) -> Vec<Holding> {
    machine.inventory("SYSTEM").holds
}

#[test]
fn members_of_something_bigger_are_refused_by_name_and_stay_byte_for_byte() {
    if !is_root() {
        return;
    }
    for (what, bytes, prepare, words, is_known) in CASES {
        let machine = machine(bytes, prepare);
        let before = digest(&machine);
        let mut job = image().job(&machine.inventory("SYSTEM"));
        let refused = asked(&machine, &job).unwrap_err();
        assert!(matches!(refused, ImagingError::Unsafe(Unsafe::Foreign { .. })), "{what}: {refused}");
        assert!(refused.to_string().contains(words), "{what}: {refused}");
        assert_eq!(digest(&machine), before, "{what}");
        assert!(!machine.disks[0].is_read_only(), "{what}");
        if is_known {
            let device = machine.disks[1].device.to_str().unwrap();
            let seen = holds(&machine);
            assert!(blkid(device, "TYPE").is_some(), "{what}: blkid knows nothing");
            if let Some(uuid) = blkid(device, "UUID") {
                assert!(
                    seen.iter().any(|held| held.uuid.eq_ignore_ascii_case(&uuid)),
                    "{what}: {uuid}: {seen:?}"
                );
            }
        }
        job.erase = protocol::foreign(&holds(&machine)).into_iter().map(Mark::exact).collect();
        asked(&machine, &job).unwrap_or_else(|refused| panic!("{what}: it was named: {refused}"));
        assert_eq!(digest(&machine), before, "{what}");
    }
}

#[test]
fn file_systems_carry_the_ids_that_blkid_reads_and_need_no_name() {
    if !is_root() {
        return;
    }
    let table: [(&str, &[&str]); 8] = [
        ("mkfs.ext4", &["-q", "-F", "-L", "data"]),
        ("mkfs.ext3", &["-q", "-F", "-L", "data"]),
        ("mkfs.ext2", &["-q", "-F"]),
        ("mkfs.xfs", &["-q", "-f", "-L", "data"]),
        ("mkfs.btrfs", &["-q", "-f", "-L", "data"]),
        ("mkfs.vfat", &["-F", "32", "-n", "EFI"]),
        ("mkfs.ntfs", &["-q", "-Q", "-F"]),
        ("mkswap", &["-L", "sw"]),
    ];
    for (program, arguments) in table {
        let machine = machine(LARGE, |device| drop(tool(program, &[arguments, &[device]].concat())));
        let device = machine.disks[1].device.to_str().unwrap();
        let seen = holds(&machine);
        let [held] = seen.as_slice() else { panic!("{program}: {seen:?}") };
        assert_eq!(Some(held.uuid.clone()), blkid(device, "UUID"), "{program}");
        assert_eq!(held.label, blkid(device, "LABEL").unwrap_or_default(), "{program}");
        asked(&machine, &image().job(&machine.inventory("SYSTEM"))).unwrap();
    }
}

#[test]
fn a_btrfs_over_several_disks_is_a_pool() {
    if !is_root() {
        return;
    }
    let mut machine = machine(LARGE, |_| ());
    machine.add_disk("vdc", "MORE", LARGE);
    let [_, one, two] = machine.disks.as_slice() else { panic!("three disks") };
    let devices = [one.device.to_str().unwrap(), two.device.to_str().unwrap()];
    tool("mkfs.btrfs", &["-q", "-f", "-L", "both", "-d", "single", "-m", "single", devices[0], devices[1]]);
    for serial in ["SYSTEM", "MORE"] {
        let refused = asked(&machine, &image().job(&machine.inventory(serial))).unwrap_err();
        assert!(refused.to_string().contains("btrfs-pool \"both\" (whole disk)"), "{refused}");
    }
}

#[test]
fn what_lies_in_a_partition_is_told_with_its_number_under_every_table() {
    if !is_root() {
        return;
    }
    let gpt = "label: gpt\nstart=1MiB, size=8MiB, type=U, name=esp\nstart=16MiB, size=200MiB, name=data\n";
    let dos = "label: dos\nstart=2048, size=16384, type=83\nstart=20480, type=5\nstart=32768, size=409600, type=8e\n";
    for (script, number) in [(gpt, 2), (dos, 5)] {
        let machine = machine(LARGE, |device| table(device, script));
        let device = machine.disks[1].device.to_str().unwrap();
        // A volume of the partition's own size, moved into it.
        let inner = machine.path().join("inner.img");
        let volume = super::machine::LoopDisk::new(&inner, 200 * MIB);
        lvm(volume.device.to_str().unwrap(), "vg_in");
        put(device, 16 * MIB, &std::fs::read(&inner).unwrap()[..usize::try_from(8 * MIB).unwrap()]);
        let refused = asked(&machine, &image().job(&machine.inventory("SYSTEM"))).unwrap_err();
        let words = format!("lvm \"vg_in\" (partition {number})");
        assert!(refused.to_string().contains(&words), "{refused}");
        let partuuid = holds(&machine).into_iter().find(|held| held.kind == "partition").unwrap().uuid;
        let want = match number {
            2 => tool("sfdisk", &["--part-uuid", device, "1"]).trim().to_lowercase(),
            _ => format!("{}-01", disk_id(device)),
        };
        assert_eq!(partuuid, want);
    }
}

fn table(device: &str, script: &str) {
    let mut sfdisk = Command::new("sfdisk")
        .args(["-q", "--no-reread", "--no-tell-kernel", device])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    sfdisk.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(sfdisk.wait().unwrap().success(), "sfdisk");
}

fn disk_id(device: &str) -> String {
    tool("sfdisk", &["--disk-id", device]).trim().trim_start_matches("0x").to_lowercase()
}

/// Unmounted when dropped, also by a panic.
struct Mount(tempfile::TempDir);

impl Mount {
    fn of(device: &str) -> Self {
        let place = tempfile::tempdir().unwrap();
        tool("mount", &[device, place.path().to_str().unwrap()]);
        Self(place)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg(self.0.path()).status();
    }
}

/// By what this kernel says, not a tree that a test made.
#[test]
fn who_uses_a_disk_is_told_by_the_kernel() {
    if !is_root() {
        return;
    }
    let mut machine = machine(LARGE, |_| ());
    machine.add_disk("vdc", "MORE", LARGE);
    let [_, one, two] = machine.disks.as_slice() else { panic!("three disks") };
    let devices = [&one.device, &two.device].map(|device| device.to_str().unwrap());
    let name = |device: &str| device.strip_prefix("/dev/").unwrap().to_owned();
    let user = |device| {
        let told = agent::deploy::imaging::user::unused(std::path::Path::new("/"), &name(device));
        told.map_or_else(|error| error.to_string(), |()| String::new())
    };
    assert_eq!(devices.map(user), ["", ""]);
    tool("mkfs.btrfs", &["-q", "-f", "-d", "single", "-m", "single", devices[0], devices[1]]);
    let mount = Mount::of(devices[0]);
    let [first, second] = devices.map(user);
    assert!(first.contains("it is mounted on /"), "{first}");
    assert!(
        second.contains("it is part of the mounted btrfs ") || second.contains("it is mounted on"),
        "{second}"
    );
    drop(mount);
    assert_eq!(devices.map(user), ["", ""]);
    let over = tool("losetup", &["--find", "--show", devices[1]]);
    let told = user(devices[1]);
    tool("losetup", &["--detach", over.trim()]);
    assert!(told.ends_with(&format!("{} is made of it", name(over.trim()))), "{told}");
}

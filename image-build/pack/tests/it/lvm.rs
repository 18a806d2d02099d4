//! Physical volumes made by LVM's own tools, their volumes filled with what can be checked.

use std::ops::Range;

use pack::volume::{self, Inner, Volume};
use pack::{Extents, Source};
use proptest::prelude::*;

use crate::lab::{Disk, Loop, MIB, run};
use crate::md::Mirror;

/// Runs one of LVM's tools on this device alone, without device mapper.
fn lvm(tool: &str, device: &Loop, arguments: &[&str]) -> String {
    let devices =
        format!("devices{{filter=[\"a|^{}$|\",\"r|.*|\"] use_devicesfile=0 scan_lvs=0}}", device.name());
    let backup = "backup{backup=0 archive=0}";
    let config = format!("{devices} {backup}");
    run(tool, &[&["--driverloaded", "n", "--config", &config][..], arguments].concat())
}

/// A group `vg0` of extents of 1 MiB, and volumes of so many; `root` is extended behind the last by 5, so that it has two
/// segments.
fn group(bytes: u64, volumes: &[(&str, u32)]) -> Disk {
    let disk = Disk::new(bytes);
    let device = Loop::of_sectors(disk.path(), 512);
    lvm("pvcreate", &device, &["-y", device.name()]);
    lvm("vgcreate", &device, &["-y", "-s", "1m", "vg0", device.name()]);
    for (name, extents) in volumes {
        let extents = extents.to_string();
        lvm("lvcreate", &device, &["-y", "-Zn", "-Wn", "-an", "-n", name, "-l", &extents, "vg0"]);
    }
    if volumes.iter().any(|(name, _)| *name == "root") {
        lvm("lvextend", &device, &["-y", "-l", "+5", "vg0/root"]);
    }
    drop(device);
    disk
}

/// The usual one: `root` has extents 0–9 and 14–18, `data` 10–13.
fn usual() -> Disk {
    group(64 * MIB, &[("root", 10), ("data", 4)])
}

fn read(disk: &dyn Source) -> Volume {
    let volume = volume::read(disk).unwrap();
    assert_eq!(volume.kind, "LVM2_member");
    assert!(volume.used.end() <= disk.bytes());
    volume
}

fn inner<'a>(volume: &'a Volume, name: &str) -> &'a Inner {
    volume.inside.iter().find(|inner| inner.name == name).unwrap_or_else(|| panic!("{name}: {volume:?}"))
}

/// The bytes of some extents of the usual group: they begin at 1 MiB.
fn extents(range: Range<u64>) -> Range<u64> {
    (range.start + 1) * MIB..(range.end + 1) * MIB
}

/// Label and metadata area.
fn own() -> Extents {
    [0..2048, 4096..MIB].into_iter().collect()
}

fn with(mut extents: Extents, more: &[Range<u64>]) -> Extents {
    more.iter().for_each(|range| extents.add(range.clone()));
    extents
}

fn own_and(range: Range<u64>) -> Extents {
    with(own(), std::slice::from_ref(&range))
}

/// Writes a volume's content into the two segments of `root`.
fn fill_root(disk: &Disk, content: &[u8]) {
    let cut = content.len().min(10 << 20);
    disk.write(MIB, &content[..cut]);
    disk.write(15 * MIB, &content[cut..]);
}

fn root_of(disk: &Disk) -> Vec<u8> {
    [disk.read(MIB, 10 << 20), disk.read(15 * MIB, 5 << 20)].concat()
}

#[test]
fn an_empty_volume_and_an_empty_group() {
    let disk = Disk::new(64 * MIB);
    let device = Loop::of_sectors(disk.path(), 512);
    lvm("pvcreate", &device, &["-y", device.name()]);
    let found = read(&disk);
    assert_eq!((found.used, found.why_whole, found.label.as_str()), (own(), None, ""));
    lvm("vgcreate", &device, &["-y", "vg0", device.name()]);
    let found = read(&disk);
    assert_eq!((found.used, found.why_whole, found.label.as_str()), (own(), None, "vg0"));
    let told = lvm("pvs", &device, &["--noheadings", "-o", "pv_uuid"]);
    assert_eq!(found.uuid, told.trim());
    let told = run("blkid", &["-p", "-o", "value", "-s", "TYPE", "-s", "UUID", device.name()]);
    assert_eq!(told, format!("{}\n{}\n", found.uuid, found.kind));
}

#[test]
fn extents_of_no_volume_are_free() {
    let disk = usual();
    let found = read(&disk);
    assert_eq!(found.why_whole, None);
    assert_eq!(found.used, with(own(), &[extents(0..19)]));
    let sizes = found.inside.iter().map(|inner| (inner.name.as_str(), inner.bytes)).collect::<Vec<_>>();
    assert_eq!(sizes, [("data", 4 * MIB), ("root", 15 * MIB)]);
    assert!(found.inside.iter().all(|inner| inner.volume.why_whole.is_none()));
}

#[test]
fn two_metadata_areas_and_room_for_a_boot_loader() {
    let disk = Disk::new(64 * MIB);
    let device = Loop::of_sectors(disk.path(), 512);
    let options = ["-y", "--pvmetadatacopies", "2", "--bootloaderareasize", "2m", "--dataalignment", "8m"];
    lvm("pvcreate", &device, &[&options[..], &[device.name()]].concat());
    lvm("vgcreate", &device, &["-y", "-s", "1m", "vg0", device.name()]);
    lvm("lvcreate", &device, &["-y", "-Zn", "-Wn", "-an", "-n", "one", "-l", "3", "vg0"]);
    let told = lvm(
        "pvs",
        &device,
        &["--noheadings", "--nosuffix", "--units", "b", "-o", "pe_start,ba_start,ba_size"],
    );
    let numbers = told.split_whitespace().map(|n| n.parse::<u64>().unwrap()).collect::<Vec<_>>();
    let [start, boot, boot_bytes] = numbers[..] else { panic!("{told}") };
    let found = read(&disk);
    assert_eq!((found.why_whole.as_deref(), boot_bytes >= 2 * MIB), (None, true));
    let has = |range: Range<u64>| found.used.within(range.clone()).collect::<Vec<_>>() == [range];
    assert!(has(boot..boot + boot_bytes) && has(start..start + 3 * MIB));
    let second = found.used.iter().last().unwrap();
    assert!(found.used.within(start + 3 * MIB..second.start).next().is_none());
    assert_eq!((second.end, disk.read(second.start + 5, 4)), (64 * MIB, b"LVM2".to_vec()));
    disk.write(second.start + 40, &[1]);
    assert_eq!(read(&disk).why_whole.unwrap(), "a metadata area is damaged");
}

/// What lies in a volume of two segments is found, and lies on the disk where the segments are.
#[test]
fn a_volume_is_read_through_its_segments() {
    let disk = usual();
    let mut content = vec![0; 15 << 20];
    // A mirror's half whose content lies across the border of the segments.
    let mirror = Mirror { offset: 9 << 20, bytes: 2 << 20, ..Mirror::default() };
    mirror.write(&mut content, 4096);
    fill_root(&disk, &content);
    let found = read(&disk);
    let root = inner(&found, "root");
    assert_eq!((root.volume.kind, root.volume.why_whole.as_deref()), ("linux_raid_member", None));
    assert_eq!(root.volume.inside[0].bytes, 2 << 20);
    let half = [MIB + 4096..MIB + 8192, 10 * MIB..11 * MIB, 15 * MIB..16 * MIB];
    assert_eq!(found.used, with(with(own(), &half), &[extents(10..14)]));
}

#[test]
fn a_group_within_a_group() {
    let (disk, within) = (usual(), group(15 * MIB, &[("small", 2)]));
    fill_root(&disk, &within.read(0, 15 << 20));
    let found = read(&disk);
    let root = inner(&found, "root");
    assert_eq!((root.volume.kind, root.volume.label.as_str()), ("LVM2_member", "vg0"));
    assert_eq!(inner(&root.volume, "small").bytes, 2 * MIB);
    assert_eq!(root.volume.used, own_and(MIB..3 * MIB));
}

/// Only what counts as used goes onto another disk, and the file system there is whole.
#[test]
fn a_file_system_survives_in_what_is_used() {
    let disk = usual();
    let content = Disk::new(15 * MIB);
    run("mkfs.ext4", &["-q", content.name()]);
    fill_root(&disk, &content.read(0, 15 << 20));
    let found = read(&disk);
    let root = &inner(&found, "root").volume;
    assert_eq!((root.kind, root.why_whole.as_deref()), ("ext4", None));
    assert!(root.used.bytes() < 8 * MIB, "{} bytes", root.used.bytes());
    assert_eq!(found.used.bytes(), own().bytes() + 4 * MIB + root.used.bytes());
    let copy = Disk::new(64 * MIB);
    for range in found.used.iter() {
        copy.write(range.start, &disk.read(range.start, usize::try_from(range.end - range.start).unwrap()));
    }
    content.write(0, &root_of(&copy));
    run("e2fsck", &["-f", "-n", content.name()]);
    let device = Loop::of_sectors(copy.path(), 512);
    let told = lvm("lvs", &device, &["--noheadings", "-o", "lv_name,seg_pe_ranges"]);
    let words = told.split_whitespace().map(|word| word.replace(device.name(), "")).collect::<Vec<_>>();
    assert_eq!(words, ["data", ":10-13", "root", ":0-9", "root", ":14-18"]);
}

/// CRC-32 with LVM's beginning, bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    bytes.iter().fold(0xf597_a6cf, |crc, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

const AREA: usize = 4096;
const AREA_BYTES: usize = (1 << 20) - 4096;

fn number(raw: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(raw[at..at + 8].try_into().unwrap())).unwrap()
}

fn seal(raw: &mut [u8]) {
    let sum = checksum(&raw[AREA + 4..AREA + 512]);
    raw[AREA..AREA + 4].copy_from_slice(&sum.to_le_bytes());
}

/// A disk whose first MiB is another.
struct Headed<'a> {
    head: Vec<u8>,
    disk: &'a Disk,
}

impl Source for Headed<'_> {
    fn bytes(&self) -> u64 {
        self.disk.bytes()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        self.disk.read_at(offset, out)?;
        let head = usize::try_from(offset).ok().and_then(|at| self.head.get(at..)).unwrap_or_default();
        out.iter_mut().zip(head).for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

fn headed(disk: &Disk) -> Headed<'_> {
    Headed { head: disk.read(0, 1 << 20), disk }
}

/// The disk with its description changed, and put at this place of the ring, checksums right.
fn described(disk: &Disk, place: usize, change: impl FnOnce(String) -> String) -> Headed<'_> {
    let mut headed = headed(disk);
    let raw = &mut headed.head;
    let (at, length) = (number(raw, AREA + 40), number(raw, AREA + 48));
    let text = change(String::from_utf8(raw[AREA + at..AREA + at + length].to_vec()).unwrap());
    raw[AREA + 512..AREA + AREA_BYTES].fill(b'x');
    for (n, byte) in text.bytes().enumerate() {
        raw[AREA + 512 + (place - 512 + n) % (AREA_BYTES - 512)] = byte;
    }
    raw[AREA + 40..AREA + 48].copy_from_slice(&(place as u64).to_le_bytes());
    raw[AREA + 48..AREA + 56].copy_from_slice(&(text.len() as u64).to_le_bytes());
    raw[AREA + 56..AREA + 60].copy_from_slice(&checksum(text.as_bytes()).to_le_bytes());
    seal(raw);
    headed
}

/// Replaces exactly one place.
fn instead(text: String, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replacen(from, to, 1)
}

#[test]
fn a_description_that_goes_round_its_ring() {
    let disk = usual();
    let plain = read(&disk);
    for place in [512, 1024, AREA_BYTES - 1, AREA_BYTES - 300, AREA_BYTES - 512] {
        assert_eq!(read(&described(&disk, place, |text| text)), plain, "{place}");
    }
}

/// Of volumes that are not what someone mounts, every extent here counts; all others are read as ever.
#[test]
fn unusual_volumes_are_used_as_a_whole() {
    let disk = usual();
    let status = "status = [\"READ\", \"WRITE\", \"VISIBLE\"]";
    // Changes to the volume `data`, which is described after `root`.
    let last = |text: String, from: &str, to: &str| {
        let (head, tail) = text.split_at(text.find("data {").unwrap());
        head.to_owned() + &instead(tail.to_owned(), from, to)
    };
    let cases: [(&str, &str, &str); 9] = [
        ("it is internal to the group", status, "status = [\"READ\", \"WRITE\"]"),
        ("it is mirrored", status, "status = [\"READ\", \"WRITE\", \"VISIBLE\", \"MIRRORED\"]"),
        ("it has the flag NOSCAN", "flags = []", "flags = [\"NOSCAN\"]"),
        ("it has a segment of type thin-pool", "type = \"striped\"", "type = \"thin-pool\""),
        ("it has a segment of type striped+X", "type = \"striped\"", "type = \"striped+X\""),
        ("its stripes make no sense", "stripe_count = 1", "stripe_count = 3"),
        ("its stripes make no sense", "stripe_count = 1", "stripe_count = 0"),
        ("its stripes make no sense", "stripe_count = 1", "stripe_count = 1000000000000"),
        ("its stripes make no sense", "\"pv0\", 10", "\"pv1\", 0, \"pv0\", 10"),
    ];
    for (why, from, to) in cases {
        let raw = described(&disk, 512, |text| last(text, from, to));
        let found = read(&raw);
        let volume = &inner(&found, "data").volume;
        assert_eq!(volume.why_whole.as_deref(), Some(why));
        assert_eq!((volume.kind, volume.used.bytes()), ("raw", 4 * MIB));
        assert_eq!(found.used, with(own(), &[extents(0..19)]), "{to}");
        assert_eq!(inner(&found, "root").volume.why_whole, None);
    }
}

/// A stripe on two disks, a snapshot's origin, a mirror of two disks: as LVM writes them.
#[test]
fn what_other_volumes_and_disks_have_to_do_with() {
    let disk = usual();
    let striped = "stripe_count = 2\nstripe_size = 128\n\nstripes = [\n\"pv0\", 10,\n\"pv1\", 0\n]";
    let single = "stripe_count = 1\n\nstripes = [\n\"pv0\", 10\n]";
    let plain = "stripe_count = 1\n\nstripes = [\n\"pv0\", 10\n]";
    let raw = described(&disk, 512, |text| {
        let text = text.replace("\t", "").replace("# linear", "").replace("1 \n", "1\n");
        instead(text, single, striped)
    });
    let found = read(&raw);
    assert_eq!(inner(&found, "data").volume.why_whole.as_deref(), Some("it lies on other disks too"));
    assert_eq!(found.used, with(own(), &[extents(0..12), extents(14..19)]), "half of the stripes is here");

    // Two stripes on this disk.
    let raw =
        described(&disk, 512, |text| instead(text, plain, &striped.replace("\"pv1\", 0", "\"pv0\", 30")));
    let found = read(&raw);
    assert_eq!(inner(&found, "data").volume.why_whole, None);
    assert_eq!(found.used, with(own(), &[extents(0..12), extents(14..19), extents(30..32)]));

    let snapshot = "snapshot0 {\nid = \"x\"\nstatus = [\"READ\"]\nflags = []\nsegment_count = 1\nsegment1 {\n\
                    start_extent = 0\nextent_count = 10\ntype = \"snapshot\"\nchunk_size = 8\norigin = \"root\"\n\
                    cow_store = \"data\"\n}\n}\n";
    let raw = described(&disk, 512, |text| {
        instead(text, "logical_volumes {\n", &format!("logical_volumes {{\n{snapshot}"))
    });
    let found = read(&raw);
    for name in ["root", "data"] {
        let why = inner(&found, name).volume.why_whole.as_deref();
        assert_eq!(why, Some("other volumes are built upon it"), "{name}");
    }
    assert_eq!(found.used, with(own(), &[extents(0..19)]));

    let mirror = "mirror_count = 2\n\nmirrors = [\n\"pv1\", 3,\n\"pv0\", 10\n]";
    let raw = described(&disk, 512, |text| instead(text, single, mirror));
    assert_eq!(read(&raw).used, with(own(), &[extents(0..19)]));
}

/// A snapshot and a thin pool as LVM itself writes and lists them: of both, nothing may be left out, although the snapshot's
/// origin looks like any other volume.
#[test]
fn snapshots_and_pools_of_lvm() {
    let volume = |name: &str, n: u32, status: &str, segment: &str| {
        format!(
            "{name} {{\nid = \"09U62H-klsC-eAhP-TdQw-jpiG-B4WK-GSSwk{n}\"\nstatus = [{status}]\nflags = []\n\
             segment_count = 1\nsegment1 {{\nstart_extent = 0\n{segment}\n}}\n}}\n"
        )
    };
    let (seen, hidden) = ("\"READ\", \"WRITE\", \"VISIBLE\"", "\"READ\", \"WRITE\"");
    let linear = |extents: u32, at: u32| {
        format!("extent_count = {extents}\ntype = \"striped\"\nstripe_count = 1\nstripes = [\"pv0\", {at}]")
    };
    let pool = "extent_count = 8\ntype = \"thin-pool\"\nmetadata = \"pool_tmeta\"\npool = \"pool_tdata\"\n\
                transaction_id = 0\nchunk_size = 128\ndiscards = \"passdown\"\nzero_new_blocks = 1";
    let thin = "extent_count = 100\ntype = \"thin\"\nthin_pool = \"pool\"\ntransaction_id = 0\ndevice_id = 1";
    let snapshot =
        "extent_count = 15\ntype = \"snapshot\"\nchunk_size = 8\norigin = \"root\"\ncow_store = \"cow\"";
    let volumes = [
        volume("pool", 1, seen, pool),
        volume("pool_tmeta", 2, hidden, &linear(1, 20)),
        volume("pool_tdata", 3, hidden, &linear(8, 30)),
        volume("thin", 4, seen, thin),
        volume("cow", 5, seen, &linear(2, 40)),
        volume("snapshot0", 6, seen, snapshot),
    ];
    let disk = usual();
    let device = Loop::of_sectors(disk.path(), 512);
    let text = disk.path().with_file_name("text");
    let file = text.to_str().unwrap();
    lvm("vgcfgbackup", &device, &["-f", file, "vg0"]);
    let more = format!("logical_volumes {{\n{}", volumes.concat());
    std::fs::write(&text, instead(std::fs::read_to_string(&text).unwrap(), "logical_volumes {\n", &more))
        .unwrap();
    lvm("vgcfgrestore", &device, &["--force", "-f", file, "vg0"]);
    let told =
        lvm("lvs", &device, &["-a", "--noheadings", "--separator", ":", "-o", "lv_name,seg_type,origin"]);
    let listed = told.split_whitespace().collect::<Vec<_>>();
    for line in ["cow:linear:root", "thin:thin:", "pool:thin-pool:", "[pool_tdata]:linear:", "data:linear:"] {
        assert!(listed.contains(&line), "{line}: {told}");
    }
    let found = read(&disk);
    let why = |name| inner(&found, name).volume.why_whole.as_deref();
    for name in ["root", "cow", "pool_tmeta", "pool_tdata"] {
        assert_eq!(why(name), Some("other volumes are built upon it"), "{name}");
    }
    assert_eq!((why("data"), found.inside.len()), (None, 5));
    assert_eq!(found.used, with(own(), &[extents(0..19), extents(20..21), extents(30..38), extents(40..42)]));
    lvm("vgexport", &device, &["vg0"]);
    assert_eq!(read(&disk).why_whole.unwrap(), "the description of its volume group: the group is exported");
}

/// Two stripes on one disk, with something in them whose place can be told.
#[test]
fn stripes_on_one_disk_are_read_through() {
    let disk = usual();
    let single = "stripe_count = 1\n\nstripes = [\n\"pv0\", 10\n]";
    let double = "stripe_count = 2\nstripe_size = 128\n\nstripes = [\n\"pv0\", 10,\n\"pv0\", 30\n]";
    let mut content = vec![0; 4 << 20];
    Mirror { offset: 1 << 20, bytes: 256 << 10, ..Mirror::default() }.write(&mut content, 4096);
    for (chunk, n) in content.chunks(64 << 10).zip(0..) {
        disk.write(if n % 2 == 0 { 11 * MIB } else { 31 * MIB } + n / 2 * (64 << 10), chunk);
    }
    let found = read(&described(&disk, 512, |text| instead(text, single, double)));
    assert_eq!(inner(&found, "data").volume.kind, "linux_raid_member");
    let round = 64 << 10;
    let rows = [0..round, 8 * round..10 * round];
    let places = [11 * MIB, 31 * MIB]
        .into_iter()
        .flat_map(|at| rows.clone().into_iter().map(move |row| at + row.start..at + row.end));
    let want = with(with(own(), &[extents(0..10), extents(14..19)]), &places.collect::<Vec<_>>());
    assert_eq!(found.used, want);
}

#[test]
fn groups_that_are_elsewhere_or_on_the_move() {
    let disk = usual();
    let cases: [(&str, &str, &str); 14] = [
        ("the group is exported", "\"RESIZEABLE\"", "\"EXPORTED\""),
        ("the group has this disk as missing", "flags = []\ndev_size", "flags = [\"MISSING\"]\ndev_size"),
        ("extents are being moved to another disk", "\"VISIBLE\"]", "\"VISIBLE\", \"PVMOVE\"]"),
        ("the group does not know this disk", "pv0 {\nid = \"", "pv0 {\nid = \"x"),
        ("its extents lie beyond the disk", "pe_count = 63", "pe_count = 64"),
        ("the disk's extents begin nowhere", "pe_start = 2048", "pe_start = 9223372036854775807"),
        ("extents have no size", "extent_size = 2048", "extent_size = 0"),
        ("volume root: its segments are not counted", "segment_count = 2", "segments = 2"),
        ("volume root: its segments do not follow each other", "segment_count = 2", "segment_count = 3"),
        ("volume root: its segments do not follow each other", "start_extent = 10", "start_extent = 9"),
        ("volume root: it lies beyond the disk's extents", "\"pv0\", 14", "\"pv0\", 63"),
        ("it describes no group, or two", "physical_volumes", "physical_volume"),
        ("a name stands for two things", "seqno = ", "seqno = 1\nseqno = "),
        ("volumes lie over each other", "\"pv0\", 14", "\"pv0\", 9"),
    ];
    for (why, from, to) in cases {
        let raw = described(&disk, 512, |text| instead(text, from, to));
        let found = read(&raw);
        let told = found.why_whole.unwrap_or_default();
        assert!(told.contains(why) || told == "a description makes no sense", "{why}: {told}");
        assert_eq!(found.used, Extents::all(64 * MIB), "{why}");
    }
}

#[test]
fn labels_and_areas_that_are_damaged() {
    let disk = usual();
    let text = AREA + number(&headed(&disk).head, AREA + 40);
    for (why, at) in [
        ("the label of the physical volume is damaged", 512 + 16),
        ("the label of the physical volume is damaged", 512 + 70),
        ("a metadata area has no header", AREA + 6),
        ("a metadata area is damaged", AREA + 100),
        ("a metadata area has a damaged description", text + 50),
    ] {
        let mut raw = headed(&disk);
        raw.head[at] ^= 0x10;
        let found = read(&raw);
        assert_eq!((found.why_whole.as_deref(), found.used), (Some(why), Extents::all(64 * MIB)));
    }
    for (why, at, bytes) in [
        ("names an impossible place", 40, 511_u64),
        ("names an impossible place", 40, AREA_BYTES as u64),
        ("names an impossible place", 48, 0),
        ("names an impossible place", 48, u64::MAX),
        ("has another place", 24, 8192),
        ("has another place", 32, u64::MAX),
        ("holds a change that was not finished", 64, 512),
        ("the description of its volume group is on other disks", 60, 1 << 0),
        ("the description of its volume group is on other disks", 40, 0),
    ] {
        let mut raw = headed(&disk);
        let width = if at == 60 { 4 } else { 8 };
        raw.head[AREA + at..AREA + at + width].copy_from_slice(&bytes.to_le_bytes()[..width]);
        seal(&mut raw.head);
        let told = read(&raw).why_whole.unwrap();
        assert!(told.contains(why), "{why}: {told}");
    }
    // A label in another sector, and what is no label.
    let mut raw = headed(&disk);
    raw.head.copy_within(512..1024, 1536);
    raw.head[512..1024].fill(0);
    raw.head[1536 + 8] = 3;
    let found = read(&raw);
    assert_eq!(found.used, with(own(), &[extents(0..19)]));
    raw.head[1536] = b'l';
    assert_eq!(volume::read(&raw).unwrap().kind, "raw");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Any description, its checksums right: an answer within the disk, and within a moment.
    #[test]
    fn no_description_makes_it_fall(
        edits in prop::collection::vec((0_usize..1500, "[ -~\n]"), 0..6),
        at in 0_usize..512, byte in any::<u8>(), is_label in any::<bool>(),
    ) {
        use std::sync::OnceLock;
        static DISK: OnceLock<Disk> = OnceLock::new();
        let disk = DISK.get_or_init(usual);
        let mut raw = described(disk, 512, |mut text| {
            for (at, with) in &edits {
                let at = at % text.len();
                text.replace_range(at..=at, with);
            }
            text
        });
        let place = if is_label { 512 } else { AREA } + at;
        raw.head[place] = byte;
        if is_label {
            let sum = checksum(&raw.head[512 + 20..1024]);
            raw.head[512 + 16..512 + 20].copy_from_slice(&sum.to_le_bytes());
        } else {
            seal(&mut raw.head);
        }
        let found = volume::read(&raw).unwrap();
        prop_assert!(found.used.end() <= 64 * MIB && !found.used.is_empty());
    }
}

//! Whole disks, captured and restored onto a blank disk and onto a dirty one: every file system's own checker is content,
//! every file is as it was, the partition table is the same, and the manifest says what blkid says.

mod disk;
mod files;
mod volume;

use std::path::{Path, PathBuf};

use image_build::capture::{Order, capture};
use image_build::container::Image;
use image_build::files::WorkFolder;
use image_build::progress::Progress;
use pack::{Compression, VolumeId};

use crate::tool::{key, noise, work};
use disk::{Disk, MIB};
use volume::{Kind, Place};

/// What is on a disk, and what it must be again.
struct Case<'a> {
    disk: &'a Disk,
    places: &'a [Place],
    /// What the partition table's tools say of it.
    has_table: bool,
}

/// Captures, restores twice, and proves both.
fn round_trip(case: &Case<'_>) {
    let work = work();
    case.places.iter().for_each(|place| place.make(case.disk));
    let trees: Vec<_> = case.places.iter().map(|place| place.fill(case.disk, work.path())).collect();
    let image = captured(case, &work);
    for place in case.places {
        place.is_told(case.disk, &image.manifest.layout().volumes);
    }
    let file = work.path().join("image");
    for fill in [0, 0xaa] {
        let copy = Disk::full_of(fill, case.disk.bytes(), case.disk.sector());
        if fill == 0 {
            image.unpack(copy.path(), &Progress::start(true)).unwrap();
        } else {
            disk::restore(&file, copy.path());
        }
        if case.has_table {
            assert_eq!(copy.table(), case.disk.table());
        }
        for (place, tree) in case.places.iter().zip(&trees) {
            place.is_sound(&copy);
            assert_eq!(&place.tree(&copy, work.path()), tree, "{:?} on a disk full of {fill:#x}", place.kind);
        }
    }
}

/// An image of it. Less is in it than on the disk.
fn captured(case: &Case<'_>, work: &WorkFolder) -> Image {
    let out = work.path().join("image");
    // A disk with long sectors is a device, and all others are files.
    let device = (case.disk.sector() != 512).then(|| case.disk.device());
    let source = device.as_ref().map_or(case.disk.path(), |device| Path::new(device.name()));
    let order = Order {
        source,
        sector_bytes: None,
        name: "round-trip",
        arch: "amd64",
        roles: &[],
        compression: Compression::Zstd(1),
        key: &key(),
        out: &out,
    };
    let (image, found) = capture(&order, &Progress::start(true)).unwrap();
    let whole: Vec<_> = found.volumes.iter().filter_map(|placed| placed.volume.why_whole.clone()).collect();
    assert_eq!(whole, [""; 0]);
    assert!(found.used.bytes() < case.disk.bytes() * 3 / 4, "{} bytes", found.used.bytes());
    assert_eq!(image.manifest.layout().sector_bytes, case.disk.sector());
    image
}

/// Places one behind the other from 1 MiB on, of so many MiB.
fn in_a_row(kinds: &[(Kind, u64)]) -> Vec<Place> {
    let mut next = MIB;
    let places = kinds.iter().map(|(kind, mib)| {
        let place = Place { kind: *kind, offset: next, bytes: mib * MIB };
        next += mib * MIB;
        place
    });
    places.collect()
}

fn gpt(sector: u32, kinds: &[(Kind, u64)]) {
    let places = in_a_row(kinds);
    let disk = Disk::full_of(0, places.last().unwrap().end() + 2 * MIB, sector);
    let lines = places.iter().map(|place| {
        let kind = match place.kind {
            Kind::Boot => "21686148-6449-6E6F-744E-656564454649",
            Kind::Vfat(_) => "C12A7328-F81F-11D2-BA4B-00A0C93EC93B",
            Kind::Swap => "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F",
            Kind::Ext(_) | Kind::Xfs | Kind::Btrfs | Kind::Exfat | Kind::Ntfs | Kind::Unknown => {
                "0FC63DAF-8483-4772-8E79-3D69D8477DE4"
            }
        };
        format!(
            "start={}, size={}, type={kind}\n",
            place.offset / u64::from(sector),
            place.bytes / u64::from(sector)
        )
    });
    disk.partition(&format!("label: gpt\n{}", lines.collect::<String>()));
    round_trip(&Case { disk: &disk, places: &places, has_table: true });
}

#[test]
fn a_gpt_with_every_file_system() {
    gpt(
        512,
        &[
            (Kind::Vfat(32), 40),
            (Kind::Boot, 1),
            (Kind::Ext(4), 32),
            (Kind::Xfs, 32),
            (Kind::Btrfs, 128),
            (Kind::Swap, 8),
            (Kind::Exfat, 16),
            (Kind::Ntfs, 16),
        ],
    );
}

#[test]
fn a_gpt_with_sectors_of_4096_bytes() {
    gpt(
        4096,
        &[
            (Kind::Vfat(16), 64),
            (Kind::Ext(4), 32),
            (Kind::Xfs, 32),
            (Kind::Swap, 8),
            (Kind::Exfat, 32),
            (Kind::Ntfs, 64),
        ],
    );
}

#[test]
fn an_mbr_with_logical_partitions() {
    let place = |kind, offset: u64, mib: u64| Place { kind, offset: offset * MIB, bytes: mib * MIB };
    let places = [
        place(Kind::Ext(2), 1, 16),
        place(Kind::Vfat(12), 18, 8),
        place(Kind::Vfat(16), 28, 24),
        place(Kind::Ext(3), 54, 24),
        place(Kind::Ntfs, 80, 16),
    ];
    let disk = Disk::full_of(0, 100 * MIB, 512);
    disk.partition(
        "label: dos\nstart=1MiB, size=16MiB, type=83, bootable\nstart=17MiB, size=82MiB, type=f\n\
         start=18MiB, size=8MiB, type=1\nstart=28MiB, size=24MiB, type=e\nstart=54MiB, size=24MiB, type=83\n\
         start=80MiB, size=16MiB, type=7\n",
    );
    round_trip(&Case { disk: &disk, places: &places, has_table: true });
}

#[test]
fn volumes_of_lvm() {
    let disk = Disk::full_of(0, 96 * MIB, 512);
    disk.partition("label: gpt\nstart=1MiB, size=94MiB, type=E6D6D379-F507-44C2-A23C-238F2A3DF928\n");
    // The first extent lies 1 MiB behind the start of the partition.
    let place = |kind, extent: u64, mib: u64| Place { kind, offset: (2 + extent) * MIB, bytes: mib * MIB };
    disk.group(MIB, 94 * MIB, &[("root", 24), ("data", 32)]);
    let places = [place(Kind::Ext(4), 0, 24), place(Kind::Xfs, 24, 32)];
    round_trip(&Case { disk: &disk, places: &places, has_table: true });
}

#[test]
fn a_member_of_a_mirror() {
    let disk = Disk::full_of(0, 64 * MIB, 512);
    disk.partition("label: gpt\nstart=1MiB, size=62MiB, type=A19D880F-05FC-4D3B-A006-743F0F84911E\n");
    disk.mirror(MIB, MIB, 40 * MIB);
    let places = [Place { kind: Kind::Ext(4), offset: 2 * MIB, bytes: 40 * MIB }];
    round_trip(&Case { disk: &disk, places: &places, has_table: true });
}

#[test]
fn a_file_system_on_a_disk_without_partitions() {
    let disk = Disk::full_of(0, 48 * MIB, 512);
    let places = [Place { kind: Kind::Ext(4), offset: 0, bytes: 48 * MIB }];
    round_trip(&Case { disk: &disk, places: &places, has_table: false });
}

#[test]
fn what_nobody_knows() {
    let places = in_a_row(&[(Kind::Unknown, 4), (Kind::Ext(4), 16)]);
    let disk = Disk::full_of(0, 40 * MIB, 512);
    disk.partition("label: gpt\nstart=1MiB, size=4MiB\nstart=5MiB, size=16MiB\n");
    round_trip(&Case { disk: &disk, places: &places, has_table: true });
}

/// The manifest's line for a volume at this place.
fn listed<'a>(volumes: &'a [VolumeId], kind: &str, uuid: &str) -> &'a VolumeId {
    let found = volumes.iter().find(|volume| volume.kind == kind && volume.uuid == uuid);
    found.unwrap_or_else(|| panic!("no {kind} {uuid} in {volumes:?}"))
}

/// Where something is mounted or laid out for a moment.
fn scratch(work: &Path, name: &str) -> PathBuf {
    let path = work.join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    std::fs::create_dir(&path).unwrap();
    path
}

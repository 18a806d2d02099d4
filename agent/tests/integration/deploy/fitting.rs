//! Images on servers whose disk has another size.

use agent::deploy::seeds;
use pack::disk::{Access, Disk};
use pack::table::{self, NoTable};

use super::image::{DISK, Image, MIB};
use super::machine::Machine;
use super::rack::Rack;
use super::{is_root, run};

/// A server with one disk, and the image with partitions for it.
async fn rack(bytes: u64) -> Rack {
    let mut machine = Machine::new();
    machine.add_disk("vda", "SYSTEM", bytes);
    // Another system's table, whose backup lies at the end.
    let device = machine.disks[0].device.clone();
    let made = std::process::Command::new("sgdisk").args(["--new=1:2048:+4M"]).arg(device).output();
    assert!(made.expect("sgdisk, of the package gdisk").status.success());
    let mut rack = Rack::of(machine).await;
    rack.image = Image::partitioned(1);
    rack.offer(&rack.image, rack.job());
    rack
}

fn assert_is_image(rack: &Rack, bytes: u64) {
    let disk = Disk::open(&rack.machine.disks[0].file, Access::Read).unwrap();
    let found = table::read(&disk, 512).unwrap();
    assert_eq!((disk.bytes(), found.damage, found.partitions.len()), (bytes, Vec::new(), 3));
    for (chunk, raw) in rack.image.windows.iter().filter(|(chunk, _)| (1..80).contains(&chunk.window)) {
        let on_disk = rack.machine.read(0, chunk.disk_offset(), raw.len());
        assert!(on_disk == *raw, "window {} is not the image's", chunk.window);
    }
    assert!(seeds::read(&rack.machine.disks[0].device).unwrap().complete);
}

/// Cut off at any time it has no table: neither at its beginning nor at its own end.
#[test]
fn a_fitted_disk_does_not_boot_before_it_is_whole() {
    if !is_root() {
        return;
    }
    for bytes in [81 * MIB, 90 * MIB + 512, DISK - 512, DISK + 512, 140 * MIB] {
        run(async {
            let rack = rack(bytes).await;
            for cut in [4, 7] {
                rack.controller.with(|s| s.ranges = 0);
                rack.boot_until("some ranges", |s, _| s.ranges >= cut).await;
                let disk = Disk::open(&rack.machine.disks[0].file, Access::Read).unwrap();
                assert!(matches!(table::read(&disk, 512), Err(NoTable::Absent)), "{bytes}");
                assert!(rack.machine.read(0, bytes - 512, 512).iter().all(|byte| *byte == 0));
            }
            rack.boot().await;
            assert_is_image(&rack, bytes);
            let receipt = rack.controller.with(|s| s.receipts[0].clone());
            assert_eq!(receipt.proof.unwrap().root, rack.image.manifest.root());
            assert!(receipt.same_bytes > 0, "what was there is used");
            // The same job again: everything is right.
            rack.boot().await;
            let receipt = rack.controller.with(|s| s.receipts.last().unwrap().clone());
            assert_eq!(receipt.written_bytes + receipt.same_bytes, receipt.total_bytes);
            assert_is_image(&rack, bytes);
        });
    }
}

#[test]
fn a_disk_that_would_cut_a_partition_is_refused_and_left_alone() {
    if !is_root() {
        return;
    }
    run(async {
        let bytes = 81 * MIB - 512;
        let rack = rack(bytes).await;
        let before = rack.machine.read(0, 0, usize::try_from(bytes).unwrap());
        let why = rack.failure().await;
        assert!(why.contains("it needs a disk of at least 84934656 bytes, this one has 84934144"), "{why}");
        assert!(rack.machine.read(0, 0, before.len()) == before, "not one byte");
    });
}

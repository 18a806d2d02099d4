//! Real devices that are swapped for others between the steps that lead to the first write.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::symlink;

use agent::deploy::imaging::ImagingError;
use agent::deploy::imaging::guard::Left;
use agent::deploy::imaging::hold::{HoldError, Protected};
use agent::deploy::imaging::ready::{Disks, Here, ready};
use agent::deploy::imaging::target::{DiskError, Drive};
use agent::inventory::probe::Partition;
use protocol::{CaPin, Carried, Disk, DiskId, ImageJob, NodeId};

use super::image::{Image, MIB};
use super::is_root;
use super::machine::{LoopDisk, Machine};

const SIZE: u64 = 80 * MIB;

/// The agent's own disks, and what somebody does before one of the steps.
struct Meddled<'a> {
    here: Here<'a>,
    at: usize,
    step: Cell<usize>,
    meddle: &'a dyn Fn(),
}

impl Meddled<'_> {
    fn tick(&self) {
        if self.step.replace(self.step.get() + 1) == self.at {
            (self.meddle)();
        }
    }
}

impl Disks for Meddled<'_> {
    type Held = Protected;
    type Open = Drive;

    fn look(&self) -> Vec<Disk> {
        self.tick();
        self.here.look()
    }
    fn partitions(&self, disk: &Disk) -> Vec<Partition> {
        self.here.partitions(disk)
    }
    fn left(&self, disk: &Disk, job: &ImageJob) -> Left {
        self.here.left(disk, job)
    }
    fn unused(&self, name: &str) -> Result<(), HoldError> {
        self.tick();
        self.here.unused(name)
    }
    fn protect(&self, name: &str) -> Result<Protected, HoldError> {
        self.tick();
        self.here.protect(name)
    }
    fn open(&self, disk: &Disk, id: DiskId) -> Result<Drive, DiskError> {
        self.tick();
        self.here.open(disk, id)
    }
}

/// Gives the name `vdb` to another device, with this serial number.
fn becomes(machine: &Machine, other: &LoopDisk, serial: &str) {
    let name = machine.path().join("dev/vdb");
    fs::remove_file(&name).unwrap();
    symlink(&other.device, &name).unwrap();
    machine.file("sys/block/vdb/dev", &other.number());
    machine.file("sys/block/vdb/serial", serial);
}

#[test]
fn a_disk_that_takes_the_place_of_the_planned_one_is_not_written() {
    if !is_root() {
        return;
    }
    let packed = Image::new(1);
    for (serial, content) in [("OTHER", &b"other"[..]), ("SYSTEM", b"other"), ("SYSTEM", b"old")] {
        // Look, unused, protect, open, look again; at the fifth it is too late, and the open device is no other.
        for at in 0..6 {
            let mut machine = Machine::new();
            machine.add_disk("vda", "DATA", 16 * MIB);
            machine.add_disk("vdb", "SYSTEM", SIZE);
            machine.write(1, 0, b"old");
            let other = LoopDisk::new(&machine.path().join("other.img"), SIZE);
            fs::write(machine.path().join("other.img"), content).unwrap();
            fs::OpenOptions::new()
                .write(true)
                .open(machine.path().join("other.img"))
                .unwrap()
                .set_len(SIZE)
                .unwrap();
            let job = packed.job(&machine.inventory("SYSTEM"));
            let image = Carried::of(packed.manifest.layout());
            let here = Here { root: machine.path(), node: NodeId([1; 16]), sites: &[CaPin([2; 32])] };
            let meddle = || becomes(&machine, &other, serial);
            let meddled = Meddled { here, at, step: Cell::new(0), meddle: &meddle };
            let told = ready(&meddled, &job, &image).map(drop);
            let case = format!("{serial} {content:?} before step {at}: {told:?}");
            // A clone to the last bit that takes its place before it is opened is the same disk to everybody.
            let is_clone = serial == "SYSTEM" && content == b"old";
            assert_eq!(told.is_ok(), at == 5 || is_clone, "{case}");
            if let Err(error) = told {
                let is_doubt =
                    matches!(error, ImagingError::Unsafe(_) | ImagingError::Disk(DiskError::Changed { .. }));
                assert!(is_doubt, "{case}");
            }
            assert!(!machine.disks[0].is_read_only(), "{case}");
        }
    }
}

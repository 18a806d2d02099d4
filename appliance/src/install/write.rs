//! Makes a disk the controller's. The old content's first MiB goes first, and what firmware starts comes last, so that whatever ends it
//! in between leaves a disk that boots nothing.

use std::fs;
use std::path::Path;

use console::install::Told;
use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom, SystemRandom};
use setup::install::{Disk, Environment, Layout, Slot};

use super::loops::{Loop, Mounted};
use super::medium::{Medium, prove};
use super::slots::{ENVIRONMENT, MENU};
use super::target::Target;
use super::{disks, program};

/// What an installed controller keeps: the same folders in the first program of the ISO.
const KEPT: [&str; 4] = ["etc", "home", "root", "var"];
/// What this live system has changed.
const CHANGES: &str = "/run/live/changes/upper";
/// What may write there. Networks that it has made stay.
const WRITERS: [&str; 2] = ["rackwright-configured.path", "rackwright.service"];

/// Does all of it.
pub(super) fn install(medium: &Medium, disk: &Disk, layout: Layout, told: Told<'_>) -> Result<(), String> {
    let target = Target::claimed(disk)?;
    // A damaged medium must not cost what is on the disk.
    prove(&Mounted::at("medium", medium.path(), "ro,nosuid,nodev,noexec")?, "reading the medium", told)?;
    let _others = Others::locked(disk)?;
    told("clearing the disk", 0, 0);
    target.clear()?;
    let mut writers = None;
    let done = fill(medium, &target, layout, &mut writers, told);
    if done.is_err() {
        // What came before firmware could start it, must not stay beside the controller that goes on here.
        target.forget(0)?;
    } else if let Some(writers) = &mut writers {
        writers.stay = true;
    }
    done
}

fn fill(
    medium: &Medium,
    target: &Target,
    layout: Layout,
    writers: &mut Option<Writers>,
    told: Told<'_>,
) -> Result<(), String> {
    let (path, id) = (target.path(), id()?);
    medium.copy(target.file(), layout.slot(), told)?;
    // Of an installation before this one there may be another system in it.
    target.forget(layout.slot().offset() + layout.slot().bytes())?;
    program::run("blockdev", ["--flushbufs", &path.to_string_lossy()])?;
    target.is_same()?;
    let slot = Loop::of(path, layout.slot())?;
    let system = Mounted::at("slot", Path::new(slot.device()), "ro,nosuid,nodev,noexec")?;
    prove(&system, "reading it back", told)?;
    told("making the other file systems", 0, 0);
    target.is_same()?;
    let (data, esp) = (Loop::of(path, layout.data())?, Loop::of(path, layout.esp())?);
    program::run("mke2fs", ["-q", "-F", "-t", "ext4", "-L", "rackwright-data", data.device()])?;
    let sector = program::run("blockdev", ["--getss", &path.to_string_lossy()])?;
    program::run("mkfs.vfat", ["-F", "32", "-S", sector.trim(), "-n", "RW-EFI", esp.device()])?;
    put_loaders(&system, Path::new(esp.device()), &id)?;
    told("taking along what this live system knows", 0, 0);
    *writers = Some(Writers::stopped()?);
    put_changes(Path::new(data.device()))?;
    told("making it start", 0, 0);
    let (core, boot) = (content(&system, "core.img")?, content(&system, "boot.img")?);
    system.close()?;
    // Nobody rereads the partition table of a disk that is in use.
    drop((slot, data, esp));
    target.put(&core, layout.bios().offset())?;
    target.is_same()?;
    let words = ["--quiet", "--wipe", "never", "--wipe-partitions", "never", &path.to_string_lossy()]
        .map(str::to_owned);
    program::with_input("sfdisk", words, &layout.table(&id))?;
    target.put(&boot, 0)
}

/// By which the first program finds this disk's partitions, and no other's.
fn id() -> Result<String, String> {
    let mut bytes = [0; 4];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the kernel gives no random numbers")?;
    Ok(HEXLOWER.encode(&bytes))
}

fn content(system: &Mounted, name: &str) -> Result<Vec<u8>, String> {
    fs::read(system.path(&format!("disk/{name}")))
        .map_err(|why| format!("reading {name} of the medium: {why}"))
}

/// Debian's signed shim and GRUB where firmware looks, and what GRUB reads where it looks.
fn put_loaders(system: &Mounted, device: &Path, id: &str) -> Result<(), String> {
    let esp = Mounted::at("esp", device, "nosuid,nodev,noexec")?;
    let menu = String::from_utf8_lossy(&content(system, "grub.cfg")?).replace("DISK", id);
    let files = [
        ("EFI/BOOT/BOOTX64.EFI", content(system, "shimx64.efi")?),
        ("EFI/BOOT/grubx64.efi", content(system, "grubx64.efi")?),
        (MENU, menu.into_bytes()),
        (ENVIRONMENT, Environment { slot: Slot::A, trial: None }.block()),
    ];
    for (name, bytes) in files {
        let path = esp.path(name);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, bytes));
        made.map_err(|why| format!("writing {name}: {why}"))?;
    }
    esp.close()
}

/// Whatever this live system has changed in these folders, with owners, modes, links and what an overlay notes.
fn put_changes(device: &Path) -> Result<(), String> {
    let data = Mounted::at("data", device, "nosuid,nodev,noexec")?;
    for folder in KEPT {
        let (from, to) = (Path::new(CHANGES).join(folder), data.path(folder));
        fs::create_dir(&to).map_err(|why| format!("making {}: {why}", to.display()))?;
        if from.is_dir() {
            let (from, to) =
                (from.to_string_lossy().into_owned(), to.join("upper").to_string_lossy().into_owned());
            program::run("cp", ["--archive", "--no-target-directory", &from, &to])?;
        }
    }
    data.close()
}

/// The services that change what is kept, stopped; dropped, those that ran run again, unless they shall stay stopped.
struct Writers {
    ran: Vec<&'static str>,
    stay: bool,
}

impl Writers {
    fn stopped() -> Result<Writers, String> {
        let runs = |unit: &&str| {
            let state = program::run("systemctl", ["show", "--property", "ActiveState", "--value", unit]);
            // On its way up is up.
            state.is_ok_and(|state| !["inactive", "failed"].contains(&state.trim()))
        };
        let writers = Writers { ran: WRITERS.into_iter().filter(runs).collect(), stay: false };
        for unit in &writers.ran {
            program::run("systemctl", ["stop", unit])?;
        }
        Ok(writers)
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        for unit in self.ran.iter().rev().filter(|_| !self.stay) {
            // It says so on the console itself, if it does not come up.
            let _ = program::run("systemctl", ["start", unit]);
        }
    }
}

/// All other disks, which nobody writes to meanwhile; dropped, they are as they were.
struct Others(Vec<String>);

impl Others {
    fn locked(disk: &Disk) -> Result<Others, String> {
        // Those that are in use are what somebody writes to.
        let free =
            disks::all()?.into_iter().filter(|other| other.path != disk.path && other.hindrance.is_none());
        // A drive that says no has nothing in it.
        let locked = free.filter(|other| program::run("blockdev", ["--setro", &other.path]).is_ok());
        Ok(Others(locked.map(|other| other.path).collect()))
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = program::run("blockdev", ["--setrw", name]);
        }
    }
}

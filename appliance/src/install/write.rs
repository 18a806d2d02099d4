//! Makes a disk the controller's. The old content's first MiB goes first, and what firmware starts comes last, so that whatever ends it
//! in between leaves a disk that boots nothing.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use console::install::Told;
use data_encoding::HEXLOWER;
use ring::rand::{SecureRandom, SystemRandom};
use setup::install::{Disk, Environment, Layout, Slot};

use super::loops::{Loop, Mounted};
use super::medium::{Medium, prove};
use super::program;
use super::slots::{ENVIRONMENT, MENU};

const MIB: u64 = 1 << 20;
/// What an installed controller keeps: the same folders in the first program of the ISO.
const KEPT: [&str; 4] = ["etc", "home", "root", "var"];
/// What this live system has changed.
const CHANGES: &str = "/run/live/changes/upper";
/// What may write there. Networks that it has made stay.
const WRITERS: [&str; 2] = ["rackwright-configured.path", "rackwright.service"];
/// Of `linux/fcntl.h`.
const O_EXCL: i32 = 0o200;

/// Does all of it.
pub(super) fn install(medium: &Medium, disk: &Disk, layout: Layout, told: Told<'_>) -> Result<(), String> {
    let path = Path::new(&disk.path);
    let id = id()?;
    let _others = Others::locked(path)?;
    told("clearing the disk", 0, 0);
    clear(path, disk.bytes)?;
    medium.copy(path, layout.slot(), told)?;
    let slot = Loop::of(path, layout.slot())?;
    let system = Mounted::at("slot", Path::new(slot.device()), "ro,nosuid,nodev,noexec")?;
    prove(&system, told)?;
    told("making the other file systems", 0, 0);
    let data = Loop::of(path, layout.data())?;
    program::run("mke2fs", ["-q", "-F", "-t", "ext4", "-L", "rackwright-data", data.device()])?;
    let esp = Loop::of(path, layout.esp())?;
    program::run("mkfs.vfat", ["-F", "32", "-n", "RW-EFI", esp.device()])?;
    put_loaders(&system, Path::new(esp.device()), &id)?;
    told("taking along what this live system knows", 0, 0);
    let mut writers = Writers::stopped()?;
    put_changes(Path::new(data.device()))?;
    told("making it start", 0, 0);
    let (core, boot) = (content(&system, "core.img")?, content(&system, "boot.img")?);
    system.close()?;
    // Nobody rereads the partition table of a disk that is in use.
    drop((slot, data, esp));
    put(path, &core, layout.bios().offset())?;
    program::with_input(
        "sfdisk",
        ["--quiet", "--wipe", "never", "--wipe-partitions", "never", &disk.path],
        &layout.table(&id),
    )?;
    put(path, &boot, 0)?;
    writers.stay = true;
    Ok(())
}

/// By which the first program finds this disk's partitions, and no other's.
fn id() -> Result<String, String> {
    let mut bytes = [0; 4];
    SystemRandom::new().fill(&mut bytes).map_err(|_| "the kernel gives no random numbers")?;
    Ok(HEXLOWER.encode(&bytes))
}

/// Both ends: boot sector and both partition tables, and the marks of most file systems.
fn clear(disk: &Path, bytes: u64) -> Result<(), String> {
    let failed = |why| format!("writing {}: {why}", disk.display());
    // Whatever uses it, even if nobody saw that before, has it open so.
    let file = File::options().write(true).custom_flags(O_EXCL).open(disk).map_err(failed)?;
    let zeros = vec![0; usize::try_from(MIB).unwrap_or_default()];
    for at in [0, bytes.saturating_sub(MIB)] {
        file.write_all_at(&zeros, at).map_err(failed)?;
    }
    file.sync_all().map_err(failed)?;
    drop(file);
    program::run("blockdev", ["--rereadpt", &disk.to_string_lossy()]).map(drop)
}

fn put(disk: &Path, bytes: &[u8], at: u64) -> Result<(), String> {
    let file = File::options().write(true).open(disk);
    let done = file.and_then(|file| file.write_all_at(bytes, at).and_then(|()| file.sync_all()));
    done.map_err(|why| format!("writing {}: {why}", disk.display()))
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
    fn locked(disk: &Path) -> Result<Others, String> {
        let text = program::run(
            "lsblk",
            ["--noheadings", "--list", "--nodeps", "--paths", "--output", "NAME,TYPE,RO"],
        )?;
        let mut others = Others(Vec::new());
        for line in text.lines() {
            if let [name, "disk", "0"] = line.split_whitespace().collect::<Vec<_>>().as_slice()
                && Path::new(name) != disk
            {
                program::run("blockdev", ["--setro", name])?;
                others.0.push((*name).to_owned());
            }
        }
        Ok(others)
    }
}

impl Drop for Others {
    fn drop(&mut self) {
        for name in &self.0 {
            let _ = program::run("blockdev", ["--setrw", name]);
        }
    }
}

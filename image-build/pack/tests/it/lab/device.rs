//! Loop devices and mounts, for as long as they are held: a test that fails lets go of them too.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::run;

/// A loop device; detached when dropped.
pub(crate) struct Loop {
    name: String,
}

impl Loop {
    /// With sectors of 512 bytes.
    pub(crate) fn new(file: &Path) -> Loop {
        Loop::with(file, &[])
    }

    /// With sectors of so many bytes.
    pub(crate) fn of_sectors(file: &Path, sector_bytes: u32) -> Loop {
        Loop::with(file, &["--sector-size", &sector_bytes.to_string()])
    }

    /// With options of losetup.
    pub(crate) fn with(file: &Path, options: &[&str]) -> Loop {
        let arguments = [&["--find", "--show"], options, &[file.to_str().unwrap()]].concat();
        let device = Loop { name: run("losetup", &arguments).trim().to_owned() };
        // Who had the device before may have left it read-only.
        if !options.contains(&"--read-only") {
            run("blockdev", &["--setrw", device.name()]);
        }
        device
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        Path::new(&self.name)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // Not `run`: a second panic would hide the first. One that a test has detached is gone already.
        let _ = Command::new("losetup").args(["--detach", &self.name]).output();
    }
}

/// A mounted file system; unmounted when dropped.
pub(crate) struct Mount {
    at: TempDir,
    /// Let go of after the mount.
    _devices: Vec<Loop>,
}

impl Mount {
    /// Mounts files by way of loop devices: one, or the devices of one btrfs.
    pub(crate) fn new(files: &[&Path], options: &str) -> Mount {
        let devices = files.iter().map(|file| Loop::new(file)).collect::<Vec<_>>();
        let others = devices.iter().skip(1).map(|device| format!(",device={}", device.name()));
        let options = std::iter::once(options.to_owned()).chain(others).collect::<String>();
        Mount::by(devices, |device, at| _ = run("mount", &["-o", &options, device, at]))
    }

    /// Mounts a file by a program in user space, as a device with sectors of so many bytes.
    pub(crate) fn in_user_space(file: &Path, program: &str, sector_bytes: u32) -> Mount {
        let device = Loop::of_sectors(file, sector_bytes);
        Mount::by(vec![device], |device, at| _ = run(program, &[device, at]))
    }

    fn by(devices: Vec<Loop>, mount: impl FnOnce(&str, &str)) -> Mount {
        let at = tempfile::tempdir().unwrap();
        mount(devices[0].name(), at.path().to_str().unwrap());
        Mount { at, _devices: devices }
    }

    pub(crate) fn path(&self) -> &Path {
        self.at.path()
    }

    /// The name of something in it.
    pub(crate) fn at(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        unmount(self.path());
    }
}

/// Something else than a file of ours, mounted in a folder of its own by arguments of mount.
pub(crate) struct Mounted {
    pub(crate) root: PathBuf,
}

impl Mounted {
    pub(crate) fn new(root: &Path, arguments: &[&str]) -> Mounted {
        std::fs::create_dir_all(root).unwrap();
        run("mount", &[arguments, &[root.to_str().unwrap()]].concat());
        Mounted { root: root.to_owned() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        unmount(&self.root);
    }
}

/// Unmounts; in the end at least for everybody who comes later. A child that another thread has just forked keeps our files open
/// for a moment, until it becomes the tool that it is to be.
fn unmount(place: &Path) {
    let is_done = |options: &[&str]| {
        let done = Command::new("umount").args(options).arg(place).output();
        done.is_ok_and(|output| output.status.success())
    };
    for _ in 0..50 {
        if is_done(&[]) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    if !is_done(&["--lazy"]) {
        eprintln!("{} stays mounted", place.display());
    }
}

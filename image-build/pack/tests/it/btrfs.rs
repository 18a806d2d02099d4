//! Btrfs: maps of file systems that mkfs.btrfs and the kernel wrote, against btrfs-progs and partclone, and put back.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the images are files that tools make"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use pack::volume::{self, Volume};
use pack::{Extents, Source};
use tempfile::TempDir;

mod damage;
mod devices;
mod fill;
mod oracle;
mod profiles;
mod restore;

const MIB: u64 = 1 << 20;

/// A file as a volume.
pub(crate) struct Disk(File, u64);

impl Disk {
    pub(crate) fn open(path: &Path) -> Disk {
        let file = File::open(path).unwrap();
        let bytes = file.metadata().unwrap().len();
        Disk(file, bytes)
    }
}

impl Source for Disk {
    fn bytes(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.0, out, offset)
    }
}

/// Runs a tool, which has to be there and to succeed, and gives what it says.
fn run(package: &str, tool: &str, args: &[&str]) -> String {
    let output = Command::new(tool).args(args).env("LC_ALL", "C").output();
    let output =
        output.unwrap_or_else(|error| panic!("{tool}: {error}: install the Debian package {package}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {}\n{said}{error}", output.status);
    said
}

fn btrfs(args: &[&str]) -> String {
    run("btrfs-progs", "btrfs", args)
}

/// A file system in a sparse file.
struct Image {
    dir: TempDir,
    path: PathBuf,
}

impl Image {
    fn new(bytes: u64, mkfs: &[&str]) -> Image {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("disk");
        File::create_new(&path).unwrap().set_len(bytes).unwrap();
        let args = [&["-q"], mkfs, &[path.to_str().unwrap()]].concat();
        run("btrfs-progs", "mkfs.btrfs", &args);
        Image { dir, path }
    }

    fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    fn mount(&self, options: &str) -> Mount {
        Mount::new(&[&self.path], options)
    }

    fn read(&self) -> Volume {
        volume::read(&Disk::open(&self.path)).unwrap()
    }

    /// The volume, which the reader has to have made sense of.
    fn map(&self) -> Volume {
        let volume = self.read();
        assert_eq!((volume.kind, &volume.why_whole), ("btrfs", &None));
        volume
    }

    /// Why the reader takes all of it.
    fn refusal(&self) -> String {
        let volume = self.read();
        assert_eq!(
            (volume.kind, volume.used),
            ("btrfs", Extents::all(fs::metadata(&self.path).unwrap().len()))
        );
        volume.why_whole.unwrap()
    }
}

/// A mount of loop devices, one for each file, until it is dropped.
struct Mount(TempDir);

impl Mount {
    fn new(files: &[&Path], options: &str) -> Mount {
        let dir = TempDir::new().unwrap();
        let loops = files.iter().map(|file| attach(file)).collect::<Vec<_>>();
        let devices = loops.iter().map(|device| format!(",device={}", device.0)).collect::<String>();
        let place = dir.path().to_str().unwrap();
        run("mount", "mount", &["-t", "btrfs", "-o", &format!("{options}{devices}"), &loops[0].0, place]);
        // The devices are detached now: which takes effect with the last umount.
        Mount(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn at(&self, name: &str) -> String {
        self.path().join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Not `run`: a second panic would hide the first.
        let done = Command::new("umount").arg(self.path()).status();
        if !done.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path().display());
        }
    }
}

struct Loop(String);

fn attach(file: &Path) -> Loop {
    let device = run("mount", "losetup", &["--find", "--show", file.to_str().unwrap()]);
    let device = Loop(device.trim().to_owned());
    // The flag outlives whoever had the device before.
    run("util-linux", "blockdev", &["--setrw", &device.0]);
    device
}

impl Drop for Loop {
    fn drop(&mut self) {
        if !Command::new("losetup").args(["--detach", &self.0]).status().is_ok_and(|status| status.success())
        {
            eprintln!("{} stays attached", self.0);
        }
    }
}

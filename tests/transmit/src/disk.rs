//! A disk that is a file, and the only one that its receiver sees.

use std::error::Error;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the kernel tells of disks.
const SEEN: &str = "/sys/block";

/// A loop device over a file. However this process ends, it is not there afterwards (losetup(8), -d).
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) device: String,
    name: String,
    /// While it is open, the device is there.
    _open: File,
}

impl Disk {
    /// Makes the file, of so many bytes, if it is not there, and the disk. From then on this process, whose mounts must be its own, sees no other disk:
    /// an agent makes all others read-only, and those of other receivers on this machine are none of its own.
    pub(crate) fn over(file: &Path, bytes: u64) -> Result<Self, Box<dyn Error>> {
        // What is there already is rebuilt.
        File::options().write(true).create(true).truncate(false).open(file)?.set_len(bytes)?;
        let words = ["--find", "--show"].map(AsRef::as_ref);
        let device = run("losetup", &[&words[..], &[file.as_os_str()]].concat())?.trim().to_owned();
        let open = File::open(&device)?;
        run("losetup", &["--detach".as_ref(), device.as_ref()])?;
        let name = device.rsplit('/').next().unwrap_or_default().to_owned();
        let place = fs::canonicalize(Path::new(SEEN).join(&name))?;
        run("mount", &["-t", "tmpfs", "none", SEEN].map(AsRef::as_ref))?;
        symlink(place, Path::new(SEEN).join(&name))?;
        Ok(Self { device, name, _open: open })
    }

    /// From now on this process writes so many bytes a second to it at most (cgroups, `blkio` of version 1 or `io` of version 2). The
    /// group is named for the device and stays: the next one takes it over.
    pub(crate) fn slow_down(&self, rate: u64) -> Result<(), Box<dyn Error>> {
        let number = fs::read_to_string(Path::new(SEEN).join(&self.name).join("dev"))?;
        let number = number.trim();
        let first = PathBuf::from("/sys/fs/cgroup/blkio");
        let (root, file, line) = if first.exists() {
            (first, "blkio.throttle.write_bps_device", format!("{number} {rate}"))
        } else {
            (PathBuf::from("/sys/fs/cgroup"), "io.max", format!("{number} wbps={rate}"))
        };
        let group = root.join(format!("transmit-{}", self.name));
        fs::create_dir_all(&group)?;
        fs::write(group.join(file), line)?;
        Ok(fs::write(group.join("cgroup.procs"), std::process::id().to_string())?)
    }
}

fn run(program: &str, words: &[&std::ffi::OsStr]) -> Result<String, Box<dyn Error>> {
    let done = Command::new(program).args(words).output()?;
    if !done.status.success() {
        return Err(String::from_utf8_lossy(&done.stderr).into());
    }
    Ok(String::from_utf8(done.stdout)?)
}

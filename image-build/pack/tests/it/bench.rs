//! A disk of a test: a sparse file in a folder of its own, and a loop device over it where a tool needs one.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use pack::Source;

pub(crate) const MIB: u64 = 1 << 20;

/// A file that is read like a disk. The folder goes with it.
pub(crate) struct Disk {
    folder: tempfile::TempDir,
    file: File,
    bytes: u64,
}

impl Disk {
    pub(crate) fn new(bytes: u64) -> Disk {
        let folder = tempfile::tempdir().unwrap();
        let file =
            File::options().create_new(true).read(true).write(true).open(folder.path().join("disk")).unwrap();
        file.set_len(bytes).unwrap();
        Disk { folder, file, bytes }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("disk")
    }

    pub(crate) fn write(&self, offset: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset).unwrap();
    }

    pub(crate) fn read(&self, offset: u64, length: usize) -> Vec<u8> {
        pack::source::read(self, offset, length).unwrap()
    }

    pub(crate) fn resize(&mut self, bytes: u64) {
        self.file.set_len(bytes).unwrap();
        self.bytes = bytes;
    }

    /// A copy with the same content.
    pub(crate) fn copy(&self) -> Disk {
        let copy = Disk::new(self.bytes);
        run("cp", &["--sparse=always", self.path().to_str().unwrap(), copy.path().to_str().unwrap()], "");
        Disk { file: File::options().read(true).write(true).open(copy.path()).unwrap(), ..copy }
    }

    /// Runs sfdisk with this script, on a device with sectors of so many bytes.
    pub(crate) fn partition(&self, sector_bytes: u32, script: &str) {
        let device = Loop::new(&self.path(), sector_bytes);
        run("sfdisk", &["-q", "--no-reread", "--no-tell-kernel", device.name()], script);
    }
}

impl Source for Disk {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        pack::source::within(self.bytes, offset, out.len())?;
        self.file.read_exact_at(out, offset)
    }
}

/// A loop device; detached when dropped.
pub(crate) struct Loop(String);

impl Loop {
    pub(crate) fn new(file: &Path, sector_bytes: u32) -> Loop {
        let sector_bytes = sector_bytes.to_string();
        let name = run("losetup", &["-f", "--show", "-b", &sector_bytes, file.to_str().unwrap()], "");
        Loop(name.trim().to_owned())
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

/// Runs a tool and gives what it prints. A tool that is not there fails the test with its package's name.
pub(crate) fn run(tool: &str, arguments: &[&str], input: &str) -> String {
    let package = match tool {
        "sfdisk" => "fdisk",
        "sgdisk" => "gdisk",
        "pvcreate" | "vgcreate" | "lvcreate" | "lvextend" | "vgcfgbackup" | "vgcfgrestore" | "vgexport"
        | "pvs" | "lvs" => "lvm2",
        "mkfs.vfat" | "fsck.vfat" => "dosfstools",
        "mkfs.ext4" | "e2fsck" => "e2fsprogs",
        "cp" => "coreutils",
        _ => "util-linux",
    };
    let child = Command::new(tool)
        .args(arguments)
        .env("LVM_SUPPRESS_FD_WARNINGS", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{tool} (Debian package {package}): {error}"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let (told, moaned) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {arguments:?}: {told}{moaned}");
    told.into_owned()
}

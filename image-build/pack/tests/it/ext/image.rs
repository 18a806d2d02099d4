//! File systems in sparse files, and the tools that make, name and mount them.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use pack::Source;
use pack::volume::{self, Volume};
use tempfile::TempDir;

/// Runs a tool, which has to be there and to succeed, and gives what it says.
pub(crate) fn run(package: &str, tool: &str, args: &[&str]) -> String {
    let output = Command::new(tool).args(args).env("LC_ALL", "C").output();
    let output =
        output.unwrap_or_else(|error| panic!("{tool}: {error}: install the Debian package {package}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{tool} {args:?}: {}\n{said}{error}", output.status);
    said
}

/// A volume in a file of a directory of its own.
pub(crate) struct Image {
    dir: TempDir,
    path: PathBuf,
    bytes: u64,
}

impl Image {
    /// Zeros.
    pub(crate) fn new(bytes: u64) -> Image {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("volume");
        File::create_new(&path).unwrap().set_len(bytes).unwrap();
        Image { dir, path, bytes }
    }

    /// A new directory beside it.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir(&path).unwrap();
        path
    }

    /// A file beside it.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn path(&self) -> &str {
        self.path.to_str().unwrap()
    }

    /// Makes a file system that fills it.
    pub(crate) fn mkfs(&self, kind: &str, args: &[&str]) {
        run("e2fsprogs", "mke2fs", &[&["-q", "-F", "-t", kind], args, &[self.path()]].concat());
    }

    /// Makes a file system of such a size.
    pub(crate) fn mkfs_sized(&self, kind: &str, args: &[&str], size: &str) {
        run("e2fsprogs", "mke2fs", &[&["-q", "-F", "-t", kind], args, &[self.path(), size]].concat());
    }

    /// Lets e2fsck make everything right.
    pub(crate) fn repair(&self) {
        let output = Command::new("e2fsck").args(["-f", "-y", self.path()]).output().unwrap();
        assert!(output.status.code().is_some_and(|code| code <= 1), "{output:?}");
    }

    /// Carries out a line of debugfs.
    pub(crate) fn debugfs(&self, line: &str) -> String {
        run("e2fsprogs", "debugfs", &["-w", "-R", line, self.path()])
    }

    /// What blkid calls it; empty when it does not.
    pub(crate) fn blkid(&self, tag: &str) -> String {
        let args = ["-p", "-o", "value", "-s", tag, self.path()];
        let output = Command::new("blkid").args(args).output();
        let output = output.unwrap_or_else(|error| panic!("{error}: install the Debian package util-linux"));
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    pub(crate) fn device(&self) -> Loop {
        Loop::new(&self.path)
    }

    pub(crate) fn mount(&self, options: &str) -> Mount {
        Mount::new(&self.path, options)
    }

    pub(crate) fn read(&self) -> Volume {
        volume::read(self).unwrap()
    }

    /// All of its bytes.
    pub(crate) fn load(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    /// Another one with what is in these ranges of it, and noise everywhere else. Takes the place of this.
    pub(crate) fn keep_only(&mut self, used: &pack::Extents) {
        let path = self.beside("restored");
        let (from, to) = (File::open(&self.path).unwrap(), File::create_new(&path).unwrap());
        let (noise, mut next) = (vec![0xAA; 1 << 20], 0);
        for range in used.iter().chain(std::iter::once(self.bytes..self.bytes)) {
            write(&to, next..range.start, |out, _| out.copy_from_slice(&noise[..out.len()]));
            write(&to, range.clone(), |out, at| from.read_exact_at(out, at).unwrap());
            next = range.end;
        }
        std::fs::rename(path, &self.path).unwrap();
    }
}

fn write(to: &File, range: std::ops::Range<u64>, mut fill: impl FnMut(&mut [u8], u64)) {
    let mut buffer = vec![0; 1 << 20];
    let mut at = range.start;
    while at < range.end {
        let count = usize::try_from(range.end - at).unwrap().min(buffer.len());
        fill(&mut buffer[..count], at);
        to.write_all_at(&buffer[..count], at).unwrap();
        at += count as u64;
    }
}

impl Source for Image {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        File::open(&self.path)?.read_exact_at(out, offset)
    }
}

/// A loop device, let go of when dropped.
pub(crate) struct Loop(pub(crate) String);

impl Loop {
    pub(crate) fn new(image: &Path) -> Loop {
        let device =
            Loop(run("mount", "losetup", &["-f", "--show", image.to_str().unwrap()]).trim().to_owned());
        // Whoever had it before may have left it read-only.
        run("util-linux", "blockdev", &["--setrw", &device.0]);
        device
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = Command::new("losetup").args(["-d", &self.0]).status();
    }
}

/// A mounted file system; unmounted when dropped.
pub(crate) struct Mount {
    at: TempDir,
    device: Loop,
}

impl Mount {
    fn new(image: &Path, options: &str) -> Mount {
        let mount = Mount { at: TempDir::new().unwrap(), device: Loop::new(image) };
        run("mount", "mount", &["-o", options, &mount.device.0, mount.path().to_str().unwrap()]);
        mount
    }

    pub(crate) fn path(&self) -> &Path {
        self.at.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Not mounted when mounting failed.
        let _ = Command::new("umount").arg("-q").arg(self.path()).status();
    }
}

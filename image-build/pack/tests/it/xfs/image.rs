//! File systems in sparse files: made, mounted, read, and restored from their maps.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use pack::volume::{self, Volume};
use pack::{Digest, Extents, Source};
use tempfile::TempDir;

pub(super) const MIB: u64 = 1 << 20;

/// What mkfs asks for before it makes file systems and logs as small as older ones made: that the suite of XFS runs it.
const SMALL: [(&str, &str); 3] = [("TEST_DIR", "/"), ("TEST_DEV", "/"), ("QA_CHECK_FS", "1")];

/// Runs a tool of a Debian package; what it says when it fails, or is not there.
pub(super) fn run(package: &str, tool: &str, args: &[&str]) -> Result<Output, String> {
    let output = Command::new(tool).args(args).envs(SMALL).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("{tool}: {error}: install the Debian package {package}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    Err(format!("{tool} {args:?}: {}\n{text}", output.status))
}

/// A file as a disk.
pub(super) struct Disk(pub(super) File);

impl Source for Disk {
    fn bytes(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }
}

/// A sparse file with a file system in it, in a directory of its own.
pub(super) struct Image {
    dir: TempDir,
    pub(super) path: PathBuf,
}

/// A mounted image. Unmounted whatever happens.
pub(super) struct Mount {
    /// Where.
    pub(super) at: PathBuf,
    device: String,
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = run("mount", "umount", &[self.at.to_str().unwrap()]);
        let detached = run("mount", "losetup", &["-d", &self.device]);
        if !std::thread::panicking() {
            unmounted.and(detached).unwrap();
        }
    }
}

impl Image {
    pub(super) fn empty(bytes: u64) -> Image {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        File::create(&path).unwrap().set_len(bytes).unwrap();
        Image { dir, path }
    }

    /// `options` as for a shell.
    pub(super) fn made(bytes: u64, options: &str) -> Image {
        let image = Image::empty(bytes);
        let mut args = vec!["-q", "-f"];
        args.extend(options.split_whitespace());
        args.push(image.name());
        run("xfsprogs", "mkfs.xfs", &args).unwrap();
        image
    }

    pub(super) fn name(&self) -> &str {
        self.path.to_str().unwrap()
    }

    pub(super) fn disk(&self) -> Disk {
        Disk(File::options().read(true).write(true).open(&self.path).unwrap())
    }

    /// Four bytes of it.
    pub(super) fn number(&self, offset: u64) -> u64 {
        let mut bytes = [0; 4];
        self.disk().read_at(offset, &mut bytes).unwrap();
        u32::from_be_bytes(bytes).into()
    }

    pub(super) fn block_bytes(&self) -> u64 {
        self.number(4)
    }

    pub(super) fn sector_bytes(&self) -> u64 {
        self.number(100) & 0xffff
    }

    /// Where an allocation group begins.
    pub(super) fn group(&self, group: u64) -> u64 {
        group * self.number(84) * self.block_bytes()
    }

    /// Where the log begins.
    pub(super) fn log(&self) -> u64 {
        let (start, bits) = (self.number(48) << 32 | self.number(52), self.number(121) & 0xff);
        self.group(start >> bits) + (start & ((1 << bits) - 1)) * self.block_bytes()
    }

    /// With options of mount.
    pub(super) fn mount(&self, options: &str) -> Mount {
        let at = self.dir.path().join("mounted");
        fs::create_dir_all(&at).unwrap();
        let device = run("mount", "losetup", &["--find", "--show", self.name()]).unwrap();
        let device = String::from_utf8(device.stdout).unwrap().trim().to_owned();
        let mount = Mount { at, device };
        // A loop device that was made read-only once stays so, whatever it is attached to.
        run("util-linux", "blockdev", &["--setrw", &mount.device]).unwrap();
        let place = mount.at.to_str().unwrap();
        run("mount", "mount", &["-t", "xfs", "-o", options, &mount.device, place]).unwrap();
        mount
    }

    pub(super) fn read(&self) -> Volume {
        volume::read(&self.disk()).unwrap()
    }

    /// What it is, when its map could be read.
    pub(super) fn map(&self) -> Volume {
        let volume = self.read();
        assert_eq!((volume.kind, &volume.why_whole), ("xfs", &None));
        volume
    }

    /// What partclone would save of it.
    pub(super) fn partclone(&self) -> Extents {
        let (map, log) = (self.dir.path().join("domain"), self.dir.path().join("log"));
        // It leaves a file alone that is there.
        let _ = fs::remove_file(&map);
        let (to, log) = (map.to_str().unwrap(), log.to_str().unwrap());
        let args = ["-D", "-d0", "-F", "-L", log, "-s", self.name(), "-o", to];
        run("partclone", "partclone.xfs", &args).unwrap();
        let text = fs::read_to_string(&map).unwrap();
        let number = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
        let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let used = lines.filter(|line| line.len() == 3 && line[2] == "+");
        used.map(|line| number(line[0])..number(line[0]) + number(line[1])).collect()
    }

    /// A disk that is full of 0xAA but for the used bytes of this one. Of a large one, only the ends of every gap are.
    pub(super) fn restored(&self, used: &Extents) -> Image {
        let (from, bytes) = (self.disk(), self.disk().bytes());
        let to = Image::empty(bytes);
        let disk = to.disk();
        let mut free = Extents::all(bytes);
        used.iter().for_each(|range| free.remove(range));
        let dirt = vec![0xaa; usize::try_from(MIB).unwrap()];
        for range in free.iter() {
            let starts = (range.start..range.end).step_by(dirt.len());
            let is_large = bytes > 1024 * MIB;
            for start in starts.filter(|at| !is_large || *at == range.start || *at + 2 * MIB > range.end) {
                let length = (range.end - start).min(MIB);
                disk.0.write_all_at(&dirt[..usize::try_from(length).unwrap()], start).unwrap();
            }
        }
        for range in used.iter() {
            for start in (range.start..range.end).step_by(dirt.len()) {
                let mut data = vec![0; usize::try_from((range.end - start).min(MIB)).unwrap()];
                from.read_at(start, &mut data).unwrap();
                // What nobody wrote reads as zeros: the file stays sparse.
                if !pack::is_zero(&data) {
                    disk.0.write_all_at(&data, start).unwrap();
                }
            }
        }
        to
    }

    pub(super) fn copied(&self) -> Image {
        let to = Image::empty(0);
        run("coreutils", "cp", &["--sparse=always", self.name(), to.name()]).unwrap();
        to
    }

    /// What the file system's own checker says against it.
    pub(super) fn check(&self) {
        run("xfsprogs", "xfs_repair", &["-n", "-f", self.name()]).unwrap();
    }

    /// Does what xfs_io is told on a file in it.
    pub(super) fn edit(file: &Path, commands: impl Iterator<Item = String>) {
        let mut args = Command::new("xfs_io");
        let mut io = args.arg("-f").arg(file).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut to = io.stdin.take().unwrap();
        let script = commands.map(|command| command + "\n").collect::<String>();
        to.write_all(script.as_bytes()).unwrap();
        drop(to);
        assert!(io.wait().unwrap().success());
    }
}

/// Every file under a directory: its path, its kind or content.
pub(super) fn tree(root: &Path) -> Vec<(PathBuf, String)> {
    let (mut found, mut left) = (Vec::new(), vec![root.to_path_buf()]);
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let what = if path.is_symlink() {
                format!("to {}", fs::read_link(&path).unwrap().display())
            } else if path.is_dir() {
                left.push(path.clone());
                "directory".into()
            } else {
                Digest::of(&fs::read(&path).unwrap()).to_string()
            };
            found.push((path.strip_prefix(root).unwrap().to_path_buf(), what));
        }
    }
    found.sort();
    found
}

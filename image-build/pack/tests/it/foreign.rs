//! What the tests of other systems' file systems share: tools, devices, trees of files, and the proof by restoring.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use pack::volume::{self, Volume};
use pack::{Extents, Source};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// The Debian package of each tool.
const PACKAGES: &[(&str, &str)] = &[
    ("mkfs.vfat", "dosfstools"),
    ("fsck.vfat", "dosfstools"),
    ("mcopy", "mtools"),
    ("mdel", "mtools"),
    ("mmd", "mtools"),
    ("mkfs.exfat", "exfatprogs"),
    ("fsck.exfat", "exfatprogs"),
    ("mount.exfat-fuse", "exfat-fuse"),
    ("mkfs.ntfs", "ntfs-3g"),
    ("ntfs-3g", "ntfs-3g"),
    ("ntfsfix", "ntfs-3g"),
    ("partclone.vfat", "partclone"),
    ("partclone.exfat", "partclone"),
    ("partclone.ntfs", "partclone"),
    ("losetup", "mount"),
    ("umount", "mount"),
    ("blkid", "util-linux"),
];

/// Runs a tool; words are parted by spaces, `{}` stands for the path.
pub(crate) fn run(line: &str, path: &Path) -> Output {
    let mut words = line.split(' ').map(|word| word.replace("{}", path.to_str().unwrap()));
    let tool = words.next().unwrap();
    let mut command = Command::new(&tool);
    command.args(words).env("LC_ALL", "C.UTF-8").env("MTOOLS_SKIP_CHECK", "1");
    command.output().unwrap_or_else(|error| {
        let package = PACKAGES.iter().find(|(name, _)| *name == tool).map_or("?", |(_, package)| package);
        panic!("{tool}: {error}; it is in the Debian package {package}")
    })
}

/// Runs a tool that must do well; what it printed.
pub(crate) fn done(line: &str, path: &Path) -> String {
    let out = run(line, path);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success(), "{line}: {}\n{text}{}", out.status, String::from_utf8_lossy(&out.stderr));
    text
}

/// A sparse file of so many MiB, in a directory that goes when this does.
pub(crate) struct Image {
    dir: tempfile::TempDir,
    pub(crate) path: PathBuf,
}

impl Image {
    pub(crate) fn new(mib: u64) -> Image {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("image");
        std::fs::File::create(&path).unwrap().set_len(mib << 20).unwrap();
        Image { dir, path }
    }

    /// A file with these bytes.
    pub(crate) fn of(bytes: &[u8]) -> Image {
        let image = Image::new(0);
        std::fs::write(&image.path, bytes).unwrap();
        image
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        std::fs::read(&self.path).unwrap()
    }

    pub(crate) fn volume(&self) -> Volume {
        volume::read(&self.bytes()).unwrap()
    }

    /// An empty directory beside the image.
    pub(crate) fn dir(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        dir
    }

    /// What blkid says.
    pub(crate) fn blkid(&self, tag: &str) -> String {
        let out = run(&format!("blkid -p -o value -s {tag} {{}}"), &self.path);
        String::from_utf8_lossy(&out.stdout).trim_end_matches('\n').to_owned()
    }

    /// What partclone would save: it maps a device into a domain log of ddrescue.
    pub(crate) fn partclone(&self, kind: &str) -> Extents {
        let (map, log) = (self.dir.path().join("map"), self.dir.path().join("log"));
        let line = format!("partclone.{kind} -D -F -s {{}} -o {} -L {}", map.display(), log.display());
        done(&line, &self.path);
        let map = std::fs::read_to_string(map).unwrap();
        let number = |word: &str| u64::from_str_radix(word.trim_start_matches("0x"), 16).unwrap();
        let lines = map.lines().filter(|line| line.ends_with('+'));
        let used = lines.map(|line| {
            let mut words = line.split_whitespace();
            let (at, bytes) = (number(words.next().unwrap()), number(words.next().unwrap()));
            at..at + bytes
        });
        used.collect()
    }

    /// The bytes in use, on a disk that was full of something else.
    pub(crate) fn restored(&self) -> Image {
        let bytes = self.bytes();
        let mut out = vec![0xaa; bytes.len()];
        for range in self.volume().used.iter() {
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            out[range.clone()].copy_from_slice(&bytes[range]);
        }
        Image::of(&out)
    }

    /// A loop device of it, with sectors of so many bytes.
    pub(crate) fn device(&self, sector: u32) -> Device {
        let line = format!("losetup --find --show --sector-size {sector} {{}}");
        Device(done(&line, &self.path).trim().into())
    }

    /// Mounts it by way of a loop device; the file systems here are all in user space.
    pub(crate) fn mount(&self, tool: &str, sector: u32) -> Mount {
        let device = self.device(sector);
        let mut mount = Mount { dir: self.dir("mount"), is_mounted: false, device };
        done(&format!("{tool} {} {{}}", mount.device.path().display()), &mount.dir);
        mount.is_mounted = true;
        mount
    }
}

/// A loop device, for as long as this lives.
pub(crate) struct Device(PathBuf);

impl Device {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        run("losetup -d {}", &self.0);
    }
}

/// A mounted file system, for as long as this lives.
pub(crate) struct Mount {
    pub(crate) dir: PathBuf,
    is_mounted: bool,
    /// Goes after the mount does.
    device: Device,
}

impl Drop for Mount {
    fn drop(&mut self) {
        if self.is_mounted {
            run("umount {}", &self.dir);
        }
        let _ = std::fs::remove_dir(&self.dir);
    }
}

/// Bytes that differ from file to file and compress badly.
pub(crate) fn content(seed: usize, length: usize) -> Vec<u8> {
    let mut out = vec![0; length];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// Fills a directory with files, deletes every third, writes larger ones into the gaps, and makes new gaps.
pub(crate) fn fill(root: &Path) {
    let file = |n: usize| root.join(format!("dir{}", n % 5)).join(format!("a_file_with_a_long_name_{n}"));
    (0..5).for_each(|n| std::fs::create_dir(root.join(format!("dir{n}"))).unwrap());
    (0..60).for_each(|n| std::fs::write(file(n), content(n, 100 + n * 777)).unwrap());
    (0..60).step_by(3).for_each(|n| std::fs::remove_file(file(n)).unwrap());
    (60..64).for_each(|n| std::fs::write(file(n), content(n, 300_000)).unwrap());
    [22, 44, 58].into_iter().for_each(|n| std::fs::remove_file(file(n)).unwrap());
}

/// Every file below a directory, with what is in it.
pub(crate) fn tree(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut dirs = vec![root.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                dirs.push(path);
            } else {
                let bytes = std::fs::read(&path).unwrap();
                files.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
            }
        }
    }
    files
}

/// The parts of `one` that are not in `other`.
pub(crate) fn beyond(one: &Extents, other: &Extents) -> Vec<std::ops::Range<u64>> {
    let mut rest = one.clone();
    other.iter().for_each(|range| rest.remove(range));
    rest.iter().collect()
}

/// Where to write, and what.
pub(crate) type Patch<'a> = (usize, &'a [u8]);

/// Writes into a copy of a volume and says what is then read.
pub(crate) fn patched(bytes: &[u8], patches: &[Patch<'_>]) -> Volume {
    let mut bytes = bytes.to_vec();
    for (at, patch) in patches {
        bytes[*at..*at + patch.len()].copy_from_slice(patch);
    }
    volume::read(&bytes).unwrap()
}

/// That all of a volume counts as used, and why; `None` for why is a volume that no reader knows.
#[track_caller]
pub(crate) fn assert_whole(volume: &Volume, bytes: usize, why: Option<&str>) {
    assert_eq!(volume.used, Extents::all(bytes as u64), "{volume:?}");
    match (&volume.why_whole, why) {
        (Some(said), Some(why)) => assert!(said.contains(why), "{said}"),
        (None, None) => assert_eq!(volume.kind, "raw"),
        (said, why) => panic!("{said:?}, not {why:?}"),
    }
}

/// Writes random bytes into the given places of a volume, many times: whatever is then there, reading ends, and gives
/// nothing outside the volume.
pub(crate) fn flip(bytes: &[u8], places: &[std::ops::Range<usize>], cases: u32) {
    let places = places.iter().cloned().map(|range| range.boxed()).collect::<Vec<_>>();
    let byte = prop_oneof![Just(0), Just(0xff), Just(0x80), Just(1), any::<u8>()];
    let flips = prop::collection::vec((prop::strategy::Union::new(places), byte), 1..6);
    let disk = std::cell::RefCell::new(bytes.to_vec());
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let mut said = BTreeMap::<String, u32>::new();
    let said_in = std::cell::RefCell::new(&mut said);
    TestRunner::new(config)
        .run(&flips, |flips| {
            let mut disk = disk.borrow_mut();
            for (at, byte) in &flips {
                disk[*at] = *byte;
            }
            let volume = volume::read(&*disk).unwrap();
            for (at, _) in &flips {
                disk[*at] = bytes[*at];
            }
            prop_assert!(volume.used.end() <= disk.bytes());
            prop_assert!(volume.label.len() <= 255);
            *said_in.borrow_mut().entry(volume.why_whole.unwrap_or(volume.kind.to_owned())).or_default() += 1;
            Ok(())
        })
        .unwrap();
    // Damage was seen, and not only by its first byte.
    let mut summary = String::new();
    said.iter().for_each(|(why, count)| writeln!(summary, "{count:6} {why}").unwrap());
    assert!(said.len() > 3, "{summary}");
    println!("{summary}");
}

//! Real file systems: made by their own tools, checked by their own tools.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use pack::disk::{Access, Disk, Engine};
use tempfile::TempDir;

use super::image::{MIB, capture};
use super::{machine, options, restore};
use crate::deploy::is_root;
use agent::restore::Options;

const DISK: u64 = 480 * MIB;
/// Where the partitions begin, and their sizes.
const EXT4: (u64, u64) = (8 * MIB, 96 * MIB);
const XFS: (u64, u64) = (112 * MIB, 320 * MIB);

/// Runs a tool. One that is missing fails the test with the name of its package.
pub fn tool(package: &str, name: &str, words: &[&str]) {
    let out = Command::new(name).args(words).output();
    let out = out.unwrap_or_else(|error| panic!("{name} (of the package {package}): {error}"));
    assert!(
        out.status.success(),
        "{name} {words:?}: {}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
}

/// A part of a file as a block device; detached when dropped.
pub struct Part(PathBuf);

impl Part {
    pub fn of(file: &Path, (offset, bytes): (u64, u64)) -> Self {
        let out = Command::new("losetup")
            .args(["--find", "--show", "--offset", &offset.to_string(), "--sizelimit", &bytes.to_string()])
            .arg(file)
            .output()
            .unwrap();
        assert!(out.status.success(), "losetup: {}", String::from_utf8_lossy(&out.stderr));
        let device = PathBuf::from(String::from_utf8(out.stdout).unwrap().trim());
        // The kernel keeps the write protection of a loop device beyond its file.
        pack::disk::set_read_only(File::open(&device).unwrap(), false).unwrap();
        Self(device)
    }

    pub fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _status = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// A file system where it can be seen; unmounted when dropped.
pub struct Mounted(TempDir);

impl Mounted {
    pub fn at(part: &Part, how: &str) -> Self {
        let place = TempDir::new().unwrap();
        tool("mount", "mount", &["-o", how, part.path(), place.path().to_str().unwrap()]);
        Self(place)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg(self.0.path()).status();
    }
}

/// Files of all kinds: many small ones, a large one, one with holes, links.
pub fn fill(place: &Path, salt: u8) {
    for n in 0..200_u32 {
        let dir = place.join(format!("d{}", n % 13));
        fs::create_dir_all(&dir).unwrap();
        let mut content = vec![0; (n as usize * 613) % 40_000];
        blake3::Hasher::new().update(&[salt]).update(&n.to_le_bytes()).finalize_xof().fill(&mut content);
        fs::write(dir.join(format!("f{n}")), content).unwrap();
    }
    fs::write(place.join("large"), format!("{salt} and on ").repeat(800_000)).unwrap();
    let mut holes = File::create(place.join("holes")).unwrap();
    holes.set_len(20 * MIB).unwrap();
    holes.write_all(b"a beginning").unwrap();
    std::os::unix::fs::symlink("d1/f1", place.join("link")).unwrap();
    // Deleted: free again, and in no image.
    fs::write(place.join("gone"), vec![0x55; 3 << 20]).unwrap();
    fs::remove_file(place.join("gone")).unwrap();
}

/// One digest over names, kinds and contents.
pub fn tree(place: &Path) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    let mut open = vec![place.to_owned()];
    while let Some(dir) = open.pop() {
        let mut entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        entries.sort();
        for path in entries {
            hasher.update(path.strip_prefix(place).unwrap().as_os_str().as_encoded_bytes());
            let kind = fs::symlink_metadata(&path).unwrap().file_type();
            if kind.is_dir() {
                open.push(path);
            } else if kind.is_symlink() {
                hasher.update(fs::read_link(&path).unwrap().as_os_str().as_encoded_bytes());
            } else {
                let mut content = Vec::new();
                File::open(&path).unwrap().read_to_end(&mut content).unwrap();
                hasher.update(&content);
            }
        }
    }
    hasher.finalize()
}

/// A GPT with ext4 and XFS, and the digests of their trees.
fn make(file: &Path) -> [blake3::Hash; 2] {
    File::create(file).unwrap().set_len(DISK).unwrap();
    let part = |number: u32, (offset, bytes): (u64, u64)| {
        let (first, last) = (offset / 512, (offset + bytes) / 512 - 1);
        format!("--new={number}:{first}:{last}")
    };
    let name = file.to_str().unwrap();
    tool("gdisk", "sgdisk", &["--clear", &part(1, EXT4), &part(2, XFS), name]);
    let (ext4, xfs) = (Part::of(file, EXT4), Part::of(file, XFS));
    tool("e2fsprogs", "mkfs.ext4", &["-q", ext4.path()]);
    tool("xfsprogs", "mkfs.xfs", &["-q", xfs.path()]);
    [(&ext4, 1), (&xfs, 2)].map(|(part, salt)| {
        let mounted = Mounted::at(part, "rw");
        fill(mounted.0.path(), salt);
        tree(mounted.0.path())
    })
}

/// As their own tools and every file say.
fn assert_same(file: &Path, trees: [blake3::Hash; 2]) {
    tool("gdisk", "sgdisk", &["--verify", file.to_str().unwrap()]);
    let (ext4, xfs) = (Part::of(file, EXT4), Part::of(file, XFS));
    tool("e2fsprogs", "e2fsck", &["-fn", ext4.path()]);
    tool("xfsprogs", "xfs_repair", &["-n", xfs.path()]);
    let found = [Mounted::at(&ext4, "ro"), Mounted::at(&xfs, "ro,norecovery")].map(|at| tree(at.0.path()));
    assert_eq!(found, trees);
}

#[test]
fn file_systems_come_back_clean_and_whole_on_a_dirty_disk() {
    if !is_root() {
        return;
    }
    let place = TempDir::new().unwrap();
    let original = place.path().join("original.img");
    let trees = make(&original);
    let image = capture(&Disk::open(&original, Access::Read).unwrap(), &place.path().join("one.rwimage"));
    for engine in [Engine::Uring, Engine::Threads] {
        let machine = machine(DISK);
        let dirty = vec![0xaa; 8 << 20];
        (0..DISK / (8 * MIB)).for_each(|n| machine.write(0, n * 8 * MIB, &dirty));
        // What is free keeps what was there, also where a discard would have taken it away.
        let receipt = restore(&Options { engine, discard: false, ..options(&machine, &image) }).unwrap();
        assert_eq!(receipt.root, image.root);
        assert_eq!(receipt.skipped_bytes, 0, "nothing was right before");
        assert_same(&machine.disks[0].file, trees);
        let again = restore(&options(&machine, &image)).unwrap();
        assert_eq!(again.written_bytes, 0);
    }
}

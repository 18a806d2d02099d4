//! Loop devices and mounts that a test makes, and takes down also when it fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs a tool and returns what it said.
pub(super) fn run(package: &str, tool: &str, arguments: &[&str]) -> String {
    let out = Command::new(tool).args(arguments).output();
    let out = out.unwrap_or_else(|error| panic!("{tool} of the Debian package {package}: {error}"));
    assert!(out.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// A file that reads as so many zeros and takes no room.
pub(super) fn sparse(path: &Path, bytes: u64) {
    fs::write(path, b"").unwrap();
    run("coreutils", "truncate", &["--size", &bytes.to_string(), path.to_str().unwrap()]);
}

/// Bytes that a file takes where it lies.
pub(super) fn used(path: &Path) -> u64 {
    std::os::unix::fs::MetadataExt::blocks(&fs::metadata(path).unwrap()) * 512
}

/// A block device whose bytes are a file's.
pub(super) struct LoopDisk {
    pub(super) device: PathBuf,
}

impl LoopDisk {
    pub(super) fn new(file: &Path, options: &[&str]) -> LoopDisk {
        let mut arguments = vec!["--find", "--show"];
        arguments.extend(options);
        arguments.push(file.to_str().unwrap());
        LoopDisk { device: run("mount", "losetup", &arguments).into() }
    }

    /// With direct I/O to a file on a real file system.
    pub(super) fn direct(file: &Path, sector: u32) -> LoopDisk {
        LoopDisk::new(file, &["--direct-io=on", "--sector-size", &sector.to_string()])
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        // One that a test has detached is gone already.
        _ = Command::new("losetup").arg("--detach").arg(&self.device).output();
    }
}

/// Something mounted in a folder of its own.
pub(super) struct Mounted {
    pub(super) root: PathBuf,
}

impl Mounted {
    pub(super) fn new(root: &Path, arguments: &[&str]) -> Mounted {
        fs::create_dir_all(root).unwrap();
        let mut all = arguments.to_vec();
        all.push(root.to_str().unwrap());
        run("mount", "mount", &all);
        Mounted { root: root.to_owned() }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        _ = Command::new("umount").arg(&self.root).output();
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub(super) struct Dice(pub u64);

impl Dice {
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub(super) fn fill(&mut self, out: &mut [u8]) {
        for word in out.chunks_mut(8) {
            let bytes = self.below(u64::MAX).to_le_bytes();
            word.copy_from_slice(&bytes[..word.len()]);
        }
    }
}

//! A switched-off server's disk, looked at and changed from outside: GPT by hand, ext4 through debugfs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use xtask::tool::Tool;

/// Bytes of a sector.
const SECTOR: u64 = 512;

/// Where the partition called `name` begins, in bytes.
pub(crate) fn partition(disk: &Path, name: &str) -> u64 {
    let file = File::open(disk).unwrap();
    let mut head = [0_u8; 128 * 128];
    // UEFI 2.10 §5.3: the entries of the primary table begin at LBA 2, 128 bytes each.
    file.read_exact_at(&mut head, 2 * SECTOR).unwrap();
    find(&head, name).unwrap_or_else(|| panic!("no partition {name} on {}", disk.display())) * SECTOR
}

/// First LBA of the entry with this name (UTF-16LE at offset 56).
fn find(entries: &[u8], name: &str) -> Option<u64> {
    let wanted: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
    let entry = entries.chunks_exact(128).find(|entry| entry[56..].starts_with(&wanted))?;
    Some(u64::from_le_bytes(entry[32..40].try_into().unwrap()))
}

/// Reads a file of the root file system.
pub(crate) fn read(disk: &Path, path: &str) -> String {
    debugfs(disk, &format!("cat {path}"), false)
}

/// Puts a root shell on the second serial port of the system on this disk: a way in that no product code knows.
pub(crate) fn add_shell(disk: &Path) {
    let unit = "[Unit]\nDescription=shell for tests\n[Service]\nExecStart=/bin/sh\nEnvironment=PS1= HOME=/root\n\
                StandardInput=tty-force\nStandardOutput=tty\nStandardError=tty\nTTYPath=/dev/ttyS1\nRestart=always\n";
    let scratch = disk.with_file_name("shell.service");
    fs::write(&scratch, unit).unwrap();
    let unit = "/etc/systemd/system/rack-shell.service";
    debugfs(disk, &format!("write {} {unit}", scratch.display()), true);
    let wants = "/etc/systemd/system/multi-user.target.wants";
    // Exists already when any service is enabled; then mkdir says so and nothing is lost.
    debugfs(disk, &format!("mkdir {wants}"), true);
    debugfs(disk, &format!("symlink {wants}/rack-shell.service {unit}"), true);
    assert!(read(disk, unit).contains("ttyS1"), "the shell did not get onto {}", disk.display());
}

fn debugfs(disk: &Path, command: &str, write: bool) -> String {
    let device = format!("{}?offset={}", disk.display(), partition(disk, "rackwright-root"));
    let tool = Tool::new("debugfs").args(write.then_some("-w")).args(["-R", command, &device]);
    tool.read().unwrap()
}

#[test]
fn a_partition_is_found_by_its_whole_name() {
    let mut table = vec![0_u8; 128 * 4];
    for (entry, (lba, name)) in [(2048_u64, "root"), (4096, "root-2")].iter().enumerate() {
        let at = entry * 128;
        table[at + 32..at + 40].copy_from_slice(&lba.to_le_bytes());
        for (index, unit) in name.encode_utf16().enumerate() {
            table[at + 56 + 2 * index..at + 58 + 2 * index].copy_from_slice(&unit.to_le_bytes());
        }
    }
    assert_eq!(find(&table, "root"), Some(2048));
    assert_eq!(find(&table, "root-2"), Some(4096));
    assert_eq!(find(&table, "roo"), None);
    assert_eq!(find(&[], "root"), None);
}

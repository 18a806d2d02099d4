//! Tools of Debian packages.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Packages and the tools in them that tests run.
const PACKAGES: &[(&str, &[&str])] = &[
    ("btrfs-progs", &["btrfs", "btrfstune", "mkfs.btrfs"]),
    ("coreutils", &["cp", "mkfifo", "sync", "truncate"]),
    ("dosfstools", &["fsck.vfat", "mkfs.vfat"]),
    ("e2fsprogs", &["debugfs", "dumpe2fs", "e2fsck", "mke2fs", "mkfs.ext4", "resize2fs"]),
    ("exfat-fuse", &["mount.exfat-fuse"]),
    ("exfatprogs", &["fsck.exfat", "mkfs.exfat"]),
    ("fdisk", &["sfdisk"]),
    ("gdisk", &["sgdisk"]),
    (
        "lvm2",
        &[
            "lvcreate",
            "lvextend",
            "lvs",
            "pvcreate",
            "pvs",
            "vgcfgbackup",
            "vgcfgrestore",
            "vgcreate",
            "vgexport",
        ],
    ),
    ("mount", &["losetup", "mount", "umount"]),
    ("mtools", &["mcopy", "mdel", "mmd"]),
    ("ntfs-3g", &["mkfs.ntfs", "ntfs-3g", "ntfsfix"]),
    (
        "partclone",
        &[
            "partclone.btrfs",
            "partclone.exfat",
            "partclone.extfs",
            "partclone.ntfs",
            "partclone.vfat",
            "partclone.xfs",
        ],
    ),
    ("python3-minimal", &["python3"]),
    ("util-linux", &["blkid", "blockdev", "fallocate", "fincore", "mkswap", "partx"]),
    ("xfsprogs", &["mkfs.xfs", "xfs_admin", "xfs_io", "xfs_logprint", "xfs_repair"]),
];

/// What tools are told about where they run. The last three are how the suite of XFS asks its mkfs for file systems and logs as
/// small as older ones made.
const SETTINGS: &[(&str, &str)] = &[
    ("LC_ALL", "C.UTF-8"),
    ("LVM_SUPPRESS_FD_WARNINGS", "1"),
    ("MTOOLS_SKIP_CHECK", "1"),
    ("QA_CHECK_FS", "1"),
    ("TEST_DEV", "/"),
    ("TEST_DIR", "/"),
];

/// Runs a tool, however it ends. One that is not there fails the test with its package's name.
#[track_caller]
pub(crate) fn attempt(tool: &str, arguments: &[&str], input: &str) -> Output {
    let package = PACKAGES.iter().find(|(_, tools)| tools.contains(&tool));
    let package = package.unwrap_or_else(|| panic!("{tool} has no package in the table")).0;
    let mut command = Command::new(tool);
    command.args(arguments).envs(SETTINGS.iter().copied());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{tool} of the Debian package {package}: {error}"));
    // One that does not read its input may be gone already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

/// Runs a tool that must do well; gives what it prints.
#[track_caller]
pub(crate) fn run(tool: &str, arguments: &[&str]) -> String {
    fed(tool, arguments, "")
}

/// The same, with something to read for it.
#[track_caller]
pub(crate) fn fed(tool: &str, arguments: &[&str], input: &str) -> String {
    let output = attempt(tool, arguments, input);
    let (said, moaned) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{tool} {arguments:?}: {}\n{said}{moaned}", output.status);
    said.into_owned()
}

/// The same for a line of words that are parted by spaces; `{}` stands for the path.
#[track_caller]
pub(crate) fn done(line: &str, path: &Path) -> String {
    let words = line.split(' ').map(|word| word.replace("{}", path.to_str().unwrap())).collect::<Vec<_>>();
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    run(words[0], &words[1..])
}

/// Checks all cases, some side by side: tools wait for disks, and partclone sleeps most of the time.
#[track_caller]
pub(crate) fn each<T: Sync + std::fmt::Debug>(cases: &[T], check: impl Fn(&T) + Sync) {
    for some in cases.chunks(5) {
        std::thread::scope(|scope| {
            let check = &check;
            let spawn = |case| (case, scope.spawn(move || check(case)));
            let running = some.iter().map(spawn).collect::<Vec<_>>();
            running.into_iter().for_each(|(case, check)| assert!(check.join().is_ok(), "{case:?}"));
        });
    }
}

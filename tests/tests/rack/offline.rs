//! A switched-off server's disk, looked at and changed from outside: ext4 through debugfs.

use std::fs;
use std::path::Path;

use xtask::rack::gpt;
use xtask::tool::Tool;

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

/// Puts aside what GRUB boots the system by: it does not come up any more.
pub(crate) fn break_loader(disk: &Path) {
    let scratch = disk.with_file_name("grub.cfg");
    fs::write(&scratch, read(disk, "/boot/grub/grub.cfg")).unwrap();
    debugfs(disk, &format!("write {} /boot/grub/saved.cfg", scratch.display()), true);
    debugfs(disk, "rm /boot/grub/grub.cfg", true);
    assert!(!read(disk, "/boot/grub/saved.cfg").is_empty());
}

fn debugfs(disk: &Path, command: &str, write: bool) -> String {
    let root = gpt::partition(disk, "rackwright-root").unwrap();
    let device = format!("{}?offset={}", disk.display(), root.offset);
    let tool = Tool::new("debugfs").args(write.then_some("-w")).args(["-R", command, &device]);
    tool.read().unwrap()
}

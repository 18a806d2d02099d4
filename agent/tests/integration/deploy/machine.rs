//! A server to deploy: a tree with `/sys`, `/proc` and `/dev`, and loop devices as its disks.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use agent::clock::Hands;
use agent::command::Reign;
use agent::deploy::Server;
use agent::deploy::cmdline::{CommandLine, Network};
use agent::deploy::evidence::Evidence;
use agent::screen::{Kind, Screen, Sink};
use protocol::{CaPin, Disk};
use tempfile::TempDir;

/// A file that the kernel treats as a disk; released when dropped, or when the test is killed.
pub struct LoopDisk {
    pub device: PathBuf,
    pub file: PathBuf,
    _open: fs::File,
}

impl LoopDisk {
    pub fn new(file: &Path, bytes: u64) -> Self {
        fs::File::create(file).unwrap().set_len(bytes).unwrap();
        let out = Command::new("losetup").args(["--find", "--show"]).arg(file).output().unwrap();
        assert!(out.status.success(), "losetup: {}", String::from_utf8_lossy(&out.stderr));
        let device = PathBuf::from(String::from_utf8(out.stdout).unwrap().trim());
        // Detached while it is open, it goes when the last one closes it, whatever becomes of this process.
        let open = fs::File::open(&device).unwrap();
        let status = Command::new("losetup").arg("--detach").arg(&device).status().unwrap();
        assert!(status.success(), "losetup --detach");
        // The kernel keeps the write protection of a loop device beyond its file: a test may have been killed.
        pack::disk::set_read_only(&open, false).unwrap();
        Self { device, file: file.to_owned(), _open: open }
    }

    pub fn number(&self) -> String {
        let name = self.device.file_name().unwrap().to_str().unwrap();
        fs::read_to_string(format!("/sys/block/{name}/dev")).unwrap()
    }

    pub fn is_read_only(&self) -> bool {
        pack::disk::is_read_only(fs::File::open(&self.device).unwrap()).unwrap()
    }
}

/// What its serial console printed.
#[derive(Clone, Default)]
pub struct Console(Arc<Mutex<Vec<u8>>>);

impl Write for Console {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Console {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

/// A server without power: its disks stay, the rest is new with every [`Machine::boot`].
pub struct Machine {
    pub root: TempDir,
    pub disks: Vec<LoopDisk>,
}

impl Machine {
    pub fn new() -> Self {
        let root = TempDir::new().unwrap();
        for dir in ["dev", "proc/self", "sys/block", "sys/class/net/eth0/device", "sys/class/dmi/id"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        let machine = Self { root, disks: Vec::new() };
        machine.file("proc/cpuinfo", "processor\t: 0\nmodel name\t: Test CPU\nflags\t: fpu svm\n");
        machine.file("proc/meminfo", "MemTotal:  4096 kB\n");
        machine.file("proc/uptime", "12.34 5.6\n");
        machine.file("proc/self/mountinfo", "");
        machine.file("proc/swaps", "Filename Type Size Used Priority\n");
        machine.file("sys/class/net/eth0/type", "1\n");
        machine.file("sys/class/net/eth0/address", "52:54:00:00:00:01\n");
        machine.file("sys/class/net/eth0/carrier", "1\n");
        machine.file("sys/class/net/eth0/speed", "1000\n");
        machine.file("sys/class/net/eth0/mtu", "1500\n");
        machine.file("sys/class/dmi/id/product_name", "Test Server\n");
        machine
    }

    pub fn path(&self) -> &Path {
        self.root.path()
    }

    pub fn file(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Puts a virtio disk in.
    pub fn add_disk(&mut self, name: &str, serial: &str, bytes: u64) {
        let disk = LoopDisk::new(&self.path().join(format!("{name}.img")), bytes);
        self.plug(name, serial, bytes, disk);
    }

    pub fn plug(&mut self, name: &str, serial: &str, bytes: u64, disk: LoopDisk) {
        self.wire(name, serial, bytes, &disk.device, &disk.number());
        self.disks.push(disk);
    }

    /// The same while it runs, with a device that a test may have made.
    pub fn wire(&self, name: &str, serial: &str, bytes: u64, device: &Path, number: &str) {
        symlink(device, self.path().join("dev").join(name)).unwrap();
        let at = |file: &str| format!("sys/block/{name}/{file}");
        self.file(&at("dev"), number);
        self.file(&at("queue/logical_block_size"), "512\n");
        self.file(&at("queue/rotational"), "0\n");
        self.file(&at("removable"), "0\n");
        self.file(&at("serial"), serial);
        self.file(&at("size"), &format!("{}\n", bytes / 512));
    }

    pub fn inventory(&self, serial: &str) -> Disk {
        agent::inventory::disks(self.path()).into_iter().find(|disk| disk.serial == serial).unwrap()
    }

    /// Bytes of a disk, past this process's cache of it.
    pub fn read(&self, disk: usize, at: u64, bytes: usize) -> Vec<u8> {
        let mut out = vec![0; bytes];
        fs::File::open(&self.disks[disk].file).unwrap().read_exact_at(&mut out, at).unwrap();
        out
    }

    pub fn write(&self, disk: usize, at: u64, bytes: &[u8]) {
        let file = fs::OpenOptions::new().write(true).open(&self.disks[disk].device).unwrap();
        file.write_all_at(bytes, at).unwrap();
        file.sync_all().unwrap();
    }

    /// Power on: the agent begins with nothing but the command line.
    pub fn boot(&self, controller: std::net::SocketAddr, ca: CaPin) -> (Server, Console) {
        let console = Console::default();
        let sink = Sink::new(Kind::Serial, Box::new(console.clone()), self.path());
        let told = CommandLine {
            also: None,
            controller,
            ca,
            mac: "52:54:00:00:00:01".parse().unwrap(),
            address: Network { address: [10, 7, 0, 21].into(), prefix: 24 },
            gateway: None,
            path: "bios-pxe".parse().unwrap(),
        };
        let screen = Screen::onto(vec![sink]);
        let root = self.path().to_owned();
        (
            Server {
                root,
                screen,
                told,
                hands: Hands::Leave,
                reign: Reign::default(),
                evidence: Evidence::default(),
            },
            console,
        )
    }
}

/// A file system with hardly any room; unmounted when dropped.
pub struct SmallSpace(TempDir);

impl SmallSpace {
    pub fn new(size: &str) -> Self {
        let place = TempDir::new().unwrap();
        let options = format!("size={size}");
        let status =
            Command::new("mount").args(["-t", "tmpfs", "-o", &options, "small"]).arg(place.path()).status();
        assert!(status.unwrap().success(), "mounting a tmpfs");
        Self(place)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallSpace {
    fn drop(&mut self) {
        let _status = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

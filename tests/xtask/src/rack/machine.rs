//! A server's hardware, and the QEMU command line that is it. Pure: decides, starts nothing.

use std::ffi::OsString;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::accel::Accel;
use super::firmware::Firmware;
use super::netns::Network;

/// Where a disk is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Bus {
    /// virtio-blk; its serial has at most 20 bytes.
    Virtio,
    /// AHCI.
    Sata,
    /// NVM Express.
    Nvme,
    /// SCSI, behind virtio-scsi.
    Scsi,
}

/// One disk of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// What it tells as its serial number.
    pub serial: String,
    /// Its size.
    pub bytes: u64,
    /// Where it is plugged in.
    pub bus: Bus,
    /// How fast it is at the most, in bytes a second; as fast as the machine under it when there is no limit.
    pub speed: Option<u64>,
    /// A file whose content it has whenever the server is switched on: what is written to it is lost with the power.
    pub content: Option<PathBuf>,
    /// Whether every write to it is written down, beside the disk, since the server was last switched on.
    pub logged: bool,
    /// Bytes that it keeps, whatever is written there: it says that it has written. It is served by ourselves ([`super::liar`]).
    pub lies: Option<Range<u64>>,
    /// Bytes of a second namespace that is attached to nothing (NVMe only), in a file beside its own ([`hidden_of`]).
    pub hides: Option<u64>,
}

/// One network card of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// As `52:54:00:…`.
    pub mac: String,
    /// What it is plugged into.
    pub network: Network,
}

/// What a server is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// Its name in the rack, in file names and in messages.
    pub name: String,
    /// What it starts with.
    pub firmware: Firmware,
    /// Its network cards; it boots from the first one, unless told otherwise.
    pub nics: Vec<Nic>,
    /// RAM in MiB.
    pub memory_mib: u32,
    /// Processors.
    pub cpus: u32,
    /// In boot order, after the network.
    pub disks: Vec<Disk>,
}

impl Disk {
    /// An honest disk, as fast as the machine under it.
    #[must_use]
    pub fn plain(serial: String, bytes: u64, bus: Bus) -> Disk {
        Disk { serial, bytes, bus, speed: None, content: None, logged: false, lies: None, hides: None }
    }

    fn file(&self, dir: &Path, number: u32) -> PathBuf {
        self.content.clone().unwrap_or_else(|| dir.join(format!("disk{number}.raw")))
    }
}

impl Spec {
    /// The hardware address of its first network card, by which the operator tells servers apart.
    pub fn mac(&self) -> &str {
        self.nics.first().map(|nic| nic.mac.as_str()).unwrap_or_default()
    }

    /// The system disk, the first one, as the controller's plans spell it.
    pub fn system_disk(&self) -> String {
        self.disks.first().map(|disk| format!("serial:{}", disk.serial)).unwrap_or_default()
    }
}

/// What happens when the machine asks for a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reboot {
    /// It starts again, network first.
    Again,
    /// It goes off, so that its disk can be looked at before anything starts from it.
    Off,
}

impl Reboot {
    pub(super) fn action(self) -> &'static str {
        match self {
            Reboot::Again => "reset",
            Reboot::Off => "shutdown",
        }
    }
}

/// The content of SeaBIOS' `etc/sercon-port`: also paint the screen on the first serial port (0x3f8).
pub(super) const BIOS_CONSOLE: [u8; 2] = [0xf8, 0x03];

/// Where a server's files are.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Files {
    /// Its directory.
    pub dir: PathBuf,
    /// One raw file per disk of the [`Spec`]: sparse and its own, or the disk's content, which nothing writes to.
    pub disks: Vec<PathBuf>,
    /// A socket per disk, on which those that lie are served.
    pub blocks: Vec<PathBuf>,
    /// UEFI variables.
    pub vars: PathBuf,
    /// See `BIOS_CONSOLE`.
    pub bios_console: PathBuf,
    /// All that ever came out of the serial port.
    pub serial_log: PathBuf,
    /// The same as lines, each with the time it began.
    pub stamped_log: PathBuf,
    /// What QEMU itself said.
    pub qemu_log: PathBuf,
    /// QEMU's control socket.
    pub qmp: PathBuf,
    /// The serial port as a socket, for a person.
    pub console: PathBuf,
    /// A second serial port as a socket: nothing uses it unless a test puts a shell there.
    pub shell: PathBuf,
    /// Its ports of the switches, one per network card.
    pub taps: Vec<String>,
}

impl Files {
    pub(super) fn new(spec: &Spec, dir: &Path, sockets: &Path, taps: Vec<String>) -> Files {
        let dir = dir.join(&spec.name);
        let socket = |kind: &str| sockets.join(format!("{}.{kind}", spec.name));
        Files {
            disks: (0..).zip(&spec.disks).map(|(number, disk)| disk.file(&dir, number)).collect(),
            blocks: (0..spec.disks.len()).map(|number| socket(&format!("disk{number}"))).collect(),
            vars: dir.join("vars.fd"),
            bios_console: dir.join("sercon-port"),
            serial_log: dir.join("serial.log"),
            stamped_log: dir.join("serial.stamped.log"),
            qemu_log: dir.join("qemu.log"),
            qmp: socket("qmp"),
            console: socket("console"),
            shell: socket("shell"),
            taps,
            dir,
        }
    }
}

/// The words that are this machine; it boots from network card `boots` first, and has none at all when that is `None`.
pub(super) fn argv(
    spec: &Spec,
    files: &Files,
    accel: Accel,
    reboot: Reboot,
    boots: Option<usize>,
) -> Vec<OsString> {
    let mut words = Words(vec!["qemu-system-x86_64".into()]);
    words.pair("-name", &spec.name);
    words.pair("-machine", spec.firmware.machine());
    words.0.extend(accel.arguments().map(OsString::from));
    words.pair("-smp", &spec.cpus.to_string());
    words.pair("-m", &spec.memory_mib.to_string());
    words.0.extend(["-nodefaults", "-no-user-config", "-display", "none", "-vga", "std"].map(OsString::from));
    words.pair("-action", &format!("reboot={}", reboot.action()));
    words.pair(
        "-smbios",
        &format!("type=1,manufacturer=Rackwright,product=Virtual server,serial=RW-{}", spec.name),
    );
    // A card whose random source is slow keeps first boots waiting for keys.
    words.pair("-object", "rng-random,id=random,filename=/dev/urandom");
    words.pair("-device", "virtio-rng-pci,rng=random");
    words.0.extend(spec.firmware.arguments(&files.vars, &files.bios_console));
    for (number, (nic, tap)) in spec.nics.iter().zip(&files.taps).enumerate() {
        if let Some(boots) = boots {
            nic_words(&mut words, spec.firmware, nic, tap, (number, number == boots));
        }
    }
    for (number, (disk, (path, block))) in
        spec.disks.iter().zip(files.disks.iter().zip(&files.blocks)).enumerate()
    {
        disk_words(&mut words, number, disk, (path, block));
    }
    let console = format!(
        "socket,id=serial,path={},server=on,wait=off,logfile={},logappend=on",
        files.console.display(),
        files.serial_log.display()
    );
    words.pair("-chardev", &console);
    words.pair("-serial", "chardev:serial");
    words.pair("-chardev", &format!("socket,id=shell,path={},server=on,wait=off", files.shell.display()));
    words.pair("-serial", "chardev:shell");
    words.pair("-chardev", &format!("socket,id=qmp,path={},server=on,wait=off", files.qmp.display()));
    words.pair("-mon", "chardev=qmp,mode=control");
    words.0
}

fn nic_words(words: &mut Words, firmware: Firmware, nic: &Nic, tap: &str, (number, boots): (usize, bool)) {
    let netdev = format!("tap,id=lan{number},ifname={tap},script=no,downscript=no,vhost=off");
    words.pair("-netdev", &netdev);
    // UEFI: without an option ROM the firmware's own driver and PXE are what boots.
    let how = match (firmware, boots) {
        (Firmware::Bios, true) => ",bootindex=0",
        (Firmware::Uefi | Firmware::UefiSecure | Firmware::UefiHttp, true) => ",bootindex=0,romfile=",
        // A card that is not in the boot order is not asked.
        (_, false) => ",romfile=",
    };
    words.pair("-device", &format!("virtio-net-pci,netdev=lan{number},mac={}{how}", nic.mac));
}

fn disk_words(words: &mut Words, number: usize, disk: &Disk, (path, block): (&Path, &Path)) {
    let id = format!("disk{number}");
    if disk.logged {
        logged_words(words, number, path);
    } else {
        let from = match disk.lies {
            Some(_) => format!("file.driver=nbd,file.server.type=unix,file.server.path={}", block.display()),
            None => format!("file={}", path.display()),
        };
        // What is written to a disk with a content goes to a file without a name that ends with QEMU.
        let lost = if disk.content.is_some() { ",snapshot=on" } else { "" };
        let limit = disk.speed.map(|speed| format!(",throttling.bps-total={speed}")).unwrap_or_default();
        words.pair("-drive", &(drive(&id, &from) + lost + &limit));
    }
    let (device, serial, index) = (format!("drive={id}"), &disk.serial, number + 1);
    let device = match disk.bus {
        Bus::Virtio => format!("virtio-blk-pci,{device}"),
        Bus::Sata => format!("ide-hd,bus=ide.{number},{device}"),
        Bus::Nvme if disk.hides.is_some() => return hiding_words(words, number, serial, path),
        Bus::Nvme => format!("nvme,{device}"),
        Bus::Scsi => {
            words.pair("-device", &format!("virtio-scsi-pci,id=scsi{number}"));
            format!("scsi-hd,bus=scsi{number}.0,{device}")
        }
    };
    words.pair("-device", &format!("{device},serial={serial},bootindex={index}"));
}

fn drive(id: &str, from: &str) -> String {
    format!("if=none,id={id},format=raw,cache=writeback,discard=unmap,{from}")
}

/// The file of the namespace that an NVMe disk hides.
#[must_use]
pub fn hidden_of(disk: &Path) -> PathBuf {
    disk.with_extension("hidden")
}

/// Only a drive in a subsystem can have a namespace that is attached to nothing.
fn hiding_words(words: &mut Words, number: usize, serial: &str, path: &Path) {
    let hidden = format!("hidden{number}");
    words.pair("-drive", &drive(&hidden, &format!("file={}", hidden_of(path).display())));
    words.pair("-device", &format!("nvme-subsys,id=subsys{number},nqn=subsys{number}"));
    words.pair("-device", &format!("nvme,id=nvme{number},serial={serial},subsys=subsys{number}"));
    words.pair("-device", &format!("nvme-ns,drive=disk{number},bus=nvme{number},nsid=1"));
    words.pair("-device", &format!("nvme-ns,drive={hidden},bus=nvme{number},nsid=2,detached=on"));
}

/// Where the writes to a disk are written down.
pub fn log_of(disk: &Path) -> PathBuf {
    disk.with_extension("log")
}

fn logged_words(words: &mut Words, number: usize, path: &Path) {
    let file =
        |name: &str, path: &Path| format!("driver=file,node-name={name}{number},filename={}", path.display());
    words.pair("-blockdev", &(file("file", path) + ",discard=unmap"));
    words.pair("-blockdev", &file("log", &log_of(path)));
    let log = format!("driver=blklogwrites,file=file{number},log=log{number},log-sector-size=512");
    words.pair("-blockdev", &format!("{log},node-name=disk{number}"));
}

struct Words(Vec<OsString>);

impl Words {
    fn pair(&mut self, flag: &str, value: &str) {
        self.0.push(flag.into());
        self.0.push(value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(firmware: Firmware, accel: Accel, boots: usize) -> String {
        let disk = |serial: &str, bus| Disk::plain(serial.into(), 1 << 30, bus);
        let spec = Spec {
            name: "n1".into(),
            firmware,
            nics: vec![
                Nic { mac: "52:54:00:00:00:01".into(), network: Network::Provision },
                Nic { mac: "52:54:00:00:00:02".into(), network: Network::Second },
            ],
            memory_mib: 1024,
            cpus: 2,
            disks: vec![
                disk("SYS1", Bus::Virtio),
                disk("DATA1", Bus::Nvme),
                Disk { lies: Some(0..9), ..disk("LIES", Bus::Scsi) },
                Disk { hides: Some(1 << 20), ..disk("HIDES", Bus::Nvme) },
            ],
        };
        let files = Files::new(&spec, Path::new("/d"), Path::new("/s"), vec!["tap0".into(), "tap1".into()]);
        let words = argv(&spec, &files, accel, Reboot::Off, Some(boots));
        words.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn network_is_first_and_disks_follow_with_their_serials() {
        let line = text(Firmware::Bios, Accel::Tcg, 0);
        for part in [
            "virtio-net-pci,netdev=lan0,mac=52:54:00:00:00:01,bootindex=0 ",
            "virtio-net-pci,netdev=lan1,mac=52:54:00:00:00:02,romfile= ",
            "virtio-blk-pci,drive=disk0,serial=SYS1,bootindex=1",
            "nvme,drive=disk1,serial=DATA1,bootindex=2",
            "unmap,file.driver=nbd,file.server.type=unix,file.server.path=/s/n1.disk2 ",
            "scsi-hd,bus=scsi2.0,drive=disk2,serial=LIES,bootindex=3 ",
            "unmap,file=/d/n1/disk3.hidden ",
            "nvme-ns,drive=hidden3,bus=nvme3,nsid=2,detached=on",
            "-action reboot=shutdown",
            "-cpu max,svm=off,vmx=off",
            "etc/sercon-port",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
    }

    #[test]
    fn uefi_uses_its_own_driver_and_a_private_variable_store() {
        let line = text(Firmware::Uefi, Accel::Kvm, 1);
        for part in [
            "mac=52:54:00:00:00:02,bootindex=0,romfile=",
            "unit=1,file=/d/n1/vars.fd",
            "IPv6PXESupport,string=no",
            "-accel kvm -cpu host",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(!line.contains("sercon") && !line.contains("smm=on") && !line.contains("IPv4PXESupport"));
    }

    #[test]
    fn secure_boot_has_guarded_flash_and_the_keys_it_is_sold_with() {
        let line = text(Firmware::UefiSecure, Accel::Tcg, 0);
        for part in ["-machine q35,smm=on ", "cfi.pflash01,property=secure,value=on", "OVMF_CODE_4M.ms.fd"] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert!(text(Firmware::UefiHttp, Accel::Tcg, 0).contains("IPv4PXESupport,string=no"));
    }
}

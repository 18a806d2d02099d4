//! A machine that starts the ISO, and nothing else of the rack: no namespace, no controller beside it.
//!
//! Knows how a medium is plugged in and how two such machines share a cable. Refuses to know what the ISO does.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::accel::Accel;
use super::firmware::Firmware;
use super::machine::{BIOS_CONSOLE, log_of};
use super::process::{Lifetime, Process, ProcessError};
use super::serial::Serial;

/// What the medium is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Medium {
    /// A disc in an optical drive.
    Disc,
    /// A USB stick that the file was copied to.
    Stick,
    /// None: it boots from its disk, or else from the cable.
    None,
}

/// A machine.
#[derive(Debug, Clone)]
pub struct Spec<'a> {
    /// Its name in files and messages.
    pub name: &'a str,
    /// What it starts with.
    pub firmware: Firmware,
    /// What the ISO is to it.
    pub medium: Medium,
    /// The ISO; nothing is written to it.
    pub iso: &'a Path,
    /// RAM in MiB.
    pub memory_mib: u32,
    /// A further drive, as a file; nothing is written to it.
    pub drive: Option<&'a Path>,
    /// A disk of its own. It outlives the machine.
    pub disk: Option<Disk<'a>>,
    /// One end of a cable: a socket that the other machine's end is at, and whether this one makes it.
    pub cable: Option<(&'a Path, bool)>,
}

/// A disk that a machine writes to.
#[derive(Debug, Clone, Copy)]
pub struct Disk<'a> {
    /// The file.
    pub file: &'a Path,
    /// What it says its serial number is.
    pub serial: &'a str,
    /// Whether all that it is told is written down, at [`log_of`] its file.
    pub logged: bool,
}

/// A running machine; dropping it switches it off.
#[derive(Debug)]
pub struct Live {
    _process: Process,
    serial: Serial,
    console: PathBuf,
}

/// Why it does not run.
#[derive(Debug, thiserror::Error)]
pub enum LiveError {
    /// Its files.
    #[error("preparing {}", path.display())]
    Prepare {
        /// Which.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// QEMU.
    #[error(transparent)]
    Process(#[from] ProcessError),
}

impl Live {
    /// Switches it on; its files go below `dir`, which is made anew for it.
    ///
    /// # Errors
    /// [`LiveError`].
    pub fn start(spec: &Spec<'_>, dir: &Path, accel: Accel) -> Result<Live, LiveError> {
        let dir = dir.join(spec.name);
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| LiveError::Prepare { path, source }
        };
        if dir.exists() {
            fs::remove_dir_all(&dir).map_err(failed(&dir))?;
        }
        fs::create_dir_all(&dir).map_err(failed(&dir))?;
        let (vars, sercon) = (dir.join("vars.fd"), dir.join("sercon-port"));
        if let Some(template) = spec.firmware.variables() {
            fs::copy(template, &vars).map_err(failed(&vars))?;
        }
        fs::write(&sercon, BIOS_CONSOLE).map_err(failed(&sercon))?;
        let (log, console) = (dir.join("serial.log"), dir.join("console"));
        let words = argv(spec, accel, &vars, &sercon, &log, &console);
        let process = Process::start(&words, &dir.join("qemu.log"), Lifetime::WithUs)?;
        let serial = Serial::follow(spec.name, &log, &dir.join("serial.stamped.log"));
        Ok(Live { _process: process, serial, console })
    }

    /// What it says.
    #[must_use]
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// The socket of its serial console, for typing.
    #[must_use]
    pub fn console(&self) -> &Path {
        &self.console
    }

    /// Waits for a text on the serial console.
    ///
    /// # Errors
    /// As [`Serial::wait`].
    pub fn wait(&self, text: &str, limit: Duration) -> Result<(), super::serial::SerialError> {
        self.serial.wait(0, &[text], limit).map(drop)
    }
}

fn argv(
    spec: &Spec<'_>,
    accel: Accel,
    vars: &Path,
    sercon: &Path,
    log: &Path,
    console: &Path,
) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["qemu-system-x86_64".into()];
    let mut put = |list: &[&str]| words.extend(list.iter().map(OsString::from));
    let memory = spec.memory_mib.to_string();
    put(&["-name", spec.name, "-machine", spec.firmware.machine(), "-smp", "1", "-m", &memory]);
    put(&["-nodefaults", "-no-user-config", "-display", "none", "-vga", "std"]);
    put(&["-object", "rng-random,id=random,filename=/dev/urandom", "-device", "virtio-rng-pci,rng=random"]);
    put(&accel.arguments());
    let iso =
        |kind: &str| format!("if=none,id=medium,format=raw,readonly=on,file={}{kind}", spec.iso.display());
    match spec.medium {
        Medium::Disc => {
            put(&["-drive", &iso(",media=cdrom"), "-device", "ide-cd,bus=ide.0,drive=medium,bootindex=0"]);
        }
        Medium::Stick => {
            put(&["-device", "qemu-xhci", "-drive", &iso(""), "-device"]);
            put(&["usb-storage,drive=medium,bootindex=0,removable=on"]);
        }
        Medium::None => {}
    }
    if let Some(drive) = spec.drive {
        let file = format!("if=none,id=drive,format=raw,readonly=on,file={}", drive.display());
        put(&["-drive", &file, "-device", "virtio-blk-pci,drive=drive"]);
    }
    if let Some(Disk { file, serial, logged }) = spec.disk {
        if logged {
            logged_words(&mut put, file);
        } else {
            // Written through: what the machine was told is on the disk outlives it, however it ends.
            let file = format!(
                "if=none,id=disk,format=raw,cache=writethrough,discard=unmap,file={}",
                file.display()
            );
            put(&["-drive", &file]);
        }
        put(&["-device", &format!("virtio-blk-pci,drive=disk,serial={serial},bootindex=1")]);
    }
    if let Some((socket, makes)) = spec.cable {
        let server = if makes { "on" } else { "off" };
        let cable = format!("stream,id=cable,server={server},addr.type=unix,addr.path={}", socket.display());
        let boots =
            if spec.medium == Medium::None && spec.disk.is_none() { ",bootindex=0" } else { ",romfile=" };
        // On a bus of its own number, so that its name is the same whatever else is plugged in.
        let card = format!(
            "virtio-net-pci,netdev=cable,addr=0x10,mac=52:54:00:77:09:{:02x}{boots}",
            u8::from(makes)
        );
        put(&["-netdev", &cable, "-device", &card]);
    } else {
        put(&["-nic", "none"]);
    }
    let port =
        format!("socket,id=serial,path={},server=on,wait=off,logfile={}", console.display(), log.display());
    put(&["-chardev", &port, "-serial", "chardev:serial"]);
    words.extend(spec.firmware.arguments(vars, sercon));
    words
}

fn logged_words(put: &mut impl FnMut(&[&str]), disk: &Path) {
    let file = |name: &str, path: &Path| format!("driver=file,node-name={name},filename={}", path.display());
    put(&["-blockdev", &(file("kept", disk) + ",discard=unmap"), "-blockdev", &file("log", &log_of(disk))]);
    put(&["-blockdev", "driver=blklogwrites,file=kept,log=log,log-sector-size=512,node-name=disk"]);
}

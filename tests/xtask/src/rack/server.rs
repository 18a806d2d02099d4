//! A server: a QEMU machine that really boots from the network.
//!
//! Knows how to switch it on and off and what its console said. Refuses to know what runs in it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::json;

use super::accel::Accel;
use super::disk::{self, DiskError};
use super::ledger::{Ledger, LedgerError};
use super::liar::Liar;
use super::machine::{self, Files, Reboot};
use super::netns::Netns;
use super::process::{Lifetime, Process, ProcessError};
use super::qmp::{self, QmpError};
use super::serial::{Line, Serial, SerialError};
use crate::interrupt::{self, Interrupted};
use crate::say;
use crate::tool::{TICK, Tool, ToolError};

pub use super::machine::{Bus, Disk, Nic, Spec};

/// Why a server could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// A file of it could not be made.
    #[error("preparing {} of server {name}", path.display())]
    Prepare {
        /// The server.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The log of what is written to a disk could not be made.
    #[error("making the write log of disk {name}")]
    Log {
        /// The disk's serial number.
        name: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// QEMU could not be started.
    #[error("switching on server {name}")]
    Start {
        /// The server.
        name: String,
        /// Why not.
        source: ProcessError,
    },
    /// QEMU ended when it should run.
    #[error("server {name} went off: {said}")]
    Died {
        /// The server.
        name: String,
        /// The end of QEMU's own output.
        said: String,
    },
    /// It did not switch itself off in time.
    #[error("server {name} is still on after {limit:?}; its console ends with:\n{tail}")]
    StillOn {
        /// The server.
        name: String,
        /// How long it was given.
        limit: Duration,
        /// The last lines.
        tail: String,
    },
    /// Its disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Its control socket.
    #[error(transparent)]
    Qmp(#[from] QmpError),
    /// Its memory.
    #[error("looking into the memory of a server")]
    Memory(#[from] ToolError),
    /// Its console.
    #[error(transparent)]
    Serial(#[from] SerialError),
    /// The rack's book-keeping.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A stop was asked for.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// One machine of the rack. It is off until [`Server::start`]; dropping it cuts its power.
#[derive(Debug)]
pub struct Server {
    spec: Spec,
    files: Files,
    netns: Netns,
    accel: Accel,
    lifetime: Lifetime,
    ledger: Arc<Mutex<Ledger>>,
    serial: Serial,
    boots: Option<usize>,
    qemu: Option<Process>,
    _liars: Vec<Liar>,
    powered: Vec<SystemTime>,
}

/// Of its console, when a test fails: what it said last is mostly why.
const LAST_LINES: usize = 12;

/// What a server gets from its rack.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) sockets: PathBuf,
    pub(super) netns: Netns,
    pub(super) taps: Vec<String>,
    pub(super) accel: Accel,
    pub(super) lifetime: Lifetime,
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

impl Server {
    /// Makes its disks and firmware variables in `place`; the machine stays off.
    pub(super) fn build(spec: Spec, place: Place) -> Result<Server, ServerError> {
        let files = Files::new(&spec, &place.dir, &place.sockets, place.taps);
        let prepare = |path: &Path, done: io::Result<()>| {
            let (name, path) = (spec.name.clone(), path.to_path_buf());
            done.map_err(|source| ServerError::Prepare { name, path, source })
        };
        prepare(&files.dir, fs::create_dir_all(&files.dir))?;
        for (disk, path) in spec.disks.iter().zip(&files.disks) {
            if disk.content.is_none() {
                disk::create(path, disk.bytes)?;
            }
            if let Some(bytes) = disk.hides {
                disk::create(&machine::hidden_of(path), bytes)?;
            }
        }
        let liars = liars(&spec, &files)?;
        if let Some(variables) = spec.firmware.variables() {
            prepare(&files.vars, fs::copy(variables, &files.vars).map(drop))?;
        }
        prepare(&files.bios_console, fs::write(&files.bios_console, machine::BIOS_CONSOLE))?;
        let serial = Serial::follow(&spec.name, &files.serial_log, &files.stamped_log);
        let Place { netns, accel, lifetime, ledger, .. } = place;
        let (boots, qemu, powered) = (Some(0), None, Vec::new());
        Ok(Server {
            spec,
            files,
            netns,
            accel,
            lifetime,
            ledger,
            serial,
            boots,
            qemu,
            _liars: liars,
            powered,
        })
    }

    /// What it was built as.
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Its files: disks, logs, sockets.
    #[must_use]
    pub fn files(&self) -> &Files {
        &self.files
    }

    /// Its console since it was built, over all power cycles.
    #[must_use]
    pub fn serial(&self) -> &Serial {
        &self.serial
    }

    /// When it was switched on, oldest first.
    #[must_use]
    pub fn powered(&self) -> &[SystemTime] {
        &self.powered
    }

    /// Switches it on (a machine that is on stays on).
    ///
    /// # Errors
    /// QEMU does not start.
    pub fn start(&mut self, reboot: Reboot) -> Result<(), ServerError> {
        if self.running() {
            return Ok(());
        }
        let mut argv = Netns::exec(&self.netns.lan);
        argv.extend(machine::argv(&self.spec, &self.files, self.accel, reboot, self.boots));
        for socket in [&self.files.qmp, &self.files.console, &self.files.shell] {
            // Left by the last power cycle; QEMU would not bind over it.
            let _ = fs::remove_file(socket);
        }
        for (disk, path) in self.spec.disks.iter().zip(&self.files.disks).filter(|(disk, _)| disk.logged) {
            let made = fs::File::create(machine::log_of(path)).map(drop);
            made.map_err(|source| ServerError::Log { name: disk.serial.clone(), source })?;
        }
        let started = Process::start(&argv, &self.files.qemu_log, self.lifetime)
            .map_err(|source| ServerError::Start { name: self.spec.name.clone(), source })?;
        self.record(Some(&started))?;
        self.powered.push(SystemTime::now());
        self.qemu = Some(started);
        self.await_socket()
    }

    /// True while QEMU runs.
    pub fn running(&mut self) -> bool {
        self.qemu.as_mut().is_some_and(|qemu| qemu.ended().is_none())
    }

    /// Cuts the power: nothing is flushed, nothing is told.
    ///
    /// # Errors
    /// The ledger can't be written.
    pub fn kill(&mut self) -> Result<(), ServerError> {
        if let Some(mut qemu) = self.qemu.take() {
            qemu.kill();
        }
        self.record(None)
    }

    /// Presses the reset button.
    ///
    /// # Errors
    /// QEMU is gone.
    pub fn reset(&self) -> Result<(), ServerError> {
        self.ask("system_reset")
    }

    /// Presses the power button shortly (ACPI).
    ///
    /// # Errors
    /// QEMU is gone.
    pub fn press_power(&self) -> Result<(), ServerError> {
        self.ask("system_powerdown")
    }

    /// Takes a picture of its screen, as PNG.
    ///
    /// # Errors
    /// QEMU is gone or can't write `file`.
    pub fn screenshot(&self, file: &Path) -> Result<(), ServerError> {
        qmp::ask(&self.files.qmp, "screendump", json!({"filename": file, "format": "png"}))?;
        Ok(())
    }

    /// What a reboot does from now on.
    ///
    /// # Errors
    /// QEMU is gone.
    pub fn on_reboot(&self, reboot: Reboot) -> Result<(), ServerError> {
        qmp::ask(&self.files.qmp, "set-action", json!({"reboot": reboot.action()}))?;
        Ok(())
    }

    /// Waits until it switched itself off.
    ///
    /// # Errors
    /// Still on after `limit`, or a stop was asked for.
    pub fn wait_off(&mut self, limit: Duration) -> Result<(), ServerError> {
        let start = SystemTime::now();
        while self.running() {
            interrupt::check()?;
            if start.elapsed().is_ok_and(|waited| waited > limit) {
                let tail = self.serial.tail(30);
                return Err(ServerError::StillOn { name: self.spec.name.clone(), limit, tail });
            }
            std::thread::sleep(TICK);
        }
        self.qemu = None;
        self.record(None)
    }

    /// Waits for one of `wanted` on the console, from line `mark` on.
    ///
    /// # Errors
    /// It did not come within `limit`, QEMU died, or a stop was asked for.
    pub fn wait_serial(
        &mut self,
        mark: usize,
        wanted: &[&str],
        limit: Duration,
    ) -> Result<Line, ServerError> {
        match self.serial.wait(mark, wanted, limit) {
            Ok(line) => Ok(line),
            Err(SerialError::Silent { .. }) if !self.running() => Err(self.died()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts network card `nic` before everything else in the boot order, from when it is next switched on.
    pub fn boot_from(&mut self, nic: usize) {
        self.boots = Some(nic);
    }

    /// Whether `text` is anywhere in its memory now; what a kernel logs below its console's level is there.
    ///
    /// # Errors
    /// QEMU is gone, or its memory can't be read.
    pub fn memory_holds(&self, text: &str) -> Result<bool, ServerError> {
        let file = self.files.dir.join("memory");
        let bytes = u64::from(self.spec.memory_mib) << 20;
        qmp::ask(&self.files.qmp, "pmemsave", json!({"val": 0, "size": bytes, "filename": file}))?;
        // Memory is mostly zeros: as ends of lines they keep grep from holding all of it.
        let found = Tool::new("grep").args(["-z", "-q", "-a", "-F", "--", text]).arg(&file).output();
        let _ = fs::remove_file(&file);
        Ok(found?.status.success())
    }

    /// Takes its network cards out, or puts them back, before it is next switched on. A cable that is only pulled has the
    /// firmware try every protocol for minutes.
    pub fn fit_card(&mut self, fitted: bool) {
        self.boots = fitted.then_some(0);
    }

    pub(super) fn leave(&mut self) {
        if let Some(qemu) = &mut self.qemu {
            qemu.leave();
        }
    }

    fn ask(&self, command: &str) -> Result<(), ServerError> {
        qmp::ask(&self.files.qmp, command, json!({}))?;
        Ok(())
    }

    /// QEMU makes its sockets within a second; until then a caller's QMP command would fail by chance.
    fn await_socket(&mut self) -> Result<(), ServerError> {
        let start = SystemTime::now();
        while !self.files.qmp.exists() {
            interrupt::check()?;
            if !self.running() || start.elapsed().is_ok_and(|waited| waited > Duration::from_secs(30)) {
                return Err(self.died());
            }
            std::thread::sleep(TICK);
        }
        Ok(())
    }

    fn died(&self) -> ServerError {
        let said = fs::read_to_string(&self.files.qemu_log).unwrap_or_default();
        let last: Vec<&str> = said.lines().rev().take(5).collect();
        let said = last.into_iter().rev().collect::<Vec<_>>().join("; ");
        ServerError::Died { name: self.spec.name.clone(), said }
    }

    fn record(&self, qemu: Option<&Process>) -> Result<(), ServerError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        ledger.set_process(&self.spec.name, qemu.and_then(Process::identity))?;
        Ok(())
    }
}

fn liars(spec: &Spec, files: &Files) -> Result<Vec<Liar>, ServerError> {
    let disks = spec.disks.iter().zip(files.disks.iter().zip(&files.blocks));
    let lying = disks.filter_map(|(disk, paths)| Some((disk.lies.clone()?, paths)));
    let served = lying.map(|(keeps, (path, socket))| {
        Liar::serve(socket, path, keeps).map_err(|source| ServerError::Prepare {
            name: spec.name.clone(),
            path: path.clone(),
            source,
        })
    });
    served.collect()
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let tail = self.serial.tail(LAST_LINES);
            say::line(&format!("    the console of {} ends with:\n{tail}", self.spec.name));
        }
    }
}

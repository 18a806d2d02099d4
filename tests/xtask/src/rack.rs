//! The virtual rack: a controller that really runs, servers that really boot.
//!
//! Knows namespaces, a container and QEMU machines, and takes every one of them down again. Refuses to touch the
//! namespace it was started in, processes it did not start, and the controller's insides.

pub mod accel;
pub mod bed;
mod cgroup;
pub mod container;
pub mod controller;
pub mod disk;
pub mod firmware;
pub mod gpt;
pub mod host;
pub mod ledger;
pub mod liar;
pub mod live;
pub mod machine;
pub mod needles;
pub mod netns;
pub mod process;
pub mod qmp;
pub mod serial;
pub mod server;
pub mod write_log;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use accel::Accel;
use controller::{Controller, ControllerError, Parts};
use host::{Host, HostError, Leg};
use ledger::{Ledger, LedgerError};
use netns::Netns;
use process::{Identity, Lifetime};
use server::{Server, ServerError, Spec};

use crate::interrupt;
use crate::say;
use crate::tool::ToolError;

/// How many directories of failed racks are kept for a look.
const WRECKS: usize = 3;

/// Why a rack could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum RackError {
    /// Namespaces and `/run` need root.
    #[error("a rack needs root: network namespaces, taps and a container")]
    NotRoot,
    /// Its directory could not be made.
    #[error("preparing {}", path.display())]
    Prepare {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// Its wires.
    #[error("wiring the rack")]
    Wires(#[from] ToolError),
    /// Its book-keeping.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// How a rack is set up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where disks and logs go; a directory per rack below it.
    pub dir: PathBuf,
    /// Whether it may be left up ([`Rack::leave_up`]); if not, the kernel kills it with us.
    pub may_stay: bool,
}

/// Waits until no other process holds a rack for tests, and holds it until dropped.
///
/// # Errors
/// The lock file can't be made.
pub fn exclusive(dir: &Path) -> io::Result<fs::File> {
    fs::create_dir_all(dir)?;
    let lock = fs::File::create(dir.join("lock"))?;
    lock.lock()?;
    Ok(lock)
}

/// One rack. Dropping it takes everything down; its logs stay unless it [`Rack::passed`].
#[derive(Debug)]
pub struct Rack {
    ledger: Arc<Mutex<Ledger>>,
    netns: Netns,
    dir: PathBuf,
    accel: Accel,
    lifetime: Lifetime,
    down: bool,
}

impl Rack {
    /// Sweeps what dead owners left, then makes the namespaces and the cables between them.
    ///
    /// # Errors
    /// Not root, no room, or `ip` said no.
    pub fn up(options: &Options) -> Result<Rack, RackError> {
        interrupt::watch();
        if !rustix::process::geteuid().is_root() {
            return Err(RackError::NotRoot);
        }
        for id in ledger::sweep_orphans()? {
            say::line(&format!("    swept the rack {id}: its owner had died"));
        }
        let id = unused_id();
        let dir = options.dir.join(&id);
        let prepare = |source| RackError::Prepare { path: dir.clone(), source };
        fs::create_dir_all(&options.dir).map_err(prepare)?;
        forget_old_wrecks(&options.dir);
        fs::create_dir(&dir).map_err(prepare)?;
        let netns = Netns::named(&id);
        let namespaces = vec![netns.lan.clone(), netns.ctl.clone()];
        let owner = Identity::me();
        let ledger =
            Ledger { id, owner, namespaces, processes: Vec::new(), dir: dir.clone(), remove_dir: false };
        // Written before anything is made: whatever happens next, the next start can sweep it.
        ledger.save()?;
        let rack = Rack {
            ledger: Arc::new(Mutex::new(ledger)),
            netns,
            dir,
            accel: Accel::detect(&options.dir.join("accel")),
            lifetime: if options.may_stay { Lifetime::MayStay } else { Lifetime::WithUs },
            down: false,
        };
        rack.netns.make()?;
        Ok(rack)
    }

    /// Its name: prefix of its namespaces, and the machine name of its controller.
    #[must_use]
    pub fn id(&self) -> String {
        self.ledger().id.clone()
    }

    /// Where its disks and logs are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// How the servers' processors are run.
    #[must_use]
    pub fn accel(&self) -> Accel {
        self.accel
    }

    /// The names of its namespaces.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Boots its controller. There is one per rack.
    ///
    /// # Errors
    /// Its files can't be put in place, or it does not boot.
    pub fn controller(&self, parts: &Parts) -> Result<Controller, ControllerError> {
        self.controller_with(parts, controller::CONFIG)
    }

    /// As [`Rack::controller`], with another configuration.
    ///
    /// # Errors
    /// As [`Rack::controller`].
    pub fn controller_with(&self, parts: &Parts, config: &str) -> Result<Controller, ControllerError> {
        let place = controller::Place {
            id: self.id(),
            dir: self.dir.clone(),
            namespace: self.netns.ctl.clone(),
            lifetime: self.lifetime,
            ledger: Arc::clone(&self.ledger),
        };
        Controller::boot(parts, config, place)
    }

    /// Puts a server into it and plugs its cables in; it is off.
    ///
    /// # Errors
    /// Its disks can't be made, or `ip` said no.
    pub fn server(&self, spec: Spec) -> Result<Server, ServerBuildError> {
        let taps: Vec<String> =
            (0..spec.nics.len()).map(|number| format!("tap-{}-{number}", spec.name)).collect();
        for (nic, tap) in spec.nics.iter().zip(&taps) {
            self.netns.add_tap(nic.network, tap)?;
        }
        let place = server::Place {
            dir: self.dir.clone(),
            sockets: self.ledger().run_dir(),
            netns: self.netns.clone(),
            taps,
            accel: self.accel,
            lifetime: self.lifetime,
            ledger: Arc::clone(&self.ledger),
        };
        Ok(Server::build(spec, place)?)
    }

    /// Puts another host into it: a router, a DHCP server of somebody else, a client.
    ///
    /// # Errors
    /// `ip` said no, or a host of that name was made before.
    pub fn host(&self, name: &str, legs: &[Leg<'_>]) -> Result<Host, HostError> {
        let place = host::Place {
            netns: self.netns.clone(),
            dir: self.dir.clone(),
            lifetime: self.lifetime,
            ledger: Arc::clone(&self.ledger),
        };
        Host::make(name, legs, place)
    }

    /// All went well: its directory goes with it.
    pub fn passed(&self) {
        self.ledger().remove_dir = true;
    }

    /// Leaves everything running without an owner, until `rack down`.
    ///
    /// # Errors
    /// The ledger can't be written; then the rack goes down as usual.
    pub fn leave_up(
        mut self,
        controller: &mut Controller,
        servers: &mut [Server],
    ) -> Result<(), LedgerError> {
        {
            let mut ledger = self.ledger();
            ledger.owner = None;
            ledger.remove_dir = true;
            ledger.save()?;
        }
        controller.leave();
        servers.iter_mut().for_each(Server::leave);
        self.down = true;
        Ok(())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a server could not be put into the rack.
#[derive(Debug, thiserror::Error)]
pub enum ServerBuildError {
    /// Its cable.
    #[error("plugging a server in")]
    Wires(#[from] ToolError),
    /// Itself.
    #[error(transparent)]
    Server(#[from] ServerError),
}

impl Drop for Rack {
    fn drop(&mut self) {
        if self.down {
            return;
        }
        let ledger = self.ledger().clone();
        ledger.sweep();
        if !ledger.remove_dir {
            forget_roots(&ledger.dir);
            say::line(&format!("    logs and disks of the rack are in {}", ledger.dir.display()));
        }
    }
}

/// Unique on this machine: pids are, and one process counts.
fn unused_id() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("rack{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Removes the root file systems of a rack's controller and hosts: what is worth a look are the logs, half a gigabyte of
/// each is not.
fn forget_roots(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        // Most have none.
        let _ = fs::remove_dir_all(entry.path().join("root"));
    }
}

/// Removes the directories of past racks but the newest few, and never one that a ledger names.
fn forget_old_wrecks(dir: &Path) {
    let used: Vec<PathBuf> = Ledger::all().unwrap_or_default().into_iter().map(|ledger| ledger.dir).collect();
    let Ok(entries) = fs::read_dir(dir) else { return };
    let mut wrecks: Vec<_> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("rack"))
        .filter(|entry| !used.contains(&entry.path()))
        .filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path())))
        .collect();
    wrecks.sort();
    for (_, path) in wrecks.iter().rev().skip(WRECKS) {
        let _ = fs::remove_dir_all(path);
    }
}

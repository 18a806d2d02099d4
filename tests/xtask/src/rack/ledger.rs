//! What exists because of a rack, written down before it is made, so that a later run can sweep it.
//!
//! Knows `/run/rackwright-rack/ID/ledger.json`. Refuses to touch anything that is not in a ledger, and any
//! rack whose owner lives or which was left up on purpose.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::process::Identity;
use crate::tool::{TICK, Tool};

/// Where the ledgers are: gone after a reboot, like everything they list. Short, because sockets live beside
/// them and a Unix socket's path ends at 107 bytes.
pub const RUN: &str = "/run/rackwright-rack";

/// Why a ledger could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The file could not be written, read or removed.
    #[error("keeping {}", path.display())]
    Io {
        /// The ledger or its directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is not a ledger.
    #[error("reading {}", path.display())]
    Format {
        /// The ledger.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Everything outside our own memory that belongs to one rack.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ledger {
    /// The rack's name; also the prefix of its namespaces.
    pub id: String,
    /// The process that tears it down. None once it was left up on purpose.
    pub owner: Option<Identity>,
    /// Names for `ip netns`.
    pub namespaces: Vec<String>,
    /// Long-lived children by name (`n1`, `controller`).
    pub processes: Vec<(String, Identity)>,
    /// Disks, logs and the controller's root file system.
    pub dir: PathBuf,
    /// Whether `dir` goes when the rack goes.
    pub remove_dir: bool,
}

impl Ledger {
    /// The rack's directory for sockets and its ledger.
    #[must_use]
    pub fn run_dir(&self) -> PathBuf {
        Path::new(RUN).join(&self.id)
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// The file system says no.
    pub fn save(&self) -> Result<(), LedgerError> {
        let dir = self.run_dir();
        let io = |source| LedgerError::Io { path: dir.clone(), source };
        fs::create_dir_all(&dir).map_err(io)?;
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| LedgerError::Format { path: dir.clone(), source })?;
        fs::write(dir.join("ledger.new"), text).map_err(io)?;
        fs::rename(dir.join("ledger.new"), dir.join("ledger.json")).map_err(io)
    }

    /// Replaces the process called `name`, or takes it out.
    ///
    /// # Errors
    /// As [`Ledger::save`].
    pub fn set_process(&mut self, name: &str, identity: Option<Identity>) -> Result<(), LedgerError> {
        self.processes.retain(|(known, _)| known != name);
        self.processes.extend(identity.map(|identity| (name.to_owned(), identity)));
        self.save()
    }

    /// All racks known on this machine, by id.
    ///
    /// # Errors
    /// The directory exists and can't be read, or a ledger in it is damaged.
    pub fn all() -> Result<Vec<Ledger>, LedgerError> {
        let entries = match fs::read_dir(RUN) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(LedgerError::Io { path: RUN.into(), source }),
        };
        let mut found = Vec::new();
        for entry in entries.flatten() {
            let path = entry.path().join("ledger.json");
            // A directory without a ledger is a rack that is being made or removed right now.
            let Ok(text) = fs::read(&path) else { continue };
            found.push(serde_json::from_slice(&text).map_err(|source| LedgerError::Format { path, source })?);
        }
        found.sort_by(|one: &Ledger, other: &Ledger| one.id.cmp(&other.id));
        Ok(found)
    }

    /// True when nobody will tear it down any more.
    #[must_use]
    pub fn orphaned(&self) -> bool {
        self.owner.is_some_and(|owner| !owner.alive())
    }

    /// Ends everything in it: processes first (killed: servers know power cuts, and the container's namespace
    /// dies with its first process), then namespaces, then files. Goes on after a failure.
    pub fn sweep(&self) {
        for (_, identity) in &self.processes {
            identity.signal(Signal::KILL);
        }
        for _ in 0..250 {
            if !self.processes.iter().any(|(_, identity)| identity.alive()) {
                break;
            }
            std::thread::sleep(TICK);
        }
        cgroup::sweep(&self.id);
        for name in &self.namespaces {
            if Path::new("/run/netns").join(name).exists() {
                // A failure shows at the next start as a namespace that can't be made.
                let _ = Tool::new("ip")
                    .args(["netns", "delete", name])
                    .cleaning()
                    .deadline(Duration::from_secs(10))
                    .output();
            }
        }
        if self.remove_dir {
            let _ = fs::remove_dir_all(&self.dir);
        }
        let _ = fs::remove_dir_all(self.run_dir());
    }
}

/// Sweeps the racks whose owners died without tearing them down; returns their ids.
///
/// # Errors
/// As [`Ledger::all`].
pub fn sweep_orphans() -> Result<Vec<String>, LedgerError> {
    let orphans: Vec<Ledger> = Ledger::all()?.into_iter().filter(Ledger::orphaned).collect();
    for ledger in &orphans {
        ledger.sweep();
    }
    Ok(orphans.into_iter().map(|ledger| ledger.id).collect())
}

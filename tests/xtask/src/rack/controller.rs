//! The controller of the rack: the built root file system, booted by systemd in its own namespace.
//!
//! Knows where its configuration, boot store and images go, and how to call its CLI. Refuses to reach into its
//! state: what is not in the CLI does not exist for the harness.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::container::{self, Container, ContainerError};
use super::ledger::{Ledger, LedgerError};
use super::process::Lifetime;
use crate::interrupt::{self, Interrupted};
use crate::tool::{Output, Tool, ToolError};

/// The controller's address on the provisioning network.
pub const ADDRESS: &str = "10.77.0.1";
/// Where it sees the images that were built.
pub const IMAGES: &str = "/srv/images";
const CONFIG_FILE: &str = "rackwright.toml";
/// How long one call of the CLI may take.
const CALL: Duration = Duration::from_secs(120);

/// The daemon's configuration in the rack, unless a story brings its own.
pub const CONFIG: &str = r#"# The virtual rack's controller.
site = "demo"

[[provision]]
interface = "prov0"
address = "10.77.0.1/24"
pool = "10.77.0.100-10.77.0.199"
dhcp = "full"
"#;

/// Why the controller could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// Its files could not be put in place.
    #[error("preparing the controller: {}", path.display())]
    Prepare {
        /// The file or directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A copy failed.
    #[error("preparing the controller")]
    Copy(#[source] ToolError),
    /// Its container.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// A command in it could not be run.
    #[error("calling the controller")]
    Call(#[from] ToolError),
    /// A command in it said no.
    #[error("`{command}` on the controller: {status}: {said}")]
    Refused {
        /// The command as typed.
        command: String,
        /// How it ended.
        status: std::process::ExitStatus,
        /// What it printed, stderr first.
        said: String,
    },
    /// The daemon does not answer.
    #[error("the daemon does not answer after {limit:?}: {last}\n{journal}")]
    Silent {
        /// How long it was given.
        limit: Duration,
        /// What the CLI said last.
        last: String,
        /// The end of its journal.
        journal: String,
    },
    /// The rack's book-keeping.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A stop was asked for.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// What a controller is made from; all of it stays untouched.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The root file system, as a directory.
    pub root: PathBuf,
    /// The boot store.
    pub boot: PathBuf,
    /// The directory of images, seen inside as [`IMAGES`].
    pub images: PathBuf,
    /// Hex of the public key which images are signed with.
    pub image_key: String,
}

/// A running controller. Dropping it kills it; [`Controller::power_off`] is the kind way.
#[derive(Debug)]
pub struct Controller {
    container: Container,
    dir: PathBuf,
    ledger: Arc<Mutex<Ledger>>,
}

/// What a controller gets from its rack.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: String,
    pub(super) dir: PathBuf,
    pub(super) namespace: String,
    pub(super) lifetime: Lifetime,
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

impl Controller {
    /// Copies the root file system, puts the configuration in place and boots it.
    pub(super) fn boot(parts: &Parts, config: &str, place: Place) -> Result<Controller, ControllerError> {
        let dir = place.dir.join("controller");
        let root = dir.join("root");
        make_dir(&root)?;
        // --reflink=auto: on btrfs and XFS the copy is free.
        let template = parts.root.join(".");
        Tool::new("cp").args(["-a", "--reflink=auto"]).arg(&template).arg(&root).read().map_err(copying)?;
        install(&root, parts, config)?;
        let setup = container::Setup {
            name: place.id,
            root,
            namespace: place.namespace,
            disk: None,
            binds: vec![(parts.images.clone(), IMAGES.into())],
            shares: Vec::new(),
            log: dir.join("console.log"),
            lifetime: place.lifetime,
        };
        let container = Container::start(setup)?;
        let mut controller = Controller { container, dir, ledger: place.ledger };
        controller.record(true)?;
        controller.container.wait_up()?;
        Ok(controller)
    }

    /// Waits until the daemon answers `rackwright status`.
    ///
    /// # Errors
    /// It does not within `limit`; the error carries its journal.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), ControllerError> {
        let start = Instant::now();
        loop {
            let output = self.exec(&["rackwright", "status", "-o", "json"])?;
            if output.status.success() {
                return Ok(());
            }
            interrupt::check()?;
            if start.elapsed() > limit {
                let last = output.stderr.trim().to_owned();
                return Err(ControllerError::Silent { limit, last, journal: self.journal("rackwright", 40) });
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Runs a command inside; any exit status is an answer.
    ///
    /// # Errors
    /// It could not be run.
    pub fn exec(&self, argv: &[&str]) -> Result<Output, ControllerError> {
        Ok(self.container.exec(argv, CALL)?)
    }

    /// Runs a command inside that has to succeed; returns its stdout.
    ///
    /// # Errors
    /// It could not be run, or said no.
    pub fn run(&self, argv: &[&str]) -> Result<String, ControllerError> {
        self.run_for(argv, CALL)
    }

    /// As [`Controller::run`], for what takes long.
    ///
    /// # Errors
    /// It could not be run within `limit`, or said no.
    pub fn run_for(&self, argv: &[&str], limit: Duration) -> Result<String, ControllerError> {
        let output = self.container.exec(argv, limit)?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let said = format!("{} {}", output.stderr.trim(), output.stdout.trim());
        Err(ControllerError::Refused { command: argv.join(" "), status: output.status, said })
    }

    /// As [`Controller::run_for`], for a person who watches: what it says is shown while it says it.
    ///
    /// # Errors
    /// As [`Controller::run_for`].
    pub fn show_for(&self, argv: &[&str], limit: Duration) -> Result<(), ControllerError> {
        Ok(container::enter(self.container.leader(), argv).deadline(limit).show()?)
    }

    /// Calls the CLI; it has to succeed.
    ///
    /// # Errors
    /// As [`Controller::run`].
    pub fn rackwright(&self, args: &[&str]) -> Result<String, ControllerError> {
        let argv: Vec<&str> = std::iter::once("rackwright").chain(args.iter().copied()).collect();
        self.run(&argv)
    }

    /// Kills the daemon as a crash would, with no chance to say goodbye; systemd starts it again.
    ///
    /// # Errors
    /// systemd said no.
    pub fn kill9_daemon(&self) -> Result<(), ControllerError> {
        self.run(&["systemctl", "kill", "--kill-whom=main", "--signal=KILL", "rackwright.service"]).map(drop)
    }

    /// The last `lines` of a unit's journal, or why there are none.
    #[must_use]
    pub fn journal(&self, unit: &str, lines: u32) -> String {
        let count = lines.to_string();
        self.run(&["journalctl", "--no-pager", "-o", "short-precise", "-n", &count, "-u", unit])
            .unwrap_or_else(|error| crate::say::chain(&error))
    }

    /// Writes the whole journal beside the console log, for a look after the rack is gone.
    pub fn save_journal(&self) {
        let argv = ["journalctl", "--no-pager", "-o", "short-precise"];
        let journal = container::enter(self.container.leader(), &argv).cleaning().deadline(CALL).read();
        let text = journal.unwrap_or_else(|error| crate::say::chain(&error));
        // Only a convenience: its loss must not hide the failure it was meant to explain.
        let _ = fs::write(self.dir.join("journal.log"), text);
    }

    /// Shuts it down in order.
    pub fn power_off(&mut self) {
        self.save_journal();
        self.container.power_off(Duration::from_secs(30));
        // The namespaces go next; a process that is left in the ledger would only be looked for in vain.
        let _ = self.record(false);
    }

    /// The container, for what only a fault test does.
    #[must_use]
    pub fn container(&self) -> &Container {
        &self.container
    }

    pub(super) fn leave(&mut self) {
        self.container.leave();
    }

    fn record(&self, running: bool) -> Result<(), LedgerError> {
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        ledger.set_process("controller", running.then(|| self.container.process().identity()).flatten())
    }
}

impl Drop for Controller {
    fn drop(&mut self) {
        if thread::panicking() {
            self.save_journal();
        }
    }
}

fn install(root: &Path, parts: &Parts, config: &str) -> Result<(), ControllerError> {
    let etc = root.join("etc/rackwright");
    let keys = etc.join("image-keys");
    let state = root.join("var/lib/rackwright");
    for dir in [&keys, &state, &root.join(IMAGES.trim_start_matches('/'))] {
        make_dir(dir)?;
    }
    write(&etc.join(CONFIG_FILE), config)?;
    write(&keys.join("demo.pub"), &format!("{}\n", parts.image_key))?;
    Tool::new("cp")
        .args(["-a", "--reflink=auto"])
        .arg(&parts.boot)
        .arg(state.join("boot"))
        .read()
        .map_err(copying)?;
    Ok(())
}

fn make_dir(path: &Path) -> Result<(), ControllerError> {
    fs::create_dir_all(path).map_err(|source| ControllerError::Prepare { path: path.to_path_buf(), source })
}

fn write(path: &Path, text: &str) -> Result<(), ControllerError> {
    fs::write(path, text).map_err(|source| ControllerError::Prepare { path: path.to_path_buf(), source })
}

fn copying(source: ToolError) -> ControllerError {
    ControllerError::Copy(source)
}

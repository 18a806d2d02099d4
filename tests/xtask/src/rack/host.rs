//! A small machine of the rack that is neither a server nor the controller: a router, another DHCP server, a client.
//!
//! Knows its namespace, its cables and how to run programs there. Refuses to know what they are for, and to let them
//! see this machine's state: what they keep below `/var/lib` and `/run` is their own and ends with them.

use std::ffi::OsString;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::container::{self, Container, ContainerError};
use super::gpt::{self, Partition};
use super::ledger::{Ledger, LedgerError};
use super::netns::{Netns, Network};
use super::process::{Lifetime, Process, ProcessError};
use crate::tool::{Output, Tool, ToolError};

/// Why a host could not be used.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A command there, or its wires.
    #[error("the host {name}")]
    Command {
        /// Its name.
        name: String,
        /// Which command, and how it failed.
        source: ToolError,
    },
    /// A program that was to stay could not be started.
    #[error("starting a program on the host {name}")]
    Start {
        /// Its name.
        name: String,
        /// Why not.
        source: ProcessError,
    },
    /// A program that was to stay ended.
    #[error("{name} ended: {said}")]
    Ended {
        /// The host's name and its own.
        name: String,
        /// The end of its output.
        said: String,
    },
    /// A file of a system of its own.
    #[error("preparing {}", path.display())]
    Prepare {
        /// Its folder, or its root in there.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// A system of its own.
    #[error(transparent)]
    Container(#[from] ContainerError),
    /// The rack's book-keeping.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// One end of a cable of a host.
#[derive(Debug, Clone, Copy)]
pub struct Leg<'a> {
    /// The switch it goes to.
    pub network: Network,
    /// Its name on the host; unique in the rack, and at most 12 bytes.
    pub interface: &'a str,
    /// Its address with the prefix, if it has a fixed one.
    pub address: Option<&'a str>,
}

/// A host. Its namespace goes with the rack.
#[derive(Debug)]
pub struct Host {
    name: String,
    netns: Netns,
    dir: PathBuf,
    lifetime: Lifetime,
    ledger: Arc<Mutex<Ledger>>,
}

/// What a host gets from its rack.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) netns: Netns,
    pub(super) dir: PathBuf,
    pub(super) lifetime: Lifetime,
    pub(super) ledger: Arc<Mutex<Ledger>>,
}

/// The partition of a node's disk that its system is on: the last one.
const ROOT: &str = "rackwright-root";
/// Where a system that is booted from a disk finds its seed.
const SEED: &str = "/run/host-seed";
/// The agent looks for its seed on the disk that carries the root: a loop device over a part of one is none.
const AGENT_UNIT: &str =
    "[Service]\nExecStart=\nExecStart=/usr/bin/rackwright-agent serve --seed /run/host-seed\n";

/// What lies in the seed's partition of a disk.
fn seed(disk: &Path) -> std::io::Result<Vec<u8>> {
    let partition = gpt::partition(disk, "rackwright-seed")?;
    let mut bytes = vec![0; usize::try_from(partition.bytes).map_err(std::io::Error::other)?];
    std::fs::File::open(disk)?.read_exact_at(&mut bytes, partition.offset)?;
    Ok(bytes)
}

impl Host {
    /// Makes its namespace and plugs it in.
    pub(super) fn make(name: &str, legs: &[Leg<'_>], place: Place) -> Result<Host, HostError> {
        let Place { netns, dir, lifetime, ledger } = place;
        let host = Host { name: name.to_owned(), netns, dir, lifetime, ledger };
        {
            let mut ledger = host.ledger();
            ledger.namespaces.push(host.namespace());
            ledger.save()?;
        }
        host.netns.add_host(name).map_err(|source| host.failed(source))?;
        for leg in legs {
            host.netns.plug(name, leg.network, leg.interface).map_err(|source| host.failed(source))?;
            if let Some(address) = leg.address {
                host.run(&["ip", "address", "add", address, "dev", leg.interface])?;
            }
        }
        Ok(host)
    }

    /// Its network namespace.
    #[must_use]
    pub fn namespace(&self) -> String {
        self.netns.host(&self.name)
    }

    /// Makes it a router between its legs.
    ///
    /// # Errors
    /// `sysctl` said no.
    pub fn forward(&self) -> Result<(), HostError> {
        self.run(&["sysctl", "-q", "-w", "net.ipv4.ip_forward=1"]).map(drop)
    }

    /// Runs a command that has to succeed; returns its stdout.
    ///
    /// # Errors
    /// It did not.
    pub fn run(&self, argv: &[&str]) -> Result<String, HostError> {
        let tool = Tool::new("ip").args(["netns", "exec", &self.namespace()]).args(argv.iter().copied());
        tool.read().map_err(|source| self.failed(source))
    }

    /// Runs a command for at most `limit`, with `/var/lib` and `/run` of its own; any exit status is an answer.
    ///
    /// # Errors
    /// Not started, past `limit`, or interrupted.
    pub fn try_run(&self, argv: &[&str], limit: Duration) -> Result<Output, HostError> {
        let mut words = self.alone(argv).into_iter();
        let tool = words.next().map(Tool::new).unwrap_or_else(|| Tool::new(""));
        tool.args(words).deadline(limit).output().map_err(|source| self.failed(source))
    }

    /// Starts a program that stays until the [`Program`] is dropped. The output goes to a log of its own.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(&self, name: &str, argv: &[&str]) -> Result<Program, HostError> {
        let log = self.dir.join(format!("{}-{name}.log", self.name));
        let start = |source| HostError::Start { name: self.name.clone(), source };
        let process = Process::start(&self.alone(argv), &log, self.lifetime).map_err(start)?;
        let ledger = Arc::clone(&self.ledger);
        let program = Program { name: format!("{}-{name}", self.name), process, log, ledger };
        let identity = program.process.identity();
        self.ledger().set_process(&program.name, identity)?;
        Ok(program)
    }

    /// Boots a system in its namespace, from a copy of `template` that `prepare` may change first.
    ///
    /// # Errors
    /// It can't be copied, or does not come up.
    pub fn boot(
        &self,
        template: &Path,
        prepare: impl FnOnce(&Path) -> std::io::Result<()>,
    ) -> Result<Container, HostError> {
        let dir = self.dir.join(&self.name);
        let root = dir.join("root");
        std::fs::create_dir(&dir).map_err(|source| HostError::Prepare { path: dir.clone(), source })?;
        let copy = Tool::new("cp").args(["-a", "--reflink=auto"]).arg(template).arg(&root);
        copy.read().map_err(|source| self.failed(source))?;
        prepare(&root).map_err(|source| HostError::Prepare { path: root.clone(), source })?;
        let setup = container::Setup {
            name: self.namespace(),
            log: dir.join("console.log"),
            namespace: self.namespace(),
            disk: None,
            binds: Vec::new(),
            shares: Vec::new(),
            lifetime: self.lifetime,
            root,
        };
        self.start_system(setup)
    }

    /// Boots what was written to a server's disk, by this machine's own kernel: the same files at its full speed, without what is the
    /// hardware's. The disk is written to. The seed, which lies beside the root, is a file to the agent.
    ///
    /// # Errors
    /// The disk is none of a node, or it does not come up.
    pub fn boot_disk(&self, disk: &Path) -> Result<Container, HostError> {
        let dir = self.dir.join(format!("{}-native", self.name));
        let at = |name: &str| dir.join(name);
        let prepare = |source| HostError::Prepare { path: dir.clone(), source };
        std::fs::create_dir_all(at("root")).map_err(prepare)?;
        let root = self.grow(disk)?;
        if !at("seed").exists() {
            std::fs::write(at("seed"), seed(disk).map_err(prepare)?).map_err(prepare)?;
        }
        std::fs::write(at("agent.conf"), AGENT_UNIT).map_err(prepare)?;
        // The clock is this machine's: chronyd may tell of it, and not turn it.
        std::fs::write(at("chrony"), "DAEMON_OPTS=\"-x\"\n").map_err(prepare)?;
        let setup = container::Setup {
            name: self.namespace(),
            log: at("console.log"),
            namespace: self.namespace(),
            disk: Some((disk.to_owned(), root)),
            binds: vec![
                (at("agent.conf"), "/etc/systemd/system/rackwright-agent.service.d/native.conf".into()),
                (at("chrony"), "/etc/default/chrony".into()),
            ],
            shares: vec![(at("seed"), SEED.into()), ("/dev/net/tun".into(), "/dev/net/tun".into())],
            lifetime: self.lifetime,
            root: at("root"),
        };
        self.start_system(setup)
    }

    /// The root gets all of its disk, as at the first boot of a real server, where udev and the kernel see to it; and it is mended, where
    /// the power was cut.
    fn grow(&self, disk: &Path) -> Result<Partition, HostError> {
        let shell = |script: &str, words: &[&str]| {
            let tool = Tool::new("sh").args(["-ec", script, "sh"]).arg(disk).args(words);
            tool.read().map_err(|source| self.failed(source))
        };
        let find = || gpt::partition(disk, ROOT);
        let prepare = |source| HostError::Prepare { path: disk.to_owned(), source };
        let before = find().map_err(prepare)?;
        let last = "number=$(sfdisk --dump \"$1\" | grep -c ^\"$1\")
            echo ', +' | sfdisk --quiet --no-reread --no-tell-kernel -N $number \"$1\"";
        shell(last, &[])?;
        let after = find().map_err(prepare)?;
        if after.bytes < before.bytes || after.offset != before.offset {
            return Err(prepare(std::io::Error::other(format!("{before:?} became {after:?}"))));
        }
        let fit = "loop=$(losetup --find --show --offset \"$2\" --sizelimit \"$3\" \"$1\")
            trap 'losetup --detach $loop' EXIT
            e2fsck -f -p $loop || [ $? = 1 ]
            resize2fs $loop";
        shell(fit, &[&after.offset.to_string(), &after.bytes.to_string()])?;
        Ok(after)
    }

    /// What the system that was booted from this disk has left in its seed, the key of its next deployment for one, is the disk's again.
    /// Until its next boot here the seed on the disk is the one that counts.
    ///
    /// # Errors
    /// It was never booted, or the disk can't be written.
    pub fn give_back_seed(&self, disk: &Path) -> Result<(), HostError> {
        let file = self.dir.join(format!("{}-native", self.name)).join("seed");
        let give = || {
            let partition = gpt::partition(disk, "rackwright-seed")?;
            let bytes = std::fs::read(&file)?;
            let disk = std::fs::File::options().write(true).open(disk)?;
            disk.write_all_at(&bytes, partition.offset)?;
            disk.sync_all()?;
            std::fs::remove_file(&file)
        };
        give().map_err(|source| HostError::Prepare { path: file.clone(), source })
    }

    fn start_system(&self, setup: container::Setup) -> Result<Container, HostError> {
        let mut container = Container::start(setup)?;
        self.ledger().set_process(&self.name, container.process().identity())?;
        container.wait_up()?;
        Ok(container)
    }

    /// `ip netns exec` gives it a mount namespace of its own already; what is mounted there nobody else sees.
    fn alone(&self, argv: &[&str]) -> Vec<OsString> {
        let mut words = Netns::exec(&self.namespace());
        let own = "for dir in /var/lib /run; do mount -t tmpfs tmpfs $dir || exit 1; done; exec \"$@\"";
        words.extend(["sh", "-c", own, "sh"].map(OsString::from));
        words.extend(argv.iter().map(OsString::from));
        words
    }

    fn failed(&self, source: ToolError) -> HostError {
        HostError::Command { name: self.name.clone(), source }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A program that runs on a host until this is dropped.
#[derive(Debug)]
pub struct Program {
    name: String,
    process: Process,
    log: PathBuf,
    ledger: Arc<Mutex<Ledger>>,
}

impl Program {
    /// What it printed so far.
    #[must_use]
    pub fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// That it still runs.
    ///
    /// # Errors
    /// It ended, with what it said last.
    pub fn check(&mut self) -> Result<(), HostError> {
        if self.process.ended().is_none() {
            return Ok(());
        }
        let said = self.said();
        let lines: Vec<&str> = said.lines().collect();
        let said = lines.get(lines.len().saturating_sub(5)..).unwrap_or_default().join("; ");
        Err(HostError::Ended { name: self.name.clone(), said })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.process.kill();
        let mut ledger = self.ledger.lock().unwrap_or_else(PoisonError::into_inner);
        // The rack may be down already; then its ledger is gone, and has to stay so.
        if ledger.run_dir().exists() {
            // A name too many in the ledger is looked for in vain, no more.
            let _ = ledger.set_process(&self.name, None);
        }
    }
}

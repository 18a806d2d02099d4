//! A systemd container in one of the rack's namespaces.
//!
//! Knows systemd-nspawn and how to get inside. Refuses to know what the container is for.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::cgroup::{self, Group};
use super::gpt::Partition;
use super::process::{Lifetime, Process, ProcessError};
use crate::interrupt::{self, Interrupted};
use crate::tool::{Output, TICK, Tool, ToolError};

/// Why a container could not be used.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// systemd-nspawn could not be started.
    #[error("starting the container {name}")]
    Start {
        /// Its machine name.
        name: String,
        /// Why not.
        source: ProcessError,
    },
    /// It ended, or systemd in it did not come up.
    #[error("the container {name} {what}; its console ends with:\n{tail}")]
    Failed {
        /// Its machine name.
        name: String,
        /// What it did or did not do.
        what: String,
        /// The end of its console.
        tail: String,
    },
    /// A command inside could not be run.
    #[error("running a command in the container")]
    Exec(#[from] ToolError),
    /// A stop was asked for.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
}

/// How a container is started.
#[derive(Debug, Clone)]
pub struct Setup {
    /// Its machine name.
    pub name: String,
    /// Its root file system; it is written to.
    pub root: PathBuf,
    /// A disk file whose partition is mounted there first, for the container alone; none: the files are there.
    pub disk: Option<(PathBuf, Partition)>,
    /// The network namespace it is in.
    pub namespace: String,
    /// Files and directories of ours it sees read only: (here, there).
    pub binds: Vec<(PathBuf, PathBuf)>,
    /// Those that it may write to.
    pub shares: Vec<(PathBuf, PathBuf)>,
    /// Gets its console.
    pub log: PathBuf,
    /// Whether it may outlive us.
    pub lifetime: Lifetime,
}

/// A booted container; dropping it kills it.
#[derive(Debug)]
pub struct Container {
    setup: Setup,
    nspawn: Process,
    leader: i32,
    /// After the process: it is removed when that is gone.
    _group: Group,
}

impl Container {
    /// Starts it. What it is must be written down before it is waited for: from here on it runs.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(setup: Setup) -> Result<Container, ContainerError> {
        let nspawn = Process::start(&argv(&setup), &setup.log, setup.lifetime)
            .map_err(|source| ContainerError::Start { name: setup.name.clone(), source })?;
        let group = Group::of(&setup.name);
        Ok(Container { setup, nspawn, leader: 0, _group: group })
    }

    /// Waits until its systemd is up to running commands.
    ///
    /// # Errors
    /// It ends, or needs longer than two minutes.
    pub fn wait_up(&mut self) -> Result<(), ContainerError> {
        let start = Instant::now();
        loop {
            interrupt::check()?;
            if let Some(status) = self.nspawn.ended() {
                return Err(self.failed(&format!("ended with {status}")));
            }
            let leader = self.nspawn.identity().and_then(|outer| leader_of(outer.pid));
            if let Some(leader) = leader.filter(|&leader| awake(leader)) {
                self.leader = leader;
                return Ok(());
            }
            if start.elapsed() > Duration::from_secs(120) {
                return Err(self.failed("did not come up in two minutes"));
            }
            thread::sleep(TICK);
        }
    }

    fn failed(&self, what: &str) -> ContainerError {
        let log = fs::read_to_string(&self.setup.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n");
        ContainerError::Failed { name: self.setup.name.clone(), what: what.to_owned(), tail }
    }

    /// Its init, as a pid of ours.
    #[must_use]
    pub fn leader(&self) -> i32 {
        self.leader
    }

    /// The outer process, for a ledger.
    #[must_use]
    pub fn process(&self) -> &Process {
        &self.nspawn
    }

    /// Runs `argv` inside, as its root; any exit status is an answer.
    ///
    /// # Errors
    /// Not started, past `limit`, or interrupted.
    pub fn exec(&self, argv: &[&str], limit: Duration) -> Result<Output, ToolError> {
        enter(self.leader, argv).deadline(limit).output()
    }

    /// Shuts it down in order; after `grace` it is killed.
    pub fn power_off(&mut self, grace: Duration) {
        // Refused or in vain: then the kill below is what happens.
        let _ =
            enter(self.leader, &["systemctl", "poweroff", "--no-block"]).cleaning().deadline(grace).output();
        if self.nspawn.wait(grace).is_none() {
            self.nspawn.kill();
        }
    }

    pub(super) fn leave(&mut self) {
        self.nspawn.leave();
    }
}

/// `argv` as a command inside the container whose init is `leader`.
#[must_use]
pub fn enter(leader: i32, argv: &[&str]) -> Tool {
    Tool::new("nsenter")
        .args(["-t", &leader.to_string(), "-m", "-u", "-i", "-n", "-p", "--"])
        .args([
            "env",
            "-i",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
        ])
        .args(["LANG=C.UTF-8", "TERM=dumb"])
        .args(argv.iter().copied())
}

/// The container's init, when the process `outer` is what [`Container::start`] started: outer is `unshare`, its child
/// is systemd-nspawn, and that one's child is pid 1 of a pid namespace.
#[must_use]
pub fn leader_of(outer: i32) -> Option<i32> {
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let all: Vec<Kin> =
        pids.filter_map(|pid| kin(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)).collect();
    leader_among(&all, outer)
}

/// What proc_pid_status(5) says about a process's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Kin {
    pid: i32,
    parent: i32,
    /// Its pid in its own, innermost pid namespace.
    inner: i32,
}

fn kin(status: &str) -> Option<Kin> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name));
    let number = |text: &str| text.trim().parse().ok();
    let inner = field("NSpid:")?.split_ascii_whitespace().last()?;
    Some(Kin { pid: number(field("Pid:")?)?, parent: number(field("PPid:")?)?, inner: number(inner)? })
}

fn leader_among(all: &[Kin], outer: i32) -> Option<i32> {
    let children = |parent: i32| all.iter().filter(move |kin| kin.parent == parent);
    children(outer).flat_map(|nspawn| children(nspawn.pid)).find(|kin| kin.inner == 1).map(|kin| kin.pid)
}

/// True when systemd in there listens: before that `systemctl` fails.
fn awake(leader: i32) -> bool {
    Path::new(&format!("/proc/{leader}/root/run/systemd/private")).exists()
        && Path::new(&format!("/proc/{leader}/root/run/dbus/system_bus_socket")).exists()
}

fn argv(setup: &Setup) -> Vec<OsString> {
    // In a pid namespace of its own: systemd-nspawn's init outlives a killed systemd-nspawn, but nothing outlives
    // the pid 1 of its namespace, and that one dies with unshare.
    let outer = ["unshare", "--pid", "--fork", "--kill-child=KILL", "--mount-proc", "--"];
    let mut words: Vec<OsString> = outer.map(OsString::from).into();
    words.extend(["sh", "-ec", cgroup::ENTER, "sh", &setup.name].map(OsString::from));
    if let Some((disk, partition)) = &setup.disk {
        // unshare has made a mount namespace too: the mount, and the loop device below it, end with the container.
        let mount = "mount -t ext4 -o \"$1\" \"$2\" \"$3\" && shift 3 && exec \"$@\"";
        let options = format!("loop,offset={},sizelimit={}", partition.offset, partition.bytes);
        words.extend(["sh", "-ec", mount, "sh", &options].map(OsString::from));
        words.extend([disk.clone().into(), setup.root.clone().into()]);
    }
    words.extend(
        ["env", "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=network"]
            .map(OsString::from),
    );
    words.extend(["systemd-nspawn", "-q", "-b", "--keep-unit", "--register=no"].map(OsString::from));
    words.extend(["--capability=all", "--resolv-conf=off", "--console=pipe", "-D"].map(OsString::from));
    words.push(setup.root.clone().into());
    words.push(format!("--machine={}", setup.name).into());
    words.push(format!("--network-namespace-path=/run/netns/{}", setup.namespace).into());
    if setup.disk.is_some() {
        // What the programs of a node ask of the kernel of a whole machine.
        words.push("--system-call-filter=@module @raw-io bpf keyctl add_key perf_event_open".into());
    }
    for (here, there) in &setup.binds {
        words.push(format!("--bind-ro={}:{}", here.display(), there.display()).into());
    }
    for (here, there) in &setup.shares {
        words.push(format!("--bind={}:{}", here.display(), there.display()).into());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_is_the_init_two_generations_down() {
        let read = |pid: i32, parent: i32, nspid: &str| {
            kin(&format!("Name:\tsystemd\nPid:\t{pid}\nPPid:\t{parent}\nNSpid:\t{nspid}\n")).unwrap()
        };
        let unshare = read(7, 1, "7");
        let nspawn = read(8, 7, "8\t1");
        let init = read(9, 8, "9\t3\t1");
        let journald = read(10, 9, "10\t24\t22");
        let all = [journald, init, nspawn, unshare];
        assert_eq!(leader_among(&all, 7), Some(9));
        assert_eq!(leader_among(&all, 8), None);
        assert_eq!(leader_among(&[unshare, nspawn], 7), None);
        for bad in ["", "Pid:\t1\n", "Pid:\t1\nPPid:\tx\nNSpid:\t1\n", "Pid:\t1\nPPid:\t0\nNSpid:\n"] {
            assert_eq!(kin(bad), None, "{bad:?}");
        }
    }
}

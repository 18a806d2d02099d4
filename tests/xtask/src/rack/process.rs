//! Long-lived children: QEMU machines and the controller's container.
//!
//! Knows pids, start times and how to end exactly the process it started. Refuses to kill by name, and to kill
//! a pid that has meanwhile become somebody else (its start time differs).

use std::ffi::OsString;
use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::tool::TICK;

/// Why a long-lived child could not be started or looked at.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// Its output file could not be made.
    #[error("creating {}", path.display())]
    Log {
        /// The output file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It could not be started.
    #[error("starting {program}")]
    Start {
        /// argv\[0\].
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A process that can't be mistaken for a later one with the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Its pid, in our pid namespace.
    pub pid: i32,
    /// Field 22 of `/proc/PID/stat`: clock ticks after boot (proc_pid_stat(5)).
    pub started: u64,
}

impl Identity {
    /// The process `pid` as it is now; `None` when there is none (or only its zombie).
    #[must_use]
    pub fn of(pid: i32) -> Option<Identity> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (state, started) = parse_stat(&stat)?;
        (state != 'Z').then_some(Identity { pid, started })
    }

    /// Ourselves.
    #[must_use]
    pub fn me() -> Option<Identity> {
        Identity::of(i32::try_from(std::process::id()).ok()?)
    }

    /// True while exactly this process runs.
    #[must_use]
    pub fn alive(self) -> bool {
        Identity::of(self.pid) == Some(self)
    }

    /// Sends `signal` if it still is that process. Gone is fine: that is what was wanted.
    pub fn signal(self, signal: Signal) {
        if self.alive()
            && let Some(pid) = Pid::from_raw(self.pid)
        {
            let _ = kill_process(pid, signal);
        }
    }
}

/// State letter and start time out of `/proc/PID/stat`; the command name in it may hold blanks and brackets.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.parse().ok()?))
}

/// A child with its output in a file. Dropping it kills it, unless it was [`Process::leave`]d.
#[derive(Debug)]
pub struct Process {
    child: Child,
    identity: Option<Identity>,
    leave: bool,
}

/// Whether a child may outlive us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// The kernel kills it when the thread which started it dies, whatever the reason (PR_SET_PDEATHSIG).
    WithUs,
    /// It may be left running (`--keep`); until [`Process::leave`], dropping still kills it.
    MayStay,
}

impl Process {
    /// Starts `argv` in its own process group (a Ctrl-C on the terminal reaches us, not it), stdin closed,
    /// stdout and stderr appended to `log`. Call it from a thread that lives as long as the child should.
    ///
    /// # Errors
    /// The log can't be opened or the program can't be started.
    pub fn start(argv: &[OsString], log: &Path, lifetime: Lifetime) -> Result<Process, ProcessError> {
        let at = |source| ProcessError::Log { path: log.to_path_buf(), source };
        let out = File::options().create(true).append(true).open(log).map_err(at)?;
        let err = out.try_clone().map_err(at)?;
        let mut command = match lifetime {
            Lifetime::WithUs => {
                let mut command = Command::new("setpriv");
                command.args(["--pdeathsig", "KILL", "--"]).args(argv);
                command
            }
            Lifetime::MayStay => {
                let mut words = argv.iter();
                let mut command = Command::new(words.next().cloned().unwrap_or_default());
                command.args(words);
                command
            }
        };
        command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        let program = argv.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
        let child = command.spawn().map_err(|source| ProcessError::Start { program, source })?;
        let identity = i32::try_from(child.id()).ok().and_then(Identity::of);
        Ok(Process { child, identity, leave: false })
    }

    /// Who it is; `None` when it ended before we could look.
    #[must_use]
    pub fn identity(&self) -> Option<Identity> {
        self.identity
    }

    /// The most memory that it ever had, in MiB (`VmHWM`, proc_pid_status(5)); `None` when it is gone.
    #[must_use]
    pub fn peak_mib(&self) -> Option<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.identity?.pid)).ok()?;
        let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kib: f64 = kib.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kib / 1024.0)
    }

    /// How it ended, or `None` while it runs.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits up to `limit` for it to end by itself.
    pub fn wait(&mut self, limit: Duration) -> Option<ExitStatus> {
        let start = Instant::now();
        loop {
            let ended = self.ended();
            if ended.is_some() || start.elapsed() > limit {
                return ended;
            }
            thread::sleep(TICK);
        }
    }

    /// Kills it (SIGKILL) and reaps it.
    pub fn kill(&mut self) {
        // Both fail only when it is gone, which is the aim.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// From now on dropping leaves it running.
    pub fn leave(&mut self) {
        self.leave = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.leave {
            self.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_lines_from_the_field() {
        // proc_pid_stat(5): the second field is the name, in brackets, with anything in it.
        let plain = "7 (init) S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 88";
        let nasty = "7 (a) b (c) R 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99 88";
        assert_eq!(parse_stat(plain), Some(('S', 12345)));
        assert_eq!(parse_stat(nasty), Some(('R', 12345)));
        for text in
            ["", "7", "7 (init", "7 (init) S 1 2", "7 (init) S 1 7 7 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 x"]
        {
            assert_eq!(parse_stat(text), None, "{text:?}");
        }
    }

    #[test]
    fn dropping_kills_and_a_reused_pid_is_somebody_else() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["sleep".into(), "1000".into()];
        let process = Process::start(&argv, &dir.path().join("log"), Lifetime::MayStay).unwrap();
        let identity = process.identity().unwrap();
        assert!(identity.alive());
        assert!(!Identity { started: identity.started + 1, ..identity }.alive());
        drop(process);
        assert!(!identity.alive());
    }
}

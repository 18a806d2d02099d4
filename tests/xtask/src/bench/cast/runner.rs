//! A program of a run, with its children.

use std::error::Error;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitStatus;
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::cost::Cpu;
use super::run::{LOOK, SERVERS};
use crate::rack::process::{Lifetime, Process};

/// A program with its children, and what it costs.
pub(super) struct Runner {
    process: Process,
    pid: Option<Pid>,
    status: Option<ExitStatus>,
    /// What it had spent when it began to count, and since then, once it has ended.
    before: Cpu,
    cpu: Cpu,
}

impl Runner {
    pub(super) fn start(argv: &[OsString], log: &Path) -> Result<Runner, Box<dyn Error>> {
        let process = Process::start(argv, log, Lifetime::WithUs)?;
        let pid = process.identity().and_then(|identity| Pid::from_raw(identity.pid));
        Ok(Runner { process, pid, status: None, before: Cpu::default(), cpu: Cpu::default() })
    }

    /// What it has spent so far was to be ready.
    pub(super) fn count_from_now(&mut self) {
        self.before = self.pid.and_then(Cpu::of).unwrap_or_default();
    }

    /// Whether it has ended. Its cost is read before it is reaped: afterwards nobody knows it.
    pub(super) fn ended(&mut self) -> bool {
        if self.status.is_some() {
            return true;
        }
        let Some(pid) = self.pid else {
            self.status = self.process.ended();
            return self.status.is_some();
        };
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        match waitid(WaitId::Pid(pid), look) {
            Ok(None) => false,
            Ok(Some(_)) | Err(_) => {
                self.cpu = Cpu::of(pid).map_or(Cpu::default(), |spent| spent - self.before);
                self.status = self.process.ended();
                self.status.is_some()
            }
        }
    }

    pub(super) fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Signals it and its children.
    pub(super) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid.filter(|_| self.status.is_none()) {
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Waits for its end, which was asked for, and enforces it; what it has spent.
    pub(super) fn end(&mut self) -> Cpu {
        let start = Instant::now();
        while !self.ended() && start.elapsed() < SERVERS {
            thread::sleep(LOOK);
        }
        if !self.ended() {
            self.signal(Signal::KILL);
            self.process.kill();
        }
        self.cpu
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_is_known_after_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let work = "n=0; while [ $n -lt 100000 ]; do n=$((n+1)); done";
        let argv = ["sh", "-c", work].map(OsString::from);
        let mut runner = Runner::start(&argv, &dir.path().join("log")).unwrap();
        let cost = runner.end();
        assert!(cost.user > 0.0 && runner.succeeded(), "{cost:?}");
    }
}

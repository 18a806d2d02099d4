//! One run: starts the programs, watches the clock, lets things happen, and ends everything.
//!
//! Knows processes and moments. Refuses to fail because a peer does: what never arrives is an outcome, and is killed.

use std::error::Error;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::lab::Lab;
use super::peer::{Arrival, First, Outcome, Peer, Stage};
use super::scenario::{Event, Scenario, VICTIM};
use crate::interrupt;
use crate::rack::process::{Lifetime, Process};

/// A run gets so many times its limit, and nothing after that.
pub(super) const PATIENCE: f64 = 10.0;
/// What it gets at least: some need seconds before the first byte.
const PATIENCE_MIN: f64 = 15.0;
/// How often we look: what a figure may be wrong by.
const LOOK: Duration = Duration::from_millis(5);
/// How long servers get to end by themselves, and to begin to listen.
const SERVERS: Duration = Duration::from_secs(10);
/// How long receivers get until they wait for a sender: they have joined their groups by then.
const SETTLE: Duration = Duration::from_secs(1);
/// Clock ticks of `/proc/PID/stat`: always 100 for user space on Linux (proc(5), `USER_HZ`).
const TICKS: f64 = 100.0;

/// Runs a peer once, to the end or to the deadline.
///
/// # Errors
/// The laboratory fails, or an interrupt. That the peer fails is an outcome.
pub(super) fn run(
    peer: &dyn Peer,
    lab: &Lab,
    stage: &Stage<'_>,
    scenario: &Scenario,
) -> Result<Outcome, Box<dyn Error>> {
    stage.clear()?;
    peer.prepare(stage)?;
    let mut race = Race::new(peer, lab, stage, scenario)?;
    if scenario.event == Event::SlowLink {
        lab.slow(VICTIM, 10)?;
    }
    if peer.first() == First::Receivers {
        race.start_receivers()?;
        thread::sleep(SETTLE);
    } else {
        race.start_controller()?;
        race.wait_for_servers()?;
    }
    let before = lab.traffic()?;
    let start = Instant::now();
    if peer.first() == First::Receivers {
        race.start_controller()?;
    } else {
        race.start_receivers()?;
    }
    let finished = race.watch(start)?;
    let took = start.elapsed().as_secs_f64();
    let after = lab.traffic()?;
    let (controller_cpu, receivers_cpu) = race.end();
    let mut outcome = Outcome {
        seconds: race.seconds.clone(),
        sent: after.sent_since(&before),
        overheard: after.overheard_since(&before),
        took,
        controller_cpu,
        receivers_cpu,
        wrong: 0,
        finished,
    };
    for (receiver, seconds) in (1_u16..).zip(&mut outcome.seconds) {
        if seconds.is_some() && !stage.is_whole(receiver) {
            *seconds = None;
            outcome.wrong += 1;
            outcome.finished = false;
        }
    }
    Ok(outcome)
}

/// The programs of a run, and what came of them.
struct Race<'a> {
    peer: &'a dyn Peer,
    lab: &'a Lab,
    stage: &'a Stage<'a>,
    scenario: &'a Scenario,
    logs: PathBuf,
    controller: Vec<Runner>,
    receivers: Vec<Option<Runner>>,
    seconds: Vec<Option<f64>>,
    /// When the victim came, after the start of the clock.
    joined: f64,
    /// Processor seconds at the controller of programs that have been replaced.
    spent: f64,
    happened: bool,
}

impl<'a> Race<'a> {
    fn new(
        peer: &'a dyn Peer,
        lab: &'a Lab,
        stage: &'a Stage<'a>,
        scenario: &'a Scenario,
    ) -> io::Result<Race<'a>> {
        let logs = stage.dir.join("logs").join(peer.name().replace(' ', "-"));
        fs::create_dir_all(&logs)?;
        for entry in fs::read_dir(&logs)? {
            fs::remove_file(entry?.path())?;
        }
        let count = usize::from(lab.receivers());
        Ok(Race {
            peer,
            lab,
            stage,
            scenario,
            logs,
            controller: Vec::new(),
            receivers: (0..count).map(|_| None).collect(),
            seconds: vec![None; count],
            joined: 0.0,
            spent: 0.0,
            happened: false,
        })
    }

    fn start_controller(&mut self) -> Result<(), Box<dyn Error>> {
        for (number, argv) in self.peer.controller(self.stage).iter().enumerate() {
            let log = self.logs.join(format!("controller{number}"));
            self.controller.push(Runner::start(&self.lab.at_controller(argv), &log)?);
        }
        Ok(())
    }

    fn start_receivers(&mut self) -> Result<(), Box<dyn Error>> {
        for receiver in 1..=self.lab.receivers() {
            if !(matches!(self.scenario.event, Event::Joins(_)) && receiver == VICTIM) {
                self.start_receiver(receiver)?;
            }
        }
        Ok(())
    }

    fn start_receiver(&mut self, receiver: u16) -> Result<(), Box<dyn Error>> {
        let argv = self.peer.receiver(self.stage, receiver);
        let log = self.logs.join(format!("receiver{receiver}"));
        let runner = Runner::start(&self.lab.at_receiver(receiver, &argv), &log)?;
        if let Some(place) = self.receivers.get_mut(usize::from(receiver) - 1) {
            *place = Some(runner);
        }
        Ok(())
    }

    /// Waits until the servers listen.
    fn wait_for_servers(&self) -> Result<(), Box<dyn Error>> {
        let First::Servers(ports) = self.peer.first() else { return Ok(()) };
        let start = Instant::now();
        while start.elapsed() < SERVERS {
            interrupt::check()?;
            let said = self.lab.ask_controller("ss -Hlnt")?.stdout;
            let listens =
                |port: &u16| said.split_whitespace().any(|word| word.ends_with(&format!(":{port}")));
            if ports.iter().all(listens) {
                return Ok(());
            }
            thread::sleep(LOOK);
        }
        Err(format!("{} does not listen; see {}", self.peer.name(), self.logs.display()).into())
    }

    /// Until all have it for whom the run waits: true. Until the deadline, or nobody is left who could bring it: false.
    fn watch(&mut self, start: Instant) -> Result<bool, Box<dyn Error>> {
        let deadline = (PATIENCE * self.stage.limit).max(PATIENCE_MIN);
        let mut alone = None;
        loop {
            interrupt::check()?;
            let now = start.elapsed().as_secs_f64();
            self.happen(now)?;
            self.look(now);
            if self.all_have_it() {
                return Ok(true);
            }
            if now > deadline {
                return Ok(false);
            }
            // What nobody sends any more does not come.
            if self.controller.iter_mut().all(Runner::ended) {
                let since = *alone.get_or_insert(now);
                if now - since > self.stage.limit.max(3.0) {
                    return Ok(false);
                }
            } else {
                alone = None;
            }
            thread::sleep(LOOK);
        }
    }

    /// Notes who has it.
    fn look(&mut self, now: f64) {
        for ((receiver, runner), seconds) in (1_u16..).zip(&mut self.receivers).zip(&mut self.seconds) {
            let Some(runner) = runner.as_mut().filter(|_| seconds.is_none()) else { continue };
            let has_it = match self.peer.arrival(self.stage, receiver) {
                Arrival::Exit => runner.ended() && runner.succeeded(),
                Arrival::File(path) => path.exists(),
            };
            if has_it {
                let from =
                    if matches!(self.scenario.event, Event::Joins(_)) && receiver == VICTIM { self.joined } else { 0.0 };
                *seconds = Some(now - from);
            }
        }
    }

    fn all_have_it(&self) -> bool {
        let numbered = (1_u16..).zip(&self.seconds);
        numbered.filter(|(receiver, _)| self.scenario.waits_for(*receiver)).all(|(_, seconds)| seconds.is_some())
    }

    /// Lets happen what is due.
    fn happen(&mut self, now: f64) -> Result<(), Box<dyn Error>> {
        let due = match self.scenario.event {
            Event::Joins(percent) => f64::from(percent) / 100.0,
            Event::Killed | Event::LinkDown | Event::Stopped | Event::Restart => 0.5,
            Event::None | Event::SlowDisk | Event::SlowLink => return Ok(()),
        };
        if self.happened || now < due * self.stage.limit {
            return Ok(());
        }
        self.happened = true;
        let victim = self.receivers.first().and_then(Option::as_ref);
        match self.scenario.event {
            Event::Joins(_) => {
                self.joined = now;
                self.start_receiver(VICTIM)?;
            }
            Event::Killed => victim.into_iter().for_each(|victim| victim.signal(Signal::KILL)),
            Event::Stopped => victim.into_iter().for_each(|victim| victim.signal(Signal::STOP)),
            Event::LinkDown => self.lab.plug(VICTIM, false)?,
            Event::Restart => {
                for mut runner in self.controller.drain(..) {
                    runner.signal(Signal::KILL);
                    self.spent += runner.end();
                }
                self.start_controller()?;
            }
            Event::None | Event::SlowDisk | Event::SlowLink => {}
        }
        Ok(())
    }

    /// Ends all programs; the processor seconds at the controller, and of all receivers.
    fn end(&mut self) -> (f64, f64) {
        let receivers = self.receivers.iter().flatten();
        for runner in self.controller.iter().chain(receivers) {
            runner.signal(Signal::CONT);
            runner.signal(Signal::TERM);
        }
        let controller = self.controller.iter_mut().map(Runner::end).sum::<f64>();
        (self.spent + controller, self.receivers.iter_mut().flatten().map(Runner::end).sum())
    }
}

/// A program with its children, and what it costs.
struct Runner {
    process: Process,
    pid: Option<Pid>,
    status: Option<ExitStatus>,
    /// Processor seconds, once it has ended.
    cpu: f64,
}

impl Runner {
    fn start(argv: &[std::ffi::OsString], log: &std::path::Path) -> Result<Runner, Box<dyn Error>> {
        let process = Process::start(argv, log, Lifetime::WithUs)?;
        let pid = process.identity().and_then(|identity| Pid::from_raw(identity.pid));
        Ok(Runner { process, pid, status: None, cpu: 0.0 })
    }

    /// Whether it has ended. Its cost is read before it is reaped: afterwards nobody knows it.
    fn ended(&mut self) -> bool {
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
                self.cpu = cpu_seconds(pid).unwrap_or_default();
                self.status = self.process.ended();
                self.status.is_some()
            }
        }
    }

    fn succeeded(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// Signals it and its children.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid.filter(|_| self.status.is_none()) {
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Waits for its end, which was asked for, and enforces it; what it has cost.
    fn end(&mut self) -> f64 {
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

/// What a process and the children that it has waited for have taken of a processor: fields 14 to 17 of
/// proc_pid_stat(5).
fn cpu_seconds(pid: Pid) -> Option<f64> {
    parse_cpu(&fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?)
}

fn parse_cpu(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<f64> =
        rest.split_ascii_whitespace().skip(11).take(4).map_while(|field| field.parse().ok()).collect();
    (fields.len() == 4).then(|| fields.iter().sum::<f64>() / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_costs_with_its_children() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 100 50 30 20 20 0 1 0 12345 99 88";
        assert_eq!(parse_cpu(stat), Some(2.0));
        assert_eq!(parse_cpu("7 (a) S 1 7 7 0 -1 4194560 1 2 3 4 100 50 x 20"), None);
        assert_eq!(parse_cpu("7"), None);
    }

    #[test]
    fn the_cost_is_known_after_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let work = "n=0; while [ $n -lt 100000 ]; do n=$((n+1)); done";
        let argv = ["sh", "-c", work].map(std::ffi::OsString::from);
        let mut runner = Runner::start(&argv, &dir.path().join("log")).unwrap();
        let cost = runner.end();
        assert!(cost > 0.0 && runner.succeeded(), "{cost}");
    }
}

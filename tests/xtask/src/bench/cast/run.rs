//! One run: starts the programs, watches the clock, lets things happen, and ends everything.
//!
//! Knows processes and moments. Refuses to fail because a peer does: what never arrives is an outcome, and is killed.

use std::error::Error;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Add;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::cost::{Cpu, Machine};
use super::lab::Lab;
use super::peer::{Arrival, First, Outcome, Peer, Stage};
use super::runner::Runner;
use super::scenario::{Event, Lan, Scenario, VICTIM};
use crate::interrupt;

/// A run gets so many times its limit, and nothing after that.
pub(super) const PATIENCE: f64 = 10.0;
/// What it gets at least: some need seconds before the first byte.
const PATIENCE_MIN: f64 = 15.0;
/// How often we look: what a figure may be wrong by.
pub(super) const LOOK: Duration = Duration::from_millis(5);
/// How long servers get to end by themselves, and to begin to listen.
pub(super) const SERVERS: Duration = Duration::from_secs(10);
/// How long receivers get until they wait for a sender or a job: each of them is a program that has to start.
const SETTLE: Duration = Duration::from_secs(2);
/// How long they wait where something is found out meanwhile: booted nodes wait for longer.
const WAITING: Duration = Duration::from_secs(15);

/// Runs a peer once, to the end or to the deadline. What is to happen in the middle of it waits for `fixed`, the seconds of
/// its fixed start.
///
/// # Errors
/// The laboratory fails, or an interrupt. That the peer fails is an outcome.
pub(super) fn run(
    peer: &dyn Peer,
    lab: &Lab,
    stage: &Stage<'_>,
    scenario: &Scenario,
    fixed: f64,
) -> Result<Outcome, Box<dyn Error>> {
    stage.clear()?;
    if scenario.event == Event::Rebuild {
        stage.fill_but_for_one_in_a_hundred()?;
    }
    peer.prepare(stage)?;
    let mut race = Race { fixed, ..Race::new(peer, lab, stage, scenario)? };
    if scenario.event == Event::SlowLink {
        lab.slow(VICTIM, 10)?;
    }
    let first = peer.first(stage);
    match &first {
        First::Receivers => race.start_receivers()?,
        First::Servers(ports) => race.start_servers(ports)?,
        First::Job(ports, go) => {
            if go.exists() {
                fs::remove_file(go)?;
            }
            race.start_servers(ports)?;
            race.start_receivers()?;
        }
    }
    match &first {
        First::Servers(_) => {}
        First::Job(..) if matches!(scenario.lan, Lan::Flooding | Lan::Blocked) => thread::sleep(WAITING),
        First::Receivers | First::Job(..) => thread::sleep(SETTLE),
    }
    race.count_from_now();
    let before = (lab.traffic()?, Machine::now()?);
    let start = Instant::now();
    match &first {
        First::Receivers => race.start_controller()?,
        First::Servers(_) => race.start_receivers()?,
        First::Job(_, go) => fs::write(go, [])?,
    }
    let finished = race.watch(start)?;
    let took = start.elapsed().as_secs_f64();
    let after = (lab.traffic()?, Machine::now()?);
    let (controller, receivers) = race.end();
    let machine = after.1.since(&before.1);
    let mut outcome = Outcome {
        seconds: race.seconds.clone(),
        sent: after.0.sent_since(&before.0),
        overheard: after.0.overheard_since(&before.0),
        took,
        controller,
        receivers,
        idle: machine.idle_share(),
        foreign: machine.foreign_share(controller.user + receivers.user),
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
    fixed: f64,
    logs: PathBuf,
    controller: Vec<Runner>,
    receivers: Vec<Option<Runner>>,
    seconds: Vec<Option<f64>>,
    /// When the victim came, after the start of the clock.
    joined: f64,
    /// Processor seconds at the controller of programs that have been replaced.
    spent: Cpu,
    happened: bool,
}

/// The words of a receiver's command: the controller has a machine of its own, and does not wait for receivers there.
fn behind_the_controller(argv: Vec<OsString>) -> Vec<OsString> {
    ["nice", "-n", "10"].map(OsString::from).into_iter().chain(argv).collect()
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
            fixed: 0.0,
            logs,
            controller: Vec::new(),
            receivers: (0..count).map(|_| None).collect(),
            seconds: vec![None; count],
            joined: 0.0,
            spent: Cpu::default(),
            happened: false,
        })
    }

    fn start_controller(&mut self) -> Result<(), Box<dyn Error>> {
        for (number, argv) in self.peer.controller(self.stage).iter().enumerate() {
            let log = self.logs.join(format!("controller{number}"));
            let argv = self.on_processor("0", argv);
            self.controller.push(Runner::start(&self.lab.at_controller(&argv), &log)?);
        }
        Ok(())
    }

    /// What programs did to be ready is not counted.
    fn count_from_now(&mut self) {
        let waiting = self.receivers.iter_mut().flatten();
        self.controller.iter_mut().chain(waiting).for_each(Runner::count_from_now);
    }

    /// The words of a command that runs on this processor only, where that matters.
    fn on_processor(&self, processor: &str, argv: &[OsString]) -> Vec<OsString> {
        let bound = ["taskset", "-c", processor].map(OsString::from);
        bound.into_iter().filter(|_| self.scenario.apart).chain(argv.iter().cloned()).collect()
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
        let argv = self.peer.receiver(self.stage, self.scenario, receiver);
        let argv = self.on_processor("1", &behind_the_controller(argv));
        let log = self.logs.join(format!("receiver{receiver}"));
        let runner = Runner::start(&self.lab.at_receiver(receiver, &argv), &log)?;
        if let Some(place) = self.receivers.get_mut(usize::from(receiver) - 1) {
            *place = Some(runner);
        }
        Ok(())
    }

    /// Starts the controller and waits until it listens on these ports.
    fn start_servers(&mut self, ports: &[u16]) -> Result<(), Box<dyn Error>> {
        self.start_controller()?;
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
        let deadline = self.fixed + (PATIENCE * self.stage.limit).max(PATIENCE_MIN);
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
                let from = if matches!(self.scenario.event, Event::Joins(_)) && receiver == VICTIM {
                    self.joined
                } else {
                    0.0
                };
                *seconds = Some(now - from);
            }
        }
    }

    fn all_have_it(&self) -> bool {
        let numbered = (1_u16..).zip(&self.seconds);
        numbered
            .filter(|(receiver, _)| self.scenario.waits_for(*receiver))
            .all(|(_, seconds)| seconds.is_some())
    }

    /// Lets happen what is due.
    fn happen(&mut self, now: f64) -> Result<(), Box<dyn Error>> {
        let due = match self.scenario.event {
            Event::Joins(percent) => f64::from(percent) / 100.0,
            Event::Killed | Event::LinkDown | Event::Stopped | Event::Restart => 0.5,
            Event::None | Event::SlowDisk | Event::SlowLink | Event::Rebuild => return Ok(()),
        };
        if self.happened || now < self.fixed + due * self.stage.limit {
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
                    self.spent = self.spent + runner.end();
                }
                self.start_controller()?;
            }
            Event::None | Event::SlowDisk | Event::SlowLink | Event::Rebuild => {}
        }
        Ok(())
    }

    /// Ends all programs; what was spent at the controller, and by all receivers.
    fn end(&mut self) -> (Cpu, Cpu) {
        let receivers = self.receivers.iter().flatten();
        for runner in self.controller.iter().chain(receivers) {
            runner.signal(Signal::CONT);
            runner.signal(Signal::TERM);
        }
        let controller = self.controller.iter_mut().map(Runner::end).fold(self.spent, Add::add);
        let receivers = self.receivers.iter_mut().flatten().map(Runner::end);
        (controller, receivers.fold(Cpu::default(), Add::add))
    }
}

//! Virtual time: the real sender, the real gatherers, and everything between them.

mod peers;

use std::collections::BTreeMap;
use std::rc::Rc;

use cast::groups::Groups;
use cast::plan::{self, Known, Planner};
use cast::sender::{Burst, Counters, Limits, Step, Verdict};
use cast::wire::{Beat, Data, Report};
use cast::{Micros, Sender};

use crate::network::{Port, WIRE_BYTES, all, nanos};
use crate::node::{Arrival, Node, Parcel, State};
use crate::story::{Fault, SECOND, Story};
use crate::watch::Watch;

/// How often a node's shell looks at the clock.
const TICK: Micros = Micros(5_000);
/// Who has heard nothing for so long while others may have, fetches.
const SILENCE: Micros = Micros(3_500_000);
/// Reports that come twice, of a million.
const REPEATED: u32 = 5_000;
/// Symbols in a packet on its way between two computers are looked at one by one when they are later than this.
const LATE: Micros = Micros(500);

#[derive(Debug)]
enum Event {
    Poll,
    /// A parcel, or a beat, is at a switch; it was sent from then on.
    Switch(usize, Micros, Result<Parcel, Beat>),
    Arrive(usize, u32, Arrival),
    Report(Box<Report>),
    Fetched(usize, u32, u32, u64),
    Given(usize, u32, peers::Gift),
    Tick,
    Join(usize),
    Fault(usize, Fault),
    Resume(usize, u32),
    Stop(Micros),
    Start,
}

/// The controller's life.
#[derive(Debug)]
struct Controller {
    session: u64,
    sender: Sender,
    watch: Watch,
    poll_at: Option<Micros>,
    planner: Planner,
    known: BTreeMap<plan::Node, Known>,
}

/// How a story ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ended {
    /// For each node, when it came, when it had everything and when that was written; in seconds. None: it is dead.
    pub nodes: Vec<Option<(f64, f64, f64)>>,
    /// For each node, whether it fetched everything from some moment on.
    pub pulls: Vec<bool>,
    /// Seconds the image takes on the wire.
    pub limit: f64,
    /// Symbols that were sent, and those the image has.
    pub sent: u64,
    /// Symbols of the image.
    pub symbols: u64,
    /// Bytes that were fetched from the controller.
    pub fetched: u64,
    /// Bytes that others gave.
    pub given: u64,
    /// Answers of others that were wrong, and were found to be.
    pub lies: u64,
    /// Reports that came.
    pub reports: u64,
    /// Events that were played.
    pub events: u64,
}

/// Everything.
#[derive(Debug)]
struct World {
    story: Story,
    groups: Groups,
    nodes: Vec<Node>,
    switches: Vec<Port>,
    controller: Option<Controller>,
    sessions: u64,
    events: BTreeMap<(Micros, u64), Event>,
    numbered: u64,
    now: Micros,
    /// When the uplink is free, and the lane of what is fetched; in nanoseconds.
    uplink: u64,
    lane: u64,
    ended: Ended,
}

/// Plays a story to its end.
///
/// # Panics
/// Something happened that must not, or it does not end.
#[must_use]
pub fn play(story: &Story) -> Ended {
    World::new(story.clone()).play()
}

impl World {
    fn new(story: Story) -> World {
        let groups = story.groups();
        let sizes: Rc<[u64]> = groups.iter().map(|(_, group)| u64::from(group.bytes)).collect();
        let numbered = (0_u64..).zip(&story.hosts);
        let node = |(number, host): (u64, &crate::story::Host)| {
            Node::new(host.clone(), story.seed, number, &groups, Rc::clone(&sizes), story.is_checked)
        };
        let nodes: Vec<Node> = numbered.map(node).collect();
        let switches = nodes.len().div_ceil(story.per_switch.max(1));
        let symbols = groups.iter().map(|(_, group)| u64::from(group.symbols)).sum();
        let ended = Ended {
            nodes: Vec::new(),
            pulls: Vec::new(),
            limit: story.limit(),
            sent: 0,
            symbols,
            fetched: 0,
            given: 0,
            lies: 0,
            reports: 0,
            events: 0,
        };
        World {
            switches: vec![Port::new(story.uplink.max(story.rate), 1 << 20); switches],
            groups,
            nodes,
            controller: None,
            sessions: 0,
            events: BTreeMap::new(),
            numbered: 0,
            now: Micros(0),
            uplink: 0,
            lane: 0,
            ended,
            story,
        }
    }

    fn play(mut self) -> Ended {
        self.begin();
        let horizon = self.horizon();
        while let Some(((at, _), event)) = self.events.pop_first() {
            assert!(at >= self.now, "time goes back");
            self.now = at;
            self.ended.events += 1;
            assert!(at < horizon, "it does not end: {}", self.unfinished());
            let is_tick = matches!(event, Event::Tick);
            self.happen(event);
            if is_tick && self.is_over() {
                break;
            }
        }
        self.end()
    }

    fn begin(&mut self) {
        self.at(Micros(0), Event::Start);
        self.at(Micros(0), Event::Tick);
        for number in 0..self.nodes.len() {
            let Some(host) = self.nodes.get(number).map(|node| node.host.clone()) else { continue };
            self.at(host.joins, Event::Join(number));
            host.faults.iter().for_each(|(when, fault)| self.at(*when, Event::Fault(number, *fault)));
        }
        for (when, lasts) in self.story.restarts.clone() {
            self.at(when, Event::Stop(lasts));
        }
    }

    fn at(&mut self, when: Micros, event: Event) {
        self.numbered += 1;
        self.events.insert((when, self.numbered), event);
    }

    /// Much later than it can take.
    fn horizon(&self) -> Micros {
        let hosts = self.story.hosts.iter();
        let faults = hosts.clone().flat_map(|host| &host.faults).map(|(when, _)| when.0).max().unwrap_or(0);
        let joins = hosts.clone().map(|host| host.joins.0).max().unwrap_or(0);
        let slowest = hosts.map(|host| host.disk.min(host.link)).min().unwrap_or(1).min(self.story.rate);
        let pulls = nanos(self.story.image * self.nodes.len() as u64, self.story.lane) / 1000;
        let writes = nanos(self.story.image, slowest) / 1000;
        let downs: u64 = self.story.restarts.iter().map(|(when, lasts)| when.0 + lasts.0).sum();
        Micros(60 * SECOND.0 + faults + joins + pulls * 2 + writes * 4 + downs)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Poll => self.poll(),
            Event::Switch(switch, begin, what) => self.switch(switch, begin, what),
            Event::Arrive(node, life, arrival) => self.arrive(node, life, arrival),
            Event::Report(report) => self.report(&report),
            Event::Fetched(node, life, group, session) => self.fetched(node, life, group, session),
            Event::Given(node, life, gift) => self.given(node, life, gift),
            Event::Tick => self.tick(),
            Event::Join(number) | Event::Resume(number, _) if self.is_dead(number) => {}
            Event::Join(number) => self.join(number),
            Event::Fault(number, fault) => self.fault(number, fault),
            Event::Resume(number, life) => self.resume(number, life),
            Event::Stop(lasts) => {
                self.leave_all();
                self.at(self.now.after(lasts), Event::Start);
            }
            Event::Start => self.start(),
        }
    }

    fn is_dead(&self, number: usize) -> bool {
        self.nodes.get(number).is_none_or(|node| node.state == State::Dead)
    }

    fn join(&mut self, number: usize) {
        if let Some(node) = self.nodes.get_mut(number) {
            node.state = State::Up;
            node.asks = self.now;
        }
        self.ask(number);
    }

    fn start(&mut self) {
        if self.controller.is_some() {
            return;
        }
        self.sessions += 1;
        let session = self.sessions * 1_000_003;
        let sender = Sender::new(&self.groups, session, Limits::of(self.story.rate));
        let watch = Watch::new(self.story.rate);
        let planner = Planner::new(self.story.image, self.story.image);
        let known = BTreeMap::new();
        self.controller = Some(Controller { session, sender, watch, poll_at: None, planner, known });
    }

    fn leave_all(&mut self) {
        if let Some(controller) = self.controller.take() {
            self.ended.sent += sent(&controller.sender.counters());
        }
        self.nodes.iter_mut().filter(|node| node.giver.is_none()).for_each(|node| node.pulling = None);
    }

    fn fault(&mut self, number: usize, fault: Fault) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.state == State::Up) else { return };
        match fault {
            Fault::Die => {
                node.state = State::Dead;
                node.stop();
            }
            Fault::Pause(lasts) => {
                node.state = State::Paused;
                let life = node.life;
                self.at(now.after(lasts), Event::Resume(number, life));
            }
            Fault::Down(lasts) => node.down_until = now.after(lasts),
            Fault::Reboot(lasts) => {
                node.stop();
                (node.state, node.pulls, node.pulling) = (State::Away, false, None);
                node.forget();
                node.life += 1;
                self.at(now.after(lasts), Event::Join(number));
            }
        }
    }

    fn resume(&mut self, number: usize, life: u32) {
        let now = self.now;
        if let Some(node) =
            self.nodes.get_mut(number).filter(|node| node.state == State::Paused && node.life == life)
        {
            node.resume(now);
        }
    }

    /// A node asks the controller where to listen, once a second.
    fn ask(&mut self, number: usize) {
        let now = self.now;
        let Some(node) =
            self.nodes.get_mut(number).filter(|node| node.state == State::Up && now >= node.asks)
        else {
            return;
        };
        node.asks = now.after(SECOND);
        let Some(controller) = self.controller.as_mut().filter(|_| now >= node.down_until) else { return };
        let slot = u32::try_from(number).unwrap_or(u32::MAX);
        let sender = &mut controller.sender;
        let is_here = node.session() == Some(controller.session);
        if is_here {
            let verdict = sender.receivers().find(|(known, _)| *known == slot).map(|(_, view)| view.verdict);
            let is_sent_away = !matches!(verdict, Some(Verdict::Keep));
            node.pulls |= is_sent_away || now.since(node.heard) > SILENCE;
            if node.pulls || node.complete.is_some() {
                sender.leave(slot);
                node.stop();
            }
        } else if !node.pulls && node.complete.is_none() {
            sender.join(slot, now);
            node.listen(&self.groups, controller.session, slot, now);
        }
        self.plan(number);
        self.look(number);
        self.poll();
    }

    fn poll(&mut self) {
        let now = self.now;
        loop {
            let Some(controller) = self.controller.as_mut() else { return };
            controller.watch.step(now);
            match controller.sender.poll(now) {
                Step::Send(burst) => self.send(&burst),
                Step::Beat(beat) => {
                    let begin = self.uplink_at(1);
                    self.multicast(begin, Err(beat));
                }
                Step::Wait(until) => {
                    let Some(until) = until else { return };
                    assert!(until > now, "the sender waits for the past");
                    if controller.poll_at.is_none_or(|at| at > until || at <= now) {
                        controller.poll_at = Some(until);
                        self.at(until, Event::Poll);
                    }
                    return;
                }
            }
        }
    }

    fn send(&mut self, burst: &Burst) {
        let (now, nodes) = (self.now, &mut self.nodes);
        let Some(controller) = self.controller.as_mut() else { return };
        let session = controller.session;
        if self.story.is_checked {
            for node in nodes.iter_mut() {
                node.relieved.drain(..).for_each(|group| controller.watch.relieve(group, now));
            }
            let is_needed = || {
                nodes.iter().any(|node| node.session() == Some(session) && node.lacks.contains(&burst.group))
            };
            controller.watch.burst(burst, &self.groups, is_needed, now);
        }
        let symbols = u32::from(burst.symbols.end - burst.symbols.start);
        let first = Data {
            session,
            group: burst.group,
            symbols: burst.of,
            symbol: burst.symbols.start,
            sequence: burst.sequence,
            asks: burst.asks,
        };
        let begin = self.uplink_at(u64::from(symbols));
        self.multicast(begin, Ok(Parcel { first, symbols }));
    }

    /// When the first of so many packets leaves the controller.
    fn uplink_at(&mut self, packets: u64) -> Micros {
        let begin = self.uplink.max(self.now.0 * 1000);
        self.uplink = begin + packets * nanos(WIRE_BYTES, self.story.uplink);
        Micros(begin / 1000)
    }

    fn multicast(&mut self, begin: Micros, what: Result<Parcel, Beat>) {
        let end = Micros(self.uplink.div_ceil(1000));
        for switch in 0..self.switches.len() {
            self.at(end, Event::Switch(switch, begin, what));
        }
    }

    fn switch(&mut self, switch: usize, begin: Micros, what: Result<Parcel, Beat>) {
        let (now, from) = (self.now, switch * self.story.per_switch);
        let Some(uplink) = self.switches.get_mut(switch) else { return };
        let (symbols, arrived, at) = match what {
            Ok(parcel) => {
                let (arrived, at) = uplink.pass(parcel.symbols, all(parcel.symbols), begin, now);
                (parcel.symbols, arrived, at)
            }
            Err(_) => (1, 1, now),
        };
        for number in from..(from + self.story.per_switch).min(self.nodes.len()) {
            let Some(node) = self.nodes.get_mut(number) else { break };
            if node.session().is_none() {
                continue;
            }
            let (passed, at) = node.port.pass(symbols, arrived, begin, at);
            let passed = passed & node.receives(symbols, now);
            let arrival = match what {
                Ok(parcel) => Arrival::Symbols(parcel, passed),
                Err(beat) => Arrival::Beat(beat),
            };
            let at = at.after(node.host.latency);
            let life = node.life;
            if passed == 0 {
                continue;
            }
            if at.since(now) > LATE {
                self.at(at, Event::Arrive(number, life, arrival));
            } else {
                self.arrive(number, life, arrival);
            }
        }
    }

    fn arrive(&mut self, number: usize, life: u32, arrival: Arrival) {
        let now = self.now;
        if let Some(node) = self.nodes.get_mut(number).filter(|node| node.life == life) {
            node.arrive(arrival, now);
            self.look(number);
        }
    }

    /// What a node's shell does whenever it is awake: reports and fetches that are due.
    fn look(&mut self, number: usize) {
        let (now, mut reports) = (self.now, Vec::new());
        let Some(node) = self.nodes.get_mut(number) else { return };
        node.reports(now, &mut reports);
        for report in reports {
            let Some(node) = self.nodes.get_mut(number) else { return };
            let is_lost = node.dice.happens(node.host.reports_lost) || now < node.down_until;
            let (comes, is_repeated) = (now.after(node.host.latency), node.dice.happens(REPEATED));
            if is_repeated && self.story.is_checked {
                self.at(comes.after(Micros(1_700)), Event::Report(Box::new(report.clone())));
            }
            if !is_lost {
                self.at(comes, Event::Report(Box::new(report)));
            }
        }
        self.fetch(number);
    }

    fn fetched(&mut self, number: usize, life: u32, group: u32, session: u64) {
        let now = self.now;
        let is_here = self.controller.as_ref().is_some_and(|controller| controller.session == session);
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.life == life) else { return };
        if !is_here || node.pulling != Some(group) {
            return;
        }
        node.pulling = None;
        if node.state == State::Up && now >= node.down_until {
            self.ended.fetched += node.size(group);
            node.fetched(group, now);
            self.look(number);
        }
    }

    fn report(&mut self, report: &Report) {
        let now = self.now;
        let Some(controller) = self.controller.as_mut() else { return };
        self.ended.reports += 1;
        let before = controller.sender.counters();
        let taken = controller.sender.report(report, now);
        let after = controller.sender.counters();
        assert_eq!(taken.is_ok(), after.reports == before.reports + 1);
        if report.session != controller.session {
            assert!(taken.is_err(), "a report of another session counts");
        }
        self.poll();
    }

    fn tick(&mut self) {
        for number in 0..self.nodes.len() {
            self.ask(number);
            self.look(number);
        }
        self.at(self.now.after(TICK), Event::Tick);
    }

    /// Everybody who lives has everything, and the sender knows it.
    fn is_over(&self) -> bool {
        let is_over = |node: &Node| match node.state {
            State::Dead => true,
            State::Up => node.complete.is_some(),
            State::Away | State::Paused => false,
        };
        let is_done = self.controller.as_ref().is_none_or(|controller| controller.sender.done());
        self.nodes.iter().all(is_over) && is_done
    }

    fn unfinished(&self) -> String {
        let lacking = self.nodes.iter().enumerate().filter(|(_, node)| node.complete.is_none());
        let told = lacking.map(|(number, node)| {
            format!("{number}: {:?}, lacks {}, pulls {}", node.state, node.lacks.len(), node.pulls)
        });
        told.collect::<Vec<_>>().join("; ")
    }

    fn end(mut self) -> Ended {
        if let Some(controller) = &self.controller {
            self.ended.sent += sent(&controller.sender.counters());
        }
        let seconds = |at: Micros| at.0 as f64 / 1e6;
        let node = |node: &Node| {
            let (complete, done) = (node.complete?, node.done()?);
            Some((seconds(node.host.joins), seconds(complete), seconds(done)))
        };
        self.ended.nodes = self.nodes.iter().map(node).collect();
        self.ended.pulls = self.nodes.iter().map(|node| node.pulls).collect();
        self.ended
    }
}

/// Symbols.
fn sent(counters: &Counters) -> u64 {
    counters.sent_bytes / cast::wire::DATA_BYTES as u64
}

impl Ended {
    /// When the last of these had everything, in seconds.
    #[must_use]
    pub fn last(&self, mut nodes: impl Iterator<Item = usize>) -> f64 {
        let complete =
            |number| self.nodes.get(number).copied().flatten().map_or(0.0, |(_, complete, _)| complete);
        nodes.try_fold(0.0, |last: f64, number| Some(last.max(complete(number)))).unwrap_or(0.0)
    }

    /// When the last of all had everything.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.last(0..self.nodes.len())
    }

    /// Symbols sent, of those the image has.
    #[must_use]
    pub fn redundancy(&self) -> f64 {
        self.sent as f64 / self.symbols as f64
    }
}

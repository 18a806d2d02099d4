//! A node: what its agent would do with the symbols that arrive.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use cast::Micros;
use cast::gather::{Gather, Heard, Limits};
use cast::groups::Groups;
use cast::wire::{Beat, Data, Report, SYMBOL_BYTES};

use crate::dice::Dice;
use crate::network::{Cable, Port, nanos};
use crate::story::Host;

/// Packets that a socket holds for a process that stands still.
const SOCKET: usize = 256;

/// Symbols of one group that were sent together, at most 64.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parcel {
    pub(crate) first: Data,
    pub(crate) symbols: u32,
}

/// What arrives.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Arrival {
    /// These of a parcel's symbols.
    Symbols(Parcel, u64),
    Beat(Beat),
}

/// Its part in a transmission.
#[derive(Debug)]
struct Listening {
    session: u64,
    gather: Gather,
    /// The symbols of each group that were kept: what the gatherer should know, known otherwise.
    kept: BTreeMap<u32, BTreeSet<u16>>,
}

/// How it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It has not come yet, or starts anew.
    Away,
    Up,
    Paused,
    Dead,
}

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: Host,
    pub(crate) state: State,
    pub(crate) port: Port,
    pub(crate) dice: Dice,
    pub(crate) down_until: Micros,
    /// Counts its lives: what was meant for an earlier one does not reach it.
    pub(crate) life: u32,
    /// It fetches everything that it lacks.
    pub(crate) pulls: bool,
    pub(crate) pulling: Option<u32>,
    /// Who gives it that; none: the controller.
    pub(crate) giver: Option<usize>,
    /// Whom it is to fetch from, those who gave it wrong bytes, and those it leaves alone for a while.
    pub(crate) sources: Vec<usize>,
    pub(crate) shunned: BTreeSet<usize>,
    pub(crate) rests: BTreeMap<usize, Micros>,
    /// Bytes that have come to it in this life.
    pub(crate) had: u64,
    /// When what it gives to others has left it, in nanoseconds.
    pub(crate) out: u64,
    pub(crate) heard: Micros,
    /// Groups it lacks.
    pub(crate) lacks: BTreeSet<u32>,
    /// Of these, those it fetches though it listens.
    apart: BTreeSet<u32>,
    cable: Cable,
    listening: Option<Listening>,
    inbox: Vec<Arrival>,
    spoilt: BTreeMap<u32, u32>,
    /// When its disk has written everything it has, in nanoseconds.
    written: u64,
    /// When it had everything.
    pub(crate) complete: Option<Micros>,
    is_checked: bool,
    sizes: Rc<[u64]>,
    /// Groups that it lacks no more, or not to be sent, since that was looked at.
    pub(crate) relieved: Vec<u32>,
    /// When it asks the controller next.
    pub(crate) asks: Micros,
}

impl Node {
    pub(crate) fn new(
        host: Host,
        seed: u64,
        number: u64,
        groups: &Groups,
        sizes: Rc<[u64]>,
        is_checked: bool,
    ) -> Node {
        let mut dice = Dice::new(seed, number + 1);
        let mut lacks: BTreeSet<u32> = groups.iter().map(|(number, _)| number).collect();
        lacks.retain(|_| !dice.happens(host.has));
        Node {
            state: State::Away,
            port: Port::new(host.link, host.queue),
            cable: Cable::new(host.loss, &mut dice),
            down_until: Micros(0),
            life: 0,
            pulls: false,
            pulling: None,
            giver: None,
            sources: Vec::new(),
            shunned: BTreeSet::new(),
            rests: BTreeMap::new(),
            had: 0,
            out: 0,
            heard: Micros(0),
            complete: if lacks.is_empty() { Some(host.joins) } else { None },
            lacks,
            apart: BTreeSet::new(),
            listening: None,
            inbox: Vec::new(),
            spoilt: BTreeMap::new(),
            written: 0,
            is_checked,
            sizes,
            relieved: Vec::new(),
            asks: Micros(0),
            host,
            dice,
        }
    }

    /// The transmission that it listens to.
    pub(crate) fn session(&self) -> Option<u64> {
        self.listening.as_ref().map(|listening| listening.session)
    }

    /// Listens from now on.
    pub(crate) fn listen(&mut self, groups: &Groups, session: u64, slot: u32, now: Micros) {
        let mut gather = Gather::new(groups, session, slot, Limits { open_bytes: self.host.open });
        self.lacks.difference(&self.apart).for_each(|group| gather.need(*group));
        self.listening = Some(Listening { session, gather, kept: BTreeMap::new() });
        self.heard = now;
    }

    /// Does not listen any more.
    pub(crate) fn stop(&mut self) {
        if self.listening.take().is_some() {
            self.relieved.extend(&self.lacks);
        }
        self.inbox.clear();
    }

    /// Which of the symbols that its switch has sent arrive.
    pub(crate) fn receives(&mut self, symbols: u32, now: Micros) -> u64 {
        let arrived = self.cable.carry(symbols, &mut self.dice);
        if self.host.is_deaf || now < self.down_until { 0 } else { arrived }
    }

    /// Something arrives.
    pub(crate) fn arrive(&mut self, arrival: Arrival, now: Micros) {
        match self.state {
            State::Up => self.take(arrival, now),
            State::Paused if self.inbox.len() < SOCKET => self.inbox.push(arrival),
            State::Paused | State::Away | State::Dead => {}
        }
    }

    /// Goes on after a pause.
    pub(crate) fn resume(&mut self, now: Micros) {
        self.state = State::Up;
        for arrival in std::mem::take(&mut self.inbox) {
            self.take(arrival, now);
        }
    }

    fn take(&mut self, arrival: Arrival, now: Micros) {
        let Some(listening) = self.listening.as_mut() else { return };
        listening.gather.tick(now);
        match arrival {
            Arrival::Beat(beat) => {
                listening.gather.beat(&beat);
                self.heard = now;
            }
            Arrival::Symbols(_, 0) => {}
            Arrival::Symbols(parcel, arrived) if !self.is_checked => {
                self.heard = now;
                let asks = parcel.first.asks && arrived & (1 << (parcel.symbols - 1)) != 0;
                let first = Data { asks, ..parcel.first };
                if let Heard::Complete(_) = listening.gather.burst(&first, arrived) {
                    self.whole(parcel.first.group, now);
                }
            }
            Arrival::Symbols(parcel, arrived) => {
                for at in (0..parcel.symbols).filter(|at| arrived & (1 << at) != 0) {
                    self.heard = now;
                    self.take_symbol(parcel, at, now);
                }
            }
        }
    }

    fn take_symbol(&mut self, parcel: Parcel, at: u32, now: Micros) {
        let Some(listening) = self.listening.as_mut() else { return };
        let first = parcel.first;
        let data = Data {
            symbol: first.symbol + u16::try_from(at).unwrap_or(0),
            sequence: first.sequence.wrapping_add(at),
            asks: first.asks && at + 1 == parcel.symbols,
            ..first
        };
        match listening.gather.data(&data) {
            Heard::Foreign | Heard::Useless => {}
            Heard::Kept => self.check_kept(&data, None),
            Heard::Complete(missing) => {
                self.check_kept(&data, Some(&missing));
                self.whole(data.group, now);
            }
        }
    }

    /// The gatherer keeps no symbol twice, and no group is complete without as many as it has.
    fn check_kept(&mut self, data: &Data, missing: Option<&[u16]>) {
        let Some(listening) = self.listening.as_mut().filter(|_| self.is_checked) else { return };
        let kept = listening.kept.entry(data.group).or_default();
        assert!(kept.insert(data.symbol), "group {}: symbol {} was kept twice", data.group, data.symbol);
        assert!(self.lacks.contains(&data.group), "group {} was complete before", data.group);
        assert_eq!(kept.len() == usize::from(data.symbols), missing.is_some(), "group {}", data.group);
        if let Some(missing) = missing {
            let not_here = (0..data.symbols).filter(|symbol| !kept.contains(symbol));
            assert!(not_here.eq(missing.iter().copied()), "group {}: others are missing", data.group);
            listening.kept.remove(&data.group);
        }
    }

    /// A group came whole: it may be spoilt, and there may be no room for it.
    fn whole(&mut self, group: u32, now: Micros) {
        let Some(listening) = self.listening.as_mut() else { return };
        if self.dice.happens(self.host.spoilt) {
            let times = self.spoilt.entry(group).or_default();
            *times += 1;
            if *times < 2 {
                listening.gather.spoilt(group);
            } else {
                self.set_apart(group);
            }
        } else if self.has_room(group, now) {
            self.have(group, now);
        } else {
            self.set_apart(group);
        }
    }

    fn set_apart(&mut self, group: u32) {
        self.apart.insert(group);
        self.relieved.push(group);
    }

    fn has_room(&self, group: u32, now: Micros) -> bool {
        let waiting = self.written.saturating_sub(now.0.saturating_mul(1000));
        let bytes = u128::from(waiting) * u128::from(self.host.disk) / 1_000_000_000;
        bytes == 0 || bytes + u128::from(self.size(group)) <= u128::from(self.host.spool)
    }

    fn have(&mut self, group: u32, now: Micros) {
        self.had += self.size(group);
        self.lacks.remove(&group);
        self.apart.remove(&group);
        self.relieved.push(group);
        self.written = self.written.max(now.0 * 1000) + nanos(self.size(group), self.host.disk);
        if self.lacks.is_empty() {
            self.complete = Some(now);
        }
    }

    /// It starts anew, and knows nobody.
    pub(crate) fn forget(&mut self) {
        (self.giver, self.had, self.out) = (None, 0, 0);
        self.sources.clear();
        self.shunned.clear();
        self.rests.clear();
    }

    /// Whether it fetches anything.
    pub(crate) fn fetches(&self) -> bool {
        self.pulls || !self.apart.is_empty()
    }

    /// A group that it fetched is there.
    pub(crate) fn fetched(&mut self, group: u32, now: Micros) {
        self.pulling = None;
        if !self.lacks.contains(&group) {
            return;
        }
        if let Some(listening) = self.listening.as_mut() {
            listening.gather.drop_need(group);
            listening.kept.remove(&group);
        }
        self.have(group, now);
    }

    /// What it would fetch next.
    pub(crate) fn to_fetch(&self, now: Micros) -> Option<u32> {
        if self.state != State::Up || self.pulling.is_some() {
            return None;
        }
        let from = if self.pulls { &self.lacks } else { &self.apart };
        from.first().copied().filter(|group| self.has_room(*group, now))
    }

    /// Its reports that are due.
    pub(crate) fn reports(&mut self, now: Micros, out: &mut Vec<Report>) {
        if self.state != State::Up {
            return;
        }
        if let Some(listening) = self.listening.as_mut() {
            while let Some(report) = listening.gather.report(now) {
                out.push(report);
            }
        }
    }

    /// When everything is written.
    pub(crate) fn done(&self) -> Option<Micros> {
        self.complete.map(|complete| complete.max(Micros(self.written / 1000)))
    }

    pub(crate) fn size(&self, group: u32) -> u64 {
        let at = usize::try_from(group).unwrap_or(usize::MAX);
        self.sizes.get(at).copied().unwrap_or(SYMBOL_BYTES as u64)
    }
}

//! The wires, and what the shells would do.

use std::collections::BTreeMap;

use cast::gather::{Gather, Heard, Limits as Room};
use cast::groups::Groups;
use cast::sender::{Burst, Limits, Step, Verdict};
use cast::wire::{Data, Report};
use cast::{Micros, Piece, Sender};

const SESSION: u64 = 77;
const PIECE: u32 = 400_000;
/// From port to port.
const LATENCY: Micros = Micros(200);
/// What a port of the switch holds, in microseconds of its own link.
const QUEUE: f64 = 5_000.0;
/// How often a shell looks.
const TICK: Micros = Micros(5_000);

#[derive(Debug, Clone, Copy)]
pub(crate) enum Fault {
    /// Its link has so much of the others' rate.
    Slow(f64),
    /// It is gone from a moment on.
    Dead(f64),
    /// Nothing of the transmission arrives.
    Deaf,
    /// Nothing of the transmission arrives between two moments.
    CutOff(f64, f64),
    /// It stands still for four seconds, from a moment on.
    Stopped(f64),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Wire {
    pub(crate) loss: f64,
    pub(crate) joins: f64,
    pub(crate) fault: Option<Fault>,
}

impl Wire {
    pub(crate) fn good() -> Wire {
        Wire { loss: 0.0, joins: 0.0, fault: None }
    }
}

pub(crate) struct Story {
    image: u64,
    rate: u64,
    pub(crate) wires: Vec<Wire>,
}

pub(crate) struct Ended {
    /// In seconds; of one that was sent away, when.
    pub(crate) done: Vec<f64>,
    pub(crate) limit: f64,
    pub(crate) sent: u64,
    pub(crate) image: u64,
    /// How many were sent away.
    pub(crate) away: usize,
}

impl Ended {
    pub(crate) fn last(&self) -> f64 {
        self.done.iter().copied().fold(0.0, f64::max)
    }
}

struct Node {
    wire: Wire,
    gather: Gather,
    joined: bool,
    done: Option<f64>,
    /// When its link is free again.
    busy: f64,
    /// Reports on their way.
    reports: Vec<(Micros, Report)>,
    looked: Micros,
}

/// xorshift64*: the same in every run.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

impl Story {
    pub(crate) fn new(image: u64, rate: u64, wires: Vec<Wire>) -> Story {
        Story { image, rate, wires }
    }

    pub(crate) fn run(&self, seed: u64) -> Ended {
        let pieces: Vec<Piece> = (0..self.image / u64::from(PIECE))
            .map(|at| Piece {
                id: u32::try_from(at).unwrap(),
                offset: at * u64::from(PIECE),
                stored: PIECE,
                bytes: PIECE,
            })
            .collect();
        let groups = Groups::of(&pieces);
        let symbols: u64 = groups.iter().map(|(_, group)| u64::from(group.symbols)).sum();
        let node = |(slot, wire): (u32, &Wire)| {
            let mut gather = Gather::new(&groups, SESSION, slot, Room { open_bytes: 64 << 20 });
            groups.iter().for_each(|(group, _)| gather.need(group));
            let (joined, done, busy, reports) = (false, None, 0.0, Vec::new());
            Node { wire: *wire, gather, joined, done, busy, reports, looked: Micros(0) }
        };
        let mut nodes: Vec<Node> = (0..).zip(&self.wires).map(node).collect();
        let mut sender = Sender::new(&groups, SESSION, Limits::of(self.rate));
        let mut away = 0;
        let (mut now, mut dice) = (Micros(0), Dice(seed * 0x9E37_79B9 + 1));
        while nodes.iter().any(|node| node.done.is_none()) {
            assert!(now.0 < 600_000_000, "it does not end: {:?}", unfinished(&nodes));
            for (slot, node) in (0_u32..).zip(&mut nodes) {
                node.look(slot, now, &mut sender, &mut dice);
            }
            let verdicts: BTreeMap<u32, Verdict> =
                sender.receivers().map(|(slot, view)| (slot, view.verdict)).collect();
            for (slot, node) in (0_u32..).zip(&mut nodes) {
                if let Some(Verdict::Pull(_)) = verdicts.get(&slot) {
                    away += usize::from(node.done.is_none());
                    node.done.get_or_insert(now.0 as f64 / 1e6);
                    sender.leave(slot);
                }
            }
            // Many bursts go between two looks of a shell.
            let until = now.after(Micros(1000));
            while now < until {
                match sender.poll(now) {
                    Step::Send(burst) => self.deliver(&burst, &mut nodes, now, &mut dice),
                    Step::Beat(beat) => nodes.iter_mut().filter(|node| node.hears(now)).for_each(|node| {
                        node.gather.tick(now);
                        node.gather.beat(&beat);
                    }),
                    Step::Wait(wait) => now = wait.unwrap_or(until).min(until).max(now.after(Micros(1))),
                }
            }
        }
        Ended {
            done: nodes.iter().map(|node| node.done.unwrap()).collect(),
            limit: (symbols * 1498) as f64 / self.rate as f64,
            sent: sender.counters().sent_bytes,
            image: symbols * 1432,
            away,
        }
    }
}

impl Story {
    fn deliver(&self, burst: &Burst, nodes: &mut [Node], now: Micros, dice: &mut Dice) {
        for (symbol, step) in burst.symbols.clone().zip(0..) {
            let data = Data {
                session: SESSION,
                group: burst.group,
                symbols: burst.of,
                symbol,
                sequence: burst.sequence.wrapping_add(step),
                asks: burst.asks && symbol + 1 == burst.symbols.end,
            };
            nodes.iter_mut().for_each(|node| node.hear(&data, now, self.rate, dice));
        }
    }
}

fn unfinished(nodes: &[Node]) -> Vec<(usize, u64)> {
    let lacking = nodes.iter().enumerate().filter(|(_, node)| node.done.is_none());
    lacking.map(|(at, node)| (at, node.gather.lacks())).collect()
}

impl Node {
    fn is_there(&self, now: Micros) -> bool {
        let second = now.0 as f64 / 1e6;
        match self.wire.fault {
            Some(Fault::Dead(at)) => second < at,
            Some(Fault::Stopped(at)) => !(at..at + 4.0).contains(&second),
            Some(Fault::Slow(_) | Fault::Deaf | Fault::CutOff(..)) | None => true,
        }
    }

    fn hears(&self, now: Micros) -> bool {
        let is_cut_off = match self.wire.fault {
            Some(Fault::Deaf) => true,
            Some(Fault::CutOff(from, until)) => (from..until).contains(&(now.0 as f64 / 1e6)),
            Some(Fault::Slow(_) | Fault::Dead(_) | Fault::Stopped(_)) | None => false,
        };
        self.joined && self.done.is_none() && self.is_there(now) && !is_cut_off
    }

    fn look(&mut self, slot: u32, now: Micros, sender: &mut Sender, dice: &mut Dice) {
        if self.done.is_some() || now.since(self.looked) < TICK && now > Micros(0) {
            return;
        }
        self.looked = now;
        let second = now.0 as f64 / 1e6;
        if !self.joined && second >= self.wire.joins {
            self.joined = true;
            sender.join(slot, now);
        }
        if !self.joined {
            return;
        }
        if let Some(Fault::Dead(at)) = self.wire.fault
            && second >= at
        {
            self.done = Some(at);
            return;
        }
        if !self.is_there(now) {
            return;
        }
        while let Some(report) = self.gather.report(now) {
            if dice.next() >= self.wire.loss {
                self.reports.push((now.after(LATENCY), report));
            }
        }
        for (_, report) in self.reports.extract_if(.., |(at, _)| *at <= now) {
            let _ignored = sender.report(&report, now);
        }
        if self.gather.lacks() == 0 {
            self.done = Some(second);
            sender.leave(slot);
        }
    }

    fn hear(&mut self, data: &Data, now: Micros, rate: u64, dice: &mut Dice) {
        if !self.hears(now) || dice.next() < self.wire.loss {
            return;
        }
        if let Some(Fault::Slow(part)) = self.wire.fault {
            let takes = 1498.0 * 1e6 / (rate as f64 * part);
            let free = self.busy.max(now.0 as f64);
            if free - now.0 as f64 > QUEUE {
                return;
            }
            self.busy = free + takes;
        }
        self.gather.tick(now);
        assert_ne!(self.gather.data(data), Heard::Foreign);
    }
}

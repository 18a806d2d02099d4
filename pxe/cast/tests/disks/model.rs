//! The disk that may fail, and the shell that drives a receiver over it.
//!
//! The disk is a model: what a window durably holds, and what the disk's volatile cache holds over it. A power cut
//! keeps any part of the cache.

use std::collections::{BTreeMap, BTreeSet};

use cast::{
    Action, Feed, Heard, Limits, Millis, Offer, Order, Outcome, Phase, Piece, Receiver, Start, Ticket,
    Verdict,
};

/// What a window holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Old,
    Zero,
    Image,
    /// Part of the image, or what a lying disk made of it.
    Torn,
}

/// Where the node's seed is kept in the model: beyond every window.
const SEED: u32 = u32::MAX;

/// The generated choices. When they are used up, everything goes well: so every run can end.
#[derive(Debug)]
pub(crate) struct Fate {
    pub(crate) choices: Vec<u8>,
    pub(crate) at: usize,
}

impl Fate {
    /// True in about `of_256` of 256 choices.
    fn strikes(&mut self, of_256: u8) -> bool {
        let choice = self.choices.get(self.at).copied();
        self.at += 1;
        choice.is_some_and(|choice| choice < of_256)
    }

    fn pick(&mut self, below: usize) -> usize {
        let choice = self.choices.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(choice) % below
    }
}

#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) durable: BTreeMap<u32, Content>,
    pub(crate) cache: BTreeMap<u32, Content>,
    pub(crate) first: u32,
    pub(crate) last: u32,
    /// Windows from here on lie in part in the MiB at the disk's end.
    pub(crate) lost_from: u32,
    /// Whether the job has a seed to write.
    seeded: bool,
    /// Whether the disk says that this job has begun on it.
    begun: bool,
    discarded: bool,
    writes: usize,
}

impl Disk {
    fn new(pieces: &[Piece], right: &BTreeSet<u32>, seeded: bool, lost_from: u32) -> Disk {
        let content = |id| if right.contains(&id) { Content::Image } else { Content::Old };
        let mut durable: BTreeMap<_, _> = pieces.iter().map(|piece| (piece.id, content(piece.id))).collect();
        durable.insert(SEED, Content::Old);
        let (first, last) = (pieces[0].id, pieces[pieces.len() - 1].id);
        // A disk comes in whole: as another system, or as an earlier life of this job left it.
        if durable.iter().any(|(id, content)| *id != SEED && *content == Content::Old) {
            durable.insert(first, Content::Old);
        } else {
            durable.insert(SEED, Content::Image);
        }
        let (cache, begun, discarded, writes) = (BTreeMap::new(), false, false, 0);
        Disk { durable, cache, first, last, lost_from, seeded, begun, discarded, writes }
    }

    /// What a read returns.
    fn read(&self, id: u32) -> Content {
        self.cache.get(&id).or_else(|| self.durable.get(&id)).copied().unwrap()
    }

    fn flush(&mut self) {
        self.durable.append(&mut self.cache);
    }

    fn power_cut(&mut self, fate: &mut Fate) {
        for (id, content) in std::mem::take(&mut self.cache) {
            if fate.strikes(128) {
                let torn = fate.strikes(64);
                // A seed is written beside the one that is there: what is torn is not believed, and the other one is.
                if !(torn && id == SEED) {
                    self.durable.insert(id, if torn { Content::Torn } else { content });
                }
            }
        }
    }

    fn disarm(&mut self) {
        self.begun = true;
        self.flush();
        self.durable.insert(self.first, Content::Zero);
        self.durable.insert(self.last, Content::Zero);
        let lost = self.durable.range_mut(self.lost_from..).filter(|(id, _)| **id != SEED);
        lost.for_each(|(_, content)| *content = Content::Torn);
    }

    /// Nothing is kept, but for what says that the job has begun.
    fn discard(&mut self) {
        self.discarded = true;
        let windows = self.durable.iter_mut().filter(|(id, _)| **id != SEED);
        windows.for_each(|(_, content)| *content = Content::Zero);
    }

    /// The promise: any trace of the image's first window durably on the disk means that all the rest is there.
    fn check(&self) {
        if !matches!(self.durable[&self.first], Content::Image | Content::Torn) {
            return;
        }
        for (id, content) in &self.durable {
            let excused = *id == self.first || (*id == SEED && !self.seeded);
            assert!(excused || *content == Content::Image, "it boots, and window {id} holds {content:?}");
        }
    }
}

/// The shell of one life: carries out what it is told, as fate wills.
#[derive(Debug)]
struct Shell {
    receiver: Receiver,
    limits: Limits,
    /// Whether the job reads back what it has written: otherwise nobody could find a lie of the disk.
    reads_back: bool,
    known: BTreeMap<u32, Piece>,
    open: Vec<Order>,
    said: Vec<(Ticket, Outcome)>,
    spool: BTreeSet<u32>,
    fetched: BTreeSet<u32>,
    /// Windows of which something was told that may make another fetch necessary.
    suspect: BTreeSet<u32>,
    now: Millis,
}

impl Shell {
    fn new(pieces: &[Piece], start: Start, limits: Limits) -> Shell {
        Shell {
            receiver: Receiver::new(pieces.to_vec(), start, limits).unwrap(),
            limits,
            reads_back: start.read_back,
            known: pieces.iter().map(|piece| (piece.id, *piece)).collect(),
            open: Vec::new(),
            said: Vec::new(),
            spool: BTreeSet::new(),
            fetched: BTreeSet::new(),
            suspect: BTreeSet::new(),
            now: Millis(0),
        }
    }

    fn poll(&mut self) {
        let given = self.receiver.poll(self.now);
        assert_eq!(self.receiver.poll(self.now), [], "a second poll has nothing to add");
        for order in given {
            self.check_order(&order.action);
            self.open.push(order);
        }
        self.check_limits();
    }

    fn check_order(&mut self, action: &Action) {
        match action {
            Action::Compare(id) | Action::ReadBack(id) => assert!(self.known.contains_key(id)),
            Action::Write(id) => {
                assert!(self.known[id].stored == 0 || self.spool.contains(id), "{id} was never fetched");
            }
            Action::Fetch { ids, offset, len } => {
                let mut end = *offset;
                for id in ids {
                    assert_eq!(self.known[id].offset, end, "a gap in the range");
                    end += u64::from(self.known[id].stored);
                    assert!(self.known[id].stored > 0, "zeros need no fetch");
                    assert!(!self.spool.contains(id), "{id} is there already");
                    self.fetched.insert(*id);
                }
                assert_eq!(end - offset, *len);
            }
            Action::Disarm | Action::Discard | Action::Flush | Action::WriteSeed => {}
        }
    }

    fn check_limits(&self) {
        let count =
            |which: fn(&Action) -> bool| self.open.iter().filter(|order| which(&order.action)).count();
        assert!(
            count(|a| matches!(a, Action::Compare(_) | Action::ReadBack(_))) <= self.limits.compares.max(1)
        );
        assert!(count(|a| matches!(a, Action::Fetch { .. })) <= self.limits.fetches.max(1));
        assert!(count(|a| matches!(a, Action::Write(_))) <= self.limits.writes.max(1));
        let mut spool = self.spool.clone();
        for order in &self.open {
            if let Action::Fetch { ids, .. } = &order.action {
                spool.extend(ids);
            }
        }
        let bytes: u64 = spool.iter().map(|id| u64::from(self.known[id].stored)).sum();
        assert!(bytes <= self.limits.spool_bytes || spool.len() == 1, "{bytes} bytes spooled");
    }

    /// One thing happens: an answer, a repeated answer, or time passes. False when nothing ever can again.
    fn step(&mut self, disk: &mut Disk, fate: &mut Fate) -> bool {
        if fate.strikes(8) && !self.said.is_empty() {
            self.repeat(fate);
        }
        self.push(fate);
        if self.open.is_empty() {
            let Some(wake) = self.receiver.wake() else { return self.pull_the_rest() };
            assert!(wake > self.now, "a shell would spin");
            self.now = wake;
        } else {
            let at = fate.pick(self.open.len());
            self.answer(at, disk, fate);
            self.now.0 += 1;
        }
        disk.check();
        self.poll();
        true
    }

    /// Somebody sends to all: any piece may come, and how the pieces come may change.
    fn push(&mut self, fate: &mut Fate) {
        if fate.strikes(6) {
            self.receiver.feed(if fate.strikes(100) { Feed::Pulled } else { Feed::Pushed });
        }
        if fate.strikes(4) {
            let id = self.any(fate);
            self.receiver.pull(id);
            self.receiver.feed(Feed::Pushed);
            assert!(self.receiver.awaited().all(|awaited| awaited != id), "{id} is fetched from now on");
        }
        if fate.strikes(48) {
            let id = self.any(fate);
            let offer = self.receiver.offer(id, self.now);
            if offer == Offer::Taken {
                assert!(self.known[&id].stored > 0 && self.spool.insert(id), "{id} is there already");
                self.fetched.insert(id);
            }
            let is_awaited = self.receiver.awaited().any(|awaited| awaited == id);
            assert!(
                !is_awaited || [Offer::Full, Offer::Table].contains(&offer),
                "what is awaited and fits is taken: {offer:?}"
            );
        }
        self.poll();
    }

    fn any(&self, fate: &mut Fate) -> u32 {
        *self.known.keys().nth(fate.pick(self.known.len())).unwrap()
    }

    /// Nobody sends any more. False when nothing was awaited.
    fn pull_the_rest(&mut self) -> bool {
        let has_awaited = self.receiver.awaited().next().is_some();
        self.receiver.feed(Feed::Pulled);
        self.poll();
        has_awaited
    }

    /// Says again what was said before: the receiver must not care.
    fn repeat(&mut self, fate: &mut Fate) {
        let (ticket, outcome) = self.said[fate.pick(self.said.len())].clone();
        let before = (self.receiver.progress(), self.receiver.verdict());
        assert!(matches!(self.receiver.on(ticket, outcome, self.now), Heard::Ignored(_)));
        assert_eq!((self.receiver.progress(), self.receiver.verdict()), before);
    }

    fn answer(&mut self, at: usize, disk: &mut Disk, fate: &mut Fate) {
        let action = self.open[at].action.clone();
        let (outcome, closed) = match action {
            Action::Fetch { ids, .. } => self.fetch(at, ids, fate),
            other => (self.carry_out(other, disk, fate), true),
        };
        let ticket = self.open[at].ticket;
        if closed {
            self.open.remove(at);
        }
        let known = self.receiver.on(ticket, outcome.clone(), self.now);
        assert_eq!(known, Heard::Taken, "{outcome:?}");
        self.said.push((ticket, outcome));
    }

    /// The order of a range's arrival is fate's.
    fn fetch(&mut self, at: usize, mut ids: Vec<u32>, fate: &mut Fate) -> (Outcome, bool) {
        if fate.strikes(24) {
            return (Outcome::Failed("connection reset".into()), true);
        }
        let id = ids.swap_remove(fate.pick(ids.len()));
        let closed = ids.is_empty();
        if let Action::Fetch { ids: rest, .. } = &mut self.open[at].action {
            *rest = ids;
        }
        if fate.strikes(16) {
            return (Outcome::Spoilt { id, cause: "flipped".into() }, closed);
        }
        assert!(self.spool.insert(id));
        (Outcome::Arrived(id), closed)
    }

    fn carry_out(&mut self, action: Action, disk: &mut Disk, fate: &mut Fate) -> Outcome {
        let failed = fate.strikes(12);
        match action {
            Action::Disarm if failed => {
                if fate.strikes(128) {
                    disk.begun = true;
                    disk.durable.insert(disk.first, Content::Zero);
                }
                return Outcome::Failed("no answer from the disk".into());
            }
            Action::Disarm => disk.disarm(),
            Action::Discard if failed => self.suspect.extend(self.known.keys()),
            Action::Discard => disk.discard(),
            Action::Flush if failed => {
                disk.power_cut(fate);
                self.suspect.extend(self.known.keys());
                return Outcome::Failed("flush failed".into());
            }
            Action::Flush => disk.flush(),
            Action::Write(id) => {
                disk.writes += 1;
                self.spool.remove(&id);
                let lies = fate.strikes(12) && self.reads_back;
                if failed || lies {
                    self.suspect.insert(id);
                }
                disk.cache.insert(id, if failed || lies { Content::Torn } else { Content::Image });
            }
            Action::WriteSeed if failed => {}
            Action::WriteSeed => {
                disk.cache.insert(SEED, Content::Image);
            }
            Action::Compare(id) | Action::ReadBack(id) if failed => {
                self.suspect.insert(id);
            }
            Action::Compare(id) | Action::ReadBack(id) => {
                let same = disk.read(id) == Content::Image;
                return if same { Outcome::Same } else { Outcome::Differs };
            }
            Action::Fetch { .. } => unreachable!("fetches are answered elsewhere"),
        }
        if failed { Outcome::Failed("I/O error".into()) } else { Outcome::Done }
    }
}

/// How a whole story went.
#[derive(Debug)]
pub(crate) struct Story {
    pub(crate) disk: Disk,
    pub(crate) verdict: Verdict,
    pub(crate) lives: usize,
    /// All bytes of the image.
    pub(crate) total: u64,
    pub(crate) discarded: bool,
    pub(crate) writes: usize,
}

/// Runs a job to its end, through as many power cuts as fate has in store.
pub(crate) fn live(
    pieces: &[Piece],
    right: &BTreeSet<u32>,
    (seed, lost_from, read_back): (bool, u32, bool),
    limits: Limits,
    fate: &mut Fate,
) -> Story {
    let mut disk = Disk::new(pieces, right, seed, lost_from);
    for lives in 1.. {
        let mut shell = Shell::new(pieces, Start { seed, begun: disk.begun, lost_from, read_back }, limits);
        let mut there: Option<BTreeSet<u32>> = None;
        shell.poll();
        loop {
            assert!(shell.now < Millis(1 << 40) && shell.said.len() < 100_000, "it does not end");
            if shell.receiver.verdict() != Verdict::Working {
                break;
            }
            if fate.strikes(2) {
                break;
            }
            assert!(shell.step(&mut disk, fate), "stuck in {:?}", shell.receiver.progress());
            let is_before = matches!(shell.receiver.progress().phase, Phase::Scan | Phase::Disarm);
            if !is_before && there.is_none() {
                let image = |id: &&u32| disk.read(**id) == Content::Image;
                there = Some(shell.known.keys().filter(image).copied().collect());
            }
        }
        let again: Vec<_> = shell.fetched.intersection(&there.unwrap_or_default()).copied().collect();
        assert!(again.iter().all(|id| shell.suspect.contains(id)), "{again:?} were there and were fetched");
        let verdict = shell.receiver.verdict();
        if verdict != Verdict::Working {
            let total = pieces.iter().map(|piece| u64::from(piece.bytes)).sum();
            let (discarded, writes) = (disk.discarded, disk.writes);
            return Story { disk, verdict, lives, total, discarded, writes };
        }
        disk.power_cut(fate);
        disk.check();
    }
    unreachable!("lives are counted without end")
}

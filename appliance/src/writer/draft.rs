//! One batch in the making: the world as it would be, and what must be saved to make it so.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::clock::{self, Verdict};
use fleet::cloud::release::lets_go;
use fleet::event::Fact;
use fleet::{Catalog, Change, Event, Node, Time, converge};
use pxe::dhcp::LeaseChange;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;

use super::addresses::Unsaved;
use super::inbox::Brought;
use super::nics::Nics;
use super::record::{Cause, Quota};
use super::run::Writer;
use super::told::Told;
use super::{Answered, Answers, DhcpAnswer, Done, Input, Question, Refused, World};
use crate::space::Trouble;
use crate::store::{Batch, Store};

/// An answer that waits for the commit; it says how many were refused when there was none.
pub(super) type Answer = Box<dyn FnOnce(&Ended<'_>) -> u64 + Send>;

/// How a commit ended.
pub(super) struct Ended<'a> {
    pub(super) store: &'a Store,
    /// Why there was none.
    pub(super) unsaved: Option<&'a Unsaved<'a>>,
}

/// Facts that anybody on the wire can bring about with a key of its own making.
const OF_STRANGERS: [&str; 2] = ["claimed", "conflict"];

/// A batch that was decided, to be saved.
pub(super) struct Decided {
    /// The world as it will be.
    pub(super) world: World,
    /// What makes it so.
    pub(super) batch: Batch,
    /// To be given after that.
    pub(super) answers: Vec<Answer>,
    /// What promises nothing, and may be said before.
    early: Vec<(Answers, Vec<Answered>)>,
    /// The offers, of which nothing is saved.
    pub(super) offers: Vec<LeaseChange>,
    /// What became known of other DHCP servers; not saved either.
    pub(super) watched: Vec<fleet::network::Network>,
    /// Whether it was known that nothing can be saved; then nothing is said before.
    pub(super) troubled: bool,
    /// Dropped when all of this is over.
    over: Option<std::sync::mpsc::Sender<()>>,
}

impl Decided {
    /// Fails to receive, when all of this is over.
    pub(super) fn wait(&mut self) -> std::sync::mpsc::Receiver<()> {
        let (over, wait) = std::sync::mpsc::channel();
        self.over = Some(over);
        wait
    }

    /// Says what may be said before the commit.
    pub(super) fn speak(&mut self) {
        for (answers, early) in self.early.drain(..) {
            // Nobody listens when the interface went away meanwhile.
            drop(answers.send(early));
        }
    }
}

pub(super) struct Draft<'a> {
    pub(super) world: World,
    pub(super) batch: Batch,
    answers: Vec<Answer>,
    early: Vec<(Answers, Vec<Answered>)>,
    pub(super) offers: Vec<LeaseChange>,
    watched: Vec<fleet::network::Network>,
    troubled: bool,
    /// Whether the index of NICs is older than the fleet.
    stale: bool,
    catalog: &'a Catalog,
    pub(super) told: &'a mut Told,
    /// How much of what agents do is written down.
    pub(super) quota: &'a mut Quota,
    /// On whose behalf things are changed now.
    pub(super) cause: Cause,
    /// Lines that are saved with what happens next.
    pub(super) held: &'a mut Vec<(Time, Fact)>,
    pub(super) now: Time,
    /// Whether state documents may have changed.
    pub(super) settle: bool,
}

/// A draft as it was, for what is done to addresses whole or not at all.
pub(super) struct Checkpoint {
    world: World,
    facts: usize,
    leases: usize,
    reservations: usize,
    journal: usize,
    settle: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(world: World, writer: &'a mut Writer, now: Time) -> Self {
        let Writer { catalog, told, quota, held, .. } = writer;
        Self {
            world,
            batch: Batch::default(),
            answers: Vec::new(),
            early: Vec::new(),
            offers: Vec::new(),
            watched: Vec::new(),
            troubled: false,
            stale: false,
            catalog,
            told,
            quota,
            cause: Cause::Controller,
            held,
            now,
            settle: false,
        }
    }

    pub(super) fn take(&mut self, Brought { input, by }: Brought) {
        self.refresh();
        self.cause = Cause::of(&input, by);
        match input {
            Input::Event(event, done) => {
                // Nobody asked for the clock to be told.
                let asked = !matches!(*event, Event::Tick);
                if !asked {
                    self.log_held();
                }
                let (mark, about) = (self.mark(), fleet::step::about(&event));
                let result = self.event(*event);
                self.account(mark, about, &result);
                self.answer(move |unsaved| tell(done, unless(unsaved, result), asked && unsaved.is_some()));
            }
            Input::Dhcp(questions, answers) => self.questions(questions, answers),
            Input::Address(wish, done) => {
                let mark = self.mark();
                let result = self.address(wish);
                self.account(mark, None, &result);
                self.answer(move |unsaved| tell(done, unless(unsaved, result), unsaved.is_some()));
            }
            Input::Release { mac, done } => {
                let mark = self.mark();
                let result = self.release(mac);
                self.account(mark, None, &result);
                self.answer(move |unsaved| tell(done, unless(unsaved, result), unsaved.is_some()));
            }
            Input::Escrow { node, files, done } => {
                let result = self.event(Event::Escrowed { node, files: files.len() }).map(drop);
                if result.is_ok() {
                    self.batch.identities.push((node, files));
                }
                self.answer(move |unsaved| tell(done, unless(unsaved, result), unsaved.is_some()));
            }
            Input::Commanded { why, done } => {
                self.command(why.as_deref());
                self.answer(move |unsaved| tell(done, unless(unsaved, Ok(())), unsaved.is_some()));
            }
            Input::Note { kind, body, done } => {
                let mark = self.mark();
                self.note(kind, None, body);
                self.account(mark, None, &Ok(()));
                self.answer(move |unsaved| tell(done, unless(unsaved, Ok(())), unsaved.is_some()));
            }
            Input::Probed { free, used, done } => {
                self.probed(&free, &used);
                self.answer(move |unsaved| tell(done, unsaved.is_none(), unsaved.is_some()));
            }
            Input::Extras { extras, done } => {
                self.equip(&extras);
                self.answer(move |unsaved| tell(done, unsaved.is_none(), unsaved.is_some()));
            }
            Input::Identity { node, done } => {
                // Only read: whether the rest of the batch can be saved makes no difference.
                self.answers.push(Box::new(move |ended| {
                    let result = ended.store.identity(node);
                    tell(done, result.map_err(|error| Refused::Unsaved(crate::chain(&error))), false)
                }));
            }
        }
    }

    /// Each is decided in turn. What promises something waits for the commit.
    fn questions(&mut self, questions: Vec<Question>, answers: Answers) {
        let (mut early, mut late) = (Vec::new(), Vec::new());
        for question in questions {
            match self.dhcp(&question) {
                (answer, Promise::Nothing) if !self.troubled => early.push(Answered { question, answer }),
                (answer, Promise::Nothing | Promise::Something) => late.push((question, answer)),
            }
        }
        if !early.is_empty() {
            self.early.push((answers.clone(), early));
        }
        if !late.is_empty() {
            self.answer(move |unsaved| hand_over(late, &answers, unsaved));
        }
    }

    /// Where the draft stands, to go back to.
    pub(super) fn checkpoint(&mut self) -> Checkpoint {
        // Lines that wait for the next are none of what is undone.
        self.log_held();
        let Batch { facts, leases, reservations, journal, .. } = &self.batch;
        Checkpoint {
            world: self.world.clone(),
            facts: facts.len(),
            leases: leases.len(),
            reservations: reservations.len(),
            journal: journal.len(),
            settle: self.settle,
        }
    }

    /// What was done to addresses since then was not done.
    pub(super) fn go_back(&mut self, to: Checkpoint) {
        self.world = to.world;
        self.batch.facts.truncate(to.facts);
        self.batch.leases.truncate(to.leases);
        self.batch.reservations.truncate(to.reservations);
        self.batch.journal.truncate(to.journal);
        self.settle = to.settle;
    }

    /// The world, what to save, whom to answer.
    pub(super) fn finish(mut self) -> Decided {
        self.cause = Cause::Controller;
        self.refresh();
        if self.settle {
            self.settle_documents();
            self.refresh();
        }
        if !self.batch.is_empty() {
            self.log_held();
        }
        let Self { world, batch, answers, early, offers, watched, troubled, .. } = self;
        Decided { world, batch, answers, early, offers, watched, troubled, over: None }
    }

    /// The state could not be saved last time. If it can be now, the log says so; if it can't, neither is this.
    pub(super) fn recovering(&mut self, trouble: &Trouble) {
        self.troubled = true;
        let Trouble { since, why, refused, .. } = trouble;
        let text =
            format!("the state can be saved again; since {since}, {refused} requests were refused: {why}");
        self.log(Fact { node: None, mac: None, kind: "storage".to_owned(), text });
    }

    /// Brings the index of NICs up to the fleet, and the site's addresses with it.
    fn refresh(&mut self) {
        if !std::mem::take(&mut self.stale) {
            return;
        }
        let nics = Nics::of(&self.world.fleet);
        let addresses = nics.addresses(&self.world.leases);
        if addresses != self.world.site.addresses {
            Arc::make_mut(&mut self.world.site).addresses = addresses;
        }
        self.world.nics = Arc::new(nics);
    }

    fn put(&mut self, change: Change) {
        self.record(&change);
        if let Change::Node(node) = &change {
            let before = self.world.fleet.nodes.get(&node.id);
            self.stale |= before.is_none_or(|before| !Nics::same(before, node));
        }
        self.stale |= matches!(change, Change::ForgetNode(_));
        Arc::make_mut(&mut self.world.fleet).put(change.clone());
        if let Change::Network(network) = change {
            // Nothing to be saved: it holds whatever becomes of the rest.
            self.follow(&network.interface);
            return self.watched.push(*network);
        }
        self.batch.changes.push(change);
    }

    /// What is thought of the clock from now on.
    pub(super) fn clock(&mut self, thought: Verdict) {
        let mark = self.mark();
        let result = self.event(Event::Clock(clock::Verb::Seen(thought)));
        self.account(mark, None, &result);
    }

    fn answer(&mut self, answer: impl FnOnce(Option<&Unsaved<'_>>) -> u64 + Send + 'static) {
        self.answers.push(Box::new(move |ended| answer(ended.unsaved)));
    }

    pub(super) fn event(&mut self, event: Event) -> Result<Done, Refused> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| Refused::Unsaved("no randomness".to_owned()))?;
        let mut dice = fleet::entropy::Entropy::new(&seed);
        let name = event.name();
        self.came(&event);
        if let Event::Served { mac, text, .. } = &event
            && !mac.as_str().parse().is_ok_and(|mac| self.news(mac, text))
        {
            return Ok(Done { reply: fleet::Reply::Done, effects: Vec::new() });
        }
        let settles = settles(&event);
        let before = self.reporter(&event);
        let outcome = fleet::step(&self.world.fleet, self.catalog, event, self.now, &mut dice);
        let outcome = outcome.inspect_err(|why| tracing::warn!(event = name, %why, "refused"))?;
        let lets_go = |change: &Change| matches!((change, &before), (Change::Node(after), Some(before)) if after.id == before.id && lets_go(before, after));
        // The control node has told that it is through with new passwords: all others are due.
        let rotates = |change: &Change| matches!(change, Change::Passwords(_));
        self.settle |= if settles {
            !outcome.changes.is_empty()
        } else {
            outcome.changes.iter().any(|change| lets_go(change) || rotates(change))
        };
        outcome.changes.into_iter().for_each(|change| self.put(change));
        for fact in outcome.facts {
            let of_stranger = OF_STRANGERS.contains(&fact.kind.as_str()).then_some(fact.node).flatten();
            let node = of_stranger.map(|id| id.to_string());
            if node.is_none_or(|node| self.told.worth(&node, true, &fact.text, self.now)) {
                self.log(fact);
            }
        }
        Ok(Done { reply: outcome.reply, effects: outcome.effects })
    }

    /// The node that reports, as it is before: what it says may be what services of the cloud wait for, on other nodes too.
    fn reporter(&self, event: &Event) -> Option<Node> {
        let Event::Reported { node, .. } = event else { return None };
        self.world.fleet.nodes.get(node).filter(|_| self.catalog.is_cloud()).cloned()
    }

    pub(super) fn log(&mut self, fact: Fact) {
        self.held.push((self.now, fact));
        self.log_held();
    }

    fn log_held(&mut self) {
        for (at, fact) in self.held.drain(..) {
            self.world.seq += 1;
            self.batch.facts.push((self.world.seq, at, fact));
        }
    }

    fn settle_documents(&mut self) {
        let (changes, failed) = converge::settle(&self.world.fleet, &self.world.site, self.catalog);
        let failed =
            failed.into_iter().map(|(node, why)| (node.id, why.to_string())).collect::<BTreeMap<_, _>>();
        for (&node, why) in &failed {
            if self.world.unsettled.get(&node) != Some(why) {
                let text = why.clone();
                self.log(Fact { node: Some(node), mac: None, kind: "document".to_owned(), text });
            }
        }
        if *self.world.unsettled != failed {
            self.world.unsettled = Arc::new(failed);
        }
        changes.into_iter().for_each(|change| self.put(change));
    }
}

/// Whether an answer rests on something that must be durable first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Promise {
    /// An offer that needs no row.
    Nothing,
    /// Everything else.
    Something,
}

/// Gives the answers that waited for the commit; how many were refused for want of one.
fn hand_over(late: Vec<(Question, DhcpAnswer)>, answers: &Answers, unsaved: Option<&Unsaved<'_>>) -> u64 {
    let mut refused = 0;
    let said = late.into_iter().map(|(question, answer)| {
        let Some(unsaved) = unsaved else { return Answered { question, answer } };
        let answer = unsaved.dhcp(&question);
        refused += u64::from(!matches!(answer, DhcpAnswer::Send(_)));
        Answered { question, answer }
    });
    let said = said.collect();
    drop(answers.send(said));
    refused
}

/// Gives an answer to whoever waits, if somebody still does; hands on how many were refused.
fn tell<T>(done: oneshot::Sender<T>, answer: T, refused: bool) -> u64 {
    drop(done.send(answer));
    u64::from(refused)
}

/// The result, unless the batch could not be saved.
fn unless<T>(unsaved: Option<&Unsaved<'_>>, result: Result<T, Refused>) -> Result<T, Refused> {
    unsaved.map_or(result, |unsaved| Err(Refused::Unsaved(unsaved.why.to_owned())))
}

/// Whether an event can change what a node should be.
fn settles(event: &Event) -> bool {
    !matches!(
        event,
        Event::Progressed { .. }
            | Event::Reported { .. }
            | Event::Asked { .. }
            | Event::Served { .. }
            | Event::Foreign { .. }
            | Event::Plugged { .. }
            | Event::Look { .. }
            | Event::Looked { .. }
            | Event::Issued(_)
            | Event::Lapsed { .. }
            | Event::Pinned { .. }
            | Event::Trust(_)
            | Event::Clock(_)
            | Event::Hello { .. }
            | Event::Power { .. }
            | Event::Logs { .. }
    )
}

//! One batch in the making: the world as it would be, and what must be saved to make it so.

use std::collections::BTreeMap;

use fleet::event::Fact;
use fleet::{Catalog, Event, Time, converge};
use pxe::dhcp::Network;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::oneshot;

use super::addresses::Unsaved;
use super::told::Told;
use super::{DhcpAnswer, Done, Input, Refused, World};
use crate::space::Trouble;
use crate::store::{Batch, Store};

/// An answer that waits for the commit; it is told why when there was none, and says whether somebody was refused then.
type Answer = Box<dyn FnOnce(Option<&Unsaved<'_>>) -> bool + Send>;

/// Facts that anybody on the wire can bring about with a key of its own making.
const OF_STRANGERS: [&str; 2] = ["claimed", "conflict"];

pub(super) struct Draft<'a> {
    pub(super) world: World,
    pub(super) batch: Batch,
    answers: Vec<Answer>,
    catalog: &'a Catalog,
    pub(super) networks: &'a [Network],
    pub(super) told: &'a mut Told,
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
    settle: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        world: World,
        catalog: &'a Catalog,
        networks: &'a [Network],
        told: &'a mut Told,
        now: Time,
    ) -> Self {
        let (batch, answers) = (Batch::default(), Vec::new());
        Self { world, batch, answers, catalog, networks, told, now, settle: false }
    }

    pub(super) fn take(&mut self, input: Input, store: &Store) {
        match input {
            Input::Event(event, done) => {
                // Nobody asked for the clock to be told.
                let asked = !matches!(*event, Event::Tick);
                let result = self.event(*event);
                self.answer(move |unsaved| tell(done, unless(unsaved, result), asked && unsaved.is_some()));
            }
            Input::Dhcp(packet, done) => {
                let result = self.dhcp(&packet);
                self.answer(move |unsaved| {
                    let answer = unsaved.map_or(result, |unsaved| unsaved.dhcp(&packet));
                    let refused = unsaved.is_some() && !matches!(answer, DhcpAnswer::Send(_));
                    tell(done, answer, refused)
                });
            }
            Input::Address(wish, done) => {
                let result = self.address(wish);
                self.answer(move |unsaved| tell(done, unless(unsaved, result), unsaved.is_some()));
            }
            Input::Release { mac, done } => {
                let result = self.release(mac);
                self.answer(move |unsaved| tell(done, unless(unsaved, result), unsaved.is_some()));
            }
            Input::Escrow { node, files, done } => {
                let result = self.event(Event::Escrowed { node, files: files.len() }).map(drop);
                if result.is_ok() {
                    self.batch.identities.push((node, files));
                }
                self.answer(move |unsaved| tell(done, unless(unsaved, result), unsaved.is_some()));
            }
            Input::Identity { node, done } => {
                // Only read: whether the rest of the batch can be saved makes no difference.
                let result = store.identity(node).map_err(|error| Refused::Unsaved(crate::chain(&error)));
                self.answer(move |_| tell(done, result, false));
            }
        }
    }

    /// The world, what to save, whom to answer.
    pub(super) fn finish(mut self) -> (World, Batch, Vec<Answer>) {
        if self.settle {
            self.settle_documents();
        }
        (self.world, self.batch, self.answers)
    }

    /// Where the draft stands, to go back to.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        let Batch { facts, leases, reservations, .. } = &self.batch;
        Checkpoint {
            world: self.world.clone(),
            facts: facts.len(),
            leases: leases.len(),
            reservations: reservations.len(),
            settle: self.settle,
        }
    }

    /// What was done to addresses since then was not done.
    pub(super) fn go_back(&mut self, to: Checkpoint) {
        self.world = to.world;
        self.batch.facts.truncate(to.facts);
        self.batch.leases.truncate(to.leases);
        self.batch.reservations.truncate(to.reservations);
        self.settle = to.settle;
    }

    /// The state can be saved again; if it can't, neither is this.
    pub(super) fn recovered(&mut self, trouble: &Trouble) {
        let Trouble { since, why, refused, .. } = trouble;
        let text =
            format!("the state can be saved again; since {since}, {refused} requests were refused: {why}");
        self.log(Fact { node: None, mac: None, kind: "storage".to_owned(), text });
    }

    fn answer(&mut self, answer: impl FnOnce(Option<&Unsaved<'_>>) -> bool + Send + 'static) {
        self.answers.push(Box::new(answer));
    }

    pub(super) fn event(&mut self, event: Event) -> Result<Done, Refused> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| Refused::Unsaved("no randomness".to_owned()))?;
        let mut dice = fleet::entropy::Entropy::new(&seed);
        let name = event.name();
        if let Event::Served { mac, text, .. } = &event
            && !self.worth(mac, text)
        {
            return Ok(Done { reply: fleet::Reply::Done, effects: Vec::new() });
        }
        let settles = settles(&event);
        let outcome = fleet::step(&self.world.fleet, self.catalog, event, self.now, &mut dice);
        let outcome = outcome.inspect_err(|why| tracing::warn!(event = name, %why, "refused"))?;
        self.settle |= settles && !outcome.changes.is_empty();
        for change in outcome.changes {
            self.world.fleet.put(change.clone());
            self.batch.changes.push(change);
        }
        for fact in outcome.facts {
            let of_stranger = OF_STRANGERS.contains(&fact.kind.as_str()).then_some(fact.node).flatten();
            let node = of_stranger.map(|id| id.to_string());
            if node.is_none_or(|node| self.told.worth(&node, true, &fact.text, self.now)) {
                self.log(fact);
            }
        }
        Ok(Done { reply: outcome.reply, effects: outcome.effects })
    }

    pub(super) fn log(&mut self, fact: Fact) {
        self.world.seq += 1;
        self.batch.facts.push((self.world.seq, self.now, fact));
    }

    fn settle_documents(&mut self) {
        let (changes, failed) = converge::settle(&self.world.fleet, &self.world.site, self.catalog);
        for change in changes {
            self.world.fleet.put(change.clone());
            self.batch.changes.push(change);
        }
        let failed =
            failed.into_iter().map(|(node, why)| (node.id, why.to_string())).collect::<BTreeMap<_, _>>();
        for (&node, why) in &failed {
            if self.world.unsettled.get(&node) != Some(why) {
                let text = why.clone();
                self.log(Fact { node: Some(node), mac: None, kind: "document".to_owned(), text });
            }
        }
        self.world.unsettled = failed;
    }
}

/// Gives an answer to whoever waits, if somebody still does; hands on whether it was refused.
fn tell<T>(done: oneshot::Sender<T>, answer: T, refused: bool) -> bool {
    drop(done.send(answer));
    refused
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
            | Event::Hello { .. }
            | Event::Logs { .. }
    )
}

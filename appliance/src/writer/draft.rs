//! One batch in the making: the world as it would be, and what must be saved to make it so.

use std::collections::BTreeMap;

use fleet::event::Fact;
use fleet::{Catalog, Event, Time, converge};
use protocol::NodeId;
use pxe::Mac;
use pxe::dhcp::{Decision, LeaseChange, Policy, Request};
use ring::rand::{SecureRandom, SystemRandom};

use super::{DhcpAnswer, Done, Input, Packet, Refused, World, addresses};
use crate::store::{Batch, Store};

/// An answer that waits for the commit; it is given the reason when there was none.
type Answer = Box<dyn FnOnce(Option<&str>) + Send>;

/// How long the same fact about a NIC is not logged again, in milliseconds.
const REPEAT_MS: u64 = 60_000;

pub(super) struct Draft<'a> {
    world: World,
    batch: Batch,
    answers: Vec<Answer>,
    catalog: &'a Catalog,
    policy: &'a Policy,
    told: &'a mut BTreeMap<Mac, (String, Time)>,
    now: Time,
    /// Whether state documents may have changed.
    pub(super) settle: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        world: World,
        catalog: &'a Catalog,
        policy: &'a Policy,
        told: &'a mut BTreeMap<Mac, (String, Time)>,
        now: Time,
    ) -> Self {
        let (batch, answers) = (Batch::default(), Vec::new());
        Self { world, batch, answers, catalog, policy, told, now, settle: false }
    }

    pub(super) fn take(&mut self, input: Input, store: &Store) {
        match input {
            Input::Event(event, done) => {
                let result = self.event(*event);
                self.answer(move |unsaved| drop(done.send(unless(unsaved, result))));
            }
            Input::Dhcp(packet, done) => {
                let result = self.dhcp(&packet);
                self.answer(move |unsaved| {
                    let silent = |why: &str| DhcpAnswer::Silence(why.to_owned());
                    drop(done.send(unsaved.map_or(result, silent)));
                });
            }
            Input::Address { node, mac, address, done } => {
                let result = self.address(node, mac, address);
                self.answer(move |unsaved| drop(done.send(unless(unsaved, result))));
            }
            Input::Escrow { node, files, done } => {
                let result = self.event(Event::Escrowed { node, files: files.len() }).map(drop);
                if result.is_ok() {
                    self.batch.identities.push((node, files));
                }
                self.answer(move |unsaved| drop(done.send(unless(unsaved, result))));
            }
            Input::Identity { node, done } => {
                let result = store.identity(node).map_err(|error| Refused::Unsaved(crate::chain(&error)));
                self.answer(move |unsaved| drop(done.send(unless(unsaved, result))));
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

    fn answer(&mut self, answer: impl FnOnce(Option<&str>) + Send + 'static) {
        self.answers.push(Box::new(answer));
    }

    fn event(&mut self, event: Event) -> Result<Done, Refused> {
        let mut seed = [0; 32];
        SystemRandom::new().fill(&mut seed).map_err(|_| Refused::Unsaved("no randomness".to_owned()))?;
        let mut dice = fleet::entropy::Entropy::new(&seed);
        let name = event.name();
        let settles = settles(&event);
        let outcome = fleet::step(&self.world.fleet, self.catalog, event, self.now, &mut dice);
        let outcome = outcome.inspect_err(|why| tracing::warn!(event = name, %why, "refused"))?;
        self.settle |= settles && !outcome.changes.is_empty();
        for change in outcome.changes {
            self.world.fleet.put(change.clone());
            self.batch.changes.push(change);
        }
        for fact in outcome.facts {
            self.log(fact);
        }
        Ok(Done { reply: outcome.reply, effects: outcome.effects })
    }

    fn log(&mut self, fact: Fact) {
        tracing::info!(kind = fact.kind, node = fact.node.map(|id| id.short()), text = fact.text);
        self.world.seq += 1;
        self.batch.facts.push((self.world.seq, self.now, fact));
    }

    fn dhcp(&mut self, packet: &Packet) -> DhcpAnswer {
        let silent = DhcpAnswer::Silence;
        let request = match Request::parse(&packet.bytes) {
            Ok(request) => request,
            Err(malformed) => return DhcpAnswer::Malformed(malformed.to_string()),
        };
        let now = pxe::Time(self.now.0);
        match pxe::dhcp::decide(self.policy, &self.world.leases, &request, packet.arrival, now) {
            Decision::Ignore(why) => {
                self.tell(request.mac, "silence", why.to_string());
                silent(why.to_string())
            }
            Decision::Record { lease, what } => match self.lease(*lease) {
                Ok(()) => {
                    self.tell(request.mac, "address", what.clone());
                    silent(what)
                }
                Err(why) => silent(why),
            },
            Decision::Reply(reply) => {
                if let Some(Err(why)) = reply.lease.clone().map(|lease| self.lease(lease)) {
                    return silent(why);
                }
                self.tell(request.mac, "address", reply.what.clone());
                DhcpAnswer::Send(reply)
            }
        }
    }

    fn lease(&mut self, change: LeaseChange) -> Result<(), String> {
        self.world.leases.apply(&change).map_err(|why| why.to_string())?;
        self.world.site.addresses = addresses(&self.world.leases);
        self.batch.leases.push(change);
        Ok(())
    }

    /// Logs what a NIC was told, unless it was told the same a moment ago.
    fn tell(&mut self, mac: Mac, kind: &str, text: String) {
        let again =
            self.told.get(&mac).is_some_and(|(said, at)| *said == text && self.now.0 < at.0 + REPEAT_MS);
        if again {
            return;
        }
        self.told.insert(mac, (text.clone(), self.now));
        let Ok(address) = mac.to_string().parse() else { return };
        let fleet = &self.world.fleet;
        let node =
            fleet.nodes.values().find(|node| node.macs().any(|own| *own == address)).map(|node| node.id);
        self.log(Fact { node, mac: Some(address), kind: kind.to_owned(), text });
    }

    fn address(&mut self, node: NodeId, mac: Mac, address: std::net::Ipv4Addr) -> Result<(), Refused> {
        let now = pxe::Time(self.now.0);
        let change = self.world.leases.set_address(self.policy, mac, address, now);
        let change = change.map_err(|why| fleet::Denied::Conflict(why.to_string()))?;
        self.lease(change).map_err(fleet::Denied::Conflict)?;
        self.settle = true;
        let text = format!("{mac} has {address} from its next request on");
        self.log(Fact { node: Some(node), mac: None, kind: "address".to_owned(), text });
        Ok(())
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

/// The result, unless the batch could not be saved.
fn unless<T>(unsaved: Option<&str>, result: Result<T, Refused>) -> Result<T, Refused> {
    unsaved.map_or(result, |why| Err(Refused::Unsaved(why.to_owned())))
}

/// Whether an event can change what a node should be.
fn settles(event: &Event) -> bool {
    !matches!(
        event,
        Event::Progressed { .. }
            | Event::Reported { .. }
            | Event::Asked { .. }
            | Event::Served { .. }
            | Event::Issued(_)
            | Event::Hello { .. }
            | Event::Logs { .. }
    )
}

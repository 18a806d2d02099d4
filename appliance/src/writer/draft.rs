//! One batch in the making: the world as it would be, and what must be saved to make it so.

use std::collections::{BTreeMap, BTreeSet};

use fleet::event::Fact;
use fleet::{Catalog, Event, Node, State, Time, converge};
use protocol::{HardwareAddress, NodeId};
use pxe::Mac;
use pxe::dhcp::{Arrival, Decision, LeaseChange, Policy, Request, Why};
use ring::rand::{SecureRandom, SystemRandom};

use super::told::Told;
use super::{DhcpAnswer, Done, Input, Packet, Refused, World, addresses};
use crate::store::{Batch, Store};

/// An answer that waits for the commit; it is given the reason when there was none.
type Answer = Box<dyn FnOnce(Option<&str>) + Send>;

/// Facts that anybody on the wire can bring about with a key of its own making.
const OF_STRANGERS: [&str; 2] = ["claimed", "conflict"];

pub(super) struct Draft<'a> {
    world: World,
    batch: Batch,
    answers: Vec<Answer>,
    catalog: &'a Catalog,
    policy: &'a Policy,
    told: &'a mut Told,
    now: Time,
    /// Whether state documents may have changed.
    pub(super) settle: bool,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        world: World,
        catalog: &'a Catalog,
        policy: &'a Policy,
        told: &'a mut Told,
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
            Input::Release { mac, done } => {
                let result = self.release(mac);
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
        match self.decide(&request, packet.arrival) {
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

    /// Decides; with an empty pool once more, after an address was taken back from a machine that is no node.
    fn decide(&mut self, request: &Request, arrival: Arrival) -> Decision {
        let now = pxe::Time(self.now.0);
        let decided = pxe::dhcp::decide(self.policy, &self.world.leases, request, arrival, now);
        let exhausted = matches!(decided, Decision::Ignore(Why::PoolExhausted { .. }));
        if exhausted && self.reclaim(now) {
            return pxe::dhcp::decide(self.policy, &self.world.leases, request, arrival, now);
        }
        decided
    }

    fn reclaim(&mut self, now: pxe::Time) -> bool {
        let macs = self.world.fleet.nodes.values().flat_map(Node::macs).map(HardwareAddress::as_str);
        let macs = macs.collect::<BTreeSet<_>>();
        let kept = |mac: Mac| macs.contains(mac.to_string().as_str());
        let Some(change) = self.world.leases.reclaim(self.policy, kept, now) else { return false };
        let (mac, lease) = (change.mac, self.world.leases.get(change.mac).cloned());
        if let Some(lease) = lease
            && self.lease(change).is_ok()
        {
            let until = Time(lease.expires.0);
            let text = format!(
                "{} taken back: no node's, its lease ended at {until}, and no other was free",
                lease.ip
            );
            self.log(Fact {
                node: None,
                mac: mac.to_string().parse().ok(),
                kind: "address".to_owned(),
                text,
            });
            return true;
        }
        false
    }

    fn release(&mut self, mac: Mac) -> Result<LeaseChange, Refused> {
        let now = pxe::Time(self.now.0);
        let missing = || fleet::Denied::Missing { kind: "lease", name: mac.to_string() };
        let address = self.world.leases.get(mac).ok_or_else(missing)?.ip;
        let hardware = mac.to_string().parse::<HardwareAddress>().ok();
        if let Some(node) = hardware.as_ref().and_then(|hardware| self.node_of(hardware)) {
            let name = &node.name;
            return Err(fleet::Denied::Conflict(format!(
                "{address} is {name}'s, and a node keeps its address for good: give {name} another one, and this one \
                 is free when its lease is over (rackwright node set-address {name} ADDRESS)"
            ))
            .into());
        }
        let change = self.world.leases.release(mac, now).ok_or_else(missing)?;
        self.lease(change.clone()).map_err(fleet::Denied::Conflict)?;
        let text = format!("{address} released by the operator");
        self.log(Fact { node: None, mac: hardware, kind: "address".to_owned(), text });
        Ok(change)
    }

    fn lease(&mut self, change: LeaseChange) -> Result<(), String> {
        self.world.leases.apply(&change).map_err(|why| why.to_string())?;
        let mac = change.mac.to_string().parse::<HardwareAddress>().ok();
        let before = std::mem::replace(&mut self.world.site.addresses, addresses(&self.world.leases));
        // The documents name the addresses that nodes have.
        let moved = mac.filter(|mac| before.get(mac) != self.world.site.addresses.get(mac));
        self.settle |= moved.is_some_and(|mac| self.node_of(&mac).is_some());
        self.batch.leases.push(change);
        Ok(())
    }

    /// Logs what a NIC was told, unless it was told the same a moment ago.
    fn tell(&mut self, mac: Mac, kind: &str, text: String) {
        let Ok(address) = mac.to_string().parse() else { return };
        if self.worth(&address, &text) {
            let node = self.node_of(&address).map(|node| node.id);
            self.log(Fact { node, mac: Some(address), kind: kind.to_owned(), text });
        }
    }

    /// Whether a line about this NIC says something new, and there are not too many.
    fn worth(&mut self, address: &HardwareAddress, text: &str) -> bool {
        let stranger = |node: &Node| matches!(node.state, State::Discovered | State::Rejected { .. });
        let ours = self.node_of(address).is_some_and(|node| !stranger(node));
        self.told.worth(address.as_str(), ours, text, self.now)
    }

    fn node_of(&self, address: &HardwareAddress) -> Option<&Node> {
        self.world.fleet.nodes.values().find(|node| node.macs().any(|own| own == address))
    }

    fn address(&mut self, node: NodeId, mac: Mac, address: std::net::Ipv4Addr) -> Result<(), Refused> {
        let now = pxe::Time(self.now.0);
        let change = self.world.leases.set_address(self.policy, mac, address, now);
        let change = change.map_err(|why| fleet::Denied::Conflict(why.to_string()))?;
        self.lease(change).map_err(fleet::Denied::Conflict)?;
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

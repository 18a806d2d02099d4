//! Who gets which address: DHCP packets, and what the operator fixes.

use std::net::Ipv4Addr;
use std::sync::Arc;

use fleet::event::Fact;
use fleet::network::{Noticed, Sighting};
use fleet::{Denied, Event, State, Time};
use protocol::NodeId;
use pxe::Mac;
use pxe::dhcp::{
    AddressError, Arrival, Decision, Kind, Lease, LeaseChange, LeaseState, Machine, Network, Policy,
    ReplyKind, Request, Why,
};
use pxe::trace::Answer;
use serde_json::json;

use super::draft::{Draft, Promise};
use super::{AddressWish, DhcpAnswer, Question, Refused, World, hardware};
use crate::reservation::Reservation;

impl World {
    /// What is known of a machine beside its lease: whether an operator has admitted it, by approving the server or by
    /// reserving its hardware address.
    pub(super) fn machine(&self, mac: Mac) -> Machine {
        let admitted = self.reservations.contains_key(&mac) || self.nics.knows(mac);
        let ours = |lease: &Lease| self.networks.iter().any(|network| network.subnet_of(lease.ip).is_some());
        let elsewhere = self.leases.get(mac).is_some_and(ours);
        Machine { admitted, elsewhere, ..Machine::default() }
    }

    /// How much is lost when a question is not answered: which to drop when there are too many.
    pub fn urgency(&self, request: &Request) -> Urgency {
        let had = |mac: Mac| self.leases.get(mac).is_some_and(|lease| lease.state != LeaseState::Offered);
        // Anybody can go on with what was never begun.
        let begun = self.leases.get(request.mac).is_some();
        match request.kind {
            Kind::Request | Kind::Decline | Kind::Release | Kind::Inform if begun => Urgency::Underway,
            Kind::Request | Kind::Decline | Kind::Release | Kind::Inform => Urgency::Stranger,
            Kind::Discover if self.machine(request.mac).admitted || had(request.mac) => Urgency::Known,
            Kind::Discover => Urgency::Stranger,
        }
    }
}

/// How much is lost when a question is not answered; most last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// A machine that nobody knows begins: it will ask again.
    Stranger,
    /// A machine that has booted from here begins.
    Known,
    /// Somebody goes on with what was begun.
    Underway,
}

/// The network of an interface.
fn network<'a>(networks: &'a [Network], interface: &str) -> Option<&'a Network> {
    networks.iter().find(|network| network.interface == interface)
}

/// The silence on an interface that is none of ours.
fn nobody(interface: &str) -> DhcpAnswer {
    DhcpAnswer::Silence(Answer::unable(&format!("{interface} is no provisioning network")))
}

impl Draft<'_> {
    /// What to say, and whether it must wait for the commit.
    pub(super) fn dhcp(&mut self, question: &Question) -> (DhcpAnswer, Promise) {
        let Question { interface, request, arrival } = question;
        let networks = Arc::clone(&self.world.networks);
        let Some(network) = network(&networks, interface) else {
            return (nobody(interface), Promise::Something);
        };
        let unable = |why: String| (DhcpAnswer::Silence(Answer::unable(&why)), Promise::Something);
        match self.decide(network, request, *arrival) {
            Decision::Ignore(why) => {
                self.notice(network, request, why);
                self.tell(request.mac, "silence", &why.to_string());
                (DhcpAnswer::Silence(Answer::silence(&why)), Promise::Something)
            }
            Decision::Record { lease, what } => match self.lease(*lease) {
                Ok(_) => {
                    self.tell(request.mac, "address", &what);
                    (DhcpAnswer::Silence(Answer::Noted), Promise::Something)
                }
                Err(why) => unable(why),
            },
            Decision::Reply(reply) => {
                let promise = match reply.lease.clone().map(|lease| self.lease(lease)) {
                    Some(Err(why)) => return unable(why),
                    Some(Ok(promise)) => promise,
                    None if reply.kind == ReplyKind::Offer => Promise::Nothing,
                    None => Promise::Something,
                };
                self.handed(request, &reply);
                if promise == Promise::Nothing {
                    self.tell_with_the_next(request.mac, "address", &reply.what);
                } else {
                    self.tell(request.mac, "address", &reply.what);
                }
                (DhcpAnswer::Send(reply), promise)
            }
        }
    }

    /// A machine on this very network takes the offer of another server: so there is one. What comes through a relay says
    /// nothing about this network.
    fn notice(&mut self, network: &Network, request: &Request, why: Why) {
        let Why::OtherServer(server) = why else { return };
        if !request.giaddr.is_unspecified() || !request.ciaddr.is_unspecified() {
            return;
        }
        let sighting = Sighting { server, noticed: Noticed::Chosen, boots: false, site: None };
        // Refused only for a network that is not watched.
        drop(self.event(Event::Foreign { interface: network.interface.clone(), sighting }));
    }

    /// Decides; with an empty pool once more, after an address was taken back from a machine that is no node.
    fn decide(&mut self, network: &Network, request: &Request, arrival: Arrival) -> Decision {
        let now = pxe::Time(self.now.0);
        let machine = self.machine(network, request, arrival);
        let decided = pxe::dhcp::decide(network, &self.world.leases, machine, request, arrival, now);
        let exhausted = matches!(decided, Decision::Ignore(Why::PoolExhausted { .. }));
        let policy = network.policy(request, *arrival.source.ip());
        if exhausted && policy.is_ok_and(|policy| self.reclaim(policy, now)) {
            return pxe::dhcp::decide(network, &self.world.leases, machine, request, arrival, now);
        }
        decided
    }

    fn reclaim(&mut self, policy: &Policy, now: pxe::Time) -> bool {
        let (nics, reservations) = (&self.world.nics, &self.world.reservations);
        let kept = |mac: Mac| nics.owner(mac).is_some() || reservations.contains_key(&mac);
        let Some(change) = self.world.leases.reclaim(policy, kept, now) else { return false };
        let (mac, lease) = (change.mac, self.world.leases.get(change.mac).cloned());
        if let Some(lease) = lease
            && self.lease(change).is_ok()
        {
            let (ip, until) = (lease.ip, Time(lease.expires.0));
            self.remark(
                mac,
                "address",
                format!("{ip} taken back: no node's, its lease ended at {until}, and no other was free"),
            );
            return true;
        }
        false
    }

    /// Makes the change; whether it must be durable.
    pub(super) fn lease(&mut self, change: LeaseChange) -> Result<Promise, String> {
        let why = |why: pxe::dhcp::BadLeases| why.to_string();
        if self.world.leases.is_passing(&change) {
            self.world.leases.offer(&change).map_err(why)?;
            self.offers.push(change);
            return Ok(Promise::Nothing);
        }
        self.world.leases.apply(&change).map_err(why)?;
        self.moved(change.mac);
        self.batch.leases.push(change);
        Ok(Promise::Something)
    }

    /// The documents name the addresses that nodes have.
    fn moved(&mut self, mac: Mac) {
        let Some(address) = self.world.nics.owner(mac).and_then(|_| hardware(mac)) else { return };
        let now = self.world.leases.get(mac).map(|lease| lease.in_use());
        if self.world.site.addresses.get(&address).copied() == now {
            return;
        }
        let addresses = &mut Arc::make_mut(&mut self.world.site).addresses;
        match now {
            Some(now) => addresses.insert(address, now),
            None => addresses.remove(&address),
        };
        self.settle = true;
    }

    /// Logs what a NIC was told, unless it was told the same a moment ago.
    fn tell(&mut self, mac: Mac, kind: &str, text: &str) {
        if self.news(mac, text) {
            self.remark(mac, kind, text.to_owned());
        }
    }

    /// The same, of what is no reason for a commit of its own: the line is saved with what happens next. An offer is
    /// followed by a request, or by nothing.
    fn tell_with_the_next(&mut self, mac: Mac, kind: &str, text: &str) {
        if self.news(mac, text) {
            let fact = self.fact(mac, kind, text.to_owned());
            self.held.push((self.now, fact));
        }
    }

    /// Whether a line about this NIC says something new, and there are not too many.
    pub(super) fn news(&mut self, mac: Mac, text: &str) -> bool {
        let ours = self.world.nics.knows(mac);
        self.told.worth(&mac.to_string(), ours, text, self.now)
    }

    /// Gives back the address of a machine that is no node.
    pub(super) fn release(&mut self, mac: Mac) -> Result<LeaseChange, Refused> {
        let missing = || Denied::Missing { kind: "lease", name: mac.to_string() };
        let address = self.world.leases.get(mac).ok_or_else(missing)?.ip;
        // One that is retired has no claim to it any more.
        let owner = hardware(mac).and_then(|mac| self.world.fleet.owner(&mac));
        if let Some(node) = owner.filter(|node| node.state != State::Retired) {
            let name = &node.name;
            return Err(Denied::Conflict(format!(
                "{address} is {name}'s, and a node keeps its address for good: give {name} another one, and this one \
                 is free when its lease is over (rackwright node set-address {name} ADDRESS)"
            ))
            .into());
        }
        let change = self.world.leases.release(mac, pxe::Time(self.now.0)).ok_or_else(missing)?;
        self.lease(change.clone()).map_err(Denied::Conflict)?;
        self.remark(mac, "released", format!("{address} released by the operator"));
        self.note("address", None, json!({"change": "released", "mac": mac.to_string(), "address": address}));
        Ok(change)
    }

    /// What the operator wants of addresses.
    pub(super) fn address(&mut self, wish: AddressWish) -> Result<(), Refused> {
        match wish {
            AddressWish::Fix { node, mac, address } => self.fix(node, mac, address),
            AddressWish::Reserve { mac, address } => self.reserve(mac, address),
            AddressWish::Unreserve { mac } => self.unreserve(mac),
            AddressWish::Lift { address } => self.lift(address),
            AddressWish::Import { rows, dry_run } => self.import(&rows, dry_run),
        }
    }

    fn fix(&mut self, node: NodeId, mac: Mac, address: Ipv4Addr) -> Result<(), Refused> {
        self.pin(mac, address)?;
        let text = format!("{mac} has {address} from its next request on");
        let body = json!({"change": "fixed", "mac": mac.to_string(), "address": address});
        self.note("address", Some(node), body);
        self.log(Fact { node: Some(node), mac: None, kind: "address".to_owned(), text });
        Ok(())
    }

    fn pin(&mut self, mac: Mac, address: Ipv4Addr) -> Result<(), Denied> {
        let now = pxe::Time(self.now.0);
        let subnet = self.world.networks.iter().find_map(|network| network.subnet_of(address));
        let outside = || Denied::Conflict(AddressError::Outside(address).to_string());
        let change = self.world.leases.set_address(subnet.ok_or_else(outside)?, mac, address, now);
        let change = change.map_err(|why| Denied::Conflict(why.to_string()))?;
        self.lease(change).map(drop).map_err(Denied::Conflict)
    }

    pub(super) fn reserve(&mut self, mac: Mac, address: Option<Ipv4Addr>) -> Result<(), Refused> {
        if let Some(address) = address {
            self.pin(mac, address)?;
        }
        let made = self.world.reservations.get(&mac).map_or(self.now, |reservation| reservation.made);
        Arc::make_mut(&mut self.world.reservations).insert(mac, Reservation { made });
        self.batch.reservations.push((mac, Some(Reservation { made })));
        let with = address.map_or_else(String::new, |address| format!(", with {address}"));
        let body = json!({"change": "reserved", "mac": mac.to_string(), "address": address});
        self.note("reservation", self.world.nics.owner(mac), body);
        self.remark(mac, "reserved", format!("{mac} is known here from now on{with}"));
        Ok(())
    }

    fn unreserve(&mut self, mac: Mac) -> Result<(), Refused> {
        let unpinned = self.world.leases.unpin(mac);
        if !self.world.reservations.contains_key(&mac) && unpinned.is_none() {
            return Err(Denied::Missing { kind: "reservation", name: mac.to_string() }.into());
        }
        if let Some(change) = unpinned {
            self.lease(change).map_err(Denied::Conflict)?;
        }
        Arc::make_mut(&mut self.world.reservations).remove(&mac);
        self.batch.reservations.push((mac, None));
        let body = json!({"change": "unreserved", "mac": mac.to_string()});
        self.note("reservation", self.world.nics.owner(mac), body);
        self.remark(mac, "unreserved", format!("nothing is reserved for {mac} any more"));
        Ok(())
    }

    fn remark(&mut self, mac: Mac, kind: &str, text: String) {
        let fact = self.fact(mac, kind, text);
        self.log(fact);
    }

    fn fact(&self, mac: Mac, kind: &str, text: String) -> Fact {
        Fact { node: self.world.nics.owner(mac), mac: hardware(mac), kind: kind.to_owned(), text }
    }
}

/// Why a batch was not saved, and the world in which it never happened.
pub(super) struct Unsaved<'a> {
    pub(super) why: &'a str,
    pub(super) world: &'a World,
    pub(super) now: Time,
}

impl Unsaved<'_> {
    /// What a client may be told all the same: only what is durable already.
    pub(super) fn dhcp(&self, question: &Question) -> DhcpAnswer {
        let Question { interface, request, arrival } = question;
        let Some(network) = network(&self.world.networks, interface) else { return nobody(interface) };
        let (now, machine) = (pxe::Time(self.now.0), self.world.machine(request.mac));
        let standing = pxe::dhcp::standing(network, &self.world.leases, machine, request, *arrival, now);
        standing.map_or_else(|| DhcpAnswer::Silence(Answer::unable(self.why)), DhcpAnswer::Send)
    }
}

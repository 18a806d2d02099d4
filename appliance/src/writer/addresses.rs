//! Who gets which address: DHCP packets, and what the operator fixes.

use std::borrow::Cow;
use std::net::Ipv4Addr;

use fleet::event::Fact;
use fleet::{Denied, Time};
use protocol::NodeId;
use pxe::Mac;
use pxe::dhcp::{Decision, LeaseChange, Mode, Policy, Request};

use super::draft::Draft;
use super::{AddressWish, DhcpAnswer, Packet, Refused, World, addresses, hardware};
use crate::reservation::Reservation;

/// How long the same fact about a NIC is not logged again, in milliseconds.
const REPEAT_MS: u64 = 60_000;
/// Of how many NICs it is remembered at once what was logged.
const TOLD: usize = 65_536;

impl World {
    /// The policy for one NIC: what the configuration says, and whether it is a server that an operator has made
    /// known, by approving it or by reserving its hardware address.
    pub(super) fn policy<'a>(&self, base: &'a Policy, mac: Mac) -> Cow<'a, Policy> {
        let known = || {
            let approved = hardware(mac).is_some_and(|mac| self.fleet.knows(&mac));
            approved || self.reservations.contains_key(&mac)
        };
        if base.mode == Mode::KnownOnly && known() {
            let mut policy = base.clone();
            policy.known.insert(mac);
            return Cow::Owned(policy);
        }
        Cow::Borrowed(base)
    }
}

impl Draft<'_> {
    pub(super) fn dhcp(&mut self, packet: &Packet) -> DhcpAnswer {
        let silent = DhcpAnswer::Silence;
        let request = match Request::parse(&packet.bytes) {
            Ok(request) => request,
            Err(malformed) => return DhcpAnswer::Malformed(malformed.to_string()),
        };
        let now = pxe::Time(self.now.0);
        let policy = self.world.policy(self.policy, request.mac);
        match pxe::dhcp::decide(&policy, &self.world.leases, &request, packet.arrival, now) {
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
        if self.told.len() >= TOLD {
            // Nobody has so many NICs: somebody makes addresses up.
            self.told.clear();
        }
        self.told.insert(mac, (text.clone(), self.now));
        let Some(address) = hardware(mac) else { return };
        let node = self.world.fleet.owner(&address).map(|node| node.id);
        self.log(Fact { node, mac: Some(address), kind: kind.to_owned(), text });
    }

    /// What the operator wants of addresses.
    pub(super) fn address(&mut self, wish: AddressWish) -> Result<(), Refused> {
        match wish {
            AddressWish::Fix { node, mac, address } => self.fix(node, mac, address),
            AddressWish::Reserve { mac, address } => self.reserve(mac, address),
            AddressWish::Release { mac } => self.release(mac),
        }
    }

    fn fix(&mut self, node: NodeId, mac: Mac, address: Ipv4Addr) -> Result<(), Refused> {
        self.pin(mac, address)?;
        let text = format!("{mac} has {address} from its next request on");
        self.log(Fact { node: Some(node), mac: None, kind: "address".to_owned(), text });
        Ok(())
    }

    fn pin(&mut self, mac: Mac, address: Ipv4Addr) -> Result<(), Denied> {
        let now = pxe::Time(self.now.0);
        let change = self.world.leases.set_address(self.policy, mac, address, now);
        let change = change.map_err(|why| Denied::Conflict(why.to_string()))?;
        self.lease(change).map_err(Denied::Conflict)?;
        self.settle = true;
        Ok(())
    }

    fn reserve(&mut self, mac: Mac, address: Option<Ipv4Addr>) -> Result<(), Refused> {
        if let Some(address) = address {
            self.pin(mac, address)?;
        }
        let made = self.world.reservations.get(&mac).map_or(self.now, |reservation| reservation.made);
        self.world.reservations.insert(mac, Reservation { made });
        self.batch.reservations.push((mac, Some(Reservation { made })));
        let with = address.map_or_else(String::new, |address| format!(", with {address}"));
        self.remark(mac, "reserved", format!("{mac} is known here from now on{with}"));
        Ok(())
    }

    fn release(&mut self, mac: Mac) -> Result<(), Refused> {
        let reserved = self.world.reservations.remove(&mac).is_some();
        let unpinned = self.world.leases.unpin(mac);
        if !reserved && unpinned.is_none() {
            return Err(Denied::Missing { kind: "reservation", name: mac.to_string() }.into());
        }
        self.batch.reservations.push((mac, None));
        if let Some(change) = unpinned {
            self.lease(change).map_err(Denied::Conflict)?;
            self.settle = true;
        }
        self.remark(mac, "released", format!("nothing is reserved for {mac} any more"));
        Ok(())
    }

    fn remark(&mut self, mac: Mac, kind: &str, text: String) {
        let mac = hardware(mac);
        let node = mac.as_ref().and_then(|mac| self.world.fleet.owner(mac)).map(|node| node.id);
        self.log(Fact { node, mac, kind: kind.to_owned(), text });
    }
}

/// Why a batch was not saved, and the world in which it never happened.
pub(super) struct Unsaved<'a> {
    pub(super) why: &'a str,
    pub(super) world: &'a World,
    pub(super) policy: &'a Policy,
    pub(super) now: Time,
}

impl Unsaved<'_> {
    /// What a client may be told all the same: only what is durable already.
    pub(super) fn dhcp(&self, packet: &Packet) -> DhcpAnswer {
        let request = match Request::parse(&packet.bytes) {
            Ok(request) => request,
            Err(malformed) => return DhcpAnswer::Malformed(malformed.to_string()),
        };
        let policy = self.world.policy(self.policy, request.mac);
        let now = pxe::Time(self.now.0);
        let standing = pxe::dhcp::standing(&policy, &self.world.leases, &request, packet.arrival, now);
        standing.map_or_else(|| DhcpAnswer::Silence(self.why.to_owned()), DhcpAnswer::Send)
    }
}

//! What to answer. Pure: same inputs, same answer, for ever.

use std::net::{Ipv4Addr, SocketAddrV4};

use super::client::VendorClass;
use super::lease::{Lease, LeaseChange, LeaseState, Leases, QUARANTINE_SECONDS};
use super::loader::{Boot, BootFile, boot};
use super::policy::{Machine, Mode, Network, Policy, Stance};
use super::probe::site_text;
use super::reply::Draft;
use super::request::{Kind, Request};
use super::why::Why;
use crate::boot::Choice;
use crate::{BootPath, Time};

/// How long an offer stands before its address may go to another machine (if no other is left).
const OFFER_SECONDS: u64 = 60;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// The port a packet came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// Port 67: DHCP.
    Lan,
    /// Port 4011: firmware that has an address and wants to know what to boot (PXE 2.1, 2.2.2).
    Proxy,
}

/// How a packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// To which port.
    pub door: Door,
    /// From where; `0.0.0.0:68` of a client without an address.
    pub source: SocketAddrV4,
}

/// What a reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// An address and a boot file to be had.
    Offer,
    /// They are yours.
    Ack,
    /// Not that address; begin again.
    Nak,
}

/// A packet to send, once `lease` is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What must be durable first. None: nothing new is promised.
    pub lease: Option<LeaseChange>,
    /// The UDP payload, 300 octets or more.
    pub packet: Vec<u8>,
    /// Where to, from the port the request came to. `255.255.255.255` means out of the interface the request came
    /// in by, whatever the broadcast bit says: raw unicast would need an ARP entry that is not there.
    pub to: SocketAddrV4,
    /// What it is.
    pub kind: ReplyKind,
    /// The address given, if one is.
    pub address: Option<Ipv4Addr>,
    /// What the machine is told to boot, and by which path.
    pub boot: Option<(BootFile, BootPath)>,
    /// Of the [`Network::choices`] which it was.
    pub choice: Option<Choice>,
    /// The decision in a few words, for the log.
    pub what: String,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Make `lease` durable, then send.
    Reply(Box<Reply>),
    /// Make the change durable; the client expects no answer.
    Record {
        /// The change.
        lease: Box<LeaseChange>,
        /// The decision in a few words, for the log.
        what: String,
    },
    /// Stay silent, for this reason.
    Ignore(Why),
}

/// Decides about one request, against a snapshot of the leases. The shell decides and commits one at a time.
#[must_use]
pub fn decide(
    network: &Network,
    leases: &Leases,
    machine: Machine,
    request: &Request,
    arrival: Arrival,
    now: Time,
) -> Decision {
    let decided = network.policy(request, *arrival.source.ip()).and_then(|policy| {
        // Neither are other controllers answered then: who does not serve is in nobody's way. What a relay brings
        // comes from another network.
        let case = Case { network, policy, leases, machine, request, source: arrival.source, now };
        let renews = arrival.door == Door::Lan && case.renews();
        match network.stance {
            Stance::Listening if policy.relay.is_none() && !renews => return Err(Why::Listening),
            Stance::Paused(server) if policy.relay.is_none() && !renews => return Err(Why::Foreign(server)),
            Stance::Serve | Stance::Proxy | Stance::Listening | Stance::Paused(_) => {}
        }
        if request.vendor == VendorClass::Probe && arrival.door == Door::Lan {
            return case.probe(&network.site);
        }
        case.admit()?;
        match arrival.door {
            Door::Proxy => case.boot_only(),
            Door::Lan if policy.proxy && !renews => case.beside(),
            Door::Lan => case.on_lan(),
        }
    });
    decided.unwrap_or_else(Decision::Ignore)
}

/// Everything a decision goes by.
struct Case<'a> {
    network: &'a Network,
    policy: &'a Policy,
    leases: &'a Leases,
    machine: Machine,
    request: &'a Request,
    source: SocketAddrV4,
    now: Time,
}

impl Case<'_> {
    /// A machine asks to keep the address that it has from us. It is answered whoever else is on the network: a lease that
    /// we let run out would be taken over by the other server.
    fn renews(&self) -> bool {
        let Request { kind, server_id, ciaddr, requested, .. } = *self.request;
        // INIT-REBOOT has it in option 50, RENEWING and REBINDING in ciaddr (RFC 2131, 4.3.2).
        let own = Some(ciaddr).filter(|address| !address.is_unspecified()).or(requested);
        let held = self.leases.get(self.request.mac).filter(|lease| Some(lease.ip) == own);
        let held = held.filter(|lease| self.policy.subnet.contains(&lease.ip));
        let runs = held.is_some_and(|lease| lease.state == LeaseState::Bound && lease.expires > self.now);
        kind == Kind::Request && server_id.is_none() && runs
    }

    /// Who is not answered at all.
    fn admit(&self) -> Result<(), Why> {
        let mac = self.request.mac;
        match self.policy.mode {
            Mode::Off => Err(Why::Off),
            Mode::Full => Ok(()),
            Mode::KnownOnly => {
                let known = self.machine.admitted || self.leases.get(mac).is_some_and(|lease| lease.pinned);
                if known { Ok(()) } else { Err(Why::UnknownMachine(mac)) }
            }
        }
    }

    /// Another controller looks for servers. It is told that there is one, and whose; it wants no address and gets
    /// none, so whether it is known does not matter.
    fn probe(&self, site: &str) -> Result<Decision, Why> {
        match (self.policy.mode, self.request.kind) {
            (Mode::Off, _) => Err(Why::Off),
            (_, Kind::Discover) => {
                let draft = Draft { site: Some(site_text(site)), ..Draft::of(ReplyKind::Offer) };
                self.reply(draft, None, broadcast())
            }
            (_, other) => Err(Why::NotAProbe(other)),
        }
    }

    fn on_lan(&self) -> Result<Decision, Why> {
        match self.request.kind {
            Kind::Discover => self.discover(),
            Kind::Request => self.request(),
            Kind::Decline => self.decline(),
            Kind::Release => self.release(),
            Kind::Inform => self.inform(),
        }
    }

    fn discover(&self) -> Result<Decision, Why> {
        let (request, now) = (self.request, self.now);
        let boot = self.boot()?;
        let (address, evicts) = self.leases.address_for(self.policy, request.mac, request.requested, now)?;
        let held = self.leases.get(request.mac).filter(|lease| lease.ip == address);
        let offered = Lease {
            expires: now.plus_seconds(OFFER_SECONDS),
            ..held.cloned().unwrap_or_else(|| Lease::new(address, self.leases.get(request.mac), now))
        };
        // A lease that was taken once stays as it is; an offer that still stands is not written again.
        let standing = held.is_some_and(|lease| lease.state != LeaseState::Offered || lease.expires > now);
        // Asked for in another of our subnets, by a card that moved or by somebody who only says that he is it: a lease
        // that runs there is lost when what is offered here is taken, and not before.
        let runs_elsewhere = self.leases.get(request.mac).is_some_and(|lease| {
            let there = self.network.subnet_of(lease.ip).is_some() || self.machine.elsewhere;
            let there = there && !self.policy.subnet.contains(&lease.ip);
            there && lease.state == LeaseState::Bound && lease.expires > now
        });
        let lease = (!standing && !runs_elsewhere).then(|| self.change(offered, evicts));
        let draft = Draft {
            yiaddr: address,
            lease_seconds: Some(self.policy.lease_seconds),
            boot,
            ..Draft::of(ReplyKind::Offer)
        };
        self.reply(draft, lease, broadcast())
    }

    /// SELECTING, INIT-REBOOT, RENEWING and REBINDING (RFC 2131, 4.3.2).
    fn request(&self) -> Result<Decision, Why> {
        let request = self.request;
        self.is_for_us()?;
        let in_use = Some(request.ciaddr).filter(|address| !address.is_unspecified());
        let selecting = request.server_id.is_some();
        let init_reboot = !selecting && in_use.is_none();
        // A client that renews has its address in ciaddr and asks for no other.
        let asked = if selecting { request.requested.or(in_use) } else { in_use.or(request.requested) };
        let asked = asked.ok_or(Why::NoAddress(Kind::Request))?;
        let boot = self.boot()?;
        if !self.policy.subnet.contains(&asked) && !selecting {
            // It comes from another of our subnets and must learn that it is not there any more. Of others we know
            // nothing.
            let ours = self.network.subnet_of(asked).is_some();
            return if ours { self.nak(asked) } else { Err(Why::SubnetNotOurs(asked)) };
        }
        if init_reboot && self.has(asked).is_none() {
            return self.nak(asked);
        }
        // A client that renews an address we have no record of (a restored database) keeps it, if it is free.
        match self.leases.address_for(self.policy, request.mac, Some(asked), self.now) {
            Ok((address, evicts)) if address == asked => self.ack(address, evicts, boot),
            Ok(_) | Err(Why::PoolExhausted { .. }) => self.nak(asked),
            Err(why) => Err(why),
        }
    }

    /// The address, if it is this machine's already.
    fn has(&self, address: Ipv4Addr) -> Option<Ipv4Addr> {
        self.leases.get(self.request.mac).map(|lease| lease.ip).filter(|own| *own == address)
    }

    fn ack(
        &self,
        address: Ipv4Addr,
        evicts: Option<crate::Mac>,
        boot: Option<Boot>,
    ) -> Result<Decision, Why> {
        let (request, now) = (self.request, self.now);
        let before = self.leases.get(request.mac);
        let base = match before.filter(|lease| lease.ip == address) {
            Some(held) => held.clone(),
            None => Lease::new(address, before, now),
        };
        let lease = Lease {
            state: LeaseState::Bound,
            expires: now.plus_seconds(u64::from(self.policy.lease_seconds)),
            client_id: request.client_id.clone().or(base.client_id),
            hostname: request.hostname.clone().or(base.hostname),
            arch: request.arch.or(base.arch),
            path: boot.map(|boot| boot.path).or(base.path),
            leaving: None,
            ..base
        };
        let draft = Draft {
            yiaddr: address,
            ciaddr: request.ciaddr,
            lease_seconds: Some(self.policy.lease_seconds),
            boot,
            ..Draft::of(ReplyKind::Ack)
        };
        // Unicast only to an address that is this client's: ciaddr alone is what anybody may claim.
        let to = if request.ciaddr == address { unicast(address) } else { broadcast() };
        self.reply(draft, Some(self.change(lease, evicts)), to)
    }

    fn nak(&self, asked: Ipv4Addr) -> Result<Decision, Why> {
        // A client behind a router, which renews by unicast, hears no broadcast of ours.
        let routed = self.policy.relay.is_some() && *self.source.ip() == self.request.ciaddr;
        let to = if routed && self.policy.is_for_clients(self.request.ciaddr) {
            unicast(self.request.ciaddr)
        } else {
            broadcast()
        };
        let decision = self.reply(Draft::of(ReplyKind::Nak), None, to)?;
        Ok(match decision {
            Decision::Reply(reply) => Decision::Reply(Box::new(Reply {
                what: format!("{asked} refused: not its address"),
                ..*reply
            })),
            other @ (Decision::Record { .. } | Decision::Ignore(_)) => other,
        })
    }

    /// The client found its address in use (RFC 2131, 4.3.3). It asks anew and is given another, unless a person
    /// fixed this one.
    fn decline(&self) -> Result<Decision, Why> {
        let address = self.named(self.request.requested)?;
        let held = self.held(address)?;
        let until = self.now.plus_seconds(QUARANTINE_SECONDS);
        let kept = held.pinned.then(|| Lease { state: LeaseState::Offered, ..held.clone() });
        let lease = LeaseChange {
            mac: self.request.mac,
            lease: kept,
            evicts: None,
            quarantine: Some((address, until)),
        };
        let what = format!("{address} declined: somebody else uses it; in quarantine");
        Ok(Decision::Record { lease: Box::new(lease), what })
    }

    /// The client needs its address no longer. It is kept for it all the same.
    fn release(&self) -> Result<Decision, Why> {
        let address = self.named(Some(self.request.ciaddr))?;
        let held = self.held(address)?;
        let lease = Lease { state: LeaseState::Released, expires: self.now, ..held.clone() };
        let what = format!("{address} released by its client; kept for it");
        Ok(Decision::Record { lease: Box::new(self.change(lease, None)), what })
    }

    /// The client has an address from elsewhere (RFC 2131, 4.3.5): everything but an address and a lease.
    fn inform(&self) -> Result<Decision, Why> {
        let request = self.request;
        let address = self.named(Some(request.ciaddr))?;
        if !self.policy.is_for_clients(address) {
            return Err(Why::SubnetNotOurs(address));
        }
        let draft = Draft { ciaddr: address, boot: self.boot()?, ..Draft::of(ReplyKind::Ack) };
        self.reply(draft, None, unicast(address))
    }

    /// Port 67 beside the server that gives the addresses: firmware is offered a boot file and no address.
    fn beside(&self) -> Result<Decision, Why> {
        let request = self.request;
        let boot = self.boot()?.ok_or(Why::NotBooting)?;
        if request.kind != Kind::Discover {
            return Err(Why::AddressesElsewhere(request.kind));
        }
        let ask_again = boot.choice.ask_again;
        let draft = Draft { boot: Some(boot), boot_only: true, ask_again, ..Draft::of(ReplyKind::Offer) };
        self.reply(draft, None, broadcast())
    }

    /// Port 4011: a boot file and no address.
    fn boot_only(&self) -> Result<Decision, Why> {
        let (request, source) = (self.request, self.source);
        if !matches!(request.kind, Kind::Request | Kind::Inform) {
            return Err(Why::NotOnPxePort(request.kind));
        }
        if !self.policy.is_for_clients(*source.ip()) {
            return Err(Why::SourceNotOurs(*source.ip()));
        }
        // Firmware that boots by HTTP has no use for this port.
        let boot = self.boot()?.filter(|boot| !boot.path.is_http());
        let boot = Some(boot.ok_or(Why::NotPxe)?);
        let draft = Draft { ciaddr: request.ciaddr, boot, boot_only: true, ..Draft::of(ReplyKind::Ack) };
        self.finish(draft, None, source)
    }

    /// What the client is told to boot; None for one that does not boot from the network.
    fn boot(&self) -> Result<Option<Boot>, Why> {
        boot(self.network, self.policy, self.machine, self.request)
    }

    /// Who we are to this client: what its relay says, if that says so. Only relays that the configuration names come
    /// as far as this.
    fn us(&self) -> Ipv4Addr {
        let relayed = !self.request.giaddr.is_unspecified();
        self.request.named_server.filter(|_| relayed).unwrap_or(self.policy.server)
    }

    /// A message may name the server that it is for.
    fn is_for_us(&self) -> Result<(), Why> {
        let ours = [self.us(), self.policy.server];
        match self.request.server_id.filter(|server| !ours.contains(server)) {
            Some(other) => Err(Why::OtherServer(other)),
            None => Ok(()),
        }
    }

    /// The address a message is about.
    fn named(&self, address: Option<Ipv4Addr>) -> Result<Ipv4Addr, Why> {
        self.is_for_us()?;
        address.filter(|address| !address.is_unspecified()).ok_or(Why::NoAddress(self.request.kind))
    }

    fn held(&self, address: Ipv4Addr) -> Result<&Lease, Why> {
        let Request { kind, mac, .. } = *self.request;
        let held = self.leases.get(mac).filter(|lease| lease.ip == address);
        held.ok_or(Why::NotItsAddress { kind, asked: address, mac })
    }

    fn change(&self, lease: Lease, evicts: Option<crate::Mac>) -> LeaseChange {
        let mac = self.request.mac;
        let quarantine = self.leases.left_behind(mac, Some(lease.ip), self.now);
        LeaseChange { mac, lease: Some(lease), evicts, quarantine }
    }

    /// Through the relay when there is one, else as `direct` says.
    fn reply(&self, draft: Draft, lease: Option<LeaseChange>, direct: SocketAddrV4) -> Result<Decision, Why> {
        let giaddr = self.request.giaddr;
        let to = if giaddr.is_unspecified() { direct } else { SocketAddrV4::new(giaddr, SERVER_PORT) };
        self.finish(draft, lease, to)
    }

    fn finish(&self, draft: Draft, lease: Option<LeaseChange>, to: SocketAddrV4) -> Result<Decision, Why> {
        let packet = draft.encode(self.policy, self.request, self.us())?;
        let address = Some(draft.yiaddr).filter(|address| !address.is_unspecified());
        let what = draft.what(self.policy);
        Ok(Decision::Reply(Box::new(Reply {
            lease,
            packet,
            to,
            kind: draft.kind,
            address,
            boot: draft.boot.map(|boot| (boot.file, boot.path)),
            choice: draft.boot.map(|boot| boot.choice),
            what,
        })))
    }
}

fn broadcast() -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::BROADCAST, CLIENT_PORT)
}

fn unicast(address: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(address, CLIENT_PORT)
}

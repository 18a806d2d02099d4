//! A conversation: packets of several clients on two networks, one of them behind a relay; an operator who changes
//! addresses, modes, and who gives the addresses; time.
//!
//! Every step is committed as the daemon does it. What clients were told must never contradict itself, and every
//! reply must be one that firmware can read, and go where it may. What was handed out is remembered, as the daemon does.

use std::net::{Ipv4Addr, SocketAddrV4};

use pxe::boot::History;
use pxe::dhcp::{
    Arrival, Decision, Door, Lease, LeaseState, Leases, Machine, Mode, Network, Policy, Pool, Reply,
    ReplyKind, Request, Stance, VendorClass, decide,
};
use pxe::{HttpBase, Mac, Time};

use super::law::Told;
use super::wire::{CLIENTS, Head, address, client, joined, octets, option, well_formed};
use crate::Reached;
use crate::input::{Input, block};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const RELAY: Ipv4Addr = Ipv4Addr::new(10, 78, 0, 254);
const START: Time = Time(1_800_000_000_000);
/// Longer conversations find nothing that shorter ones do not.
const STEPS: usize = 64;

struct Server {
    network: Network,
    leases: Leases,
    history: History,
    now: Time,
    told: Told,
}

/// Runs a conversation.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let choice = input.byte();
    let (local, behind) = (policy(choice), relayed(policy(choice)));
    let network = Network { relayed: vec![behind], ..Network::single("rw0", local) };
    let (leases, history, told) = (Leases::default(), History::default(), Told::default());
    let mut server = Server { network, leases, history, now: START, told };
    if choice & 4 != 0 {
        server.set_address(mac(1), ip(103));
        server.set_address(mac(2), ip(50));
    }
    let mut answered = false;
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        answered |= server.step(&mut input);
        for (mac, lease) in server.leases.iter() {
            assert_eq!(server.leases.holder(lease.ip), Some(mac), "the two tables of leases differ");
        }
    }
    let rows = server.history.iter().map(|(mac, past)| (mac, past.clone()));
    assert_eq!(History::from_rows(rows.collect::<Vec<_>>()), server.history, "rows do not come back");
    Reached::when(answered)
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// The same one behind a relay.
fn relayed(policy: Policy) -> Policy {
    let far = |last| Ipv4Addr::new(10, 78, 0, last);
    Policy {
        subnet: "10.78.0.0/24".parse().expect("a network"),
        relay: Some(RELAY),
        pools: vec![Pool { first: far(100), last: far(109) }],
        router: None,
        proxy: false,
        ..policy
    }
}

fn mac(number: u8) -> Mac {
    Mac::new([0x52, 0x54, 0, 0xab, 0xcd, number % 8]).expect("one machine's address")
}

/// A pool of ten, in all modes.
fn policy(choice: u8) -> Policy {
    let bit = |n: u8| choice & (1 << n) != 0;
    Policy {
        server: SERVER,
        subnet: "10.77.0.0/24".parse().expect("a network"),
        relay: None,
        pools: vec![Pool { first: ip(100), last: ip(109) }],
        lease_seconds: 3600,
        router: bit(3).then(|| ip(254)),
        dns: if bit(4) { vec![ip(2); 3] } else { vec![] },
        mode: match choice & 3 {
            1 => Mode::KnownOnly,
            2 => Mode::Off,
            _ => Mode::Full,
        },
        proxy: bit(5),
        http: HttpBase::at(SERVER),
    }
}

impl Server {
    /// Takes one step; whether a packet was answered.
    fn step(&mut self, input: &mut Input<'_>) -> bool {
        match input.byte() % 16 {
            8 => {
                let stances = [Stance::Serve, Stance::Listening, Stance::Paused(ip(9))];
                self.network.stance = input.one_of(&stances, Stance::Serve);
            }
            9 => self.network.local.proxy = !self.network.local.proxy,
            10 => self.switch(input.one_of(&[Mode::Full, Mode::KnownOnly, Mode::Off], Mode::Full)),
            11 => self.set_address(mac(input.byte()), ip(input.byte())),
            12 => self.release(mac(input.byte())),
            13 => self.wait(u64::from(input.byte())),
            14 => self.wait(u64::from(u16::from_le_bytes(input.array()))),
            15 => self.wait(80_000 + u64::from(input.byte()) * 64),
            _ => return self.packet(input),
        }
        false
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.plus_seconds(seconds);
    }

    fn switch(&mut self, mode: Mode) {
        self.network.local.mode = mode;
        self.network.relayed.iter_mut().for_each(|policy| policy.mode = mode);
    }

    fn set_address(&mut self, mac: Mac, address: Ipv4Addr) {
        if let Ok(change) = self.leases.set_address(&self.network.local, mac, address, self.now) {
            self.leases.apply(&change).expect("an address the operator may set can be set");
            self.told.changed(mac);
        }
    }

    fn release(&mut self, mac: Mac) {
        if let Some(change) = self.leases.release(mac, self.now) {
            self.leases.apply(&change).expect("giving back always works");
            self.told.changed(mac);
        }
    }

    fn packet(&mut self, input: &mut Input<'_>) -> bool {
        let (bytes, arrival) = packet(input);
        let Ok(request) = Request::parse(&bytes) else { return false };
        let quarantined: Vec<Ipv4Addr> = self.leases.quarantined(self.now).map(|(ip, _)| ip).collect();
        let admitted = [mac(3), mac(4)].contains(&request.mac);
        let pinned = self.leases.get(request.mac).is_some_and(|lease| lease.pinned);
        let machine = Machine {
            admitted,
            elsewhere: false,
            choice: self.history.choose(&self.network, &request, arrival, self.now),
            local: (request.mac == mac(4)).then(|| self.history.local(&request, self.now)),
        };
        let known = admitted || pinned || request.vendor == VendorClass::Probe;
        let bound = |lease: &&Lease| lease.state == LeaseState::Bound && lease.expires > self.now;
        let runs = self.leases.get(request.mac).filter(bound).map(|lease| lease.ip);
        match decide(&self.network, &self.leases, machine, &request, arrival, self.now) {
            Decision::Ignore(why) => {
                assert!(!why.to_string().is_empty(), "a silence without a reason");
                false
            }
            Decision::Record { lease, what } => {
                assert!(known || self.network.local.mode == Mode::Full, "a stranger was heard");
                assert!(!what.is_empty());
                self.leases.apply(&lease).expect("what was decided can be recorded");
                self.told.given_back(request.mac, lease.quarantine.is_some());
                false
            }
            Decision::Reply(reply) => {
                if let Some(change) = &reply.lease {
                    self.leases.apply(change).expect("what was decided can be recorded");
                }
                assert!(known || self.network.local.mode == Mode::Full, "a stranger was answered");
                for (_, row) in self.history.handed(&request, &reply, self.now) {
                    assert!(row.is_some(), "eight machines are not too many");
                }
                // Only what runs is kept up while somebody else may be there.
                let kept = reply.kind == ReplyKind::Ack && runs.is_some() && reply.address == runs;
                assert!(
                    kept || self.may_promise(&request, &reply, arrival),
                    "an address beside another server"
                );
                self.check(&request, &reply, arrival, &quarantined);
                self.fetch(&request, &reply);
                true
            }
        }
    }

    /// What comes of it, by the last digit of the transaction's machine: nothing, a loader, a script, an agent.
    fn fetch(&mut self, request: &Request, reply: &Reply) {
        let (mac, now) = (request.mac, self.now);
        let [.., last] = mac.octets();
        match (last % 8, reply.boot) {
            (_, None) | (0..=2, _) => {}
            (3, _) => drop(self.history.fetched(mac, now)),
            (4, _) => drop(self.history.sent_to_disk(mac, now)),
            (5, _) => drop(self.history.scripted(mac, now)),
            (_, _) => drop(self.history.arrived(mac, now)),
        }
    }

    fn check(&mut self, request: &Request, reply: &Reply, arrival: Arrival, quarantined: &[Ipv4Addr]) {
        let packet = reply.packet.as_slice();
        let options = well_formed(packet);
        let policy =
            self.network.policy(request, *arrival.source.ip()).expect("answered for a network of ours");
        self.goes_where_it_may(request, reply, arrival);
        // What a relay takes out again does not count.
        let own: usize = options.iter().filter(|(code, _)| *code != 82).map(|(_, v)| v.len() + 2).sum();
        assert!(
            241 + own <= usize::from(request.max_size.unwrap_or(576)).max(576) - 28,
            "too long for its client"
        );
        assert_eq!(octets(packet, 4), request.xid.to_be_bytes());
        assert_eq!(octets(packet, 28), request.mac.octets());
        assert_eq!(address(packet, 24), request.giaddr);
        let us = request.named_server.filter(|_| !request.giaddr.is_unspecified()).unwrap_or(SERVER);
        assert_eq!(joined(&options, 54), Some(us.octets().to_vec()), "who we are");
        assert_eq!(joined(&options, 82), request.relay82, "option 82 goes back raw");
        assert!(joined(&options, 61).is_none_or(|id| Some(id) == request.client_id), "RFC 6842");
        let kind = match reply.kind {
            ReplyKind::Offer => 2,
            ReplyKind::Ack => 5,
            ReplyKind::Nak => 6,
        };
        assert_eq!(joined(&options, 53), Some(vec![kind]));
        assert!(self.network.local.mode != Mode::Off, "an answer though DHCP is off");
        let yiaddr = Some(address(packet, 16)).filter(|address| !address.is_unspecified());
        assert_eq!(yiaddr, reply.address);
        let Some(address) = reply.address else { return };
        assert!(policy.is_for_clients(address), "{address} is nobody's to have");
        assert!(!quarantined.contains(&address), "{address} was in quarantine");
        let elsewhere = |lease: &Lease| !policy.subnet.contains(&lease.ip);
        if reply.kind == ReplyKind::Ack || !self.leases.get(request.mac).is_some_and(elsewhere) {
            assert_eq!(self.leases.holder(address), Some(request.mac), "promised and not recorded");
        }
        if reply.kind == ReplyKind::Ack {
            self.told.shows_up(request.mac, |own| policy.subnet.contains(&own));
            self.told.acknowledged(request.mac, address, self.now, self.network.local.lease_seconds);
        }
    }

    /// Beside another server nothing is promised, and while it pauses, or listens whether there is one, nothing is said.
    fn may_promise(&self, request: &Request, reply: &Reply, arrival: Arrival) -> bool {
        let policy =
            self.network.policy(request, *arrival.source.ip()).expect("answered for a network of ours");
        let silent =
            matches!(self.network.stance, Stance::Listening | Stance::Paused(_)) && policy.relay.is_none();
        let promised = policy.proxy && reply.address.is_some();
        !silent && !promised
    }

    /// To everybody on the wire, to the relay that asked, or to the client where it is.
    fn goes_where_it_may(&self, request: &Request, reply: &Reply, arrival: Arrival) {
        let (to, local) = (reply.to, &self.network.local);
        let client =
            |to: Ipv4Addr| self.network.subnet_of(to).is_some_and(|policy| policy.is_for_clients(to));
        if arrival.door == Door::Proxy && reply.boot.is_some() {
            assert!(to == arrival.source && client(*to.ip()), "{to}");
        } else if !request.giaddr.is_unspecified() {
            let near = local.is_for_clients(request.giaddr) || Some(request.giaddr) == local.router;
            assert!(near || request.giaddr == RELAY, "{to} is no relay");
            assert_eq!(to, SocketAddrV4::new(request.giaddr, 67));
        } else if !to.ip().is_broadcast() {
            assert!(to == SocketAddrV4::new(request.ciaddr, 68) && client(*to.ip()), "{to}");
        }
    }
}

/// A packet out of choices, with free options behind those that clients send.
fn packet(input: &mut Input<'_>) -> (Vec<u8>, Arrival) {
    let (kind, shape) = (input.one_of(&[1, 3, 4, 7, 8, 0], 1), input.byte());
    let bit = |n: u8| shape & (1 << n) != 0;
    let mut head = Head { flags: 0x8000, mac: mac(input.byte()).octets(), ..Head::default() };
    let mut options = option(53, &[kind]);
    options.extend(client(usize::from(input.byte()) % CLIENTS.len()));
    if bit(0) {
        options.extend(option(50, &ip(input.byte()).octets()));
    }
    if bit(1) {
        options.extend(option(54, &SERVER.octets()));
    }
    if bit(2) {
        head.ciaddr = ip(input.byte()).octets();
    }
    if bit(3) {
        head.giaddr = ip(input.byte()).octets();
    }
    if bit(4) {
        options.extend_from_slice(input.block());
    }
    if bit(6) {
        head.giaddr = RELAY.octets();
    }
    if bit(7) {
        let [.., last] = head.ciaddr;
        head.ciaddr = [10, 78, 0, last];
    }
    options.push(255);
    let door = if bit(5) { Door::Proxy } else { Door::Lan };
    let source = SocketAddrV4::new(Ipv4Addr::from(head.ciaddr), 68);
    (head.message(&options), Arrival { door, source })
}

/// A machine that boots and renews; two that want the same address; relays; a decline; another server; all at once.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let discover = |mac: u8, client: u8| vec![0, 0, 0, mac, client];
    let request = |mac: u8, client: u8, last: u8| vec![0, 1, 0b11, mac, client, last];
    let renew = |mac: u8, last: u8| vec![0, 1, 0b100, mac, 3, last];
    let decline = |mac: u8, last: u8| vec![0, 2, 0b11, mac, 3, last];
    let relay = block(option(82, b"\x01\x04eth1"));
    let relayed = [vec![0, 0, 0b1_1000, 5, 0, 254], relay].concat();
    let wait = |seconds: u8| vec![13, seconds];
    let boots = [discover(1, 0), request(1, 0, 100), wait(200), renew(1, 100)].concat();
    let clash = [request(2, 2, 100), decline(1, 100), discover(1, 1), vec![15, 99], discover(2, 4)].concat();
    let far =
        [vec![0, 0, 0b100_0000, 6, 0], vec![0, 1, 0b100_0001, 6, 0, 100], vec![0, 1, 0b1000_0100, 6, 3, 105]];
    let stands_in = block(option(82, b"\x0b\x04\x0a\x4e\x00\xfe\x05\x04\x0a\x4e\x00\x00"));
    let stands_in = [vec![0, 0, 0b101_0000, 5, 0], stands_in].concat();
    let fails = [vec![14, 200, 0], discover(0, 0), request(0, 0, 100)].concat().repeat(6);
    let beside =
        [vec![9], discover(3, 0), request(3, 0, 100), vec![0, 1, 0b10_0100, 3, 0, 33], vec![9]].concat();
    let strangers =
        [vec![10, 1], discover(2, 0), discover(4, 0), vec![10, 2], discover(4, 0), vec![10, 0]].concat();
    let desk = [vec![11, 1, 105], renew(1, 105), vec![12, 1], renew(1, 105)].concat();
    vec![
        [vec![0], far.concat(), stands_in, boots.clone()].concat(),
        [vec![0], fails].concat(),
        [vec![0], beside, strangers, boots.clone()].concat(),
        [vec![0b10_0001], boots.clone(), discover(3, 0)].concat(),
        [vec![0], boots.clone()].concat(),
        [vec![0b1_1000], boots.clone(), clash.clone(), relayed].concat(),
        [vec![0b101], boots.clone(), clash.clone()].concat(),
        [vec![0b100], boots, desk, clash, vec![0, 1, 0b10_0100, 1, 0, 100]].concat(),
    ]
}

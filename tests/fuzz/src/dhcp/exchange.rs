//! A conversation: packets of several clients, an operator who changes addresses, time.
//!
//! Every step is committed as the daemon does it. What clients were told must never contradict itself, and every
//! reply must be one that firmware can read.

use std::net::{Ipv4Addr, SocketAddrV4};

use pxe::dhcp::{
    Arrival, Decision, Door, Leases, Machine, Mode, Network, Policy, Pool, Reply, ReplyKind, Request, decide,
};
use pxe::{HttpBase, Mac, Time};

use super::law::Told;
use super::wire::{CLIENTS, Head, address, client, joined, octets, option, well_formed};
use crate::Reached;
use crate::input::{Input, block};

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
const START: Time = Time(1_800_000_000_000);
/// Longer conversations find nothing that shorter ones do not.
const STEPS: usize = 64;

struct Server {
    network: Network,
    leases: Leases,
    now: Time,
    told: Told,
}

/// Runs a conversation.
pub(crate) fn run(data: &[u8]) -> Reached {
    let mut input = Input::new(data);
    let choice = input.byte();
    let network = Network::single("rw0", policy(choice));
    let mut server = Server { network, leases: Leases::default(), now: START, told: Told::default() };
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
    Reached::when(answered)
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
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
        proxy: false,
        http: HttpBase::at(SERVER),
    }
}

impl Server {
    /// Takes one step; whether a packet was answered.
    fn step(&mut self, input: &mut Input<'_>) -> bool {
        match input.byte() % 16 {
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
        let machine = Machine { admitted: [mac(3), mac(4)].contains(&request.mac), ..Machine::default() };
        match decide(&self.network, &self.leases, machine, &request, arrival, self.now) {
            Decision::Ignore(why) => {
                assert!(!why.to_string().is_empty(), "a silence without a reason");
                false
            }
            Decision::Record { lease, what } => {
                assert!(!what.is_empty());
                self.leases.apply(&lease).expect("what was decided can be recorded");
                self.told.given_back(request.mac, lease.quarantine.is_some());
                false
            }
            Decision::Reply(reply) => {
                if let Some(change) = &reply.lease {
                    self.leases.apply(change).expect("what was decided can be recorded");
                }
                self.check(&request, &reply, &quarantined);
                true
            }
        }
    }

    fn check(&mut self, request: &Request, reply: &Reply, quarantined: &[Ipv4Addr]) {
        let packet = reply.packet.as_slice();
        let options = well_formed(packet);
        assert_eq!(octets(packet, 4), request.xid.to_be_bytes());
        assert_eq!(octets(packet, 28), request.mac.octets());
        assert_eq!(address(packet, 24), request.giaddr);
        assert_eq!(joined(&options, 54), Some(SERVER.octets().to_vec()), "who we are");
        assert_eq!(joined(&options, 82), request.relay82, "option 82 goes back raw");
        assert!(joined(&options, 61).is_none_or(|id| Some(id) == request.client_id), "RFC 6842");
        let kind = match reply.kind {
            ReplyKind::Offer => 2,
            ReplyKind::Ack => 5,
            ReplyKind::Nak => 6,
        };
        assert_eq!(joined(&options, 53), Some(vec![kind]));
        assert!(
            reply.to.ip().is_broadcast() || self.network.local.subnet.contains(reply.to.ip()),
            "{}",
            reply.to
        );
        assert!(self.network.local.mode != Mode::Off, "an answer though DHCP is off");
        let yiaddr = Some(address(packet, 16)).filter(|address| !address.is_unspecified());
        assert_eq!(yiaddr, reply.address);
        let Some(address) = reply.address else { return };
        assert!(self.network.local.is_for_clients(address), "{address} is nobody's to have");
        assert!(!quarantined.contains(&address), "{address} was in quarantine");
        assert_eq!(self.leases.holder(address), Some(request.mac), "promised and not recorded");
        if reply.kind == ReplyKind::Ack {
            self.told.acknowledged(request.mac, address, self.now, self.network.local.lease_seconds);
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
    options.push(255);
    let door = if bit(5) { Door::Proxy } else { Door::Lan };
    let source = SocketAddrV4::new(Ipv4Addr::from(head.ciaddr), 68);
    (head.message(&options), Arrival { door, source })
}

/// A machine that boots and renews; two that want the same address; a relay; a decline; all at once.
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
    let desk = [vec![11, 1, 105], renew(1, 105), vec![12, 1], renew(1, 105)].concat();
    vec![
        [vec![0], boots.clone()].concat(),
        [vec![0b1_1000], boots.clone(), clash.clone(), relayed].concat(),
        [vec![0b101], boots.clone(), clash.clone()].concat(),
        [vec![0b100], boots, desk, clash, vec![0, 1, 0b10_0100, 1, 0, 100]].concat(),
    ]
}

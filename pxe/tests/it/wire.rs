//! Packets written and read by hand: none of the code under test, so that a mistake there cannot hide itself.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddrV4};

use pxe::dhcp::{
    Arrival, Decision, Door, Leases, Machine, Network, Policy, Pool, Reply, Request, Stance, decide,
};
use pxe::{HttpBase, Mac, Time};

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
pub(crate) const NOW: Time = Time(1_800_000_000_000);

pub(crate) fn mac(last: u8) -> Mac {
    Mac::new([0x52, 0x54, 0x00, 0xab, 0xcd, last]).unwrap()
}

pub(crate) fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, last)
}

/// 10.77.0.0/24 with a pool of ten, .100 to .109.
pub(crate) fn policy() -> Policy {
    Policy {
        server: SERVER,
        subnet: "10.77.0.0/24".parse().unwrap(),
        relay: None,
        pools: vec![Pool { first: ip(100), last: ip(109) }],
        lease_seconds: 3600,
        router: None,
        dns: vec![],
        mode: Default::default(),
        proxy: false,
        http: HttpBase::at(SERVER),
    }
}

/// A client's packet, field by field.
#[derive(Clone, Debug)]
pub(crate) struct Packet {
    pub(crate) op: u8,
    pub(crate) htype: u8,
    pub(crate) hlen: u8,
    pub(crate) hops: u8,
    pub(crate) xid: u32,
    pub(crate) secs: u16,
    pub(crate) flags: u16,
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) giaddr: Ipv4Addr,
    pub(crate) mac: [u8; 6],
    pub(crate) sname: Vec<u8>,
    pub(crate) file: Vec<u8>,
    pub(crate) cookie: [u8; 4],
    pub(crate) options: Vec<(u8, Vec<u8>)>,
}

impl Packet {
    pub(crate) fn of(mac: Mac, kind: u8) -> Packet {
        Packet {
            op: 1,
            htype: 1,
            hlen: 6,
            hops: 0,
            xid: 0x1234_abcd,
            secs: 4,
            flags: 0x8000,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            mac: mac.octets(),
            sname: vec![],
            file: vec![],
            cookie: [99, 130, 83, 99],
            options: vec![(53, vec![kind])],
        }
    }

    pub(crate) fn with(mut self, code: u8, value: impl AsRef<[u8]>) -> Packet {
        self.options.push((code, value.as_ref().to_vec()));
        self
    }

    /// Without this option.
    pub(crate) fn without(mut self, code: u8) -> Packet {
        self.options.retain(|(other, _)| *other != code);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut all = vec![self.op, self.htype, self.hlen, self.hops];
        all.extend(self.xid.to_be_bytes());
        all.extend(self.secs.to_be_bytes());
        all.extend(self.flags.to_be_bytes());
        all.extend(self.ciaddr.octets());
        all.extend([0; 8]);
        all.extend(self.giaddr.octets());
        all.extend(self.mac);
        for (field, until) in [(&Vec::new(), 44), (&self.sname, 108), (&self.file, 236)] {
            all.extend(field);
            assert!(all.len() <= until, "a field of the test's own packet is too long");
            all.resize(until, 0);
        }
        all.extend(self.cookie);
        for (code, value) in &self.options {
            all.push(*code);
            all.push(value.len().try_into().unwrap());
            all.extend(value);
        }
        all.push(255);
        all
    }

    pub(crate) fn request(&self) -> Request {
        Request::parse(&self.bytes()).unwrap_or_else(|why| panic!("{self:?}: {why}"))
    }
}

/// A broadcast to port 67 from a client without an address.
pub(crate) fn broadcast() -> Arrival {
    Arrival { door: Door::Lan, source: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68) }
}

/// A server as the shell would be: decides, commits, sends.
pub(crate) struct Server {
    pub(crate) policy: Policy,
    pub(crate) stance: Stance,
    /// Subnets behind relays.
    pub(crate) relayed: Vec<Policy>,
    /// Machines that an operator has admitted.
    pub(crate) known: BTreeSet<Mac>,
    pub(crate) leases: Leases,
    pub(crate) now: Time,
}

impl Server {
    pub(crate) fn new() -> Server {
        let (relayed, known) = (vec![], BTreeSet::new());
        Server {
            policy: policy(),
            stance: Stance::Serve,
            relayed,
            known,
            leases: Leases::default(),
            now: NOW,
        }
    }

    pub(crate) fn network(&self) -> Network {
        let (stance, relayed) = (self.stance, self.relayed.clone());
        Network { stance, relayed, ..Network::single("rw0", self.policy.clone()) }
    }

    pub(crate) fn machine(&self, mac: Mac) -> Machine {
        Machine { admitted: self.known.contains(&mac), ..Machine::default() }
    }

    /// What the server would answer now.
    pub(crate) fn decide(&self, request: &Request, arrival: Arrival) -> Decision {
        decide(&self.network(), &self.leases, self.machine(request.mac), request, arrival, self.now)
    }

    /// The operator fixes an address.
    pub(crate) fn fix(&mut self, mac: Mac, address: Ipv4Addr) {
        let change = self.leases.set_address(&self.policy, mac, address, self.now).unwrap();
        self.leases.apply(&change).unwrap();
    }

    pub(crate) fn hear(&mut self, packet: &Packet) -> Decision {
        self.hear_at(packet, broadcast())
    }

    pub(crate) fn hear_at(&mut self, packet: &Packet, arrival: Arrival) -> Decision {
        let decision = self.decide(&packet.request(), arrival);
        match &decision {
            Decision::Reply(reply) => {
                if let Some(change) = &reply.lease {
                    self.leases.apply(change).unwrap();
                }
            }
            Decision::Record { lease, .. } => self.leases.apply(lease).unwrap(),
            Decision::Ignore(_) => {}
        }
        decision
    }

    /// DISCOVER and REQUEST of a plain client; the address it ends up with.
    pub(crate) fn address_of(&mut self, mac: Mac) -> Ipv4Addr {
        let offer = replied(self.hear(&Packet::of(mac, 1)));
        let address = offer.address.unwrap();
        let ack = replied(self.hear(&selecting(mac, address)));
        assert_eq!(Answer::of(&ack).kind(), 5, "{}", ack.what);
        assert_eq!(ack.address, Some(address));
        address
    }
}

pub(crate) fn selecting(mac: Mac, address: Ipv4Addr) -> Packet {
    Packet::of(mac, 3).with(50, address.octets()).with(54, SERVER.octets())
}

pub(crate) fn replied(decision: Decision) -> Reply {
    match decision {
        Decision::Reply(reply) => *reply,
        Decision::Ignore(why) => panic!("silence: {why}"),
        Decision::Record { what, .. } => panic!("no reply: {what}"),
    }
}

/// A reply, read back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) raw: Vec<u8>,
    pub(crate) options: Vec<(u8, Vec<u8>)>,
}

impl Answer {
    pub(crate) fn of(reply: &Reply) -> Answer {
        let raw = reply.packet.clone();
        assert!(raw.len() >= 300, "a BOOTP reply has at least 300 octets, this has {}", raw.len());
        assert_eq!(raw[..4], [2, 1, 6, raw[3]], "op, htype, hlen");
        assert_eq!(raw[236..240], [99, 130, 83, 99], "cookie");
        let mut options = vec![];
        let mut rest = &raw[240..];
        while rest[0] != 255 {
            let (code, length) = (rest[0], usize::from(rest[1]));
            options.push((code, rest[2..2 + length].to_vec()));
            rest = &rest[2 + length..];
        }
        assert!(rest[1..].iter().all(|octet| *octet == 0), "something after END");
        Answer { raw, options }
    }

    pub(crate) fn kind(&self) -> u8 {
        self.option(53).unwrap()[0]
    }

    pub(crate) fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.iter().find(|(other, _)| *other == code).map(|(_, value)| value.as_slice())
    }

    pub(crate) fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::from(<[u8; 4]>::try_from(&self.raw[at..at + 4]).unwrap())
    }

    pub(crate) fn yiaddr(&self) -> Ipv4Addr {
        self.address(16)
    }

    pub(crate) fn siaddr(&self) -> Ipv4Addr {
        self.address(20)
    }

    /// A header field up to its NUL, which must be there.
    pub(crate) fn text(&self, from: usize, to: usize) -> String {
        let field = &self.raw[from..to];
        let end = field.iter().position(|octet| *octet == 0).expect("a field without its NUL");
        String::from_utf8(field[..end].to_vec()).unwrap()
    }

    pub(crate) fn sname(&self) -> String {
        self.text(44, 108)
    }

    pub(crate) fn file(&self) -> String {
        self.text(108, 236)
    }
}

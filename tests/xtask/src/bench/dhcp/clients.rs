//! Clients of our own, as firmware is one: distinct hardware addresses, broadcasts, the same question again when nothing
//! is heard for a second, then for two, four, eight.
//!
//! One thread in the clients' namespace plays them all. Knows what each was given; refuses to know who serves. A bad cable
//! is played too: kernels without netem lose nothing on request.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use rustix::net::sockopt::set_socket_recv_buffer_size_force;

use super::lab::{CLIENT_ADDRESS, Lab, SERVER_ADDRESS};
use crate::interrupt;

/// After so long without an answer a client asks again (RFC 2131 §4.1 says four; firmware is less patient).
const AGAIN: Duration = Duration::from_secs(1);
/// It never waits longer than this.
const PATIENCE: Duration = Duration::from_secs(8);
/// A client whose REQUEST was not answered so often begins anew (RFC 2131 §3.1).
const REQUESTS: u32 = 4;
/// What arrives while we are busy sending, in bytes.
const BUFFER: usize = 16 << 20;

/// What the clients found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// From the first question to the last client's ACK.
    pub(super) took: Duration,
    /// Who was given which address.
    pub(super) bound: BTreeMap<[u8; 6], Ipv4Addr>,
    /// From each client's first REQUEST to its ACK, those included that it gave up meanwhile.
    pub(super) acks: Vec<Duration>,
    /// From a client's DISCOVER to its ACK.
    pub(super) exchanges: Vec<Duration>,
    /// Packets that were sent, repetitions included.
    pub(super) sent: usize,
}

/// How the clients come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Crowd {
    /// How many.
    pub(super) count: u32,
    /// Distinguishes this crowd's hardware addresses from another's.
    pub(super) number: u8,
    /// One every so often; zero: all at once.
    pub(super) every: Duration,
    /// Whoever has nothing by then is given up.
    pub(super) limit: Duration,
    /// So many percent of the packets are lost, in each direction.
    pub(super) lost: u64,
    /// How their packets reach the server.
    pub(super) way: Way,
}

/// How packets reach the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Broadcast, on its own network.
    Lan,
    /// By a relay, as perfdhcp sends: a server without raw sockets hears that as well.
    Relay,
}

/// One client, once; its address.
pub(super) fn one(lab: &Lab) -> Result<Option<Ipv4Addr>, Box<dyn Error>> {
    let limit = Duration::from_millis(900);
    let crowd = Crowd { count: 1, number: 0, every: Duration::ZERO, limit, lost: 0, way: Way::Relay };
    Ok(play(lab, crowd)?.bound.into_values().next())
}

/// Plays a crowd until every client has an address, or the limit.
pub(super) fn play(lab: &Lab, crowd: Crowd) -> Result<Found, Box<dyn Error>> {
    let found = lab.wire.at_clients(|| {
        let port = if crowd.way == Way::Lan { 68 } else { 67 };
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        socket.set_broadcast(true)?;
        set_socket_recv_buffer_size_force(&socket, BUFFER)?;
        let (clients, found, start) = (Vec::new(), Found::default(), Instant::now());
        Play { socket, crowd, clients, found, start, dice: 0x2545_F491_4F6C_DD1D + u64::from(crowd.number) }
            .run()
    });
    Ok(found?)
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Discover,
    Request { address: Ipv4Addr, server: [u8; 4], tries: u32 },
    Bound,
}

#[derive(Debug)]
struct Client {
    mac: [u8; 6],
    stage: Stage,
    began: Instant,
    /// When it first sent a REQUEST. Beginning anew does not make its wait shorter.
    asked: Option<Instant>,
    again: Instant,
    wait: Duration,
}

struct Play {
    socket: UdpSocket,
    crowd: Crowd,
    clients: Vec<Client>,
    found: Found,
    start: Instant,
    dice: u64,
}

impl Play {
    /// Whether the cable loses this packet; the same ones in every run (xorshift64).
    fn loses(&mut self) -> bool {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice % 100 < self.crowd.lost
    }

    fn run(mut self) -> io::Result<Found> {
        let mut buffer = [0; 1500];
        let count = self.crowd.count as usize;
        let mut next_look = Instant::now();
        while self.found.bound.len() < count
            && self.start.elapsed() < self.crowd.limit
            && !interrupt::requested()
        {
            self.begin()?;
            // Answers first, all of them; then who has waited too long, a hundred times a second.
            self.socket.set_nonblocking(true)?;
            while let Some(length) = heard(self.socket.recv(&mut buffer))? {
                self.hear(buffer.get(..length).unwrap_or_default())?;
            }
            if Instant::now() >= next_look {
                self.repeat()?;
                next_look = Instant::now() + Duration::from_millis(10);
            }
            self.socket.set_nonblocking(false)?;
            self.socket.set_read_timeout(Some(Duration::from_millis(1)))?;
            if let Some(length) = heard(self.socket.recv(&mut buffer))? {
                self.hear(buffer.get(..length).unwrap_or_default())?;
            }
        }
        self.found.took = self.start.elapsed();
        Ok(self.found)
    }

    /// Lets those begin whose time has come.
    fn begin(&mut self) -> io::Result<()> {
        let due = |index: u32| self.start + self.crowd.every * index <= Instant::now();
        let first = u32::try_from(self.clients.len()).unwrap_or(u32::MAX);
        let beginning = (first..self.crowd.count).take_while(|index| due(*index)).collect::<Vec<_>>();
        for index in beginning {
            let [_, a, b, c] = index.to_be_bytes();
            let mac = [2, 0x72, self.crowd.number, a, b, c];
            let now = Instant::now();
            let client = Client {
                mac,
                stage: Stage::Discover,
                began: now,
                asked: None,
                again: now + AGAIN,
                wait: AGAIN,
            };
            self.clients.push(client);
            self.send(index as usize)?;
        }
        Ok(())
    }

    fn send(&mut self, index: usize) -> io::Result<()> {
        let packet = self.clients.get(index).and_then(|client| packet(index, client));
        let Some(mut packet) = packet else {
            return Ok(());
        };
        self.found.sent += 1;
        if self.loses() {
            return Ok(());
        }
        let to = match self.crowd.way {
            Way::Lan => Ipv4Addr::BROADCAST,
            Way::Relay => {
                // giaddr (RFC 1542 §4.1.1).
                packet.splice(24..28, CLIENT_ADDRESS.octets());
                SERVER_ADDRESS
            }
        };
        self.socket.send_to(&packet, (to, 67)).map(drop)
    }

    fn repeat(&mut self) -> io::Result<()> {
        let now = Instant::now();
        for index in 0..self.clients.len() {
            let Some(client) = self.clients.get_mut(index) else { break };
            if matches!(client.stage, Stage::Bound) || client.again > now {
                continue;
            }
            client.wait = (client.wait * 2).min(PATIENCE);
            client.again = now + client.wait;
            if let Stage::Request { tries, .. } = &mut client.stage {
                *tries += 1;
                if *tries >= REQUESTS {
                    (client.stage, client.wait, client.again) = (Stage::Discover, AGAIN, now + AGAIN);
                }
            }
            self.send(index)?;
        }
        Ok(())
    }

    fn hear(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(reply) = Reply::read(bytes) else { return Ok(()) };
        if self.loses() { Ok(()) } else { self.take(&reply) }
    }

    fn take(&mut self, reply: &Reply) -> io::Result<()> {
        let now = Instant::now();
        let Some(client) = self.clients.get_mut(reply.index).filter(|client| client.mac == reply.mac) else {
            return Ok(());
        };
        let stage = match (client.stage, reply.kind) {
            (Stage::Discover, OFFER) => {
                client.asked.get_or_insert(now);
                Stage::Request { address: reply.address, server: reply.server, tries: 0 }
            }
            (Stage::Request { .. }, NAK) => Stage::Discover,
            (Stage::Request { .. }, ACK) => {
                self.found.acks.extend(client.asked.map(|asked| now - asked));
                self.found.exchanges.push(now - client.began);
                self.found.bound.insert(client.mac, reply.address);
                client.stage = Stage::Bound;
                return Ok(());
            }
            _ => return Ok(()),
        };
        (client.stage, client.again, client.wait) = (stage, now + AGAIN, AGAIN);
        self.send(reply.index)
    }
}

/// Nothing there is no error.
fn heard(received: io::Result<usize>) -> io::Result<Option<usize>> {
    match received {
        Ok(length) => Ok(Some(length)),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Ok(None),
        Err(e) => Err(e),
    }
}

const OFFER: u8 = 2;
const ACK: u8 = 5;
const NAK: u8 = 6;
const COOKIE: [u8; 4] = [99, 130, 83, 99];

/// What a UEFI client's PXE asks (RFC 4578), with the broadcast bit; none when it has what it wants.
fn packet(index: usize, client: &Client) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 236];
    let xid = u32::try_from(index).ok()?.to_be_bytes();
    bytes.splice(0..10, [&[1, 1, 6, 0], &xid[..], &[0, 0]].concat());
    bytes.splice(10..12, [0x80, 0]);
    bytes.splice(28..34, client.mac);
    bytes.extend(COOKIE);
    match client.stage {
        Stage::Discover => bytes.extend([53, 1, 1]),
        Stage::Request { address, server, .. } => {
            bytes.extend([53, 1, 3, 50, 4]);
            bytes.extend(address.octets());
            bytes.extend([54, 4]);
            bytes.extend(server);
        }
        Stage::Bound => return None,
    }
    bytes.extend([57, 2, 5, 192, 93, 2, 0, 7, 94, 3, 1, 3, 16, 55, 8, 1, 2, 3, 6, 12, 51, 54, 67]);
    bytes.extend([97, 17, 0]);
    bytes.extend([client.mac, client.mac].concat());
    bytes.extend([0; 4]);
    bytes.extend([60, 32]);
    bytes.extend(b"PXEClient:Arch:00007:UNDI:003016");
    bytes.push(255);
    bytes.resize(bytes.len().max(300), 0);
    Some(bytes)
}

#[derive(Debug, PartialEq)]
struct Reply {
    index: usize,
    mac: [u8; 6],
    kind: u8,
    address: Ipv4Addr,
    server: [u8; 4],
}

impl Reply {
    fn read(bytes: &[u8]) -> Option<Reply> {
        if bytes.first() != Some(&2) || bytes.get(236..240)? != COOKIE {
            return None;
        }
        let mut options = bytes.get(240..)?;
        let (mut kind, mut server) = (None, [0; 4]);
        while let [code, rest @ ..] = options {
            match (code, rest) {
                (0, rest) => options = rest,
                (255, _) | (_, []) => break,
                (code, [length, rest @ ..]) => {
                    let (value, after) = rest.split_at_checked(usize::from(*length))?;
                    match code {
                        53 => kind = value.first().copied(),
                        54 => server = *value.first_chunk()?,
                        _ => {}
                    }
                    options = after;
                }
            }
        }
        let index = u32::from_be_bytes(*bytes.get(4..8)?.first_chunk()?);
        Some(Reply {
            index: usize::try_from(index).ok()?,
            mac: *bytes.get(28..34)?.first_chunk()?,
            kind: kind?,
            address: Ipv4Addr::from(*bytes.get(16..20)?.first_chunk::<4>()?),
            server,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_a_packet_and_what_comes_back_is_read() {
        let now = Instant::now();
        let stage = Stage::Request { address: Ipv4Addr::new(10, 88, 1, 2), server: [10, 88, 0, 1], tries: 0 };
        let client =
            Client { mac: [2, 0x72, 0, 0, 0, 7], stage, began: now, asked: None, again: now, wait: AGAIN };
        let mut bytes = packet(7, &client).unwrap();
        assert!(bytes.len() >= 300 && bytes[242] == 3, "{bytes:?}");
        assert_eq!(Reply::read(&bytes), None, "it is a question");
        bytes[0] = 2;
        bytes.splice(16..20, [10, 88, 1, 2]);
        let reply = Reply::read(&bytes).unwrap();
        assert_eq!((reply.index, reply.mac, reply.kind), (7, client.mac, 3));
        assert_eq!((reply.address, reply.server), (Ipv4Addr::new(10, 88, 1, 2), [10, 88, 0, 1]));
        assert!(
            (0..bytes.len()).all(|length| Reply::read(&bytes[..length]).is_none_or(|reply| reply.kind == 3))
        );
        assert!(packet(7, &Client { stage: Stage::Bound, ..client }).is_none());
    }

    #[test]
    fn beginning_anew_does_not_shorten_the_wait() {
        // All is lost: nothing leaves this machine.
        let crowd =
            Crowd { count: 1, number: 0, every: Duration::ZERO, limit: PATIENCE, lost: 100, way: Way::Relay };
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (clients, found, start) = (Vec::new(), Found::default(), Instant::now());
        let mut play = Play { socket, crowd, clients, found, start, dice: 1 };
        play.begin().unwrap();
        let mac = play.clients[0].mac;
        let reply = |kind| Reply {
            index: 0,
            mac,
            kind,
            address: Ipv4Addr::new(10, 88, 1, 2),
            server: [10, 88, 0, 1],
        };
        play.take(&reply(OFFER)).unwrap();
        let asked = play.clients[0].asked;
        for _ in 0..REQUESTS {
            play.clients[0].again = Instant::now();
            play.repeat().unwrap();
        }
        assert!(asked.is_some() && matches!(play.clients[0].stage, Stage::Discover));
        std::thread::sleep(Duration::from_millis(20));
        play.take(&reply(OFFER)).unwrap();
        play.take(&reply(ACK)).unwrap();
        assert_eq!((play.clients[0].asked, play.found.bound.len()), (asked, 1));
        assert!(play.found.acks[0] >= Duration::from_millis(20), "{:?}", play.found.acks);
    }
}

//! DHCP servers on the networks of cards, asked for once, on all of them at the same time.
//!
//! A card without an address is told nothing by an ordinary socket: the kernel drops what comes from a network that it has no
//! way to. So packets are read before it looks at them, and each answer is known by the number of its question.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use nix::libc::ETH_P_IP;
use pxe::Mac;
use pxe::dhcp::probe::{self, Heard};
use ring::rand::{SecureRandom, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};

/// The ports of RFC 2131 §4.1.
const CLIENTS: u16 = 68;
const SERVERS: u16 = 67;
const UDP: u8 = 17;
/// Questions, and how long answers to each are waited for: a server that pings an address before it offers it answers after
/// some 3 s.
const QUESTIONS: u32 = 3;
const WAIT: Duration = Duration::from_millis(1200);
/// The largest packet, in bytes: an Ethernet frame's worth.
const LARGEST: usize = 1500;

/// A question that was asked.
struct Question {
    card: String,
    number: u32,
    socket: Socket,
    packet: Vec<u8>,
}

/// The servers that answered on each card, which is given with its hardware address. None where asking is not permitted.
pub(super) fn servers(cards: &[(String, String)]) -> BTreeMap<String, BTreeSet<Ipv4Addr>> {
    let mut found = BTreeMap::<String, BTreeSet<Ipv4Addr>>::new();
    let questions: Vec<Question> = cards.iter().filter_map(|(card, mac)| question(card, mac).ok()).collect();
    let Ok(mut ears) = ears() else { return found };
    if questions.is_empty() {
        return found;
    }
    for _ in 0..QUESTIONS {
        for question in &questions {
            let to = SocketAddr::from((Ipv4Addr::BROADCAST, SERVERS)).into();
            // A card that cannot send cannot be answered either: it stays without a server.
            let _ = question.socket.send_to(&question.packet, &to);
        }
        let end = Instant::now() + WAIT;
        while let Some((source, heard)) = next(&mut ears, end) {
            if let Some(question) = questions.iter().find(|question| question.number == heard.xid) {
                let server = heard.server.unwrap_or(source);
                found.entry(question.card.clone()).or_default().insert(server);
            }
        }
    }
    found
}

fn question(card: &str, mac: &str) -> io::Result<Question> {
    let mac: Mac = mac.parse().map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut octets = [0; 4];
    SystemRandom::new().fill(&mut octets).map_err(|_| io::ErrorKind::Other)?;
    let number = u32::from_be_bytes(octets);
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_broadcast(true)?;
    socket.bind_device(Some(card.as_bytes()))?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, CLIENTS)).into())?;
    Ok(Question { card: card.to_owned(), number, socket, packet: probe::discover(mac, number) })
}

/// All IPv4 packets that come in.
fn ears() -> io::Result<Socket> {
    // In network byte order, as all of packet(7).
    let protocol = u16::try_from(ETH_P_IP).map_err(io::Error::other)?.to_be();
    Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(i32::from(protocol))))
}

/// The next message of a DHCP server before that time, with where it was sent from.
fn next(ears: &mut Socket, end: Instant) -> Option<(Ipv4Addr, Heard)> {
    let mut packet = [0; LARGEST];
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() || ears.set_read_timeout(Some(left)).is_err() {
            return None;
        }
        let length = match ears.read(&mut packet) {
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return None,
        };
        if let Some((source, payload)) = udp(packet.get(..length).unwrap_or_default())
            && let Ok(heard) = Heard::parse(payload)
        {
            return Some((source, heard));
        }
    }
}

/// What is in a packet for DHCP clients, from its IPv4 header on (RFC 791, RFC 768), and who sent it.
pub(super) fn udp(packet: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let first = *packet.first()?;
    let header = usize::from(first & 0xf) * 4;
    // What is behind the first fragment has no ports.
    let fragment = u16::from_be_bytes(*packet.get(6..)?.first_chunk()?) & 0x1fff;
    let port = u16::from_be_bytes(*packet.get(header.checked_add(2)?..)?.first_chunk()?);
    let source = packet.get(12..)?.first_chunk::<4>().copied().map(Ipv4Addr::from)?;
    let is_ours =
        first >> 4 == 4 && header >= 20 && *packet.get(9)? == UDP && fragment == 0 && port == CLIENTS;
    is_ours.then_some((source, packet.get(header.checked_add(8)?..)?))
}

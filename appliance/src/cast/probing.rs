//! What networks do with packets to groups, found out while nodes wait for their jobs: now and then a packet goes to the group of each. Whoever
//! gets it, or another's, says so with its next question.
//!
//! Switches may send what is for a group that nobody is in to everybody, and are right to. So a packet goes only where somebody is: not
//! before a switch has learned of it, and not long after the node has asked.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cast::wire::PORT;
use cast::wire::waiting::{PROBE, group_of};

/// When a node has waited so long, switches know of it.
const SETTLED: Duration = Duration::from_millis(1500);
/// So long after it has asked, it is believed to be there still.
const FRESH: Duration = Duration::from_secs(5);
/// A network loses a packet now and then.
const PACKETS: u32 = 2;
/// What was sent so long ago is asked for by nobody any more.
const FORGET: Duration = Duration::from_secs(120);

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Probing(Arc<Mutex<All>>);

#[derive(Debug, Default)]
struct All {
    next: u64,
    waiting: BTreeMap<u64, Waiting>,
    /// When each was sent packets last, the youngest at the end.
    sent: BTreeMap<Ipv4Addr, Vec<Instant>>,
}

#[derive(Debug)]
struct Waiting {
    address: Ipv4Addr,
    local: Ipv4Addr,
    since: Instant,
    is_probed: bool,
}

/// A node waits, for as long as this lives.
#[derive(Debug)]
pub struct Waits {
    all: Arc<Mutex<All>>,
    number: u64,
}

impl Drop for Waits {
    fn drop(&mut self) {
        lock(&self.all).waiting.remove(&self.number);
    }
}

impl Probing {
    /// A node has asked for work, of our address on its network, and there is none.
    pub(super) fn waits(&self, address: Ipv4Addr, local: Ipv4Addr, now: Instant) -> Waits {
        let mut all = lock(&self.0);
        let number = all.next;
        all.next += 1;
        all.waiting.insert(number, Waiting { address, local, since: now, is_probed: false });
        Waits { all: Arc::clone(&self.0), number }
    }

    /// Sends to all whose time it is.
    pub(super) fn round(&self, now: Instant) {
        for (address, local) in self.due(now) {
            match send(address, local) {
                Ok(()) => self.was_sent(address, now),
                // An interface that is down: nobody waits there for long.
                Err(error) => tracing::debug!(%local, %error, "whether a switch floods is not seen"),
            }
        }
    }

    /// Who is to be sent to now, and from where; each once for every question.
    fn due(&self, now: Instant) -> Vec<(Ipv4Addr, Ipv4Addr)> {
        let mut all = lock(&self.0);
        let is_due = |waiting: &&mut Waiting| {
            let waited = now.saturating_duration_since(waiting.since);
            !waiting.is_probed && (SETTLED..FRESH).contains(&waited)
        };
        let due = all.waiting.values_mut().filter(is_due);
        due.map(|waiting| {
            waiting.is_probed = true;
            (waiting.address, waiting.local)
        })
        .collect()
    }

    fn was_sent(&self, address: Ipv4Addr, now: Instant) {
        let mut all = lock(&self.0);
        all.sent.entry(address).or_default().push(now);
        all.sent.retain(|_, times| {
            times.retain(|sent| now.saturating_duration_since(*sent) < FORGET);
            !times.is_empty()
        });
    }

    /// How many packets a node was sent while it has looked, which it has for so long.
    pub(super) fn sent(&self, address: Ipv4Addr, looked: Duration, now: Instant) -> u32 {
        let all = lock(&self.0);
        let seen = |sent: &&Instant| now.saturating_duration_since(**sent) < looked;
        let times = all.sent.get(&address).map_or(0, |times| times.iter().filter(seen).count());
        PACKETS.saturating_mul(u32::try_from(times).unwrap_or(u32::MAX))
    }
}

fn send(address: Ipv4Addr, local: Ipv4Addr) -> io::Result<()> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None)?;
    socket.bind(&SocketAddrV4::new(local, 0).into())?;
    socket.set_multicast_if_v4(&local)?;
    socket.set_multicast_ttl_v4(1)?;
    socket.set_multicast_loop_v4(false)?;
    let socket = UdpSocket::from(socket);
    (0..PACKETS).try_for_each(|_| socket.send_to(PROBE, (group_of(address), PORT)).map(drop))
}

fn lock(all: &Mutex<All>) -> MutexGuard<'_, All> {
    // Whole whenever the lock is free.
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_goes_only_to_who_waits_and_once_for_each_question() {
        let (probing, begun) = (Probing::default(), Instant::now());
        let at = |millis| begun + Duration::from_millis(millis);
        let (one, other, ours) =
            (Ipv4Addr::new(10, 7, 0, 2), Ipv4Addr::new(10, 7, 0, 3), Ipv4Addr::new(10, 7, 0, 1));
        let first = probing.waits(one, ours, at(0));
        let second = probing.waits(other, ours, at(1000));
        assert_eq!(probing.due(at(1499)), [], "the switch may not know yet");
        assert_eq!(probing.due(at(1500)), [(one, ours)]);
        assert_eq!(probing.due(at(2500)), [(other, ours)], "and not the first again");
        drop((first, second));
        let asks_again = probing.waits(one, ours, at(3000));
        let gone = probing.waits(other, ours, at(3000));
        drop(gone);
        assert_eq!(probing.due(at(4500)), [(one, ours)], "nobody is in the group of the other any more");
        drop(asks_again);
        let _waits = probing.waits(one, ours, at(5000));
        assert_eq!(probing.due(at(10_000)), [], "it may have been switched off since");
        let long = Duration::from_secs(60);
        assert_eq!(
            probing.sent(one, long, at(10_000)),
            0,
            "what was due and could not be sent is not counted"
        );
        [1500, 4500].into_iter().for_each(|millis| probing.was_sent(one, at(millis)));
        assert_eq!(probing.sent(one, long, at(10_000)), 4);
        assert_eq!(probing.sent(one, Duration::from_secs(7), at(10_000)), 2, "it did not look before");
        assert_eq!(probing.sent(other, long, at(10_000)), 0);
        probing.was_sent(other, at(122_000));
        assert_eq!(lock(&probing.0).sent[&one].len(), 1, "what is long ago is forgotten");
    }
}

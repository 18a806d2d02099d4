//! What the network does with packets to groups, found out while a node waits for its job: it joins a group of its own, and looks whether
//! packets come that are sent there, and whether those to the groups of other waiting nodes come as well. Where the former don't, nothing can be
//! sent to all; where the latter do, it would reach everybody on the network.

use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cast::wire::waiting::{group_of, is_group};
use protocol::Reach;

use super::overhear::{Head, Overhearing};

/// How long it counts that a packet has come: a switch may be set up otherwise meanwhile.
const COUNTS: Duration = Duration::from_secs(120);
/// How often it is looked whether the wait is over.
const PATIENCE: Duration = Duration::from_millis(200);

/// When a packet has come last.
#[derive(Debug, Default)]
struct Seen {
    own: Option<Instant>,
    others: Option<Instant>,
}

/// One who waits, and looks on a thread of its own until this is dropped.
#[derive(Debug)]
pub struct Bystander {
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    begun: Instant,
    thread: Option<JoinHandle<()>>,
}

impl Bystander {
    /// Begins to look at what comes from the controller, on the network of our address there.
    ///
    /// # Errors
    /// The kernel's: only root may look; there is no such address. The node waits as well without.
    pub fn begin(local: Ipv4Addr, controller: Ipv4Addr) -> io::Result<Self> {
        let own = group_of(local);
        let socket = UdpSocket::bind((own, 0))?;
        socket.join_multicast_v4(&own, &local)?;
        let mut overhearing = Overhearing::begin(local)?;
        let (seen, stop) = (Arc::new(Mutex::new(Seen::default())), Arc::new(AtomicBool::new(false)));
        let (tell, is_over) = (Arc::clone(&seen), Arc::clone(&stop));
        let look = move || {
            while !is_over.load(Ordering::Relaxed) {
                match overhearing.next(PATIENCE) {
                    Ok(head) => lock(&tell).take(head, own, controller),
                    Err(_) => return,
                }
            }
            drop(socket);
        };
        let thread = std::thread::Builder::new().name("bystander".to_owned()).spawn(look)?;
        Ok(Self { seen, stop, begun: Instant::now(), thread: Some(thread) })
    }

    /// What has come of late; none when it can't look any more, as after the interface was down. Where nobody sends or nobody else
    /// waits, nothing comes.
    pub fn reach(&self) -> Option<Reach> {
        if self.thread.as_ref().is_none_or(JoinHandle::is_finished) {
            return None;
        }
        let of_late = |seen: Option<Instant>| seen.is_some_and(|seen| seen.elapsed() < COUNTS);
        let Seen { own, others } = *lock(&self.seen);
        let seconds = u32::try_from(self.begun.elapsed().as_secs()).unwrap_or(u32::MAX);
        Some(Reach { seconds, own: of_late(own), others: of_late(others) })
    }
}

impl Drop for Bystander {
    /// Has left its group when this returns: what is sent there from then on says nothing.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

impl Seen {
    /// Only what the controller sends to waiting nodes counts.
    fn take(&mut self, head: Option<Head>, own: Ipv4Addr, controller: Ipv4Addr) {
        let is_probe =
            |head: &Head| head.source == controller && head.port == cast::wire::PORT && is_group(head.group);
        let Some(head) = head.filter(is_probe) else { return };
        let seen = if head.group == own { &mut self.own } else { &mut self.others };
        *seen = Some(Instant::now());
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    // Whole whenever the lock is free.
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV4;

    use super::*;

    #[test]
    fn only_what_the_controller_sends_to_waiting_nodes_counts() {
        let (own, controller) = (group_of(Ipv4Addr::new(10, 77, 1, 2)), Ipv4Addr::new(10, 77, 0, 1));
        let of_another = group_of(Ipv4Addr::new(10, 77, 1, 3));
        let taken = |head| {
            let mut seen = Seen::default();
            seen.take(Some(head), own, controller);
            (seen.own.is_some(), seen.others.is_some())
        };
        let head = Head { source: controller, group: of_another, port: cast::wire::PORT };
        assert_eq!(taken(head), (false, true));
        assert_eq!(taken(Head { group: own, ..head }), (true, false));
        for other in [
            Head { source: Ipv4Addr::new(10, 77, 0, 9), ..head },
            Head { port: 8443, ..head },
            Head { group: Ipv4Addr::new(239, 192, 1, 3), ..head },
            Head { group: Ipv4Addr::new(10, 77, 1, 3), ..head },
        ] {
            assert_eq!(taken(other), (false, false), "{other:?}");
        }
    }

    /// Needs a packet socket, as root has.
    #[test]
    fn who_waits_tells_what_comes() {
        let here = Ipv4Addr::LOCALHOST;
        let Ok(bystander) = Bystander::begin(here, here) else { return };
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).unwrap();
        socket.set_multicast_if_v4(&here).unwrap();
        socket.bind(&SocketAddrV4::new(here, 0).into()).unwrap();
        let socket = UdpSocket::from(socket);
        let reach = || bystander.reach().map(|reach| (reach.own, reach.others));
        let until = |group: Ipv4Addr, wanted: (bool, bool)| {
            (0..100).any(|_| {
                socket.send_to(b"probe", (group, cast::wire::PORT)).unwrap();
                std::thread::sleep(Duration::from_millis(20));
                reach() == Some(wanted)
            })
        };
        assert_eq!(reach(), Some((false, false)));
        assert!(until(group_of(here), (true, false)));
        assert!(until(group_of(Ipv4Addr::new(127, 0, 0, 2)), (true, true)));
    }
}

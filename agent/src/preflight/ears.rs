//! Who says by LLDP that it is at the other end of our cables. Switches say it every 30 s, so that it is listened for all the time.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::{LLDP_BYTES_MAX, LLDP_ETHERTYPE, NEIGHBOURS_MAX, Neighbour, read_lldp};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::sys;

/// How often it is looked which links there are.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is looked whether this is over, in nanoseconds.
const PATIENCE_NANOSECONDS: i64 = 250_000_000;
/// Two addresses and the EtherType.
const ETHERNET_BYTES: usize = 14;

/// Neighbours by link.
pub type Neighbours = BTreeMap<String, Vec<Neighbour>>;

/// By chassis and port, each with when it counts no more.
type Known = BTreeMap<(String, String), (Neighbour, Instant)>;

/// Somebody who listens on a thread of its own until this is dropped.
#[derive(Debug)]
pub struct Ears {
    known: Arc<Mutex<BTreeMap<String, Known>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Ears {
    /// Listens at the links of these names, which are asked for again and again. Without a thread nothing is heard.
    pub fn begin(wires: impl Fn() -> Vec<String> + Send + 'static) -> Self {
        let known = Arc::<Mutex<BTreeMap<String, Known>>>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (tell, is_over) = (Arc::clone(&known), Arc::clone(&stop));
        let listen = move || {
            let mut sockets = BTreeMap::<String, Socket>::new();
            let mut looked = None::<Instant>;
            while !is_over.load(Ordering::Relaxed) {
                if looked.is_none_or(|at| at.elapsed() >= LOOK) {
                    looked = Some(Instant::now());
                    follow(&mut sockets, wires());
                }
                hear(&mut sockets, &tell);
            }
        };
        let thread = std::thread::Builder::new().name("lldp".to_owned()).spawn(listen).ok();
        Self { known, stop, thread }
    }

    /// Who is at the other end now, by the name of the link.
    pub fn heard(&self) -> Neighbours {
        let now = Instant::now();
        let mut known = lock(&self.known);
        known.values_mut().for_each(|link| link.retain(|_, (_, until)| *until > now));
        known.retain(|_, link| !link.is_empty());
        let all = known.iter().map(|(name, link)| {
            (name.clone(), link.values().map(|(neighbour, _)| neighbour.clone()).collect())
        });
        all.collect()
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// A socket for every link, and none for others. A link that can't be listened at is tried again.
fn follow(sockets: &mut BTreeMap<String, Socket>, wires: Vec<String>) {
    sockets.retain(|name, _| wires.contains(name));
    for name in wires {
        if !sockets.contains_key(&name)
            && let Ok(socket) = open(&name)
        {
            sockets.insert(name, socket);
        }
    }
}

fn open(name: &str) -> io::Result<Socket> {
    let index = nix::net::if_::if_nametoindex(name)?;
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    socket.set_nonblocking(true)?;
    // The card itself keeps groups away that nobody has joined; LLDP has three.
    sys::all_multicast(&socket, index)?;
    sys::bind_packet(&socket, LLDP_ETHERTYPE, index)?;
    Ok(socket)
}

/// Takes what comes within a while.
fn hear(sockets: &mut BTreeMap<String, Socket>, known: &Mutex<BTreeMap<String, Known>>) {
    let patience = Timespec { tv_sec: 0, tv_nsec: PATIENCE_NANOSECONDS };
    let mut ready = sockets.values().map(|socket| PollFd::new(socket, PollFlags::IN)).collect::<Vec<_>>();
    let polled = poll(&mut ready, Some(&patience));
    let ready = ready.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>();
    if polled.is_err() {
        std::thread::sleep(Duration::from_millis(250));
        return;
    }
    let mut gone = Vec::new();
    for ((name, socket), _) in sockets.iter_mut().zip(ready).filter(|(_, ready)| *ready) {
        let mut frame = [0; ETHERNET_BYTES + LLDP_BYTES_MAX + 1];
        match socket.read(&mut frame) {
            Ok(bytes) => {
                let unit = frame.get(ETHERNET_BYTES..bytes).unwrap_or_default();
                take(lock(known).entry(name.clone()).or_default(), unit, Instant::now());
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock) => {}
            // Down, or gone: opened again when it is there.
            Err(_) => gone.push(name.clone()),
        }
    }
    gone.iter().for_each(|name| drop(sockets.remove(name)));
}

/// What is not one parse of a whole unit is nothing.
fn take(link: &mut Known, unit: &[u8], now: Instant) {
    let Ok((neighbour, seconds)) = read_lldp(unit) else { return };
    let key = (neighbour.chassis.clone(), neighbour.port.clone());
    link.retain(|_, (_, until)| *until > now);
    if seconds == 0 {
        link.remove(&key);
    } else if link.len() < NEIGHBOURS_MAX || link.contains_key(&key) {
        link.insert(key, (neighbour, now + Duration::from_secs(u64::from(seconds))));
    }
}

fn lock<T>(known: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole whenever the lock is free.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(port: u8, seconds: u8) -> Vec<u8> {
        vec![2, 2, 7, b's', 4, 2, 5, port, 6, 2, 0, seconds, 0, 0]
    }

    #[test]
    fn neighbours_come_go_and_are_few() {
        let (mut link, now) = (Known::new(), Instant::now());
        take(&mut link, &unit(b'1', 120), now);
        take(&mut link, &unit(b'1', 120), now);
        assert_eq!(link.len(), 1, "the same again");
        take(&mut link, b"nonsense", now);
        take(&mut link, &unit(b'1', 0), now);
        assert!(link.is_empty(), "it says that it leaves");
        for port in 0..100 {
            take(&mut link, &unit(port, 10), now);
        }
        assert_eq!(link.len(), NEIGHBOURS_MAX, "a flood of names is not kept");
        take(&mut link, &unit(200, 10), now + Duration::from_secs(11));
        assert_eq!(link.len(), 1, "what was not said again is forgotten");
    }
}

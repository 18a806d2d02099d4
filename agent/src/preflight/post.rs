//! Answering others: a UDP and a TCP socket for each own address that takes part, each on a thread of its own. Only members of the check
//! are answered, from the addresses that the controller has told, with its key.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use protocol::{
    Endpoint, Heard, MEMBERS_MAX, NETWORKS_MAX, NetworkStep, PROBE_PORT, Peer, Probe, ProbeKind, ReportKey,
    Streamed,
};
use socket2::{Domain, Socket, Type};

use super::streams;
use crate::sys;

/// How often it is looked whether this is over.
const PATIENCE: Duration = Duration::from_millis(100);
/// No IPv4 packet is longer.
const PACKET_BYTES: usize = 65_536;
/// Answers that are not looked at yet: more are lost, as on a busy network.
const ANSWERS_MAX: usize = 65_536;
/// What may wait in the kernel.
const BUFFER_BYTES: usize = 4 << 20;

/// An answer to a question of ours, and when it came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Came {
    pub(super) probe: Probe,
    pub(super) at: Instant,
}

/// What the threads share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) check: u32,
    pub(super) me: u16,
    pub(super) key: ReportKey,
    peers: Mutex<BTreeSet<(u16, u16, Ipv4Addr)>>,
    heard: Mutex<BTreeMap<(u16, u16), (u32, u16)>>,
    answers: Mutex<Vec<Came>>,
    /// By who sent, the network and the step.
    streams: Mutex<BTreeMap<(u16, u16, u16), Streamed>>,
    stop: AtomicBool,
}

/// Everything that answers; dropped, nothing does.
#[derive(Debug)]
pub(super) struct Posts {
    pub(super) shared: Arc<Shared>,
    pub(super) sockets: BTreeMap<u16, UdpSocket>,
    endpoints: Vec<Endpoint>,
    threads: Vec<JoinHandle<()>>,
}

impl Posts {
    /// Opens all of them, or none.
    ///
    /// # Errors
    /// The kernel's: an address is not ours, somebody has the port.
    pub(super) fn open(step: &NetworkStep) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            check: step.check,
            me: step.me,
            key: step.key.clone(),
            peers: Mutex::default(),
            heard: Mutex::default(),
            answers: Mutex::default(),
            streams: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let (sockets, threads) = (BTreeMap::new(), Vec::new());
        let mut posts = Self { shared, sockets, endpoints: step.endpoints.clone(), threads };
        for endpoint in step.endpoints.iter().take(NETWORKS_MAX) {
            posts.at(*endpoint).map_err(|why| {
                io::Error::new(why.kind(), format!("answering on {}:{PROBE_PORT}: {why}", endpoint.address))
            })?;
        }
        Ok(posts)
    }

    fn at(&mut self, Endpoint { network, address }: Endpoint) -> io::Result<()> {
        let place = SocketAddrV4::new(address, PROBE_PORT);
        let udp = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
        // As much as the kernel allows.
        drop(udp.set_recv_buffer_size(BUFFER_BYTES));
        sys::never_fragment(&udp)?;
        udp.bind(&place.into())?;
        let udp = UdpSocket::from(udp);
        udp.set_read_timeout(Some(PATIENCE))?;
        let tcp = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        tcp.set_reuse_address(true)?;
        tcp.bind(&place.into())?;
        tcp.listen(4)?;
        let tcp = TcpListener::from(tcp);
        let (answering, shared) = (udp.try_clone()?, Arc::clone(&self.shared));
        self.spawn(move || answer(&answering, network, &shared))?;
        let shared = Arc::clone(&self.shared);
        self.spawn(move || streams::serve(&tcp, network, &shared))?;
        self.sockets.insert(network, udp);
        Ok(())
    }

    fn spawn(&mut self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.threads.push(std::thread::Builder::new().name("preflight".to_owned()).spawn(work)?);
        Ok(())
    }

    /// Whether these are for this step's check: with the same key, at the same addresses.
    pub(super) fn is_for(&self, step: &NetworkStep) -> bool {
        let Shared { check, me, key, .. } = &*self.shared;
        (*check, *me, key, &self.endpoints) == (step.check, step.me, &step.key, &step.endpoints)
    }

    /// Who is answered from now on.
    pub(super) fn meet(&self, peers: &[Peer]) {
        let most = MEMBERS_MAX * NETWORKS_MAX;
        let peers = peers.iter().take(most).map(|peer| (peer.number, peer.network, peer.address));
        *lock(&self.shared.peers) = peers.collect();
    }

    /// What has come so far.
    pub(super) fn heard(&self) -> Vec<Heard> {
        let heard = lock(&self.shared.heard);
        let each = heard.iter().map(|((from, network), (packets, largest))| Heard {
            from: *from,
            network: *network,
            packets: *packets,
            largest: *largest,
        });
        each.collect()
    }
}

impl Drop for Posts {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

impl Shared {
    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Whether somebody at this address is a member of the check at all.
    pub(super) fn knows(&self, address: IpAddr) -> bool {
        lock(&self.peers).iter().any(|(_, _, known)| IpAddr::V4(*known) == address)
    }

    /// Whether a packet is of the member that it says, on this network, and for us.
    pub(super) fn is_of(&self, probe: &Probe, network: u16, address: IpAddr) -> bool {
        let IpAddr::V4(address) = address else { return false };
        let is_ours = (probe.check, probe.to, probe.network) == (self.check, self.me, network);
        is_ours && lock(&self.peers).contains(&(probe.from, network, address))
    }

    /// Answers that have come since this was asked last.
    pub(super) fn came(&self) -> Vec<Came> {
        std::mem::take(&mut *lock(&self.answers))
    }

    /// What was counted of a transfer.
    pub(super) fn streamed(&self, from: u16, network: u16, step: u16) -> Option<Streamed> {
        lock(&self.streams).get(&(from, network, step)).copied()
    }

    /// A transfer begins; whether it is the first of its kind, which alone counts.
    pub(super) fn begins(&self, probe: &Probe) -> bool {
        let mut streams = lock(&self.streams);
        let key = (probe.from, probe.network, probe.number);
        let is_first = !streams.contains_key(&key) && streams.len() < MEMBERS_MAX * NETWORKS_MAX * 2;
        if is_first {
            streams.insert(key, Streamed { from: probe.from, network: probe.network, bytes: 0, micros: 0 });
        }
        is_first
    }

    /// A transfer has ended.
    pub(super) fn ends(&self, probe: &Probe, bytes: u64, micros: u64) {
        let key = (probe.from, probe.network, probe.number);
        let streamed = Streamed { from: probe.from, network: probe.network, bytes, micros: micros.max(1) };
        lock(&self.streams).insert(key, streamed);
    }
}

/// Answers questions, and puts answers where they are looked for, until this is over.
fn answer(socket: &UdpSocket, network: u16, shared: &Shared) {
    let mut packet = vec![0; PACKET_BYTES];
    while !shared.is_over() {
        // What went wrong, as an ICMP message for an earlier packet, is over with this call.
        let Ok((bytes, source)) = socket.recv_from(&mut packet) else { continue };
        let at = Instant::now();
        let read = packet.get(..bytes).and_then(|packet| Probe::read(packet, &shared.key));
        let Some(probe) = read.filter(|probe| shared.is_of(probe, network, source.ip())) else { continue };
        match probe.kind {
            ProbeKind::Question => {
                note(&mut lock(&shared.heard), &probe);
                // An answer that can't be sent is a lost one.
                drop(socket.send_to(&probe.answer().head(&shared.key), port_of(source)));
            }
            ProbeKind::Answer => {
                let mut answers = lock(&shared.answers);
                if answers.len() < ANSWERS_MAX {
                    answers.push(Came { probe, at });
                }
            }
            ProbeKind::Stream => {}
        }
    }
}

/// Members ask from the port at which they answer, and from no other.
fn port_of(source: SocketAddr) -> SocketAddr {
    SocketAddr::new(source.ip(), PROBE_PORT)
}

fn note(heard: &mut BTreeMap<(u16, u16), (u32, u16)>, probe: &Probe) {
    let (packets, largest) = heard.entry((probe.from, probe.network)).or_default();
    *packets = packets.saturating_add(1);
    *largest = probe.size.max(*largest);
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole whenever the lock is free.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

//! Images sent to all who want them at once: who listens to which transmission, and who is better off fetching.
//!
//! A transmission is of one image, on one network. It begins when two nodes write the same image, takes in whoever comes later,
//! and ends when nobody listens any more. Everything here is in memory: after a restart of the controller there are new
//! transmissions, and the nodes say again what they lack.

mod content;
mod limit;
mod querying;
mod said;
mod session;
mod socket;
mod view;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cast::Sender;
use cast::groups::Groups;
use cast::sender::Limits;
use pack::{Digest, Manifest};
use protocol::{CastAsk, CastReply, Hearing, JobId, NodeId, ReportKey, Seat};
use ring::rand::{SecureRandom as _, SystemRandom};

use self::content::Content;
use self::limit::Limit;
use self::querying::Querying;
pub use self::said::Said;
use self::said::Sayings;
use self::session::Session;
use self::socket::Socket;
pub use self::view::{Listener, View};
use crate::images::{ImageError, Images};
use crate::listen::Stop;

/// The port that groups are sent to.
pub const PORT: u16 = 8444;
/// Who has not asked for so long does not listen any more: agents ask every second.
const FORGET: Duration = Duration::from_secs(6);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Nodes that write the same image before it is sent to all of them.
const COMPANY: usize = 2;
/// Megabits a second of a link that does not say.
const USUAL_LINK: u64 = 1000;

/// Why an image can't be sent to all.
#[derive(Debug, thiserror::Error)]
pub enum CastError {
    /// The store.
    #[error(transparent)]
    Store(#[from] ImageError),
    /// The kernel.
    #[error("sending to the group {group} on the network of {local}")]
    Socket {
        /// Where to.
        group: SocketAddrV4,
        /// Our address there.
        local: Ipv4Addr,
        /// What it said.
        source: std::io::Error,
    },
    /// No entropy.
    #[error("the kernel gives no random numbers")]
    Random,
}

/// Who asks whether it may listen.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The node.
    pub node: NodeId,
    /// Its address there.
    pub address: IpAddr,
    /// The image that it writes.
    pub image: Digest,
    /// Our address on its network.
    pub local: Ipv4Addr,
    /// How many nodes write that image now, this one included.
    pub company: usize,
}

/// All transmissions.
#[derive(Debug)]
pub struct Casts {
    images: Arc<Images>,
    /// What all together may use.
    limit: Limit,
    sayings: Sayings,
    running: Mutex<BTreeMap<(Ipv4Addr, Digest), Running>>,
}

/// One of them.
#[derive(Debug)]
struct Running {
    session: Session,
    group: SocketAddrV4,
    seats: BTreeMap<NodeId, Sitting>,
    slots: u32,
    idle_since: Option<Instant>,
}

/// Somebody who listens, or has listened and is better off fetching.
#[derive(Debug)]
struct Sitting {
    slot: u32,
    key: [u8; 32],
    job: JobId,
    asked: Instant,
    hearing: Hearing,
    /// Why it was sent away.
    pulls: Option<String>,
}

/// How one node gets its image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// What it has heard, by its own word.
    pub hearing: Hearing,
    /// What the sender knows of it; nothing once it fetches.
    pub listener: Option<Listener>,
    /// Why it fetches, if it does.
    pub pulls: Option<String>,
}

impl Casts {
    /// None yet. `limit_mbit` is what all together may put on a wire, in megabits a second: without, what the link can; with 0,
    /// there are none.
    pub fn new(images: Arc<Images>, limit_mbit: Option<u64>) -> Self {
        Self { images, limit: Limit::new(limit_mbit), sayings: Sayings::default(), running: Mutex::default() }
    }

    /// How a node is to come by its image from now on.
    ///
    /// # Errors
    /// [`CastError`]: it has to fetch.
    pub fn ask(&self, asker: &Asker, ask: &CastAsk) -> Result<CastReply, CastError> {
        let mut running = self.lock();
        let place = (asker.local, asker.image);
        if running.get(&place).is_none() {
            if asker.company < COMPANY || self.limit.forbids() {
                return Ok(CastReply::default());
            }
            let begun = self.begin(asker)?;
            running.insert(place, begun);
            self.share(&running, asker.local);
        }
        let Some(cast) = running.get_mut(&place) else { return Ok(CastReply::default()) };
        cast.seat(asker, ask).map(|seat| CastReply { seat, ..CastReply::default() })
    }

    /// How a node gets its image; none when it is not known to listen or to have listened.
    pub fn lane(&self, node: NodeId) -> Option<Lane> {
        let running = self.lock();
        running.values().find_map(|cast| {
            let sitting = cast.seats.get(&node)?;
            let listener = cast.session.view().listeners.remove(&sitting.slot);
            Some(Lane { hearing: sitting.hearing, listener, pulls: sitting.pulls.clone() })
        })
    }

    /// Forgets who has gone, ends what nobody listens to, and asks switches who listens; until told to stop, which ends everything.
    pub async fn keep(self: Arc<Self>, mut stop: Stop) {
        let mut querying = Querying::new();
        loop {
            tokio::select! {
                _ = stop.changed() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let ended = self.clear(Instant::now());
            querying.round(&self.networks());
            // Each has a thread that is waited for.
            drop(tokio::task::spawn_blocking(move || drop(ended)).await);
        }
        let all = std::mem::take(&mut *self.lock());
        drop(tokio::task::spawn_blocking(move || drop(all)).await);
    }

    /// Our addresses on the networks that something is sent on.
    fn networks(&self) -> Vec<Ipv4Addr> {
        let mut networks: Vec<_> = self.lock().keys().map(|(local, _)| *local).collect();
        networks.dedup();
        networks
    }

    fn clear(&self, now: Instant) -> Vec<Running> {
        let mut running = self.lock();
        running.values_mut().for_each(|cast| cast.clear(now));
        let is_idle = |cast: &Running| cast.idle_since.is_some_and(|since| now - since > FORGET);
        let ended: Vec<_> = running.extract_if(.., |_, cast| is_idle(cast)).collect();
        ended.iter().for_each(|((local, _), _)| self.share(&running, *local));
        ended.into_iter().map(|(_, cast)| cast).collect()
    }

    fn begin(&self, asker: &Asker) -> Result<Running, CastError> {
        let stored = self.images.stored(&asker.image)?;
        let groups = groups(&stored.manifest);
        let group = SocketAddrV4::new(group_of(&asker.image, asker.local), PORT);
        let failed = |source| CastError::Socket { group, local: asker.local, source };
        let socket = Socket::open(asker.local, group).map_err(failed)?;
        let number = random::<8>().map(u64::from_le_bytes)?;
        let limits = Limits::of(self.rate(asker.local));
        let sender = Sender::new(&groups, number, limits);
        let content = Content::new(Arc::clone(&self.images), stored, groups);
        let session = Session::begin(number, socket, sender, content).map_err(failed)?;
        tracing::info!(image = %asker.image.short(), %group, local = %asker.local, "sending an image to all who want it");
        Ok(Running { session, group, seats: BTreeMap::new(), slots: 0, idle_since: None })
    }

    /// Transmissions on one network share it evenly.
    fn share(&self, running: &BTreeMap<(Ipv4Addr, Digest), Running>, local: Ipv4Addr) {
        let here = || running.iter().filter(|((there, _), _)| *there == local).map(|(_, cast)| cast);
        let count = u64::try_from(here().count()).unwrap_or(u64::MAX).max(1);
        let each = self.rate(local) / count;
        here().for_each(|cast| cast.session.limit(each));
    }

    /// Bytes a second that a network can take.
    fn rate(&self, local: Ipv4Addr) -> u64 {
        self.limit.sending(local)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Ipv4Addr, Digest), Running>> {
        // Whole whenever the lock is free.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Running {
    fn seat(&mut self, asker: &Asker, ask: &CastAsk) -> Result<Option<Seat>, CastError> {
        self.idle_since = None;
        let now = Instant::now();
        // One that began anew numbers its reports anew.
        let listens = ask.session == Some(self.session.number);
        let is_new = self
            .seats
            .get(&asker.node)
            .is_none_or(|sitting| sitting.job != ask.job || !listens && sitting.pulls.is_none());
        if is_new {
            let (slot, key) = (self.slots, random::<32>()?);
            self.slots += 1;
            if let Some(before) = self.seats.insert(
                asker.node,
                Sitting { slot, key, job: ask.job, asked: now, hearing: ask.hearing, pulls: None },
            ) {
                self.session.leave(before.slot);
            }
            self.session.join(slot, key);
        }
        let view = self.session.view();
        let Some(sitting) = self.seats.get_mut(&asker.node) else { return Ok(None) };
        (sitting.asked, sitting.hearing) = (now, ask.hearing);
        let sent_away = || view.listeners.get(&sitting.slot).and_then(|one| one.pull.clone());
        if sitting.pulls.is_none()
            && let Some(why) = view.broken.clone().or_else(sent_away)
        {
            tracing::info!(node = %asker.node, why, "a node fetches its image instead of listening");
            self.session.leave(sitting.slot);
            sitting.pulls = Some(why);
        }
        let (session, source) = (self.session.number, self.session.source);
        let (slot, key) = (sitting.slot, ReportKey(sitting.key));
        let (group, port) = (*self.group.ip(), self.group.port());
        Ok(sitting.pulls.is_none().then_some(Seat {
            session,
            group,
            port,
            source,
            slot,
            key,
            looks_first: false,
        }))
    }

    fn clear(&mut self, now: Instant) {
        for (_, gone) in self.seats.extract_if(.., |_, sitting| now - sitting.asked > FORGET) {
            self.session.leave(gone.slot);
        }
        if self.seats.is_empty() {
            self.idle_since.get_or_insert(now);
        }
    }
}

/// The groups of an image, as its agents cut it too.
fn groups(manifest: &Manifest) -> Groups {
    let piece = |chunk: &pack::Chunk| cast::Piece {
        id: chunk.window,
        offset: chunk.offset,
        stored: chunk.stored,
        bytes: chunk.used_bytes(),
    };
    Groups::of(&manifest.chunks().iter().map(piece).collect::<Vec<_>>())
}

/// A group of the organisation's scope (239.192.0.0/14, RFC 2365 §6.2). The lower 23 bits, which are all that switches see, are never
/// those of 224.0.0.x: switches flood that to everybody.
fn group_of(image: &Digest, local: Ipv4Addr) -> Ipv4Addr {
    let mut hash = blake3::Hasher::new();
    hash.update(image.to_string().as_bytes()).update(&local.octets());
    let mut bytes = [0; 3];
    hash.finalize_xof().fill(&mut bytes);
    let [high, middle, low] = bytes;
    Ipv4Addr::new(239, 192 | (high & 3), middle, low)
}

/// The kernel's name of the interface that has our address.
fn interface_of(local: Ipv4Addr) -> Option<String> {
    let addresses = nix::ifaddrs::getifaddrs().ok()?;
    let is_it = |address: &nix::ifaddrs::InterfaceAddress| {
        let ip = address.address.as_ref().and_then(|any| any.as_sockaddr_in()).map(|v4| v4.ip());
        ip == Some(local)
    };
    Some(addresses.into_iter().find(is_it)?.interface_name)
}

/// What the link of our address says it can, in megabits a second.
fn link_mbit(local: Ipv4Addr) -> Option<u64> {
    let name = interface_of(local)?;
    let speed = std::fs::read_to_string(format!("/sys/class/net/{name}/speed")).ok()?;
    // A link that is down, or has no speed, says -1.
    speed.trim().parse().ok().filter(|mbit| *mbit > 0)
}

fn random<const N: usize>() -> Result<[u8; N], CastError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CastError::Random)?;
    Ok(bytes)
}

/// Whether a node is on the wire of our address there: a router in between passes nothing on.
pub fn is_near(peer: IpAddr, local: Ipv4Addr, subnets: impl Iterator<Item = ipnet::Ipv4Net>) -> bool {
    let IpAddr::V4(peer) = peer else { return false };
    let mut both = subnets.filter(|net| net.contains(&peer) && net.contains(&local));
    both.next().is_some()
}

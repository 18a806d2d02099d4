//! Images that many want at once: who listens to what is sent to all, and who fetches from whom.
//!
//! A delivery is of one image, on one network. [`cast::plan`] decides how it comes to each; here is known what the nodes said, and what it
//! decides is carried out. A transmission begins when it is decided that the image is sent to all, takes in whoever comes later, and ends
//! when nobody listens any more. Everything here is in memory: after a restart of the controller there are new transmissions, and the
//! nodes say again what they lack, and what they have.

mod content;
mod delivery;
mod lane;
mod limit;
mod network;
mod probing;
mod querying;
mod session;
mod socket;
mod tally;
#[cfg(test)]
mod tests;
mod transmission;
mod view;

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use cast::groups::Groups;
use cast::plan::{Flood, Multicast, Reach, Terms, Why};
use cast::sender::Limits;
use cast::wire::PORT;
use cast::{Micros, Sender};
use ipnet::Ipv4Net;
use pack::{Digest, Manifest};
use protocol::{CastAsk, CastReply, NodeId};
use ring::rand::{SecureRandom as _, SystemRandom};

use self::content::Content;
use self::delivery::Delivery;
pub use self::lane::{By, Lane};
use self::limit::Limit;
pub use self::network::network_of;
use self::network::{group_of, interface_of, link_mbit};
use self::probing::Probing;
pub use self::probing::Waits;
use self::querying::Querying;
use self::session::Session;
use self::socket::Socket;
pub use self::tally::Counter;
use self::tally::Tally;
use self::transmission::Transmission;
pub use self::view::{Listener, View};
use crate::config::Flooding;
use crate::images::{ImageError, Images};
use crate::listen::Stop;

/// Who has not asked for so long does not listen any more: agents ask every second.
const FORGET: Duration = Duration::from_secs(6);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Megabits a second of a link that does not say.
const USUAL_LINK: u64 = 1000;
/// Bytes a second of a megabit.
const MBIT: u64 = 125_000;

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

/// Who asks how its image shall come.
#[derive(Clone, Copy, Debug)]
pub struct Asker {
    /// The node.
    pub node: NodeId,
    /// Its address there.
    pub address: IpAddr,
    /// The network of that address.
    pub network: Ipv4Net,
    /// What its link can, in megabits a second, where that is known.
    pub link_mbit: Option<u64>,
    /// The image that it writes.
    pub image: Digest,
    /// Our address that it asked at: on its network, or a router is in between.
    pub local: Ipv4Addr,
    /// How many nodes write that image now, this one included, wherever they are.
    pub company: usize,
}

/// What a site allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// What is done where a switch floods.
    pub flooding: Flooding,
    /// Whether switches are asked who listens, where nobody else asks.
    pub querier: bool,
    /// Whether what is sent to all gives way to other traffic.
    pub yields: bool,
    /// Our addresses on networks that have nodes: there switches are asked from the beginning on.
    pub networks: Vec<Ipv4Addr>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { flooding: Flooding::Avoid, querier: true, yields: false, networks: Vec::new() }
    }
}

/// All deliveries.
#[derive(Debug)]
pub struct Casts {
    images: Arc<Images>,
    /// What all together may use.
    limit: Limit,
    rules: Rules,
    begun: Instant,
    probing: Probing,
    all: Mutex<All>,
    tally: Tally,
}

/// What changes.
#[derive(Debug, Default)]
struct All {
    deliveries: BTreeMap<(Ipv4Net, Digest), Delivery>,
    floods: BTreeMap<Ipv4Net, Flood>,
    reach: BTreeMap<Ipv4Net, Reach>,
    /// Each has a thread that has to be waited for.
    ended: Vec<Transmission>,
}

impl Casts {
    /// None yet. `limit_mbit` is what all together may put on a wire, in megabits a second: without, what the link can; with 0,
    /// nothing is sent to all.
    pub fn new(images: Arc<Images>, limit_mbit: Option<u64>) -> Self {
        Self {
            images,
            limit: Limit::new(limit_mbit),
            rules: Rules::default(),
            begun: Instant::now(),
            probing: Probing::default(),
            all: Mutex::default(),
            tally: Tally::default(),
        }
    }

    /// Bytes of each image that were sent since the start, and how.
    pub fn sent(&self) -> Vec<(Digest, &'static str, u64)> {
        self.tally.all()
    }

    /// The count of what one node is sent alone.
    pub fn fetched(&self, image: Digest) -> Counter {
        self.tally.of(image, tally::CONTROLLER)
    }

    /// With other rules than the usual ones.
    #[must_use]
    pub fn with(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// How a node is to come by its image from now on.
    ///
    /// # Errors
    /// [`CastError`]: it has to fetch.
    pub fn ask(&self, asker: &Asker, ask: &CastAsk) -> Result<CastReply, CastError> {
        self.ask_at(asker, ask, Instant::now())
    }

    fn ask_at(&self, asker: &Asker, ask: &CastAsk, now: Instant) -> Result<CastReply, CastError> {
        let mut all = self.lock();
        let place = (asker.network, asker.image);
        if let Entry::Vacant(vacant) = all.deliveries.entry(place) {
            let stored = self.images.stored(&asker.image)?;
            let bytes = (stored.manifest.data_bytes(), stored.manifest.used_bytes());
            vacant.insert(Delivery::new(asker.local, bytes, now));
        }
        let may_look = self.rules.flooding == Flooding::Avoid;
        let hear = |delivery: &mut Delivery| delivery.hear(asker, ask, now);
        if all.deliveries.get_mut(&place).is_some_and(hear) && may_look {
            self.flooded(&mut all, asker.network, asker.node, now);
        }
        self.mend(&mut all, place, now);
        self.plan(&mut all, asker, now);
        let begins = all.deliveries.get(&place).filter(|delivery| delivery.is_to_begin(asker.node));
        if let Some(local) = begins.map(|delivery| delivery.local) {
            let Terms { expected, .. } = self.terms(&all, asker, (local, now));
            match self.begin(&asker.image, local, expected) {
                Ok(transmission) => {
                    all.deliveries.entry(place).and_modify(|delivery| delivery.begin(transmission));
                    self.share(&all, local);
                }
                Err(error) => {
                    // It comes another way: slower for all, and no reason to stop anybody.
                    tracing::warn!(why = crate::chain(&error), "an image is not sent to all who want it");
                    all.deliveries.entry(place).and_modify(|delivery| delivery.fail(now));
                    self.plan(&mut all, asker, now);
                }
            }
        }
        let Some(delivery) = all.deliveries.get_mut(&place) else { return Ok(CastReply::default()) };
        delivery.reply(asker.node, ask, (may_look, now))
    }

    /// What was for a group has come to a node that is not in it.
    fn flooded(&self, all: &mut All, network: Ipv4Net, node: NodeId, now: Instant) {
        let flood = all.floods.entry(network).or_default();
        if !flood.is_known(self.micros(now)) {
            tracing::warn!(%network, %node, "the switch sends what is for a group to everybody: nothing is sent to all here for ten minutes");
        }
        flood.seen(self.micros(now));
        let here = |(other, _): &(Ipv4Net, Digest)| *other == network;
        all.deliveries.iter_mut().filter(|(place, _)| here(place)).for_each(|(_, one)| one.outdate());
        self.end(all, here);
    }

    /// A node waits for a job, and it is looked meanwhile what its network does with what is sent to groups, for as long as what is
    /// returned lives. `told`: what has come to it so far. Nothing is looked at where that is of no interest, or behind a router.
    pub fn waits(
        &self,
        node: NodeId,
        network: Ipv4Net,
        (address, local): (Ipv4Addr, Ipv4Addr),
        told: Option<protocol::Reach>,
    ) -> Option<Waits> {
        let now = Instant::now();
        if self.rules.flooding != Flooding::Avoid || self.limit.mbit() == Some(0) || !network.contains(&local)
        {
            return None;
        }
        if let Some(told) = told {
            let looked = Duration::from_secs(u64::from(told.seconds));
            let (mut all, sent) = (self.lock(), self.probing.sent(address, looked, now));
            all.reach.entry(network).or_default().told(delivery::key(node), sent, told.own, self.micros(now));
            if told.others {
                self.flooded(&mut all, network, node, now);
            }
        }
        Some(self.probing.waits(address, local, now))
    }

    /// Plans anew for all who write the image where one asks, if it is time to.
    fn plan(&self, all: &mut All, asker: &Asker, now: Instant) {
        let place = (asker.network, asker.image);
        let Some(delivery) = all.deliveries.get(&place).filter(|delivery| delivery.is_due(now)) else {
            return;
        };
        let terms = self.terms(all, asker, (delivery.local, now));
        if let Some(delivery) = all.deliveries.get_mut(&place) {
            delivery.plan(terms, now);
            if delivery.is_to_end() {
                self.end(all, |other| *other == place);
            }
        }
    }

    /// Ends a transmission that has stopped by itself.
    fn mend(&self, all: &mut All, place: (Ipv4Net, Digest), now: Instant) {
        if all.deliveries.get(&place).and_then(Delivery::broken).is_some() {
            self.end(all, |other| *other == place);
            all.deliveries.entry(place).and_modify(|delivery| delivery.fail(now));
        }
    }

    fn end(&self, all: &mut All, which: impl Fn(&(Ipv4Net, Digest)) -> bool) {
        let mut locals = Vec::new();
        for (place, delivery) in &mut all.deliveries {
            if which(place) {
                locals.push(delivery.local);
                all.ended.extend(delivery.end());
            }
        }
        locals.iter().for_each(|local| self.share(all, *local));
    }

    /// What is known of the network of somebody.
    fn terms(&self, all: &All, asker: &Asker, (local, now): (Ipv4Addr, Instant)) -> Terms {
        let limit = self.limit.mbit();
        let floods = all.floods.get(&asker.network).is_some_and(|flood| flood.is_known(self.micros(now)));
        let is_blocked =
            all.reach.get(&asker.network).is_some_and(|reach| reach.is_blocked(self.micros(now)));
        let is_near = asker.network.contains(&local);
        let multicast = if !is_near {
            Multicast::Not(Why::Router)
        } else if limit == Some(0) {
            Multicast::Not(Why::Off)
        } else if floods && self.rules.flooding == Flooding::Avoid {
            Multicast::Not(Why::Floods)
        } else if is_blocked {
            Multicast::Not(Why::Blocked)
        } else {
            Multicast::Possible
        };
        let elsewhere =
            |(network, image): &(Ipv4Net, Digest)| *image == asker.image && *network != asker.network;
        let others = all.deliveries.iter().filter(|(place, _)| elsewhere(place));
        let others: usize = others.map(|(_, delivery)| delivery.count()).sum();
        let expected = if is_near { asker.company.saturating_sub(others) } else { 0 };
        let link = link_mbit(local).unwrap_or(USUAL_LINK);
        let mbit = self.limit.of_link(link);
        let expected = u32::try_from(expected).unwrap_or(u32::MAX);
        Terms { multicast, controller: mbit.saturating_mul(MBIT), expected }
    }

    /// How a node gets its image; none when it has not asked of late.
    pub fn lane(&self, node: NodeId) -> Option<Lane> {
        let all = self.lock();
        let lanes = all.deliveries.values().filter_map(|delivery| delivery.lane(node));
        lanes.max_by_key(|lane| lane.asked)
    }

    /// Forgets who has gone, ends what nobody listens to, and asks switches who listens; until told to stop, which ends everything.
    pub async fn keep(self: Arc<Self>, mut stop: Stop) {
        let mut querying = Querying::new();
        loop {
            if self.rules.querier {
                querying.round(&self.networks());
            }
            self.probing.round(Instant::now());
            tokio::select! {
                _ = stop.changed() => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let ended = self.clear(Instant::now());
            drop(tokio::task::spawn_blocking(move || drop(ended)).await);
        }
        let all = std::mem::take(&mut *self.lock());
        drop(tokio::task::spawn_blocking(move || drop(all)).await);
    }

    /// Our addresses on the networks that something is sent to all on.
    fn sending(&self) -> Vec<Ipv4Addr> {
        let all = self.lock();
        let is_busy = |delivery: &&Delivery| delivery.transmission().is_some_and(|one| !one.rests());
        let sending = all.deliveries.values().filter(is_busy);
        sending.map(|delivery| delivery.local).collect()
    }

    /// Our addresses on the networks that have nodes.
    fn networks(&self) -> Vec<Ipv4Addr> {
        let all = self.lock();
        let is_near =
            |((network, _), delivery): &(&(Ipv4Net, Digest), &Delivery)| network.contains(&delivery.local);
        let asking = all.deliveries.iter().filter(is_near).map(|(_, delivery)| delivery.local);
        let mut networks: Vec<_> = self.rules.networks.iter().copied().chain(asking).collect();
        networks.sort_unstable();
        networks.dedup();
        networks
    }

    fn clear(&self, now: Instant) -> Vec<Transmission> {
        let mut all = self.lock();
        let ended: Vec<(Ipv4Addr, Transmission)> = all
            .deliveries
            .values_mut()
            .filter_map(|delivery| Some((delivery.local, delivery.clear(now)?)))
            .collect();
        ended.iter().for_each(|(local, _)| self.share(&all, *local));
        all.deliveries.retain(|_, delivery| !delivery.is_over(now));
        let at = self.micros(now);
        all.floods.retain(|_, flood| flood.is_known(at));
        let mut gone = std::mem::take(&mut all.ended);
        gone.extend(ended.into_iter().map(|(_, transmission)| transmission));
        gone
    }

    /// Begins to send to so many who are to come at about the same time, and to all others.
    fn begin(&self, image: &Digest, local: Ipv4Addr, expected: u32) -> Result<Transmission, CastError> {
        let stored = self.images.stored(image)?;
        let groups = groups(&stored.manifest);
        let group = SocketAddrV4::new(group_of(image, local), PORT);
        let failed = |source| CastError::Socket { group, local, source };
        let yields = self.rules.yields;
        let socket = Socket::open(local, group, yields).map_err(failed)?;
        let number = random::<8>().map(u64::from_le_bytes)?;
        let limits = Limits { yields, ..Limits::of(self.rate(local)) };
        let mut sender = Sender::new(&groups, number, limits);
        sender.expect(expected);
        let content = Content::new(Arc::clone(&self.images), stored, groups);
        let sent = self.tally.of(*image, tally::MULTICAST);
        let session = Session::begin(number, socket, sender, (content, sent)).map_err(failed)?;
        tracing::info!(image = %image.short(), %group, %local, "sending an image to all who want it");
        Ok(Transmission::new(session, group))
    }

    /// Transmissions on one network share it evenly, those that rest for the moment left out.
    fn share(&self, all: &All, local: Ipv4Addr) {
        let here = || {
            let there = all.deliveries.values().filter(|delivery| delivery.local == local);
            there.filter_map(Delivery::transmission)
        };
        let busy = here().filter(|transmission| !transmission.rests()).count();
        let count = u64::try_from(busy).unwrap_or(u64::MAX).max(1);
        let each = self.rate(local) / count;
        here().for_each(|transmission| transmission.limit(each));
    }

    /// Bytes a second that a network can take.
    fn rate(&self, local: Ipv4Addr) -> u64 {
        self.limit.sending(local)
    }

    fn micros(&self, at: Instant) -> Micros {
        Micros(u64::try_from(at.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        // Whole whenever the lock is free.
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The groups of an image, as its agents cut it too.
pub fn groups(manifest: &Manifest) -> Groups {
    let piece = |chunk: &pack::Chunk| cast::Piece {
        id: chunk.window,
        offset: chunk.offset,
        stored: chunk.stored,
        bytes: chunk.used_bytes(),
    };
    Groups::of(&manifest.chunks().iter().map(piece).collect::<Vec<_>>())
}

fn random<const N: usize>() -> Result<[u8; N], CastError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| CastError::Random)?;
    Ok(bytes)
}

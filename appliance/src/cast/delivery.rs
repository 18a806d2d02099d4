//! One image on one network: what each node that writes it has said, and what was planned for all of them.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use cast::Micros;
use cast::plan::{Hears, Known, Multicast, Node, Plan, Planner, Terms, Way, Why};
use cast::sender;
use protocol::{CastAsk, CastReply, Door, Hearing, JobId, NodeId, Seat, Source};

use super::lane::{By, Lane};
use super::transmission::{Place, Transmission};
use super::{Asker, CastError, FORGET};

/// How often it is planned anew, while nothing happens.
const PLAN_EVERY: Duration = Duration::from_millis(250);
/// And how soon when something does, for each node that there is: so planning leaves time for answers.
const PLAN_FOR_EACH: Duration = Duration::from_micros(20);
/// What could not be sent is not tried again for so long.
const BROKEN: Duration = Duration::from_secs(30);

/// The way of an image to the nodes of a network.
#[derive(Debug)]
pub(super) struct Delivery {
    /// Our address there.
    pub(super) local: Ipv4Addr,
    begun: Instant,
    planner: Planner,
    sittings: BTreeMap<NodeId, Sitting>,
    plan: Option<(Plan, Instant)>,
    /// Something happened that the plan does not know of.
    is_stale: bool,
    transmission: Option<Transmission>,
    /// Until when nothing is sent to all, because that failed.
    broken: Option<Instant>,
    /// Since when nobody listens, and since when nobody asks.
    unheard_since: Option<Instant>,
    idle_since: Option<Instant>,
}

/// What is known of somebody who writes the image.
#[derive(Debug)]
struct Sitting {
    job: JobId,
    asked: Instant,
    address: IpAddr,
    link_mbit: Option<u64>,
    door: Option<Door>,
    hearing: Hearing,
    had_bytes: u64,
    floods: Option<bool>,
    shunned: Vec<SocketAddr>,
    place: Option<Place>,
    /// Why it was sent away.
    unfit: Option<sender::Why>,
}

impl Delivery {
    /// Of an image of so many bytes as it travels, and on a disk.
    pub(super) fn new(local: Ipv4Addr, (stored_bytes, used_bytes): (u64, u64), now: Instant) -> Self {
        Self {
            local,
            begun: now,
            planner: Planner::new(stored_bytes, used_bytes),
            sittings: BTreeMap::new(),
            plan: None,
            is_stale: true,
            transmission: None,
            broken: None,
            unheard_since: None,
            idle_since: None,
        }
    }

    /// Takes what a node says. True when it has seen that the switch floods, and had not said so before.
    pub(super) fn hear(&mut self, asker: &Asker, ask: &CastAsk, now: Instant) -> bool {
        self.idle_since = None;
        let is_near = |local: &Ipv4Addr| asker.network.contains(local);
        if self.transmission.is_none() && (is_near(&asker.local) || !is_near(&self.local)) {
            self.local = asker.local;
        }
        let before = self.sittings.remove(&asker.node);
        let (before, gone) = match before {
            Some(same) if same.job == ask.job => (Some(same), None),
            other => (None, other),
        };
        if let Some(gone) = gone {
            // What was wrong with it in an earlier job is past.
            self.planner.forget(key(asker.node));
            self.leave(gone.place.as_ref());
        }
        let had_seen = before.as_ref().is_some_and(|before| before.floods == Some(true));
        self.is_stale |= before.as_ref().is_none_or(|before| {
            before.door != ask.door
                || before.shunned != ask.shunned
                || before.hearing.pulls != ask.hearing.pulls
        });
        let (mut place, unfit) = before.map_or((None, None), |before| (before.place, before.unfit));
        if let Some(place) = &mut place {
            place.hear(ask.session);
        }
        let sitting = Sitting {
            job: ask.job,
            asked: now,
            address: asker.address,
            link_mbit: asker.link_mbit,
            door: ask.door.clone(),
            hearing: ask.hearing,
            had_bytes: ask.had_bytes,
            floods: ask.floods,
            shunned: ask.shunned.clone(),
            place,
            unfit,
        };
        self.sittings.insert(asker.node, sitting);
        self.send_away(asker.node);
        !had_seen && ask.floods == Some(true)
    }

    /// Who is better off fetching loses its seat, for this job.
    fn send_away(&mut self, node: NodeId) {
        let Some(sitting) = self.sittings.get_mut(&node) else { return };
        let (Some(place), Some(transmission)) = (&sitting.place, &self.transmission) else { return };
        let Some(why) = transmission.listener(place).and_then(|listener| listener.pull) else { return };
        tracing::info!(%node, %why, "a node fetches its image instead of listening");
        transmission.leave(place);
        (sitting.place, sitting.unfit, self.is_stale) = (None, Some(why), true);
    }

    fn leave(&self, place: Option<&Place>) {
        if let (Some(place), Some(transmission)) = (place, &self.transmission) {
            transmission.leave(place);
        }
    }

    /// Nodes that have asked of late.
    pub(super) fn count(&self) -> usize {
        self.sittings.len()
    }

    /// Whether something is sent to all.
    pub(super) fn transmission(&self) -> Option<&Transmission> {
        self.transmission.as_ref()
    }

    /// Something is sent to all from now on.
    pub(super) fn begin(&mut self, transmission: Transmission) {
        (self.transmission, self.unheard_since) = (Some(transmission), None);
    }

    /// It could not be sent to all, or can't any more.
    pub(super) fn fail(&mut self, now: Instant) {
        (self.broken, self.plan) = (Some(now + BROKEN), None);
    }

    /// Why what is sent has ended by itself, if it has.
    pub(super) fn broken(&self) -> Option<String> {
        self.transmission.as_ref().and_then(Transmission::broken)
    }

    /// Whatever was planned does not hold any more.
    pub(super) fn outdate(&mut self) {
        self.plan = None;
    }

    /// Whether something is sent to all that should not be.
    pub(super) fn is_to_end(&self) -> bool {
        self.transmission.is_some() && !self.planner.sends()
    }

    /// Nothing is sent to all any more; what is left is to be dropped where waiting does no harm.
    pub(super) fn end(&mut self) -> Option<Transmission> {
        self.sittings.values_mut().for_each(|sitting| sitting.place = None);
        let mut ended = self.transmission.take()?;
        ended.stop();
        Some(ended)
    }

    /// Whether it is time to plan anew.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let least = PLAN_FOR_EACH * u32::try_from(self.sittings.len()).unwrap_or(u32::MAX);
        let wait = if self.is_stale { least.min(PLAN_EVERY) } else { PLAN_EVERY };
        self.plan.as_ref().is_none_or(|(_, made)| now.saturating_duration_since(*made) >= wait)
    }

    /// Plans anew.
    pub(super) fn plan(&mut self, terms: Terms, now: Instant) {
        let broken = self.broken.is_some_and(|until| now < until);
        let terms = match terms.multicast {
            Multicast::Possible if broken => Terms { multicast: Multicast::Not(Why::Broken), ..terms },
            Multicast::Possible | Multicast::Not(_) => terms,
        };
        let doors: BTreeMap<SocketAddr, Node> = self.doors().collect();
        let known =
            self.sittings.iter().map(|(node, sitting)| (key(*node), self.known(sitting, &doors))).collect();
        let plan = self.planner.plan(&known, &terms, self.micros(now));
        if self.plan.as_ref().is_none_or(|(before, _)| before.lane != plan.lane) {
            tracing::info!(lane = ?plan.lane, seconds = plan.seconds, local = %self.local, "how an image comes");
        }
        if plan.ways.values().any(|way| way.why == Some(Why::Blocked)) {
            // Nothing will be sent that could show who hears: it stays as it was found.
            for (node, _) in known.iter().filter(|(_, known)| known.hears == Hears::Nothing) {
                if let Some(sitting) = self.sittings.get_mut(&NodeId(node.0.to_be_bytes())) {
                    sitting.unfit = Some(sender::Why::Deaf);
                }
            }
        }
        (self.plan, self.is_stale) = (Some((plan, now)), false);
    }

    fn doors(&self) -> impl Iterator<Item = (SocketAddr, Node)> {
        self.sittings.iter().filter_map(|(node, sitting)| {
            Some((SocketAddr::new(sitting.address, sitting.door.as_ref()?.port), key(*node)))
        })
    }

    fn known(&self, sitting: &Sitting, doors: &BTreeMap<SocketAddr, Node>) -> Known {
        let listener = sitting.place.as_ref().and_then(|place| self.transmission.as_ref()?.listener(place));
        let listens = sitting.place.as_ref().is_some_and(Place::listens);
        Known {
            heard: self.micros(sitting.asked),
            had_bytes: sitting.had_bytes,
            has_door: sitting.door.is_some(),
            hears: self.hears(sitting),
            pulls: listens && sitting.hearing.pulls,
            loss_ppm: listener.map(|listener| listener.loss_ppm),
            shunned: sitting.shunned.iter().filter_map(|address| doors.get(address).copied()).collect(),
            link: sitting.link_mbit.map(|mbit| mbit.saturating_mul(125_000)),
        }
    }

    fn hears(&self, sitting: &Sitting) -> Hears {
        if let Some(why) = sitting.unfit {
            return Hears::Not(why);
        }
        let Some(place) = sitting.place.as_ref().filter(|place| place.listens()) else {
            return Hears::Unknown;
        };
        let has_sent =
            || self.transmission.as_ref().is_some_and(|transmission| transmission.has_sent_to(place));
        match (sitting.hearing.received, sitting.hearing.pulls) {
            (1.., _) => Hears::Well,
            (0, true) if has_sent() => Hears::Nothing,
            (0, _) => Hears::Unknown,
        }
    }

    /// How it comes to a node, as planned; one that is new since then listens with the others.
    fn way(&self, node: NodeId) -> Way {
        let planned = self.plan.as_ref().and_then(|(plan, _)| plan.ways.get(&key(node)));
        planned.cloned().unwrap_or_else(|| {
            let is_fit = self.sittings.get(&node).is_none_or(|sitting| sitting.unfit.is_none());
            Way { listens: self.planner.sends() && is_fit, sources: Vec::new(), why: None }
        })
    }

    /// Whether something should be sent to all now, and is not.
    pub(super) fn is_to_begin(&self, node: NodeId) -> bool {
        self.transmission.is_none() && self.way(node).listens
    }

    /// What a node is told. `may_look`: newcomers look whether the switch floods.
    ///
    /// # Errors
    /// [`CastError::Random`].
    pub(super) fn reply(
        &mut self,
        node: NodeId,
        ask: &CastAsk,
        (may_look, now): (bool, Instant),
    ) -> Result<CastReply, CastError> {
        let way = self.way(node);
        let sources = way.sources.iter().filter_map(|source| self.source(*source)).collect();
        let seat = if way.listens { self.seat(node, ask, (may_look, now))? } else { None };
        if seat.is_none()
            && let Some(place) = self.sittings.get_mut(&node).and_then(|sitting| sitting.place.take())
        {
            self.leave(Some(&place));
        }
        Ok(CastReply { seat, sources })
    }

    fn source(&self, node: Node) -> Option<Source> {
        let sitting = self.sittings.get(&NodeId(node.0.to_be_bytes()))?;
        let Door { port, key } = sitting.door.clone()?;
        Some(Source { address: SocketAddr::new(sitting.address, port), key })
    }

    fn seat(
        &mut self,
        node: NodeId,
        ask: &CastAsk,
        (may_look, now): (bool, Instant),
    ) -> Result<Option<Seat>, CastError> {
        let settled = |place: &Place| place.is_settled(now);
        let others = self.sittings.iter().filter(|(other, _)| **other != node);
        let looks_first = may_look
            && ask.floods.is_none()
            && others.filter_map(|(_, other)| other.place.as_ref()).any(settled);
        let (Some(transmission), Some(sitting)) = (&mut self.transmission, self.sittings.get_mut(&node))
        else {
            return Ok(None);
        };
        transmission.seat(&mut sitting.place, ask.session, (looks_first, now)).map(Some)
    }

    /// How a node gets the image.
    pub(super) fn lane(&self, node: NodeId) -> Option<Lane> {
        let sitting = self.sittings.get(&node)?;
        let Way { listens, sources, why } = self.way(node);
        let by = match (listens && why.is_none(), sources.is_empty()) {
            (true, _) => By::Multicast,
            (false, false) => By::Others,
            (false, true) => By::Controller,
        };
        let place = sitting.place.as_ref();
        Some(Lane {
            asked: sitting.asked,
            job: sitting.job,
            by,
            why: why.map(|why| why.to_string()),
            hearing: sitting.hearing,
            had_bytes: sitting.had_bytes,
            listener: place.and_then(|place| self.transmission.as_ref()?.listener(place)),
            seconds: self.plan.as_ref().map_or(0.0, |(plan, _)| plan.seconds),
        })
    }

    /// Forgets who has gone. What nobody listens to any more is to be dropped where waiting does no harm.
    pub(super) fn clear(&mut self, now: Instant) -> Option<Transmission> {
        let is_gone = |asked: Instant| now.saturating_duration_since(asked) > FORGET;
        let gone: Vec<_> = self.sittings.extract_if(.., |_, sitting| is_gone(sitting.asked)).collect();
        gone.iter().for_each(|(_, gone)| self.leave(gone.place.as_ref()));
        if self.sittings.is_empty() {
            self.idle_since.get_or_insert(now);
        }
        if self.sittings.values().any(|sitting| sitting.place.is_some()) {
            self.unheard_since = None;
            return None;
        }
        let since = *self.unheard_since.get_or_insert(now);
        if is_gone(since) { self.end() } else { None }
    }

    /// Whether nobody has asked for so long that nothing needs to be known any more.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let is_long_ago = |since: Instant| now.saturating_duration_since(since) > FORGET;
        self.transmission.is_none() && self.idle_since.is_some_and(is_long_ago)
    }

    fn micros(&self, at: Instant) -> Micros {
        Micros(u64::try_from(at.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX))
    }
}

/// How [`cast::plan`] calls a node.
pub(super) fn key(node: NodeId) -> Node {
    Node(u128::from_be_bytes(node.0))
}

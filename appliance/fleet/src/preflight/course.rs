//! What every node is to try now. Nodes ask; who does not answer in time is a row of the result, and holds nobody up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use protocol::{
    Aim, Answered, Claim, Endpoint, Heard, Heed, Link, NETWORKS_MAX, NetworkAsk, NetworkStep, NodeId, Peer,
    ReportKey, Rival, StepDone, Stream, Streamed,
};

use super::{Member, Network, Pair, Place, Preflight, Results, STREAM_SECONDS_MAX, Terms, rounds, sizes};

/// Longest to wait for those who were heard lately, in milliseconds: an agent whose line has broken asks again within that.
const GATHER_MS: u64 = 15_000;
/// For everything else beside the transfers themselves.
const STEP_MS: u64 = 12_000;

/// Rivals of one member that are kept.
const RIVALS_MAX: usize = 64;

/// Where a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Who is there.
    Gather,
    /// Everybody begins to answer.
    Open,
    /// Everybody asks everybody.
    Reach,
    /// As much as goes is sent: in which of the rounds.
    Transfer(usize),
    /// Everybody tells what was heard, and stops to answer.
    Close,
    /// All was tried.
    Over,
}

impl Stage {
    /// One word, as in the view.
    pub fn word(self) -> &'static str {
        match self {
            Stage::Gather => "gathering",
            Stage::Open => "opening",
            Stage::Reach => "reaching",
            Stage::Transfer(_) => "transferring",
            Stage::Close => "closing",
            Stage::Over => "over",
        }
    }
}

/// Who sends to whom, and in which network.
type Way = (u16, u16, u16);

#[derive(Clone, Debug)]
struct Seat {
    member: Member,
    is_there: bool,
    /// The last step that it has done.
    done: u32,
}

/// A check under way. Times are milliseconds of any clock that does not go back.
#[derive(Clone, Debug)]
pub struct Course {
    check: Preflight,
    key: ReportKey,
    seats: Vec<Seat>,
    networks: Vec<Network>,
    stage: Stage,
    number: u32,
    since: u64,
    transfers: Vec<Vec<Way>>,
    heard: BTreeMap<Way, (u32, u16)>,
    answered: BTreeMap<Way, Answered>,
    rivals: BTreeSet<(u16, Ipv4Addr, String)>,
    kbit: BTreeMap<Way, u64>,
    left_out: Vec<String>,
}

impl Course {
    /// A check that begins. The key is drawn by whoever has randomness, and is for this check alone.
    pub fn new(check: &Preflight, key: ReportKey, now: u64) -> Self {
        let seat = |member: &Member| Seat { member: member.clone(), is_there: false, done: 0 };
        Self {
            seats: check.members.iter().map(seat).collect(),
            check: Preflight { members: Vec::new(), ..check.clone() },
            key,
            networks: Vec::new(),
            stage: Stage::Gather,
            number: 0,
            since: now,
            transfers: Vec::new(),
            heard: BTreeMap::new(),
            answered: BTreeMap::new(),
            rivals: BTreeSet::new(),
            kbit: BTreeMap::new(),
            left_out: Vec::new(),
        }
    }

    /// Where it is.
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// How many rounds of transfers there are; known when all have gathered.
    pub fn rounds(&self) -> usize {
        self.transfers.len()
    }

    /// Which step; another number than before: somebody has something to do.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// A node asks. What it has done is taken in, and what it is to do now is given; nothing when it has done that, or is not meant.
    pub fn ask(&mut self, node: NodeId, ask: &NetworkAsk) -> Option<NetworkStep> {
        let place = self.seats.iter().position(|seat| seat.member.node == node)?;
        let me = u16::try_from(place).ok()?;
        if self.stage == Stage::Gather {
            let seat = self.seats.get_mut(place)?;
            (seat.is_there, seat.member.links) = (true, ask.links.clone());
            return None;
        }
        let current = |done: &&StepDone| done.check == self.check.id.0 && done.number == self.number;
        if let Some(done) = ask.done.as_ref().filter(current) {
            self.take(me, done);
        }
        let seat = self.seats.get(place).filter(|seat| seat.is_there && seat.member.lost.is_none())?;
        let is_idle = seat.done == self.number || self.stage == Stage::Over;
        (!is_idle).then(|| self.step(me))
    }

    /// Goes on when all have done what was to be done, or had the time for it. `busy` says why nothing large may be sent now, if so.
    pub fn tick(&mut self, now: u64, busy: Option<&str>) {
        while self.stage != Stage::Over && (self.is_done() || self.is_late(now)) {
            self.miss();
            self.next(now, busy);
        }
    }

    /// What came of it, when it is over.
    pub fn results(&self) -> Option<Results> {
        (self.stage == Stage::Over).then(|| Results {
            id: self.check.id,
            members: self.seats.iter().map(|seat| seat.member.clone()).collect(),
            networks: self.networks.clone(),
            pairs: self.pairs(),
            rivals: self.rivals.iter().filter_map(rival).collect(),
            left_out: self.left_out.clone(),
        })
    }

    /// Those who are still with us.
    fn present(&self) -> impl Iterator<Item = (u16, &Seat)> {
        let numbered = (0..).zip(&self.seats);
        numbered.filter(|(_, seat)| seat.is_there && seat.member.lost.is_none())
    }

    fn is_done(&self) -> bool {
        match self.stage {
            Stage::Gather => self.seats.iter().all(|seat| seat.is_there),
            Stage::Open | Stage::Reach | Stage::Transfer(_) | Stage::Close => {
                self.present().all(|(_, seat)| seat.done == self.number)
            }
            Stage::Over => true,
        }
    }

    fn is_late(&self, now: u64) -> bool {
        let limit = match self.stage {
            Stage::Gather => GATHER_MS,
            Stage::Transfer(_) => STEP_MS + u64::from(self.terms().stream_seconds) * 1000,
            Stage::Open | Stage::Reach | Stage::Close | Stage::Over => STEP_MS,
        };
        now.saturating_sub(self.since) >= limit
    }

    fn terms(&self) -> Terms {
        let Terms { stream_seconds, beside_jobs } = self.check.terms;
        Terms { stream_seconds: stream_seconds.min(STREAM_SECONDS_MAX), beside_jobs }
    }

    /// Who has not done it in time is not waited for again.
    fn miss(&mut self) {
        let (number, stage) = (self.number, self.stage);
        let why = match stage {
            Stage::Gather => {
                "its agent does not ask what to check: is the node up, and its agent of this version?"
            }
            Stage::Open => "it did not begin to answer",
            Stage::Reach => "it was heard no more while packets were sent",
            Stage::Transfer(_) => "it was heard no more during the transfers",
            Stage::Close | Stage::Over => "it was heard no more at the end",
        };
        let is_gathered = stage != Stage::Gather;
        let late = self.seats.iter_mut().filter(|seat| match is_gathered {
            true => seat.is_there && seat.done != number,
            false => !seat.is_there,
        });
        for seat in late {
            seat.member.lost.get_or_insert_with(|| why.to_owned());
        }
    }

    fn next(&mut self, now: u64, busy: Option<&str>) {
        self.stage = match self.stage {
            Stage::Gather => {
                self.arrange();
                Stage::Open
            }
            Stage::Open => Stage::Reach,
            Stage::Reach => self.transfer(0, busy),
            Stage::Transfer(at) => self.transfer(at + 1, busy),
            Stage::Close | Stage::Over => Stage::Over,
        };
        self.number += 1;
        self.since = now;
        if self.present().next().is_none() {
            self.stage = Stage::Over;
        }
    }

    /// The round of transfers from this one on in which two are still there.
    fn transfer(&mut self, from: usize, busy: Option<&str>) -> Stage {
        let there = self.present().map(|(number, _)| number).collect::<BTreeSet<_>>();
        let both = |(from, to, _): &Way| there.contains(from) && there.contains(to);
        let next = self.transfers.iter().enumerate().skip(from).find(|(_, round)| round.iter().any(both));
        match (next.map(|(at, _)| at), busy.filter(|_| !self.terms().beside_jobs)) {
            (None, _) => Stage::Close,
            (Some(at), None) => Stage::Transfer(at),
            (Some(at), Some(why)) => {
                let left = self.transfers.len() - at;
                self.left_out.push(format!(
                    "{left} of {} rounds of transfers were left out, because {why}",
                    self.transfers.len()
                ));
                Stage::Close
            }
        }
    }

    /// Finds out which networks there are, and who meets whom when.
    fn arrange(&mut self) {
        let mut found = BTreeMap::<Ipv4Net, Vec<Place>>::new();
        for (member, seat) in self.present() {
            for (subnet, place) in places(member, &seat.member.links) {
                let places = found.entry(subnet).or_default();
                if places.iter().all(|known| known.member != member) {
                    places.push(place);
                }
            }
        }
        let shared = found.into_iter().filter(|(_, places)| places.len() > 1);
        let mut networks = shared.map(|(subnet, places)| Network { subnet, places }).collect::<Vec<_>>();
        networks.sort_by_key(|network| std::cmp::Reverse(network.places.len()));
        for network in networks.iter().skip(NETWORKS_MAX) {
            self.left_out
                .push(format!("{} was left out: {NETWORKS_MAX} networks are checked", network.subnet));
        }
        networks.truncate(NETWORKS_MAX);
        if self.terms().stream_seconds > 0 {
            self.transfers = (0..).zip(&networks).flat_map(|(at, network)| transfers(at, network)).collect();
        }
        self.networks = networks;
    }

    fn take(&mut self, me: u16, done: &StepDone) {
        let Some(seat) = self.seats.get_mut(usize::from(me)) else { return };
        seat.done = done.number;
        if let Some(why) = &done.error {
            let text = format!("{}: {why}", seat.member.name);
            if self.left_out.len() < self.seats.len() && !self.left_out.contains(&text) {
                self.left_out.push(text);
            }
        }
        // Of nobody who does not take part: what a node says is kept only as far as it can be true.
        let (members, networks) = (self.seats.len(), self.networks.len());
        let is_known = |member: u16, network: u16| {
            usize::from(member) < members && usize::from(network) < networks && member != me
        };
        for Heard { from, network, packets, largest } in &done.heard {
            if is_known(*from, *network) {
                self.heard.insert((*from, me, *network), (*packets, *largest));
            }
        }
        let answered = done.answered.iter().filter(|one| is_known(one.to, one.network));
        self.answered.extend(answered.map(|one| ((me, one.to, one.network), *one)));
        let known = self.rivals.iter().filter(|(member, ..)| *member == me).count();
        let rivals = done.rivals.iter().map(|Rival { address, mac }| (me, *address, mac.to_string()));
        self.rivals.extend(rivals.take(RIVALS_MAX.saturating_sub(known)));
        if let (Some(Streamed { from, network, bytes, micros }), Stage::Transfer(at)) =
            (done.stream, self.stage)
        {
            let is_due = self.transfers.get(at).is_some_and(|round| round.contains(&(from, me, network)));
            if is_due {
                let kbit = u128::from(bytes) * 8000 / u128::from(micros.max(1));
                self.kbit.insert((from, me, network), u64::try_from(kbit).unwrap_or(u64::MAX));
            }
        }
    }

    /// What a member is to do in this step.
    fn step(&self, me: u16) -> NetworkStep {
        let own = self.own(me);
        let endpoints =
            own.iter().map(|(network, place)| Endpoint { network: *network, address: place.address });
        let others = || {
            let met =
                own.iter().filter_map(|(at, own)| Some((*at, *own, self.networks.get(usize::from(*at))?)));
            met.flat_map(|(at, own, network)| network.places.iter().map(move |place| (at, own, place)))
                .filter(|(_, _, place)| place.member != me)
        };
        let peer = |(network, _, place): (u16, &Place, &Place)| Peer {
            number: place.member,
            network,
            address: place.address,
        };
        let aim = |(network, own, place): (u16, &Place, &Place)| Aim {
            to: place.member,
            network,
            address: place.address,
            sizes: sizes(own.mtu, place.mtu),
        };
        let is_reach = self.stage == Stage::Reach;
        let (send, hear) = self.streams(me);
        NetworkStep {
            check: self.check.id.0,
            number: self.number,
            key: self.key.clone(),
            me,
            over: self.stage == Stage::Close,
            endpoints: endpoints.collect(),
            peers: others().map(peer).collect(),
            targets: if is_reach { others().map(aim).collect() } else { Vec::new() },
            claims: if is_reach { self.claims(me) } else { Vec::new() },
            send,
            hear,
        }
    }

    /// The member's place in each network that it is in.
    fn own(&self, me: u16) -> Vec<(u16, &Place)> {
        let numbered = (0..).zip(&self.networks);
        let own =
            |(at, network): (u16, &'_ Network)| (at, network.places.iter().position(|p| p.member == me));
        numbered
            .clone()
            .map(own)
            .zip(numbered)
            .filter_map(|((at, place), (_, network))| Some((at, network.places.get(place?)?)))
            .collect()
    }

    fn claims(&self, me: u16) -> Vec<Claim> {
        let links = self.seats.get(usize::from(me)).map(|seat| seat.member.links.as_slice());
        let places = places(me, links.unwrap_or_default());
        places.map(|(_, place)| Claim { link: place.link, address: place.address }).collect()
    }

    fn streams(&self, me: u16) -> (Option<Stream>, Option<Heed>) {
        let Stage::Transfer(at) = self.stage else { return (None, None) };
        let round = self.transfers.get(at).map(Vec::as_slice).unwrap_or_default();
        let milliseconds = self.terms().stream_seconds * 1000;
        let there = |member: u16| {
            self.seats
                .get(usize::from(member))
                .is_some_and(|seat| seat.is_there && seat.member.lost.is_none())
        };
        let send =
            round.iter().find(|(from, to, _)| *from == me && there(*to)).and_then(|(_, to, network)| {
                let places = &self.networks.get(usize::from(*network))?.places;
                let address = places.iter().find(|place| place.member == *to)?.address;
                Some(Stream { to: *to, network: *network, address, milliseconds })
            });
        let hear = round.iter().find(|(from, to, _)| *to == me && there(*from));
        (send, hear.map(|(from, _, network)| Heed { from: *from, network: *network, milliseconds }))
    }

    fn pairs(&self) -> Vec<Pair> {
        let mut pairs = Vec::new();
        for (network, shared) in (0..).zip(&self.networks) {
            for from in &shared.places {
                for to in shared.places.iter().filter(|to| to.member != from.member) {
                    pairs.extend(self.pair((from.member, to.member, network)));
                }
            }
        }
        pairs
    }

    /// What is known of one way; nothing when whoever could tell has left before that was told.
    fn pair(&self, way: Way) -> Option<Pair> {
        let (from, to, network) = way;
        let (heard, answered) = (self.heard.get(&way), self.answered.get(&way));
        let arrived =
            heard.is_some_and(|(packets, _)| *packets > 0) || answered.is_some_and(|one| one.packets > 0);
        let told = |member: u16| {
            let seat = self.seats.get(usize::from(member));
            seat.is_some_and(|seat| seat.member.lost.is_none())
        };
        let is_known = arrived || (told(from) && told(to));
        if !is_known {
            return None;
        }
        let largest = heard.map_or(0, |(_, size)| *size).max(answered.map_or(0, |one| one.largest));
        let rtt_us = answered.filter(|one| one.packets > 0).map(|one| one.rtt_us);
        Some(Pair { from, to, network, arrived, largest, rtt_us, kbit: self.kbit.get(&way).copied() })
    }
}

/// Every address of a member that others may have to reach, with its network.
fn places(member: u16, links: &[Link]) -> impl Iterator<Item = (Ipv4Net, Place)> + use<'_> {
    links.iter().flat_map(move |link| {
        link.addresses.iter().filter_map(move |own| {
            let subnet = Ipv4Net::new(own.address, own.prefix).ok().filter(|net| net.prefix_len() < 31)?;
            let address = own.address;
            let is_local = address.is_loopback() || address.is_link_local() || address.is_unspecified();
            let place = Place {
                member,
                address,
                link: link.name.clone(),
                mtu: link.mtu,
                speed_mbps: link.speed_mbps,
            };
            (!is_local).then(|| (subnet.trunc(), place))
        })
    })
}

/// Each way of each pair of one network, in rounds in which nobody is twice.
fn transfers(at: u16, network: &Network) -> Vec<Vec<Way>> {
    let member = |place: u16| network.places.get(usize::from(place)).map(|place| place.member);
    let rounds = rounds(u16::try_from(network.places.len()).unwrap_or(u16::MAX));
    let there = |round: &Vec<(u16, u16)>| {
        round.iter().filter_map(|(a, b)| Some((member(*a)?, member(*b)?, at))).collect::<Vec<_>>()
    };
    let back = |round: &[Way]| round.iter().map(|(a, b, at)| (*b, *a, *at)).collect::<Vec<_>>();
    rounds.iter().map(there).flat_map(|round| [back(&round), round]).collect()
}

fn rival((member, address, mac): &(u16, Ipv4Addr, String)) -> Option<(u16, Rival)> {
    Some((*member, Rival { address: *address, mac: mac.parse().ok()? }))
}

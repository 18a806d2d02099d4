//! Who listens and who fetches from whom: one image on one network.
//!
//! Knows nodes by numbers, and what each said of itself; refuses to know addresses and packets. The plan is made anew whenever somebody
//! asks, and what was decided stays as it is while nothing speaks against it.
//!
//! Of two and more the image is sent to all at once, unless that can't be, or the controller's link is so fast that it takes no longer to
//! serve each. Whoever does not listen fetches from others that are ahead of it, in a chain ([`chain`]). Behind every list of sources
//! stands the controller: it has everything.

mod chain;
pub mod cost;
mod flood;
mod reach;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chain::Chain;
pub use cost::Load;
pub use flood::Flood;
pub use reach::Reach;

use crate::Micros;
use crate::sender;

/// Who was not heard of for so long is nobody's source, and counts for nothing.
pub const DEAD: Micros = Micros(3_000_000);
/// Two lanes whose times differ by less than this factor are equally good: then nobody has to listen.
const EQUAL: f64 = 1.05;
/// What a link loses that nobody has complained about, of a million.
const USUAL_LOSS: u32 = 1000;
/// Of what one node calls a liar, so many are believed to be: more, and it may be the liar itself.
const BELIEVED: usize = 2;

/// A node, as its caller numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Node(pub u128);

/// Whether a node hears what is sent to all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Hears {
    /// It has not listened yet, or not for long.
    #[default]
    Unknown,
    /// It does.
    Well,
    /// Something was sent since it has listened, and it has heard nothing so far.
    Nothing,
    /// It is better off fetching.
    Not(sender::Why),
}

/// What is known of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// When it last spoke.
    pub heard: Micros,
    /// Stored bytes of the image that it has had.
    pub had_bytes: u64,
    /// Whether others can fetch from it.
    pub has_door: bool,
    /// Whether it hears what is sent to all.
    pub hears: Hears,
    /// It listens and hears nothing at the moment: it fetches until it does.
    pub pulls: bool,
    /// Packets of a million that don't arrive; none: nobody has counted.
    pub loss_ppm: Option<u32>,
    /// Others that gave it wrong bytes.
    pub shunned: BTreeSet<Node>,
    /// Bytes a second that its link takes, where that is known.
    pub link: Option<u64>,
}

/// Whether the image can be sent to all on this network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Multicast {
    /// It can.
    Possible,
    /// It can't or must not.
    Not(Why),
}

/// What is known of the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Whether the image can be sent to all there.
    pub multicast: Multicast,
    /// Bytes a second that the controller may send there.
    pub controller: u64,
    /// How many nodes write the image there, those included that have said nothing yet.
    pub expected: u32,
}

/// Why somebody does not listen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Nobody else writes the image here.
    Alone,
    /// Serving each takes no longer.
    Quick,
    /// Multicast does not come there.
    Router,
    /// As configured.
    Off,
    /// Whoever wants nothing of it would get it too.
    Floods,
    /// The controller can't send.
    Broken,
    /// Several listen, and nobody hears anything.
    Blocked,
    /// What the sender found of this one.
    Unfit(sender::Why),
    /// It listens and hears nothing at the moment.
    Silence,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Why::Alone => "alone: no other server here writes this image",
            Why::Quick => "the controller's link is fast enough to serve each",
            Why::Router => "behind a router",
            Why::Off => "sending to all is switched off",
            Why::Floods => "the switch floods: it would reach everybody",
            Why::Broken => "the controller can't send to all here",
            Why::Blocked => "nothing that is sent to all arrives on this network",
            Why::Unfit(why) => return why.fmt(f),
            Why::Silence => "it hears nothing of what is sent to all at the moment",
        })
    }
}

/// How an image comes to the nodes of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The controller serves each.
    Unicast,
    /// It is sent to all at once.
    Multicast,
    /// One gives it to the next.
    Chain,
}

/// How it comes to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Way {
    /// Whether it is to listen.
    pub listens: bool,
    /// From whom it fetches, the best one first. None of them, and it fetches from the controller, which stands behind all of them.
    pub sources: Vec<Node>,
    /// Why it does not listen.
    pub why: Option<Why>,
}

/// How it comes to all who live.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// How it comes to most of them.
    pub lane: Lane,
    /// How many seconds that takes from the beginning to the end.
    pub seconds: f64,
    /// How it comes to each.
    pub ways: BTreeMap<Node, Way>,
}

/// Plans for one image on one network.
#[derive(Debug)]
pub struct Planner {
    stored_bytes: u64,
    used_bytes: u64,
    /// It is sent to all. That does not end while anybody is there: those who are left go on listening.
    sends: bool,
    chain: Chain,
    liars: BTreeSet<Node>,
    /// Of how many each has been believed that they lie.
    believed: BTreeMap<Node, usize>,
    /// More than one has been there.
    is_shared: bool,
}

impl Planner {
    /// One for an image of so many bytes as it travels, and as it lies on a disk.
    #[must_use]
    pub fn new(stored_bytes: u64, used_bytes: u64) -> Planner {
        Planner {
            stored_bytes,
            used_bytes,
            sends: false,
            chain: Chain::default(),
            liars: BTreeSet::new(),
            believed: BTreeMap::new(),
            is_shared: false,
        }
    }

    /// A node begins anew: what was held against it does not count any more.
    pub fn forget(&mut self, node: Node) {
        self.liars.remove(&node);
        self.chain.forget(node);
    }

    /// Whether the image was to be sent to all when it was last planned.
    #[must_use]
    pub fn sends(&self) -> bool {
        self.sends
    }

    /// Decides for all of these nodes that live.
    pub fn plan(&mut self, nodes: &BTreeMap<Node, Known>, terms: &Terms, now: Micros) -> Plan {
        let lives = |known: &Known| now.since(known.heard) < DEAD;
        let live: BTreeMap<Node, &Known> =
            nodes.iter().filter(|(_, known)| lives(known)).map(|(node, known)| (*node, known)).collect();
        let load = self.load(&live, terms);
        self.is_shared |= live.len() > 1;
        let (lane, seconds, why) = self.choose(&live, terms, &load);
        self.sends = lane == Lane::Multicast;
        let mut ways: BTreeMap<Node, Way> =
            live.iter().map(|(node, known)| (*node, self.way(known, why))).collect();
        self.believe(&live);
        let fetches = |way: &Way| lane != Lane::Unicast && (!way.listens || way.why.is_some());
        let fetching = ways.iter().filter(|(_, way)| fetches(way)).map(|(node, _)| *node).collect();
        let link = load.node.min(load.controller);
        for (node, sources) in self.chain.sources(&live, &fetching, &self.liars, (link, now)) {
            if let Some(way) = ways.get_mut(&node) {
                way.sources = sources;
            }
        }
        Plan { lane, seconds, ways }
    }

    /// Whether one listens; `why` nobody does.
    fn way(&self, known: &Known, why: Option<Why>) -> Way {
        let unfit = match known.hears {
            Hears::Not(why) => Some(Why::Unfit(why)),
            Hears::Unknown | Hears::Well | Hears::Nothing => None,
        };
        let silence = known.pulls.then_some(Why::Silence);
        let listens = self.sends && unfit.is_none();
        Way { listens, sources: Vec::new(), why: why.or(unfit).or(silence) }
    }

    fn choose(&self, live: &BTreeMap<Node, &Known>, terms: &Terms, load: &Load) -> (Lane, f64, Option<Why>) {
        let why_not = match terms.multicast {
            Multicast::Not(why) => Some(why),
            Multicast::Possible => is_blocked(live).then_some(Why::Blocked),
        };
        if why_not.is_none() && self.sends && (self.is_shared && !live.is_empty() || load.nodes > 1) {
            return (Lane::Multicast, load.multicast(), None);
        }
        let unicast = load.unicast();
        if load.nodes < 2 {
            return (Lane::Unicast, unicast, Some(Why::Alone));
        }
        let doors = live.values().any(|known| known.has_door);
        let (lane, seconds) = match why_not {
            None => (Lane::Multicast, load.multicast()),
            Some(_) if doors => (Lane::Chain, load.chain()),
            Some(_) => return (Lane::Unicast, unicast, why_not),
        };
        if unicast <= EQUAL * seconds {
            return (Lane::Unicast, unicast, Some(Why::Quick));
        }
        (lane, seconds, why_not)
    }

    fn load(&self, live: &BTreeMap<Node, &Known>, terms: &Terms) -> Load {
        let nodes = u32::try_from(live.len()).unwrap_or(u32::MAX).max(terms.expected);
        // The usual one: a single slow link does not say what the others can.
        let mut links: Vec<u64> = live.values().filter_map(|known| known.link).collect();
        links.sort_unstable();
        let node = links.get(links.len() / 2).copied().unwrap_or(terms.controller);
        let mut losses: Vec<u32> = live.values().filter_map(|known| known.loss_ppm).collect();
        losses.sort_unstable();
        let loss_ppm = losses.get(losses.len() / 2).copied().unwrap_or(0).max(USUAL_LOSS);
        Load {
            stored_bytes: self.stored_bytes,
            used_bytes: self.used_bytes,
            nodes,
            controller: terms.controller,
            node,
            disk: None,
            inflate: None,
            loss_ppm,
        }
    }

    /// Takes what is said of liars. Each is heard on a few only: a liar could call everybody one.
    fn believe(&mut self, live: &BTreeMap<Node, &Known>) {
        for (node, known) in live {
            let believed = self.believed.entry(*node).or_default();
            for other in known.shunned.iter().filter(|other| *other != node) {
                if *believed < BELIEVED && self.liars.insert(*other) {
                    *believed += 1;
                }
            }
        }
        // Who has gone for good would be kept for ever.
        if self.liars.len() > 2 * live.len().max(BELIEVED) {
            self.liars.retain(|node| live.contains_key(node));
            self.believed.retain(|node, _| live.contains_key(node));
        }
    }
}

/// Whether multicast does not come through at all: one that is deaf may be the only one.
fn is_blocked(live: &BTreeMap<Node, &Known>) -> bool {
    let (mut deaf, mut well) = (0, 0);
    for known in live.values() {
        match known.hears {
            Hears::Well => well += 1,
            Hears::Nothing | Hears::Not(sender::Why::Deaf) => deaf += 1,
            Hears::Not(_) | Hears::Unknown => {}
        }
    }
    deaf >= 2 && well == 0 && 2 * deaf >= live.len()
}

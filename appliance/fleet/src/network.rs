//! Provisioning networks: which other DHCP servers are on them, and what follows from that.
//!
//! Knows what was heard and when, what the operator wants done about it, and what that means for DHCP ([`Network::stance`])
//! and for jobs ([`held`]). Refuses to know packets and sockets. Nothing here is kept over a restart: a network is looked
//! at anew before anybody on it is answered.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use pxe::dhcp::{Mode, Stance};
use serde::{Deserialize, Serialize};

use crate::job::Work;
use crate::step::changes;
use crate::{Change, Denied, Fact, Fleet, Node, Outcome, State, Time};

/// A server that answers questions is gone when two in a row stay unanswered.
const UNANSWERED: u32 = 2;
/// One that never answered a question (it serves only machines it knows) is gone when it was silent for so long.
const SILENT_SECONDS: u64 = 15 * 60;
/// One that was only named by a machine, never heard, is gone when nobody named it for so long.
const CHOSEN_SECONDS: u64 = 2 * 60;
/// More servers than any network has; more are somebody's play.
const MOST: usize = 64;

/// What the operator wants done beside another DHCP server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rule {
    /// Answer nobody, and let no job go on.
    #[default]
    Pause,
    /// Leave addresses to it, and only say what to boot.
    Proxy,
    /// Nothing.
    Ignore,
}

/// How another server was noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noticed {
    /// It answered our question.
    Answered,
    /// It was heard answering somebody else.
    Heard,
    /// A machine said that it takes its offer.
    Chosen,
}

/// Another DHCP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// When it was first noticed.
    pub first: Time,
    /// When last.
    pub last: Time,
    /// How it was first noticed.
    pub noticed: Noticed,
    /// It tells machines what to boot.
    pub boots: bool,
    /// The site that it serves, when it is another Rackwright controller.
    pub site: Option<String>,
    /// Another Rackwright controller that we heard of while we served already, and whose address is higher than ours: it
    /// will stop by itself, so that one of the two goes on.
    pub yields: bool,
    /// Questions since it last answered one; none: it never did.
    unanswered: Option<u32>,
}

/// What was heard from a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Who it says it is.
    pub server: Ipv4Addr,
    /// How it was noticed.
    pub noticed: Noticed,
    /// It tells machines what to boot.
    pub boots: bool,
    /// The site that it serves, when it is another Rackwright controller.
    pub site: Option<String>,
}

/// One provisioning network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Network {
    /// The kernel's name of the interface.
    pub interface: String,
    /// The controller's address on it.
    pub own: Ipv4Addr,
    /// Its own subnet, then those behind relays.
    pub subnets: Vec<Ipv4Net>,
    /// Whom DHCP answers here, as configured.
    pub mode: Mode,
    /// Addresses are left to another server, as configured.
    pub proxy: bool,
    /// What is done beside another server.
    pub rule: Rule,
    /// Other servers, by what they call themselves.
    pub servers: BTreeMap<Ipv4Addr, Server>,
    /// When the last look for other servers ended; none since the daemon's start.
    pub looked: Option<Time>,
    /// A job waits for a look that ends after this.
    pub wanted: Option<Time>,
}

impl Network {
    /// A network that was not looked at yet.
    pub fn new(dhcp: &pxe::dhcp::Network, rule: Rule) -> Self {
        Self {
            interface: dhcp.interface.clone(),
            own: dhcp.local.server,
            subnets: dhcp.subnets().map(|policy| policy.subnet).collect(),
            mode: dhcp.local.mode,
            proxy: dhcp.local.proxy,
            rule,
            servers: BTreeMap::new(),
            looked: None,
            wanted: None,
        }
    }

    /// What DHCP does here now.
    pub fn stance(&self) -> Stance {
        let mut others = self.servers.iter().filter(|(_, server)| !server.yields);
        match (self.rule, self.looked, others.next()) {
            (Rule::Ignore, ..) => Stance::Serve,
            (Rule::Pause, _, Some((server, _))) => Stance::Paused(*server),
            (Rule::Proxy, _, Some(_)) => Stance::Proxy,
            (_, None, None) => Stance::Listening,
            (_, Some(_), None) => Stance::Serve,
        }
    }

    /// Whether somebody waits for a look.
    pub fn wants_look(&self) -> bool {
        self.wanted.is_some_and(|wanted| self.looked.is_none_or(|looked| looked <= wanted))
    }

    fn told(&self, sighting: &Sighting, yields: bool) -> String {
        let server = sighting.server;
        let who = match &sighting.site {
            Some(site) => format!("another Rackwright controller (site {site:?}, {server}) is"),
            None if sighting.boots => format!("{server}, a DHCP server that also says what to boot, is"),
            None => format!("another DHCP server, {server}, is"),
        };
        let how = match sighting.noticed {
            Noticed::Answered => "it answered a question of ours",
            Noticed::Heard => "it was heard answering a machine",
            Noticed::Chosen => "a machine takes its offer",
        };
        let what = match self.rule {
            Rule::Pause if yields => {
                "it came later and has the higher address, and will stop; jobs wait until it has"
            }
            Rule::Pause => {
                "nobody is answered here and jobs wait until it is gone: switch it off, or set foreign = \"proxy\" or \
                 \"ignore\" for this network"
            }
            Rule::Proxy => "addresses are left to it; machines are still told what to boot",
            Rule::Ignore => "ignored, as configured",
        };
        format!("{who} on {} ({how}): {what}", self.interface)
    }
}

impl Fleet {
    /// The network that a node boots from; none behind a relay: other servers there are not heard here.
    pub fn network_of(&self, node: &Node) -> Option<&Network> {
        let address = node.boot.address;
        self.networks
            .values()
            .find(|network| network.subnets.first().is_some_and(|net| net.contains(&address)))
    }
}

/// Why a job of this node may not go on now: for the agent's screen and for `node why`.
pub fn held(fleet: &Fleet, node: &Node, job: Option<Work<'_>>) -> Option<String> {
    let network = fleet.network_of(node)?;
    // Also beside one that only says that it yields: anybody may say so.
    if let (Rule::Pause, Some(server)) = (network.rule, network.servers.keys().next()) {
        return Some(format!(
            "{} to be free of another DHCP server, {server} (rackwright network list)",
            network.interface
        ));
    }
    let unlooked = |job: Work<'_>| network.looked.is_none_or(|looked| looked < job.created());
    let waits =
        network.rule == Rule::Pause && job.is_some_and(|job| job.started().is_none() && unlooked(job));
    waits.then(|| format!("a look for other DHCP servers on {}", network.interface))
}

/// A job was made for this node: its network is looked at before it begins.
pub(crate) fn want_look(fleet: &Fleet, node: &Node, now: Time) -> Option<Change> {
    let network = fleet.network_of(node).filter(|network| network.rule == Rule::Pause)?;
    Some(Change::Network(Box::new(Network { wanted: Some(now), ..network.clone() })))
}

/// Something of another server arrived.
pub(crate) fn noticed(
    fleet: &Fleet,
    interface: &str,
    sighting: &Sighting,
    now: Time,
) -> Result<Outcome, Denied> {
    let mut network = find(fleet, interface)?.clone();
    let mut outcome = Outcome::default();
    let answers = (sighting.noticed == Noticed::Answered).then_some(0);
    let full = network.servers.len() >= MOST;
    match network.servers.get_mut(&sighting.server) {
        // A busy server beside us must not make a new world of every packet.
        Some(server) if answers.is_none() && now.0.saturating_sub(server.last.0) < 1000 => {
            return Ok(outcome);
        }
        Some(server) => {
            server.last = now;
            server.unanswered = answers.or(server.unanswered);
            server.boots |= sighting.boots;
            server.site = sighting.site.clone().or(server.site.take());
        }
        None if full => return Ok(outcome),
        None => {
            let (noticed, boots, site) = (sighting.noticed, sighting.boots, sighting.site.clone());
            let serving = network.looked.is_some() && network.stance() == Stance::Serve;
            let yields = site.is_some() && serving && network.own < sighting.server;
            outcome.facts.push(fact("foreign-dhcp", network.told(sighting, yields)));
            let server = Server { first: now, last: now, noticed, boots, site, yields, unanswered: answers };
            network.servers.insert(sighting.server, server);
        }
    }
    outcome.changes.push(Change::Network(Box::new(network)));
    Ok(outcome)
}

/// The other end of the cable may be another network now.
pub(crate) fn plugged(fleet: &Fleet, interface: &str) -> Result<Outcome, Denied> {
    let network = Network { looked: None, ..find(fleet, interface)?.clone() };
    Ok(changes([Change::Network(Box::new(network))]))
}

/// Somebody wants to know now.
pub(crate) fn look(fleet: &Fleet, interface: &str, now: Time) -> Result<Outcome, Denied> {
    let network = Network { wanted: Some(now), ..find(fleet, interface)?.clone() };
    Ok(changes([Change::Network(Box::new(network))]))
}

/// A look for other servers ended; who answered it was told before.
pub(crate) fn looked(fleet: &Fleet, interface: &str, now: Time) -> Result<Outcome, Denied> {
    let mut network = find(fleet, interface)?.clone();
    let mut outcome = Outcome::default();
    for server in network.servers.values_mut() {
        // An answer to this look has set it to 0.
        server.unanswered = server.unanswered.map(|count| count.saturating_add(1));
    }
    let gone = |server: &Server| match server.unanswered {
        Some(count) => count > UNANSWERED,
        // Anybody can name any server in a request: that alone counts for less.
        None if server.noticed == Noticed::Chosen => now.seconds_since(server.last) >= CHOSEN_SECONDS,
        None => now.seconds_since(server.last) >= SILENT_SECONDS,
    };
    let over =
        network.servers.iter().filter(|(_, server)| gone(server)).map(|(ip, _)| *ip).collect::<Vec<_>>();
    for server in over {
        network.servers.remove(&server);
        let left = match (network.rule, network.servers.len()) {
            (Rule::Ignore, _) => String::new(),
            (_, 0) => ": machines are served again".to_owned(),
            (_, others) => format!(": {others} more to go"),
        };
        outcome.facts.push(fact("foreign-dhcp-gone", format!("{server} is gone from {interface}{left}")));
    }
    network.looked = Some(now);
    if !outcome.facts.is_empty() && network.servers.is_empty() && network.rule == Rule::Pause {
        outcome.changes.extend(let_go(fleet, &network, now));
    }
    outcome.changes.push(Change::Network(Box::new(network)));
    Ok(outcome)
}

/// What waited for the network to be free has all its time from now on.
fn let_go(fleet: &Fleet, network: &Network, now: Time) -> Vec<Change> {
    let there =
        |node: &&Node| fleet.network_of(node).is_some_and(|other| other.interface == network.interface);
    let held = fleet.nodes.values().filter(there).filter(|node| waits_for_network(&node.state));
    held.map(|node| Change::Node(Box::new(Node { since: now, ..node.clone() }))).collect()
}

/// Whether a node in this state can do nothing while its network is paused.
pub(crate) fn waits_for_network(state: &State) -> bool {
    matches!(
        state,
        State::Imaging { .. }
            | State::Verifying { .. }
            | State::Draining { .. }
            | State::Capturing { .. }
            | State::Booting { .. }
            | State::Enrolling { .. }
            | State::Returning { .. }
    )
}

fn find<'a>(fleet: &'a Fleet, interface: &str) -> Result<&'a Network, Denied> {
    let missing = || Denied::Missing { kind: "network", name: interface.to_owned() };
    fleet.networks.get(interface).ok_or_else(missing)
}

fn fact(kind: &str, text: String) -> Fact {
    Fact { node: None, mac: None, kind: kind.to_owned(), text }
}

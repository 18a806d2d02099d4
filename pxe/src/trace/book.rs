//! The traces of all cards, in bounded memory.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use super::{Stage, Step, Trace, What};
use crate::{Mac, Time};

/// Cards remembered; a thousand servers with four each.
pub const MOST_CARDS: usize = 4096;
/// Steps remembered of all cards together: about 20 MB at the most.
pub const MOST_STEPS: usize = 65_536;
/// Forgotten at once, beyond what must be.
const SLACK: usize = 64;
const SLACK_STEPS: usize = 1024;
/// What happened to our networks.
const MOST_AROUND: usize = 64;
/// How long before a boot something on its network may matter to it, in seconds.
const BEFORE: u64 = 600;
/// Two cards of one board that ask within this time are at the same boot, in seconds.
const SAME_BOOT: u64 = 600;

/// Every card's trace. A flood of strangers forgets strangers, never a node.
#[derive(Clone, Debug, Default)]
pub struct Book {
    cards: BTreeMap<Mac, Card>,
    addresses: BTreeMap<Ipv4Addr, Mac>,
    around: VecDeque<Step>,
    steps: usize,
}

#[derive(Clone, Debug)]
struct Card {
    trace: Trace,
    boots: bool,
    heard: Time,
    node: bool,
    address: Option<Ipv4Addr>,
}

impl Card {
    fn new(mac: Mac, node: bool) -> Card {
        Card { trace: Trace::new(mac), boots: false, heard: Time(0), node, address: None }
    }
}

impl Book {
    /// Takes note of what a card did; of one that is new here, `node` says whether it is a node's.
    pub fn note(&mut self, mac: Mac, node: impl FnOnce() -> bool, step: Step) {
        let address = step.what.dhcp().and_then(super::Dhcp::address);
        let card = self.cards.entry(mac).or_insert_with(|| Card::new(mac, node()));
        card.boots |= step.what.dhcp().is_none_or(super::Dhcp::boots);
        card.heard = card.heard.max(step.last());
        let before = card.trace.len();
        card.trace.push(step);
        let after = card.trace.len();
        self.steps = (self.steps + after).saturating_sub(before);
        if let Some(address) = address {
            self.settle(mac, address);
        }
        self.keep_small(mac);
    }

    /// Whether anything is remembered of a card.
    #[must_use]
    pub fn knows(&self, mac: Mac) -> bool {
        self.cards.contains_key(&mac)
    }

    /// The card is a node's from now on, and kept before those of strangers.
    pub fn adopt(&mut self, mac: Mac) {
        if let Some(card) = self.cards.get_mut(&mac) {
            card.node = true;
        }
    }

    /// Takes note that a card has this address: a later step may name only that.
    fn settle(&mut self, mac: Mac, address: Ipv4Addr) {
        let Some(card) = self.cards.get_mut(&mac) else { return };
        if let Some(old) = card.address.replace(address).filter(|old| *old != address)
            && self.addresses.get(&old) == Some(&mac)
        {
            self.addresses.remove(&old);
        }
        if let Some(other) = self.addresses.insert(address, mac).filter(|other| *other != mac)
            && let Some(other) = self.cards.get_mut(&other)
        {
            other.address = None;
        }
    }

    /// Who has this address, as far as was seen.
    #[must_use]
    pub fn holder(&self, address: Ipv4Addr) -> Option<Mac> {
        self.addresses.get(&address).copied()
    }

    /// Takes note of what happened to a network of ours.
    pub fn note_around(&mut self, step: Step) {
        let again = |known: &&mut Step| known.what == step.what;
        // A server that is heard every hour is one fact.
        let known = if matches!(step.what, What::Foreign { .. }) {
            self.around.iter_mut().find(again)
        } else {
            self.around.back_mut().filter(again)
        };
        if let Some(known) = known {
            known.until = Some(step.last().max(known.last()));
            known.times = known.times.saturating_add(1);
            return;
        }
        if self.around.len() >= MOST_AROUND {
            self.around.pop_front();
        }
        self.around.push_back(step);
    }

    /// The trace of a card, with what happened to its networks around its attempts.
    #[must_use]
    pub fn trace(&self, mac: Mac) -> Option<Trace> {
        let mut trace = self.cards.get(&mac)?.trace.clone();
        let began = trace.attempts().next().map_or(Time(0), super::Attempt::began);
        let dhcp = trace.attempts().flat_map(|attempt| &attempt.steps).filter_map(|step| step.what.dhcp());
        let interfaces: Vec<_> = dhcp.map(|dhcp| dhcp.interface.clone()).collect();
        for step in &self.around {
            let interface = match &step.what {
                What::Link { interface, .. } | What::Foreign { interface, .. } => interface,
                What::Dhcp(_) | What::Fetch(_) | What::Router | What::Tls { .. } | What::Hello { .. } => {
                    continue;
                }
            };
            if interfaces.contains(interface) && step.last().plus_seconds(BEFORE) >= began {
                trace.push_around(step.clone());
            }
        }
        Some(trace)
    }

    /// Every card, by its address.
    pub fn cards(&self) -> impl Iterator<Item = Mac> {
        self.cards.keys().copied()
    }

    /// Steps remembered of all cards.
    #[must_use]
    pub fn len(&self) -> usize {
        self.steps
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cards.is_empty()
    }

    /// Another card of the same board that got farther in the same boot.
    #[must_use]
    pub fn twin(&self, mac: Mac) -> Option<(Mac, Stage)> {
        let own = self.cards.get(&mac)?.trace.last()?;
        let board = own.board()?;
        let twins = self.cards.iter().filter(|(other, _)| **other != mac).filter_map(|(other, card)| {
            let theirs = card.trace.last()?;
            let near = theirs.began().0.abs_diff(own.began().0) <= SAME_BOOT * 1000;
            (near && theirs.board() == Some(board)).then(|| (*other, theirs.reached()))
        });
        let best = twins.max_by_key(|(_, stage)| *stage)?;
        (best.1 >= Stage::Script && best.1 > own.reached()).then_some(best)
    }

    /// Forgets until it fits: strangers before nodes, those that never booted before others, and of these whoever was
    /// silent longest; never `current`. A few more than it must, so that not every step sorts.
    fn keep_small(&mut self, current: Mac) {
        if self.cards.len() <= MOST_CARDS && self.steps <= MOST_STEPS {
            return;
        }
        let others = self.cards.iter().filter(|(mac, _)| **mac != current);
        let mut order: Vec<_> =
            others.map(|(mac, card)| ((card.node, card.boots, card.heard), *mac)).collect();
        order.sort_unstable();
        for (_, mac) in order {
            if self.cards.len() + SLACK <= MOST_CARDS && self.steps + SLACK_STEPS <= MOST_STEPS {
                return;
            }
            self.forget(mac);
        }
    }

    fn forget(&mut self, mac: Mac) {
        let Some(card) = self.cards.remove(&mac) else { return };
        self.steps = self.steps.saturating_sub(card.trace.len());
        if let Some(address) = card.address.filter(|address| self.addresses.get(address) == Some(&mac)) {
            self.addresses.remove(&address);
        }
    }
}

impl super::Attempt {
    /// The board's UUID, where it claims one that is no maker's default.
    #[must_use]
    pub fn board(&self) -> Option<&str> {
        let told = self.steps.iter().filter_map(|step| step.what.dhcp()?.uuid.as_ref());
        told.map(super::Plain::as_str).find(|uuid| !is_placeholder(uuid))
    }
}

/// UUIDs that many boards share: makers left them as they came.
#[must_use]
pub(crate) fn is_placeholder(uuid: &str) -> bool {
    let digits = uuid.replace('-', "");
    let uniform = |digit: char| digits.chars().all(|c| c == digit);
    uniform('0')
        || uniform('f')
        || digits.starts_with("0300020004000500")
        || digits.starts_with("0002000300040005")
        || digits == "12345678123456781234567812345678"
}

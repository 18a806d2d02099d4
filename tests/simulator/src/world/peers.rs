//! What nodes give each other: the real planner says who, and here it happens, or goes wrong.

use cast::plan::{self, DEAD, Hears, Known, Multicast, Terms};
use cast::{Micros, sender};

use super::{Event, World};
use crate::network::nanos;
use crate::node::State;
use crate::story::SECOND;

/// After so long without a word, nobody is there.
const SILENCE: Micros = SECOND;
/// How long a door waits for what is on its way.
const DOOR_WAITS: Micros = Micros(600_000);
/// Who gave nothing is left alone for so long; and who had nothing yet.
const RESTS: Micros = Micros(3_000_000);
const ASKED_AGAIN: Micros = Micros(50_000);

/// How it went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Right,
    Wrong,
    NotHere,
    Silence,
}

/// A group from another node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gift {
    group: u32,
    from: usize,
    /// The life of who gives.
    life: u32,
    outcome: Outcome,
}

impl World {
    /// The controller hears what a node says, and tells it whom to fetch from.
    pub(super) fn plan(&mut self, number: usize) {
        let (now, expected) = (self.now, u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
        let (Some(controller), Some(node)) = (self.controller.as_mut(), self.nodes.get_mut(number)) else {
            return;
        };
        if now < node.down_until {
            return;
        }
        let hears = match (node.pulls, node.host.is_deaf) {
            (true, true) => Hears::Not(sender::Why::Deaf),
            (true, false) => Hears::Not(sender::Why::Stuck),
            (false, _) => Hears::Unknown,
        };
        let name = |number: usize| plan::Node(number as u128);
        let known = Known {
            heard: now,
            had_bytes: node.had,
            has_door: true,
            hears,
            pulls: node.pulls,
            loss_ppm: None,
            shunned: node.shunned.iter().map(|other| name(*other)).collect(),
            link: Some(node.host.link),
        };
        controller.known.insert(name(number), known);
        if !node.fetches() {
            return;
        }
        let terms = Terms { multicast: Multicast::Possible, controller: self.story.rate, expected };
        let plan = controller.planner.plan(&controller.known, &terms, now);
        let sources = plan.ways.get(&name(number)).map(|way| way.sources.clone()).unwrap_or_default();
        node.sources.clear();
        for source in sources {
            let source = usize::try_from(source.0).unwrap_or(usize::MAX);
            assert!(source != number && !node.shunned.contains(&source), "a liar is named as a source");
            let heard = controller.known.get(&name(source)).map(|known| known.heard);
            assert!(heard.is_some_and(|heard| now.since(heard) < DEAD), "a dead node is named as a source");
            node.sources.push(source);
        }
    }

    /// Fetches what is to be fetched next: from the first of its sources that does not rest, or from the controller.
    pub(super) fn fetch(&mut self, number: usize) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(number).filter(|node| now >= node.down_until) else { return };
        let Some(group) = node.to_fetch(now) else { return };
        let is_ready = |source: &&usize| {
            let rests = node.rests.get(*source).is_some_and(|until| now < *until);
            !rests && !node.shunned.contains(*source)
        };
        match node.sources.iter().find(is_ready).copied() {
            Some(source) => self.ask_for(number, group, source),
            None => self.fetch_from_controller(number, group),
        }
    }

    fn fetch_from_controller(&mut self, number: usize, group: u32) {
        let now = self.now;
        let Some(session) = self.controller.as_ref().map(|controller| controller.session) else { return };
        let Some(node) = self.nodes.get_mut(number) else { return };
        (node.pulling, node.giver) = (Some(group), None);
        let (bytes, life) = (node.size(group), node.life);
        self.lane = self.lane.max(now.0 * 1000) + nanos(bytes, self.story.lane);
        let arrives = self.lane.max(now.0 * 1000 + nanos(bytes, node.host.link)) / 1000;
        let arrives = Micros(arrives).after(Micros(2 * node.host.latency.0));
        self.at(arrives, Event::Fetched(number, life, group, session));
    }

    fn ask_for(&mut self, number: usize, group: u32, from: usize) {
        let now = self.now;
        let Some((bytes, own_life, link, latency)) = self.nodes.get_mut(number).map(|node| {
            (node.pulling, node.giver) = (Some(group), Some(from));
            (node.size(group), node.life, node.host.link, node.host.latency)
        }) else {
            return;
        };
        let Some(giver) = self.nodes.get_mut(from) else { return };
        let life = giver.life;
        let (outcome, at) = if giver.state != State::Up || now < giver.down_until {
            (Outcome::Silence, now.after(SILENCE))
        } else if giver.lacks.contains(&group) {
            (Outcome::NotHere, now.after(DOOR_WAITS))
        } else {
            giver.out = giver.out.max(now.0 * 1000) + nanos(bytes, giver.host.link);
            let arrives = Micros(giver.out.max(now.0 * 1000 + nanos(bytes, link)) / 1000);
            let lies = giver.dice.happens(giver.host.lies);
            let outcome = if lies { Outcome::Wrong } else { Outcome::Right };
            (outcome, arrives.after(latency).after(giver.host.latency))
        };
        self.at(at, Event::Given(number, own_life, Gift { group, from, life, outcome }));
    }

    /// What another gave, or did not, has come.
    pub(super) fn given(&mut self, number: usize, life: u32, gift: Gift) {
        let now = self.now;
        let Gift { group, from, outcome, .. } = gift;
        let is_there =
            self.nodes.get(from).is_some_and(|giver| giver.state == State::Up && giver.life == gift.life);
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.life == life) else { return };
        if (node.pulling, node.giver) != (Some(group), Some(from)) {
            return;
        }
        (node.pulling, node.giver) = (None, None);
        if node.state != State::Up || now < node.down_until {
            return;
        }
        match outcome {
            Outcome::Right if is_there => {
                self.ended.given += node.size(group);
                node.fetched(group, now);
            }
            Outcome::Wrong if is_there => {
                // Its digest says so: it is not kept, and nothing is taken from there any more.
                self.ended.lies += 1;
                node.shunned.insert(from);
            }
            Outcome::NotHere if is_there => drop(node.rests.insert(from, now.after(ASKED_AGAIN))),
            Outcome::Right | Outcome::Wrong | Outcome::NotHere | Outcome::Silence => {
                node.rests.insert(from, now.after(RESTS));
            }
        }
        self.look(number);
    }
}

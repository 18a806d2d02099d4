//! What became of earlier boots: which loader a machine was handed, how far it came with it, and so which it is handed
//! next.
//!
//! Nobody tells us that a loader hangs, or that Secure Boot has refused it. What is seen is that the machine is back and
//! asks again without ever having fetched its script. So every handing out is remembered until something comes of it,
//! and the one that came to nothing twice is followed by the next of the chain
//! ([`crate::dhcp::Network::choices`]), after the last by the first again. A machine never seen begins with what
//! worked for the last one of the same maker and firmware.
//!
//! A pure value: the shell tells it what happened, saves the [`Rows`] it gets back, and may lose them at no other cost
//! than a boot that fails once more.

use rpds::{RedBlackTreeMapSync, RedBlackTreeSetSync};

use super::past::{Came, Past, Trail};
use super::{BootPath, Choice, Loader, LocalBoot, Stage};
use crate::dhcp::{Arrival, BootFile, Door, Network, Reply, ReplyKind, Request};
use crate::{Mac, Time};

/// Machines remembered; a thousand servers four times over.
const MOST: usize = 4096;

/// Whether the machine ever got as far as its script, and when it was last heard of.
type Age = (bool, Time, Mac);

/// Rows to be saved; None: to be removed.
pub type Rows = Vec<(Mac, Option<Past>)>;

/// What is remembered of all machines; bounded. Those that never got as far as their script are forgotten first, so that a
/// flood of made-up addresses costs the others nothing, and those last heard of go last. A copy costs nothing, and a change
/// to it a few nodes of a tree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    machines: RedBlackTreeMapSync<Mac, Past>,
    /// In the order in which they are forgotten.
    ages: RedBlackTreeSetSync<Age>,
    /// By maker (the first three octets of the address) and stage: what worked last, and when.
    makers: RedBlackTreeMapSync<([u8; 3], Stage), (Time, Choice)>,
}

impl History {
    /// The history of a store. Rows beyond the bound are left out, the oldest first.
    #[must_use]
    pub fn from_rows(rows: impl IntoIterator<Item = (Mac, Past)>) -> History {
        let mut history = History::default();
        for (mac, past) in rows {
            for trail in &past.trails {
                if let Some(worked) = trail.worked {
                    history.note_maker(mac, trail.stage, worked, trail.worked_at);
                }
            }
            history.put(mac, past);
        }
        history
    }

    /// What to hand out in answer to a request: for [`crate::dhcp::Machine::choice`]. None: the client is told nothing
    /// to boot, or nothing is remembered and the first of the chain will do.
    #[must_use]
    pub fn choose(
        &self,
        network: &Network,
        request: &Request,
        arrival: Arrival,
        now: Time,
    ) -> Option<Choice> {
        let stage = request.stage().ok().flatten()?;
        let policy = network.policy(request, *arrival.source.ip()).ok()?;
        let chain = network.choices(policy, request, stage);
        let trail = self.machines.get(&request.mac).and_then(|past| past.trail(stage));
        let remembered = match trail {
            Some(trail) => trail.next(&chain, request.xid, arrival.door == Door::Proxy, now),
            None => self.makers.get(&(maker(request.mac), stage)).map(|(_, choice)| *choice),
        };
        // What is no longer in the boot store, or was meant for a network of another mode.
        remembered.filter(|choice| chain.contains(choice))
    }

    /// Everything that is remembered.
    pub fn iter(&self) -> impl Iterator<Item = (Mac, &Past)> {
        self.machines.iter().map(|(mac, past)| (*mac, past))
    }

    /// Whether something that was begun with a machine has not come to its end.
    #[must_use]
    pub fn awaits(&self, mac: Mac) -> bool {
        self.machines.get(&mac).is_some_and(|past| !past.is_settled())
    }

    /// How a machine that has nothing to do here is sent to its own disk in answer to a request: for
    /// [`crate::dhcp::Machine::local`].
    #[must_use]
    pub fn local(&self, request: &Request, now: Time) -> LocalBoot {
        let Some(mut past) = self.machines.get(&request.mac).cloned() else { return LocalBoot::default() };
        if let Ok(Some(stage)) = request.stage() {
            past.is_back(stage, now);
        }
        past.way()
    }

    /// How it is sent there by its script: for [`crate::script::NodeView::local`].
    #[must_use]
    pub fn local_by_script(&self, mac: Mac) -> LocalBoot {
        self.machines.get(&mac).map_or(LocalBoot::default(), Past::way)
    }

    /// The path by which the machine was last told to boot.
    #[must_use]
    pub fn path(&self, mac: Mac) -> Option<BootPath> {
        self.last(mac).map(|trail| trail.stage.path)
    }

    /// What the machine was last handed.
    #[must_use]
    pub fn loader(&self, mac: Mac) -> Option<Loader> {
        self.last(mac).map(|trail| trail.choice.loader)
    }

    fn last(&self, mac: Mac) -> Option<&Trail> {
        self.machines.get(&mac)?.trails.iter().max_by_key(|trail| trail.at)
    }

    /// A reply leaves. Only those that a client boots by count: ACKs, and offers beside another DHCP server.
    pub fn handed(&mut self, request: &Request, reply: &Reply, now: Time) -> Rows {
        let offered = reply.kind == ReplyKind::Offer && reply.address.is_none();
        let Some((file, _)) = reply.boot.filter(|_| offered || reply.kind == ReplyKind::Ack) else {
            return Rows::new();
        };
        let (Ok(Some(stage)), Some(choice)) = (request.stage(), reply.choice) else { return Rows::new() };
        let follows = reply.address.is_none() && !offered;
        self.change(request.mac, |past| {
            let again = past.trail(stage).is_some_and(|trail| trail.is_same(request.xid, follows, now));
            if !again {
                past.is_back(stage, now);
            }
            if file == BootFile::Missing || file == BootFile::HttpMissing {
                past.send(Some(stage), now);
            } else if !again {
                past.hand(Trail { offered, ..Trail::new(stage, choice, request.xid, now) });
            }
        })
    }

    /// The machine has fetched a loader, whole.
    pub fn fetched(&mut self, mac: Mac, now: Time) -> Rows {
        self.came(mac, Came::Loader, now)
    }

    /// The machine has fetched its script, which starts the agent.
    pub fn scripted(&mut self, mac: Mac, now: Time) -> Rows {
        self.came(mac, Came::Script, now)
    }

    /// The machine has fetched its script, which keeps it waiting.
    pub fn held(&mut self, mac: Mac, now: Time) -> Rows {
        self.came(mac, Came::Done, now)
    }

    /// The machine has fetched its script, which starts its own disk.
    pub fn sent_to_disk(&mut self, mac: Mac, now: Time) -> Rows {
        if !self.machines.contains_key(&mac) {
            return Rows::new();
        }
        let mut rows = self.came(mac, Came::Done, now);
        rows.extend(self.change(mac, |past| {
            let stage = past.trails.iter().max_by_key(|trail| trail.at).map(|trail| trail.stage);
            past.send(stage, now);
        }));
        rows
    }

    /// An agent of the machine is heard, in the ramdisk or on its disk.
    pub fn arrived(&mut self, mac: Mac, now: Time) -> Rows {
        if self.machines.get(&mac).is_none_or(Past::is_settled) {
            return Rows::new();
        }
        let mut rows = self.came(mac, Came::Done, now);
        rows.extend(self.change(mac, |past| {
            if let Some(sent) = &mut past.sent {
                (sent.open, sent.back) = (false, 0);
            }
        }));
        rows
    }

    fn came(&mut self, mac: Mac, how_far: Came, now: Time) -> Rows {
        let Some(past) = self.machines.get(&mac) else { return Rows::new() };
        let credited = past.under_way(now);
        let fresh = |trail: &Trail| trail.came < how_far && credited.contains(&trail.stage);
        let moved: Vec<(Stage, Choice, Time)> = past
            .trails
            .iter()
            .filter(|trail| fresh(trail))
            .map(|trail| (trail.stage, trail.choice, trail.at))
            .collect();
        if moved.is_empty() {
            return Rows::new();
        }
        if how_far >= Came::Script {
            for (stage, choice, at) in moved {
                self.note_maker(mac, stage, choice, at);
            }
        }
        self.change(mac, |past| {
            for trail in past.trails.iter_mut().filter(|trail| fresh(trail)) {
                trail.came = how_far;
                if how_far >= Came::Script {
                    (trail.worked, trail.worked_at) = (Some(trail.choice), trail.at);
                }
            }
        })
    }

    fn note_maker(&mut self, mac: Mac, stage: Stage, choice: Choice, at: Time) {
        let key = (maker(mac), stage);
        if self.makers.get(&key).is_some_and(|known| *known >= (at, choice)) {
            return;
        }
        self.makers.insert_mut(key, (at, choice));
        if self.makers.size() > MOST {
            let oldest = self.makers.iter().min_by_key(|(_, (at, _))| *at).map(|(key, _)| *key);
            oldest.map(|key| self.makers.remove_mut(&key));
        }
    }

    fn change(&mut self, mac: Mac, change: impl FnOnce(&mut Past)) -> Rows {
        let before = self.machines.get(&mac).cloned().unwrap_or_default();
        let mut past = before.clone();
        change(&mut past);
        if past == before {
            return Rows::new();
        }
        let mut rows = vec![(mac, Some(past.clone()))];
        rows.extend(self.put(mac, past).map(|forgotten| (forgotten, None)));
        rows
    }

    /// Puts a row in; whoever was forgotten for it.
    fn put(&mut self, mac: Mac, past: Past) -> Option<Mac> {
        if let Some(before) = self.machines.get(&mac) {
            self.ages.remove_mut(&age(mac, before));
        }
        self.ages.insert_mut(age(mac, &past));
        self.machines.insert_mut(mac, past);
        if self.machines.size() <= MOST {
            return None;
        }
        // Never the newcomer itself: nothing could ever come of it.
        let first = *self.ages.iter().find(|(.., other)| *other != mac)?;
        let (.., forgotten) = first;
        self.ages.remove_mut(&first);
        self.machines.remove_mut(&forgotten);
        Some(forgotten)
    }
}

fn age(mac: Mac, past: &Past) -> Age {
    (past.trails.iter().any(|trail| trail.worked.is_some()), past.last(), mac)
}

fn maker(mac: Mac) -> [u8; 3] {
    let [a, b, c, ..] = mac.octets();
    [a, b, c]
}

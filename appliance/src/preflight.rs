//! The check of the network that is under way: who asks, what each is told to try, when it is over.
//!
//! What is decided is decided by [`fleet::preflight::Course`]; here are its clock and its key. Nothing of it is kept but that it was
//! begun: after a restart of the controller it begins anew, with another key, and agents go on asking. What agents tell of their links is
//! kept in memory alone, because they tell it again with every question.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet::Event;
use fleet::preflight::{CheckId, Course, PreflightState, Stage, Verb, busy};
use protocol::{Link, NetworkAsk, NetworkStep, NodeId, ReportKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::watch;

use crate::listen::Stop;
use crate::writer::{Core, World};

/// How often it is looked whether somebody is late.
const TICK: Duration = Duration::from_millis(250);
/// How often it is tried to save what came of it, when nothing can be saved.
const PAUSE: Duration = Duration::from_secs(5);

/// What is known of the network between nodes, and the check under way.
#[derive(Debug)]
pub struct Preflights {
    core: Core,
    inner: Mutex<Inner>,
    /// Counts steps: whoever waits for one looks again.
    news: watch::Sender<u64>,
    origin: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    course: Option<(CheckId, Course)>,
    links: BTreeMap<NodeId, Vec<Link>>,
}

impl Preflights {
    /// None is under way.
    pub fn new(core: Core) -> Self {
        let news = watch::Sender::new(0);
        Self { core, inner: Mutex::default(), news, origin: Instant::now() }
    }

    /// A node tells of its links and asks what to try; what it is to do, as soon as there is something, within this time.
    pub async fn ask(&self, node: NodeId, ask: &NetworkAsk, within: Duration) -> Option<NetworkStep> {
        let mut news = self.news.subscribe();
        let wait = async {
            loop {
                if let Some(step) = self.look(node, ask) {
                    return Some(step);
                }
                if news.changed().await.is_err() {
                    return None;
                }
            }
        };
        tokio::time::timeout(within, wait).await.ok().flatten()
    }

    fn look(&self, node: NodeId, ask: &NetworkAsk) -> Option<NetworkStep> {
        let mut inner = self.lock();
        if inner.links.get(&node) != Some(&ask.links) {
            inner.links.insert(node, ask.links.clone());
        }
        let (_, course) = inner.course.as_mut()?;
        let before = course.number();
        let step = course.ask(node, ask);
        course.tick(self.now(), busy(&self.core.world().fleet).as_deref());
        let is_news = course.number() != before;
        drop(inner);
        if is_news {
            self.news.send_modify(|count| *count += 1);
        }
        step
    }

    /// The links that this node has told of, if it has.
    pub fn links(&self, node: NodeId) -> Option<Vec<Link>> {
        self.lock().links.get(&node).cloned()
    }

    /// Where this check is, and how many rounds of transfers it has.
    pub fn stage(&self, id: CheckId) -> Option<(Stage, usize)> {
        let inner = self.lock();
        let (_, course) = inner.course.as_ref().filter(|(own, _)| *own == id)?;
        Some((course.stage(), course.rounds()))
    }

    /// Begins and ends checks as the world has them, until told to stop.
    pub async fn keep(self: Arc<Self>, mut stop: Stop) {
        let mut worlds = self.core.watch();
        loop {
            let world = Arc::clone(&worlds.borrow_and_update());
            self.follow(&world);
            if !self.go_on(&world).await {
                tokio::time::sleep(PAUSE).await;
            }
            let is_under_way = self.lock().course.is_some();
            tokio::select! {
                _ = stop.changed() => return,
                changed = worlds.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(TICK), if is_under_way => {}
            }
        }
    }

    /// Whether the check that the world has is the one that is under way here; begins it, or drops the other.
    fn follow(&self, world: &World) {
        let running = world.fleet.preflight.as_ref();
        let running = running.filter(|check| check.state == PreflightState::Running);
        let mut inner = self.lock();
        inner.links.retain(|node, _| world.fleet.nodes.get(node).is_some());
        let wanted = running.map(|check| check.id);
        if inner.course.as_ref().map(|(id, _)| *id) == wanted {
            return;
        }
        inner.course = running.and_then(|check| {
            let mut key = [0; 32];
            // Without randomness there is no key, and without one no check: its row waits.
            SystemRandom::new().fill(&mut key).ok()?;
            Some((check.id, Course::new(check, ReportKey(key), self.now())))
        });
        drop(inner);
        // Whoever waits says that it is there.
        self.news.send_modify(|count| *count += 1);
    }

    /// Lets time pass, and hands in what came of a check that is over; whether that could be saved.
    async fn go_on(&self, world: &World) -> bool {
        let results = {
            let mut inner = self.lock();
            let Some((_, course)) = inner.course.as_mut() else { return true };
            let before = course.number();
            course.tick(self.now(), busy(&world.fleet).as_deref());
            let (after, results) = (course.number(), course.results());
            drop(inner);
            if after != before {
                self.news.send_modify(|count| *count += 1);
            }
            results
        };
        let Some(results) = results else { return true };
        match self.core.bring(Event::Preflight(Verb::End(Box::new(results)))).await {
            Ok(_) => true,
            Err(why) => {
                tracing::warn!(%why, "what came of a check of the network is not saved yet");
                false
            }
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Whole whenever the lock is free.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

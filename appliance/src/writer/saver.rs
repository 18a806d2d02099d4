//! The saver's thread: everything that was decided while the disk was busy becomes one transaction, so that a boot storm
//! shares its syncs; then the world is shown, and the answers are given.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::Instant;

use pxe::dhcp::LeaseChange;
use tokio::sync::watch;

use super::addresses::Unsaved;
use super::draft::{Decided, Ended};
use super::network::follow;
use super::run::Work;
use super::{World, now};
use crate::journal::Heads;
use crate::space::Space;
use crate::store::{Batch, Checkpoints, Store, StoreError};

/// How many rows one transaction takes, more or less.
const ROWS: usize = 2048;

pub(super) struct Saver {
    pub(super) store: Store,
    pub(super) checkpoints: Checkpoints,
    pub(super) heads: Heads,
    pub(super) publish: watch::Sender<Arc<World>>,
    pub(super) space: Space,
    /// Why what comes is refused, until the writer has asked from where to go on.
    pub(super) refusing: Option<String>,
    /// The same, for the writer.
    pub(super) failed: Arc<AtomicBool>,
}

impl Saver {
    /// Until the writer ends; what it has decided is saved first.
    pub(super) fn run(mut self, work: &Receiver<Work>) {
        let mut next = work.recv().ok();
        while let Some(first) = next.take() {
            let mut batches = Vec::new();
            let mut rows = 0;
            let mut work_now = Some(first);
            // A batch without rows is something to do as well.
            while let Some(Work::Batch(decided)) = work_now {
                rows += decided.batch.rows() + 1;
                batches.push(*decided);
                work_now = (rows < ROWS).then(|| work.try_recv().ok()).flatten();
            }
            self.save(batches);
            if let Some(Work::Again(answer)) = work_now {
                self.refusing = None;
                self.failed.store(false, Ordering::Release);
                // The writer waits for it.
                let _ = answer.send(World::clone(&self.publish.borrow()));
            }
            next = work.recv().ok();
        }
    }

    fn save(&mut self, mut batches: Vec<Decided>) {
        if let Some(why) = self.refusing.clone() {
            return self.refuse(batches, &why);
        }
        let mut all = Batch::default();
        batches.iter_mut().for_each(|decided| all.append(&mut decided.batch));
        let Some(world) = batches.last().map(|decided| decided.world.clone()) else { return };
        let begun = Instant::now();
        match if all.is_empty() { Ok(()) } else { self.store.save(&all) } {
            Ok(()) => {
                self.publish.send_replace(Arc::new(world));
                if !all.is_empty() {
                    self.space.saved();
                    if !all.journal.is_empty() {
                        self.heads.moved(self.store.head());
                    }
                    self.space.committed(begun.elapsed());
                }
                for (_, _, fact) in &all.facts {
                    tracing::info!(kind = fact.kind, node = fact.node.map(|id| id.short()), text = fact.text);
                }
                let ended = Ended { store: &self.store, unsaved: None };
                let answers = batches.into_iter().flat_map(|decided| decided.answers);
                answers.for_each(|answer| _ = answer(&ended));
                self.checkpoints.saved(all.rows());
            }
            Err(error) => self.fail(batches, &error),
        }
    }

    /// Nothing of these happened, nor of what was decided after them.
    fn fail(&mut self, batches: Vec<Decided>, error: &StoreError) {
        let why = crate::chain(error);
        let cause = std::error::Error::source(error).map_or_else(|| why.clone(), ToString::to_string);
        if self.space.unsaved(&cause, now()) {
            tracing::error!(%why, "the state could not be saved; nothing was changed");
        }
        self.refusing = Some(why.clone());
        self.failed.store(true, Ordering::Release);
        self.refuse(batches, &why);
    }

    fn refuse(&self, batches: Vec<Decided>, why: &str) {
        let committed = Arc::clone(&self.publish.borrow());
        // What was offered stays whose it is; that is seen before anybody is answered.
        let mut world = World::clone(&committed);
        for decided in batches.iter().filter(|decided| !decided.troubled) {
            stand(&mut world, &decided.offers);
        }
        for network in batches.iter().flat_map(|decided| &decided.watched) {
            watch(&mut world, network);
        }
        self.publish.send_replace(Arc::new(world));
        let unsaved = Unsaved { why, world: &committed, now: now() };
        let ended = Ended { store: &self.store, unsaved: Some(&unsaved) };
        let answers = batches.into_iter().flat_map(|decided| decided.answers);
        self.space.refused(answers.map(|answer| answer(&ended)).sum());
    }
}

/// Takes over what became known of other DHCP servers, whatever became of the rest.
fn watch(world: &mut World, network: &fleet::network::Network) {
    let fleet = Arc::make_mut(&mut world.fleet);
    fleet.networks.insert(network.interface.clone(), network.clone());
    let fleet = Arc::clone(&world.fleet);
    Arc::make_mut(&mut world.networks).iter_mut().for_each(|network| follow(network, &fleet));
}

/// Makes the offers of a batch, of which nothing else happened.
fn stand(world: &mut World, offers: &[LeaseChange]) {
    for offer in offers {
        if world.leases.is_passing(offer) {
            // Not when the address is another's in this world: then it was freed only in the other one.
            let _ = world.leases.offer(offer);
        }
    }
}

//! The writer's thread: batch after batch.

use std::sync::Arc;

use fleet::event::Fact;
use fleet::{Catalog, Time};
use pxe::dhcp::{LeaseChange, Network, Stance};
use tokio::sync::{mpsc, watch};

use super::addresses::Unsaved;
use super::draft::{Decided, Draft};
use super::told::Told;
use super::{Input, World, now};
use crate::space::Space;
use crate::store::{Store, StoreError};

/// How many events and DHCP packets one transaction takes, more or less: a boot storm shares its syncs.
const BATCH: usize = 512;

pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) publish: watch::Sender<Arc<World>>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) networks: Vec<Network>,
    pub(super) space: Space,
    /// What was logged about each machine a moment ago.
    pub(super) told: Told,
    /// Lines that are saved with what happens next.
    pub(super) held: Vec<(Time, Fact)>,
}

impl Writer {
    pub(super) fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        self.commit(Vec::new(), true);
        while let Some(first) = inputs.blocking_recv() {
            let mut weight = first.weight();
            let mut batch = vec![first];
            while let Some(more) = (weight < BATCH).then(|| inputs.try_recv().ok()).flatten() {
                weight += more.weight();
                batch.push(more);
            }
            self.commit(batch, false);
        }
    }

    /// Decides a batch on a copy of the world, saves it, and only then shows the copy and answers.
    fn commit(&mut self, inputs: Vec<Input>, settle: bool) {
        let committed = Arc::clone(&self.publish.borrow());
        let now = now();
        let mut decided = self.decide(World::clone(&committed), inputs, settle, now);
        if decided.batch.is_empty() {
            if !decided.offers.is_empty() {
                self.publish.send_replace(Arc::new(decided.world.clone()));
            }
            decided.speak();
            return decided.answers.into_iter().for_each(|answer| _ = answer(None));
        }
        decided.speak();
        match self.store.save(&decided.batch) {
            Ok(()) => {
                self.follow(&decided.world);
                self.publish.send_replace(Arc::new(decided.world));
                self.space.saved();
                for (_, _, fact) in &decided.batch.facts {
                    tracing::info!(kind = fact.kind, node = fact.node.map(|id| id.short()), text = fact.text);
                }
                decided.answers.into_iter().for_each(|answer| _ = answer(None));
            }
            Err(error) => self.refuse(&committed, decided, &error, now),
        }
    }

    /// DHCP does what the networks' state means, from the next batch on.
    fn follow(&mut self, world: &World) {
        for network in &mut self.networks {
            let watched = world.fleet.networks.get(&network.interface);
            network.stance = watched.map_or(Stance::Serve, fleet::network::Network::stance);
            let proxy = watched.is_some_and(|watched| watched.proxy);
            network.local.proxy = proxy || network.stance == Stance::Proxy;
        }
    }

    fn decide(&mut self, world: World, inputs: Vec<Input>, settle: bool, now: Time) -> Decided {
        let trouble = self.space.trouble();
        let (mut draft, store) = Draft::new(world, self, now);
        draft.settle |= settle;
        if let Some(trouble) = trouble {
            // Makes the batch one that has something to save: so the clock alone finds out when there is room again.
            draft.recovering(&trouble);
        }
        for input in inputs {
            draft.take(input, store);
        }
        draft.finish()
    }

    /// Nothing of the batch happened.
    fn refuse(&mut self, committed: &World, decided: Decided, error: &StoreError, now: Time) {
        let why = crate::chain(error);
        // What was to be logged was not: it is told again.
        self.told = Told::default();
        let cause = std::error::Error::source(error).map_or_else(|| why.clone(), ToString::to_string);
        if self.space.unsaved(&cause, now) {
            tracing::error!(%why, "the state could not be saved; nothing was changed");
        }
        let unsaved = Unsaved { why: &why, world: committed, networks: &self.networks, now };
        let refused = decided.answers.into_iter().map(|answer| answer(Some(&unsaved))).sum();
        self.space.refused(refused);
        if !decided.troubled && !decided.offers.is_empty() {
            self.stand(committed, &decided.offers);
        }
    }

    /// What was offered before the commit stays whose it is, though nothing else of the batch happened.
    fn stand(&self, committed: &World, offers: &[LeaseChange]) {
        let mut world = committed.clone();
        for offer in offers {
            if world.leases.is_passing(offer) {
                // Not when the address is another's in this world: then it was freed only in the other one.
                let _ = world.leases.offer(offer);
            }
        }
        self.publish.send_replace(Arc::new(world));
    }
}

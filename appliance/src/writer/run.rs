//! The writer's thread: batch after batch.

use std::sync::Arc;

use fleet::Catalog;
use pxe::dhcp::{Network, Stance};
use tokio::sync::{mpsc, watch};

use super::addresses::Unsaved;
use super::draft::Draft;
use super::told::Told;
use super::{Input, World, now};
use crate::space::Space;
use crate::store::Store;

/// How many events one transaction takes at most: a boot storm shares its syncs.
const BATCH: usize = 128;

pub(super) struct Writer {
    pub(super) store: Store,
    pub(super) publish: watch::Sender<Arc<World>>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) networks: Vec<Network>,
    pub(super) space: Space,
    /// What was logged about each machine a moment ago.
    pub(super) told: Told,
}

impl Writer {
    pub(super) fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        self.commit(Vec::new(), true);
        while let Some(first) = inputs.blocking_recv() {
            let mut batch = vec![first];
            while let Some(more) = (batch.len() < BATCH).then(|| inputs.try_recv().ok()).flatten() {
                batch.push(more);
            }
            self.commit(batch, false);
        }
    }

    /// Decides a batch on a copy of the world, saves it, and only then shows the copy and answers.
    fn commit(&mut self, inputs: Vec<Input>, settle: bool) {
        let committed = Arc::clone(&self.publish.borrow());
        let now = now();
        let world = World::clone(&committed);
        let mut draft = Draft::new(world, &self.catalog, &self.networks, &mut self.told, now);
        draft.settle |= settle;
        for input in inputs {
            draft.take(input, &self.store);
        }
        if let Some(trouble) = self.space.trouble() {
            // Makes the batch one that has something to save: so the clock alone finds out when there is room again.
            draft.recovered(&trouble);
        }
        let (world, batch, answers) = draft.finish();
        let saved = if batch.is_empty() { Ok(()) } else { self.store.save(&batch) };
        match saved {
            Ok(()) => {
                if !batch.is_empty() {
                    for network in &mut self.networks {
                        let watched = world.fleet.networks.get(&network.interface);
                        network.stance = watched.map_or(Stance::Serve, fleet::network::Network::stance);
                        let proxy = watched.is_some_and(|watched| watched.proxy);
                        network.local.proxy = proxy || network.stance == Stance::Proxy;
                    }
                    self.publish.send_replace(Arc::new(world));
                    self.space.saved();
                }
                for (_, _, fact) in &batch.facts {
                    tracing::info!(kind = fact.kind, node = fact.node.map(|id| id.short()), text = fact.text);
                }
                answers.into_iter().for_each(|answer| _ = answer(None));
            }
            Err(error) => {
                let why = crate::chain(&error);
                // What was to be logged was not: it is told again.
                self.told = Told::default();
                let cause =
                    std::error::Error::source(&error).map_or_else(|| why.clone(), ToString::to_string);
                if self.space.unsaved(&cause, now) {
                    tracing::error!(%why, "the state could not be saved; nothing was changed");
                }
                let unsaved = Unsaved { why: &why, world: &committed, networks: &self.networks, now };
                let refused = answers.into_iter().map(|answer| answer(Some(&unsaved))).map(u64::from).sum();
                self.space.refused(refused);
            }
        }
    }
}

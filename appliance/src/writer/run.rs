//! The writer's thread: decides batch after batch, each on the world that the one before makes.
//!
//! It does not wait for the disk: the [`Saver`](super::saver::Saver) does, and takes all that was decided meanwhile into
//! its next transaction. When that fails, whatever was decided since was decided on a world that never was: the saver
//! refuses it, until the writer has asked from where to go on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use fleet::clock::{Look, Verdict};
use fleet::event::Fact;
use fleet::{Catalog, Time};
use tokio::sync::mpsc;

use super::draft::{Decided, Draft};
use super::inbox::Brought;
use super::record::Quota;
use super::told::Told;
use super::{World, now};
use crate::space::Space;

/// How many events and DHCP packets are decided together, more or less.
const BATCH: usize = 512;
/// Batches that may wait for the disk; beyond, the writer waits too.
const AHEAD: usize = 16;

pub(super) struct Writer {
    pub(super) catalog: Arc<Catalog>,
    space: Space,
    /// The world as it will be when all that waits is saved.
    head: World,
    /// Set by the saver when the head is a world that never was.
    failed: Arc<AtomicBool>,
    saver: SyncSender<Work>,
    /// What was logged about each machine a moment ago.
    pub(super) told: Told,
    /// How much of what agents do was written down.
    pub(super) quota: Quota,
    /// Lines that are saved with what happens next.
    pub(super) held: Vec<(Time, Fact)>,
    /// The last look at the clocks.
    looked: Option<Look>,
    /// A doubt of the clock in a batch that was not saved: no later look sees the jump again.
    owed: Option<Verdict>,
}

/// What the saver is told, in this order.
pub(super) enum Work {
    /// To be saved.
    Batch(Box<Decided>),
    /// Everything before this was decided on a world that never was: from which shall the writer go on?
    Again(SyncSender<World>),
}

impl Writer {
    /// A writer on this world, what it hands on, and the sign that it was in vain.
    pub(super) fn new(
        head: World,
        catalog: Arc<Catalog>,
        space: Space,
    ) -> (Self, Receiver<Work>, Arc<AtomicBool>) {
        let (saver, work) = sync_channel(AHEAD);
        let failed = Arc::new(AtomicBool::new(false));
        let (told, held, sign) = (Told::default(), Vec::new(), Arc::clone(&failed));
        let quota = Quota::default();
        let (looked, owed) = (None, None);
        (Self { catalog, space, head, failed, saver, told, quota, held, looked, owed }, work, sign)
    }

    /// Until nobody can bring anything any more, or the saver is gone.
    pub(super) fn run(mut self, mut inputs: mpsc::Receiver<Brought>) {
        let mut saving = self.commit(Vec::new(), true);
        while saving && let Some(first) = inputs.blocking_recv() {
            let mut weight = first.input.weight();
            let mut batch = vec![first];
            while let Some(more) = (weight < BATCH).then(|| inputs.try_recv().ok()).flatten() {
                weight += more.input.weight();
                batch.push(more);
            }
            saving = self.commit(batch, false);
        }
    }

    /// Decides a batch and hands it on to be saved; whether there is somebody who saves.
    fn commit(&mut self, inputs: Vec<Brought>, settle: bool) -> bool {
        if self.failed.load(Ordering::Acquire) && self.go_back().is_none() {
            return false;
        }
        let trouble = self.space.trouble();
        let troubled = trouble.is_some();
        let (head, now) = (self.head.clone(), now());
        let thought = self.look_at_the_clock(now);
        let mut draft = Draft::new(head, self, now);
        draft.settle |= settle;
        // Before anything is decided by it.
        if let Some(thought) = thought {
            draft.clock(thought);
        }
        if let Some(trouble) = trouble {
            // Makes the batch one that has something to save: so the clock alone finds out when there is room again.
            draft.recovering(&trouble);
        }
        inputs.into_iter().for_each(|input| draft.take(input));
        let mut decided = draft.finish();
        self.head = decided.world.clone();
        decided.speak();
        // One at a time then: whether there is room again is found out once.
        let wait = troubled.then(|| decided.wait());
        let taken = self.saver.send(Work::Batch(Box::new(decided))).is_ok();
        if let Some(wait) = wait {
            // An error is an end as well.
            let _ = wait.recv();
        }
        taken
    }

    /// What is news of the clock since the last batch.
    fn look_at_the_clock(&mut self, now: Time) -> Option<Verdict> {
        let look = crate::clock::look(now);
        let news = fleet::clock::look(&self.head.fleet, self.looked.as_ref(), &look);
        self.looked = Some(look);
        self.owed.take().or(news)
    }

    /// Takes the last commit for the head; `None` when the saver is gone.
    fn go_back(&mut self) -> Option<()> {
        let (answer, world) = sync_channel(1);
        self.saver.send(Work::Again(answer)).ok()?;
        let thought = self.head.fleet.clock.clone();
        self.head = world.recv().ok()?;
        // Whose word was not saved has to say it once more.
        self.owed = thought.filter(|_| self.head.fleet.clock.is_none()).map(Verdict::Doubted);
        // What was to be logged was not: it is told again.
        self.told = Told::default();
        Some(())
    }
}

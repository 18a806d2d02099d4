//! Whose hand is on a unit: ours, while we start, stop or restart it; or nobody's, and then a change of it is
//! somebody else's doing.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::UnitWanted;
use tokio::sync::{Notify, OwnedMutexGuard};
use tokio::time::Instant;
use units::UnitName;

/// What we left a unit as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Left {
    /// Not where it shall be: never tried, or the attempt failed.
    #[default]
    Open,
    /// Up.
    Up,
    /// It did its one thing and ended well.
    Ended,
    /// Down.
    Down,
    /// Put right too often: not before this moment again.
    Alone(Instant),
}

/// What we left it as, and for which wish: a new wish makes it open.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    left: Left,
    enabled: bool,
    running: bool,
}

/// One hand per unit.
#[derive(Debug, Default)]
pub(super) struct Hands {
    units: Mutex<BTreeMap<UnitName, Arc<tokio::sync::Mutex<Entry>>>>,
    /// A stop or restart takes other units along: meanwhile nobody is blamed for theirs.
    sweeping: Mutex<u32>,
    standing_down: AtomicBool,
    look_again: Notify,
    reopened: Notify,
}

/// A unit in our hand, and what we left it as.
#[derive(Debug)]
pub(super) struct Hand(OwnedMutexGuard<Entry>);

impl Hands {
    /// Takes the unit, waiting until nobody else of us has it.
    pub(super) async fn take(&self, unit: &UnitName) -> Hand {
        Hand(self.entry(unit).lock_owned().await)
    }

    /// Takes the unit, unless somebody else of us has it.
    pub(super) fn take_free(&self, unit: &UnitName) -> Option<Hand> {
        self.entry(unit).try_lock_owned().ok().map(Hand)
    }

    fn entry(&self, unit: &UnitName) -> Arc<tokio::sync::Mutex<Entry>> {
        let mut units = self.units.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(units.entry(unit.clone()).or_default())
    }

    /// A stop or restart is under way until the value is dropped.
    pub(super) fn sweep(&self) -> Sweep<'_> {
        *self.sweeping.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Sweep(self)
    }

    /// Whether a stop or restart of ours is under way.
    pub(super) fn is_sweeping(&self) -> bool {
        *self.sweeping.lock().unwrap_or_else(PoisonError::into_inner) > 0
    }

    /// Returns when a sweep has ended since the last call: what it took along is looked at now.
    pub(super) async fn swept(&self) {
        self.look_again.notified().await;
    }

    /// A unit is not where it shall be: the document has to be gone through again.
    pub(super) fn reopen(&self) {
        self.reopened.notify_one();
    }

    /// Returns when that was said since the last call.
    pub(super) async fn reopened(&self) {
        self.reopened.notified().await;
    }

    /// The machine goes down on our order: nothing is put right any more.
    pub(super) fn stand_down(&self) {
        self.standing_down.store(true, Ordering::Relaxed);
    }

    /// It did not go down.
    pub(super) fn stand_up(&self) {
        self.standing_down.store(false, Ordering::Relaxed);
        self.look_again.notify_one();
        self.reopen();
    }

    /// Whether the machine goes down.
    pub(super) fn is_standing_down(&self) -> bool {
        self.standing_down.load(Ordering::Relaxed)
    }
}

impl Hand {
    /// What we left the unit as, if that was what is wanted now.
    pub(super) fn left(&self, wanted: &UnitWanted) -> Left {
        let Entry { left, enabled, running } = *self.0;
        if (enabled, running) == (wanted.enabled, wanted.running) { left } else { Left::Open }
    }

    /// What we leave it as now.
    pub(super) fn leave(&mut self, left: Left, wanted: &UnitWanted) {
        *self.0 = Entry { left, enabled: wanted.enabled, running: wanted.running };
    }
}

/// See [`Hands::sweep`].
#[derive(Debug)]
pub(super) struct Sweep<'a>(&'a Hands);

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        let mut sweeping = self.0.sweeping.lock().unwrap_or_else(PoisonError::into_inner);
        *sweeping = sweeping.saturating_sub(1);
        drop(sweeping);
        self.0.look_again.notify_one();
    }
}

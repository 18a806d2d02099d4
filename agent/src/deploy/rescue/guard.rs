//! Every disk refuses writes, also one that turns up later; not one that somebody has made writable by hand.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::Told;
use crate::chain::Chain;
use crate::deploy::imaging::hold::{HoldError, Protected};
use crate::inventory;

const EVERY: Duration = Duration::from_secs(1);

/// The disks that were set read-only, and those that were looked at.
#[derive(Debug)]
pub(super) struct Guard {
    root: PathBuf,
    held: Protected,
    /// Names of disks, and of what is made of them.
    known: BTreeSet<String>,
}

impl Guard {
    /// Protects what is there.
    pub(super) async fn begin(root: &Path, tell: &watch::Sender<Told>) -> Self {
        let guard = Self { root: root.to_owned(), held: Protected::default(), known: BTreeSet::new() };
        look(guard, tell).await.unwrap_or_else(|| Self {
            root: root.to_owned(),
            held: Protected::default(),
            known: BTreeSet::new(),
        })
    }

    /// What is new refuses writes from here on; what was looked at once is its operator's.
    fn look(&mut self) -> Result<(), HoldError> {
        let now = inventory::writable_names(&self.root).into_iter().collect::<BTreeSet<_>>();
        // One that was taken out and put in again is another.
        self.known.retain(|name| now.contains(name));
        let known = self.known.iter().cloned().collect::<Vec<_>>();
        let done = self.held.also_these(&self.root, &known);
        // One that could not be protected is said, and not tried for ever.
        self.known = now;
        done
    }
}

/// Looks once; `None` when this machine gave up on it.
async fn look(mut guard: Guard, tell: &watch::Sender<Told>) -> Option<Guard> {
    let looked = spawn_blocking(move || {
        let done = guard.look();
        (guard, done)
    });
    let (guard, done) = looked.await.ok()?;
    if let Err(error) = done {
        let why = format!("not every disk refuses writes: {}", Chain(&error));
        tell.send_modify(|told| told.disks = Some(why));
    }
    Some(guard)
}

/// Goes on looking.
pub(super) async fn keep(guard: Guard, tell: watch::Sender<Told>) {
    let mut guard = Some(guard);
    while let Some(now) = guard.take() {
        tokio::time::sleep(EVERY).await;
        guard = look(now, &tell).await;
    }
}

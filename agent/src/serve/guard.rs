//! Watches the units of the document: every change is told, and what others changed is put right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::UnitWanted;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use units::{Active, UnitName, UnitState, Watch};

use super::judge::Budget;
use super::node::{Node, Wanted};
use super::voice::Nag;
use super::{correct, ledger};
use crate::chain::Chain;

/// A unit that somebody restarts is down for a moment: that is not blamed on anybody.
const GRACE: Duration = Duration::from_millis(300);
/// The last words of a process may still be on their way to the journal.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// A failure is told without its journal when that takes longer, and once more with it.
const JOURNAL: Duration = Duration::from_millis(900);
const LOG_LINES: usize = 30;

/// What the guard's own tasks share.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) node: Arc<Node>,
    budgets: Mutex<BTreeMap<UnitName, Budget>>,
    /// Units that wait to be judged.
    queue: Mutex<BTreeSet<UnitName>>,
    /// Number of the last state that was seen of a unit: a slower telling of an older one is dropped.
    seen: Mutex<BTreeMap<UnitName, u64>>,
    begun: Instant,
}

/// Watches for ever.
pub(super) async fn follow(node: Arc<Node>, mut wanted: watch::Receiver<Wanted>) {
    let post = Arc::new(Post {
        node,
        budgets: Mutex::default(),
        queue: Mutex::default(),
        seen: Mutex::default(),
        begun: Instant::now(),
    });
    loop {
        let document = wanted.borrow_and_update().clone();
        let units = document.iter().flat_map(|document| &document.units);
        let units = units.filter_map(|unit| Some((UnitName::parse(&unit.name).ok()?, unit.clone())));
        let units = units.collect::<BTreeMap<_, _>>();
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
            }
            () = watch_units(&post, &units) => {}
        }
    }
}

/// Until the document changes.
async fn watch_units(post: &Arc<Post>, units: &BTreeMap<UnitName, UnitWanted>) {
    let mut watch: Watch = post.node.systemd.watch(units.keys().cloned());
    let mut states = BTreeMap::new();
    let mut suspects = BTreeMap::new();
    let mut nag = Nag::default();
    loop {
        let due = suspects.values().min().copied();
        tokio::select! {
            news = watch.next() => match news {
                Ok(state) => {
                    nag.settle("systemd is heard again");
                    suspects.insert(state.name.clone(), Instant::now() + GRACE);
                    tell(post, &state);
                    states.insert(state.name.clone(), state);
                }
                Err(error) => nag.say(&Chain(&error).to_string()),
            },
            () = post.node.hands.swept() => {
                for name in states.keys() {
                    suspects.entry(name.clone()).or_insert_with(|| Instant::now() + GRACE);
                }
            }
            () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {
                let now = Instant::now();
                let ripe = suspects.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone());
                for name in ripe.collect::<Vec<_>>() {
                    suspects.remove(&name);
                    if let Some(wanted) = units.get(&name) {
                        tokio::spawn(correct::put_right(Arc::clone(post), name, wanted.clone()));
                    }
                }
            }
        }
    }
}

/// Puts a state into the ledger; a failure with its last journal lines.
fn tell(post: &Arc<Post>, state: &UnitState) {
    let number = {
        let mut seen = post.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let number = seen.entry(state.name.clone()).or_default();
        *number += 1;
        *number
    };
    if state.active != Active::Failed {
        post.node.ledger.unit(ledger::unit_report(state, Vec::new()));
        return;
    }
    let (post, state) = (Arc::clone(post), state.clone());
    tokio::spawn(async move {
        tokio::time::sleep(LAST_WORDS).await;
        let mut journal = std::pin::pin!(post.node.systemd.journal(&state.name, LOG_LINES));
        let log = match timeout(JOURNAL, &mut journal).await {
            Ok(log) => log,
            Err(_) => {
                post.tell_if_newest(&state, number, Vec::new());
                journal.await
            }
        };
        post.tell_if_newest(&state, number, log.unwrap_or_default());
    });
}

impl Post {
    fn tell_if_newest(&self, state: &UnitState, number: u64, log: Vec<String>) {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.get(&state.name) == Some(&number) {
            self.node.ledger.unit(ledger::unit_report(state, log));
        }
    }

    /// Units that wait to be judged.
    pub(super) fn queue(&self) -> MutexGuard<'_, BTreeSet<UnitName>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Spends one of the unit's budget; else how long it is left alone.
    pub(super) fn spend(&self, unit: &UnitName) -> Result<(), Duration> {
        let now = self.begun.elapsed();
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budgets.entry(unit.clone()).or_default();
        if budget.spend(now) { Ok(()) } else { Err(budget.next(now)) }
    }
}

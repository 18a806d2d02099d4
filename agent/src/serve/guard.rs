//! Watches the units of the document: every change is told, and what others changed is put right.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::{Drift, UnitReport, UnitWanted};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use units::{Active, UnitError, UnitName, UnitState, Watch};

use super::hands::{Hand, Left};
use super::judge::{self, Budget, Verdict};
use super::node::{Node, Wanted};
use super::settle;
use super::voice::{self, Nag};
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
struct Post {
    node: Arc<Node>,
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
                        tokio::spawn(put_right(Arc::clone(post), name, wanted.clone()));
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
        post.node.ledger.unit(report(state, Vec::new()));
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
            self.node.ledger.unit(report(state, log));
        }
    }

    fn queue(&self) -> MutexGuard<'_, BTreeSet<UnitName>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues the unit; `false` when it waits already.
    fn queued(&self, unit: &UnitName) -> bool {
        self.queue().insert(unit.clone())
    }

    /// Spends one of the unit's budget; else how long it is left alone.
    fn spend(&self, unit: &UnitName) -> Result<(), Duration> {
        let now = self.begun.elapsed();
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let budget = budgets.entry(unit.clone()).or_default();
        if budget.spend(now) { Ok(()) } else { Err(budget.next(now)) }
    }
}

fn report(state: &UnitState, log: Vec<String>) -> UnitReport {
    UnitReport {
        name: state.name.to_string(),
        load: state.load.clone(),
        active: state.active.to_string(),
        sub: state.sub.clone(),
        result: state.result.clone(),
        since_ms: state.since_usec / 1000,
        log,
    }
}

/// Judges one unit as soon as nobody of us has it in hand, and puts it right.
async fn put_right(post: Arc<Post>, unit: UnitName, wanted: UnitWanted) {
    if !post.queued(&unit) {
        return;
    }
    let mut hand = post.node.hands.take(&unit).await;
    // From here on a change is a reason to judge once more.
    post.queue().remove(&unit);
    let hands = &post.node.hands;
    if hands.is_sweeping() || hands.is_standing_down() {
        return;
    }
    let state = match post.node.systemd.state(&unit).await {
        Ok(state) => state,
        Err(error) => return voice::say(&Chain(&error).to_string()),
    };
    let verdict = judge::verdict(&wanted, &state, hand.left(&wanted));
    if verdict == Verdict::Fine {
        return;
    }
    let done = match post.spend(&unit) {
        Ok(()) => correct(&post.node, &state, &wanted, verdict, &mut hand).await,
        Err(wait) => {
            hand.leave(Left::Alone(Instant::now() + wait), &wanted);
            let wait = wait.as_secs();
            Some(format!("left alone for {wait} s: put right {} times within 10 minutes", judge::TIMES))
        }
    };
    if let Left::Open | Left::Alone(_) = hand.left(&wanted) {
        hands.reopen();
    }
    let Some(done) = done else { return };
    let found = found(&state, verdict);
    voice::say(&format!("{unit}: {found}; {done}"));
    post.node.ledger.drift(Drift { what: unit.to_string(), found, done });
}

/// Does what the verdict calls for, and says what was done; `None` when the machine is going down.
async fn correct(
    node: &Node,
    state: &UnitState,
    wanted: &UnitWanted,
    verdict: Verdict,
    hand: &mut Hand,
) -> Option<String> {
    let (systemd, unit) = (&node.systemd, &state.name);
    let done = match verdict {
        Verdict::Fine => return None,
        Verdict::BringBack => {
            let started = settle::start(node, state).await;
            started.map(|change| {
                hand.leave(settle::settled(&change), wanted);
                "started again"
            })
        }
        Verdict::PutDown => systemd.stop(unit).await.map(|_| "stopped again"),
        Verdict::Enable(true) => systemd.enable(unit).await.map(|_| "enabled again"),
        Verdict::Enable(false) => systemd.disable(unit).await.map(|_| "disabled again"),
    };
    match done {
        Ok(done) => Some(done.to_owned()),
        Err(error) if is_shutdown(&error) => None,
        Err(error) => {
            hand.leave(Left::Open, wanted);
            Some(format!("not put right yet: {}", Chain(&error)))
        }
    }
}

fn found(state: &UnitState, verdict: Verdict) -> String {
    match verdict {
        Verdict::Enable(_) => format!("found {}", state.file_state),
        Verdict::BringBack if state.active == Active::Failed => format!("found failed ({})", state.result),
        Verdict::Fine | Verdict::BringBack | Verdict::PutDown => {
            format!("found {} ({})", state.active, state.sub)
        }
    }
}

/// The machine is going down: systemd takes no start any more, and nobody is to blame.
fn is_shutdown(error: &UnitError) -> bool {
    matches!(error, UnitError::Refused { code, .. } if code.ends_with(".TransactionIsDestructive"))
}

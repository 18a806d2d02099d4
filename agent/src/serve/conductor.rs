//! Makes a document true, step by step, in its order; again when something failed, sooner at first than later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Drift, StateDocument, TaskReport, TaskResult, UnitWanted, When};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use units::{Active, Change, UnitError, UnitName, UnitState};

use super::files::{self, Difference};
use super::hands::Left;
use super::judge::{self, Act};
use super::node::{Node, Wanted};
use super::{host_name, tasks, voice};
use crate::chain::Chain;

/// Files are compared with the document this often.
const LOOK: Duration = Duration::from_secs(60);
/// What is not a task but can fail like one is reported under this name.
const FILES: &str = "files";

/// Follows the documents for ever.
pub(super) async fn follow(node: Arc<Node>, mut wanted: watch::Receiver<Wanted>) {
    let mut conductor = Conductor { node, failures: 0, right: BTreeSet::new(), said: None };
    let mut next = Instant::now();
    loop {
        let document = wanted.borrow_and_update().clone();
        tokio::select! {
            biased;
            changed = wanted.changed() => {
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
                conductor.failures = 0;
                conductor.right.clear();
                conductor.said = None;
                next = Instant::now();
            }
            () = conductor.node.hands.reopened() => {
                conductor.failures = conductor.failures.max(1);
                next = Instant::now() + judge::retry(conductor.failures);
            }
            () = sleep_until(next) => {
                let wait = match &document {
                    Some(document) => conductor.turn(document).await,
                    None => LOOK,
                };
                next = Instant::now() + wait;
            }
        }
    }
}

#[derive(Debug)]
struct Conductor {
    node: Arc<Node>,
    /// Passes that failed, one after the other.
    failures: u32,
    /// Files that were as this document says: one that differs later was changed by somebody else.
    right: BTreeSet<String>,
    /// What was said about which generation.
    said: Option<(u64, bool)>,
}

impl Conductor {
    /// One turn: the whole document when it is new or something failed, else a look at the files. Gives the wait
    /// before the next.
    async fn turn(&mut self, document: &StateDocument) -> Duration {
        if self.node.hands.is_standing_down() {
            return LOOK;
        }
        let whole = match self.said {
            Some((generation, true)) if generation == document.generation && self.failures == 0 => {
                self.look(document).await
            }
            Some(_) | None => self.pass(document).await,
        };
        let now = (document.generation, whole);
        if self.said != Some(now) {
            self.said = Some(now);
            announce(document.generation, whole);
        }
        self.failures = if whole { 0 } else { self.failures.saturating_add(1) };
        if whole { LOOK } else { judge::retry(self.failures) }
    }

    /// Goes through the whole document. `false` when anything failed.
    async fn pass(&mut self, document: &StateDocument) -> bool {
        let names = document.units.iter().map(|unit| unit.name.clone()).collect();
        self.node.ledger.applying(document.generation, names);
        let mut reports = Vec::new();
        reports.extend(host_name::set(&self.node, &document.name));
        reports.extend(self.write_files(document).await.1);
        self.run_tasks(document, When::BeforeUnits, &mut reports).await;
        let stopped = self.stop_units(document).await;
        let started = self.start_units(document).await;
        self.run_tasks(document, When::AfterUnits, &mut reports).await;
        let whole = stopped && started && !reports.iter().any(has_failed);
        self.node.note(|applied| applied.generation = document.generation).await;
        self.node.ledger.applied(document.generation, reports);
        whole
    }

    /// Looks whether the files are still right. `false` when what was wrong could not be put right.
    async fn look(&mut self, document: &StateDocument) -> bool {
        let (changed, failed) = self.write_files(document).await;
        let failed = failed.map(|report| self.node.ledger.task(report)).is_some();
        !failed && (!changed || self.start_units(document).await)
    }

    /// Writes what differs: whether any did, and what failed. The units to be restarted are noted before anything is
    /// written, so that a crash in between forgets none.
    async fn write_files(&mut self, document: &StateDocument) -> (bool, Option<TaskReport>) {
        let mut wrong = Vec::new();
        let mut due = Vec::new();
        for file in &document.files {
            match files::check(self.node.root(), file) {
                Ok(checked) => match checked.difference() {
                    Difference::None => drop(self.right.insert(file.path.clone())),
                    difference => due.push((file, checked, difference)),
                },
                Err(error) => wrong.push(Chain(&error).to_string()),
            }
        }
        let restarts = due.iter().filter(|(_, _, difference)| *difference == Difference::Content);
        let restarts = restarts.flat_map(|(file, ..)| file.restarts.clone()).collect::<BTreeSet<_>>();
        let changed = !due.is_empty();
        self.node.note(|applied| applied.pending.extend(restarts)).await;
        let mut reload = false;
        for (file, checked, difference) in due {
            match checked.write() {
                Ok(()) => {
                    reload |= file.path.starts_with("/etc/systemd/");
                    self.wrote(&file.path, &difference);
                }
                Err(error) => wrong.push(Chain(&error).to_string()),
            }
        }
        if reload && let Err(error) = self.node.systemd.daemon_reload().await {
            wrong.push(Chain(&error).to_string());
        }
        (changed, (!wrong.is_empty()).then(|| failure(FILES, wrong.join("; "))))
    }

    fn wrote(&mut self, path: &str, difference: &Difference) {
        if self.right.insert(path.to_owned()) {
            return;
        }
        let found = match difference {
            Difference::Dress => "its owner or mode was changed".to_owned(),
            Difference::Content | Difference::None => "its content was changed, or it was removed".to_owned(),
        };
        voice::say(&format!("{path}: {found}; written again"));
        self.node.ledger.drift(Drift { what: path.to_owned(), found, done: "written again".to_owned() });
    }

    async fn run_tasks(&self, document: &StateDocument, when: When, reports: &mut Vec<TaskReport>) {
        for task in document.tasks.iter().filter(|task| task.when == when) {
            let report = tasks::run(&self.node, task).await;
            if let TaskResult::Failed { why } = &report.result {
                voice::say(&format!("task {}: {why}", task.name));
            }
            self.node.ledger.task(report.clone());
            reports.push(report);
        }
    }

    /// Stops what shall not run, and what has left the documents, last started first.
    async fn stop_units(&self, document: &StateDocument) -> bool {
        let owned = self.node.applied().owned;
        let gone = owned.iter().filter(|name| document.units.iter().all(|unit| unit.name != **name));
        let down =
            |name: &String| UnitWanted { name: name.clone(), enabled: false, running: false, restarts: 0 };
        let gone = gone.map(down).collect::<Vec<_>>();
        let mut whole = true;
        for wanted in gone.iter().chain(document.units.iter().rev().filter(|unit| !unit.running)) {
            whole &= settle(&self.node, wanted, false).await;
        }
        let names = document.units.iter().map(|unit| unit.name.clone()).collect();
        // What could not be stopped stays ours, and is tried again.
        let note = |owned: &mut BTreeSet<String>| if whole { *owned = names } else { owned.extend(names) };
        self.node.note(|applied| note(&mut applied.owned)).await;
        whole
    }

    /// Starts what shall run, one after the other: each has settled before the next begins.
    async fn start_units(&self, document: &StateDocument) -> bool {
        let mut whole = true;
        for wanted in document.units.iter().filter(|unit| unit.running) {
            let applied = self.node.applied();
            let counted = applied.restarts.get(&wanted.name).is_some_and(|&obeyed| wanted.restarts > obeyed);
            let done = settle(&self.node, wanted, counted || applied.pending.contains(&wanted.name)).await;
            if done {
                let note = |applied: &mut super::folder::Applied| {
                    applied.pending.remove(&wanted.name);
                    applied.restarts.insert(wanted.name.clone(), wanted.restarts);
                };
                self.node.note(note).await;
            }
            whole &= done;
        }
        whole
    }
}

fn announce(generation: u64, whole: bool) {
    if whole {
        voice::milestone(&format!("active generation {generation}"));
    } else {
        voice::say(&format!("generation {generation} is not wholly true yet; what failed is tried again"));
    }
}

fn has_failed(report: &TaskReport) -> bool {
    matches!(report.result, TaskResult::Failed { .. })
}

/// A step that is not a task failed: reported like one.
pub(super) fn failure(name: &str, why: String) -> TaskReport {
    voice::say(&format!("{name}: {why}"));
    TaskReport { name: name.to_owned(), result: TaskResult::Failed { why }, log: Vec::new() }
}

/// Brings one unit where it shall be. `false` when that failed; the ledger says why.
async fn settle(node: &Node, wanted: &UnitWanted, again: bool) -> bool {
    let result = match UnitName::parse(&wanted.name) {
        Ok(unit) => bring(node, &unit, wanted, again).await,
        Err(error) => Err(error.to_string()),
    };
    if let Err(why) = &result {
        voice::say(why);
    }
    node.ledger.complaint(&wanted.name, result.as_ref().err().cloned());
    result.is_ok()
}

async fn bring(node: &Node, unit: &UnitName, wanted: &UnitWanted, again: bool) -> Result<(), String> {
    let told = |error: UnitError| Chain(&error).to_string();
    let mut hand = node.hands.take(unit).await;
    let state = node.systemd.state(unit).await.map_err(told)?;
    match judge::enablement(wanted, &state) {
        Some(true) => drop(node.systemd.enable(unit).await.map_err(told)?),
        Some(false) => drop(node.systemd.disable(unit).await.map_err(told)?),
        None => {}
    }
    let left = hand.left(wanted);
    let act = judge::act(wanted, &state, left, again);
    if let (Act::Start, Left::Alone(until), false) = (act, left, again)
        && until > Instant::now()
    {
        return Err(format!("{unit} came down too often and is left alone for a while"));
    }
    hand.leave(Left::Open, wanted);
    let left = match act {
        Act::Leave if state.active.is_up() => Left::Up,
        Act::Leave if wanted.running => Left::Ended,
        Act::Leave => Left::Down,
        Act::Start => settled(&start(node, &state).await.map_err(told)?),
        Act::Restart => {
            let _sweep = node.hands.sweep();
            settled(&node.systemd.restart(unit).await.map_err(told)?)
        }
        Act::Stop => {
            let _sweep = node.hands.sweep();
            drop(node.systemd.stop(unit).await.map_err(told)?);
            Left::Down
        }
    };
    hand.leave(left, wanted);
    Ok(())
}

/// Starts a unit, whatever it failed with before.
pub(super) async fn start(node: &Node, state: &UnitState) -> Result<Change<UnitState>, UnitError> {
    if state.active == Active::Failed {
        // Else a unit that was started too often is refused. When it can't be cleared, the start says why.
        let _ = node.systemd.reset_failed(&state.name).await;
    }
    node.systemd.start(&state.name).await
}

/// What a unit was left as by a start that succeeded.
pub(super) fn settled(change: &Change<UnitState>) -> Left {
    if change.get().active.is_up() { Left::Up } else { Left::Ended }
}

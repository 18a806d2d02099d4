//! Makes a document true, step by step, in its order; again when something failed, sooner at first than later.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::{Drift, File, StateDocument, TaskReport, TaskResult, TaskWanted, UnitWanted};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use units::UnitName;

use super::files::{self, Difference, Survey};
use super::folder::Applied;
use super::node::{Node, Wanted};
use super::{host_name, judge, rise, settle, stage, tasks, voice};
use crate::chain::Chain;

/// Files are compared with the document this often.
const LOOK: Duration = Duration::from_secs(60);
/// What is not a task but can fail like one is reported under this name.
const FILES: &str = "files";

/// Follows the documents for ever.
pub(super) async fn follow(node: Arc<Node>, wanted: watch::Receiver<Wanted>) {
    let mut conductor = Conductor { node, wanted, failures: 0, right: BTreeSet::new(), said: None };
    let mut next = Instant::now();
    loop {
        // Not marked as seen: a document that came meanwhile is heard of below.
        let document = conductor.wanted.borrow().clone();
        tokio::select! {
            biased;
            changed = conductor.wanted.changed() => {
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
pub(super) struct Conductor {
    pub(super) node: Arc<Node>,
    wanted: watch::Receiver<Wanted>,
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
    async fn turn(&mut self, document: &Arc<StateDocument>) -> Duration {
        let settled = self.failures == 0 && self.said == Some((document.generation, true));
        let whole = if settled { self.look(document).await } else { self.pass(document).await };
        if self.is_over() {
            return LOOK;
        }
        if self.said != Some((document.generation, whole)) {
            self.said = Some((document.generation, whole));
            announce(document.generation, whole);
        }
        self.failures = if whole { 0 } else { self.failures.saturating_add(1) };
        if whole { LOOK } else { judge::retry(self.failures) }
    }

    /// There is a newer document, or the machine goes down: what is left of this one is not begun.
    pub(super) fn is_over(&self) -> bool {
        self.node.hands.is_standing_down() || self.wanted.has_changed().unwrap_or(true)
    }

    /// What `work` on a unit gives, or `None` as soon as this document is over: a unit that takes minutes must not keep
    /// a newer one waiting.
    pub(super) async fn unless_over<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let mut news = self.wanted.clone();
        if self.is_over() {
            return None;
        }
        tokio::select! {
            biased;
            _ = news.changed() => None,
            done = work => Some(done),
        }
    }

    /// Goes through the whole document. `false` when anything failed.
    async fn pass(&mut self, document: &Arc<StateDocument>) -> bool {
        self.node.ledger.applying(document);
        let mut reports = Vec::new();
        reports.extend(host_name::set(&self.node, &document.name));
        reports.extend(self.write_files(document).await.1);
        let mut whole = self.stop_units(document).await;
        whole &= rise::bring_up(self, &stage::stages(document), &mut reports).await;
        if self.is_over() {
            return false;
        }
        whole &= !reports.iter().any(has_failed);
        self.node.note(|applied| applied.generation = document.generation).await;
        self.node.ledger.applied(document.generation, reports);
        whole
    }

    /// Looks whether the files are still right. `false` when what was wrong could not be put right.
    async fn look(&mut self, document: &Arc<StateDocument>) -> bool {
        let (changed, failed) = self.write_files(document).await;
        let failed = failed.map(|report| self.node.ledger.task(report)).is_some();
        let units = document.units.iter().collect::<Vec<_>>();
        !failed && (!changed || self.start_units(&units).await)
    }

    /// Writes what differs: whether any did, and what failed. The units to be restarted are noted before anything is
    /// written, so that a crash in between forgets none.
    async fn write_files(&mut self, document: &Arc<StateDocument>) -> (bool, Option<TaskReport>) {
        let (root, all) = (self.node.root().to_owned(), Arc::clone(document));
        let survey = spawn_blocking(move || files::survey(&root, &all)).await;
        let Survey { right, due, mut wrong } = survey.unwrap_or_default();
        self.right.extend(right);
        let due = due.into_iter().filter_map(|(number, how)| Some((document.files.get(number)?, how)));
        let due = due.collect::<Vec<_>>();
        let changed = due.iter().filter(|(_, how)| *how == Difference::Content);
        let restarts = changed.flat_map(|(file, _)| file.restarts.clone()).collect::<BTreeSet<_>>();
        self.node.note(|applied| applied.pending.extend(restarts)).await;
        let mut reload = false;
        for (file, difference) in &due {
            match self.write(file).await {
                Ok(()) => {
                    reload |= file.path.starts_with("/etc/systemd/");
                    self.wrote(&file.path, *difference);
                }
                Err(why) => wrong.push(why),
            }
        }
        if reload && let Err(error) = self.node.systemd.daemon_reload().await {
            wrong.push(Chain(&error).to_string());
        }
        (!due.is_empty(), (!wrong.is_empty()).then(|| failure(FILES, wrong.join("; "))))
    }

    async fn write(&self, file: &File) -> Result<(), String> {
        let (root, file) = (self.node.root().to_owned(), file.clone());
        let before = self.node.identity.adopted.then(|| self.node.folder.before());
        let written = spawn_blocking(move || {
            before.map_or(Ok(()), |folder| files::spare(&root, &folder, &file))?;
            files::write(&root, &file)
        });
        let written = written.await;
        written.unwrap_or(Ok(())).map_err(|error| Chain(&error).to_string())
    }

    fn wrote(&mut self, path: &str, difference: Difference) {
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

    pub(super) async fn run_tasks(&self, tasks: &[&TaskWanted], reports: &mut Vec<TaskReport>) {
        for task in tasks {
            if self.is_over() {
                return;
            }
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
        let names = document.units.iter().map(|unit| unit.name.clone()).collect::<BTreeSet<_>>();
        let gone = self.node.applied().owned.into_iter().filter(|name| !names.contains(name));
        let gone = gone.map(|name| UnitWanted {
            name,
            enabled: false,
            running: false,
            restarts: 0,
            packages: Vec::new(),
        });
        let gone = gone.collect::<Vec<_>>();
        let mut whole = true;
        for wanted in gone.iter().chain(document.units.iter().rev().filter(|unit| !unit.running)) {
            let stop = settle::settle(&self.node, wanted, false, None);
            whole &= self.unless_over(stop).await == Some(true);
        }
        let note = |applied: &mut Applied| {
            applied.pending.retain(|name| names.contains(name));
            let names = names.into_iter().filter(|name| UnitName::parse(name).is_ok());
            if whole {
                applied.owned = names.collect();
            } else {
                // What could not be stopped stays ours, and is tried again.
                applied.owned.extend(names);
            }
        };
        self.node.note(note).await;
        whole
    }

    /// Starts what shall run. The starts are begun in the order of the document and then go on together: what must wait
    /// for something else, systemd holds back.
    pub(super) async fn start_units(&self, units: &[&UnitWanted]) -> bool {
        let mut starts = JoinSet::new();
        for &wanted in units.iter().filter(|unit| unit.running) {
            let (begun, has_begun) = oneshot::channel();
            starts.spawn(settle::begin(Arc::clone(&self.node), wanted.clone(), begun));
            match self.unless_over(has_begun).await {
                // It is on its way with the files of now: a newer document must not have it begin once more.
                Some(Ok(())) => self.node.note(|applied| applied.obeyed(wanted)).await,
                Some(Err(_)) => {}
                None => break,
            }
        }
        let mut whole = true;
        loop {
            match self.unless_over(starts.join_next()).await {
                Some(None) => return whole,
                Some(Some(Ok(started))) => whole &= self.has_ended(&started).await,
                Some(Some(Err(_))) => whole = false,
                None => {
                    // What systemd has begun goes on; whether it is still wanted, the newer document says.
                    starts.shutdown().await;
                    return false;
                }
            }
        }
    }

    async fn has_ended(&self, started: &settle::Started) -> bool {
        let settle::Started { wanted, again, up } = started;
        let note = |applied: &mut Applied| {
            if *up {
                applied.obeyed(wanted);
            } else if *again {
                // Whatever it still runs on, it is not what it should.
                applied.pending.insert(wanted.name.clone());
            }
        };
        self.node.note(note).await;
        *up
    }
}

fn announce(generation: u64, whole: bool) {
    if whole {
        voice::milestone(&format!("active generation {generation}"));
    } else {
        voice::say(&format!("generation {generation} is not wholly true yet; what failed is tried again"));
    }
}

pub(super) fn has_failed(report: &TaskReport) -> bool {
    matches!(report.result, TaskResult::Failed { .. })
}

/// A step that is not a task failed: reported like one.
pub(super) fn failure(name: &str, why: String) -> TaskReport {
    voice::say(&format!("{name}: {why}"));
    TaskReport { name: name.to_owned(), result: TaskResult::Failed { why }, log: Vec::new() }
}

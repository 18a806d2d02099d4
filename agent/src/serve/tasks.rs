//! Guarded tasks: looked at, run as transient units where they are not true yet, looked at again.

use std::time::Duration;

use protocol::{TaskReport, TaskResult, TaskWanted};
use units::{Exit, Task, TaskName, TaskOutcome, UnitError};

use super::ledger::{LOG_BYTES, last_bytes};
use super::node::Node;
use super::voice;
use crate::chain::Chain;
use crate::tool;

/// A guard only looks: one that takes longer counts as not holding.
const GUARD: Duration = Duration::from_secs(60);
/// Log lines of a failed task that go into a report.
const LOG_LINES: usize = 30;
/// Between two looks at a run that an earlier life of the agent began.
const LOOK: Duration = Duration::from_secs(2);
const LONGEST: u32 = 6 * 3600;

/// Makes one task true. Whenever the agent ends on its way, a command without a guard is run once: what is to be begun is written down
/// before, and what came of it before systemd forgets it.
pub(super) async fn run(node: &Node, wanted: &TaskWanted) -> TaskReport {
    let Ok(name) = TaskName::parse(&wanted.name) else { return unnamed(node, wanted).await };
    // What an earlier life of the agent began may still be on its way to make it true.
    let left = match left(node, &name).await {
        Ok(left) => left.filter(|_| wanted.guard.is_empty() && is_begun(node, wanted)),
        Err(error) => return failed(wanted, Chain(&error).to_string(), Vec::new()),
    };
    if is_true(node, wanted).await {
        forget(node, &name).await;
        return report(wanted, TaskResult::Already, Vec::new());
    }
    if let Some(outcome) = left {
        return settle(node, wanted, &name, outcome).await;
    }
    // Of another command: it must not be taken for this one's.
    if let Err(error) = node.systemd.forget(&name).await {
        return failed(wanted, Chain(&error).to_string(), Vec::new());
    }
    if wanted.guard.is_empty() {
        node.note(|applied| drop(applied.begun.insert(wanted.name.clone(), wanted.argv.clone()))).await;
    }
    let timeout = Duration::from_secs(u64::from(wanted.timeout_seconds.clamp(1, LONGEST)));
    let task = Task::new(name.clone(), wanted.argv.clone(), timeout);
    match node.systemd.run_kept(&task).await {
        Ok(outcome) => settle(node, wanted, &name, outcome).await,
        Err(error) => failed(wanted, Chain(&error).to_string(), Vec::new()),
    }
}

/// A name that can't be a unit's: it may be true all the same.
async fn unnamed(node: &Node, wanted: &TaskWanted) -> TaskReport {
    if is_true(node, wanted).await {
        return report(wanted, TaskResult::Already, Vec::new());
    }
    let why = TaskName::parse(&wanted.name).err().map(|error| error.to_string());
    failed(wanted, why.unwrap_or_default(), Vec::new())
}

/// What came of a run is written down, and only then forgotten.
async fn settle(node: &Node, wanted: &TaskWanted, name: &TaskName, outcome: TaskOutcome) -> TaskReport {
    let told = if !outcome.success() {
        failed(wanted, why(&outcome, wanted), last(outcome.log))
    } else if wanted.guard.is_empty() {
        node.note(|applied| drop(applied.tasks.insert(wanted.name.clone(), wanted.argv.clone()))).await;
        report(wanted, TaskResult::Done, Vec::new())
    } else if is_true(node, wanted).await {
        report(wanted, TaskResult::Done, Vec::new())
    } else {
        failed(wanted, "it ended well, and yet its guard does not hold".to_owned(), last(outcome.log))
    };
    forget(node, name).await;
    told
}

fn report(wanted: &TaskWanted, result: TaskResult, log: Vec<String>) -> TaskReport {
    TaskReport { name: wanted.name.clone(), result, log }
}

fn failed(wanted: &TaskWanted, why: String, log: Vec<String>) -> TaskReport {
    report(wanted, TaskResult::Failed { why }, log)
}

/// What systemd keeps of a run is only in the way of the next, which clears it away itself.
async fn forget(node: &Node, name: &TaskName) {
    if let Err(error) = node.systemd.forget(name).await {
        voice::say(&Chain(&error).to_string());
    }
}

/// Whether what systemd has of a task of this name is of this command.
fn is_begun(node: &Node, wanted: &TaskWanted) -> bool {
    node.applied().begun.get(&wanted.name) == Some(&wanted.argv)
}

/// Without a guard a command is run once, until it changes.
async fn is_true(node: &Node, wanted: &TaskWanted) -> bool {
    match wanted.guard.split_first() {
        Some((program, args)) => tool::holds(program, args, GUARD).await,
        None => node.applied().tasks.get(&wanted.name) == Some(&wanted.argv),
    }
}

/// The outcome of a run that an earlier life of the agent began, when it is over.
async fn left(node: &Node, name: &TaskName) -> Result<Option<TaskOutcome>, UnitError> {
    loop {
        match node.systemd.outcome(name).await {
            Err(UnitError::TaskRunning { .. }) => tokio::time::sleep(LOOK).await,
            other => return other,
        }
    }
}

fn why(outcome: &TaskOutcome, wanted: &TaskWanted) -> String {
    match (outcome.result.as_str(), outcome.exit) {
        ("timeout", _) => format!("it took longer than {} s", wanted.timeout_seconds),
        (_, Exit::Status(status)) => format!("it ended with status {status}"),
        (_, Exit::Signal(signal)) => format!("signal {signal} ended it"),
        (result, Exit::None) => format!("it could not be run: {result}"),
    }
}

fn last(mut log: Vec<String>) -> Vec<String> {
    log.drain(..log.len().saturating_sub(LOG_LINES));
    last_bytes(log, LOG_BYTES)
}

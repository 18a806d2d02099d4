//! Guarded tasks: looked at, run as transient units where they are not true yet, looked at again.

use std::time::Duration;

use protocol::{TaskReport, TaskResult, TaskWanted};
use units::{Exit, Task, TaskName, TaskOutcome, UnitError};

use super::ledger::{LOG_BYTES, last_bytes};
use super::node::Node;
use crate::chain::Chain;
use crate::tool;

/// A guard only looks: one that takes longer counts as not holding.
const GUARD: Duration = Duration::from_secs(60);
/// Log lines of a failed task that go into a report.
const LOG_LINES: usize = 30;
/// Between two looks at a run that an earlier life of the agent began.
const LOOK: Duration = Duration::from_secs(2);
const LONGEST: u32 = 6 * 3600;

/// Makes one task true.
pub(super) async fn run(node: &Node, wanted: &TaskWanted) -> TaskReport {
    let report = |result, log| TaskReport { name: wanted.name.clone(), result, log };
    let failed = |why: String| TaskResult::Failed { why };
    if is_true(node, wanted).await {
        return report(TaskResult::Already, Vec::new());
    }
    let name = match TaskName::parse(&wanted.name) {
        Ok(name) => name,
        Err(error) => return report(failed(error.to_string()), Vec::new()),
    };
    let timeout = Duration::from_secs(u64::from(wanted.timeout_seconds.clamp(1, LONGEST)));
    let task = Task::new(name.clone(), wanted.argv.clone(), timeout);
    let outcome = match node.systemd.run(&task).await {
        Err(UnitError::TaskRunning { .. }) => collect(node, &name).await,
        other => other.map(Some),
    };
    let outcome = match outcome {
        Ok(Some(outcome)) => outcome,
        Ok(None) => return report(failed("its outcome was lost".to_owned()), Vec::new()),
        Err(error) => return report(failed(Chain(&error).to_string()), Vec::new()),
    };
    if !outcome.success() {
        return report(failed(why(&outcome, wanted)), last(outcome.log));
    }
    if wanted.guard.is_empty() {
        node.note(|applied| drop(applied.tasks.insert(wanted.name.clone(), wanted.argv.clone()))).await;
    } else if !is_true(node, wanted).await {
        let why = "it ended well, and yet its guard does not hold".to_owned();
        return report(failed(why), last(outcome.log));
    }
    report(TaskResult::Done, Vec::new())
}

/// Without a guard a command is run once, until it changes.
async fn is_true(node: &Node, wanted: &TaskWanted) -> bool {
    match wanted.guard.split_first() {
        Some((program, args)) => tool::holds(program, args, GUARD).await,
        None => node.applied().tasks.get(&wanted.name) == Some(&wanted.argv),
    }
}

/// Waits for a run that an earlier life of the agent began.
async fn collect(node: &Node, name: &TaskName) -> Result<Option<TaskOutcome>, UnitError> {
    loop {
        match node.systemd.collect(name).await {
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

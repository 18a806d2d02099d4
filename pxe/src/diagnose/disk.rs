//! It was told to start its own disk, or to wait.

use super::Hint;
use super::case::{Case, fetches};
use crate::trace::{Attempt, Fetch, Stage, Step, Task};

fn told(attempt: &Attempt, task: Task) -> impl DoubleEndedIterator<Item = (&Step, &Fetch)> {
    fetches(attempt).filter(move |(_, fetch)| fetch.told == Some(task))
}

pub(super) fn told_to_wait(case: &Case<'_>) -> Option<Hint> {
    let (step, fetch) = fetches(case.last).rev().find(|(_, fetch)| fetch.told.is_some())?;
    if fetch.told != Some(Task::Hold) {
        return None;
    }
    let state = case.facts.state.as_deref().map(|state| format!(" (its state: {state})")).unwrap_or_default();
    let name = case.name();
    let hint = Hint::certain(step.last(), format!("it boots, and is told to wait{state}"));
    Some(
        hint.why("Nothing is broken on the network: somebody has to decide about this server first.")
            .fix(format!("what it waits for: rackwright node show {name}")),
    )
}

pub(super) fn not_found(case: &Case<'_>) -> Option<Hint> {
    let times: u32 =
        told(case.last, Task::LocalDisk).map(|(step, _)| step.times).fold(0, u32::saturating_add);
    let (step, _) = told(case.last, Task::LocalDisk).next_back().filter(|_| times >= 3)?;
    let hint = Hint::likely(
        step.last(),
        format!("it was told {times} times to start its own disk, and each time asked again"),
    );
    Some(
        hint.why(
            "Its loader finds no disk to start: the disk is gone or has no system on it, or the firmware starts no disk \
             drivers (\"fast boot\").",
        )
        .fix(format!(
            "in its firmware setup: see that the disk is listed, turn \"fast boot\" off; to install it again: rackwright \
             node rebuild {}",
            case.name()
        )),
    )
}

pub(super) fn does_not_boot(case: &Case<'_>) -> Option<Hint> {
    let back = case.lately().filter(|attempt| attempt.reached() == Stage::Disk).count();
    let (step, _) = fetches(case.last).rfind(|(_, fetch)| fetch.is_local()).filter(|_| back >= 2)?;
    let hint = Hint::likely(
        step.last(),
        format!("it was told to start its own disk {back} times, and came back to the network"),
    );
    Some(hint.why("The system on its disk does not start: it stops early, and the machine restarts.").fix(
        format!(
            "look at its screen while it starts; to install it again: rackwright node rebuild {}",
            case.name()
        ),
    ))
}

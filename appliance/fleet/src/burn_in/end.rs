//! What an agent tells of its test, and how a test ends.

use protocol::{JobId, Task, TestReport};

use super::{BurnIn, End, compare};
use crate::entropy::Entropy;
use crate::imaging::{attention, wait};
use crate::job::JobState;
use crate::step::moved;
use crate::{Change, Denied, Fleet, Node, Outcome, Reply, State, Time, power};

/// Verbs for a server that failed: test it again, let it be ready all the same, or use it anyway.
pub(crate) const VERBS: [&str; 3] = ["retry", "test stop", "plan"];
/// Faults that a cause names.
const NAMED: usize = 3;

/// The agent tells everything so far.
pub(crate) fn told(fleet: &Fleet, node: &Node, report: TestReport, now: Time) -> Outcome {
    let mut outcome = Outcome { reply: Reply::GoOn(false), ..Outcome::default() };
    let known = super::in_flight(fleet, node).filter(|row| row.id == report.job && row.started.is_some());
    let Some(mut row) = known.cloned() else { return outcome };
    let mut next = node.clone();
    next.speaks(None, now);
    row.headway.reach(report.milliseconds.max(1));
    let (over, unable) = (report.over, report.unable.clone());
    row.told = Some(now);
    row.report = Some(report);
    if let Some(why) = unable {
        let why = format!("the test could not be carried out: {why}");
        failed(&mut next, &mut row, End::Unable, &why, now, &mut outcome);
    } else if over {
        judged(fleet, &mut next, &mut row, now, &mut outcome);
    } else if row.limit().is_some_and(|limit| limit <= now) {
        let why = format!("the test takes far longer than it was to take: it still went on {}", row.doing());
        failed(&mut next, &mut row, End::Unable, &why, now, &mut outcome);
    } else {
        next = moved(&next, State::Testing { job: row.id }, now);
        // An agent that works asks for nothing, and would not hear that it is to restart.
        outcome.reply = Reply::GoOn(power::asked(fleet, node, now).is_none());
    }
    outcome.changes.extend([Change::Node(Box::new(next)), Change::BurnIn(Box::new(row))]);
    outcome
}

/// Everything was tested: an error that was counted fails it, and nothing else does.
fn judged(fleet: &Fleet, next: &mut Node, row: &mut BurnIn, now: Time, outcome: &mut Outcome) {
    let Some(report) = &row.report else { return };
    if report.fault_count() > 0 {
        let why = found(report);
        return failed(next, row, End::Faulty, &why, now, outcome);
    }
    over(row, End::Passed, JobState::Done, now);
    *next = moved(next, State::Ready, now);
    let odd = compare::outliers(fleet, row).len();
    let remarks = row.report.as_ref().map_or(0, |report| report.remarks.len());
    let text = match (odd, remarks) {
        (0, 0) => "no error was counted".to_owned(),
        (odd, remarks) => format!(
            "no error was counted; {odd} figures are far from those of its like, and {remarks} things are worth a look \
             (rackwright node test show {})",
            next.name
        ),
    };
    outcome.fact(next.id, "tested", text);
}

/// The first faults, and how many there are.
fn found(report: &TestReport) -> String {
    let named = report.faults.iter().take(NAMED).map(|fault| match fault.count {
        1 => format!("{}: {}", fault.part.word(), fault.what),
        count => format!("{}: {} ({count}x)", fault.part.word(), fault.what),
    });
    let named = named.collect::<Vec<_>>().join("; ");
    let kinds = report.faults.len();
    let rest = if kinds > NAMED { format!("; and {} more", kinds - NAMED) } else { String::new() };
    format!("its test has found errors: {named}{rest}")
}

fn over(row: &mut BurnIn, end: End, state: JobState, now: Time) {
    (row.end, row.state, row.ended) = (Some(end), state, Some(now));
}

/// The test has ended so that a person should look.
pub(super) fn failed(
    next: &mut Node,
    row: &mut BurnIn,
    end: End,
    why: &str,
    now: Time,
    outcome: &mut Outcome,
) {
    outcome.fact(next.id, "failed", format!("job {}: {why}", row.id));
    over(row, end, JobState::Failed { why: why.to_owned() }, now);
    *next = moved(next, State::Testing { job: row.id }, now);
    *next = moved(next, attention(next, why.to_owned(), &VERBS), now);
}

/// The agent is back in another boot. When an operator has restarted the server, that was it; else it died.
pub(super) fn restarted(
    fleet: &Fleet,
    next: &mut Node,
    row: &BurnIn,
    now: Time,
    outcome: &mut Outcome,
) -> Task {
    let mut row = row.clone();
    let since = row.started.unwrap_or(row.created);
    if let Some(what) = power::interrupted(fleet, next.id, since) {
        let why = format!("an operator asked for {what} {}", row.doing());
        outcome.fact(next.id, "test-stopped", format!("job {}: {why}", row.id));
        over(&mut row, End::Stopped, JobState::Failed { why }, now);
        *next = moved(next, State::Ready, now);
        outcome.changes.push(Change::BurnIn(Box::new(row)));
        return wait("waiting for a plan");
    }
    let why = format!("it died {}: it came back in another boot, and nobody had asked for that", row.doing());
    failed(next, &mut row, End::Died, &why, now, outcome);
    outcome.changes.push(Change::BurnIn(Box::new(row)));
    wait(&format!("needs attention: {why}"))
}

/// Why a person should look at a server of whose test nothing is heard, or that takes far too long.
pub(crate) fn silence(row: &BurnIn, node: &Node, now: Time) -> String {
    if row.started.is_none() {
        let waited = now.seconds_since(node.since);
        return format!(
            "its agent has not begun its test within {waited} s: is the server on, and in the ramdisk?"
        );
    }
    let silent = now.seconds_since(row.told.or(row.started).unwrap_or(node.since));
    format!(
        "nothing is heard of its test since {silent} s: it went silent {}; it hangs, or has died and does not come back",
        row.doing()
    )
}

/// Out of `Attention`: one of which nothing was heard has time again, and one that has ended is begun anew.
pub(crate) fn again(
    fleet: &Fleet,
    node: &Node,
    row: &BurnIn,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    let is_late = row.limit().is_some_and(|limit| limit <= now);
    if !row.goes_on() || is_late {
        return super::begin(fleet, node, row.wish.clone(), now, dice);
    }
    let mut outcome = Outcome::default();
    outcome.fact(node.id, "retried", "its test has time again");
    let mut row = row.clone();
    row.headway.forgive();
    let next = moved(node, State::Testing { job: row.id }, now);
    outcome.changes.extend([Change::Node(Box::new(next)), Change::BurnIn(Box::new(row))]);
    Ok(outcome)
}

/// The operator does not want it any more, or has seen what came of it.
pub(crate) fn stopped(fleet: &Fleet, node: &Node, job: JobId, now: Time) -> Result<Outcome, Denied> {
    let known = super::of_node(fleet, node).filter(|row| row.id == job);
    let mut row = known.cloned().ok_or_else(|| {
        Denied::Conflict(format!(
            "job {job} has ended, and {} has gone on since: nothing is left to be stopped",
            node.name
        ))
    })?;
    let mut outcome = Outcome { reply: Reply::Job(job), ..Outcome::default() };
    if row.goes_on() {
        let why = format!("stopped by the operator {}", row.doing());
        outcome.fact(node.id, "test-stopped", format!("job {job}: {why}"));
        over(&mut row, End::Stopped, JobState::Failed { why }, now);
        outcome.changes.push(Change::BurnIn(Box::new(row)));
    } else {
        outcome.fact(node.id, "test-seen", format!("what came of job {job} was seen; the node is ready"));
    }
    outcome.changes.push(Change::Node(Box::new(moved(node, State::Ready, now))));
    Ok(outcome)
}

/// The node's tests that have not ended, at their end.
pub(crate) fn ended(fleet: &Fleet, node: &Node, why: &str, now: Time) -> impl Iterator<Item = Change> {
    let open = fleet.burn_ins.values().filter(|row| row.node == node.id && row.goes_on());
    open.map(move |row| {
        let mut row = row.clone();
        over(&mut row, End::Stopped, JobState::Failed { why: why.to_owned() }, now);
        Change::BurnIn(Box::new(row))
    })
}

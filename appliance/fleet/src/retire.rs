//! Retiring a node: its disks erased, each with a proof, its certificates void, and nothing of it boots any more.
//!
//! ```text
//! Active ─apply→ Draining ─ticket, asks→ Retiring ─every disk proven→ Retired ─delete→ forgotten
//! Ready  ─apply───────────────────────→ Retiring
//! ```
//! A [`Retirement`] is its plan and its job in one: what was shown is what is done. Nothing but the proof of its last disk makes
//! a node retired; a disk that refuses or lies leaves it in `Attention`, and those that are proven stay so.

use protocol::{
    Disk, DiskId, Doomed, EraseJob, Erasure, Holding, JobId, Mark, NodeId, Nonce, Progress, Subject, Task,
    foreign,
};
use serde::{Deserialize, Serialize};

use crate::certificate::LEFT_FOR_A_JOB;
use crate::drain::may_go_down;
use crate::entropy::Entropy;
use crate::hold;
use crate::imaging::{attention, ended_jobs, marks, wait};
use crate::job::{Headway, JobState};
use crate::limits;
use crate::network;
use crate::plan::{Kept, PlanId, PlanState, lives_on_disk, title};
use crate::running::{SystemDisk, order_again, order_redeploy};
use crate::step::{moved, refused, withdraw};
use crate::{Change, Denied, Fleet, Name, Node, Outcome, Reply, State, Time};

/// A node's disks, to be erased or erased: plan, job and proofs. It outlives its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retirement {
    /// The job's id.
    pub id: JobId,
    /// By which it is applied.
    pub plan: PlanId,
    /// What became of the plan.
    pub verdict: PlanState,
    /// The node.
    pub node: NodeId,
    /// What it was called: its record may be deleted.
    pub name: Name,
    /// The disks.
    pub disks: Vec<Erased>,
    /// Those that are left alone.
    pub keeps: Vec<Kept>,
    /// What the places that are read back are drawn from; the agent hears of it when it takes the job.
    pub challenge: Nonce,
    /// Where the job is.
    pub state: JobState,
    /// When the plan was made.
    pub made: Time,
    /// When it was applied; of one that an older controller applied nobody knows.
    #[serde(default)]
    pub applied: Option<Time>,
    /// Whether the node had a system then, which this is the end of.
    #[serde(default)]
    pub was_installed: bool,
    /// When the agent first took it.
    pub started: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// How far it is.
    pub progress: Option<Progress>,
    /// When it last went on.
    pub progressed: Option<Time>,
    /// How often an agent took it.
    pub takes: u32,
    /// Whether that has led anywhere.
    #[serde(default)]
    pub headway: Headway,
}

/// A disk of a retirement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erased {
    /// Which, and what of it may be lost.
    pub doomed: Doomed,
    /// What the plan saw on it.
    pub holds: Vec<Holding>,
    /// What proves that nothing of that is left, and when it arrived.
    pub proof: Option<(Time, Erasure)>,
}

impl Retirement {
    /// Whether there is something left to be erased.
    pub fn goes_on(&self) -> bool {
        matches!(self.verdict, PlanState::Applied { .. }) && !self.state.ended()
    }

    /// All bytes of its disks that are not proven yet.
    fn left(&self) -> impl Iterator<Item = &Erased> {
        self.disks.iter().filter(|disk| disk.proof.is_none())
    }
}

/// Makes the plan; changes nothing on the node.
///
/// # Errors
/// [`Denied`]: what is in the way.
pub(crate) fn planned(
    fleet: &Fleet,
    node: &Node,
    keep: &[DiskId],
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    may_retire(node)?;
    let all = &node.inventory.disks;
    if let Some(missing) = keep.iter().find(|id| !all.iter().any(|disk| disk.id().as_ref() == Some(id))) {
        return Err(Denied::Missing { kind: "disk", name: format!("{missing} on {}", node.name) });
    }
    let is_kept = |disk: &&Disk| disk.id().is_some_and(|id| keep.contains(&id)) || disk.removable;
    let (kept, doomed): (Vec<_>, Vec<_>) = all.iter().partition(is_kept);
    let disks = doomed.into_iter().map(|disk| doom(node, all, disk)).collect::<Result<Vec<_>, _>>()?;
    if disks.is_empty() {
        return Err(Denied::Conflict(format!(
            "{} has no disk that could be erased; without one there is nothing to prove",
            node.name
        )));
    }
    let plan = PlanId(format!("p-{:08x}", u32::from_be_bytes(dice.draw())));
    let retirement = Retirement {
        id: JobId(dice.draw()),
        plan: plan.clone(),
        verdict: PlanState::Open,
        node: node.id,
        name: node.name.clone(),
        disks,
        keeps: kept.into_iter().map(kept_of).collect(),
        challenge: Nonce(dice.draw()),
        state: JobState::Waiting,
        made: now,
        applied: None,
        was_installed: false,
        started: None,
        ended: None,
        progress: None,
        progressed: None,
        takes: 0,
        headway: Headway::default(),
    };
    let mut outcome = Outcome::default();
    let mut next = withdraw(fleet, node, "a newer plan was made", now, &mut outcome);
    if matches!(next.state, State::Ready) {
        next = moved(&next, State::Planned { plan: plan.clone() }, now);
    }
    outcome.fact(node.id, "planned", format!("{plan}: erase {} disks and retire", retirement.disks.len()));
    outcome.reply = Reply::Retirement(Box::new(retirement.clone()));
    outcome.changes.extend([Change::Node(Box::new(next)), Change::Retirement(Box::new(retirement))]);
    Ok(outcome)
}

fn kept_of(disk: &Disk) -> Kept {
    let (model, serial) = (disk.model.clone(), disk.serial.clone());
    Kept { disk: disk.id(), model, serial, bytes: disk.bytes }
}

fn doom(node: &Node, all: &[Disk], disk: &Disk) -> Result<Erased, Denied> {
    let unfit = |why: &str| {
        let keep = disk.id().map(|id| format!(" (--keep {id} leaves it alone)")).unwrap_or_default();
        Denied::Conflict(format!("disk {} of {} can't be erased: {why}{keep}", title(disk), node.name))
    };
    // Left whole, it would go away with a node of which everybody is told that its disks are erased.
    let subject = Subject::of(disk).ok_or_else(|| {
        unfit(&format!(
            "it ({}, {} GiB) has neither WWN nor serial number, by which a plan or a proof could name it; pull it out, let the \
             server boot into the ramdisk without it, and make the plan again",
            disk.name,
            disk.bytes >> 30
        ))
    })?;
    if all.iter().filter(|other| other.id() == disk.id()).count() > 1 {
        return Err(unfit("two disks call themselves so"));
    }
    let installed = node.installed.as_ref().filter(|_| lives_on_disk(node));
    let data = installed.and_then(|installed| installed.data.as_ref());
    let own = installed.is_some_and(|installed| installed.disk == subject.disk)
        || data.is_some_and(|data| data.disk == subject.disk);
    let erase = foreign(&disk.holds).into_iter().map(Mark::exact).collect();
    Ok(Erased { doomed: Doomed { disk: subject, own, erase }, holds: disk.holds.clone(), proof: None })
}

fn may_retire(node: &Node) -> Result<(), Denied> {
    if node.state.is_settled() {
        return Ok(());
    }
    Err(refused(node, "retiring", "; only an active node, a ready one, or one that needs attention"))
}

/// The retirement that is applied by this plan's id.
pub fn of_plan<'a>(fleet: &'a Fleet, plan: &PlanId) -> Option<&'a Retirement> {
    fleet.retirements.values().find(|retirement| retirement.plan == *plan)
}

/// The node's plan that may be applied.
pub(crate) fn open(fleet: &Fleet, node: NodeId) -> impl Iterator<Item = &Retirement> {
    fleet.retirements.values().filter(move |row| row.node == node && row.verdict == PlanState::Open)
}

/// A plan that is not wanted any more.
pub(crate) fn withdrawn(retirement: &Retirement, why: &str) -> Change {
    let verdict = PlanState::Withdrawn { why: why.to_owned() };
    Change::Retirement(Box::new(Retirement { verdict, ..retirement.clone() }))
}

/// Turns the plan into a job, if the node is still what the plan saw.
pub(crate) fn apply(
    fleet: &Fleet,
    retirement: &Retirement,
    force: bool,
    now: Time,
) -> Result<Outcome, Denied> {
    let node = fleet.node(retirement.node)?;
    hold::refuse_held(node)?;
    still_true(node, retirement)?;
    let was_installed = node.has_system();
    limits::refuse_more(fleet, was_installed, now)?;
    may_go_down(node, force)?;
    let id = retirement.id;
    let mut outcome = Outcome::default();
    outcome.fact(node.id, "applied", format!("{} as job {id}: erase and retire", retirement.plan));
    // Then it must restart into the ramdisk first.
    let runs = lives_on_disk(node);
    let state = if runs { State::Draining { job: id } } else { State::Retiring { job: id } };
    let mut next = moved(node, state, now);
    if runs {
        order_redeploy(&mut next, force, SystemDisk::Rewritten);
    } else if next.run.take().is_some() {
        next.generation += 1;
    }
    outcome.changes.extend(ended_jobs(fleet, node, &format!("replaced by job {id}"), now));
    outcome.changes.extend(network::want_look(fleet, node, now));
    let verdict = PlanState::Applied { job: id };
    let retirement = Retirement { verdict, applied: Some(now), was_installed, ..retirement.clone() };
    outcome.changes.extend([Change::Node(Box::new(next)), Change::Retirement(Box::new(retirement))]);
    outcome.reply = Reply::Job(id);
    Ok(outcome)
}

fn still_true(node: &Node, retirement: &Retirement) -> Result<(), Denied> {
    let plan = &retirement.plan;
    let stale = |why: String| {
        let name = &node.name;
        Denied::Conflict(format!(
            "plan {plan} can't be applied: {why}; make a new one (rackwright node retire {name})"
        ))
    };
    match &retirement.verdict {
        PlanState::Open => {}
        PlanState::Applied { job } => return Err(stale(format!("it was applied already, as job {job}"))),
        PlanState::Withdrawn { why } => return Err(stale(why.clone())),
    }
    may_retire(node)?;
    for Erased { doomed, .. } in &retirement.disks {
        let id = &doomed.disk.disk;
        let disk = node.inventory.disks.iter().find(|disk| doomed.disk.is(disk));
        let disk = disk.ok_or_else(|| stale(format!("disk {id} is not there any more, or is another")))?;
        if let Some(held) = doomed.unseen(&disk.holds).first() {
            return Err(stale(format!("disk {id} holds {} now, which it did not show", Mark::short(held))));
        }
    }
    Ok(())
}

/// The erasing that goes on for this node, if it does.
pub(crate) fn in_flight<'a>(fleet: &'a Fleet, node: &Node) -> Option<&'a Retirement> {
    of_node(fleet, node).filter(|retirement| retirement.goes_on())
}

/// The retirement that a node's state is about, also when it has failed.
pub(crate) fn of_node<'a>(fleet: &'a Fleet, node: &Node) -> Option<&'a Retirement> {
    node.state.job().and_then(|id| fleet.retirements.get(&id))
}

/// Hands the job to the agent, again if need be: those disks that are not proven.
pub(crate) fn take(
    fleet: &Fleet,
    next: &mut Node,
    retirement: &Retirement,
    certificate: &str,
    now: Time,
    outcome: &mut Outcome,
) -> Result<Task, Denied> {
    let ends = fleet.certificates.get(certificate).map(|row| row.until);
    if ends.is_some_and(|until| until < now.plus_seconds(LEFT_FOR_A_JOB)) {
        return Err(Denied::Expiring);
    }
    let mut row = retirement.clone();
    if let Some(why) = row.headway.hopeless() {
        failed(next, &mut row, why.clone(), now, outcome);
        outcome.changes.push(Change::Retirement(Box::new(row)));
        return Ok(wait(&format!("needs attention: {why}")));
    }
    let is_news = row.takes == 0 || !matches!(next.state, State::Retiring { .. });
    (row.state, row.started) = (JobState::Running, row.started.or(Some(now)));
    row.takes += 1;
    row.headway.take();
    *next = moved(next, State::Retiring { job: row.id }, now);
    if is_news {
        let how = if row.takes > 1 { "goes on with" } else { "begins with" };
        outcome.fact(next.id, "erasing", format!("job {} {how} {} disks", row.id, row.left().count()));
        next.since = now;
    }
    // From here on there is no system that could come up again.
    (next.installed, next.adopted, next.report, next.reported) = (None, None, None, None);
    next.orders.clear();
    let disks = row.left().map(|disk| disk.doomed.clone()).collect();
    let task = Task::Erase(Box::new(EraseJob { job: row.id, challenge: row.challenge, disks }));
    outcome.changes.push(Change::Retirement(Box::new(row)));
    Ok(task)
}

fn failed(next: &mut Node, row: &mut Retirement, why: String, now: Time, outcome: &mut Outcome) {
    outcome.fact(next.id, "failed", format!("job {}: {why}", row.id));
    *next = moved(next, State::Retiring { job: row.id }, now);
    let cause = format!("not every disk is erased: {why}");
    *next = moved(next, attention(next, cause, &["retry", "retire"]), now);
    (row.state, row.ended) = (JobState::Failed { why }, Some(now));
}

/// Erasing goes on, or can't.
pub(crate) fn progressed(node: &Node, retirement: &Retirement, progress: Progress, now: Time) -> Outcome {
    let mut outcome = Outcome { reply: Reply::GoOn(false), ..Outcome::default() };
    if node.state.job() != Some(retirement.id) || !retirement.goes_on() {
        return outcome;
    }
    let (mut row, mut next) = (retirement.clone(), node.clone());
    next.heard = now;
    if let Some(why) = progress.failed {
        failed(&mut next, &mut row, why, now, &mut outcome);
    } else {
        outcome.reply = Reply::GoOn(true);
        if row.progress.as_ref().is_none_or(|last| marks(last) != marks(&progress)) {
            row.progressed = Some(now);
            next = moved(&next, State::Retiring { job: row.id }, now);
        }
        row.headway.reach(progress.done_bytes.saturating_add(progress.read_back_bytes));
        row.progress = Some(progress);
    }
    outcome.changes.extend([Change::Node(Box::new(next)), Change::Retirement(Box::new(row))]);
    outcome
}

/// One disk is proven; with the last one the node is retired.
pub(crate) fn erased(fleet: &Fleet, node: &Node, erasure: Erasure, now: Time) -> Result<Outcome, Denied> {
    let row = of_node(fleet, node).filter(|row| row.id == erasure.job && row.started.is_some());
    let row = row.ok_or_else(|| refused(node, "an erasure", "; it is for a job this node does not have"))?;
    let mut row = row.clone();
    let disk = row.disks.iter_mut().find(|disk| disk.doomed.disk.disk == erasure.disk);
    let disk = disk.ok_or_else(|| refused(node, "an erasure", "; its disk is not in the plan"))?;
    erasure.proves(&disk.doomed.disk).map_err(|why| refused(node, "an erasure", &format!("; {why}")))?;
    let mut outcome =
        Outcome { reply: Reply::Task(wait("the other disks are erased")), ..Outcome::default() };
    if disk.proof.is_none() {
        let (method, seconds) = (erasure.method, erasure.milliseconds / 1000);
        let text = format!(
            "{} ({:?}), {} MiB by {} ({}) in {seconds} s; {} places read back",
            erasure.disk,
            erasure.model,
            erasure.bytes >> 20,
            method.word(),
            method.level(),
            erasure.samples
        );
        outcome.fact(node.id, "erased", text);
        disk.proof = Some((now, erasure));
    }
    let mut next = node.clone();
    next.heard = now;
    if row.left().next().is_none() {
        next = retired(&next, now);
        (row.state, row.ended) = (JobState::Done, Some(now));
        outcome.fact(node.id, "retired", format!("{} disks are proven to be erased", row.disks.len()));
        outcome.reply = Reply::Task(Task::Reboot);
    }
    outcome.changes.extend([Change::Node(Box::new(next)), Change::Retirement(Box::new(row))]);
    Ok(outcome)
}

/// A node of which nothing is left but its record.
fn retired(node: &Node, now: Time) -> Node {
    let mut next = moved(node, State::Retired, now);
    next.generation += 1;
    (next.deploy, next.run, next.claim, next.moved_to) = (None, None, None, None);
    next.hold = None;
    (next.installed, next.adopted) = (None, None);
    (next.report, next.reported, next.redeploy) = (None, None, None);
    next.orders.clear();
    next
}

/// Out of `Attention`: the disks that are not proven, again.
pub(crate) fn retried(node: &Node, retirement: &Retirement, next: &mut Node, outcome: &mut Outcome) -> State {
    let mut row = retirement.clone();
    (row.state, row.ended) = (JobState::Waiting, None);
    row.headway.forgive();
    let job = row.id;
    outcome.changes.push(Change::Retirement(Box::new(row)));
    if node.state.phase() == "draining" {
        order_again(next, SystemDisk::Rewritten);
        State::Draining { job }
    } else {
        State::Retiring { job }
    }
}

/// The node's erasings that have not ended, at their end.
pub(crate) fn ended(fleet: &Fleet, node: &Node, why: &str, now: Time) -> impl Iterator<Item = Change> {
    let open = fleet.retirements.values().filter(|row| row.node == node.id && row.goes_on());
    open.map(move |row| {
        let state = JobState::Failed { why: why.to_owned() };
        Change::Retirement(Box::new(Retirement { state, ended: Some(now), ..row.clone() }))
    })
}

/// Forgets a node of which nobody waits for anything. Its retirements, with their proofs, stay.
pub(crate) fn delete(fleet: &Fleet, node: &Node) -> Result<Outcome, Denied> {
    if !matches!(node.state, State::Retired | State::Rejected { .. }) {
        let hint = "; only a retired or rejected node: rackwright node retire, or reject";
        return Err(refused(node, "deleting", hint));
    }
    let mut outcome = Outcome::default();
    outcome.fact(
        node.id,
        "deleted",
        format!("{} is forgotten; its address and its name are free", node.name),
    );
    let certificates = fleet.certificates.values().filter(|row| row.node == node.id);
    outcome.changes.extend(certificates.map(|row| Change::ForgetCertificate(row.fingerprint.clone())));
    outcome.changes.push(Change::ForgetNode(node.id));
    Ok(outcome)
}

//! From an applied plan to a verified disk.

use protocol::{ImageJob, Inventory, JobId, OrderKind, Phase, Progress, Receipt, Task};

use crate::entropy::Entropy;
use crate::job::{Job, JobState};
use crate::node::Installed;
use crate::plan::{PlanId, PlanKind, PlanState, still_true};
use crate::running::give_order;
use crate::step::{moved, refused};
use crate::{Change, Denied, Fleet, Node, Outcome, Reply, State, Time};

/// Turns a plan into a job, if the world is still what the plan saw.
pub(crate) fn apply(fleet: &Fleet, plan: &PlanId, now: Time, dice: &mut Entropy) -> Result<Outcome, Denied> {
    let missing = || Denied::Missing { kind: "plan", name: plan.to_string() };
    let plan = fleet.plans.get(plan).ok_or_else(missing)?;
    let node = fleet.node(plan.node)?;
    still_true(fleet, node, plan)?;
    let image = fleet.images.get(&plan.image).ok_or_else(missing)?;
    let id = JobId(dice.draw());
    let job = Job {
        id,
        node: node.id,
        plan: plan.id.clone(),
        image: plan.image,
        signer: image.signer,
        target: plan.target.clone(),
        state: JobState::Waiting,
        created: now,
        started: None,
        ended: None,
        progress: None,
        progressed: None,
        takes: 0,
        receipt: None,
    };
    let mut outcome = Outcome::default();
    outcome.fact(
        node.id,
        "applied",
        format!("{} as job {id}: {} on {}", plan.id, image.name, plan.target.disk),
    );
    let runs = plan.kind == PlanKind::Rebuild && lives_on_disk(node);
    let state = if runs { State::Draining { job: id } } else { State::Imaging { job: id } };
    let mut next = moved(node, state, now);
    if let Some(roles) = &plan.roles {
        next.roles.clone_from(roles);
    }
    if runs {
        give_order(&mut next, OrderKind::Redeploy);
    }
    let mut plan = plan.clone();
    plan.state = PlanState::Applied { job: id };
    outcome.changes.extend([
        Change::Node(Box::new(next)),
        Change::Plan(Box::new(plan)),
        Change::Job(Box::new(job)),
    ]);
    outcome.reply = Reply::Job(id);
    Ok(outcome)
}

/// Whether the node runs its installed system now, and so must restart into the ramdisk first.
fn lives_on_disk(node: &Node) -> bool {
    node.installed.is_some() && ["active", "booting", "enrolling"].contains(&node.state.phase())
}

/// The ramdisk asks for work.
pub(crate) fn asked(fleet: &Fleet, node: &Node, inventory: Inventory, now: Time) -> Result<Outcome, Denied> {
    let mut outcome = Outcome::default();
    let mut next = node.clone();
    next.heard = now;
    let changed = next.inventory != inventory;
    next.inventory = inventory;
    let task = match &node.state {
        State::Inspecting => {
            outcome.fact(node.id, "ready", summary(&next));
            next = moved(&next, State::Ready, now);
            wait("waiting for a plan")
        }
        State::Ready => wait("waiting for a plan"),
        State::Planned { plan } => wait(&format!("plan {plan} waits to be applied")),
        State::Imaging { job } | State::Verifying { job } | State::Draining { job } => {
            take(fleet, &mut next, *job, now, &mut outcome)?
        }
        State::Attention { job: Some(job), phase, .. } if redeploys(phase) && still_open(fleet, *job) => {
            outcome.fact(node.id, "returned", "the agent is back; the job goes on");
            take(fleet, &mut next, *job, now, &mut outcome)?
        }
        // The receipt was taken, the answer to it lost: say it again.
        State::Booting { .. } => Task::Reboot,
        State::Attention { cause, .. } => wait(&format!("needs attention: {cause}")),
        State::Discovered | State::Rejected { .. } | State::Enrolling { .. } | State::Active => {
            return Err(refused(node, "asking for work", ""));
        }
    };
    if changed || next.state != node.state || !outcome.facts.is_empty() || now.seconds_since(node.heard) >= 10
    {
        outcome.changes.push(Change::Node(Box::new(next)));
    }
    outcome.reply = Reply::Task(task);
    Ok(outcome)
}

fn redeploys(phase: &str) -> bool {
    ["imaging", "verifying", "draining"].contains(&phase)
}

fn still_open(fleet: &Fleet, job: JobId) -> bool {
    fleet.jobs.get(&job).is_some_and(|job| !job.state.ended())
}

fn wait(reason: &str) -> Task {
    Task::Wait { reason: reason.to_owned() }
}

fn summary(node: &Node) -> String {
    let inventory = &node.inventory;
    format!(
        "{} threads, {} MiB, {} disks, {} NICs, {}",
        inventory.cpu.threads,
        inventory.memory_bytes >> 20,
        inventory.disks.len(),
        inventory.nics.len(),
        inventory.firmware
    )
}

/// Hands the job to the agent, again if need be: it is the same job after a power cut.
fn take(fleet: &Fleet, next: &mut Node, id: JobId, now: Time, outcome: &mut Outcome) -> Result<Task, Denied> {
    let job = fleet.jobs.get(&id).ok_or_else(|| Denied::Missing { kind: "job", name: id.to_string() })?;
    let resume = job.progress.is_some();
    let mut job = job.clone();
    job.state = JobState::Running;
    job.started = job.started.or(Some(now));
    job.takes += 1;
    let how = if resume { "goes on" } else { "begins" };
    outcome.fact(next.id, "imaging", format!("job {id} {how} on {}", job.target.disk));
    *next = moved(next, State::Imaging { job: id }, now);
    // A deadline counts from here, not from the first take.
    next.since = now;
    next.orders.clear();
    let task = Task::Image(Box::new(ImageJob {
        job: id,
        image: job.image,
        signer: job.signer,
        target: job.target.clone(),
        resume,
    }));
    outcome.changes.push(Change::Job(Box::new(job)));
    Ok(task)
}

/// The job goes on, or can't.
pub(crate) fn progressed(
    fleet: &Fleet,
    node: &Node,
    progress: Progress,
    now: Time,
) -> Result<Outcome, Denied> {
    let mut outcome = Outcome::default();
    let current = node.state.job() == Some(progress.job);
    let Some(job) = fleet.jobs.get(&progress.job).filter(|job| current && !job.state.ended()) else {
        // An agent that works on something else than its node's job is stopped.
        outcome.reply = Reply::GoOn(false);
        return Ok(outcome);
    };
    let mut job = job.clone();
    let mut next = node.clone();
    next.heard = now;
    if let Some(why) = &progress.failed {
        outcome.fact(node.id, "failed", format!("job {}: {why}", job.id));
        job.state = JobState::Failed { why: why.clone() };
        job.ended = Some(now);
        let cause = format!("writing the image failed: {why}");
        next = moved(&next, attention(node, cause, &["retry", "plan", "reject"]), now);
    } else if progress.phase >= Phase::ReadBack && matches!(node.state, State::Imaging { .. }) {
        outcome.fact(node.id, "verifying", "everything is written; reading it back");
        next = moved(&next, State::Verifying { job: job.id }, now);
    } else if matches!(node.state, State::Attention { .. } | State::Draining { .. }) {
        next = moved(&next, State::Imaging { job: job.id }, now);
    }
    job.progress = Some(progress);
    job.progressed = Some(now);
    outcome.reply = Reply::GoOn(!job.state.ended());
    outcome.changes.extend([Change::Job(Box::new(job)), Change::Node(Box::new(next))]);
    Ok(outcome)
}

/// A state that asks for a person.
pub(crate) fn attention(node: &Node, cause: String, verbs: &[&str]) -> State {
    State::Attention {
        phase: node.state.word().to_owned(),
        cause,
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        job: node.state.job(),
    }
}

/// The disk was read back: from now on this node boots it.
pub(crate) fn verified(fleet: &Fleet, node: &Node, receipt: Receipt, now: Time) -> Result<Outcome, Denied> {
    let mut outcome = Outcome { reply: Reply::Task(Task::Reboot), ..Outcome::default() };
    let job = fleet.jobs.get(&receipt.job).filter(|_| node.state.job() == Some(receipt.job));
    let job = job.ok_or_else(|| refused(node, "a receipt", "; it is for a job this node does not have"))?;
    if job.state == JobState::Verified {
        return Ok(outcome);
    }
    if job.state.ended() || receipt.image != job.image || receipt.disk != job.target.disk {
        return Err(refused(node, "a receipt", "; it names another image or disk than its job"));
    }
    let seconds = receipt.milliseconds / 1000;
    outcome.fact(
        node.id,
        "verified",
        format!(
            "{} MiB read back in {seconds} s ({} MiB written, {} MiB right already)",
            receipt.total_bytes >> 20,
            receipt.written_bytes >> 20,
            receipt.same_bytes >> 20
        ),
    );
    let mut job = job.clone();
    job.state = JobState::Verified;
    let mut next = moved(node, State::Booting { job: job.id }, now);
    next.heard = now;
    next.report = None;
    next.reported = None;
    next.installed =
        Some(Installed { image: job.image, disk: job.target.disk.clone(), at: now, job: job.id });
    job.receipt = Some(receipt);
    outcome.changes.extend([Change::Job(Box::new(job)), Change::Node(Box::new(next))]);
    Ok(outcome)
}

/// Out of `Attention`, into what it was doing.
pub(crate) fn retry(fleet: &Fleet, node: &Node, now: Time) -> Result<Outcome, Denied> {
    let State::Attention { phase, job, .. } = &node.state else {
        return Err(refused(node, "retrying", "; only a node that needs attention can be retried"));
    };
    let mut outcome = Outcome::default();
    let state = match (phase.as_str(), job) {
        ("imaging" | "verifying" | "draining", Some(id)) => {
            let missing = || Denied::Missing { kind: "job", name: id.to_string() };
            let mut job = fleet.jobs.get(id).ok_or_else(missing)?.clone();
            job.state = JobState::Waiting;
            job.ended = None;
            outcome.changes.push(Change::Job(Box::new(job)));
            State::Imaging { job: *id }
        }
        ("booting" | "enrolling", Some(id)) => State::Booting { job: *id },
        ("active", _) => State::Active,
        (_, _) => State::Inspecting,
    };
    outcome.fact(node.id, "retried", format!("from {phase}"));
    outcome.changes.push(Change::Node(Box::new(moved(node, state, now))));
    Ok(outcome)
}

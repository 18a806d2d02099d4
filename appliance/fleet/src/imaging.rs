//! From an applied plan to a verified disk.

use protocol::{ImageJob, Inventory, JobId, Phase, Progress, Receipt, Task, Verify};

use crate::certificate::LEFT_FOR_A_JOB;
use crate::drain::may_go_down;
use crate::entropy::Entropy;
use crate::identity;
use crate::job::{Headway, Job, JobState};
use crate::limits;
use crate::network;
use crate::node::Installed;
use crate::plan::{PlanId, PlanKind, PlanState, data_still_true, lives_on_disk, still_true};
use crate::running::{SystemDisk, comes_back, order_again, order_redeploy, pardoned};
use crate::step::{moved, refused};
use crate::{Change, Denied, Fleet, Node, Outcome, Reply, State, Time};
use crate::{burn_in, capture, hold, rescue, retire};

/// Turns a plan into a job, if the world is still what the plan saw.
pub(crate) fn apply(
    fleet: &Fleet,
    plan: &PlanId,
    force: bool,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    if let Some(retirement) = retire::of_plan(fleet, plan) {
        return retire::apply(fleet, retirement, force, now);
    }
    let missing = || Denied::Missing { kind: "plan", name: plan.to_string() };
    let plan = fleet.plans.get(plan).ok_or_else(missing)?;
    let node = fleet.node(plan.node)?;
    hold::refuse_held(node)?;
    still_true(fleet, node, plan)?;
    limits::refuse_more(fleet, plan.kind == PlanKind::Rebuild, now)?;
    may_go_down(node, force)?;
    let image = fleet.images.get(&plan.image).ok_or_else(missing)?;
    let id = JobId(dice.draw());
    let job = Job {
        id,
        node: node.id,
        plan: plan.id.clone(),
        image: plan.image,
        signer: image.signer,
        target: plan.target.clone(),
        verify: plan.verify,
        state: JobState::Waiting,
        created: now,
        started: None,
        ended: None,
        progress: None,
        progressed: None,
        takes: 0,
        headway: Headway::default(),
        taken_with: None,
        receipt: None,
    };
    let mut outcome = Outcome::default();
    outcome.fact(
        node.id,
        "applied",
        format!("{} as job {id}: {} on {}", plan.id, image.name, plan.target.disk),
    );
    // Then it must restart into the ramdisk first.
    let runs = plan.kind == PlanKind::Rebuild && lives_on_disk(node);
    let state = if runs { State::Draining { job: id } } else { State::Imaging { job: id } };
    let mut next = moved(node, state, now);
    if let Some(roles) = &plan.roles {
        next.roles.clone_from(roles);
    }
    if runs {
        order_redeploy(&mut next, force, SystemDisk::Rewritten);
    } else if next.run.take().is_some() {
        // It waits in the ramdisk with a whole system on its disk, which this is the end of: a capture was to bring it back.
        next.generation += 1;
    }
    outcome.changes.extend(ended_jobs(fleet, node, &format!("replaced by job {id}"), now));
    outcome.changes.extend(network::want_look(fleet, node, now));
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

/// The node's jobs in flight, at their end.
pub(crate) fn ended_jobs(fleet: &Fleet, node: &Node, why: &str, now: Time) -> impl Iterator<Item = Change> {
    let open = fleet.jobs.values().filter(|job| job.node == node.id && !job.state.ended());
    let jobs = open.map(move |job| {
        let state = JobState::Failed { why: why.to_owned() };
        Change::Job(Box::new(Job { state, ended: Some(now), ..job.clone() }))
    });
    let jobs = jobs.chain(capture::ended_captures(fleet, node, why, now));
    let jobs = jobs.chain(retire::ended(fleet, node, why, now));
    jobs.chain(burn_in::ended(fleet, node, why, now))
}

/// The ramdisk asks for work.
pub(crate) fn asked(
    fleet: &Fleet,
    node: &Node,
    certificate: &str,
    inventory: Inventory,
    (now, dice): (Time, &mut Entropy),
) -> Result<Outcome, Denied> {
    let mut outcome = Outcome::default();
    let mut next = node.clone();
    next.speaks(None, now);
    let changed = has(fleet, node, &mut next, inventory, &mut outcome);
    let task = match &node.state {
        State::Inspecting | State::Ready | State::Planned { .. } | State::Attention { .. }
            if let Some(hold) = &node.hold =>
        {
            wait(&format!("held: {}", hold.why))
        }
        State::Inspecting => inspected(fleet, &mut next, certificate, (now, dice), &mut outcome)?,
        State::Testing { .. } | State::Attention { .. }
            if let Some(row) = burn_in::in_flight(fleet, node) =>
        {
            burn_in::take(fleet, &mut next, row, certificate, now, &mut outcome)?
        }
        State::Ready => wait("waiting for a plan"),
        State::Planned { plan } => wait(&format!("plan {plan} waits to be applied")),
        State::Draining { .. } | State::Capturing { .. } | State::Attention { .. }
            if let Some(capture) = capture::in_flight(fleet, node) =>
        {
            capture::take(fleet, &mut next, capture, certificate, now, &mut outcome)?
        }
        State::Draining { .. } | State::Retiring { .. } | State::Attention { .. }
            if let Some(retirement) = retire::in_flight(fleet, node) =>
        {
            retire::take(fleet, &mut next, retirement, certificate, now, &mut outcome)?
        }
        State::Imaging { job } | State::Verifying { job } | State::Draining { job } => {
            take(fleet, &mut next, *job, certificate, now, &mut outcome)?
        }
        State::Attention { job: Some(job), phase, .. } if redeploys(phase) && still_open(fleet, *job) => {
            outcome.fact(node.id, "returned", "the agent is back; the job goes on");
            take(fleet, &mut next, *job, certificate, now, &mut outcome)?
        }
        State::Rescue { rescue } => rescue::task(rescue),
        State::Servicing { why, .. } => wait(&format!("in service: {why}")),
        // The receipt was taken, the answer to it lost: say it again.
        State::Booting { .. } | State::Returning { .. } => Task::Reboot,
        State::Attention { phase, .. } if phase == "returning" || comes_back(fleet, node) => Task::Reboot,
        // What it waited for has come after all.
        State::Attention { phase, .. } if phase == "inspecting" => {
            inspected(fleet, &mut next, certificate, (now, dice), &mut outcome)?
        }
        State::Attention { cause, .. } => wait(&format!("needs attention: {cause}")),
        State::Discovered
        | State::Rejected { .. }
        | State::Testing { .. }
        | State::Enrolling { .. }
        | State::Active
        | State::Capturing { .. }
        | State::Retiring { .. }
        | State::Retired => {
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

/// Its hardware is known: it is tested, where every server is, or ready.
fn inspected(
    fleet: &Fleet,
    next: &mut Node,
    certificate: &str,
    (now, dice): (Time, &mut Entropy),
    outcome: &mut Outcome,
) -> Result<Task, Denied> {
    if let Some((node, row)) = burn_in::first(fleet, next, now, dice, outcome) {
        outcome.fact(next.id, "inspected", summary(next));
        *next = node;
        return burn_in::take(fleet, next, &row, certificate, now, outcome);
    }
    outcome.fact(next.id, "ready", summary(next));
    *next = moved(next, State::Ready, now);
    Ok(wait("waiting for a plan"))
}

/// What the ramdisk says its server has, as far as it is believed; whether that is news.
fn has(fleet: &Fleet, node: &Node, next: &mut Node, inventory: Inventory, outcome: &mut Outcome) -> bool {
    let (inventory, foreign) = identity::believed(fleet, node, inventory);
    if let Some((mac, owner)) = foreign {
        outcome.fact(
            node.id,
            "conflict",
            format!("it says that it has the NIC {mac}, which is of {}", owner.name),
        );
    }
    let changed = next.inventory != inventory;
    next.inventory = inventory;
    changed
}

fn redeploys(phase: &str) -> bool {
    ["imaging", "verifying", "draining"].contains(&phase)
}

fn still_open(fleet: &Fleet, job: JobId) -> bool {
    fleet.jobs.get(&job).is_some_and(|job| !job.state.ended())
}

pub(crate) fn wait(reason: &str) -> Task {
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
fn take(
    fleet: &Fleet,
    next: &mut Node,
    id: JobId,
    certificate: &str,
    now: Time,
    outcome: &mut Outcome,
) -> Result<Task, Denied> {
    let job = fleet.jobs.get(&id).ok_or_else(|| Denied::Missing { kind: "job", name: id.to_string() })?;
    let plan = fleet.plans.get(&job.plan);
    if let Some(reason) = network::held(fleet, next, Some(job.into())) {
        return Ok(wait(&format!("waiting for {reason}")));
    }
    if let Some(Err(why)) = plan.map(|plan| data_still_true(next, plan)) {
        return Ok(withheld(next, job, why, now, outcome));
    }
    if let Some(why) = job.headway.hopeless() {
        return Ok(withheld(next, job, why, now, outcome));
    }
    // The agent says hello after any refusal, and gets a fresh one.
    let ends = fleet.certificates.get(certificate).map(|row| row.until);
    if ends.is_some_and(|until| until < now.plus_seconds(LEFT_FOR_A_JOB)) {
        return Err(Denied::Expiring);
    }
    let how = if job.progress.is_some() { "goes on" } else { "begins" };
    let went_on = job.progressed.is_some_and(|at| at > next.since);
    let writes = matches!(next.state, State::Imaging { .. } | State::Verifying { .. });
    let is_news = job.takes == 0 || went_on || !writes;
    let mut job = job.clone();
    job.state = JobState::Running;
    job.started = job.started.or(Some(now));
    job.takes += 1;
    job.headway.take();
    job.taken_with = Some(certificate.to_owned());
    *next = moved(next, State::Imaging { job: id }, now);
    // An agent that takes its job over and over and gets nowhere has the time of one, and is told of once.
    if is_news {
        outcome.fact(next.id, "imaging", format!("job {id} {how} on {}", job.target.disk));
        next.since = now;
    }
    next.orders.clear();
    let task = Task::Image(Box::new(ImageJob {
        job: id,
        image: job.image,
        signer: job.signer,
        target: job.target.clone(),
        erase: plan.map(|plan| plan.erase.clone()).unwrap_or_default(),
        verify: job.verify,
    }));
    outcome.changes.push(Change::Job(Box::new(job)));
    Ok(task)
}

/// The newest look at the node is not what was planned, or nothing comes of the job: it ends where it is.
fn withheld(next: &mut Node, job: &Job, why: String, now: Time, outcome: &mut Outcome) -> Task {
    outcome.fact(next.id, "failed", format!("job {}: {why}", job.id));
    let task = wait(&format!("needs attention: {why}"));
    let mut job = job.clone();
    job.state = JobState::Failed { why: why.clone() };
    job.ended = Some(now);
    // Whatever it was doing, the image is what it waits for.
    *next = moved(next, State::Imaging { job: job.id }, now);
    *next = moved(next, attention(next, why, &["plan", "retry"]), now);
    next.orders.clear();
    outcome.changes.push(Change::Job(Box::new(job)));
    task
}

/// The job goes on, or can't.
pub(crate) fn progressed(
    fleet: &Fleet,
    node: &Node,
    progress: Progress,
    now: Time,
) -> Result<Outcome, Denied> {
    if let Some(capture) = fleet.captures.get(&progress.job) {
        return Ok(capture::progressed(fleet, node, capture, progress, now));
    }
    if let Some(retirement) = fleet.retirements.get(&progress.job) {
        return Ok(retire::progressed(node, retirement, progress, now));
    }
    let mut outcome = Outcome::default();
    let current = node.state.job() == Some(progress.job);
    let Some(job) = fleet.jobs.get(&progress.job).filter(|job| current && !job.state.ended()) else {
        // An agent that works on something else than its node's job is stopped.
        outcome.reply = Reply::GoOn(false);
        return Ok(outcome);
    };
    let mut job = job.clone();
    let mut next = node.clone();
    next.speaks(None, now);
    let went_on = job.progress.as_ref().is_none_or(|last| marks(last) != marks(&progress));
    if let Some(why) = &progress.failed {
        outcome.fact(node.id, "failed", format!("job {}: {why}", job.id));
        job.state = JobState::Failed { why: why.clone() };
        job.ended = Some(now);
        let cause = format!("writing the image failed: {why}");
        let verbs = ["retry", "plan", "reject"];
        let verbs = verbs.get(..if is_rejectable(node) { 3 } else { 2 }).unwrap_or_default();
        next = moved(&next, attention(node, cause, verbs), now);
    } else if progress.phase >= Phase::ReadBack && matches!(node.state, State::Imaging { .. }) {
        let how = match job.verify {
            Verify::Readback => "everything is written; reading it back",
            Verify::Stream => "everything is written; the partition tables come last",
        };
        outcome.fact(node.id, "verifying", how);
        next = moved(&next, State::Verifying { job: job.id }, now);
    } else if went_on && matches!(node.state, State::Attention { .. } | State::Draining { .. }) {
        next = moved(&next, State::Imaging { job: job.id }, now);
    }
    job.headway.reach(progress.done_bytes.saturating_add(progress.read_back_bytes));
    // The report of a failure tells nothing of what is on the disk: the agent may have refused to touch it.
    if progress.failed.is_none() {
        job.progress = Some(progress);
    }
    // An agent that hangs on its disk still tells every second where it is: that is a sign of life, not progress.
    if went_on {
        job.progressed = Some(now);
    }
    // A job that is held begins again where it was: the disk's own seed says where.
    let held = network::held(fleet, node, Some((&job).into())).is_some();
    outcome.reply = Reply::GoOn(!job.state.ended() && !held);
    outcome.changes.extend([Change::Job(Box::new(job)), Change::Node(Box::new(next))]);
    Ok(outcome)
}

/// Whether a node that needs attention may be sent away: not one that has a system here.
pub(crate) fn is_rejectable(node: &Node) -> bool {
    !node.has_system()
}

/// What moves when a job goes on.
pub(crate) fn marks(progress: &Progress) -> (Phase, u64, u64, u64) {
    (progress.phase, progress.done_bytes, progress.read_back_bytes, progress.fetched_bytes)
}

/// A state that asks for a person.
pub(crate) fn attention(node: &Node, cause: String, verbs: &[&str]) -> State {
    State::Attention {
        // Of a node that needs attention already, what it did before that.
        phase: node.state.phase().to_owned(),
        cause,
        verbs: verbs.iter().map(|&verb| verb.to_owned()).collect(),
        job: node.state.job(),
    }
}

/// The disk is proven: from now on this node boots it.
pub(crate) fn verified(fleet: &Fleet, node: &Node, receipt: Receipt, now: Time) -> Result<Outcome, Denied> {
    let mut outcome = Outcome { reply: Reply::Task(Task::Reboot), ..Outcome::default() };
    let job = fleet.jobs.get(&receipt.job).filter(|_| node.state.job() == Some(receipt.job));
    let job = job.ok_or_else(|| refused(node, "a receipt", "; it is for a job this node does not have"))?;
    if job.state == JobState::Verified {
        return Ok(outcome);
    }
    if job.started.is_none() {
        return Err(refused(node, "a receipt", "; nobody was given its job yet"));
    }
    if job.state.ended() || receipt.image != job.image || receipt.disk != job.target.disk {
        return Err(refused(node, "a receipt", "; it names another image or disk than its job"));
    }
    if receipt.verify != job.verify {
        let (told, asked) = (receipt.verify.word(), job.verify.word());
        return Err(refused(
            node,
            "a receipt",
            &format!("; it is by verify={told}, and the job asks for {asked}"),
        ));
    }
    whole(fleet, &receipt).map_err(|why| refused(node, "a receipt", &why))?;
    let seconds = receipt.milliseconds / 1000;
    outcome.fact(
        node.id,
        "verified",
        format!(
            "{} MiB {} in {seconds} s ({} MiB written, {} MiB right already)",
            receipt.total_bytes >> 20,
            match receipt.verify {
                Verify::Readback => "read back",
                Verify::Stream => "durable, not read back,",
            },
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
    // What is written anew begins from the start.
    next.document.released.clear();
    (next.installed, next.adopted) = (Some(installed(fleet, &job, now)), None);
    job.receipt = Some(receipt);
    outcome.changes.extend([Change::Job(Box::new(job)), Change::Node(Box::new(next))]);
    Ok(outcome)
}

/// What a job has put on its node.
pub(crate) fn installed(fleet: &Fleet, job: &Job, now: Time) -> Installed {
    let data = fleet.plans.get(&job.plan).and_then(|plan| plan.data.clone());
    Installed { image: job.image, disk: job.target.disk.clone(), at: now, job: job.id, data }
}

/// Whether a receipt is about every byte of its image; else why it is not, as a hint.
fn whole(fleet: &Fleet, receipt: &Receipt) -> Result<(), String> {
    let image = fleet.images.get(&receipt.image).ok_or("; its image is not here any more")?;
    let Receipt { total_bytes, written_bytes, same_bytes, .. } = *receipt;
    let right = total_bytes == image.content_bytes
        && written_bytes.checked_add(same_bytes).is_some_and(|sum| sum == total_bytes);
    if let (Some(proof), Some(root)) = (&receipt.proof, image.root)
        && proof.root != root
    {
        return Err(format!("; what was read back adds up to {}, and the image to {root}", proof.root));
    }
    let want = image.content_bytes;
    right.then_some(()).ok_or_else(|| {
        format!(
            "; its numbers are not the image's: {want} bytes were to be read back, it says {total_bytes}, \
             {written_bytes} of them written and {same_bytes} right already"
        )
    })
}

/// Out of `Attention`, into what it was doing.
pub(crate) fn retry(fleet: &Fleet, node: &Node, now: Time, dice: &mut Entropy) -> Result<Outcome, Denied> {
    if let Some(lapsed) = node.lapsed.filter(|lapsed| !lapsed.pardoned) {
        return Ok(pardoned(node, lapsed));
    }
    let State::Attention { phase, job, .. } = &node.state else {
        return Err(refused(node, "retrying", "; only a node that needs attention can be retried"));
    };
    if let Some(row) = burn_in::of_node(fleet, node) {
        return burn_in::again(fleet, node, row, now, dice);
    }
    let mut outcome = Outcome::default();
    let mut next = node.clone();
    let taken = job.and_then(|id| fleet.captures.get(&id));
    let state = match (phase.as_str(), job) {
        ("capturing" | "draining", Some(_)) if let Some(capture) = taken => {
            capture::retried(node, capture, &mut next, &mut outcome)
        }
        ("retiring" | "draining", Some(_)) if let Some(retirement) = retire::of_node(fleet, node) => {
            retire::retried(node, retirement, &mut next, &mut outcome)
        }
        ("imaging" | "verifying" | "draining", Some(id)) => {
            let missing = || Denied::Missing { kind: "job", name: id.to_string() };
            let mut job = fleet.jobs.get(id).ok_or_else(missing)?.clone();
            job.state = JobState::Waiting;
            job.ended = None;
            job.headway.forgive();
            outcome.changes.push(Change::Job(Box::new(job)));
            if phase == "draining" {
                // It may still run its installed system, which hands a ticket in only while it is told to go.
                order_again(&mut next, SystemDisk::Rewritten);
                State::Draining { job: *id }
            } else {
                State::Imaging { job: *id }
            }
        }
        // It has its certificate, and will not enrol again.
        ("enrolling", job) if node.run.is_some() || node.adopted.is_some() => State::Enrolling { job: *job },
        ("booting" | "enrolling", Some(id)) => State::Booting { job: *id },
        ("active", _) => State::Active,
        ("returning", job) => State::Returning { job: *job },
        (_, _) => State::Inspecting,
    };
    outcome.fact(node.id, "retried", format!("from {phase}"));
    outcome.changes.push(Change::Node(Box::new(moved(&next, state, now))));
    Ok(outcome)
}

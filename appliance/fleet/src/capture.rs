//! Taking an image of a node's disk: from the operator's word to an image in the store, and the node back where it was.
//!
//! ```text
//! Active ─capture→ Draining ─ticket, asks→ Capturing ─sealed, or failed→ Booting ─reports→ Active
//! Ready  ─capture───────────────────────→ Capturing ─sealed, or failed→ Ready
//! ```
//! Nothing on the node is written. Its installed system keeps key, certificate and generation: it comes up as what it was. Only when
//! a person lets in another server under its name meanwhile is it void: what is read then ends in `Ready`.

use std::collections::BTreeSet;

use pack::{About, Digest, Layout};
use protocol::{CaptureJob, Disk, DiskId, Found, Identity, JobId, NodeId, Progress, Subject, Task};
use serde::{Deserialize, Serialize};

use crate::burn_in;
use crate::certificate::LEFT_FOR_A_JOB;
use crate::drain::may_go_down;
use crate::entropy::Entropy;
use crate::image::Image;
use crate::imaging::{marks, wait};
use crate::job::{Headway, JobState};
use crate::network;
use crate::plan::title;
use crate::running::{SystemDisk, order_again, order_redeploy};
use crate::step::{check_roles, moved, refused, withdraw};
use crate::{Catalog, Change, Denied, Fleet, Node, Outcome, Reply, State, Time};

/// An image that is being taken, or was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capture {
    /// Its id.
    pub id: JobId,
    /// The node.
    pub node: NodeId,
    /// What the image is called.
    pub name: String,
    /// The roles that the image is for.
    pub roles: BTreeSet<String>,
    /// Debian's name of the machine type.
    pub arch: String,
    /// The disk that is read.
    pub subject: Subject,
    /// What becomes of what belongs to the node alone.
    pub identity: Identity,
    /// Whether the node has a system of its own to go back to; else it stays in the ramdisk.
    pub runs: bool,
    /// Where it is.
    pub state: JobState,
    /// When it was asked for.
    pub created: Time,
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
    /// The image, from just before it is in the store.
    pub image: Option<Digest>,
    /// What of the node was found, and what became of it.
    pub found: Vec<Found>,
}

impl Capture {
    /// Whether there is something left to be read, or told.
    pub fn goes_on(&self) -> bool {
        matches!(self.state, JobState::Waiting | JobState::Running)
    }

    /// What the manifest says of the image beside its content.
    pub fn about(&self, layout: Layout, seed: Option<pack::Span>) -> About {
        About {
            name: self.name.clone(),
            arch: self.arch.clone(),
            roles: self.roles.iter().cloned().collect(),
            disk_bytes: self.subject.bytes,
            seed,
            packages: None,
            layout,
        }
    }
}

/// What the operator said; what was not said is chosen when there is one choice.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What the image is called.
    pub name: String,
    /// What becomes of what belongs to the node alone.
    pub identity: Identity,
    /// Of this disk.
    pub disk: Option<DiskId>,
    /// For these roles, instead of those of the installed image.
    pub roles: Option<BTreeSet<String>>,
    /// The node's name once more: one that runs is restarted, and whoever asks must know that.
    pub confirmed: Option<String>,
    /// Also when virtual machines run on it, which are then ended.
    pub force: bool,
}

/// Begins to take an image.
///
/// # Errors
/// [`Denied`]: nothing was changed.
pub(crate) fn begin(
    fleet: &Fleet,
    catalog: &Catalog,
    node: &Node,
    wish: Wish,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    check_roles(catalog, wish.roles.as_ref())?;
    let runs = runs(node)?;
    // Here and not before the event: it may have come up since somebody looked.
    if runs && wish.confirmed.as_deref() != Some(node.name.as_str()) {
        return Err(Denied::Unconfirmed { name: node.name.to_string() });
    }
    may_go_down(node, wish.force)?;
    refuse_imported(fleet, &wish.name)?;
    let disk = choose_disk(node, wish.disk.as_ref())?;
    let subject = Subject::of(disk).ok_or_else(|| unfit(node, disk, "it has neither WWN nor serial"))?;
    let id = JobId(dice.draw());
    let on_it = node.installed.as_ref().filter(|installed| installed.disk == subject.disk);
    let installed = on_it.and_then(|installed| fleet.images.get(&installed.image));
    let of_image = || installed.map(|image| image.roles.clone()).unwrap_or_default();
    let capture = Capture {
        id,
        node: node.id,
        name: wish.name,
        roles: wish.roles.unwrap_or_else(of_image),
        arch: installed.map_or_else(|| debian(&node.inventory.cpu.arch), |image| image.arch.clone()),
        subject,
        identity: wish.identity,
        runs,
        state: JobState::Waiting,
        created: now,
        started: None,
        ended: None,
        progress: None,
        progressed: None,
        takes: 0,
        headway: Headway::default(),
        image: None,
        found: Vec::new(),
    };
    let named = capture.about(Layout::default(), None).check();
    named.map_err(|error| Denied::Conflict(format!("no image can be made with that: {error}")))?;
    let mut outcome = Outcome::default();
    let text = format!("{} of {} as job {id}", capture.name, title(disk));
    outcome.fact(node.id, "capture", text);
    let next = withdraw(fleet, node, "an image of the node is taken", now, &mut outcome);
    let state = if runs { State::Draining { job: id } } else { State::Capturing { job: id } };
    let mut next = moved(&next, state, now);
    if runs {
        order_redeploy(&mut next, wish.force, SystemDisk::Kept);
    }
    outcome.changes.extend(network::want_look(fleet, node, now));
    outcome.changes.extend([Change::Node(Box::new(next)), Change::Capture(Box::new(capture))]);
    outcome.reply = Reply::Job(id);
    Ok(outcome)
}

/// Whether the node runs a system of its own, which it is to come back to.
fn runs(node: &Node) -> Result<bool, Denied> {
    if node.state.is_ready() || node.state == State::Active {
        return Ok(node.state == State::Active);
    }
    Err(refused(node, "capturing", "; only an active node, or a ready one in the ramdisk"))
}

/// Refuses the name of an image that was imported: nobody could tell the two apart by it.
fn refuse_imported(fleet: &Fleet, name: &str) -> Result<(), Denied> {
    let is_other = |image: &Image| image.name == name && !is_taken(fleet, image.digest);
    if fleet.images.values().any(is_other) {
        return Err(Denied::Conflict(format!(
            "an image that was imported is called {name} already: give this one another name (--name)"
        )));
    }
    Ok(())
}

/// The disk that was named, else the one with the installed system, else the only one with anything on it.
fn choose_disk<'a>(node: &'a Node, named: Option<&DiskId>) -> Result<&'a Disk, Denied> {
    let disks = &node.inventory.disks;
    let wanted = named.or(node.installed.as_ref().map(|installed| &installed.disk));
    if let Some(wanted) = wanted {
        let mut same = disks.iter().filter(|disk| disk.id().as_ref() == Some(wanted));
        return match (same.next(), same.next()) {
            (Some(disk), None) => Ok(disk),
            (None, _) => Err(Denied::Missing { kind: "disk", name: format!("{wanted} on {}", node.name) }),
            (Some(disk), Some(_)) => Err(unfit(node, disk, "two disks call themselves so")),
        };
    }
    let mut full = disks.iter().filter(|disk| !disk.removable && !disk.holds.is_empty());
    match (full.next(), full.next()) {
        (Some(disk), None) => Ok(disk),
        (None, _) => Err(Denied::Conflict(format!("no disk of {} has anything on it", node.name))),
        (Some(one), Some(other)) => Err(Denied::Conflict(format!(
            "{} has several disks with something on them: name one with --disk: {}, {}, …",
            node.name,
            title(one),
            title(other)
        ))),
    }
}

fn unfit(node: &Node, disk: &Disk, why: &str) -> Denied {
    Denied::Conflict(format!("disk {} of {} can't be captured: {why}", title(disk), node.name))
}

/// What Debian calls the machine type that the kernel calls so.
fn debian(arch: &str) -> String {
    match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
    .to_owned()
}

/// The image that is being taken of this node, if one is.
pub(crate) fn in_flight<'a>(fleet: &'a Fleet, node: &Node) -> Option<&'a Capture> {
    of_node(fleet, node).filter(|capture| capture.goes_on())
}

/// The capture that a node's state is about, also when it has ended and the node is on its way back.
pub(crate) fn of_node<'a>(fleet: &'a Fleet, node: &Node) -> Option<&'a Capture> {
    node.state.job().and_then(|id| fleet.captures.get(&id))
}

/// The verb that gives up the image that is being taken of this node, if one is.
pub(crate) fn way_out(fleet: &Fleet, node: &Node) -> Option<String> {
    in_flight(fleet, node).map(|capture| format!("job cancel {}", capture.id))
}

/// Hands the job to the agent, again if need be. Taking it is no progress: neither the deadline nor the log begins anew.
pub(crate) fn take(
    fleet: &Fleet,
    next: &mut Node,
    capture: &Capture,
    certificate: &str,
    now: Time,
    outcome: &mut Outcome,
) -> Result<Task, Denied> {
    if let Some(reason) = network::held(fleet, next, Some(capture.into())) {
        return Ok(wait(&format!("waiting for {reason}")));
    }
    let ends = fleet.certificates.get(certificate).map(|row| row.until);
    if ends.is_some_and(|until| until < now.plus_seconds(LEFT_FOR_A_JOB)) {
        return Err(Denied::Expiring);
    }
    if let Some(why) = capture.headway.hopeless() {
        return Ok(given_up(next, capture, why, now, outcome));
    }
    let mut capture = capture.clone();
    let went_on = capture.progressed.is_some_and(|at| at > next.since);
    let is_news = capture.takes == 0 || went_on || !matches!(next.state, State::Capturing { .. });
    capture.state = JobState::Running;
    capture.started = capture.started.or(Some(now));
    capture.takes += 1;
    capture.headway.take();
    *next = moved(next, State::Capturing { job: capture.id }, now);
    if is_news {
        let how = if capture.takes > 1 { "begins again" } else { "begins" };
        outcome.fact(
            next.id,
            "capturing",
            format!("job {} {how} to read {}", capture.id, capture.subject.disk),
        );
        next.since = now;
    }
    next.orders.clear();
    let (job, disk, identity) = (capture.id, capture.subject.clone(), capture.identity.clone());
    outcome.changes.push(Change::Capture(Box::new(capture)));
    Ok(Task::Capture(Box::new(CaptureJob { job, disk, identity })))
}

/// An agent that takes the job and takes it, and gets nowhere: the node goes back where it was.
fn given_up(next: &mut Node, capture: &Capture, why: String, now: Time, outcome: &mut Outcome) -> Task {
    let (capture, node) = over(next, capture.clone(), JobState::Failed { why: why.clone() }, now, outcome);
    *next = node;
    let runs = capture.runs;
    outcome.changes.push(Change::Capture(Box::new(capture)));
    if runs { Task::Reboot } else { wait(&format!("taking the image failed: {why}")) }
}

/// The capture goes on, or can't.
pub(crate) fn progressed(
    fleet: &Fleet,
    node: &Node,
    capture: &Capture,
    progress: Progress,
    now: Time,
) -> Outcome {
    let mut outcome = Outcome { reply: Reply::GoOn(false), ..Outcome::default() };
    if node.state.job() != Some(capture.id) || !capture.goes_on() {
        return outcome;
    }
    let mut capture = capture.clone();
    if let Some(why) = progress.failed {
        let why = format!("taking the image failed: {why}");
        return ended(node, capture, JobState::Failed { why }, now);
    }
    let mut next = node.clone();
    next.speaks(None, now);
    let went_on = capture.progress.as_ref().is_none_or(|last| marks(last) != marks(&progress));
    if went_on {
        capture.progressed = Some(now);
        if !matches!(node.state, State::Capturing { .. }) {
            next = moved(&next, State::Capturing { job: capture.id }, now);
        }
    }
    let held = network::held(fleet, node, Some((&capture).into())).is_some();
    outcome.reply = Reply::GoOn(!held);
    capture.headway.reach(progress.done_bytes);
    capture.progress = Some(progress);
    outcome.changes.extend([Change::Capture(Box::new(capture)), Change::Node(Box::new(next))]);
    outcome
}

/// The end of reading, whatever it was: the node goes back where it was.
fn ended(node: &Node, capture: Capture, state: JobState, now: Time) -> Outcome {
    let mut outcome = Outcome { reply: Reply::GoOn(false), ..Outcome::default() };
    let (capture, next) = over(node, capture, state, now, &mut outcome);
    outcome.changes.extend([Change::Capture(Box::new(capture)), Change::Node(Box::new(next))]);
    outcome
}

/// The capture at the end of reading, and its node on the way back.
fn over(
    node: &Node,
    mut capture: Capture,
    state: JobState,
    now: Time,
    outcome: &mut Outcome,
) -> (Capture, Node) {
    if let JobState::Failed { why } = &state {
        outcome.fact(node.id, "failed", format!("job {}: {why}", capture.id));
    }
    let (id, runs) = (capture.id, capture.runs);
    capture.ended = state.ended().then_some(now);
    capture.state = state;
    let mut next = moved(node, if runs { State::Booting { job: id } } else { State::Ready }, now);
    next.heard = now;
    // What it said before says nothing of how it comes up.
    (next.report, next.reported) = (None, None);
    (capture, next)
}

/// This digest is about to be in the store: written down first, so that whose image it is is known whatever happens between.
pub(crate) fn sealing(fleet: &Fleet, node: &Node, job: JobId, digest: Digest) -> Result<Outcome, Denied> {
    let capture = running(fleet, node, job)?;
    let capture = Capture { image: Some(digest), ..capture.clone() };
    Ok(Outcome { changes: vec![Change::Capture(Box::new(capture))], ..Outcome::default() })
}

fn running<'a>(fleet: &'a Fleet, node: &Node, job: JobId) -> Result<&'a Capture, Denied> {
    let capture = in_flight(fleet, node).filter(|capture| capture.id == job);
    capture.ok_or_else(|| refused(node, "an image", "; it is of a job this node does not have"))
}

/// The image is in the store.
pub(crate) fn captured(
    fleet: &Fleet,
    node: &Node,
    job: JobId,
    image: Image,
    found: Vec<Found>,
    now: Time,
) -> Result<Outcome, Denied> {
    let known = of_node(fleet, node).filter(|capture| capture.id == job);
    if known.is_some_and(|known| known.state == JobState::Verified && known.image == Some(image.digest)) {
        return Ok(Outcome { reply: Reply::Task(Task::Reboot), ..Outcome::default() });
    }
    let capture = running(fleet, node, job)?;
    let kept = found.iter().filter(|found| found.kept).count();
    let capture = Capture { image: Some(image.digest), found, ..capture.clone() };
    let text = format!(
        "{} ({}), {} MiB stored; {} findings taken out, {kept} kept",
        image.name,
        image.digest.short(),
        image.stored_bytes >> 20,
        capture.found.len() - kept,
    );
    let runs = capture.runs;
    let mut outcome = ended(node, capture, if runs { JobState::Verified } else { JobState::Done }, now);
    outcome.fact(node.id, "captured", text);
    outcome.reply = Reply::Task(if runs { Task::Reboot } else { wait("the image is taken") });
    outcome.changes.push(Change::Image(Box::new(image)));
    Ok(outcome)
}

/// The operator does not want it any more.
pub(crate) fn cancelled(fleet: &Fleet, job: JobId, now: Time) -> Result<Outcome, Denied> {
    let missing = || Denied::Missing { kind: "job", name: job.to_string() };
    if fleet.jobs.contains_key(&job) {
        return Err(Denied::Conflict(format!(
            "job {job} writes a disk, and what is half written can't be used: plan the node again instead, the new \
             plan takes its place"
        )));
    }
    if fleet.retirements.contains_key(&job) {
        return Err(Denied::Conflict(format!(
            "job {job} erases disks, and what is erased does not come back: plan the node again instead, the new plan \
             takes its place"
        )));
    }
    if let Some(row) = fleet.burn_ins.get(&job) {
        return burn_in::stopped(fleet, fleet.node(row.node)?, job, now);
    }
    let capture = fleet.captures.get(&job).ok_or_else(missing)?;
    let node = fleet.node(capture.node)?;
    if node.state.job() != Some(job) || !capture.goes_on() {
        return Err(Denied::Conflict(format!("job {job} has ended: nothing is left to be cancelled")));
    }
    let why = "cancelled by the operator".to_owned();
    let mut outcome = ended(node, capture.clone(), JobState::Failed { why }, now);
    outcome.reply = Reply::Job(job);
    // It has not left its own system yet, or comes back to it when it asks the network.
    for change in &mut outcome.changes {
        if let Change::Node(next) = change {
            next.orders.retain(|order| !order.kind.redeploys());
        }
    }
    Ok(outcome)
}

/// Out of `Attention`: the job again, from the beginning.
pub(crate) fn retried(node: &Node, capture: &Capture, next: &mut Node, outcome: &mut Outcome) -> State {
    let mut capture = capture.clone();
    (capture.state, capture.ended) = (JobState::Waiting, None);
    capture.headway.forgive();
    let job = capture.id;
    let in_own_system = capture.runs
        && (node.state.phase() == "draining" || node.reported.is_some_and(|reported| reported > node.since));
    outcome.changes.push(Change::Capture(Box::new(capture)));
    if in_own_system {
        order_again(next, SystemDisk::Kept);
        State::Draining { job }
    } else {
        State::Capturing { job }
    }
}

/// The capture of a node that is up again has ended.
pub(crate) fn back(capture: &Capture, now: Time) -> Option<Change> {
    let done = capture.state == JobState::Verified;
    done.then(|| {
        Change::Capture(Box::new(Capture { state: JobState::Done, ended: Some(now), ..capture.clone() }))
    })
}

/// The system that its node was to go back to is void: what goes on ends in the ramdisk, and what has ended is over.
pub(crate) fn homeless(capture: &Capture, now: Time) -> Option<Change> {
    if !capture.goes_on() {
        return back(capture, now);
    }
    Some(Change::Capture(Box::new(Capture { runs: false, ..capture.clone() })))
}

/// The node's captures that have not ended, at their end: one whose image is in the store has done what it was for.
pub(crate) fn ended_captures(
    fleet: &Fleet,
    node: &Node,
    why: &str,
    now: Time,
) -> impl Iterator<Item = Change> {
    let open = fleet.captures.values().filter(|capture| capture.node == node.id && !capture.state.ended());
    open.map(move |capture| {
        back(capture, now).unwrap_or_else(|| {
            let state = JobState::Failed { why: why.to_owned() };
            Change::Capture(Box::new(Capture { state, ended: Some(now), ..capture.clone() }))
        })
    })
}

/// Whether this image was taken of a node.
pub(crate) fn is_taken(fleet: &Fleet, image: Digest) -> bool {
    fleet.captures.values().any(|capture| capture.image == Some(image))
}

/// Whose image this is, when it has the keys and ids of one node in it: it is for that node alone.
pub fn owner(fleet: &Fleet, image: Digest) -> Option<NodeId> {
    // The same bytes may have been taken twice, and said to be for any server the other time.
    let is_its = |capture: &&Capture| capture.image == Some(image) && capture.identity == Identity::AsIs;
    fleet.captures.values().find(is_its).map(|capture| capture.node)
}

//! Burn-in: a server's hardware under load, in the ramdisk, before anything is put on it.
//!
//! ```text
//! Ready ─test→ Testing ─over, no error→ Ready
//! Inspecting ─asks, where the site wants it→ Testing ─an error, or it died→ Attention ─test stop→ Ready
//! ```
//! A [`BurnIn`] is the job and its result in one, and is kept. The agent tells everything so far again and again, so that of a
//! server that dies under load is known what it was doing: that is the finding. No disk is written. What fails a server is an
//! error that was counted; that it is slower than its like ([`compare`]) is shown and fails nobody.

pub mod compare;
mod end;

use std::collections::BTreeSet;

use protocol::{JobId, NodeId, Part, TEST_SECONDS_MAX, Task, TestJob, TestReport};
use serde::{Deserialize, Serialize};

use crate::certificate::LEFT_FOR_A_JOB;
use crate::entropy::Entropy;
use crate::imaging::wait;
use crate::job::{Headway, JobState};
use crate::step::{moved, refused, withdraw};
use crate::{Change, Denied, Fleet, Name, Node, Outcome, Reply, State, Time};

pub(crate) use end::{VERBS, again, ended, silence, stopped, told};

/// Seconds without a word after which nobody believes any more that a test goes on; agents speak every other second.
pub(crate) const SILENT_SECONDS: u64 = 5 * 60;
/// What a test may take beyond what it was to take, in seconds: a disk that answers a read after two minutes is a finding,
/// and one that is waited for.
const MORE_SECONDS: u64 = 10 * 60;

/// What is to be tested.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// Which parts; not empty.
    pub parts: BTreeSet<Part>,
    /// How long all of them take together, in seconds, about.
    pub seconds: u64,
}

impl Wish {
    /// What finds a server that is broken, not one that will break: a minute for everything.
    pub fn quick() -> Self {
        Self { parts: Part::ALL.into(), seconds: 60 }
    }

    /// Whether it can be carried out.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn check(&self) -> Result<(), String> {
        if self.parts.is_empty() {
            return Err("nothing is to be tested: name cpu, memory, disk or network".to_owned());
        }
        if !(1..=TEST_SECONDS_MAX).contains(&self.seconds) {
            return Err(format!("a test takes 1 s to {} days", TEST_SECONDS_MAX / 86_400));
        }
        Ok(())
    }
}

/// A server's test, and what came of it. It outlives its node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BurnIn {
    /// The job's id.
    pub id: JobId,
    /// The node.
    pub node: NodeId,
    /// What it was called: its record may be deleted.
    pub name: Name,
    /// What is tested.
    pub wish: Wish,
    /// What random patterns are drawn from.
    pub seed: u64,
    /// Where the job is.
    pub state: JobState,
    /// How it ended.
    pub end: Option<End>,
    /// When it was asked for.
    pub created: Time,
    /// When the agent first took it.
    pub started: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// The boot in which it was taken.
    pub boot: Option<String>,
    /// What the agent said last.
    pub report: Option<TestReport>,
    /// When that was.
    pub told: Option<Time>,
    /// How often an agent took it.
    pub takes: u32,
    /// Whether that has led anywhere.
    #[serde(default)]
    pub headway: Headway,
    /// What the server was, by which its like are known.
    #[serde(default)]
    pub model: Model,
}

/// By what two servers are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Model {
    /// Maker and product of the board.
    pub product: String,
    /// The processor.
    pub cpu: String,
    /// Hardware threads.
    pub threads: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

/// How a test ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Nothing is wrong that could be counted.
    Passed,
    /// Errors were counted.
    Faulty,
    /// The server restarted in the middle, and nobody had asked for it.
    Died,
    /// An operator did not want it any more, or restarted the server.
    Stopped,
    /// It could not be carried out, or took too long.
    Unable,
}

impl End {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            End::Passed => "passed",
            End::Faulty => "faulty",
            End::Died => "died",
            End::Stopped => "stopped",
            End::Unable => "unable",
        }
    }
}

impl BurnIn {
    /// Whether it is still to be done, or being done.
    pub fn goes_on(&self) -> bool {
        !self.state.ended()
    }

    /// Until when it must be over, once it has begun.
    pub(crate) fn limit(&self) -> Option<Time> {
        let most = self.wish.seconds.saturating_mul(2).saturating_add(MORE_SECONDS);
        self.started.map(|started| started.plus_seconds(most))
    }

    /// What it was doing when it was last heard of, and how far it was, as the end of a sentence.
    pub fn doing(&self) -> String {
        match &self.report {
            None => "before it said anything of its test".to_owned(),
            Some(report) => {
                let part = report.part.map_or("its hardware", Part::word);
                format!("while testing {part}, after {}", words(report.milliseconds / 1000))
            }
        }
    }

    /// Percent of its time that is over.
    pub fn percent(&self) -> u8 {
        let done = self.report.as_ref().map_or(0, |report| report.milliseconds / 10);
        u8::try_from(done / self.wish.seconds.max(1)).unwrap_or(100).min(99)
    }
}

/// `3m 10s`.
fn words(seconds: u64) -> String {
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}

/// Begins a test.
///
/// # Errors
/// [`Denied`]: nothing was changed.
pub(crate) fn begin(
    fleet: &Fleet,
    node: &Node,
    wish: Wish,
    now: Time,
    dice: &mut Entropy,
) -> Result<Outcome, Denied> {
    may_test(node)?;
    wish.check().map_err(Denied::Conflict)?;
    let mut outcome = Outcome::default();
    let next = withdraw(fleet, node, "the node is tested", now, &mut outcome);
    outcome.changes.extend(ended(fleet, node, "another test has begun", now));
    let (next, row) = made(&next, wish, now, dice, &mut outcome);
    outcome.reply = Reply::Job(row.id);
    outcome.changes.extend([Change::Node(Box::new(next)), Change::BurnIn(Box::new(row))]);
    Ok(outcome)
}

/// The test that every server has once, where the site wants it.
pub(crate) fn first(
    fleet: &Fleet,
    node: &Node,
    now: Time,
    dice: &mut Entropy,
    outcome: &mut Outcome,
) -> Option<(Node, BurnIn)> {
    let wish = fleet.first_test.clone()?;
    let is_known = fleet.burn_ins.values().any(|row| row.node == node.id);
    (!is_known).then(|| made(node, wish, now, dice, outcome))
}

fn made(node: &Node, wish: Wish, now: Time, dice: &mut Entropy, outcome: &mut Outcome) -> (Node, BurnIn) {
    let id = JobId(dice.draw());
    let parts = wish.parts.iter().map(|part| part.word()).collect::<Vec<_>>().join(", ");
    outcome.fact(node.id, "test", format!("{parts} for {}, as job {id}", words(wish.seconds)));
    let row = BurnIn {
        id,
        node: node.id,
        name: node.name.clone(),
        wish,
        seed: u64::from_be_bytes(dice.draw()),
        state: JobState::Waiting,
        end: None,
        created: now,
        started: None,
        ended: None,
        boot: None,
        report: None,
        told: None,
        takes: 0,
        headway: Headway::default(),
        model: model(node),
    };
    (moved(node, State::Testing { job: id }, now), row)
}

/// By what its like are known.
fn model(node: &Node) -> Model {
    let inventory = &node.inventory;
    Model {
        product: inventory.smbios.model(),
        cpu: inventory.cpu.model.clone(),
        threads: inventory.cpu.threads,
        memory_bytes: inventory.memory_bytes,
    }
}

fn may_test(node: &Node) -> Result<(), Denied> {
    let has_failed = matches!(&node.state, State::Attention { phase, .. } if phase == "testing");
    if node.state.is_ready() || has_failed {
        return Ok(());
    }
    let hint = "; only a node that is ready in the ramdisk, or whose last test failed";
    Err(refused(node, "testing", hint))
}

/// The test that a node's state is about, also when it has failed.
pub(crate) fn of_node<'a>(fleet: &'a Fleet, node: &Node) -> Option<&'a BurnIn> {
    node.state.job().and_then(|id| fleet.burn_ins.get(&id))
}

/// The test that goes on for this node, if one does.
pub(crate) fn in_flight<'a>(fleet: &'a Fleet, node: &Node) -> Option<&'a BurnIn> {
    of_node(fleet, node).filter(|row| row.goes_on())
}

/// Hands the job to the agent. One that comes again in the same boot begins again; in another boot it has died.
pub(crate) fn take(
    fleet: &Fleet,
    next: &mut Node,
    row: &BurnIn,
    certificate: &str,
    now: Time,
    outcome: &mut Outcome,
) -> Result<Task, Denied> {
    let here = next.booted.as_ref().map(|booted| booted.id.clone());
    if row.boot.is_some() && here.is_some() && row.boot != here {
        return Ok(end::restarted(fleet, next, row, now, outcome));
    }
    let ends = fleet.certificates.get(certificate).map(|row| row.until);
    if ends.is_some_and(|until| until < now.plus_seconds(LEFT_FOR_A_JOB)) {
        return Err(Denied::Expiring);
    }
    let mut row = row.clone();
    if let Some(why) = row.headway.hopeless() {
        end::failed(next, &mut row, End::Unable, &why, now, outcome);
        outcome.changes.push(Change::BurnIn(Box::new(row)));
        return Ok(wait(&format!("needs attention: {why}")));
    }
    if row.takes == 0 || !matches!(next.state, State::Testing { .. }) {
        let how = if row.takes > 0 { "begins again" } else { "begins" };
        outcome.fact(next.id, "testing", format!("job {} {how}", row.id));
        next.since = now;
    }
    *next = moved(next, State::Testing { job: row.id }, now);
    (row.state, row.started, row.boot) = (JobState::Running, row.started.or(Some(now)), here);
    row.takes += 1;
    row.headway.take();
    next.orders.clear();
    let (job, seed, Wish { parts, seconds }) = (row.id, row.seed, row.wish.clone());
    outcome.changes.push(Change::BurnIn(Box::new(row)));
    Ok(Task::Test(Box::new(TestJob { job, parts, seconds, seed })))
}

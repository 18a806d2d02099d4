//! What must hold in every world, of every step, and of all worlds together.

use std::collections::{BTreeMap, BTreeSet};

use fleet::certificate::{Certificate, Stage, authorise};
use fleet::clock::{Doubt, Look, Verb, Verdict, Why};
use fleet::event::Standing;
use fleet::job::{JobState, Work};
use fleet::patience;
use fleet::plan::PlanState;
use fleet::retire::Retirement;
use fleet::{Denied, Effect, Event, Node, Outcome, Reply, State, boot_task, network};
use protocol::{Doomed, EraseJob, JobId, NodeId, Task};
use pxe::script::BootTask;

use super::alphabet;
use super::world::World;

/// Every state by its word.
pub(super) const WORDS: [&str; 19] = State::WORDS;

/// What a state is to its node. A new state does not compile until it is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// It may last for ever: a person wants it so, or is waited for.
    Rests,
    /// Something is being done, and nobody looks at it: it ends, or a person is called.
    Works,
}

fn kind(state: &State) -> Kind {
    match state {
        State::Discovered
        | State::Rejected { .. }
        | State::Ready
        | State::Planned { .. }
        | State::Active
        | State::Rescue { .. }
        | State::Servicing { .. }
        | State::Retired
        | State::Attention { .. } => Kind::Rests,
        State::Inspecting
        | State::Testing { .. }
        | State::Imaging { .. }
        | State::Verifying { .. }
        | State::Booting { .. }
        | State::Enrolling { .. }
        | State::Draining { .. }
        | State::Capturing { .. }
        | State::Retiring { .. }
        | State::Returning { .. } => Kind::Works,
    }
}

/// What a server in this state must be told when it asks the network: the ramdisk, its own disk; `None`: it depends on what is
/// on its disk.
fn boots_agent(state: &State) -> Option<bool> {
    match state {
        State::Discovered
        | State::Inspecting
        | State::Testing { .. }
        | State::Ready
        | State::Planned { .. }
        | State::Imaging { .. }
        | State::Verifying { .. }
        | State::Capturing { .. }
        | State::Retiring { .. } => Some(true),
        State::Rejected { .. }
        | State::Booting { .. }
        | State::Enrolling { .. }
        | State::Active
        | State::Returning { .. }
        | State::Retired => Some(false),
        State::Draining { .. } | State::Rescue { .. } | State::Servicing { .. } => None,
        // A disk that is half written is never booted, and a whole one is not kept from booting.
        State::Attention { phase, .. } => match phase.as_str() {
            "imaging" | "verifying" | "capturing" | "draining" | "retiring" | "testing" => Some(true),
            "booting" | "enrolling" | "active" | "returning" => Some(false),
            "inspecting" => None,
            other => panic!("attention in {other}"),
        },
    }
}

/// It runs a system of its own, and is not taken out of it before anybody has said a word.
fn asks_to_be_adopted(node: &Node) -> bool {
    let asks = node.claim.as_ref().is_some_and(|claim| claim.adoption.is_some() && claim.clash.is_none());
    asks && node.state == State::Discovered
}

/// A node whose disks were to stay as they are has no image of ours on them, and boots them while it rests.
fn is_adopted(world: &World, node: &Node) {
    let Some(adopted) = &node.adopted else { return };
    assert!(node.installed.is_none() && adopted.system == "Debian", "{:?}", world.path);
    if matches!(node.state, State::Active | State::Enrolling { .. }) {
        assert_eq!(boot_task(&world.fleet, &node.boot.mac), BootTask::LocalDisk, "{:?}", world.path);
    }
}

/// The job of a task that writes to a disk. A new task does not compile until it is here.
fn destroys(task: &Task) -> Option<JobId> {
    match task {
        Task::Image(job) => Some(job.job),
        Task::Erase(job) => Some(job.job),
        Task::Wait { .. } | Task::Capture(_) | Task::Rescue(_) | Task::Test(_) | Task::Reboot => None,
    }
}

/// A node that is called retired has a proof of every disk of its plan, and no key that opens anything.
fn is_retired(world: &World, node: &Node) {
    let proven = |row: &Retirement| row.node == node.id && row.disks.iter().all(|disk| disk.proof.is_some());
    assert!(world.fleet.retirements.values().any(proven), "retired without proofs: {:?}", world.path);
    assert!(node.run.is_none() && node.deploy.is_none() && node.installed.is_none(), "{:?}", world.path);
    let opens = |row: &Certificate| {
        [Stage::Deploy, Stage::Run].iter().any(|stage| {
            authorise(&world.fleet, Some(&row.fingerprint), *stage, world.now)
                .is_ok_and(|who| who.node == node.id)
        })
    };
    assert!(
        !world.fleet.certificates.values().any(opens),
        "a certificate still opens something: {:?}",
        world.path
    );
}

fn node_of(work: &Work<'_>) -> NodeId {
    match work {
        Work::Image(job) => job.node,
        Work::Capture(capture) => capture.node,
        Work::Retirement(row) => row.node,
        Work::BurnIn(test) => test.node,
    }
}

/// A node that its operator has in hand has no plan and no job, is let go by one verb, and then has a way on.
fn is_in_hand(world: &World, node: &Node) {
    let (end, back) = match &node.state {
        State::Rescue { rescue } => (Event::EndRescue { node: node.id }, &rescue.back),
        State::Servicing { back, .. } => (Event::EndService { node: node.id }, &**back),
        _ => return,
    };
    assert!(
        !matches!(back, State::Rescue { .. } | State::Servicing { .. } | State::Planned { .. }),
        "it comes back to {back:?}, by {:?}",
        world.path
    );
    assert!(world.plans().all(|(_, state)| *state != PlanState::Open), "an open plan: {:?}", world.path);
    let open = Work::all(&world.fleet).filter(|work| node_of(work) == node.id && !work.state().ended());
    let first_boot = |work: &Work<'_>| {
        matches!(work, Work::Image(job) if job.state == JobState::Verified) && back.job() == Some(work.id())
    };
    assert!(open.into_iter().all(|work| first_boot(&work)), "a job goes on: {:?}", world.path);
    let wait = patience::wait(&world.fleet, node).unwrap();
    assert!(!wait.reason.is_empty() && wait.until.is_none(), "{wait:?}");
    let (next, _) = world.after("its end", end, 1).unwrap();
    let after = &next.fleet.nodes[&node.id].state;
    assert!(!matches!(after, State::Rescue { .. } | State::Servicing { .. }), "{after:?} by {:?}", next.path);
}

/// A held node has nothing of it planned, boots its own disk if that is whole, and is let go by one verb.
fn is_held(world: &World, node: &Node) {
    let half = ["imaging", "verifying", "retiring"].contains(&node.state.phase());
    let answer = boot_task(&world.fleet, &node.boot.mac);
    assert!(
        half || node.state == State::Retired || answer == BootTask::LocalDisk,
        "{answer:?} by {:?}",
        world.path
    );
    assert!(!half || answer != BootTask::LocalDisk, "half of a disk is booted, by {:?}", world.path);
    let wait = patience::wait(&world.fleet, node).unwrap();
    assert!(wait.until.is_none() && wait.reason.contains("node release"), "{wait:?} by {:?}", world.path);
    world.after("release", Event::Release { node: node.id }, 1).unwrap();
}

/// Of every node of a world.
pub(super) fn of_world(world: &World) {
    for node in world.fleet.nodes.values() {
        let at = || format!("{} in {:?}, by {:?}", node.name, node.state, world.path);
        let answer = boot_task(&world.fleet, &node.boot.mac);
        if node.hold.is_some() {
            is_held(world, node);
            continue;
        }
        if let Some(agent) = boots_agent(&node.state).filter(|_| !asks_to_be_adopted(node)) {
            assert_eq!(matches!(answer, BootTask::Agent { .. }), agent, "{}", at());
        }
        let wait = patience::wait(&world.fleet, node);
        assert!(wait.as_ref().is_none_or(|wait| !wait.reason.trim().is_empty()), "no reason: {}", at());
        let held =
            network::held(&world.fleet, node, node.state.job().and_then(|job| Work::of(&world.fleet, job)));
        match kind(&node.state) {
            Kind::Rests => {
                assert!(wait.is_none_or(|wait| wait.until.is_none()), "a deadline at rest: {}", at())
            }
            Kind::Works if held.is_some() => {}
            Kind::Works => ends(world, node),
        }
        if node.state == State::Retired {
            is_retired(world, node);
        }
        is_in_hand(world, node);
        is_adopted(world, node);
        if let State::Attention { phase, .. } = &node.state {
            assert!(
                phase != "attention" && WORDS.contains(&phase.as_str()),
                "what it did is forgotten: {}",
                at()
            );
            has_way_out(world, node);
        }
    }
}

/// Of what would have a certificate issued, while the controller's clock is not believed: it is refused or told to wait, and it may wait for
/// as long as that lasts.
pub(super) fn of_doubt(world: &World, letter: &'static str, event: Event) {
    let mut doubting = world.clone();
    let wall = world.now.plus_seconds(400 * 86_400);
    let at = Look { wall, up_ms: 3_600_000, boot: "b".to_owned() };
    let doubt = Doubt { why: Why::Jumped, believed: world.now, at };
    doubting.bring("the clock jumps", Event::Clock(Verb::Seen(Verdict::Doubted(doubt)))).unwrap();
    doubting.now = wall;
    let before = doubting.sketch();
    match doubting.after(letter, event, 1) {
        Ok((after, outcome)) => {
            assert!(outcome.effects.is_empty(), "a certificate by a clock that jumped: {:?}", after.path);
            let Reply::Hello { standing: Standing::Waiting(why), .. } = outcome.reply else {
                panic!("{:?} by {:?}", outcome.reply, after.path)
            };
            assert!(why.contains("clock accept"), "{why}");
        }
        Err(denied) => assert!(matches!(denied, Denied::Clock(_)), "{denied:?} by {:?}", doubting.path),
    }
    doubting.bring("nothing ends", Event::Tick).unwrap();
    assert_eq!(doubting.sketch(), before, "something has ended by {:?}", doubting.path);
    let said = Event::Clock(Verb::Accept);
    doubting.bring("an operator says that it is right", said).unwrap();
    assert_eq!(doubting.fleet.clock, None);
}

/// When the patience with a working state is over, a person is called.
fn ends(world: &World, node: &Node) {
    let until = patience::wait(&world.fleet, node).and_then(|wait| wait.until);
    let until = until.unwrap_or_else(|| panic!("no deadline: {:?} by {:?}", node.state, world.path));
    let mut late = world.clone();
    late.now = until.plus_seconds(1).max(world.now);
    late.bring("patience ends", Event::Tick).unwrap();
    let after = &late.fleet.nodes[&node.id];
    assert!(matches!(after.state, State::Attention { .. }), "{:?} for ever, by {:?}", node.state, world.path);
}

/// Of the verbs that a node in need of attention names, all are verbs, and one of them is taken now.
fn has_way_out(world: &World, node: &Node) {
    let State::Attention { verbs, .. } = &node.state else { return };
    let tried = verbs.iter().filter(|verb| *verb != "why").map(|verb| {
        let event = means(world, node, verb).unwrap_or_else(|| panic!("no verb: {verb} by {:?}", world.path));
        world.after("a verb that was named", event, 1).map(drop)
    });
    let tried = tried.collect::<Vec<_>>();
    assert!(
        tried.iter().any(Result::is_ok),
        "{:?} is a dead end: {tried:?}, by {:?}",
        node.state,
        world.path
    );
}

/// What a verb that is named brings about.
fn means(world: &World, node: &Node, verb: &str) -> Option<Event> {
    let node = node.id;
    match verb.split_once(' ').map_or((verb, ""), |(verb, rest)| (verb, rest)) {
        ("retry", "") => Some(Event::Retry { node }),
        ("plan" | "rebuild", "") => Some(alphabet::plans(node)),
        ("retire", "") => Some(alphabet::retires(node)),
        ("reject", "") => Some(Event::Reject { node, why: "no".to_owned() }),
        ("test", "stop") => Some(Event::Cancel { job: world.fleet.nodes.get(&node)?.state.job()? }),
        ("job", rest) => {
            let job = world.fleet.find_job(rest.strip_prefix("cancel ")?).ok()?.id();
            Some(Event::Cancel { job })
        }
        _ => None,
    }
}

/// Another server may be put in the place of the node, or that is refused; then the node is lawful, and the old one is nobody.
pub(super) fn of_replacing(world: &World) {
    let Some(old) = world.node().cloned() else { return };
    let mut next = world.clone();
    let hello = crate::rack::hello(3, "52:54:00:77:00:09");
    next.bring("another server", Event::Hello { hello: Box::new(hello), proven: false, answered: None })
        .unwrap();
    let new = next.fleet.nodes.values().find(|node| node.boot.mac.as_str().ends_with("09")).unwrap().clone();
    if next.bring("replace", Event::Replace { old: old.id, new: new.id, force: true }).is_err() {
        return;
    }
    of_world(&next);
    let node = &next.fleet.nodes[&old.id];
    assert_eq!((&node.name, &node.boot.mac), (&old.name, &new.boot.mac), "{:?}", next.path);
    assert!(
        !next.fleet.nodes.values().any(|other| other.id == new.id),
        "two records of one server: {:?}",
        next.path
    );
    let opens = |row: &Certificate| {
        let stages = [Stage::Deploy, Stage::Run];
        stages.iter().any(|stage| authorise(&next.fleet, Some(&row.fingerprint), *stage, next.now).is_ok())
    };
    assert!(!next.fleet.certificates.values().any(opens), "the old server is still let in: {:?}", next.path);
}

/// Of a refusal: it says something.
pub(super) fn of_refusal(world: &World, letter: &str, denied: &Denied) {
    assert!(denied.to_string().len() > 10, "{denied:?} to {letter} after {:?}", world.path);
}

/// Of a step: a disk is written only by a plan that a person applied.
pub(super) fn of_outcome(after: &World, outcome: &Outcome) {
    for effect in &outcome.effects {
        // The only one there is: it writes nothing. Another does not compile until something is said of it here.
        let Effect::Issue(_) = effect;
    }
    if let Reply::Task(Task::Rescue(job)) = &outcome.reply {
        let is_its = |node: &Node| matches!(&node.state, State::Rescue { rescue } if rescue.id == job.job);
        assert!(after.fleet.nodes.values().any(is_its), "a rescue that nobody asked for: {:?}", after.path);
    }
    if let Reply::Task(task) = &outcome.reply
        && let Some(job) = destroys(task)
    {
        by_an_applied_plan(after, task, job);
    }
}

fn by_an_applied_plan(world: &World, task: &Task, job: JobId) {
    let held = world.fleet.nodes.values().any(|node| node.state.job() == Some(job) && node.hold.is_some());
    assert!(!held, "a held node is written: {:?}", world.path);
    if let Task::Erase(told) = task {
        return by_an_applied_retirement(world, told);
    }
    let row = world.fleet.jobs.get(&job).unwrap_or_else(|| panic!("no job {job}: {:?}", world.path));
    assert!(world.applied.contains(&row.plan), "nobody applied {}: {:?}", row.plan, world.path);
    let plan = &world.fleet.plans[&row.plan];
    assert_eq!(plan.state, PlanState::Applied { job }, "{:?}", world.path);
    if let Task::Image(told) = task {
        assert_eq!((&told.target, told.image), (&plan.target, plan.image), "{:?}", world.path);
    }
}

fn by_an_applied_retirement(world: &World, told: &EraseJob) {
    let row = &world.fleet.retirements[&told.job];
    assert!(world.applied.contains(&row.plan), "nobody applied {}: {:?}", row.plan, world.path);
    assert_eq!(row.verdict, PlanState::Applied { job: told.job }, "{:?}", world.path);
    assert!(!told.disks.is_empty(), "nothing to erase: {:?}", world.path);
    let in_plan =
        |doomed: &Doomed| row.disks.iter().any(|disk| disk.doomed == *doomed && disk.proof.is_none());
    assert!(told.disks.iter().all(in_plan), "a disk that is not in the plan, or is proven: {:?}", world.path);
}

/// Of all worlds: from each of them there is a way to a node that rests, as a person wants it.
pub(super) fn of_atlas(after: &BTreeMap<String, BTreeSet<String>>) {
    for goal in ["ready/", "active/", "rejected/", "retired/"] {
        let mut reaches = after.keys().filter(|look| look.contains(goal)).cloned().collect::<BTreeSet<_>>();
        assert!(!reaches.is_empty(), "{goal} is never reached");
        loop {
            let more = after.iter().filter(|(look, _)| !reaches.contains(*look));
            let more = more.filter(|(_, next)| next.iter().any(|next| reaches.contains(next)));
            let more = more.map(|(look, _)| look.clone()).collect::<Vec<_>>();
            if more.is_empty() {
                break;
            }
            reaches.extend(more);
        }
        let lost = after.keys().filter(|look| !reaches.contains(*look)).collect::<Vec<_>>();
        assert!(
            lost.is_empty(),
            "{} looks from which no way leads to {goal}: {:#?}",
            lost.len(),
            lost.first()
        );
    }
}

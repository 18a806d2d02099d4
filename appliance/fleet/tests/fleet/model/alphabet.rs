//! Everything that can arrive, as it would arrive in a given world: the right thing, the late, the wrong, and the repeated.

use fleet::burn_in::Wish;
use fleet::capture;
use fleet::certificate::{Certificate, Stage};
use fleet::event::UnitVerb;
use fleet::image::Image;
use fleet::network::{Noticed, Sighting};
use fleet::plan::{PlanId, PlanState};
use fleet::power::{self, PowerEvent};
use fleet::rescue;
use fleet::rollout::{self, Group, Verb};
use fleet::{Event, Node, State, Time, patience};
use pack::{Digest, PublicKey};
use protocol::{
    Adoption, Answer, CANARIES_MIN, Erasure, Identity, JobId, Key, Method, NodeId, Part, Phase, Progress,
    Receipt, Report, Rescue, SAMPLES_MIN, Signature, Subject, TestReport, Token, Verify,
};

use super::world::World;
use crate::rack::{MAC, OTHER_MAC, hello, progress, unit};

/// A letter's name, what arrives, and how many seconds after what came before.
pub(super) type Letter = (&'static str, Event, u64);

/// Every kind of event; a new one does not compile until it is here, and the search fails until it is tried.
pub(super) const NAMES: [&str; 53] = [
    "apply",
    "approve",
    "asked",
    "cancel",
    "capture",
    "captured",
    "clock",
    "delete",
    "end-rescue",
    "end-service",
    "enrolled",
    "erased",
    "escrowed",
    "foreign",
    "forget-image",
    "hello",
    "hold",
    "imported",
    "invite",
    "issued",
    "lapsed",
    "logs",
    "look",
    "looked",
    "pinned",
    "plan",
    "plugged",
    "power",
    "progressed",
    "reject",
    "release",
    "replace",
    "rename",
    "reported",
    "rescue",
    "rescued",
    "retire",
    "retry",
    "revoke",
    "roll",
    "rollout",
    "roles",
    "rotate",
    "sealing",
    "served",
    "service",
    "test",
    "tested",
    "ticketed",
    "tick",
    "trust",
    "unit",
    "verified",
];

/// The kind of an event.
pub(super) fn name(event: &Event) -> &'static str {
    match event {
        Event::Hello { .. } => "hello",
        Event::Issued(_) => "issued",
        Event::Asked { .. } => "asked",
        Event::Progressed { .. } => "progressed",
        Event::Verified { .. } => "verified",
        Event::Enrolled { .. } => "enrolled",
        Event::Lapsed { .. } => "lapsed",
        Event::Pinned { .. } => "pinned",
        Event::Trust(_) => "trust",
        Event::Rotate => "rotate",
        Event::Clock(_) => "clock",
        Event::Ticketed { .. } => "ticketed",
        Event::Escrowed { .. } => "escrowed",
        Event::Reported { .. } => "reported",
        Event::Served { .. } => "served",
        Event::Foreign { .. } => "foreign",
        Event::Plugged { .. } => "plugged",
        Event::Look { .. } => "look",
        Event::Looked { .. } => "looked",
        Event::Invite { .. } => "invite",
        Event::Revoke { .. } => "revoke",
        Event::Approve { .. } => "approve",
        Event::Reject { .. } => "reject",
        Event::Rename { .. } => "rename",
        Event::SetRoles { .. } => "roles",
        Event::Plan { .. } => "plan",
        Event::Apply { .. } => "apply",
        Event::Retire { .. } => "retire",
        Event::Erased { .. } => "erased",
        Event::Rescue { .. } => "rescue",
        Event::Rescued { .. } => "rescued",
        Event::EndRescue { .. } => "end-rescue",
        Event::Service { .. } => "service",
        Event::EndService { .. } => "end-service",
        Event::Test { .. } => "test",
        Event::Tested { .. } => "tested",
        Event::Delete { .. } => "delete",
        Event::Roll(_) => "roll",
        Event::Rollout { .. } => "rollout",
        Event::Preflight(_) => "preflight",
        Event::Capture { .. } => "capture",
        Event::Sealing { .. } => "sealing",
        Event::Captured { .. } => "captured",
        Event::Cancel { .. } => "cancel",
        Event::Retry { .. } => "retry",
        Event::Replace { .. } => "replace",
        Event::Hold { .. } => "hold",
        Event::Release { .. } => "release",
        Event::Unit { .. } => "unit",
        Event::Logs { .. } => "logs",
        Event::Power { .. } => "power",
        Event::Imported(_) => "imported",
        Event::ForgetImage(_) => "forget-image",
        Event::Tick => "tick",
    }
}

/// Everything that may arrive in this world.
pub(super) fn letters(world: &World) -> Vec<Letter> {
    let mut letters = strangers();
    letters.extend([("tick", Event::Tick, 1), ("hours later", Event::Tick, 5 * 3600)]);
    letters.extend(of_adoption(world));
    if let Some(node) = world.node() {
        letters.extend(hellos(node));
        letters.extend(from_ramdisk(world, node));
        letters.extend(from_system(world, node));
        letters.extend(from_operator(world, node));
        if let Some(until) = patience::wait(&world.fleet, node).and_then(|wait| wait.until) {
            letters.push(("patience ends", Event::Tick, until.seconds_since(world.now) + 1));
        }
    }
    letters
}

fn at_once(letters: impl IntoIterator<Item = (&'static str, Event)>) -> impl Iterator<Item = Letter> {
    letters.into_iter().map(|(name, event)| (name, event, 1))
}

/// What has nothing to do with a known node, or may have.
fn strangers() -> Vec<Letter> {
    let interface = || "eno2".to_owned();
    let server = "10.77.0.9".parse().unwrap();
    let sighting = Sighting { server, noticed: Noticed::Heard, boots: true, site: None };
    let first = Event::Hello { hello: Box::new(hello(1, MAC)), proven: false, answered: None };
    at_once([
        ("hello", first),
        (
            "script",
            Event::Served { mac: MAC.parse().unwrap(), what: "script".to_owned(), text: String::new() },
        ),
        ("foreign", Event::Foreign { interface: interface(), sighting }),
        ("plugged", Event::Plugged { interface: interface() }),
        ("look", Event::Look { interface: interface() }),
        ("looked", Event::Looked { interface: interface() }),
        ("apply nothing", Event::Apply { plan: PlanId("p-00000000".to_owned()), force: false }),
        ("cancel nothing", Event::Cancel { job: JobId([0xee; 8]) }),
        ("abort no change of the CA", Event::Trust(fleet::trust::Verb::Abort)),
        ("rotate the passwords of no cloud", Event::Rotate),
        ("accept a clock that is right", Event::Clock(fleet::clock::Verb::Accept)),
        ("retry nobody", Event::Retry { node: NodeId([0xee; 16]) }),
    ])
    .collect()
}

/// A system that was there before, and whoever else comes with its token.
fn of_adoption(world: &World) -> Vec<Letter> {
    let invite = ("invite", Event::Invite { name: None, seconds: 3600 });
    let nothing = ("revoke nothing", Event::Revoke { invitation: "00000000".to_owned() });
    let Some(token) = world.token else { return at_once([invite, nothing]).collect() };
    let says = |key: u8, mac: &str, token, proven| {
        let adoption = Adoption { token, host: "web".to_owned(), system: "Debian".to_owned() };
        let hello = protocol::Hello { adoption: Some(adoption), ..hello(key, mac) };
        Event::Hello { hello: Box::new(hello), proven, answered: None }
    };
    let id = token.digest().to_string().chars().take(8).collect();
    at_once([
        ("asks to be adopted", says(6, MAC, token, false)),
        ("asks to be adopted, proven", says(6, MAC, token, true)),
        ("another server with the same token", says(7, OTHER_MAC, token, false)),
        ("asks with no token of ours", says(8, OTHER_MAC, Token([1; 16]), true)),
        ("revoke", Event::Revoke { invitation: id }),
    ])
    .collect()
}

fn hellos(node: &Node) -> Vec<Letter> {
    let says = |key: Key, mac: &str, proven| {
        let hello = protocol::Hello { key, ..hello(0, mac) };
        Event::Hello { hello: Box::new(hello), proven, answered: None }
    };
    let Some(known) = node.deploy.map(|deploy| deploy.key) else {
        return at_once([("hello with a new key", says(Key([2; 32]), MAC, false))]).collect();
    };
    at_once([
        ("hello with its key", says(known, MAC, false)),
        ("hello, proven", says(known, MAC, true)),
        ("hello in a boot", in_boot(known, "boot-1")),
        ("hello in another boot", in_boot(known, "boot-2")),
        ("hello with a new key", says(Key([2; 32]), MAC, false)),
        ("its key from another server", says(known, OTHER_MAC, false)),
        ("its key from another server, proven", says(known, OTHER_MAC, true)),
    ])
    .collect()
}

/// The same server, which says in which boot.
fn in_boot(key: Key, boot: &str) -> Event {
    let mut hello = Box::new(protocol::Hello { key, ..hello(0, MAC) });
    hello.boot.boot_id = boot.to_owned();
    Event::Hello { hello, proven: true, answered: None }
}

fn from_ramdisk(world: &World, node: &Node) -> Vec<Letter> {
    let (id, certificate) = (node.id, world.deploy_certificate());
    let asks = |content: Option<Digest>| {
        let mut inventory = Box::new(node.inventory.clone());
        inventory.disks.iter_mut().for_each(|disk| disk.content = content.or(disk.content));
        Event::Asked { node: id, certificate: certificate.clone(), inventory }
    };
    let job = node.state.job().unwrap_or(JobId([0xee; 8]));
    let tells = |progress: Progress| Event::Progressed { node: id, progress };
    let broken = Some("a bad sector".to_owned());
    let mut letters = vec![
        ("asks", asks(None)),
        ("asks, with something else on its disk", asks(Some(Digest([9; 32])))),
        ("writes", tells(progress(job, Phase::Write, 1 << 20))),
        ("reads back", tells(progress(job, Phase::ReadBack, 1 << 30))),
        ("is late", tells(progress(JobId([0xdd; 8]), Phase::Write, 1))),
        ("fails", tells(Progress { failed: broken, ..progress(job, Phase::Write, 5) })),
        ("receipt", Event::Verified { node: id, receipt: receipt(world, job) }),
        (
            "receipt of something else",
            Event::Verified { node: id, receipt: Receipt { image: Digest([8; 32]), ..receipt(world, job) } },
        ),
    ];
    letters.extend(of_capture(world, id, job));
    letters.extend(of_erasing(world, id, job));
    letters.extend(of_rescue(node));
    letters.extend(of_testing(id, job));
    at_once(letters).collect()
}

fn of_capture(world: &World, node: NodeId, job: JobId) -> Vec<(&'static str, Event)> {
    let image = Box::new(taken(world.now));
    vec![
        ("sealing", Event::Sealing { node, job, image: image.digest }),
        ("captured", Event::Captured { node, job, image, found: Vec::new() }),
    ]
}

fn of_erasing(world: &World, node: NodeId, job: JobId) -> Vec<(&'static str, Event)> {
    let disk = world.fleet.retirements.get(&job).and_then(|row| row.disks.first());
    let subject =
        disk.map(|disk| disk.doomed.disk.clone()).or_else(|| Subject::of(&crate::rack::disk("SYS", 8)));
    let Subject { disk, model, serial, bytes } = subject.unwrap();
    let erasure = Erasure {
        job,
        disk,
        model,
        serial,
        wwn: String::new(),
        bytes,
        method: Method::Overwrite,
        firmware: String::new(),
        written_bytes: bytes,
        canaries: CANARIES_MIN,
        samples: SAMPLES_MIN,
        sampled_bytes: SAMPLES_MIN * 4096,
        milliseconds: 1,
        key: Key([1; 32]),
        signature: Signature([1; 64]),
    };
    let erased = |erasure: Erasure| Event::Erased { node, erasure: Box::new(erasure) };
    vec![
        ("erases", Event::Progressed { node, progress: progress(job, Phase::Erase, 1 << 20) }),
        ("erasure that proves nothing", erased(Erasure { samples: 1, ..erasure.clone() })),
        ("erasure", erased(erasure)),
    ]
}

fn of_rescue(node: &Node) -> Vec<(&'static str, Event)> {
    let job = match &node.state {
        State::Rescue { rescue } => rescue.id,
        _ => JobId([0xbb; 8]),
    };
    let tells = |job, trouble: Option<&str>| {
        let told = Rescue { job, host_key: None, trouble: trouble.map(str::to_owned) };
        Event::Rescued { node: node.id, told }
    };
    vec![
        ("is mended", tells(job, None)),
        ("is mended without SSH", tells(job, Some("SSH can't be started"))),
        ("is mended for another", tells(JobId([0xba; 8]), None)),
    ]
}

fn of_testing(node: NodeId, job: JobId) -> Vec<(&'static str, Event)> {
    let says = |change: fn(&mut TestReport)| {
        let mut report = Box::new(TestReport::begin(job));
        (report.part, report.milliseconds) = (Some(Part::Memory), 1000);
        change(&mut report);
        Event::Tested { node, report }
    };
    vec![
        ("tests", says(|_| {})),
        ("its test is over", says(|report| report.over = true)),
        (
            "its test has found something",
            says(|report| {
                report.fault(Part::Memory, "a bit", 1);
                report.over = true;
            }),
        ),
        ("it can't be tested", says(|report| report.unable = Some("no memory".to_owned()))),
        ("a test of another job", says(|report| report.job = JobId([0xdd; 8]))),
    ]
}

pub(super) fn tests(node: NodeId) -> Event {
    Event::Test { node, wish: Wish::quick() }
}

fn taken(now: Time) -> Image {
    Image {
        digest: Digest::of(b"copy"),
        name: "copy".to_owned(),
        roles: ["control".to_owned()].into(),
        arch: "amd64".to_owned(),
        disk_bytes: 2 << 30,
        content_bytes: 1 << 30,
        stored_bytes: 1 << 28,
        signer: PublicKey([4; 32]),
        imported: now,
        layout: pack::Layout::default(),
        root: Some(Digest::of(b"copy")),
    }
}

fn receipt(world: &World, job: JobId) -> Receipt {
    let row = world.fleet.jobs.get(&job);
    let disk = protocol::DiskId::of("", "SYS").unwrap();
    Receipt {
        job,
        image: row.map_or(Digest([7; 32]), |row| row.image),
        disk: row.map_or(disk, |row| row.target.disk.clone()),
        total_bytes: 1 << 30,
        written_bytes: 1 << 30,
        same_bytes: 0,
        fetched_bytes: 1,
        milliseconds: 1,
        verify: row.map_or(Verify::Readback, |row| row.verify),
        proof: None,
    }
}

fn from_system(world: &World, node: &Node) -> Vec<Letter> {
    let id = node.id;
    let certificate = world.deploy_certificate();
    let enrols = |key: u8| Event::Enrolled {
        node: id,
        certificate: certificate.clone(),
        key: Key([key; 32]),
        uptime_seconds: 20,
    };
    let reports = |active: &str, error: Option<&str>| {
        let order = node.redeploy.unwrap_or(0);
        let answers = error.map(|why| Answer { order, lines: Vec::new(), error: Some(why.to_owned()) });
        let report = Report {
            generation: node.document.generation,
            units: vec![unit("db.service", active)],
            answers: answers.into_iter().collect(),
            ..Report::default()
        };
        Event::Reported { node: id, report: Box::new(report) }
    };
    at_once([
        ("enrols", enrols(9)),
        ("enrols with another key", enrols(8)),
        (
            "is pinned",
            Event::Pinned { node: id, holder: fleet::trust::Holder::System, pin: protocol::CaPin([1; 32]) },
        ),
        ("comes too late", Event::Lapsed { node: id }),
        ("ticket", Event::Ticketed { node: id, key: Key([5; 32]) }),
        ("escrow", Event::Escrowed { node: id, files: 3 }),
        ("reports that it is up", reports("active", None)),
        ("reports that it is down", reports("failed", None)),
        ("reports that it can't restart", reports("active", Some("no ticket could be written"))),
    ])
    .collect()
}

fn from_operator(world: &World, node: &Node) -> Vec<Letter> {
    let id = node.id;
    let approves =
        |moved| Event::Approve { node: id, name: None, roles: Some(["control".to_owned()].into()), moved };
    let captures = |confirmed: Option<String>| {
        let wish = capture::Wish {
            name: "copy".to_owned(),
            identity: Identity::AsIs,
            disk: None,
            roles: None,
            confirmed,
            force: false,
        };
        Event::Capture { node: id, wish: Box::new(wish) }
    };
    let (unit, name) = ("db.service".to_owned(), Some(node.name.to_string()));
    let powers = |what| Event::Power { node: id, what: Box::new(what) };
    let mut letters = vec![
        ("approve", approves(false)),
        ("approve --moved", approves(true)),
        ("reject", Event::Reject { node: id, why: "no".to_owned() }),
        ("rename", Event::Rename { node: id, name: "other".parse().unwrap() }),
        ("roles", Event::SetRoles { node: id, roles: ["control".to_owned()].into() }),
        ("plan", plans(id)),
        ("plan to retire", retires(id)),
        ("delete", Event::Delete { node: id }),
        ("hold", Event::Hold { node: id, why: "its fan is noisy".to_owned() }),
        ("release", Event::Release { node: id }),
        ("replace by itself", Event::Replace { old: id, new: id, force: true }),
        ("retry", Event::Retry { node: id }),
        ("test", tests(id)),
        ("capture", captures(Some(node.name.to_string()))),
        ("capture, unconfirmed", captures(None)),
        ("cancel", Event::Cancel { job: node.state.job().unwrap_or(JobId([0xcc; 8])) }),
        ("stop", Event::Unit { node: id, unit: unit.clone(), verb: UnitVerb::Stop }),
        ("start", Event::Unit { node: id, unit: unit.clone(), verb: UnitVerb::Start }),
        ("logs", Event::Logs { node: id, unit, lines: 10 }),
        ("power cycle", powers(PowerEvent::Wish { wish: power::Wish::Cycle, confirmed: name, force: false })),
        (
            "power cycle, unconfirmed",
            powers(PowerEvent::Wish { wish: power::Wish::Cycle, confirmed: None, force: false }),
        ),
        ("power cancel", powers(PowerEvent::Cancel)),
        (
            "import",
            Event::Imported(world.fleet.images.values().next().cloned().unwrap_or_else(|| taken(world.now))),
        ),
        ("forget the image", Event::ForgetImage(Digest::of(b"control"))),
        ("recorded", Event::Issued(nobody_s(id, node.generation))),
    ];
    let newest = |is_open: bool| {
        let mut plans = world.plans().filter(|(_, state)| (**state == PlanState::Open) == is_open);
        plans.next().map(|(plan, _)| Event::Apply { plan: plan.clone(), force: false })
    };
    letters.push(("plan a rollout", rolls(id)));
    letters.extend(to_mend(node));
    letters.extend(to_rollout(world));
    letters.extend(newest(true).map(|event| ("apply", event)));
    letters.extend(newest(false).map(|event| ("apply what is over", event)));
    at_once(letters).collect()
}

fn to_mend(node: &Node) -> [(&'static str, Event); 5] {
    let rescues = |confirmed| {
        let wish = rescue::Wish { keys: Vec::new(), confirmed, force: false };
        Event::Rescue { node: node.id, wish: Box::new(wish) }
    };
    [
        ("rescue", rescues(Some(node.name.to_string()))),
        ("rescue, unconfirmed", rescues(None)),
        ("end of the rescue", Event::EndRescue { node: node.id }),
        ("service", Event::Service { node: node.id, why: "a DIMM".to_owned() }),
        ("end of the service", Event::EndService { node: node.id }),
    ]
}

pub(super) fn plans(node: NodeId) -> Event {
    let (image, disk, data, roles) = (None, None, None, None);
    Event::Plan { node, image, disk, data, roles, erase: Vec::new(), verify: Verify::Readback }
}

fn rolls(node: NodeId) -> Event {
    let group = Group::Nodes { nodes: [node].into() };
    let (image, canaries, verify) = (None, Vec::new(), Verify::Readback);
    let wish =
        rollout::Wish { group, image, canaries, max_unavailable: 1, stop_after: 1, verify, force: false };
    Event::Roll(Box::new(wish))
}

fn to_rollout(world: &World) -> impl Iterator<Item = (&'static str, Event)> {
    let newest = world.rollout().map(|rollout| rollout.id.clone());
    let verbs = [
        ("begin the rollout", Verb::Begin),
        ("stop the rollout", Verb::Stop),
        ("resume the rollout", Verb::Resume),
        ("cancel the rollout", Verb::Cancel),
    ];
    newest.into_iter().flat_map(move |rollout| {
        verbs.map(|(name, verb)| (name, Event::Rollout { rollout: rollout.clone(), verb }))
    })
}

pub(super) fn retires(node: NodeId) -> Event {
    Event::Retire { node, keep: Vec::new() }
}

/// A certificate whose time is over, so that recording it opens nothing.
fn nobody_s(node: NodeId, generation: u64) -> Certificate {
    let (key, until) = (Key([0xee; 32]), Time(1));
    Certificate {
        fingerprint: "old".to_owned(),
        node,
        key,
        stage: Stage::Run,
        generation,
        until,
        number: 0,
        ca: None,
    }
}

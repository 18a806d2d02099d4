//! An image of a node's disk: the node comes back as what it was, whatever happens.

use std::collections::BTreeSet;

use fleet::capture::{Wish, owner};
use fleet::certificate::{Certificate, Stage, Unauthorised, authorise};
use fleet::image::Image;
use fleet::job::JobState;
use fleet::{Denied, Event, Reply, State, boot_task, view};
use pack::{Digest, PublicKey};
use protocol::{DiskId, Found, Holding, Identity, JobId, Key, NodeId, Phase, Progress, Task};
use pxe::script::BootTask;

use crate::rack::{MAC, Rack, disk, progress};

pub(crate) fn capture(rack: &Rack, node: NodeId, name: &str, as_is: bool) -> Event {
    let confirmed = Some(rack.fleet.nodes[&node].name.to_string());
    let identity = if as_is { Identity::AsIs } else { Identity::Generalize { keep: BTreeSet::new() } };
    let wish = Wish { name: name.to_owned(), identity, disk: None, roles: None, confirmed, force: false };
    Event::Capture { node, wish: Box::new(wish) }
}

impl Rack {
    fn captures(&mut self, node: NodeId, name: &str, as_is: bool) -> Result<JobId, Denied> {
        match self.bring(capture(self, node, name, as_is))?.reply {
            Reply::Job(job) => Ok(job),
            other => panic!("{other:?}"),
        }
    }

    /// An active node in the ramdisk, with the job in its agent's hands.
    pub(crate) fn capturing(as_is: bool) -> (Self, NodeId, JobId) {
        let (mut rack, node, _) = Rack::active("control");
        let job = rack.captures(node, "copy", as_is).unwrap();
        rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
        rack.hello(5, MAC, true).unwrap();
        let Reply::Task(Task::Capture(task)) = rack.asks(node).unwrap().reply else { panic!() };
        assert_eq!(task.job, job);
        (rack, node, job)
    }

    fn boots_own_disk(&self) -> bool {
        boot_task(&self.fleet, &MAC.parse().unwrap()) == BootTask::LocalDisk
    }

    fn image(&self, job: JobId) -> Image {
        let capture = &self.fleet.captures[&job];
        Image {
            digest: Digest::of(capture.name.as_bytes()),
            name: capture.name.clone(),
            roles: capture.roles.clone(),
            arch: capture.arch.clone(),
            disk_bytes: capture.subject.bytes,
            content_bytes: 1 << 30,
            stored_bytes: 1 << 28,
            signer: PublicKey([4; 32]),
            imported: self.now,
            layout: pack::Layout::default(),
            root: Some(Digest::of(b"copy")),
        }
    }

    pub(crate) fn is_captured(
        &mut self,
        node: NodeId,
        job: JobId,
        found: Vec<Found>,
    ) -> Result<Reply, Denied> {
        let image = Box::new(self.image(job));
        self.bring(Event::Sealing { node, job, image: image.digest })?;
        Ok(self.bring(Event::Captured { node, job, image, found })?.reply)
    }

    fn fails(&mut self, node: NodeId, job: JobId) -> Reply {
        let failed = Some("a bad sector".to_owned());
        let progress = Progress { failed, ..progress(job, Phase::Capture, 5) };
        self.bring(Event::Progressed { node, progress }).unwrap().reply
    }
}

#[test]
fn an_active_node_is_read_in_the_ramdisk_and_comes_back_as_what_it_was() {
    let (mut rack, node, _) = Rack::active("control");
    let (before, run) = (rack.only().generation, rack.only().run);
    let job = rack.captures(node, "copy", false).unwrap();
    assert_eq!(rack.state(), "draining");
    assert!(rack.only().orders.iter().any(|order| order.kind.redeploys()));
    assert!(rack.boots_own_disk(), "until it has handed a ticket in");
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    assert!(!rack.boots_own_disk());
    rack.hello(5, MAC, true).unwrap();
    assert_eq!(rack.state(), "capturing");
    assert!(!rack.boots_own_disk(), "a power cut does not end it");
    let Reply::Task(Task::Capture(task)) = rack.asks(node).unwrap().reply else { panic!() };
    assert_eq!((task.disk.disk.as_str(), task.disk.bytes), ("serial:SYS", 8 << 30));
    let go_on = rack.bring(Event::Progressed { node, progress: progress(job, Phase::Capture, 1 << 29) });
    assert_eq!(go_on.unwrap().reply, Reply::GoOn(true));
    let row = view::job_row(&rack.fleet, &rack.fleet.captures[&job]);
    assert_eq!((row.kind.as_str(), row.percent, row.plan), ("capture", 50, None));
    assert_eq!((row.identity.as_deref(), row.image_digest), (Some("generalize"), None));
    let found = Found { rule: "machine-id".into(), what: "its id".into(), places: 1, kept: false };
    assert_eq!(rack.is_captured(node, job, vec![found]).unwrap(), Reply::Task(Task::Reboot));
    assert_eq!(rack.state(), "booting");
    assert!(rack.boots_own_disk());
    assert!(rack.is_captured(node, job, Vec::new()).is_err(), "the job is over");
    // The answer was lost: it says hello once more, and is sent home.
    rack.hello(5, MAC, true).unwrap();
    assert_eq!(rack.asks(node).unwrap().reply, Reply::Task(Task::Reboot));
    rack.reports(node, "activating").unwrap();
    assert_eq!(rack.state(), "active", "as soon as it is heard of");
    assert_eq!((rack.only().generation, rack.only().run), (before, run), "the same system");
    let run = rack.fleet.certificates.values().find(|row| row.stage == Stage::Run).unwrap();
    assert!(authorise(&rack.fleet, Some(&run.fingerprint), Stage::Run, rack.now).is_ok());
    let capture = &rack.fleet.captures[&job];
    assert_eq!((capture.state.clone(), capture.found.len()), (JobState::Done, 1));
    let image = rack.fleet.find_image("copy").unwrap();
    assert_eq!(view::image_row(&rack.fleet, image).only_for, None);
    assert_eq!((image.arch.as_str(), image.roles.len()), ("amd64", 1), "as of the installed one");
    // The ticket's key is on the disk still: the next time it is a ticket again.
    rack.captures(node, "copy-2", false).unwrap();
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    assert!(!rack.boots_own_disk());
}

#[test]
fn a_rebuild_after_a_capture_ends_the_system_as_ever() {
    let (mut rack, node, job) = Rack::capturing(false);
    rack.is_captured(node, job, Vec::new()).unwrap();
    rack.reports(node, "active").unwrap();
    let run = rack.fleet.certificates.values().find(|row| row.stage == Stage::Run).unwrap();
    let run = run.fingerprint.clone();
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    rack.hello(5, MAC, true).unwrap();
    let told = authorise(&rack.fleet, Some(&run), Stage::Run, rack.now);
    assert_eq!(told.unwrap_err(), Unauthorised::Revoked);
}

#[test]
fn a_capture_that_succeeded_stays_one_when_the_node_does_not_come_back() {
    let (mut rack, node, job) = Rack::capturing(false);
    rack.is_captured(node, job, Vec::new()).unwrap();
    rack.now = rack.now.plus_seconds(1600);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "attention");
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    let capture = &rack.fleet.captures[&job];
    assert_eq!((&capture.state, capture.ended), (&JobState::Done, Some(rack.now)));
}

#[test]
fn a_capture_that_fails_sends_the_node_home_too() {
    let (mut rack, node, job) = Rack::capturing(true);
    assert_eq!(rack.fails(node, job), Reply::GoOn(false));
    assert_eq!(rack.state(), "booting");
    let JobState::Failed { why } = &rack.fleet.captures[&job].state else { panic!() };
    assert!(why.contains("a bad sector"), "{why}");
    assert!(rack.is_captured(node, job, Vec::new()).is_err(), "a late seal");
    rack.hello(5, MAC, true).unwrap();
    assert_eq!(rack.asks(node).unwrap().reply, Reply::Task(Task::Reboot), "out of the ramdisk");
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
    assert!(matches!(rack.fleet.captures[&job].state, JobState::Failed { .. }), "and it stays failed");
}

#[test]
fn a_node_with_a_failed_unit_comes_back_as_well() {
    let (mut rack, node, _) = Rack::active("control");
    rack.reports(node, "failed").unwrap();
    assert_eq!(rack.state(), "active");
    let job = rack.captures(node, "copy", false).unwrap();
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    rack.hello(5, MAC, true).unwrap();
    rack.asks(node).unwrap();
    rack.is_captured(node, job, Vec::new()).unwrap();
    // A certificate that is renewed on the way makes no first boot of it.
    rack.enrols(node, 9).unwrap();
    assert_eq!(rack.state(), "booting");
    let mut late = rack.fleet.clone();
    rack.reports(node, "failed").unwrap();
    assert_eq!((rack.state(), &rack.fleet.captures[&job].state), ("active", &JobState::Done));
    let waits = fleet::patience::wait(&rack.fleet, rack.only()).unwrap();
    assert!(waits.until.is_none() && waits.reason.contains("db.service is failed"), "{waits:?}");
    // The same when it was late.
    std::mem::swap(&mut rack.fleet, &mut late);
    rack.now = rack.now.plus_seconds(1600);
    rack.bring(Event::Tick).unwrap();
    let State::Attention { cause, .. } = &rack.only().state else { panic!() };
    assert!(cause.contains("its own system to come up again"), "{cause}");
    assert!(!fleet::patience::wait(&rack.fleet, rack.only()).unwrap().reason.contains("job cancel"));
    // Its firmware had it in the ramdisk again.
    rack.hello(5, MAC, true).unwrap();
    assert_eq!(rack.asks(node).unwrap().reply, Reply::Task(Task::Reboot));
    rack.reports(node, "failed").unwrap();
    assert_eq!((rack.state(), &rack.fleet.captures[&job].state), ("active", &JobState::Done));
}

#[test]
fn a_ready_server_is_read_where_it_is() {
    let (mut rack, node) = Rack::ready("control");
    let refused = rack.captures(node, "copy", false).unwrap_err().to_string();
    assert!(refused.contains("no disk of n1 has anything on it"), "{refused}");
    let mut full = rack.only().clone();
    let holds = vec![Holding { kind: "ntfs".into(), partition: 2, ..Holding::default() }];
    full.inventory.cpu.arch = "x86_64".to_owned();
    full.inventory.disks = vec![fleet_disk("A", &holds), fleet_disk("B", &holds), fleet_disk("C", &[])];
    rack.fleet.nodes.insert(node, full);
    let refused = rack.captures(node, "copy", false).unwrap_err().to_string();
    assert!(refused.contains("--disk") && refused.contains("serial:A, serial:B"), "{refused}");
    let disk = Some("serial:B".parse::<DiskId>().unwrap());
    let identity = Identity::Generalize { keep: ["machine-id".to_owned()].into() };
    let wish = Wish {
        name: "windows".to_owned(),
        identity: identity.clone(),
        disk,
        roles: None,
        confirmed: None,
        force: false,
    };
    let Reply::Job(job) = rack.bring(Event::Capture { node, wish: Box::new(wish) }).unwrap().reply else {
        panic!()
    };
    assert_eq!(rack.state(), "capturing");
    let Reply::Task(Task::Capture(task)) = rack.asks(node).unwrap().reply else { panic!() };
    assert_eq!((task.disk.serial.as_str(), &task.identity), ("B", &identity));
    let Reply::Task(Task::Wait { .. }) = rack.is_captured(node, job, Vec::new()).unwrap() else { panic!() };
    assert_eq!((rack.state(), &rack.fleet.captures[&job].state), ("ready", &JobState::Done));
    // Again, and it fails.
    let job = rack.bring(capture_of(node, "serial:A")).unwrap();
    let Reply::Job(job) = job.reply else { panic!() };
    rack.asks(node).unwrap();
    rack.fails(node, job);
    assert_eq!(rack.state(), "ready");
}

fn fleet_disk(serial: &str, holds: &[Holding]) -> protocol::Disk {
    protocol::Disk { holds: holds.to_vec(), ..disk(serial, 8) }
}

fn capture_of(node: NodeId, disk: &str) -> Event {
    let (name, identity) = ("other".to_owned(), Identity::AsIs);
    let wish = Wish {
        name,
        identity,
        disk: Some(disk.parse().unwrap()),
        roles: None,
        confirmed: Some("n1".to_owned()),
        force: false,
    };
    Event::Capture { node, wish: Box::new(wish) }
}

#[test]
fn an_image_with_a_node_s_keys_is_for_that_node_alone() {
    let (mut rack, node, job) = Rack::capturing(true);
    rack.is_captured(node, job, Vec::new()).unwrap();
    rack.reports(node, "active").unwrap();
    let digest = rack.fleet.find_image("copy").unwrap().digest;
    assert_eq!(owner(&rack.fleet, digest), Some(node));
    // The same bytes once more, said to be for any server: whichever of the two was first.
    for id in [JobId([0; 8]), JobId([255; 8])] {
        let identity = Identity::Generalize { keep: BTreeSet::new() };
        let twin = fleet::capture::Capture { id, identity, ..rack.fleet.captures[&job].clone() };
        rack.fleet.put(fleet::Change::Capture(Box::new(twin)));
        assert_eq!(owner(&rack.fleet, digest), Some(node));
    }
    let row = view::image_row(&rack.fleet, &rack.fleet.images[&digest]);
    assert_eq!(row.only_for.as_deref(), Some("n1"));
    let row = view::job_row(&rack.fleet, &rack.fleet.captures[&job]);
    assert_eq!(row.identity.as_deref(), Some("as-is"));
    assert_eq!(row.image_digest, Some(digest.to_string()));
    rack.hello(7, crate::rack::OTHER_MAC, false).unwrap();
    let other = rack.fleet.nodes.values().find(|other| other.id != node).unwrap().id;
    let roles = Some(["control".to_owned()].into());
    rack.bring(Event::Approve { node: other, name: None, roles, moved: false }).unwrap();
    rack.hello(7, crate::rack::OTHER_MAC, true).unwrap();
    rack.asks(other).unwrap();
    let plan = |node| Event::Plan {
        node,
        image: Some(digest),
        disk: None,
        data: None,
        roles: None,
        erase: Vec::new(),
        verify: protocol::Verify::Readback,
    };
    let refused = rack.bring(plan(other)).unwrap_err().to_string();
    assert!(refused.contains("n1 as it was") && refused.contains("--generalize"), "{refused}");
    assert!(matches!(rack.bring(plan(node)).unwrap().reply, Reply::Plan(_)));
    // Nobody has to name one: it is not chosen for another node either.
    let chosen = rack.plan(other).unwrap();
    assert_ne!(chosen.image, digest);
}

/// Approves the key that waits for it.
fn approve(rack: &mut Rack, node: NodeId, moved: bool) {
    rack.bring(Event::Approve { node, name: None, roles: None, moved }).unwrap();
}

/// Certificates of this node and stage, as they are now: later ones do not take their place.
fn kept(rack: &mut Rack, stage: Stage) -> String {
    let row = rack.fleet.certificates.values().find(|row| row.stage == stage).unwrap().clone();
    let fingerprint = format!("kept {}", row.fingerprint);
    rack.fleet
        .certificates
        .insert(fingerprint.clone(), Certificate { fingerprint: fingerprint.clone(), ..row });
    fingerprint
}

#[test]
fn a_new_key_of_the_ramdisk_leaves_the_system_what_it_is_and_ends_the_old_key() {
    let (mut rack, node, job) = Rack::capturing(false);
    let (deploy, run, before) =
        (kept(&mut rack, Stage::Deploy), kept(&mut rack, Stage::Run), rack.only().generation);
    rack.hello(6, MAC, true).unwrap();
    approve(&mut rack, node, false);
    assert_eq!(rack.only().generation, before);
    assert!(authorise(&rack.fleet, Some(&run), Stage::Run, rack.now).is_ok());
    let told = authorise(&rack.fleet, Some(&deploy), Stage::Deploy, rack.now);
    assert_eq!(told.unwrap_err(), Unauthorised::Revoked);
    rack.hello(6, MAC, true).unwrap();
    assert!(matches!(rack.asks(node).unwrap().reply, Reply::Task(Task::Capture(_))));
    let print = rack.deploy_certificate();
    assert!(authorise(&rack.fleet, Some(&print), Stage::Deploy, rack.now).is_ok());
    rack.is_captured(node, job, Vec::new()).unwrap();
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn another_server_let_in_during_a_capture_ends_the_system_as_ever() {
    let (mut rack, node, job) = Rack::capturing(false);
    let (deploy, run, before) =
        (kept(&mut rack, Stage::Deploy), kept(&mut rack, Stage::Run), rack.only().generation);
    rack.hello(5, crate::rack::OTHER_MAC, true).unwrap();
    approve(&mut rack, node, true);
    assert_eq!((rack.only().generation, rack.only().run), (before + 1, None));
    for (print, stage) in [(&deploy, Stage::Deploy), (&run, Stage::Run)] {
        let told = authorise(&rack.fleet, Some(print), stage, rack.now);
        assert_eq!(told.unwrap_err(), Unauthorised::Revoked);
    }
    // The image is still wanted, and there is nothing to go home to.
    rack.hello(5, crate::rack::OTHER_MAC, true).unwrap();
    assert!(matches!(rack.asks(node).unwrap().reply, Reply::Task(Task::Capture(_))));
    assert!(matches!(rack.is_captured(node, job, Vec::new()).unwrap(), Reply::Task(Task::Wait { .. })));
    assert_eq!((rack.state(), &rack.fleet.captures[&job].state), ("ready", &JobState::Done));
}

#[test]
fn a_key_let_in_after_a_capture_ends_the_system_as_ever() {
    for late in [false, true] {
        let (mut rack, node, job) = Rack::capturing(false);
        rack.is_captured(node, job, Vec::new()).unwrap();
        assert_eq!(rack.state(), "booting");
        if late {
            rack.now = rack.now.plus_seconds(1600);
            rack.bring(Event::Tick).unwrap();
            assert_eq!(rack.state(), "attention");
        }
        let (deploy, run) = (kept(&mut rack, Stage::Deploy), kept(&mut rack, Stage::Run));
        rack.hello(6, MAC, true).unwrap();
        approve(&mut rack, node, false);
        for (print, stage) in [(&deploy, Stage::Deploy), (&run, Stage::Run)] {
            let told = authorise(&rack.fleet, Some(print), stage, rack.now);
            assert_eq!(told.unwrap_err(), Unauthorised::Revoked);
        }
        assert_eq!((rack.state(), &rack.fleet.captures[&job].state), ("inspecting", &JobState::Done));
        rack.hello(6, MAC, true).unwrap();
        rack.asks(node).unwrap();
        assert_eq!(rack.state(), "ready");
        assert!(rack.plan(node).is_ok());
    }
}

#[test]
fn it_can_be_given_up_at_any_moment() {
    // While the node still runs its own system.
    let (mut rack, node, _) = Rack::active("control");
    let job = rack.captures(node, "copy", false).unwrap();
    rack.bring(Event::Cancel { job }).unwrap();
    assert!(rack.only().orders.is_empty() && rack.boots_own_disk());
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
    assert!(rack.bring(Event::Cancel { job }).unwrap_err().to_string().contains("has ended"));
    // Between the ticket and the ramdisk's first hello.
    let (mut rack, node, _) = Rack::active("control");
    let (job, run) = (rack.captures(node, "copy", false).unwrap(), rack.only().run);
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    rack.bring(Event::Cancel { job }).unwrap();
    rack.hello(5, MAC, true).unwrap();
    assert_eq!(rack.asks(node).unwrap().reply, Reply::Task(Task::Reboot));
    assert_eq!((rack.state(), rack.only().run), ("booting", run));
    // While its disk is read.
    let (mut rack, node, job) = Rack::capturing(false);
    rack.bring(Event::Cancel { job }).unwrap();
    let told = rack.bring(Event::Progressed { node, progress: progress(job, Phase::Capture, 9) }).unwrap();
    assert_eq!(told.reply, Reply::GoOn(false));
    assert_eq!(rack.state(), "booting");
    // A job that writes is no such thing.
    let (mut rack, _, job) = Rack::imaging("control");
    let refused = rack.bring(Event::Cancel { job }).unwrap_err().to_string();
    assert!(refused.contains("plan the node again"), "{refused}");
    assert!(matches!(rack.bring(Event::Cancel { job: JobId([9; 8]) }), Err(Denied::Missing { .. })));
}

#[test]
fn silence_asks_for_a_person_and_a_retry_begins_again() {
    let (mut rack, node, job) = Rack::capturing(false);
    rack.now = rack.now.plus_seconds(1200);
    rack.bring(Event::Tick).unwrap();
    let State::Attention { phase, .. } = &rack.only().state else { panic!() };
    assert_eq!(phase, "capturing");
    let told = fleet::patience::wait(&rack.fleet, rack.only()).unwrap().reason;
    assert!(told.ends_with(&format!("(safe now: why, retry, job cancel {job})")), "{told}");
    assert!(!rack.boots_own_disk(), "switched off and on, it goes on");
    // Its agent is back after all.
    let Reply::Task(Task::Capture(_)) = rack.asks(node).unwrap().reply else { panic!() };
    assert_eq!((rack.state(), rack.fleet.captures[&job].takes), ("capturing", 2));
    rack.now = rack.now.plus_seconds(1200);
    rack.bring(Event::Tick).unwrap();
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(rack.state(), "capturing");
    // Or a person gives it another system: then the old one is void.
    rack.now = rack.now.plus_seconds(3600);
    rack.bring(Event::Tick).unwrap();
    let generation = rack.only().generation;
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    assert_eq!((rack.only().generation, rack.only().run), (generation + 1, None));
    assert!(rack.fleet.captures[&job].state.ended());
}

#[test]
fn an_agent_that_asks_and_asks_is_not_at_work() {
    // One that does not understand what it is given asks every second.
    let (mut rack, node, job) = Rack::capturing(false);
    let begun = |rack: &Rack| rack.log.iter().filter(|kind| *kind == "capturing").count();
    for _ in 0..9 {
        let Reply::Task(Task::Capture(_)) = rack.asks(node).unwrap().reply else { panic!() };
    }
    assert_eq!((begun(&rack), rack.fleet.captures[&job].takes), (1, 10), "said once");
    assert_eq!(rack.asks(node).unwrap().reply, Reply::Task(Task::Reboot));
    let JobState::Failed { why } = &rack.fleet.captures[&job].state else { panic!() };
    assert!(why.contains("taken the job 10 times"), "{why}");
    assert_eq!(rack.state(), "booting");
    // One that asks seldom runs into the deadline, however often it asks.
    let (mut rack, node, job) = Rack::capturing(false);
    for _ in 0..3 {
        rack.now = rack.now.plus_seconds(400);
        rack.bring(Event::Tick).unwrap();
        if rack.state() == "capturing" {
            rack.asks(node).unwrap();
        }
    }
    assert_eq!(rack.state(), "attention");
    // One that gets further each time may begin as often as it must, and has all its time from then on.
    rack.bring(Event::Retry { node }).unwrap();
    for done in 1..30 {
        rack.now = rack.now.plus_seconds(800);
        rack.hello(5, MAC, true).unwrap();
        rack.asks(node).unwrap();
        rack.bring(Event::Progressed { node, progress: progress(job, Phase::Capture, done << 20) }).unwrap();
        rack.bring(Event::Tick).unwrap();
        assert_eq!(rack.state(), "capturing");
    }
    // One that always ends at the same place does not.
    rack.hello(5, MAC, true).unwrap();
    for _ in 0..12 {
        rack.asks(node).unwrap();
        for done in [1, 29 << 20] {
            rack.bring(Event::Progressed { node, progress: progress(job, Phase::Capture, done) }).unwrap();
        }
    }
    assert!(matches!(rack.fleet.captures[&job].state, JobState::Failed { .. }));
}

#[test]
fn a_node_that_can_not_leave_its_system_names_the_way_out() {
    let (mut rack, node, _) = Rack::active("control");
    let job = rack.captures(node, "copy", false).unwrap();
    let order = rack.only().redeploy.unwrap();
    let error = Some("kexec is locked".to_owned());
    let answer = protocol::Answer { order, lines: Vec::new(), error };
    let report = protocol::Report { answers: vec![answer], ..protocol::Report::default() };
    rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
    let told = fleet::patience::wait(&rack.fleet, rack.only()).unwrap().reason;
    assert!(told.contains(&format!("retry, plan, job cancel {job}")), "{told}");
    rack.bring(Event::Cancel { job }).unwrap();
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn a_node_that_runs_is_not_restarted_unless_its_name_was_said() {
    let (mut rack, node, _) = Rack::active("control");
    for said in [None, Some("n2".to_owned())] {
        let Event::Capture { mut wish, .. } = capture(&rack, node, "copy", true) else { panic!() };
        wish.confirmed = said;
        let refused = rack.bring(Event::Capture { node, wish }).unwrap_err();
        assert_eq!(refused, Denied::Unconfirmed { name: "n1".to_owned() });
        assert!(refused.to_string().contains("--confirm=n1"), "{refused}");
    }
    assert!(rack.state() == "active" && rack.fleet.captures.is_empty());
}

#[test]
fn what_can_not_be_captured_is_refused_before_anything_restarts() {
    let (mut rack, node, _) = Rack::imaging("control");
    assert!(matches!(rack.captures(node, "copy", false), Err(Denied::State { .. })));
    let (mut rack, node, _) = Rack::active("control");
    for name in ["", "Copy", "a b", "../x", &"a".repeat(65)] {
        let refused = rack.captures(node, name, false).unwrap_err().to_string();
        assert!(refused.contains("name"), "{refused}");
    }
    let refused = rack.captures(node, "control", true).unwrap_err().to_string();
    assert!(refused.contains("called control already") && refused.contains("--name"), "{refused}");
    assert!(matches!(rack.bring(capture_of(node, "serial:NOT")), Err(Denied::Missing { kind: "disk", .. })));
    assert_eq!(rack.state(), "active");
    assert!(rack.fleet.captures.is_empty());
}

#[test]
fn a_job_is_named_by_its_id_or_by_a_start_that_no_other_has() {
    let (mut rack, _, job) = Rack::capturing(false);
    let row = rack.fleet.captures[&job].clone();
    for id in [JobId([0xab, 0xcd, 1, 0, 0, 0, 0, 0]), JobId([0xab, 0xcd, 2, 0, 0, 0, 0, 0])] {
        rack.fleet.put(fleet::Change::Capture(Box::new(fleet::capture::Capture { id, ..row.clone() })));
    }
    let found = |text: &str| rack.fleet.find_job(text).map(fleet::job::Work::id);
    assert_eq!(found("abcd01"), Ok(JobId([0xab, 0xcd, 1, 0, 0, 0, 0, 0])));
    assert_eq!(found(&job.to_string()), Ok(job));
    for text in ["", "a", "abc", "abcd03", "abcd01000000000000"] {
        assert!(matches!(found(text), Err(Denied::Missing { kind: "job", .. })), "{text}");
    }
    let several = found("abcd").unwrap_err().to_string();
    assert!(several.contains("abcd010000000000 and abcd020000000000"), "{several}");
    let writes = *rack.fleet.jobs.keys().next().unwrap();
    assert_eq!(found(&writes.to_string()[..8]), Ok(writes), "of either kind");
}

//! Jobs: resumed, failed, verified.

use fleet::job::JobState;
use fleet::{Event, Reply};
use protocol::{JobId, Phase, Progress, Receipt, Task, Verify};

use crate::rack::{MAC, Rack, progress};

fn task(reply: Reply) -> Task {
    match reply {
        Reply::Task(task) => task,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_job_is_the_same_job_after_a_power_cut() {
    let (mut rack, node, job) = Rack::imaging("control");
    let Task::Image(first) = task(rack.asks(node).unwrap().reply) else { panic!() };
    rack.bring(Event::Progressed { node, progress: progress(job, Phase::Disarm, 0) }).unwrap();
    rack.hello(1, MAC, true).unwrap();
    let Task::Image(again) = task(rack.asks(node).unwrap().reply) else { panic!() };
    assert_eq!((again.job, &again.target), (first.job, &first.target));
    assert_eq!(rack.fleet.jobs[&job].takes, 3);
}

#[test]
fn an_agent_on_another_job_is_stopped() {
    let (mut rack, node, _) = Rack::imaging("control");
    let foreign = progress(JobId([7; 8]), Phase::Write, 1);
    let outcome = rack.bring(Event::Progressed { node, progress: foreign }).unwrap();
    assert_eq!(outcome.reply, Reply::GoOn(false));
    assert!(outcome.changes.is_empty());
}

#[test]
fn a_failure_asks_for_a_person_and_retry_goes_on_with_the_same_job() {
    let (mut rack, node, job) = Rack::imaging("control");
    let mut failed = progress(job, Phase::Write, 5);
    failed.failed = Some("writing serial:SYS at byte 4096: No space left on device".to_owned());
    rack.bring(Event::Progressed { node, progress: failed }).unwrap();
    assert_eq!(rack.state(), "attention");
    assert!(matches!(rack.fleet.jobs[&job].state, JobState::Failed { .. }));
    let why = fleet::patience::wait(&rack.fleet, rack.only()).unwrap().reason;
    assert!(why.contains("byte 4096"), "{why}");
    assert!(matches!(task(rack.asks(node).unwrap().reply), Task::Wait { .. }));
    assert_ne!(fleet::boot_task(&rack.fleet, &MAC.parse().unwrap()), pxe::script::BootTask::LocalDisk);
    rack.bring(Event::Retry { node }).unwrap();
    let Task::Image(again) = task(rack.asks(node).unwrap().reply) else { panic!() };
    assert_eq!(again.job, job);
}

#[test]
fn a_receipt_for_something_else_is_refused() {
    let (mut rack, node, job) = Rack::imaging("control");
    let mut row = rack.fleet.jobs[&job].clone();
    row.image = pack::Digest::of(b"another");
    rack.fleet.jobs.insert(job, row);
    let good_image = pack::Digest::of(b"control");
    let receipt = protocol::Receipt {
        job,
        image: good_image,
        disk: rack.fleet.jobs[&job].target.disk.clone(),
        total_bytes: 1,
        written_bytes: 1,
        same_bytes: 0,
        fetched_bytes: 1,
        milliseconds: 1,
        verify: Verify::Readback,
        proof: None,
    };
    rack.bring(Event::Verified { node, receipt }).unwrap_err();
    assert_eq!(rack.state(), "imaging");
}

#[test]
fn a_receipt_that_is_not_about_the_whole_image_is_refused() {
    const ALL: u64 = 1 << 30;
    let table = [
        (0, 0, 0),
        (ALL - 1, ALL - 1, 0),
        (ALL + 1, ALL + 1, 0),
        (ALL, ALL - 1, 0),
        (ALL, ALL, 1),
        (ALL, u64::MAX, ALL + 1),
    ];
    let (mut rack, node, job) = Rack::imaging("control");
    for (total_bytes, written_bytes, same_bytes) in table {
        let receipt = Receipt { total_bytes, written_bytes, same_bytes, ..rack.receipt(job) };
        let why = rack.bring(Event::Verified { node, receipt }).unwrap_err().to_string();
        assert!(why.contains(&format!("{ALL} bytes were to be read back")), "{why}");
        assert_eq!(rack.state(), "imaging");
    }
    let receipt = Receipt { written_bytes: ALL / 2, same_bytes: ALL / 2, ..rack.receipt(job) };
    rack.bring(Event::Verified { node, receipt }).unwrap();
    assert_eq!(rack.state(), "booting");
}

#[test]
fn a_disk_is_proven_as_the_plan_says_and_no_less() {
    let (mut rack, node) = Rack::ready("control");
    let plan = rack.plan_proven(node, Verify::Stream).unwrap();
    assert_eq!(fleet::view::plan_view(&rack.fleet, &plan).verify, "stream");
    let job = rack.apply(&plan.id).unwrap();
    let Task::Image(told) = task(rack.asks(node).unwrap().reply) else { panic!("no image") };
    assert_eq!(told.verify, Verify::Stream);
    // Nothing but the tables is read back: what is written is all there is to do.
    let written = Progress { done_bytes: 1 << 30, ..progress(job, Phase::Arm, 1 << 30) };
    rack.bring(Event::Progressed { node, progress: written }).unwrap();
    assert_eq!(rack.state(), "verifying");
    assert_eq!(fleet::view::job_row(&rack.fleet, &rack.fleet.jobs[&job]).percent, 99);
    let other = Receipt { verify: Verify::Readback, ..rack.receipt(job) };
    let why = rack.bring(Event::Verified { node, receipt: other }).unwrap_err().to_string();
    assert!(why.contains("it is by verify=readback, and the job asks for stream"), "{why}");
    rack.bring(Event::Verified { node, receipt: rack.receipt(job) }).unwrap();
    let row = &rack.fleet.nodes[&node];
    let view = fleet::view::node_view(&rack.fleet, &rack.site(), row, rack.now);
    assert_eq!(view.receipt.unwrap().verify, "stream");
    // What nothing was said of is read back, and a receipt of less is refused.
    let (mut rack, node, job) = Rack::imaging("control");
    let less = Receipt { verify: Verify::Stream, ..rack.receipt(job) };
    rack.bring(Event::Verified { node, receipt: less }).unwrap_err();
    assert_eq!(rack.state(), "imaging");
}

/// The signature was checked before; what it says is checked here.
#[test]
fn a_proof_that_adds_up_to_something_else_is_refused_and_the_right_one_can_be_shown() {
    let (mut rack, node, job) = Rack::imaging("control");
    let proof = |root: &[u8]| protocol::Proof {
        root: pack::Digest::of(root),
        serial: "QM1".to_owned(),
        wwn: String::new(),
        durable_bytes: 1 << 30,
        key: protocol::Key([4; 32]),
        signature: protocol::Signature([5; 64]),
    };
    let receipt =
        |rack: &Rack, root: &[u8]| Receipt { proof: Some(Box::new(proof(root))), ..rack.receipt(job) };
    let wrong = Event::Verified { node, receipt: receipt(&rack, b"something else") };
    let why = rack.bring(wrong).unwrap_err().to_string();
    assert!(why.contains("what was read back adds up to"), "{why}");
    let right = receipt(&rack, b"content");
    rack.bring(Event::Verified { node, receipt: right.clone() }).unwrap();
    let row = &rack.fleet.nodes[&node];
    let view = fleet::view::node_view(&rack.fleet, &rack.site(), row, rack.now).receipt.unwrap();
    let shown = view.proof.unwrap();
    assert_eq!(shown.statement, right.statement(&node).unwrap());
    assert_eq!((shown.signed_by, view.image), ("04".repeat(32), right.image.to_string()));
    // What is kept of a node from before proofs is read as before.
    let old = serde_json::to_value(Receipt { proof: None, ..right }).unwrap();
    assert!(old.get("proof").is_none());
    assert_eq!(serde_json::from_value::<Receipt>(old).unwrap().proof, None);
}

#[test]
fn a_repeated_receipt_is_no_error_and_the_disk_boots_from_then_on() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.bring(Event::Progressed { node, progress: progress(job, Phase::ReadBack, 1 << 30) }).unwrap();
    assert_eq!(rack.state(), "verifying");
    assert_eq!(task(rack.verified(node, job).unwrap().reply), Task::Reboot);
    assert_eq!(task(rack.verified(node, job).unwrap().reply), Task::Reboot);
    assert_eq!(rack.state(), "booting");
    assert_eq!(fleet::boot_task(&rack.fleet, &MAC.parse().unwrap()), pxe::script::BootTask::LocalDisk);
    assert_eq!(rack.log.iter().filter(|kind| *kind == "verified").count(), 1);
}

#[test]
fn a_job_without_progress_asks_for_a_person_and_comes_back_by_itself() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.now = rack.now.plus_seconds(3600);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "attention");
    rack.bring(Event::Progressed { node, progress: progress(job, Phase::Write, 9) }).unwrap();
    assert_eq!(rack.state(), "imaging");
}

#[test]
fn a_job_that_is_taken_over_and_over_without_getting_further_needs_a_person() {
    let (mut rack, node, job) = Rack::imaging("control");
    let begun = |rack: &Rack| rack.log.iter().filter(|kind| *kind == "imaging").count();
    let said = begun(&rack);
    // Power cuts: each life gets further, and has its own time.
    for gib in 1..3 {
        rack.now = rack.now.plus_seconds(8 * 60);
        rack.bring(Event::Tick).unwrap();
        rack.bring(Event::Progressed { node, progress: progress(job, Phase::Write, gib << 28) }).unwrap();
        rack.now = rack.now.plus_seconds(8 * 60);
        rack.bring(Event::Tick).unwrap();
        rack.asks(node).unwrap();
    }
    assert_eq!((rack.state(), begun(&rack)), ("imaging", said + 2));
    // Then an agent that falls over at once.
    for _ in 0..9 {
        assert!(matches!(task(rack.asks(node).unwrap().reply), Task::Image(_)));
    }
    assert_eq!((rack.state(), begun(&rack)), ("imaging", said + 2), "told once");
    for _ in 0..2 {
        assert!(matches!(task(rack.asks(node).unwrap().reply), Task::Wait { .. }));
        assert_eq!(rack.state(), "attention", "it asks, and is not taken for somebody who is back");
    }
    let JobState::Failed { why } = &rack.fleet.jobs[&job].state else { panic!() };
    assert!(why.contains("taken the job 10 times and got no further than byte"), "{why}");
    rack.bring(Event::Retry { node }).unwrap();
    assert!(matches!(task(rack.asks(node).unwrap().reply), Task::Image(_)), "a person tries it again");
}

#[test]
fn a_job_ends_when_another_takes_its_place() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.now = rack.now.plus_seconds(3600);
    rack.bring(Event::Tick).unwrap();
    let plan = rack.plan(node).unwrap();
    let next = rack.apply(&plan.id).unwrap();
    let JobState::Failed { why } = &rack.fleet.jobs[&job].state else { panic!() };
    assert_eq!(*why, format!("replaced by job {next}"));
    assert!(rack.fleet.jobs[&job].ended.is_some());
    assert_eq!(rack.fleet.jobs.values().filter(|job| !job.state.ended()).count(), 1);
    let outcome = rack.bring(Event::Progressed { node, progress: progress(job, Phase::Write, 9) }).unwrap();
    assert_eq!(outcome.reply, Reply::GoOn(false));
}

/// The seed carries the certificate that the job was taken with: the first boot must still find it valid.
#[test]
fn no_job_begins_with_a_certificate_that_ends_before_it() {
    let (mut rack, node) = Rack::ready("control");
    let plan = rack.plan(node).unwrap();
    rack.now = rack.now.plus_seconds(2 * 3600);
    let job = rack.apply(&plan.id).unwrap();
    assert_eq!(rack.asks(node).unwrap_err(), fleet::Denied::Expiring);
    assert_eq!((rack.state(), rack.fleet.jobs[&job].takes), ("imaging", 0), "nothing has begun");
    rack.hello(1, MAC, true).unwrap();
    assert!(matches!(task(rack.asks(node).unwrap().reply), Task::Image(_)));
}

#[test]
fn an_agent_that_only_repeats_itself_makes_no_progress() {
    let (mut rack, node, job) = Rack::imaging("control");
    let says = |rack: &mut Rack, done| {
        let progress = progress(job, Phase::Write, done);
        rack.bring(Event::Progressed { node, progress }).unwrap()
    };
    let went_on = |rack: &Rack| rack.fleet.jobs[&job].progressed.unwrap();
    says(&mut rack, 37);
    let last = went_on(&rack);
    while rack.now < last.plus_seconds(14 * 60) {
        rack.now = rack.now.plus_seconds(30);
        says(&mut rack, 37);
        rack.bring(Event::Tick).unwrap();
        assert_eq!((rack.state(), went_on(&rack)), ("imaging", last));
    }
    rack.now = rack.now.plus_seconds(120);
    says(&mut rack, 37);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "attention");
    let reply = says(&mut rack, 37).reply;
    assert_eq!((rack.state(), reply), ("attention", Reply::GoOn(true)), "the same again is nothing new");
    assert!(rack.now.seconds_since(rack.only().heard) < 2, "it is heard nevertheless");
    says(&mut rack, 38);
    assert_eq!(rack.state(), "imaging");
}

//! A server's hardware under load: what fails it, what is only odd, and what is known of one that dies.

use fleet::burn_in::compare::{PEERS_MIN, outliers};
use fleet::burn_in::{BurnIn, End, Wish};
use fleet::certificate::{Stage, Unauthorised, authorise, authorise_erasing};
use fleet::job::{JobState, Work};
use fleet::power::{self, PowerEvent};
use fleet::{Denied, Event, Reply, State, boot_task, patience, view};
use protocol::{CpuFigures, DiskFigures, JobId, NodeId, Part, Task, TestJob, TestReport};
use pxe::script::BootTask;

use crate::rack::{MAC, Rack, hello};

impl Rack {
    fn tests(&mut self, node: NodeId, wish: Wish) -> Result<JobId, Denied> {
        match self.bring(Event::Test { node, wish })?.reply {
            Reply::Job(job) => Ok(job),
            other => panic!("{other:?}"),
        }
    }

    fn takes(&mut self, node: NodeId) -> TestJob {
        match self.asks(node).unwrap().reply {
            Reply::Task(Task::Test(job)) => *job,
            other => panic!("{other:?}"),
        }
    }

    fn tells(&mut self, node: NodeId, report: TestReport) -> bool {
        match self.bring(Event::Tested { node, report: Box::new(report) }).unwrap().reply {
            Reply::GoOn(go_on) => go_on,
            other => panic!("{other:?}"),
        }
    }

    fn boots_as(&mut self, boot: &str) {
        let mut hello = hello(1, MAC);
        hello.boot.boot_id = boot.to_owned();
        self.bring(Event::Hello { hello: Box::new(hello), proven: true, answered: None }).unwrap();
    }

    fn testing(seconds: u64) -> (Self, NodeId, JobId) {
        let (mut rack, node) = Rack::ready("control");
        rack.boots_as("one");
        let job = rack.tests(node, Wish { seconds, ..Wish::quick() }).unwrap();
        let told = rack.takes(node);
        assert_eq!((rack.state(), told.job, told.seconds, told.parts.len()), ("testing", job, seconds, 4));
        (rack, node, job)
    }

    fn row(&self, job: JobId) -> &BurnIn {
        &self.fleet.burn_ins[&job]
    }

    fn cause(&self) -> String {
        match &self.only().state {
            State::Attention { phase, cause, .. } if phase == "testing" => cause.clone(),
            other => panic!("{other:?}"),
        }
    }

    fn ticks(&mut self, seconds: u64) {
        self.now = self.now.plus_seconds(seconds);
        self.bring(Event::Tick).unwrap();
    }
}

fn at(job: JobId, part: Part, seconds: u64) -> TestReport {
    TestReport { part: Some(part), milliseconds: seconds * 1000, ..TestReport::begin(job) }
}

fn over(job: JobId) -> TestReport {
    TestReport { over: true, milliseconds: 60_000, ..TestReport::begin(job) }
}

#[test]
fn without_an_error_it_is_ready_and_the_figures_are_kept() {
    let (mut rack, node, job) = Rack::testing(60);
    assert!(matches!(boot_task(&rack.fleet, &MAC.parse().unwrap()), BootTask::Agent { .. }));
    assert!(rack.tells(node, at(job, Part::Memory, 30)));
    let view = view::test_view(&rack.fleet, rack.row(job));
    assert_eq!((view.verdict.as_str(), view.part.as_deref(), view.percent), ("running", Some("memory"), 50));
    let row = view::job_row(&rack.fleet, Work::of(&rack.fleet, job).unwrap());
    assert_eq!((row.kind.as_str(), row.phase.as_deref(), row.percent), ("test", Some("memory"), 50));
    let wait = patience::wait(&rack.fleet, rack.only()).unwrap();
    assert!(wait.reason.contains("while testing memory, after 30s") && wait.until.is_some(), "{wait:?}");

    let mut last = over(job);
    last.figures.cpu = Some(CpuFigures { cores: 2, median: 500, ..CpuFigures::default() });
    assert!(!rack.tells(node, last.clone()), "there is nothing to go on with");
    assert_eq!((rack.state(), rack.row(job).end), ("ready", Some(End::Passed)));
    let node_view = view::node_view(&rack.fleet, &rack.site(), rack.only(), rack.now);
    let test = node_view.test.unwrap();
    assert_eq!((test.verdict.as_str(), test.percent, test.figures.cpu.unwrap().median), ("passed", 100, 500));
    // The answer was lost: it says it again, and nothing is begun anew.
    assert!(!rack.tells(node, last));
    assert_eq!(rack.state(), "ready");
    let kept = serde_json::to_string(rack.row(job)).unwrap();
    assert_eq!(serde_json::from_str::<BurnIn>(&kept).unwrap(), *rack.row(job));
    // And an image is put on it as on any other.
    rack.plan(node).unwrap();
    assert_eq!(rack.state(), "planned");
    rack.tests(node, Wish::quick()).unwrap();
    assert!(rack.fleet.plans.values().all(|plan| plan.state != fleet::plan::PlanState::Open));
}

#[test]
fn one_error_fails_it_and_a_person_decides() {
    let (mut rack, node, job) = Rack::testing(60);
    let mut last = over(job);
    last.fault(Part::Cpu, "core 3 computes wrong", 2);
    last.fault(Part::Memory, "byte 0x1000 is wrong", 1);
    rack.tells(node, last);
    assert_eq!(rack.row(job).end, Some(End::Faulty));
    let cause = rack.cause();
    assert!(cause.contains("cpu: core 3 computes wrong (2x); memory: byte 0x1000 is wrong"), "{cause}");
    assert!(
        rack.asks(node).unwrap().reply
            == Reply::Task(Task::Wait { reason: format!("needs attention: {cause}") })
    );
    // Again, with a new job; the old result is kept.
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(rack.state(), "testing");
    let again = rack.takes(node).job;
    assert_ne!(again, job);
    rack.tells(node, over(again));
    assert_eq!((rack.state(), view::test_views(&rack.fleet, rack.only()).len()), ("ready", 2));
    // Or it is used all the same.
    let third = rack.tests(node, Wish::quick()).unwrap();
    rack.takes(node);
    let mut last = over(third);
    last.fault(Part::Disk, "sector 7", 1);
    rack.tells(node, last);
    rack.bring(Event::Cancel { job: third }).unwrap();
    assert_eq!((rack.state(), rack.row(third).end), ("ready", Some(End::Faulty)));
}

#[test]
fn one_that_dies_under_load_is_known_by_its_new_boot() {
    let (mut rack, node, job) = Rack::testing(600);
    assert!(rack.tells(node, at(job, Part::Memory, 190)));
    // Silence comes first.
    rack.ticks(301);
    let cause = rack.cause();
    assert!(cause.contains("went silent while testing memory, after 3m 10s"), "{cause}");
    assert_eq!(rack.row(job).state, JobState::Running, "it may still be heard of");
    rack.boots_as("two");
    rack.asks(node).unwrap();
    let cause = rack.cause();
    assert!(cause.starts_with("it died while testing memory, after 3m 10s"), "{cause}");
    assert_eq!(rack.row(job).end, Some(End::Died));
    // It is not tested by itself until it dies again.
    assert!(matches!(rack.asks(node).unwrap().reply, Reply::Task(Task::Wait { .. })));
    // What the agent of before has to say is too late.
    assert!(!rack.tells(node, over(job)));
    assert_eq!(rack.row(job).end, Some(End::Died));
}

#[test]
fn one_that_was_away_goes_on_and_an_agent_that_fell_over_begins_again() {
    let (mut rack, node, job) = Rack::testing(600);
    rack.tells(node, at(job, Part::Cpu, 10));
    rack.ticks(301);
    assert_eq!(rack.state(), "attention");
    assert!(rack.tells(node, at(job, Part::Cpu, 320)), "the network was away");
    assert_eq!(rack.state(), "testing");
    // The same boot: the agent has fallen over.
    rack.boots_as("one");
    assert_eq!(rack.takes(node).job, job);
    assert_eq!((rack.state(), rack.row(job).takes), ("testing", 2));
    // One that falls over again and again, or does not understand the task, is not asked for ever.
    for _ in 0..30 {
        rack.asks(node).unwrap();
    }
    let cause = rack.cause();
    assert!(cause.contains("too old for what it is to do"), "{cause}");
}

#[test]
fn an_operator_who_restarts_it_has_not_found_a_fault() {
    let (mut rack, node, job) = Rack::testing(600);
    rack.tells(node, at(job, Part::Disk, 9));
    let wish = power::Wish::Cycle;
    let what = Box::new(PowerEvent::Wish { wish, confirmed: None, force: false });
    rack.bring(Event::Power { node, what }).unwrap();
    rack.ticks(1);
    assert!(
        !rack.tells(node, at(job, Part::Disk, 11)),
        "its agent is to ask, and to hear that it shall restart"
    );
    assert_eq!(rack.asks(node).unwrap().reply, Reply::Task(Task::Reboot));
    rack.boots_as("two");
    rack.asks(node).unwrap();
    assert_eq!((rack.state(), rack.row(job).end), ("ready", Some(End::Stopped)));
}

#[test]
fn it_is_stopped_by_word_and_ends_by_its_limit() {
    let (mut rack, node, job) = Rack::testing(60);
    rack.bring(Event::Cancel { job }).unwrap();
    assert_eq!((rack.state(), rack.row(job).end), ("ready", Some(End::Stopped)));
    assert!(!rack.tells(node, at(job, Part::Cpu, 1)), "the agent hears of it");
    rack.bring(Event::Cancel { job }).unwrap_err();

    let job = rack.tests(node, Wish { seconds: 60, ..Wish::quick() }).unwrap();
    rack.takes(node);
    let mut seconds = 0;
    while rack.state() == "testing" {
        seconds += 60;
        rack.now = rack.now.plus_seconds(60);
        rack.tells(node, at(job, Part::Disk, seconds));
        assert!(seconds < 3600, "for ever");
    }
    assert!(rack.cause().contains("far longer than it was to take"), "{}", rack.cause());
    assert_eq!(rack.row(job).end, Some(End::Unable));
    rack.bring(Event::Reject { node, why: "no".to_owned() }).unwrap();
}

#[test]
fn who_is_tested_and_who_is_not() {
    let (mut rack, node, _) = Rack::active("control");
    let denied = rack.tests(node, Wish::quick()).unwrap_err().to_string();
    assert!(denied.contains("n1 is active: testing is not possible now"), "{denied}");
    let (mut rack, node) = Rack::ready("control");
    let none = Wish { parts: [].into(), seconds: 60 };
    assert!(rack.tests(node, none).unwrap_err().to_string().contains("nothing is to be tested"));
    for seconds in [0, 8 * 86_400] {
        rack.tests(node, Wish { seconds, ..Wish::quick() }).unwrap_err();
    }
    rack.bring(Event::Hold { node, why: "lent".to_owned() }).unwrap();
    assert!(rack.tests(node, Wish::quick()).unwrap_err().to_string().contains("n1 is held"));
    rack.bring(Event::Release { node }).unwrap();
    rack.tests(node, Wish::quick()).unwrap();
    rack.bring(Event::Hold { node, why: "lent".to_owned() }).unwrap_err();
    let words = rack.tests(node, Wish::quick()).unwrap_err().to_string();
    assert!(words.contains("is testing"), "{words}");
}

/// A test may outlast the certificate that it was taken with.
#[test]
fn its_certificate_counts_as_long_as_it_is_tested() {
    let (mut rack, node, job) = Rack::testing(86_400);
    let print = rack.deploy_certificate();
    let later = rack.now.plus_seconds(Stage::Deploy.seconds() + 1);
    assert_eq!(
        authorise(&rack.fleet, Some(&print), Stage::Deploy, later).unwrap_err(),
        Unauthorised::Expired
    );
    authorise_erasing(&rack.fleet, Some(&print), later).unwrap();
    rack.tells(node, over(job));
    authorise_erasing(&rack.fleet, Some(&print), later).unwrap_err();
}

#[test]
fn where_the_site_wants_it_every_new_server_is_tested_once() {
    let mut rack = Rack::new();
    rack.fleet.first_test = Some(Wish::quick());
    rack.hello(1, MAC, false).unwrap();
    let node = rack.only().id;
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(1, MAC, true).unwrap();
    let job = rack.takes(node);
    assert_eq!((rack.state(), job.seconds), ("testing", 60));
    rack.tells(node, over(job.job));
    assert_eq!(rack.state(), "ready");
    // Known already: it comes back, and is not tested once more.
    rack.bring(Event::Reject { node, why: "no".to_owned() }).unwrap();
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(1, MAC, false).unwrap();
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(1, MAC, true).unwrap();
    assert!(matches!(rack.asks(node).unwrap().reply, Reply::Task(Task::Wait { .. })));
    assert_eq!(rack.state(), "ready");
}

/// So many servers alike, each with a disk, the last one of which is as slow as said.
fn alike(count: u8, cpu: u64, disk: u64, p99: u64) -> (Rack, JobId) {
    let (mut rack, _, job) = Rack::testing(60);
    let template = rack.row(job).clone();
    for number in 0..count {
        let is_last = number + 1 == count;
        let mut row = template.clone();
        let mut report = over(JobId([number; 8]));
        let noise = u64::from(number % 3) * 4;
        report.figures.cpu = Some(CpuFigures {
            median: if is_last { cpu } else { 1000 + noise },
            slowest: 990,
            ..CpuFigures::default()
        });
        report.figures.disks.push(DiskFigures {
            disk: format!("serial:{number}"),
            model: "SSD".to_owned(),
            bytes: 9,
            start: Some(if is_last { disk } else { 500_000 + noise }),
            p99_micros: Some(if is_last { p99 } else { 200 + noise }),
            ..DiskFigures::default()
        });
        (row.id, row.node) = (JobId([number; 8]), NodeId([number; 16]));
        (row.end, row.state, row.report) = (Some(End::Passed), JobState::Done, Some(report));
        rack.fleet.put(fleet::Change::BurnIn(Box::new(row)));
    }
    (rack, JobId([count - 1; 8]))
}

#[test]
fn what_is_far_from_its_like_is_suspicious_and_no_failure() {
    let odd = |count, cpu, disk, p99| {
        let (rack, last) = alike(count, cpu, disk, p99);
        let found = outliers(&rack.fleet, rack.row(last));
        let verdict = view::test_view(&rack.fleet, rack.row(last)).verdict;
        assert_eq!(verdict, if found.is_empty() { "passed" } else { "suspicious" });
        found.into_iter().map(|far| (far.measure.what, far.measure.value, far.median)).collect::<Vec<_>>()
    };
    assert_eq!(odd(6, 1000, 500_000, 200), [], "like the others");
    assert_eq!(odd(6, 700, 500_000, 200), [("computing, core in the middle".to_owned(), 700, 1004)]);
    assert_eq!(odd(6, 1000, 100_000, 200), [("serial:5: reading at its start".to_owned(), 100_000, 500_004)]);
    assert_eq!(odd(6, 1000, 500_000, 9000), [("serial:5: 4 KiB at random, 99 %".to_owned(), 9000, 204)]);
    assert_eq!(odd(6, 2000, 900_000, 10), [], "better is no worry");
    assert_eq!(odd(6, 950, 480_000, 230), [], "so little does not matter");
    let few = u8::try_from(PEERS_MIN).unwrap();
    assert_eq!(odd(few, 1, 1, 90_000), [], "too few others to say anything");
    assert_eq!(odd(few + 1, 1, 500_000, 200).len(), 1);
}

#[test]
fn only_servers_of_its_make_are_its_like() {
    let (mut rack, last) = alike(6, 500, 500_000, 200);
    let mut other = rack.row(last).clone();
    other.model.cpu = "another processor".to_owned();
    rack.fleet.put(fleet::Change::BurnIn(Box::new(other)));
    assert_eq!(outliers(&rack.fleet, rack.row(last)), []);
    // Only the newest test of each counts: a part may have been replaced.
    let mut old = rack.row(JobId([0; 8])).clone();
    (old.id, old.ended) = (JobId([0xaa; 8]), None);
    rack.fleet.put(fleet::Change::BurnIn(Box::new(old)));
    assert_eq!(outliers(&rack.fleet, rack.row(JobId([1; 8]))), []);
}

//! First boot, active, drift, rebuild.

use fleet::event::UnitVerb;
use fleet::job::JobState;
use fleet::plan::PlanKind;
use fleet::{Catalog, Denied, Event, State};
use protocol::{Answer, Drift, Expectation, Key, Phase, Report};
use pxe::script::BootTask;

use crate::rack::{MAC, Rack, progress, unit};

#[test]
fn active_means_the_whole_document_and_every_unit() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.verified(node, job).unwrap();
    rack.enrols(node, 9).unwrap();
    assert_eq!(rack.state(), "enrolling");
    rack.bring(Event::Reported { node, report: Box::default() }).unwrap();
    assert_eq!(rack.state(), "enrolling", "a report without the document applied");
    rack.reports(node, "activating").unwrap();
    assert_eq!(rack.state(), "enrolling", "a unit that is still starting");
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
    assert_eq!(rack.fleet.jobs[&job].state, JobState::Done);
}

#[test]
fn a_node_that_does_not_come_up_says_which_unit() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.verified(node, job).unwrap();
    rack.enrols(node, 9).unwrap();
    rack.reports(node, "failed").unwrap();
    assert!(rack.log.contains(&"unit-failed".to_owned()));
    rack.now = rack.now.plus_seconds(7200);
    rack.bring(Event::Tick).unwrap();
    let State::Attention { cause, .. } = &rack.only().state else { panic!() };
    assert!(cause.contains("db.service") && cause.contains("its last words"), "{cause}");
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active", "what was missing came after all");
}

#[test]
fn drift_is_an_event() {
    let (mut rack, node, _) = Rack::active("control");
    let drift = Drift {
        what: "db.service".to_owned(),
        found: "stopped by somebody else".to_owned(),
        done: "started again".to_owned(),
    };
    let report = Report {
        generation: rack.only().document.generation,
        units: vec![unit("db.service", "active")],
        drift: vec![drift],
        ..Report::default()
    };
    let outcome = rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
    assert!(outcome.facts.iter().any(|fact| fact.kind == "drift" && fact.text.contains("started again")));
}

#[test]
fn a_stopped_unit_is_wanted_stopped_and_the_node_stays_well() {
    let (mut rack, node, _) = Rack::active("control");
    let before = rack.only().document.generation;
    let stop = |verb| Event::Unit { node, unit: "db.service".to_owned(), verb };
    rack.bring(stop(UnitVerb::Stop)).unwrap();
    assert!(rack.only().document.generation > before);
    rack.reports(node, "inactive").unwrap();
    assert_eq!(fleet::patience::wait(&rack.fleet, rack.only()), None);
    rack.bring(stop(UnitVerb::Start)).unwrap();
    assert!(rack.only().wishes.stopped.is_empty());
    let unknown = Event::Unit { node, unit: "ssh.service".to_owned(), verb: UnitVerb::Stop };
    assert!(matches!(rack.bring(unknown).unwrap_err(), Denied::Missing { kind: "unit", .. }));
}

#[test]
fn a_rebuild_keeps_who_the_node_is_and_voids_its_old_certificates() {
    let (mut rack, node, _) = Rack::active("control");
    let (name, generation) = (rack.only().name.clone(), rack.only().generation);
    let plan = rack.plan(node).unwrap();
    assert_eq!(plan.kind, PlanKind::Rebuild);
    assert_eq!(plan.target.expect, Expectation::Own);
    assert_eq!(plan.erases[0].label, "control of n1", "a rebuild says what it erases");
    assert_eq!(rack.state(), "active", "a plan changes nothing");
    let job = rack.apply(&plan.id).unwrap();
    assert_eq!(rack.state(), "draining");
    assert!(rack.only().orders.iter().any(|order| order.kind.redeploys()));
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    let hello = rack.hello(5, MAC, true).unwrap();
    assert_eq!(hello.effects.len(), 1, "the ticket is the approval");
    assert_eq!(rack.only().generation, generation + 1);
    rack.asks(node).unwrap();
    assert_eq!(rack.state(), "imaging");
    rack.verified(node, job).unwrap();
    rack.enrols(node, 6).unwrap();
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
    assert_eq!((rack.only().id, &rack.only().name), (node, &name));
}

#[test]
fn a_power_cut_while_a_rebuild_is_ordered_needs_no_second_approval() {
    let (mut rack, node, _) = Rack::active("control");
    let boots = |rack: &Rack| fleet::boot_task(&rack.fleet, &MAC.parse().unwrap());
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    assert_eq!(boots(&rack), BootTask::LocalDisk, "its ticket has not come yet");
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    assert_ne!(boots(&rack), BootTask::LocalDisk);
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    // The ramdisk has said hello, and loses power before it asks for its job.
    rack.hello(5, MAC, true).unwrap();
    assert_eq!(rack.state(), "draining");
    assert_ne!(boots(&rack), BootTask::LocalDisk);
    assert_eq!(rack.hello(5, MAC, true).unwrap().effects.len(), 1, "the ticket is good for it again");
}

#[test]
fn a_node_that_hands_in_no_ticket_comes_into_the_ramdisk_when_its_time_is_over() {
    let (mut rack, node, _) = Rack::active("control");
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    rack.now = rack.now.plus_seconds(7200);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "attention");
    assert_ne!(fleet::boot_task(&rack.fleet, &MAC.parse().unwrap()), BootTask::LocalDisk);
}

#[test]
fn nobody_hands_in_a_ticket_unasked() {
    let (mut rack, node, _) = Rack::active("control");
    let refused = rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap_err();
    assert!(matches!(refused, Denied::State { .. }), "{refused}");
    let stranger = rack.hello(5, MAC, true).unwrap();
    assert!(stranger.effects.is_empty());
}

#[test]
fn a_rebuild_that_did_not_begin_is_ordered_again() {
    let (mut rack, node, _) = Rack::active("control");
    let plan = rack.plan(node).unwrap();
    let job = rack.apply(&plan.id).unwrap();
    let first = rack.only().last_order;
    rack.now = rack.now.plus_seconds(7200);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.only().state.phase(), "draining");
    rack.reports(node, "active").unwrap();
    assert!(rack.only().orders.is_empty(), "the first order is done, as far as the node knows");
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(rack.only().state, State::Draining { job });
    let orders = &rack.only().orders;
    assert!(orders.iter().all(|order| order.id > first && order.kind.redeploys()));
    assert_eq!(orders.len(), 1);
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    rack.hello(5, MAC, true).unwrap();
    rack.asks(node).unwrap();
    assert_eq!(rack.state(), "imaging");
}

#[test]
fn a_node_that_is_retried_while_it_comes_up_still_gets_new_documents() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.verified(node, job).unwrap();
    rack.enrols(node, 9).unwrap();
    rack.now = rack.now.plus_seconds(7200);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.only().state.phase(), "enrolling");
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(rack.only().state, State::Enrolling { job: Some(job) });
    for state in [State::Enrolling { job: Some(job) }, State::Booting { job }] {
        rack.fleet.nodes.get_mut(&node).unwrap().state = state;
        let before = rack.only().document.generation;
        let stop = Event::Unit { node, unit: "db.service".to_owned(), verb: UnitVerb::Stop };
        let start = Event::Unit { node, unit: "db.service".to_owned(), verb: UnitVerb::Start };
        rack.bring(stop).unwrap();
        assert!(rack.only().document.generation > before);
        rack.bring(start).unwrap();
    }
}

/// Power is cut between the tables and the receipt, and the firmware has the disk first.
#[test]
fn a_system_that_comes_up_without_a_receipt_says_the_same() {
    for late in [false, true] {
        let (mut rack, node, job) = Rack::imaging("control");
        rack.enrols(node, 9).unwrap_err();
        rack.bring(Event::Progressed { node, progress: progress(job, Phase::ReadBack, 1 << 30) }).unwrap();
        if late {
            rack.now = rack.now.plus_seconds(7200);
            rack.bring(Event::Tick).unwrap();
        }
        let (certificate, key) = ("another job's".to_owned(), Key([9; 32]));
        let other = Event::Enrolled { node, certificate, key, uptime_seconds: 20 };
        let refused = rack.bring(other).unwrap_err();
        assert!(matches!(refused, Denied::State { .. }), "{refused}");
        assert_eq!(rack.enrols(node, 9).unwrap().effects.len(), 1);
        assert_eq!(rack.only().state, State::Enrolling { job: Some(job) });
        assert_eq!(rack.only().installed.as_ref().unwrap().job, job);
        rack.reports(node, "active").unwrap();
        assert_eq!((rack.state(), &rack.fleet.jobs[&job].state), ("active", &JobState::Done));
    }
}

#[test]
fn a_node_that_can_not_leave_its_system_says_why() {
    let (mut rack, node, _) = Rack::active("control");
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    let order = rack.only().last_order;
    // The order is ticked off before the node goes down; that it did not comes after.
    rack.reports(node, "active").unwrap();
    let says = |order, error: &str| {
        let answer = Answer { order, lines: Vec::new(), error: Some(error.to_owned()) };
        let report = Report { done_order: order, answers: vec![answer], ..Report::default() };
        Event::Reported { node, report: Box::new(report) }
    };
    rack.bring(says(order - 1, "there is no such unit")).unwrap();
    assert_eq!(rack.state(), "draining", "another order's answer");
    rack.bring(says(order, "the seed partition is not there")).unwrap();
    let State::Attention { cause, phase, .. } = &rack.only().state else { panic!() };
    assert_eq!(phase, "draining");
    assert!(cause.contains("the seed partition is not there"), "{cause}");
    rack.bring(says(order, "the seed partition is not there")).unwrap();
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(rack.state(), "draining");
}

#[test]
fn a_unit_that_shall_not_run_keeps_nobody_from_being_active() {
    let (mut rack, node, job) = Rack::imaging("control");
    let db = "name='db'\nsummary=''\n[[units]]\nname='db.service'\nenabled=true\nrunning=true\n\
              [[units]]\nname='trial.service'\nenabled=false\nrunning=false";
    let files = [
        ("roles/base.toml", "name='base'\nsummary=''\nservices=[]"),
        ("roles/control.toml", "name='control'\nsummary=''\nservices=['db']"),
        ("services/db/service.toml", db),
    ];
    rack.catalog = Catalog::parse(files).unwrap();
    rack.verified(node, job).unwrap();
    rack.enrols(node, 9).unwrap();
    let tells = |rack: &mut Rack, active: &str| {
        let generation = rack.only().document.generation;
        let units = vec![unit("db.service", active), unit("trial.service", "inactive")];
        let report = Report { generation, units, ..Report::default() };
        rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
    };
    tells(&mut rack, "activating");
    assert_eq!(rack.state(), "enrolling", "the unit that shall run does not run yet");
    tells(&mut rack, "active");
    assert_eq!(rack.state(), "active");
    assert_eq!(fleet::patience::wait(&rack.fleet, rack.only()), None);
    let row = fleet::view::node_row(&rack.fleet, &rack.site(), rack.only(), rack.now);
    assert_eq!((row.health.as_str(), row.units_up, row.units), ("ok", Some(1), Some(1)));
}

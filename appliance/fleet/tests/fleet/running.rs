//! First boot, active, drift, rebuild.

use fleet::event::UnitVerb;
use fleet::job::JobState;
use fleet::plan::PlanKind;
use fleet::{Catalog, Denied, Event, State};
use protocol::{Drift, Expectation, Key, OrderKind, Report};

use crate::rack::{MAC, Rack, unit};

#[test]
fn active_means_the_whole_document_and_every_unit() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.verified(node, job).unwrap();
    rack.bring(Event::Enrolled { node, key: Key([9; 32]), uptime_seconds: 20 }).unwrap();
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
    rack.bring(Event::Enrolled { node, key: Key([9; 32]), uptime_seconds: 20 }).unwrap();
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
    assert!(rack.only().orders.iter().any(|order| order.kind == OrderKind::Redeploy));
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    let hello = rack.hello(5, MAC, true).unwrap();
    assert_eq!(hello.effects.len(), 1, "the ticket is the approval");
    assert_eq!(rack.only().generation, generation + 1);
    rack.asks(node).unwrap();
    assert_eq!(rack.state(), "imaging");
    rack.verified(node, job).unwrap();
    rack.bring(Event::Enrolled { node, key: Key([6; 32]), uptime_seconds: 20 }).unwrap();
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
    assert_eq!((rack.only().id, &rack.only().name), (node, &name));
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
fn a_unit_that_shall_not_run_keeps_nobody_from_being_active() {
    let (mut rack, node, job) = Rack::imaging("control");
    let db = "name='db'\nsummary=''\n[[units]]\nname='db.service'\nenabled=true\nrunning=true\n\
              [[units]]\nname='trial.service'\nenabled=false\nrunning=false";
    let files = [
        ("roles/base.toml", "name='base'\nsummary=''\nservices=[]"),
        ("roles/control.toml", "name='control'\nsummary=''\nservices=['db']"),
        ("services/db.toml", db),
    ];
    rack.catalog = Catalog::parse(files).unwrap();
    rack.verified(node, job).unwrap();
    rack.bring(Event::Enrolled { node, key: Key([9; 32]), uptime_seconds: 20 }).unwrap();
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

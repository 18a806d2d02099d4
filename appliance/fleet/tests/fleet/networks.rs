//! Other DHCP servers: who is answered, what jobs do, and when all is well again.

use std::net::Ipv4Addr;

use fleet::network::{Network, Noticed, Rule, Sighting};
use fleet::{Change, Event, Outcome, Reply, State};
use protocol::{Phase, Task};
use pxe::HttpBase;
use pxe::dhcp::{Mode, Policy, Room, Stance};

use crate::rack::{Rack, progress};

const OWN: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 5);
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 9);

/// Puts the rack's servers on a watched network.
pub(crate) fn wire(rack: &mut Rack, rule: Rule) {
    let network = Network::new(&pxe::dhcp::Network::single("prov0", policy()), rule);
    rack.fleet.put(Change::Network(Box::new(network)));
}

fn policy() -> Policy {
    Policy {
        server: OWN,
        subnet: "10.77.0.0/24".parse().unwrap(),
        relay: None,
        pools: vec![],
        lease_seconds: 3600,
        router: None,
        dns: vec![],
        mode: Mode::Full,
        proxy: false,
        http: HttpBase::at(OWN),
    }
}

fn stance(rack: &Rack) -> Stance {
    rack.fleet.networks["prov0"].stance()
}

pub(crate) fn sighted(rack: &mut Rack, noticed: Noticed, site: Option<&str>, server: Ipv4Addr) -> Outcome {
    let sighting = Sighting { server, noticed, boots: false, site: site.map(str::to_owned) };
    rack.bring(Event::Foreign { interface: "prov0".to_owned(), sighting }).unwrap()
}

fn looked(rack: &mut Rack) -> Outcome {
    rack.bring(Event::Looked { interface: "prov0".to_owned() }).unwrap()
}

fn asks(rack: &mut Rack) -> Task {
    let node = rack.only().id;
    match rack.asks(node).unwrap().reply {
        Reply::Task(task) => task,
        other => panic!("{other:?}"),
    }
}

#[test]
fn nobody_is_answered_before_the_first_look() {
    let mut rack = Rack::new();
    wire(&mut rack, Rule::Pause);
    assert_eq!(stance(&rack), Stance::Listening);
    looked(&mut rack);
    assert_eq!(stance(&rack), Stance::Serve);
    rack.bring(Event::Plugged { interface: "prov0".to_owned() }).unwrap();
    assert_eq!(stance(&rack), Stance::Listening, "the cable may lead to another network now");
    let unknown = rack.bring(Event::Looked { interface: "eth9".to_owned() });
    assert!(unknown.unwrap_err().to_string().contains("network list"));
}

#[test]
fn each_rule_beside_another_server() {
    for (rule, then) in
        [(Rule::Pause, Stance::Paused(OTHER)), (Rule::Proxy, Stance::Proxy), (Rule::Ignore, Stance::Serve)]
    {
        let mut rack = Rack::new();
        wire(&mut rack, rule);
        looked(&mut rack);
        let facts = sighted(&mut rack, Noticed::Heard, None, OTHER).facts;
        assert_eq!(stance(&rack), then, "{rule:?}");
        let [fact] = facts.as_slice() else { panic!("{facts:?}") };
        assert_eq!(fact.kind, "foreign-dhcp");
        assert!(fact.text.contains("10.77.0.9") && fact.text.contains("prov0"), "{}", fact.text);
        assert!(sighted(&mut rack, Noticed::Heard, None, OTHER).facts.is_empty(), "said once");
    }
}

#[test]
fn a_server_that_answers_is_gone_after_two_looks_without_an_answer() {
    let mut rack = Rack::new();
    wire(&mut rack, Rule::Pause);
    for _ in 0..5 {
        sighted(&mut rack, Noticed::Answered, None, OTHER);
        assert!(looked(&mut rack).facts.is_empty());
        assert_eq!(stance(&rack), Stance::Paused(OTHER));
    }
    assert!(looked(&mut rack).facts.is_empty());
    let facts = looked(&mut rack).facts;
    assert_eq!(facts.len(), 1, "{facts:?}");
    assert_eq!((facts[0].kind.as_str(), stance(&rack)), ("foreign-dhcp-gone", Stance::Serve));
}

#[test]
fn a_server_that_answers_only_those_it_knows_is_gone_when_it_is_silent_for_long() {
    let mut rack = Rack::new();
    wire(&mut rack, Rule::Pause);
    sighted(&mut rack, Noticed::Chosen, None, OTHER);
    for _ in 0..10 {
        looked(&mut rack);
        assert_eq!(stance(&rack), Stance::Paused(OTHER));
    }
    rack.now = rack.now.plus_seconds(15 * 60);
    looked(&mut rack);
    assert_eq!(stance(&rack), Stance::Serve);
}

/// Of two controllers one goes on: who was there first, and of two that begin at once the one with the lower address.
#[test]
fn two_controllers_do_not_stop_each_other() {
    let low = Ipv4Addr::new(10, 77, 0, 2);
    for (other, was_first, then) in [
        (OTHER, true, Stance::Serve),
        (low, true, Stance::Paused(low)),
        (OTHER, false, Stance::Paused(OTHER)),
        (low, false, Stance::Paused(low)),
    ] {
        let mut rack = Rack::new();
        wire(&mut rack, Rule::Pause);
        if was_first {
            looked(&mut rack);
        }
        let facts = sighted(&mut rack, Noticed::Answered, Some("lab"), other).facts;
        assert!(facts[0].text.contains("Rackwright controller (site \"lab\""), "{facts:?}");
        assert_eq!(stance(&rack), then, "{other} {was_first}");
        looked(&mut rack);
        assert_eq!(stance(&rack), then, "and it stays so");
    }
}

#[test]
fn a_job_waits_and_goes_on_where_it_was() {
    let (mut rack, node, job) = Rack::imaging("control");
    wire(&mut rack, Rule::Pause);
    looked(&mut rack);
    let tells = |rack: &mut Rack, done| {
        rack.bring(Event::Progressed { node, progress: progress(job, Phase::Write, done) }).unwrap().reply
    };
    assert_eq!(tells(&mut rack, 1), Reply::GoOn(true));
    sighted(&mut rack, Noticed::Answered, None, OTHER);
    assert_eq!(tells(&mut rack, 2), Reply::GoOn(false));
    let Task::Wait { reason } = asks(&mut rack) else { panic!("it goes on beside another server") };
    assert!(reason.contains("10.77.0.9"), "{reason}");
    let wait = fleet::patience::wait(&rack.fleet, rack.only()).unwrap();
    assert_eq!((wait.until, wait.reason.contains("10.77.0.9")), (None, true), "no deadline runs: {wait:?}");
    rack.now = rack.now.plus_seconds(3 * 3600);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.only().state, State::Imaging { job });
    rack.hello(1, crate::rack::MAC, true).unwrap();
    for _ in 0..3 {
        looked(&mut rack);
    }
    assert!(matches!(asks(&mut rack), Task::Image(image) if image.job == job));
}

#[test]
fn a_job_that_was_stopped_by_one_that_only_says_that_it_yields_waits_too() {
    let (mut rack, node, job) = Rack::imaging("control");
    wire(&mut rack, Rule::Pause);
    looked(&mut rack);
    sighted(&mut rack, Noticed::Answered, Some("evil"), OTHER);
    assert_eq!(stance(&rack), Stance::Serve);
    let told = rack.bring(Event::Progressed { node, progress: progress(job, Phase::Write, 1) }).unwrap();
    assert_eq!(told.reply, Reply::GoOn(false));
}

#[test]
fn an_image_that_is_taken_waits_too_and_has_all_its_time_afterwards() {
    let (mut rack, node, job) = Rack::capturing(false);
    wire(&mut rack, Rule::Pause);
    looked(&mut rack);
    sighted(&mut rack, Noticed::Answered, None, OTHER);
    let told = rack.bring(Event::Progressed { node, progress: progress(job, Phase::Capture, 1) }).unwrap();
    assert_eq!(told.reply, Reply::GoOn(false));
    for _ in 0..20 {
        let Task::Wait { reason } = asks(&mut rack) else { panic!() };
        assert!(reason.contains("another DHCP server"), "{reason}");
    }
    let wait = fleet::patience::wait(&rack.fleet, rack.only()).unwrap();
    assert!(wait.until.is_none() && wait.reason.contains("another DHCP server, 10.77.0.9"), "{wait:?}");
    rack.now = rack.now.plus_seconds(3600);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "capturing");
    (0..3).for_each(|_| drop(looked(&mut rack)));
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "capturing");
    rack.hello(5, crate::rack::MAC, true).unwrap();
    assert!(matches!(asks(&mut rack), Task::Capture(_)));
}

#[test]
fn a_look_comes_before_a_job_begins() {
    let (mut rack, node) = Rack::ready("control");
    wire(&mut rack, Rule::Pause);
    looked(&mut rack);
    assert!(!rack.fleet.networks["prov0"].wants_look());
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    assert!(rack.fleet.networks["prov0"].wants_look());
    assert!(matches!(asks(&mut rack), Task::Wait { reason } if reason.contains("look")));
    looked(&mut rack);
    assert!(!rack.fleet.networks["prov0"].wants_look());
    assert!(matches!(asks(&mut rack), Task::Image(_)));
}

#[test]
fn doctor_says_what_is_done_beside_others() {
    for (rule, site, result, words) in [
        (Rule::Pause, None, "fail", "nobody is answered"),
        (Rule::Pause, Some("lab"), "warn", "should stop by itself"),
        (Rule::Proxy, None, "ok", "addresses are left to DHCP server 10.77.0.9"),
        (Rule::Ignore, None, "ok", "as configured"),
    ] {
        let mut rack = Rack::new();
        wire(&mut rack, rule);
        let check = |rack: &Rack| fleet::view::others_check(&rack.fleet.networks["prov0"]);
        assert_eq!(check(&rack).result, "warn", "not looked for yet");
        looked(&mut rack);
        assert_eq!(check(&rack).what, "prov0: no other DHCP server");
        sighted(&mut rack, Noticed::Answered, site, OTHER);
        let told = check(&rack);
        assert!(told.result == result && told.what.contains(words), "{rule:?} {site:?}: {told:?}");
    }
}

#[test]
fn doctor_counts_what_is_in_quarantine() {
    let policy = policy();
    let check = |held, quarantined| {
        fleet::view::pool_check(&policy, Room { size: 100, held, quarantined }).unwrap().result
    };
    assert_eq!([check(50, 0), check(50, 45), check(50, 50)], ["ok", "warn", "fail"]);
}

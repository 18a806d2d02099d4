//! Somebody works at a node: nobody is called, nothing begins, and afterwards it has to be heard.

use fleet::plan::PlanState;
use fleet::{Denied, Event, State, boot_task, notice, patience, view};
use protocol::{Key, NodeId, Task};
use pxe::script::BootTask;

use crate::rack::{MAC, Rack};

impl Rack {
    fn service(&mut self, node: NodeId, why: &str) -> Result<(), Denied> {
        self.bring(Event::Service { node, why: why.to_owned() }).map(drop)
    }

    fn service_ends(&mut self, node: NodeId) -> Result<(), Denied> {
        self.bring(Event::EndService { node }).map(drop)
    }

    fn notices(&self) -> Vec<String> {
        notice::notices(&self.fleet, self.now).into_iter().map(|notice| notice.kind).collect()
    }

    fn time_passes(&mut self, seconds: u64) {
        self.now = self.now.plus_seconds(seconds);
        self.bring(Event::Tick).unwrap();
    }
}

#[test]
fn silence_and_restarts_are_no_alarm_until_it_is_over() {
    let (mut rack, node, _) = Rack::active("control");
    let plan = rack.plan(node).unwrap();
    rack.service(node, "a new DIMM").unwrap();
    assert!(matches!(rack.fleet.plans[&plan.id].state, PlanState::Withdrawn { .. }), "nothing begins on it");
    rack.plan(node).unwrap_err();
    rack.time_passes(3600);
    assert_eq!((rack.state(), rack.notices().len()), ("servicing", 0));
    rack.reports(node, "failed").unwrap();
    assert_eq!(rack.state(), "servicing", "it ends when its operator says so");
    let wait = patience::wait(&rack.fleet, rack.only()).unwrap();
    assert!(wait.reason.contains("a new DIMM") && wait.reason.contains("node service n1 off"), "{wait:?}");
    let row = view::node_row(&rack.fleet, &rack.site(), rack.only(), rack.now);
    assert_eq!((row.service.as_deref(), row.health.as_str()), (Some("a new DIMM"), ""));
    let since = rack.only().since;
    rack.service(node, "two new DIMMs").unwrap();
    assert_eq!(rack.only().since, since, "another reason is no other service");
    rack.time_passes(86_400);
    assert_eq!(rack.notices(), ["service"]);

    rack.service_ends(node).unwrap();
    assert_eq!(rack.only().state, State::Returning { job: None });
    rack.service_ends(node).unwrap_err();
    rack.time_passes(26 * 60);
    assert_eq!((rack.state(), rack.only().state.phase()), ("attention", "returning"), "it was not heard");
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(rack.state(), "returning");
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn it_boots_what_it_would_boot_afterwards() {
    let own_disk = |rack: &Rack| boot_task(&rack.fleet, &MAC.parse().unwrap()) == BootTask::LocalDisk;
    let (mut rack, node, _) = Rack::active("control");
    rack.service(node, "x").unwrap();
    assert!(own_disk(&rack));
    // Its certificate is renewed meanwhile.
    rack.enrols(node, 9).unwrap();
    rack.enrols(node, 8).unwrap_err();
    let (mut rack, node, written) = Rack::imaging("control");
    rack.verified(node, written).unwrap();
    rack.service(node, "x").unwrap();
    assert!(own_disk(&rack));
    rack.enrols(node, 9).unwrap();
    assert_eq!(rack.state(), "servicing");
    rack.service_ends(node).unwrap();
    assert_eq!(rack.only().state, State::Returning { job: Some(written) });
    rack.reports(node, "failed").unwrap();
    assert_eq!(rack.only().state, State::Enrolling { job: Some(written) }, "its units have their time");
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");

    let (mut rack, node) = Rack::ready("control");
    rack.service(node, "x").unwrap();
    assert!(!own_disk(&rack), "there is nothing on it");
    let reply = rack.asks(node).unwrap().reply;
    assert!(matches!(&reply, fleet::Reply::Task(Task::Wait { reason }) if reason.contains("in service")));
    rack.service_ends(node).unwrap();
    rack.asks(node).unwrap();
    assert_eq!(rack.state(), "ready");
}

#[test]
fn a_rebuild_that_hangs_is_given_up_for_it() {
    let (mut rack, node, _) = Rack::active("control");
    let plan = rack.plan(node).unwrap();
    let job = rack.apply(&plan.id).unwrap();
    let text = rack.service(node, "x").unwrap_err().to_string();
    assert!(text.contains("a job is about to begin"), "{text}");
    rack.time_passes(26 * 60);
    assert_eq!((rack.state(), rack.only().state.phase()), ("attention", "draining"));
    rack.service(node, "x").unwrap();
    assert!(rack.fleet.jobs[&job].state.ended());
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap_err();
    rack.service_ends(node).unwrap();
    assert_eq!(rack.only().state, State::Returning { job: None }, "its own system is whole");
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn a_held_one_is_let_go_first() {
    let (mut rack, node, _) = Rack::active("control");
    rack.bring(Event::Hold { node, why: "lent".to_owned() }).unwrap();
    let text = rack.service(node, "x").unwrap_err().to_string();
    assert!(text.contains("rackwright node release n1"), "{text}");
}

//! A new server in a node's place, and nodes that nothing is done with.

use fleet::certificate::{Stage, authorise};
use fleet::power::{PowerEvent, Wish};
use fleet::{Denied, Event, Reply, State, boot_task};
use protocol::{Key, NodeId, Task};
use pxe::script::BootTask;

use crate::rack::{MAC, OTHER_MAC, Rack};

impl Rack {
    /// An active `n1`, and a new server that shows a code.
    fn with_spare() -> (Self, NodeId, NodeId) {
        let (mut rack, old, _) = Rack::active("control");
        rack.hello(3, OTHER_MAC, false).unwrap();
        let new = rack.fleet.nodes.keys().copied().find(|id| *id != old).unwrap();
        (rack, old, new)
    }

    fn replaces(&mut self, old: NodeId, new: NodeId, force: bool) -> Result<(), Denied> {
        self.bring(Event::Replace { old, new, force }).map(drop)
    }

    fn holds(&mut self, node: NodeId) {
        self.bring(Event::Hold { node, why: "its fan is noisy".to_owned() }).unwrap();
    }
}

#[test]
fn a_new_server_is_the_node_and_the_old_one_is_nobody() {
    let (mut rack, old, new) = Rack::with_spare();
    let told = rack.replaces(old, new, false).unwrap_err().to_string();
    assert!(told.contains("two servers can't be one node") && told.contains("--force"), "{told}");
    rack.now = rack.now.plus_seconds(100);
    let generation = rack.fleet.nodes[&old].generation;
    rack.replaces(old, new, false).unwrap();

    let node = rack.only().clone();
    assert_eq!((node.id, node.name.as_str(), node.state.word()), (old, "n1", "discovered"));
    assert_eq!((node.boot.mac.as_str(), node.roles.len()), (OTHER_MAC, 1));
    assert!(node.installed.is_none() && node.run.is_none() && node.generation > generation);
    for print in rack.fleet.certificates.keys() {
        for stage in [Stage::Deploy, Stage::Run] {
            authorise(&rack.fleet, Some(print), stage, rack.now).unwrap_err();
        }
    }
    // It goes on as any server does.
    rack.bring(Event::Approve { node: old, name: None, roles: None, moved: false }).unwrap();
    rack.hello(3, OTHER_MAC, true).unwrap();
    rack.asks(old).unwrap();
    let plan = rack.plan(old).unwrap();
    rack.apply(&plan.id).unwrap();
    assert!(matches!(rack.asks(old).unwrap().reply, Reply::Task(Task::Image(_))));
    // The old one comes back: a stranger.
    rack.hello(9, MAC, false).unwrap();
    assert_eq!(rack.fleet.nodes.len(), 2);
    assert!(
        rack.fleet
            .nodes
            .values()
            .any(|node| node.state == State::Discovered && node.boot.mac.as_str() == MAC)
    );
}

#[test]
fn only_a_new_server_takes_a_place_and_only_a_node_has_one() {
    let (mut rack, old, new) = Rack::with_spare();
    rack.now = rack.now.plus_seconds(100);
    rack.replaces(old, old, true).unwrap_err();
    rack.replaces(new, old, true).expect_err("an active node is no spare");
    rack.replaces(NodeId([9; 16]), new, true).unwrap_err();
    rack.holds(old);
    rack.replaces(old, new, true).expect_err("it is held");
    rack.bring(Event::Release { node: old }).unwrap();
    // Its key was compared already.
    rack.bring(Event::Approve { node: new, name: None, roles: None, moved: false }).unwrap();
    rack.hello(3, OTHER_MAC, true).unwrap();
    rack.replaces(old, new, true).unwrap();
    assert_eq!(rack.state(), "inspecting");
    rack.hello(3, OTHER_MAC, true).unwrap();
    rack.asks(old).unwrap();
    assert_eq!(rack.state(), "ready");
}

#[test]
fn nothing_is_done_with_a_held_node() {
    let (mut rack, node) = Rack::ready("control");
    let plan = rack.plan(node).unwrap();
    rack.holds(node);
    assert_eq!(rack.state(), "ready", "its plan is withdrawn");
    let mac = MAC.parse().unwrap();
    assert_eq!(boot_task(&rack.fleet, &mac), BootTask::LocalDisk);
    assert!(
        matches!(rack.asks(node).unwrap().reply, Reply::Task(Task::Wait { reason }) if reason.contains("noisy"))
    );
    rack.apply(&plan.id).unwrap_err();
    let told = rack.plan(node).unwrap_err().to_string();
    assert!(told.contains("its fan is noisy") && told.contains("node release n1"), "{told}");
    let confirmed = crate::capturing::capture(&rack, node, "copy", true);
    rack.bring(confirmed).unwrap_err();
    rack.bring(Event::Retire { node, keep: Vec::new() }).unwrap_err();
    rack.bring(Event::SetRoles { node, roles: ["control".to_owned()].into() }).unwrap_err();
    rack.bring(Event::Approve { node, name: None, roles: None, moved: true }).unwrap_err();
    rack.bring(Event::Reject { node, why: "no".to_owned() }).unwrap_err();
    let wait = fleet::patience::wait(&rack.fleet, rack.only()).unwrap();
    assert!(wait.until.is_none() && wait.reason.contains("its fan is noisy"));
    let kept = serde_json::to_string(rack.only()).unwrap();
    assert!(serde_json::from_str::<fleet::Node>(&kept).unwrap().hold.is_some());

    rack.bring(Event::Release { node }).unwrap();
    rack.bring(Event::Release { node }).unwrap_err();
    rack.plan(node).unwrap();
    assert!(rack.log.contains(&"held".to_owned()) && rack.log.contains(&"released".to_owned()));
}

#[test]
fn a_held_node_goes_on_as_what_it_is_though_it_was_about_to_be_rebuilt() {
    let (mut rack, node, _) = Rack::active("control");
    let plan = rack.plan(node).unwrap();
    rack.apply(&plan.id).unwrap();
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap();
    rack.now = rack.now.plus_seconds(3600);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "attention");
    rack.holds(node);
    let before = rack.only().clone();
    // Its ramdisk was on the way.
    rack.hello(5, MAC, true).unwrap();
    assert_eq!((rack.only().generation, rack.only().run), (before.generation, before.run));
    rack.bring(Event::Ticketed { node, key: Key([5; 32]) }).unwrap_err();
}

#[test]
fn what_waits_for_the_power_of_a_server_is_not_done_with_the_next() {
    let (mut rack, old, new) = Rack::with_spare();
    let wish = PowerEvent::Wish { wish: Wish::Cycle, confirmed: Some("n1".to_owned()), force: false };
    rack.bring(Event::Power { node: old, what: Box::new(wish) }).unwrap();
    rack.now = rack.now.plus_seconds(100);
    rack.replaces(old, new, true).unwrap();
    assert!(!rack.fleet.powers.contains_key(&old));
    assert_eq!(rack.fleet.nodes[&old].booted, None, "it has not been heard as that node");
}

#[test]
fn a_node_at_work_is_not_held_and_a_job_that_hangs_is_given_up() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.bring(Event::Hold { node, why: "no".to_owned() }).unwrap_err();
    rack.now = rack.now.plus_seconds(3600);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "attention");
    rack.holds(node);
    assert!(rack.fleet.jobs[&job].state.ended());
    assert!(matches!(rack.asks(node).unwrap().reply, Reply::Task(Task::Wait { .. })));
    assert_ne!(boot_task(&rack.fleet, &MAC.parse().unwrap()), BootTask::LocalDisk, "it is half written");
    rack.verified(node, job).unwrap_err();
    assert!(rack.only().deploy.is_some_and(|deploy| deploy.key == Key([1; 32])));
}

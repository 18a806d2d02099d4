//! Many nodes rebuilt a few at a time: who comes when, what makes it wait, what stops it.

use fleet::clock::{self, Doubt, Look, Verdict, Why};
use fleet::limits::Limits;
use fleet::network::{Noticed, Rule};
use fleet::notice::notices;
use fleet::plan::PlanState;
use fleet::rollout::{Group, Reached, Rollout, RolloutId, RolloutState, Verb, Wish};
use fleet::view::{next_step, rollout_view};
use fleet::{Change, Denied, Event, Node, Reply, State};
use protocol::{JobId, Key, NodeId, Phase, Progress, Verify};

use crate::networks::{sighted, wire};
use crate::rack::{Rack, progress};

/// So many active nodes with one role: n1, n2, ….
pub(crate) fn rack_of(count: u8) -> Rack {
    let (mut rack, first, _) = Rack::active("control");
    let like = rack.fleet.nodes[&first].clone();
    for at in 1..count {
        let mut node = like.clone();
        node.id = id(at + 1);
        node.name = format!("n{}", at + 1).parse().unwrap();
        node.boot.mac = mac(at + 1).parse().unwrap();
        node.inventory.nics[0].mac = node.boot.mac.clone();
        node.run = Some(Key([at + 100; 32]));
        node.deploy = None;
        rack.fleet.put(Change::Node(Box::new(node)));
    }
    rack
}

fn id(number: u8) -> NodeId {
    NodeId([number; 16])
}

fn mac(number: u8) -> String {
    format!("52:54:00:77:00:{number:02x}")
}

pub(crate) fn find<'a>(rack: &'a Rack, name: &str) -> &'a Node {
    rack.fleet.nodes.values().find(|node| node.name.as_str() == name).unwrap()
}

pub(crate) fn role() -> Group {
    Group::Role { role: "control".to_owned() }
}

pub(crate) fn wish(group: Group) -> Wish {
    let (canaries, image) = (Vec::new(), None);
    Wish { group, image, canaries, max_unavailable: 1, stop_after: 1, verify: Verify::Readback, force: false }
}

fn make(rack: &mut Rack, wish: Wish) -> Result<Rollout, Denied> {
    match rack.bring(Event::Roll(Box::new(wish)))?.reply {
        Reply::Rollout(rollout) => Ok(*rollout),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn says(rack: &mut Rack, rollout: &RolloutId, verb: Verb) -> Result<Rollout, Denied> {
    match rack.bring(Event::Rollout { rollout: rollout.clone(), verb })?.reply {
        Reply::Rollout(rollout) => Ok(*rollout),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn begun(rack: &mut Rack, wish: Wish) -> RolloutId {
    let made = make(rack, wish).unwrap();
    says(rack, &made.id, Verb::Begin).unwrap().id
}

/// A minute passes, in which everybody who is well has reported.
fn minute(rack: &mut Rack) {
    rack.now = rack.now.plus_seconds(60);
    let active = rack.fleet.nodes.values().filter(|node| node.state == State::Active);
    for node in active.map(|node| node.id).collect::<Vec<_>>() {
        rack.reports(node, "active").unwrap();
    }
    rack.bring(Event::Tick).unwrap();
}

/// The words of how far each node is, by name.
fn words(rack: &Rack, rollout: &RolloutId) -> Vec<(String, &'static str)> {
    let reached = rack.fleet.rollouts[rollout].reached(&rack.fleet);
    reached.map(|(step, reached)| (rack.fleet.nodes[&step.node].name.to_string(), reached.word())).collect()
}

fn is(rack: &Rack, rollout: &RolloutId, expected: &[(&str, &str)]) {
    let words = words(rack, rollout);
    let words = words.iter().map(|(name, word)| (name.as_str(), *word)).collect::<Vec<_>>();
    assert_eq!(words, expected);
}

pub(crate) fn underway(rack: &Rack, rollout: &RolloutId) -> Vec<(NodeId, JobId)> {
    let reached = rack.fleet.rollouts[rollout].reached(&rack.fleet);
    reached
        .filter_map(|(step, reached)| match reached {
            Reached::Underway(job) => Some((step.node, job)),
            _ => None,
        })
        .collect()
}

/// All that a rebuild is, from the ticket to the first report.
pub(crate) fn rebuilt(rack: &mut Rack, node: NodeId, job: JobId) {
    let (key, mac) = (next_key(rack), rack.fleet.nodes[&node].boot.mac.clone());
    rack.bring(Event::Ticketed { node, key: Key([key; 32]) }).unwrap();
    rack.hello(key, mac.as_str(), true).unwrap();
    rack.asks(node).unwrap();
    rack.verified(node, job).unwrap();
    rack.enrols(node, key + 1).unwrap();
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.fleet.nodes[&node].state, State::Active);
}

/// A key that nobody has.
fn next_key(rack: &Rack) -> u8 {
    let used = rack.fleet.nodes.values();
    let used = used.flat_map(|node| [node.run, node.deploy.map(|deploy| deploy.key)]).flatten();
    used.map(|key| key.0[0]).max().unwrap() + 2
}

/// Its disk can't be written.
pub(crate) fn breaks(rack: &mut Rack, node: NodeId, job: JobId) {
    let (key, mac) = (next_key(rack), rack.fleet.nodes[&node].boot.mac.clone());
    rack.bring(Event::Ticketed { node, key: Key([key; 32]) }).unwrap();
    rack.hello(key, mac.as_str(), true).unwrap();
    rack.asks(node).unwrap();
    let failed = Some("a bad sector".to_owned());
    let progress = Progress { failed, ..progress(job, Phase::Write, 5) };
    rack.bring(Event::Progressed { node, progress }).unwrap();
    assert!(matches!(rack.fleet.nodes[&node].state, State::Attention { .. }));
}

#[test]
fn no_other_node_is_begun_with_while_the_clock_is_not_believed() {
    let mut rack = rack_of(3);
    let at = Look { wall: rack.now.plus_seconds(86_400), up_ms: 3_600_000, boot: "b".to_owned() };
    let doubt = Doubt { why: Why::Jumped, believed: rack.now, at };
    rack.bring(Event::Clock(clock::Verb::Seen(Verdict::Doubted(doubt)))).unwrap();
    let rollout = begun(&mut rack, wish(role()));
    minute(&mut rack);
    is(&rack, &rollout, &[("n1", "waiting"), ("n2", "waiting"), ("n3", "waiting")]);
    assert!(note(&rack, &rollout).contains("rackwright clock accept"), "{}", note(&rack, &rollout));
    rack.bring(Event::Clock(clock::Verb::Accept)).unwrap();
    minute(&mut rack);
    assert_eq!(underway(&rack, &rollout).len(), 1);
}

fn note(rack: &Rack, rollout: &RolloutId) -> String {
    rollout_view(&rack.fleet, &rack.fleet.rollouts[rollout], rack.now).note.unwrap_or_default()
}

#[test]
fn one_after_the_other_the_canary_first_and_every_other_stays_at_work() {
    let mut rack = rack_of(11);
    let canaries = vec![find(&rack, "n3").id];
    let made = make(&mut rack, Wish { canaries, ..wish(role()) }).unwrap();
    assert_eq!((made.phrase().as_str(), made.canaries), ("11 control", 1));
    minute(&mut rack);
    assert!(rack.fleet.jobs.len() == 1, "nothing is done before somebody says so");
    says(&mut rack, &made.id, Verb::Begin).unwrap();
    let mut order = Vec::new();
    while rack.fleet.rollouts[&made.id].state == RolloutState::Running {
        minute(&mut rack);
        let running = underway(&rack, &made.id);
        assert!(running.len() <= 1, "{running:?}");
        let down = rack.fleet.nodes.values().filter(|node| node.state != State::Active).count();
        assert_eq!(down, running.len());
        for (node, job) in running {
            order.push(rack.fleet.nodes[&node].name.to_string());
            minute(&mut rack);
            rebuilt(&mut rack, node, job);
        }
    }
    assert_eq!(order, ["n3", "n1", "n2", "n4", "n5", "n6", "n7", "n8", "n9", "n10", "n11"]);
    assert_eq!(rack.fleet.rollouts[&made.id].state, RolloutState::Done);
    assert!(words(&rack, &made.id).iter().all(|(_, word)| *word == "done"));
    assert_eq!(next_step(&rack.fleet), None);
}

#[test]
fn a_canary_that_fails_stops_it_before_any_other_is_touched() {
    let mut rack = rack_of(3);
    let canaries = vec![find(&rack, "n2").id];
    let rollout = begun(&mut rack, Wish { canaries, max_unavailable: 3, stop_after: 3, ..wish(role()) });
    minute(&mut rack);
    minute(&mut rack);
    is(&rack, &rollout, &[("n2", "underway"), ("n1", "waiting"), ("n3", "waiting")]);
    assert_eq!(note(&rack, &rollout), "waiting for the canary n2 to be active again");
    let (node, job) = underway(&rack, &rollout)[0];
    breaks(&mut rack, node, job);
    minute(&mut rack);
    minute(&mut rack);
    is(&rack, &rollout, &[("n2", "failed"), ("n1", "waiting"), ("n3", "waiting")]);
    assert_eq!(rack.fleet.rollouts[&rollout].state.word(), "stopped");
    assert!(
        note(&rack, &rollout).starts_with("the canary n2 did not come through: "),
        "{}",
        note(&rack, &rollout)
    );
    assert!(notices(&rack.fleet, rack.now).iter().any(|notice| notice.kind == "rollout-stopped"));
    // Whoever has seen it may go on; the failure is not counted twice.
    says(&mut rack, &rollout, Verb::Resume).unwrap();
    minute(&mut rack);
    is(&rack, &rollout, &[("n2", "failed"), ("n1", "underway"), ("n3", "waiting")]);
}

#[test]
fn a_canary_that_is_mended_lets_the_others_follow() {
    let mut rack = rack_of(2);
    let canaries = vec![find(&rack, "n1").id];
    let rollout = begun(&mut rack, Wish { canaries, ..wish(role()) });
    minute(&mut rack);
    let (node, job) = underway(&rack, &rollout)[0];
    breaks(&mut rack, node, job);
    minute(&mut rack);
    assert_eq!(rack.fleet.rollouts[&rollout].state.word(), "stopped");
    rack.bring(Event::Retry { node }).unwrap();
    is(&rack, &rollout, &[("n1", "underway"), ("n2", "waiting")]);
    says(&mut rack, &rollout, Verb::Resume).unwrap();
    minute(&mut rack);
    is(&rack, &rollout, &[("n1", "underway"), ("n2", "waiting")]);
    rack.asks(node).unwrap();
    rack.verified(node, job).unwrap();
    rack.enrols(node, 77).unwrap();
    rack.reports(node, "active").unwrap();
    minute(&mut rack);
    is(&rack, &rollout, &[("n1", "done"), ("n2", "underway")]);
}

#[test]
fn so_many_failures_and_no_more() {
    let mut rack = rack_of(5);
    let rollout = begun(&mut rack, Wish { max_unavailable: 3, stop_after: 2, ..wish(role()) });
    (0..4).for_each(|_| minute(&mut rack));
    let running = underway(&rack, &rollout);
    assert_eq!(running.len(), 3, "never more than may be down");
    breaks(&mut rack, running[0].0, running[0].1);
    minute(&mut rack);
    assert_eq!(rack.fleet.rollouts[&rollout].state, RolloutState::Running, "one is allowed");
    assert_eq!(underway(&rack, &rollout).len(), 2, "a failed one is still down");
    breaks(&mut rack, running[1].0, running[1].1);
    minute(&mut rack);
    assert!(note(&rack, &rollout).starts_with("2 failed: n1: "), "{}", note(&rack, &rollout));
    rebuilt(&mut rack, running[2].0, running[2].1);
    minute(&mut rack);
    let expected = [("n1", "failed"), ("n2", "failed"), ("n3", "done"), ("n4", "waiting"), ("n5", "waiting")];
    is(&rack, &rollout, &expected);
}

#[test]
fn whoever_is_down_for_another_reason_counts_and_is_mended_first() {
    let mut rack = rack_of(4);
    let mut other = find(&rack, "n4").clone();
    other.state = State::Attention {
        phase: "active".to_owned(),
        cause: "its fan".to_owned(),
        verbs: vec!["plan".to_owned()],
        job: None,
    };
    let broken = other.id;
    rack.fleet.put(Change::Node(Box::new(other)));
    // What is not of the group is no matter to it.
    let nodes = ["n1", "n2"].map(|name| find(&rack, name).id);
    let named = begun(&mut rack, wish(Group::Nodes { nodes: nodes.into() }));
    minute(&mut rack);
    is(&rack, &named, &[("n1", "underway"), ("n2", "waiting")]);
    says(&mut rack, &named, Verb::Cancel).unwrap();
    let (node, job) = (nodes[0], rack.fleet.nodes[&nodes[0]].state.job().unwrap());
    rebuilt(&mut rack, node, job);
    // A canary would wait for it for ever.
    let canaries = vec![nodes[0]];
    let why = make(&mut rack, Wish { canaries, ..wish(role()) }).unwrap_err().to_string();
    assert!(why.contains("n4 (attention)") && why.contains("--max-unavailable"), "{why}");
    // As one of them it comes first: nobody misses it.
    let rollout = begun(&mut rack, wish(role()));
    minute(&mut rack);
    is(&rack, &rollout, &[("n4", "underway"), ("n1", "waiting"), ("n2", "waiting"), ("n3", "waiting")]);
    // Another one goes down by itself, and is waited for by name.
    let job = rack.fleet.nodes[&broken].state.job().unwrap();
    let mut up = rack.fleet.nodes[&broken].clone();
    (up.state, up.report) = (State::Active, find(&rack, "n3").report.clone());
    up.reported = Some(rack.now);
    rack.fleet.put(Change::Node(Box::new(up)));
    let mut done = rack.fleet.jobs[&job].clone();
    done.state = fleet::job::JobState::Done;
    rack.fleet.put(Change::Job(Box::new(done)));
    let mut silent = find(&rack, "n2").clone();
    silent.state = State::Booting { job: JobId([9; 8]) };
    silent.since = rack.now;
    rack.fleet.put(Change::Node(Box::new(silent)));
    minute(&mut rack);
    is(&rack, &rollout, &[("n4", "done"), ("n1", "waiting"), ("n2", "waiting"), ("n3", "waiting")]);
    let why = note(&rack, &rollout);
    assert!(why.contains("n2 (booting) to be at work again: no more than 1 of control"), "{why}");
}

#[test]
fn it_waits_for_the_hourly_limit_and_for_a_quiet_network() {
    let mut rack = rack_of(3);
    rack.fleet.limits = Limits { rebuilds_an_hour: Some(1) };
    let rollout = begun(&mut rack, wish(role()));
    minute(&mut rack);
    let (node, job) = underway(&rack, &rollout)[0];
    rebuilt(&mut rack, node, job);
    minute(&mut rack);
    is(&rack, &rollout, &[("n1", "done"), ("n2", "waiting"), ("n3", "waiting")]);
    assert!(
        note(&rack, &rollout).contains("1 nodes were rebuilt within the last hour"),
        "{}",
        note(&rack, &rollout)
    );
    (0..60).for_each(|_| minute(&mut rack));
    is(&rack, &rollout, &[("n1", "done"), ("n2", "underway"), ("n3", "waiting")]);
    let (node, job) = underway(&rack, &rollout)[0];
    rebuilt(&mut rack, node, job);
    // Another DHCP server: nothing is begun beside it.
    rack.fleet.limits = Limits::NONE;
    wire(&mut rack, Rule::Pause);
    sighted(&mut rack, Noticed::Heard, None, "10.77.0.9".parse().unwrap());
    rack.bring(Event::Tick).unwrap();
    is(&rack, &rollout, &[("n1", "done"), ("n2", "done"), ("n3", "waiting")]);
    assert!(note(&rack, &rollout).contains("another DHCP server, 10.77.0.9"), "{}", note(&rack, &rollout));
}

#[test]
fn a_node_whose_plan_holds_no_more_is_left_out_and_a_canary_is_not() {
    let mut rack = rack_of(4);
    let rollout = begun(&mut rack, wish(role()));
    let (first, second) = (find(&rack, "n1").id, find(&rack, "n2").id);
    rack.bring(Event::Hold { node: first, why: "its fan".to_owned() }).unwrap();
    let mut swapped = rack.fleet.nodes[&second].clone();
    swapped.inventory.disks[0].serial = "ANOTHER".to_owned();
    rack.fleet.put(Change::Node(Box::new(swapped)));
    minute(&mut rack);
    minute(&mut rack);
    is(&rack, &rollout, &[("n1", "dropped"), ("n2", "dropped"), ("n3", "underway"), ("n4", "waiting")]);
    says(&mut rack, &rollout, Verb::Stop).unwrap();
    let (node, job) = underway(&rack, &rollout)[0];
    rebuilt(&mut rack, node, job);
    minute(&mut rack);
    is(&rack, &rollout, &[("n1", "dropped"), ("n2", "dropped"), ("n3", "done"), ("n4", "waiting")]);
    says(&mut rack, &rollout, Verb::Cancel).unwrap();
    let plan = &rack.fleet.plans[&rack.fleet.rollouts[&rollout].steps[3].plan];
    assert!(matches!(plan.state, PlanState::Withdrawn { .. }), "{:?}", plan.state);
    let canaries = vec![find(&rack, "n4").id];
    let rollout = begun(&mut rack, Wish { canaries: canaries.clone(), ..wish(role()) });
    rack.bring(Event::Hold { node: canaries[0], why: "its fan".to_owned() }).unwrap();
    minute(&mut rack);
    assert!(
        note(&rack, &rollout).contains("the canary n4 did not come through"),
        "{}",
        note(&rack, &rollout)
    );
}

#[test]
fn what_can_t_be_rolled_out_is_refused_or_left_alone_with_the_reason() {
    let mut rack = rack_of(3);
    let named =
        |rack: &Rack, names: &[&str]| names.iter().map(|name| find(rack, name).id).collect::<Vec<_>>();
    let refused = |rack: &mut Rack, wish: Wish| make(rack, wish).unwrap_err().to_string();
    let nobody = Group::Role { role: "storage".to_owned() };
    assert!(refused(&mut rack, wish(nobody)).contains("there is no storage"));
    let unknown = Group::Role { role: "music".to_owned() };
    assert!(refused(&mut rack, wish(unknown)).contains("no role \"music\""));
    let none = Wish { max_unavailable: 0, ..wish(role()) };
    assert!(refused(&mut rack, none).contains("1 or more"));
    let twice = Wish { canaries: named(&rack, &["n1", "n1"]), ..wish(role()) };
    assert!(refused(&mut rack, twice).contains("n1 is named twice"));
    let group = Group::Nodes { nodes: named(&rack, &["n1"]).into_iter().collect() };
    let foreign = Wish { canaries: named(&rack, &["n2"]), ..wish(group) };
    assert!(refused(&mut rack, foreign).contains("n2 is not of this group"));
    // One of a role that can't be rebuilt is left alone; one that was named is not passed over.
    let held = find(&rack, "n2").id;
    rack.bring(Event::Hold { node: held, why: "its fan".to_owned() }).unwrap();
    let made = make(&mut rack, wish(role())).unwrap();
    assert_eq!((made.steps.len(), made.skips.len()), (2, 1));
    assert!(made.skips[0].1.contains("n2 is held: its fan"), "{:?}", made.skips);
    let group = Group::Nodes { nodes: named(&rack, &["n1", "n2"]).into_iter().collect() };
    assert!(refused(&mut rack, wish(group)).contains("n2 is held"));
    // Never two at once for one node; and what waits to be begun gives way to what is newer.
    let newer = make(&mut rack, wish(role())).unwrap();
    assert_eq!(rack.fleet.rollouts[&made.id].state.word(), "withdrawn");
    says(&mut rack, &newer.id, Verb::Begin).unwrap();
    assert!(refused(&mut rack, wish(role())).contains(&format!("rackwright rollout cancel {}", newer.id)));
    for (verb, hint) in [(Verb::Begin, "rollout stop"), (Verb::Resume, "rollout stop")] {
        let why = says(&mut rack, &newer.id, verb).unwrap_err().to_string();
        assert!(why.contains("is running") && why.contains(hint), "{why}");
    }
    let missing = says(&mut rack, &RolloutId("r-1".to_owned()), Verb::Begin).unwrap_err();
    assert!(matches!(missing, Denied::Missing { kind: "rollout", .. }));
}

/// Something may be down without having been seen to be: that is no reason to take another one down.
#[test]
fn whoever_only_seems_to_be_down_is_missed() {
    let mut rack = rack_of(3);
    let mut broken = find(&rack, "n3").clone();
    broken.state = State::Booting { job: JobId([9; 8]) };
    broken.since = rack.now;
    rack.fleet.put(Change::Node(Box::new(broken)));
    let nodes = ["n1", "n2"].map(|name| find(&rack, name).id);
    let rollout = begun(&mut rack, wish(role()));
    let all_wait = |rack: &Rack| {
        let words = words(rack, &rollout);
        assert!(words.iter().all(|(_, word)| *word == "waiting"), "{words:?}");
    };
    minute(&mut rack);
    all_wait(&rack);
    // The controller was off for long: nobody has been heard since.
    rack.now = rack.now.plus_seconds(600);
    rack.bring(Event::Tick).unwrap();
    all_wait(&rack);
    assert!(note(&rack, &rollout).contains("n1 to be heard"), "{}", note(&rack, &rollout));
    // They are heard, and each is to take in another document.
    for node in nodes {
        rack.reports(node, "active").unwrap();
    }
    rack.bring(Event::Rename { node: nodes[0], name: "another".parse().unwrap() }).unwrap();
    rack.bring(Event::Tick).unwrap();
    all_wait(&rack);
}

#[test]
fn another_rollout_and_a_server_that_was_replaced_count_too() {
    let mut rack = rack_of(4);
    let [n1, n2, n3] = ["n1", "n2", "n3"].map(|name| find(&rack, name).id);
    let group = Group::Nodes { nodes: [n1, n2].into() };
    let first = begun(&mut rack, wish(group));
    minute(&mut rack);
    is(&rack, &first, &[("n1", "underway"), ("n2", "waiting")]);
    let (node, job) = underway(&rack, &first)[0];
    rebuilt(&mut rack, node, job);
    minute(&mut rack);
    is(&rack, &first, &[("n1", "done"), ("n2", "underway")]);
    // n1 is free again as far as its own plan goes, but the first one counts on it.
    let second = begun(&mut rack, wish(Group::Nodes { nodes: [n1, n3].into() }));
    minute(&mut rack);
    is(&rack, &second, &[("n1", "waiting"), ("n3", "underway")]);
    let (node, job) = underway(&rack, &second)[0];
    rebuilt(&mut rack, node, job);
    minute(&mut rack);
    is(&rack, &second, &[("n1", "waiting"), ("n3", "done")]);
    assert!(note(&rack, &second).contains(&format!("by the rollout {first}")), "{}", note(&rack, &second));
    let (node, job) = underway(&rack, &first)[0];
    rebuilt(&mut rack, node, job);
    (0..2).for_each(|_| minute(&mut rack));
    is(&rack, &second, &[("n1", "underway"), ("n3", "done")]);
    let (node, job) = underway(&rack, &second)[0];
    rebuilt(&mut rack, node, job);
    minute(&mut rack);
    // A server that is new in the place of another has no system, and is missed all the same.
    let third = begun(&mut rack, wish(role()));
    let mut fresh = find(&rack, "n3").clone();
    (fresh.state, fresh.installed, fresh.run) = (State::Ready, None, None);
    let step = rack.fleet.rollouts[&third].steps.iter().find(|step| step.node == fresh.id).unwrap();
    let mut plan = rack.fleet.plans[&step.plan].clone();
    plan.state = PlanState::Withdrawn { why: "another server".to_owned() };
    rack.fleet.put(Change::Plan(Box::new(plan)));
    rack.fleet.put(Change::Node(Box::new(fresh)));
    minute(&mut rack);
    minute(&mut rack);
    let begun = words(&rack, &third).iter().filter(|(_, word)| *word == "underway").count();
    assert_eq!(begun, 0, "{:?}", words(&rack, &third));
    assert!(note(&rack, &third).contains("n3 (ready) to be at work again"), "{}", note(&rack, &third));
}

#[test]
fn only_what_somebody_has_seen_is_forgiven_and_only_until_it_is_tried_again() {
    let mut rack = rack_of(3);
    let canaries = vec![find(&rack, "n1").id];
    let rollout = begun(&mut rack, Wish { canaries, ..wish(role()) });
    minute(&mut rack);
    let (node, job) = underway(&rack, &rollout)[0];
    // Stopped by a person; the canary fails while nobody looks.
    says(&mut rack, &rollout, Verb::Stop).unwrap();
    assert!(notices(&rack.fleet, rack.now).iter().all(|notice| notice.kind != "rollout-stopped"));
    breaks(&mut rack, node, job);
    says(&mut rack, &rollout, Verb::Resume).unwrap();
    minute(&mut rack);
    is(&rack, &rollout, &[("n1", "failed"), ("n2", "waiting"), ("n3", "waiting")]);
    assert!(
        note(&rack, &rollout).contains("the canary n1 did not come through"),
        "{}",
        note(&rack, &rollout)
    );
    // Seen, and tried again at once: it holds the others up again, and counts again.
    says(&mut rack, &rollout, Verb::Resume).unwrap();
    rack.bring(Event::Retry { node }).unwrap();
    (0..2).for_each(|_| minute(&mut rack));
    is(&rack, &rollout, &[("n1", "underway"), ("n2", "waiting"), ("n3", "waiting")]);
    rack.asks(node).unwrap();
    let failed = Some("a bad sector".to_owned());
    let progress = Progress { failed, ..progress(job, Phase::Write, 5) };
    rack.bring(Event::Progressed { node, progress }).unwrap();
    minute(&mut rack);
    assert_eq!(rack.fleet.rollouts[&rollout].state.word(), "stopped");
}

#[test]
fn nothing_is_left_behind() {
    let mut rack = rack_of(3);
    let [n1, n2] = ["n1", "n2"].map(|name| find(&rack, name).id);
    // One that waits in the ramdisk with a system, and whose disk is another one then.
    let mut waits = rack.fleet.nodes[&n1].clone();
    waits.state = State::Ready;
    rack.fleet.put(Change::Node(Box::new(waits)));
    let rollout = begun(&mut rack, wish(role()));
    let mut swapped = rack.fleet.nodes[&n1].clone();
    assert_eq!(swapped.state.word(), "planned");
    swapped.inventory.disks[0].serial = "ANOTHER".to_owned();
    rack.fleet.put(Change::Node(Box::new(swapped)));
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.fleet.nodes[&n1].state, State::Ready, "its plan is not waited for any more");
    // One that is sent away never has its turn.
    let mut gone = rack.fleet.nodes[&n2].clone();
    gone.state = State::Rejected { why: "sold".to_owned() };
    rack.fleet.put(Change::Node(Box::new(gone)));
    minute(&mut rack);
    let words = words(&rack, &rollout).into_iter().filter(|(name, _)| name != "n3").map(|(_, word)| word);
    assert_eq!(words.collect::<Vec<_>>(), ["dropped", "dropped"]);
    says(&mut rack, &rollout, Verb::Cancel).unwrap();
    // A newer one takes the plans of those it has, and of those that it has not.
    let mut rack = rack_of(2);
    let first = make(&mut rack, wish(role())).unwrap();
    let nodes = [find(&rack, "n1").id].into();
    make(&mut rack, wish(Group::Nodes { nodes })).unwrap();
    let states = first.steps.iter().map(|step| &rack.fleet.plans[&step.plan].state).collect::<Vec<_>>();
    assert!(states.iter().all(|state| matches!(state, PlanState::Withdrawn { .. })), "{states:?}");
}

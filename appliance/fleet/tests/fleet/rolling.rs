//! Many nodes rebuilt a few at a time: who comes when, what makes it wait, what stops it.

use std::collections::{BTreeMap, BTreeSet};

use fleet::entropy::Entropy;
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
fn rack_of(count: u8) -> Rack {
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

fn find<'a>(rack: &'a Rack, name: &str) -> &'a Node {
    rack.fleet.nodes.values().find(|node| node.name.as_str() == name).unwrap()
}

fn role() -> Group {
    Group::Role { role: "control".to_owned() }
}

fn wish(group: Group) -> Wish {
    let (canaries, image) = (Vec::new(), None);
    Wish { group, image, canaries, max_unavailable: 1, stop_after: 1, verify: Verify::Readback }
}

fn make(rack: &mut Rack, wish: Wish) -> Result<Rollout, Denied> {
    match rack.bring(Event::Roll(Box::new(wish)))?.reply {
        Reply::Rollout(rollout) => Ok(*rollout),
        other => panic!("{other:?}"),
    }
}

fn says(rack: &mut Rack, rollout: &RolloutId, verb: Verb) -> Result<Rollout, Denied> {
    match rack.bring(Event::Rollout { rollout: rollout.clone(), verb })?.reply {
        Reply::Rollout(rollout) => Ok(*rollout),
        other => panic!("{other:?}"),
    }
}

fn begun(rack: &mut Rack, wish: Wish) -> RolloutId {
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

fn underway(rack: &Rack, rollout: &RolloutId) -> Vec<(NodeId, JobId)> {
    let reached = rack.fleet.rollouts[rollout].reached(&rack.fleet);
    reached
        .filter_map(|(step, reached)| match reached {
            Reached::Underway(job) => Some((step.node, job)),
            _ => None,
        })
        .collect()
}

/// All that a rebuild is, from the ticket to the first report.
fn rebuilt(rack: &mut Rack, node: NodeId, job: JobId) {
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
fn breaks(rack: &mut Rack, node: NodeId, job: JobId) {
    let (key, mac) = (next_key(rack), rack.fleet.nodes[&node].boot.mac.clone());
    rack.bring(Event::Ticketed { node, key: Key([key; 32]) }).unwrap();
    rack.hello(key, mac.as_str(), true).unwrap();
    rack.asks(node).unwrap();
    let failed = Some("a bad sector".to_owned());
    let progress = Progress { failed, ..progress(job, Phase::Write, 5) };
    rack.bring(Event::Progressed { node, progress }).unwrap();
    assert!(matches!(rack.fleet.nodes[&node].state, State::Attention { .. }));
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
    // Outside of what is rebuilt, it keeps all others from being touched.
    let nodes = ["n1", "n2"].map(|name| find(&rack, name).id);
    let named = begun(&mut rack, wish(Group::Nodes { nodes: nodes.into() }));
    minute(&mut rack);
    is(&rack, &named, &[("n1", "underway"), ("n2", "waiting")]);
    says(&mut rack, &named, Verb::Cancel).unwrap();
    let (node, job) = (nodes[0], rack.fleet.nodes[&nodes[0]].state.job().unwrap());
    rebuilt(&mut rack, node, job);
    // As one of them it comes first: nobody misses it.
    let rollout = begun(&mut rack, wish(role()));
    minute(&mut rack);
    is(&rack, &rollout, &[("n4", "underway"), ("n1", "waiting"), ("n2", "waiting"), ("n3", "waiting")]);
    // Another one falls silent, and is waited for by name.
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

/// Whatever happens to the nodes meanwhile: no more are under way than may be down, none is begun before the canaries are through,
/// none after too many have failed, and every begun one by a plan of a rollout that somebody has begun.
#[test]
fn no_history_breaks_the_promise() {
    for seed in 0..60_u8 {
        let mut dice = Entropy::new(&[seed; 32]);
        let mut draw = |most: u8| u8::from_be_bytes(dice.draw::<1>()) % most;
        let mut rack = rack_of(4 + draw(5));
        let (most, enough) = (1 + draw(3), 1 + draw(3));
        let canaries = if draw(2) == 0 { Vec::new() } else { vec![find(&rack, "n2").id] };
        let stop = u32::from(enough);
        let terms = Wish { max_unavailable: most.into(), stop_after: stop, canaries, ..wish(role()) };
        let rollout = begun(&mut rack, terms.clone());
        let look = |rack: &Rack| {
            let row = &rack.fleet.rollouts[&rollout];
            let reached = row.reached(&rack.fleet).map(|(step, reached)| (step.node, reached.word()));
            reached.collect::<BTreeMap<_, _>>()
        };
        for _ in 0..60 {
            let before = look(&rack);
            minute(&mut rack);
            let seen = look(&rack);
            let fresh = seen.iter().filter(|(node, word)| {
                **word == "underway" && before.get(node).is_none_or(|old| *old == "waiting")
            });
            let fresh = fresh.map(|(node, _)| *node).collect::<BTreeSet<_>>();
            assert!(fresh.len() <= 1, "seed {seed}: {fresh:?}");
            let failed = before.values().filter(|word| **word == "failed").count();
            assert!(fresh.is_empty() || failed < stop as usize, "seed {seed}: begun after {failed} failures");
            let unproven =
                terms.canaries.iter().any(|canary| before.get(canary).is_none_or(|w| *w != "done"));
            let is_canary = fresh.iter().all(|node| terms.canaries.contains(node));
            assert!(!unproven || is_canary, "seed {seed}: begun before the canary was through");
            let down = rack.fleet.nodes.values().filter(|node| node.state != State::Active).count();
            assert!(fresh.is_empty() || down <= usize::from(most), "seed {seed}: {down} are down");
            for (node, job) in underway(&rack, &rollout) {
                match draw(6) {
                    0 => breaks(&mut rack, node, job),
                    1..=3 => rebuilt(&mut rack, node, job),
                    _ => {}
                }
            }
        }
        let row = &rack.fleet.rollouts[&rollout];
        let is_over = matches!(row.state, RolloutState::Done | RolloutState::Stopped { .. });
        let waits = note(&rack, &rollout).contains("to be at work again");
        assert!(is_over || waits, "seed {seed}: {:?}, {}", row.state, note(&rack, &rollout));
    }
}

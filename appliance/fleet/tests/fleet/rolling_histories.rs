//! Rollouts in drawn histories: nodes break, fall mute and come back, people stop, resume and retry.

use std::collections::{BTreeMap, BTreeSet};

use fleet::entropy::Entropy;
use fleet::rollout::{RolloutId, RolloutState, Verb, Wish};
use fleet::{Event, State};
use protocol::NodeId;

use crate::rack::Rack;
use crate::rolling::{begun as begin, breaks, find, rack_of, rebuilt, role, says, underway, wish};

/// Whatever happens to the nodes meanwhile: none is begun when as many as may be are down already, by what the test itself knows of
/// them; none before the canaries are through, none after too many have failed, none while it is stopped.
#[test]
fn no_history_breaks_the_promise() {
    let mut begun_in_all = 0;
    for seed in 0..120_u8 {
        begun_in_all += history(seed);
    }
    assert!(begun_in_all > 300, "hardly anything happened: {begun_in_all}");
}

/// One history; how many nodes were begun in it.
fn history(seed: u8) -> usize {
    let mut dice = Entropy::new(&[seed; 32]);
    let mut draw = |most: u8| u8::from_be_bytes(dice.draw::<1>()) % most;
    let mut rack = rack_of(4 + draw(5));
    let (most, enough) = (1 + draw(3), 1 + draw(3));
    let canaries = if draw(2) == 0 { Vec::new() } else { vec![find(&rack, "n2").id] };
    let terms = Wish { max_unavailable: most.into(), stop_after: enough.into(), canaries, ..wish(role()) };
    let rollout = begin(&mut rack, terms.clone());
    // Since which turn.
    let mut mute = BTreeMap::<NodeId, i32>::new();
    let mut begun = 0;
    let look = |rack: &Rack| {
        let reached = rack.fleet.rollouts[&rollout].reached(&rack.fleet);
        reached.map(|(step, reached)| (step.node, reached.word())).collect::<BTreeMap<_, _>>()
    };
    for turn in 0..60 {
        let at = format!("seed {seed}, turn {turn}");
        let before = look(&rack);
        let is_running = rack.fleet.rollouts[&rollout].state == RolloutState::Running;
        let works = |rack: &Rack, node: &NodeId| {
            rack.fleet.nodes[node].state == State::Active && !mute.contains_key(node)
        };
        // Nobody can know of one that has been heard within the last 90 s.
        let is_known = |node: &NodeId| mute.get(node).is_none_or(|since| turn - since > 1);
        let down = before
            .keys()
            .filter(|node| !works(&rack, node) && is_known(node))
            .copied()
            .collect::<BTreeSet<_>>();
        rack.now = rack.now.plus_seconds(60);
        let heard = before.keys().filter(|node| works(&rack, node)).copied().collect::<Vec<_>>();
        heard.into_iter().for_each(|node| drop(rack.reports(node, "active").unwrap()));
        rack.bring(Event::Tick).unwrap();
        let seen = look(&rack);
        let fresh = seen.iter().filter(|(node, word)| **word == "underway" && before[*node] == "waiting");
        let fresh = fresh.map(|(node, _)| *node).collect::<Vec<_>>();
        begun += fresh.len();
        if let Some(node) = fresh.first() {
            assert!(is_running && fresh.len() == 1, "{at}: {fresh:?}");
            assert!(
                !down.contains(node) || !mute.contains_key(node),
                "{at}: one that hears nothing was told to restart"
            );
            let others = down.iter().filter(|other| *other != node).count();
            assert!(others < usize::from(most) || down.contains(node), "{at}: {others} were down");
            let is_canary = terms.canaries.contains(node);
            let through = |canary: &NodeId| ["done", "failed", "dropped"].contains(&before[canary]);
            assert!(is_canary || terms.canaries.iter().all(through), "{at}: before the canary was through");
        }
        happens(&mut rack, &rollout, (&mut mute, turn), &mut draw);
    }
    begun
}

/// Nodes come through, or break, or fall mute; people stop, resume and retry; nobody is heard for a while.
fn happens(
    rack: &mut Rack,
    rollout: &RolloutId,
    (mute, turn): (&mut BTreeMap<NodeId, i32>, i32),
    draw: &mut impl FnMut(u8) -> u8,
) {
    for (node, job) in underway(rack, rollout) {
        let drains = rack.fleet.nodes[&node].state.word() == "draining";
        match draw(7) {
            0 if drains => breaks(rack, node, job),
            1..=3 if drains => rebuilt(rack, node, job),
            _ => {}
        }
    }
    let nodes = rack.fleet.rollouts[rollout].steps.iter().map(|step| step.node).collect::<Vec<_>>();
    let any = nodes[usize::from(draw(12)) % nodes.len()];
    let verb = |rack: &mut Rack, verb: Verb| drop(says(rack, rollout, verb));
    match draw(14) {
        0 if rack.fleet.nodes[&any].state == State::Active => drop(mute.insert(any, turn)),
        1..=4 => mute.clear(),
        5 => verb(rack, Verb::Stop),
        6 | 7 => verb(rack, Verb::Resume),
        8 if matches!(rack.fleet.nodes[&any].state, State::Attention { .. }) => {
            drop(rack.bring(Event::Retry { node: any }));
        }
        9 => rack.now = rack.now.plus_seconds(300),
        _ => {}
    }
}

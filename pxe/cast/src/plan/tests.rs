use proptest::prelude::*;

use super::chain::{FOLLOWERS, SLACK, SOURCES};
use super::*;

const MIB: u64 = 1 << 20;
const GBIT: u64 = 125_000_000;
const IMAGE: u64 = 4000 * MIB;

fn seconds(count: u64) -> Micros {
    Micros(count * 1_000_000)
}

fn planner() -> Planner {
    Planner::new(IMAGE, 3 * IMAGE)
}

fn terms(multicast: Multicast) -> Terms {
    Terms { multicast, controller: GBIT, expected: 0 }
}

const BLOCKED: Multicast = Multicast::Not(Why::Floods);

fn at(had_bytes: u64, heard: Micros) -> Known {
    Known { heard, had_bytes, has_door: true, ..Known::default() }
}

/// So many nodes that have had as much as each other.
fn nodes(count: u128, had: u64, heard: Micros) -> BTreeMap<Node, Known> {
    (0..count).map(|node| (Node(node), at(had, heard))).collect()
}

/// From whom each fetches first.
fn firsts(plan: &Plan) -> BTreeMap<Node, Option<Node>> {
    plan.ways.iter().map(|(node, way)| (*node, way.sources.first().copied())).collect()
}

fn heads(plan: &Plan) -> usize {
    firsts(plan).values().filter(|first| first.is_none()).count()
}

/// What holds of every plan.
fn check(plan: &Plan, nodes: &BTreeMap<Node, Known>, now: Micros, liars: &BTreeSet<Node>) {
    let mut followers: BTreeMap<Node, usize> = BTreeMap::new();
    for (node, way) in &plan.ways {
        let own = &nodes[node];
        assert!(now.since(own.heard) < DEAD, "the dead need no plan");
        assert!(way.sources.len() <= SOURCES);
        assert!(way.listens || way.why.is_some(), "{node:?} has no reason");
        if let Some(first) = way.sources.first() {
            *followers.entry(*first).or_default() += 1;
        }
        for (place, source) in way.sources.iter().enumerate() {
            let other = &nodes[source];
            assert_ne!(source, node);
            assert!(!way.sources[..place].contains(source), "named twice");
            assert!(now.since(other.heard) < DEAD, "{node:?} fetches from the dead {source:?}");
            assert!(other.has_door, "{source:?} has no door");
            assert!(!own.shunned.contains(source) && !liars.contains(source), "{source:?} lies");
            assert!(other.had_bytes + SLACK >= own.had_bytes, "{source:?} is behind {node:?}");
        }
    }
    assert!(followers.values().all(|count| *count <= FOLLOWERS), "{followers:?}");
    // Who can be reached only from itself is in a circle.
    let mut left: BTreeMap<Node, Vec<Node>> =
        plan.ways.iter().map(|(node, way)| (*node, way.sources.clone())).collect();
    loop {
        let free: Vec<Node> =
            left.iter().filter(|(_, sources)| sources.is_empty()).map(|(node, _)| *node).collect();
        if free.is_empty() {
            break;
        }
        free.iter().for_each(|node| drop(left.remove(node)));
        left.values_mut().for_each(|sources| sources.retain(|source| !free.contains(source)));
    }
    assert!(left.is_empty(), "a circle: {left:?}");
}

#[derive(Debug, Clone)]
enum Step {
    Join(u128, bool),
    Had(u128, u64),
    Dies(u128),
    Shuns(u128, u128),
    Unfit(u128),
    Hears(u128),
    Pulls(u128, bool),
    Again(u128),
    Waits(u64),
    Network(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let node = 0_u128..12;
    prop_oneof![
        4 => (node.clone(), any::<bool>()).prop_map(|(node, door)| Step::Join(node, door)),
        8 => (node.clone(), 0..400 * MIB).prop_map(|(node, more)| Step::Had(node, more)),
        1 => node.clone().prop_map(Step::Dies),
        1 => (node.clone(), node.clone()).prop_map(|(node, other)| Step::Shuns(node, other)),
        1 => node.clone().prop_map(Step::Unfit),
        1 => node.clone().prop_map(Step::Hears),
        1 => (node.clone(), any::<bool>()).prop_map(|(node, pulls)| Step::Pulls(node, pulls)),
        1 => node.prop_map(Step::Again),
        6 => (0_u64..1200).prop_map(Step::Waits),
        1 => any::<bool>().prop_map(Step::Network),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_every_plan_can_be_carried_out(steps in prop::collection::vec(step(), 1..150)) {
        let (mut planner, mut now, mut multicast) = (planner(), seconds(1), BLOCKED);
        let mut known: BTreeMap<Node, Known> = BTreeMap::new();
        let mut dead = BTreeSet::new();
        for step in steps {
            match step {
                Step::Join(node, has_door) => {
                    dead.remove(&Node(node));
                    known.entry(Node(node)).or_default().has_door = has_door;
                }
                Step::Had(node, more) => {
                    if let Some(one) = known.get_mut(&Node(node)) {
                        one.had_bytes = (one.had_bytes + more).min(IMAGE);
                    }
                }
                Step::Dies(node) => drop(dead.insert(Node(node))),
                Step::Shuns(node, other) => {
                    if let Some(one) = known.get_mut(&Node(node)) {
                        one.shunned.insert(Node(other));
                    }
                }
                Step::Unfit(node) => {
                    if let Some(one) = known.get_mut(&Node(node)) {
                        one.hears = Hears::Not(sender::Why::Deaf);
                    }
                }
                Step::Hears(node) => {
                    if let Some(one) = known.get_mut(&Node(node)) {
                        one.hears = Hears::Well;
                    }
                }
                Step::Pulls(node, pulls) => {
                    if let Some(one) = known.get_mut(&Node(node)) {
                        one.pulls = pulls;
                    }
                }
                Step::Again(node) => {
                    planner.forget(Node(node));
                    if let Some(one) = known.get_mut(&Node(node)) {
                        *one = at(0, now);
                    }
                }
                Step::Waits(milliseconds) => now = now.after(Micros(milliseconds * 1000)),
                Step::Network(is_possible) => {
                    multicast = if is_possible { Multicast::Possible } else { BLOCKED };
                }
            }
            known.iter_mut().filter(|(node, _)| !dead.contains(node)).for_each(|(_, one)| one.heard = now);
            let plan = planner.plan(&known, &terms(multicast), now);
            check(&plan, &known, now, &planner.liars);
            let live = known.values().filter(|one| now.since(one.heard) < DEAD).count();
            prop_assert_eq!(plan.ways.len(), live, "each has a way");
            for way in plan.ways.values() {
                prop_assert!(!way.listens || multicast == Multicast::Possible);
            }
        }
    }

    #[test]
    fn an_order_stays_while_nobody_is_far_ahead(jitter in prop::collection::vec(0..SLACK / 2, 1..60)) {
        let (mut planner, mut now) = (planner(), seconds(1));
        let mut known = nodes(6, 500 * MIB, now);
        let before = planner.plan(&known, &terms(BLOCKED), now);
        for (turn, jitter) in (1_u64..).zip(&jitter) {
            now = now.after(Micros(250_000));
            let one = Node(u128::from(turn % 6));
            known.values_mut().for_each(|known| *known = at((500 + 25 * turn) * MIB, now));
            known.get_mut(&one).unwrap().had_bytes += jitter;
            let after = planner.plan(&known, &terms(BLOCKED), now);
            prop_assert_eq!(firsts(&after), firsts(&before));
        }
    }

    /// What is asked for comes in pieces of 16 MiB: what is said once a second is as coarse.
    #[test]
    fn who_is_only_late_is_not_slow(phases in prop::collection::vec(0..16 * MIB, 3), rate in 30 * MIB..110 * MIB) {
        // The second is before the third from the start.
        let (mut planner, ahead) = (planner(), [600 * MIB, 16 * MIB, 0]);
        for second in 1..30 {
            let now = seconds(second);
            let had = |node: usize| (ahead[node] + rate * second + phases[node]) / (16 * MIB) * 16 * MIB;
            let known = (0..3).map(|node| (Node(node as u128), at(had(node), now))).collect();
            let plan = planner.plan(&known, &terms(BLOCKED), now);
            let expected = [(Node(0), None), (Node(1), Some(Node(0))), (Node(2), Some(Node(1)))];
            prop_assert_eq!(firsts(&plan), BTreeMap::from(expected));
        }
    }

    #[test]
    fn a_chain_heals_whoever_dies(count in 3_u128..20, dies in 0_u128..20) {
        let dies = dies % count;
        let mut planner = planner();
        let mut known = nodes(count, 100 * MIB, seconds(1));
        let plan = planner.plan(&known, &terms(BLOCKED), seconds(1));
        prop_assert_eq!(heads(&plan), 1);
        for now in [seconds(2), seconds(3), seconds(4)] {
            for (_, one) in known.iter_mut().filter(|(node, _)| **node != Node(dies)) {
                *one = at(one.had_bytes + 100 * MIB, now);
            }
            let plan = planner.plan(&known, &terms(BLOCKED), now);
            check(&plan, &known, now, &BTreeSet::new());
            prop_assert_eq!(heads(&plan), 1);
        }
    }
}

#[test]
fn the_cheapest_lane_that_is_possible_is_taken() {
    use Lane::{Chain, Multicast as Sent, Unicast};
    let possible = Multicast::Possible;
    // Nodes, expected, controller's link and theirs in Gb/s, whether it can be sent to all: lane, and why nobody listens.
    type Row = (u128, u32, u64, u64, Multicast, Lane, Option<Why>);
    let table: [Row; 14] = [
        (1, 1, 1, 1, possible, Unicast, Some(Why::Alone)),
        (1, 2, 1, 1, possible, Sent, None),
        (2, 0, 1, 1, possible, Sent, None),
        (64, 0, 1, 1, possible, Sent, None),
        (2, 0, 10, 1, possible, Unicast, Some(Why::Quick)),
        (10, 0, 10, 1, possible, Unicast, Some(Why::Quick)),
        (12, 0, 10, 1, possible, Sent, None),
        (2, 0, 10, 10, possible, Sent, None),
        (1, 1, 1, 1, BLOCKED, Unicast, Some(Why::Alone)),
        (2, 0, 1, 1, BLOCKED, Chain, Some(Why::Floods)),
        (2, 0, 10, 1, BLOCKED, Unicast, Some(Why::Quick)),
        (64, 0, 10, 1, BLOCKED, Chain, Some(Why::Floods)),
        (5, 0, 1, 1, Multicast::Not(Why::Router), Chain, Some(Why::Router)),
        (5, 0, 1, 1, Multicast::Not(Why::Off), Chain, Some(Why::Off)),
    ];
    for (count, expected, controller, link, multicast, lane, why) in table {
        let mut known = nodes(count, 0, seconds(1));
        known.values_mut().for_each(|known| known.link = Some(link * GBIT));
        let terms = Terms { multicast, controller: controller * GBIT, expected };
        let plan = planner().plan(&known, &terms, seconds(1));
        let case = format!("{count} ({expected}) at {controller} to {link}: {multicast:?}");
        assert_eq!(plan.lane, lane, "{case}");
        assert!(plan.ways.values().all(|way| way.why == why && way.listens == (lane == Sent)), "{case}");
        assert!(plan.seconds > 0.0 && plan.seconds.is_finite());
        let has_sources = plan.ways.values().filter(|way| !way.sources.is_empty()).count();
        assert_eq!(has_sources as u128, if lane == Chain { count - 1 } else { 0 }, "{case}");
    }
}

#[test]
fn what_is_sent_to_all_goes_on_for_the_last_of_them() {
    let (mut planner, mut known) = (planner(), nodes(2, 0, seconds(1)));
    planner.plan(&known, &terms(Multicast::Possible), seconds(1));
    known.remove(&Node(0));
    let plan = planner.plan(&known, &terms(Multicast::Possible), seconds(2));
    assert_eq!((plan.lane, plan.ways[&Node(1)].listens), (Lane::Multicast, true));
    known.clear();
    planner.plan(&known, &terms(Multicast::Possible), seconds(3));
    assert!(!planner.sends());
}

#[test]
fn who_is_unfit_or_hears_nothing_fetches_from_those_who_listen() {
    let (mut planner, mut known) = (planner(), nodes(6, 300 * MIB, seconds(1)));
    known.values_mut().for_each(|known| known.hears = Hears::Well);
    known.get_mut(&Node(2)).unwrap().hears = Hears::Not(sender::Why::Lossy);
    known.get_mut(&Node(4)).unwrap().pulls = true;
    let plan = planner.plan(&known, &terms(Multicast::Possible), seconds(1));
    check(&plan, &known, seconds(1), &BTreeSet::new());
    assert_eq!(plan.lane, Lane::Multicast);
    let unfit = &plan.ways[&Node(2)];
    assert!(!unfit.listens && unfit.why == Some(Why::Unfit(sender::Why::Lossy)));
    assert_eq!(unfit.sources.len(), 2, "those before it");
    let silent = &plan.ways[&Node(4)];
    assert!(silent.listens && silent.why == Some(Why::Silence) && !silent.sources.is_empty());
    let others = plan.ways.iter().filter(|(node, _)| ![Node(2), Node(4)].contains(node));
    assert!(others.clone().all(|(_, way)| way.listens && way.why.is_none() && way.sources.is_empty()));
}

#[test]
fn a_network_where_nobody_hears_anything_is_not_sent_to() {
    let (mut planner, mut known) = (planner(), nodes(4, 0, seconds(1)));
    let deaf = Hears::Not(sender::Why::Deaf);
    known.get_mut(&Node(0)).unwrap().hears = deaf;
    let plan = planner.plan(&known, &terms(Multicast::Possible), seconds(1));
    assert_eq!(plan.lane, Lane::Multicast, "one may be the only one");
    known.get_mut(&Node(1)).unwrap().hears = deaf;
    known.get_mut(&Node(2)).unwrap().hears = Hears::Well;
    assert_eq!(planner.plan(&known, &terms(Multicast::Possible), seconds(1)).lane, Lane::Multicast);
    known.get_mut(&Node(2)).unwrap().hears = Hears::Nothing;
    let plan = planner.plan(&known, &terms(Multicast::Possible), seconds(1));
    assert_eq!(plan.lane, Lane::Chain);
    assert!(plan.ways.values().all(|way| !way.listens && way.why == Some(Why::Blocked)));
    assert_eq!(heads(&plan), 1);
}

#[test]
fn a_liar_is_nobodys_source_and_who_accuses_all_is_not_believed() {
    let (mut planner, mut known) = (planner(), nodes(8, 100 * MIB, seconds(1)));
    known.get_mut(&Node(5)).unwrap().shunned.insert(Node(4));
    let plan = planner.plan(&known, &terms(BLOCKED), seconds(1));
    assert!(plan.ways.values().all(|way| !way.sources.contains(&Node(4))));
    assert_eq!(heads(&plan), 1, "it still fetches itself");
    known.remove(&Node(5));
    let plan = planner.plan(&known, &terms(BLOCKED), seconds(1));
    assert!(plan.ways.values().all(|way| !way.sources.contains(&Node(4))), "also when the accuser has gone");
    planner.forget(Node(4));
    let plan = planner.plan(&known, &terms(BLOCKED), seconds(1));
    assert_eq!(heads(&plan), 1);
    let all: BTreeSet<Node> = known.keys().copied().collect();
    known.get_mut(&Node(7)).unwrap().shunned = all;
    let plan = planner.plan(&known, &terms(BLOCKED), seconds(1));
    assert!(plan.ways[&Node(7)].sources.is_empty(), "it believes itself");
    assert_eq!(heads(&plan), 2, "two of the others are believed to lie; the others are not");
}

/// A chain in virtual time: what each has had, by whom it fetches from, and by what its link takes.
struct World {
    planner: Planner,
    known: BTreeMap<Node, Known>,
    links: BTreeMap<Node, u64>,
    controller: u64,
    done: BTreeMap<Node, u64>,
}

impl World {
    fn new(count: u128, link: u64, controller: u64) -> Self {
        let known = nodes(count, 0, Micros(0));
        let links = known.keys().map(|node| (*node, link)).collect();
        World { planner: planner(), known, links, controller, done: BTreeMap::new() }
    }

    /// Runs until all have everything; gives up at a time that is much too long. The most heads there were.
    fn run(&mut self, give_up: u64) -> usize {
        let (terms, mut most) = (Terms { controller: self.controller, ..terms(BLOCKED) }, 0);
        let had = |known: &BTreeMap<Node, Known>, node: Node| known[&node].had_bytes;
        let mut told = self.known.clone();
        let mut plan = self.planner.plan(&told, &terms, Micros(0));
        for tick in 1..give_up * 20 {
            let now = Micros(tick * 50_000);
            if tick % 20 == 0 {
                told.clone_from(&self.known);
                told.values_mut().for_each(|known| known.heard = now);
                plan = self.planner.plan(&told, &terms, now);
                check(&plan, &told, now, &BTreeSet::new());
            }
            let ways = firsts(&plan);
            let fetch: Vec<Node> = ways
                .iter()
                .filter(|(node, first)| first.is_none() && had(&self.known, **node) < IMAGE)
                .map(|(node, _)| *node)
                .collect();
            most = most.max(fetch.len());
            let before = self.known.clone();
            for (node, known) in &mut self.known {
                let link = self.links[node] / 20;
                let more = match ways[node] {
                    None => link.min(self.controller / 20 / fetch.len().max(1) as u64),
                    Some(first) => link.min(had(&before, first).saturating_sub(known.had_bytes)),
                };
                known.had_bytes = (known.had_bytes + more).min(IMAGE);
                if known.had_bytes == IMAGE {
                    self.done.entry(*node).or_insert(tick / 20);
                }
            }
            if self.done.len() == self.known.len() {
                break;
            }
        }
        most
    }
}

#[test]
fn a_slow_node_becomes_a_leaf_wherever_it_stands() {
    let least = IMAGE / GBIT;
    for slow in 0..8 {
        let mut world = World::new(8, GBIT, GBIT);
        world.links.insert(Node(slow), GBIT / 10);
        world.run(20 * least);
        let others = world.done.iter().filter(|(node, _)| **node != Node(slow)).map(|(_, done)| *done);
        let last = others.max().unwrap();
        // It is a second until it is known, two until it is believed; and the first one is served beside the others.
        assert!(last <= least * 5 / 4 + 4, "{slow} is slow: the others took {last} s instead of {least}");
        assert!(world.done[&Node(slow)] <= 10 * least + 5, "{:?}", world.done);
    }
}

#[test]
fn a_slow_controller_is_not_taken_for_slow_nodes() {
    // It serves others too, and nobody knows.
    let mut world = World::new(8, GBIT, GBIT);
    world.controller = GBIT / 8;
    let least = IMAGE / world.controller;
    let heads = world.run(20 * least);
    let last = *world.done.values().max().unwrap();
    assert!(heads <= 2 && last <= least * 9 / 8, "{heads} heads, {last} s instead of {least}");
}

#[test]
fn nodes_of_all_speeds_are_all_served() {
    let mut world = World::new(8, GBIT, GBIT);
    for (node, link) in &mut world.links {
        *link = GBIT / (u64::try_from(node.0).unwrap() % 3 * 4 + 1);
    }
    let least = IMAGE / GBIT;
    world.run(40 * least);
    for (node, done) in &world.done {
        let own = IMAGE / world.links[node];
        assert!(*done <= own * 2 + 10, "{node:?} took {done} s instead of {own}");
    }
    assert_eq!(world.done.len(), 8);
}

#[test]
fn every_reason_has_words_of_its_own() {
    let all = [
        Why::Alone,
        Why::Quick,
        Why::Router,
        Why::Off,
        Why::Floods,
        Why::Broken,
        Why::Blocked,
        Why::Unfit(sender::Why::Deaf),
        Why::Unfit(sender::Why::Lossy),
        Why::Silence,
    ];
    let words: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
    assert_eq!(words.len(), all.len());
}

//! The network between nodes checked: agents that answer as a network lets them, nodes that die meanwhile, and what is made of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use fleet::preflight::{
    Course, Finding, Preflight, PreflightState, Results, Severity, Stage, Terms, Verb, Wish, judge, rounds,
};
use fleet::rollout::Group;
use fleet::view::preflight_view;
use fleet::{Denied, Event, Reply};
use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};
use protocol::{
    Answered, Heard, Link, LinkAddress, Neighbour, NetworkAsk, NetworkStep, NodeId, ReportKey, Rival,
    StepDone, Streamed,
};

use crate::rack::Rack;
use crate::rolling::{find, rack_of, role};

const MTU: u32 = 1500;

/// A network in which packets of every size arrive, and everything is fast, but for what is said.
#[derive(Clone, Default)]
struct Wires {
    /// Ways on which nothing arrives.
    cut: BTreeSet<(u16, u16)>,
    /// Ways on which nothing larger arrives.
    narrow: BTreeMap<(u16, u16), u16>,
    /// Members that transfer so many kbit/s.
    slow: BTreeMap<u16, u64>,
    /// Links that are set otherwise.
    mtu: BTreeMap<u16, u32>,
    /// Switch, VLAN.
    plugged: BTreeMap<u16, (&'static str, u16)>,
    /// Members that never ask, or stop to ask at this step.
    dies: BTreeMap<u16, u32>,
}

impl Wires {
    fn mtu(&self, member: u16) -> u32 {
        self.mtu.get(&member).copied().unwrap_or(MTU)
    }

    fn passes(&self, from: u16, to: u16, size: u16) -> bool {
        let narrowest = self.narrow.get(&(from, to)).copied().unwrap_or(u16::MAX);
        let largest = u32::from(narrowest).min(self.mtu(from)).min(self.mtu(to));
        !self.cut.contains(&(from, to)) && u32::from(size) <= largest
    }

    fn link(&self, member: u16) -> Link {
        let neighbour = |(system, vlan): &(&str, u16)| Neighbour {
            chassis: format!("chassis of {system}"),
            port: format!("ge-0/0/{member}"),
            port_description: String::new(),
            system: (*system).to_owned(),
            vlan: Some(*vlan),
        };
        let address = Ipv4Addr::new(10, 77, 0, 100 + u8::try_from(member).unwrap());
        Link {
            name: "eno1".to_owned(),
            mac: format!("52:54:00:77:00:{:02x}", member + 1).parse().unwrap(),
            carrier: true,
            mtu: self.mtu(member),
            speed_mbps: Some(1000),
            addresses: vec![LinkAddress { address, prefix: 24 }],
            neighbours: self.plugged.get(&member).map(neighbour).into_iter().collect(),
        }
    }
}

/// One agent.
#[derive(Default)]
struct Agent {
    heard: BTreeMap<u16, (u32, u16)>,
    done: Option<StepDone>,
    most: u32,
}

/// Asks for all members until the check is over; how long that took, in milliseconds.
fn carry_through(check: &Preflight, wires: &Wires) -> (Results, u64) {
    let mut course = Course::new(check, ReportKey([1; 32]), 0);
    let mut agents = check.members.iter().map(|_| Agent::default()).collect::<Vec<_>>();
    let mut now = 0;
    while course.stage() != Stage::Over {
        now += 500;
        assert!(now < 3_600_000, "it does not end: {:?}", course.stage());
        for (me, member) in (0_u16..).zip(&check.members) {
            let agent = &agents[usize::from(me)];
            if wires.dies.get(&me).is_some_and(|step| *step <= agent.most) {
                continue;
            }
            let ask = NetworkAsk { wait_seconds: 25, links: vec![wires.link(me)], done: agent.done.clone() };
            if let Some(step) = course.ask(member.node, &ask) {
                take(&mut agents, &step, wires);
            }
        }
        course.tick(now, None);
    }
    (course.results().unwrap(), now)
}

/// An agent does what it is told.
fn take(agents: &mut [Agent], step: &NetworkStep, wires: &Wires) {
    let me = step.me;
    let mut answered = Vec::new();
    for aim in &step.targets {
        let mut row = Answered { to: aim.to, network: aim.network, packets: 0, largest: 0, rtt_us: 150 };
        for size in aim.sizes.iter().chain([&64]).copied() {
            if !wires.passes(me, aim.to, size) {
                continue;
            }
            let (packets, largest) = agents[usize::from(aim.to)].heard.entry(me).or_default();
            (*packets, *largest) = (*packets + 1, size.max(*largest));
            if wires.passes(aim.to, me, 64) {
                (row.packets, row.largest) = (row.packets + 1, size.max(row.largest));
            }
        }
        answered.push(row);
    }
    let rate = |member: u16| wires.slow.get(&member).copied().unwrap_or(940_000);
    let stream = step.hear.filter(|heed| wires.passes(heed.from, me, 64) && wires.passes(me, heed.from, 64));
    let stream = stream.map(|heed| {
        let kbit = rate(me).min(rate(heed.from));
        Streamed { from: heed.from, network: heed.network, bytes: kbit * 125, micros: 1_000_000 }
    });
    let agent = &mut agents[usize::from(me)];
    agent.most = step.number;
    let heard = agent.heard.iter();
    let heard = heard.map(|(from, (packets, largest))| Heard {
        from: *from,
        network: 0,
        packets: *packets,
        largest: *largest,
    });
    agent.done = Some(StepDone {
        check: step.check,
        number: step.number,
        error: None,
        answered,
        heard: heard.collect(),
        rivals: Vec::new(),
        stream,
    });
}

fn wish(group: Option<Group>, stream_seconds: u32) -> Event {
    let terms = Terms { stream_seconds, beside_jobs: false };
    Event::Preflight(Verb::Begin(Box::new(Wish { group, terms })))
}

fn begin(rack: &mut Rack, event: Event) -> Result<Preflight, Denied> {
    match rack.bring(event)?.reply {
        Reply::Preflight(check) => Ok(*check),
        other => panic!("{other:?}"),
    }
}

fn members(count: u8) -> Preflight {
    let mut rack = rack_of(count);
    begin(&mut rack, wish(None, 1)).unwrap()
}

fn findings(count: u8, wires: &Wires) -> Vec<Finding> {
    judge(&carry_through(&members(count), wires).0, &|_| None)
}

fn texts(count: u8, wires: &Wires) -> Vec<String> {
    findings(count, wires).into_iter().map(|finding| format!("{} {}", finding.code, finding.text)).collect()
}

fn both(a: u16, b: u16) -> [(u16, u16); 2] {
    [(a, b), (b, a)]
}

/// Every way from or to a member.
fn all_of(member: u16, count: u16) -> impl Iterator<Item = (u16, u16)> {
    (0..count).filter(move |other| *other != member).flat_map(move |other| both(member, other))
}

#[test]
fn a_network_that_works_has_no_findings() {
    for count in [2, 3, 8] {
        assert_eq!(texts(count, &Wires::default()), [] as [&str; 0], "{count}");
    }
}

#[test]
fn a_common_cause_is_said_once() {
    let cut = |cut: Vec<(u16, u16)>| Wires { cut: cut.into_iter().collect(), ..Wires::default() };
    let table = [
        (
            "one is cut off",
            5,
            all_of(2, 5).collect::<Vec<_>>(),
            vec!["unreachable n3 reaches nobody on 10.77.0.0/24, and nobody reaches it"],
        ),
        (
            "one is heard by nobody",
            5,
            all_of(2, 5).filter(|(from, _)| *from == 2).collect(),
            vec!["one-way what n3 sends on 10.77.0.0/24 reaches nobody, though others reach it"],
        ),
        (
            "one hears nobody",
            5,
            all_of(2, 5).filter(|(_, to)| *to == 2).collect(),
            vec!["one-way nobody reaches n3 on 10.77.0.0/24, though what it sends arrives"],
        ),
        (
            "two, and there are no others",
            2,
            both(0, 1).to_vec(),
            vec!["unreachable n1 and n2 do not reach each other on 10.77.0.0/24"],
        ),
        (
            "two of five",
            5,
            both(1, 3).to_vec(),
            vec!["unreachable n2 and n4 do not reach each other on 10.77.0.0/24, though they reach others"],
        ),
        (
            "one way",
            5,
            vec![(3, 1)],
            vec!["one-way what n4 sends to n2 on 10.77.0.0/24 does not arrive, the other way it does"],
        ),
        (
            "two switches without a cable between them",
            5,
            [0, 1, 2].into_iter().flat_map(|a| [3, 4].into_iter().flat_map(move |b| both(a, b))).collect(),
            vec!["split 10.77.0.0/24 is in 2 parts that do not reach each other: n1, n2, n3 | n4, n5"],
        ),
        (
            "one that is cut off, and a pair beside it",
            6,
            all_of(0, 6).chain(both(3, 4)).collect(),
            vec![
                "unreachable n1 reaches nobody on 10.77.0.0/24, and nobody reaches it",
                "unreachable n4 and n5 do not reach each other on 10.77.0.0/24, though they reach others",
            ],
        ),
    ];
    for (what, count, ways, wanted) in table {
        assert_eq!(texts(count, &cut(ways)), wanted, "{what}");
    }
}

#[test]
fn packets_that_are_too_large_are_laid_to_the_setting_or_the_way() {
    let set = Wires { mtu: [(2, 1400)].into(), ..Wires::default() };
    assert_eq!(texts(5, &set), ["mtu-setting n3 (eno1) on 10.77.0.0/24 has MTU 1400, most others 1500"]);
    let odd = Wires { mtu: [(1, 1337)].into(), ..Wires::default() };
    assert_eq!(
        texts(2, &odd),
        ["mtu-setting links on 10.77.0.0/24 are set to different MTUs: 1337 on n2 (eno1), 1500 on n1 (eno1)"]
    );
    let narrow = |ways: Vec<(u16, u16)>, size| Wires {
        narrow: ways.into_iter().map(|way| (way, size)).collect(),
        ..Wires::default()
    };
    assert_eq!(
        texts(5, &narrow(all_of(2, 5).collect(), 1450)),
        ["mtu large packets from and to n3 on 10.77.0.0/24 are lost: 1450 bytes pass, its MTU is 1500"]
    );
    assert_eq!(
        texts(5, &narrow(all_of(2, 5).filter(|(from, _)| *from == 2).collect(), 1450)),
        ["mtu large packets from n3 on 10.77.0.0/24 are lost: 1450 bytes pass, its MTU is 1500"]
    );
    assert_eq!(
        texts(5, &narrow(both(0, 1).to_vec(), 1470)),
        ["mtu large packets between n1 and n2 on 10.77.0.0/24 are lost: 1450 bytes pass"],
        "of what was tried"
    );
    assert_eq!(
        texts(5, &narrow(vec![(3, 1)], 1300)),
        ["mtu large packets from n4 to n2 on 10.77.0.0/24 are lost: 1280 bytes pass"]
    );
    let jumbo = Wires {
        mtu: (0..5).map(|member| (member, 9000)).collect(),
        ..narrow((0..5).flat_map(|member| all_of(member, 5)).collect(), 1500)
    };
    assert_eq!(
        texts(5, &jumbo),
        [
            "mtu no pair on 10.77.0.0/24 passes packets of the MTU 9000: the largest that arrived has 1500 bytes"
        ]
    );
}

#[test]
fn a_slow_link_and_an_odd_cable_are_found() {
    let slow = Wires { slow: [(2, 94_000)].into(), ..Wires::default() };
    assert_eq!(
        texts(5, &slow),
        ["slow transfers with n3 on 10.77.0.0/24 reach 94 Mbit/s in the middle, among the others 940 Mbit/s"]
    );
    assert_eq!(
        texts(3, &slow),
        ["slow transfers with n3 on 10.77.0.0/24 reach 94 Mbit/s in the middle, among the others 940 Mbit/s"],
        "though most pairs are slow"
    );
    let all = Wires { slow: (0..5).map(|member| (member, 300_000)).collect(), ..Wires::default() };
    assert_eq!(
        texts(5, &all),
        ["slow transfers on 10.77.0.0/24 reach 300 Mbit/s in the middle, which is little for its links"]
    );
    let mut plugged = (0..5).map(|member| (member, ("sw1", 100))).collect::<BTreeMap<_, _>>();
    plugged.insert(3, ("sw2", 100));
    plugged.insert(4, ("sw1", 200));
    let odd = findings(5, &Wires { plugged, ..Wires::default() });
    let said = odd.iter().map(|finding| (finding.severity, finding.text.as_str())).collect::<Vec<_>>();
    let wanted = [
        "eno1 of n4 is in switch sw2 (sw2 port ge-0/0/3), that of 4 nodes like it in sw1",
        "eno1 of n5 is in VLAN 200 (sw1 port ge-0/0/4), that of 4 nodes like it in 100",
    ];
    assert_eq!(said, wanted.map(|text| (Severity::Warn, text)));
    let racks = (0..6).map(|member| (member, (if member < 3 { "sw1" } else { "sw2" }, 100)));
    assert_eq!(
        texts(6, &Wires { plugged: racks.collect(), ..Wires::default() }),
        [] as [&str; 0],
        "two racks"
    );
}

#[test]
fn an_address_that_two_have_is_named_with_both() {
    let mut results = carry_through(&members(3), &Wires::default()).0;
    let mac = "52:54:00:99:00:01".parse().unwrap();
    results.rivals.push((1, Rival { address: Ipv4Addr::new(10, 77, 0, 101), mac }));
    let said =
        |results: &Results, owner: Option<&str>| judge(results, &|_| owner.map(str::to_owned))[0].clone();
    assert_eq!(
        said(&results, None).text,
        "10.77.0.101 of n2 is also used by a machine that is no node (52:54:00:99:00:01)"
    );
    assert_eq!(said(&results, Some("n7")).text, "10.77.0.101 of n2 is also used by n7 (52:54:00:99:00:01)");
    results.rivals.clear();
    results.networks[0].places[2].address = results.networks[0].places[0].address;
    assert_eq!(said(&results, None).text, "10.77.0.100 is an address of n1 and n3 alike");
}

#[test]
fn a_node_that_dies_is_a_row_and_holds_nobody_up() {
    for (step, why) in [
        (0, "its agent does not ask what to check"),
        (1, "it did not begin to answer"),
        (2, "it was heard no more while packets were sent"),
        (3, "it was heard no more during the transfers"),
    ] {
        let wires = Wires { dies: [(1, step)].into(), ..Wires::default() };
        let (results, took) = carry_through(&members(4), &wires);
        let found = judge(&results, &|_| None);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            found[0].text.contains("n2 was not checked to the end") && found[0].text.contains(why),
            "{found:?}"
        );
        assert!(took < 60_000, "{took}");
        let others = results.pairs.iter().filter(|pair| pair.from != 1 && pair.to != 1);
        assert!(others.clone().all(|pair| pair.arrived && pair.kbit.is_some()), "{results:?}");
        assert_eq!(others.count(), 6);
    }
    let nobody = Wires { dies: (0..3).map(|member| (member, 0)).collect(), ..Wires::default() };
    assert_eq!(texts(3, &nobody).len(), 3);
}

#[test]
fn sixty_four_nodes_take_as_many_rounds_as_they_must() {
    let check = members(64);
    let (results, took) = carry_through(&check, &Wires::default());
    assert_eq!(results.pairs.len(), 64 * 63);
    assert!(results.pairs.iter().all(|pair| pair.arrived && pair.largest == 1500 && pair.kbit.is_some()));
    // Every step is one round of questions here, half a second apart: gather, open, reach, 63 rounds each way, close.
    assert_eq!(rounds(64).len(), 63);
    assert!(took <= 500 * 2 * (4 + 2 * 63), "{took} ms");
    let mut rack = rack_of(64);
    let check = begin(&mut rack, wish(None, 1)).unwrap();
    rack.bring(Event::Preflight(Verb::End(Box::new(Results { id: check.id, ..results })))).unwrap();
    let kept = serde_json::to_vec(rack.fleet.preflight.as_deref().unwrap()).unwrap();
    assert!(kept.len() < 1 << 20, "{} bytes are kept", kept.len());
}

#[test]
fn who_takes_part_and_who_does_not() {
    let mut rack = rack_of(3);
    let two = find(&rack, "n2").id;
    let mut silent = find(&rack, "n3").clone();
    silent.heard = fleet::Time(0);
    rack.fleet.put(fleet::Change::Node(Box::new(silent)));
    rack.now = rack.now.plus_seconds(100);
    let check = begin(&mut rack, wish(None, 0));
    let check = check.unwrap();
    let names =
        |check: &Preflight| check.members.iter().map(|member| member.name.clone()).collect::<Vec<_>>();
    assert!(
        check.absent.iter().any(|(name, why)| name == "n3" && why.starts_with("has not been heard")),
        "{check:?}"
    );
    let again = begin(&mut rack, wish(None, 0)).unwrap_err().to_string();
    assert!(again.contains("rackwright network stop"), "{again}");
    assert_eq!(begin(&mut rack, Event::Preflight(Verb::Stop)).unwrap().state, PreflightState::Stopped);
    assert!(begin(&mut rack, Event::Preflight(Verb::Stop)).is_err());
    let late = Results {
        id: check.id,
        members: Vec::new(),
        networks: Vec::new(),
        pairs: Vec::new(),
        rivals: Vec::new(),
        left_out: Vec::new(),
    };
    rack.bring(Event::Preflight(Verb::End(Box::new(late)))).unwrap();
    assert_eq!(rack.fleet.preflight.as_ref().unwrap().state, PreflightState::Stopped, "it stays so");
    let only = Group::Nodes { nodes: [two].into() };
    let check = begin(&mut rack, wish(Some(only), 0));
    if let Ok(check) = &check {
        assert_eq!(names(check), ["n2"]);
        rack.bring(Event::Preflight(Verb::Stop)).unwrap();
    }
    let nobody = begin(&mut rack, wish(Some(Group::Role { role: "compute".to_owned() }), 0)).unwrap_err();
    assert!(nobody.to_string().contains("no node of compute can take part: there are none"), "{nobody}");
    assert!(begin(&mut rack, wish(Some(role()), 11)).is_err(), "a transfer of eleven seconds");
}

#[test]
fn what_is_kept_is_what_is_shown() {
    let mut rack = rack_of(3);
    let check = begin(&mut rack, wish(None, 1)).unwrap();
    let wires = Wires { cut: all_of(2, 3).collect(), ..Wires::default() };
    let results = carry_through(&check, &wires).0;
    let done = begin(&mut rack, Event::Preflight(Verb::End(Box::new(results)))).unwrap();
    let view = preflight_view(&rack.fleet, &done);
    assert_eq!((view.state.as_str(), view.healthy, view.pairs.len()), ("done", false, 6));
    assert_eq!((view.networks[0].ways, view.networks[0].arrived, view.networks[0].transfers), (6, 2, 2));
    assert_eq!(view.networks[0].median_bits_per_second, Some(940_000_000));
    assert_eq!(view.findings[0].nodes, ["n3"]);
    let text = serde_json::to_string(&done).unwrap();
    assert_eq!(serde_json::from_str::<Preflight>(&text).unwrap(), done);
}

#[test]
fn transfers_wait_for_no_image_but_give_way_to_it() {
    let check = members(2);
    let mut course = Course::new(&check, ReportKey([1; 32]), 0);
    let wires = Wires::default();
    let mut agents = [Agent::default(), Agent::default()];
    for now in 1..40 {
        for (me, member) in (0_u16..).zip(&check.members) {
            let done = agents[usize::from(me)].done.clone();
            let ask = NetworkAsk { wait_seconds: 0, links: vec![wires.link(me)], done };
            if let Some(step) = course.ask(member.node, &ask) {
                assert!(step.send.is_none() && step.hear.is_none());
                take(&mut agents, &step, &wires);
            }
        }
        course.tick(now * 100, Some("an image of n9 is on its way"));
    }
    let results = course.results().unwrap();
    assert_eq!(
        results.left_out,
        ["2 of 2 rounds of transfers were left out, because an image of n9 is on its way"]
    );
    assert!(judge(&results, &|_| None).iter().all(|finding| finding.severity == Severity::Note));
    assert!(results.pairs.iter().all(|pair| pair.arrived && pair.kbit.is_none()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is cut, narrow, slow and dead: it ends in time, everybody in trouble is named, and nobody else.
    #[test]
    fn every_fault_has_a_finding_and_every_finding_a_fault(
        count in 2_u8..9,
        cut in prop::collection::btree_set((0_u16..9, 0_u16..9), 0..20),
        narrow in prop::collection::btree_map((0_u16..9, 0_u16..9), 600_u16..1500, 0..6),
        dies in prop::collection::btree_map(0_u16..9, 0_u32..6, 0..3),
    ) {
        let wires = Wires { cut, narrow, dies, ..Wires::default() };
        let check = members(count);
        let (results, took) = carry_through(&check, &wires);
        prop_assert!(took < 600_000);
        let found = judge(&results, &|_| None);
        let named = found.iter().flat_map(|finding| finding.nodes.iter().cloned()).collect::<BTreeSet<_>>();
        let name = |member: u16| results.members[usize::from(member)].name.clone();
        for pair in &results.pairs {
            let is_bad = !pair.arrived || pair.largest < 1500;
            let is_named = named.contains(&name(pair.from)) || named.contains(&name(pair.to));
            prop_assert!(!is_bad || is_named, "{:?} has no finding in {:?}", pair, found);
        }
        for finding in found.iter().filter(|finding| finding.code != "lost") {
            for node in &finding.nodes {
                let of_it = |pair: &&fleet::preflight::Pair| name(pair.from) == *node || name(pair.to) == *node;
                let is_bad = results.pairs.iter().filter(of_it).any(|pair| !pair.arrived || pair.largest < 1500);
                prop_assert!(is_bad, "{:?} has no fault", finding);
            }
        }
    }

    /// Whatever agents say, in whatever order, it ends, keeps what can be true, and no more.
    #[test]
    fn nonsense_is_outlived(
        said in prop::collection::vec((0_usize..3, any::<u32>(), 0_u32..8, any::<u16>(), any::<u16>(), any::<u64>()), 0..200),
    ) {
        let check = members(2);
        let mut course = Course::new(&check, ReportKey([1; 32]), 0);
        let wires = Wires::default();
        let strangers = NodeId([0xee; 16]);
        for (at, (who, check_id, number, from, network, bytes)) in said.iter().enumerate() {
            let node = check.members.get(*who).map_or(strangers, |member| member.node);
            let id = if check_id % 2 == 0 { check.id.0 } else { *check_id };
            let done = StepDone {
                check: id,
                number: *number,
                answered: vec![Answered { to: *from, network: *network, packets: 1, largest: *from, rtt_us: 1 }],
                heard: vec![Heard { from: *from, network: *network, packets: 1, largest: *from }],
                stream: Some(Streamed { from: *from, network: *network, bytes: *bytes, micros: *bytes % 3 }),
                ..StepDone::default()
            };
            let ask = NetworkAsk { wait_seconds: 0, links: vec![wires.link(1)], done: Some(done) };
            let step = course.ask(node, &ask);
            prop_assert!(step.is_none() || node != strangers);
            course.tick(at as u64 * 10, None);
        }
        course.tick(1_000_000, None);
        (0..100).for_each(|more| course.tick(2_000_000 + more * 100_000, None));
        prop_assert_eq!(course.stage(), Stage::Over);
        prop_assert!(course.results().unwrap().pairs.len() <= 2);
    }
}

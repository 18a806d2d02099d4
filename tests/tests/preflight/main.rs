//! A check of the network between nodes, by the code of the agent and that of the controller, over real wires: three nodes, each in a
//! network namespace, on a switch; and what goes wrong on wires. Needs root.

// Clippy's leave for tests covers functions marked as tests, not what they call.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod wires;

use std::time::{Duration, Instant};

use fleet::preflight::{
    CheckId, Course, Finding, Member, Preflight, PreflightState, Results, Severity, Stage, Terms, judge,
};
use protocol::{NetworkAsk, NodeId, ReportKey, StepDone};

use wires::{Lab, address, mac};

/// Longest for one check, on a machine that is busy with other things.
const PATIENCE: Duration = Duration::from_secs(120);

fn check(count: u8, stream_seconds: u32) -> Preflight {
    let member = |number: u8| Member {
        node: NodeId([number; 16]),
        name: format!("n{}", number + 1),
        product: String::new(),
        links: Vec::new(),
        lost: None,
    };
    Preflight {
        id: CheckId(0x0102_0304 + u32::from(count)),
        begun: fleet::Time(0),
        ended: None,
        terms: Terms { stream_seconds, beside_jobs: false },
        state: PreflightState::Running,
        members: (0..count).map(member).collect(),
        absent: Vec::new(),
        networks: Vec::new(),
        pairs: Vec::new(),
        findings: Vec::new(),
    }
}

/// Carries a check through, as the controller does, with the nodes that ask; those that `dies` says stop to ask after a step.
fn carry_through(lab: &Lab, stream_seconds: u32, dies: Option<(usize, u32)>) -> Results {
    let check = check(u8::try_from(lab.nodes.len()).unwrap(), stream_seconds);
    let mut key = [0; 32];
    key[0] = u8::try_from(std::process::id() & 0xff).unwrap();
    let begun = Instant::now();
    let mut course = Course::new(&check, ReportKey(key), 0);
    let mut done = vec![None::<StepDone>; lab.nodes.len()];
    let mut busy = vec![false; lab.nodes.len()];
    while course.stage() != Stage::Over {
        assert!(begun.elapsed() < PATIENCE, "it does not end: {:?}", course.stage());
        for (at, node) in lab.nodes.iter().enumerate() {
            if busy[at] {
                match node.done() {
                    Some(step) => (done[at], busy[at]) = (Some(step), false),
                    None => continue,
                }
            }
            if dies.is_some_and(|(who, step)| {
                who == at && done[at].as_ref().is_some_and(|done| done.number >= step)
            }) {
                continue;
            }
            let ask = NetworkAsk { wait_seconds: 0, links: vec![node.link()], done: done[at].clone() };
            ask.check().unwrap();
            if let Some(step) = course.ask(check.members[at].node, &ask) {
                node.begin(step);
                busy[at] = true;
            }
        }
        course.tick(u64::try_from(begun.elapsed().as_millis()).unwrap(), None);
        std::thread::sleep(Duration::from_millis(20));
    }
    course.results().unwrap()
}

fn findings(results: &Results) -> Vec<Finding> {
    judge(results, &|_| None)
}

fn said(results: &Results) -> Vec<(String, String)> {
    findings(results).into_iter().map(|finding| (finding.code, finding.text)).collect()
}

fn only(code: &str, text: &str) -> Vec<(String, String)> {
    vec![(code.to_owned(), text.to_owned())]
}

/// Namespaces need root; without, these tests say so and do nothing.
fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: network namespaces need root");
    }
    root
}

/// One story, because it is one rack.
#[test]
fn faults_of_real_wires_are_found_and_named() {
    if !is_root() {
        return;
    }
    let mut lab = Lab::new(3);
    let fine = carry_through(&lab, 0, None);
    assert_eq!(said(&fine), [], "{fine:?}");
    assert_eq!(fine.pairs.len(), 6);
    assert!(
        fine.pairs.iter().all(|pair| pair.arrived && pair.largest == 1500 && pair.rtt_us.is_some()),
        "{fine:?}"
    );

    // Two that have each other's hardware address wrong, as behind a switch that mixes them up.
    lab.blocks(0, 1);
    lab.blocks(1, 0);
    let blocked = carry_through(&lab, 0, None);
    let wanted = "n1 and n2 do not reach each other on 10.99.0.0/24, though they reach others";
    assert_eq!(said(&blocked), only("unreachable", wanted));
    lab.unblocks(1, 0);
    let wanted = "what n1 sends to n2 on 10.99.0.0/24 does not arrive, the other way it does";
    assert_eq!(said(&carry_through(&lab, 0, None)), only("one-way", wanted));
    lab.unblocks(0, 1);

    // A switch port that carries less than the card behind it.
    lab.port_mtu(2, 1400);
    let wanted = "large packets from and to n3 on 10.99.0.0/24 are lost: 1400 bytes pass, its MTU is 1500";
    assert_eq!(said(&carry_through(&lab, 0, None)), only("mtu", wanted));
    // The card is set to that too: the fault is then the setting.
    lab.card_mtu(2, 1400);
    let wanted = "n3 (eth0) on 10.99.0.0/24 has MTU 1400, most others 1500";
    assert_eq!(said(&carry_through(&lab, 0, None)), only("mtu-setting", wanted));
    lab.port_mtu(2, 1500);
    lab.card_mtu(2, 1500);

    // A machine that nobody knows, with the address of one of them.
    lab.intrudes(1);
    let doubled = findings(&carry_through(&lab, 0, None));
    let wanted = format!("{} of n2 is also used by a machine that is no node ({})", address(1), mac(99));
    assert!(doubled.iter().any(|one| one.code == "duplicate" && one.text == wanted), "{doubled:?}");
    assert!(doubled.iter().all(|one| one.code != "duplicate" || one.nodes == ["n2".to_owned()].into()));
    lab.leaves();
}

#[test]
fn a_slow_link_and_a_node_that_dies_are_found_among_transfers() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(3);
    lab.shape(0, "200mbit");
    lab.shape(1, "200mbit");
    lab.shape(2, "10mbit");
    let shaped = carry_through(&lab, 1, None);
    assert!(shaped.pairs.iter().all(|pair| pair.kbit.is_some()), "{shaped:?}");
    let slow = findings(&shaped);
    assert!(
        !slow.is_empty() && slow.iter().all(|one| one.code == "slow" && one.severity == Severity::Warn),
        "{slow:?}"
    );
    assert!(slow.iter().all(|one| one.nodes.contains("n3")), "{slow:?}");
    let rate = |from: u16, to: u16| {
        let pair = shaped.pairs.iter().find(|pair| (pair.from, pair.to) == (from, to)).unwrap();
        pair.kbit.unwrap()
    };
    assert!((5_000..20_000).contains(&rate(2, 0)), "what a shaped link carries is measured: {shaped:?}");

    let dies = carry_through(&lab, 1, Some((1, 3)));
    assert!(dies.members[1].lost.as_ref().is_some_and(|why| why.contains("transfers")), "{:?}", dies.members);
    assert!(dies.members[0].lost.is_none() && dies.members[2].lost.is_none(), "{:?}", dies.members);
}

#[test]
fn what_a_switch_says_of_itself_is_heard_where_it_says_it() {
    if !is_root() {
        return;
    }
    let lab = Lab::new(2);
    let heard = |at: usize| lab.nodes[at].link().neighbours;
    let until = |so: &dyn Fn() -> bool| {
        (0..100).any(|_| {
            std::thread::sleep(Duration::from_millis(100));
            so()
        })
    };
    lab.says(0, "sw-1", "ge-0/0/1", 100);
    lab.says(1, "sw-1", "ge-0/0/2", 200);
    lab.says_bytes(0, b"\x02\x07\x04nonsense");
    // Once more, for ears that were not open yet.
    let told = until(&|| {
        lab.says(0, "sw-1", "ge-0/0/1", 100);
        lab.says(1, "sw-1", "ge-0/0/2", 200);
        !heard(0).is_empty() && !heard(1).is_empty()
    });
    assert!(told, "nothing is heard");
    for (at, port, vlan) in [(0, "ge-0/0/1", 100), (1, "ge-0/0/2", 200)] {
        let all = heard(at);
        assert_eq!(all.len(), 1, "a switch keeps it from other ports: {all:?}");
        assert_eq!((all[0].system.as_str(), all[0].port.as_str(), all[0].vlan), ("sw-1", port, Some(vlan)));
    }
    let results = carry_through(&lab, 0, None);
    assert_eq!(said(&results), []);
    assert_eq!(results.members[0].links[0].neighbours, heard(0));
}

//! A node speaks for itself: what it says of another's things is not believed.

use fleet::limits::Limits;
use fleet::notice::notices;
use fleet::{Denied, Event, Reply, Time};
use protocol::{Answer, Facts, Key, Nic, NodeId, Report};

use crate::rack::{OTHER_MAC, Rack};

/// An active node, and another one in the ramdisk.
fn two() -> (Rack, NodeId, NodeId) {
    let (mut rack, first, _) = Rack::active("control");
    rack.hello(2, OTHER_MAC, false).unwrap();
    let second = rack.fleet.owner(&OTHER_MAC.parse().unwrap()).unwrap().id;
    rack.bring(Event::Approve { node: second, name: None, roles: None, moved: false }).unwrap();
    rack.hello(2, OTHER_MAC, true).unwrap();
    (rack, first, second)
}

#[test]
fn a_nic_that_another_has_stays_that_ones_whatever_driver_is_said() {
    for driver in ["virtio_net", "r8152"] {
        let (mut rack, first, second) = two();
        let theirs = rack.fleet.nodes[&first].boot.mac.clone();
        let mut inventory = rack.fleet.nodes[&second].inventory.clone();
        let nic = Nic { mac: theirs.clone(), driver: driver.to_owned(), ..inventory.nics[0].clone() };
        inventory.nics.push(nic);
        let (inventory, certificate) = (Box::new(inventory), rack.deploy_certificate());
        rack.bring(Event::Asked { node: second, certificate, inventory: inventory.clone() }).unwrap();
        assert_eq!(rack.fleet.nodes[&second].inventory.nics.len(), 1);
        assert!(rack.log.contains(&"conflict".to_owned()));
        // So the first is nobody's double when it boots the agent again.
        let back = rack.hello(7, theirs.as_str(), false).unwrap();
        let Reply::Hello { node, standing, .. } = back.reply else { panic!("{:?}", back.reply) };
        assert_eq!(node, first);
        assert!(format!("{standing:?}").contains("known here, but with a new key"), "{standing:?}");
        // A card that was really moved is believed as soon as its old server is seen without it.
        let mut gone = rack.fleet.nodes[&first].clone();
        (gone.inventory.nics, gone.boot.mac) = (Vec::new(), "52:54:00:77:00:99".parse().unwrap());
        rack.fleet.put(fleet::Change::Node(Box::new(gone)));
        let certificate = rack.deploy_certificate();
        rack.bring(Event::Asked { node: second, certificate, inventory }).unwrap();
        assert_eq!(rack.fleet.nodes[&second].inventory.nics.len(), 2);
    }
}

#[test]
fn a_ticket_with_anothers_key_is_refused() {
    let (mut rack, first, second) = two();
    let plan = rack.plan(first).unwrap();
    rack.apply(&plan.id).unwrap();
    let claimed = rack.hello(3, "52:54:00:77:00:03", false);
    assert!(claimed.is_ok());
    // The other's ramdisk, and one that only waits for approval.
    for key in [2, 3] {
        let refused = rack.bring(Event::Ticketed { node: first, key: Key([key; 32]) }).unwrap_err();
        assert_eq!(refused, Denied::Conflict("the ticket's key is another node's".to_owned()));
    }
    let mut runs = rack.fleet.nodes[&second].clone();
    runs.run = Some(Key([4; 32]));
    rack.fleet.put(fleet::Change::Node(Box::new(runs)));
    assert!(rack.bring(Event::Ticketed { node: first, key: Key([4; 32]) }).is_err(), "the other's system");
    rack.bring(Event::Ticketed { node: first, key: Key([5; 32]) }).unwrap();
}

#[test]
fn a_hello_without_a_proof_is_no_sign_of_life() {
    let (mut rack, first, _) = two();
    let heard = |rack: &Rack| rack.fleet.nodes[&first].heard;
    let (mac, before) = (rack.fleet.nodes[&first].boot.mac.clone(), heard(&rack));
    // With its MAC and another key, and with its key from anywhere.
    rack.hello(7, mac.as_str(), false).unwrap();
    rack.hello(1, mac.as_str(), false).unwrap();
    rack.hello(1, "52:54:00:77:00:44", false).unwrap();
    assert_eq!(heard(&rack), before);
    rack.reports(first, "active").unwrap();
    assert!(heard(&rack) > before);
}

#[test]
fn answers_to_what_nobody_asked_are_dropped() {
    let (mut rack, first, _) = two();
    rack.bring(Event::Logs { node: first, unit: "chrony.service".to_owned(), lines: 5 }).unwrap();
    let order = rack.fleet.nodes[&first].last_order;
    let answer = |order| Answer { order, lines: Vec::new(), error: None };
    let answers = vec![answer(order), answer(order + 1), answer(u64::MAX)];
    let report = Box::new(Report { answers, ..Report::default() });
    let outcome = rack.bring(Event::Reported { node: first, report }).unwrap();
    assert_eq!(outcome.reply, Reply::Answers(vec![answer(order)]));
}

#[test]
fn rebuilds_stop_at_the_limit_and_go_on_an_hour_later() {
    let (mut rack, node, _) = Rack::active("control");
    rack.fleet.limits = Limits { rebuilds_an_hour: Some(0) };
    let plan = rack.plan(node).unwrap();
    assert!(rack.apply(&plan.id).unwrap_err().to_string().contains("0 are the most"));
    rack.fleet.limits = Limits { rebuilds_an_hour: Some(1) };
    rack.apply(&plan.id).unwrap();
    let plan = rack.plan(node);
    if let Ok(plan) = plan {
        assert!(rack.apply(&plan.id).is_err());
        rack.now = Time(rack.now.0 + 3_600_000);
        rack.apply(&plan.id).unwrap();
    }
}

#[test]
fn a_root_file_system_without_room_is_noticed_before_what_is_on_it_stops() {
    let (mut rack, first, _) = two();
    let says = |rack: &mut Rack, free: u64| {
        let known = rack.fleet.nodes[&first].report.clone().unwrap();
        let facts = Facts { root_bytes: 20_000_000_000, root_free_bytes: free, ..known.facts.clone() };
        let report = Report { facts, ..known };
        rack.bring(Event::Reported { node: first, report: Box::new(report) }).unwrap();
        notices(&rack.fleet, rack.now).into_iter().map(|notice| notice.text).collect::<Vec<_>>()
    };
    assert_eq!(says(&mut rack, 1_000_000_000), [""; 0]);
    let told = says(&mut rack, 999_000_000);
    assert!(told.len() == 1 && told[0].contains("999 of 20000 MB are free"), "{told:?}");
}

#[test]
fn what_is_wrong_is_noticed() {
    let (mut rack, first, _) = two();
    let kinds = |rack: &Rack| {
        notices(&rack.fleet, rack.now).into_iter().map(|notice| notice.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&rack), [""; 0]);
    rack.now = Time(rack.now.0 + 91_000);
    assert_eq!(kinds(&rack), ["silent"]);
    rack.reports(first, "active").unwrap();
    assert_eq!(kinds(&rack), [""; 0]);
    rack.now = Time(rack.now.0 + 24 * 86_400_000);
    rack.reports(first, "active").unwrap();
    assert_eq!(kinds(&rack), ["certificate"], "thirty days, of which less than seven are left");
    rack.now = Time(rack.now.0 + 3_600_000);
    rack.bring(Event::Tick).unwrap();
    assert!(
        kinds(&rack).contains(&"attention".to_owned()),
        "the one in the ramdisk never asked: {:?}",
        kinds(&rack)
    );
}

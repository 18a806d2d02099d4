//! Who comes in, and who does not.

use fleet::certificate::{Stage, Unauthorised, authorise, authorise_enrolment};
use fleet::event::Standing;
use fleet::{Denied, Event, Reply, State};
use protocol::{Code, Key};

use crate::rack::{MAC, OTHER_MAC, Rack};

fn standing(reply: &Reply) -> &Standing {
    match reply {
        Reply::Hello { standing, .. } => standing,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stranger_waits_until_a_person_approves_and_the_key_is_proven() {
    let mut rack = Rack::new();
    let first = rack.hello(1, MAC, false).unwrap();
    assert!(matches!(standing(&first.reply), Standing::Waiting(_)));
    assert!(first.effects.is_empty(), "nothing is granted to a stranger");
    let node = rack.only().id;
    rack.bring(Event::Approve { node, name: Some("ctl".parse().unwrap()), roles: None }).unwrap();
    assert_eq!(rack.state(), "inspecting");
    let unproven = rack.hello(1, MAC, false).unwrap();
    assert!(unproven.effects.is_empty(), "an approved key that was not proven gets nothing");
    let proven = rack.hello(1, MAC, true).unwrap();
    assert_eq!(standing(&proven.reply), &Standing::Approved);
    assert_eq!(proven.effects.len(), 1);
}

#[test]
fn an_approved_server_with_a_new_key_must_be_approved_again_and_keeps_its_id() {
    let (mut rack, node) = Rack::ready("control");
    let again = rack.hello(2, MAC, true).unwrap();
    assert!(matches!(standing(&again.reply), Standing::Waiting(_)));
    assert!(again.effects.is_empty());
    assert_eq!(rack.only().id, node);
    assert_eq!(rack.state(), "ready", "what is known of it is not rewritten by a stranger");
    rack.bring(Event::Approve { node, name: None, roles: None }).unwrap();
    assert_eq!(standing(&rack.hello(2, MAC, true).unwrap().reply), &Standing::Approved);
    let old = rack.hello(1, MAC, true).unwrap();
    assert!(old.effects.is_empty(), "the old key opens nothing any more");
}

#[test]
fn clashes_are_held_for_a_person_and_never_merged() {
    let (mut rack, node) = Rack::ready("control");
    // The approved key, from a server with other hardware addresses: the disk was moved.
    let moved = rack.hello(1, OTHER_MAC, true).unwrap();
    assert!(matches!(standing(&moved.reply), Standing::Waiting(why) if why.contains("held")));
    assert!(moved.effects.is_empty());
    let refused = rack.bring(Event::Approve { node, name: None, roles: None }).unwrap_err();
    assert!(matches!(refused, Denied::Conflict(_)), "{refused}");
    assert_eq!(rack.fleet.nodes.len(), 1);
}

#[test]
fn a_rejected_server_is_told_so_and_boots_its_own_disk() {
    let mut rack = Rack::new();
    rack.hello(1, MAC, false).unwrap();
    let node = rack.only().id;
    rack.bring(Event::Reject { node, why: "a visitor".to_owned() }).unwrap();
    let reply = rack.hello(1, MAC, true).unwrap();
    assert_eq!(standing(&reply.reply), &Standing::Rejected("a visitor".to_owned()));
    let task = fleet::boot_task(&rack.fleet, &MAC.parse().unwrap());
    assert_eq!(task, pxe::script::BootTask::LocalDisk);
}

#[test]
fn certificates_open_their_own_stage_of_their_own_generation_only() {
    let (mut rack, node, _) = Rack::active("control");
    let find = |rack: &Rack, stage| {
        rack.fleet.certificates.values().find(|c| c.stage == stage).unwrap().fingerprint.clone()
    };
    let (deploy, run) = (find(&rack, Stage::Deploy), find(&rack, Stage::Run));
    let may = |rack: &Rack, print: Option<&str>, stage| {
        authorise(&rack.fleet, print, stage, rack.now).map(|a| a.node)
    };
    assert_eq!(may(&rack, Some(&run), Stage::Run), Ok(node));
    assert_eq!(may(&rack, Some(&run), Stage::Deploy), Err(Unauthorised::WrongStage(Stage::Deploy)));
    assert_eq!(may(&rack, Some(&deploy), Stage::Run), Err(Unauthorised::WrongStage(Stage::Run)));
    assert_eq!(may(&rack, Some("feed"), Stage::Run), Err(Unauthorised::Unknown));
    assert_eq!(may(&rack, None, Stage::Run), Err(Unauthorised::NoCertificate));
    let late = rack.now.plus_seconds(Stage::Run.seconds() + 60);
    assert_eq!(authorise(&rack.fleet, Some(&run), Stage::Run, late).unwrap_err(), Unauthorised::Expired);
    rack.fleet.nodes.get_mut(&node).unwrap().generation += 1;
    assert_eq!(may(&rack, Some(&run), Stage::Run), Err(Unauthorised::Revoked));
    rack.fleet.nodes.clear();
    assert_eq!(may(&rack, Some(&run), Stage::Run), Err(Unauthorised::NoNode));
}

#[test]
fn a_used_deploy_certificate_does_not_enrol_a_second_key() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.verified(node, job).unwrap();
    rack.bring(Event::Enrolled { node, key: Key([9; 32]), uptime_seconds: 1 }).unwrap();
    let again = rack.bring(Event::Enrolled { node, key: Key([9; 32]), uptime_seconds: 1 }).unwrap();
    assert_eq!(again.effects.len(), 1, "the same key may ask again: the answer may have been lost");
    let other = rack.bring(Event::Enrolled { node, key: Key([8; 32]), uptime_seconds: 1 }).unwrap_err();
    assert!(matches!(other, Denied::Conflict(_)), "{other}");
}

#[test]
fn nobody_enrols_before_the_disk_was_verified() {
    let (mut rack, node, _) = Rack::imaging("control");
    let early = rack.bring(Event::Enrolled { node, key: Key([9; 32]), uptime_seconds: 1 }).unwrap_err();
    assert!(matches!(early, Denied::State { state: "imaging", .. }), "{early}");
}

#[test]
fn a_node_is_found_by_name_code_mac_and_id() {
    let mut rack = Rack::new();
    rack.hello(1, MAC, false).unwrap();
    let node = rack.only().clone();
    let claim = node.claim.clone().unwrap();
    let pin = rack.site().ca;
    let code = Code::of(&pin, &claim.key, &claim.nonce);
    for text in
        ["n1", &code.to_string().to_lowercase(), &MAC.to_uppercase(), &node.id.to_string(), &node.id.short()]
    {
        assert_eq!(rack.fleet.find(text, &pin).unwrap().id, node.id, "{text}");
    }
    for text in ["n2", "", "zzzzzz", "52:54:00:77:00:99"] {
        assert!(matches!(rack.fleet.find(text, &pin), Err(Denied::Missing { .. })), "{text}");
    }
}

#[test]
fn names_are_one_nodes_only() {
    let mut rack = Rack::new();
    rack.hello(1, MAC, false).unwrap();
    rack.hello(2, OTHER_MAC, false).unwrap();
    let names =
        rack.fleet.nodes.values().map(|n| n.name.to_string()).collect::<std::collections::BTreeSet<_>>();
    assert_eq!(names, ["n1".to_owned(), "n2".to_owned()].into());
    let one = rack.fleet.nodes.values().find(|n| n.name.as_str() == "n1").unwrap().id;
    let taken = rack.bring(Event::Rename { node: one, name: "n2".parse().unwrap() }).unwrap_err();
    assert!(matches!(taken, Denied::Conflict(_)), "{taken}");
    assert!(rack.fleet.nodes.values().all(|node| node.state == State::Discovered));
}

#[test]
fn a_verified_node_enrols_however_late_it_first_boots() {
    let (mut rack, node, job) = Rack::imaging("control");
    let print = rack.fleet.certificates.values().next().unwrap().fingerprint.clone();
    let may = |rack: &Rack| authorise_enrolment(&rack.fleet, Some(&print), rack.now).map(|who| who.node);
    rack.now = rack.now.plus_seconds(Stage::Deploy.seconds() + 60);
    assert_eq!(may(&rack), Err(Unauthorised::Expired), "not before it was verified");
    rack.verified(node, job).unwrap();
    assert_eq!(may(&rack), Ok(node));
    // Days later; the deadline of its first boot is long over.
    for _ in 0..9 {
        rack.now = rack.now.plus_seconds(86_400);
        rack.bring(Event::Tick).unwrap();
    }
    assert_eq!((rack.state(), may(&rack)), ("attention", Ok(node)));
    let job_calls = authorise(&rack.fleet, Some(&print), Stage::Deploy, rack.now).map(|who| who.node);
    assert_eq!(job_calls, Err(Unauthorised::Expired), "it opens nothing else");
    rack.bring(Event::Enrolled { node, key: Key([9; 32]), uptime_seconds: 1 }).unwrap();
    assert_eq!(may(&rack), Ok(node), "the answer may have been lost");
    rack.reports(node, "active").unwrap();
    assert_eq!(may(&rack), Err(Unauthorised::Expired), "used up");
    rack.bring(Event::Tick).unwrap();
    assert_eq!(may(&rack), Err(Unauthorised::Unknown));
}

#[test]
fn a_renewal_is_by_the_run_certificate_of_this_generation() {
    let (mut rack, node, _) = Rack::active("control");
    let run = rack.fleet.certificates.values().find(|c| c.stage == Stage::Run).unwrap().clone();
    let may =
        |rack: &Rack| authorise_enrolment(&rack.fleet, Some(&run.fingerprint), rack.now).map(|w| w.node);
    assert_eq!(may(&rack), Ok(node));
    assert_eq!(authorise_enrolment(&rack.fleet, None, rack.now).unwrap_err(), Unauthorised::NoCertificate);
    rack.fleet.nodes.get_mut(&node).unwrap().generation += 1;
    assert_eq!(may(&rack), Err(Unauthorised::Revoked));
}

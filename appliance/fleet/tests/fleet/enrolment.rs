//! Who comes in, and who does not.

use fleet::certificate::{Stage, Unauthorised, authorise, authorise_enrolment};
use fleet::event::Standing;
use fleet::{Denied, Event, Reply, State};
use protocol::{Code, Hello, Key, Nic, Phase};

use crate::rack::{MAC, OTHER_MAC, Rack, hello, progress};

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
    rack.bring(Event::Approve { node, name: Some("ctl".parse().unwrap()), roles: None, moved: false })
        .unwrap();
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
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
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
    let refused = rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap_err();
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
    rack.fleet.nodes = fleet::Nodes::default();
    assert_eq!(may(&rack, Some(&run), Stage::Run), Err(Unauthorised::NoNode));
}

#[test]
fn a_used_deploy_certificate_does_not_enrol_a_second_key() {
    let (mut rack, node, job) = Rack::imaging("control");
    rack.verified(node, job).unwrap();
    rack.enrols(node, 9).unwrap();
    let again = rack.enrols(node, 9).unwrap();
    assert_eq!(again.effects.len(), 1, "the same key may ask again: the answer may have been lost");
    let other = rack.enrols(node, 8).unwrap_err();
    assert!(matches!(other, Denied::Conflict(_)), "{other}");
}

#[test]
fn nobody_enrols_before_the_disk_was_verified() {
    let (mut rack, node, _) = Rack::imaging("control");
    let early = rack.enrols(node, 9).unwrap_err();
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
fn a_server_that_asks_after_its_time_is_ready_all_the_same() {
    let mut rack = Rack::new();
    rack.hello(1, MAC, false).unwrap();
    let node = rack.only().id;
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(1, MAC, true).unwrap();
    rack.now = rack.now.plus_seconds(7200);
    rack.bring(Event::Tick).unwrap();
    assert_eq!((rack.state(), rack.only().state.phase()), ("attention", "inspecting"));
    rack.asks(node).unwrap();
    assert_eq!(rack.state(), "ready");
}

#[test]
fn nobody_is_asked_about_a_rejected_server_and_approving_lets_it_show_a_code_again() {
    let mut rack = Rack::new();
    rack.hello(1, MAC, false).unwrap();
    let node = rack.only().id;
    rack.bring(Event::Reject { node, why: "a visitor".to_owned() }).unwrap();
    rack.hello(1, MAC, true).unwrap();
    assert_eq!(rack.only().claim, None);
    let next = fleet::view::next_step(&rack.fleet);
    assert!(next.is_none_or(|next| !next.contains("approve")));
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    assert_eq!(rack.state(), "discovered");
    assert!(rack.hello(1, MAC, true).unwrap().effects.is_empty(), "a person compares the code first");
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    assert_eq!(standing(&rack.hello(1, MAC, true).unwrap().reply), &Standing::Approved);
}

#[test]
fn a_server_that_can_not_be_written_may_be_sent_away_unless_it_has_a_system_here() {
    let fails = |rack: &mut Rack, node, job| {
        let mut failed = progress(job, Phase::Write, 5);
        failed.failed = Some("No space left on device".to_owned());
        rack.bring(Event::Progressed { node, progress: failed }).unwrap();
        let State::Attention { verbs, .. } = rack.only().state.clone() else { panic!() };
        let listed = verbs.contains(&"reject".to_owned());
        let done = rack.bring(Event::Reject { node, why: "broken".to_owned() }).is_ok();
        assert_eq!(listed, done, "what is called safe is possible");
        done
    };
    let (mut rack, node, job) = Rack::imaging("control");
    assert!(fails(&mut rack, node, job));
    assert!(rack.fleet.jobs[&job].state.ended());
    let (mut rack, node, _) = Rack::active("control");
    let plan = rack.plan(node).unwrap();
    let job = rack.apply(&plan.id).unwrap();
    rack.asks(node).unwrap();
    assert!(!fails(&mut rack, node, job));
}

#[test]
fn a_part_that_a_person_moved_is_let_in_by_its_code() {
    let (mut rack, node) = Rack::ready("control");
    let nonce = |reply: &Reply| match reply {
        Reply::Hello { nonce, .. } => *nonce,
        other => panic!("{other:?}"),
    };
    let held = nonce(&rack.hello(1, OTHER_MAC, true).unwrap().reply);
    let given = fleet::enroll::challenges(&rack.fleet, &Key([1; 32])).collect::<Vec<_>>();
    assert!(given.len() == 2 && given.contains(&(node, held)), "a proof of either is one");
    rack.bring(Event::Approve { node, name: None, roles: None, moved: true }).unwrap();
    let reply = rack.hello(1, OTHER_MAC, true).unwrap();
    assert_eq!(standing(&reply.reply), &Standing::Approved);
    assert_eq!((rack.only().id, rack.only().boot.mac.as_str()), (node, OTHER_MAC));
    let gone = rack.hello(1, MAC, true).unwrap();
    assert!(gone.effects.is_empty(), "the old place is the one that is held now");
}

#[test]
fn a_nic_that_sits_in_another_node_now_is_settled_for_both() {
    let mut rack = Rack::new();
    rack.hello(1, MAC, false).unwrap();
    rack.hello(2, OTHER_MAC, false).unwrap();
    let mut both = hello(3, MAC);
    both.inventory.nics.extend(hello(3, OTHER_MAC).inventory.nics);
    let says = |proven| Event::Hello { hello: Box::new(both.clone()), proven, answered: None };
    let reply = rack.bring(says(false)).unwrap().reply;
    let Reply::Hello { node, .. } = reply else { panic!() };
    assert!(matches!(standing(&reply), Standing::Waiting(why) if why.contains("held")));
    rack.bring(Event::Approve { node, name: None, roles: None, moved: true }).unwrap();
    assert_eq!(standing(&rack.bring(says(true)).unwrap().reply), &Standing::Approved);
    assert_eq!(rack.fleet.nodes.len(), 2);
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
    rack.bring(Event::Enrolled { node, certificate: print.clone(), key: Key([9; 32]), uptime_seconds: 1 })
        .unwrap();
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

const SHARED: &str = "02:00:00:00:00:99";

/// A hello of a server with this board and, beside the NIC that boots, one with an address that others have too.
fn with_board(key: u8, mac: &str, uuid: &str, driver: &str) -> Hello {
    let mut hello = hello(key, mac);
    hello.inventory.smbios.uuid = uuid.to_owned();
    let shared =
        Nic { driver: driver.to_owned(), ..crate::rack::hello(key, SHARED).inventory.nics.remove(0) };
    hello.inventory.nics.push(shared);
    hello
}

#[test]
fn servers_that_share_an_address_stay_two() {
    let (board, other) = ("4c4c4544-0042-3510-8051-b4c04f4e4e32", "4c4c4544-0042-3510-8051-b4c04f4e4e33");
    let made_up = "03000200-0400-0500-0006-000700080009";
    // Boot NIC, boards of the first and the second, the shared card's driver: how many nodes, whether it is held.
    let table = [
        ("a card of the management controller", OTHER_MAC, board, other, "cdc_ether", 2, false),
        ("the same without boards", OTHER_MAC, "", "", "cdc_ether", 2, false),
        ("two boards", OTHER_MAC, board, other, "igb", 2, false),
        ("one board, booted from another NIC", OTHER_MAC, board, board, "igb", 1, false),
        ("no board to compare", OTHER_MAC, "", board, "igb", 1, true),
        ("boards that are none", OTHER_MAC, made_up, made_up, "igb", 1, true),
        ("the NIC that boots in another board", MAC, board, other, "igb", 1, true),
        ("the same server", MAC, board, board, "igb", 1, false),
        ("the same server, nothing known", MAC, "", "", "igb", 1, false),
    ];
    for (what, mac, first, second, driver, nodes, held) in table {
        let mut rack = Rack::new();
        let says = |hello: Hello| Event::Hello { hello: Box::new(hello), proven: false, answered: None };
        rack.bring(says(with_board(1, MAC, first, driver))).unwrap();
        let node = rack.only().clone();
        let reply = rack.bring(says(with_board(2, mac, second, driver))).unwrap().reply;
        assert_eq!(rack.fleet.nodes.len(), nodes, "{what}");
        let is_held = matches!(standing(&reply), Standing::Waiting(why) if why.contains("held"));
        assert_eq!(is_held, held, "{what}: {reply:?}");
        if nodes == 2 || held {
            assert_eq!(rack.fleet.nodes[&node.id].inventory, node.inventory, "{what}: it was overwritten");
        }
        // And the first is still itself.
        let again = rack.bring(says(with_board(1, MAC, first, driver))).unwrap().reply;
        let Reply::Hello { node: id, .. } = again else { panic!() };
        assert_eq!(id, node.id, "{what}");
    }
}

#[test]
fn two_boards_with_one_uuid_are_two_servers_and_somebody_is_told() {
    let (board, other) = ("4c4c4544-0042-3510-8051-b4c04f4e4e32", "4c4c4544-0042-3510-8051-b4c04f4e4e33");
    for (second, told) in [(board, true), (other, false), ("", false)] {
        let mut rack = Rack::new();
        let mut says = |key, mac, uuid: &str| {
            let mut hello = hello(key, mac);
            hello.inventory.smbios.uuid = uuid.to_owned();
            rack.bring(Event::Hello { hello: Box::new(hello), proven: false, answered: None }).unwrap().facts
        };
        says(1, MAC, board);
        let facts = says(2, OTHER_MAC, second);
        let is_told = facts.iter().any(|fact| fact.kind == "conflict" && fact.text.contains("UUID"));
        assert_eq!(is_told, told, "{facts:?}");
        assert_eq!(rack.fleet.nodes.len(), 2);
    }
}

#[test]
fn a_node_that_was_sent_away_does_not_stand_in_anothers_way() {
    let mut rack = Rack::new();
    rack.hello(1, MAC, false).unwrap();
    rack.hello(2, OTHER_MAC, false).unwrap();
    let find = |rack: &Rack, mac: &str| {
        rack.fleet.nodes.values().find(|node| node.boot.mac.as_str() == mac).unwrap().id
    };
    let (stays, gone) = (find(&rack, MAC), find(&rack, OTHER_MAC));
    rack.bring(Event::Reject { node: gone, why: "gone".to_owned() }).unwrap();
    let mut both = hello(3, MAC);
    both.inventory.nics.extend(hello(3, OTHER_MAC).inventory.nics);
    let reply =
        rack.bring(Event::Hello { hello: Box::new(both), proven: false, answered: None }).unwrap().reply;
    let Reply::Hello { node, .. } = reply else { panic!() };
    assert_eq!(node, stays);
    assert!(matches!(standing(&reply), Standing::Waiting(why) if why.contains("approval")), "{reply:?}");
}

#[test]
fn a_copy_of_the_fleet_shares_its_nodes_until_one_changes() {
    let (mut rack, node) = Rack::ready("control");
    let before = rack.fleet.clone();
    assert!(std::ptr::eq(&before.nodes[&node], &rack.fleet.nodes[&node]));
    rack.bring(Event::Rename { node, name: "ctl".parse().unwrap() }).unwrap();
    assert_eq!((before.nodes[&node].name.as_str(), rack.only().name.as_str()), ("n1", "ctl"));
}

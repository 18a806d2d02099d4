//! A server that runs a system of its own becomes a node, and keeps its disks.

use fleet::adopt::{Invited, LONGEST_SECONDS, MAX_OPEN, SHORTEST_SECONDS};
use fleet::event::Standing;
use fleet::{Denied, Event, Node, Outcome, Reply, State, boot_task, patience, view};
use protocol::{Adoption, Hello, Key, NodeId, Report, Token};
use pxe::script::BootTask;

use crate::rack::{MAC, OTHER_MAC, Rack, hello, unit};

fn invited(rack: &mut Rack, name: Option<&str>) -> Invited {
    let name = name.map(|name| name.parse().unwrap());
    match rack.bring(Event::Invite { name, seconds: 3600 }).unwrap().reply {
        Reply::Invited(invited) => *invited,
        other => panic!("{other:?}"),
    }
}

fn asking(key: u8, mac: &str, token: Token) -> Hello {
    let system = "Debian GNU/Linux 13 (trixie)".to_owned();
    Hello { adoption: Some(Adoption { token, host: "web1".to_owned(), system }), ..hello(key, mac) }
}

fn asks(rack: &mut Rack, key: u8, mac: &str, token: Token, proven: bool) -> Result<Outcome, Denied> {
    rack.bring(Event::Hello { hello: Box::new(asking(key, mac, token)), proven, answered: None })
}

fn standing(outcome: Result<Outcome, Denied>) -> (NodeId, Standing) {
    match outcome.unwrap().reply {
        Reply::Hello { node, standing, .. } => (node, standing),
        other => panic!("{other:?}"),
    }
}

fn boots(rack: &Rack) -> BootTask {
    boot_task(&rack.fleet, &MAC.parse().unwrap())
}

fn approve(node: NodeId, role: &str) -> Event {
    Event::Approve { node, name: None, roles: Some([role.to_owned()].into()), moved: false }
}

/// One that was let in, and has enrolled.
fn adopted() -> (Rack, NodeId) {
    let mut rack = Rack::new();
    let token = invited(&mut rack, None).token;
    let (node, _) = standing(asks(&mut rack, 1, MAC, token, false));
    rack.bring(approve(node, "control")).unwrap();
    assert_eq!(standing(asks(&mut rack, 1, MAC, token, true)), (node, Standing::Approved));
    rack.enrols(node, 9).unwrap();
    (rack, node)
}

fn active() -> (Rack, NodeId) {
    let (mut rack, node) = adopted();
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
    (rack, node)
}

fn waiting(rack: &Rack) -> String {
    patience::wait(&rack.fleet, rack.only()).unwrap().reason
}

#[test]
fn from_the_invitation_to_active_without_a_plan_and_without_a_write() {
    let mut rack = Rack::new();
    let Invited { id, token, .. } = invited(&mut rack, None);
    let kept = serde_json::to_string(&rack.fleet.invitations).unwrap();
    assert!(!kept.contains(&token.reveal()), "only its digest is kept: {kept}");
    let (node, first) = standing(asks(&mut rack, 1, MAC, token, false));
    assert!(matches!(first, Standing::Waiting(_)), "{first:?}");
    assert_eq!(
        (rack.state(), rack.only().name.as_str()),
        ("discovered", "web1"),
        "called as it calls itself"
    );
    assert_eq!(boots(&rack), BootTask::LocalDisk, "it runs, and is not taken out of that");
    assert!(
        waiting(&rack).contains("Debian GNU/Linux 13") && waiting(&rack).contains("disks stay"),
        "{}",
        waiting(&rack)
    );
    let rows = view::invitation_rows(&rack.fleet, rack.now);
    assert_eq!(
        (rows[0].id.as_str(), rows[0].state.as_str(), rows[0].node.as_deref()),
        (&*id, "used", Some("web1"))
    );
    // Answers were lost: the same key says the same again, and is the same.
    assert_eq!(standing(asks(&mut rack, 1, MAC, token, false)).0, node);
    rack.bring(approve(node, "control")).unwrap();
    assert_eq!(rack.only().state, State::Enrolling { job: None });
    assert_eq!(boots(&rack), BootTask::LocalDisk);
    assert!(
        matches!(standing(asks(&mut rack, 1, MAC, token, false)).1, Standing::Waiting(_)),
        "not without a proof"
    );
    assert_eq!(standing(asks(&mut rack, 1, MAC, token, true)), (node, Standing::Approved));
    assert!(rack.asks(node).is_err(), "there is no work in a ramdisk for it");
    rack.enrols(node, 9).unwrap();
    rack.reports(node, "active").unwrap();
    let Node { state, adopted, installed, run, .. } = rack.only();
    assert_eq!((state, *run), (&State::Active, Some(Key([9; 32]))));
    assert!(adopted.as_ref().is_some_and(|adopted| adopted.system.contains("trixie")) && installed.is_none());
    assert_eq!(boots(&rack), BootTask::LocalDisk);
    assert!(
        rack.fleet.plans.is_empty() && rack.fleet.jobs.is_empty(),
        "nothing was planned, and nothing written"
    );
    let refused = asks(&mut rack, 1, MAC, token, true).unwrap_err().to_string();
    assert!(refused.contains("active already"), "{refused}");
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn a_token_is_one_servers_for_its_time_until_it_is_taken_back() {
    let mut rack = Rack::new();
    for seconds in [0, SHORTEST_SECONDS - 1, LONGEST_SECONDS + 1, u64::MAX] {
        rack.bring(Event::Invite { name: None, seconds }).unwrap_err();
    }
    let Invited { id, token, .. } = invited(&mut rack, Some("db1"));
    let no = |outcome: Result<Outcome, Denied>| outcome.unwrap_err().to_string();
    assert!(no(asks(&mut rack, 1, MAC, Token([9; 16]), true)).contains("not one of this controller's"));
    let (node, _) = standing(asks(&mut rack, 1, MAC, token, false));
    assert_eq!(rack.only().name.as_str(), "db1");
    let other = no(asks(&mut rack, 2, OTHER_MAC, token, false));
    assert!(
        other.contains("another server has come with it") && other.contains("rackwright node adopt"),
        "{other}"
    );
    assert!(no(rack.bring(Event::Revoke { invitation: id.clone() })).contains("node reject db1"));
    // It is sent away: it hears so, also when it asks again, and nobody else comes with that token any more.
    rack.bring(Event::Reject { node, why: "not this one".to_owned() }).unwrap();
    for proven in [false, true] {
        let (_, verdict) = standing(asks(&mut rack, 1, MAC, token, proven));
        assert_eq!(verdict, Standing::Rejected("not this one".to_owned()));
    }
    assert_eq!(rack.state(), "rejected");
    assert!(no(asks(&mut rack, 2, OTHER_MAC, token, false)).contains("not this one"));
    // One that nobody came with in time, and one that was taken back.
    let late = invited(&mut rack, None).token;
    rack.now = rack.now.plus_seconds(3600);
    assert!(no(asks(&mut rack, 3, OTHER_MAC, late, false)).contains("it was good until"));
    let back = invited(&mut rack, None);
    rack.bring(Event::Revoke { invitation: back.id[..4].to_owned() }).unwrap();
    assert!(no(asks(&mut rack, 3, OTHER_MAC, back.token, false)).contains("taken back"));
    assert!(no(rack.bring(Event::Revoke { invitation: back.id })).contains("over already"));
    assert!(matches!(
        rack.bring(Event::Revoke { invitation: "ffff".to_owned() }),
        Err(Denied::Missing { .. })
    ));
    let open =
        (0..=MAX_OPEN).map(|_| rack.bring(Event::Invite { name: None, seconds: 3600 })).filter(Result::is_ok);
    assert_eq!(open.count(), MAX_OPEN);
    // What is over is forgotten in the end.
    rack.now = rack.now.plus_seconds(30 * 86_400);
    invited(&mut rack, None);
    assert_eq!(rack.fleet.invitations.0.len(), 1);
}

#[test]
fn a_server_that_is_known_is_held_as_a_clash_and_never_merged() {
    let (mut rack, node, _) = Rack::active("control");
    let before = rack.only().clone();
    let token = invited(&mut rack, None).token;
    let (held, verdict) = standing(asks(&mut rack, 7, MAC, token, false));
    assert_eq!(held, node);
    assert!(
        matches!(&verdict, Standing::Waiting(why) if why.contains("held") && why.contains("hardware is that of")),
        "{verdict:?}"
    );
    for moved in [false, true] {
        let refused =
            rack.bring(Event::Approve { node, name: None, roles: None, moved }).unwrap_err().to_string();
        assert!(refused.contains("as a new node only"), "{refused}");
    }
    assert!(
        rack.only().adopted.is_none()
            && rack.only().run == before.run
            && rack.only().generation == before.generation
    );
    rack.bring(Event::Reject { node, why: "it is n1".to_owned() }).unwrap();
    assert_eq!((rack.state(), &rack.only().claim), ("active", &None), "the node stays, the key goes");
    assert_eq!(standing(asks(&mut rack, 7, MAC, token, true)).1, Standing::Rejected("it is n1".to_owned()));
    assert!(rack.only().claim.is_none());
    // The same with one that only showed its code in the ramdisk so far.
    let mut rack = Rack::new();
    rack.hello(1, MAC, false).unwrap();
    let token = invited(&mut rack, None).token;
    let (node, verdict) = standing(asks(&mut rack, 7, MAC, token, false));
    assert!(matches!(verdict, Standing::Waiting(why) if why.contains("held")));
    assert!(
        matches!(boots(&rack), BootTask::Agent { .. }),
        "nobody's word but the operator's changes what it boots"
    );
    rack.bring(approve(node, "control")).unwrap_err();
}

#[test]
fn what_is_not_installed_is_said_with_what_to_do() {
    let (mut rack, node) = adopted();
    let generation = rack.only().document.generation;
    let mut absent = unit("db.service", "inactive");
    absent.load = "not-found".to_owned();
    absent.log = vec!["db.service is not installed on this server: apt install mariadb-server".to_owned()];
    let report = Report { generation, units: vec![absent], ..Report::default() };
    rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
    assert_eq!(rack.state(), "enrolling");
    assert!(waiting(&rack).contains("apt install mariadb-server"), "{}", waiting(&rack));
    rack.now = rack.now.plus_seconds(3600);
    rack.bring(Event::Tick).unwrap();
    assert!(
        rack.state() == "attention" && waiting(&rack).contains("apt install mariadb-server"),
        "{}",
        waiting(&rack)
    );
    assert_eq!(boots(&rack), BootTask::LocalDisk, "its own system is not taken from it for that");
    assert!(
        rack.bring(Event::Reject { node, why: "no".to_owned() }).is_err(),
        "it is a node, and goes by being retired"
    );
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
    // Data that a plan must name a disk for: said before, not afterwards.
    let refused =
        rack.bring(Event::SetRoles { node, roles: ["storage".to_owned()].into() }).unwrap_err().to_string();
    assert!(refused.contains("a disk that a plan names"), "{refused}");
}

#[test]
fn it_is_rebuilt_by_a_plan_that_names_what_is_there_after_its_code_was_compared_again() {
    let (mut rack, node) = active();
    rack.import("control", &["control"]);
    let plan = rack.plan(node).unwrap();
    assert!(matches!(plan.target.expect, protocol::Expectation::Content { .. }), "nothing there is ours");
    let job = rack.apply(&plan.id).unwrap();
    assert_eq!(rack.state(), "draining");
    assert!(rack.only().orders.iter().any(|order| order.kind.redeploys()));
    assert!(matches!(boots(&rack), BootTask::Agent { .. }), "it has no place for a ticket, and owes none");
    assert!(waiting(&rack).contains("boot from the network"), "{}", waiting(&rack));
    rack.hello(4, MAC, true).unwrap();
    assert!(waiting(&rack).contains("compare the code"), "{}", waiting(&rack));
    assert!(
        rack.fleet.certificates.values().all(|row| row.key != Key([4; 32])),
        "nothing is opened to it before that"
    );
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(4, MAC, true).unwrap();
    rack.asks(node).unwrap();
    assert_eq!(rack.state(), "imaging");
    assert!(rack.only().run.is_none(), "the system that was there is void");
    rack.verified(node, job).unwrap();
    assert!(rack.only().adopted.is_none() && rack.only().installed.is_some(), "a node like every other");
    rack.enrols(node, 11).unwrap();
    rack.reports(node, "active").unwrap();
    assert_eq!(rack.state(), "active");
}

#[test]
fn rescue_and_capture_bring_it_back_to_its_own_system() {
    let (mut rack, node) = active();
    let confirmed = Some("web1".to_owned());
    let wish = fleet::rescue::Wish { keys: Vec::new(), confirmed: confirmed.clone(), force: false };
    rack.bring(Event::Rescue { node, wish: Box::new(wish) }).unwrap();
    assert!(matches!(boots(&rack), BootTask::Agent { .. }), "no ticket is waited for");
    rack.hello(4, MAC, true).unwrap();
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(4, MAC, true).unwrap();
    rack.asks(node).unwrap();
    rack.bring(Event::EndRescue { node }).unwrap();
    assert_eq!((rack.state(), boots(&rack)), ("returning", BootTask::LocalDisk));
    rack.reports(node, "active").unwrap();
    assert!(rack.state() == "active" && rack.only().run == Some(Key([9; 32])), "with the key that it had");

    rack.fleet.nodes.get_mut(&node).unwrap().inventory.cpu.arch = "x86_64".to_owned();
    let wish = fleet::capture::Wish {
        name: "as-it-was".to_owned(),
        identity: protocol::Identity::AsIs,
        disk: Some(rack.only().inventory.disks[0].id().unwrap()),
        roles: None,
        confirmed,
        force: false,
    };
    rack.bring(Event::Capture { node, wish: Box::new(wish) }).unwrap();
    assert!(matches!(boots(&rack), BootTask::Agent { .. }));
    rack.hello(5, MAC, true).unwrap();
    rack.bring(Event::Approve { node, name: None, roles: None, moved: false }).unwrap();
    rack.hello(5, MAC, true).unwrap();
    rack.asks(node).unwrap();
    assert_eq!(rack.state(), "capturing");
    assert!(rack.only().run.is_some() && rack.only().adopted.is_some());
}

#[test]
fn it_is_retired_like_any_node_and_then_forgotten() {
    let (mut rack, node) = active();
    let Reply::Retirement(row) = rack.bring(Event::Retire { node, keep: Vec::new() }).unwrap().reply else {
        panic!()
    };
    rack.bring(Event::Apply { plan: row.plan, force: false }).unwrap();
    assert_eq!(rack.state(), "draining");
    assert!(matches!(boots(&rack), BootTask::Agent { .. }));
    // And one that was sent away before it was let in.
    let mut rack = Rack::new();
    let token = invited(&mut rack, None).token;
    let (node, _) = standing(asks(&mut rack, 1, MAC, token, false));
    rack.bring(Event::Reject { node, why: "no".to_owned() }).unwrap();
    assert_eq!(boots(&rack), BootTask::LocalDisk);
    rack.bring(Event::Delete { node }).unwrap();
    assert_eq!(rack.fleet.nodes.len(), 0);
    assert_eq!(
        standing(asks(&mut rack, 1, MAC, token, true)).1,
        Standing::Rejected("no".to_owned()),
        "it still hears so"
    );
    assert_eq!(rack.fleet.nodes.len(), 0);
}

//! Virtual machines on a node: nothing takes it down while they run, unless somebody says that they may go.

use fleet::drain::guests;
use fleet::entropy::Entropy;
use fleet::power::{PowerEvent, Step, Wish};
use fleet::rescue;
use fleet::rollout::{self, Next, Rollout};
use fleet::view::plan_view;
use fleet::{Catalog, Change, Denied, Event, State};
use protocol::{Answer, Domain, Facts, Hypervisor, NodeId, Order, OrderKind, Report};

use crate::cloud::document;
use crate::rack::Rack;
use crate::rolling::{begun, find, rack_of, role, wish};

/// What the node's installed system says of its hypervisor.
fn says(rack: &mut Rack, node: NodeId, hypervisor: Hypervisor) {
    let known = &rack.fleet.nodes[&node];
    let (generation, done_order) = (known.document.generation, known.last_order);
    let units = known.report.as_ref().map(|report| report.units.clone()).unwrap_or_default();
    let facts = Facts { hypervisor: Some(hypervisor), ..Facts::default() };
    let report = Report { generation, done_order, units, facts, ..Report::default() };
    rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
}

fn running(names: &[&str]) -> Hypervisor {
    let domain = |name: &&str| {
        let (name, uuid) = ((*name).to_owned(), String::new());
        Domain { name, uuid, vcpus: 1, memory_bytes: 1 << 30 }
    };
    Hypervisor { domains: names.iter().map(domain).collect(), ..Hypervisor::default() }
}

fn redeploys(rack: &Rack) -> Vec<&Order> {
    rack.only().orders.iter().filter(|order| order.kind.redeploys()).collect()
}

#[test]
fn a_node_is_not_rebuilt_under_its_guests() {
    let (mut rack, node, _) = Rack::active("control");
    says(&mut rack, node, running(&["web", "db"]));
    let plan = rack.plan(node).unwrap();
    assert_eq!(plan_view(&rack.fleet, &plan).guests, ["web", "db"], "whoever looks at the plan sees them");
    let before = rack.fleet.clone();
    let why = rack.apply(&plan.id).unwrap_err().to_string();
    assert!(why.contains("2 virtual machines (web, db) run on n1") && why.contains("--force"), "{why}");
    assert_eq!(rack.only(), &before.nodes[&node]);
    says(&mut rack, node, running(&[]));
    rack.apply(&plan.id).unwrap();
    assert_eq!(
        redeploys(&rack)[0].kind,
        OrderKind::Redeploy { force: false, keeps: false },
        "its agent looks once more"
    );
}

/// An active node whose service gives its work to other nodes.
fn with_a_mover() -> (Rack, NodeId) {
    let (mut rack, node, _) = Rack::active("control");
    let catalog = Catalog::parse([
        ("roles/base.toml", "name='base'\nsummary=''\nservices=[]"),
        ("roles/control.toml", "name='control'\nsummary=''\nservices=[]\ncloud=['mover']"),
        (
            "services/mover/service.toml",
            "name='mover'\nsummary=''\n[leave]\nargv=['/bin/move','${node.name}']\nback=['/bin/back']\ntimeout_seconds=9",
        ),
    ]);
    rack.catalog = catalog.unwrap().of_cloud(true);
    for image in rack.fleet.images.values_mut() {
        image.roles.insert("cloud".to_owned());
    }
    rack.bring(Event::Tick).unwrap();
    let leave = &document(&rack, node).services[0].leave;
    let leave =
        leave.as_ref().map(|leave| (leave.argv.join(" "), leave.back.join(" "), leave.timeout_seconds));
    assert_eq!(leave, Some(("/bin/move n1".to_owned(), "/bin/back".to_owned(), 9)));
    (rack, node)
}

#[test]
fn where_a_service_moves_them_away_they_are_no_reason_and_seen_to_go() {
    let (mut rack, node) = with_a_mover();
    says(&mut rack, node, running(&["web", "db"]));
    let plan = rack.plan(node).unwrap();
    assert!(plan_view(&rack.fleet, &plan).guests_leave);
    rack.apply(&plan.id).unwrap();
    assert_eq!(redeploys(&rack)[0].kind, OrderKind::Redeploy { force: false, keeps: false });
    let waits = |rack: &Rack| fleet::patience::wait(&rack.fleet, rack.only()).unwrap();
    assert!(
        waits(&rack).reason.contains("2 virtual machines (web, db) to move to other nodes"),
        "{}",
        waits(&rack).reason
    );
    // Hours of moving are no failure, as long as its system reports; a silence is.
    rack.now = rack.now.plus_seconds(3 * 3600);
    says_of_moving(&mut rack, node, &["db"]);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "draining");
    assert!(
        waits(&rack).reason.contains("the virtual machine db to move to another node"),
        "{}",
        waits(&rack).reason
    );
    rack.now = rack.now.plus_seconds(1600);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "attention");
}

/// The same, of a node that has not carried its order out yet.
fn says_of_moving(rack: &mut Rack, node: NodeId, names: &[&str]) {
    let known = &rack.fleet.nodes[&node];
    let (generation, done_order) = (known.document.generation, known.last_order - 1);
    let facts = Facts { hypervisor: Some(running(names)), ..Facts::default() };
    let report = Report { generation, done_order, facts, ..Report::default() };
    rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
}

#[test]
fn a_rescued_node_keeps_what_is_on_its_disk() {
    let (mut rack, node) = with_a_mover();
    says(&mut rack, node, running(&["web"]));
    let wish = rescue::Wish { keys: Vec::new(), confirmed: Some("n1".to_owned()), force: false };
    rack.bring(Event::Rescue { node, wish: Box::new(wish) }).unwrap();
    assert_eq!(redeploys(&rack)[0].kind, OrderKind::Redeploy { force: false, keeps: true });
}

#[test]
fn with_force_they_go_also_when_it_is_tried_again() {
    let (mut rack, node, _) = Rack::active("control");
    says(&mut rack, node, running(&["web"]));
    let plan = rack.plan(node).unwrap();
    rack.bring(Event::Apply { plan: plan.id, force: true }).unwrap();
    let forced = OrderKind::Redeploy { force: true, keeps: false };
    assert_eq!(redeploys(&rack)[0].kind, forced);
    rack.now = rack.now.plus_seconds(7200);
    rack.bring(Event::Tick).unwrap();
    assert_eq!(rack.state(), "attention");
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(redeploys(&rack)[0].kind, forced);
}

#[test]
fn a_libvirt_that_says_nothing_is_no_leave() {
    let (mut rack, node, _) = Rack::active("control");
    let error = Some("no answer within 10 s".to_owned());
    says(&mut rack, node, Hypervisor { error, ..Hypervisor::default() });
    let plan = rack.plan(node).unwrap();
    let why = rack.apply(&plan.id).unwrap_err().to_string();
    assert!(why.contains("not known") && why.contains("no answer within 10 s"), "{why}");
    rack.bring(Event::Apply { plan: plan.id, force: true }).unwrap();
}

#[test]
fn one_that_was_started_meanwhile_stops_the_restart() {
    let (mut rack, node, _) = Rack::active("control");
    let plan = rack.plan(node).unwrap();
    let job = rack.apply(&plan.id).unwrap();
    let error = Some("the virtual machine web runs".to_owned());
    let answers = vec![Answer { order: rack.only().last_order, lines: Vec::new(), error }];
    let (generation, done_order) = (rack.only().document.generation, rack.only().last_order);
    let report = Report { generation, done_order, answers, ..Report::default() };
    rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
    let State::Attention { cause, verbs, .. } = &rack.only().state else { panic!("{:?}", rack.only().state) };
    assert!(
        cause.contains("the virtual machine web runs") && verbs.contains(&"retry".to_owned()),
        "{cause} {verbs:?}"
    );
    rack.bring(Event::Retry { node }).unwrap();
    assert_eq!(rack.only().state, State::Draining { job });
}

#[test]
fn what_ran_before_the_ramdisk_is_nobody_s_guest() {
    let (mut rack, node, _) = Rack::active("control");
    says(&mut rack, node, running(&["web"]));
    assert_eq!(guests(rack.only()), ["web"]);
    let mut known = rack.only().clone();
    known.state = State::Ready;
    rack.fleet.put(Change::Node(Box::new(known)));
    assert!(guests(rack.only()).is_empty());
}

#[test]
fn its_power_is_not_cut_under_them() {
    let (mut rack, node) = Rack::with_controller();
    says(&mut rack, node, running(&["web"]));
    let confirmed = || Some("n1".to_owned());
    let wants = |wish, force| PowerEvent::Wish { wish, confirmed: confirmed(), force };
    for wish in [Wish::Off { hard: false }, Wish::Off { hard: true }, Wish::Cycle] {
        let asked = rack.power_event(node, wants(wish, false));
        assert!(matches!(&asked, Err(Denied::Conflict(why)) if why.contains("web")), "{asked:?}");
    }
    rack.power_event(node, wants(Wish::On, false)).unwrap();
    rack.power_event(node, wants(Wish::Cycle, true)).unwrap();
}

#[test]
fn an_agent_that_does_not_restart_says_so_at_once() {
    let (mut rack, node, _) = Rack::active("control");
    rack.speaks(node, "one");
    rack.wishes(node, Wish::Cycle).unwrap();
    let order = rack.only().orders.iter().find(|order| order.kind.restarts()).unwrap().clone();
    assert_eq!(order.kind, OrderKind::Restart { force: false });
    let error = Some("the virtual machine web runs".to_owned());
    let answers = vec![Answer { order: order.id, lines: Vec::new(), error }];
    let report = Report { done_order: order.id, answers, boot_id: "one".to_owned(), ..Report::default() };
    rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
    let Step::Failed { why } = rack.last(node) else { panic!("{:?}", rack.last(node)) };
    assert_eq!(why, "the virtual machine web runs");
}

#[test]
fn a_rollout_waits_for_guests_and_takes_the_others_first() {
    let mut rack = rack_of(3);
    let rollout = begun(&mut rack, wish(role()));
    let first = find(&rack, "n1").id;
    for node in rack.fleet.nodes.values().map(|node| node.id).collect::<Vec<_>>() {
        rack.reports(node, "active").unwrap();
    }
    says(&mut rack, first, running(&["web"]));
    rack.bring(Event::Tick).unwrap();
    assert_eq!(find(&rack, "n1").state, State::Active);
    assert!(matches!(find(&rack, "n2").state, State::Draining { .. }), "another one has its turn");
    // Alone it waits, and says for whom.
    let mut alone = rack.fleet.rollouts[&rollout].clone();
    alone.steps.retain(|step| step.node == first);
    alone.max_unavailable = 3;
    rack.fleet.put(Change::Rollout(Box::new(alone.clone())));
    let mut dice = Entropy::new(&[7; 32]);
    let next = rollout::next(&rack.fleet, &alone, rack.now, &mut dice);
    assert!(matches!(&next, Next::Wait(why) if why.contains("web")), "{next:?}");
    let forced = Rollout { force: true, ..alone };
    let next = rollout::next(&rack.fleet, &forced, rack.now, &mut dice);
    assert!(matches!(next, Next::Begin(..)), "{next:?}");
}

#[test]
fn a_node_is_not_mended_under_them_and_not_switched_off_in_service() {
    let (mut rack, node, _) = Rack::active("control");
    says(&mut rack, node, running(&["web"]));
    let rescues = |force| {
        let wish = rescue::Wish { keys: Vec::new(), confirmed: Some("n1".to_owned()), force };
        Event::Rescue { node, wish: Box::new(wish) }
    };
    let why = rack.bring(rescues(false)).unwrap_err().to_string();
    assert!(why.contains("web") && why.contains("--force"), "{why}");
    assert_eq!(rack.state(), "active");
    rack.bring(rescues(true)).unwrap();
    assert_eq!(redeploys(&rack)[0].kind, OrderKind::Redeploy { force: true, keeps: true });
    rack.bring(Event::EndRescue { node }).unwrap();
    says(&mut rack, node, running(&["web"]));

    rack.bring(Event::Service { node, why: "a DIMM".to_owned() }).unwrap();
    let cycle = PowerEvent::Wish { wish: Wish::Cycle, confirmed: None, force: false };
    let why = rack.power_event(node, cycle).unwrap_err().to_string();
    assert!(why.contains("web"), "{why}");
    // What it last said before it hung is no reason to leave it so.
    rack.bring(Event::EndService { node }).unwrap();
    rack.now = rack.now.plus_seconds(3600);
    rack.bring(rescues(false)).unwrap();
    assert!(redeploys(&rack).is_empty());
}

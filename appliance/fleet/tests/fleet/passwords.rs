//! Other passwords for the cloud: the control node first, then all others, whatever is off or killed meanwhile; and never what lasts.

use fleet::cloud::passwords::{Passwords, goes_on, wanted};
use fleet::cloud::{CloudKey, Salt};
use fleet::converge::renumbered;
use fleet::journal::effect;
use fleet::{Catalog, Change, Denied, Event, Node, State, view};
use proptest::prelude::*;
use protocol::{JobId, NodeId, Report, ServiceHealth, ServiceReport, TaskReport, TaskResult, TaskWanted};

use crate::cloud::{FILES, cloud, document};
use crate::rack::{Rack, unit};

const WORKER: &str = "name='worker'\nsummary=''\nneeds=['shop']\n\
    [[files]]\npath='/etc/worker.conf'\nmode='0640'\nowner='root:worker'\ntemplate='worker.conf'\n\
    [[units]]\nname='worker.service'\nenabled=false\nrunning=true";

/// A cloud whose worker, on the compute node, has secrets of every kind; all of it is up.
fn up() -> (Rack, NodeId, NodeId) {
    let (mut rack, control, compute) = cloud();
    let mut files = FILES.iter().copied().filter(|(path, _)| !path.contains("/worker/")).collect::<Vec<_>>();
    files.push(("services/worker/service.toml", WORKER));
    files.push(("services/worker/worker.conf", "${secret.shop}\n${lasting.disk}\n${fernet.0}\n"));
    rack.catalog = Catalog::parse(files).unwrap().of_cloud(true);
    tells(&mut rack, control, ServiceHealth::Well);
    tells(&mut rack, compute, ServiceHealth::Well);
    assert!(!worker(&rack, compute).is_empty());
    (rack, control, compute)
}

/// The node has gone through its document, and all its services are like this.
fn tells(rack: &mut Rack, node: NodeId, health: ServiceHealth) {
    let generation = rack.fleet.nodes[&node].document.generation;
    tells_of(rack, node, generation, health);
}

fn tells_of(rack: &mut Rack, node: NodeId, generation: u64, health: ServiceHealth) {
    tells_with(rack, node, generation, health, Some(TaskResult::Already));
}

/// `tasks`: what came of all of them; none: the node did not come to any.
fn tells_with(
    rack: &mut Rack,
    node: NodeId,
    generation: u64,
    health: ServiceHealth,
    tasks: Option<TaskResult>,
) {
    let document = document(rack, node);
    let ran = |result: TaskResult| {
        let report = |task: &TaskWanted| TaskReport {
            name: task.name.clone(),
            result: result.clone(),
            log: Vec::new(),
        };
        document.tasks.iter().map(report).collect()
    };
    let tasks = tasks.map(ran).unwrap_or_default();
    let units = document.units.iter().map(|wanted| unit(&wanted.name, "active")).collect();
    let services = document.services.iter();
    let services = services.map(|service| ServiceReport {
        name: service.name.clone(),
        health: health.clone(),
        since_ms: 1,
    });
    let report = Report { generation, units, tasks, services: services.collect(), ..Report::default() };
    rack.bring(Event::Reported { node, report: Box::new(report) }).unwrap();
}

/// A service that waits for another keeps the health that it had, and its node goes through its document without it.
#[test]
fn a_control_node_that_did_not_come_to_its_accounts_is_not_through() {
    let (mut rack, control, compute) = up();
    let old = worker(&rack, compute);
    rotate(&mut rack).unwrap();
    let generation = rack.fleet.nodes[&control].document.generation;
    let name = rack.fleet.nodes[&control].name.to_string();
    tells_with(&mut rack, control, generation, ServiceHealth::Well, None);
    assert_eq!(now(&rack).why, Some(format!("{name}: token is not through with its task token-db")));
    let failed = TaskResult::Failed { why: "no room".to_owned() };
    tells_with(&mut rack, control, generation, ServiceHealth::Well, Some(failed));
    assert!(rack.fleet.passwords.as_ref().unwrap().before.is_some() && worker(&rack, compute) == old);
    tells(&mut rack, control, ServiceHealth::Well);
    assert_ne!(worker(&rack, compute)[0], old[0]);
}

/// Else what it gives away would be asked for with a password that is nobody's any more.
#[test]
fn a_node_on_its_way_down_is_waited_for() {
    let (mut rack, _, compute) = up();
    let mut known = rack.fleet.nodes[&compute].clone();
    known.document.leaves = true;
    known.state = State::Draining { job: JobId([3; 8]) };
    rack.fleet.put(Change::Node(Box::new(known)));
    let why = rotate(&mut rack).unwrap_err().to_string();
    assert!(why.contains("c1 is on its way down") && why.contains("rackwright node why c1"), "{why}");
    assert_eq!(rack.fleet.passwords, None);
}

fn ill() -> ServiceHealth {
    ServiceHealth::Ill { why: "no answer".to_owned() }
}

/// Password, what lasts, Fernet key: as the compute node's document has them.
fn worker(rack: &Rack, compute: NodeId) -> Vec<String> {
    let document = document(rack, compute);
    let file = document.files.iter().find(|file| file.path == "/etc/worker.conf");
    file.map(|file| file.content.lines().map(str::to_owned).collect()).unwrap_or_default()
}

/// The shop's password as database and keystone on the control node are told of it.
fn told(rack: &Rack, control: NodeId) -> String {
    let document = document(rack, control);
    let content = &document.files.iter().find(|file| file.path == "/etc/token.conf").unwrap().content;
    let json = &content[content.find("\n[").unwrap()..];
    let rows: serde_json::Value = serde_json::from_str(json).unwrap();
    rows[0]["password"].as_str().unwrap().to_owned()
}

fn rotate(rack: &mut Rack) -> Result<(), Denied> {
    rack.bring(Event::Rotate).map(drop)
}

fn refused(rack: &mut Rack) -> String {
    let Err(Denied::Conflict(why)) = rotate(rack) else { panic!("it was not refused") };
    why
}

fn now(rack: &Rack) -> view::PasswordsView {
    view::passwords_view(&rack.fleet, &rack.site(), &rack.catalog, rack.now)
}

#[test]
fn the_control_node_comes_first_and_the_others_keep_what_they_have_until_it_is_through() {
    let (mut rack, control, compute) = up();
    let (first, old) = (told(&rack, control), worker(&rack, compute));
    assert_eq!((first.as_str(), now(&rack).number), (old[0].as_str(), 0));
    let before = [control, compute].map(|node| rack.fleet.nodes[&node].document.generation);
    let admin = view::cloud_access(&rack.fleet, &rack.site()).unwrap().password;

    rotate(&mut rack).unwrap();
    let second = told(&rack, control);
    assert_ne!(second, first);
    assert_eq!(worker(&rack, compute), old, "it would be refused with the new one");
    let after = [control, compute].map(|node| rack.fleet.nodes[&node].document.generation);
    assert_eq!(after, [before[0] + 1, before[1]], "its agent hears of it in the same transaction");
    assert_ne!(view::cloud_access(&rack.fleet, &rack.site()).unwrap().password, admin);

    // It was not through with that document; then it was, and its keystone does not answer.
    tells_of(&mut rack, control, before[0], ServiceHealth::Well);
    let name = rack.fleet.nodes[&control].name.to_string();
    let why = format!("{name}: it goes through generation {} of its document", after[0]);
    assert_eq!(now(&rack).why.as_deref(), Some(why.as_str()));
    tells(&mut rack, control, ill());
    assert_eq!(now(&rack).why, Some(format!("{name}: token is not well: no answer")));
    assert_eq!(worker(&rack, compute), old);
    let row = now(&rack).waiting.into_iter().find(|row| row.node == "c1").unwrap();
    assert_eq!(row.why, format!("it is told when {name} is through"));

    tells(&mut rack, control, ServiceHealth::Well);
    assert_eq!(worker(&rack, compute)[0], second);
    assert_eq!(rack.fleet.nodes[&compute].document.generation, before[1] + 1);
    assert_eq!(rack.fleet.passwords.as_ref().unwrap().before, None, "those of before are forgotten");
    assert_eq!(now(&rack).state, "rotating");
    tells(&mut rack, compute, ServiceHealth::Well);
    let settled = now(&rack);
    assert_eq!((settled.state.as_str(), settled.number, settled.waiting), ("settled", 1, vec![]));
}

#[test]
fn what_data_at_rest_is_encrypted_with_is_the_same_after_any_number_of_rotations() {
    let (mut rack, control, compute) = up();
    let mut passwords = std::collections::BTreeSet::new();
    let lasts = worker(&rack, compute)[1..].to_vec();
    assert_eq!(lasts[0], CloudKey::new([7; 32]).lasting("disk"));
    for _ in 0..5 {
        assert!(passwords.insert(worker(&rack, compute)[0].clone()), "an old password is good again");
        rotate(&mut rack).unwrap();
        assert_eq!(worker(&rack, compute)[1..], lasts);
        tells(&mut rack, control, ServiceHealth::Well);
        tells(&mut rack, compute, ServiceHealth::Well);
        assert_eq!(worker(&rack, compute)[1..], lasts);
    }
}

#[test]
fn a_rotation_while_one_goes_on_is_refused_with_what_it_waits_for() {
    let (mut rack, control, compute) = up();
    rotate(&mut rack).unwrap();
    let salt = wanted(&rack.fleet);
    let why = refused(&mut rack);
    let name = rack.fleet.nodes[&control].name.to_string();
    assert!(why.contains(&format!("still being rotated: {name}: it goes through")), "{why}");
    assert!(why.contains("rackwright cloud passwords show"), "{why}");
    tells(&mut rack, control, ServiceHealth::Well);
    assert!(refused(&mut rack).contains("c1: it goes through"));
    assert_eq!(wanted(&rack.fleet), salt, "what is refused changes nothing");
    tells(&mut rack, compute, ServiceHealth::Well);
    rotate(&mut rack).unwrap();
    assert_eq!(wanted(&rack.fleet).number, 2);
}

#[test]
fn a_node_that_restarts_later_or_is_ill_then_is_no_rotation_that_goes_on() {
    let (mut rack, control, compute) = up();
    rotate(&mut rack).unwrap();
    tells(&mut rack, control, ServiceHealth::Well);
    tells(&mut rack, compute, ill());
    assert_eq!(now(&rack).state, "settled", "it has gone through its document");
    for node in [control, compute] {
        tells_of(&mut rack, node, 0, ill());
    }
    assert_eq!(now(&rack).state, "settled");
}

#[test]
fn nobody_waits_for_a_node_that_is_off_and_it_has_them_when_it_is_back() {
    let (mut rack, control, compute) = up();
    rack.now = rack.now.plus_seconds(100);
    rotate(&mut rack).unwrap();
    tells(&mut rack, control, ServiceHealth::Well);
    let view = now(&rack);
    assert_eq!((view.state.as_str(), view.waiting.len()), ("settled", 1));
    assert!(view.waiting[0].away && view.waiting[0].why.starts_with("off or silent since"), "{view:?}");
    // A second one does not wait for it either, and it has the newest at once.
    rotate(&mut rack).unwrap();
    tells(&mut rack, control, ServiceHealth::Well);
    let generation = rack.fleet.nodes[&compute].document.generation;
    tells_of(&mut rack, compute, generation - 2, ServiceHealth::Well);
    assert_eq!(worker(&rack, compute)[0], told(&rack, control));
    assert_eq!(now(&rack).state, "rotating", "it is back, and on its way");
    tells(&mut rack, compute, ServiceHealth::Well);
    assert_eq!((now(&rack).state.as_str(), now(&rack).waiting.len()), ("settled", 0));
}

#[test]
fn a_control_node_that_is_off_is_waited_for_and_one_that_is_gone_is_not() {
    let (mut rack, control, compute) = up();
    let old = worker(&rack, compute);
    rack.now = rack.now.plus_seconds(100);
    rotate(&mut rack).unwrap();
    rack.bring(Event::Tick).unwrap();
    assert!(now(&rack).why.unwrap().contains("off or silent since"));
    assert!(refused(&mut rack).contains("off or silent since"));
    assert_eq!(worker(&rack, compute), old);
    let gone = Node { state: State::Retired, ..rack.fleet.nodes[&control].clone() };
    rack.fleet.put(Change::Node(Box::new(gone)));
    rack.bring(Event::Tick).unwrap();
    assert_ne!(worker(&rack, compute)[0], old[0], "nobody accepts the old one");
    assert_eq!(rack.fleet.passwords.as_ref().unwrap().before, None);
}

#[test]
fn a_rack_that_is_no_cloud_has_no_passwords_to_rotate() {
    let (mut rack, _, _) = Rack::active("control");
    assert!(refused(&mut rack).contains("[cloud] in rackwright.toml"));
    assert_eq!(rack.fleet.passwords, None);
}

#[test]
fn nothing_that_is_written_down_or_shown_has_what_they_are_made_of() {
    let (mut rack, control, compute) = up();
    let outcome = rack.bring(Event::Rotate).unwrap();
    let row = rack.fleet.passwords.clone().unwrap();
    let kept = serde_json::to_string(&row).unwrap();
    assert_eq!(serde_json::from_str::<Passwords>(&kept).unwrap(), row, "it is kept as it is");
    let salt = String::from(row.wanted.salt.unwrap());
    assert!(kept.contains(&salt));
    let [change] = outcome.changes.as_slice() else { panic!("{outcome:?}") };
    let journal = effect(&rack.fleet, change).unwrap();
    let shown = serde_json::to_string(&now(&rack)).unwrap();
    let passwords = [told(&rack, control), worker(&rack, compute)[0].clone(), salt];
    for text in [format!("{outcome:?} {:?}", rack.fleet.passwords), journal.body.to_string(), shown] {
        assert!(passwords.iter().all(|secret| !text.contains(secret.as_str())), "{text}");
    }
    assert_eq!((journal.kind, journal.body["number"].as_u64()), ("passwords", Some(1)));
}

/// Whoever has the backup of before has the key, and still knows no password of after.
#[test]
fn the_key_alone_says_nothing_of_passwords_that_were_rotated() {
    let (mut rack, control, _) = up();
    rotate(&mut rack).unwrap();
    let key = CloudKey::new([7; 32]);
    let guesses = (0..4).map(|byte| key.password(Some(Salt::new([byte; 32])), "shop"));
    let mut guesses = guesses.chain([key.password(None, "shop"), key.lasting("shop")]);
    let password = told(&rack, control);
    assert!(guesses.all(|guess| guess != password));
}

/// The other controller knows nothing of the rotation after its backup, and the nodes have done it.
#[test]
fn a_backup_from_before_a_rotation_brings_its_passwords_and_no_number_of_a_document_twice() {
    let (mut rack, control, compute) = up();
    let (backup, old) = (rack.fleet.clone(), told(&rack, control));
    let rotated = |rack: &mut Rack| {
        rotate(rack).unwrap();
        tells(rack, control, ServiceHealth::Well);
        tells(rack, compute, ServiceHealth::Well);
    };
    rotated(&mut rack);
    let (forgotten, have) = (told(&rack, control), rack.fleet.nodes[&control].document.generation);
    rack.fleet = backup;
    for change in renumbered(&rack.fleet, 1_800_000_000) {
        rack.fleet.put(change);
    }
    rack.bring(Event::Tick).unwrap();
    assert_eq!((told(&rack, control), worker(&rack, compute)[0].clone()), (old.clone(), old.clone()));
    assert_eq!(rack.fleet.nodes[&control].document.generation, 1_800_000_000, "every agent takes it");
    // Before any of them asked: what they have done since the backup is not taken for this one.
    rotate(&mut rack).unwrap();
    tells_of(&mut rack, control, have, ServiceHealth::Well);
    assert_eq!(worker(&rack, compute)[0], old);
    assert!(now(&rack).why.is_some());
    tells(&mut rack, control, ServiceHealth::Well);
    tells(&mut rack, compute, ServiceHealth::Well);
    assert_eq!(now(&rack).state, "settled");
    assert!(![&old, &forgotten].contains(&&told(&rack, control)), "passwords that there never were");
    let none = fleet::Fleet::default();
    assert!(renumbered(&none, 7).is_empty());
}

/// What may happen in any order.
#[derive(Clone, Copy, Debug)]
enum Turn {
    Rotate,
    Tick,
    Later,
    Tells { control: bool, old: bool, well: bool },
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    let tells = (any::<bool>(), any::<bool>(), any::<bool>());
    let tells = tells.prop_map(|(control, old, well)| Turn::Tells { control, old, well });
    let turn = prop_oneof![Just(Turn::Rotate), Just(Turn::Tick), Just(Turn::Later), tells.clone(), tells];
    proptest::collection::vec(turn, 0..40)
}

proptest! {
    #[test]
    fn whatever_happens_a_node_has_a_password_that_counts_and_at_the_end_all_have_the_same(turns in turns()) {
        let (mut rack, control, compute) = up();
        for turn in turns {
            match turn {
                Turn::Rotate => drop(rotate(&mut rack)),
                Turn::Tick => drop(rack.bring(Event::Tick).unwrap()),
                Turn::Later => rack.now = rack.now.plus_seconds(100),
                Turn::Tells { control: is_control, old, well } => {
                    let node = if is_control { control } else { compute };
                    let generation = rack.fleet.nodes[&node].document.generation - u64::from(old);
                    let health = if well { ServiceHealth::Well } else { ill() };
                    tells_of(&mut rack, node, generation, health);
                }
            }
            let key = CloudKey::new([7; 32]);
            let wanted = key.password(wanted(&rack.fleet).salt, "shop");
            let before = rack.fleet.passwords.as_ref().and_then(|passwords| passwords.before);
            let before = before.map(|before| key.password(before.salt, "shop"));
            prop_assert_eq!(&told(&rack, control), &wanted);
            prop_assert_eq!(&worker(&rack, compute)[0], before.as_ref().unwrap_or(&wanted));
        }
        for node in [control, compute] {
            tells(&mut rack, node, ServiceHealth::Well);
        }
        prop_assert_eq!(goes_on(&rack.fleet, &rack.catalog, rack.now), None);
        prop_assert_eq!(&worker(&rack, compute)[0], &told(&rack, control));
        prop_assert!(now(&rack).waiting.is_empty());
    }
}

//! A rotation of the cloud's passwords, whenever the controller is killed: what was answered is durable, documents and all, and what was
//! begun ends.

use fleet::cloud::passwords::{Edition, Passwords};
use fleet::cloud::{Cloud, CloudKey, Datapath};
use fleet::{Change, Event, Node, converge};
use protocol::{
    NodeId, Report, ServiceHealth, ServiceReport, StateDocument, TaskReport, TaskResult, UnitReport,
};

use super::Refused;
use super::tests::{State, opened_as, state};
use crate::store::{Batch, Store};

const COMPUTE: NodeId = NodeId([9; 16]);

pub(crate) fn cloud() -> Cloud {
    let (region, key) = ("RegionOne".to_owned(), CloudKey::new([7; 32]));
    Cloud { region, datapath: Datapath::Kernel, key, external: None, tunnel: None, objects: None }
}

/// Killed, and started again.
fn again(state: State) -> State {
    let State { core, folder } = state;
    drop(core);
    opened_as(folder, Some(cloud()))
}

fn document(state: &State, node: NodeId) -> StateDocument {
    let world = state.core.world();
    let node = &world.fleet.nodes[&node];
    converge(&world.fleet, &world.site, &state.core.catalog, node).unwrap()
}

/// The node has gone through its document, and everything is well.
async fn tells(state: &State, node: NodeId) {
    let StateDocument { generation, units, tasks, services, .. } = document(state, node);
    let unit = |name: String| UnitReport {
        name,
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        result: "success".to_owned(),
        since_ms: 0,
        log: Vec::new(),
    };
    let service = |name: String| ServiceReport { name, health: ServiceHealth::Well, since_ms: 1 };
    let task = |name: String| TaskReport { name, result: TaskResult::Already, log: Vec::new() };
    let report = Report {
        generation,
        units: units.into_iter().map(|wanted| unit(wanted.name)).collect(),
        services: services.into_iter().map(|wanted| service(wanted.name)).collect(),
        tasks: tasks.into_iter().map(|wanted| task(wanted.name)).collect(),
        ..Report::default()
    };
    state.bring(Event::Reported { node, report: Box::new(report) }).await.unwrap();
}

/// A cloud of a control and a compute node, all of which is well.
async fn up() -> (State, NodeId) {
    let state = opened_as(tempfile::tempdir().unwrap(), Some(cloud()));
    let control = state.enrolled("control").await;
    let mut node: Node = state.core.world().fleet.nodes[&control].clone();
    (node.id, node.name, node.roles) = (COMPUTE, "c1".parse().unwrap(), ["compute".to_owned()].into());
    node.boot.mac = "52:54:00:77:00:09".parse().unwrap();
    node.inventory.nics.iter_mut().for_each(|nic| nic.mac = node.boot.mac.clone());
    let State { core, folder } = state;
    drop(core);
    let mut store = Store::open(&folder.path().join("state.db")).unwrap();
    let changes = vec![Change::Node(Box::new(node))];
    store.save(&Batch { changes, ..Batch::default() }).unwrap();
    drop(store);
    let state = opened_as(folder, Some(cloud()));
    // One after the other: each is let go when what it needs is well.
    for _ in 0..20 {
        tells(&state, control).await;
        tells(&state, COMPUTE).await;
    }
    let names = document(&state, COMPUTE).services.into_iter().map(|service| service.name);
    assert!(names.collect::<Vec<_>>().contains(&"nova-compute".to_owned()));
    (state, control)
}

fn rotation(state: &State) -> (Option<Passwords>, [(u64, u64); 2]) {
    let world = state.core.world();
    let control = world.fleet.nodes.values().find(|node| node.id != COMPUTE).unwrap();
    let of = |node: &Node| (node.document.generation, node.document.passwords);
    (world.fleet.passwords.clone(), [of(control), of(&world.fleet.nodes[&COMPUTE])])
}

/// Whether the nova of this node has the password of this rotation.
fn has(state: &State, node: NodeId, edition: Edition) -> bool {
    let password = cloud().key.password(edition.salt, "nova");
    let files = document(state, node).files;
    files.iter().find(|file| file.path == "/etc/nova/nova.conf").unwrap().content.contains(&password)
}

#[tokio::test]
async fn what_was_begun_is_durable_with_its_documents_and_ends_after_every_kill() {
    let (state, control) = up().await;
    let (none, [first, other]) = rotation(&state);
    assert_eq!(none, None);
    state.bring(Event::Rotate).await.unwrap();
    let begun = rotation(&state);
    let wanted = begun.0.as_ref().unwrap().wanted;
    assert_eq!(
        begun.1,
        [(first.0 + 1, 1), other],
        "in one transaction: the control node is told, and nobody else"
    );
    assert!(has(&state, control, wanted) && has(&state, COMPUTE, Edition::default()));

    let state = again(state);
    assert_eq!(rotation(&state), begun, "the same salt, the same documents, no new generation");
    assert!(has(&state, control, wanted) && has(&state, COMPUTE, Edition::default()));
    let refused = state.bring(Event::Rotate).await;
    assert!(
        matches!(&refused, Err(Refused::Denied(why)) if why.to_string().contains("still being rotated")),
        "{refused:?}"
    );

    // Every service of it was well before, too: that alone would be no reason to look at the others' documents.
    tells(&state, control).await;
    let through = rotation(&state);
    assert_eq!(through.0.as_ref().unwrap().before, None);
    assert_eq!(
        through.1,
        [(first.0 + 1, 1), (other.0 + 1, 1)],
        "the others are told in the same transaction"
    );
    let state = again(state);
    assert_eq!(rotation(&state), through);
    assert!(has(&state, COMPUTE, wanted));
    tells(&state, COMPUTE).await;
    let state = again(state);
    state.bring(Event::Rotate).await.unwrap();
    assert_eq!(rotation(&state).0.unwrap().wanted.number, 2);
    assert!(!has(&state, control, wanted) && has(&state, COMPUTE, wanted));
}

#[tokio::test]
async fn neither_log_nor_journal_nor_the_rack_that_is_no_cloud_has_a_password() {
    let (state, control) = up().await;
    state.bring(Event::Rotate).await.unwrap();
    tells(&state, control).await;
    let wanted = rotation(&state).0.unwrap().wanted;
    let secrets = [String::from(wanted.salt.unwrap()), cloud().key.password(wanted.salt, "nova")];
    let database = rusqlite::Connection::open(state.folder.path().join("state.db")).unwrap();
    let all = |sql: &str| {
        let mut rows = database.prepare(sql).unwrap();
        let rows = rows.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.collect::<Result<Vec<_>, _>>().unwrap()
    };
    let journal = all("SELECT body FROM journal WHERE kind = 'passwords' ORDER BY seq");
    let want = [r#"{"number":1,"told":"the control node"}"#, r#"{"number":1,"told":"every node"}"#];
    assert_eq!(journal, want);
    assert_eq!(all("SELECT text FROM event WHERE kind = 'passwords'").len(), 2);
    let told =
        all("SELECT body FROM journal UNION ALL SELECT text FROM event UNION ALL SELECT body FROM node");
    assert!(
        told.len() > 10
            && !told.iter().any(|text| secrets.iter().any(|secret| text.contains(secret.as_str())))
    );

    let bare = self::state();
    assert!(matches!(bare.bring(Event::Rotate).await, Err(Refused::Denied(_))));
    assert_eq!(bare.core.world().fleet.passwords, None);
}

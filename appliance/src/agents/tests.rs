//! Agents' calls on a whole state.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fleet::capture::Wish;
use fleet::certificate::{Authed, Certificate, Stage};
use fleet::image::Image;
use fleet::{Event, Reply};
use pack::{Chunk, Layout, Packed, merkle};
use protocol::{Identity, JobId, Key, NodeId, StateAsk, Task, routes};

use super::{AgentRefusal, Agents, Asked, Way};
use crate::answers::Answers;
use crate::ca::{SiteCa, Start};
use crate::cast::Casts;
use crate::config::Site;
use crate::images::Images;
use crate::listen::https::{AgentService, BODY_LIMIT};
use crate::writer::now;
use crate::writer::tests::{MAC, State, hello, state};

pub(super) fn agents(state: &State) -> Agents {
    let folder = state.folder.path();
    let ca = SiteCa::open(&folder.join("ca"), &Site::parse("lab").unwrap(), Start::First, SystemTime::now());
    let images = Images::open(
        &folder.join("images"),
        &folder.join("keys"),
        crate::ca::image_key(&folder.join("ca")).unwrap(),
    )
    .unwrap();
    let images = Arc::new(images);
    let casts = Arc::new(Casts::new(Arc::clone(&images), None));
    let preflights = Arc::new(crate::preflight::Preflights::new(state.core.clone()));
    Agents::new(state.core.clone(), ca.unwrap().into(), images, casts, preflights, Answers::default())
}

pub(super) fn authed(state: &State, node: NodeId) -> Authed {
    let generation = state.core.world().fleet.nodes[&node].generation;
    let (fingerprint, until) = (String::new(), now().plus_seconds(60));
    let key = Key([9; 32]);
    Authed {
        node,
        certificate: Certificate {
            fingerprint,
            node,
            key,
            stage: Stage::Run,
            generation,
            until,
            number: 0,
            ca: None,
        },
    }
}

#[tokio::test]
async fn orders_reach_a_node_whose_document_cannot_be_made() {
    let state = state();
    let node = state.enrolled("control").await;
    let agents = agents(&state);
    let ask = StateAsk::default();
    let reply = agents.state(authed(&state, node), ask).await.unwrap().body;
    assert!(reply.document.is_some() && reply.orders.is_empty());
    // Storage wants a second disk, which this server has not.
    state.bring(Event::SetRoles { node, roles: ["storage".to_owned()].into() }).await.unwrap();
    assert!(state.core.world().unsettled[&node].contains("data disk"));
    state.bring(Event::Logs { node, unit: "ssh.service".to_owned(), lines: 5 }).await.unwrap();
    let reply = agents.state(authed(&state, node), ask).await.unwrap().body;
    assert!(reply.document.is_none());
    assert_eq!(reply.orders.len(), 1);
    // Nothing is news any more: the answer is held back, or the agent would ask without a pause.
    let (begun, ask) = (Instant::now(), StateAsk { done_order: 1, wait_seconds: 1, ..ask });
    let reply = agents.state(authed(&state, node), ask).await.unwrap().body;
    assert!(reply.document.is_none() && reply.orders.is_empty());
    assert!(begun.elapsed() >= Duration::from_millis(900));
}

/// A ready server of which an image is in the store, and its row is still to come.
async fn sealed(state: &State, agents: &Agents) -> (NodeId, JobId, Image) {
    let node = state.hello(1, MAC).await.unwrap();
    let roles = Some(["control".to_owned()].into());
    state.bring(Event::Approve { node, name: None, roles, moved: false }).await.unwrap();
    let again = Event::Hello { hello: Box::new(hello(1, MAC)), proven: true, answered: None };
    state.bring(again).await.unwrap();
    let mut inventory = Box::new(hello(1, MAC).inventory);
    inventory.cpu.arch = "x86_64".to_owned();
    let asked = Event::Asked { node, certificate: String::new(), inventory };
    state.bring(asked.clone()).await.unwrap();
    let disk = Some("serial:SYS".parse().unwrap());
    let confirmed = Some(state.core.world().fleet.nodes[&node].name.to_string());
    let wish = Wish {
        name: "copy".to_owned(),
        identity: Identity::AsIs,
        disk,
        roles: None,
        confirmed,
        force: false,
    };
    let Reply::Job(job) = state.bring(Event::Capture { node, wish: Box::new(wish) }).await.unwrap().reply
    else {
        panic!("no job")
    };
    state.bring(asked).await.unwrap();
    let packed = [0, 8191].map(|window| Packed { window, ..pack::chunk(0, &[7; 1 << 20], 1).unwrap() });
    let chunks = packed.each_ref().map(|packed| packed.chunk().unwrap());
    agents.captures.windows(job, 0, &Chunk::encode_all(&chunks), 8 << 30).unwrap();
    agents.captures.stored(job, 0, &packed[0].stored).unwrap();
    let about = state.core.world().fleet.captures[&job].about(Layout::default(), None);
    let signed = agents.captures.sign(job, about, 2, merkle::root(&chunks)).unwrap();
    state.bring(Event::Sealing { node, job, image: signed.claimed_digest() }).await.unwrap();
    let image = agents.captures.seal(job, signed).unwrap();
    (node, job, image)
}

#[tokio::test]
async fn an_image_whose_job_was_cancelled_while_it_was_made_is_not_kept() {
    let state = state();
    let agents = agents(&state);
    let (node, job, image) = sealed(&state, &agents).await;
    assert_eq!(agents.images.all().len(), 1);
    state.bring(Event::Cancel { job }).await.unwrap();
    let refused = agents.captured((node, job), image, Vec::new()).await.unwrap_err();
    assert_eq!(refused.status(), (409, false), "{refused}");
    assert!(agents.images.all().is_empty());
    assert_eq!(std::fs::read_dir(state.folder.path().join("images")).unwrap().count(), 0);
}

#[tokio::test]
async fn an_image_that_was_sealed_when_the_power_went_is_of_its_node_after_the_start() {
    let state = state();
    let agents = agents(&state);
    let (node, _, image) = sealed(&state, &agents).await;
    crate::daemon::images::adopt(&state.core, &agents.images).await;
    let world = state.core.world();
    assert!(world.fleet.images.contains_key(&image.digest));
    assert_eq!(fleet::capture::owner(&world.fleet, image.digest), Some(node));
}

#[tokio::test]
async fn an_image_whose_row_can_not_be_saved_at_once_is_noted_as_soon_as_it_can() {
    let state = state();
    let agents = agents(&state);
    let (node, job, image) = sealed(&state, &agents).await;
    // Somebody holds the data base for longer than the writer waits for it.
    let other = rusqlite::Connection::open(state.folder.path().join("state.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let noted = tokio::spawn(async move {
        let task = agents.captured((node, job), image, Vec::new()).await;
        (agents, task)
    });
    while state.core.space.trouble().is_none() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    other.execute_batch("ROLLBACK").unwrap();
    let (agents, task) = noted.await.unwrap();
    assert!(matches!(task.unwrap(), Task::Wait { .. }));
    let listed = state.core.world().fleet.images.keys().copied().collect::<Vec<_>>();
    assert_eq!(listed, agents.images.all().iter().map(|image| image.digest).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_hello_that_says_too_much_is_refused_before_anything_is_kept() {
    let state = state();
    let agents = agents(&state);
    assert!(agents.body_limit(routes::HELLO) <= BODY_LIMIT / 8);
    let way = Way { local: Ipv4Addr::LOCALHOST, peer: Ipv4Addr::LOCALHOST.into() };
    let say = async |hello: protocol::Hello| {
        let body = serde_json::to_vec(&hello).unwrap();
        agents
            .answer(&Asked {
                fingerprint: None,
                shown: &[],
                post: true,
                path: routes::HELLO,
                body: &body,
                way,
            })
            .await
    };
    let mut long = hello(1, MAC);
    long.inventory.disks[0].model = "x".repeat(600);
    let refused = say(long).await.unwrap_err();
    assert!(matches!(refused, AgentRefusal::TooMuch(_)), "{refused}");
    assert_eq!(refused.status(), (400, false));
    let mut many = hello(1, MAC);
    many.inventory.nics = vec![many.inventory.nics[0].clone(); 200];
    assert!(say(many).await.unwrap_err().to_string().contains("200 NICs"));
    assert!(state.core.world().fleet.nodes.is_empty());
    say(hello(1, MAC)).await.unwrap();
    assert_eq!(state.core.world().fleet.nodes.len(), 1);
}

//! Agents' calls on a whole state.

use std::time::{Duration, Instant, SystemTime};

use fleet::Event;
use fleet::certificate::{Authed, Certificate, Stage};
use protocol::{Key, NodeId, StateAsk, routes};

use super::{AgentRefusal, Agents, Asked};
use crate::answers::Answers;
use crate::ca::{SiteCa, Start};
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
    Agents::new(state.core.clone(), ca.unwrap().into(), images.into(), Answers::default())
}

pub(super) fn authed(state: &State, node: NodeId) -> Authed {
    let generation = state.core.world().fleet.nodes[&node].generation;
    let (fingerprint, until) = (String::new(), now().plus_seconds(60));
    let key = Key([9; 32]);
    Authed { node, certificate: Certificate { fingerprint, node, key, stage: Stage::Run, generation, until } }
}

#[tokio::test]
async fn orders_reach_a_node_whose_document_cannot_be_made() {
    let state = state();
    let node = state.enrolled("control").await;
    let agents = agents(&state);
    let ask = StateAsk { have: 0, done_order: 0, wait_seconds: 0 };
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

#[tokio::test]
async fn a_hello_that_says_too_much_is_refused_before_anything_is_kept() {
    let state = state();
    let agents = agents(&state);
    assert!(agents.body_limit(routes::HELLO) <= BODY_LIMIT / 8);
    let say = async |hello: protocol::Hello| {
        let body = serde_json::to_vec(&hello).unwrap();
        agents.answer(&Asked { fingerprint: None, post: true, path: routes::HELLO, body: &body }).await
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

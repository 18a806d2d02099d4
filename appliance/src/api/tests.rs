//! The local API on a whole state.

use std::sync::Arc;

use fleet::Event;
use http_body_util::BodyExt;
use serde_json::Value;

use super::{Answer, Api, Query};
use crate::answers::Answers;
use crate::images::Images;
use crate::writer::tests::{State, state};

pub(super) fn api(state: &State) -> Api {
    let folder = state.folder.path();
    let images = Images::open(&folder.join("images"), &folder.join("keys")).unwrap();
    Api {
        core: state.core.clone(),
        images: Arc::new(images),
        answers: Answers::default(),
        listeners: Vec::new(),
        own: None,
    }
}

/// What a GET of this path answers.
pub(super) async fn get(api: &Api, path: &str) -> Value {
    let parts = path.split('/').collect::<Vec<_>>();
    read(api.look(&parts, &Query::default()).await.expect("a route")).await
}

pub(super) async fn read(answer: Answer) -> Value {
    let body = answer.unwrap().into_body().collect().await.unwrap().to_bytes();
    serde_json::from_slice(&body).unwrap()
}

#[tokio::test]
async fn what_keeps_a_document_from_being_made_comes_before_every_other_reason() {
    let state = state();
    let node = state.enrolled("control").await;
    let api = api(&state);
    let before = get(&api, "v1/nodes/n1/why").await["item"]["waiting"].as_str().unwrap().to_owned();
    assert!(before.starts_with("its units to be up"), "{before}");
    state.bring(Event::SetRoles { node, roles: ["storage".to_owned()].into() }).await.unwrap();
    for path in ["v1/nodes/n1/why", "v1/nodes/n1"] {
        let waiting = get(&api, path).await["item"]["waiting"].as_str().unwrap().to_owned();
        assert!(waiting.starts_with("what its roles need: volume-group wants ${disk.data}"), "{waiting}");
        assert!(waiting.contains("; and for its units to be up"), "{waiting}");
    }
    let rows = get(&api, "v1/nodes").await;
    assert!(rows["items"][0]["waiting"].as_str().unwrap().starts_with("what its roles need"), "{rows}");
}

//! The local API on a whole state.

use std::sync::Arc;

use fleet::Event;
use http_body_util::BodyExt;
use serde_json::Value;

use super::{Answer, Api, Query};
use crate::answers::Answers;
use crate::cast::Casts;
use crate::images::Images;
use crate::metrics::Metrics;
use crate::power::consoles::Consoles;
use crate::support::Places;
use crate::writer::AddressWish;
use crate::writer::tests::{MAC, State, ip, mac, state};

pub(super) fn api(state: &State) -> Api {
    let folder = state.folder.path();
    let images = Images::open(
        &folder.join("images"),
        &folder.join("keys"),
        crate::ca::image_key(&folder.join("ca")).unwrap(),
    )
    .unwrap();
    let site = crate::config::Site::parse("lab").unwrap();
    let (start, now) = (crate::ca::Start::First, std::time::SystemTime::now());
    let ca = crate::ca::SiteCa::open(&folder.join("ca"), &site, start, now).unwrap();
    let images = Arc::new(images);
    let casts = Arc::new(Casts::new(Arc::clone(&images), None));
    let vault = Arc::new(crate::power::Vault::new(&[7; 32]).unwrap());
    let (_, stop) = tokio::sync::watch::channel(false);
    Api {
        consoles: Consoles::new(state.core.clone(), Arc::clone(&vault), stop),
        core: state.core.clone(),
        ca: Arc::new(ca),
        rotating: Arc::default(),
        casts: Arc::clone(&casts),
        preflights: Arc::new(crate::preflight::Preflights::new(state.core.clone())),
        images,
        answers: Answers::default(),
        vault,
        listeners: Vec::new(),
        joining: crate::join::Joining { boot: folder.join("boot"), http_port: 80, agents_port: 8443 },
        own: None,
        sources: sources(folder),
        copies: None,
        operators: Arc::default(),
        seconds: Arc::default(),
        metrics: Metrics {
            core: state.core.clone(),
            casts: Arc::clone(&casts),
            listeners: Vec::new(),
            state_db: folder.join("state.db"),
            started: std::time::SystemTime::now(),
        },
        notifier: None,
        places: Places { config: folder.join("rackwright.toml"), state: folder.to_owned() },
    }
}

fn sources(folder: &std::path::Path) -> crate::backup::Sources {
    crate::backup::Sources {
        site: "lab".to_owned(),
        state: folder.to_owned(),
        database: folder.join("state.db"),
        ca: folder.join("ca"),
        heads: folder.join("journal/heads"),
        config: folder.join("rackwright.toml"),
        image_keys: folder.join("keys"),
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

#[tokio::test]
async fn an_address_that_was_set_is_said_to_be_awaited() {
    let state = state();
    state.takes(MAC).await.unwrap();
    let node = state.enrolled("control").await;
    let api = api(&state);
    state.core.address(AddressWish::Fix { node, mac: mac(MAC), address: ip(50) }).await.unwrap();
    let why = get(&api, "v1/nodes/n1/why").await;
    assert_eq!(why["item"]["node"]["address"], "10.77.0.100");
    let waiting = why["item"]["waiting"].as_str().unwrap();
    assert!(waiting.contains("to have 10.77.0.50 instead of 10.77.0.100"), "{waiting}");
    state.takes(MAC).await.unwrap();
    let why = get(&api, "v1/nodes/n1/why").await;
    assert_eq!(why["item"]["node"]["address"], "10.77.0.50");
    assert!(!why["item"]["waiting"].as_str().unwrap().contains("DHCP"));
}

#[tokio::test]
async fn leases_are_listed_and_released_by_mac_or_address() {
    let state = state();
    let api = api(&state);
    state.takes(MAC).await.unwrap();
    state.hello(1, MAC).await.unwrap();
    let stranger = [2, 0, 0, 0, 0, 1];
    state.takes(stranger).await.unwrap();
    let rows = get(&api, "v1/network/leases").await["items"].clone();
    assert_eq!((&rows[0]["address"], &rows[0]["node"]), (&"10.77.0.100".into(), &"n1".into()));
    assert_eq!((&rows[1]["address"], &rows[1]["node"]), (&"10.77.0.101".into(), &Value::Null));
    let release = async |which: &str| {
        api.act(&["v1", "network", "leases", which, "release"], b"").await.expect("a route")
    };
    let refused = release("10.77.0.100").await.unwrap_err();
    assert_eq!(refused.codes().1, 4, "{refused}");
    assert_eq!(release("10.77.0.200").await.unwrap_err().codes().1, 3);
    let released = read(release("10.77.0.101").await).await;
    assert_eq!(released["item"]["mac"], "02:00:00:00:00:01");
    assert!(released["item"]["freeFrom"].is_string());
    let rows = get(&api, "v1/network/leases").await["items"].clone();
    assert_eq!((&rows[1]["state"], &rows[1]["mac"]), (&"quarantine".into(), &Value::Null));
    state.takes(stranger).await.unwrap();
    assert_eq!(read(release("02-00-00-00-00-01").await).await["item"]["address"], "10.77.0.102");
}

/// An enrolled server whose units are up: a POST to it, and what is answered.
async fn running() -> (State, Api) {
    let state = state();
    let node = state.enrolled("control").await;
    let document = state.core.world().fleet.nodes[&node].document.generation;
    let report = protocol::Report { generation: document, ..protocol::Report::default() };
    state.bring(Event::Reported { node, report: Box::new(report) }).await.unwrap();
    let api = api(&state);
    assert_eq!(get(&api, "v1/nodes/n1").await["item"]["state"], "active");
    (state, api)
}

async fn post(api: &Api, path: &str, body: &str) -> Answer {
    let parts = path.split('/').collect::<Vec<_>>();
    api.act(&parts, body.as_bytes()).await.expect("a route")
}

#[tokio::test]
async fn a_capture_takes_no_word_that_it_does_not_know_and_no_running_node_unasked() {
    let (state, api) = running().await;
    for (body, told) in [
        (r#"{"name": "copy", "identity": "as-is", "confirm": "n1", "role": ["control"]}"#, "role"),
        (r#"{"name": "copy", "identity": "generalize", "keeps": ["machine-id"], "confirm": "n1"}"#, "keeps"),
        (
            r#"{"name": "copy", "identity": "as-is", "keep": ["machine-id"], "confirm": "n1"}"#,
            "keep goes with",
        ),
        (r#"{"name": "copy", "identity": "asis", "confirm": "n1"}"#, "asis"),
        (r#"{"name": "copy", "confirm": "n1"}"#, "identity"),
    ] {
        let refused = post(&api, "v1/nodes/n1/capture", body).await.unwrap_err();
        assert_eq!(refused.codes().1, 2, "{refused}");
        assert!(refused.to_string().contains(told), "{refused}");
    }
    for confirm in ["null", r#""n2""#] {
        let body = format!(r#"{{"name": "copy", "identity": "generalize", "confirm": {confirm}}}"#);
        let refused = post(&api, "v1/nodes/n1/capture", &body).await.unwrap_err();
        assert_eq!(refused.codes().1, 5, "{refused}");
        assert!(refused.to_string().contains("this restarts n1"), "{refused}");
    }
    assert!(state.core.world().fleet.captures.is_empty());
    let body = r#"{"name": "copy", "identity": "generalize", "keep": ["machine-id"], "confirm": "n1"}"#;
    assert_eq!(read(post(&api, "v1/nodes/n1/capture", body).await).await["item"]["identity"], "generalize");
}

#[tokio::test]
async fn a_job_is_named_by_enough_of_its_id() {
    let (_state, api) = running().await;
    let body = r#"{"name": "copy", "identity": "as-is", "confirm": "n1"}"#;
    let job = read(post(&api, "v1/nodes/n1/capture", body).await).await["item"]["id"].clone();
    let job = job.as_str().unwrap();
    for few in ["", &job[..1], &job[..3]] {
        let refused = post(&api, &format!("v1/jobs/{few}/cancel"), "{}").await.unwrap_err();
        assert_eq!(refused.codes().1, 3, "{refused}");
        let refused = api.look(&["v1", "jobs", few], &Query::default()).await.unwrap().unwrap_err();
        assert_eq!(refused.codes().1, 3, "{refused}");
    }
    for enough in [job, &job[..4]] {
        assert_eq!(get(&api, &format!("v1/jobs/{enough}")).await["item"]["state"], "waiting");
    }
    let cancelled = read(post(&api, &format!("v1/jobs/{}/cancel", &job[..4]), "{}").await).await;
    assert_eq!(cancelled["item"]["state"], "failed");
}

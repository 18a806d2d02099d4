//! What is too much, and what is not understood.

use protocol::routes;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::controller::Controller;
use crate::journey::approved;
use crate::operator;
use crate::witness::everything;

#[tokio::test(flavor = "multi_thread")]
async fn agents_are_refused_what_is_too_long_or_has_a_word_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let agent = approved(&controller, 1, "control").await;
    let before = everything(&controller.folder);
    // A hello needs no certificate, and so may be the least.
    for (route, most) in [(routes::HELLO, 128 << 10), (routes::TASK, 1 << 20)] {
        let answer = agent.announce(route, most + 1).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{route}: {answer}");
        assert!(answer.contains(&format!("longer than {most}")), "{route}: {answer}");
    }
    let mut hello = serde_json::to_value(agent.hello(None)).unwrap();
    hello["colour"] = json!("red");
    let mut ask = serde_json::to_value(agent.task_ask()).unwrap();
    ask["inventory"]["nics"][0]["colour"] = json!("red");
    let later = json!({"protocol": 1});
    for (route, body) in [(routes::HELLO, hello), (routes::TASK, ask), (routes::TASK, later)] {
        let (status, refusal) = agent.ask::<_, Value>(route, &body).await.unwrap_err();
        assert!(status == 400 && refusal.error.contains("not understood") && !refusal.retry, "{refusal:?}");
    }
    let mut old = agent.hello(None);
    old.protocol = 0;
    let (status, refusal) = agent.ask::<_, Value>(routes::HELLO, &old).await.unwrap_err();
    assert!(status == 400 && refusal.error.contains("speaks protocol 0"), "{refusal:?}");
    let (status, _) = agent.ask::<_, Value>("/agent/v1/nodes", &json!({})).await.unwrap_err();
    assert_eq!(status, 404);
    assert_eq!(everything(&controller.folder), before);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_proof_is_no_proof() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let agent = Agent::new(&controller, 1);
    let first: protocol::HelloReply = agent.ask(routes::HELLO, &agent.hello(None)).await.unwrap();
    operator::post(&controller, "/v1/nodes/n1/approve", json!({})).await.unwrap();
    let before = everything(&controller.folder);
    let message =
        protocol::hello_proof(&controller.ca.pin(), &first.node, &agent.keys.public(), &first.nonce);
    let forged = crate::agent::Keys::new().sign(&message);
    let (status, _) = agent.ask::<_, Value>(routes::HELLO, &agent.hello(Some(forged))).await.unwrap_err();
    assert_eq!(status, 403);
    assert_eq!(everything(&controller.folder), before);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_operator_is_refused_what_is_too_long_or_has_a_word_too_many() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    approved(&controller, 1, "control").await;
    let before = everything(&controller.folder);
    let long = json!({"why": "x".repeat(1 << 20)});
    let table = [
        ("/v1/nodes/n1/reject", long, 413, 2, "longer than"),
        ("/v1/nodes/n1/reject", json!({"why": "no", "colour": "red"}), 400, 2, "colour"),
        ("/v1/nodes/n1/rename", json!({"name": "Not A Name"}), 400, 2, "host name"),
        ("/v1/nodes/n1/roles", json!({"roles": "control"}), 400, 2, "not understood"),
        ("/v1/nodes/n1/roles", json!({"roles": ["kitchen"]}), 404, 3, "kitchen"),
        ("/v1/nodes/n9/reject", json!({}), 404, 3, "n9"),
        ("/v1/nodes/n1/dance", json!({}), 404, 3, "/v1/nodes/n1/dance"),
        ("/v1/plans/p-00000000/apply", json!({}), 404, 3, "p-00000000"),
        ("/v1/nodes/n1/retry", json!({}), 409, 4, "needs attention"),
        ("/v1/nodes/n1/address", json!({"address": "192.0.2.1"}), 409, 4, "192.0.2.1"),
    ];
    for (path, body, status, exit, why) in table {
        let refused = operator::post(&controller, path, body).await.unwrap_err();
        assert_eq!((refused.status, refused.exit), (status, exit), "{path}: {refused:?}");
        assert!(refused.error.contains(why), "{path}: {refused:?}");
    }
    assert_eq!(everything(&controller.folder), before);
    controller.stop().await;
}

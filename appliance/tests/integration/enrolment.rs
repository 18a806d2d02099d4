//! One boot, from the first hello to an active node; every answer is looked for in the data base when it arrives.

use protocol::{Code, HelloReply, IdentityFile, ReportReply, Task, Verdict, routes};
use serde_json::json;

use crate::agent::Agent;
use crate::controller::Controller;
use crate::journey::{self, all_up, control_image, enrolled, planned, progress, state, take, verified};
use crate::witness::{only, rows};
use crate::{operator, witness};

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_is_approved_by_its_code_and_its_certificate_is_recorded_before_it_is_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let at = &controller.folder;
    let mut agent = Agent::new(&controller, 1);
    let first: HelloReply = agent.ask(routes::HELLO, &agent.hello(None)).await.unwrap();
    let node = only(at, "node");
    assert_eq!((&node["state"]["state"], &node["id"]), (&json!("discovered"), &json!(first.node)));
    assert_eq!(node["claim"]["nonce"], json!(first.nonce));

    let code = Code::of(&controller.ca.pin(), &agent.keys.public(), &first.nonce).to_string();
    let shown = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    assert_eq!(shown["code"], json!(code), "both screens show the same code");
    let impatient = agent.prove(&controller, &first).await;
    assert!(matches!(impatient.verdict, Verdict::Waiting { .. }), "a proof is no approval");
    let approve = json!({"name": "db1", "roles": ["control"]});
    let row = operator::post(&controller, &format!("/v1/nodes/{code}/approve"), approve).await.unwrap();
    assert_eq!((&row["name"], &row["state"]), (&json!("db1"), &json!("inspecting")));
    assert_eq!(only(at, "node")["state"]["state"], "inspecting");

    let bare: HelloReply = agent.ask(routes::HELLO, &agent.hello(None)).await.unwrap();
    assert!(matches!(bare.verdict, Verdict::Waiting { .. }), "an approval is no proof");
    let proven = agent.prove(&controller, &first).await;
    let Verdict::Approved { certificate } = proven.verdict else { panic!("{:?}", proven.verdict) };
    agent.holds(&certificate);
    let recorded = only(at, "certificate");
    assert_eq!(recorded["fingerprint"], json!(agent.fingerprint()));
    assert_eq!((&recorded["stage"], &recorded["key"]), (&json!("deploy"), &json!(agent.keys.public())));
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_taken_followed_verified_and_becomes_an_active_node() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let at = controller.folder.clone();
    let image = control_image(&controller).await;
    assert_eq!(only(&at, "image")["digest"], json!(image.digest()));
    let (mut agent, plan) = planned(&controller, 1).await;
    assert_eq!(
        (&only(&at, "plan")["id"], &only(&at, "plan")["state"]["state"]),
        (&json!(plan), &json!("open"))
    );
    assert_eq!(rows(&at, "job").len(), 0, "a plan is no job");

    let apply = format!("/v1/plans/{plan}/apply");
    let job = operator::post(&controller, &apply, json!({"confirm": "n1"})).await.unwrap();
    assert_eq!(
        (&only(&at, "job")["id"], &only(&at, "job")["state"]["state"]),
        (&job["id"], &json!("waiting"))
    );
    let job = take(&agent).await;
    assert_eq!(job.image, image.digest());
    assert_eq!(
        (&only(&at, "job")["state"]["state"], &only(&at, "job")["takes"]),
        (&json!("running"), &json!(1))
    );
    assert_eq!(only(&at, "node")["state"]["state"], "imaging");

    assert!(progress(&agent, &job, 1 << 20).await);
    assert_eq!(only(&at, "job")["progress"]["done_bytes"], 1 << 20);
    no_forged_receipt_is_taken(&agent, &job, &at).await;
    assert_eq!(verified(&agent, &job).await, Task::Reboot);
    let shown = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    assert_eq!(shown["receipt"]["proof"]["signedBy"], json!(agent.keys.public()));
    assert_eq!(shown["receipt"]["proof"]["root"], json!(image.root()));
    assert_eq!(only(&at, "node")["installed"]["image"], json!(image.digest()));
    assert_eq!(only(&at, "job")["state"]["state"], "verified");

    let deploy = agent.fingerprint();
    let answer = enrolled(&controller, &mut agent).await;
    assert_eq!((answer.name.as_str(), answer.identity.len()), ("n1", 0));
    assert_eq!(only(&at, "node")["run"], json!(agent.keys.public()));
    let stages = rows(&at, "certificate").iter().map(|row| row["stage"].clone()).collect::<Vec<_>>();
    assert!(stages.contains(&json!("run")) && agent.fingerprint() != deploy, "{stages:?}");

    let reply = state(&agent).await;
    let document = reply.document.clone().unwrap();
    assert_eq!(only(&at, "node")["document"]["generation"], document.generation);
    assert!(document.units.iter().any(|unit| unit.name == "memcached.service" && unit.running));
    let told: protocol::Envelope<ReportReply> = agent.ask(routes::REPORT, &all_up(&reply)).await.unwrap();
    assert_eq!(told.body.generation, document.generation);
    assert_eq!(only(&at, "node")["state"]["state"], "active");
    assert_eq!(only(&at, "job")["state"]["state"], "done");
    assert_eq!(witness::integrity(&at), "ok");
    controller.stop().await;
}

/// A receipt of which one number was changed on the way, and one that somebody else signed.
async fn no_forged_receipt_is_taken(agent: &Agent, job: &protocol::ImageJob, at: &std::path::Path) {
    let mut bent = journey::receipt(agent, job).await;
    (bent.written_bytes, bent.same_bytes) = (bent.written_bytes - 1, 1);
    let mut foreign = journey::receipt(agent, job).await;
    let (stranger, node) =
        (crate::agent::Keys::new(), only(at, "node")["id"].as_str().unwrap().parse().unwrap());
    foreign.proof.as_mut().unwrap().key = stranger.public();
    let statement = foreign.statement(&node).unwrap();
    foreign.proof.as_mut().unwrap().signature = stranger.sign(statement.as_bytes());
    for forged in [bent, foreign] {
        let refused = agent.ask::<_, protocol::Envelope<Task>>(routes::VERIFIED, &forged).await.unwrap_err();
        assert_eq!((refused.0, refused.1.error.as_str()), (403, "the proof does not fit the key"));
        assert_eq!(only(at, "job")["state"]["state"], "running");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_a_node_itself_is_kept_and_given_back() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (mut agent, job) = journey::imaging(&controller, 1).await;
    verified(&agent, &job).await;
    enrolled(&controller, &mut agent).await;
    let file =
        |path: &str| IdentityFile { path: path.to_owned(), mode: 0o600, content: "c2VjcmV0".to_owned() };
    let kept = vec![file("/etc/ssh/ssh_host_ed25519_key")];
    let _: serde_json::Value = agent.ask(routes::ESCROW, &kept).await.unwrap();
    assert_eq!(only(&controller.folder, "identity")[0]["path"], "/etc/ssh/ssh_host_ed25519_key");
    let (status, refusal) =
        agent.ask::<_, serde_json::Value>(routes::ESCROW, &vec![file("/etc/shadow")]).await.unwrap_err();
    assert!(status == 409 && refusal.error.contains("/etc/shadow"), "{refusal:?}");
    let large = IdentityFile { content: "x".repeat(65 << 10), ..file("/etc/ssh/ssh_host_rsa_key") };
    let (status, _) = agent.ask::<_, serde_json::Value>(routes::ESCROW, &vec![large]).await.unwrap_err();
    assert_eq!(status, 409);
    let identity =
        controller.core.identity(controller.core.world().fleet.nodes.keys().copied().next().unwrap());
    assert_eq!(identity.await.unwrap(), kept);
    controller.stop().await;
}

//! Who is not let in, and what nobody gets at with a certificate that is good for something else.

use fleet::certificate::Stage;
use protocol::{Envelope, HelloReply, Task, routes};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::controller::Controller;
use crate::journey::{approved, control_image, imaging, progress};
use crate::operator;
use crate::witness::everything;

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_another_site_is_refused_in_the_handshake_and_nothing_changes() {
    let (folder, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let controller = Controller::start(folder.path()).await;
    approved(&controller, 1, "control").await;
    let foreign = Controller::start(elsewhere.path()).await;
    let mut agent = Agent::new(&controller, 1);
    agent.forges(&foreign.ca, Stage::Deploy);
    let before = everything(&controller.folder);
    for route in [routes::HELLO, routes::TASK, routes::STATE] {
        let answer = agent.post(route, serde_json::to_vec(&agent.task_ask()).unwrap()).await;
        assert!(answer.is_err(), "{route}: {answer:?}");
    }
    let told = |controller: &Controller| controller.state.report().last.map(|last| last.what);
    controller.until(|c| told(c).is_some_and(|why| why.contains("not issued by this site's CA"))).await;
    assert_eq!(everything(&controller.folder), before);
    controller.stop().await;
    foreign.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_genuine_certificate_that_nobody_recorded_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    approved(&controller, 1, "control").await;
    let mut agent = Agent::new(&controller, 1);
    agent.forges(&controller.ca, Stage::Deploy);
    let before = everything(&controller.folder);
    let (status, refusal) = agent.ask::<_, Value>(routes::TASK, &agent.task_ask()).await.unwrap_err();
    assert_eq!((status, refusal.retry), (403, false));
    assert!(refusal.error.contains("not issued by this controller"), "{refusal:?}");
    agent.certificate = None;
    let (status, refusal) = agent.ask::<_, Value>(routes::TASK, &agent.task_ask()).await.unwrap_err();
    assert!(status == 401 && refusal.error.contains("needs a client certificate"), "{refusal:?}");
    assert_eq!(everything(&controller.folder), before);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_an_older_generation_is_void_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let old = approved(&controller, 1, "control").await;
    let _: Envelope<Task> = old.ask(routes::TASK, &old.task_ask()).await.unwrap();
    // The server was switched off and on: another key, another approval.
    let _new = approved(&controller, 1, "control").await;
    let before = everything(&controller.folder);
    let (status, refusal) = old.ask::<_, Value>(routes::TASK, &old.task_ask()).await.unwrap_err();
    assert!(status == 403 && refusal.error.contains("revoked"), "{refusal:?}");
    assert_eq!(everything(&controller.folder), before);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stage_deploy_reaches_its_own_job_and_nobody_elses() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let image = control_image(&controller).await.digest();
    let (first, job) = imaging(&controller, 1).await;
    let second = approved(&controller, 2, "control").await;
    let _: Envelope<Task> = second.ask(routes::TASK, &second.task_ask()).await.unwrap();
    let job_before = crate::witness::only(&controller.folder, "job");

    for route in [routes::manifest(&image), routes::data(&image)] {
        assert_eq!(first.get(&route).await.unwrap().0, 200, "{route}: its own");
        let (status, body) = second.get(&route).await.unwrap();
        assert_eq!(status, 404, "{route}: {body:?}");
        let mut nobody = Agent::new(&controller, 3);
        assert_eq!(nobody.get(&route).await.unwrap().0, 401, "{route}: without a certificate");
        nobody.forges(&controller.ca, Stage::Run);
        assert_eq!(nobody.get(&route).await.unwrap().0, 403, "{route}: one that nobody recorded");
    }
    assert!(!progress(&second, &job, 3 << 20).await, "an agent on another node's job is stopped");
    let task: Envelope<Task> = second.ask(routes::TASK, &second.task_ask()).await.unwrap();
    assert!(matches!(task.body, Task::Wait { .. }), "{task:?}");
    assert_eq!(crate::witness::only(&controller.folder, "job"), job_before);
    // There is no field for another node's id; the state document is for the other stage.
    let ask = json!({"have": 0, "done_order": 0, "wait_seconds": 0});
    let (status, refusal) = second.ask::<_, Value>(routes::STATE, &ask).await.unwrap_err();
    assert!(status == 403 && refusal.error.contains("other stage"), "{refusal:?}");
    let (status, _) = second.ask::<_, Value>(routes::REPORT, &protocol::Report::default()).await.unwrap_err();
    assert_eq!(status, 403);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_server_loses_its_certificate_and_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let agent = approved(&controller, 1, "control").await;
    operator::post(&controller, "/v1/nodes/n1/reject", json!({"why": "a visitor"})).await.unwrap();
    let (status, refusal) = agent.ask::<_, Value>(routes::TASK, &agent.task_ask()).await.unwrap_err();
    assert!(status == 403 && refusal.error.contains("revoked"), "{refusal:?}");
    let mut back = Agent::new(&controller, 1);
    back.certificate = None;
    let reply: HelloReply = back.ask(routes::HELLO, &back.hello(None)).await.unwrap();
    assert!(matches!(&reply.verdict, protocol::Verdict::Rejected { reason } if reason == "a visitor"));
    controller.stop().await;
}

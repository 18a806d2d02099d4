//! A node is retired by the command line, its agent and the real daemon; what proves it outlives the node and the daemon.

use protocol::{
    CANARIES_MIN, DiskId, Envelope, EraseJob, Erasure, JobId, Method, NodeId, Refusal, SAMPLES_MIN,
    Signature, Task, routes,
};
use serde_json::{Value, json};

use crate::agent::{Agent, Keys};
use crate::controller::Controller;
use crate::dhcp::boot;
use crate::{journey, operator};

/// What the agent hands in when it has erased this disk, signed with this key.
pub(crate) fn erasure(agent: &Agent, keys: &Keys, node: NodeId, job: JobId, at: usize) -> Erasure {
    let known = &agent.inventory.disks[at];
    let erasure = Erasure {
        job,
        disk: DiskId::of(&known.wwn, &known.serial).unwrap(),
        model: known.model.clone(),
        serial: known.serial.clone(),
        wwn: known.wwn.clone(),
        bytes: known.bytes,
        method: Method::Overwrite,
        firmware: String::new(),
        written_bytes: known.bytes,
        canaries: CANARIES_MIN,
        samples: SAMPLES_MIN,
        sampled_bytes: 4096 * SAMPLES_MIN,
        milliseconds: 5,
        key: keys.public(),
        signature: Signature([0; 64]),
    };
    let signature = keys.sign(erasure.statement(&node).as_bytes());
    Erasure { signature, ..erasure }
}

/// The `number`th server in the ramdisk with two disks, both of which it is erasing.
pub(crate) async fn erasing(controller: &Controller, number: u8) -> (Agent, EraseJob) {
    let mut agent = journey::approved(controller, number, "control").await;
    agent.inventory.disks.push(crate::agent::disk(&format!("SECOND{number}")));
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let path = format!("/v1/nodes/n{number}/retire");
    let plan = operator::post(controller, &path, json!({"keep": []})).await.unwrap();
    let path = format!("/v1/plans/{}/apply", plan["id"].as_str().unwrap());
    operator::post(controller, &path, json!({"confirm": format!("n{number}")})).await.unwrap();
    let task: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let Task::Erase(job) = task.body else { panic!("{:?}", task.body) };
    (agent, *job)
}

/// A server in the ramdisk with two disks, the plan to erase one of them applied and taken.
async fn retiring(controller: &Controller) -> (Agent, NodeId, EraseJob) {
    let mut agent = journey::approved(controller, 1, "control").await;
    agent.inventory.disks.push(crate::agent::disk("KEPT"));
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let made = operator::rackwright(controller, "node retire n1 --keep serial:KEPT").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(made.out.contains("WILL BE ERASED FOR GOOD") && made.out.contains("serial:KEPT"), "{}", made.out);
    let plans = operator::get(controller, "/v1/plans?state=open").await.unwrap();
    let plan = plans[0]["id"].as_str().unwrap().to_owned();
    assert_eq!((plans[0]["kind"].as_str(), plans[0]["disks"].as_array().unwrap().len()), (Some("retire"), 1));
    let refused = operator::rackwright(controller, &format!("apply {plan}")).await;
    assert_eq!(refused.code, Some(5), "nobody typed the name: {refused:?}");
    let refused =
        operator::post(controller, &format!("/v1/plans/{plan}/apply"), json!({"confirm": "n2"})).await;
    assert_eq!(refused.unwrap_err().exit, 5);
    let applied = operator::rackwright(controller, &format!("apply {plan} --confirm n1 --no-wait")).await;
    assert_eq!(applied.code, Some(0), "{applied:?}");
    let task: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let Task::Erase(job) = task.body else { panic!("{:?}", task.body) };
    (agent, task.node, *job)
}

async fn hands_in(agent: &Agent, erasure: &Erasure) -> Result<Task, (u16, Refusal)> {
    agent.ask::<_, Envelope<Task>>(routes::ERASED, erasure).await.map(|envelope| envelope.body)
}

fn only(rows: &Value) -> &Value {
    assert_eq!(rows.as_array().unwrap().len(), 1, "{rows}");
    &rows[0]
}

#[tokio::test]
async fn what_proves_a_disk_erased_outlives_the_node() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (agent, node, job) = retiring(&controller).await;
    assert_eq!(job.disks.len(), 1, "the kept disk is in no task");
    assert_ne!(job.challenge.0, [0; 16]);
    let rows = operator::get(&controller, "/v1/erasures?of=n1").await.unwrap();
    assert_eq!(only(&rows)["state"], "running");

    // Another's signature, a disk that was kept, and what is too little.
    let right = erasure(&agent, &agent.keys, node, job.job, 0);
    let (status, _) = hands_in(&agent, &erasure(&agent, &Keys::new(), node, job.job, 0)).await.unwrap_err();
    assert_eq!(status, 403);
    let (status, _) = hands_in(&agent, &Erasure { samples: 99, ..right.clone() }).await.unwrap_err();
    assert_eq!(status, 403, "what was signed is what counts");
    let (status, why) = hands_in(&agent, &erasure(&agent, &agent.keys, node, job.job, 1)).await.unwrap_err();
    assert!(status == 409 && why.error.contains("not in the plan"), "{why:?}");
    assert_eq!(only(&operator::get(&controller, "/v1/erasures").await.unwrap())["certificate"], Value::Null);

    assert_eq!(hands_in(&agent, &right).await.unwrap(), Task::Reboot);
    let row = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    assert_eq!(row["state"], "retired");
    let (status, _) = hands_in(&agent, &right).await.unwrap_err();
    assert_eq!(status, 403, "its certificate is void");

    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    let deleted = operator::rackwright(&controller, "node delete n1").await;
    assert_eq!(deleted.code, Some(5), "nobody typed the name: {deleted:?}");
    let deleted = operator::rackwright(&controller, "node delete n1 --confirm n1").await;
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    assert_eq!(operator::get(&controller, "/v1/nodes/n1").await.unwrap_err().exit, 3);

    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    assert!(operator::get(&controller, "/v1/nodes").await.unwrap().as_array().unwrap().is_empty());
    let rows = operator::get(&controller, "/v1/erasures?of=n1").await.unwrap();
    let proof = &only(&rows)["certificate"];
    assert_eq!((proof["level"].as_str(), proof["method"].as_str()), (Some("clear"), Some("overwrite")));
    assert_eq!(proof["statement"].as_str().unwrap(), right.statement(&node));
    assert_eq!(proof["signature"].as_str().unwrap(), right.signature.to_string());
    let shown = operator::rackwright(&controller, "node erasures n1").await;
    assert!(shown.out.contains("overwrite (clear)") && shown.out.contains("PROVEN"), "{}", shown.out);
    controller.stop().await;
}

#[tokio::test]
async fn only_a_node_that_is_over_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (agent, ..) = retiring(&controller).await;
    let refused = operator::rackwright(&controller, "node delete n1 --confirm n1").await;
    assert!(
        refused.code == Some(4) && refused.err.contains("only a retired or rejected node"),
        "{refused:?}"
    );
    let failed = protocol::Progress {
        failed: Some("serial:QM0001: the drive's firmware says that sanitizing failed".to_owned()),
        ..journey::nothing_yet(
            agent.ask::<_, Envelope<Task>>(routes::TASK, &agent.task_ask()).await.unwrap().job.unwrap(),
        )
    };
    let _: Envelope<protocol::ProgressReply> = agent.ask(routes::PROGRESS, &failed).await.unwrap();
    let why = operator::rackwright(&controller, "node why n1").await;
    assert!(why.out.contains("not every disk is erased: serial:QM0001"), "{}", why.out);
    let rows = operator::get(&controller, "/v1/erasures").await.unwrap();
    assert_eq!((only(&rows)["state"].as_str(), only(&rows)["certificate"].is_null()), (Some("failed"), true));
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_has_the_name_and_the_address_of_the_one_it_replaces() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let address = boot(&controller, 1).await.unwrap().address;
    let _old = journey::approved(&controller, 1, "control").await;
    let before = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    let other = boot(&controller, 2).await.unwrap().address;
    assert_ne!(address, other);
    let agent = Agent::new(&controller, 2);
    let _: protocol::HelloReply = agent.ask(routes::HELLO, &agent.hello(None)).await.unwrap();

    let refused = operator::rackwright(&controller, "node replace n1 n2").await;
    assert!(
        refused.code == Some(5) && refused.err.contains("OLD") && refused.err.contains("last heard"),
        "{refused:?}"
    );
    let refused = operator::rackwright(&controller, "node replace n1 n2 --confirm n1").await;
    assert!(refused.code == Some(4) && refused.err.contains("two servers can't be one node"), "{refused:?}");
    let done = operator::rackwright(&controller, "node replace n1 n2 --confirm n1 --force").await;
    assert_eq!(done.code, Some(0), "{done:?}");

    let rows = operator::get(&controller, "/v1/nodes").await.unwrap();
    let row = only(&rows);
    assert_eq!((&row["id"], &row["name"], &row["roles"]), (&before["id"], &json!("n1"), &json!(["control"])));
    assert_eq!(
        (row["mac"].as_str(), row["state"].as_str()),
        (Some(agent.boot.mac.as_str()), Some("discovered"))
    );
    assert_eq!(boot(&controller, 2).await.unwrap().address, address, "from its next request on");
    assert_ne!(boot(&controller, 1).await.unwrap().address, address, "the old one is anybody");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retired_node_keeps_no_address() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let address = boot(&controller, 1).await.unwrap().address;
    let release = format!("/v1/network/leases/{address}/release");
    let (agent, node, job) = retiring(&controller).await;
    let refused = operator::post(&controller, &release, json!({})).await.unwrap_err();
    assert!(refused.error.contains("a node keeps its address for good"), "{refused:?}");
    hands_in(&agent, &erasure(&agent, &agent.keys, node, job.job, 0)).await.unwrap();
    operator::post(&controller, &release, json!({})).await.unwrap();
    controller.stop().await;
}

#[tokio::test]
async fn a_held_node_is_planned_by_nobody_and_shown_as_held() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    journey::control_image(&controller).await;
    let (_agent, plan) = journey::planned(&controller, 1).await;
    let held = operator::rackwright(&controller, "node hold n1 --why noisy-fan").await;
    assert!(held.code == Some(0) && held.out.contains("held: noisy-fan"), "{held:?}");
    for words in ["node plan n1", "node retire n1", "node retry n1", &format!("apply {plan} --confirm n1")] {
        let refused = operator::rackwright(&controller, words).await;
        assert_eq!(refused.code, Some(4), "{words}: {refused:?}");
    }
    controller.stop().await;

    let controller = Controller::start(folder.path()).await;
    assert_eq!(operator::get(&controller, "/v1/nodes/n1").await.unwrap()["held"], "noisy-fan");
    let why = operator::rackwright(&controller, "node why n1").await;
    assert!(why.out.contains("noisy-fan") && why.out.contains("rackwright node release n1"), "{}", why.out);
    assert_eq!(operator::rackwright(&controller, "node release n1").await.code, Some(0));
    assert_eq!(operator::rackwright(&controller, "node plan n1").await.code, Some(0));
    controller.stop().await;
}

//! A server is tested by the command line, its agent and the real daemon; what was found outlives a restart of either.

use protocol::{Envelope, Part, ProgressReply, Task, TestJob, TestReport, routes};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::controller::Controller;
use crate::{journey, operator};

/// The `number`th server in the ramdisk, its test taken.
pub(crate) async fn testing(controller: &Controller, number: u8) -> (Agent, TestJob) {
    let agent = journey::approved(controller, number, "control").await;
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    operator::post(controller, &format!("/v1/nodes/n{number}/test"), json!({})).await.unwrap();
    let job = takes(&agent).await;
    (agent, job)
}

async fn takes(agent: &Agent) -> TestJob {
    let task: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let Task::Test(job) = task.body else { panic!("{:?}", task.body) };
    *job
}

/// Whether the controller wants it to go on.
pub(crate) async fn tells(agent: &Agent, report: &TestReport) -> bool {
    let reply: Envelope<ProgressReply> = agent.ask(routes::TESTED, report).await.unwrap();
    reply.body.go_on
}

async fn node(controller: &Controller) -> Value {
    operator::get(controller, "/v1/nodes/n1").await.unwrap()
}

#[tokio::test]
async fn from_the_command_line_to_a_result_that_outlives_the_daemon() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let agent = journey::approved(&controller, 1, "control").await;
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let none = operator::rackwright(&controller, "node test show n1").await;
    assert!(none.out.contains("n1 was never tested"), "{none:?}");
    let begun =
        operator::rackwright(&controller, "node test n1 --cpu --memory --network --for 90s --no-wait").await;
    assert_eq!(begun.code, Some(0), "{begun:?}");
    let job = takes(&agent).await;
    assert_eq!((job.seconds, job.parts), (90, [Part::Cpu, Part::Memory, Part::Network].into()));
    assert!(begun.out.contains(&job.job.to_string()), "{begun:?}");
    let twice = operator::rackwright(&controller, "node test n1").await;
    assert!(twice.code == Some(4) && twice.err.contains("n1 is testing"), "{twice:?}");

    let so_far = TestReport { part: Some(Part::Memory), milliseconds: 45_000, ..TestReport::begin(job.job) };
    assert!(tells(&agent, &so_far).await);
    let (status, bytes) = agent.get(routes::TEST_DATA).await.unwrap();
    assert_eq!((status, bytes.len()), (200, 8 << 20));
    let shown = operator::rackwright(&controller, "node test show n1").await;
    assert!(shown.out.contains("runs: memory, 50 %"), "{}", shown.out);
    // The daemon restarts, and the test goes on.
    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    let mut agent = agent;
    agent.finds(&controller);
    assert!(tells(&agent, &so_far).await);
    assert_eq!(node(&controller).await["state"], "testing");

    let mut last = TestReport { over: true, milliseconds: 90_000, ..so_far.clone() };
    last.fault(Part::Memory, "physical address 0x1000: wrong bits 0x0000000000000400", 3);
    assert!(!tells(&agent, &last).await);
    let row = node(&controller).await;
    assert_eq!((row["state"].as_str(), row["test"]["verdict"].as_str()), (Some("attention"), Some("faulty")));
    let why = operator::rackwright(&controller, "node why n1").await;
    assert!(why.out.contains("physical address 0x1000"), "{}", why.out);
    let shown = operator::rackwright(&controller, "node test show n1").await;
    assert!(shown.out.contains("failed: errors were counted") && shown.out.contains("(3x)"), "{}", shown.out);
    assert_eq!(agent.get(routes::TEST_DATA).await.unwrap().0, 404, "only while it is tested");
    let tests = operator::get(&controller, "/v1/nodes/n1/tests").await.unwrap();
    assert_eq!(tests[0]["faults"][0]["count"], 3);
    let bundle = operator::get(&controller, "/v1/support").await.unwrap();
    let files = bundle["files"].as_array().unwrap();
    let of_tests = files.iter().find(|file| file["name"] == "node-n1-tests.json").unwrap();
    assert!(of_tests["text"].as_str().unwrap().contains("physical address 0x1000"));
    // Seen: it is ready, and what was found is kept.
    let stopped = operator::rackwright(&controller, "node test stop n1").await;
    assert!(stopped.code == Some(0) && stopped.out.contains("n1 is ready"), "{stopped:?}");
    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    let row = node(&controller).await;
    assert_eq!((row["state"].as_str(), row["test"]["verdict"].as_str()), (Some("ready"), Some("faulty")));
    let journal = operator::rackwright(&controller, "event list --journal").await;
    assert!(journal.out.contains("test"), "{}", journal.out);
    controller.stop().await;
}

#[tokio::test]
async fn the_network_of_one_node_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (one, _) = testing(&controller, 1).await;
    let (other, job) = testing(&controller, 2).await;
    assert_eq!(one.get(routes::TEST_DATA).await.unwrap().0, 200);
    let (status, why) = other.get(routes::TEST_DATA).await.unwrap();
    assert!(status == 503 && String::from_utf8_lossy(&why).contains("wait for your turn"), "{status}");
    operator::post(&controller, "/v1/nodes/n2/test-stop", json!({})).await.unwrap();
    assert!(!tells(&other, &TestReport::begin(job.job)).await, "its agent hears of it");
    assert_eq!(other.get(routes::TEST_DATA).await.unwrap().0, 404);
    let refused = operator::post(&controller, "/v1/nodes/n2/test-stop", json!({})).await.unwrap_err();
    assert_eq!(refused.exit, 3, "{refused:?}");
    let bad = operator::post(&controller, "/v1/nodes/n2/test", json!({"seconds": 0})).await.unwrap_err();
    assert_eq!(bad.exit, 2, "{bad:?}");
    let bad = operator::post(&controller, "/v1/nodes/n2/test", json!({"parts": ["fan"]})).await.unwrap_err();
    assert_eq!(bad.exit, 2, "{bad:?}");
    controller.stop().await;
}

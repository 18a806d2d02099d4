//! A node is mended by hand, or worked at: the command line, the daemon as it ships, and the node's two agents.

use fleet::Event;
use protocol::{
    Envelope, HelloReply, HostKey, JobId, Report, Rescue, RescueJob, RescueReply, StateReply, Task, Ticket,
    Verdict, routes,
};
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::controller::Controller;
use crate::{journey, operator};

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDQbuRX4QAYWPr4Ujwgqe5YuVgGaCQpeDLuo/rYBSeko alice@lab";

/// Tells how the rescue goes; whether it goes on.
pub(crate) async fn goes_on(agent: &Agent, job: JobId, host_key: Option<HostKey>) -> bool {
    let told = Rescue { job, host_key, trouble: None };
    let reply: Envelope<RescueReply> = agent.ask(routes::RESCUE, &told).await.unwrap();
    reply.body.go_on
}

async fn job(agent: &Agent) -> RescueJob {
    let task: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let Task::Rescue(job) = task.body else { panic!("{:?}", task.body) };
    *job
}

/// The `number`th server, which waited in the ramdisk and is mended there.
pub(crate) async fn rescued(controller: &Controller, number: u8) -> (Agent, RescueJob) {
    let agent = journey::approved(controller, number, "control").await;
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    operator::post(controller, &format!("/v1/nodes/n{number}/rescue"), json!({"keys": KEY})).await.unwrap();
    let job = job(&agent).await;
    (agent, job)
}

/// A node that does what it is for; its installed agent, and what that reports.
async fn active(controller: &Controller) -> (Agent, Report) {
    journey::control_image(controller).await;
    let (mut agent, job) = journey::imaging(controller, 1).await;
    journey::verified(&agent, &job).await;
    journey::enrolled(controller, &mut agent).await;
    let report = journey::all_up(&journey::state(&agent).await);
    let _: Value = agent.ask(routes::REPORT, &report).await.unwrap();
    assert_eq!(state(controller).await, "active");
    (agent, report)
}

async fn state(controller: &Controller) -> String {
    let node = operator::get(controller, "/v1/nodes/n1").await.unwrap();
    node["state"].as_str().unwrap().to_owned()
}

/// The ramdisk that its ticket lets in.
async fn ramdisk(controller: &Controller, system: &Agent) -> Agent {
    let mut ramdisk = Agent::new(controller, 1);
    ramdisk.inventory = system.inventory.clone();
    let _: Value = system.ask(routes::TICKET, &Ticket { key: ramdisk.keys.public() }).await.unwrap();
    let first: HelloReply = ramdisk.ask(routes::HELLO, &ramdisk.hello(None)).await.unwrap();
    let Verdict::Approved { certificate } = ramdisk.prove(controller, &first).await.verdict else {
        panic!("its ticket was handed in")
    };
    ramdisk.holds(&certificate);
    ramdisk
}

#[tokio::test(flavor = "multi_thread")]
async fn an_active_node_is_mended_and_goes_on_as_what_it_was() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let keys = files.path().join("key.pub");
    std::fs::write(&keys, format!("{KEY}\n")).unwrap();
    let controller = Controller::start(folder.path()).await;
    let (mut system, report) = active(&controller).await;
    let words = format!("node rescue n1 --ssh-key {}", keys.display());
    let refused = operator::rackwright(&controller, &words).await;
    assert!(refused.code == Some(5) && refused.err.contains("--confirm=n1"), "{refused:?}");
    let begun = operator::rackwright(&controller, &format!("{words} --confirm n1")).await;
    assert_eq!(begun.code, Some(0), "{begun:?}");
    assert!(begun.out.contains("rescue") && begun.err.contains("node show n1"), "{begun:?}");
    let StateReply { orders, .. } = journey::state(&system).await;
    assert!(orders.last().is_some_and(|order| order.kind.redeploys()), "{orders:?}");

    let mut ramdisk = ramdisk(&controller, &system).await;
    let told = job(&ramdisk).await;
    assert_eq!(told.keys, [KEY.parse().unwrap()]);
    let host_key = HostKey::of([7; 32]);
    assert!(goes_on(&ramdisk, told.job, Some(host_key.clone())).await);
    assert!(!goes_on(&ramdisk, JobId([9; 8]), None).await, "of another rescue nothing goes on");

    // The controller is killed and started again: it is still being mended.
    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    ramdisk.finds(&controller);
    system.finds(&controller);
    assert!(goes_on(&ramdisk, told.job, Some(host_key.clone())).await);
    let shown = operator::rackwright(&controller, "node show n1").await;
    for want in ["ssh root@", &host_key.to_string(), "ssh-ed25519 alice@lab", "Enter opens a shell"] {
        assert!(shown.out.contains(want), "{want} in {}", shown.out);
    }
    let row = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    assert_eq!(
        (row["rescue"]["from"].as_str(), row["rescue"]["hostKey"].as_str()),
        (Some("active"), Some(host_key.to_string().as_str()))
    );
    let why = operator::rackwright(&controller, "node why n1").await;
    assert!(why.out.contains("rackwright node rescue n1 --end"), "{}", why.out);
    let refused = operator::rackwright(&controller, "node plan n1").await;
    assert!(refused.code == Some(4) && refused.err.contains("rescue"), "{refused:?}");

    let ended = operator::rackwright(&controller, "node rescue n1 --end").await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(!goes_on(&ramdisk, told.job, Some(host_key)).await);
    let task: Envelope<Task> = ramdisk.ask(routes::TASK, &ramdisk.task_ask()).await.unwrap();
    assert_eq!(task.body, Task::Reboot);
    assert_eq!(state(&controller).await, "returning");
    let _: Value = system.ask(routes::REPORT, &report).await.unwrap();
    assert_eq!(state(&controller).await, "active", "by the certificate that it had");
    let again = operator::rackwright(&controller, "node rescue n1 --end").await;
    assert!(again.code == Some(4) && again.err.contains("not in rescue"), "{again:?}");
    // Who could get in is written down for good.
    let journal = operator::rackwright(&controller, "event list --journal -o json").await;
    assert!(journal.out.contains("alice@lab") && journal.out.contains("/rescue"), "{}", journal.out);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_public_key_lets_nobody_in_and_changes_nothing() {
    let (folder, files) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = files.path().join("keys");
    let controller = Controller::start(folder.path()).await;
    let agent = journey::approved(&controller, 1, "control").await;
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let command = format!("command=\"sh\" {KEY}");
    for (text, want) in [
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n", "line 1: this is a private key"),
        (&command, "options before it are not taken"),
        (&format!("{KEY}\nssh-ed25519 AAAA\n"), "line 2: what follows ssh-ed25519 is not"),
        ("# nothing\n", "there are 0 public keys"),
    ] {
        std::fs::write(&file, text).unwrap();
        let words = format!("node rescue n1 --ssh-key {}", file.display());
        let refused = operator::rackwright(&controller, &words).await;
        assert!(refused.code != Some(0) && refused.err.contains(want), "{want}: {refused:?}");
        assert!(!refused.err.contains("b3Bl"), "a private key is shown to nobody");
        assert_eq!(state(&controller).await, "ready");
    }
    let missing = operator::rackwright(&controller, "node rescue n1 --ssh-key /nonexistent").await;
    assert_eq!(missing.code, Some(3), "{missing:?}");
    // Without any there is the console.
    let begun = operator::rackwright(&controller, "node rescue n1 -o json").await;
    assert_eq!(begun.code, Some(0), "{begun:?}");
    assert_eq!(job(&agent).await.keys, []);
    let shown = operator::rackwright(&controller, "node show n1").await;
    assert!(shown.out.contains("nobody by SSH"), "{}", shown.out);
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_in_service_is_nobodys_alarm_and_comes_back_when_it_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let (system, report) = active(&controller).await;
    let on = operator::rackwright(&controller, "node service n1 on --why DIMM-4").await;
    assert!(on.code == Some(0) && on.out.contains("servicing"), "{on:?}");
    for words in ["status", "node list", "node why n1"] {
        let shown = operator::rackwright(&controller, words).await;
        assert!(shown.out.contains("DIMM-4"), "{words}: {}", shown.out);
    }
    let row = operator::get(&controller, "/v1/nodes/n1").await.unwrap();
    assert_eq!(row["service"], "DIMM-4");
    controller.core.bring(Event::Tick).await.unwrap();
    let refused = operator::rackwright(&controller, "node rebuild n1 --confirm n1").await;
    assert!(refused.code == Some(4) && refused.err.contains("servicing"), "{refused:?}");
    let _: Value = system.ask(routes::REPORT, &report).await.unwrap();
    assert_eq!(state(&controller).await, "servicing");
    let off = operator::rackwright(&controller, "node service n1 off").await;
    assert!(off.code == Some(0) && off.out.contains("returning"), "{off:?}");
    let off = operator::rackwright(&controller, "node service n1 off").await;
    assert!(off.code == Some(4) && off.err.contains("not in service"), "{off:?}");
    let _: Value = system.ask(routes::REPORT, &report).await.unwrap();
    assert_eq!(state(&controller).await, "active");
    controller.stop().await;
}

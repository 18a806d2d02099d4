//! Those whose things nobody else may read or change: one that writes an image, one that runs, one that is captured, one whose
//! disks are erased, one that is mended by hand, one that is tested.

use fleet::Event;
use protocol::{
    CaptureJob, Envelope, EraseJob, HelloReply, IdentityFile, ImageJob, NodeId, RescueJob, Task, TestJob,
    TestReport, Verdict, routes,
};
use serde_json::json;

use crate::agent::Agent;
use crate::burning_in::testing;
use crate::capturing::capturing;
use crate::controller::Controller;
use crate::rescuing::{goes_on, rescued};
use crate::retiring::erasing;
use crate::{image, journey, operator};

/// Numbers of the servers, beyond those of the principals.
const WRITES: u8 = 140;
const RUNS: u8 = 141;
const CAPTURED: u8 = 142;
const ERASES: u8 = 143;
const RESCUED: u8 = 144;
const TESTED: u8 = 145;
/// A NIC of the one that runs by which it does not boot.
pub(super) const SECOND_NIC: &str = "52:54:00:aa:00:01";

pub(super) struct Victims {
    pub(super) writes: (Agent, ImageJob),
    pub(super) runs: Agent,
    pub(super) runs_node: NodeId,
    pub(super) ramdisk_key: protocol::Key,
    pub(super) captured: (Agent, CaptureJob),
    pub(super) erases: (Agent, EraseJob),
    pub(super) rescued: (Agent, RescueJob),
    pub(super) tested: (Agent, TestJob),
    /// What no answer to anybody else may hold.
    pub(super) secrets: Vec<String>,
}

impl Victims {
    pub(super) async fn settle(controller: &Controller) -> Self {
        for name in ["control", "secret"] {
            let about = image::about(name, &["control"], 3 << 20);
            operator::import(controller, image::with(about, &[0, 1, 2], &image::key()).1).await.unwrap();
        }
        let writes = writing(controller, WRITES, "secret").await;
        let mut runs = writing(controller, RUNS, "control").await;
        let ramdisk_key = runs.0.keys.public();
        journey::verified(&runs.0, &runs.1).await;
        let node = journey::enrolled(controller, &mut runs.0).await.node;
        let files = ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_rsa_key"].map(|path| IdentityFile {
            path: path.to_owned(),
            mode: 0o600,
            content: "Q0FOQVJZSE9TVEtFWQ==".to_owned(),
        });
        let _: serde_json::Value = runs.0.ask(routes::ESCROW, &files).await.unwrap();
        let report = journey::all_up(&journey::state(&runs.0).await);
        let _: serde_json::Value = runs.0.ask(routes::REPORT, &report).await.unwrap();
        controller.core.bring(Event::Logs { node, unit: "ssh.service".to_owned(), lines: 5 }).await.unwrap();
        let captured = capturing(controller, CAPTURED, "theirs", "as-is").await;
        let erases = erasing(controller, ERASES).await;
        let rescued = rescued(controller, RESCUED).await;
        let tested = testing(controller, TESTED).await;
        let secrets = ["Q0FOQVJZSE9TVEtFWQ", SECOND_NIC, &format!("SYS{RUNS}"), &format!("SYS{WRITES}")];
        let secrets = secrets.map(ToOwned::to_owned).to_vec();
        Self {
            writes,
            runs: runs.0,
            runs_node: node,
            ramdisk_key,
            captured,
            erases,
            rescued,
            tested,
            secrets,
        }
    }

    /// They go on as if nobody had tried anything.
    pub(super) async fn are_what_they_were(&self, controller: &Controller) {
        let (writes, job) = &self.writes;
        assert!(journey::progress(writes, job, 1 << 20).await);
        assert_eq!(writes.get(&routes::manifest(&job.image)).await.unwrap().0, 200);
        let (captured, capture) = &self.captured;
        let told =
            crate::capturing::tell(captured, &crate::capturing::windows(capture, 0, &[])).await.unwrap();
        assert!(told.go_on);
        let (erases, erase) = &self.erases;
        let task: Envelope<Task> = erases.ask(routes::TASK, &erases.task_ask()).await.unwrap();
        assert!(matches!(&task.body, Task::Erase(job) if job.disks == erase.disks), "{:?}", task.body);
        let (rescued, rescue) = &self.rescued;
        assert!(goes_on(rescued, rescue.job, None).await, "nobody has ended its rescue");
        let (tested, test) = &self.tested;
        assert!(crate::burning_in::tells(tested, &TestReport::begin(test.job)).await, "its test goes on");
        let order = journey::state(&self.runs).await.orders;
        assert_eq!(order.len(), 1, "its own order is there for it");
        let world = controller.core.world();
        let owner = |mac: &str| world.fleet.owner(&mac.parse().unwrap()).map(|node| node.id);
        assert_eq!(owner(SECOND_NIC), Some(self.runs_node));
        assert_eq!(owner(self.runs.boot.mac.as_str()), Some(self.runs_node));
        // It boots the agent once more, by its other NIC: nobody has made a clash of that.
        let mut again = Agent::new(controller, RUNS);
        again.inventory = self.runs.inventory.clone();
        let reply: HelloReply = again.ask(routes::HELLO, &again.hello(None)).await.unwrap();
        let Verdict::Waiting { reason } = &reply.verdict else { panic!("{:?}", reply.verdict) };
        assert!(reason.contains("known here") && reply.node == self.runs_node, "{reason}");
    }
}

/// A server with two NICs that writes this image.
pub(super) async fn writing(controller: &Controller, number: u8, image: &str) -> (Agent, ImageJob) {
    let mut agent = journey::approved(controller, number, "control").await;
    if number == RUNS {
        let second = protocol::Nic { mac: SECOND_NIC.parse().unwrap(), ..agent.inventory.nics[0].clone() };
        agent.inventory.nics.push(second);
    }
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let path = format!("/v1/nodes/n{number}/plan");
    let plan = operator::post(controller, &path, json!({"image": image})).await.unwrap();
    let path = format!("/v1/plans/{}/apply", plan["id"].as_str().unwrap());
    operator::post(controller, &path, json!({"confirm": format!("n{number}")})).await.unwrap();
    let job = journey::take(&agent).await;
    (agent, job)
}

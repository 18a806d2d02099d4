//! The way of a server, step by step, for tests that begin somewhere on it.

use pack::Manifest;
use protocol::{
    Enrol, Enrolled, Envelope, HelloReply, ImageJob, Phase, Progress, ProgressReply, Proof, Receipt, Report,
    Signature, StateAsk, StateReply, Task, UnitReport, Verdict, enrol_proof, routes,
};
use serde_json::json;

use crate::agent::{Agent, Keys};
use crate::controller::Controller;
use crate::{image, operator};

/// The `number`th server, approved and in the ramdisk with its certificate: node `n<number>`, with this role.
pub(crate) async fn approved(controller: &Controller, number: u8, role: &str) -> Agent {
    let mut agent = Agent::new(controller, number);
    let first: HelloReply = agent.ask(routes::HELLO, &agent.hello(None)).await.unwrap();
    let name = format!("n{number}");
    let approve = json!({"name": name, "roles": [role]});
    let path = format!("/v1/nodes/{}/approve", agent.boot.mac);
    operator::post(controller, &path, approve).await.unwrap();
    let second = agent.prove(controller, &first).await;
    let Verdict::Approved { certificate } = second.verdict else { panic!("{:?}", second.verdict) };
    agent.holds(&certificate);
    agent
}

/// The same, looked at and with a plan that is not applied: the plan's id.
pub(crate) async fn planned(controller: &Controller, number: u8) -> (Agent, String) {
    let agent = approved(controller, number, "control").await;
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let plan = operator::post(controller, &format!("/v1/nodes/n{number}/plan"), json!({})).await.unwrap();
    (agent, plan["id"].as_str().unwrap().to_owned())
}

/// The same, with the plan applied and the job taken.
pub(crate) async fn imaging(controller: &Controller, number: u8) -> (Agent, ImageJob) {
    let (agent, plan) = planned(controller, number).await;
    let confirm = json!({"confirm": format!("n{number}")});
    operator::post(controller, &format!("/v1/plans/{plan}/apply"), confirm).await.unwrap();
    let job = take(&agent).await;
    (agent, job)
}

/// Asks for work and is given the job.
pub(crate) async fn take(agent: &Agent) -> ImageJob {
    let task: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let Task::Image(job) = task.body else { panic!("{:?}", task.body) };
    *job
}

/// Reports so many bytes written; whether the job goes on.
pub(crate) async fn progress(agent: &Agent, job: &ImageJob, done_bytes: u64) -> bool {
    let fetched_bytes = done_bytes;
    let progress = Progress { done_bytes, fetched_bytes, ..nothing_yet(job.job) };
    let reply: Envelope<ProgressReply> = agent.ask(routes::PROGRESS, &progress).await.unwrap();
    reply.body.go_on
}

/// A job of 3 MiB of which nothing is done.
pub(crate) fn nothing_yet(job: protocol::JobId) -> Progress {
    Progress {
        job,
        phase: Phase::Write,
        total_bytes: 3 << 20,
        done_bytes: 0,
        same_bytes: 0,
        read_back_bytes: 0,
        fetched_bytes: 0,
        failed: None,
    }
}

/// Hands the receipt in.
pub(crate) async fn verified(agent: &Agent, job: &ImageJob) -> Task {
    let receipt = receipt(agent, job).await;
    let reply: Envelope<Task> = agent.ask(routes::VERIFIED, &receipt).await.unwrap();
    reply.body
}

/// What the agent hands in, signed with the key that it holds.
pub(crate) async fn receipt(agent: &Agent, job: &ImageJob) -> Receipt {
    receipt_for(agent, asked(agent).await, job)
}

/// The same, of a node whose id is known.
pub(crate) fn receipt_for(agent: &Agent, node: protocol::NodeId, job: &ImageJob) -> Receipt {
    let proof = Proof {
        root: crate::image::root(),
        serial: "QM0001".to_owned(),
        wwn: String::new(),
        durable_bytes: 3 << 20,
        key: agent.keys.public(),
        signature: Signature([0; 64]),
    };
    let mut receipt = Receipt {
        job: job.job,
        image: job.image,
        disk: job.target.disk.clone(),
        total_bytes: 3 << 20,
        written_bytes: 3 << 20,
        same_bytes: 0,
        fetched_bytes: 3 << 20,
        milliseconds: 1000,
        verify: job.verify,
        proof: Some(Box::new(proof)),
    };
    let statement = receipt.statement(&node).unwrap();
    if let Some(proof) = &mut receipt.proof {
        proof.signature = agent.keys.sign(statement.as_bytes());
    }
    receipt
}

/// The first boot: a key of its own, enrolled with the deploy certificate; from then on it holds the other one.
pub(crate) async fn enrolled(controller: &Controller, agent: &mut Agent) -> Enrolled {
    let own = Keys::new();
    let node = asked(agent).await;
    let proof = own.sign(&enrol_proof(&controller.ca.pin(), &node, &own.public()));
    let enrol = Enrol {
        protocol: protocol::VERSION,
        key: own.public(),
        proof,
        boot_id: "b00t".to_owned(),
        uptime_seconds: 20,
    };
    let enrolled: Enrolled = agent.ask(routes::ENROL, &enrol).await.unwrap();
    agent.keys = own;
    agent.holds(&enrolled.certificate);
    enrolled
}

/// The id of a server in the ramdisk, as the controller addresses it.
async fn asked(agent: &Agent) -> protocol::NodeId {
    let task: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    task.node
}

/// Asks for the state document.
pub(crate) async fn state(agent: &Agent) -> StateReply {
    let ask = StateAsk::default();
    let reply: Envelope<StateReply> = agent.ask(routes::STATE, &ask).await.unwrap();
    reply.body
}

/// A report of a node that has made its document true.
pub(crate) fn all_up(state: &StateReply) -> Report {
    let document = state.document.as_ref().unwrap();
    let unit = |name: &String| UnitReport {
        name: name.clone(),
        load: "loaded".to_owned(),
        active: "active".to_owned(),
        sub: "running".to_owned(),
        result: "success".to_owned(),
        since_ms: 0,
        log: Vec::new(),
    };
    let units = document.units.iter().map(|wanted| unit(&wanted.name)).collect();
    Report { generation: document.generation, units, ..Report::default() }
}

/// An image for control nodes, imported.
pub(crate) async fn control_image(controller: &Controller) -> Manifest {
    let (manifest, bytes) = image::small("control", &["control"]);
    operator::import(controller, bytes).await.unwrap();
    manifest
}

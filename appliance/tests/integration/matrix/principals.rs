//! Everybody who may come to the agents' door: with what certificate, and in which state their node is.

use std::time::{Duration, SystemTime};

use fleet::certificate::{Certificate, Stage};
use fleet::{Event, Time};
use protocol::{CaptureJob, Envelope, EraseJob, ImageJob, JobId, NodeId, Task, TestJob, routes};
use serde_json::json;

use super::others::Asker;
use super::victims::writing;
use crate::agent::Agent;
use crate::burning_in::testing;
use crate::capturing::capturing;
use crate::controller::Controller;
use crate::journey::{self, approved, enrolled, state, verified};
use crate::operator;
use crate::retiring::erasing;

/// What a certificate is good for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Opens {
    /// It does not get through the handshake.
    Nothing,
    /// The hello, which needs none; everything else is answered so.
    Hello(u16, &'static str),
    /// Only the enrolment, to have its certificate renewed.
    Late,
    /// The routes of the ramdisk.
    Deploy,
    /// Those of the installed system.
    Run,
}

pub(super) struct Principal {
    pub(super) name: &'static str,
    pub(super) agent: Agent,
    pub(super) node: Option<NodeId>,
    pub(super) opens: Opens,
    pub(super) job: Job,
}

/// What its node is at.
pub(super) enum Job {
    Nothing,
    Image(Box<ImageJob>),
    Capture(Box<CaptureJob>),
    Erase(Box<EraseJob>),
    Test(Box<TestJob>),
}

impl Principal {
    /// Whose rows are its own.
    pub(super) fn asker(&self) -> Asker {
        Asker { node: self.node, mac: self.agent.boot.mac.to_string() }
    }

    fn new(name: &'static str, agent: Agent, opens: Opens) -> Self {
        Self { name, agent, node: None, opens, job: Job::Nothing }
    }

    /// Of the `number`th server's node.
    fn of(mut self, controller: &Controller, number: u8) -> Self {
        let mac = crate::agent::mac(number);
        self.node = controller.core.world().fleet.owner(&mac).map(|node| node.id);
        self
    }

    fn at(self, job: Job) -> Self {
        Self { job, ..self }
    }

    /// The job that it may name.
    pub(super) fn job(&self) -> JobId {
        match &self.job {
            Job::Nothing => JobId([7; 8]),
            Job::Image(job) => job.job,
            Job::Capture(job) => job.job,
            Job::Erase(job) => job.job,
            Job::Test(job) => job.job,
        }
    }
}

pub(super) async fn principals(controller: &Controller, foreign: &Controller) -> Vec<Principal> {
    let mut all = strangers(controller, foreign);
    all.extend(voided(controller).await);
    all.extend(in_the_ramdisk(controller).await);
    all.extend(installed(controller).await);
    all
}

fn strangers(controller: &Controller, foreign: &Controller) -> Vec<Principal> {
    let unknown = Opens::Hello(403, "not issued by this controller");
    let with = |number, certify: &dyn Fn(&mut Agent)| {
        let mut agent = Agent::new(controller, number);
        certify(&mut agent);
        agent
    };
    let bare = Agent::new(controller, 1);
    let own = with(2, &|agent| agent.signs_itself());
    let other = with(3, &|agent| agent.forges(&foreign.ca, Stage::Deploy));
    let deploy = with(4, &|agent| agent.forges(&controller.ca, Stage::Deploy));
    let run = with(5, &|agent| agent.forges(&controller.ca, Stage::Run));
    vec![
        Principal::new("nobody", bare, Opens::Hello(401, "needs a client certificate")),
        Principal::new("a certificate that signed itself", own, Opens::Nothing),
        Principal::new("a certificate of another site", other, Opens::Nothing),
        Principal::new("a deploy certificate that nobody recorded", deploy, unknown.clone()),
        Principal::new("a run certificate that nobody recorded", run, unknown),
    ]
}

/// Certificates that were good once.
async fn voided(controller: &Controller) -> Vec<Principal> {
    let expired = Opens::Hello(403, "has expired");
    let revoked = Opens::Hello(403, "was revoked");
    let mut late = approved(controller, 10, "control").await;
    expire(controller, &mut late, Stage::Deploy, 0).await;
    let long_off = off_for(controller, 11, 40).await;
    let of_long_off = controller.core.world().fleet.owner(&long_off.boot.mac).unwrap().id;
    // It is told that it is too late, and that is remembered once.
    controller.core.bring(Event::Lapsed { node: of_long_off }).await.unwrap();
    let off = off_for(controller, 14, 20).await;
    let older = approved(controller, 12, "control").await;
    let _newer = approved(controller, 12, "control").await;
    let sent_away = approved(controller, 13, "control").await;
    operator::post(controller, "/v1/nodes/n13/reject", json!({})).await.unwrap();
    vec![
        Principal::new("an expired deploy certificate", late, expired.clone()).of(controller, 10),
        Principal::new("a run certificate that expired long ago", long_off, expired).of(controller, 11),
        Principal::new("an expired run certificate", off, Opens::Late).of(controller, 14),
        Principal::new("a certificate of an older generation", older, revoked.clone()).of(controller, 12),
        Principal::new("a node that was rejected", sent_away, revoked).of(controller, 13),
    ]
}

/// The `number`th server, installed, whose certificate ended so many days ago.
async fn off_for(controller: &Controller, number: u8, days: u64) -> Agent {
    let (mut agent, job) = writing(controller, number, "control").await;
    verified(&agent, &job).await;
    enrolled(controller, &mut agent).await;
    expire(controller, &mut agent, Stage::Run, days).await;
    agent
}

/// Gives an agent a certificate of its node that is over, and recorded as such.
async fn expire(controller: &Controller, agent: &mut Agent, stage: Stage, days: u64) {
    let world = controller.core.world();
    let recorded = world.fleet.certificates.get(&agent.fingerprint()).unwrap().clone();
    let hour = Duration::from_secs(3600);
    let over = SystemTime::now() - hour - Duration::from_secs(days * 86_400);
    let leaf = appliance::ca::Leaf {
        key: recorded.key,
        node: recorded.node,
        stage,
        generation: recorded.generation,
        not_before: over - hour,
        not_after: over,
    };
    let issued = controller.ca.issue(&leaf).unwrap();
    let since = over.duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let until = Time(u64::try_from(since.as_millis()).unwrap());
    let certificate = Certificate { fingerprint: issued.fingerprint, until, ..recorded };
    controller.core.bring(Event::Issued(certificate)).await.unwrap();
    agent.holds(&issued.chain_pem);
}

/// Stage deploy, in every state in which a node has such a certificate.
async fn in_the_ramdisk(controller: &Controller) -> Vec<Principal> {
    let new = |name, agent, number| Principal::new(name, agent, Opens::Deploy).of(controller, number);
    let inspecting = approved(controller, 20, "control").await;
    let ready = approved(controller, 21, "control").await;
    let _: Envelope<Task> = ready.ask(routes::TASK, &ready.task_ask()).await.unwrap();
    let (waits, _) = planned_with(controller, 22).await;
    let (images, job) = writing(controller, 23, "control").await;
    let (stuck, lost) = writing(controller, 24, "control").await;
    let failed = protocol::Progress { failed: Some("the disk".to_owned()), ..journey::nothing_yet(lost.job) };
    let _: serde_json::Value = stuck.ask(routes::PROGRESS, &failed).await.unwrap();
    let (boots, done) = writing(controller, 25, "control").await;
    verified(&boots, &done).await;
    let (reads, capture) = capturing(controller, 26, "own", "generalize").await;
    let (erases, erase) = erasing(controller, 27).await;
    let (tested, test) = testing(controller, 28).await;
    vec![
        new("deploy, inspecting", inspecting, 20),
        new("deploy, ready", ready, 21),
        new("deploy, planned", waits, 22),
        new("deploy, imaging", images, 23).at(Job::Image(Box::new(job))),
        new("deploy, attention", stuck, 24).at(Job::Image(Box::new(lost))),
        new("deploy, booting", boots, 25).at(Job::Image(Box::new(done))),
        new("deploy, capturing", reads, 26).at(Job::Capture(Box::new(capture))),
        new("deploy, retiring", erases, 27).at(Job::Erase(Box::new(erase))),
        new("deploy, testing", tested, 28).at(Job::Test(Box::new(test))),
    ]
}

async fn planned_with(controller: &Controller, number: u8) -> (Agent, String) {
    let agent = approved(controller, number, "control").await;
    let _: Envelope<Task> = agent.ask(routes::TASK, &agent.task_ask()).await.unwrap();
    let path = format!("/v1/nodes/n{number}/plan");
    let plan = operator::post(controller, &path, json!({"image": "control"})).await.unwrap();
    (agent, plan["id"].as_str().unwrap().to_owned())
}

/// Stage run, in every state in which a node has such a certificate.
async fn installed(controller: &Controller) -> Vec<Principal> {
    let mut all = Vec::new();
    for (number, name) in [(30, "run, enrolling"), (31, "run, active"), (32, "run, draining for a rebuild")] {
        let (mut agent, job) = writing(controller, number, "control").await;
        verified(&agent, &job).await;
        enrolled(controller, &mut agent).await;
        if number > 30 {
            let report = journey::all_up(&state(&agent).await);
            let _: serde_json::Value = agent.ask(routes::REPORT, &report).await.unwrap();
        }
        if number == 32 {
            let path = format!("/v1/nodes/n{number}/plan");
            let plan = operator::post(controller, &path, json!({"image": "control"})).await.unwrap();
            let path = format!("/v1/plans/{}/apply", plan["id"].as_str().unwrap());
            operator::post(controller, &path, json!({"confirm": format!("n{number}")})).await.unwrap();
        }
        all.push(
            Principal::new(name, agent, Opens::Run).of(controller, number).at(Job::Image(Box::new(job))),
        );
    }
    all
}

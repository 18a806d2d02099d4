//! S-34: the site CA is changed while images are written. No job fails, nobody is locked out, and old certificates are refused after
//! the last step.

use std::path::Path;

use appliance::ca::pin_of;
use protocol::{
    CaPin, Enrol, Enrolled, Envelope, ImageJob, NodeId, StateAsk, StateReply, Task, enrol_proof, routes,
};
use rustls::pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::agent::{Agent, Keys};
use crate::controller::Controller;
use crate::journey::{all_up, approved, control_image, imaging, planned, progress, state, verified};
use crate::operator::{self, rackwright};
use crate::witness;

/// How many of each kind there are.
const EACH: u8 = 6;

/// A server with the CA that it trusts, by its pin.
struct Server {
    agent: Agent,
    node: NodeId,
    pin: CaPin,
}

impl Server {
    fn new(controller: &Controller, agent: Agent) -> Self {
        let node = controller.core.world().fleet.owner(&agent.boot.mac).unwrap().id;
        Self { agent, node, pin: controller.ca.pin() }
    }

    /// Enrols this key, or renews its own, as the agent does: by the CA that it trusts.
    async fn enrols(&mut self, own: Option<Keys>) -> Enrolled {
        let keys = own.as_ref().unwrap_or(&self.agent.keys);
        let proof = keys.sign(&enrol_proof(&self.pin, &self.node, &keys.public()));
        let (protocol, key, boot_id) = (protocol::VERSION, keys.public(), "b00t".to_owned());
        let enrol = Enrol { protocol, key, proof, boot_id, uptime_seconds: 20 };
        let enrolled: Enrolled = self.agent.ask(routes::ENROL, &enrol).await.unwrap();
        if let Some(own) = own {
            self.agent.keys = own;
        }
        self.agent.holds(&enrolled.certificate);
        enrolled
    }

    /// Its first boot, until everything of it is up.
    async fn comes_up(&mut self) {
        self.enrols(Some(Keys::new())).await;
        let reply = state(&self.agent).await;
        let _: Value = self.agent.ask(routes::REPORT, &all_up(&reply)).await.unwrap();
    }

    /// Does what it is told about the CA, until it is told nothing.
    async fn moves(&mut self) {
        while let Some(told) = self.told().await {
            let enrolled = self.enrols(None).await;
            assert_eq!(enrolled.ca, Some(told));
            let chain = self.agent.certificate.clone().unwrap();
            self.agent.trusts(chain.last().unwrap().clone());
            self.pin = told;
        }
    }

    async fn told(&self) -> Option<CaPin> {
        let ask = StateAsk { have: u64::MAX, done_order: u64::MAX, ..StateAsk::default() };
        let reply: Envelope<StateReply> = self.agent.ask(routes::STATE, &ask).await.unwrap();
        reply.body.ca
    }

    async fn writes(&self, job: &ImageJob) {
        assert!(progress(&self.agent, job, 1 << 20).await, "its job goes on");
        assert_eq!(verified(&self.agent, job).await, Task::Reboot);
    }
}

async fn shown(controller: &Controller) -> Value {
    operator::get(controller, "/v1/ca").await.unwrap()
}

async fn waiting(controller: &Controller) -> usize {
    shown(controller).await["waiting"].as_array().unwrap().len()
}

/// Servers of every kind: at work in their system, at work in the ramdisk, and written and not booted since.
async fn rack(controller: &Controller) -> (Vec<Server>, Vec<(Server, ImageJob)>, Vec<Server>) {
    let (mut active, mut writing, mut written) = (Vec::new(), Vec::new(), Vec::new());
    for number in 1..=EACH {
        let (agent, job) = imaging(controller, number).await;
        let mut server = Server::new(controller, agent);
        server.writes(&job).await;
        server.comes_up().await;
        active.push(server);
        let (agent, job) = imaging(controller, EACH + number).await;
        writing.push((Server::new(controller, agent), job));
        let (agent, job) = imaging(controller, 2 * EACH + number).await;
        let server = Server::new(controller, agent);
        server.writes(&job).await;
        written.push(server);
    }
    (active, writing, written)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ca_is_changed_while_images_are_written_and_nobody_notices() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    control_image(&controller).await;
    let (mut active, writing, written) = rack(&controller).await;
    let (ready, _) = planned(&controller, 40).await;
    let old: CertificateDer<'static> = controller.ca.certificate();
    let (stale, its_key) = (active[0].agent.certificate.clone(), active[0].agent.keys.public());

    let begun = rackwright(&controller, "key ca rotate").await;
    assert!(begun.code == Some(0) && begun.out.contains("also trusted"), "{begun:?}");
    assert_ne!(controller.ca.certificate(), old);
    let again = rackwright(&controller, "key ca rotate").await;
    assert!(again.code == Some(4) && again.err.contains("being changed since"), "{again:?}");
    assert_eq!(waiting(&controller).await, usize::from(3 * EACH + 1));

    who_waits_for_work_says_hello_again(&controller, &ready).await;

    // Half of the jobs end now; then the daemon is started again in the middle of all.
    let half = usize::from(EACH / 2);
    for (server, job) in writing.iter().take(half) {
        server.writes(job).await;
    }
    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    assert_eq!(controller.ca.pins().len(), 2);
    let mut all = written;
    for (at, (mut server, job)) in writing.into_iter().enumerate() {
        server.agent.finds(&controller);
        if at >= half {
            server.writes(&job).await;
        }
        all.push(server);
    }
    for server in &mut all {
        server.agent.finds(&controller);
        server.comes_up().await;
    }
    active.iter_mut().for_each(|server| server.agent.finds(&controller));
    all.extend(active);

    let early = rackwright(&controller, "key ca rotate --finish --confirm lab").await;
    assert!(early.code == Some(4) && early.err.contains("still depend"), "{early:?}");
    for server in &mut all {
        server.moves().await;
        assert_eq!(server.pin, controller.ca.pin());
    }
    let left = shown(&controller).await;
    assert_eq!(left["waiting"].as_array().unwrap().len(), 1, "the ramdisk that did not say hello: {left}");
    let unsure = rackwright(&controller, "key ca rotate --finish --force n19").await;
    assert!(unsure.code != Some(0) && unsure.err.contains("--confirm lab"), "{unsure:?}");
    let name = left["waiting"][0]["node"].as_str().unwrap();
    let done = rackwright(&controller, &format!("key ca rotate --finish --force {name} --confirm lab")).await;
    assert!(done.code == Some(0) && !done.out.contains("also trusted"), "{done:?}");

    for server in &all {
        let reply = state(&server.agent).await;
        assert!(reply.ca.is_none() && reply.document.is_some());
    }
    let first = all.iter_mut().find(|server| server.agent.keys.public() == its_key).unwrap();
    nothing_failed_and_nothing_old_is_believed(&controller, first, stale, old).await;
    controller.stop().await;
}

/// And what writes an image is left alone.
async fn who_waits_for_work_says_hello_again(controller: &Controller, ready: &Agent) {
    let refused = ready.ask::<_, Value>(routes::TASK, &ready.task_ask()).await.unwrap_err();
    assert!(refused.0 == 403 && refused.1.error.contains("expired"), "{refused:?}");
    let newcomer = approved(controller, 41, "control").await;
    let _: Envelope<Task> = newcomer.ask(routes::TASK, &newcomer.task_ask()).await.unwrap();
}

async fn nothing_failed_and_nothing_old_is_believed(
    controller: &Controller,
    first: &mut Server,
    stale: Option<Vec<CertificateDer<'static>>>,
    old: CertificateDer<'static>,
) {
    let jobs = operator::get(controller, "/v1/jobs").await.unwrap();
    let failed = jobs.as_array().unwrap().iter().filter(|job| job["state"] == "failed").count();
    assert_eq!(failed, 0, "{jobs}");
    // An old certificate with its own key, and a server that believes in the old CA.
    let kept = std::mem::replace(&mut first.agent.certificate, stale);
    let answer = first.agent.post(routes::STATE, b"{}".to_vec()).await;
    assert!(answer.is_err(), "an old certificate: {answer:?}");
    first.agent.certificate = kept;
    first.agent.trusts(old);
    let answer = first.agent.post(routes::STATE, b"{}".to_vec()).await;
    assert!(answer.is_err(), "it does not show itself under the old CA: {answer:?}");
    let kinds = operator::get(controller, "/v1/journal?limit=1000").await.unwrap();
    let told = kinds.as_array().unwrap().iter().filter(|row| row["kind"] == "ca").count();
    assert_eq!(told, 2, "begun and finished are in the journal");
}

fn files(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join("ca")).unwrap().flatten();
    let mut names = entries.map(|entry| entry.file_name().into_string().unwrap()).collect::<Vec<_>>();
    names.retain(|name| name.ends_with(".pem"));
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_between_any_two_steps_the_files_hold_what_the_state_trusts() {
    let (folder, aside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (ca, kept) = (folder.path().join("ca"), aside.path().join("ca"));
    let controller = Controller::start(folder.path()).await;
    let first = controller.ca.pin();
    // Killed when the new root was durable and not yet named.
    controller.ca.make_next(std::time::SystemTime::now()).unwrap();
    controller.stop().await;
    let controller = Controller::start(folder.path()).await;
    assert_eq!(controller.ca.pins(), [first]);
    operator::post(&controller, "/v1/ca/rotate", json!({})).await.unwrap();
    let second = controller.ca.pin();
    assert_eq!(controller.ca.pins(), [second, first]);
    controller.stop().await;
    copy(&ca, &kept);
    let state = std::fs::read(folder.path().join("state.db")).unwrap();
    let controller = Controller::start(folder.path()).await;
    assert_eq!(controller.ca.pins(), [second, first]);
    // Without the typed name nothing is refused.
    let bare = operator::post(&controller, "/v1/ca/finish", json!({})).await.unwrap_err();
    assert!(format!("{bare:?}").contains("--confirm=lab"), "{bare:?}");
    operator::post(&controller, "/v1/ca/finish", json!({"confirm": "lab"})).await.unwrap();
    assert_eq!(
        (controller.ca.pins(), files(folder.path()).len()),
        (vec![second], 2),
        "one root, its issuers"
    );
    controller.stop().await;
    // Killed when it was decided, before a file was touched.
    std::fs::remove_dir_all(&ca).unwrap();
    copy(&kept, &ca);
    let controller = Controller::start(folder.path()).await;
    assert_eq!((controller.ca.pins(), files(folder.path()).len()), (vec![second], 2));
    let text = std::fs::read_to_string(ca.join("site-ca.pem")).unwrap();
    assert_eq!(pin_of(&text).unwrap(), second.to_string(), "the old key is gone");
    controller.stop().await;
    // What was saved in the middle is in the middle, on another machine.
    let elsewhere = tempfile::tempdir().unwrap();
    copy(&kept, &elsewhere.path().join("ca"));
    std::fs::write(elsewhere.path().join("state.db"), state).unwrap();
    for key in ["images.key", "journal.key"] {
        drop(std::fs::copy(ca.join(key), elsewhere.path().join("ca").join(key)));
    }
    let controller = Controller::start(elsewhere.path()).await;
    assert_eq!(controller.ca.pins(), [second, first]);
    operator::post(&controller, "/v1/ca/abort", json!({})).await.unwrap();
    assert_eq!(controller.ca.pins(), [first], "nobody had moved: it is over at once");
    assert_eq!(files(elsewhere.path()).len(), 2);
    assert_eq!(witness::integrity(elsewhere.path()), "ok");
    controller.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_booted_before_is_admitted_by_the_code_on_its_own_screen() {
    let folder = tempfile::tempdir().unwrap();
    let controller = Controller::start(folder.path()).await;
    let old = controller.ca.pin();
    let agent = Agent::new(&controller, 1);
    let first: protocol::HelloReply = agent.ask(routes::HELLO, &agent.hello(None)).await.unwrap();
    rackwright(&controller, "key ca rotate").await;
    let (key, sign) = (agent.keys.public(), |message: &[u8]| agent.keys.sign(message));
    let proof = sign(&protocol::hello_proof(&old, &first.node, &key, &first.nonce));
    let _: protocol::HelloReply = agent.ask(routes::HELLO, &agent.hello(Some(proof))).await.unwrap();
    let code = protocol::Code::of(&old, &key, &first.nonce).to_string();
    assert_eq!(operator::get(&controller, "/v1/nodes/n1").await.unwrap()["code"], json!(code));
    let ran = rackwright(&controller, &format!("node approve {code} --role control")).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let reply: protocol::HelloReply = agent.ask(routes::HELLO, &agent.hello(Some(proof))).await.unwrap();
    assert!(matches!(reply.verdict, protocol::Verdict::Approved { .. }));
    assert_eq!(reply.ca, Some(controller.ca.pin()), "and told which one to trust");
    controller.stop().await;
}

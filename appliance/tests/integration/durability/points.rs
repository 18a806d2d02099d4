//! `rackwright serve` is killed once at every single call that it makes to keep or to send something, on a server's way from its first
//! hello to active: right before the first write to the data base, the second, …; and the same with every sync, rename and packet.
//!
//! `RACKWRIGHT_POINTS=all` tries all of them; an ordinary run some that are spread over the way.

use std::path::Path;
use std::time::Duration;

use appliance::journal::{Place, check, head};
use protocol::{
    CaPin, Enrol, Enrolled, Envelope, HelloReply, ProgressReply, StateAsk, StateReply, Task, Verdict,
    enrol_proof, hello_proof, routes,
};
use rusqlite::Connection;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::killed;
use crate::agent::{Agent, Keys};
use crate::controller::Controller;
use crate::daemon::{Daemon, alone, call, root, run};
use crate::journey::{all_up, control_image, nothing_yet, receipt_for};
use crate::witness;

/// How something is kept, and how it is told; of which in an ordinary run every how manyth is tried. Calls are counted in each thread.
const CALLS: [(&str, usize); 10] = [
    ("pwrite64", 16),
    ("fdatasync", 5),
    ("fsync", 3),
    ("ftruncate", 2),
    ("rename", 2),
    ("unlink", 2),
    ("write", 16),
    ("writev", 8),
    ("sendto", 8),
    ("sendmsg", 8),
];
/// A call that takes longer is not answered any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server on its way, and the daemon of the moment.
struct Story<'a> {
    folder: &'a Path,
    daemon: Daemon,
    agent: Agent,
    pin: CaPin,
    kills: u32,
}

#[test]
fn killed_at_any_call_it_goes_on_from_its_last_answer() {
    if !alone("durability::points::killed_at_any_call_it_goes_on_from_its_last_answer") {
        return;
    }
    let all = std::env::var("RACKWRIGHT_POINTS").is_ok_and(|which| which == "all");
    run(async move {
        let prepared = tempfile::tempdir().unwrap();
        let controller = Controller::start(&root(prepared.path())).await;
        control_image(&controller).await;
        let pin = controller.ca.pin();
        let agent = || Agent::new(&controller, 1);
        let agents = std::iter::repeat_with(agent);
        let mut agents = agents.take(if all { 4000 } else { 200 }).collect::<Vec<_>>();
        controller.stop().await;
        let mut points = 0;
        for (calls, stride) in CALLS {
            let before = points;
            for number in (1..).step_by(if all { 1 } else { stride }) {
                let folder = tempfile::tempdir().unwrap();
                killed(prepared.path(), folder.path());
                let daemon = Daemon::start_to_die(folder.path(), calls, number).await;
                let agent = agents.pop().expect("an end of the way");
                let mut story = Story { folder: folder.path(), daemon, agent, pin, kills: 0 };
                story.goes().await;
                let kills = story.kills;
                drop(story);
                judge(&folder.path().join("var/lib/rackwright"), &format!("{calls} {number}"));
                if kills == 0 {
                    break;
                }
                points += 1;
            }
            eprintln!("killed right before {calls}, at {} points", points - before);
        }
        eprintln!("killed at {points} points, nothing was lost");
        assert!(points > 10, "{points} points: is strace there, and may it trace?");
    });
}

impl Story<'_> {
    /// From the first hello to active, with everything said again that was not answered.
    async fn goes(&mut self) {
        self.agent.moves_to(self.daemon.agents());
        let first: HelloReply = self.says(routes::HELLO, &self.agent.hello(None)).await;
        let mac = self.agent.boot.mac.to_string();
        let approve = json!({"name": "n1", "roles": ["control"]});
        self.wants(&format!("/v1/nodes/{mac}/approve"), &approve, |story| story.is_past("discovered")).await;
        let key = self.agent.keys.public();
        let proof = self.agent.keys.sign(&hello_proof(&self.pin, &first.node, &key, &first.nonce));
        let second: HelloReply = self.says(routes::HELLO, &self.agent.hello(Some(proof))).await;
        let Verdict::Approved { certificate } = second.verdict else { panic!("{:?}", second.verdict) };
        self.agent.holds(&certificate);
        let _: Envelope<Task> = self.says(routes::TASK, &self.agent.task_ask()).await;
        self.wants("/v1/nodes/n1/plan", &json!({}), |story| story.plan().is_some()).await;
        let plan = self.plan().unwrap();
        let confirm = json!({"confirm": "n1"});
        self.wants(&format!("/v1/plans/{plan}/apply"), &confirm, |story| story.is_past("planned")).await;
        let task: Envelope<Task> = self.says(routes::TASK, &self.agent.task_ask()).await;
        let Task::Image(job) = task.body else { panic!("{:?}", task.body) };
        for done_bytes in [1 << 20, 2 << 20] {
            let progress =
                protocol::Progress { done_bytes, fetched_bytes: done_bytes, ..nothing_yet(job.job) };
            let reply: Envelope<ProgressReply> = self.says(routes::PROGRESS, &progress).await;
            assert!(reply.body.go_on);
        }
        let receipt = receipt_for(&self.agent, task.node, &job);
        let reply: Envelope<Task> = self.says(routes::VERIFIED, &receipt).await;
        assert_eq!(reply.body, Task::Reboot);
        self.boots(task.node).await;
    }

    /// The first boot of what was written.
    async fn boots(&mut self, node: protocol::NodeId) {
        let own = Keys::new();
        let proof = own.sign(&enrol_proof(&self.pin, &node, &own.public()));
        let (key, boot_id) = (own.public(), "b00t".to_owned());
        let enrol = Enrol { protocol: protocol::VERSION, key, proof, boot_id, uptime_seconds: 20 };
        let enrolled: Enrolled = self.says(routes::ENROL, &enrol).await;
        self.agent.keys = own;
        self.agent.holds(&enrolled.certificate);
        let ask = StateAsk::default();
        let state: Envelope<StateReply> = self.says(routes::STATE, &ask).await;
        let _: Value = self.says(routes::REPORT, &all_up(&state.body)).await;
    }

    /// What an agent says, and says again when no answer comes.
    async fn says<A: Serialize, R: DeserializeOwned>(&mut self, route: &str, ask: &A) -> R {
        let body = serde_json::to_vec(ask).unwrap();
        loop {
            match timeout(PATIENCE, self.agent.post(route, body.clone()))
                .await
                .expect("an answer, or a reset")
            {
                Ok((200, answer)) => return serde_json::from_slice(&answer).unwrap(),
                Ok((status, answer)) => panic!("{route}: {status} {}", String::from_utf8_lossy(&answer)),
                Err(why) => self.again(&why).await,
            }
        }
    }

    /// What an operator wants, who looks whether it is done before asking again.
    async fn wants(&mut self, path: &str, body: &Value, is_done: impl Fn(&Self) -> bool) {
        loop {
            let socket = self.daemon.socket();
            let answered = call(&socket, "POST", path, body);
            match timeout(PATIENCE, answered).await.expect("an answer, or a reset") {
                Some((200, _)) => return assert!(is_done(self), "{path}: acknowledged and not there"),
                Some((status, answer)) => panic!("{path}: {status} {answer}"),
                None => self.again(path).await,
            }
            if is_done(self) {
                return;
            }
        }
    }

    /// The daemon of the next life.
    async fn again(&mut self, why: &str) {
        assert!(self.daemon.is_killed().await, "it lives, and did not answer: {why}");
        self.kills += 1;
        assert_eq!(self.kills, 1, "killed once");
        self.daemon = Daemon::start(self.folder).await;
    }

    fn state(&self) -> std::path::PathBuf {
        self.folder.join("var/lib/rackwright")
    }

    fn is_past(&self, state: &str) -> bool {
        witness::rows(&self.state(), "node").iter().all(|node| node["state"]["state"] != state)
    }

    fn plan(&self) -> Option<String> {
        let plans = witness::rows(&self.state(), "plan");
        plans
            .iter()
            .find(|plan| plan["state"]["state"] == "open")
            .map(|plan| plan["id"].as_str().unwrap().to_owned())
    }
}

/// What is there in the end.
fn judge(state: &Path, point: &str) {
    assert_eq!(witness::integrity(state), "ok", "{point}");
    assert_eq!(witness::only(state, "node")["state"]["state"], "active", "{point}");
    assert_eq!(witness::only(state, "job")["state"]["state"], "done", "{point}");
    let database = state.join("state.db");
    let place = Place::beside(&database);
    let key = head::public(&appliance::ca::journal_key(&place.keys).unwrap());
    let report =
        check(&Connection::open(&database).unwrap(), &head::read(&place.heads).unwrap(), &key).unwrap();
    assert!(report.sound && report.records > 0, "{point}: {report:?}");
}

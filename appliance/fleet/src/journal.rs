//! What the journal keeps: who did what, and what came of it. Unlike the event log it is never shortened, so nothing that
//! a stranger on the network can repeat is in it: no addresses, no boot files, no server that nobody has let in.

use protocol::NodeId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::adopt::Invitations;
use crate::burn_in::BurnIn;
use crate::certificate::{Certificate, Stage};
use crate::cloud::passwords::Passwords;
use crate::job::Job;
use crate::power::{Power, Request};
use crate::preflight::Preflight;
use crate::retire::{Erased, Retirement};
use crate::rollout::Rollout;
use crate::{Change, Fleet, Node, State, Time};

/// So many plans of a rollout are named in its record, which has room for no more than 16 KiB; each has one of its own.
const PLANS: usize = 500;

/// Who brought something about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Actor {
    /// Whoever was at the other end of the control socket, by the kernel's word.
    Operator {
        /// The user id of the process.
        uid: u32,
        /// Its name, where the machine knows one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// Who logged in before becoming that user (audit login id), when that is another one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login: Option<u32>,
        /// The name of that one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        login_user: Option<String>,
    },
    /// The agent of a node, by its certificate or key.
    Agent {
        /// The node.
        node: NodeId,
    },
    /// The controller itself: a deadline, a start.
    Controller,
}

/// What is to be written down.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// When.
    pub time: Time,
    /// Who.
    pub actor: Actor,
    /// A stable word: `command`, `refused`, `node`, `certificate`, `plan`, `job`, `capture`, `image`, `reservation`, ….
    pub kind: &'static str,
    /// The node that it is about.
    pub node: Option<NodeId>,
    /// What.
    pub body: Value,
}

/// What a change is in the journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// As [`Entry::kind`].
    pub kind: &'static str,
    /// As [`Entry::node`].
    pub node: Option<NodeId>,
    /// As [`Entry::body`].
    pub body: Value,
}

/// What of a change is written down, when it is put into this fleet; nothing where no decision is in it: progress, reports,
/// what is known of a network, a server that is only seen.
pub fn effect(before: &Fleet, change: &Change) -> Option<Effect> {
    let of = |kind, node, body| Some(Effect { kind, node, body });
    match change {
        Change::Node(node) => {
            let body = moved(before.nodes.get(&node.id), node)?;
            of("node", Some(node.id), body)
        }
        Change::Image(image) => {
            let known = before.images.contains_key(&image.digest);
            let body = json!({"change": "imported", "digest": image.digest, "name": image.name,
                "signer": image.signer});
            if known { None } else { of("image", None, body) }
        }
        Change::ForgetImage(digest) => {
            let name = before.images.get(digest).map(|image| &image.name);
            of("image", None, json!({"change": "deleted", "digest": digest, "name": name}))
        }
        Change::Plan(plan) => {
            let same = before.plans.get(&plan.id).is_some_and(|old| old.state == plan.state);
            let body = json!({"plan": plan.id, "becomes": plan.state, "why": plan.kind, "image": plan.image,
                "disk": plan.target.disk, "roles": plan.roles, "erase": plan.erase});
            if same { None } else { of("plan", Some(plan.node), body) }
        }
        Change::Job(job) => of("job", Some(job.node), worked(before.jobs.get(&job.id), job)?),
        Change::Capture(capture) => {
            let same = before.captures.get(&capture.id).is_some_and(|old| old.state == capture.state);
            let body = json!({"job": capture.id, "name": capture.name, "image": capture.image,
                "becomes": capture.state});
            if same { None } else { of("capture", Some(capture.node), body) }
        }
        Change::ForgetNode(id) => {
            let node = before.nodes.get(id).filter(|node| node.state != State::Discovered)?;
            let body = json!({"from": node.state.word(), "becomes": "forgotten", "name": node.name});
            of("node", Some(*id), body)
        }
        Change::Retirement(row) => {
            of("retirement", Some(row.node), erased(before.retirements.get(&row.id), row)?)
        }
        Change::BurnIn(row) => of("test", Some(row.node), tested(before.burn_ins.get(&row.id), row)?),
        Change::Rollout(row) => of("rollout", None, rolled(before.rollouts.get(&row.id), row)?),
        Change::Preflight(check) => of("network-check", None, checked(before.preflight.as_deref(), check)?),
        // Every half day of every node: what was renewed for the same key is as it was.
        Change::Certificate(row) if is_renewal(before, row) => None,
        Change::Certificate(row) => {
            let body = json!({"fingerprint": row.fingerprint, "stage": row.stage, "generation": row.generation,
                "until": row.until.to_string()});
            of("certificate", Some(row.node), body)
        }
        Change::Power(power) => {
            of("power", Some(power.node), powered(before.powers.get(&power.node), power)?)
        }
        Change::ForgetPower(node) => of("power", Some(*node), json!({"account": "forgotten"})),
        // The command that changed it says who, and the fact why.
        Change::Trust(trust) => of("ca", None, json!({"wanted": trust.wanted, "other": trust.other})),
        // Never what they are made of.
        Change::Passwords(row) => of("passwords", None, rotated(row)),
        Change::Objects(row) => of("objects", None, json!({"devices": row.nodes})),
        Change::Invitations(rows) => of("invitation", None, invited(before, rows)?),
        Change::Clock(doubt) => of("clock", None, json!({"doubt": doubt})),
        // Its end was written down when it was issued.
        Change::ForgetCertificate(_) | Change::Attendance(_) | Change::Network(_) => None,
    }
}

/// Whether an installed system had a certificate of this generation for the same key before.
fn is_renewal(before: &Fleet, row: &Certificate) -> bool {
    let same = |old: &Certificate| {
        (old.node, old.stage, old.generation, old.key) == (row.node, Stage::Run, row.generation, row.key)
    };
    row.stage == Stage::Run && before.certificates.values().any(same)
}

/// What is new about a job: what becomes of it.
fn worked(before: Option<&Job>, after: &Job) -> Option<Value> {
    if before.is_some_and(|old| old.state == after.state) {
        return None;
    }
    Some(json!({"job": after.id, "plan": after.plan, "image": after.image, "becomes": after.state}))
}

/// What is new about a node's end: how far it is, and each disk's proof once, since a record has room for some.
fn erased(before: Option<&Retirement>, after: &Retirement) -> Option<Value> {
    let proven = |row: &Retirement| row.disks.iter().filter(|disk| disk.proof.is_some()).count();
    let same = |old: &Retirement| {
        old.verdict == after.verdict && old.state == after.state && proven(old) == proven(after)
    };
    if before.is_some_and(same) {
        return None;
    }
    let is_new = |disk: &&Erased| disk.proof.is_some() && !before.is_some_and(|old| old.disks.contains(disk));
    let proofs = after.disks.iter().filter(is_new).filter_map(|disk| disk.proof.as_ref());
    let disks = after.disks.iter().map(|disk| &disk.doomed.disk.disk);
    Some(json!({"job": after.id, "plan": after.plan, "verdict": after.verdict, "becomes": after.state,
        "erases": disks.collect::<Vec<_>>(), "proven": proofs.map(|(_, proof)| proof).collect::<Vec<_>>()}))
}

/// What is new about a test: that it was asked for, begins, or has ended, and how.
fn tested(before: Option<&BurnIn>, after: &BurnIn) -> Option<Value> {
    if before.is_some_and(|old| old.state == after.state) {
        return None;
    }
    let parts = after.wish.parts.iter().map(|part| part.word()).collect::<Vec<_>>();
    Some(json!({"job": after.id, "tests": parts, "seconds": after.wish.seconds, "becomes": after.state,
        "end": after.end}))
}

/// How far a rotation of the cloud's passwords is: who is told of them from here on.
fn rotated(after: &Passwords) -> Value {
    let told = if after.before.is_some() { "the control node" } else { "every node" };
    json!({"number": after.wanted.number, "told": told})
}

/// What is new about a rollout: what becomes of it.
fn rolled(before: Option<&Rollout>, after: &Rollout) -> Option<Value> {
    if before.is_some_and(|old| old.state == after.state) {
        return None;
    }
    let plans = after.steps.iter().map(|step| &step.plan).take(PLANS).collect::<Vec<_>>();
    let plans = before.is_none().then_some(plans);
    Some(json!({"rollout": after.id, "becomes": {"state": after.state.word(), "why": after.state.why()},
        "group": after.group.to_string(), "nodes": after.steps.len(), "plans": plans, "canaries": after.canaries,
        "max_unavailable": after.max_unavailable, "stop_after": after.stop_after}))
}

/// What is new about a check of the network: what becomes of it.
fn checked(before: Option<&Preflight>, after: &Preflight) -> Option<Value> {
    if before.is_some_and(|old| (old.id, old.state) == (after.id, after.state)) {
        return None;
    }
    Some(json!({"check": after.id.to_string(), "becomes": after.state, "nodes": after.members.len(),
        "terms": after.terms, "findings": after.findings.len()}))
}

/// What is new about invitations; never a token, of which nothing is known but its digest.
fn invited(before: &Fleet, after: &Invitations) -> Option<Value> {
    let rows = after.0.iter().filter(|(id, row)| before.invitations.0.get(*id) != Some(*row));
    let rows = rows.map(|(id, row)| {
        json!({"id": id, "name": row.name, "until": row.until.to_string(),
            "node": row.used.map(|used| used.node), "over": row.over})
    });
    let rows = rows.collect::<Vec<_>>();
    (!rows.is_empty()).then(|| json!({ "invitations": rows }))
}

/// What is new about a node's power: another account, requests that ended.
fn powered(before: Option<&Power>, after: &Power) -> Option<Value> {
    let account = after.account.as_ref();
    let account = account.filter(|new| before.and_then(|old| old.account.as_ref()) != Some(*new));
    let ended = after.requests.iter().filter(|request| {
        let known = |known: &Request| known.id == request.id && known.ended == request.ended;
        request.ended.is_some() && !before.is_some_and(|old| old.requests.iter().any(known))
    });
    let ended =
        ended.map(|request| json!({"request": request.id, "wish": request.wish, "step": request.step}));
    let ended = ended.collect::<Vec<_>>();
    let console = before.and_then(|old| old.console.as_ref());
    let had = console.and_then(|old| old.keyboard.as_ref()).map(|keyboard| &keyboard.by);
    let keyboard = after.console.as_ref().and_then(|new| new.keyboard.as_ref());
    let same = console.map(|old| (old.number, &old.keyboard))
        == after.console.as_ref().map(|new| (new.number, &new.keyboard));
    let open = after.console.is_some();
    let console = (!same).then(|| json!({"open": open, "by": keyboard.map(|own| &own.by), "before": had}));
    if account.is_none() && ended.is_empty() && console.is_none() {
        return None;
    }
    let account = account
        .map(|new| json!({"kind": new.kind, "address": new.address, "user": new.user, "pin": new.pin}));
    let mut body = json!({"account": account, "ended": ended});
    if let (Some(console), Some(body)) = (console, body.as_object_mut()) {
        body.insert("console".to_owned(), console);
    }
    Some(body)
}

/// What is new about a node that somebody has let in, or sent away.
fn moved(before: Option<&Node>, after: &Node) -> Option<Value> {
    let known = before.is_some_and(Node::is_let_in);
    if !known && matches!(after.state, State::Discovered) {
        return None;
    }
    let same = |old: &Node| {
        old.state == after.state
            && old.name == after.name
            && old.roles == after.roles
            && old.generation == after.generation
    };
    if before.is_some_and(same) {
        return None;
    }
    let from = before.map(|node| node.state.word());
    Some(json!({"from": from, "becomes": after.state, "name": after.name, "roles": after.roles,
        "generation": after.generation}))
}

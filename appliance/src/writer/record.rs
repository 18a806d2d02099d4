//! What of a batch goes into the journal, and who brought it about.

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::journal::{Actor, Effect, Entry, effect};
use fleet::{Change, Event, Time};
use protocol::NodeId;
use serde_json::{Value, json};

use super::Refused;
use super::draft::Draft;
use super::inbox::Input;
use crate::journal::Command;

/// In an hour, in milliseconds, what agents bring about is written down for each node up to so many records. A boot, an image
/// and a year of certificates are far fewer; an agent that asks for certificates all day is not worth a line each time.
const WINDOW_MS: u64 = 3_600_000;
const LINES: u32 = 120;

/// On whose behalf a draft changes things.
#[derive(Clone, Debug, Default)]
pub(super) enum Cause {
    /// A person at the control socket.
    Command(Arc<Command>),
    /// The agent of the node that changes.
    Agent,
    /// The clock, or the controller's own look at things.
    #[default]
    Controller,
}

impl Cause {
    /// Of what was brought. Only agents, and the clock, bring events without a command.
    pub(super) fn of(input: &Input, by: Option<Arc<Command>>) -> Cause {
        match (by, input) {
            (Some(command), _) => Cause::Command(command),
            (None, Input::Event(event, _)) if is_of_agent(event) => Cause::Agent,
            (None, _) => Cause::Controller,
        }
    }
}

/// Whether only agents bring such an event.
fn is_of_agent(event: &Event) -> bool {
    match event {
        Event::Hello { .. }
        | Event::Issued(_)
        | Event::Asked { .. }
        | Event::Progressed { .. }
        | Event::Verified { .. }
        | Event::Enrolled { .. }
        | Event::Lapsed { .. }
        | Event::Pinned { .. }
        | Event::Ticketed { .. }
        | Event::Escrowed { .. }
        | Event::Reported { .. }
        | Event::Erased { .. }
        | Event::Rescued { .. }
        | Event::Tested { .. }
        | Event::Sealing { .. }
        | Event::Captured { .. } => true,
        Event::Served { .. }
        | Event::Foreign { .. }
        | Event::Plugged { .. }
        | Event::Look { .. }
        | Event::Looked { .. }
        | Event::Invite { .. }
        | Event::Revoke { .. }
        | Event::Approve { .. }
        | Event::Reject { .. }
        | Event::Rename { .. }
        | Event::SetRoles { .. }
        | Event::Plan { .. }
        | Event::Retire { .. }
        | Event::Rescue { .. }
        | Event::EndRescue { .. }
        | Event::Service { .. }
        | Event::EndService { .. }
        | Event::Test { .. }
        | Event::Delete { .. }
        | Event::Apply { .. }
        | Event::Trust(_)
        | Event::Rotate
        | Event::Clock(_)
        | Event::Roll(_)
        | Event::Rollout { .. }
        | Event::Preflight(_)
        | Event::Capture { .. }
        | Event::Cancel { .. }
        | Event::Retry { .. }
        | Event::Replace { .. }
        | Event::Hold { .. }
        | Event::Release { .. }
        | Event::Unit { .. }
        | Event::Logs { .. }
        | Event::Power { .. }
        | Event::Imported(_)
        | Event::ForgetImage(_)
        | Event::Tick => false,
    }
}

/// How many records agents have brought about; kept by the writer from batch to batch.
#[derive(Debug, Default)]
pub(super) struct Quota {
    each: BTreeMap<NodeId, Share>,
}

#[derive(Debug)]
struct Share {
    since: Time,
    lines: u32,
    left_out: u64,
}

impl Quota {
    /// Whether one more of this node is written down, and how many were not since the last that was.
    fn take(&mut self, node: NodeId, now: Time) -> Option<u64> {
        let share = self.each.entry(node).or_insert(Share { since: now, lines: 0, left_out: 0 });
        if now.0 >= share.since.0.saturating_add(WINDOW_MS) {
            (share.since, share.lines) = (now, 0);
        }
        if share.lines >= LINES {
            share.left_out += 1;
            return None;
        }
        share.lines += 1;
        Some(std::mem::take(&mut share.left_out))
    }
}

impl Draft<'_> {
    /// Where the journal of this batch stands.
    pub(super) fn mark(&self) -> usize {
        self.batch.journal.len()
    }

    /// Writes the command down, before all that came of it since `mark`; or why it was refused, and nothing came of it.
    pub(super) fn account<T>(&mut self, mark: usize, about: Option<NodeId>, result: &Result<T, Refused>) {
        let Cause::Command(command) = self.cause.clone() else { return };
        let told = match result {
            Ok(_) => command.tell().map(|body| ("command", body)),
            Err(why) => {
                self.batch.journal.truncate(mark);
                command.refuse(&why.to_string()).map(|body| ("refused", body))
            }
        };
        if let Some((kind, body)) = told {
            let entry = Entry { time: self.now, actor: command.actor(), kind, node: about, body };
            self.batch.journal.insert(mark.min(self.batch.journal.len()), entry);
        }
    }

    /// A command that is none of the writer's: done already, or refused before it came here.
    pub(super) fn command(&mut self, why: Option<&str>) {
        let Cause::Command(command) = self.cause.clone() else { return };
        let told = match why {
            None => command.tell().map(|body| ("command", body)),
            Some(why) => command.refuse(why).map(|body| ("refused", body)),
        };
        if let Some((kind, body)) = told {
            self.batch.journal.push(Entry { time: self.now, actor: command.actor(), kind, node: None, body });
        }
    }

    /// Writes down what a change is.
    pub(super) fn record(&mut self, change: &Change) {
        if let Some(Effect { kind, node, body }) = effect(&self.world.fleet, change) {
            self.note(kind, node, body);
        }
    }

    /// Writes something down.
    pub(super) fn note(&mut self, kind: &'static str, node: Option<NodeId>, mut body: Value) {
        let actor = match (&self.cause, node) {
            (Cause::Command(command), _) => command.actor(),
            (Cause::Agent, Some(node)) => Actor::Agent { node },
            (Cause::Agent, None) | (Cause::Controller, _) => Actor::Controller,
        };
        if let Actor::Agent { node } = actor {
            let Some(left_out) = self.quota.take(node, self.now) else { return };
            if let (1.., Some(body)) = (left_out, body.as_object_mut()) {
                body.insert("leftOut".to_owned(), json!(left_out));
            }
        }
        self.batch.journal.push(Entry { time: self.now, actor, kind, node, body });
    }
}

#[cfg(test)]
mod tests {
    use super::{LINES, Quota, WINDOW_MS, is_of_agent};
    use fleet::{Event, Time};
    use protocol::{DiskId, Erasure, JobId, Key, Method, NodeId, Signature};

    #[test]
    fn what_a_node_hands_in_is_its_agents_also_an_erased_disk() {
        let erasure = Erasure {
            job: JobId([5; 8]),
            disk: DiskId::of("", "QM1").unwrap(),
            model: String::new(),
            serial: "QM1".to_owned(),
            wwn: String::new(),
            bytes: 9,
            method: Method::Overwrite,
            firmware: String::new(),
            written_bytes: 9,
            canaries: 64,
            samples: 100,
            sampled_bytes: 409_600,
            milliseconds: 6,
            key: Key([3; 32]),
            signature: Signature([4; 64]),
        };
        assert!(is_of_agent(&Event::Erased { node: NodeId([1; 16]), erasure: Box::new(erasure) }));
        assert!(!is_of_agent(&Event::Delete { node: NodeId([1; 16]) }));
    }

    #[test]
    fn what_one_agent_brings_about_is_bounded_and_what_is_left_out_is_counted() {
        let mut quota = Quota::default();
        let (one, other) = (NodeId([1; 16]), NodeId([2; 16]));
        let taken = (0..10_000).filter(|ms| quota.take(one, Time(*ms)).is_some());
        assert_eq!(taken.count(), LINES as usize);
        assert_eq!(quota.take(other, Time(0)), Some(0), "another node has a share of its own");
        let left_out = 10_000 - u64::from(LINES);
        assert_eq!(quota.take(one, Time(WINDOW_MS)), Some(left_out));
        assert_eq!(quota.take(one, Time(WINDOW_MS)), Some(0), "told once");
    }
}

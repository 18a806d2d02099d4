//! Stage *run*: the state document that the installed agent makes true.

use pack::Digest;
use serde::{Deserialize, Serialize};

use crate::CaPin;

/// The installed agent asks for its state; the answer is held back until there is news.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateAsk {
    /// The generation it has applied; 0 for none.
    pub have: u64,
    /// The highest order it has carried out; 0 for none.
    pub done_order: u64,
    /// How long the controller may hold the answer back, in seconds; at most 30.
    pub wait_seconds: u32,
    /// It asks already what to try of the network: it need not be told that there is a check.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub checks: bool,
    /// The site CA that it was told to move to last: that it is to do so is no news, any other is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<CaPin>,
}

/// The answer to [`StateAsk`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateReply {
    /// A newer document, when there is one.
    pub document: Option<StateDocument>,
    /// Orders above `done_order`, oldest first.
    pub orders: Vec<Order>,
    /// The site CA to move to: a certificate of it is to be asked for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<CaPin>,
    /// There is a check of the network that it takes part in: it is to ask what to try.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub check: bool,
}

/// What a node shall be: the whole of it, every time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateDocument {
    /// Grows with every change.
    pub generation: u64,
    /// Host name.
    pub name: String,
    /// Files, written before tasks and units.
    pub files: Vec<File>,
    /// Units in the order they are started; stopped in the reverse order.
    pub units: Vec<UnitWanted>,
    /// Tasks, each run until its guard holds.
    pub tasks: Vec<TaskWanted>,
    /// What of the units and tasks belongs together, in the order in which it comes up. What none of these names comes up first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceWanted>,
}

/// One service: its tasks and units come up after what it needs is well, and it is well itself before what needs it begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceWanted {
    /// Unique in the document.
    pub name: String,
    /// Names of its units, all of the document.
    pub units: Vec<String>,
    /// Names of its tasks, all of the document.
    pub tasks: Vec<String>,
    /// Services before it in this document that must be well.
    pub needs: Vec<String>,
    /// How to tell that it is well, beside that its units are up.
    pub check: Option<Check>,
    /// What gives its work to other nodes before this machine goes down; none: it has nothing to give away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leave: Option<Leave>,
}

/// How a service gives its work to other nodes, and takes part again when its machine stays up after all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leave {
    /// Program and arguments; no shell. Behind them comes `restart`, or `rewrite` where the system disk will be written anew, and `--force`
    /// where the order has that. Status 0: nothing is left here that would be lost.
    pub argv: Vec<String>,
    /// Undoes that.
    pub back: Vec<String>,
    /// After this many seconds it is killed and has failed.
    pub timeout_seconds: u32,
}

/// What a service that is well answers to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// What is tried.
    pub kind: CheckKind,
    /// How long that may be in vain, in seconds, after its units are up.
    pub within_seconds: u32,
}

/// One attempt at a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
pub enum CheckKind {
    /// `GET` gives a status of 200 to 399, or 401: who answers so is there, and wants to know who asks.
    Http {
        /// `http://ADDRESS:PORT/PATH`, no name, no TLS.
        url: String,
    },
    /// A connection is taken.
    Tcp {
        /// `ADDRESS:PORT`.
        address: String,
    },
    /// A program ends with status 0.
    Command {
        /// Program and arguments; no shell.
        argv: Vec<String>,
    },
}

/// One file.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Absolute, without `..`.
    pub path: String,
    /// Permission bits.
    pub mode: u32,
    /// User name.
    pub owner: String,
    /// Group name.
    pub group: String,
    /// BLAKE3 of the content.
    pub digest: Digest,
    /// The content; UTF-8.
    pub content: String,
    /// Units of this document that are restarted when the content changed.
    pub restarts: Vec<String>,
}

impl std::fmt::Debug for File {
    /// Never the content: it may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("File").field("path", &self.path).field("digest", &self.digest).finish_non_exhaustive()
    }
}

/// One unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitWanted {
    /// `chrony.service`.
    pub name: String,
    /// Started by the next boot.
    pub enabled: bool,
    /// Running now.
    pub running: bool,
    /// Grows when the operator wants it restarted; the agent restarts it once for each value.
    pub restarts: u64,
    /// The Debian packages that it comes with, where nobody can say that they are installed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<String>,
}

/// A command that makes something true, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskWanted {
    /// Unique in the document; letters, digits and hyphens.
    pub name: String,
    /// Exit status 0 means it is true already and the command is not run.
    pub guard: Vec<String>,
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
    /// After this many seconds it is killed and has failed.
    pub timeout_seconds: u32,
    /// When it runs.
    pub when: When,
}

/// When a task runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// After the files, before any unit; where it belongs to a service, before any of that one's.
    BeforeUnits,
    /// After the units; where it belongs to a service, when that one is well.
    AfterUnits,
}

/// Something to be done once, now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Ascending per node; an order is carried out once.
    pub id: u64,
    /// What.
    pub kind: OrderKind,
}

/// What an order asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum OrderKind {
    /// The last lines of a unit's journal, sent back as an answer.
    Logs {
        /// The unit.
        unit: String,
        /// How many lines; at most 1,000.
        lines: u32,
    },
    /// Hand in a ticket, then restart into the ramdisk. Refused while virtual machines run that no service gives away ([`Leave`]).
    Redeploy {
        /// Also then: they are told to shut down, and those that have not are killed.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
        /// What is on the system disk will be there afterwards.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        keeps: bool,
    },
    /// Restart as what it is. Refused while virtual machines run; nothing is given away first.
    Restart {
        /// As [`OrderKind::Redeploy`] has it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        force: bool,
    },
}

impl OrderKind {
    /// Whether it ends in the ramdisk.
    #[must_use]
    pub fn redeploys(&self) -> bool {
        matches!(self, OrderKind::Redeploy { .. })
    }

    /// Whether it ends in the same system again.
    #[must_use]
    pub fn restarts(&self) -> bool {
        matches!(self, OrderKind::Restart { .. })
    }
}

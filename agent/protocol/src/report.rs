//! Stage *run*: what the installed agent tells. Facts only; what they mean is decided above.

use serde::{Deserialize, Serialize};

/// Sent when something changed, and at least every 30 seconds as a sign of life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Report {
    /// The generation that is applied; 0 for none.
    pub generation: u64,
    /// The generation that is being applied, when it is another one.
    pub applying: Option<u64>,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Every unit of the document.
    pub units: Vec<UnitReport>,
    /// Every task of the document that was looked at.
    pub tasks: Vec<TaskReport>,
    /// What was changed behind our back since the last report that was received.
    pub drift: Vec<Drift>,
    /// Answers to orders.
    pub answers: Vec<Answer>,
    /// The highest order carried out.
    pub done_order: u64,
    /// The node itself.
    pub facts: Facts,
    /// Every service of the document that was looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ServiceReport>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceReport {
    /// Name.
    pub name: String,
    /// How it is.
    pub health: ServiceHealth,
    /// Since when, milliseconds since 1970 by the node's clock; 0 unknown.
    pub since_ms: u64,
}

/// How a service is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "health", rename_all = "snake_case")]
pub enum ServiceHealth {
    /// Its units are up, its tasks done, and its check holds.
    Well,
    /// On its way: what it waits for, or does, for a person.
    Coming {
        /// What.
        what: String,
    },
    /// Not well, for a person.
    Ill {
        /// Why.
        why: String,
    },
}

/// The answer to a [`Report`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportReply {
    /// The generation the node should have: newer than its own means ask now.
    pub generation: u64,
}

/// One unit, in systemd's own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnitReport {
    /// Name.
    pub name: String,
    /// `LoadState`.
    pub load: String,
    /// `ActiveState`.
    pub active: String,
    /// `SubState`.
    pub sub: String,
    /// `Result`.
    pub result: String,
    /// When the state was entered, milliseconds since 1970 by the node's clock; 0 unknown.
    pub since_ms: u64,
    /// The last journal lines, when it failed.
    pub log: Vec<String>,
}

/// One task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskReport {
    /// Name.
    pub name: String,
    /// How it ended.
    pub result: TaskResult,
    /// The last journal lines, when it failed.
    pub log: Vec<String>,
}

/// How a task ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum TaskResult {
    /// The guard held: nothing to do.
    Already,
    /// Run, and the guard holds now.
    Done,
    /// Run, and failed.
    Failed {
        /// Exit status, signal or time-out, for a person.
        why: String,
    },
}

/// Something that was changed behind our back, and what was done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drift {
    /// The unit or file.
    pub what: String,
    /// What was found.
    pub found: String,
    /// What was done.
    pub done: String,
}

/// The answer to an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The order.
    pub order: u64,
    /// Text, cleaned of control characters.
    pub lines: Vec<String>,
    /// Set when it could not be carried out.
    pub error: Option<String>,
}

/// The node itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Facts {
    /// Host name.
    pub hostname: String,
    /// Kernel release.
    pub kernel: String,
    /// Size of the root file system in bytes.
    pub root_bytes: u64,
    /// Free bytes in it.
    pub root_free_bytes: u64,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Seconds since boot.
    pub uptime_seconds: u64,
    /// The hypervisor, on a compute node.
    pub hypervisor: Option<Hypervisor>,
}

/// What libvirt says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hypervisor {
    /// CPU model.
    pub cpu_model: String,
    /// Hardware threads for guests.
    pub threads: u32,
    /// Memory for guests in bytes.
    pub memory_bytes: u64,
    /// `qemu` version as libvirt prints it.
    pub version: String,
    /// Domains that are running.
    pub domains: Vec<Domain>,
    /// Set when libvirt could not be asked.
    pub error: Option<String>,
}

/// One running domain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Domain {
    /// Name.
    pub name: String,
    /// UUID.
    pub uuid: String,
    /// Virtual processors.
    pub vcpus: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
}

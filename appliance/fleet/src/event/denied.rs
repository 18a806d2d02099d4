//! What is refused.

use crate::plan::Unplannable;

/// Why an event was refused; nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No such node, plan, job, image or unit.
    #[error("there is no {kind} {name:?}{}", listed(kind))]
    Missing {
        /// `node`, `plan`, ….
        kind: &'static str,
        /// What was asked for.
        name: String,
    },
    /// Not in this state.
    #[error("{name} is {state}: {event} is not possible now{hint}")]
    State {
        /// The node.
        name: String,
        /// Its state.
        state: &'static str,
        /// What was wanted.
        event: &'static str,
        /// What to do instead; starts with "; " or is empty.
        hint: String,
    },
    /// A node that runs would be restarted, and nobody has said its name.
    #[error(
        "this restarts {name}, and what it runs stands still until the image is taken: confirm it with its name \
         (--confirm={name})"
    )]
    Unconfirmed {
        /// The node.
        name: String,
    },
    /// The certificate would not outlive the job.
    #[error("this certificate ends before the job may: say hello again for a new one")]
    Expiring,
    /// Something severe, and nobody has said the node's name.
    #[error("{what}: confirm it with its name (--confirm={name})")]
    Unnamed {
        /// The node.
        name: String,
        /// What would happen.
        what: String,
    },
    /// Nobody knows what time it is: what is wrong with the clock, and what to do.
    #[error("{0}")]
    Clock(String),
    /// Something else is in the way.
    #[error("{0}")]
    Conflict(String),
    /// No plan can be made.
    #[error(transparent)]
    Unplannable(#[from] Unplannable),
}

/// Where those are listed that there are, as the end of a refusal.
fn listed(kind: &str) -> String {
    let command = match kind {
        "node" => "node list",
        "plan" => "plan list",
        "job" => "job list",
        "rollout" => "rollout list",
        "image" => "image list",
        "network" => "network list",
        "unit" => "service list",
        "reservation" => "network reservations",
        "invitation" => "node adopt --list",
        "lease" => "network leases",
        "role" => "node role set --help",
        _ => return String::new(),
    };
    format!(": see rackwright {command}")
}

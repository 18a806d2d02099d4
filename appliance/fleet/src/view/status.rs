//! Everything on one screen, and what to do first.

use serde::{Deserialize, Serialize};

use super::image::StoreRow;
use super::{EventRow, JobRow, NodeRow};
use crate::clock::Why;
use crate::rollout::{Rollout, RolloutState};
use crate::{Fleet, Node, State};

/// Everything on one screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The site.
    pub site: String,
    /// `ok`, `busy`, `attention`.
    pub health: String,
    /// RFC 3339.
    pub time: String,
    /// Version of the daemon.
    pub version: String,
    /// The disk that the state is on; absent in answers of daemons that did not look at it yet.
    #[serde(default)]
    pub storage: Option<StorageRow>,
    /// What is wrong with the controller's clock, and what to do; absent while it is believed.
    #[serde(default)]
    pub clock: Option<String>,
    /// The image store.
    #[serde(default)]
    pub images: Option<StoreRow>,
    /// The continuous copy; absent where none is configured.
    #[serde(default)]
    pub copy: Option<CopyRow>,
    /// Provisioning interfaces and listeners, each with its last problem.
    pub listeners: Vec<ListenerRow>,
    /// Nodes.
    pub nodes: Vec<NodeRow>,
    /// Jobs that have not ended.
    pub jobs: Vec<JobRow>,
    /// The last events.
    pub events: Vec<EventRow>,
    /// The first thing to do now: what and the command.
    pub next: Option<String>,
}

/// The clock was taken for right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClockRow {
    /// What it shows, RFC 3339.
    pub accepted: String,
}

/// A listener of the controller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerRow {
    /// `dhcp`, `tftp`, `http`, `agents`.
    pub name: String,
    /// Where.
    pub address: String,
    /// How many it has answered.
    pub answered: u64,
    /// The last thing it refused or that went wrong.
    pub problem: Option<String>,
}

/// Where the state is copied to after every change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CopyRow {
    /// The folder.
    pub path: String,
    /// When the last copy was whole there, RFC 3339.
    pub copied: Option<String>,
    /// What is wrong, since when and why; absent while all is well.
    pub problem: Option<String>,
}

/// The disk that the controller's state is on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StorageRow {
    /// The state directory.
    pub path: String,
    /// Size of its file system in bytes.
    pub total_bytes: u64,
    /// Bytes of it that are free.
    pub free_bytes: u64,
    /// What is wrong, why, and what to do; absent while all is well.
    pub problem: Option<String>,
}

/// The first thing to do now.
pub fn next_step(fleet: &Fleet) -> Option<String> {
    let first = |wanted: fn(&State) -> bool| fleet.nodes.values().find(|node| wanted(&node.state));
    let attention = first(|state| matches!(state, State::Attention { .. }));
    let rejected = |node: &Node| matches!(node.state, State::Rejected { .. });
    let claim = fleet.nodes.values().find(|node| node.claim.is_some() && !rejected(node));
    let planned = first(|state| matches!(state, State::Planned { .. }));
    let ready = first(|state| matches!(state, State::Ready));
    if let Some(doubt) = &fleet.clock {
        return Some(match doubt.why {
            Why::BeforeBuild => "set the controller's clock (date --set; or see chronyc sources)".to_owned(),
            Why::Behind | Why::Jumped => {
                "look whether the controller's clock is right: set it, or say so: rackwright clock accept"
                    .to_owned()
            }
        });
    }
    if let Some(node) = attention {
        return Some(format!("see why {} needs attention: rackwright node why {}", node.name, node.name));
    }
    let stopped = |rollout: &&Rollout| matches!(rollout.state, RolloutState::Stopped { .. });
    if let Some(rollout) = fleet.rollouts.values().find(stopped) {
        return Some(format!("see why a rollout has stopped: rackwright rollout show {}", rollout.id));
    }
    if let Some(node) = claim {
        return Some(format!(
            "compare the code of {} with its screen: rackwright node approve {}",
            node.name, node.name
        ));
    }
    match (planned, ready) {
        (Some(node), _) => {
            let State::Planned { plan } = &node.state else { return None };
            Some(format!("look at plan {plan} and apply it: rackwright apply {plan}"))
        }
        (None, Some(node)) => Some(format!("plan {}: rackwright node plan {}", node.name, node.name)),
        (None, None) if fleet.nodes.is_empty() && fleet.images.is_empty() => {
            Some("import an image: rackwright image import FILE".to_owned())
        }
        (None, None) if fleet.nodes.is_empty() => {
            Some("power a server on: it boots from the network".to_owned())
        }
        (None, None) => None,
    }
}

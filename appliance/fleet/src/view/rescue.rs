//! A node that is mended by hand, as people and scripts see it.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{Node, State};

/// How to get into a node in rescue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RescueView {
    /// What it was before: the word of a state.
    pub from: String,
    /// When its ramdisk began, RFC 3339; none: it is on its way.
    pub entered: Option<String>,
    /// The address in the ramdisk.
    pub address: Ipv4Addr,
    /// The SSH server's host key, as `ssh` shows it; none: there is no server yet.
    pub host_key: Option<String>,
    /// Who may get in by SSH: each key's kind, and what stood behind it.
    pub keys: Vec<String>,
    /// What is not as it should be.
    pub trouble: Option<String>,
}

pub(super) fn rescue_view(node: &Node) -> Option<RescueView> {
    let State::Rescue { rescue } = &node.state else { return None };
    let keys = rescue.keys.iter().map(|key| format!("{} {}", key.kind(), key.comment()).trim().to_owned());
    Some(RescueView {
        from: rescue.back.word().to_owned(),
        entered: rescue.entered.map(|at| at.to_string()),
        address: node.boot.address,
        host_key: rescue.host_key.as_ref().map(ToString::to_string),
        keys: keys.collect(),
        trouble: rescue.trouble.clone(),
    })
}

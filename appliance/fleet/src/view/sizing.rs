//! How many servers a cloud needs, as people see it.

use serde::{Deserialize, Serialize};

use crate::sizing::{
    Check, Estimate, Instances, Member, Server, Terms, Topology, Unsizable, check, estimate,
};
use crate::{Fleet, State};

/// What was asked for, and what it needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SizingView {
    /// What shall run.
    pub instances: Instances,
    /// The kind of server; none: only the rack that is there was looked at.
    pub server: Option<Server>,
    /// What was taken for granted.
    pub terms: Terms,
    /// Every shape of the rack, with that kind of server.
    pub estimates: Vec<Estimate>,
    /// The rack that is there, where it was asked for.
    pub check: Option<Check>,
}

/// Sizes a cloud; `members`: the rack that is to be compared, if any; `topology`: its shape, none: what its roles say.
///
/// # Errors
/// [`Unsizable`]: what is asked for is nothing, or too much to be counted.
pub fn sizing_view(
    instances: Instances,
    server: Option<Server>,
    members: Option<&[Member]>,
    terms: Terms,
    topology: Option<Topology>,
) -> Result<SizingView, Unsizable> {
    instances.checked()?;
    let of_kind = |server: &Server| {
        Topology::ALL.map(|topology| estimate(&instances, server, &terms, topology)).to_vec()
    };
    let estimates = server.as_ref().map(of_kind).unwrap_or_default();
    let check = members.map(|members| {
        let topology = topology.unwrap_or_else(|| Topology::of(members));
        check(&instances, members, server.as_ref(), &terms, topology)
    });
    Ok(SizingView { instances, server, terms, estimates, check: check.transpose()? })
}

/// What every node is made of that may be counted on, or will be.
pub fn capacity_rows(fleet: &Fleet) -> Vec<Member> {
    let nodes =
        fleet.nodes.values().filter(|node| !matches!(node.state, State::Rejected { .. } | State::Retired));
    let mut rows = nodes
        .map(|node| Member {
            node: node.name.to_string(),
            state: node.state.word().to_owned(),
            roles: node.roles.iter().cloned().collect(),
            server: Server::of(&node.inventory),
            virtualisation: node.inventory.cpu.virtualisation,
        })
        .collect::<Vec<_>>();
    rows.sort_by(|one, other| one.node.cmp(&other.node));
    rows
}

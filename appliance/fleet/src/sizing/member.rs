//! A rack that is there: its nodes, and what a check says of them.

use serde::{Deserialize, Serialize};

use super::{Duties, Nics, Server, Sum, Topology, Unsizable};

/// A node, as far as its size goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its name.
    pub node: String,
    /// Its state in one word: only `ready` and `active` are counted.
    pub state: String,
    /// Its roles.
    pub roles: Vec<String>,
    /// What it is made of.
    pub server: Server,
    /// Whether it can run virtual machines in hardware.
    pub virtualisation: bool,
}

/// What there is of a role.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RoleCheck {
    /// Which.
    pub role: String,
    /// Who has it, and is counted.
    pub nodes: Vec<String>,
    /// How it was counted.
    pub sums: Vec<Sum>,
    /// What is missing; none: nothing is.
    pub missing: Option<String>,
}

/// A node that does not count, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Uncounted {
    /// Its name.
    pub node: String,
    /// Why.
    pub why: String,
}

/// A rack beside what is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// The shape that it was taken for.
    pub topology: Topology,
    /// Whether nothing is missing.
    pub enough: bool,
    /// Each role.
    pub roles: Vec<RoleCheck>,
    /// Nodes that are ready and have no role yet.
    pub free: Vec<String>,
    /// Nodes that do not count.
    pub uncounted: Vec<Uncounted>,
}

impl Member {
    pub(super) fn has(&self, role: &str) -> bool {
        self.roles.iter().any(|own| own == role)
    }

    pub(super) fn duties(&self, topology: Topology) -> Duties {
        Duties {
            control: self.has("control"),
            storage: self.has("storage"),
            shares_nic: topology.shares_nic(),
        }
    }

    /// Why it does not count in this shape.
    pub(super) fn is_out(&self, topology: Topology) -> Option<String> {
        if !["ready", "active"].contains(&self.state.as_str()) {
            return Some(format!("it is {}", self.state));
        }
        let Nics { control, network, compute } = topology.nics();
        let needed = [("control", control), ("network", network), ("compute", compute)];
        let mine = needed.into_iter().filter(|(role, _)| self.has(role));
        let (role, needs) = mine.max_by_key(|(_, needs)| *needs)?;
        let has = self.server.nics();
        (has < needs).then(|| Unsizable::Nics { role, needs, has }.to_string())
    }
}

impl Topology {
    /// The least demanding shape that nodes with these roles are of.
    pub fn of(members: &[Member]) -> Self {
        let mut with_roles = members.iter().filter(|member| !member.roles.is_empty());
        if let (Some(only), None) = (with_roles.next(), with_roles.next())
            && only.has("control")
            && only.has("compute")
        {
            return Topology::AllInOne;
        }
        match members.iter().find(|member| member.has("network")) {
            None => Topology::Basic,
            Some(member) if member.has("control") => Topology::Advanced1,
            Some(_) => Topology::Full1,
        }
    }
}

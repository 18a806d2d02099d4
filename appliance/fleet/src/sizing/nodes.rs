//! What a shape of the rack needs, and the sums that say so.

use serde::{Deserialize, Serialize};

use super::{Nics, Resource, Topology};

/// A sum as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sum {
    /// What is counted: a resource of a compute node, or a role.
    pub of: String,
    /// With the numbers put in.
    pub text: String,
}

/// Nodes by role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nodes {
    /// Control nodes.
    pub control: u64,
    /// Network nodes; 0 too where the control node is that.
    pub network: u64,
    /// Compute nodes, the spare ones among them.
    pub compute: u64,
    /// Storage nodes.
    pub storage: u64,
    /// All of them.
    pub servers: u64,
}

/// What a shape needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Estimate {
    /// Which shape.
    pub topology: Topology,
    /// NICs that each node needs.
    pub nics: Nics,
    /// None: it can't be built so.
    pub nodes: Option<Nodes>,
    /// What decides how many instances a server carries.
    pub limit: Option<Resource>,
    /// So many instances a server carries.
    pub carries: Option<u64>,
    /// Every sum, in the order in which it was made.
    pub sums: Vec<Sum>,
    /// Why it can't be built so.
    pub why: Option<String>,
}

impl Sum {
    pub(super) fn new(of: &str, text: impl Into<String>) -> Self {
        Self { of: of.to_owned(), text: text.into() }
    }
}

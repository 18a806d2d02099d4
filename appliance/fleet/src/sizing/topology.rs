//! The shapes that a rack may have: which roles have servers of their own, and how many NICs each needs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Topology {
    /// One NIC in each server, and no network node: instances are on the network that the servers are on.
    #[serde(rename = "basic")]
    Basic,
    /// Two NICs, and a switch with VLANs: the control node connects instances to the outside.
    #[serde(rename = "advanced-1")]
    Advanced1,
    /// The same without VLANs: the control node has a third NIC.
    #[serde(rename = "advanced-2")]
    Advanced2,
    /// Network nodes of their own, and one NIC in compute nodes.
    #[serde(rename = "full-1")]
    Full1,
    /// Network nodes with three NICs, and two everywhere else.
    #[serde(rename = "full-2")]
    Full2,
    /// One server is everything.
    #[serde(rename = "all-in-one")]
    AllInOne,
}

/// Who connects instances to the outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// The server that they run on.
    Compute,
    /// The control node.
    Control,
    /// Nodes that do nothing else.
    Network,
}

/// How many NICs a node needs; 0: there is no such node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nics {
    /// A control node.
    pub control: u64,
    /// A network node.
    pub network: u64,
    /// A compute node.
    pub compute: u64,
}

impl Topology {
    /// All, the least demanding first.
    pub const ALL: [Topology; 6] = [
        Topology::Basic,
        Topology::Advanced1,
        Topology::Advanced2,
        Topology::Full1,
        Topology::Full2,
        Topology::AllInOne,
    ];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Topology::Basic => "basic",
            Topology::Advanced1 => "advanced-1",
            Topology::Advanced2 => "advanced-2",
            Topology::Full1 => "full-1",
            Topology::Full2 => "full-2",
            Topology::AllInOne => "all-in-one",
        }
    }

    /// How many NICs each node needs.
    pub fn nics(self) -> Nics {
        let (control, network, compute) = match self {
            Topology::Basic => (1, 0, 1),
            Topology::Advanced1 => (2, 0, 2),
            Topology::Advanced2 => (3, 0, 2),
            Topology::Full1 => (1, 2, 1),
            Topology::Full2 => (2, 3, 2),
            Topology::AllInOne => (1, 0, 0),
        };
        Nics { control, network, compute }
    }

    /// Who connects instances to the outside.
    pub fn gateway(self) -> Gateway {
        match self {
            Topology::Basic | Topology::AllInOne => Gateway::Compute,
            Topology::Advanced1 | Topology::Advanced2 => Gateway::Control,
            Topology::Full1 | Topology::Full2 => Gateway::Network,
        }
    }

    /// Whether instances' traffic shares a NIC with everything else.
    pub fn shares_nic(self) -> bool {
        match self {
            Topology::Basic | Topology::Full1 | Topology::AllInOne => true,
            Topology::Advanced1 | Topology::Advanced2 | Topology::Full2 => false,
        }
    }

    /// Whether what goes outside comes in by one NIC and leaves by another; otherwise both by the same one.
    pub fn crosses(self) -> bool {
        match self {
            Topology::Advanced2 | Topology::Full1 | Topology::Full2 => true,
            Topology::Basic | Topology::Advanced1 | Topology::AllInOne => false,
        }
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Topology {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let known = Topology::ALL.into_iter().find(|topology| topology.word() == text);
        known.ok_or_else(|| format!("one of {}", Topology::ALL.map(Topology::word).join(", ")))
    }
}

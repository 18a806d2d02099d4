//! Provisioning networks as people see them.

use std::net::Ipv4Addr;

use pxe::dhcp::{Mode, Stance};
use serde::{Deserialize, Serialize};

use crate::Fleet;
use crate::network::{Network, Noticed, Rule};

/// A provisioning network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NetworkRow {
    /// The kernel's name of the interface.
    pub interface: String,
    /// The controller's address on it.
    pub address: Ipv4Addr,
    /// Its subnets: its own, then those behind relays.
    pub subnets: Vec<String>,
    /// `full`, `known`, `proxy` or `off`: whom DHCP answers, as configured.
    pub dhcp: String,
    /// `serving`; `listening`: not looked at yet; `paused` or `proxy`: beside another server.
    pub state: String,
    /// When the last look for other servers ended, RFC 3339.
    pub looked: Option<String>,
    /// Other DHCP servers.
    pub others: Vec<OtherRow>,
    /// What to do about them, when something has to be done.
    pub advice: Option<String>,
}

/// Another DHCP server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OtherRow {
    /// What it calls itself.
    pub address: Ipv4Addr,
    /// The site, when it is another Rackwright controller.
    pub site: Option<String>,
    /// Whether it tells machines what to boot.
    pub boots: bool,
    /// How it was noticed first.
    pub noticed: String,
    /// When, RFC 3339.
    pub first: String,
    /// When last, RFC 3339.
    pub last: String,
}

/// Every network, by interface.
pub fn network_rows(fleet: &Fleet) -> Vec<NetworkRow> {
    fleet.networks.values().map(row).collect()
}

fn row(network: &Network) -> NetworkRow {
    let stance = network.stance();
    NetworkRow {
        interface: network.interface.clone(),
        address: network.own,
        subnets: network.subnets.iter().map(ToString::to_string).collect(),
        dhcp: if network.proxy { "proxy" } else { mode(network.mode) }.to_owned(),
        state: match stance {
            Stance::Serve if network.proxy => "proxy",
            Stance::Serve => "serving",
            Stance::Listening => "listening",
            Stance::Paused(_) => "paused",
            Stance::Proxy => "proxy",
        }
        .to_owned(),
        looked: network.looked.map(|at| at.to_string()),
        others: network.servers.iter().map(|(address, server)| other(*address, server)).collect(),
        advice: advice(network, stance).map(str::to_owned),
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::Full => "full",
        Mode::KnownOnly => "known",
        Mode::Off => "off",
    }
}

fn other(address: Ipv4Addr, server: &crate::network::Server) -> OtherRow {
    OtherRow {
        address,
        site: server.site.clone(),
        boots: server.boots,
        noticed: match server.noticed {
            Noticed::Answered => "answered a question of ours",
            Noticed::Heard => "was heard answering a machine",
            Noticed::Chosen => "a machine took its offer",
        }
        .to_owned(),
        first: server.first.to_string(),
        last: server.last.to_string(),
    }
}

fn advice(network: &Network, stance: Stance) -> Option<&'static str> {
    match (stance, network.rule) {
        (Stance::Paused(_), _) => Some(
            "Nobody is answered and jobs wait. Switch it off, or set for this network foreign = \"proxy\" (it gives the \
             addresses, we say what to boot) or \"ignore\".",
        ),
        (Stance::Serve, Rule::Pause) if !network.servers.is_empty() => {
            Some("It will stop by itself; jobs wait until it has.")
        }
        _ => None,
    }
}

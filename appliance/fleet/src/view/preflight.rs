//! Checks of the network between nodes, and what is connected to what, as people see them.

use protocol::Link;
use serde::{Deserialize, Serialize};

use super::{NetworkRow, network_rows};
use crate::Fleet;
use crate::preflight::{Preflight, Severity, attachments};

/// A check of the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreflightView {
    /// Its id.
    pub id: String,
    /// `running`, `done`, `stopped`.
    pub state: String,
    /// What is being done while it runs: `gathering`, `opening`, `reaching`, `transferring`, `closing`.
    pub stage: Option<String>,
    /// Which round of transfers, from 1; 0 before.
    pub round: usize,
    /// How many there are.
    pub rounds: usize,
    /// When it was begun, RFC 3339.
    pub begun: String,
    /// When it ended, RFC 3339.
    pub ended: Option<String>,
    /// Seconds of each transfer; 0: none was wanted.
    pub transfer_seconds: u32,
    /// Nothing is wrong: no finding but notes, and no other DHCP server in the way.
    pub healthy: bool,
    /// Who takes part.
    pub nodes: Vec<CheckedNode>,
    /// Who can't, and why.
    pub absent: Vec<CheckedNode>,
    /// Where pairs were tried.
    pub networks: Vec<CheckedNetwork>,
    /// What is wrong, the worst first.
    pub findings: Vec<CheckFinding>,
    /// What came of each pair, one for each way.
    pub pairs: Vec<PairRow>,
    /// The provisioning networks as they are now, with other DHCP servers on them.
    pub provision: Vec<NetworkRow>,
}

/// A node of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedNode {
    /// Its name.
    pub node: String,
    /// Why it was not checked, or not to the end.
    pub why: Option<String>,
}

/// A network of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedNetwork {
    /// Its addresses.
    pub subnet: String,
    /// How many nodes were in it.
    pub nodes: usize,
    /// Pairs, each way for itself, that were tried.
    pub ways: usize,
    /// And of these, such as something has arrived by.
    pub arrived: usize,
    /// Transfers that were measured.
    pub transfers: usize,
    /// The middle of them, in bit/s.
    pub median_bits_per_second: Option<u64>,
}

/// Something that was found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckFinding {
    /// `fail`, `warn`, `note`.
    pub severity: String,
    /// What kind of thing: `unreachable`, `one-way`, `split`, `mtu`, `mtu-setting`, `duplicate`, `slow`, `link-speed`,
    /// `cabling`, `lost`, `left-out`.
    pub code: String,
    /// Whom it is about.
    pub nodes: Vec<String>,
    /// Where.
    pub network: Option<String>,
    /// What, in a sentence.
    pub text: String,
    /// What to do about it; empty when nothing has to be done.
    pub next: String,
}

/// What came of packets from one node to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PairRow {
    /// Who sent.
    pub from: String,
    /// To whom.
    pub to: String,
    /// In which network.
    pub network: String,
    /// Something has arrived.
    pub arrived: bool,
    /// The largest IPv4 packet that has, in bytes.
    pub largest_bytes: u16,
    /// The fastest answer, in microseconds.
    pub rtt_us: Option<u32>,
    /// What arrived when as much was sent as goes, in bit/s.
    pub bits_per_second: Option<u64>,
}

/// One end of a cable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MapRow {
    /// The node.
    pub node: String,
    /// The kernel's name of the link.
    pub link: String,
    /// Its address on the wire.
    pub mac: String,
    /// Something is at the other end.
    pub carrier: bool,
    /// What was negotiated, in Mbit/s.
    pub speed_mbps: Option<u32>,
    /// What it is set to, in bytes.
    pub mtu: u32,
    /// Its addresses, with their prefix lengths.
    pub addresses: Vec<String>,
    /// The switch, as it calls itself; none: no LLDP was heard.
    pub switch: Option<String>,
    /// The switch's identifier.
    pub chassis: Option<String>,
    /// The port.
    pub port: Option<String>,
    /// What people call the port.
    pub port_description: Option<String>,
    /// The VLAN of what comes without a tag, where the switch says so.
    pub vlan: Option<u16>,
}

/// A check. Where it is while it runs is known to whoever carries it out.
pub fn preflight_view(fleet: &Fleet, check: &Preflight) -> PreflightView {
    let name = |member: u16| {
        check.members.get(usize::from(member)).map(|member| member.name.clone()).unwrap_or_default()
    };
    let subnet = |network: u16| {
        check.networks.get(usize::from(network)).map(|network| network.subnet.to_string()).unwrap_or_default()
    };
    let provision = network_rows(fleet);
    let findings = check.findings.iter().map(|finding| CheckFinding {
        severity: finding.severity.word().to_owned(),
        code: finding.code.clone(),
        nodes: finding.nodes.iter().cloned().collect(),
        network: finding.network.map(|network| network.to_string()),
        text: finding.text.clone(),
        next: finding.next.clone(),
    });
    let fine = check.findings.iter().all(|finding| finding.severity == Severity::Note);
    PreflightView {
        id: check.id.to_string(),
        state: check.state.word().to_owned(),
        stage: None,
        round: 0,
        rounds: 0,
        begun: check.begun.to_string(),
        ended: check.ended.map(|at| at.to_string()),
        transfer_seconds: check.terms.stream_seconds,
        healthy: fine && provision.iter().all(|row| row.advice.is_none()),
        nodes: check
            .members
            .iter()
            .map(|member| CheckedNode { node: member.name.clone(), why: member.lost.clone() })
            .collect(),
        absent: check
            .absent
            .iter()
            .map(|(node, why)| CheckedNode { node: node.clone(), why: Some(why.clone()) })
            .collect(),
        networks: (0..).zip(&check.networks).map(|(at, network)| checked(check, at, network)).collect(),
        findings: findings.collect(),
        pairs: check
            .pairs
            .iter()
            .map(|pair| PairRow {
                from: name(pair.from),
                to: name(pair.to),
                network: subnet(pair.network),
                arrived: pair.arrived,
                largest_bytes: pair.largest,
                rtt_us: pair.rtt_us,
                bits_per_second: pair.kbit.map(|kbit| kbit.saturating_mul(1000)),
            })
            .collect(),
        provision,
    }
}

fn checked(check: &Preflight, at: u16, network: &crate::preflight::Network) -> CheckedNetwork {
    let pairs = || check.pairs.iter().filter(|pair| pair.network == at);
    let mut rates = pairs().filter_map(|pair| pair.kbit).collect::<Vec<_>>();
    rates.sort_unstable();
    CheckedNetwork {
        subnet: network.subnet.to_string(),
        nodes: network.places.len(),
        ways: pairs().count(),
        arrived: pairs().filter(|pair| pair.arrived).count(),
        transfers: rates.len(),
        median_bits_per_second: rates.get(rates.len() / 2).map(|kbit| kbit.saturating_mul(1000)),
    }
}

/// Every link of these nodes, by node and link.
pub fn map_rows<'a>(nodes: impl IntoIterator<Item = (&'a str, &'a [Link])>) -> Vec<MapRow> {
    let all = attachments(nodes).into_iter().map(|end| {
        let (link, neighbour) = (end.link, end.neighbour);
        MapRow {
            node: end.node.to_owned(),
            link: link.name.clone(),
            mac: link.mac.to_string(),
            carrier: link.carrier,
            speed_mbps: link.speed_mbps,
            mtu: link.mtu,
            addresses: link.addresses.iter().map(|own| format!("{}/{}", own.address, own.prefix)).collect(),
            switch: neighbour.map(crate::preflight::switch),
            chassis: neighbour.map(|neighbour| neighbour.chassis.clone()),
            port: neighbour.map(|neighbour| neighbour.port.clone()),
            port_description: neighbour
                .map(|neighbour| neighbour.port_description.clone())
                .filter(|text| !text.is_empty()),
            vlan: neighbour.and_then(|neighbour| neighbour.vlan),
        }
    });
    all.collect()
}

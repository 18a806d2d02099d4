//! Looks at the network between nodes: what an agent tells of its links, what it is told to try, and what came of it. The packets that
//! nodes send each other are in [`crate::probe`].
//!
//! Both stages ask the same way, all the time: a look at the network is of the whole rack, whatever each node runs.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::bounds::{TooMuch, count, texts};
use crate::lldp::Neighbour;
use crate::{HardwareAddress, ReportKey};

/// Links of one node that are told of.
pub const LINKS_MAX: usize = 128;
/// Addresses of one link.
pub const ADDRESSES_MAX: usize = 16;
/// Devices that are heard at one link: more than one is a hub, or a switch that passes LLDP on.
pub const NEIGHBOURS_MAX: usize = 8;
/// Nodes that are checked together.
pub const MEMBERS_MAX: usize = 128;
/// Networks that are looked at in one check.
pub const NETWORKS_MAX: usize = 8;

/// The agent tells of its links, and asks whether anything is to be tried. The answer is held back until there is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NetworkAsk {
    /// How long the controller may hold the answer back, in seconds; at most 30.
    pub wait_seconds: u32,
    /// Cards, and whatever has an address and a card under it.
    pub links: Vec<Link>,
    /// What came of the last step; told until an answer has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<StepDone>,
}

/// One network interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The kernel's name.
    pub name: String,
    /// Its address on the wire.
    pub mac: HardwareAddress,
    /// It is up, and something is at the other end.
    pub carrier: bool,
    /// The largest packet that it is set to, in bytes.
    pub mtu: u32,
    /// What was negotiated, in Mbit/s; none where the driver does not know.
    #[serde(default)]
    pub speed_mbps: Option<u32>,
    /// Its IPv4 addresses.
    #[serde(default)]
    pub addresses: Vec<LinkAddress>,
    /// Who says by LLDP that it is at the other end.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
}

/// An IPv4 address, and how much of it is the network's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The prefix length.
    pub prefix: u8,
}

/// The answer to [`NetworkAsk`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkReply {
    /// What is to be tried now; none: ask again.
    #[serde(default)]
    pub step: Option<NetworkStep>,
}

/// One step of a check. Nothing in it is left for the agent to choose; it may be carried out twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkStep {
    /// The check.
    pub check: u32,
    /// Which of its steps.
    pub number: u32,
    /// What authenticates the packets of this check. Nodes of the check have it, and nobody else.
    pub key: ReportKey,
    /// What this node is called in packets.
    pub me: u16,
    /// The check is over for this node: nothing is answered any more.
    #[serde(default)]
    pub over: bool,
    /// Where packets are answered from now on, until the check is over.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Whose packets are answered, and nobody else's.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// Where packets are sent to now.
    #[serde(default)]
    pub targets: Vec<Aim>,
    /// Own addresses of which it is asked now whether another has them too.
    #[serde(default)]
    pub claims: Vec<Claim>,
    /// As much as goes is sent there now.
    #[serde(default)]
    pub send: Option<Stream>,
    /// From this member as much as goes comes now, for so many milliseconds.
    #[serde(default)]
    pub hear: Option<Heed>,
}

/// An own address that takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// What its network is called in packets.
    pub network: u16,
    /// The address.
    pub address: Ipv4Addr,
}

/// Another member's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// What it is called in packets.
    pub number: u16,
    /// The network.
    pub network: u16,
    /// The address there.
    pub address: Ipv4Addr,
}

/// Where packets are sent to, and how large they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aim {
    /// The member.
    pub to: u16,
    /// The network.
    pub network: u16,
    /// The address there.
    pub address: Ipv4Addr,
    /// IPv4 packets of these sizes in bytes, none of which may be fragmented, beside small ones.
    pub sizes: Vec<u16>,
}

/// An own address, on the link where it is claimed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// The kernel's name of the link.
    pub link: String,
    /// The address.
    pub address: Ipv4Addr,
}

/// A transfer of as much as goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// The member that counts what comes.
    pub to: u16,
    /// The network.
    pub network: u16,
    /// The address there.
    pub address: Ipv4Addr,
    /// For so long; no more than [`Stream::MOST_MS`].
    pub milliseconds: u32,
}

impl Stream {
    /// The longest transfer, in milliseconds.
    pub const MOST_MS: u32 = 10_000;
}

/// Who is about to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heed {
    /// The member.
    pub from: u16,
    /// The network.
    pub network: u16,
    /// For so long.
    pub milliseconds: u32,
}

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepDone {
    /// The check.
    pub check: u32,
    /// The step.
    pub number: u32,
    /// Why something of it could not be tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What was answered, one for every target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answered: Vec<Answered>,
    /// What has come from others since the check began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub heard: Vec<Heard>,
    /// Who else has an own address.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rivals: Vec<Rival>,
    /// What came of the transfer to this node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<Streamed>,
}

/// What a target answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answered {
    /// The member.
    pub to: u16,
    /// The network.
    pub network: u16,
    /// How many packets it answered.
    pub packets: u32,
    /// The largest of them, in bytes.
    pub largest: u16,
    /// The fastest answer, in microseconds.
    pub rtt_us: u32,
}

/// What has come from a member: whatever it asked, whether our answer reached it or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heard {
    /// The member.
    pub from: u16,
    /// The network.
    pub network: u16,
    /// How many packets.
    pub packets: u32,
    /// The largest of them, in bytes.
    pub largest: u16,
}

/// Somebody with an address that is this node's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rival {
    /// The address.
    pub address: Ipv4Addr,
    /// Who else has it.
    pub mac: HardwareAddress,
}

/// A transfer, as it was counted where it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streamed {
    /// Who sent.
    pub from: u16,
    /// The network.
    pub network: u16,
    /// How much came.
    pub bytes: u64,
    /// From the first byte to the last.
    pub micros: u64,
}

impl NetworkAsk {
    /// Whether everything in it stays within bounds.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn check(&self) -> Result<(), TooMuch> {
        count("links", self.links.len(), LINKS_MAX)?;
        for link in &self.links {
            count("addresses of a link", link.addresses.len(), ADDRESSES_MAX)?;
            count("neighbours of a link", link.neighbours.len(), NEIGHBOURS_MAX)?;
            texts("a name of a link", [&link.name])?;
            texts("a text of a neighbour", link.neighbours.iter().flat_map(Neighbour::texts))?;
        }
        self.done.as_ref().map_or(Ok(()), StepDone::check)
    }
}

impl StepDone {
    fn check(&self) -> Result<(), TooMuch> {
        let most = MEMBERS_MAX * NETWORKS_MAX;
        texts("why a step failed", &self.error)?;
        count("answers", self.answered.len(), most)?;
        count("members that were heard", self.heard.len(), most)?;
        count("rivals", self.rivals.len(), most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TEXT_BYTES_MAX;

    type Change = fn(&mut NetworkAsk);

    fn link() -> Link {
        let address = LinkAddress { address: Ipv4Addr::LOCALHOST, prefix: 8 };
        Link {
            name: "eno1".to_owned(),
            mac: "52:54:00:00:00:01".parse().unwrap(),
            carrier: true,
            mtu: 1500,
            speed_mbps: None,
            addresses: vec![address; ADDRESSES_MAX],
            neighbours: vec![Neighbour::default(); NEIGHBOURS_MAX],
        }
    }

    fn long() -> String {
        "x".repeat(TEXT_BYTES_MAX + 1)
    }

    fn full() -> NetworkAsk {
        let most = MEMBERS_MAX * NETWORKS_MAX;
        let rival = Rival { address: Ipv4Addr::LOCALHOST, mac: link().mac };
        let done = StepDone {
            answered: vec![Answered { to: 1, network: 0, packets: 1, largest: 1, rtt_us: 1 }; most],
            heard: vec![Heard { from: 1, network: 0, packets: 1, largest: 1 }; most],
            rivals: vec![rival; most],
            ..StepDone::default()
        };
        NetworkAsk { wait_seconds: 30, links: vec![link(); LINKS_MAX], done: Some(done) }
    }

    #[test]
    fn whatever_a_node_can_make_long_is_bounded() {
        assert_eq!(full().check(), Ok(()));
        let table: [Change; 9] = [
            |ask| ask.links.push(link()),
            |ask| ask.links[3].addresses.push(LinkAddress { address: Ipv4Addr::LOCALHOST, prefix: 8 }),
            |ask| ask.links[3].neighbours.push(Neighbour::default()),
            |ask| ask.links[3].name = long(),
            |ask| ask.links[3].neighbours[2].port_description = long(),
            |ask| ask.done.as_mut().unwrap().error = Some(long()),
            |ask| {
                let answered = &mut ask.done.as_mut().unwrap().answered;
                answered.push(answered[0]);
            },
            |ask| {
                let heard = &mut ask.done.as_mut().unwrap().heard;
                heard.push(heard[0]);
            },
            |ask| {
                let rivals = &mut ask.done.as_mut().unwrap().rivals;
                rivals.push(rivals[0].clone());
            },
        ];
        for (number, change) in table.into_iter().enumerate() {
            let mut ask = full();
            change(&mut ask);
            assert!(ask.check().is_err(), "{number}");
        }
    }

    #[test]
    fn an_older_and_a_newer_agent_are_told_apart_by_what_they_leave_out() {
        let text = r#"{"wait_seconds":30,"links":[]}"#;
        assert_eq!(serde_json::from_str::<NetworkAsk>(text).unwrap().wait_seconds, 30);
        let later = r#"{"step":{"check":1,"number":2,"key":"KEY","me":3,"later":true},"later":1}"#;
        let later = later.replace("KEY", &"0".repeat(64));
        let step = serde_json::from_str::<NetworkReply>(&later).unwrap().step.unwrap();
        assert_eq!((step.check, step.number, step.me, step.over), (1, 2, 3, false));
    }
}

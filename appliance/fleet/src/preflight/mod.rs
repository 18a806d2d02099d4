//! A check of the network between nodes: who takes part, what each is told to try and when, what the results mean.
//!
//! [`Course`] says what every node is to try now, [`judge()`] what came of it, in words that name a common cause once. A
//! check is kept from its beginning, so that a controller that starts again begins it anew; what nodes have found out so far is not.

mod cabling;
mod course;
mod judge;
mod schedule;
mod speed;
mod verb;

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use protocol::{Link, NodeId, Rival};
use serde::{Deserialize, Serialize};

use crate::Time;
use crate::rollout::Group;

pub use cabling::{Attachment, attachments, switch};
pub use course::{Course, Stage};
pub use judge::judge;
pub use schedule::{rounds, sizes};
pub(crate) use verb::carry_out;
pub use verb::{abandon, busy};

/// Seconds of one transfer, when nobody says otherwise.
pub const STREAM_SECONDS: u32 = 1;
/// Most seconds of one transfer.
pub const STREAM_SECONDS_MAX: u32 = 10;

/// A check's id, shown as `c-` and eight hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CheckId(pub u32);

impl fmt::Display for CheckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c-{:08x}", self.0)
    }
}

/// What an operator wants checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Whom; every node that is let in otherwise.
    pub group: Option<Group>,
    /// How.
    pub terms: Terms,
}

/// How a check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// For so many seconds each pair sends as much as goes, each way; 0: none does.
    pub stream_seconds: u32,
    /// That, though images are sent on the same network.
    pub beside_jobs: bool,
}

/// What is done with checks.
#[derive(Clone, Debug)]
pub enum Verb {
    /// An operator begins one.
    Begin(Box<Wish>),
    /// An operator has seen enough.
    Stop,
    /// All was tried.
    End(Box<Results>),
}

/// The last check, from its beginning on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// Its id.
    pub id: CheckId,
    /// When it was begun.
    pub begun: Time,
    /// When it ended.
    pub ended: Option<Time>,
    /// How.
    pub terms: Terms,
    /// What becomes of it.
    pub state: PreflightState,
    /// Who takes part; packets call them by their places here.
    pub members: Vec<Member>,
    /// Nodes that can't take part, and why.
    pub absent: Vec<(String, String)>,
    /// Where pairs were tried.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// What came of each pair, one for each way.
    #[serde(default)]
    pub pairs: Vec<Pair>,
    /// What is wrong, the worst first.
    #[serde(default)]
    pub findings: Vec<Finding>,
}

/// What becomes of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreflightState {
    /// Goes on.
    Running,
    /// All was tried.
    Done,
    /// An operator has ended it.
    Stopped,
}

impl PreflightState {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            PreflightState::Running => "running",
            PreflightState::Done => "done",
            PreflightState::Stopped => "stopped",
        }
    }
}

/// A node that takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Who.
    pub node: NodeId,
    /// Its name then.
    pub name: String,
    /// Its maker's name for it: nodes of one kind are cabled alike.
    #[serde(default)]
    pub product: String,
    /// Its links, as it told of them.
    #[serde(default)]
    pub links: Vec<Link>,
    /// Why it was not there, or not to the end.
    #[serde(default)]
    pub lost: Option<String>,
}

/// A network that two members or more have addresses in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its addresses.
    pub subnet: Ipv4Net,
    /// Who has which.
    pub places: Vec<Place>,
}

/// A member in a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The member.
    pub member: u16,
    /// Its address.
    pub address: Ipv4Addr,
    /// The kernel's name of the link.
    pub link: String,
    /// The largest packet that the link is set to, in bytes.
    pub mtu: u32,
    /// What the link has negotiated, in Mbit/s.
    pub speed_mbps: Option<u32>,
}

/// What came of packets from one member to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// Who sent.
    pub from: u16,
    /// To whom.
    pub to: u16,
    /// In which network.
    pub network: u16,
    /// Something has arrived.
    pub arrived: bool,
    /// The largest packet that has, in bytes.
    pub largest: u16,
    /// The fastest answer, in microseconds.
    pub rtt_us: Option<u32>,
    /// What arrived when as much was sent as goes, in kbit/s.
    pub kbit: Option<u64>,
}

/// What came of a check, before anybody has judged it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// Of which.
    pub id: CheckId,
    /// Who took part.
    pub members: Vec<Member>,
    /// Where.
    pub networks: Vec<Network>,
    /// What came of each pair.
    pub pairs: Vec<Pair>,
    /// Who else has an address of a member.
    pub rivals: Vec<(u16, Rival)>,
    /// What was left out, and why.
    pub left_out: Vec<String>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// It will not work.
    Fail,
    /// It will not work well, or is not as it was meant to be.
    Warn,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// One word.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Fail => "fail",
            Severity::Warn => "warn",
            Severity::Note => "note",
        }
    }
}

/// Something that was found out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of thing, for scripts: `unreachable`, `one-way`, `split`, `mtu`, `mtu-setting`, `duplicate`, `slow`,
    /// `link-speed`, `cabling`, `lost`, `left-out`.
    pub code: String,
    /// Whom it is about, by name.
    pub nodes: BTreeSet<String>,
    /// Where.
    pub network: Option<Ipv4Net>,
    /// What, in a sentence.
    pub text: String,
    /// What to do about it.
    pub next: String,
}

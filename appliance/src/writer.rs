//! The one loop that changes anything: events in, decided one after the other, saved together, effects and answers out
//! after the commit.
//!
//! Everybody else reads an immutable [`World`], which shares with the next one all that did not change. A batch that
//! can't be saved never happened: its answers are refusals and the world stays as it was. Only a DHCP client whose lease
//! runs is still answered then, with the rest of it. Offers of addresses promise nothing: they are not saved, and are
//! sent before the commit, unless it is known that nothing can be saved.

mod addresses;
mod boots;
mod draft;
mod import;
mod inbox;
mod network;
mod nics;
#[cfg(test)]
pub(crate) mod passwords_tests;
mod record;
mod run;
mod saver;
#[cfg(test)]
pub(crate) mod tests;
mod told;
mod vacancy;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::event::Effect;
use fleet::network::Rule;
use fleet::{Denied, Fleet, Reply, Site, Time};
use protocol::{HardwareAddress, NodeId};
use pxe::Mac;
use pxe::boot::History;
use pxe::dhcp::{Arrival, Leases, Malformed, Network, Request};
use pxe::trace::Answer;
use tokio::sync::mpsc;

use crate::reservation::Reservation;
pub use addresses::Urgency;
pub use inbox::Core;
use inbox::Input;
use nics::Nics;

/// Everything the daemon knows, as of the last commit.
#[derive(Clone, Debug)]
pub struct World {
    /// Nodes, images, plans, jobs, certificates.
    pub fleet: Arc<Fleet>,
    /// Addresses.
    pub leases: Leases,
    /// The provisioning networks: as configured, with what DHCP does on them now.
    pub networks: Arc<Vec<Network>>,
    /// What became of earlier boots.
    pub history: Arc<History>,
    /// Servers that were made known before they came.
    pub reservations: Arc<BTreeMap<Mac, Reservation>>,
    /// The site, with the addresses that nodes have.
    pub site: Arc<Site>,
    /// Nodes whose state document can't be made, and why.
    pub unsettled: Arc<BTreeMap<NodeId, String>>,
    /// Whose NIC is whose.
    nics: Arc<Nics>,
    /// The number of the log's last line.
    pub seq: u64,
}

/// A provisioning network as it is configured.
#[derive(Clone, Debug)]
pub struct Wired {
    /// Whom DHCP answers, and with what.
    pub dhcp: Network,
    /// What is done beside another DHCP server.
    pub rule: Rule,
}

/// A DHCP packet as it arrived.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The interface it came in by.
    pub interface: Arc<str>,
    /// The UDP payload.
    pub bytes: Vec<u8>,
    /// Port and source.
    pub arrival: Arrival,
}

/// A DHCP packet that was read.
#[derive(Clone, Debug)]
pub struct Question {
    /// The interface it came in by.
    pub interface: Arc<str>,
    /// What it says.
    pub request: Request,
    /// Port and source.
    pub arrival: Arrival,
}

impl Packet {
    /// Reads the packet.
    ///
    /// # Errors
    /// [`Malformed`]: it is not DHCP as a client speaks it.
    pub fn read(self) -> Result<Question, Malformed> {
        let request = Request::parse(&self.bytes)?;
        Ok(Question { interface: self.interface, request, arrival: self.arrival })
    }
}

/// A question with its answer.
#[derive(Debug)]
pub struct Answered {
    /// What was asked.
    pub question: Question,
    /// What to do about it.
    pub answer: DhcpAnswer,
}

/// Answers to questions, in as many parts as there are moments at which they may leave.
pub type Answers = mpsc::UnboundedSender<Vec<Answered>>;

/// What an operator wants of addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AddressWish {
    /// A NIC of a node shall have this address.
    Fix {
        /// The node.
        node: NodeId,
        /// The NIC.
        mac: Mac,
        /// The address.
        address: std::net::Ipv4Addr,
    },
    /// A server that is still to come shall be answered.
    Reserve {
        /// The NIC that will ask.
        mac: Mac,
        /// With this address; otherwise with the next that is free.
        address: Option<std::net::Ipv4Addr>,
    },
    /// What was reserved or fixed for a NIC shall not be any more.
    Unreserve {
        /// The NIC.
        mac: Mac,
    },
    /// An address that is given to nobody for a while may be given again.
    Lift {
        /// The address.
        address: std::net::Ipv4Addr,
    },
    /// Servers that are still to come shall be answered: all of these, or none.
    Import {
        /// Each with its address, if it shall have a certain one.
        rows: Vec<(Mac, Option<std::net::Ipv4Addr>)>,
        /// Only find out whether it can be done.
        dry_run: bool,
    },
}

/// Why an event changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The rules say no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It could not be saved.
    #[error("nothing was changed: {0}")]
    Unsaved(String),
    /// The daemon is stopping.
    #[error("the controller is stopping; ask again when it is back")]
    Stopping,
}

/// What an event brought about, after the commit.
#[derive(Debug)]
pub struct Done {
    /// For whoever brought it.
    pub reply: Reply,
    /// To be done now.
    pub effects: Vec<Effect>,
}

/// What the DHCP socket must do, after the commit.
#[derive(Debug)]
pub enum DhcpAnswer {
    /// Send this; what it promises is durable.
    Send(Box<pxe::dhcp::Reply>),
    /// Say nothing: for this reason, or because the client expects nothing.
    Silence(Answer),
    /// Say nothing: it was not DHCP as a client speaks it.
    Malformed(String),
}

/// The controller's time.
pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The same address in the words of the agents' protocol.
pub(crate) fn hardware(mac: Mac) -> Option<HardwareAddress> {
    mac.to_string().parse().ok()
}

//! What a question is.

use serde::{Deserialize, Serialize};

use crate::answers::Context;
use crate::language::Text;
use crate::table;

/// Which question. The order is that of the table: nothing about one depends on a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Id {
    /// What language we speak.
    Language,
    /// What the site is called.
    Site,
    /// How servers are cabled and who does what.
    Topology,
    /// The card to the site's network.
    UplinkInterface,
    /// How it comes by its address.
    UplinkMethod,
    /// Its address.
    UplinkAddress,
    /// The way out through it.
    UplinkGateway,
    /// The VLAN of the management network.
    ManagementVlan,
    /// The card to the servers.
    ManagementInterface,
    /// This machine's address there.
    ManagementAddress,
    /// Whom DHCP answers there.
    ManagementDhcp,
    /// The addresses of servers there.
    ManagementPool,
    /// The network between instances.
    TunnelNetwork,
    /// Its VLAN.
    TunnelVlan,
    /// The network that instances are reached from.
    ExternalNetwork,
    /// The addresses of it that the cloud may use.
    ExternalPool,
    /// Who knows what time it is.
    TimeServers,
}

impl Id {
    /// Its row of the table.
    #[must_use]
    pub fn question(self) -> &'static Question {
        match self {
            Id::Language => &table::start::LANGUAGE,
            Id::Site => &table::start::SITE,
            Id::Topology => &table::start::TOPOLOGY,
            Id::UplinkInterface => &table::uplink::INTERFACE,
            Id::UplinkMethod => &table::uplink::METHOD,
            Id::UplinkAddress => &table::uplink::ADDRESS,
            Id::UplinkGateway => &table::uplink::GATEWAY,
            Id::ManagementVlan => &table::management::VLAN,
            Id::ManagementInterface => &table::management::INTERFACE,
            Id::ManagementAddress => &table::management::ADDRESS,
            Id::ManagementDhcp => &table::management::DHCP,
            Id::ManagementPool => &table::management::POOL,
            Id::TunnelNetwork => &table::cloud::TUNNEL_NETWORK,
            Id::TunnelVlan => &table::cloud::TUNNEL_VLAN,
            Id::ExternalNetwork => &table::cloud::EXTERNAL_NETWORK,
            Id::ExternalPool => &table::cloud::EXTERNAL_POOL,
            Id::TimeServers => &table::cloud::TIME_SERVERS,
        }
    }

    /// Its key in the answers file, with its table: `uplink.interface`.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.question().key
    }

    /// The question of this key.
    #[must_use]
    pub fn of(key: &str) -> Option<Id> {
        table::QUESTIONS.iter().find(|question| question.key == key).map(|question| question.id)
    }
}

impl From<Id> for String {
    fn from(id: Id) -> String {
        id.key().to_owned()
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(key: String) -> Result<Id, String> {
        Id::of(&key).ok_or_else(|| "there is no such question".to_owned())
    }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// Which.
    pub id: Id,
    /// Its key in the answers file.
    pub key: &'static str,
    /// What an answer is.
    pub kind: Kind,
    /// What is asked, on one line.
    pub title: Text,
    /// What somebody wants to know who does not know what to answer.
    pub help: Text,
    /// Whether there is such a thing at all, with these answers on this machine.
    pub applies: fn(&Context<'_>) -> bool,
    /// Whether everybody is asked; otherwise it is on the review page, with an answer that is right for most.
    pub asked: fn(&Context<'_>) -> bool,
    /// What is right for most; empty where nothing can be proposed.
    pub default: fn(&Context<'_>) -> String,
}

/// What an answer is.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// One of these.
    Choice(&'static [Choice]),
    /// The site's name.
    Site,
    /// A network card.
    Interface {
        /// Whether there may be none.
        optional: bool,
    },
    /// An address of this machine, with its network's prefix.
    Host,
    /// A network.
    Network,
    /// The address of another machine in the network of that answer.
    Neighbour(Id),
    /// A range of addresses in the network of that answer.
    Pool(Id),
    /// A VLAN.
    Vlan {
        /// Whether there may be none.
        optional: bool,
    },
    /// Addresses of machines, anywhere; or none.
    Addresses,
}

/// One of several answers.
#[derive(Clone, Copy, Debug)]
pub struct Choice {
    /// The answer.
    pub word: &'static str,
    /// What it means, on one line.
    pub title: Text,
    /// How it looks; empty where there is nothing to see.
    pub picture: &'static str,
}

impl Choice {
    /// Without a picture.
    #[must_use]
    pub(crate) const fn new(word: &'static str, title: Text) -> Choice {
        Choice { word, title, picture: "" }
    }
}

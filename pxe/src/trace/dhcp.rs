//! A DHCP message as the black box keeps it: what it says of a boot, not what is needed to answer it.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::plain::Plain;
use crate::dhcp::{Ipxe, Kind, ReplyKind, Request, Uuid, VendorClass, Why};

/// Where the `file` field of a DHCP message begins, and how long it is (RFC 2131, 2).
const FILE: std::ops::Range<usize> = 108..236;

/// A DHCP message and its answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dhcp {
    /// What it is.
    pub message: Message,
    /// The port it came to: 67, or 4011 of firmware that has an address.
    pub port: u16,
    /// The interface it came in by.
    pub interface: Plain,
    /// Transaction.
    pub xid: u32,
    /// Seconds since the client began, as it counts them.
    pub secs: u16,
    /// What the client is.
    pub class: Class,
    /// Its vendor class, where that says something else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vendor: Option<Plain>,
    /// It is iPXE, of this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipxe: Option<Plain>,
    /// Its architecture (option 93).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch: Option<u16>,
    /// The UUID that its board claims, all zeros too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<Plain>,
    /// The relay it came through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay: Option<Ipv4Addr>,
    /// The address it asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requested: Option<Ipv4Addr>,
    /// The address it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uses: Option<Ipv4Addr>,
    /// The server it has chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Ipv4Addr>,
    /// What it was answered.
    pub answer: Answer,
}

/// Message types of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// Looks for servers.
    Discover,
    /// Takes an offer, or keeps what it has.
    Request,
    /// Somebody else uses the address.
    Decline,
    /// Needs the address no longer.
    Release,
    /// Has an address and wants the rest.
    Inform,
}

/// What a client says it is (option 60).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// PXE firmware.
    Pxe,
    /// UEFI's HTTP boot.
    Http,
    /// Something else: an operating system, a service processor.
    Other,
    /// Does not say.
    Absent,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "sent", rename_all = "kebab-case")]
pub enum Answer {
    /// An offer.
    Offer {
        /// The address offered; none beside a DHCP server that owns the addresses.
        address: Option<Ipv4Addr>,
        /// What to boot.
        boot: Option<Plain>,
    },
    /// An acknowledgement.
    Ack {
        /// The address given, if one is.
        address: Option<Ipv4Addr>,
        /// What to boot.
        boot: Option<Plain>,
    },
    /// Not that address.
    Nak,
    /// Nothing: the client expects nothing.
    Noted,
    /// Nothing, though the client waits.
    Silence {
        /// The kind of reason.
        cause: Silence,
        /// The reason.
        why: Plain,
    },
}

/// Kinds of reasons for a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Silence {
    /// DHCP is off on that network.
    Off,
    /// It is not known yet whether another DHCP server is there.
    Listening,
    /// Another DHCP server is there, and so we say nothing.
    StoodBack,
    /// Nobody has made the machine known.
    Stranger,
    /// No loader for its architecture.
    Arch,
    /// It does not say its architecture.
    NoArch,
    /// It chose another server.
    OtherServer,
    /// No address is free.
    PoolExhausted,
    /// The relay is none of ours.
    Relay,
    /// It means another network.
    Subnet,
    /// Its address was found in use.
    InUse,
    /// Its fixed address is in another network than the one it asks on.
    Elsewhere,
    /// Any other reason.
    Other,
}

impl Dhcp {
    /// What is kept of a message.
    #[must_use]
    pub fn new(request: &Request, port: u16, interface: &str, answer: Answer) -> Dhcp {
        let given = |address: Ipv4Addr| Some(address).filter(|address| !address.is_unspecified());
        let (class, vendor) = match &request.vendor {
            VendorClass::Pxe => (Class::Pxe, None),
            VendorClass::Http => (Class::Http, None),
            other @ (VendorClass::Probe | VendorClass::Other(_)) => {
                (Class::Other, Some(Plain::new(&other.to_string())))
            }
            VendorClass::Absent => (Class::Absent, None),
        };
        Dhcp {
            message: request.kind.into(),
            port,
            interface: interface.into(),
            xid: request.xid,
            secs: request.secs,
            class,
            vendor,
            ipxe: request.ipxe.map(version),
            arch: request.arch.map(|arch| arch.0),
            uuid: request.machine_id.as_deref().and_then(uuid),
            relay: given(request.giaddr),
            requested: request.requested,
            uses: given(request.ciaddr),
            server: request.server_id,
            answer,
        }
    }

    /// Whether it boots from the network.
    #[must_use]
    pub fn boots(&self) -> bool {
        self.ipxe.is_some() || matches!(self.class, Class::Pxe | Class::Http)
    }

    /// Whether it is the firmware's own, not iPXE's.
    #[must_use]
    pub fn is_firmware(&self) -> bool {
        self.ipxe.is_none() && self.boots()
    }

    /// The address that the machine has after this, as far as one can tell: ours, or the one that it takes from
    /// another server.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        let given = match &self.answer {
            Answer::Offer { address, .. } | Answer::Ack { address, .. } => *address,
            Answer::Nak => return None,
            Answer::Noted | Answer::Silence { .. } => None,
        };
        let taken = || match self.message {
            Message::Request | Message::Inform => self.uses.or(self.requested),
            Message::Discover | Message::Decline | Message::Release => None,
        };
        given.or_else(taken)
    }
}

impl Answer {
    /// What a reply that leaves is. The boot file is read from the packet itself: it is what the client reads.
    #[must_use]
    pub fn sent(kind: ReplyKind, address: Option<Ipv4Addr>, packet: &[u8]) -> Answer {
        let file = packet.get(FILE).unwrap_or_default();
        let end = file.iter().position(|byte| *byte == 0).unwrap_or(file.len());
        let name = String::from_utf8_lossy(file.get(..end).unwrap_or_default());
        let boot = (!name.is_empty()).then(|| Plain::new(&name));
        match kind {
            ReplyKind::Offer => Answer::Offer { address, boot },
            ReplyKind::Ack => Answer::Ack { address, boot },
            ReplyKind::Nak => Answer::Nak,
        }
    }

    /// A silence that has a reason.
    #[must_use]
    pub fn silence(why: &Why) -> Answer {
        Answer::Silence { cause: why.into(), why: why.to_string().replace('…', "...").into() }
    }

    /// A silence whose reason is not in the protocol: nothing can be saved, we are stopping.
    #[must_use]
    pub fn unable(why: &str) -> Answer {
        Answer::Silence { cause: Silence::Other, why: why.into() }
    }

    /// What the client was told to boot.
    #[must_use]
    pub fn boot(&self) -> Option<&str> {
        match self {
            Answer::Offer { boot, .. } | Answer::Ack { boot, .. } => boot.as_ref().map(Plain::as_str),
            Answer::Nak | Answer::Noted | Answer::Silence { .. } => None,
        }
    }

    /// The kind of reason, if it is a silence.
    #[must_use]
    pub fn cause(&self) -> Option<Silence> {
        if let Answer::Silence { cause, .. } = self { Some(*cause) } else { None }
    }
}

fn version(ipxe: Ipxe) -> Plain {
    match ipxe.version {
        Some([major, minor, patch]) => Plain::new(&format!("{major}.{minor}.{patch}")),
        None => Plain::new("unknown"),
    }
}

fn uuid(machine_id: &[u8]) -> Option<Plain> {
    match machine_id {
        [0, uuid @ ..] => <[u8; 16]>::try_from(uuid).ok().map(|uuid| Plain::new(&Uuid(uuid).to_string())),
        _ => None,
    }
}

impl From<Kind> for Message {
    fn from(kind: Kind) -> Message {
        match kind {
            Kind::Discover => Message::Discover,
            Kind::Request => Message::Request,
            Kind::Decline => Message::Decline,
            Kind::Release => Message::Release,
            Kind::Inform => Message::Inform,
        }
    }
}

impl From<&Why> for Silence {
    fn from(why: &Why) -> Silence {
        match why {
            Why::Off => Silence::Off,
            Why::Listening => Silence::Listening,
            Why::Foreign(_) => Silence::StoodBack,
            Why::UnknownMachine(_) => Silence::Stranger,
            Why::ArchUnsupported(_) | Why::NoArm64Files => Silence::Arch,
            Why::ArchMissing => Silence::NoArch,
            Why::OtherServer(_) => Silence::OtherServer,
            Why::PoolExhausted { .. } => Silence::PoolExhausted,
            Why::RelayNotOurs(_) => Silence::Relay,
            Why::SubnetNotOurs(_) | Why::SourceNotOurs(_) => Silence::Subnet,
            Why::FixedIsInUse { .. } => Silence::InUse,
            Why::FixedElsewhere(_) => Silence::Elsewhere,
            Why::NotBooting
            | Why::AddressesElsewhere(_)
            | Why::NoAddress(_)
            | Why::NotItsAddress { .. }
            | Why::NotPxe
            | Why::NotOnPxePort(_)
            | Why::NotAProbe(_)
            | Why::ReplyTooLong(_) => Silence::Other,
        }
    }
}

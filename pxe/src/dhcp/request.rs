//! A DHCP message from a client: what is left once everything nonsensical is gone.
//!
//! The header is read with `dhcproto`'s borrowed message, after the checks that its accessors leave to the caller:
//! `hlen` is not bounded (`chaddr()` panics), `op` and the cookie are not looked at. Options are read raw
//! ([`super::options`]), because one option that its owned types dislike hides every later one.

use std::fmt;
use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::Message;

use super::client::{self, Arch, Hostname, Ipxe, Uuid, VendorClass};
use super::options::{Options, sub_options};
use crate::Mac;
use crate::mac::BadMac;

/// The longest message looked at; clients stay below an Ethernet frame.
const LONGEST: usize = 2048;
/// Header and cookie (RFC 2131, 2).
const HEADER: usize = 240;

/// What a client wants (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Looks for servers.
    Discover,
    /// Takes an offer, or wants to keep what it has.
    Request,
    /// Somebody else uses the address it was given.
    Decline,
    /// Needs the address no longer.
    Release,
    /// Has an address and wants the rest.
    Inform,
}

/// A message from a client, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What it wants.
    pub kind: Kind,
    /// Transaction, echoed.
    pub xid: u32,
    /// Who asks (chaddr).
    pub mac: Mac,
    /// Relay hops so far, echoed.
    pub hops: u8,
    /// Seconds since the client began; clients count badly.
    pub secs: u16,
    /// The broadcast bit and 15 that must be zero, echoed.
    pub flags: u16,
    /// The address the client uses already, or 0.0.0.0.
    pub ciaddr: Ipv4Addr,
    /// The relay's address, or 0.0.0.0.
    pub giaddr: Ipv4Addr,
    /// The address it would like (option 50).
    pub requested: Option<Ipv4Addr>,
    /// The server it has chosen (option 54).
    pub server_id: Option<Ipv4Addr>,
    /// Option 93: the first of the list that we boot, else the first.
    pub arch: Option<Arch>,
    /// Option 60.
    pub vendor: VendorClass,
    /// It is iPXE: user class (option 77) `iPXE`, bare or as RFC 3004 has it, or option 175 is there.
    pub ipxe: Option<Ipxe>,
    /// Option 97, when it has a UUID of the one defined type and not all zeros.
    pub uuid: Option<Uuid>,
    /// Option 97 as it came, echoed when it has a length that firmware sends.
    pub machine_id: Option<Vec<u8>>,
    /// Option 61 as it came: echoed and stored, never matched.
    pub client_id: Option<Vec<u8>>,
    /// Option 12.
    pub hostname: Option<Hostname>,
    /// Option 82 as it came, echoed octet for octet.
    pub relay82: Option<Vec<u8>>,
    /// The subnet meant by a relay (82, sub-option 5, RFC 3527) or by the client (118, RFC 3011).
    pub subnet: Option<Ipv4Addr>,
    /// Option 118 as it came, echoed (RFC 3011).
    pub selection: Option<Ipv4Addr>,
    /// Whom a relay wants its clients to take for the server (82, sub-option 11, RFC 5107): itself, so that it sees
    /// what they send later.
    pub named_server: Option<Ipv4Addr>,
    /// What the client would like to know, most wanted first (option 55); empty when it does not say.
    pub wanted: Vec<u8>,
    /// The longest message it takes, IP and UDP counted (option 57).
    pub max_size: Option<u16>,
}

/// Why bytes are not a message from a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Shorter than header and cookie.
    #[error("cut short: {0} octets of at least {HEADER}")]
    Truncated(usize),
    /// No client sends that much.
    #[error("too long: {0} octets of at most {LONGEST}")]
    TooLong(usize),
    /// `op` is not 1.
    #[error("not from a client (op {0})")]
    NotARequest(u8),
    /// `op` is not 2.
    #[error("not from a server (op {0})")]
    NotAReply(u8),
    /// `htype` or `hlen` is not Ethernet's.
    #[error("not Ethernet (htype {htype}, hlen {hlen})")]
    NotEthernet {
        /// Hardware type; 1 is Ethernet.
        htype: u8,
        /// Length of the hardware address; Ethernet's is 6.
        hlen: u8,
    },
    /// chaddr is no machine's.
    #[error("{0}")]
    Mac(BadMac),
    /// The cookie before the options is not 63 82 53 63.
    #[error("no DHCP cookie")]
    NoCookie,
    /// An option runs past the end.
    #[error("option {0} is cut short")]
    OptionCut(u8),
    /// An option has a length that it cannot have.
    #[error("option {code} has {length} octets")]
    OptionLength {
        /// The option.
        code: u8,
        /// Its octets, all its parts together.
        length: usize,
    },
    /// No option 53: BOOTP.
    #[error("no message type: BOOTP, which is not served")]
    NoKind,
    /// A message type that clients do not send, or not to us.
    #[error("message type {0} is none that a client sends us")]
    Kind(u8),
}

impl Request {
    /// Reads a message.
    ///
    /// # Errors
    /// [`Malformed`] for anything a sane client does not send; nothing of such a message is used.
    pub fn parse(bytes: &[u8]) -> Result<Request, Malformed> {
        let (message, mac) = guard(bytes, 1)?;
        let options = Options::read(bytes)?;
        let kind = kind(&options)?;
        let machine_id = options.get(97).filter(|id| id.len() == 17).map(<[u8]>::to_vec);
        Ok(Request {
            kind,
            xid: message.xid(),
            mac,
            hops: message.hops(),
            secs: message.secs(),
            flags: message.flags().into(),
            ciaddr: message.ciaddr(),
            giaddr: message.giaddr(),
            requested: options.address(50)?.filter(|address| !address.is_unspecified()),
            server_id: options.address(54)?,
            arch: options.get(93).and_then(client::arch),
            vendor: options.get(60).map_or(VendorClass::Absent, client::vendor),
            ipxe: client::ipxe(options.get(77), options.get(175), options.get(55).unwrap_or_default()),
            uuid: machine_id.as_deref().and_then(client::uuid),
            machine_id,
            client_id: options.get(61).filter(|id| !id.is_empty()).map(<[u8]>::to_vec),
            hostname: options.get(12).and_then(Hostname::sanitised),
            subnet: relay_address(&options, 5).or(options.address(118)?),
            selection: options.address(118)?,
            named_server: relay_address(&options, 11).filter(|address| !address.is_unspecified()),
            wanted: options.get(55).unwrap_or_default().to_vec(),
            max_size: options.get(57).and_then(|size| <[u8; 2]>::try_from(size).ok()).map(u16::from_be_bytes),
            relay82: options.get(82).map(<[u8]>::to_vec),
        })
    }

    /// Whether it boots from the network: PXE or HTTP firmware, or iPXE. An installed system does not.
    #[must_use]
    pub fn boots(&self) -> bool {
        self.ipxe.is_some() || matches!(self.vendor, VendorClass::Pxe | VendorClass::Http)
    }
}

/// What `dhcproto` does not check before it indexes. `expected` is the `op`: 1 from clients, 2 from servers.
pub(super) fn guard(bytes: &[u8], expected: u8) -> Result<(Message<'_>, Mac), Malformed> {
    if bytes.len() > LONGEST {
        return Err(Malformed::TooLong(bytes.len()));
    }
    let truncated = Malformed::Truncated(bytes.len());
    let header = bytes.first_chunk::<HEADER>().ok_or(truncated)?;
    let [op, htype, hlen, ..] = *header;
    if op != expected {
        return Err(if expected == 1 { Malformed::NotARequest(op) } else { Malformed::NotAReply(op) });
    }
    if (htype, hlen) != (1, 6) {
        return Err(Malformed::NotEthernet { htype, hlen });
    }
    if header.last_chunk::<4>() != Some(&dhcproto::v4::MAGIC) {
        return Err(Malformed::NoCookie);
    }
    let message = Message::new(bytes).map_err(|_| truncated)?;
    let octets = message.chaddr().first_chunk::<6>().ok_or(truncated)?;
    let mac = Mac::new(*octets).map_err(Malformed::Mac)?;
    Ok((message, mac))
}

fn kind(options: &Options) -> Result<Kind, Malformed> {
    match options.get(53) {
        None => Err(Malformed::NoKind),
        Some([1]) => Ok(Kind::Discover),
        Some([3]) => Ok(Kind::Request),
        Some([4]) => Ok(Kind::Decline),
        Some([7]) => Ok(Kind::Release),
        Some([8]) => Ok(Kind::Inform),
        Some([other]) => Err(Malformed::Kind(*other)),
        Some(value) => Err(Malformed::OptionLength { code: 53, length: value.len() }),
    }
}

/// An address that a relay has put into option 82; its other sub-options mean nothing to us.
fn relay_address(options: &Options, code: u8) -> Option<Ipv4Addr> {
    let mut found = sub_options(options.get(82)?).filter(|(other, _)| *other == code);
    found.find_map(|(_, value)| <[u8; 4]>::try_from(value).ok()).map(Ipv4Addr::from)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Discover => "DISCOVER",
            Kind::Request => "REQUEST",
            Kind::Decline => "DECLINE",
            Kind::Release => "RELEASE",
            Kind::Inform => "INFORM",
        })
    }
}

//! A DHCP message from a client: what is left once everything nonsensical is gone.
//!
//! The header is read with `dhcproto`'s borrowed message, after the checks that its accessors leave to the caller:
//! `hlen` is not bounded (`chaddr()` panics), `op` and the cookie are not looked at. Options are read raw
//! ([`super::options`]), because one option that its owned types dislike hides every later one.

use std::fmt;
use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::Message;
use serde::{Deserialize, Serialize};

use super::options::Options;
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

/// Client architecture (option 93, RFC 4578; numbers of IANA).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Arch(pub u16);

impl Arch {
    /// x86 with BIOS.
    pub const BIOS: Arch = Arch(0);
    /// x86-64 with UEFI, what OVMF and servers send.
    pub const UEFI_X64: Arch = Arch(7);
    /// EBC to IANA, x86-64 to RFC 4578; seen from x86-64 machines, so it is the same as 7.
    pub const UEFI_BC: Arch = Arch(9);
    /// x86-64 with UEFI, by HTTP.
    pub const UEFI_X64_HTTP: Arch = Arch(16);
}

/// What the vendor class (option 60) says the client is. Never says which architecture: after a chain load iPXE
/// sends what our own answer carried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum VendorClass {
    /// No option 60.
    #[default]
    Absent,
    /// `PXEClient`, alone or with `:Arch:…` after it.
    Pxe,
    /// `HTTPClient`, alone or with `:Arch:…` after it.
    Http,
    /// Anything else (service processors, operating systems); printable ASCII, at most 64 characters, for the record.
    Other(String),
}

/// What iPXE says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ipxe {
    /// Major, minor, patch (option 175, 0xeb). None when it does not say.
    pub version: Option<[u8; 3]>,
    /// It can HTTP (option 175, 0x13).
    pub http: bool,
}

/// A host name (option 12) made safe to print and store: letters, digits and inner hyphens, lower case, at most 63,
/// what came before the first dot. Data for the record; nobody is told apart by it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hostname(String);

/// The SMBIOS UUID (option 97), as it travels: first three fields little-endian. Boards share vendor defaults, so it
/// is a hint and never a key.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uuid(pub [u8; 16]);

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
        let (message, mac) = guard(bytes)?;
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
            arch: options.get(93).and_then(arch),
            vendor: options.get(60).map_or(VendorClass::Absent, vendor),
            ipxe: ipxe(options.get(77), options.get(175)),
            uuid: machine_id.as_deref().and_then(uuid),
            machine_id,
            client_id: options.get(61).filter(|id| !id.is_empty()).map(<[u8]>::to_vec),
            hostname: options.get(12).and_then(Hostname::sanitised),
            subnet: options.get(82).and_then(link_selection).or(options.address(118)?),
            relay82: options.get(82).map(<[u8]>::to_vec),
        })
    }

    /// Whether it boots from the network: PXE or HTTP firmware, or iPXE. An installed system does not.
    #[must_use]
    pub fn boots(&self) -> bool {
        self.ipxe.is_some() || matches!(self.vendor, VendorClass::Pxe | VendorClass::Http)
    }
}

/// What `dhcproto` does not check before it indexes.
fn guard(bytes: &[u8]) -> Result<(Message<'_>, Mac), Malformed> {
    if bytes.len() > LONGEST {
        return Err(Malformed::TooLong(bytes.len()));
    }
    let truncated = Malformed::Truncated(bytes.len());
    let header = bytes.first_chunk::<HEADER>().ok_or(truncated)?;
    let [op, htype, hlen, ..] = *header;
    if op != 1 {
        return Err(Malformed::NotARequest(op));
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

/// The first architecture of the list that we have a loader for, else the first of all.
fn arch(list: &[u8]) -> Option<Arch> {
    let (pairs, _odd) = list.as_chunks::<2>();
    let listed = || pairs.iter().map(|pair| Arch(u16::from_be_bytes(*pair)));
    listed().find(|arch| [Arch::BIOS, Arch::UEFI_X64, Arch::UEFI_BC].contains(arch)).or(listed().next())
}

fn vendor(value: &[u8]) -> VendorClass {
    let class = value.split(|byte| *byte == b':' || *byte == 0).next().unwrap_or_default();
    match class {
        b"PXEClient" => VendorClass::Pxe,
        b"HTTPClient" => VendorClass::Http,
        _ => VendorClass::Other(
            value
                .iter()
                .take(64)
                .map(|byte| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' })
                .collect(),
        ),
    }
}

fn ipxe(user_class: Option<&[u8]>, encapsulated: Option<&[u8]>) -> Option<Ipxe> {
    let named =
        user_class.is_some_and(|class| class == b"iPXE" || rfc3004(class).any(|item| item == b"iPXE"));
    if !named && encapsulated.is_none() {
        return None;
    }
    let mut found = Ipxe::default();
    for (code, value) in super::options::sub_options(encapsulated.unwrap_or_default()) {
        match (code, value) {
            (0xeb, [major, minor, patch, ..]) => found.version = Some([*major, *minor, *patch]),
            (0x13, [flag, ..]) => found.http = *flag != 0,
            _ => {}
        }
    }
    Some(found)
}

/// The items of a user class as RFC 3004 has it: a length, then that many octets. Stops at the first that lies.
fn rfc3004(mut class: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (length, rest) = class.split_first()?;
        let (item, rest) = rest.split_at_checked(usize::from(*length))?;
        class = rest;
        Some(item)
    })
}

fn uuid(machine_id: &[u8]) -> Option<Uuid> {
    match machine_id {
        [0, uuid @ ..] => <[u8; 16]>::try_from(uuid).ok().filter(|uuid| *uuid != [0; 16]).map(Uuid),
        _ => None,
    }
}

fn link_selection(relay82: &[u8]) -> Option<Ipv4Addr> {
    let mut found = super::options::sub_options(relay82).filter(|(code, _)| *code == 5);
    found.find_map(|(_, value)| <[u8; 4]>::try_from(value).ok()).map(Ipv4Addr::from)
}

impl Hostname {
    /// The printable rest of what a client calls itself; None when nothing is left.
    #[must_use]
    pub fn sanitised(raw: &[u8]) -> Option<Hostname> {
        let first = raw.split(|byte| *byte == b'.' || *byte == 0).next().unwrap_or_default();
        let kept = first.iter().filter(|byte| byte.is_ascii_alphanumeric() || **byte == b'-').take(63);
        let name: String = kept.map(|byte| char::from(byte.to_ascii_lowercase())).collect();
        let name = name.trim_matches('-');
        if name.is_empty() { None } else { Some(Hostname(name.to_owned())) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Hostname {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Uuid {
    /// As SMBIOS prints it: the first three fields turned round.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d0, d1, e @ ..] = self.0;
        write!(f, "{a3:02x}{a2:02x}{a1:02x}{a0:02x}-{b1:02x}{b0:02x}-{c1:02x}{c0:02x}-{d0:02x}{d1:02x}-")?;
        e.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uuid({self})")
    }
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

impl fmt::Display for VendorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VendorClass::Absent => "-",
            VendorClass::Pxe => "PXEClient",
            VendorClass::Http => "HTTPClient",
            VendorClass::Other(text) => text,
        })
    }
}

//! Looking for other DHCP servers: the question, and what servers say to anybody.
//!
//! The question is a DISCOVER like any client's, so that every server answers it, and marked by its vendor class
//! ([`VENDOR`]), so that another Rackwright controller can tell who asks: that one gives no address and says whose it
//! is. Knows: octets. Refuses to know: which servers are wanted, and when to ask.

use std::net::Ipv4Addr;

use dhcproto::v4::borrowed::Message;
use dhcproto::v4::{DhcpOption, Flags, MessageType, OptionCode};
use dhcproto::{Encodable, Encoder};

use super::client::{self, VendorClass};
use super::options::Options;
use super::request::{Malformed, guard};
use crate::Mac;

/// The vendor class (option 60) of a controller's question, and of a controller's answer to it.
pub const VENDOR: &str = "RackwrightProbe";
/// The option of a controller's answer that says whose it is: `rackwright`, a space, the name of the site. One of
/// those that RFC 3942 leaves to every site.
pub const SITE: u8 = 224;
/// The longest name of a site that travels, in characters.
pub const LONGEST_SITE: usize = 40;
const PREFIX: &str = "rackwright ";
/// The least that every server must take (RFC 1542, 2.1).
const SHORTEST: usize = 300;
/// Mask, router, name servers, broadcast address, and what machines are told to boot by: so that a server shows it.
const WANTED: [u8; 8] = [1, 3, 6, 28, 43, 60, 66, 67];

/// What a server's message is (option 53).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeardKind {
    /// Offers.
    Offer,
    /// Acknowledges.
    Ack,
    /// Refuses.
    Nak,
    /// Something else, by its number.
    Other(u8),
    /// No message type: BOOTP.
    Bootp,
}

/// A server's message to anybody, parsed once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What it is.
    pub kind: HeardKind,
    /// The transaction it answers.
    pub xid: u32,
    /// Whom it answers.
    pub mac: Mac,
    /// Who the server says it is: option 54, else siaddr. None when it says neither; then only the sender's address
    /// tells.
    pub server: Option<Ipv4Addr>,
    /// The address it gives, if it does.
    pub address: Option<Ipv4Addr>,
    /// It tells machines what to boot: a vendor class of PXE or HTTP firmware (60), or a boot file (67, `file`). Option
    /// 43 alone is not counted: wireless controllers and telephones are told theirs by it, and firmware takes it for
    /// PXE only beside 60.
    pub boots: bool,
    /// The site of the Rackwright controller that answered a controller's question; printable ASCII, at most
    /// [`LONGEST_SITE`]. Anybody may say so: a reason to name it in a message, never to trust it.
    pub site: Option<String>,
}

/// The question, from a card of ours, with a transaction number that nobody can guess. The answer is asked for as a
/// broadcast: there is no address to send it to.
#[must_use]
pub fn discover(mac: Mac, xid: u32) -> Vec<u8> {
    let none = Ipv4Addr::UNSPECIFIED;
    let mut message = dhcproto::v4::Message::new_with_id(xid, none, none, none, none, &mac.octets());
    message.set_flags(Flags::default().set_broadcast());
    let mut ask = |option| message.opts_mut().insert(option);
    ask(DhcpOption::MessageType(MessageType::Discover));
    ask(DhcpOption::ParameterRequestList(WANTED.map(OptionCode::from).to_vec()));
    ask(DhcpOption::ClassIdentifier(VENDOR.as_bytes().to_vec()));
    let mut packet = Vec::with_capacity(SHORTEST);
    // Everything above is of fixed length and the encoder writes to memory: there is no error to be had.
    if message.encode(&mut Encoder::new(&mut packet)).is_err() {
        packet.clear();
    }
    packet.resize(packet.len().max(SHORTEST), 0);
    packet
}

/// The text of [`SITE`] for a site of this name.
pub(super) fn site_text(name: &str) -> String {
    format!("{PREFIX}{}", printable(name.as_bytes()))
}

/// At most [`LONGEST_SITE`] printable characters of ASCII; every other octet becomes a question mark.
fn printable(octets: &[u8]) -> String {
    let plain = |octet: &u8| if (b' '..=b'~').contains(octet) { char::from(*octet) } else { '?' };
    octets.iter().take(LONGEST_SITE).map(plain).collect()
}

impl Heard {
    /// Reads a server's message, to whomever it was sent.
    ///
    /// # Errors
    /// [`Malformed`] for anything that is none; nothing of it is used.
    pub fn parse(bytes: &[u8]) -> Result<Heard, Malformed> {
        let (message, mac) = guard(bytes, 2)?;
        let options = Options::read(bytes)?;
        let given = |address: Ipv4Addr| (!address.is_unspecified()).then_some(address);
        let kind = match options.get(53) {
            None => HeardKind::Bootp,
            Some([2]) => HeardKind::Offer,
            Some([5]) => HeardKind::Ack,
            Some([6]) => HeardKind::Nak,
            Some([other]) => HeardKind::Other(*other),
            Some(value) => return Err(Malformed::OptionLength { code: 53, length: value.len() }),
        };
        let server = options.address(54)?.and_then(given).or(given(message.siaddr()));
        Ok(Heard {
            kind,
            xid: message.xid(),
            mac,
            server,
            address: given(message.yiaddr()),
            boots: boots(&message, &options),
            site: site(&options),
        })
    }
}

fn boots(message: &Message<'_>, options: &Options) -> bool {
    let class = options.get(60).map_or(VendorClass::Absent, client::vendor);
    // With overload 1 or 3 the field holds options (RFC 2132, 9.3).
    let is_name = !matches!(options.get(52), Some([1 | 3]));
    let file = message.fname().first().is_some_and(|octet| *octet != 0);
    let named = options.get(67).is_some_and(|name| name.iter().any(|octet| *octet != 0));
    matches!(class, VendorClass::Pxe | VendorClass::Http) || named || (file && is_name)
}

fn site(options: &Options) -> Option<String> {
    if options.get(60).map(client::vendor) != Some(VendorClass::Probe) {
        return None;
    }
    let name = options.get(SITE)?.strip_prefix(PREFIX.as_bytes())?;
    Some(printable(name))
}

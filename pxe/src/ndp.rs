//! IPv6 for firmware that boots over IPv4: "there is no router here", said as soon as it asks.
//!
//! iPXE configures a network card for IPv4 and IPv6 at once and goes on when both are done. With no IPv6 router about,
//! that is after its last router solicitation has gone unanswered: 4 s in iPXE of today, 16 s in the ROMs of many
//! cards and of QEMU, with the DHCP answer long there. So those that were just told by our DHCP what to boot are
//! answered with a router advertisement that gives nothing: no router, no prefix, no DHCPv6 (RFC 4861 §4.2).
//!
//! It is harmless: it goes to the one that asked and to nobody else, a lifetime of 0 means "not a default router"
//! (§6.3.4), every other field says "unspecified", and no installed system is ever answered.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use crate::dhcp::Reply;
use crate::mac::BadMac;
use crate::{Mac, Time};

/// For how long after our last DHCP answer a machine counts as booting, in seconds. The ROM, iPXE and GRUB each ask
/// DHCP anew; an installed system comes up later than its firmware's last question, and asks without a boot file.
pub const BOOTING_SECONDS: u64 = 120;
/// Machines remembered; a thousand servers four times over.
const MOST: usize = 4096;
/// Where a DHCP message has the client's hardware address (RFC 2131, 2).
const CHADDR: std::ops::Range<usize> = 28..34;

/// ICMPv6 types and the option that are of interest (RFC 4861 §4.1, §4.2, §4.6.1).
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
const SOURCE_LINK_ADDRESS: u8 = 1;
/// Header of a solicitation: type, code, checksum, four octets reserved.
const HEADER: usize = 8;
/// The unit that options are measured in.
const UNIT: usize = 8;

/// The advertisement: an ICMPv6 message whose checksum the kernel writes, as it does for every raw ICMPv6 socket (RFC
/// 3542 §3.1). All zero after the type: hop limit unspecified, neither managed nor other configuration, router lifetime
/// 0 s, reachable and retransmission time unspecified, no options.
pub const NO_ROUTER: [u8; 16] = [ADVERTISEMENT, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Machines that our DHCP has told what to boot, and when last. Bounded; lost with the process, and made again by the
/// next DHCP exchange.
#[derive(Clone, Debug, Default)]
pub struct Booting(BTreeMap<Mac, Time>);

/// Why a router solicitation is not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Why {
    /// Shorter than its header.
    #[error("cut short: {0} octets of at least {HEADER}")]
    Truncated(usize),
    /// Another message of ICMPv6.
    #[error("not a router solicitation (ICMPv6 type {0}, code {1})")]
    NotASolicitation(u8, u8),
    /// An option has no length, or runs past the end.
    #[error("an option is cut short")]
    OptionCut,
    /// The option with the sender's hardware address has another length than Ethernet's.
    #[error("not Ethernet")]
    NotEthernet,
    /// The hardware address is no machine's.
    #[error("{0}")]
    Mac(BadMac),
    /// It does not say its hardware address: hosts need not, iPXE does.
    #[error("names no hardware address")]
    NoMac,
    /// Sent from another address than firmware makes of its hardware address.
    #[error("sent from {source_address}, which is not the link-local address of {mac}")]
    NotItsAddress {
        /// Where it came from.
        source_address: Ipv6Addr,
        /// Whose it says it is.
        mac: Mac,
    },
    /// No boot file was given to it lately: an installed system, or none of ours.
    #[error("{0} is not booting from here")]
    NotBooting(Mac),
}

impl Why {
    /// Whether the message is nonsense, rather than one that is none of our business.
    #[must_use]
    pub fn is_malformed(self) -> bool {
        match self {
            Why::Truncated(_)
            | Why::NotASolicitation(..)
            | Why::OptionCut
            | Why::NotEthernet
            | Why::Mac(_) => true,
            Why::NoMac | Why::NotItsAddress { .. } | Why::NotBooting(_) => false,
        }
    }
}

impl Booting {
    /// Takes note of a DHCP answer that leaves: the machine it is for boots, when it names a boot file.
    pub fn told(&mut self, reply: &Reply, now: Time) {
        let chaddr = reply.packet.get(CHADDR).and_then(|raw| raw.first_chunk::<6>());
        let mac = reply.boot.and(chaddr).and_then(|octets| Mac::new(*octets).ok());
        if let Some(mac) = mac {
            self.note(mac, now);
        }
    }

    fn note(&mut self, mac: Mac, now: Time) {
        self.0.insert(mac, now);
        if self.0.len() > MOST {
            self.0.retain(|_, told| now.seconds_since(*told) < BOOTING_SECONDS);
        }
        // A flood of made-up addresses: whoever is forgotten waits as if we were not here.
        while self.0.len() > MOST {
            let oldest = self.0.iter().min_by_key(|(_, told)| **told).map(|(mac, _)| *mac);
            oldest.and_then(|mac| self.0.remove(&mac));
        }
    }

    fn has(&self, mac: Mac, now: Time) -> bool {
        self.0.get(&mac).is_some_and(|told| now.seconds_since(*told) < BOOTING_SECONDS)
    }
}

/// The ICMPv6 message to send back to `source`, for one that came from there with a hop limit of 255: the shell has
/// seen to that (RFC 4861 §6.1.1), and sends with 255 too.
///
/// # Errors
/// [`Why`] there is nothing to say.
pub fn answer(booting: &Booting, message: &[u8], source: Ipv6Addr, now: Time) -> Result<[u8; 16], Why> {
    let mac = sender(message)?.ok_or(Why::NoMac)?;
    // One address for each machine: who makes up others would fill the kernel's table of neighbours through us.
    if source != link_local(mac) {
        return Err(Why::NotItsAddress { source_address: source, mac });
    }
    if !booting.has(mac, now) {
        return Err(Why::NotBooting(mac));
    }
    Ok(NO_ROUTER)
}

/// The hardware address that a router solicitation says it comes from; None when it says none.
fn sender(message: &[u8]) -> Result<Option<Mac>, Why> {
    let (header, mut options) = message.split_first_chunk::<HEADER>().ok_or(Why::Truncated(message.len()))?;
    let [kind, code, ..] = *header;
    if (kind, code) != (SOLICITATION, 0) {
        return Err(Why::NotASolicitation(kind, code));
    }
    let mut mac = None;
    while let [kind, units, ..] = *options {
        let length = usize::from(units) * UNIT;
        let (option, rest) = options.split_at_checked(length).filter(|_| length > 0).ok_or(Why::OptionCut)?;
        if kind == SOURCE_LINK_ADDRESS && mac.is_none() {
            let [_, _, octets @ ..] = *option.as_array::<UNIT>().ok_or(Why::NotEthernet)?;
            mac = Some(Mac::new(octets).map_err(Why::Mac)?);
        }
        options = rest;
    }
    if options.is_empty() { Ok(mac) } else { Err(Why::OptionCut) }
}

/// The card that this link-local address was made of, as firmware makes it; none of any other address.
#[must_use]
pub fn sender_of(source: Ipv6Addr) -> Option<Mac> {
    let [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, 0xff, 0xfe, d, e, f] = source.octets() else { return None };
    Mac::new([a ^ 2, b, c, d, e, f]).ok()
}

/// The address that firmware gives itself before it knows any network (RFC 4291, appendix A): iPXE, edk2.
fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.octets();
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

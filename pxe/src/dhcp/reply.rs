//! The one shape of our replies, as octets.
//!
//! The header is `dhcproto`'s. The options are written by hand, because it sorts them by number and never leaves one
//! out, and because option 82 goes back octet for octet (it would sort the sub-options). The packet is padded to
//! BOOTP's 300 octets.

use std::net::Ipv4Addr;

use dhcproto::v4::{Flags, Message, Opcode};
use dhcproto::{Encodable, Encoder};

use super::client::VendorClass;
use super::decide::ReplyKind;
use super::given::{self, Given, Need};
use super::loader::Boot;
use super::policy::Policy;
use super::probe;
use super::request::Request;
use super::why::Why;

/// The least that old BOOTP relays and ROMs accept (RFC 1542, 2.1).
const SHORTEST: usize = 300;
/// What fits an Ethernet frame after IP and UDP.
const LONGEST: usize = 1472;
/// Header and cookie.
const HEADER: usize = 240;
/// IP and UDP, which a client's limit (option 57) counts.
const OVERHEAD: usize = 28;
/// What every client takes, IP and UDP counted (RFC 2132, 9.10).
const LEAST_LIMIT: usize = 576;
const BROADCAST_FLAG: u16 = 0x8000;
const RELAY_AGENT: u8 = 82;
const END: u8 = 255;
/// PXE discovery control 8: boot the file named, ask nobody else, show no menu (PXE 2.1, table 2-1; then its END).
/// Without it firmware takes option 60 for the mark of a boot server and asks port 4011 first.
const JUST_BOOT: [u8; 4] = [6, 1, 8, 255];
/// iPXE's option 175, 0xb0: do not wait for the offers of PXE proxies.
const NO_PROXY: [u8; 3] = [0xb0, 1, 1];
const IPXE_OPTIONS: u8 = 175;

/// A reply before it is octets.
pub(super) struct Draft {
    pub(super) kind: ReplyKind,
    pub(super) yiaddr: Ipv4Addr,
    pub(super) ciaddr: Ipv4Addr,
    /// None: no lease is given.
    pub(super) lease_seconds: Option<u32>,
    pub(super) boot: Option<Boot>,
    /// The client has its network settings from elsewhere.
    pub(super) boot_only: bool,
    /// Firmware shall ask port 4011 before it boots anything.
    pub(super) ask_again: bool,
    /// The answer to another controller's question: who we are, and nothing else.
    pub(super) site: Option<String>,
}

impl Draft {
    /// A reply that gives nothing yet.
    pub(super) fn of(kind: ReplyKind) -> Draft {
        let none = Ipv4Addr::UNSPECIFIED;
        Draft {
            kind,
            yiaddr: none,
            ciaddr: none,
            lease_seconds: None,
            boot: None,
            boot_only: false,
            ask_again: false,
            site: None,
        }
    }

    /// In a few words.
    pub(super) fn what(&self, policy: &Policy) -> String {
        if let Some(site) = &self.site {
            return format!("another controller looks for DHCP servers: told that this is {site}");
        }
        let kind = match self.kind {
            ReplyKind::Offer => "offer",
            ReplyKind::Ack => "ack",
            ReplyKind::Nak => "nak",
        };
        let address = if self.yiaddr.is_unspecified() { String::new() } else { format!(" {}", self.yiaddr) };
        let boot = self.boot.map_or(String::new(), |boot| format!(", boot {}", boot.file.name(policy)));
        let then = if self.ask_again { " after asking on port 4011" } else { "" };
        format!("{kind}{address}{boot}{then}")
    }

    /// The octets. `us` is who we are to the client (option 54).
    pub(super) fn encode(&self, policy: &Policy, request: &Request, us: Ipv4Addr) -> Result<Vec<u8>, Why> {
        let mut packet = Vec::with_capacity(SHORTEST);
        // The encoder writes to memory; its errors are those of fixed buffers.
        let header = self.header(policy, request).encode(&mut Encoder::new(&mut packet));
        header.map_err(|_| Why::ReplyTooLong(packet.len()))?;
        packet.truncate(HEADER);

        let relayed = request.relay82.as_deref().map_or(0, given::length);
        let limit = request.max_size.map_or(LEAST_LIMIT, usize::from).max(LEAST_LIMIT) - OVERHEAD;
        // What a relay asked back it takes out again before the client sees the packet.
        let limit = limit.min(LONGEST.saturating_sub(relayed));
        let room = limit.saturating_sub(HEADER + 1);
        let options = self.options(policy, request, us).encode(&request.wanted, room);
        packet.extend(options.map_err(|needed| Why::ReplyTooLong(HEADER + needed + 1 + relayed))?);
        if let Some(whole) = &request.relay82 {
            given::write(&mut packet, RELAY_AGENT, whole);
        }
        packet.push(END);
        packet.resize(packet.len().max(SHORTEST), 0);
        Ok(packet)
    }

    fn header(&self, policy: &Policy, request: &Request) -> Message {
        let next = if self.boot.is_some() { policy.server } else { Ipv4Addr::UNSPECIFIED };
        let mut message = Message::new_with_id(
            request.xid,
            self.ciaddr,
            self.yiaddr,
            next,
            request.giaddr,
            &request.mac.octets(),
        );
        // A relay that gets a NAK must broadcast it: the client has no address to send to (RFC 2131, 4.3.2).
        let relayed_nak = self.kind == ReplyKind::Nak && !request.giaddr.is_unspecified();
        let flags = if relayed_nak { request.flags | BROADCAST_FLAG } else { request.flags };
        message.set_opcode(Opcode::BootReply).set_hops(request.hops).set_flags(Flags::from(flags));
        if let Some(boot) = self.boot {
            message.set_sname(policy.server.to_string().as_bytes());
            message.set_fname(boot.file.name(policy).as_bytes());
        }
        message
    }

    fn options(&self, policy: &Policy, request: &Request, us: Ipv4Addr) -> Given {
        let mut given = Given::default();
        let kind = match self.kind {
            ReplyKind::Offer => 2,
            ReplyKind::Ack => 5,
            ReplyKind::Nak => 6,
        };
        given.give(Need::Always, 53, [kind]);
        given.give(Need::Always, 54, us.octets());
        if let Some(id) = &request.client_id {
            // RFC 6842 leaves no choice, however long it is.
            given.give(Need::Always, 61, id.as_slice());
        }
        if let Some(site) = &self.site {
            given.give(Need::Always, 60, probe::VENDOR);
            given.give(Need::Always, probe::SITE, site.as_str());
        } else if self.kind != ReplyKind::Nak {
            self.settings(policy, request, &mut given);
            self.boot_options(policy, request, &mut given);
        }
        given
    }

    /// Options for an operating system.
    fn settings(&self, policy: &Policy, request: &Request, given: &mut Given) {
        if let Some(seconds) = self.lease_seconds {
            given.give(Need::Always, 51, seconds.to_be_bytes());
            given.give(Need::Times, 58, (seconds / 2).to_be_bytes());
            given.give(Need::Times, 59, (seconds - seconds / 8).to_be_bytes());
        }
        if self.boot_only {
            return;
        }
        // Who does not say what it wants is given everything.
        let wants = |code| request.wanted.is_empty() || request.wanted.contains(&code);
        given.give(Need::Always, 1, policy.subnet.netmask().octets());
        if wants(28) {
            given.give(Need::Hint, 28, policy.subnet.broadcast().octets());
        }
        if let Some(gateway) = policy.gateway() {
            given.give(Need::Router, 3, gateway.octets());
        }
        if !policy.dns.is_empty() && wants(6) {
            given.give(Need::Names, 6, policy.dns.iter().flat_map(Ipv4Addr::octets).collect::<Vec<u8>>());
        }
        if let Some(selected) = request.selection {
            given.give(Need::Echo, 118, selected.octets());
        }
    }

    /// Options for firmware, which are in the header too: shim reads the header only, others the options only.
    fn boot_options(&self, policy: &Policy, request: &Request, given: &mut Given) {
        let Some(Boot { file, path, .. }) = self.boot else { return };
        // With a NUL: edk2 writes one over the next option's code otherwise, and some ROMs need it.
        given.give(Need::Always, 67, terminated(file.name(policy)));
        if !path.is_http() {
            given.give(Need::ServerName, 66, terminated(policy.server.to_string()));
        }
        if let Some(id) = &request.machine_id {
            given.give(Need::Echo, 97, id.as_slice());
        }
        match request.vendor {
            VendorClass::Pxe if self.ask_again => given.give(Need::Always, 60, "PXEClient"),
            VendorClass::Pxe => {
                given.give(Need::Always, 60, "PXEClient");
                given.give(Need::Always, 43, JUST_BOOT);
            }
            // Firmware that boots by HTTP takes no offer without it.
            VendorClass::Http => given.give(Need::Always, 60, "HTTPClient"),
            VendorClass::Absent | VendorClass::Probe | VendorClass::Other(_) => {}
        }
        if request.ipxe.is_some() && !policy.proxy {
            given.give(Need::Hint, IPXE_OPTIONS, NO_PROXY);
        }
    }
}

fn terminated(text: String) -> Vec<u8> {
    let mut octets = text.into_bytes();
    octets.push(0);
    octets
}

//! The one shape of our replies, as octets.
//!
//! Encoded with `dhcproto`'s owned message, and finished by hand where it does otherwise than we need: option 82 goes
//! back octet for octet (it would sort the sub-options), and the packet is padded to BOOTP's 300 octets.

use std::net::Ipv4Addr;

use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode, UnknownOption};
use dhcproto::{Encodable, Encoder};

use super::client::VendorClass;
use super::decide::ReplyKind;
use super::loader::BootFile;
use super::policy::Policy;
use super::probe;
use super::request::Request;
use super::why::Why;
use crate::BootPath;

/// The least that old BOOTP relays and ROMs accept (RFC 1542, 2.1).
const SHORTEST: usize = 300;
/// What fits an Ethernet frame after IP and UDP.
const LONGEST: usize = 1472;
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
    pub(super) boot: Option<(BootFile, BootPath)>,
    /// The client has its network settings from elsewhere.
    pub(super) boot_only: bool,
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
        let boot = self.boot.map_or(String::new(), |(file, _)| format!(", boot {}", file.name(policy)));
        format!("{kind}{address}{boot}")
    }

    /// The octets.
    pub(super) fn encode(&self, policy: &Policy, request: &Request) -> Result<Vec<u8>, Why> {
        let message = self.message(policy, request);
        let mut packet = Vec::with_capacity(SHORTEST);
        // The encoder writes to memory; its errors are those of fixed buffers.
        message.encode(&mut Encoder::new(&mut packet)).map_err(|_| Why::ReplyTooLong(packet.len()))?;
        if packet.last() == Some(&END) {
            packet.pop();
        }
        if let Some(whole) = &request.relay82 {
            // One without content has no chunk, and goes back all the same.
            for part in whole.chunks(255).chain(whole.is_empty().then_some(whole.as_slice())) {
                packet.push(RELAY_AGENT);
                packet.push(u8::try_from(part.len()).unwrap_or(u8::MAX));
                packet.extend_from_slice(part);
            }
        }
        packet.push(END);
        if packet.len() > LONGEST {
            return Err(Why::ReplyTooLong(packet.len()));
        }
        packet.resize(packet.len().max(SHORTEST), 0);
        Ok(packet)
    }

    fn message(&self, policy: &Policy, request: &Request) -> Message {
        let us = policy.server;
        let next = if self.boot.is_some() { us } else { Ipv4Addr::UNSPECIFIED };
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
        let mut give = |option| message.opts_mut().insert(option);
        give(DhcpOption::MessageType(match self.kind {
            ReplyKind::Offer => MessageType::Offer,
            ReplyKind::Ack => MessageType::Ack,
            ReplyKind::Nak => MessageType::Nak,
        }));
        give(DhcpOption::ServerIdentifier(us));
        if let Some(id) = &request.client_id {
            give(DhcpOption::ClientIdentifier(id.clone()));
        }
        if let Some(site) = &self.site {
            give(DhcpOption::ClassIdentifier(probe::VENDOR.as_bytes().to_vec()));
            let code = OptionCode::from(probe::SITE);
            give(DhcpOption::Unknown(UnknownOption::new(code, site.as_bytes().to_vec())));
        } else if self.kind != ReplyKind::Nak {
            self.settings(policy, &mut message);
            self.boot_fields(policy, request, &mut message);
        }
        message
    }

    /// Options for an operating system.
    fn settings(&self, policy: &Policy, message: &mut Message) {
        let mut give = |option| message.opts_mut().insert(option);
        if let Some(seconds) = self.lease_seconds {
            give(DhcpOption::AddressLeaseTime(seconds));
            give(DhcpOption::Renewal(seconds / 2));
            give(DhcpOption::Rebinding(seconds - seconds / 8));
        }
        if self.boot_only {
            return;
        }
        give(DhcpOption::SubnetMask(policy.subnet.netmask()));
        give(DhcpOption::BroadcastAddr(policy.subnet.broadcast()));
        if let Some(router) = policy.router {
            give(DhcpOption::Router(vec![router]));
        }
        if !policy.dns.is_empty() {
            give(DhcpOption::DomainNameServer(policy.dns.clone()));
        }
    }

    /// Header fields and options for firmware. shim reads the header only, others the options only: both are given.
    fn boot_fields(&self, policy: &Policy, request: &Request, message: &mut Message) {
        let Some((file, _)) = self.boot else { return };
        let (server, name) = (policy.server.to_string(), file.name(policy));
        message.set_sname(server.as_bytes()).set_fname(name.as_bytes());
        let mut give = |option| message.opts_mut().insert(option);
        // With a NUL: edk2 writes one over the next option's code otherwise, and some ROMs need it.
        give(DhcpOption::TFTPServerName(terminated(server)));
        give(DhcpOption::BootfileName(terminated(name)));
        if let Some(id) = &request.machine_id {
            give(DhcpOption::ClientMachineIdentifier(id.clone()));
        }
        if request.vendor == VendorClass::Pxe {
            give(DhcpOption::ClassIdentifier(b"PXEClient".to_vec()));
            give(DhcpOption::VendorExtensions(JUST_BOOT.to_vec()));
        }
        if request.ipxe.is_some() {
            let code = OptionCode::from(IPXE_OPTIONS);
            give(DhcpOption::Unknown(UnknownOption::new(code, NO_PROXY.to_vec())));
        }
    }
}

fn terminated(text: String) -> Vec<u8> {
    let mut octets = text.into_bytes();
    octets.push(0);
    octets
}

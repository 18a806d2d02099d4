//! Whether an answer can be, in itself and beside the answers to earlier questions.

mod networks;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::answers::{Context, NONE};
use crate::problem::{Code, Problem};
use crate::question::{Choice, Id, Kind};
use crate::wrap;

/// No answer is longer, in bytes.
const LONGEST: usize = 200;
/// The kernel's limit for an interface's name (`linux/if.h`, IFNAMSIZ) less its final zero byte.
const LONGEST_INTERFACE: usize = 15;
/// More time servers than anybody asks.
const MOST_ADDRESSES: usize = 4;

/// Reads an answer; gives it in the spelling that is kept.
///
/// # Errors
/// What is wrong with it. Only what was answered before it, in the order of the table, is looked at.
pub fn check(id: Id, text: &str, context: &Context<'_>) -> Result<String, Problem> {
    let text = text.trim();
    let at = At { id, text, context };
    if text.is_empty() {
        return at.refuse(Code::Needed, "");
    }
    if text.len() > LONGEST || !wrap::is_plain(text) {
        return at.refuse(Code::Unprintable, "");
    }
    match id.question().kind {
        Kind::Choice(choices) => at.choice(choices),
        Kind::Site => at.site(),
        Kind::Interface { optional: true } | Kind::Vlan { optional: true } | Kind::Addresses
            if text == NONE =>
        {
            Ok(NONE.to_owned())
        }
        Kind::Interface { .. } => at.interface(),
        Kind::Host => at.host(),
        Kind::Network => at.network(),
        Kind::Neighbour(of) => at.neighbour(of),
        Kind::Pool(of) => at.pool(of),
        Kind::Vlan { .. } => at.vlan(),
        Kind::Addresses => at.addresses(),
    }
}

/// What a cloud may not use of the external network: this machine's address in it, and the way out.
pub(crate) fn taken(context: &Context<'_>) -> Vec<Ipv4Addr> {
    let uplink = context.some(Id::UplinkInterface);
    let card = uplink.and_then(|name| context.facts?.interface(&name));
    let now = card.into_iter().flat_map(|card| {
        let gateway = card.gateway.map(|gateway| gateway.address);
        card.addresses.iter().map(Ipv4Net::addr).chain(gateway)
    });
    let own = context.net(Id::UplinkAddress).map(|net| net.addr());
    let gateway = context.some(Id::UplinkGateway).and_then(|text| text.parse().ok());
    own.into_iter().chain(gateway).chain(now).collect()
}

struct At<'a> {
    id: Id,
    text: &'a str,
    context: &'a Context<'a>,
}

impl At<'_> {
    fn refuse<T>(&self, code: Code, other: &str) -> Result<T, Problem> {
        Err(Problem::new(code, Some(self.id), self.text, other))
    }

    fn choice(&self, choices: &[Choice]) -> Result<String, Problem> {
        if choices.iter().any(|choice| choice.word == self.text) {
            return Ok(self.text.to_owned());
        }
        let words: Vec<&str> = choices.iter().map(|choice| choice.word).collect();
        self.refuse(Code::NotAChoice, &words.join(", "))
    }

    fn site(&self) -> Result<String, Problem> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let text = self.text;
        let is_label =
            text.len() <= 40 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-');
        if is_label { Ok(text.to_owned()) } else { self.refuse(Code::BadSite, "") }
    }

    /// No character that systemd-networkd takes for a pattern.
    fn interface(&self) -> Result<String, Problem> {
        let name = self.text;
        let usual = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let tag = self.tag();
        let length = name.len() + tag.as_ref().map_or(0, |tag| tag.len() + 1);
        if length > LONGEST_INTERFACE || name.starts_with(['.', '-']) || !name.bytes().all(usual) {
            return self.refuse(Code::BadInterface, "");
        }
        if let Some(facts) = self.context.facts
            && facts.interface(name).is_none()
        {
            let names: Vec<&str> = facts.interfaces.iter().map(|card| card.name.as_str()).collect();
            return self.refuse(Code::InterfaceMissing, &names.join(", "));
        }
        let is_uplink = || self.context.some(Id::UplinkInterface).as_deref() == Some(name);
        if self.id == Id::ManagementInterface && tag.is_none() && is_uplink() {
            return self.refuse(Code::SameInterface, "");
        }
        Ok(name.to_owned())
    }

    fn tag(&self) -> Option<String> {
        (self.id == Id::ManagementInterface).then(|| self.context.some(Id::ManagementVlan)).flatten()
    }

    fn vlan(&self) -> Result<String, Problem> {
        let tag = self.text.parse::<u16>().ok().filter(|tag| (1..=4094).contains(tag));
        let Some(tag) = tag.map(|tag| tag.to_string()) else { return self.refuse(Code::BadVlan, "") };
        if self.id == Id::TunnelVlan && self.context.some(Id::ManagementVlan) == Some(tag.clone()) {
            return self.refuse(Code::SameVlan, Id::ManagementVlan.key());
        }
        Ok(tag)
    }

    fn addresses(&self) -> Result<String, Problem> {
        let all = self.text.split(',').map(|text| text.trim().parse::<Ipv4Addr>());
        match all.collect::<Result<Vec<_>, _>>() {
            Ok(all) if all.len() <= MOST_ADDRESSES => {
                Ok(all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            Ok(_) | Err(_) => self.refuse(Code::BadAddresses, ""),
        }
    }
}

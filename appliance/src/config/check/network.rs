//! Provisioning networks: one `[[provision]]` after the other, then what must hold between them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use toml::Spanned;

use super::super::{ConfigError, Dhcp, Foreign, Provision, Relayed, raw};
use super::At;
use super::subnet::{address, host, pools};

/// More networks than any controller has ports.
const MAX_NETWORKS: usize = 16;
/// More subnets behind the relays of one network than a site of racks has.
const MAX_RELAYED: usize = 64;
/// IFNAMSIZ of `linux/if.h`, without the terminating NUL.
const MAX_INTERFACE: usize = 15;
/// Tags of IEEE 802.1Q that mean a network.
pub(super) const VLANS: std::ops::RangeInclusive<i64> = 1..=4094;
/// More name servers than any resolver asks (resolv.conf(5), MAXNS).
const MAX_DNS: usize = 3;

pub(super) fn networks(text: &str, raw: &[raw::Provision]) -> Result<Vec<Provision>, ConfigError> {
    let absent = |why: &str| ConfigError::Value {
        line: 0,
        key: "provision".into(),
        why: why.into(),
        write: "one to sixteen [[provision]] tables with interface, address and pool".into(),
    };
    if raw.is_empty() {
        return Err(absent("there is no network to provision servers on"));
    }
    if raw.len() > MAX_NETWORKS {
        return Err(absent("there are more than sixteen networks"));
    }
    let mut believed: Vec<Provision> = Vec::new();
    for (number, raw) in (1..).zip(raw) {
        let one = network(text, number, raw)?;
        let at = |key: &str| At { text, key: format!("provision {number}, {key}") };
        if believed.iter().any(|b| b.name() == one.name()) {
            let why = format!("{:?} has a [[provision]] already", one.name());
            return Err(at("interface").refuse(&raw.interface, why, "one [[provision]] for each interface"));
        }
        let taken = believed.iter().flat_map(subnets).collect::<Vec<_>>();
        apart(&at("address"), &raw.address, one.address.trunc(), &taken)?;
        let mut taken = [taken, vec![(one.address.trunc(), one.name())]].concat();
        for (raw, relayed) in raw.relayed.iter().zip(&one.relayed) {
            apart(&at("relayed, subnet"), &raw.subnet, relayed.subnet, &taken)?;
            taken.push((relayed.subnet, one.name()));
        }
        believed.push(one);
    }
    Ok(believed)
}

pub(super) fn subnets(provision: &Provision) -> Vec<(Ipv4Net, String)> {
    let relayed = provision.relayed.iter().map(|relayed| relayed.subnet);
    std::iter::once(provision.address.trunc()).chain(relayed).map(|net| (net, provision.name())).collect()
}

/// Two subnets that share an address could not be told apart.
pub(super) fn apart(
    at: &At<'_>,
    value: &Spanned<String>,
    net: Ipv4Net,
    taken: &[(Ipv4Net, String)],
) -> Result<(), ConfigError> {
    match taken.iter().find(|(other, _)| other.contains(&net) || net.contains(other)) {
        None => Ok(()),
        Some((other, interface)) => {
            let why = format!("{net} overlaps {other} on {interface:?}");
            Err(at.refuse(value, why, "networks that share no address"))
        }
    }
}

fn network(text: &str, number: usize, raw: &raw::Provision) -> Result<Provision, ConfigError> {
    let at = |key: &str| At { text, key: format!("provision {number}, {key}") };
    let interface = interface(&at("interface"), &raw.interface)?;
    let vlan = raw.vlan.as_ref().map(|value| vlan(&at("vlan"), value, interface)).transpose()?;
    let address = address(&at("address"), &raw.address)?;
    let dhcp = dhcp(&at("dhcp"), raw.dhcp.as_ref())?;
    let foreign = foreign(&at("foreign"), raw.foreign.as_ref())?;
    let router = raw.router.as_ref().map(|value| host(&at("router"), value, address)).transpose()?;
    let pools = pools(&at("pool"), raw.pool.as_ref(), address, router)?;
    if pools.is_empty() && matches!(dhcp, Dhcp::Full | Dhcp::Known) {
        let why = "there are no addresses to give to servers";
        let write = format!("pool = {}, or dhcp = \"proxy\" or \"off\"", super::subnet::example(address));
        return Err(at("pool").refuse(&raw.interface, why, &write));
    }
    if raw.relayed.len() > MAX_RELAYED {
        let why = format!("there are more than {MAX_RELAYED} relayed subnets");
        return Err(at("relayed").refuse(&raw.interface, why, "fewer of them, or a second [[provision]]"));
    }
    let relayed =
        raw.relayed.iter().map(|raw| relayed(text, number, raw, address)).collect::<Result<_, _>>()?;
    Ok(Provision {
        interface: interface.to_owned(),
        vlan,
        address,
        pools,
        dhcp,
        foreign,
        router,
        dns: dns(&at("dns"), raw.dns.as_ref())?,
        relayed,
        answer_ipv6: raw.answer_ipv6.unwrap_or(true),
    })
}

fn interface<'a>(at: &At<'_>, value: &'a Spanned<String>) -> Result<&'a str, ConfigError> {
    let interface = value.get_ref().as_str();
    let odd = |b: u8| !b.is_ascii_graphic() || b == b'/' || b == b':';
    let long = interface.len() > MAX_INTERFACE;
    if interface.is_empty() || long || interface.starts_with('.') || interface.bytes().any(odd) {
        let why = format!("{interface:?} is not an interface's name");
        return Err(at.refuse(value, why, "a name that `ip link` shows, for example \"eth1\""));
    }
    Ok(interface)
}

fn vlan(at: &At<'_>, value: &Spanned<i64>, interface: &str) -> Result<u16, ConfigError> {
    let number = *value.get_ref();
    let tag = u16::try_from(number).ok().filter(|_| VLANS.contains(&number));
    let tag = tag.ok_or_else(|| at.refuse(value, format!("{number} is no VLAN"), "1 to 4094"))?;
    let name = format!("{interface}.{tag}");
    if name.len() > MAX_INTERFACE {
        let why = format!("{name:?} is longer than an interface's name may be");
        let write = "a shorter interface name (udev's .link files give one)";
        return Err(at.refuse(value, why, write));
    }
    Ok(tag)
}

fn dhcp(at: &At<'_>, value: Option<&Spanned<String>>) -> Result<Dhcp, ConfigError> {
    let Some(value) = value else { return Ok(Dhcp::Full) };
    match value.get_ref().as_str() {
        "full" => Ok(Dhcp::Full),
        "known" => Ok(Dhcp::Known),
        "proxy" => Ok(Dhcp::Proxy),
        "off" => Ok(Dhcp::Off),
        other => {
            let why = format!("{other:?} is not a way to answer");
            Err(at.refuse(value, why, "\"full\", \"known\", \"proxy\" or \"off\""))
        }
    }
}

fn foreign(at: &At<'_>, value: Option<&Spanned<String>>) -> Result<Foreign, ConfigError> {
    let Some(value) = value else { return Ok(Foreign::Pause) };
    match value.get_ref().as_str() {
        "pause" => Ok(Foreign::Pause),
        "proxy" => Ok(Foreign::Proxy),
        "ignore" => Ok(Foreign::Ignore),
        other => {
            let why = format!("{other:?} is not what can be done beside another DHCP server");
            Err(at.refuse(value, why, "\"pause\", \"proxy\" or \"ignore\""))
        }
    }
}

fn dns(at: &At<'_>, value: Option<&Spanned<Vec<Ipv4Addr>>>) -> Result<Vec<Ipv4Addr>, ConfigError> {
    let Some(value) = value else { return Ok(Vec::new()) };
    if value.get_ref().len() > MAX_DNS {
        let why = format!("{} name servers are more than a resolver asks", value.get_ref().len());
        return Err(at.refuse(value, why, "at most three"));
    }
    Ok(value.get_ref().clone())
}

fn relayed(text: &str, number: usize, raw: &raw::Relayed, local: Ipv4Net) -> Result<Relayed, ConfigError> {
    let at = |key: &str| At { text, key: format!("provision {number}, relayed, {key}") };
    let subnet = super::subnet::subnet(&at("subnet"), &raw.subnet)?;
    let relay = host(&at("relay"), &raw.relay, subnet)?;
    let router = raw.router.as_ref().map(|value| host(&at("router"), value, subnet)).transpose()?;
    let via = raw.via.as_ref().map(|value| host(&at("via"), value, local)).transpose()?;
    if let (Some(via), Some(value)) = (via, &raw.via)
        && via == local.addr()
    {
        return Err(at("via").refuse(value, format!("{via} is the controller itself"), "the next router"));
    }
    // The relay is the clients' router unless another is named; neither may be given away.
    let taken = Ipv4Net::new(relay, subnet.prefix_len()).unwrap_or(subnet);
    let pools = pools(&at("pool"), raw.pool.as_ref(), taken, router)?;
    Ok(Relayed { subnet, pools, relay, router: router.unwrap_or(relay), via })
}

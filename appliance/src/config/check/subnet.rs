//! Addresses: of the controller, of routers and relays, and those that are given away.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use toml::Spanned;

use super::super::{ConfigError, Pool};
use super::At;

/// More ranges than anybody types for one subnet.
const MAX_POOLS: usize = 64;

pub(super) fn address(at: &At<'_>, value: &Spanned<String>) -> Result<Ipv4Net, ConfigError> {
    let write = "the controller's own address there with its prefix, for example \"10.77.0.1/24\"";
    let refuse = |why: String| at.refuse(value, why, write);
    let net = prefix(value).map_err(&refuse)?;
    let own = net.addr();
    if own == net.network() || own == net.broadcast() {
        return Err(refuse(format!("{own} is the network's own or its broadcast address")));
    }
    if is_nowhere(own) {
        return Err(refuse(format!("{own} is not an address that servers can reach")));
    }
    Ok(net)
}

/// A subnet that the controller has no address in.
pub(super) fn subnet(at: &At<'_>, value: &Spanned<String>) -> Result<Ipv4Net, ConfigError> {
    let write = "a subnet with its prefix, for example \"10.78.0.0/24\"";
    let net = prefix(value).map_err(|why| at.refuse(value, why, write))?;
    if net.addr() != net.network() {
        let why = format!("{} is an address in {}", net.addr(), net.trunc());
        return Err(at.refuse(value, why, &format!("\"{}\"", net.trunc())));
    }
    if is_nowhere(net.addr()) {
        return Err(at.refuse(value, format!("{net} is no network of servers"), write));
    }
    Ok(net)
}

fn prefix(value: &Spanned<String>) -> Result<Ipv4Net, String> {
    let text = value.get_ref();
    let net: Ipv4Net = text.parse().map_err(|_| format!("{text:?} is not an IPv4 address with a prefix"))?;
    if !(8..=30).contains(&net.prefix_len()) {
        return Err(format!("a prefix of /{} leaves no room for servers, or is nobody's", net.prefix_len()));
    }
    Ok(net)
}

fn is_nowhere(address: Ipv4Addr) -> bool {
    let zero = address.octets().first() == Some(&0);
    address.is_loopback() || address.is_multicast() || address.is_unspecified() || zero
}

/// The address of a machine in a subnet.
pub(super) fn host(at: &At<'_>, value: &Spanned<String>, net: Ipv4Net) -> Result<Ipv4Addr, ConfigError> {
    let write = format!("an address in {}", net.trunc());
    let text = value.get_ref();
    let parsed = text.parse::<Ipv4Addr>();
    let address = parsed.map_err(|_| at.refuse(value, format!("{text:?} is not an IPv4 address"), &write))?;
    if !net.contains(&address) || address == net.network() || address == net.broadcast() {
        return Err(at.refuse(value, format!("{address} is no machine's in {}", net.trunc()), &write));
    }
    Ok(address)
}

/// Ranges, with commas between them: `10.77.0.100-10.77.0.149, 10.77.0.160-10.77.0.199`.
pub(super) fn pools(
    at: &At<'_>,
    value: Option<&Spanned<String>>,
    net: Ipv4Net,
    router: Option<Ipv4Addr>,
) -> Result<Vec<Pool>, ConfigError> {
    let Some(value) = value else { return Ok(Vec::new()) };
    let refuse = |why: String| at.refuse(value, why, &example(net));
    let ranges = value.get_ref().split(',').collect::<Vec<_>>();
    if ranges.len() > MAX_POOLS {
        return Err(refuse(format!("{} ranges are more than {MAX_POOLS}", ranges.len())));
    }
    let mut pools: Vec<Pool> = Vec::new();
    for text in ranges {
        let one = pool(text.trim(), net, router).map_err(&refuse)?;
        if let Some(other) = pools.iter().find(|other| other.first <= one.last && one.first <= other.last) {
            return Err(refuse(format!("{text:?} overlaps {}-{}", other.first, other.last)));
        }
        pools.push(one);
    }
    Ok(pools)
}

fn pool(text: &str, net: Ipv4Net, router: Option<Ipv4Addr>) -> Result<Pool, String> {
    let ends = text
        .split_once('-')
        .and_then(|(a, b)| Some((a.trim().parse::<Ipv4Addr>().ok()?, b.trim().parse::<Ipv4Addr>().ok()?)));
    let (first, last) = ends.ok_or_else(|| format!("{text:?} is not a range of IPv4 addresses"))?;
    if first > last {
        return Err(format!("it ends at {last}, before it starts at {first}"));
    }
    if !net.contains(&first) || !net.contains(&last) {
        return Err(format!("{first}-{last} is not inside {}", net.trunc()));
    }
    if first == net.network() || last == net.broadcast() {
        return Err(format!("it holds the network's own or the broadcast address of {}", net.trunc()));
    }
    let pool = Pool { first, last };
    if pool.contains(net.addr()) {
        return Err(format!("the controller's (or relay's) own address {} is in it", net.addr()));
    }
    match router.filter(|router| pool.contains(*router)) {
        Some(router) => Err(format!("the router's address {router} is in it")),
        None => Ok(pool),
    }
}

/// A pool that would be right in this network: what is above the controller, or below it.
pub(super) fn example(net: Ipv4Net) -> String {
    let (own, low, high) =
        (u32::from(net.addr()), u32::from(net.network()) + 1, u32::from(net.broadcast()) - 1);
    let (first, last) = if high - own >= own.saturating_sub(low) { (own + 1, high) } else { (low, own - 1) };
    format!("\"{}-{}\"", Ipv4Addr::from(first), Ipv4Addr::from(last))
}

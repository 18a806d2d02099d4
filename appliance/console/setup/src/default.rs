//! What is right for most.

use ipnet::Ipv4Net;

use crate::answers::{Context, NONE};
use crate::facts::Interface;
use crate::question::Id;
use crate::range::Range;

/// The parts of a network, in 256ths, that servers are usually given addresses of: `.100` to `.199` where there are 256.
const SERVERS: &[(u64, u64)] = &[(100, 199), (128, 240), (8, 99), (1, 255), (2, 254), (64, 254), (128, 192)];
/// The same for a cloud in somebody else's network: high, where DHCP of the site rarely is.
const FLOATING: &[(u64, u64)] = &[(200, 240), (150, 190), (100, 140), (50, 90), (1, 40)];

/// The card to the site: the one with a way out, else with an address; none where there is one card only, because that is
/// the servers'.
pub(crate) fn uplink(context: &Context<'_>) -> String {
    let cards = context.facts.map(|facts| facts.interfaces.as_slice()).unwrap_or_default();
    if cards.len() < 2 {
        return NONE.to_owned();
    }
    let out = cards.iter().find(|card| card.gateway.is_some());
    let leased = || cards.iter().find(|card| !card.dhcp.is_empty());
    let addressed = || cards.iter().find(|card| !card.addresses.is_empty());
    let card = out.or_else(leased).or_else(addressed);
    card.map_or_else(|| NONE.to_owned(), |card| card.name.clone())
}

/// The card to the servers: one that is not the uplink's, with a cable if there is one.
pub(crate) fn management(context: &Context<'_>) -> String {
    let uplink = context.some(Id::UplinkInterface);
    let cards = context.facts.map(|facts| facts.interfaces.as_slice()).unwrap_or_default();
    let others = || cards.iter().filter(|card| uplink.as_deref() != Some(card.name.as_str()));
    let linked = others().find(|card| card.link == Some(true));
    linked.or_else(|| others().next()).map_or_else(String::new, |card| card.name.clone())
}

/// All that servers may be given, in the network of this machine's address.
pub(crate) fn pool(context: &Context<'_>) -> String {
    let Some(net) = context.net(Id::ManagementAddress) else { return String::new() };
    Range::free(net, &[net.addr()], SERVERS).map_or_else(String::new, |range| range.to_string())
}

/// The network that the uplink is in.
pub(crate) fn external(context: &Context<'_>) -> String {
    let net = written(context).or_else(|| card(context)?.addresses.first().copied());
    net.map_or_else(|| "192.168.1.0/24".to_owned(), |net| net.trunc().to_string())
}

/// A part of it that holds neither this machine nor the way out.
pub(crate) fn floating(context: &Context<'_>) -> String {
    let Some(net) = context.net(Id::ExternalNetwork) else { return String::new() };
    let taken = crate::check::taken(context);
    Range::free(net, &taken, FLOATING).map_or_else(String::new, |range| range.to_string())
}

/// The way out that is used now, else the first address of the network.
pub(crate) fn gateway(context: &Context<'_>) -> String {
    let Some(net) = written(context) else { return String::new() };
    let now = card(context).and_then(|card| card.gateway).map(|gateway| gateway.address);
    let now = now.filter(|address| net.contains(address) && *address != net.addr());
    let first = net.hosts().find(|address| *address != net.addr());
    now.or(first).map_or_else(String::new, |address| address.to_string())
}

/// The address that the uplink has now.
pub(crate) fn address(context: &Context<'_>) -> String {
    let net = card(context).and_then(|card| card.addresses.first());
    net.map_or_else(String::new, ToString::to_string)
}

/// The uplink's address, where it is a fixed one.
fn written(context: &Context<'_>) -> Option<Ipv4Net> {
    context.net(Id::UplinkAddress)
}

fn card<'a>(context: &Context<'a>) -> Option<&'a Interface> {
    let name = context.some(Id::UplinkInterface)?;
    context.facts?.interface(&name)
}

//! Networks of a cloud beside the provisioning one: outside, where floating addresses come from, and that of the tunnels.

use std::collections::BTreeSet;

use fleet::cloud::{External, Tunnel};
use protocol::HardwareAddress;
use toml::Spanned;

use super::At;
use super::network::{VLANS, apart, subnets};
use super::subnet::{host, pools, subnet};
use crate::config::{ConfigError, Provision, raw};

pub(super) fn external(
    text: &str,
    raw: &raw::External,
    provision: &[Provision],
) -> Result<External, ConfigError> {
    let at = |key: &str| At { text, key: format!("cloud.external.{key}") };
    let net = subnet(&at("subnet"), &raw.subnet)?;
    // The gateway would answer for the rack's own machines, and they for it.
    apart(&at("subnet"), &raw.subnet, net, &provision.iter().flat_map(subnets).collect::<Vec<_>>())?;
    let gateway = host(&at("gateway"), &raw.gateway, net)?;
    let pools = pools(&at("pool"), Some(&raw.pool), net, Some(gateway))?;
    let [pool] = pools.as_slice() else {
        let why = format!("{} ranges are more than neutron is told of", pools.len());
        return Err(at("pool").refuse(&raw.pool, why, "one range that nobody else gives addresses of"));
    };
    Ok(External {
        subnet: net,
        gateway,
        first: pool.first(),
        last: pool.last(),
        vlan: raw.vlan.as_ref().map(|value| vlan(&at("vlan"), value)).transpose()?,
        ports: raw.ports.as_ref().map(|value| ports(&at("ports"), value)).transpose()?.unwrap_or_default(),
    })
}

pub(super) fn tunnel(
    text: &str,
    raw: &raw::Tunnel,
    provision: &[Provision],
    external: Option<&External>,
) -> Result<Tunnel, ConfigError> {
    let at = |key: &str| At { text, key: format!("cloud.tunnel.{key}") };
    let net = subnet(&at("subnet"), &raw.subnet)?;
    let nodes = provision.iter().flat_map(subnets).collect::<Vec<_>>();
    let outside = external.map(|external| (external.subnet, "cloud.external".to_owned()));
    let others = nodes.iter().cloned().chain(outside).collect::<Vec<_>>();
    apart(&at("subnet"), &raw.subnet, net, &others)?;
    // A node has the number there that it has in its provisioning network.
    let refuse = |why: String, write: &str| Err(at("subnet").refuse(&raw.subnet, why, write));
    match nodes.as_slice() {
        [(own, _)] if own.prefix_len() < net.prefix_len() => {
            let write = format!("a subnet of /{} or larger", own.prefix_len());
            refuse(format!("{net} has fewer addresses than {own}, whose nodes have one each"), &write)
        }
        [_] => {
            let ports = raw.ports.as_ref().map(|value| ports(&at("ports"), value)).transpose()?;
            Ok(Tunnel { subnet: net, ports: ports.unwrap_or_default() })
        }
        several => {
            let why = format!(
                "nodes of {} provisioning subnets would have the same addresses there",
                several.len()
            );
            refuse(why, "no [cloud.tunnel]: tunnels then go through the provisioning networks")
        }
    }
}

fn vlan(at: &At<'_>, value: &Spanned<i64>) -> Result<u16, ConfigError> {
    let number = *value.get_ref();
    let tag = u16::try_from(number).ok().filter(|_| VLANS.contains(&number));
    tag.ok_or_else(|| {
        at.refuse(value, format!("{number} is no VLAN"), "1 to 4094, or no vlan where it is untagged")
    })
}

fn ports(at: &At<'_>, value: &Spanned<Vec<String>>) -> Result<BTreeSet<HardwareAddress>, ConfigError> {
    let refuse = |why: String| {
        let write = "addresses of network cards as `rackwright node show` has them, [\"52:54:00:12:34:56\"], or no ports \
                     where every node has one card for it beside its first";
        at.refuse(value, why, write)
    };
    if value.get_ref().is_empty() {
        return Err(refuse("an empty list would leave every network node without a card".to_owned()));
    }
    let card = |text: &String| text.parse().map_err(|_| refuse(format!("{text:?} is no card's address")));
    value.get_ref().iter().map(card).collect()
}

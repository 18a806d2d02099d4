//! Provisioning networks: from the configuration to interfaces that are up, and to what DHCP goes by.

use std::net::SocketAddrV4;
use std::time::Duration;

use fleet::network::Rule;
use pxe::HttpBase;
use pxe::dhcp::{Mode, Network, Policy, Pool};

use super::Fatal;
use crate::config::{self, Config, Dhcp, Foreign, Provision, Relayed};
use crate::listen::Place;
use crate::net::Net;
use crate::writer::Wired;

/// How long to wait for a provisioning interface, in seconds.
const INTERFACE_SECONDS: u64 = 120;
/// How long a lease lasts, in seconds. The address is the NIC's for good; the lease only says when to ask again.
const LEASE_SECONDS: u32 = 3600;

/// Brings a provisioning interface up and watches it from then on.
pub(super) async fn prepare(provision: &Provision) -> Result<Place, Fatal> {
    let net = Net::open().map_err(Fatal::of)?;
    let patience = Duration::from_secs(INTERFACE_SECONDS);
    let interface = provision.name();
    let name = interface.as_str();
    let say = |why: &str| tracing::warn!(interface = name, why, "waiting for the provisioning interface");
    if let Some(vlan) = provision.vlan {
        net.ensure_vlan(&provision.interface, vlan, name, patience, say).await.map_err(Fatal::of)?;
    }
    let (link, _) = net.prepare(name, provision.address, patience, say).await.map_err(Fatal::of)?;
    for Relayed { subnet, via, .. } in &provision.relayed {
        if let Some(via) = via {
            net.ensure_route(&link, *subnet, *via).await.map_err(Fatal::of)?;
        }
    }
    let presence = crate::net::watch(name, provision.address).await.map_err(Fatal::of)?;
    Ok(Place { interface, address: provision.address.addr(), presence })
}

/// What DHCP goes by on a network, and what is done beside another server.
pub(super) fn wired(config: &Config, provision: &Provision) -> Wired {
    let pools = |pools: &[config::Pool]| {
        pools.iter().map(|pool| Pool { first: pool.first(), last: pool.last() }).collect::<Vec<_>>()
    };
    let local = Policy {
        server: provision.address.addr(),
        subnet: provision.address.trunc(),
        relay: None,
        pools: pools(&provision.pools),
        lease_seconds: LEASE_SECONDS,
        router: provision.router,
        dns: provision.dns.clone(),
        mode: match provision.dhcp {
            Dhcp::Full | Dhcp::Proxy => Mode::Full,
            Dhcp::Known => Mode::KnownOnly,
            Dhcp::Off => Mode::Off,
        },
        proxy: provision.dhcp == Dhcp::Proxy,
        http: HttpBase(SocketAddrV4::new(provision.address.addr(), config.http_port)),
    };
    let relayed = provision.relayed.iter().map(|relayed| Policy {
        subnet: relayed.subnet,
        relay: Some(relayed.relay),
        router: Some(relayed.router),
        proxy: false,
        pools: pools(&relayed.pools),
        ..local.clone()
    });
    let dhcp = Network {
        site: config.site.as_str().to_owned(),
        relayed: relayed.collect(),
        ..Network::single(&provision.name(), local.clone())
    };
    // Where we give no addresses ourselves, somebody else must.
    let rule = match (provision.dhcp, provision.foreign) {
        (Dhcp::Proxy | Dhcp::Off, _) | (_, Foreign::Ignore) => Rule::Ignore,
        (_, Foreign::Pause) => Rule::Pause,
        (_, Foreign::Proxy) => Rule::Proxy,
    };
    Wired { dhcp, rule }
}

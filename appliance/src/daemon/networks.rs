//! Provisioning networks: from the configuration to interfaces that are up, and to what DHCP goes by.

use std::net::SocketAddrV4;
use std::time::Duration;

use fleet::network::Rule;
use pxe::HttpBase;
use pxe::dhcp::{Mode, Network, Policy, Pool};
use tokio::sync::watch;

use super::Fatal;
use crate::chain;
use crate::config::{self, Config, Dhcp, Foreign, Provision, Relayed};
use crate::listen::{Place, Stop};
use crate::net::{Net, NetError, Presence};
use crate::writer::Wired;

/// How long to wait for a provisioning interface, in seconds.
const INTERFACE_SECONDS: u64 = 30;
/// How long after an interface was made right it is looked at again.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a lease lasts, in seconds. The address is the NIC's for good; the lease only says when to ask again.
const LEASE_SECONDS: u32 = 3600;

/// Makes a provisioning interface what the configuration says, and watches it. One that does not come in time is left to
/// [`keep`]: the other networks need not wait for it.
pub(super) async fn prepare(provision: &Provision) -> Result<Place, Fatal> {
    match establish(provision, Duration::from_secs(INTERFACE_SECONDS)).await {
        Ok(()) => {}
        Err(error @ NetError::Overdue { .. }) => {
            tracing::error!(
                why = chain(&error),
                "a provisioning network is not served before its interface comes"
            );
        }
        Err(error) => return Err(Fatal::of(error)),
    }
    let interface = provision.name();
    let presence = crate::net::watch(&interface, provision.address).await.map_err(Fatal::of)?;
    Ok(Place { interface, address: provision.address.addr(), presence })
}

/// Makes the interface right again whenever it has gone, lost our address, or was switched off and on (the kernel then
/// forgets routes that go by a next hop), until told to stop.
pub(super) async fn keep(provision: Provision, mut presence: watch::Receiver<Presence>, mut stop: Stop) {
    let (mut was_up, mut due, mut told) = (true, false, String::new());
    loop {
        let (missing, up) = match &*presence.borrow_and_update() {
            Presence::Gone | Presence::NoAddress(_) => (true, false),
            Presence::Ready(link) => (false, link.up),
        };
        due |= missing || (up && !was_up);
        was_up = up;
        if due {
            due = match establish(&provision, Duration::ZERO).await {
                Ok(()) => false,
                Err(error) => {
                    say(&provision.name(), &error, &mut told);
                    true
                }
            };
        }
        tokio::select! {
            _ = stop.changed() => return,
            () = tokio::time::sleep(AGAIN), if due => {}
            changed = presence.changed() => if changed.is_err() { return },
        }
    }
}

/// Tells once why it can't be made right; that it is just not there is told by the listeners.
fn say(interface: &str, error: &NetError, told: &mut String) {
    let why = chain(error);
    if matches!(error, NetError::Overdue { .. }) || why == *told {
        tracing::debug!(interface, why, "not there yet");
    } else {
        tracing::warn!(interface, why, "a provisioning network can't be made what is configured");
        *told = why;
    }
}

/// VLAN, address, routes: what is not there is made.
async fn establish(provision: &Provision, patience: Duration) -> Result<(), NetError> {
    let net = Net::open()?;
    let interface = provision.name();
    let name = interface.as_str();
    let say = |why: &str| tracing::warn!(interface = name, why, "waiting for the provisioning interface");
    if let Some(vlan) = provision.vlan {
        net.ensure_vlan(&provision.interface, vlan, name, patience, say).await?;
    }
    let (link, _) = net.prepare(name, provision.address, patience, say).await?;
    for Relayed { subnet, via, .. } in &provision.relayed {
        if let Some(via) = via {
            net.ensure_route(&link, *subnet, *via).await?;
        }
    }
    Ok(())
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

//! What the operator has decided about addresses.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::client::VendorClass;
use super::request::Request;
use super::why::Why;
use crate::HttpBase;
use crate::boot::{Choice, LocalBoot};
use crate::files::StoreFile;

/// Whom to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everybody who asks.
    #[default]
    Full,
    /// Only machines that an operator has admitted ([`Machine::admitted`]) or set an address for.
    KnownOnly,
    /// Nobody.
    Off,
}

/// Addresses that may be handed out, first and last included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The lowest address.
    pub first: Ipv4Addr,
    /// The highest address.
    pub last: Ipv4Addr,
}

/// What the operator has decided about one subnet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Our address on the provisioning interface. It is the server identifier (54) and must stay the same across
    /// restarts.
    pub server: Ipv4Addr,
    /// The subnet: its network address and prefix length.
    pub subnet: Ipv4Net,
    /// The address of the relay in the subnet (giaddr). None: the subnet is on our own interface.
    pub relay: Option<Ipv4Addr>,
    /// Where machines without a fixed address get one from; the lowest free one first.
    pub pools: Vec<Pool>,
    /// How long a client may keep its address without asking again, in seconds.
    pub lease_seconds: u32,
    /// The way out of the subnet (option 3), if there is one; behind a relay, that relay when there is no other.
    pub router: Option<Ipv4Addr>,
    /// Name servers (option 6).
    pub dns: Vec<Ipv4Addr>,
    /// Whom to answer.
    pub mode: Mode,
    /// Another DHCP server gives the addresses here: we add what to boot, to whom the mode allows (PXE 2.1, 2.2.3:
    /// proxyDHCP), and give no address and no lease. Whoever renews a lease of ours that runs may keep it.
    #[serde(default)]
    pub proxy: bool,
    /// Where iPXE finds its script.
    pub http: HttpBase,
}

/// What other DHCP servers on a network mean for ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stance {
    /// There is none, or it does not matter.
    #[default]
    Serve,
    /// It is not known yet: nobody is answered before that, but who asks to keep what it has from us.
    Listening,
    /// There is one, and so nobody is answered, but who asks to keep what it has from us.
    Paused(Ipv4Addr),
    /// There is one, and addresses are left to it: [`Policy::proxy`] is set.
    Proxy,
}

/// All that is answered on one provisioning interface: its own subnet, and those behind relays on it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The kernel's name of the interface.
    pub interface: String,
    /// The name of the site, for other controllers ([`super::probe`]).
    #[serde(default)]
    pub site: String,
    /// What other DHCP servers on it mean.
    #[serde(default)]
    pub stance: Stance,
    /// What the boot store has beyond [`StoreFile::REQUIRED`].
    #[serde(default)]
    pub extras: BTreeSet<StoreFile>,
    /// The subnet of the interface itself.
    pub local: Policy,
    /// Subnets behind relays.
    pub relayed: Vec<Policy>,
}

/// What is known of a machine beside its lease.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Machine {
    /// An operator has made it known, by approving the server or reserving its hardware address.
    pub admitted: bool,
    /// Its lease is of another of our networks than the one it asks on.
    pub elsewhere: bool,
    /// What it is handed, by what became of earlier boots ([`crate::boot::History::choose`]) or because an operator
    /// says so. None, or nothing that its firmware can be given here: the first of [`Network::choices`].
    pub choice: Option<Choice>,
    /// It has nothing to do here, and this is how it is sent to its own disk. None: it has.
    pub local: Option<LocalBoot>,
}

impl Network {
    /// An interface with no relays behind it, of a site without a name, with a boot store of required files only.
    #[must_use]
    pub fn single(interface: &str, local: Policy) -> Network {
        Network {
            interface: interface.to_owned(),
            site: String::new(),
            stance: Stance::Serve,
            extras: BTreeSet::new(),
            local,
            relayed: Vec::new(),
        }
    }

    /// Every subnet, the interface's own first.
    pub fn subnets(&self) -> impl Iterator<Item = &Policy> {
        std::iter::once(&self.local).chain(&self.relayed)
    }

    /// The subnet that holds an address.
    #[must_use]
    pub fn subnet_of(&self, address: Ipv4Addr) -> Option<&Policy> {
        self.subnets().find(|policy| policy.subnet.contains(&address))
    }

    /// The subnet that a request is about: the one its relay means (RFC 3527 before RFC 3011 before giaddr), the one
    /// that a routed unicast comes from, else the interface's own.
    ///
    /// # Errors
    /// [`Why::RelayNotOurs`], [`Why::SubnetNotOurs`]: giaddr is what anybody may write, so only configured relays are
    /// believed, and hosts of the interface's own subnet for that subnet.
    pub fn policy(&self, request: &Request, source: Ipv4Addr) -> Result<&Policy, Why> {
        let giaddr = request.giaddr;
        if giaddr.is_unspecified() {
            let policy = match self.subnet_of(source) {
                Some(policy) => policy,
                // Another controller's network may have other addresses, and it must hear us all the same.
                None if source.is_unspecified() || request.vendor == VendorClass::Probe => &self.local,
                // Routed here from somewhere, or left over from another network.
                None => return Err(Why::SourceNotOurs(source)),
            };
            return match request.subnet {
                Some(subnet) if !policy.subnet.contains(&subnet) => Err(Why::SubnetNotOurs(subnet)),
                _ => Ok(policy),
            };
        }
        let configured = self.relayed.iter().any(|policy| policy.relay == Some(giaddr));
        let near = self.local.is_for_clients(giaddr) || Some(giaddr) == self.local.router;
        if !configured && !near {
            return Err(Why::RelayNotOurs(giaddr));
        }
        let meant = request.subnet.unwrap_or(giaddr);
        let policy = self.subnet_of(meant).ok_or(Why::SubnetNotOurs(meant))?;
        // Any host of our own subnet can say that it is a relay: it is one for that subnet only.
        if !configured && policy.relay.is_some() && Some(giaddr) != self.local.router {
            return Err(Why::RelayNotOurs(giaddr));
        }
        Ok(policy)
    }
}

/// What cannot be meant in a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPolicy {
    /// The subnet has no room for a server and a client, or is a whole class A and more.
    #[error("a provisioning subnet has a prefix length of 8 to 30, not {0}")]
    Prefix(u8),
    /// The server's address is the network's or the broadcast address.
    #[error("{0} is not the address of a machine in its subnet")]
    Server(Ipv4Addr),
    /// A pool runs backwards.
    #[error("the pool from {first} to {last} runs backwards")]
    Backwards {
        /// Its first address.
        first: Ipv4Addr,
        /// Its last address, which is lower.
        last: Ipv4Addr,
    },
    /// An address of a pool, the router or the relay is not in the subnet.
    #[error("{0} is not in the provisioning subnet")]
    Outside(Ipv4Addr),
    /// Clients would ask again without pause.
    #[error("a lease of {0} seconds is too short; 60 is the least")]
    LeaseTooShort(u32),
}

impl Policy {
    /// Refuses what cannot be meant. [`super::decide`] is total without it, but may have nothing to give.
    ///
    /// # Errors
    /// The first contradiction found.
    pub fn check(&self) -> Result<(), BadPolicy> {
        let prefix = self.subnet.prefix_len();
        if !(8..=30).contains(&prefix) {
            return Err(BadPolicy::Prefix(prefix));
        }
        let own = self.relay.unwrap_or(self.server);
        if own == self.subnet.network() || own == self.subnet.broadcast() {
            return Err(BadPolicy::Server(own));
        }
        if !self.subnet.contains(&own) {
            return Err(BadPolicy::Outside(own));
        }
        for Pool { first, last } in self.pools.iter().copied() {
            if first > last {
                return Err(BadPolicy::Backwards { first, last });
            }
        }
        let ends = self.pools.iter().flat_map(|pool| [pool.first, pool.last]);
        if let Some(outside) = ends.chain(self.router).find(|address| !self.subnet.contains(address)) {
            return Err(BadPolicy::Outside(outside));
        }
        if self.lease_seconds < 60 {
            return Err(BadPolicy::LeaseTooShort(self.lease_seconds));
        }
        Ok(())
    }

    /// The way out of the subnet that clients are told: the router, else the relay, which is one.
    #[must_use]
    pub fn gateway(&self) -> Option<Ipv4Addr> {
        self.router.or(self.relay)
    }

    /// Whether this address could be a client's: in the subnet, and not the network's, the broadcast, ours, the
    /// relay's or the router's.
    #[must_use]
    pub fn is_for_clients(&self, address: Ipv4Addr) -> bool {
        self.subnet.contains(&address)
            && address != self.subnet.network()
            && address != self.subnet.broadcast()
            && address != self.server
            && Some(address) != self.relay
            && Some(address) != self.router
    }

    /// Whether the address is in a pool and could be a client's.
    #[must_use]
    pub fn is_pooled(&self, address: Ipv4Addr) -> bool {
        self.pools.iter().any(|pool| (pool.first..=pool.last).contains(&address))
            && self.is_for_clients(address)
    }
}

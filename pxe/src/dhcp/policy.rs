//! What the operator has decided about addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use crate::{HttpBase, Mac};

/// Whom to answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everybody who asks.
    #[default]
    Full,
    /// Only machines with a reservation, with an address set by the operator, or in [`Policy::known`].
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

/// What [`super::decide`] goes by. One provisioning interface, one subnet, one policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Our address on the provisioning interface, with the prefix length of the subnet (`10.77.0.1/24`). It is the
    /// server identifier (54) and must stay the same across restarts.
    pub server: Ipv4Net,
    /// Where machines without a reservation get their address from; the lowest free one first.
    pub pools: Vec<Pool>,
    /// Fixed addresses, inside the subnet, in a pool or not. They win over an address that a MAC has already.
    pub reserved: BTreeMap<Mac, Ipv4Addr>,
    /// Machines to answer in [`Mode::KnownOnly`] beside those with a reservation.
    pub known: BTreeSet<Mac>,
    /// How long a client may keep its address without asking again, in seconds.
    pub lease_seconds: u32,
    /// The way out of the subnet (option 3), if there is one.
    pub router: Option<Ipv4Addr>,
    /// Name servers (option 6).
    pub dns: Vec<Ipv4Addr>,
    /// Whom to answer.
    pub mode: Mode,
    /// Where iPXE finds its script.
    pub http: HttpBase,
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
    /// An address of a pool, a reservation or the router is not in the subnet.
    #[error("{0} is not in the provisioning subnet")]
    Outside(Ipv4Addr),
    /// Two machines have one address reserved, or a machine the server's.
    #[error("{0} is reserved twice")]
    ReservedTwice(Ipv4Addr),
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
        let prefix = self.server.prefix_len();
        if !(8..=30).contains(&prefix) {
            return Err(BadPolicy::Prefix(prefix));
        }
        if self.server.addr() == self.server.network() || self.server.addr() == self.server.broadcast() {
            return Err(BadPolicy::Server(self.server.addr()));
        }
        for Pool { first, last } in self.pools.iter().copied() {
            if first > last {
                return Err(BadPolicy::Backwards { first, last });
            }
        }
        let ends = self.pools.iter().flat_map(|pool| [pool.first, pool.last]);
        let single = self.reserved.values().copied().chain(self.router);
        if let Some(outside) = ends.chain(single).find(|address| !self.server.contains(address)) {
            return Err(BadPolicy::Outside(outside));
        }
        let mut taken = BTreeSet::from([self.server.addr()]);
        if let Some(twice) = self.reserved.values().find(|address| !taken.insert(**address)) {
            return Err(BadPolicy::ReservedTwice(*twice));
        }
        if self.lease_seconds < 60 {
            return Err(BadPolicy::LeaseTooShort(self.lease_seconds));
        }
        Ok(())
    }

    /// Whether this address could be a client's: in the subnet, and not the network's, the broadcast, ours or the
    /// router's.
    #[must_use]
    pub fn is_for_clients(&self, address: Ipv4Addr) -> bool {
        self.server.contains(&address)
            && address != self.server.network()
            && address != self.server.broadcast()
            && address != self.server.addr()
            && Some(address) != self.router
    }

    /// Whether the address is in a pool and could be a client's.
    #[must_use]
    pub fn is_pooled(&self, address: Ipv4Addr) -> bool {
        self.pools.iter().any(|pool| (pool.first..=pool.last).contains(&address))
            && self.is_for_clients(address)
    }

    /// The machine an address is reserved for.
    #[must_use]
    pub fn reserved_for(&self, address: Ipv4Addr) -> Option<Mac> {
        self.reserved.iter().find(|(_, reserved)| **reserved == address).map(|(mac, _)| *mac)
    }
}

//! Addresses as people see them.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use pxe::Mac;
use pxe::dhcp::{LeaseState, Leases};
use serde::{Deserialize, Serialize};

use crate::{Fleet, Time};

/// Who has an address, or why nobody can be given it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseRow {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose; none in quarantine.
    pub mac: Option<Mac>,
    /// The node's name; none: no node of ours.
    pub node: Option<String>,
    /// `offered`, `bound`, `released`, `expired`, or `quarantine`: found in use by somebody unknown.
    pub state: String,
    /// Whether a person set it.
    pub fixed: bool,
    /// When the lease, or the quarantine, ends or ended, RFC 3339.
    pub until: String,
    /// What the client calls itself.
    pub hostname: Option<String>,
}

/// An address that was given back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Released {
    /// The address.
    pub address: Ipv4Addr,
    /// Whose it was; none: it was in quarantine.
    pub mac: Option<Mac>,
    /// When another machine may be given it, RFC 3339; none: now.
    pub free_from: Option<String>,
}

/// Every address that is not free, by address.
pub fn lease_rows(fleet: &Fleet, leases: &Leases, now: Time) -> Vec<LeaseRow> {
    let names = fleet.nodes.values().flat_map(|node| node.macs().map(|mac| (mac.as_str(), &node.name)));
    let names = names.collect::<BTreeMap<_, _>>();
    let held = leases.iter().map(|(mac, lease)| LeaseRow {
        address: lease.ip,
        mac: Some(mac),
        node: names.get(mac.to_string().as_str()).map(ToString::to_string),
        state: match lease.state {
            LeaseState::Offered => "offered",
            LeaseState::Bound if lease.expires.0 <= now.0 => "expired",
            LeaseState::Bound => "bound",
            LeaseState::Released => "released",
        }
        .to_owned(),
        fixed: lease.pinned,
        until: Time(lease.expires.0).to_string(),
        hostname: lease.hostname.as_ref().map(ToString::to_string),
    });
    let alone = leases.quarantined(pxe::Time(now.0)).filter(|(ip, _)| leases.holder(*ip).is_none());
    let alone = alone.map(|(address, until)| LeaseRow {
        address,
        mac: None,
        node: None,
        state: "quarantine".to_owned(),
        fixed: false,
        until: Time(until.0).to_string(),
        hostname: None,
    });
    let mut rows = held.chain(alone).collect::<Vec<_>>();
    rows.sort_by_key(|row| row.address);
    rows
}

/// A server that is known before it comes, or whose address an operator has fixed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReservationRow {
    /// The NIC.
    pub mac: String,
    /// The address that is fixed for it; none: the one it has, or the next that is free.
    pub address: Option<Ipv4Addr>,
    /// The node that the NIC is of, by name, once there is one.
    pub node: Option<String>,
    /// RFC 3339; none when only the address was fixed.
    pub made: Option<String>,
}

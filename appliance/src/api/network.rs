//! Addresses and servers that an operator has spoken for.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use fleet::view::ReservationRow;
use pxe::Mac;
use serde::Deserialize;

use super::{Answer, Api, ApiError, one, read};
use crate::writer::{AddressWish, World, hardware};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Reserve {
    mac: String,
    address: Option<Ipv4Addr>,
}

impl Api {
    pub(super) async fn reserve(&self, body: &[u8]) -> Answer {
        let Reserve { mac, address } = read(body)?;
        let mac = ethernet(&mac)?;
        self.core.address(AddressWish::Reserve { mac, address }).await?;
        one(row(&self.core.world(), mac))
    }

    pub(super) async fn unreserve(&self, mac: &str) -> Answer {
        let mac = ethernet(mac)?;
        let before = row(&self.core.world(), mac);
        self.core.address(AddressWish::Unreserve { mac }).await?;
        one(before)
    }
}

/// Everything that was reserved or fixed, by hardware address.
pub(super) fn reservations(world: &World) -> Vec<ReservationRow> {
    let fixed = world.leases.iter().filter(|(_, lease)| lease.pinned).map(|(mac, _)| mac);
    let all = world.reservations.keys().copied().chain(fixed).collect::<BTreeSet<_>>();
    all.into_iter().map(|mac| row(world, mac)).collect()
}

fn row(world: &World, mac: Mac) -> ReservationRow {
    let node = hardware(mac).and_then(|mac| world.fleet.owner(&mac).map(|node| node.name.to_string()));
    ReservationRow {
        mac: mac.to_string(),
        address: world.leases.get(mac).filter(|lease| lease.pinned).map(|lease| lease.ip),
        node,
        made: world.reservations.get(&mac).map(|reservation| reservation.made.to_string()),
    }
}

fn ethernet(text: &str) -> Result<Mac, ApiError> {
    text.parse().map_err(|error| ApiError::Body(format!("{text:?}: {error}")))
}

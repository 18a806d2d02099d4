//! Addresses and servers that an operator has spoken for.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use fleet::Event;
use fleet::view::{ReservationRow, network_rows};
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

/// A list of servers, and whether it is only tried.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Import {
    rows: Vec<ImportRow>,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ImportRow {
    /// Its place in the list.
    line: u64,
    mac: String,
    address: Option<Ipv4Addr>,
}

/// Which network is looked at; all of them otherwise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    interface: Option<String>,
}

/// A look takes some three seconds; one under way may have to end first.
const LOOK: Duration = Duration::from_secs(15);

impl Api {
    /// Looks for other DHCP servers, and waits for what is seen.
    pub(super) async fn check(&self, body: &[u8]) -> Answer {
        let Check { interface } = read(body)?;
        let names = match interface {
            Some(interface) => vec![interface],
            None => self.core.world().fleet.networks.keys().cloned().collect(),
        };
        for interface in &names {
            self.core.bring(Event::Look { interface: interface.clone() }).await?;
        }
        let mut watch = self.core.watch();
        let wants = |world: &World, name: &String| {
            world.fleet.networks.get(name).is_some_and(fleet::network::Network::wants_look)
        };
        let ended = watch.wait_for(|world| !names.iter().any(|name| wants(world, name)));
        if tokio::time::timeout(LOOK, ended).await.is_err() {
            let without = names.into_iter().filter(|name| wants(&self.core.world(), name));
            let without = without.collect::<Vec<_>>().join(", ");
            return Err(ApiError::Unlooked(without, LOOK.as_secs()));
        }
        let rows = network_rows(&self.core.world().fleet).into_iter();
        super::rows(rows.filter(|row| names.contains(&row.interface)).collect())
    }

    /// Reserves for a whole list.
    pub(super) async fn import_reservations(&self, body: &[u8]) -> Answer {
        let Import { rows, dry_run } = read(body)?;
        let mut wanted = Vec::new();
        for ImportRow { line, mac, address } in rows {
            let mac = mac.parse::<Mac>();
            wanted.push((mac.map_err(|why| ApiError::Body(format!("line {line}: {why}")))?, address));
        }
        let macs = wanted.iter().map(|(mac, _)| *mac).collect::<Vec<_>>();
        self.core.address(AddressWish::Import { rows: wanted, dry_run }).await?;
        let world = self.core.world();
        super::rows(macs.into_iter().map(|mac| row(&world, mac)).collect())
    }

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

//! How machines booted from the network, and what is wrong there.

use std::net::Ipv4Addr;

use fleet::Node;
use fleet::network::Rule;
use fleet::view::{self, BootView, CheckRow, DoctorView};
use pxe::Mac;
use pxe::dhcp::{Mode, Policy};
use pxe::diagnose::{Certainty, Finding};
use pxe::trace::Trace;

use super::look::missing;
use super::{Answer, Api, ApiError, one, rows};
use crate::boot::BootStore;
use crate::writer::{World, hardware, now};

/// Of so many addresses less than this share free is worth a word, in percent.
const SCARCE: u64 = 10;

impl Api {
    pub(super) fn traces(&self, world: &World) -> Answer {
        let all = self.cards(world);
        rows(all.iter().map(|(trace, node, found)| view::boot_row(trace, node.clone(), found)).collect())
    }

    pub(super) fn trace(&self, world: &World, mac: &str) -> Answer {
        let mac: Mac = mac.parse().map_err(|error| ApiError::Body(format!("{mac:?}: {error}")))?;
        let trace = self.core.boots.trace(mac).ok_or_else(|| missing("network boot of", &mac.to_string()))?;
        one(self.view(world, &trace))
    }

    /// The card of a node that was heard last.
    pub(super) fn boot_of(&self, world: &World, node: &Node) -> Option<BootView> {
        let macs = node.macs().filter_map(|mac| mac.as_str().parse::<Mac>().ok());
        let traces = macs.filter_map(|mac| self.core.boots.trace(mac)).filter(Trace::boots);
        traces.max_by_key(Trace::heard).map(|trace| self.view(world, &trace))
    }

    fn view(&self, world: &World, trace: &Trace) -> BootView {
        let found = self.core.boots.findings(world, trace, &self.deaf());
        view::boot_view(trace, owner(world, trace.mac), &found)
    }

    /// Every card that booted, with what is likely wrong; the worst first, and of these whoever was heard last.
    fn cards(&self, world: &World) -> Vec<(Trace, Option<String>, Vec<Finding>)> {
        let deaf = self.deaf();
        let cards = self.core.boots.cards();
        let traces = cards.into_iter().filter_map(|mac| self.core.boots.trace(mac)).filter(Trace::boots);
        let mut all: Vec<_> = traces
            .map(|trace| {
                let found = self.core.boots.findings(world, &trace, &deaf);
                let node = owner(world, trace.mac);
                (trace, node, found)
            })
            .collect();
        let worst =
            |found: &[Finding]| found.first().map_or((true, None), |first| (false, Some(first.certainty)));
        all.sort_by(|(a, _, one), (b, _, other)| {
            worst(one).cmp(&worst(other)).then(b.heard().cmp(&a.heard()))
        });
        all
    }

    /// Listeners that do not listen.
    fn deaf(&self) -> Vec<String> {
        let reports = self.listeners.iter().map(|listener| listener.report());
        reports
            .filter_map(|report| {
                let why = report.waiting?;
                Some(format!("{} on {}: {why}", report.kind, report.interface))
            })
            .collect()
    }

    pub(super) async fn doctor(&self, world: &World) -> Answer {
        let folder = self.boot.clone();
        let store =
            tokio::task::spawn_blocking(move || BootStore::open(&folder).map_err(|e| crate::chain(&e)));
        let store = store.await.unwrap_or_else(|error| Err(error.to_string()));
        let mut checks = vec![self.listeners_check()];
        checks.push(match store {
            Ok(_) => check("boot-store", "ok", "every boot file is there"),
            Err(why) => CheckRow {
                fix: Some(format!("image-build ramdisk --out {}", self.boot.display())),
                ..check("boot-store", "fail", &why)
            },
        });
        for policy in world.networks.iter().flat_map(pxe::dhcp::Network::subnets) {
            checks.push(mode(policy));
            checks.extend(pool(world, policy));
        }
        checks.extend(world.fleet.networks.values().map(others));
        let cards = self.cards(world);
        let cards = cards.iter().filter(|(.., found)| !found.is_empty());
        let mut failed = checks.iter().any(|check| check.result == "fail");
        let mut warned = checks.iter().any(|check| check.result == "warn");
        let mut listed = Vec::new();
        for (trace, node, found) in cards {
            failed |= found.iter().any(|finding| finding.certainty != Certainty::Possible);
            warned = true;
            listed.push(view::boot_row(trace, node.clone(), found));
        }
        let health = if failed {
            "fail"
        } else if warned {
            "warn"
        } else {
            "ok"
        };
        one(DoctorView { health: health.to_owned(), time: now().to_string(), checks, cards: listed })
    }

    fn listeners_check(&self) -> CheckRow {
        let deaf = self.deaf();
        if deaf.is_empty() {
            let what = format!("{} listeners listen", self.listeners.len());
            return check("listeners", "ok", &what);
        }
        CheckRow { fix: Some("rackwright status".to_owned()), ..check("listeners", "fail", &deaf.join("; ")) }
    }
}

/// Other DHCP servers on a network, and what is done beside them.
fn others(network: &fleet::network::Network) -> CheckRow {
    let name = &network.interface;
    let kind = |server: &fleet::network::Server| {
        if server.site.is_some() { "Rackwright controller" } else { "DHCP server" }
    };
    let heard = network.servers.iter().map(|(address, server)| format!("{} {address}", kind(server)));
    let heard = heard.collect::<Vec<_>>().join(", ");
    match (heard.is_empty(), network.looked, network.rule) {
        (true, None, _) => check("other-servers", "warn", &format!("{name}: not looked for yet")),
        (true, Some(_), _) => check("other-servers", "ok", &format!("{name}: no other DHCP server")),
        (false, _, Rule::Ignore) => {
            check("other-servers", "ok", &format!("{name}: beside {heard}, as configured"))
        }
        (false, _, Rule::Proxy) => {
            let what = format!("{name}: addresses are left to {heard}, as configured");
            check("other-servers", "ok", &what)
        }
        (false, _, Rule::Pause) => CheckRow {
            fix: Some(
                "turn it off; or, to serve beside it, set foreign = \"proxy\" for that network".to_owned(),
            ),
            ..check("other-servers", "fail", &format!("{name}: nobody is answered, because of {heard}"))
        },
    }
}

fn owner(world: &World, mac: Mac) -> Option<String> {
    let mac = hardware(mac)?;
    world.fleet.owner(&mac).map(|node| node.name.to_string())
}

fn check(check: &str, result: &str, what: &str) -> CheckRow {
    let [check, result, what] = [check, result, what].map(str::to_owned);
    CheckRow { check, result, what, fix: None }
}

fn mode(policy: &Policy) -> CheckRow {
    let subnet = policy.subnet;
    match policy.mode {
        Mode::Full => check("dhcp", "ok", &format!("{subnet}: everybody who asks is answered")),
        Mode::KnownOnly => {
            check("dhcp", "ok", &format!("{subnet}: only servers that were made known are answered"))
        }
        Mode::Off => CheckRow {
            fix: Some("if servers shall boot there, set dhcp to \"full\", \"known\" or \"proxy\"".to_owned()),
            ..check("dhcp", "warn", &format!("{subnet}: DHCP is off, nobody is answered"))
        },
    }
}

/// How full the pools of a subnet are; nothing where there are none.
fn pool(world: &World, policy: &Policy) -> Option<CheckRow> {
    let size = policy.pools.iter().map(|pool| {
        u64::from(u32::from(pool.last)).saturating_sub(u64::from(u32::from(pool.first))).saturating_add(1)
    });
    let size = size.sum::<u64>();
    let pooled = |address: &Ipv4Addr| policy.is_pooled(*address);
    let held = world.leases.iter().filter(|(_, lease)| pooled(&lease.ip)).count();
    let held = u64::try_from(held).unwrap_or(u64::MAX);
    let what = format!("{}: {held} of {size} addresses are held", policy.subnet);
    let free = size.saturating_sub(held);
    if size == 0 || policy.mode == Mode::Off {
        return None;
    }
    let fix =
        Some("release what is not needed (rackwright network leases), or make the pool larger".to_owned());
    Some(match free {
        0 => CheckRow { fix, ..check("pool", "fail", &what) },
        free if free * 100 < size * SCARCE => CheckRow { fix, ..check("pool", "warn", &what) },
        _ => check("pool", "ok", &what),
    })
}

#[cfg(test)]
#[path = "boots_tests.rs"]
mod tests;

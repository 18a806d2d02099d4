//! How machines booted from the network, and what is wrong there.

use fleet::Node;
use fleet::view::{self, BootView, CheckRow, DoctorView};
use pxe::Mac;
use pxe::diagnose::{Certainty, Finding};
use pxe::trace::Trace;

use super::look::missing;
use super::{Answer, Api, ApiError, one, rows};
use crate::boot::BootStore;
use crate::writer::{World, hardware, now};

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
        let folder = self.joining.boot.clone();
        let store =
            tokio::task::spawn_blocking(move || BootStore::open(&folder).map_err(|e| crate::chain(&e)));
        let store = store.await.unwrap_or_else(|error| Err(error.to_string()));
        let mut checks = vec![self.listeners_check()];
        checks.push(match store {
            Ok(_) => CheckRow::new("boot-store", "ok", "every boot file is there"),
            Err(why) => CheckRow {
                fix: Some(format!("image-build ramdisk --out {}", self.joining.boot.display())),
                ..CheckRow::new("boot-store", "fail", &why)
            },
        });
        for policy in world.networks.iter().flat_map(pxe::dhcp::Network::subnets) {
            checks.push(view::dhcp_check(policy));
            let room = world.leases.room(policy, pxe::Time(now().0));
            checks.extend(view::pool_check(policy, room));
        }
        checks.extend(world.fleet.networks.values().map(view::others_check));
        checks.extend(self.image_checks(world));
        checks.push(view::certificates_check(&world.fleet, now()));
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
            return CheckRow::new("listeners", "ok", &what);
        }
        CheckRow {
            fix: Some("rackwright status".to_owned()),
            ..CheckRow::new("listeners", "fail", &deaf.join("; "))
        }
    }
}

fn owner(world: &World, mac: Mac) -> Option<String> {
    let mac = hardware(mac)?;
    world.fleet.owner(&mac).map(|node| node.name.to_string())
}

#[cfg(test)]
#[path = "boots_tests.rs"]
mod tests;

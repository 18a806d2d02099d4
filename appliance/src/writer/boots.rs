//! What became of earlier boots: which loader a machine is handed, and how it is sent to its own disk.

use std::sync::Arc;

use fleet::{Event, boot_task};
use pxe::Mac;
use pxe::boot::{History, Rows};
use pxe::dhcp::{Arrival, Machine, Network, Reply, Request};
use pxe::script::BootTask;

use super::draft::Draft;
use super::hardware;

impl Draft<'_> {
    /// What is known of a machine that asks, beside its lease.
    pub(super) fn machine(&self, network: &Network, request: &Request, arrival: Arrival) -> Machine {
        let known = self.world.machine(request.mac);
        if !request.boots() {
            return known;
        }
        let (history, now) = (&self.world.history, pxe::Time(self.now.0));
        let local = self.has_no_task(request.mac).then(|| history.local(request, now));
        Machine { choice: history.choose(network, request, arrival, now), local, ..known }
    }

    fn has_no_task(&self, mac: Mac) -> bool {
        hardware(mac).is_some_and(|mac| boot_task(&self.world.fleet, &mac) == BootTask::LocalDisk)
    }

    /// A reply leaves.
    pub(super) fn handed(&mut self, request: &Request, reply: &Reply) {
        if reply.boot.is_some() {
            let now = pxe::Time(self.now.0);
            self.remember(|history| history.handed(request, reply, now));
        }
    }

    /// How far a machine came, by what it fetched or said.
    pub(super) fn came(&mut self, event: &Event) {
        let now = pxe::Time(self.now.0);
        let of = |address: &protocol::HardwareAddress| address.as_str().parse::<Mac>().ok();
        let by_node = |node| self.world.fleet.nodes.get(node).and_then(|node| of(&node.boot.mac));
        let (mac, what) = if let Event::Served { mac, what, .. } = event {
            (of(mac), what.as_str())
        } else if let Event::Hello { hello, .. } = event {
            (of(&hello.boot.mac), "hello")
        } else if let Event::Enrolled { node, .. } | Event::Reported { node, .. } = event {
            (by_node(node), "hello")
        } else {
            return;
        };
        let Some(mac) = mac.filter(|mac| what == "local-disk" || self.world.history.awaits(*mac)) else {
            return;
        };
        match what {
            "loader" => self.remember(|history| history.fetched(mac, now)),
            "script" => self.remember(|history| history.scripted(mac, now)),
            "hold" => self.remember(|history| history.held(mac, now)),
            "local-disk" => self.remember(|history| history.sent_to_disk(mac, now)),
            "hello" => self.remember(|history| history.arrived(mac, now)),
            _ => {}
        }
    }

    fn remember(&mut self, what: impl FnOnce(&mut History) -> Rows) {
        let rows = what(Arc::make_mut(&mut self.world.history));
        self.batch.boots.extend(rows);
    }
}

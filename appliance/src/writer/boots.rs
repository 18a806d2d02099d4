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
        // A node may have booted by any of its cards.
        let by_node = |node| {
            self.world.fleet.nodes.get(node).map_or(Vec::new(), |node| node.macs().filter_map(of).collect())
        };
        let (macs, what) = if let Event::Served { mac, what, .. } = event {
            (of(mac).into_iter().collect::<Vec<_>>(), what.as_str())
        } else if let Event::Hello { hello, .. } = event {
            (of(&hello.boot.mac).into_iter().collect(), "hello")
        } else if let Event::Enrolled { node, .. } | Event::Reported { node, .. } = event {
            (by_node(node), "hello")
        } else {
            return;
        };
        macs.into_iter().for_each(|mac| self.came_with(mac, what, now));
    }

    fn came_with(&mut self, mac: Mac, what: &str, now: pxe::Time) {
        if what != "local-disk" && !self.world.history.awaits(mac) {
            return;
        }
        match what {
            // Nothing will be heard of a server that nobody wants: it may start its disk as often as it likes.
            "local-disk" if !self.reports(mac) => self.remember(|history| history.held(mac, now)),
            "loader" => self.remember(|history| history.fetched(mac, now)),
            "script" => self.remember(|history| history.scripted(mac, now)),
            "hold" => self.remember(|history| history.held(mac, now)),
            "local-disk" => self.remember(|history| history.sent_to_disk(mac, now)),
            "hello" => self.remember(|history| history.arrived(mac, now)),
            _ => {}
        }
    }

    /// Whether an agent runs on the disk of the server with this card, and tells that it does.
    fn reports(&self, mac: Mac) -> bool {
        let node = self.world.nics.owner(mac).and_then(|id| self.world.fleet.nodes.get(&id));
        node.is_some_and(fleet::Node::has_system)
    }

    fn remember(&mut self, what: impl FnOnce(&mut History) -> Rows) {
        let rows = what(Arc::make_mut(&mut self.world.history));
        self.batch.boots.extend(rows);
    }
}

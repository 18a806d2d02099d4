//! Where each figure comes from.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fleet::certificate::{Stage, authorise};
use fleet::job::Work;
use fleet::view::{self, MetricFamily, MetricSample};
use fleet::{Node, State};

use super::{Metric, Metrics};
use crate::writer::{World, now};

/// Values by name, in the order in which they were found.
#[derive(Default)]
struct Values(BTreeMap<Metric, Vec<MetricSample>>);

impl Values {
    fn put(&mut self, metric: Metric, labels: &[(&str, &str)], value: f64) {
        let labels = labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        self.0.entry(metric).or_default().push(MetricSample { labels, value });
    }

    /// A whole number; beyond 2^53 the last digits go, as everywhere in Prometheus.
    fn count(&mut self, metric: Metric, labels: &[(&str, &str)], value: u64) {
        self.put(metric, labels, value as f64);
    }
}

impl Metrics {
    /// Every figure, as of now.
    pub fn gather(&self) -> Vec<MetricFamily> {
        let world = self.core.world();
        let mut values = Values::default();
        self.daemon(&mut values);
        nodes(&world, &mut values);
        work(&world, &mut values);
        self.listening(&world, &mut values);
        self.state(&world, &mut values);
        let family = |metric: Metric| {
            let (name, kind, help) = metric.about();
            let samples = values.0.remove(&metric).unwrap_or_default();
            MetricFamily { name: name.to_owned(), kind: kind.to_owned(), help: help.to_owned(), samples }
        };
        Metric::ALL.into_iter().map(family).collect()
    }

    fn daemon(&self, values: &mut Values) {
        values.count(Metric::BuildInfo, &[("version", env!("CARGO_PKG_VERSION"))], 1);
        values.put(Metric::StartTime, &[], seconds(self.started));
        let life = Duration::from_secs(crate::ca::SERVER_SECONDS);
        values.put(Metric::ServerCertificateExpiry, &[], seconds(self.started + life));
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next());
        if let Some(kib) = resident.and_then(|kib| kib.parse::<u64>().ok()) {
            values.count(Metric::ResidentMemory, &[], kib.saturating_mul(1024));
        }
        if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
            values.count(Metric::OpenFiles, &[], open.count() as u64);
        }
    }

    fn listening(&self, world: &World, values: &mut Values) {
        for listener in self.listeners.iter().map(|listener| listener.report()) {
            let own = [("interface", listener.interface.as_str()), ("listener", listener.kind.as_str())];
            values.count(Metric::ListenerUp, &own, u64::from(listener.bound.is_some()));
            values.count(Metric::Received, &own, listener.received);
            let became = [
                ("answered", listener.answered),
                ("refused", listener.refused),
                ("dropped", listener.dropped),
            ];
            for (result, count) in became {
                values.count(Metric::Requests, &[own[0], own[1], ("result", result)], count);
            }
        }
        for (reason, count) in self.core.boots.silences() {
            values.count(Metric::DhcpSilences, &[("reason", &reason)], count);
        }
        for network in view::network_rows(&world.fleet) {
            let interface = [("interface", network.interface.as_str())];
            values.count(Metric::ForeignDhcp, &interface, network.others.len() as u64);
        }
        values.count(Metric::Leases, &[], world.leases.iter().count() as u64);
    }

    fn state(&self, world: &World, values: &mut Values) {
        values.count(Metric::Events, &[], world.seq);
        for (file, ending) in [("data", ""), ("log", "-wal")] {
            let mut path = self.state_db.clone().into_os_string();
            path.push(ending);
            let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
            values.count(Metric::DatabaseSize, &[("file", file)], bytes);
        }
        let space = &self.core.space;
        let (commits, spent) = space.commits();
        values.count(Metric::Commits, &[], commits);
        values.put(Metric::CommitSeconds, &[], spent.as_secs_f64());
        values.count(Metric::StateTrouble, &[], u64::from(space.trouble().is_some()));
        let row = space.row();
        values.count(Metric::FreeSpace, &[], row.free_bytes);
        values.count(Metric::TotalSpace, &[], row.total_bytes);
        let names = &world.fleet.images;
        for (image, lane, bytes) in self.casts.sent() {
            let name = names.get(&image).map_or_else(|| image.short(), |image| image.name.clone());
            let labels = [("image", name.as_str()), ("digest", &image.short()), ("lane", lane)];
            values.count(Metric::ImageSent, &labels, bytes);
        }
    }
}

fn nodes(world: &World, values: &mut Values) {
    let fleet = &world.fleet;
    for state in State::WORDS {
        let count = fleet.nodes.values().filter(|node| node.state.word() == state).count();
        values.count(Metric::Nodes, &[("state", state)], count as u64);
    }
    for node in fleet.nodes.values().filter(|node| !matches!(node.state, State::Rejected { .. })) {
        let name = [("node", node.name.as_str())];
        values.count(Metric::NodeState, &[name[0], ("state", node.state.word())], 1);
        values.count(Metric::NodeHeartbeatAge, &name, now().seconds_since(node.heard));
        let row = view::node_row(fleet, &world.site, node, now());
        for (what, units) in [("up", row.units_up), ("wanted", row.units)] {
            if let Some(units) = units {
                values.count(Metric::NodeUnits, &[name[0], ("units", what)], u64::from(units));
            }
        }
        certificates(world, node, values);
    }
    values.count(Metric::CaWaiting, &[], fleet::trust::waits(fleet, now()).len() as u64);
    values.count(Metric::ClockDoubted, &[], u64::from(fleet.clock.is_some()));
}

/// When the newest certificate of each stage ends that is good now.
fn certificates(world: &World, node: &Node, values: &mut Values) {
    for stage in [Stage::Deploy, Stage::Run] {
        let own = world.fleet.certificates.values().filter(|row| row.node == node.id && row.stage == stage);
        let good = own.filter(|row| authorise(&world.fleet, Some(&row.fingerprint), stage, now()).is_ok());
        if let Some(until) = good.map(|row| row.until).max() {
            let labels = [("node", node.name.as_str()), ("stage", &stage.to_string())];
            values.count(Metric::CertificateExpiry, &labels, until.0 / 1000);
        }
    }
}

fn work(world: &World, values: &mut Values) {
    let mut jobs = BTreeMap::<(&str, &str), u64>::new();
    for work in Work::all(&world.fleet) {
        let kind = match work {
            Work::Image(_) => "image",
            Work::Capture(_) => "capture",
            Work::Retirement(_) => "retire",
            Work::BurnIn(_) => "test",
        };
        *jobs.entry((kind, work.state().word())).or_default() += 1;
    }
    for ((kind, state), count) in jobs {
        values.count(Metric::Jobs, &[("kind", kind), ("state", state)], count);
    }
    values.count(Metric::Images, &[], world.fleet.images.len() as u64);
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

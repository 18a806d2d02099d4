//! Servers of a cloud: imaged as QEMU machines, then booted natively from the disks that were written.

use std::time::Duration;

use xtask::artifacts::CLOUD;
use xtask::journey::{self, Wanted};
use xtask::operator::Node;
use xtask::rack::container::Container;
use xtask::rack::controller::IMAGES;
use xtask::rack::firmware::Firmware;
use xtask::rack::host::{Host, Leg};
use xtask::rack::machine::{Bus, Disk, Nic, Reboot, Spec};
use xtask::rack::netns::Network;
use xtask::rack::server::Server;
use xtask::watch::Watch;

use crate::lab::{PATIENCE, Site, fail, spec};

const GIB: u64 = 1 << 30;

/// A server of the cloud: it has a card for tunnels, and with the role network another one for the network outside.
pub(super) struct Member {
    pub(super) number: u8,
    pub(super) roles: &'static [&'static str],
}

impl Member {
    fn spec(&self) -> Spec {
        let name = format!("n{}", self.number);
        let disk = Disk::plain(format!("SYS-{}", name.to_uppercase()), 16 * GIB, Bus::Virtio);
        let plain = spec(&name, Firmware::Uefi, self.number, Bus::Virtio, false);
        let card = |of: u8, network| Nic { mac: format!("52:54:00:77:{of:02}:{:02x}", self.number), network };
        let outside = self.roles.contains(&"network").then(|| card(2, Network::Second));
        let nics = plain.nics.iter().cloned().chain(outside).chain([card(3, Network::Far)]).collect();
        Spec { memory_mib: 3072, disks: vec![disk], nics, ..plain }
    }

    /// Its cables once more, for what runs natively.
    fn host(&self, site: &Site) -> Host {
        let nics = self.spec().nics;
        let names = (0..nics.len()).map(|at| format!("eth{}{at}", self.number)).collect::<Vec<_>>();
        let legs = names.iter().zip(&nics).map(|(name, nic)| Leg {
            network: nic.network,
            interface: name,
            address: None,
        });
        let legs = legs.collect::<Vec<_>>();
        let host = site.rack.host(&format!("n{}", self.number), &legs).unwrap_or_else(|error| fail(&error));
        for (name, nic) in names.iter().zip(&nics) {
            host.run(&["ip", "link", "set", name, "address", &nic.mac]).unwrap_or_else(|error| fail(&error));
        }
        host
    }
}

/// The servers, each as one of two machines that have its disk and its cards.
pub(super) struct Bed<'a> {
    site: &'a Site,
    wanted: Vec<Wanted>,
    servers: Vec<Server>,
    hosts: Vec<Host>,
    /// Those that run natively.
    nodes: Vec<Option<Container>>,
}

impl<'a> Bed<'a> {
    /// Servers get their image by the usual way and are switched off; then their disks are booted natively, and the nodes are active.
    pub(super) fn up(site: &'a Site, members: &[Member]) -> Self {
        site.artifacts.cloud().unwrap_or_else(|error| fail(&error));
        let operator = site.operator();
        operator.import(&format!("{IMAGES}/{}.rwimage", CLOUD.name)).unwrap_or_else(|error| fail(&error));
        // The marker is of the image, no role of a node.
        let carried = CLOUD
            .roles
            .iter()
            .filter(|role| **role != "cloud")
            .map(|&role| role.to_owned())
            .collect::<Vec<_>>();
        let image = operator.image_for(&carried).unwrap_or_else(|error| fail(&error));
        let mut bed =
            Self { site, wanted: Vec::new(), servers: Vec::new(), hosts: Vec::new(), nodes: Vec::new() };
        for member in members {
            let spec = member.spec();
            bed.wanted.push(Wanted {
                name: spec.name.clone(),
                mac: spec.mac().to_owned(),
                roles: member.roles.iter().map(|&role| role.to_owned()).collect(),
                image: image.clone(),
                disk: spec.system_disk(),
            });
            bed.servers.push(site.rack.server(spec).unwrap_or_else(|error| fail(&error)));
            bed.hosts.push(member.host(site));
            bed.nodes.push(None);
        }
        let all = (0..members.len()).collect::<Vec<_>>();
        bed.imaged(&all);
        for at in all {
            bed.boot(at);
        }
        bed.until("active", |node| node.state == "active");
        bed
    }

    /// From power to a disk that is proven, and off again.
    fn imaged(&mut self, which: &[usize]) {
        for &at in which {
            self.servers[at].start(Reboot::Off).unwrap_or_else(|error| fail(&error));
        }
        let names = which.iter().map(|&at| self.wanted[at].name.clone()).collect::<Vec<_>>();
        self.until("verified", |node| node.state == "booting" || !names.contains(&node.name));
        for &at in which {
            self.servers[at].wait_off(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
        }
    }

    /// Does what an operator does until all nodes satisfy `arrived`.
    pub(super) fn until(&self, goal: &str, arrived: impl Fn(&Node) -> bool) {
        let (operator, mut watch) = (self.site.operator(), Watch::start());
        let sight =
            journey::until(&operator, &self.wanted, goal, PATIENCE, arrived, |sight| watch.look(sight));
        sight.unwrap_or_else(|error| fail(&error));
    }

    /// Boots the disk of a server natively.
    pub(super) fn boot(&mut self, at: usize) {
        let disk = &self.servers[at].files().disks[0];
        self.nodes[at] = Some(self.hosts[at].boot_disk(disk).unwrap_or_else(|error| fail(&error)));
    }

    /// Its power is gone.
    pub(super) fn cut(&mut self, at: usize) {
        self.nodes[at] = None;
    }

    /// A node that an operator has had rebuilt, after the event `since`: written anew from the network, and booted.
    pub(super) fn rebuilt(&mut self, at: usize, since: u64) {
        let name = self.wanted[at].name.clone();
        // Not before: what its services give away first takes its time.
        self.site.until_event("a ticket", |event| {
            event.node == name && event.kind == "ticket" && event.seq > since
        });
        let disk = self.servers[at].files().disks[0].clone();
        // What it restarts into here is its disk once more: the network is the other machine's.
        self.nodes[at].as_mut().unwrap().power_off(Duration::from_secs(60));
        self.cut(at);
        self.hosts[at].give_back_seed(&disk).unwrap_or_else(|error| fail(&error));
        self.imaged(&[at]);
        self.boot(at);
        self.until("active", |node| node.state == "active");
    }

    pub(super) fn node(&self, at: usize) -> &Container {
        self.nodes[at].as_ref().unwrap()
    }

    /// The image that all of them have.
    pub(super) fn image(&self) -> &str {
        &self.wanted[0].image
    }

    /// The names of the servers, in their order.
    pub(super) fn names(&self) -> Vec<&str> {
        self.wanted.iter().map(|one| one.name.as_str()).collect()
    }
}

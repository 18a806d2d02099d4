//! Two controllers on one cable, each in a network namespace of its own.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use fleet::network::Rule;
use fleet::{Site, Subnet};
use ipnet::Ipv4Net;
use protocol::CaPin;
use pxe::HttpBase;
use pxe::dhcp::{Mode, Network, Policy, Stance};
use tokio::sync::watch;

use super::Netboot;
use crate::listen::dhcp::{self, PORTS};
use crate::listen::{ListenerState, Place, foreign};
use crate::net::tests::{Other, alone, runtime};
use crate::net::{Net, Until, watch as watch_interface};
use crate::store::{Log, Store};
use crate::writer::{Core, Wired};

/// A controller of its own, on this interface of the network namespace it is made in.
async fn controller(interface: &str, own: Ipv4Addr, site: &str) -> Two {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.db");
    let address = Ipv4Net::new(own, 24).unwrap();
    let local = Policy {
        server: own,
        subnet: address.trunc(),
        relay: None,
        pools: vec![],
        lease_seconds: 3600,
        router: None,
        dns: vec![],
        mode: Mode::Full,
        proxy: false,
        http: HttpBase::at(own),
    };
    let dhcp = Network { site: site.to_owned(), ..Network::single(interface, local) };
    let subnets = vec![Subnet { net: address.trunc(), controller: own, gateway: None }];
    let site =
        Site { name: site.to_owned(), subnets, ca: CaPin([1; 32]), addresses: BTreeMap::new(), cloud: None };
    let catalog = crate::catalog::embedded().unwrap();
    let wired = vec![Wired { dhcp, rule: Rule::Pause }];
    let store = Store::open(&path).unwrap();
    let (core, _) = Core::start(store, Log::new(&path), catalog, wired, site).unwrap();
    let net = Net::open().unwrap();
    net.prepare(interface, address, Duration::from_secs(10), |_| ()).await.unwrap();
    net.wait(interface, Until::Carrier, Duration::from_secs(10), |_| ()).await.unwrap();
    let presence = watch_interface(interface, address).await.unwrap();
    let place = Place { interface: interface.into(), address: own, presence };
    let (stopper, stop) = watch::channel(false);
    let netboot = Arc::new(Netboot::new(
        core.clone(),
        crate::join::Joining { boot: "boot".into(), http_port: 80, agents_port: 8443 },
    ));
    let state = |kind| ListenerState::new(kind, interface);
    tokio::spawn(dhcp::serve(place.clone(), PORTS[0], Arc::clone(&netboot), state("dhcp"), stop.clone()));
    tokio::spawn(foreign::serve(place, netboot, state("foreign"), stop));
    Two { core, _folder: folder, _stopper: stopper }
}

struct Two {
    core: Core,
    _folder: tempfile::TempDir,
    _stopper: watch::Sender<bool>,
}

fn stance(core: &Core, interface: &str) -> Stance {
    core.world().fleet.networks[interface].stance()
}

/// The one that serves goes on, the one that comes later is silent and knows whose network it is.
#[test]
fn two_controllers_on_one_cable_know_each_other() {
    if !alone("netboot::twins::two_controllers_on_one_cable_know_each_other") {
        return;
    }
    let other = Arc::new(Other::new());
    other.cable();
    runtime().block_on(async {
        let first = controller("rw0", Ipv4Addr::new(10, 77, 0, 5), "school").await;
        let serves = |core: Core| async move {
            core.watch()
                .wait_for(|world| world.fleet.networks["rw0"].stance() == Stance::Serve)
                .await
                .unwrap();
        };
        tokio::time::timeout(Duration::from_secs(60), serves(first.core.clone()))
            .await
            .expect("it never served");
        let there = Arc::clone(&other);
        let second = tokio::task::spawn_blocking(move || {
            there.run(|| {
                runtime().block_on(async {
                    let second = controller("rw1", Ipv4Addr::new(10, 77, 0, 2), "lab").await;
                    let paused = |core: Core| async move {
                        let silent = |stance| matches!(stance, Stance::Paused(_));
                        core.watch()
                            .wait_for(|world| silent(world.fleet.networks["rw1"].stance()))
                            .await
                            .unwrap();
                    };
                    tokio::time::timeout(Duration::from_secs(60), paused(second.core.clone()))
                        .await
                        .expect("it served too");
                    let world = second.core.world();
                    let servers = &world.fleet.networks["rw1"].servers;
                    servers.values().map(|server| server.site.clone()).collect::<Vec<_>>()
                })
            })
        });
        assert_eq!(second.await.unwrap(), [Some("school".to_owned())]);
        assert_eq!(stance(&first.core, "rw0"), Stance::Serve, "who was there first is stopped by nobody");
    });
}

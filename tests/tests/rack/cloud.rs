//! A cloud in one server: imaged from the network like any other, then booted natively from the disk that was written, because
//! OpenStack on an emulated processor takes a quarter of an hour to start. The daemon and its agent do everything; the openstack
//! client, which is not ours, is the judge.

use std::time::Duration;

use xtask::artifacts::CLOUD;
use xtask::journey::{self, Wanted};
use xtask::rack::container::Container;
use xtask::rack::controller::{CONFIG, IMAGES};
use xtask::rack::firmware::Firmware;
use xtask::rack::host::Leg;
use xtask::rack::machine::{Bus, Disk, Reboot, Spec};
use xtask::rack::netns::Network;
use xtask::{say, watch};

use crate::lab::{PATIENCE, Site, fail, spec};

/// Containers have the kernel of this machine, which may have no module for Open vSwitch.
const OF_CLOUD: &str = "\n[cloud]\ndatapath = \"userspace\"\n";
const GIB: u64 = 1 << 30;
/// Until all services are well, once their node is active.
const RISE: Duration = Duration::from_secs(15 * 60);
/// One call of the client.
const CALL: Duration = Duration::from_secs(300);

#[test]
#[ignore = "takes a quarter of an hour: cargo xtask test --long"]
fn a_cloud_comes_up_in_one_server_and_runs_an_instance() {
    let Some(site) = Site::up(&format!("{CONFIG}{OF_CLOUD}")) else { return };
    let node = imaged(&site);
    let up = say::step("all services of the cloud come up", || {
        site.controller.run_for(&["rackwright", "cloud", "status", "--wait"], RISE)
    });
    say::line(&up.unwrap_or_else(|error| fail(&error)));
    judged(&site, &node);
    site.passed();
}

/// A server gets its image by the usual way and is switched off; then its disk is booted natively, and the node is active.
fn imaged(site: &Site) -> Container {
    site.artifacts.cloud().unwrap_or_else(|error| fail(&error));
    let operator = site.operator();
    operator.import(&format!("{IMAGES}/{}.rwimage", CLOUD.name)).unwrap_or_else(|error| fail(&error));
    let spec = Spec {
        memory_mib: 3072,
        disks: vec![Disk::plain("SYS-N1".to_owned(), 16 * GIB, Bus::Virtio)],
        ..spec("n1", Firmware::Uefi, 1, Bus::Virtio, false)
    };
    let roles =
        CLOUD.roles.iter().filter(|role| **role != "cloud").map(|&role| role.to_owned()).collect::<Vec<_>>();
    let wanted = [Wanted {
        name: spec.name.clone(),
        mac: spec.mac().to_owned(),
        image: operator.image_for(&roles).unwrap_or_else(|error| fail(&error)),
        disk: spec.system_disk(),
        roles,
    }];
    let mut server = site.rack.server(spec).unwrap_or_else(|error| fail(&error));
    server.start(Reboot::Off).unwrap_or_else(|error| fail(&error));
    let mut watch = watch::Watch::start();
    let mut until = |goal: &str, state: &str| {
        let arrived = |node: &xtask::operator::Node| node.state == state;
        let sight = journey::until(&operator, &wanted, goal, PATIENCE, arrived, |sight| watch.look(sight));
        sight.unwrap_or_else(|error| fail(&error));
    };
    until("verified", "booting");
    server.wait_off(Duration::from_secs(120)).unwrap_or_else(|error| fail(&error));
    let leg = Leg { network: Network::Provision, interface: "eth1", address: None };
    let host = site.rack.host("n1", &[leg]).unwrap_or_else(|error| fail(&error));
    host.run(&["ip", "link", "set", "eth1", "address", server.spec().mac()])
        .unwrap_or_else(|error| fail(&error));
    let node = host.boot_disk(&server.files().disks[0]).unwrap_or_else(|error| fail(&error));
    until("active", "active");
    node
}

/// What the client says, that ships with OpenStack.
fn judged(site: &Site, node: &Container) {
    let client = Client {
        access: site.controller.rackwright(&["cloud", "openrc"]).unwrap_or_else(|error| fail(&error)),
        node,
    };
    let token = client.says("token issue -f value -c id");
    assert!(token.trim().len() > 100, "{token:?}");
    let services = client.says("compute service list -f value -c Binary -c State");
    for binary in ["nova-conductor up", "nova-scheduler up", "nova-compute up"] {
        assert!(services.contains(binary), "{services}");
    }
    let agents = client.says("network agent list -f value -c Alive -c Binary");
    for agent in ["True ovn-controller", "True neutron-ovn-metadata-agent"] {
        assert!(agents.contains(agent), "{agents}");
    }
    runs_an_instance(&client);
}

/// On a network of its own behind a router. There is nothing on its disk: that it runs is what is asked here.
fn runs_an_instance(client: &Client<'_>) {
    client
        .node
        .exec(&["truncate", "--size=1M", "/root/blank.raw"], CALL)
        .unwrap_or_else(|error| fail(&error));
    for words in [
        "image create blank --file /root/blank.raw --disk-format raw --container-format bare --public",
        "flavor create tiny --ram 64 --disk 1 --vcpus 1",
        "network create inside",
        "subnet create inside --network inside --subnet-range 192.168.77.0/24",
        "router create way",
        "router add subnet way inside",
        "server create first --image blank --flavor tiny --network inside --wait",
    ] {
        client.says(words);
    }
    let status = client.says("server show first -f value -c status");
    assert_eq!(status.trim(), "ACTIVE");
    let port = client.says("port list --server first -f value -c Status");
    assert_eq!(port.trim(), "ACTIVE", "its port is a switch's");
    client.says("server delete first --wait");
}

/// The openstack client, on the control node.
struct Client<'a> {
    access: String,
    node: &'a Container,
}

impl Client<'_> {
    /// What it prints; it has to succeed.
    fn says(&self, words: &str) -> String {
        let script = format!("{}exec openstack {words}", self.access);
        let out = self.node.exec(&["sh", "-ec", &script], CALL).unwrap_or_else(|error| fail(&error));
        assert!(out.status.success(), "openstack {words}: {}{}", out.stdout, out.stderr);
        say::line(&format!("    openstack {words}\n{}", out.stdout.trim_end()));
        out.stdout
    }
}

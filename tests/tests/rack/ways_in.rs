//! Every way by which a server comes to the agent and, when there is nothing to do, to its own disk.
//!
//! The network is first in every boot order. The disk is a node image as it is: that its system starts is the proof,
//! and nothing has to be written for it. `RACK_WAYS=bios,secure` walks only those; with `RACKWRIGHT_LONG` set all are walked, else those
//! that have something no other has: every firmware, every kind of network.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use xtask::artifacts::RECIPES;
use xtask::operator::Node;
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Disk, Nic, Reboot, Spec};
use xtask::rack::netns::Network;
use xtask::rack::server::Server;
use xtask::{say, timeline};

use crate::lab::{Site, fail};
use crate::neighbours;

/// From power to anything; where all is emulated, and two share two processors, it takes a minute.
const LIMIT: Duration = Duration::from_secs(300);
/// The ramdisk's agent was answered by the controller.
const AGENT: &str = "rackwright-agent: hello";
/// The first program of the system on the disk runs.
const DISK: &str = "Welcome to Debian GNU/Linux";
/// What a kernel logs, below its console's level, once the firmware has checked it: it checks its modules from then on.
const LOCKED: &str = "Kernel is locked down from EFI Secure Boot";
/// By the kernel's UEFI stub.
const SECURE: &str = "EFI stub: UEFI Secure Boot is enabled.";

/// One way in.
struct Way {
    name: &'static str,
    firmware: Firmware,
    bus: Bus,
    /// What the server's cards are plugged into.
    nics: &'static [Network],
    /// The card it comes to the agent by.
    agent_by: usize,
}

/// The card that is asked when a server goes to its disk.
const DISK_BY: usize = 0;

const fn way(name: &'static str, firmware: Firmware, bus: Bus, nics: &'static [Network]) -> Way {
    Way { name, firmware, bus, nics, agent_by: 0 }
}

/// The longest ones first: two are walked at a time.
const WAYS: [Way; 9] = [
    way("secure", Firmware::UefiSecure, Bus::Nvme, &[Network::Provision]),
    way("http", Firmware::UefiHttp, Bus::Virtio, &[Network::Provision]),
    way("uefi", Firmware::Uefi, Bus::Sata, &[Network::Provision]),
    way("bios", Firmware::Bios, Bus::Virtio, &[Network::Provision]),
    // Known by one card, it is the same server when it asks by the other.
    Way { agent_by: 1, ..way("second", Firmware::Uefi, Bus::Nvme, &[Network::Provision, Network::Second]) },
    way("far-uefi", Firmware::Uefi, Bus::Virtio, &[Network::Far]),
    way("far-bios", Firmware::Bios, Bus::Sata, &[Network::Far]),
    way("prx-uefi", Firmware::Uefi, Bus::Virtio, &[Network::Shared]),
    way("prx-bios", Firmware::Bios, Bus::Nvme, &[Network::Shared]),
];

/// What an ordinary run walks; without any disturbance by BIOS and UEFI is what the other stories begin with.
const USUAL: &str = "secure,http,far-bios,prx-uefi";

#[test]
fn every_way_in_leads_to_the_agent_and_to_the_local_disk() {
    let chosen = chosen();
    let Some(site) = Site::up(neighbours::CONFIG) else { return };
    let mut neighbours = [neighbours::isc_relay(&site), neighbours::owner(&site)];
    let ways = Mutex::new((1_u8..).zip(chosen));
    let next = || ways.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|both| {
        for _ in 0..2 {
            // A way that fails takes its walker with it: the other one tells about the rest.
            both.spawn(|| {
                while let Some((number, way)) = next() {
                    walk(&site, way, number)
                }
            });
        }
    });
    neighbours.iter_mut().for_each(|program| program.check().unwrap_or_else(|error| fail(&error)));
    drop(neighbours);
    site.passed();
}

/// What `RACK_WAYS` names, or [`USUAL`], or all. A name that nothing has would walk nothing, and that would look as if all was well.
fn chosen() -> Vec<&'static Way> {
    let usual = if std::env::var_os("RACKWRIGHT_LONG").is_some() { "" } else { USUAL };
    let only = std::env::var("RACK_WAYS").unwrap_or_else(|_| usual.to_owned());
    let names: Vec<&str> = only.split(',').filter(|_| !only.is_empty()).collect();
    for name in &names {
        assert!(WAYS.iter().any(|way| way.name == *name), "RACK_WAYS: there is no way {name:?}");
    }
    WAYS.iter().filter(|way| names.is_empty() || names.contains(&way.name)).collect()
}

fn walk(site: &Site, way: &Way, number: u8) {
    let spec = spec(site, way, number);
    let macs: Vec<String> = spec.nics.iter().map(|nic| nic.mac.clone()).collect();
    let mut server = site.rack.server(spec).unwrap_or_else(|error| fail(&error));
    server.boot_from(way.agent_by);
    let to_agent = boots(site, way, &mut server, AGENT);
    let node = only_node(site, &macs);
    assert_eq!(node.state, "discovered", "{}", way.name);
    let network = neighbours::prefix(way.nics[way.agent_by]);
    assert!(node.address.starts_with(network), "{} has {}, not {network}…", way.name, node.address);
    say::line(&format!(
        "    {:<8} to the agent in {}: {}",
        way.name,
        say::seconds(to_agent),
        stages(site, &server, &node)
    ));
    if way.firmware == Firmware::Bios {
        ipxe_says(&server, &node, way.nics[way.agent_by]);
    }
    // Nobody wants it: there is nothing for it to do here.
    let code = node.code.as_deref().unwrap_or_default();
    site.controller.rackwright(&["node", "reject", code]).unwrap_or_else(|error| fail(&error));
    server.boot_from(DISK_BY);
    let mark = server.serial().mark();
    let to_disk = boots(site, way, &mut server, DISK);
    assert!(server.serial().find(mark, &[AGENT]).is_none(), "{} came to the agent once more", way.name);
    let after = only_node(site, &macs);
    assert_eq!(after.id, node.id, "{} is taken for another server", way.name);
    if way.agent_by == DISK_BY {
        assert_eq!(after.address, node.address, "{} has another address", way.name);
    }
    say::line(&format!("    {:<8} to its disk in {}", way.name, say::seconds(to_disk)));
}

/// iPXE, as a DHCP client, says on the console what it was given.
fn ipxe_says(server: &Server, node: &Node, network: Network) {
    let gateway = match network {
        Network::Provision => neighbours::ROUTER,
        Network::Far => neighbours::FAR_ROUTER,
        Network::Second => return,
        Network::Shared => neighbours::OWNER,
    };
    let given = format!("net0: {}/255.255.255.0 gw {gateway}", node.address);
    assert!(server.serial().find(0, &[&given]).is_some(), "iPXE does not say {given:?}");
}

fn spec(site: &Site, way: &Way, number: u8) -> Spec {
    let content = Some(site.artifacts.raw(RECIPES[0].name));
    let serial = format!("SYS-{}", way.name.to_uppercase());
    let disks = vec![Disk { content, ..Disk::plain(serial, 0, way.bus) }];
    let nic = |(card, network): (usize, &Network)| {
        let mac = format!("52:54:00:77:{:02x}:{number:02x}", 0x30 + card);
        Nic { mac, network: *network }
    };
    let nics = way.nics.iter().enumerate().map(nic).collect();
    let name = way.name.to_owned();
    // One processor: two servers start at a time, and most of a start is one after the other anyway.
    Spec { name, firmware: way.firmware, nics, memory_mib: 1024, cpus: 1, disks }
}

/// Switches it on, waits for `to`, looks how it came there, and cuts the power. How long it took.
fn boots(site: &Site, way: &Way, server: &mut Server, to: &str) -> Duration {
    let mark = server.serial().mark();
    server.start(Reboot::Off).unwrap_or_else(|error| fail(&error));
    let there = match server.wait_serial(mark, &[to], LIMIT) {
        Ok(there) => there,
        Err(error) => {
            say::line(&format!(
                "    {}: what the controller knows of it:\n{}",
                way.name,
                known(site, server)
            ));
            fail(&error)
        }
    };
    for text in signs(way.firmware) {
        assert!(server.serial().find(mark, &[text]).is_some(), "{}: no {text:?} on its console", way.name);
    }
    let secure = way.firmware == Firmware::UefiSecure;
    assert_eq!(server.serial().find(mark, &[SECURE]).is_some(), secure, "{}", way.name);
    if secure {
        let locked = server.memory_holds(LOCKED).unwrap_or_else(|error| fail(&error));
        assert!(locked, "{}: the kernel runs as if nothing had been checked", way.name);
    }
    let power = server.powered().last().copied().unwrap_or(SystemTime::UNIX_EPOCH);
    server.kill().unwrap_or_else(|error| fail(&error));
    there.at.duration_since(power).unwrap_or_default()
}

/// What a firmware says when it does what it was chosen for.
fn signs(firmware: Firmware) -> &'static [&'static str] {
    match firmware {
        Firmware::Bios => &["iPXE"],
        Firmware::Uefi | Firmware::UefiSecure => &[">>Start PXE over IPv4"],
        Firmware::UefiHttp => &[">>Start HTTP Boot over IPv4"],
    }
}

/// The one node that these cards belong to.
fn only_node(site: &Site, macs: &[String]) -> Node {
    let nodes = site.operator().nodes().unwrap_or_else(|error| fail(&error));
    let mut ours: Vec<Node> = nodes.into_iter().filter(|node| macs.contains(&node.mac)).collect();
    assert_eq!(ours.len(), 1, "{macs:?} should be one node: {ours:#?}");
    ours.remove(0)
}

fn stages(site: &Site, server: &Server, node: &Node) -> String {
    let power = server.powered().last().copied().unwrap_or(SystemTime::UNIX_EPOCH);
    let lines = server.serial().lines();
    timeline::line(&timeline::stages(power, &node.name, &node.mac, &site.events(), &lines))
}

/// Every event about a server's cards, for an error message.
fn known(site: &Site, server: &Server) -> String {
    let macs: Vec<&str> = server.spec().nics.iter().map(|nic| nic.mac.as_str()).collect();
    let nodes = site.operator().nodes().unwrap_or_default();
    let names: Vec<&str> = nodes
        .iter()
        .filter(|node| macs.contains(&node.mac.as_str()))
        .map(|node| node.name.as_str())
        .collect();
    let events = site.events().into_iter();
    let ours = events.filter(|event| [&macs[..], &names[..]].concat().contains(&event.node.as_str()));
    let line = |event: xtask::operator::Event| format!("      {} {} {}", event.time, event.kind, event.text);
    ours.map(line).collect::<Vec<_>>().join("\n")
}

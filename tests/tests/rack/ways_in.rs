//! Every way by which a server comes to the agent and, when there is nothing to do, to its own disk.
//!
//! The network is first in every boot order. The disk is a node image as it is; that its system starts is the proof, so
//! nothing has to be imaged for it.

use std::time::{Duration, SystemTime};

use xtask::artifacts::RECIPES;
use xtask::operator::Operator;
use xtask::rack::firmware::Firmware;
use xtask::rack::machine::{Bus, Disk, Nic, Reboot, Spec};
use xtask::rack::netns::Network;
use xtask::rack::server::Server;
use xtask::say;

use crate::lab::{Site, fail};

/// From power to anything; where all is emulated it takes half a minute.
const LIMIT: Duration = Duration::from_secs(180);
/// The ramdisk's agent was answered by the controller.
const AGENT: &str = "rackwright-agent: hello";
/// The system on the disk is up.
const DISK: &str = "login:";
/// What a kernel logs, below its console's level, when the firmware has checked it and it will check its modules.
const LOCKED: &str = "Kernel is locked down from EFI Secure Boot";

/// One way in.
struct Way {
    name: &'static str,
    firmware: Firmware,
    bus: Bus,
}

const WAYS: [Way; 4] = [
    Way { name: "bios", firmware: Firmware::Bios, bus: Bus::Virtio },
    Way { name: "uefi", firmware: Firmware::Uefi, bus: Bus::Sata },
    Way { name: "secure", firmware: Firmware::UefiSecure, bus: Bus::Nvme },
    Way { name: "http", firmware: Firmware::UefiHttp, bus: Bus::Virtio },
];

#[test]
fn every_way_in_leads_to_the_agent_and_to_the_local_disk() {
    let Some(site) = Site::up(xtask::rack::controller::CONFIG) else { return };
    let only = std::env::var("RACK_WAY").ok();
    for (number, way) in (1_u8..).zip(&WAYS) {
        if only.as_ref().is_none_or(|only| only == way.name) {
            walk(&site, way, number);
        }
    }
    site.passed();
}

fn walk(site: &Site, way: &Way, number: u8) {
    let mac = format!("52:54:00:77:03:{number:02x}");
    let content = Some(site.artifacts.raw(RECIPES[0].name));
    let disk = Disk { serial: format!("SYS-{number}"), bytes: 0, bus: way.bus, speed: None, content };
    let nic = Nic { mac: mac.clone(), network: Network::Provision };
    let spec = Spec {
        name: way.name.to_owned(),
        firmware: way.firmware,
        nics: vec![nic],
        memory_mib: 1024,
        cpus: 2,
        disks: vec![disk],
    };
    let mut server = site.rack.server(spec).unwrap_or_else(|error| fail(&error));
    boots(site, &mut server, AGENT, way);
    let node = site.node(&mac).unwrap();
    assert_eq!(node.state, "discovered");
    site.controller.rackwright(&["node", "reject", &node.code.unwrap()]).unwrap_or_else(|error| fail(&error));
    boots(site, &mut server, DISK, way);
}

fn boots(site: &Site, server: &mut Server, to: &str, way: &Way) {
    let mark = server.serial().mark();
    server.start(Reboot::Off).unwrap_or_else(|error| fail(&error));
    let there = server.wait_serial(mark, &[to], LIMIT).unwrap_or_else(|error| fail(&error));
    let power = server.powered().last().copied().unwrap_or(SystemTime::UNIX_EPOCH);
    say::line(&format!(
        "    {}: {to:?} after {}",
        way.name,
        say::seconds(there.at.duration_since(power).unwrap_or_default())
    ));
    let start = SystemTime::now();
    let locked = server.memory_holds(LOCKED).unwrap_or_else(|error| fail(&error));
    say::line(&format!("    locked {locked} {:?}", start.elapsed()));
    assert_eq!(locked, way.firmware == Firmware::UefiSecure);
    server.kill().unwrap_or_else(|error| fail(&error));
    let _ = Operator::on(&site.controller);
}

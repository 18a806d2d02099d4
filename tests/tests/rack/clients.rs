//! Real DHCP clients, judged by what they themselves say: the same card always has the same address, whatever program
//! asks and whatever it calls itself, also through a relay.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use xtask::rack::controller::ADDRESS;
use xtask::rack::host::{Host, Leg};
use xtask::rack::netns::Network;
use xtask::say;

use crate::lab::{Site, fail};
use crate::neighbours;

/// No client needs longer; some begin with a pause of up to ten seconds.
const LIMIT: Duration = Duration::from_secs(60);
/// What the controller gives: an hour.
const LEASE: &str = "3600";
/// Prints what a client was given; every client runs such a script, each with names of its own.
const SCRIPT: &str = "#!/bin/sh\n\
    env | sed -n -E 's/^(new_[a-z_]+|ip|subnet|router|serverid|lease)=/given \\1=/p'\n";

/// What a client says it was given: its own names and values.
type Given = BTreeMap<String, String>;

#[test]
fn real_clients_are_given_the_same_address_and_settings() {
    let Some(site) = Site::up(neighbours::CONFIG) else { return };
    let script = site.rack.dir().join("given");
    fs::write(&script, SCRIPT).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let leg = Leg { network: Network::Provision, interface: "guest", address: None };
    let guest = site.rack.host("guest", &[leg]).unwrap_or_else(|error| fail(&error));
    let mut addresses = Vec::new();
    for client in CLIENTS {
        let given = client.ask(&guest, "guest", &script);
        expect(client, &given, &[ADDRESS, "255.255.255.0", LEASE, neighbours::ROUTER]);
        addresses.push(given[client.address].clone());
    }
    addresses.push(networkd(&site, &guest));
    assert!(addresses[0].starts_with(neighbours::prefix(Network::Provision)), "{addresses:?}");
    assert!(
        addresses.iter().all(|address| *address == addresses[0]),
        "one card, several addresses: {addresses:?}"
    );
    through_a_relay(&site, &script);
    site.passed();
}

/// A client on the far side of dnsmasq's relay agent: the address is of its own subnet, and the relay its way out.
fn through_a_relay(site: &Site, script: &Path) {
    let _relay = neighbours::dnsmasq_relay(site);
    let leg = Leg { network: Network::Far, interface: "remote", address: None };
    let remote = site.rack.host("remote", &[leg]).unwrap_or_else(|error| fail(&error));
    let given = CLIENTS[0].ask(&remote, "remote", script);
    expect(&CLIENTS[0], &given, &[ADDRESS, "255.255.255.0", LEASE, neighbours::FAR_ROUTER]);
    assert!(given[CLIENTS[0].address].starts_with(neighbours::prefix(Network::Far)), "{given:?}");
}

fn expect(client: &Client, given: &Given, wanted: &[&str; 4]) {
    say::line(&format!("    {}: {given:?}", client.name));
    for (key, value) in client.keys.iter().zip(wanted) {
        let found =
            given.get(*key).unwrap_or_else(|| panic!("{} was not given {key}: {given:?}", client.name));
        assert_eq!(found, value, "{}: {key}", client.name);
    }
}

/// A client that runs a script with its lease.
struct Client {
    name: &'static str,
    /// Its name for the address it has.
    address: &'static str,
    /// Its names for the server, the mask, the lease's length in seconds, and the router.
    keys: [&'static str; 4],
    /// The package that it is unpacked from, and its name there; none: installed.
    package: Option<(&'static str, &'static str)>,
    /// Its arguments, before the interface; SCRIPT stands for the script.
    arguments: &'static [&'static str],
}

/// What dhclient and dhcpcd call the settings, after each other's example.
const ISC: [&str; 4] =
    ["new_dhcp_server_identifier", "new_subnet_mask", "new_dhcp_lease_time", "new_routers"];

const CLIENTS: &[Client] = &[
    Client {
        name: "dhclient",
        address: "new_ip_address",
        keys: ISC,
        package: Some(("isc-dhcp-client", "dhclient")),
        arguments: &[
            "-4",
            "-1",
            "-d",
            "-lf",
            "/run/leases",
            "-pf",
            "/run/pid",
            "-cf",
            "/dev/null",
            "-sf",
            "SCRIPT",
        ],
    },
    Client {
        name: "udhcpc",
        address: "ip",
        keys: ["serverid", "subnet", "lease", "router"],
        package: None,
        arguments: &["udhcpc", "-f", "-s", "SCRIPT", "-i"],
    },
    Client {
        name: "dhcpcd",
        address: "new_ip_address",
        keys: ISC,
        package: Some(("dhcpcd-base", "dhcpcd")),
        arguments: &["-4", "-B", "-A", "-f", "/dev/null", "-c", "SCRIPT"],
    },
];

impl Client {
    /// Runs it until it was given an address.
    fn ask(&self, host: &Host, interface: &str, script: &Path) -> Given {
        let program = match self.package {
            Some((package, program)) => neighbours::unpacked(package, program),
            None => PathBuf::from("busybox"),
        };
        let (program, script) = (program.display().to_string(), script.display().to_string());
        let arguments =
            self.arguments.iter().map(|&word| if word == "SCRIPT" { script.as_str() } else { word });
        let argv: Vec<&str> = std::iter::once(program.as_str()).chain(arguments).chain([interface]).collect();
        let mut running = host.start(self.name, &argv).unwrap_or_else(|error| fail(&error));
        let start = Instant::now();
        let given = loop {
            let given = given(&running.said());
            if given.contains_key(self.address) && given.contains_key(self.keys[0]) {
                break given;
            }
            running.check().unwrap_or_else(|error| fail(&error));
            assert!(
                start.elapsed() < LIMIT,
                "{} has no address after {LIMIT:?}: {}",
                self.name,
                running.said()
            );
            thread::sleep(Duration::from_millis(100));
        };
        drop(running);
        // The next one begins as this one did.
        host.run(&["ip", "address", "flush", "dev", interface]).unwrap_or_else(|error| fail(&error));
        given
    }
}

fn given(said: &str) -> Given {
    let lines = said.lines().filter_map(|line| line.strip_prefix("given ")?.split_once('='));
    lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// systemd-networkd under a whole systemd: the address, once its own record of the lease is right.
fn networkd(site: &Site, guest: &Host) -> String {
    let system = guest.boot(&site.artifacts.parts.root, only_networkd).unwrap_or_else(|error| fail(&error));
    let start = Instant::now();
    let lease = loop {
        let lease = system.exec(&["sh", "-c", "cat /run/systemd/netif/leases/*"], LIMIT);
        let lease = lease.unwrap_or_else(|error| fail(&error));
        if lease.status.success() {
            break lease.stdout;
        }
        if start.elapsed() > LIMIT {
            let status = system.exec(&["networkctl", "status", "guest"], LIMIT);
            panic!(
                "networkd has no lease after {LIMIT:?}: {}",
                status.unwrap_or_else(|error| fail(&error)).stdout
            );
        }
        thread::sleep(Duration::from_millis(100));
    };
    say::line(&format!("    networkd: {}", lease.replace('\n', " ")));
    let field =
        |name: &str| lease.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().to_owned();
    assert_eq!(field("SERVER_ADDRESS="), ADDRESS);
    assert_eq!(field("NETMASK="), "255.255.255.0");
    assert_eq!(field("ROUTER="), neighbours::ROUTER);
    assert_eq!(field("LIFETIME="), "1h");
    field("ADDRESS=")
}

/// Makes a controller's root file system one of a machine that only has an address.
fn only_networkd(root: &Path) -> io::Result<()> {
    let wants = root.join("etc/systemd/system/multi-user.target.wants");
    fs::remove_file(wants.join("rackwright.service"))?;
    symlink("/usr/lib/systemd/system/systemd-networkd.service", wants.join("systemd-networkd.service"))?;
    let networks = root.join("etc/systemd/network");
    fs::create_dir_all(&networks)?;
    let network = "[Match]\nName=guest\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n";
    fs::write(networks.join("guest.network"), network)
}

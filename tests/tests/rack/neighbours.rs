//! Whom a controller meets on its networks: a relay with a subnet behind it, a DHCP server that owns the addresses, one
//! that nobody expected. All of them are what sites really run.

use std::path::PathBuf;

use xtask::rack::controller::ADDRESS;
use xtask::rack::host::{Host, Leg, Program};
use xtask::rack::netns::Network;
use xtask::{place, prerequisites};

use crate::lab::{Site, fail};

/// A controller on all of the rack's networks.
pub(crate) const CONFIG: &str = r#"# A controller with neighbours.
site = "demo"

[[provision]]
interface = "prov0"
address = "10.77.0.1/24"
pool = "10.77.0.100-10.77.0.199"
dhcp = "full"
router = "10.77.0.254"

[[provision.relayed]]
subnet = "10.78.0.0/24"
pool = "10.78.0.100-10.78.0.199"
relay = "10.78.0.1"
via = "10.77.0.254"

[[provision]]
interface = "prov1"
address = "10.79.0.1/24"
pool = "10.79.0.100-10.79.0.199"
dhcp = "full"

[[provision]]
interface = "prov2"
address = "10.80.0.1/24"
dhcp = "proxy"
"#;

/// The way out of the provisioning network: to the far one.
pub(crate) const ROUTER: &str = "10.77.0.254";
/// The way out of the far network.
pub(crate) const FAR_ROUTER: &str = "10.78.0.1";

/// The DHCP server of the shared network, which says that it is the way out of it too.
pub(crate) const OWNER: &str = "10.80.0.2";

/// How every address of a network begins.
pub(crate) fn prefix(network: Network) -> &'static str {
    match network {
        Network::Provision => "10.77.0.",
        Network::Far => "10.78.0.",
        Network::Second => "10.79.0.",
        Network::Shared => "10.80.0.",
    }
}

/// A router between the far network and the controller's, with ISC's relay agent on it, which adds option 82 as the
/// agents of switches do.
pub(crate) fn isc_relay(site: &Site) -> Program {
    let router = router(site);
    let agent = unpacked("isc-dhcp-relay", "dhcrelay").display().to_string();
    let argv = [&agent, "-d", "-4", "-a", "-id", "far", "-iu", "near", ADDRESS];
    router.start("dhcrelay", &argv).unwrap_or_else(|error| fail(&error))
}

/// The same router with dnsmasq's relay agent, which adds nothing.
pub(crate) fn dnsmasq_relay(site: &Site) -> Program {
    let router = router(site);
    let relay = format!("--dhcp-relay={FAR_ROUTER},{ADDRESS}");
    let argv = [&["dnsmasq"], DNSMASQ, &["--interface=far", "--interface=near", &relay]].concat();
    router.start("dnsmasq", &argv).unwrap_or_else(|error| fail(&error))
}

/// A daemon out of a package that is not installed: those with a service would start it on this machine.
pub(crate) fn unpacked(package: &str, program: &str) -> PathBuf {
    let dir = place::target().join("unpacked");
    prerequisites::unpack(package, &dir).unwrap_or_else(|error| fail(&error));
    // Debian 13 has moved what was in /sbin.
    let places = [dir.join("usr/sbin").join(program), dir.join("sbin").join(program)];
    places.into_iter().find(|path| path.exists()).unwrap_or_else(|| panic!("no {program} in {package}"))
}

fn router(site: &Site) -> Host {
    let near = Leg { network: Network::Provision, interface: "near", address: Some("10.77.0.254/24") };
    let far = Leg { network: Network::Far, interface: "far", address: Some("10.78.0.1/24") };
    let router = site.rack.host("router", &[near, far]).unwrap_or_else(|error| fail(&error));
    router.forward().unwrap_or_else(|error| fail(&error));
    router
}

/// The DHCP server of a site, which owns the addresses of the shared network and knows nothing of booting.
pub(crate) fn owner(site: &Site) -> Program {
    let leg = Leg { network: Network::Shared, interface: "owner", address: Some("10.80.0.2/24") };
    let host = site.rack.host("owner", &[leg]).unwrap_or_else(|error| fail(&error));
    dnsmasq(&host, "owner", "10.80.0.50,10.80.0.99")
}

/// dnsmasq without DNS and without a file that outlives it, and a log line for every packet.
const DNSMASQ: &[&str] = &[
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--port=0",
    "--user=root",
    "--pid-file=",
    "--log-dhcp",
    "--log-facility=-",
];

/// dnsmasq as a DHCP server and nothing else.
pub(crate) fn dnsmasq(host: &Host, interface: &str, range: &str) -> Program {
    let (on, range) = (format!("--interface={interface}"), format!("--dhcp-range={range},255.255.255.0,10m"));
    let server = [
        "--bind-interfaces",
        "--dhcp-authoritative",
        "--no-ping",
        "--dhcp-leasefile=/run/leases",
        &on,
        &range,
    ];
    let argv = [&["dnsmasq"], DNSMASQ, &server].concat();
    host.start("dnsmasq", &argv).unwrap_or_else(|error| fail(&error))
}

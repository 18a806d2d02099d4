//! The rack's wires: network namespaces, switches, taps and cables between them.
//!
//! Knows `ip`. Refuses to give any of the namespaces a way out: no default route to the host, no link to it, nothing in
//! the namespace we were started in.

use std::ffi::OsString;

use serde::{Deserialize, Serialize};

use crate::tool::{Tool, ToolError};

/// A switch of the rack, and who is plugged into it beside the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// The controller, at its interface `prov0`.
    Provision,
    /// The controller, at `prov1`.
    Second,
    /// The controller, at `prov2`: for a site with a DHCP server of its own.
    Shared,
    /// Not the controller: it is reached through a router, if there is one.
    Far,
}

impl Network {
    const ALL: [Network; 4] = [Network::Provision, Network::Second, Network::Shared, Network::Far];

    /// The switch that is it.
    #[must_use]
    pub fn switch(self) -> &'static str {
        match self {
            Network::Provision => "rack0",
            Network::Second => "rack1",
            Network::Shared => "rack2",
            Network::Far => "rack3",
        }
    }

    /// The controller's end of its cable into the switch; the interface that its configuration names.
    #[must_use]
    pub fn interface(self) -> Option<&'static str> {
        match self {
            Network::Provision => Some("prov0"),
            Network::Second => Some("prov1"),
            Network::Shared => Some("prov2"),
            Network::Far => None,
        }
    }
}

/// The names of a rack's namespaces.
#[derive(Debug, Clone)]
pub struct Netns {
    id: String,
    /// Where the servers and the switches are.
    pub lan: String,
    /// Where the controller is.
    pub ctl: String,
}

impl Netns {
    /// Names for the rack `id`; nothing is made yet.
    #[must_use]
    pub fn named(id: &str) -> Netns {
        Netns { id: id.to_owned(), lan: format!("{id}-lan"), ctl: format!("{id}-ctl") }
    }

    /// The namespace of the host `name`, which is neither a server nor the controller.
    #[must_use]
    pub fn host(&self, name: &str) -> String {
        format!("{}-{name}", self.id)
    }

    /// Makes both namespaces, the switches and the controller's cables; the caller's ledger already lists them.
    ///
    /// # Errors
    /// `ip` or `ethtool` said no: mostly not root, or a namespace of that name exists.
    pub fn make(&self) -> Result<(), ToolError> {
        let (lan, ctl) = (self.lan.as_str(), self.ctl.as_str());
        for name in [lan, ctl] {
            add(name)?;
        }
        for network in Network::ALL {
            let switch = network.switch();
            // forward_delay 0: a port forwards at once, as an edge port does; firmware does not wait 30 s.
            ip(["-n", lan, "link", "add", switch, "type", "bridge", "forward_delay", "0", "stp_state", "0"])?;
            ip(["-n", lan, "link", "set", switch, "up"])?;
            let Some(interface) = network.interface() else { continue };
            self.cable(network, &format!("up-{interface}"), ctl, interface)?;
            // But for the controller's own address: it tells iPXE that there is no IPv6 router to wait for.
            sysctl(ctl, &format!("net.ipv6.conf.{interface}.disable_ipv6=0"))?;
            ip(["-n", ctl, "link", "set", interface, "up"])?;
        }
        Ok(())
    }

    /// Makes the namespace of a host; the caller's ledger already lists it.
    ///
    /// # Errors
    /// As [`Netns::make`].
    pub fn add_host(&self, name: &str) -> Result<(), ToolError> {
        add(&self.host(name))
    }

    /// Plugs the host `name` into a switch; `interface` is its end of the cable, unique in the rack.
    ///
    /// # Errors
    /// As [`Netns::make`].
    pub fn plug(&self, name: &str, network: Network, interface: &str) -> Result<(), ToolError> {
        let host = self.host(name);
        self.cable(network, &format!("to-{interface}"), &host, interface)?;
        ip(["-n", &host, "link", "set", interface, "up"])
    }

    /// A port of a switch for a server.
    ///
    /// # Errors
    /// As [`Netns::make`].
    pub fn add_tap(&self, network: Network, tap: &str) -> Result<(), ToolError> {
        let lan = self.lan.as_str();
        ip(["-n", lan, "tuntap", "add", "dev", tap, "mode", "tap"])?;
        ip(["-n", lan, "link", "set", tap, "master", network.switch(), "up"])
    }

    fn cable(&self, network: Network, port: &str, namespace: &str, interface: &str) -> Result<(), ToolError> {
        let lan = self.lan.as_str();
        ip(["-n", lan, "link", "add", port, "type", "veth", "peer", "name", interface, "netns", namespace])?;
        ip(["-n", lan, "link", "set", port, "master", network.switch(), "up"])?;
        // A veth leaves UDP checksums to hardware that does not exist; network ROMs drop such packets.
        for (namespace, link) in [(lan, port), (namespace, interface)] {
            let ethtool = ["netns", "exec", namespace, "ethtool", "-K", link, "tx", "off"];
            Tool::new("ip").args(ethtool).read()?;
        }
        Ok(())
    }

    /// The words before a command that is to run in `namespace`.
    #[must_use]
    pub fn exec(namespace: &str) -> Vec<OsString> {
        ["ip", "netns", "exec", namespace].into_iter().map(OsString::from).collect()
    }
}

/// A namespace in which only IPv4 is spoken.
fn add(name: &str) -> Result<(), ToolError> {
    ip(["netns", "add", name])?;
    // Link-local noise has no part in a boot over IPv4.
    sysctl(name, "net.ipv6.conf.all.disable_ipv6=1")?;
    sysctl(name, "net.ipv6.conf.default.disable_ipv6=1")?;
    ip(["-n", name, "link", "set", "lo", "up"])
}

fn sysctl(namespace: &str, setting: &str) -> Result<(), ToolError> {
    Tool::new("ip").args(["netns", "exec", namespace, "sysctl", "-q", "-w", setting]).read().map(drop)
}

fn ip<const N: usize>(args: [&str; N]) -> Result<(), ToolError> {
    Tool::new("ip").args(args).read().map(drop)
}

//! The rack's wires: two network namespaces, a bridge, taps and one cable between them.
//!
//! Knows `ip`. Refuses to give either namespace a way out: no default route, no link to the host, nothing in the
//! namespace we were started in.

use std::ffi::OsString;

use crate::tool::{Tool, ToolError};

/// The controller's end of the cable; the interface its configuration names.
pub const PROVISION: &str = "prov0";
/// The switch in the servers' namespace.
const BRIDGE: &str = "rack0";
/// The switch's end of the cable.
const UPLINK: &str = "uplink";

/// The names of a rack's two namespaces.
#[derive(Debug, Clone)]
pub struct Netns {
    /// Where the servers and the switch are.
    pub lan: String,
    /// Where the controller is.
    pub ctl: String,
}

impl Netns {
    /// Names for the rack `id`; nothing is made yet.
    #[must_use]
    pub fn named(id: &str) -> Netns {
        Netns { lan: format!("{id}-lan"), ctl: format!("{id}-ctl") }
    }

    /// Makes both namespaces and the cable; the caller's ledger already lists them.
    ///
    /// # Errors
    /// `ip` or `ethtool` said no: mostly not root, or a namespace of that name exists.
    pub fn make(&self) -> Result<(), ToolError> {
        for name in [&self.lan, &self.ctl] {
            ip(["netns", "add", name])?;
            // Link-local noise has no part in a boot over IPv4.
            Tool::new("ip")
                .args(["netns", "exec", name, "sysctl", "-q", "-w"])
                .args(["net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1"])
                .read()?;
            ip(["-n", name, "link", "set", "lo", "up"])?;
        }
        let lan = self.lan.as_str();
        // forward_delay 0: a port forwards at once, as an edge port does; firmware does not wait 30 s.
        ip(["-n", lan, "link", "add", BRIDGE, "type", "bridge", "forward_delay", "0", "stp_state", "0"])?;
        ip(["-n", lan, "link", "set", BRIDGE, "up"])?;
        ip([
            "-n", lan, "link", "add", UPLINK, "type", "veth", "peer", "name", PROVISION, "netns", &self.ctl,
        ])?;
        ip(["-n", lan, "link", "set", UPLINK, "master", BRIDGE, "up"])?;
        // But for the controller's own address: it tells iPXE that there is no IPv6 router to wait for.
        let ipv6 = format!("net.ipv6.conf.{PROVISION}.disable_ipv6=0");
        Tool::new("ip").args(["netns", "exec", &self.ctl, "sysctl", "-q", "-w", &ipv6]).read()?;
        ip(["-n", &self.ctl, "link", "set", PROVISION, "up"])?;
        // A veth leaves UDP checksums to hardware that does not exist; network ROMs drop such packets.
        for (namespace, link) in [(&self.lan, UPLINK), (&self.ctl, PROVISION)] {
            Tool::new("ip").args(["netns", "exec", namespace, "ethtool", "-K", link, "tx", "off"]).read()?;
        }
        Ok(())
    }

    /// A port of the switch for the server `name`.
    ///
    /// # Errors
    /// As [`Netns::make`].
    pub fn add_tap(&self, name: &str) -> Result<String, ToolError> {
        let tap = format!("tap-{name}");
        let lan = self.lan.as_str();
        ip(["-n", lan, "tuntap", "add", "dev", &tap, "mode", "tap"])?;
        ip(["-n", lan, "link", "set", &tap, "master", BRIDGE, "up"])?;
        Ok(tap)
    }

    /// The words before a command that is to run in `namespace`.
    #[must_use]
    pub fn exec(namespace: &str) -> Vec<OsString> {
        ["ip", "netns", "exec", namespace].into_iter().map(OsString::from).collect()
    }
}

fn ip<const N: usize>(args: [&str; N]) -> Result<(), ToolError> {
    Tool::new("ip").args(args).read().map(drop)
}

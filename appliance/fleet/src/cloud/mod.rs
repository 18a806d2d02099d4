//! The rack as a cloud: what its services must agree on, and when each of them may come up.

pub(crate) mod accounts;
mod external;
pub mod objects;
pub mod passwords;
mod port;
pub mod release;
pub mod ring;
mod secret;
mod tunnel;

pub use external::External;
pub use secret::{CloudKey, Salt};
pub use tunnel::Tunnel;

use std::net::Ipv4Addr;

use crate::{Node, Subnet};

/// What the services of the cloud must agree on.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// The name that keystone gives the rack.
    pub region: String,
    /// What moves the packets of virtual networks.
    pub datapath: Datapath,
    /// What all secrets are made of.
    pub key: CloudKey,
    /// The network outside; none: virtual networks end at the rack.
    pub external: Option<External>,
    /// The network of tunnels; none: they go through the provisioning network.
    pub tunnel: Option<Tunnel>,
    /// How much of each storage node's data disk is for objects, in bytes; none: the cloud has no object storage.
    pub objects: Option<u64>,
}

impl Cloud {
    /// What `${cloud.NAME}` stands for, of what an operator has configured; none: there is no such name.
    pub(crate) fn value(&self, name: &str) -> Option<String> {
        match name {
            "region" => Some(self.region.clone()),
            "datapath" => Some(self.datapath.bridge_type().to_owned()),
            "objects" => Some(self.objects.map(|bytes| bytes.to_string()).unwrap_or_default()),
            _ => External::value(self.external.as_ref(), name.strip_prefix("external.")?),
        }
    }

    /// What `${node.NAME}` stands for, of what only a cloud knows of a node; none: there is no such name.
    ///
    /// # Errors
    /// What has to be configured first, for a person.
    pub(crate) fn value_of_node(
        &self,
        name: &str,
        node: &Node,
        (address, subnet): (Ipv4Addr, Option<&Subnet>),
    ) -> Option<Result<String, String>> {
        let tunnel = self.tunnel.as_ref().zip(subnet);
        let tunnel = tunnel.map(|(tunnel, subnet)| tunnel.address(address, subnet.net));
        match name {
            "external_port" => Some(port::external(self, node)),
            "tunnel_port" => Some(port::tunnel(self, node)),
            "tunnel_address" => Some(Ok(tunnel.map_or(address, |net| net.addr()).to_string())),
            "tunnel_prefix" => Some(Ok(tunnel.map(|net| net.to_string()).unwrap_or_default())),
            _ => None,
        }
    }
}

/// What moves the packets of virtual networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Datapath {
    /// Open vSwitch's module of the kernel.
    #[default]
    Kernel,
    /// Open vSwitch itself: for where there is no such module. Slower.
    Userspace,
}

impl Datapath {
    /// `datapath_type` of a bridge, as `ovs-vswitchd.conf.db(5)` has it.
    pub fn bridge_type(self) -> &'static str {
        match self {
            Datapath::Kernel => "system",
            Datapath::Userspace => "netdev",
        }
    }
}

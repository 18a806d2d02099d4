//! The rack as a cloud: what its services must agree on, and when each of them may come up.

pub(crate) mod accounts;
mod external;
pub mod release;
mod secret;

pub use external::External;
pub use secret::CloudKey;

/// What the services of the cloud must agree on.
#[derive(Clone, Debug)]
pub struct Cloud {
    /// The name that keystone gives the rack.
    pub region: String,
    /// What moves the packets of virtual networks.
    pub datapath: Datapath,
    /// What all passwords are made of.
    pub key: CloudKey,
    /// The network outside; none: virtual networks end at the rack.
    pub external: Option<External>,
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

//! What is true of the machine: found out by a shell, an argument here.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// A machine as a shell found it. What it could not find out is absent, and no reason to complain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its cards, in the order of their names.
    pub interfaces: Vec<Interface>,
    /// Room for the controller's state, in bytes.
    pub disk: Option<u64>,
    /// Memory, in bytes.
    pub memory: Option<u64>,
    /// Seconds since 1970, by its clock.
    pub now: Option<u64>,
}

impl Facts {
    /// The card of this name.
    #[must_use]
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|interface| interface.name == name)
    }
}

/// A network card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interface {
    /// The kernel's name of it.
    pub name: String,
    /// Its hardware address.
    pub mac: Option<String>,
    /// Whether a cable is in and the other side is on.
    pub link: Option<bool>,
    /// The addresses it has.
    pub addresses: Vec<Ipv4Net>,
    /// The way out through it.
    pub gateway: Option<Gateway>,
    /// DHCP servers that answered there.
    pub dhcp: Vec<Ipv4Addr>,
}

/// A way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gateway {
    /// Its address.
    pub address: Ipv4Addr,
    /// Whether it answers.
    pub answers: Option<bool>,
}

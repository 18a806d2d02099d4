//! The configuration, in three stages: what the file may say (`raw`), what the program believes ([`Config`]),
//! and where things lie ([`Paths`]).
//!
//! Knows the file's keys and what makes a value impossible. Refuses to know the machine: whether an interface exists
//! is found out by `net`.

mod check;
mod operators;
mod paths;
mod raw;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use fleet::burn_in;
use fleet::cloud::{Datapath, External, Tunnel};
use fleet::hours::Hours;
use fleet::limits::Limits;
use ipnet::Ipv4Net;
use protocol::Ek;

use crate::notify::Wish;

pub use operators::{Operators, Role, Whom};
pub use paths::Paths;

/// No configuration that a person wrote is longer, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// What the program believes: every value possible in itself, and with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The site's name, the authority of every node's identity; a DNS label.
    pub site: Site,
    /// The networks that servers are provisioned on; at least one.
    pub provision: Vec<Provision>,
    /// The port of the boot files.
    pub http_port: u16,
    /// The port of the agents' HTTPS.
    pub agents_port: u16,
    /// The directory of the keys that may sign images, as the file says it; resolve it with [`Paths::resolve`].
    pub image_keys: PathBuf,
    /// In how many days every image is read through once; 0: never by itself.
    pub scrub_days: u16,
    /// What image transmissions may put on one network together, in megabits a second; none: what its link can.
    pub cast_mbit: Option<u64>,
    /// What is done where a switch sends to everybody what is for a group.
    pub cast_flooding: Flooding,
    /// Whether the controller asks switches who listens, where nobody else asks.
    pub cast_querier: bool,
    /// When they may put less, or more; outside of all of these, `cast_mbit` holds.
    pub cast_hours: Vec<Hours>,
    /// Whether they give way to other traffic.
    pub cast_yields: bool,
    /// The folder that the state is copied to after every change; none: it is not.
    pub copy: Option<PathBuf>,
    /// Who may do what at the control socket.
    pub operators: Operators,
    /// The test that every server has once, before it is ready; none: it is ready when it was looked at.
    pub first_test: Option<burn_in::Wish>,
    /// TPMs whose servers are let in without a person.
    pub expected_tpms: BTreeSet<Ek>,
    /// What may be destroyed in an hour.
    pub limits: Limits,
    /// Where Prometheus may come for figures; none: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Who is told what is wrong; none: nobody.
    pub notify: Option<Wish>,
    /// The rack is a cloud; none: its nodes run what their roles have without one.
    pub cloud: Option<Cloud>,
}

/// What the file says of the cloud.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// The name that keystone gives the rack.
    pub region: String,
    /// What moves the packets of virtual networks.
    pub datapath: Datapath,
    /// The network outside.
    pub external: Option<External>,
    /// The network of tunnels.
    pub tunnel: Option<Tunnel>,
    /// The services that it has and not every cloud has.
    pub optional: BTreeSet<String>,
    /// How much of each storage node's data disk is for objects, in bytes; there where `optional` has the object storage, and only there.
    pub objects: Option<u64>,
}

/// A site's name: a DNS label, so that it can stand in a SPIFFE id and in a file name as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Site(String);

impl Site {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a name.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=40).contains(&text.len()) {
            Err("a site name has 1 to 40 characters")
        } else if !text.bytes().all(inner) || text.starts_with('-') || text.ends_with('-') {
            Err("a site name has lower-case letters, digits and inner hyphens only")
        } else {
            Ok(Self(text.into()))
        }
    }
}

/// One network that servers are provisioned on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provision {
    /// The kernel's name of the interface that the cable is in.
    pub interface: String,
    /// The VLAN on it that servers are provisioned in; none: untagged.
    pub vlan: Option<u16>,
    /// The controller's own address there, with the network's prefix.
    pub address: Ipv4Net,
    /// The addresses given to servers; none only where DHCP gives none.
    pub pools: Vec<Pool>,
    /// Who is answered.
    pub dhcp: Dhcp,
    /// What is done when another DHCP server is on the network.
    pub foreign: Foreign,
    /// The way out of the network for servers.
    pub router: Option<Ipv4Addr>,
    /// Name servers that servers are told.
    pub dns: Vec<Ipv4Addr>,
    /// Subnets behind relays on this network.
    pub relayed: Vec<Relayed>,
    /// Whether firmware that boots from here and asks for an IPv6 router is told at once that there is none.
    pub answer_ipv6: bool,
}

impl Provision {
    /// The kernel's name of the interface that is listened on: `eno2`, or `eno2.100` with a VLAN.
    pub fn name(&self) -> String {
        self.vlan.map_or_else(|| self.interface.clone(), |vlan| format!("{}.{vlan}", self.interface))
    }
}

/// A subnet behind a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// Its network address and prefix length.
    pub subnet: Ipv4Net,
    /// The addresses given to servers there; without any, only fixed ones are.
    pub pools: Vec<Pool>,
    /// The relay's address there, which it writes into what it relays (giaddr).
    pub relay: Ipv4Addr,
    /// The servers' way out: the relay, unless another is named.
    pub router: Ipv4Addr,
    /// The next hop from the controller; none: its routes lead there already.
    pub via: Option<Ipv4Addr>,
}

/// A range of addresses inside one network: not empty, without the network's own and the broadcast address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl Pool {
    /// The lowest address.
    pub fn first(&self) -> Ipv4Addr {
        self.first
    }

    /// The highest address, part of the pool.
    pub fn last(&self) -> Ipv4Addr {
        self.last
    }

    /// Whether this address is given out.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        (self.first..=self.last).contains(&address)
    }
}

/// Whom the DHCP server of a network answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dhcp {
    /// Every server that asks.
    Full,
    /// Only servers that an operator has made known.
    Known,
    /// Firmware is told what to boot; addresses come from the site's own DHCP.
    Proxy,
    /// Nobody.
    Off,
}

/// What is done when another DHCP server is seen on a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// Nobody is answered and no job goes on until it is gone.
    Pause,
    /// Addresses are left to it: as with [`Dhcp::Proxy`], until it is gone.
    Proxy,
    /// Nothing: an operator knows of it.
    Ignore,
}

/// What is done where a switch sends to everybody what is for a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flooding {
    /// Nothing is sent to groups there: nodes give each other what they have.
    Avoid,
    /// It is sent all the same: nobody else is on the network.
    Allow,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("reading {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// It is not TOML, or not our keys.
    #[error("line {line}{at}: {why}")]
    Form {
        /// Counted from one.
        line: usize,
        /// The place in the line, where there is one.
        at: String,
        /// What the TOML reader says, on one line.
        why: String,
    },
    /// A value that cannot be.
    #[error("line {line}: {key}: {why}; write {write}")]
    Value {
        /// Counted from one; 0 when the key is absent.
        line: usize,
        /// The key, with its table.
        key: String,
        /// What is wrong with it.
        why: String,
        /// What would be right.
        write: String,
    },
}

/// Reads the text of a configuration. Pure: every test calls this.
///
/// # Errors
/// [`ConfigError::Form`] or [`ConfigError::Value`], naming the line, the key and what to write instead.
pub fn parse(text: &str) -> Result<Config, ConfigError> {
    let raw: raw::Raw = toml::from_str(text).map_err(|e| ConfigError::Form {
        line: e.span().map_or(1, |span| line_of(text, span.start)),
        at: e.span().and_then(|span| text.get(span)).map_or_else(String::new, place),
        why: printable(e.message()),
    })?;
    check::believe(text, &raw)
}

/// Reads the configuration file.
///
/// # Errors
/// As [`parse`], and [`ConfigError::Read`].
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    let read = |source| ConfigError::Read { path: path.into(), source };
    let length = std::fs::metadata(path).map_err(read)?.len();
    if length > MAX_BYTES {
        return Err(read(io::Error::other(format!("{length} bytes are more than {MAX_BYTES}"))));
    }
    parse(&std::fs::read_to_string(path).map_err(read)?)
}

/// On one line, without what a terminal would obey: the message quotes keys, and a key may hold any character.
fn printable(message: &str) -> String {
    let shown = |c: char| if c.is_control() && !c.is_whitespace() { '?' } else { c };
    let words: String = message.chars().map(shown).collect();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// What stands at a place, when it is short enough to help.
fn place(text: &str) -> String {
    let short = !text.is_empty() && text.len() <= 60 && !text.contains(char::is_control);
    if short { format!(", at `{text}`") } else { String::new() }
}

/// The line of a byte, counted from one.
fn line_of(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|&b| b == b'\n').count()
}

//! The controller's own interfaces, through rtnetlink: up, addressed, watched.
//!
//! The only module that names rtnetlink's types, because they change every few months. Knows how to make an interface
//! what the configuration says, idempotently, and what to print while it waits. Refuses to know what listens on it,
//! and never takes an address away.

mod neighbour;
mod route;
#[cfg(test)]
pub(crate) mod tests;
mod vlan;
mod watch;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures_util::TryStreamExt;
use ipnet::Ipv4Net;
use protocol::HardwareAddress;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::{Handle, LinkUnspec};
use tokio::task::JoinHandle;

pub use watch::{Presence, watch};

/// How often a wait looks again.
const LOOK: Duration = Duration::from_millis(250);
/// Linux errno values (`asm-generic/errno-base.h`) that are answers rather than faults.
const ENODEV: i32 = 19;
const EEXIST: i32 = 17;
const EPERM: i32 = 1;
/// `asm-generic/errno.h`.
const EOPNOTSUPP: i32 = 95;

/// What a call that makes something true did. `Already` is success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It was true.
    Already,
    /// It is true now.
    Made,
}

/// An interface as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// The kernel's number; another one after the interface was taken away and came back.
    pub index: u32,
    /// Its hardware address; absent on interfaces that have none.
    pub mac: Option<HardwareAddress>,
    /// The largest packet, in bytes.
    pub mtu: u32,
    /// Switched on.
    pub up: bool,
    /// A cable is in and the other side is on.
    pub carrier: bool,
}

/// Why an interface is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum NetError {
    /// No netlink socket.
    #[error("opening a netlink socket")]
    Open(#[source] std::io::Error),
    /// The kernel refused.
    #[error("{what} {interface}")]
    Kernel {
        /// Gerund.
        what: &'static str,
        /// The interface.
        interface: String,
        /// What it said.
        source: rtnetlink::Error,
    },
    /// Not ours to change.
    #[error(
        "{what} {interface}: not permitted; the daemon needs CAP_NET_ADMIN, or the interface must be set up beforehand"
    )]
    NotPermitted {
        /// Gerund.
        what: &'static str,
        /// The interface.
        interface: String,
    },
    /// An interface of that name is another one.
    #[error(
        "{interface} is there and is not VLAN {tag} of its parent; remove it, or configure another interface"
    )]
    NotThatVlan {
        /// The interface.
        interface: String,
        /// The tag it should have.
        tag: u16,
    },
    /// The kernel was built, or came, without them.
    #[error("making {interface}: this kernel has no VLANs; load the module 8021q (modprobe 8021q)")]
    NoVlans {
        /// The interface.
        interface: String,
    },
    /// The address is another interface's.
    #[error("{address} is on another interface already (number {index}), not on {interface}")]
    Elsewhere {
        /// The address.
        address: Ipv4Addr,
        /// The interface that should have it.
        interface: String,
        /// The one that has.
        index: u32,
    },
    /// It did not come in time.
    #[error("interface {interface}: {why} (waited {seconds} s)")]
    Overdue {
        /// The interface.
        interface: String,
        /// What was missing.
        why: String,
        /// How long.
        seconds: u64,
    },
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// The interface is there.
    Exists,
    /// It is on, and a cable is in.
    Carrier,
}

/// A connection to the kernel's routing tables, of the network namespace it was opened in.
#[derive(Debug)]
pub struct Net {
    handle: Handle,
    connection: JoinHandle<()>,
}

impl Drop for Net {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Net {
    /// Opens it. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`NetError::Open`].
    pub fn open() -> Result<Self, NetError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(NetError::Open)?;
        Ok(Self { handle, connection: tokio::spawn(connection) })
    }

    /// The interface of this name, if there is one.
    ///
    /// # Errors
    /// [`NetError::Kernel`].
    pub async fn look(&self, interface: &str) -> Result<Option<Link>, NetError> {
        Ok(self.message(interface).await?.map(link))
    }

    async fn message(&self, interface: &str) -> Result<Option<LinkMessage>, NetError> {
        let mut links = std::pin::pin!(self.handle.link().get().match_name(interface.to_owned()).execute());
        match links.try_next().await {
            Ok(message) => Ok(message),
            Err(e) if errno(&e) == Some(ENODEV) => Ok(None),
            Err(e) => Err(fault("looking at", interface)(e)),
        }
    }

    /// Switches it on.
    ///
    /// # Errors
    /// [`NetError::Kernel`], [`NetError::NotPermitted`].
    pub async fn ensure_up(&self, link: &Link) -> Result<Change, NetError> {
        if link.up {
            return Ok(Change::Already);
        }
        let up = LinkUnspec::new_with_index(link.index).up().build();
        self.handle.link().set(up).execute().await.map_err(fault("switching on", &link.name))?;
        Ok(Change::Made)
    }

    /// Gives it this address, beside those it has.
    ///
    /// # Errors
    /// [`NetError::Elsewhere`] when another interface has it, [`NetError::Kernel`], [`NetError::NotPermitted`].
    pub async fn ensure_address(&self, link: &Link, address: Ipv4Net) -> Result<Change, NetError> {
        let same = self.holders(link, address.addr()).await?;
        if same.iter().any(|m| m.header.index == link.index && m.header.prefix_len == address.prefix_len()) {
            return Ok(Change::Already);
        }
        if let Some(other) = same.iter().find(|m| m.header.index != link.index) {
            let (address, interface) = (address.addr(), link.name.clone());
            return Err(NetError::Elsewhere { address, interface, index: other.header.index });
        }
        let add = self.handle.address().add(link.index, IpAddr::V4(address.addr()), address.prefix_len());
        match add.execute().await {
            Ok(()) => Ok(Change::Made),
            Err(e) if errno(&e) == Some(EEXIST) => Ok(Change::Already),
            Err(e) => Err(fault("addressing", &link.name)(e)),
        }
    }

    /// Whether it has this address.
    ///
    /// # Errors
    /// [`NetError::Kernel`].
    pub async fn has_address(&self, link: &Link, address: Ipv4Addr) -> Result<bool, NetError> {
        Ok(self.holders(link, address).await?.iter().any(|m| m.header.index == link.index))
    }

    async fn holders(&self, link: &Link, address: Ipv4Addr) -> Result<Vec<AddressMessage>, NetError> {
        let all = self.handle.address().get().execute().try_collect::<Vec<_>>().await;
        let own = |m: &AddressMessage| m.attributes.contains(&AddressAttribute::Local(IpAddr::V4(address)));
        Ok(all.map_err(fault("reading the addresses of", &link.name))?.into_iter().filter(own).collect())
    }

    /// Its IPv6 link-local address; none while the kernel still finds out whether somebody else has it (RFC 4862 §5.4).
    ///
    /// # Errors
    /// [`NetError::Kernel`].
    pub async fn link_local(&self, link: &Link) -> Result<Option<Ipv6Addr>, NetError> {
        let all = self.handle.address().get().execute().try_collect::<Vec<_>>().await;
        let all = all.map_err(fault("reading the addresses of", &link.name))?;
        Ok(all.iter().filter(|message| message.header.index == link.index).find_map(usable_link_local))
    }

    /// Waits for it; `say` is called with the reason each time that changes.
    ///
    /// # Errors
    /// [`NetError::Overdue`] after `patience`, [`NetError::Kernel`].
    pub async fn wait(
        &self,
        interface: &str,
        until: Until,
        patience: Duration,
        mut say: impl FnMut(&str),
    ) -> Result<Link, NetError> {
        let mut told = String::new();
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let link = self.look(interface).await?;
            let why = match missing(link.as_ref(), until) {
                None => return link.ok_or_else(|| overdue(interface, "it went away", patience)),
                Some(why) => why,
            };
            if tokio::time::Instant::now() >= deadline {
                return Err(overdue(interface, why, patience));
            }
            if told != why {
                say(why);
                told = why.into();
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Makes the interface what the configuration says: waits for it, switches it on, gives it the address.
    ///
    /// # Errors
    /// [`NetError`].
    pub async fn prepare(
        &self,
        interface: &str,
        address: Ipv4Net,
        patience: Duration,
        say: impl FnMut(&str),
    ) -> Result<(Link, Change), NetError> {
        let link = self.wait(interface, Until::Exists, patience, say).await?;
        let up = self.ensure_up(&link).await?;
        let addressed = self.ensure_address(&link, address).await?;
        let link = self.look(interface).await?.ok_or_else(|| overdue(interface, "it went away", patience))?;
        Ok((link, if up == Change::Made { up } else { addressed }))
    }
}

fn usable_link_local(message: &AddressMessage) -> Option<Ipv6Addr> {
    if message.header.flags.intersects(AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed) {
        return None;
    }
    message.attributes.iter().find_map(|attribute| {
        let AddressAttribute::Address(IpAddr::V6(address)) = attribute else { return None };
        address.is_unicast_link_local().then_some(*address)
    })
}

fn missing(link: Option<&Link>, until: Until) -> Option<&'static str> {
    match (link, until) {
        (None, _) => Some("there is no interface of this name"),
        (Some(_), Until::Exists) => None,
        (Some(link), Until::Carrier) if !link.up => Some("it is switched off"),
        (Some(link), Until::Carrier) if !link.carrier => Some("no cable is in, or the other side is off"),
        (Some(_), Until::Carrier) => None,
    }
}

fn overdue(interface: &str, why: &str, patience: Duration) -> NetError {
    NetError::Overdue { interface: interface.into(), why: why.into(), seconds: patience.as_secs() }
}

fn fault(what: &'static str, interface: &str) -> impl Fn(rtnetlink::Error) -> NetError {
    move |source| match errno(&source) {
        Some(EPERM) => NetError::NotPermitted { what, interface: interface.into() },
        Some(_) | None => NetError::Kernel { what, interface: interface.into(), source },
    }
}

fn errno(error: &rtnetlink::Error) -> Option<i32> {
    let rtnetlink::Error::NetlinkError(message) = error else { return None };
    message.code.map(|code| code.get().saturating_abs())
}

fn link(message: LinkMessage) -> Link {
    let mut link = Link {
        name: String::new(),
        index: message.header.index,
        mac: None,
        mtu: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        carrier: message.header.flags.contains(LinkFlags::LowerUp),
    };
    for attribute in message.attributes {
        if let LinkAttribute::IfName(name) = attribute {
            link.name = name;
        } else if let LinkAttribute::Mtu(mtu) = attribute {
            link.mtu = mtu;
        } else if let LinkAttribute::Address(bytes) = attribute {
            link.mac = hardware_address(&bytes);
        }
    }
    link
}

fn hardware_address(bytes: &[u8]) -> Option<HardwareAddress> {
    bytes.iter().map(|b| format!("{b:02x}")).collect::<Vec<_>>().join(":").parse().ok()
}

//! Tells when a provisioning interface goes away, loses its address or its cable, and when it is back.

use std::time::Duration;

use futures_util::StreamExt;
use ipnet::Ipv4Net;
use rtnetlink::MulticastGroup;
use tokio::sync::watch;

use super::{Link, Net, NetError};

/// The kernel drops notices when it is short of memory (netlink(7), ENOBUFS): so we also look this often.
const LOOK: Duration = Duration::from_secs(5);

/// What there is of a provisioning interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// No interface of this name.
    Gone,
    /// It is there, without our address.
    NoAddress(Link),
    /// It is there with our address; [`Link::up`] and [`Link::carrier`] say the rest.
    Ready(Link),
}

impl Presence {
    /// Why nothing can be served on it, for a person; `None` when it can.
    pub fn trouble(&self) -> Option<&'static str> {
        match self {
            Self::Gone => Some("the interface is gone"),
            Self::NoAddress(_) => Some("the interface lost our address"),
            Self::Ready(link) if !link.up => Some("the interface is switched off"),
            Self::Ready(link) if !link.carrier => Some("no cable is in, or the other side is off"),
            Self::Ready(_) => None,
        }
    }
}

/// Watches an interface until every receiver is dropped. The first value is true already.
///
/// # Errors
/// [`NetError`], when it cannot be looked at even once.
pub async fn watch(interface: &str, address: Ipv4Net) -> Result<watch::Receiver<Presence>, NetError> {
    let groups = [MulticastGroup::Link, MulticastGroup::Ipv4Ifaddr];
    let (connection, handle, mut notices) =
        rtnetlink::new_multicast_connection(&groups).map_err(NetError::Open)?;
    let net = Net { handle, connection: tokio::spawn(connection) };
    let (sender, receiver) = watch::channel(look(&net, interface, address).await?);
    let interface = interface.to_owned();
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = sender.closed() => return,
                notice = notices.next() => if notice.is_none() {
                    tokio::time::sleep(LOOK).await;
                },
                () = tokio::time::sleep(LOOK) => {}
            }
            match look(&net, &interface, address).await {
                Ok(seen) => _ = sender.send_if_modified(|old| std::mem::replace(old, seen.clone()) != seen),
                Err(e) => tracing::warn!(%interface, error = %e, "interface cannot be looked at"),
            }
        }
    });
    Ok(receiver)
}

async fn look(net: &Net, interface: &str, address: Ipv4Net) -> Result<Presence, NetError> {
    let Some(link) = net.look(interface).await? else { return Ok(Presence::Gone) };
    let addressed = net.has_address(&link, address.addr()).await?;
    Ok(if addressed { Presence::Ready(link) } else { Presence::NoAddress(link) })
}

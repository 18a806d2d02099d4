//! Routes to subnets behind relays.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use rtnetlink::RouteMessageBuilder;

use super::{Change, EEXIST, Link, Net, NetError, errno, fault};

impl Net {
    /// Adds a route to a subnet by a router on this interface, unless there is a route to it already, whoever made it.
    ///
    /// # Errors
    /// [`NetError::Kernel`], for instance when the router is on no network of the interface; [`NetError::NotPermitted`].
    pub async fn ensure_route(&self, link: &Link, to: Ipv4Net, via: Ipv4Addr) -> Result<Change, NetError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to.network(), to.prefix_len())
            .gateway(via)
            .output_interface(link.index)
            .build();
        match self.handle.route().add(route).execute().await {
            Ok(()) => Ok(Change::Made),
            Err(e) if errno(&e) == Some(EEXIST) => Ok(Change::Already),
            Err(e) => Err(fault("adding a route by", &link.name)(e)),
        }
    }
}

//! Addresses, networks and ranges, beside those of earlier answers and those that the machine is in.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{At, taken};
use crate::problem::{Code, Problem};
use crate::question::Id;
use crate::range::Range;

impl At<'_> {
    fn prefix(&self) -> Result<Ipv4Net, Problem> {
        let Ok(net) = self.text.parse::<Ipv4Net>() else { return self.refuse(Code::NoPrefix, "") };
        let first = net.addr().octets().first().copied();
        if !(8..=30).contains(&net.prefix_len()) {
            return self.refuse(Code::BadPrefix, &net.prefix_len().to_string());
        }
        if net.addr().is_loopback() || net.addr().is_multicast() || first == Some(0) || first >= Some(240) {
            return self.refuse(Code::Nowhere, &net.addr().to_string());
        }
        Ok(net)
    }

    pub(super) fn host(&self) -> Result<String, Problem> {
        let net = self.prefix()?;
        if net.addr() == net.network() || net.addr() == net.broadcast() {
            return self.refuse(Code::NobodysAddress, &net.trunc().to_string());
        }
        self.apart(net)
    }

    pub(super) fn network(&self) -> Result<String, Problem> {
        let net = self.prefix()?;
        if net.addr() != net.network() {
            return self.refuse(Code::NotANetwork, &net.trunc().to_string());
        }
        self.apart(net)
    }

    /// Two networks that share an address could not be told apart.
    fn apart(&self, net: Ipv4Net) -> Result<String, Problem> {
        let overlaps = |other: &Ipv4Net| other.contains(&net.network()) || net.contains(&other.network());
        match self.others().into_iter().find(|(other, _)| overlaps(other)) {
            Some((other, whose)) => self.refuse(Code::Overlap, &format!("{} ({whose})", other.trunc())),
            None => Ok(net.to_string()),
        }
    }

    /// The networks that must be others, and whose they are.
    fn others(&self) -> Vec<(Ipv4Net, String)> {
        let ids: &[Id] = match self.id {
            Id::ManagementAddress => &[Id::UplinkAddress],
            Id::TunnelNetwork => &[Id::UplinkAddress, Id::ManagementAddress],
            Id::ExternalNetwork => &[Id::ManagementAddress, Id::TunnelNetwork],
            Id::Language
            | Id::Site
            | Id::Topology
            | Id::UplinkInterface
            | Id::UplinkMethod
            | Id::UplinkAddress
            | Id::UplinkGateway
            | Id::ManagementVlan
            | Id::ManagementInterface
            | Id::ManagementDhcp
            | Id::ManagementPool
            | Id::TunnelVlan
            | Id::ExternalPool
            | Id::TimeServers => return Vec::new(),
        };
        let answered = ids.iter().filter_map(|id| Some((self.context.net(*id)?, id.key().to_owned())));
        let inner = self.id != Id::ExternalNetwork;
        answered.chain(inner.then(|| self.present()).into_iter().flatten()).collect()
    }

    /// The networks that this machine is in now, by cards that are not the servers'.
    fn present(&self) -> Vec<(Ipv4Net, String)> {
        let servers = self.context.some(Id::ManagementInterface);
        let cards = self.context.facts.map(|facts| facts.interfaces.as_slice()).unwrap_or_default();
        let others = cards.iter().filter(|card| servers.as_deref() != Some(card.name.as_str()));
        others.flat_map(|card| card.addresses.iter().map(|net| (*net, card.name.clone()))).collect()
    }

    pub(super) fn neighbour(&self, of: Id) -> Result<String, Problem> {
        let Ok(address) = self.text.parse::<Ipv4Addr>() else { return self.refuse(Code::NoAddress, "") };
        let Some(net) = self.context.net(of) else { return Ok(address.to_string()) };
        if !net.contains(&address) {
            return self.refuse(Code::OutsideAddress, &net.trunc().to_string());
        }
        if address == net.network() || address == net.broadcast() {
            return self.refuse(Code::NobodysAddress, &net.trunc().to_string());
        }
        if address == net.addr() {
            return self.refuse(Code::OwnAddress, "");
        }
        Ok(address.to_string())
    }

    pub(super) fn pool(&self, of: Id) -> Result<String, Problem> {
        let Some(range) = Range::parse(self.text) else { return self.refuse(Code::NoRange, "") };
        if range.first > range.last {
            return self.refuse(Code::Backwards, "");
        }
        let Some(net) = self.context.net(of) else { return Ok(range.to_string()) };
        if !net.contains(&range.first) || !net.contains(&range.last) {
            return self.refuse(Code::OutsideRange, &net.trunc().to_string());
        }
        if range.first == net.network() || range.last == net.broadcast() {
            return self.refuse(Code::WholeNetwork, &net.trunc().to_string());
        }
        let taken = if of == Id::ExternalNetwork { taken(self.context) } else { vec![net.addr()] };
        match taken.into_iter().find(|address| range.holds(*address)) {
            Some(address) => self.refuse(Code::TakenInRange, &address.to_string()),
            None => Ok(range.to_string()),
        }
    }
}

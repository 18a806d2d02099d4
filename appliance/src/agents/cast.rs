//! Stage *deploy*: how its image comes to a node that writes one.

use std::net::{IpAddr, Ipv4Addr};

use fleet::Node;
use fleet::certificate::Authed;
use fleet::job::JobState;
use protocol::{CastAsk, CastReply, Envelope};

use super::{AgentRefusal, Agents};
use crate::cast::{Asker, network_of};

/// The way a request came.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Our address that it came to.
    pub local: Ipv4Addr,
    /// Whose it is.
    pub peer: IpAddr,
}

impl Agents {
    pub(super) fn cast(
        &self,
        who: &Authed,
        ask: &CastAsk,
        way: Way,
    ) -> Result<Envelope<CastReply>, AgentRefusal> {
        let world = self.core.world();
        let fleet = &world.fleet;
        let own = fleet.nodes.get(&who.node).and_then(|node| node.state.job()).filter(|job| *job == ask.job);
        let Some(job) = own.and_then(|id| fleet.jobs.get(&id)).filter(|job| job.state == JobState::Running)
        else {
            return Ok(self.envelope(who, CastReply::default()));
        };
        let same = |other: &&fleet::job::Job| other.image == job.image && other.state == JobState::Running;
        let company = fleet.jobs.values().filter(same).count();
        let subnets = world.site.subnets.iter().map(|subnet| subnet.net);
        let Some(network) = network_of(way.peer, subnets) else {
            return Ok(self.envelope(who, CastReply::default()));
        };
        let (node, image, local) = (who.node, job.image, way.local);
        let link_mbit = fleet.nodes.get(&node).and_then(link_mbit);
        let asker = Asker { node, address: way.peer, network, link_mbit, image, local, company };
        let reply = self.casts.ask(&asker, ask).unwrap_or_else(|error| {
            // It fetches: slower for all, and no reason to stop anybody.
            tracing::warn!(why = crate::chain(&error), "how an image shall come is not known");
            CastReply::default()
        });
        Ok(self.envelope(who, reply))
    }
}

/// What the link can that a node boots from: its image comes there too.
fn link_mbit(node: &Node) -> Option<u64> {
    let nic = node.inventory.nics.iter().find(|nic| nic.mac == node.boot.mac)?;
    nic.speed_mbps.filter(|mbit| *mbit > 0).map(u64::from)
}

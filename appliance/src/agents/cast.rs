//! Stage *deploy*: where a node that writes an image may listen.

use std::net::{IpAddr, Ipv4Addr};

use fleet::certificate::Authed;
use fleet::job::JobState;
use protocol::{CastAsk, CastReply, Envelope};

use super::{AgentRefusal, Agents};
use crate::cast::{Asker, is_near};

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
        let (node, image, local) = (who.node, job.image, way.local);
        let subnets = world.site.subnets.iter().map(|subnet| subnet.net);
        if !is_near(way.peer, local, subnets) {
            return Ok(self.envelope(who, CastReply::default()));
        }
        let asker = Asker { node, address: way.peer, image, local, company };
        let reply = self.casts.ask(&asker, ask).unwrap_or_else(|error| {
            // It fetches: slower for all, and no reason to stop anybody.
            tracing::warn!(why = crate::chain(&error), "an image is not sent to all who want it");
            CastReply::default()
        });
        Ok(self.envelope(who, reply))
    }
}

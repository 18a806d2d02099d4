//! Both stages: what a node tells of its links, and what it is to try of the network between nodes.

use std::time::Duration;

use fleet::certificate::Authed;
use protocol::{Envelope, NetworkAsk, NetworkReply};

use super::{AgentRefusal, Agents, MAX_WAIT};

impl Agents {
    pub(super) async fn network(
        &self,
        who: Authed,
        ask: NetworkAsk,
    ) -> Result<Envelope<NetworkReply>, AgentRefusal> {
        ask.check()?;
        let within = Duration::from_secs(u64::from(ask.wait_seconds)).min(MAX_WAIT);
        let step = self.preflights.ask(who.node, &ask, within).await;
        Ok(self.envelope(&who, NetworkReply { step }))
    }
}

//! Stage *deploy*: work, progress, receipt.

use std::net::IpAddr;

use fleet::certificate::Authed;
use fleet::job::Work;
use fleet::{Event, Fleet, Reply};
use protocol::{
    Envelope, Erasure, NodeId, Progress, ProgressReply, Reach, Receipt, Rescue, RescueReply, Task, TaskAsk,
};

use super::{AgentRefusal, Agents, Way, proves};
use crate::cast::{Waits, network_of};

impl Agents {
    pub(super) async fn task(
        &self,
        who: Authed,
        ask: TaskAsk,
        way: Way,
    ) -> Result<Envelope<Task>, AgentRefusal> {
        ask.inventory.check()?;
        let first = self.ask(&who, &ask).await?;
        if !matches!(first, Task::Wait { .. }) || ask.wait_seconds == 0 {
            return Ok(self.envelope(&who, first));
        }
        let node = who.node;
        // Given up with the question.
        let _waits = self.waits(node, ask.reach, way);
        let before = phase(&self.core.world().fleet, node);
        self.wait_for(ask.wait_seconds, |world| phase(&world.fleet, node) != before).await;
        let task = self.ask(&who, &ask).await?;
        Ok(self.envelope(&who, task))
    }

    /// A node waits for work, and looks meanwhile what its network does with what is sent to all.
    fn waits(&self, node: NodeId, reach: Option<Reach>, way: Way) -> Option<Waits> {
        let IpAddr::V4(address) = way.peer else { return None };
        let world = self.core.world();
        let network = network_of(way.peer, world.site.subnets.iter().map(|subnet| subnet.net))?;
        self.casts.waits(node, network, (address, way.local), reach)
    }

    async fn ask(&self, who: &Authed, ask: &TaskAsk) -> Result<Task, AgentRefusal> {
        let inventory = Box::new(ask.inventory.clone());
        let certificate = who.certificate.fingerprint.clone();
        let done = self.core.bring(Event::Asked { node: who.node, certificate, inventory }).await?;
        let Reply::Task(task) = done.reply else {
            return Err(AgentRefusal::Broken("asking for work was answered with something else".to_owned()));
        };
        Ok(task)
    }

    pub(super) async fn progress(
        &self,
        who: Authed,
        progress: Progress,
    ) -> Result<Envelope<ProgressReply>, AgentRefusal> {
        let done = self.core.bring(Event::Progressed { node: who.node, progress }).await?;
        let go_on = done.reply == Reply::GoOn(true);
        if !go_on {
            self.forget_ended().await?;
        }
        Ok(self.envelope(&who, ProgressReply { go_on }))
    }

    pub(super) async fn verified(
        &self,
        who: Authed,
        receipt: Receipt,
    ) -> Result<Envelope<Task>, AgentRefusal> {
        receipt.check()?;
        if !is_signed_by(&receipt, &who) {
            return Err(AgentRefusal::Proof);
        }
        let done = self.core.bring(Event::Verified { node: who.node, receipt }).await?;
        let Reply::Task(task) = done.reply else {
            return Err(AgentRefusal::Broken("a receipt was answered with something else".to_owned()));
        };
        Ok(self.envelope(&who, task))
    }

    pub(super) async fn rescue(
        &self,
        who: Authed,
        told: Rescue,
    ) -> Result<Envelope<RescueReply>, AgentRefusal> {
        told.check()?;
        let done = self.core.bring(Event::Rescued { node: who.node, told }).await?;
        Ok(self.envelope(&who, RescueReply { go_on: done.reply == Reply::GoOn(true) }))
    }

    pub(super) async fn erased(&self, who: Authed, erasure: Erasure) -> Result<Envelope<Task>, AgentRefusal> {
        erasure.check()?;
        if !is_erasure_by(&erasure, &who) {
            return Err(AgentRefusal::Proof);
        }
        let erasure = Box::new(erasure);
        let done = self.core.bring(Event::Erased { node: who.node, erasure }).await?;
        let Reply::Task(task) = done.reply else {
            return Err(AgentRefusal::Broken("an erasure was answered with something else".to_owned()));
        };
        Ok(self.envelope(&who, task))
    }
}

/// Whether an erasure was signed with the key of the certificate that it came with.
fn is_erasure_by(erasure: &Erasure, who: &Authed) -> bool {
    let statement = erasure.statement(&who.node);
    erasure.key == who.certificate.key && proves(&erasure.key, statement.as_bytes(), &erasure.signature)
}

/// Whether a receipt's proof was made with the key of the certificate that it came with. One without a proof is of an older
/// agent: it is taken, and shown as what it is.
fn is_signed_by(receipt: &Receipt, who: &Authed) -> bool {
    let (Some(proof), Some(statement)) = (&receipt.proof, receipt.statement(&who.node)) else { return true };
    proof.key == who.certificate.key && proves(&proof.key, statement.as_bytes(), &proof.signature)
}

/// Changes exactly when the node's task may have changed.
fn phase(fleet: &Fleet, node: NodeId) -> Option<(&'static str, Option<protocol::JobId>, Option<String>)> {
    let node = fleet.nodes.get(&node)?;
    let job = node.state.job();
    let held = fleet::network::held(fleet, node, job.and_then(|job| Work::of(fleet, job)));
    Some((node.state.word(), job, held))
}

//! Stage *run*: enrolment, identity, state documents, reports.

use fleet::certificate::Authed;
use fleet::preflight::PreflightState;
use fleet::trust::Holder;
use fleet::{Event, Node, Reply};
use protocol::{
    CaPin, Enrol, Enrolled, Envelope, IdentityFile, Order, Report, ReportReply, StateAsk, StateDocument,
    StateReply, Ticket, enrol_proof,
};

use super::{AgentRefusal, Agents, granted, proves};
use crate::writer::{Refused, World, now};

/// How much one node's identity files may be together, in bytes of base64.
const MAX_IDENTITY: usize = 64 << 10;

impl Agents {
    pub(super) async fn enrol(&self, who: Authed, enrol: Enrol) -> Result<Enrolled, AgentRefusal> {
        if enrol.protocol != protocol::VERSION {
            return Err(AgentRefusal::Version(enrol.protocol));
        }
        let proves = |pin: &CaPin| proves(&enrol.key, &enrol_proof(pin, &who.node, &enrol.key), &enrol.proof);
        let pin = self.ca.pins().into_iter().find(proves).ok_or(AgentRefusal::Proof)?;
        self.pin(who.node, Holder::System, pin).await?;
        let (node, certificate) = (who.node, who.certificate.fingerprint);
        let (key, uptime_seconds) = (enrol.key, enrol.uptime_seconds);
        let done = self.core.bring(Event::Enrolled { node, certificate, key, uptime_seconds }).await?;
        let renew_seconds = granted(&done).map_or(0, |grant| grant.renew_seconds);
        let certificate = self.issue(&done).await?;
        let certificate =
            certificate.ok_or_else(|| AgentRefusal::Broken("no certificate was granted".to_owned()))?;
        let world = self.core.world();
        let name = world.fleet.nodes.get(&who.node).map(|node| node.name.to_string()).unwrap_or_default();
        Ok(Enrolled {
            node: who.node,
            name,
            epoch: world.fleet.epoch,
            certificate,
            renew_ms: now().plus_seconds(renew_seconds).0,
            renew_seconds,
            ca: fleet::trust::told(&world.fleet),
            identity: self.core.identity(who.node).await?,
        })
    }

    pub(super) async fn escrow(
        &self,
        who: Authed,
        files: Vec<IdentityFile>,
    ) -> Result<serde_json::Value, AgentRefusal> {
        let foreign = files.iter().find(|file| !IdentityFile::PATHS.contains(&file.path.as_str()));
        if let Some(file) = foreign {
            let why = format!("{:?} is not an identity file", file.path.chars().take(80).collect::<String>());
            return Err(Refused::from(fleet::Denied::Conflict(why)).into());
        }
        if files.iter().map(|file| file.content.len()).sum::<usize>() > MAX_IDENTITY {
            let why = "the identity files are larger than 64 KiB together".to_owned();
            return Err(Refused::from(fleet::Denied::Conflict(why)).into());
        }
        self.core.escrow(who.node, files).await?;
        Ok(serde_json::json!({}))
    }

    pub(super) async fn state(
        &self,
        who: Authed,
        ask: StateAsk,
    ) -> Result<Envelope<StateReply>, AgentRefusal> {
        let news = |world: &World| match world.fleet.nodes.get(&who.node) {
            None => true,
            Some(node) => {
                orders(world, node, &ask).next().is_some()
                    || self.document(world, node, &ask).is_some()
                    || is_called(world, node, &ask)
                    || fleet::trust::hint(&world.fleet, node).is_some_and(|ca| ask.told != Some(ca))
            }
        };
        self.wait_for(ask.wait_seconds, news).await;
        let world = self.core.world();
        let Some(node) = world.fleet.nodes.get(&who.node) else {
            return Err(AgentRefusal::Unauthorised(fleet::certificate::Unauthorised::NoNode));
        };
        let document = self.document(&world, node, &ask);
        let orders = orders(&world, node, &ask).cloned().collect();
        let ca = fleet::trust::hint(&world.fleet, node);
        let check = is_called(&world, node, &ask);
        Ok(self.envelope(&who, StateReply { document, orders, ca, check }))
    }

    /// The document that is news to this node. One that can't be made is none: the node keeps what it has, its orders
    /// reach it all the same, and `node why` says what is missing.
    fn document(&self, world: &World, node: &Node, ask: &StateAsk) -> Option<StateDocument> {
        let due = node.document.generation != ask.have && node.document.generation > 0;
        due.then(|| fleet::converge(&world.fleet, &world.site, &self.core.catalog, node).ok()).flatten()
    }

    pub(super) async fn report(
        &self,
        who: Authed,
        report: Report,
    ) -> Result<Envelope<ReportReply>, AgentRefusal> {
        let done = self.core.bring(Event::Reported { node: who.node, report: Box::new(report) }).await?;
        if let Reply::Answers(answers) = done.reply {
            self.answers.put(who.node, answers);
        }
        let world = self.core.world();
        let generation = world.fleet.nodes.get(&who.node).map_or(0, |node| node.document.generation);
        Ok(self.envelope(&who, ReportReply { generation }))
    }

    pub(super) async fn ticket(
        &self,
        who: Authed,
        ticket: Ticket,
    ) -> Result<serde_json::Value, AgentRefusal> {
        self.core.bring(Event::Ticketed { node: who.node, key: ticket.key }).await?;
        Ok(serde_json::json!({}))
    }
}

/// Whether a check of the network waits for this node to ask what to try.
fn is_called(world: &World, node: &Node, ask: &StateAsk) -> bool {
    let check = world.fleet.preflight.as_ref().filter(|check| check.state == PreflightState::Running);
    !ask.checks && check.is_some_and(|check| check.members.iter().any(|member| member.node == node.id))
}

/// The orders that this node has not carried out.
fn orders<'a>(world: &'a World, node: &'a Node, ask: &StateAsk) -> impl Iterator<Item = &'a Order> + use<'a> {
    let done = ask.done_order;
    fleet::power::orders(&world.fleet, node).filter(move |order| order.id > done)
}

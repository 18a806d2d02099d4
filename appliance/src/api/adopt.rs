//! Servers that join with their disks as they are: invited, taken back, let in.

use fleet::view::{InvitedView, JoinLine, invitation_rows};
use fleet::{Event, Name, Reply};
use protocol::NodeId;
use serde::Deserialize;

use super::{Answer, Api, ApiError, one, read};
use crate::writer::{AddressWish, now};

/// For how long an invitation is good when nobody has said so, in seconds.
const HOUR: u64 = 3600;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Invite {
    name: Option<Name>,
    seconds: Option<u64>,
}

impl Api {
    /// Invites a server. The answer is the only place where its token is.
    pub(super) async fn invite(&self, body: &[u8]) -> Answer {
        let Invite { name, seconds } = read(body)?;
        let world = self.core.world();
        let broken = |error: crate::join::JoinError| ApiError::Broken(crate::chain(&error));
        // Before anybody is invited: nobody could come.
        for subnet in &world.site.subnets {
            self.joining.script(&world, subnet.controller).map_err(broken)?;
        }
        let done = self.core.bring(Event::Invite { name, seconds: seconds.unwrap_or(HOUR) }).await?;
        let Reply::Invited(invited) = done.reply else {
            return Err(ApiError::Broken("an invitation was answered with something else".to_owned()));
        };
        let lines = world.site.subnets.iter().map(|subnet| {
            let line = self.joining.line(&world, subnet.controller, &invited.token)?;
            Ok(JoinLine { subnet: subnet.net.to_string(), line })
        });
        let lines = lines.collect::<Result<_, _>>().map_err(broken)?;
        one(InvitedView { id: invited.id, until: invited.until.to_string(), lines })
    }

    pub(super) async fn revoke(&self, id: &str) -> Answer {
        let id = self.core.world().fleet.invitations.find(id)?.to_owned();
        self.core.bring(Event::Revoke { invitation: id.clone() }).await?;
        let rows = invitation_rows(&self.core.world().fleet, now());
        let row = rows.into_iter().find(|row| row.id == id);
        row.map(one).ok_or_else(|| ApiError::Broken("the invitation is gone".to_owned()))?
    }

    /// Lets a server in. One that is adopted keeps the address that it has, and nobody else is given that.
    pub(super) async fn let_in(&self, node: NodeId, event: Result<Event, ApiError>) -> Answer {
        let before = self.core.world();
        let was = before.fleet.nodes.get(&node).is_some_and(|node| node.adopted.is_some());
        self.core.bring(event?).await?;
        let world = self.core.world();
        let adopted = world.fleet.node(node)?;
        if was || adopted.adopted.is_none() {
            return self.row(node);
        }
        let address = adopted.boot.address;
        let Ok(mac) = adopted.boot.mac.as_str().parse() else { return self.row(node) };
        self.core.address(AddressWish::Fix { node, mac, address }).await.map_err(|why| {
            let name = &adopted.name;
            ApiError::Broken(format!(
                "{name} is adopted, but the address {address} that it uses could not be kept for it ({why}): give it another one there, and \
                 then rackwright node set-address {name} ADDRESS"
            ))
        })?;
        self.row(node)
    }
}

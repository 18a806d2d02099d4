//! VLAN interfaces of provisioning networks that come tagged.

use std::time::Duration;

use rtnetlink::LinkVlan;
use rtnetlink::packet_route::link::{InfoData, InfoVlan, LinkAttribute, LinkInfo, LinkMessage};

use super::{Change, EEXIST, EOPNOTSUPP, Net, NetError, Until, errno, fault};

impl Net {
    /// Makes the interface `name` for the VLAN `tag` on `parent`, unless it is there; the parent is waited for and
    /// switched on, because a VLAN has no cable of its own.
    ///
    /// # Errors
    /// [`NetError::NotThatVlan`] when an interface of that name is something else, [`NetError::Overdue`],
    /// [`NetError::Kernel`], [`NetError::NotPermitted`].
    pub async fn ensure_vlan(
        &self,
        parent: &str,
        tag: u16,
        name: &str,
        patience: Duration,
        say: impl FnMut(&str),
    ) -> Result<Change, NetError> {
        let under = self.wait(parent, Until::Exists, patience, say).await?;
        self.ensure_up(&under).await?;
        if self.is_vlan(name, under.index, tag).await? {
            return Ok(Change::Already);
        }
        let wanted = LinkVlan::new(name, under.index, tag).up().build();
        match self.handle.link().add(wanted).execute().await {
            Ok(()) => Ok(Change::Made),
            Err(e) if errno(&e) == Some(EEXIST) => {
                self.is_vlan(name, under.index, tag).await.map(|_| Change::Already)
            }
            Err(e) if errno(&e) == Some(EOPNOTSUPP) => Err(NetError::NoVlans { interface: name.into() }),
            Err(e) => Err(fault("making", name)(e)),
        }
    }

    /// Whether the interface is this VLAN; false when there is none of that name.
    async fn is_vlan(&self, name: &str, parent: u32, tag: u16) -> Result<bool, NetError> {
        match self.message(name).await? {
            None => Ok(false),
            Some(message) if tag_of(&message) == Some((parent, tag)) => Ok(true),
            Some(_) => Err(NetError::NotThatVlan { interface: name.into(), tag }),
        }
    }
}

/// The interface under a VLAN interface, and its tag.
fn tag_of(message: &LinkMessage) -> Option<(u32, u16)> {
    let parent = message.attributes.iter().find_map(|attribute| {
        let LinkAttribute::Link(index) = attribute else { return None };
        Some(*index)
    });
    let infos = message.attributes.iter().find_map(|attribute| {
        let LinkAttribute::LinkInfo(infos) = attribute else { return None };
        Some(infos)
    });
    let vlan = infos?.iter().find_map(|info| {
        let LinkInfo::Data(InfoData::Vlan(vlan)) = info else { return None };
        Some(vlan)
    });
    let tag = vlan?.iter().find_map(|data| {
        let InfoVlan::Id(tag) = data else { return None };
        Some(*tag)
    });
    parent.zip(tag)
}

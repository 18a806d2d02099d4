//! The cloud: how its services are, and the way in.

use fleet::{Denied, view};

use super::{Answer, Api, one, rows};
use crate::writer::{World, now};

impl Api {
    pub(super) fn cloud(&self, world: &World) -> Answer {
        if !self.core.catalog.is_cloud() {
            return Err(no_cloud().into());
        }
        rows(view::cloud_rows(&world.fleet, &world.site, &self.core.catalog, now()))
    }

    /// A secret: asked for like a change, so that the journal says who has it.
    pub(super) fn cloud_access(&self, world: &World) -> Answer {
        if !self.core.catalog.is_cloud() {
            return Err(no_cloud().into());
        }
        let none = || Denied::Conflict("no node has the role control: there is no keystone yet".to_owned());
        one(view::cloud_access(&world.fleet, &world.site).ok_or_else(none)?)
    }
}

fn no_cloud() -> Denied {
    Denied::Conflict(
        "this rack is no cloud: put the line [cloud] into rackwright.toml and restart rackwright.service"
            .to_owned(),
    )
}

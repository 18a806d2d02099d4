//! The site CA: shown, and another put in its place.

use std::collections::BTreeSet;
use std::time::SystemTime;

use fleet::trust::Verb;
use fleet::{Denied, Event, view};
use serde::Deserialize;

use super::{Answer, Api, ApiError, one, read};
use crate::writer::{World, now};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Finish {
    confirm: Option<String>,
    #[serde(default)]
    leave: BTreeSet<String>,
}

impl Api {
    pub(super) fn site_ca(&self, world: &World) -> Answer {
        one(view::trust_view(&world.fleet, &world.site, now()))
    }

    /// Begins: the new root is durable before it is named in the state, and trusted after that is committed.
    pub(super) async fn rotate_ca(&self) -> Answer {
        let _alone = self.rotating.lock().await;
        let world = self.core.world();
        // Before a root is made whose dates nobody can believe.
        if let Some(problem) = fleet::clock::problem(&world.fleet) {
            return Err(Denied::Clock(problem).into());
        }
        self.refuse_alone("rotate the CA", || "rackwright key ca rotate".to_owned())?;
        let current = fleet::trust::wanted(&world.fleet, &world.site);
        // The next one's file is in use then.
        if world.fleet.trust.as_ref().is_some_and(|trust| trust.other.is_some()) {
            let verb = Verb::Begin { current, new: current };
            return self.changed(verb).await;
        }
        let ca = self.ca.clone();
        let made = tokio::task::spawn_blocking(move || ca.make_next(SystemTime::now())).await;
        let made = made.map_err(|error| ApiError::Broken(error.to_string()))?;
        let new = made.map_err(|error| ApiError::Broken(crate::chain(&error)))?;
        self.changed(Verb::Begin { current, new }).await
    }

    pub(super) async fn abort_ca(&self) -> Answer {
        let _alone = self.rotating.lock().await;
        self.changed(Verb::Abort).await
    }

    /// The other one is refused from now on.
    pub(super) async fn finish_ca(&self, body: &[u8]) -> Answer {
        let Finish { confirm, leave } = read(body)?;
        let _alone = self.rotating.lock().await;
        let world = self.core.world();
        let site = &world.site.name;
        let nodes = leave.iter().map(|name| self.node(name)).collect::<Result<BTreeSet<_>, _>>()?;
        if confirm.as_deref() != Some(site.as_str()) {
            return Err(ApiError::Refuses(site.clone()));
        }
        // Whoever asks second leaves the same nodes behind.
        let named = leave.iter().map(|name| format!(" --force {name}")).collect::<String>();
        let command = || format!("rackwright key ca rotate --finish{named} --confirm {site}");
        self.refuse_alone(&format!("finish the CA{named}"), command)?;
        self.changed(Verb::Finish { leave: nodes }).await
    }

    /// The controller's clock is right, as a person says.
    pub(super) async fn accept_clock(&self) -> Answer {
        self.core.bring(Event::Clock(fleet::clock::Verb::Accept)).await?;
        one(view::ClockRow { accepted: now().to_string() })
    }

    async fn changed(&self, verb: Verb) -> Answer {
        self.core.bring(Event::Trust(verb)).await?;
        let world = self.core.world();
        let (ca, trust) = (self.ca.clone(), world.fleet.trust.clone());
        let followed = tokio::task::spawn_blocking(move || ca.follow(trust.as_ref(), SystemTime::now()));
        let followed = followed.await.map_err(|error| ApiError::Broken(error.to_string()))?;
        // It is decided, and in force with the next start at the latest.
        followed.map_err(|error| ApiError::Broken(format!("it is decided, and {}", crate::chain(&error))))?;
        self.site_ca(&world)
    }
}

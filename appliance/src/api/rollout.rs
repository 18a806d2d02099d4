//! Rolling operations: planned, confirmed by count and group, then left to the daemon.

use std::collections::BTreeSet;

use fleet::rollout::{Group, Rollout, RolloutState, Verb, Wish};
use fleet::{Event, Reply, view};
use protocol::Verify;
use serde::Deserialize;

use super::{Answer, Api, ApiError, one, read, rows};
use crate::writer::{World, now};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Make {
    role: Option<String>,
    #[serde(default)]
    nodes: BTreeSet<String>,
    image: Option<String>,
    #[serde(default)]
    canaries: Vec<String>,
    #[serde(default = "one_node")]
    max_unavailable: u32,
    #[serde(default = "one_node")]
    stop_after: u32,
    #[serde(default)]
    verify: Verify,
}

fn one_node() -> u32 {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin {
    confirm: Option<String>,
}

impl Api {
    pub(super) fn rollouts(&self, world: &World) -> Answer {
        let mut all = world.fleet.rollouts.values().collect::<Vec<_>>();
        all.sort_by_key(|rollout| rollout.made);
        rows(all.into_iter().map(|rollout| view::rollout_view(&world.fleet, rollout, now())).collect())
    }

    pub(super) fn rollout(&self, world: &World, id: &str) -> Answer {
        one(view::rollout_view(&world.fleet, world.fleet.find_rollout(id)?, now()))
    }

    pub(super) async fn make_rollout(&self, body: &[u8]) -> Answer {
        let Make { role, nodes, image, canaries, max_unavailable, stop_after, verify } = read(body)?;
        let world = self.core.world();
        let group = match (role, nodes.is_empty()) {
            (Some(role), true) => Group::Role { role },
            (None, false) => {
                let nodes = nodes.iter().map(|name| self.node(name)).collect::<Result<_, _>>()?;
                Group::Nodes { nodes }
            }
            (Some(_), false) | (None, true) => {
                return Err(ApiError::Body("either a role or nodes are rebuilt".to_owned()));
            }
        };
        let image = image.map(|text| world.fleet.find_image(&text).map(|image| image.digest)).transpose()?;
        let canaries = canaries.iter().map(|name| self.node(name)).collect::<Result<_, _>>()?;
        let wish = Wish { group, image, canaries, max_unavailable, stop_after, verify };
        self.rolled(Event::Roll(Box::new(wish))).await
    }

    pub(super) async fn change_rollout(&self, id: &str, verb: Verb, body: &[u8]) -> Answer {
        let world = self.core.world();
        let rollout = world.fleet.find_rollout(id)?;
        if verb == Verb::Begin {
            let Begin { confirm } = read(body)?;
            refuse_unconfirmed(rollout, confirm.as_deref())?;
        }
        self.rolled(Event::Rollout { rollout: rollout.id.clone(), verb }).await
    }

    async fn rolled(&self, event: Event) -> Answer {
        let Reply::Rollout(rollout) = self.core.bring(event).await?.reply else {
            return Err(ApiError::Broken("a rollout was answered with something else".to_owned()));
        };
        one(view::rollout_view(&self.core.world().fleet, &rollout, now()))
    }
}

/// What is over or runs already is refused for that, not for want of a word.
fn refuse_unconfirmed(rollout: &Rollout, given: Option<&str>) -> Result<(), ApiError> {
    let phrase = rollout.phrase();
    if rollout.state != RolloutState::Open || given == Some(phrase.as_str()) {
        return Ok(());
    }
    Err(ApiError::Many(phrase))
}

/// The verb that a path ends in.
pub(super) fn verb(word: &str) -> Option<Verb> {
    match word {
        "begin" => Some(Verb::Begin),
        "stop" => Some(Verb::Stop),
        "resume" => Some(Verb::Resume),
        "cancel" => Some(Verb::Cancel),
        _ => None,
    }
}

//! Rolling operations: planned, confirmed by count and group, then left to the daemon.

use std::collections::BTreeSet;

use fleet::rollout::{Group, RolloutState, Verb, Wish};
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
    /// Also nodes on which virtual machines run.
    #[serde(default)]
    force: bool,
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
        let Make { role, nodes, image, canaries, max_unavailable, stop_after, verify, force } = read(body)?;
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
        let wish = Wish { group, image, canaries, max_unavailable, stop_after, verify, force };
        self.rolled(Event::Roll(Box::new(wish))).await
    }

    pub(super) async fn change_rollout(&self, id: &str, verb: Verb, body: &[u8]) -> Answer {
        let world = self.core.world();
        let rollout = world.fleet.find_rollout(id)?;
        let id = &rollout.id;
        match (verb, &rollout.state) {
            (Verb::Begin, RolloutState::Open) => {
                let Begin { confirm } = read(body)?;
                let phrase = rollout.phrase();
                if confirm.as_deref() != Some(phrase.as_str()) {
                    return Err(ApiError::Many(phrase));
                }
                let command = || format!("rackwright rollout begin {id} --confirm '{phrase}'");
                self.refuse_alone(&format!("begin {id}"), command)?;
            }
            (Verb::Resume, RolloutState::Stopped { .. }) => {
                self.refuse_alone(&format!("resume {id}"), || format!("rackwright rollout resume {id}"))?;
            }
            // Nothing is erased by these, or they are refused in any case.
            (Verb::Begin | Verb::Stop | Verb::Resume | Verb::Cancel, _) => {}
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

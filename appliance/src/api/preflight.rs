//! Checks of the network between nodes, and the map of what is connected to what.

use std::collections::BTreeSet;

use fleet::preflight::{Preflight, STREAM_SECONDS, Stage, Terms, Verb, Wish};
use fleet::rollout::Group;
use fleet::view::{self, PreflightView};
use fleet::{Event, Reply};
use serde::Deserialize;

use super::{Answer, Api, ApiError, one, read, rows};
use crate::writer::World;

/// Whom, and how.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Begin {
    role: Option<String>,
    #[serde(default)]
    nodes: Vec<String>,
    /// Of each transfer; 0: none.
    transfer_seconds: Option<u32>,
    #[serde(default)]
    beside_jobs: bool,
}

impl Api {
    /// Begins a check, and a look for other DHCP servers with it.
    pub(super) async fn begin_preflight(&self, body: &[u8]) -> Answer {
        let Begin { role, nodes, transfer_seconds, beside_jobs } = read(body)?;
        let group = match (role, nodes.is_empty()) {
            (None, true) => None,
            (Some(role), true) => Some(Group::Role { role }),
            (None, false) => {
                let nodes = nodes.iter().map(|name| self.node(name)).collect::<Result<BTreeSet<_>, _>>()?;
                Some(Group::Nodes { nodes })
            }
            (Some(_), false) => {
                return Err(ApiError::Body("either a role or nodes are checked".to_owned()));
            }
        };
        let terms = Terms { stream_seconds: transfer_seconds.unwrap_or(STREAM_SECONDS), beside_jobs };
        let verb = Verb::Begin(Box::new(Wish { group, terms }));
        let begun = self.preflight_done(verb).await?;
        for interface in self.core.world().fleet.networks.keys() {
            self.core.bring(Event::Look { interface: interface.clone() }).await?;
        }
        one(self.preflight_view(&self.core.world(), &begun))
    }

    pub(super) async fn stop_preflight(&self) -> Answer {
        let stopped = self.preflight_done(Verb::Stop).await?;
        one(self.preflight_view(&self.core.world(), &stopped))
    }

    pub(super) fn preflight(&self, world: &World) -> Answer {
        let check = world.fleet.preflight.as_deref().ok_or(ApiError::Unchecked)?;
        one(self.preflight_view(world, check))
    }

    /// What is connected to what: as nodes tell of it now, and of those that are silent as the last check had it.
    pub(super) fn network_map(&self, world: &World) -> Answer {
        let mut nodes = world.fleet.nodes.values().filter(|node| node.is_let_in()).collect::<Vec<_>>();
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let checked = world.fleet.preflight.as_deref();
        let of_check = |node| {
            let member = checked?.members.iter().find(|member| member.node == node)?;
            Some(member.links.clone())
        };
        let links = nodes.into_iter().map(|node| {
            let links = self.preflights.links(node.id).or_else(|| of_check(node.id)).unwrap_or_default();
            (node.name.to_string(), links)
        });
        let links = links.collect::<Vec<_>>();
        rows(view::map_rows(links.iter().map(|(node, links)| (node.as_str(), links.as_slice()))))
    }

    fn preflight_view(&self, world: &World, check: &Preflight) -> PreflightView {
        let view = view::preflight_view(&world.fleet, check);
        let Some((stage, rounds)) = self.preflights.stage(check.id).filter(|_| view.state == "running")
        else {
            return view;
        };
        let round = if let Stage::Transfer(at) = stage { at + 1 } else { 0 };
        PreflightView { stage: Some(stage.word().to_owned()), round, rounds, ..view }
    }

    async fn preflight_done(&self, verb: Verb) -> Result<Preflight, ApiError> {
        let Reply::Preflight(check) = self.core.bring(Event::Preflight(verb)).await?.reply else {
            return Err(ApiError::Broken("a check was answered with something else".to_owned()));
        };
        Ok(*check)
    }
}

//! Everything for somebody who helps, from what anybody at this socket can see anyway.

use fleet::view::{SupportFile, SupportView, exposition};
use http_body_util::BodyExt;
use units::UnitName;

use super::{Answer, Api, Query, one};
use crate::support::{EVENTS, JOURNAL_LINES, Page};
use crate::writer::World;

/// What is asked for, and under which name it is filed.
const LOOKS: [(&str, &str); 14] = [
    ("status.json", "v1/status"),
    ("nodes.json", "v1/nodes"),
    ("jobs.json", "v1/jobs"),
    ("plans.json", "v1/plans"),
    ("rollouts.json", "v1/rollouts"),
    ("network-map.json", "v1/network/map"),
    ("images.json", "v1/images"),
    ("doctor.json", "v1/doctor"),
    ("services.json", "v1/services"),
    ("networks.json", "v1/networks"),
    ("leases.json", "v1/network/leases"),
    ("reservations.json", "v1/network/reservations"),
    ("boots.json", "v1/network/trace"),
    ("scrub.json", "v1/store/scrub"),
];
/// Our own units whose journals help.
const UNITS: [&str; 2] = ["rackwright.service", "chrony.service"];

impl Api {
    pub(super) async fn support(&self, world: &World) -> Answer {
        let mut pages = vec![
            Page::new("version.txt", format!("rackwright {}\n", env!("CARGO_PKG_VERSION"))),
            Page::new("metrics.txt", exposition(&self.metrics.gather())),
            self.places.config(),
            self.places.disks(),
        ];
        for (name, path) in LOOKS {
            pages.push(Page::new(name, self.seen(path, &Query::default()).await));
        }
        pages.push(Page::new(
            "events.json",
            self.seen("v1/events", &Query::parse(&format!("limit={EVENTS}"))).await,
        ));
        for node in world.fleet.nodes.values() {
            for what in ["", "/why", "/tests"] {
                let path = format!("v1/nodes/{}{what}", node.id);
                let name = format!("node-{}{}.json", node.name, what.replace('/', "-"));
                pages.push(Page::new(&name, Box::pin(self.seen(&path, &Query::default())).await));
            }
        }
        pages.extend(self.journals().await);
        let mut identities = Vec::new();
        for id in world.fleet.nodes.values().map(|node| node.id) {
            identities.extend(self.core.identity(id).await?);
        }
        let places = self.places.clone();
        let searched = tokio::task::spawn_blocking(move || places.searched(pages, &identities)).await;
        let pages = searched.map_err(|error| super::ApiError::Broken(error.to_string()))?;
        let file = |Page { name, text }| SupportFile { name, text };
        one(SupportView { files: pages.into_iter().map(file).collect() })
    }

    /// What a person who looks there sees; a refusal is as telling.
    async fn seen(&self, path: &str, query: &Query) -> String {
        let parts = path.split('/').collect::<Vec<_>>();
        let response = match Box::pin(self.look(&parts, query)).await {
            Some(Ok(response)) => response,
            Some(Err(why)) => return format!("{why}\n"),
            None => return format!("there is no {path}\n"),
        };
        let body = response.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        // One key a line: what is taken out of a line leaves the others whole.
        let value = serde_json::from_slice::<serde_json::Value>(&body).unwrap_or_default();
        serde_json::to_string_pretty(&value).unwrap_or_default()
    }

    async fn journals(&self) -> Vec<Page> {
        let mut pages = Vec::new();
        for unit in UNITS {
            let text = match &self.own {
                None => "systemd does not answer\n".to_owned(),
                Some(own) => own.journal(unit, JOURNAL_LINES).await,
            };
            pages.push(Page::new(&format!("journal-{unit}.txt"), text));
        }
        pages
    }
}

impl super::Own {
    async fn journal(&self, unit: &str, lines: usize) -> String {
        let Ok(name) = UnitName::parse(unit) else { return String::new() };
        match self.systemd().journal(&name, lines).await {
            Ok(lines) => lines.join("\n") + "\n",
            Err(why) => format!("{}\n", crate::chain(&why)),
        }
    }
}

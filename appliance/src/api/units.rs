//! Units of nodes and of the controller itself, in the same words.

use std::time::Duration;

use fleet::event::UnitVerb;
use fleet::view::{self, ServiceRow};
use fleet::{Event, Reply};
use units::{Systemd, UnitName};

use super::look::missing;
use super::{Answer, Api, ApiError, one, rows};
use crate::writer::World;

/// The controller's name among the nodes.
const CONTROLLER: &str = "controller";
/// How long a node may take to answer an order, in seconds.
const ORDER_SECONDS: u64 = 45;

/// The controller's own units, driven by the same code as the nodes'.
#[derive(Debug)]
pub struct Own {
    systemd: Systemd,
    names: Vec<UnitName>,
}

impl Own {
    /// The units that make a controller beside the daemon itself.
    pub fn new(systemd: Systemd, names: Vec<UnitName>) -> Self {
        Self { systemd, names }
    }

    /// Starts every unit that does not run; what could not be started is logged.
    pub async fn start_all(&self) {
        for name in &self.names {
            match self.systemd.start(name).await {
                Ok(_) => tracing::info!(unit = %name, "own unit runs"),
                Err(error) => {
                    tracing::error!(unit = %name, why = crate::chain(&error), "own unit does not run")
                }
            }
        }
    }

    /// The way to systemd.
    pub(super) fn systemd(&self) -> &Systemd {
        &self.systemd
    }

    async fn rows(&self) -> Vec<ServiceRow> {
        let mut rows = Vec::new();
        for name in &self.names {
            rows.push(self.row(name).await);
        }
        rows
    }

    async fn row(&self, name: &UnitName) -> ServiceRow {
        let state = self.systemd.state(name).await;
        let (active, sub) = state
            .map(|state| (state.active.to_string(), state.sub))
            .unwrap_or_else(|error| ("unknown".to_owned(), crate::chain(&error)));
        ServiceRow {
            node: CONTROLLER.to_owned(),
            unit: name.to_string(),
            wanted: "running".to_owned(),
            active,
            sub,
            log: None,
        }
    }

    fn named(&self, unit: &str) -> Result<&UnitName, ApiError> {
        let known = self.names.iter().find(|name| name.to_string() == unit);
        known.ok_or_else(|| missing("unit", &format!("{unit} on {CONTROLLER}")))
    }

    async fn act(&self, unit: &str, verb: UnitVerb) -> Result<ServiceRow, ApiError> {
        let name = self.named(unit)?;
        let done = match verb {
            UnitVerb::Start => self.systemd.start(name).await.map(drop),
            UnitVerb::Stop => self.systemd.stop(name).await.map(drop),
            UnitVerb::Restart => self.systemd.restart(name).await.map(drop),
        };
        done.map_err(|error| ApiError::Broken(crate::chain(&error)))?;
        Ok(self.row(name).await)
    }
}

impl Api {
    pub(super) async fn services(&self, world: &World, node: Option<&str>) -> Answer {
        let mut all = match &self.own {
            Some(own) => own.rows().await,
            None => Vec::new(),
        };
        all.extend(view::service_rows(&world.fleet, &self.core.catalog));
        all.retain(|row| node.is_none_or(|node| row.node == node));
        rows(all)
    }

    pub(super) async fn unit(&self, node: &str, unit: &str, verb: UnitVerb) -> Answer {
        if node == CONTROLLER {
            let own = self.own.as_ref().ok_or_else(|| missing("node", CONTROLLER))?;
            return one(own.act(unit, verb).await?);
        }
        let id = self.node(node)?;
        self.core.bring(Event::Unit { node: id, unit: unit.to_owned(), verb }).await?;
        let world = self.core.world();
        let name = world.fleet.node(id)?.name.to_string();
        let all = view::service_rows(&world.fleet, &self.core.catalog);
        let row = all.into_iter().find(|row| row.node == name && row.unit == unit);
        one(row.ok_or_else(|| missing("unit", unit))?)
    }

    pub(super) async fn logs(&self, node: &str, unit: &str, lines: u64) -> Answer {
        let lines = u32::try_from(lines).unwrap_or(1000).clamp(1, 1000);
        if node == CONTROLLER {
            let own = self.own.as_ref().ok_or_else(|| missing("node", CONTROLLER))?;
            let read = own.systemd.journal(own.named(unit)?, usize::try_from(lines).unwrap_or(50)).await;
            let lines = read.map_err(|error| ApiError::Broken(crate::chain(&error)))?;
            return one(serde_json::json!({ "lines": lines }));
        }
        let id = self.node(node)?;
        let done = self.core.bring(Event::Logs { node: id, unit: unit.to_owned(), lines }).await?;
        let Reply::Order(order) = done.reply else {
            return Err(ApiError::Broken("asking for logs was answered with something else".to_owned()));
        };
        let answer = self.answers.take(id, order, Duration::from_secs(ORDER_SECONDS)).await;
        let answer = answer.ok_or_else(|| ApiError::Silent(node.to_owned(), ORDER_SECONDS))?;
        match answer.error {
            Some(error) => Err(ApiError::Broken(format!("{node}: {error}"))),
            None => one(serde_json::json!({ "lines": answer.lines })),
        }
    }
}

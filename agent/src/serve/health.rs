//! How services are: waited for while they come up, and looked at for ever after.

use std::sync::Arc;
use std::time::Duration;

use protocol::{Check, ServiceHealth, ServiceWanted};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use units::UnitName;

use super::node::{Node, Wanted};
use super::probe;

/// Between two attempts at a service that comes up.
const AGAIN: Duration = Duration::from_millis(500);
/// Between two looks at one that is up.
const LOOK: Duration = Duration::from_secs(15);
/// One failure is a hiccup: a service that is well is called ill when it fails so often in a row.
const STRIKES: u32 = 2;

/// Waits until its check holds; `Err` says why it does not, when its time is over.
pub(super) async fn until_well(check: &Check) -> Result<(), String> {
    let patience = Duration::from_secs(u64::from(check.within_seconds));
    let end = Instant::now() + patience;
    loop {
        match probe::attempt(&check.kind).await {
            Ok(()) => return Ok(()),
            Err(why) if Instant::now() >= end => {
                return Err(format!("not well {} s after its units were up: {why}", patience.as_secs()));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// Looks at the services of the document for ever. What is on its way up is the conductor's, and not judged here.
pub(super) async fn follow(node: Arc<Node>, mut wanted: watch::Receiver<Wanted>) {
    let mut strikes = std::collections::BTreeMap::<String, u32>::new();
    loop {
        // A new document is the conductor's first.
        let _ = tokio::time::timeout(LOOK, wanted.changed()).await;
        let document = wanted.borrow_and_update().clone();
        for service in document.iter().flat_map(|document| &document.services) {
            if !node.ledger.is_settled(&service.name) {
                continue;
            }
            let count = strikes.entry(service.name.clone()).or_default();
            let health = match look(&node, service).await {
                Ok(()) => {
                    *count = 0;
                    ServiceHealth::Well
                }
                Err(why) => {
                    *count += 1;
                    if *count < STRIKES {
                        continue;
                    }
                    ServiceHealth::Ill { why }
                }
            };
            node.ledger.seen(&service.name, health);
        }
    }
}

/// Whether the units of a service are up, and its check holds.
async fn look(node: &Node, service: &ServiceWanted) -> Result<(), String> {
    for name in &service.units {
        let Ok(unit) = UnitName::parse(name) else { continue };
        let state = node.systemd.state(&unit).await.map_err(|error| error.to_string())?;
        if !state.active.is_up() {
            return Err(format!("{name} is {} ({})", state.active, state.sub));
        }
    }
    match &service.check {
        Some(check) => probe::attempt(&check.kind).await,
        None => Ok(()),
    }
}

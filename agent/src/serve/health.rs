//! How services are: waited for while they come up, and looked at for ever after.

use std::collections::BTreeMap;
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

/// Waits until its check holds, or with `once` looks once; `Err` says why it does not, when its time is over.
pub(super) async fn until_well(check: &Check, once: bool) -> Result<(), String> {
    let patience = Duration::from_secs(u64::from(check.within_seconds));
    let end = Instant::now() + patience;
    loop {
        match probe::attempt(&check.kind).await {
            Ok(()) => return Ok(()),
            Err(why) if once || Instant::now() >= end => {
                return Err(format!("not well {} s after its units were up: {why}", patience.as_secs()));
            }
            Err(_) => sleep(AGAIN).await,
        }
    }
}

/// Looks at the services of the document for ever: one that was well may not be any more, and may be again. What comes up, and what did
/// not, is the conductor's.
pub(super) async fn follow(node: Arc<Node>, mut wanted: watch::Receiver<Wanted>) {
    let mut strikes = BTreeMap::new();
    loop {
        sleep(LOOK).await;
        let document = wanted.borrow_and_update().clone();
        for service in document.iter().flat_map(|document| &document.services) {
            let Some(before) = node.ledger.health(&service.name) else { continue };
            if !is_ours(&before) {
                continue;
            }
            let strikes = strikes.entry(service.name.clone()).or_default();
            if let Some(now) = judged(look(&node, service).await, strikes) {
                node.ledger.seen(&service.name, &before, now);
            }
        }
    }
}

/// How a service begins that was well and is not.
const LOST: &str = "no longer well: ";

/// Whether it was well, or was lost here.
fn is_ours(health: &ServiceHealth) -> bool {
    match health {
        ServiceHealth::Well => true,
        ServiceHealth::Ill { why } => why.starts_with(LOST),
        ServiceHealth::Coming { .. } => false,
    }
}

/// What a look means, after so many in a row that failed; none: nothing yet.
fn judged(look: Result<(), String>, strikes: &mut u32) -> Option<ServiceHealth> {
    match look {
        Ok(()) => {
            *strikes = 0;
            Some(ServiceHealth::Well)
        }
        Err(why) => {
            *strikes = strikes.saturating_add(1);
            (*strikes >= STRIKES).then(|| ServiceHealth::Ill { why: format!("{LOST}{why}") })
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

#[cfg(test)]
mod tests {
    use protocol::ServiceHealth;

    use super::{is_ours, judged};

    #[test]
    fn one_failure_is_a_hiccup_and_the_conductor_s_reasons_are_left_alone() {
        let mut strikes = 0;
        let fails = || Err("HTTP 500".to_owned());
        assert_eq!(judged(fails(), &mut strikes), None);
        assert_eq!(judged(Ok(()), &mut strikes), Some(ServiceHealth::Well));
        assert_eq!(judged(fails(), &mut strikes), None, "counted anew");
        let ill = judged(fails(), &mut strikes).unwrap();
        assert_eq!(ill, ServiceHealth::Ill { why: "no longer well: HTTP 500".to_owned() });
        assert!(is_ours(&ill) && is_ours(&ServiceHealth::Well));
        assert!(!is_ours(&ServiceHealth::Ill { why: "task a failed".to_owned() }));
        assert!(!is_ours(&ServiceHealth::Coming { what: "its tasks".to_owned() }));
    }
}

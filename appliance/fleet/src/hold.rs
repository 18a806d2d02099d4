//! Holding a node: it stays as it is, out of every plan and every job, until somebody releases it.
//!
//! A node is held while it rests: what writes its disk is not stopped by this. A held node boots its own disk, but for one that is
//! half written.

use serde::{Deserialize, Serialize};

use crate::imaging::ended_jobs;
use crate::step::{refused, withdraw};
use crate::{Change, Denied, Fleet, Node, Outcome, Time};

/// Why nothing is done with a node, and since when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// The operator's reason.
    pub why: String,
    /// Since when.
    pub since: Time,
}

/// Holds a node, or gives another reason for it.
pub(crate) fn hold(fleet: &Fleet, node: &Node, why: String, now: Time) -> Result<Outcome, Denied> {
    if !node.state.is_settled() {
        return Err(refused(node, "holding", "; only one that is ready, planned, active or needs attention"));
    }
    let mut outcome = Outcome::default();
    let mut next = withdraw(fleet, node, "the node is held", now, &mut outcome);
    let since = next.hold.as_ref().map_or(now, |hold| hold.since);
    outcome.fact(node.id, "held", why.clone());
    next.hold = Some(Hold { why, since });
    // What has failed or hangs is not taken up again, and nobody restarts for it.
    next.orders.retain(|order| !order.kind.redeploys());
    // Its ramdisk would be let in by it, and the installed system's certificates would be void.
    next.deploy = next.deploy.filter(|deploy| !deploy.ticket);
    outcome.changes.extend(ended_jobs(fleet, node, "the node is held", now));
    outcome.changes.push(Change::Node(Box::new(next)));
    Ok(outcome)
}

/// Lets a held node go on.
pub(crate) fn release(node: &Node) -> Result<Outcome, Denied> {
    let hold = node.hold.as_ref().ok_or_else(|| refused(node, "releasing", "; it is not held"))?;
    let mut outcome = Outcome::default();
    outcome.fact(node.id, "released", format!("it was held since {}: {}", hold.since, hold.why));
    outcome.changes.push(Change::Node(Box::new(Node { hold: None, ..node.clone() })));
    Ok(outcome)
}

/// Refuses what may not be done with a held node.
pub(crate) fn refuse_held(node: &Node) -> Result<(), Denied> {
    match &node.hold {
        None => Ok(()),
        Some(hold) => Err(Denied::Conflict(format!(
            "{0} is held: {1}; let it go on first (rackwright node release {0})",
            node.name, hold.why
        ))),
    }
}

//! How long a plan holds: as long as what it was made of is what it saw.

use protocol::{Expectation, Mark, unnamed};

use super::{Plan, PlanState, Unplannable, kind_of};
use crate::{Fleet, Node};

/// Whether a plan still describes the node it was made for.
///
/// # Errors
/// [`Unplannable::Stale`], with what changed.
pub fn still_true(fleet: &Fleet, node: &Node, plan: &Plan) -> Result<(), Unplannable> {
    let stale =
        |why: String| Unplannable::Stale { plan: plan.id.to_string(), name: node.name.to_string(), why };
    match &plan.state {
        PlanState::Open => {}
        PlanState::Applied { job } => return Err(stale(format!("it was applied already, as job {job}"))),
        PlanState::Withdrawn { why } => return Err(stale(why.clone())),
    }
    if !fleet.images.contains_key(&plan.image) {
        return Err(stale(format!("image {} is gone", plan.image_name)));
    }
    kind_of(node)?;
    let disk = node.inventory.disks.iter().find(|disk| disk.id().as_ref() == Some(&plan.target.disk));
    let disk = disk.ok_or_else(|| stale(format!("disk {} is not there any more", plan.target.disk)))?;
    if !plan.target.is(disk) {
        return Err(stale(format!("disk {} has another model or size now", plan.target.disk)));
    }
    data_still_true(node, plan).map_err(stale)?;
    match &plan.target.expect {
        Expectation::Content { digest } if disk.content != Some(*digest) => {
            Err(stale(format!("what is on disk {} has changed since", plan.target.disk)))
        }
        Expectation::Content { .. } => match unnamed(&disk.holds, &plan.erase).first() {
            None => Ok(()),
            // Its beginning and end are what they were: it lies between them.
            Some(held) => {
                let what = Mark::short(held);
                Err(stale(format!("disk {} holds {what} now, which it did not name", plan.target.disk)))
            }
        },
        Expectation::Own => Ok(()),
    }
}

/// Whether the plan's data disk is still what it was, in the newest look at the node.
///
/// # Errors
/// What changed, for a person.
pub fn data_still_true(node: &Node, plan: &Plan) -> Result<(), String> {
    match &plan.data {
        Some(data) if data.find(node).is_none() => {
            Err(format!("data disk {} is not there any more, or holds something else now", data.disk))
        }
        Some(_) | None => Ok(()),
    }
}

//! A node that an operator takes out of everything, to mend it ([`crate::rescue`]) or to work at it ([`crate::service`]), and its
//! way back: to its own system, which must be heard again, or to the ramdisk.
//!
//! ```text
//! Active, Booting, Enrolling, Attention ─→ Rescue or Servicing ─end→ Returning ─reports→ Active, or Enrolling after a first boot
//! Inspecting, Ready, Planned ───────────→ Rescue or Servicing ─end→ Inspecting
//! ```
//! One that is half written or half erased is as it was afterwards.

use protocol::JobId;

use crate::imaging::ended_jobs;
use crate::step::{refused, withdraw};
use crate::{Change, Denied, Fleet, Node, Outcome, State, Time};

/// Refuses a node that is in other hands, or in nobody's.
pub(crate) fn may_leave(node: &Node, event: &'static str) -> Result<(), Denied> {
    let hint = match &node.state {
        State::Inspecting
        | State::Ready
        | State::Planned { .. }
        | State::Booting { .. }
        | State::Enrolling { .. }
        | State::Active
        | State::Returning { .. }
        | State::Attention { .. } => return Ok(()),
        State::Discovered => format!("; let it in first (rackwright node approve {})", node.name),
        State::Rejected { .. } | State::Retired => "; it is no node any more".to_owned(),
        State::Imaging { .. } | State::Verifying { .. } | State::Retiring { .. } => {
            "; its disk is being written: wait for the job, or until it needs attention".to_owned()
        }
        State::Draining { .. } => {
            "; a job is about to begin: wait for it, or until it needs attention".to_owned()
        }
        State::Testing { .. } => format!("; end that first (rackwright node test stop {})", node.name),
        State::Capturing { job } => format!("; cancel that first (rackwright job cancel {job})"),
        State::Rescue { .. } => format!("; end that first (rackwright node rescue {} --end)", node.name),
        State::Servicing { .. } => format!("; end that first (rackwright node service {} off)", node.name),
    };
    Err(refused(node, event, &hint))
}

/// The node out of its plan and its jobs. What waits for its first boot goes on waiting.
pub(crate) fn leave(fleet: &Fleet, node: &Node, why: &str, now: Time, outcome: &mut Outcome) -> Node {
    let mut next = withdraw(fleet, node, why, now, outcome);
    stay(&mut next);
    if first_boot(fleet, &node.state).is_none() {
        outcome.changes.extend(ended_jobs(fleet, node, why, now));
    }
    next
}

/// Its installed system is not sent into the ramdisk any more, and no ramdisk is let in for that.
pub(crate) fn stay(node: &mut Node) {
    node.orders.retain(|order| !order.kind.redeploys());
    node.deploy = node.deploy.filter(|deploy| !deploy.ticket);
}

/// The job whose system has not come up for the first time, in this state or before it needed attention.
fn first_boot(fleet: &Fleet, state: &State) -> Option<JobId> {
    let waits = ["booting", "enrolling", "returning"].contains(&state.phase());
    state.job().filter(|job| waits && fleet.jobs.get(job).is_some_and(|job| !job.state.ended()))
}

/// The job whose first boot is awaited still, wherever the node is meanwhile.
pub(crate) fn awaited(fleet: &Fleet, node: &Node) -> Option<JobId> {
    if let State::Rescue { rescue } = &node.state {
        first_boot(fleet, &rescue.back)
    } else if let State::Servicing { back, .. } = &node.state {
        first_boot(fleet, back)
    } else {
        first_boot(fleet, &node.state)
    }
}

/// Whether its installed system keeps key and certificate, although a person lets in another key of the same server.
pub(crate) fn keeps_system(node: &Node) -> bool {
    matches!(node.state, State::Rescue { .. } | State::Servicing { .. } | State::Returning { .. })
}

/// What a node is that comes back from what it was before.
pub(crate) fn home(fleet: &Fleet, node: &Node, back: &State) -> State {
    let own_system = State::Returning { job: first_boot(fleet, back) };
    match back {
        State::Inspecting | State::Ready | State::Planned { .. } => State::Inspecting,
        State::Booting { .. } | State::Enrolling { .. } | State::Active | State::Returning { .. } => {
            own_system
        }
        State::Attention { phase, .. } => match phase.as_str() {
            "inspecting" => State::Inspecting,
            "booting" | "enrolling" | "active" | "returning" => own_system,
            // Its job was given up; what it had before is whole.
            "draining" | "capturing" if node.run.is_some() && node.has_system() => own_system,
            _ => back.clone(),
        },
        State::Discovered
        | State::Rejected { .. }
        | State::Testing { .. }
        | State::Imaging { .. }
        | State::Verifying { .. }
        | State::Draining { .. }
        | State::Capturing { .. }
        | State::Retiring { .. }
        | State::Retired
        | State::Rescue { .. }
        | State::Servicing { .. } => back.clone(),
    }
}

/// The system that it was to come back to is void: a part was moved, and the operator says that it is the same node.
pub(crate) fn homeless(fleet: &Fleet, node: &mut Node, now: Time) -> Vec<Change> {
    let awaited = awaited(fleet, node).is_some();
    if let State::Rescue { rescue } = &mut node.state {
        rescue.back = State::Inspecting;
    } else if let State::Servicing { back, .. } = &mut node.state {
        **back = State::Inspecting;
    } else if matches!(node.state, State::Returning { .. }) {
        (node.state, node.since) = (State::Inspecting, now);
    } else {
        return Vec::new();
    }
    let why = "its system is void: another key was let in";
    if awaited { ended_jobs(fleet, node, why, now).collect() } else { Vec::new() }
}

//! What a server that asks the network is told to boot.

use protocol::HardwareAddress;
use pxe::script::{BootTask, Reason};

use crate::{Fleet, Node, State, capture, rescue, retire, returning};

/// The boot answer for a NIC, from the state its node is in: a server with no task boots its own disk.
pub fn boot_task(fleet: &Fleet, mac: &HardwareAddress) -> BootTask {
    match fleet.owner(mac) {
        None => BootTask::Agent { why: Reason::new("new here: the agent will show a code") },
        Some(node) => of_node(fleet, node),
    }
}

fn of_node(fleet: &Fleet, node: &Node) -> BootTask {
    let agent = |why: &str| BootTask::Agent { why: Reason::new(&format!("{} is {why}", node.name)) };
    match &node.state {
        // It runs its own system, and its disks stay as they are.
        State::Discovered if is_to_be_adopted(node) => BootTask::LocalDisk,
        State::Discovered => agent("waiting for approval"),
        State::Inspecting | State::Ready | State::Planned { .. } if node.hold.is_some() => {
            BootTask::LocalDisk
        }
        State::Inspecting | State::Ready | State::Planned { .. } => agent("waiting for a plan"),
        State::Testing { .. } => agent("being tested"),
        State::Imaging { .. } | State::Verifying { .. } => agent("being written"),
        // Without a ticket the ramdisk would have to be approved again: the installed system comes up once more and
        // hands one in.
        State::Draining { .. } if owes_ticket(node) => BootTask::LocalDisk,
        State::Draining { .. } if capture::in_flight(fleet, node).is_some() => agent("to be captured"),
        State::Draining { .. } if retire::in_flight(fleet, node).is_some() => agent("to be erased"),
        State::Draining { .. } => agent("to be rebuilt"),
        State::Capturing { .. } => agent("being captured"),
        State::Retiring { .. } => agent("being erased"),
        State::Rescue { rescue } if rescue::awaits_ticket(node, rescue) => BootTask::LocalDisk,
        State::Rescue { .. } => agent("to be mended by hand"),
        // As when it comes back.
        State::Servicing { back, .. } => {
            of_node(fleet, &Node { state: returning::home(fleet, node, back), ..node.clone() })
        }
        // Half-written disks must not be booted; whole ones must not be kept from booting.
        State::Attention { job: Some(_), phase, .. } if phase == "imaging" || phase == "verifying" => {
            agent("being written, and needs attention")
        }
        State::Attention { phase, .. } if node.hold.is_some() && phase != "retiring" => BootTask::LocalDisk,
        State::Attention { phase, .. } if phase == "draining" || phase == "capturing" => {
            agent("to be rebuilt, captured or erased, and needs attention")
        }
        State::Attention { phase, .. } if phase == "testing" => agent("tested, and needs attention"),
        State::Attention { phase, .. } if phase == "retiring" => agent("being erased, and needs attention"),
        State::Attention { .. } if !node.has_system() => agent("waiting for the operator"),
        State::Rejected { .. }
        | State::Booting { .. }
        | State::Enrolling { .. }
        | State::Active
        | State::Returning { .. }
        | State::Retired
        | State::Attention { .. } => BootTask::LocalDisk,
    }
}

/// Whether what waits for approval is a system that was there before.
fn is_to_be_adopted(node: &Node) -> bool {
    node.claim.as_ref().is_some_and(|claim| claim.adoption.is_some() && claim.clash.is_none())
}

/// Whether the installed system, which was told to, has not handed in a ticket yet. The first hello with one ends the
/// installed system.
fn owes_ticket(node: &Node) -> bool {
    // A disk of other making has no place for one.
    node.adopted.is_none() && node.run.is_some() && node.deploy.is_none_or(|deploy| !deploy.ticket)
}

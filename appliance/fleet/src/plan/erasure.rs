//! What must not be lost or doubled by a plan: other disks' systems and names, and what is foreign on the disk itself.

use protocol::{Disk, Expectation, Mark, OWN_PARTITION, clashes, foreign, unnamed};

use super::{Unplannable, lives_on_disk, title};
use crate::Node;
use crate::image::Image;

/// An image copied to one disk while another still carries one of ours: which of the two is mounted is chance.
pub(super) fn refuse_twin(node: &Node, target: &Disk) -> Result<(), Unplannable> {
    // Of a running node, the newest look at its disks is older than its system.
    let runs_on = node.installed.as_ref().filter(|_| lives_on_disk(node)).map(|installed| &installed.disk);
    let ours = |disk: &&Disk| {
        disk.holds.iter().any(|h| h.label == OWN_PARTITION)
            || (runs_on.is_some() && disk.id().as_ref() == runs_on)
    };
    match node.inventory.disks.iter().filter(|disk| disk.id() != target.id()).find(ours) {
        None => Ok(()),
        Some(twin) => Err(Unplannable::Twin { name: node.name.to_string(), twin: title(twin) }),
    }
}

/// An image brings UUIDs, labels and names: none of them may be on another disk of the node.
pub(super) fn refuse_clashes(node: &Node, image: &Image, target: &Disk) -> Result<(), Unplannable> {
    let others = node.inventory.disks.iter().filter(|disk| disk.id() != target.id());
    let clashes = clashes(&image.carried().holds, others);
    if clashes.is_empty() {
        return Ok(());
    }
    Err(Unplannable::Clash { name: node.name.to_string(), disk: title(target), clashes })
}

/// What is foreign on the disk, each by its exact name, when all of it was named by the operator.
///
/// The look at the disk of a running node is older than its system: then what was named goes to the agent as it is,
/// and the agent compares.
pub(super) fn named(
    node: &Node,
    target: &Disk,
    expect: &Expectation,
    marks: &[Mark],
) -> Result<Vec<Mark>, Unplannable> {
    match expect {
        Expectation::Own => return Ok(marks.to_vec()),
        Expectation::Content { .. } => {}
    }
    let (name, disk) = (node.name.to_string(), title(target));
    let is_there = |mark: &&Mark| target.holds.iter().any(|held| mark.covers(held));
    if let Some(mark) = marks.iter().find(|mark| !is_there(mark)) {
        let there = target.holds.iter().map(|held| Mark::short(held).to_string()).collect();
        return Err(Unplannable::NoSuchHolding { name, disk, mark: mark.to_string(), there });
    }
    let found = unnamed(&target.holds, marks).into_iter().cloned().collect::<Vec<_>>();
    if found.is_empty() {
        Ok(foreign(&target.holds).into_iter().map(Mark::exact).collect())
    } else {
        Err(Unplannable::Foreign { name, disk, found })
    }
}

//! Plans: what may destroy data, frozen before anybody says yes.
//!
//! Ambiguity is a refusal, never a guess. A plan names one disk by WWN or serial, says what is on it, and holds only as
//! long as the disk is what the plan saw.

mod choice;
mod erasure;
mod refusal;
mod validity;

use std::collections::BTreeSet;
use std::fmt;

use pack::Digest;
use protocol::{Disk, DiskId, Expectation, Holding, JobId, Mark, NodeId, Target, Verify};
use serde::{Deserialize, Serialize};

use crate::data_disk::{self, DataDisk};
use crate::entropy::Entropy;
use crate::image::Image;
use crate::{Catalog, Fleet, Node, State, Time, capture};
use choice::{choose_disk, choose_image, wrong_disk};

pub(crate) use choice::title;
pub use refusal::Unplannable;
pub use validity::{data_still_true, still_true};

/// The image that a plan for the node takes when it names none.
///
/// # Errors
/// [`Unplannable`]: the node has no role, or no image carries its roles.
pub fn image_for<'a>(fleet: &'a Fleet, catalog: &Catalog, node: &Node) -> Result<&'a Image, Unplannable> {
    choose_image(fleet, catalog, node, Wish::default())
}

/// A plan's id: `p-` and eight hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PlanId(pub String);

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A frozen list of what will be done to one node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its id, by which it is applied.
    pub id: PlanId,
    /// The node.
    pub node: NodeId,
    /// First installation, or the same node again.
    pub kind: PlanKind,
    /// The image.
    pub image: Digest,
    /// Its name, for people.
    pub image_name: String,
    /// The disk that will be erased.
    pub target: Target,
    /// Its serial number, which is printed on it; may be empty.
    #[serde(default)]
    pub serial: String,
    /// What is on it now.
    pub erases: Vec<Holding>,
    /// What is foreign on it ([`protocol::foreign`]) and is erased because the operator named it.
    #[serde(default)]
    pub erase: Vec<Mark>,
    /// What is to prove that the disk holds the image.
    #[serde(default)]
    pub verify: Verify,
    /// The other disks, which will be set read-only: id, model, bytes.
    pub keeps: Vec<Kept>,
    /// The disk that its roles keep their data on, where they need one. It is written by the node, not by the image.
    #[serde(default)]
    pub data: Option<DataDisk>,
    /// The roles that the node gets when this is applied; none: it keeps those it has.
    #[serde(default)]
    pub roles: Option<BTreeSet<String>>,
    /// When it was made.
    pub made: Time,
    /// What became of it.
    pub state: PlanState,
}

/// A disk that a plan leaves alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// WWN or serial; none when it has neither.
    pub disk: Option<DiskId>,
    /// Model.
    pub model: String,
    /// Serial number; may be empty.
    #[serde(default)]
    pub serial: String,
    /// Size in bytes.
    pub bytes: u64,
}

/// Why the disk is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlanKind {
    /// The first installation of a server in the ramdisk.
    Install,
    /// The same node again: same id, name, address, SSH host keys.
    Rebuild,
}

/// What became of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum PlanState {
    /// May be applied.
    Open,
    /// Was applied.
    Applied {
        /// As this job.
        job: JobId,
    },
    /// Will never be.
    Withdrawn {
        /// Why.
        why: String,
    },
}

/// What the operator said about a plan; what was not said is chosen when there is one choice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish<'a> {
    /// With this image.
    pub image: Option<&'a Image>,
    /// To this disk.
    pub disk: Option<&'a DiskId>,
    /// With the data of the roles on this disk.
    pub data: Option<&'a DiskId>,
    /// With these roles, instead of those the node has.
    pub roles: Option<&'a BTreeSet<String>>,
    /// Erasing this too, though it is part of something bigger.
    pub erase: &'a [Mark],
    /// Proven by this.
    pub verify: Verify,
}

/// Makes a plan for a node; changes nothing.
///
/// # Errors
/// [`Unplannable`]: what is missing or ambiguous, and what to do about it.
pub fn plan(
    fleet: &Fleet,
    catalog: &Catalog,
    node: &Node,
    wish: Wish<'_>,
    now: Time,
    dice: &mut Entropy,
) -> Result<Plan, Unplannable> {
    let kind = kind_of(node)?;
    wish.image.map_or(Ok(()), |image| refuse_another_s(fleet, node, image))?;
    let image = choose_image(fleet, catalog, node, wish)?;
    let installed = node.installed.as_ref().map(|installed| &installed.disk);
    let wanted = wish.disk.or(installed.filter(|_| kind == PlanKind::Rebuild));
    let target = choose_disk(node, image, wanted)?;
    erasure::refuse_twin(node, target)?;
    erasure::refuse_clashes(node, image, target)?;
    let id = target.id().ok_or_else(|| wrong_disk(node, target, "it has neither WWN nor serial"))?;
    let content = || target.content.map(|digest| Expectation::Content { digest });
    let expect = match kind {
        // Only of a whole system: what a rebuild has begun to write over is known by its content, or not at all.
        PlanKind::Rebuild if installed == Some(&id) && lives_on_disk(node) => Expectation::Own,
        PlanKind::Install | PlanKind::Rebuild => {
            content().ok_or_else(|| wrong_disk(node, target, "its content could not be read"))?
        }
    };
    let erases = match &expect {
        Expectation::Content { .. } => target.holds.clone(),
        // The look at the disk is older than what was installed since: say what that is.
        Expectation::Own => vec![own_system(fleet, node)],
    };
    let erase = erasure::named(node, target, &expect, wish.erase)?;
    let data = choose_data(catalog, node, wish, &id)?;
    let is_data = |other: &Disk| data.as_ref().is_some_and(|data| other.id().as_ref() == Some(&data.disk));
    let others = node.inventory.disks.iter().filter(|d| d.id().as_ref() != Some(&id) && !is_data(d));
    Ok(Plan {
        id: PlanId(format!("p-{:08x}", u32::from_be_bytes(dice.draw()))),
        node: node.id,
        kind,
        image: image.digest,
        image_name: image.name.clone(),
        target: Target {
            disk: id.clone(),
            model: target.model.clone(),
            serial: Some(target.serial.clone()),
            bytes: target.bytes,
            expect,
        },
        erases,
        erase,
        verify: wish.verify,
        serial: target.serial.clone(),
        keeps: others.map(kept).collect(),
        data,
        roles: wish.roles.cloned(),
        made: now,
        state: PlanState::Open,
    })
}

/// An image with the keys and ids of one node is for that node.
fn refuse_another_s(fleet: &Fleet, node: &Node, image: &Image) -> Result<(), Unplannable> {
    let Some(owner) = capture::owner(fleet, image.digest).filter(|owner| *owner != node.id) else {
        return Ok(());
    };
    let owner = fleet.nodes.get(&owner).map_or_else(|| owner.short(), |owner| owner.name.to_string());
    Err(Unplannable::Personal { image: image.name.clone(), owner, name: node.name.to_string() })
}

fn kept(disk: &Disk) -> Kept {
    let (model, serial) = (disk.model.clone(), disk.serial.clone());
    Kept { disk: disk.id(), model, serial, bytes: disk.bytes }
}

/// The data disk, where the roles need one.
fn choose_data(
    catalog: &Catalog,
    node: &Node,
    wish: Wish<'_>,
    system: &DiskId,
) -> Result<Option<DataDisk>, Unplannable> {
    match (catalog.wants(wish.roles.unwrap_or(&node.roles), "disk.data"), wish.data) {
        (true, named) => data_disk::choose(node, system, named).map(Some),
        (false, None) => Ok(None),
        (false, Some(_)) => Err(Unplannable::NoData { name: node.name.to_string() }),
    }
}

/// Whether the node's installed system is whole, and may be what it runs now.
pub(crate) fn lives_on_disk(node: &Node) -> bool {
    node.has_system()
        && ["active", "booting", "enrolling", "draining", "rescue", "servicing", "returning"]
            .contains(&node.state.phase())
}

/// The system that a node runs, as something on its disk.
fn own_system(fleet: &Fleet, node: &Node) -> Holding {
    let image = node.installed.as_ref().and_then(|installed| fleet.images.get(&installed.image));
    let label = format!("{} of {}", image.map_or("system", |image| &image.name), node.name);
    Holding { kind: "rackwright".to_owned(), label, ..Holding::default() }
}

fn kind_of(node: &Node) -> Result<PlanKind, Unplannable> {
    if !node.state.is_settled() {
        return Err(Unplannable::State { name: node.name.to_string(), state: node.state.word() });
    }
    let is_new = node.installed.is_none() && node.state != State::Active;
    Ok(if is_new { PlanKind::Install } else { PlanKind::Rebuild })
}

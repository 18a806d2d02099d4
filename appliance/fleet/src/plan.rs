//! Plans: what may destroy data, frozen before anybody says yes.
//!
//! Ambiguity is a refusal, never a guess. A plan names one disk by WWN or serial, says what is on it, and holds only as
//! long as the disk is what the plan saw.

use std::collections::BTreeSet;
use std::fmt;

use pack::Digest;
use protocol::{Disk, DiskBus, DiskId, Expectation, Holding, JobId, NodeId, Target};
use serde::{Deserialize, Serialize};

use crate::data_disk::{self, DataDisk};
use crate::entropy::Entropy;
use crate::image::Image;
use crate::{Catalog, Fleet, Node, State, Time};

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

/// Why no plan can be made, or one can't be applied any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unplannable {
    /// Not in a state that allows it.
    #[error(
        "{name} is {state}: only a ready, planned or active node (or one that needs attention) can be planned"
    )]
    State {
        /// The node.
        name: String,
        /// Its state.
        state: &'static str,
    },
    /// Nothing to be.
    #[error("{name} has no role: say what it is for first (rackwright node role set {name} control)")]
    NoRole {
        /// The node.
        name: String,
    },
    /// No image has its roles.
    #[error("no image carries {roles}: import one that does (rackwright image import FILE)")]
    NoImage {
        /// What is needed.
        roles: String,
    },
    /// The image lacks roles.
    #[error("image {image} does not carry {roles}: choose another (rackwright image list)")]
    WrongImage {
        /// The image.
        image: String,
        /// What it lacks.
        roles: String,
    },
    /// No disk will do.
    #[error("no disk of {name} can take the image ({need} bytes): {}", .why.join("; "))]
    NoDisk {
        /// The node.
        name: String,
        /// Bytes.
        need: u64,
        /// Why not, disk by disk.
        why: Vec<String>,
    },
    /// Several would do.
    #[error("{name} has {} disks that fit: name one with --disk: {}", .disks.len(), .disks.join(", "))]
    Ambiguous {
        /// The node.
        name: String,
        /// Which.
        disks: Vec<String>,
    },
    /// The disk that was named will not do.
    #[error("disk {disk} of {name} can't be used: {why}")]
    WrongDisk {
        /// The node.
        name: String,
        /// The disk.
        disk: String,
        /// Why.
        why: String,
    },
    /// Another disk would be mounted in its place.
    #[error(
        "disk {twin} of {name} already carries a Rackwright system: two would be mistaken for each other at boot; \
         take it out, or erase it, or name it with --disk"
    )]
    Twin {
        /// The node.
        name: String,
        /// The other disk.
        twin: String,
    },
    /// A role keeps data, and there is no disk for it.
    #[error("the roles of {name} need a data disk beside the system disk: {}", or_none(.why))]
    NoDataDisk {
        /// The node.
        name: String,
        /// Why not, disk by disk.
        why: Vec<String>,
    },
    /// Several disks would do for the data.
    #[error("{name} has {} disks that can hold its data: name one with --data-disk: {}", .disks.len(), .disks.join(", "))]
    AmbiguousData {
        /// The node.
        name: String,
        /// Which.
        disks: Vec<String>,
    },
    /// The data disk that was named, or that it had, will not do.
    #[error("disk {disk} of {name} can't hold its data: {why}; another is named with --data-disk")]
    WrongDataDisk {
        /// The node.
        name: String,
        /// The disk.
        disk: String,
        /// Why.
        why: String,
    },
    /// A data disk was named for nothing.
    #[error("no role of {name} keeps data: plan without --data-disk")]
    NoData {
        /// The node.
        name: String,
    },
    /// The plan's time is over.
    #[error("plan {plan} can't be applied: {why}; make a new one (rackwright node plan {name})")]
    Stale {
        /// The plan.
        plan: String,
        /// The node.
        name: String,
        /// What changed.
        why: String,
    },
}

fn or_none(why: &[String]) -> String {
    if why.is_empty() { "it has no other disk".to_owned() } else { why.join("; ") }
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
    let image = choose_image(fleet, node, wish)?;
    let installed = node.installed.as_ref().map(|installed| &installed.disk);
    let wanted = wish.disk.or(installed.filter(|_| kind == PlanKind::Rebuild));
    let target = choose_disk(node, image, wanted)?;
    refuse_twin(node, target)?;
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
    let data = choose_data(catalog, node, wish, &id)?;
    let is_data = |other: &Disk| data.as_ref().is_some_and(|data| other.id().as_ref() == Some(&data.disk));
    let others = node.inventory.disks.iter().filter(|d| d.id().as_ref() != Some(&id) && !is_data(d));
    Ok(Plan {
        id: PlanId(format!("p-{:08x}", u32::from_be_bytes(dice.draw()))),
        node: node.id,
        kind,
        image: image.digest,
        image_name: image.name.clone(),
        target: Target { disk: id.clone(), model: target.model.clone(), bytes: target.bytes, expect },
        erases,
        serial: target.serial.clone(),
        keeps: others.map(kept).collect(),
        data,
        roles: wish.roles.cloned(),
        made: now,
        state: PlanState::Open,
    })
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
    node.installed.is_some() && ["active", "booting", "enrolling", "draining"].contains(&node.state.phase())
}

/// The system that a node runs, as something on its disk.
fn own_system(fleet: &Fleet, node: &Node) -> Holding {
    let image = node.installed.as_ref().and_then(|installed| fleet.images.get(&installed.image));
    let label = format!("{} of {}", image.map_or("system", |image| &image.name), node.name);
    Holding { kind: "rackwright".to_owned(), partition: 0, label, bytes: None }
}

fn kind_of(node: &Node) -> Result<PlanKind, Unplannable> {
    let refused = || Unplannable::State { name: node.name.to_string(), state: node.state.word() };
    match &node.state {
        State::Ready | State::Planned { .. } if node.installed.is_none() => Ok(PlanKind::Install),
        State::Ready | State::Planned { .. } | State::Active => Ok(PlanKind::Rebuild),
        State::Attention { .. } if node.installed.is_some() => Ok(PlanKind::Rebuild),
        State::Attention { .. } => Ok(PlanKind::Install),
        State::Discovered
        | State::Rejected { .. }
        | State::Inspecting
        | State::Imaging { .. }
        | State::Verifying { .. }
        | State::Booting { .. }
        | State::Enrolling { .. }
        | State::Draining { .. } => Err(refused()),
    }
}

fn choose_image<'a>(fleet: &'a Fleet, node: &Node, wish: Wish<'a>) -> Result<&'a Image, Unplannable> {
    let roles = wish.roles.unwrap_or(&node.roles);
    if roles.is_empty() {
        return Err(Unplannable::NoRole { name: node.name.to_string() });
    }
    let lacks = |image: &Image| roles.difference(&image.roles).cloned().collect::<Vec<_>>();
    if let Some(image) = wish.image {
        let missing = lacks(image);
        return if missing.is_empty() {
            Ok(image)
        } else {
            Err(Unplannable::WrongImage { image: image.name.clone(), roles: missing.join(", ") })
        };
    }
    // The one that carries least beside what is wanted; of equals the newest.
    let fits = fleet.images.values().filter(|image| lacks(image).is_empty());
    fits.min_by_key(|image| (image.roles.len(), std::cmp::Reverse(image.imported)))
        .ok_or_else(|| Unplannable::NoImage { roles: roles.iter().cloned().collect::<Vec<_>>().join(", ") })
}

fn choose_disk<'a>(node: &'a Node, image: &Image, named: Option<&DiskId>) -> Result<&'a Disk, Unplannable> {
    let disks = &node.inventory.disks;
    if let Some(named) = named {
        let mut same = disks.iter().filter(|disk| disk.id().as_ref() == Some(named));
        let missing = |why: &str| Unplannable::WrongDisk {
            name: node.name.to_string(),
            disk: named.to_string(),
            why: why.to_owned(),
        };
        let disk = same.next().ok_or_else(|| missing("it is not there"))?;
        if same.next().is_some() {
            return Err(missing("two disks call themselves so"));
        }
        return match unfit(disk, image) {
            None => Ok(disk),
            Some(why) => Err(missing(&why)),
        };
    }
    let automatic =
        |disk: &&Disk| unfit(disk, image).is_none() && !disk.removable && disk.bus != DiskBus::Usb;
    let fit = disks.iter().filter(automatic).collect::<Vec<_>>();
    match fit.as_slice() {
        [one] => Ok(one),
        [] => Err(Unplannable::NoDisk {
            name: node.name.to_string(),
            need: image.disk_bytes,
            why: disks.iter().map(|d| format!("{}: {}", title(d), unfit_or_unnamed(d, image))).collect(),
        }),
        several => Err(Unplannable::Ambiguous {
            name: node.name.to_string(),
            disks: several.iter().map(|disk| title(disk)).collect(),
        }),
    }
}

fn unfit(disk: &Disk, image: &Image) -> Option<String> {
    if disk.id().is_none() {
        Some("it has neither WWN nor serial, so it can't be told from another".to_owned())
    } else if disk.bytes < image.disk_bytes {
        Some(format!("it has {} bytes, the image needs {}", disk.bytes, image.disk_bytes))
    } else if disk.sector_bytes != 512 {
        Some(format!("its sectors have {} bytes, the image is made for 512", disk.sector_bytes))
    } else if disk.read_only {
        Some("it is read-only".to_owned())
    } else {
        None
    }
}

fn unfit_or_unnamed(disk: &Disk, image: &Image) -> String {
    unfit(disk, image).unwrap_or_else(|| "removable or USB: only by name, with --disk".to_owned())
}

/// An image copied to one disk while another still carries one of ours: which of the two is mounted is chance.
fn refuse_twin(node: &Node, target: &Disk) -> Result<(), Unplannable> {
    // Of a running node, the newest look at its disks is older than its system.
    let runs_on = node.installed.as_ref().filter(|_| lives_on_disk(node)).map(|installed| &installed.disk);
    let ours = |disk: &&Disk| {
        disk.holds.iter().any(|h| h.label == "rackwright-root")
            || (runs_on.is_some() && disk.id().as_ref() == runs_on)
    };
    match node.inventory.disks.iter().filter(|disk| disk.id() != target.id()).find(ours) {
        None => Ok(()),
        Some(twin) => Err(Unplannable::Twin { name: node.name.to_string(), twin: title(twin) }),
    }
}

fn wrong_disk(node: &Node, disk: &Disk, why: &str) -> Unplannable {
    Unplannable::WrongDisk { name: node.name.to_string(), disk: title(disk), why: why.to_owned() }
}

/// How a disk is called in a message: by what a person can type back.
pub(crate) fn title(disk: &Disk) -> String {
    disk.id().map_or_else(|| format!("{} without serial", disk.model), |id| id.to_string())
}

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
        Expectation::Content { .. } | Expectation::Own => Ok(()),
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

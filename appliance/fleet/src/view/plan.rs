//! Plans as people see them.

use protocol::Holding;
use serde::{Deserialize, Serialize};

use super::erasure::DoomedView;
use crate::data_disk::VOLUME_GROUP;
use crate::drain::{self, guests};
use crate::plan::{Kept, Plan, PlanKind, PlanState};
use crate::{Fleet, Node};

/// A plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Its id.
    pub id: String,
    /// The node's name.
    pub node: String,
    /// `install`, `rebuild`, or `retire`, which erases `disks` and puts nothing on them.
    pub kind: String,
    /// `open`, `applied`, `withdrawn`.
    pub state: String,
    /// The image's name.
    pub image: String,
    /// Its digest.
    pub image_digest: String,
    /// Bytes that will be written at most.
    pub image_bytes: u64,
    /// Roles the node will have.
    pub roles: Vec<String>,
    /// The disk that will be erased, by WWN or serial.
    pub disk: String,
    /// Its model.
    pub disk_model: String,
    /// Its serial number; may be empty.
    #[serde(default)]
    pub disk_serial: String,
    /// Its size in bytes.
    pub disk_bytes: u64,
    /// What is on it now.
    pub erases: Vec<Holding>,
    /// What of it is erased because it was named, as part of something bigger.
    #[serde(default)]
    pub erase: Vec<String>,
    /// `readback`, or `stream`: what is to prove that the disk holds the image.
    #[serde(default)]
    pub verify: String,
    /// Disks that are left alone: name, model, bytes.
    pub keeps: Vec<KeptView>,
    /// The disk that the roles keep their data on.
    #[serde(default)]
    pub data: Option<DataView>,
    /// RFC 3339.
    pub made: String,
    /// The job, once applied; or why it was withdrawn.
    pub note: Option<String>,
    /// While it is open: virtual machines that run on the node now and would be ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guests: Vec<String>,
    /// These are moved to other nodes before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub guests_leave: bool,
    /// With `retire`: the disks that are erased; `disk` then has their names, `disk_bytes` all their bytes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disks: Vec<DoomedView>,
}

/// A disk for data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataView {
    /// `wwn:…` or `serial:…`.
    pub disk: String,
    /// Model.
    pub model: String,
    /// Serial number; may be empty.
    pub serial: String,
    /// Size in bytes.
    pub bytes: u64,
    /// The volume group that it is, or will be made by the node.
    pub group: String,
    /// Whether it is that already, and kept.
    pub kept: bool,
}

/// A disk left alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeptView {
    /// `wwn:…`, `serial:…`, or `-`.
    pub disk: String,
    /// Model.
    pub model: String,
    /// Serial number; may be empty.
    #[serde(default)]
    pub serial: String,
    /// Size in bytes.
    pub bytes: u64,
}

impl KeptView {
    pub(super) fn of(kept: &Kept) -> Self {
        KeptView {
            disk: kept.disk.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            model: kept.model.clone(),
            serial: kept.serial.clone(),
            bytes: kept.bytes,
        }
    }
}

/// A plan's state in a word, and what there is to say of it.
pub(super) fn verdict(state: &PlanState) -> (&'static str, Option<String>) {
    match state {
        PlanState::Open => ("open", None),
        PlanState::Applied { job } => ("applied", Some(format!("job {job}"))),
        PlanState::Withdrawn { why } => ("withdrawn", Some(why.clone())),
    }
}

/// The virtual machines that applying a plan now would end.
pub(super) fn would_end(node: Option<&Node>, state: &PlanState) -> Vec<String> {
    node.filter(|_| *state == PlanState::Open).map(guests).unwrap_or_default()
}

/// Whether those are moved to other nodes before.
pub(super) fn would_leave(node: Option<&Node>, state: &PlanState) -> bool {
    *state == PlanState::Open && node.is_some_and(|node| drain::moving(node).is_some())
}

/// A plan.
pub fn plan_view(fleet: &Fleet, plan: &Plan) -> PlanView {
    let node = fleet.nodes.get(&plan.node);
    let (state, note) = verdict(&plan.state);
    PlanView {
        id: plan.id.to_string(),
        node: node.map_or_else(|| plan.node.short(), |node| node.name.to_string()),
        kind: match plan.kind {
            PlanKind::Install => "install",
            PlanKind::Rebuild => "rebuild",
        }
        .to_owned(),
        state: state.to_owned(),
        image: plan.image_name.clone(),
        image_digest: plan.image.to_string(),
        image_bytes: fleet.images.get(&plan.image).map_or(0, |image| image.content_bytes),
        roles: plan
            .roles
            .as_ref()
            .or(node.map(|node| &node.roles))
            .map(|roles| roles.iter().cloned().collect())
            .unwrap_or_default(),
        disk: plan.target.disk.to_string(),
        disk_model: plan.target.model.clone(),
        disk_serial: plan.serial.clone(),
        disk_bytes: plan.target.bytes,
        erases: plan.erases.clone(),
        erase: plan.erase.iter().map(ToString::to_string).collect(),
        verify: plan.verify.word().to_owned(),
        keeps: plan.keeps.iter().map(KeptView::of).collect(),
        data: plan.data.as_ref().map(|data| DataView {
            disk: data.disk.to_string(),
            model: data.model.clone(),
            serial: data.serial.clone(),
            bytes: data.bytes,
            group: VOLUME_GROUP.to_owned(),
            kept: data.kept,
        }),
        made: plan.made.to_string(),
        note,
        guests: would_end(node, &plan.state),
        guests_leave: would_leave(node, &plan.state),
        disks: Vec::new(),
    }
}

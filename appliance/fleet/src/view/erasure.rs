//! Erased disks as people see them: plans to erase, and what proves that it was done.

use protocol::Holding;
use serde::{Deserialize, Serialize};

use super::plan::{KeptView, PlanView, verdict, would_end, would_leave};
use crate::Fleet;
use crate::job::JobState;
use crate::plan::PlanState;
use crate::retire::{Erased, Retirement};

/// A disk that a plan erases.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoomedView {
    /// `wwn:…` or `serial:…`.
    pub disk: String,
    /// Model.
    pub model: String,
    /// Serial number; may be empty.
    pub serial: String,
    /// Size in bytes.
    pub bytes: u64,
    /// What the plan saw on it.
    pub holds: Vec<Holding>,
    /// The node's own system or data is on it, which has changed since somebody looked.
    pub own: bool,
}

/// One disk of a retirement that was applied: its certificate, or that there is none.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErasureRow {
    /// The node's name when the plan was made.
    pub node: String,
    /// The node's id.
    pub node_id: String,
    /// `wwn:…` or `serial:…`.
    pub disk: String,
    /// Model.
    pub model: String,
    /// Serial number; may be empty.
    pub serial: String,
    /// Size in bytes.
    pub bytes: u64,
    /// The plan.
    pub plan: String,
    /// The job.
    pub job: String,
    /// `proven`; `waiting`, `running`; `failed`: it is not erased, or nobody knows.
    pub state: String,
    /// Why there is no certificate.
    pub why: Option<String>,
    /// The certificate.
    pub certificate: Option<CertificateView>,
}

/// What proves that a disk was erased; its signature was right when it arrived.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CertificateView {
    /// When it arrived, RFC 3339.
    pub at: String,
    /// `nvme-sanitize-crypto`, `nvme-sanitize-block`, `nvme-format-crypto`, `nvme-format-erase`, `overwrite`.
    pub method: String,
    /// `purge` or `clear`, as NIST SP 800-88 has them.
    pub level: String,
    /// What the drive's firmware said.
    pub firmware: String,
    /// Bytes written over.
    pub written_bytes: u64,
    /// Blocks that lay there before and were gone.
    pub canaries: u64,
    /// Places that were read back.
    pub samples: u64,
    /// Bytes of them.
    pub sampled_bytes: u64,
    /// Wall time.
    pub milliseconds: u64,
    /// The key that signed, the node's at that time.
    pub signed_by: String,
    /// The signature, Ed25519.
    pub signature: String,
    /// The very text that was signed.
    pub statement: String,
}

/// A plan to erase, as other plans are shown.
pub fn retirement_view(fleet: &Fleet, row: &Retirement) -> PlanView {
    let node = fleet.nodes.get(&row.node);
    let (state, note) = verdict(&row.verdict);
    let doomed = row.disks.iter().map(|Erased { doomed, holds, .. }| DoomedView {
        disk: doomed.disk.disk.to_string(),
        model: doomed.disk.model.clone(),
        serial: doomed.disk.serial.clone(),
        bytes: doomed.disk.bytes,
        holds: holds.clone(),
        own: doomed.own,
    });
    let disks = doomed.collect::<Vec<_>>();
    PlanView {
        id: row.plan.to_string(),
        node: node.map_or(&row.name, |node| &node.name).to_string(),
        kind: "retire".to_owned(),
        state: state.to_owned(),
        image: String::new(),
        image_digest: String::new(),
        image_bytes: 0,
        roles: Vec::new(),
        disk: disks.iter().map(|disk| disk.disk.as_str()).collect::<Vec<_>>().join(", "),
        disk_model: String::new(),
        disk_serial: String::new(),
        disk_bytes: disks.iter().map(|disk| disk.bytes).sum(),
        erases: Vec::new(),
        erase: Vec::new(),
        verify: String::new(),
        keeps: row.keeps.iter().map(KeptView::of).collect(),
        data: None,
        made: row.made.to_string(),
        note,
        guests: would_end(node, &row.verdict),
        guests_leave: would_leave(node, &row.verdict),
        disks,
    }
}

/// Every disk of every retirement that was applied, oldest first; of one node, or one disk, when it is named.
pub fn erasure_rows(fleet: &Fleet, wanted: Option<&str>) -> Vec<ErasureRow> {
    let applied = fleet.retirements.values().filter(|row| matches!(row.verdict, PlanState::Applied { .. }));
    let mut applied = applied.collect::<Vec<_>>();
    applied.sort_by_key(|row| row.made);
    let rows = applied.into_iter().flat_map(|row| row.disks.iter().map(|disk| erasure_row(fleet, row, disk)));
    let is_wanted = |row: &ErasureRow| {
        wanted.is_none_or(|wanted| {
            let serial = wanted.strip_prefix("serial:").unwrap_or(wanted);
            row.node == wanted || row.node_id == wanted || row.disk == wanted || row.serial == serial
        })
    };
    rows.filter(is_wanted).collect()
}

fn erasure_row(fleet: &Fleet, row: &Retirement, disk: &Erased) -> ErasureRow {
    let subject = &disk.doomed.disk;
    let why = match &row.state {
        JobState::Failed { why } => Some(why.clone()),
        JobState::Waiting | JobState::Running | JobState::Verified | JobState::Done => None,
    };
    let certificate = disk.proof.as_ref().map(|(at, erasure)| CertificateView {
        at: at.to_string(),
        method: erasure.method.word().to_owned(),
        level: erasure.method.level().to_owned(),
        firmware: erasure.firmware.clone(),
        written_bytes: erasure.written_bytes,
        canaries: erasure.canaries,
        samples: erasure.samples,
        sampled_bytes: erasure.sampled_bytes,
        milliseconds: erasure.milliseconds,
        signed_by: erasure.key.to_string(),
        signature: erasure.signature.to_string(),
        statement: erasure.statement(&row.node),
    });
    ErasureRow {
        node: fleet.nodes.get(&row.node).map_or(&row.name, |node| &node.name).to_string(),
        node_id: row.node.to_string(),
        disk: subject.disk.to_string(),
        model: subject.model.clone(),
        serial: subject.serial.clone(),
        bytes: subject.bytes,
        plan: row.plan.to_string(),
        job: row.id.to_string(),
        state: if certificate.is_some() { "proven" } else { row.state.word() }.to_owned(),
        why: why.filter(|_| certificate.is_none()),
        certificate,
    }
}

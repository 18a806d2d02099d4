//! The receipt of an installed node: that its disk holds its image.

use serde::{Deserialize, Serialize};

use crate::{Fleet, Node};

/// What is proven of a disk, and who says so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReceiptView {
    /// The job.
    pub job: String,
    /// When it was handed in, RFC 3339.
    pub at: String,
    /// The image's digest.
    pub image: String,
    /// The disk, as the plan named it.
    pub disk: String,
    /// Bytes of the image on the disk.
    pub total_bytes: u64,
    /// Of these, written in the job's last boot.
    pub written_bytes: u64,
    /// Of these, found right and left alone.
    pub same_bytes: u64,
    /// Compressed bytes fetched.
    pub fetched_bytes: u64,
    /// Wall time of the job's last boot.
    pub milliseconds: u64,
    /// `readback`: all of it was read from the disk again; `stream`: the disk says that it is durable.
    #[serde(default)]
    pub verify: String,
    /// The node's proof; none from an agent that is older than proofs.
    pub proof: Option<ProofView>,
}

/// A proof whose signature was right when it arrived.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProofView {
    /// The Merkle root over what was read; with `stream`, over what was given to the disk.
    pub root: String,
    /// The disk's serial number, as the node read it.
    pub serial: String,
    /// Its WWN.
    pub wwn: String,
    /// Bytes that no power cut takes.
    pub durable_bytes: u64,
    /// The key that signed, the node's at that time.
    pub signed_by: String,
    /// The signature.
    pub signature: String,
    /// The very text that was signed.
    pub statement: String,
}

/// The receipt of what is installed; none when it was lost, or its job is forgotten.
pub(super) fn receipt(fleet: &Fleet, node: &Node) -> Option<ReceiptView> {
    let installed = node.installed.as_ref()?;
    let receipt = fleet.jobs.get(&installed.job)?.receipt.as_ref()?;
    let proof = receipt.proof.as_ref().map(|proof| ProofView {
        root: proof.root.to_string(),
        serial: proof.serial.clone(),
        wwn: proof.wwn.clone(),
        durable_bytes: proof.durable_bytes,
        signed_by: proof.key.to_string(),
        signature: proof.signature.to_string(),
        statement: receipt.statement(&node.id).unwrap_or_default(),
    });
    Some(ReceiptView {
        job: receipt.job.to_string(),
        at: installed.at.to_string(),
        image: receipt.image.to_string(),
        disk: receipt.disk.to_string(),
        total_bytes: receipt.total_bytes,
        written_bytes: receipt.written_bytes,
        same_bytes: receipt.same_bytes,
        fetched_bytes: receipt.fetched_bytes,
        milliseconds: receipt.milliseconds,
        verify: receipt.verify.word().to_owned(),
        proof,
    })
}

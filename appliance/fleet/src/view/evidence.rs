//! What speaks for a node's being the server that it is taken for, as people and scripts see it.

use serde::{Deserialize, Serialize};

use crate::{Node, State};

/// Why a node is believed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EvidenceView {
    /// SHA-256 of its TPM's endorsement key, proven; none: no TPM has spoken for it.
    pub tpm: Option<String>,
    /// When that was proven last, RFC 3339.
    pub proven: Option<String>,
    /// Why there is no such proof.
    pub lacks: Option<String>,
}

/// One word: `tpm` where a TPM spoke for the key and a person compared the code, `expected` where a TPM that is expected was
/// enough, `code` where a person compared the code alone, `none` while nobody has.
pub(super) fn word(node: &Node) -> &'static str {
    let waits = node.claim.as_ref().filter(|_| matches!(node.state, State::Discovered));
    let proven = waits.map_or(node.tpm.ek, |claim| claim.tpm.ek);
    match proven {
        Some(_) if node.tpm.expected => "expected",
        Some(_) => "tpm",
        None if node.is_let_in() => "code",
        None => "none",
    }
}

pub(super) fn evidence(node: &Node) -> EvidenceView {
    let waits = node.claim.as_ref().filter(|_| matches!(node.state, State::Discovered));
    let (ek, lacks) = waits.map_or((node.tpm.ek, &node.tpm.lacks), |claim| (claim.tpm.ek, &claim.tpm.lacks));
    EvidenceView {
        tpm: ek.map(|ek| ek.to_string()),
        proven: node.tpm.proven.filter(|_| ek.is_some()).map(|at| at.to_string()),
        lacks: lacks.clone().filter(|_| ek.is_none()),
    }
}

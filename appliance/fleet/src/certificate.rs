//! Certificates the controller has issued, by fingerprint. A certificate that is not in this table is nobody's.

use std::fmt;

use protocol::{Key, NodeId};
use serde::{Deserialize, Serialize};

use crate::running::written_with;
use crate::{Fleet, Node, State, Time, burn_in, retire};

/// What a certificate lets its holder do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The ramdisk: take this node's job, once enrol what it installed.
    Deploy,
    /// The installed node: its state document, its reports.
    Run,
}

impl Stage {
    /// How long a certificate of this stage lives, in seconds: four hours, thirty days.
    pub fn seconds(self) -> u64 {
        match self {
            Stage::Deploy => 4 * 3600,
            Stage::Run => 30 * 86_400,
        }
    }
}

/// How much of a deploy certificate's life must be left when a job begins, in seconds: the seed carries it, and the
/// first boot enrols with it after the whole image was written and read back.
pub const LEFT_FOR_A_JOB: u64 = 3 * 3600;

/// A certificate to be issued: the shell signs it, records it and only then hands it out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// For whom.
    pub node: NodeId,
    /// The key it binds.
    pub key: Key,
    /// What it allows.
    pub stage: Stage,
    /// The node's generation: a later one revokes it.
    pub generation: u64,
    /// When it ends.
    pub until: Time,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-256 of its DER, lower-case hexadecimal.
    pub fingerprint: String,
    /// Whose it is.
    pub node: NodeId,
    /// The key it binds.
    pub key: Key,
    /// What it allows.
    pub stage: Stage,
    /// The node's generation when it was issued.
    pub generation: u64,
    /// When it ends.
    pub until: Time,
}

/// Why a certificate opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthorised {
    /// The connection showed none.
    #[error("this call needs a client certificate; the connection showed none")]
    NoCertificate,
    /// Not in the table.
    #[error("this certificate was not issued by this controller")]
    Unknown,
    /// Its node is gone.
    #[error("this certificate's node was deleted")]
    NoNode,
    /// A newer generation exists.
    #[error("this certificate was revoked: the node has enrolled again since")]
    Revoked,
    /// Its time is over.
    #[error("this certificate has expired")]
    Expired,
    /// Another stage's call.
    #[error("this call is for the other stage: {0} is needed")]
    WrongStage(Stage),
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Deploy => "deploy",
            Stage::Run => "run",
        })
    }
}

/// A node whose certificate was checked in this request. There is no other way to make one, so no call can act for a
/// node that is merely named in its body.
#[derive(Clone, Debug)]
pub struct Authed {
    /// Who asks.
    pub node: NodeId,
    /// With which certificate.
    pub certificate: Certificate,
}

/// Who holds this certificate, if it opens calls of `stage`.
///
/// # Errors
/// [`Unauthorised`], with the reason.
pub fn authorise(
    fleet: &Fleet,
    fingerprint: Option<&str>,
    stage: Stage,
    now: Time,
) -> Result<Authed, Unauthorised> {
    let fingerprint = fingerprint.ok_or(Unauthorised::NoCertificate)?;
    let certificate = fleet.certificates.get(fingerprint).ok_or(Unauthorised::Unknown)?;
    let node: &Node = fleet.nodes.get(&certificate.node).ok_or(Unauthorised::NoNode)?;
    // Of a node that is captured the generation stays when its ramdisk has another key.
    let other_key = || node.deploy.is_none_or(|deploy| deploy.key != certificate.key);
    if certificate.generation != node.generation || (certificate.stage == Stage::Deploy && other_key()) {
        return Err(Unauthorised::Revoked);
    }
    if certificate.until < now {
        return Err(Unauthorised::Expired);
    }
    if certificate.stage != stage {
        return Err(Unauthorised::WrongStage(stage));
    }
    Ok(Authed { node: node.id, certificate: certificate.clone() })
}

/// Who may enrol: the holder of a run certificate, to renew it, and the holder of the deploy certificate that the node
/// was installed with. The latter may have ended meanwhile: a verified node can be switched off for a day before its
/// first boot, and has no other way in.
///
/// # Errors
/// [`Unauthorised`], with the reason.
pub fn authorise_enrolment(
    fleet: &Fleet,
    fingerprint: Option<&str>,
    now: Time,
) -> Result<Authed, Unauthorised> {
    let row = fingerprint.and_then(|print| fleet.certificates.get(print));
    let stage = row.map_or(Stage::Deploy, |row| row.stage);
    match (authorise(fleet, fingerprint, stage, now), row) {
        (Err(Unauthorised::Expired), Some(row)) if is_awaited(fleet, row) => {
            Ok(Authed { node: row.node, certificate: row.clone() })
        }
        (other, _) => other,
    }
}

/// Who may tell how far an erasing or a test is, and hand in its proofs: the holder of a deploy certificate, and while its node's
/// disks are erased or it is tested also of one that has ended. A large disk is written over for a day, a test may take a week, and an agent that is refused meanwhile stops, comes
/// back with another certificate and begins every disk again that is not proven. What is revoked stays so.
///
/// # Errors
/// [`Unauthorised`], with the reason.
pub fn authorise_erasing(
    fleet: &Fleet,
    fingerprint: Option<&str>,
    now: Time,
) -> Result<Authed, Unauthorised> {
    let row = fingerprint.and_then(|print| fleet.certificates.get(print));
    match (authorise(fleet, fingerprint, Stage::Deploy, now), row) {
        (Err(Unauthorised::Expired), Some(row)) if is_erasing(fleet, row) => {
            Ok(Authed { node: row.node, certificate: row.clone() })
        }
        (other, _) => other,
    }
}

/// Whether a node's disks are being erased, or its hardware tested, by the ramdisk that has this certificate.
pub(crate) fn is_erasing(fleet: &Fleet, certificate: &Certificate) -> bool {
    certificate.stage == Stage::Deploy
        && fleet.nodes.get(&certificate.node).is_some_and(|node| {
            node.generation == certificate.generation
                && node.deploy.is_some_and(|deploy| deploy.key == certificate.key)
                && (retire::in_flight(fleet, node).is_some_and(|row| row.started.is_some())
                    || burn_in::in_flight(fleet, node).is_some_and(|row| row.started.is_some()))
        })
}

/// Whether the first boot of a node is still to enrol, or to hear that it has, with this certificate.
pub(crate) fn is_awaited(fleet: &Fleet, certificate: &Certificate) -> bool {
    certificate.stage == Stage::Deploy
        && fleet.nodes.get(&certificate.node).is_some_and(|node| {
            node.generation == certificate.generation
                && (["booting", "enrolling"].contains(&node.state.phase())
                    || (!matches!(node.state, State::Imaging { .. })
                        && written_with(fleet, node, &certificate.fingerprint).is_some()))
        })
}

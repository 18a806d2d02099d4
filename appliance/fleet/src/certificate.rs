//! Certificates the controller has issued, by fingerprint. A certificate that is not in this table is nobody's.

use std::fmt;

use protocol::{CaPin, Key, NodeId};
use serde::{Deserialize, Serialize};

use crate::entropy::Entropy;
use crate::running::written_with;
use crate::{Fleet, Name, Node, State, Time, attendance, burn_in, clock, retire, returning};

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
    /// How long a certificate of this stage lives, in seconds: four hours, a day.
    pub fn seconds(self) -> u64 {
        match self {
            Stage::Deploy => 4 * 3600,
            Stage::Run => 86_400,
        }
    }
}

/// For so long after its end a certificate of stage *run* is still good for a new one, in seconds: a server that was switched off
/// comes back by itself. Time in which the controller was away does not count ([`crate::attendance`]).
pub const LATE_SECONDS: u64 = 30 * 86_400;
/// So many certificates of one installed system are known at the most: those that it may still hold when answers were lost.
const KNOWN_OF_ONE: usize = 8;

/// When to ask for the next certificate of stage *run*, in seconds after this one was issued: at 50 to 66 % of its life, so that a
/// rack that was installed together does not ask together for ever, and eight hours are left to ask again in.
fn renewal_seconds(dice: &mut Entropy) -> u64 {
    let life = Stage::Run.seconds();
    life / 2 + u64::from(u32::from_be_bytes(dice.draw())) % (life * 16 / 100 + 1)
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
    /// In how many seconds its holder shall ask for the next one.
    pub renew_seconds: u64,
    /// As [`Certificate::number`].
    pub number: u64,
}

impl Grant {
    /// For a ramdisk. It says hello again when this one has ended.
    pub(crate) fn deploy(node: &Node, key: Key, now: Time) -> Self {
        let seconds = Stage::Deploy.seconds();
        let (node, generation, until) = (node.id, node.generation, now.plus_seconds(seconds));
        Self { node, key, stage: Stage::Deploy, generation, until, renew_seconds: seconds, number: 0 }
    }

    /// For the installed system of a node whose certificates were counted up.
    pub(crate) fn run(node: &Node, key: Key, now: Time, dice: &mut Entropy) -> Self {
        Self {
            node: node.id,
            key,
            stage: Stage::Run,
            generation: node.generation,
            until: now.plus_seconds(Stage::Run.seconds()),
            renew_seconds: renewal_seconds(dice),
            number: node.certificates,
        }
    }
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
    /// Of stage *run*: how many the node was given before, and this one. The order in which they were issued, whatever the clock
    /// did meanwhile.
    #[serde(default)]
    pub number: u64,
    /// The site CA that signed it; none in rows of before it was written down.
    #[serde(default)]
    pub ca: Option<CaPin>,
}

/// Why a certificate opens nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
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
    /// Too long ago for a new one.
    #[error(
        "this certificate has expired {days} days ago, and is good for a new one for {} days: when this is the server that it \
         was, the operator lets it have one with: rackwright node retry {name}", LATE_SECONDS / 86_400
    )]
    TooLate {
        /// The node's name.
        name: Name,
        /// How many days ago, those apart in which the controller was away.
        days: u64,
    },
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
    if certificate.until < clock::judged(fleet, now) {
        return Err(Unauthorised::Expired);
    }
    if certificate.stage != stage {
        return Err(Unauthorised::WrongStage(stage));
    }
    Ok(Authed { node: node.id, certificate: certificate.clone() })
}

/// Who may enrol: the holder of a run certificate, to renew it, also for a while after its end; and the holder of the deploy
/// certificate that the node was installed with. The latter may have ended meanwhile: a verified node can be switched off for a day
/// before its first boot, and has no other way in.
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
        (Err(Unauthorised::Expired), Some(row)) if is_standing(fleet, row) => late(fleet, row, now),
        (other, _) => other,
    }
}

/// Who may enrol with a certificate that this site's CA signed and that is in no table: whoever has the key of an installed system.
/// After a restore the table is as old as the backup, and every certificate that was renewed since is in none.
///
/// # Errors
/// [`Unauthorised::Unknown`]: no installed system has this key. [`Unauthorised::TooLate`].
pub fn authorise_unlisted(
    fleet: &Fleet,
    fingerprint: &str,
    key: Key,
    until: Time,
    now: Time,
) -> Result<Authed, Unauthorised> {
    let node = fleet.nodes.values().find(|node| node.run == Some(key) && node.is_let_in());
    let node = node.ok_or(Unauthorised::Unknown)?;
    let (id, generation, stage) = (node.id, node.generation, Stage::Run);
    let row = Certificate {
        fingerprint: fingerprint.to_owned(),
        node: id,
        key,
        stage,
        generation,
        until,
        number: 0,
        ca: None,
    };
    late(fleet, &row, now)
}

/// A certificate of an installed system, if it did not end too long ago, or an operator has said that it may be renewed.
fn late(fleet: &Fleet, row: &Certificate, now: Time) -> Result<Authed, Unauthorised> {
    let node = fleet.nodes.get(&row.node).ok_or(Unauthorised::NoNode)?;
    let seconds = attendance::seconds_since(fleet, row.until, clock::judged(fleet, now));
    if seconds > LATE_SECONDS && !node.lapsed.is_some_and(|lapsed| lapsed.pardoned) {
        return Err(Unauthorised::TooLate { name: node.name.clone(), days: seconds / 86_400 });
    }
    Ok(Authed { node: row.node, certificate: row.clone() })
}

/// Whether the installed system of a node may hold this certificate: it is good for a new one, so no clock makes it forgotten.
pub(crate) fn is_standing(fleet: &Fleet, certificate: &Certificate) -> bool {
    certificate.stage == Stage::Run
        && fleet.nodes.get(&certificate.node).is_some_and(|node| {
            node.generation == certificate.generation && node.run == Some(certificate.key)
        })
}

/// The certificates that an installed system can't hold any more when it asks with this one for the next: those before it, and of
/// many that were asked for with the same one all but the last.
pub(crate) fn superseded<'a>(fleet: &'a Fleet, node: &Node, shown: &str) -> Vec<&'a Certificate> {
    let Some(shown) = fleet.certificates.get(shown).filter(|shown| shown.stage == Stage::Run) else {
        return Vec::new();
    };
    let own = fleet.certificates.values().filter(|row| (row.node, row.stage) == (node.id, Stage::Run));
    let mut others = own.filter(|row| row.fingerprint != shown.fingerprint).collect::<Vec<_>>();
    others.sort_by_key(|row| std::cmp::Reverse(row.number));
    let is_kept = |(at, row): &(usize, &Certificate)| {
        *at + 2 < KNOWN_OF_ONE && row.number >= shown.number && row.generation == node.generation
    };
    others.into_iter().enumerate().filter(|row| !is_kept(row)).map(|(_, row)| row).collect()
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
                    || returning::awaited(fleet, node).is_some()
                    || (!matches!(node.state, State::Imaging { .. })
                        && written_with(fleet, node, &certificate.fingerprint).is_some()))
        })
}

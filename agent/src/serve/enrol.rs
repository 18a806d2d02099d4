//! From the seed that the ramdisk left to a certificate of our own. Every step can be repeated after a power cut:
//! who this node is and by which seed is kept first, the key before it is shown, the certificate last, and the seed is wiped
//! when nothing needs it any more.
//!
//! An image of a disk may have brought along what another node kept, or this one before it was restored: a complete seed of
//! another job than the kept one means that the disk was written since, and all of that is forgotten. So a seed that can't be
//! read is waited for, for a while, even by a node that knows who it is.

use std::path::Path;
use std::time::{Duration, Instant};

use protocol::{Enrol, Enrolled, NodeId, Seed, enrol_proof, routes};
use units::{Active, Systemd, UnitName};

use super::adoption::{self, AdoptionError, Pending, Stage, Verdicted};
use super::folder::{Folder, FolderError, Identity};
use super::options::Options;
use super::seed::PartitionError;
use super::voice::{self, Nag};
use super::{host_keys, seed};
use crate::chain::Chain;
use crate::clock;
use crate::controller::{CallError, Controller, Dates, Line, TlsError};
use crate::keys::{KeyError, KeyPair};

/// How long an answer may take; a certificate is quickly made, a loaded controller is slow to begin.
const DEADLINE: Duration = Duration::from_secs(30);
/// Between two looks at a seed that is not there yet.
const LOOK: Duration = Duration::from_secs(1);
/// For how long a node that knows who it is waits for a seed that can't be read: it could say otherwise.
const SETTLING: Duration = Duration::from_secs(30);
/// This long after a boot an earlier start of the agent has waited, and the disk was not written since.
const BOOTED_SECONDS: u32 = 600;
/// After a final no: an operator may change the controller's mind.
const PATIENCE: Duration = Duration::from_secs(15);

/// A node that is one.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) identity: Identity,
    pub(super) key: KeyPair,
    pub(super) controller: Controller,
}

/// Why an attempt did not succeed; every attempt is repeated.
#[derive(Debug, thiserror::Error)]
enum AttemptError {
    #[error(transparent)]
    Seed(#[from] PartitionError),
    #[error("the seed is not complete: the ramdisk has not read the image back")]
    Incomplete,
    #[error("waiting for the seed: who this node was may have come with an image")]
    Unread(#[source] PartitionError),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("enrolling")]
    Call(#[from] CallError),
    #[error("the controller enrolled node {}, this is {}", .got.short(), .ours.short())]
    OtherNode { got: NodeId, ours: NodeId },
    #[error("putting the identity back")]
    HostKeys(#[from] host_keys::HostKeyError),
    #[error("asking to be adopted")]
    Adoption(#[from] AdoptionError),
}

/// This node with its certificate: the one it has, or a new one as soon as there are seed and controller. `None` when it asked to
/// be adopted, and is not wanted.
pub(super) async fn enrolled(
    options: &Options,
    folder: &Folder,
    systemd: &Systemd,
) -> Result<Option<Standing>, FolderError> {
    let mut nag = Nag::default();
    let (begun, uptime_seconds) = (Instant::now(), clock::uptime_seconds(&options.root));
    loop {
        let unread = Unread::after(begun.elapsed(), uptime_seconds);
        let attempt = match settled(options, folder, unread) {
            Ok(Some(standing)) => {
                if standing.identity.adopted {
                    folder.forget_adoption()?;
                } else {
                    wipe(options, &standing.identity);
                }
                return Ok(Some(standing));
            }
            Ok(None) => match folder.pending()? {
                Some(pending) => adopted(options, folder, systemd, &pending).await,
                None => attempt(options, folder, systemd).await.map(|()| Asked::LetIn),
            },
            Err(error) => Err(error),
        };
        match attempt {
            Ok(Asked::LetIn) => voice::milestone("enrolled"),
            Ok(Asked::Unwanted) => return Ok(None),
            Err(error) => {
                nag.say(&Chain(&error).to_string());
                let refused = matches!(&error, AttemptError::Call(call) if call.is_refusal());
                tokio::time::sleep(if refused { PATIENCE } else { LOOK }).await;
            }
        }
    }
}

/// What came of asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    LetIn,
    Unwanted,
}

/// A system that was there before asks to be a node, and enrols with what it is given. Nothing of it is taken for another's: there is
/// no image that could have brought that along.
async fn adopted(
    options: &Options,
    folder: &Folder,
    systemd: &Systemd,
    pending: &Pending,
) -> Result<Asked, AttemptError> {
    let (node, name, ca, deploy_key, certificate) = match adoption::verdict(options, folder, pending).await? {
        Verdicted::Refused(why) => {
            adoption::give_up(options, folder, systemd, &why).await?;
            return Ok(Asked::Unwanted);
        }
        Verdicted::Admitted { node, name, ca, key, certificate } => (node, name, ca, key, certificate),
    };
    let controller = pending.controller;
    let identity = Identity { node, name, controller, ca, job: None, adopted: true, renew_ms: 0 };
    let name = enrol(options, folder, systemd, identity, (&deploy_key, &certificate)).await?;
    folder.forget_adoption()?;
    adoption::tell(&options.root, &Stage::Enrolled { name });
    Ok(Asked::LetIn)
}

/// What a node that knows who it is does about a seed that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unread {
    /// Its disk may still be on its way.
    Waits,
    /// It has waited: a disk that fails takes nothing away from what there is.
    GoesOn,
}

impl Unread {
    /// For an agent that runs for so long, and began so many seconds after the kernel.
    fn after(running: Duration, uptime_seconds: u32) -> Self {
        if running < SETTLING && uptime_seconds < BOOTED_SECONDS { Self::Waits } else { Self::GoesOn }
    }
}

/// What an earlier enrolment left, when all of it is there and the disk was not written since.
fn settled(options: &Options, folder: &Folder, unread: Unread) -> Result<Option<Standing>, AttemptError> {
    let error = match left(options) {
        Ok(seed) => {
            forget(&options.root, folder, &seed)?;
            return standing(folder);
        }
        // It was read, and there is none: it was wiped, or never left.
        Err(PartitionError::Seed(_)) => return standing(folder),
        Err(error) => error,
    };
    let standing = standing(folder)?;
    // Its disk has no place for a seed, unless it was written since.
    if standing.as_ref().is_some_and(|standing| standing.identity.adopted) {
        return Ok(standing);
    }
    match (unread, &standing) {
        (Unread::Waits, Some(_)) => return Err(AttemptError::Unread(error)),
        (Unread::GoesOn, Some(Standing { identity, .. })) => {
            let why = Chain(&error);
            voice::say(&format!("going on as node {} without the seed: {why}", identity.node.short()));
        }
        (Unread::Waits | Unread::GoesOn, None) => {}
    }
    Ok(standing)
}

/// Forgets what an image brought along, if this seed says that there is such. `true` when it did.
///
/// Who the node is goes last, in the same step in which the new one comes: until then the next start does all of this again.
/// The order of the rest does not matter.
fn forget(root: &Path, folder: &Folder, seed: &Seed) -> Result<bool, AttemptError> {
    let kept = folder.identity()?;
    if !seed.complete || kept.as_ref().is_some_and(|kept| is_by(kept, seed)) {
        return Ok(false);
    }
    let was_used = folder.is_used()?;
    // Nobody says whose the host keys are when what is kept does not say whose it is.
    if kept.as_ref().map_or(was_used, |kept| kept.node != seed.node) {
        host_keys::remove(root)?;
    }
    folder.forget()?;
    folder.keep_identity(&Identity {
        node: seed.node,
        name: seed.name.clone(),
        controller: seed.controller,
        ca: seed.ca,
        job: seed.job,
        adopted: false,
        renew_ms: 0,
    })?;
    if was_used {
        voice::say("the disk was written since: what it brought along is forgotten");
    }
    Ok(true)
}

/// What an earlier enrolment left, when all of it is there.
fn standing(folder: &Folder) -> Result<Option<Standing>, AttemptError> {
    let (Some(identity), Some(key), Some(certificate)) =
        (folder.identity()?, folder.key()?, folder.certificate()?)
    else {
        return Ok(None);
    };
    let key = KeyPair::from_pkcs8(&key)?;
    let controller = controller(&identity, &certificate, &key)?;
    Ok(Some(Standing { identity, key, controller }))
}

/// The controller, called with this certificate.
pub(super) fn controller(
    identity: &Identity,
    certificate: &str,
    key: &KeyPair,
) -> Result<Controller, TlsError> {
    let client = crate::controller::Identity::new(certificate, key)?;
    // The clock of a node with an empty battery is right only after chrony has run, and chrony's configuration comes
    // from the controller: the pinned CA and the address decide, the dates do not.
    Controller::new(identity.controller, identity.ca, Dates::Lenient, Some(client))
}

async fn attempt(options: &Options, folder: &Folder, systemd: &Systemd) -> Result<(), AttemptError> {
    let seed = left(options)?;
    if !seed.complete {
        return Err(AttemptError::Incomplete);
    }
    // The seed may be younger than the last look at it.
    forget(&options.root, folder, &seed)?;
    let deploy_key = KeyPair::from_base64(&seed.key)?;
    let identity = Identity {
        node: seed.node,
        name: seed.name.clone(),
        controller: seed.controller,
        ca: seed.ca,
        job: seed.job,
        adopted: false,
        renew_ms: 0,
    };
    enrol(options, folder, systemd, identity, (&deploy_key, &seed.certificate)).await.map(drop)
}

/// Enrols by this certificate; what the node is called.
async fn enrol(
    options: &Options,
    folder: &Folder,
    systemd: &Systemd,
    mut identity: Identity,
    (deploy_key, certificate): (&KeyPair, &str),
) -> Result<String, AttemptError> {
    let key = own_key(folder)?;
    let mut line = Line::new(controller(&identity, certificate, deploy_key)?);
    let enrolled = ask(&mut line, &identity, &key, options).await?;
    identity.name.clone_from(&enrolled.name);
    identity.renew_ms = enrolled.renew_ms;
    folder.keep_identity(&identity)?;
    let mut line = Line::new(controller(&identity, &enrolled.certificate, &key)?);
    if identity.adopted {
        // Who it is to others it was before.
        hand_in(&options.root, &mut line).await?;
    } else {
        settle_identity(options, systemd, &mut line, &enrolled).await?;
    }
    // Last: from here on the seed is not needed any more.
    folder.keep_certificate(&enrolled.certificate)?;
    Ok(identity.name)
}

/// The key that was kept, or a new one that is.
fn own_key(folder: &Folder) -> Result<KeyPair, AttemptError> {
    if let Some(kept) = folder.key()?.and_then(|pkcs8| KeyPair::from_pkcs8(&pkcs8).ok()) {
        return Ok(kept);
    }
    let made = KeyPair::generate()?;
    folder.keep_key(made.pkcs8())?;
    Ok(made)
}

/// What is sent to enrol this key, now or again.
pub(super) fn request(ca: &protocol::CaPin, node: &NodeId, key: &KeyPair, options: &Options) -> Enrol {
    Enrol {
        protocol: protocol::VERSION,
        key: key.public(),
        proof: key.sign(&enrol_proof(ca, node, &key.public())),
        boot_id: super::facts::boot_id(&options.root),
        uptime_seconds: clock::uptime_seconds(&options.root),
    }
}

async fn ask(
    line: &mut Line,
    identity: &Identity,
    key: &KeyPair,
    options: &Options,
) -> Result<Enrolled, AttemptError> {
    let request = request(&identity.ca, &identity.node, key, options);
    let mut nag = Nag::default();
    let trouble = |error: &CallError, _| nag.say(&format!("enrolling: {}", Chain(error)));
    let enrolled: Enrolled = line.insist(routes::ENROL, &request, DEADLINE, trouble).await?;
    if enrolled.node != identity.node {
        return Err(AttemptError::OtherNode { got: enrolled.node, ours: identity.node });
    }
    Ok(enrolled)
}

/// Puts the identity back that the controller kept, or makes one and hands it in.
async fn settle_identity(
    options: &Options,
    systemd: &Systemd,
    line: &mut Line,
    enrolled: &Enrolled,
) -> Result<(), AttemptError> {
    if !enrolled.identity.is_empty() {
        if host_keys::put_back(&options.root, &enrolled.identity)? {
            restart_ssh(systemd).await;
        }
        return Ok(());
    }
    let before = host_keys::collect(&options.root)?;
    let root = options.root.clone();
    let made = tokio::task::spawn_blocking(move || host_keys::make(&root)).await;
    if !made.unwrap_or(Ok(false))? {
        voice::say("there is no ssh-keygen here: no identity files are handed in");
        return Ok(());
    }
    if host_keys::collect(&options.root)? != before {
        restart_ssh(systemd).await;
    }
    hand_in(&options.root, line).await
}

/// Hands the identity files in that are here.
async fn hand_in(root: &Path, line: &mut Line) -> Result<(), AttemptError> {
    let files = host_keys::collect(root)?;
    let mut nag = Nag::default();
    let trouble = |error: &CallError, _| nag.say(&format!("handing in the identity: {}", Chain(error)));
    line.insist::<_, serde_json::Value>(routes::ESCROW, &files, DEADLINE, trouble).await?;
    Ok(())
}

/// SSH has read the keys of a stranger, or failed without any. Not a reason to hold the enrolment up.
async fn restart_ssh(systemd: &Systemd) {
    let Ok(ssh) = UnitName::parse("ssh.service") else { return };
    let result = match systemd.state(&ssh).await {
        // It reads the right keys when it comes up; without the package there is none.
        Ok(state) if state.active == Active::Inactive => return,
        Ok(_) => systemd.restart(&ssh).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = result {
        voice::say(&Chain(&error).to_string());
    }
}

/// The deploy key is used up; a ticket for a rebuild is not, and neither is the seed of a job that we have not enrolled by.
fn wipe(options: &Options, identity: &Identity) {
    let Ok(place) = seed::find(options) else { return };
    let used = matches!(seed::read(&place), Ok(seed) if seed.complete && is_by(identity, &seed));
    if used && let Err(error) = seed::wipe(&place) {
        voice::say(&Chain(&error).to_string());
    }
}

/// Whether what is kept comes from this seed. The job alone does not say it where neither names one.
fn is_by(identity: &Identity, seed: &Seed) -> bool {
    // The CA may have been changed since: of a job there is only one.
    (identity.job, identity.node) == (seed.job, seed.node) && (seed.job.is_some() || identity.ca == seed.ca)
}

/// What the ramdisk left for us.
fn left(options: &Options) -> Result<Seed, PartitionError> {
    seed::read(&seed::find(options)?)
}

#[cfg(test)]
mod tests;

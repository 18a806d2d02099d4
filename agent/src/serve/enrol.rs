//! From the seed that the ramdisk left to a certificate of our own. Every step can be repeated after a power cut:
//! the key is kept before it is shown, the certificate last, and the seed is wiped when nothing needs it any more.

use std::time::Duration;

use protocol::{Enrol, Enrolled, NodeId, Seed, enrol_proof, routes};
use units::{Active, Systemd, UnitName};

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
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("enrolling")]
    Call(#[from] CallError),
    #[error("the controller enrolled node {}, the seed is for {}", .got.short(), .ours.short())]
    OtherNode { got: NodeId, ours: NodeId },
    #[error("putting the identity back")]
    HostKeys(#[from] host_keys::HostKeyError),
}

/// This node with its certificate: the one it has, or a new one as soon as there are seed and controller.
pub(super) async fn enrolled(
    options: &Options,
    folder: &Folder,
    systemd: &Systemd,
) -> Result<Standing, FolderError> {
    let mut nag = Nag::default();
    loop {
        let attempt = match standing(folder) {
            Ok(Some(standing)) => {
                wipe(options, standing.identity.node);
                return Ok(standing);
            }
            Ok(None) => attempt(options, folder, systemd).await,
            Err(error) => Err(error),
        };
        match attempt {
            Ok(()) => voice::milestone("enrolled"),
            Err(error) => {
                nag.say(&Chain(&error).to_string());
                let refused = matches!(&error, AttemptError::Call(call) if call.is_refusal());
                tokio::time::sleep(if refused { PATIENCE } else { LOOK }).await;
            }
        }
    }
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
    let seed = seed::read(&options.seed)?;
    if !seed.complete {
        return Err(AttemptError::Incomplete);
    }
    let key = own_key(folder)?;
    let deploy_key = KeyPair::from_base64(&seed.key)?;
    let mut identity = Identity {
        node: seed.node,
        name: seed.name.clone(),
        controller: seed.controller,
        ca: seed.ca,
        renew_ms: 0,
    };
    let mut line = Line::new(controller(&identity, &seed.certificate, &deploy_key)?);
    let enrolled = ask(&mut line, &seed, &key, options).await?;
    identity.name.clone_from(&enrolled.name);
    identity.renew_ms = enrolled.renew_ms;
    folder.keep_identity(&identity)?;
    let mut line = Line::new(controller(&identity, &enrolled.certificate, &key)?);
    settle_identity(options, systemd, &mut line, &enrolled).await?;
    // Last: from here on the seed is not needed any more.
    Ok(folder.keep_certificate(&enrolled.certificate)?)
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
    seed: &Seed,
    key: &KeyPair,
    options: &Options,
) -> Result<Enrolled, AttemptError> {
    let request = request(&seed.ca, &seed.node, key, options);
    let mut nag = Nag::default();
    let trouble = |error: &CallError, _| nag.say(&format!("enrolling: {}", Chain(error)));
    let enrolled: Enrolled = line.insist(routes::ENROL, &request, DEADLINE, trouble).await?;
    if enrolled.node != seed.node {
        return Err(AttemptError::OtherNode { got: enrolled.node, ours: seed.node });
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
    let root = options.root.clone();
    let made = tokio::task::spawn_blocking(move || host_keys::make(&root)).await;
    if !made.unwrap_or(Ok(false))? {
        voice::say("there is no ssh-keygen here: no identity files are handed in");
        return Ok(());
    }
    let files = host_keys::collect(&options.root)?;
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

/// The deploy key is used up; a ticket for a rebuild is not.
fn wipe(options: &Options, node: NodeId) {
    let used = matches!(seed::read(&options.seed), Ok(seed) if seed.complete && seed.node == node);
    if used && let Err(error) = seed::wipe(&options.seed) {
        voice::say(&Chain(&error).to_string());
    }
}

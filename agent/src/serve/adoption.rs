//! A system that was not installed from here becomes a node: it says hello with the token that it was invited by, shows a code, and
//! enrols when somebody has let it in. It has no seed, and its disks have no place for one.
//!
//! ```text
//! adoption.json (whom to ask, token) -> adoption-key -> hello until a verdict -> deploy certificate -> enrol -> both are removed
//!                                                        '-- no: said in the journal, disabled, ended for good
//! ```
//! Every step can be repeated after a power cut: until there is a certificate of its own, the same key says hello again.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use protocol::{
    Adoption, BootFacts, CaPin, Code, HardwareAddress, Hello, HelloReply, NodeId, Nonce, Signature, Token,
    Verdict, hello_proof, routes,
};
use serde::{Deserialize, Serialize};
use units::{Systemd, UnitName};

use super::facts::boot_id;
use super::folder::{Folder, FolderError};
use super::options::Options;
use super::voice::{self, Nag};
use crate::chain::Chain;
use crate::clock;
use crate::controller::{Controller, Dates, Line, TlsError};
use crate::inventory;
use crate::keys::{KeyError, KeyPair};

/// How long the controller may hold an answer back, and how much longer a call may take than that.
const HOLD_SECONDS: u32 = 25;
const GRACE: Duration = Duration::from_secs(15);
/// A controller that answers at once is not asked more often than this.
const PACE: Duration = Duration::from_secs(1);
/// Below the root; forgotten with a restart of the machine.
const STAGE: &str = "run/rackwright-agent/adoption.json";
const UNIT: &str = "rackwright-agent.service";

/// Whom to ask, and with which word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// Where the controller's HTTPS listens.
    pub controller: SocketAddr,
    /// The site CA.
    pub ca: CaPin,
    /// The invitation's secret.
    pub token: Token,
}

/// How far it is, for whoever has pasted the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "stage", rename_all = "snake_case")]
pub enum Stage {
    /// Nobody has answered yet.
    Calling {
        /// Why not.
        trouble: String,
    },
    /// Somebody is to compare the code.
    Waiting {
        /// The code.
        code: Code,
        /// What the node is called.
        name: String,
        /// What it waits for.
        reason: String,
    },
    /// It is a node.
    Enrolled {
        /// Its name.
        name: String,
    },
    /// It is not wanted.
    Refused {
        /// Why.
        why: String,
    },
}

/// A verdict that is none to wait for.
#[derive(Debug)]
pub(super) enum Verdicted {
    /// Let in: as which node, and with what to enrol.
    Admitted { node: NodeId, name: String, ca: CaPin, key: Box<KeyPair>, certificate: String },
    /// Not wanted.
    Refused(String),
}

/// Why an attempt did not succeed; it is repeated.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdoptionError {
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("finding the address that the controller is reached from")]
    Address(#[source] io::Error),
    #[error("no network card here has {0}, the address that the controller is reached from")]
    NoCard(Ipv4Addr),
}

/// Whom to ask, if this system is to be adopted.
///
/// # Errors
/// [`FolderError`].
pub fn pending(root: &Path) -> Result<Option<Pending>, FolderError> {
    Folder::open(root)?.pending()
}

/// Keeps whom to ask.
///
/// # Errors
/// [`FolderError`].
pub fn keep(root: &Path, pending: &Pending) -> Result<(), FolderError> {
    // What was told of an earlier attempt says nothing of this one.
    let _gone = fs::remove_file(root.join(STAGE));
    Folder::open(root)?.keep_pending(pending)
}

/// The node that this system is, if it is one.
pub fn node(root: &Path) -> Option<String> {
    let folder = Folder::at(root);
    let identity = folder.identity().ok().flatten()?;
    folder.certificate().ok().flatten().map(|_| identity.name)
}

/// How far it is, as the agent has told last.
pub fn stage(root: &Path) -> Option<Stage> {
    serde_json::from_slice(&fs::read(root.join(STAGE)).ok()?).ok()
}

/// Tells how far it is. Nobody is told that this failed: the journal says the same.
pub(super) fn tell(root: &Path, stage: &Stage) {
    let path = root.join(STAGE);
    let told = || {
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        super::folder::replace(&path, &serde_json::to_vec(stage)?, |_| Ok(()))
    };
    let _unsaid = told();
}

/// Says hello until there is a verdict.
pub(super) async fn verdict(
    options: &Options,
    folder: &Folder,
    pending: &Pending,
) -> Result<Verdicted, AdoptionError> {
    let key = key(folder)?;
    let mut pin = pending.ca;
    let mut answered = None::<(NodeId, Nonce, Signature)>;
    let mut nag = Nag::default();
    let mut said = None::<Code>;
    loop {
        let controller = Controller::new(pending.controller, pin, Dates::Lenient, None)?;
        let mut line = Line::new(controller);
        let wait_seconds = if answered.is_some() { HOLD_SECONDS } else { 0 };
        let hello = hello(options, pending, &key, answered.map(|(_, _, proof)| proof), wait_seconds)?;
        let deadline = Duration::from_secs(u64::from(wait_seconds)) + GRACE;
        let reply = match line.call::<_, HelloReply>(routes::HELLO, &hello, deadline).await {
            Ok(reply) => reply,
            // It may be about an answer to an older challenge.
            Err(error) if error.is_refusal() && answered.is_some() => {
                answered = None;
                tokio::time::sleep(PACE).await;
                continue;
            }
            Err(error) if error.is_refusal() => {
                return Ok(Verdicted::Refused(Chain(&error).to_string()));
            }
            Err(error) => {
                let trouble = Chain(&error).to_string();
                nag.say(&trouble);
                tell(&options.root, &Stage::Calling { trouble });
                tokio::time::sleep(line.pause()).await;
                continue;
            }
        };
        let fresh = answered.is_none_or(|(node, nonce, _)| (node, nonce) != (reply.node, reply.nonce));
        if fresh {
            let proof = key.sign(&hello_proof(&pin, &reply.node, &key.public(), &reply.nonce));
            answered = Some((reply.node, reply.nonce, proof));
        }
        let (node, name) = (reply.node, crate::text::name(&reply.name));
        match (reply.verdict, reply.ca) {
            (Verdict::Rejected { reason }, _) => {
                return Ok(Verdicted::Refused(crate::text::clean(&reason, 400)));
            }
            (Verdict::Approved { .. }, Some(ca)) if ca != pin => (pin, answered) = (ca, None),
            (Verdict::Approved { certificate }, _) => {
                return Ok(Verdicted::Admitted { node, name, ca: pin, key: Box::new(key), certificate });
            }
            (Verdict::Waiting { reason }, _) => {
                let code = Code::of(&pin, &key.public(), &reply.nonce);
                if said.as_ref() != Some(&code) {
                    voice::milestone(&format!(
                        "asking to be adopted, with the code {code} to compare on the controller"
                    ));
                }
                let reason = crate::text::clean(&reason, 400);
                nag.say(&reason);
                said = Some(code.clone());
                tell(&options.root, &Stage::Waiting { code, name, reason });
            }
        }
        tokio::time::sleep(if fresh { PACE / 10 } else { PACE }).await;
    }
}

/// The key of this attempt and of every later one.
fn key(folder: &Folder) -> Result<KeyPair, AdoptionError> {
    if let Some(kept) = folder.adoption_key()?.and_then(|pkcs8| KeyPair::from_pkcs8(&pkcs8).ok()) {
        return Ok(kept);
    }
    let made = KeyPair::generate()?;
    folder.keep_adoption_key(made.pkcs8())?;
    Ok(made)
}

fn hello(
    options: &Options,
    pending: &Pending,
    key: &KeyPair,
    proof: Option<Signature>,
    wait_seconds: u32,
) -> Result<Hello, AdoptionError> {
    let root = &options.root;
    let (address, mac) = reached_from(root, pending.controller)?;
    let host = super::host_name::own(root);
    let system = crate::adopt::system(root);
    let boot = BootFacts {
        mac,
        address,
        path: "own-system".to_owned(),
        uptime_seconds: clock::uptime_seconds(root),
        boot_id: boot_id(root),
    };
    // Its TPM is asked when its ramdisk comes: here it would prove nothing of what runs.
    Ok(Hello {
        proof,
        wait_seconds,
        adoption: Some(Adoption { token: pending.token, host, system }),
        ..Hello::new(key.public(), boot, inventory::take(root))
    })
}

/// The address that the controller is reached from, and the card that has it. No packet is sent for that.
fn reached_from(root: &Path, controller: SocketAddr) -> Result<(Ipv4Addr, HardwareAddress), AdoptionError> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(AdoptionError::Address)?;
    socket.connect(controller).map_err(AdoptionError::Address)?;
    let IpAddr::V4(address) = socket.local_addr().map_err(AdoptionError::Address)?.ip() else {
        return Err(AdoptionError::Address(io::ErrorKind::Unsupported.into()));
    };
    let all = nix::ifaddrs::getifaddrs().map_err(|error| AdoptionError::Address(error.into()))?;
    let has = |one: &nix::ifaddrs::InterfaceAddress| {
        one.address
            .as_ref()
            .and_then(|address| address.as_sockaddr_in())
            .is_some_and(|known| known.ip() == address)
    };
    let link =
        all.into_iter().find(has).map(|one| one.interface_name).ok_or(AdoptionError::NoCard(address))?;
    let mac = inventory::mac_of(root, &link).ok_or(AdoptionError::NoCard(address))?;
    Ok((address, mac))
}

/// It is not wanted here: said, and not started again. What was installed stays where it is.
pub(super) async fn give_up(
    options: &Options,
    folder: &Folder,
    systemd: &Systemd,
    why: &str,
) -> Result<(), FolderError> {
    voice::milestone(&format!(
        "this server is not adopted: {why}. The agent ends, and is not started again; it can be removed, or invited once more with a \
         new line"
    ));
    tell(&options.root, &Stage::Refused { why: why.to_owned() });
    folder.forget_adoption()?;
    if let Ok(unit) = UnitName::parse(UNIT)
        && let Err(error) = systemd.disable(&unit).await
    {
        voice::say(&Chain(&error).to_string());
    }
    Ok(())
}

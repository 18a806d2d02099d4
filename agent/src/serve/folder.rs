//! What must survive a power cut: who this node is, and what it has done. One folder that only root may enter; every
//! file in it is replaced whole or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::adoption::Pending;
use protocol::{CaPin, Epoch, JobId, NodeId, StateDocument, UnitWanted};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Below the root.
pub(super) const PLACE: &str = "var/lib/rackwright-agent";

/// Why the folder could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system said no.
    #[error("{doing} {}", path.display())]
    Io {
        /// Reading, writing, making.
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Something cannot be put into JSON; never the disk's fault.
    #[error("writing {}", path.display())]
    Encode {
        /// What.
        path: PathBuf,
        /// Why not.
        source: serde_json::Error,
    },
}

/// Who this node is. There before anything else that it keeps, so that what is found in the folder can be told from what a
/// disk image brought along.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) node: NodeId,
    pub(super) name: String,
    pub(super) controller: SocketAddr,
    pub(super) ca: CaPin,
    /// The job whose seed everything in the folder comes from; none in a folder of the time before it was kept.
    #[serde(default)]
    pub(super) job: Option<JobId>,
    /// Its system was not installed from here: what is there before us is kept when it is written over.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) adopted: bool,
    /// When to ask for the next certificate, milliseconds since 1970; 0 while there is none.
    pub(super) renew_ms: u64,
}

/// What was done here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Applied {
    /// The generation that was made true.
    pub(super) generation: u64,
    /// The restart counter that was last obeyed, per unit.
    pub(super) restarts: BTreeMap<String, u64>,
    /// Units whose files were changed and which were not restarted yet.
    pub(super) pending: BTreeSet<String>,
    /// Units that a document ever asked for: what leaves the document is stopped.
    pub(super) owned: BTreeSet<String>,
    /// Tasks without a guard that were run: name to command.
    pub(super) tasks: BTreeMap<String, Vec<String>>,
    /// Those that were to be begun: what systemd has of a task of this name is of this command.
    pub(super) begun: BTreeMap<String, Vec<String>>,
    /// The highest order that was carried out.
    pub(super) done_order: u64,
    /// The highest epoch that was seen.
    pub(super) epoch: Epoch,
}

impl Applied {
    /// No restart of this unit is due any more.
    pub(super) fn obeyed(&mut self, wanted: &UnitWanted) {
        self.pending.remove(&wanted.name);
        self.restarts.insert(wanted.name.clone(), wanted.restarts);
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

const IDENTITY: &str = "identity.json";
const KEY: &str = "key";
const CERTIFICATE: &str = "certificate.pem";
const APPLIED: &str = "applied.json";
const DOCUMENT: &str = "document.json";
const ADOPTION: &str = "adoption.json";
const ADOPTION_KEY: &str = "adoption-key";

impl Folder {
    /// Opens it, making it where it is missing.
    pub(super) fn open(root: &Path) -> Result<Self, FolderError> {
        let path = root.join(PLACE);
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
        let closed = made.and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o700)));
        closed.map_err(|source| FolderError::Io { doing: "making", path: path.clone(), source })?;
        Ok(Self { path })
    }

    /// The same, where nothing is made.
    pub(super) fn at(root: &Path) -> Self {
        Self { path: root.join(PLACE) }
    }

    /// Whom to ask to be adopted by.
    pub(super) fn pending(&self) -> Result<Option<Pending>, FolderError> {
        self.read_json(ADOPTION)
    }

    pub(super) fn keep_pending(&self, pending: &Pending) -> Result<(), FolderError> {
        self.write_json(ADOPTION, pending)
    }

    /// The key to ask with, PKCS#8.
    pub(super) fn adoption_key(&self) -> Result<Option<Vec<u8>>, FolderError> {
        self.read(ADOPTION_KEY)
    }

    pub(super) fn keep_adoption_key(&self, pkcs8: &[u8]) -> Result<(), FolderError> {
        self.write(ADOPTION_KEY, pkcs8)
    }

    /// Forgets token and key: used up, or good for nothing. Gone for good when this returns.
    pub(super) fn forget_adoption(&self) -> Result<(), FolderError> {
        self.remove(&[ADOPTION, ADOPTION_KEY])
    }

    /// Where what was there before us is kept.
    pub(super) fn before(&self) -> PathBuf {
        self.path.join("before")
    }

    /// The private key, PKCS#8.
    pub(super) fn key(&self) -> Result<Option<Vec<u8>>, FolderError> {
        self.read(KEY)
    }

    pub(super) fn keep_key(&self, pkcs8: &[u8]) -> Result<(), FolderError> {
        self.write(KEY, pkcs8)
    }

    /// The certificate chain, PEM.
    pub(super) fn certificate(&self) -> Result<Option<String>, FolderError> {
        Ok(self.read(CERTIFICATE)?.and_then(|pem| String::from_utf8(pem).ok()))
    }

    pub(super) fn keep_certificate(&self, pem: &str) -> Result<(), FolderError> {
        self.write(CERTIFICATE, pem.as_bytes())
    }

    /// Forgets all but who this node is: its key, its certificate, what was done and what is to be. Gone for good when this
    /// returns.
    pub(super) fn forget(&self) -> Result<(), FolderError> {
        self.remove(&[CERTIFICATE, APPLIED, DOCUMENT, KEY, ADOPTION, ADOPTION_KEY])
    }

    fn remove(&self, names: &[&str]) -> Result<(), FolderError> {
        let failed =
            |path: &Path, source| FolderError::Io { doing: "removing", path: path.to_owned(), source };
        for name in names {
            let path = self.path.join(name);
            remove_with_draft(&path).map_err(|source| failed(&path, source))?;
        }
        let synced = File::open(&self.path).and_then(|folder| folder.sync_all());
        synced.map_err(|source| failed(&self.path, source))
    }

    /// Whether anything is kept here, of whoever it was.
    pub(super) fn is_used(&self) -> Result<bool, FolderError> {
        let mut found = false;
        for name in [IDENTITY, KEY, CERTIFICATE, APPLIED, DOCUMENT] {
            found |= self.read(name)?.is_some();
        }
        Ok(found)
    }

    /// Who this node is; a damaged file is none.
    pub(super) fn identity(&self) -> Result<Option<Identity>, FolderError> {
        self.read_json(IDENTITY)
    }

    pub(super) fn keep_identity(&self, identity: &Identity) -> Result<(), FolderError> {
        self.write_json(IDENTITY, identity)
    }

    /// What was done; nothing when the file is missing or damaged, because everything can be looked at again.
    pub(super) fn applied(&self) -> Result<Applied, FolderError> {
        Ok(self.read_json(APPLIED)?.unwrap_or_default())
    }

    pub(super) fn keep_applied(&self, applied: &Applied) -> Result<(), FolderError> {
        self.write_json(APPLIED, applied)
    }

    /// The last document: a node that boots without its controller still knows what it shall be.
    pub(super) fn document(&self) -> Result<Option<StateDocument>, FolderError> {
        self.read_json(DOCUMENT)
    }

    pub(super) fn keep_document(&self, document: &StateDocument) -> Result<(), FolderError> {
        self.write_json(DOCUMENT, document)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FolderError> {
        let path = self.path.join(name);
        match fs::read(&path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FolderError::Io { doing: "reading", path, source }),
        }
    }

    /// A damaged file counts as missing and is said.
    fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, FolderError> {
        let Some(bytes) = self.read(name)? else { return Ok(None) };
        let parsed = serde_json::from_slice(&bytes);
        Ok(parsed
            .inspect_err(|error| super::voice::say(&format!("{name} is damaged and not used: {error}")))
            .ok())
    }

    fn write_json<T: Serialize>(&self, name: &str, value: &T) -> Result<(), FolderError> {
        let json = serde_json::to_vec_pretty(value)
            .map_err(|source| FolderError::Encode { path: self.path.join(name), source })?;
        self.write(name, &json)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), FolderError> {
        let path = self.path.join(name);
        replace(&path, content, |file| file.set_permissions(fs::Permissions::from_mode(0o600)))
            .map_err(|source| FolderError::Io { doing: "writing", path, source })
    }
}

/// Puts `content` at `path` in one step that a power cut can't halve: either the old file is there or the new one.
/// `dress` sets owner and mode before anybody can open it by its name.
pub(crate) fn replace(
    path: &Path,
    content: &[u8],
    dress: impl FnOnce(&File) -> io::Result<()>,
) -> io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let draft = draft(parent, name);
    remove(&draft)?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    let written = file.write_all(content).and_then(|()| dress(&file)).and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&draft, path)) {
        // The first error is the one to tell.
        let _ = fs::remove_file(&draft);
        return Err(error);
    }
    File::open(parent)?.sync_all()
}

/// Removes what [`replace`] left at `path` and what it may have left beside it in a power cut: `true` when there was either.
/// Gone for good when the folder is synced.
pub(super) fn remove_with_draft(path: &Path) -> io::Result<bool> {
    let draft = match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => remove(&draft(parent, name))?,
        (Some(_) | None, _) => false,
    };
    Ok(remove(path)? || draft)
}

/// Where a file is written until it is whole.
fn draft(parent: &Path, name: &OsStr) -> PathBuf {
    let mut draft = OsString::from(".");
    draft.push(name);
    draft.push(".rackwright-new");
    parent.join(draft)
}

/// Whether there was such a file to remove.
fn remove(path: &Path) -> io::Result<bool> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

//! What is behind a name that a booting server asked for, whichever way it asked: a file of the boot store, or a text
//! made for it.
//!
//! Refuses to know what the texts say: the [`FileService`] makes them from the state, and is told what was served.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use pxe::Mac;
use pxe::files::{Resolved, StoreFile, Transport};
use pxe::trace::{End, Fetch};

use crate::boot::BootStore;

/// No loader is larger, in bytes; what is, is not sent from memory.
const LARGEST_LOADED: u64 = 64 << 20;

/// Who asks for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asker {
    /// Its address.
    pub peer: SocketAddr,
    /// The interface it asks on.
    pub interface: String,
    /// The controller's address on it: what a text must name.
    pub address: Ipv4Addr,
    /// How it asks.
    pub transport: Transport,
}

/// A text that is made when it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    /// The first GRUB configuration, the same for everybody.
    GrubConfig,
    /// The first iPXE script, the same for everybody.
    Autoexec,
    /// What GRUB shall do on this machine.
    NodeGrub(Mac),
    /// What iPXE shall do on this machine.
    NodeScript(Mac),
    /// How a server that runs a system of its own joins.
    Join,
}

/// What was sent, whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Served {
    /// A file of the boot store.
    File(StoreFile),
    /// A text.
    Script(Script),
}

/// Makes texts, and hears what was served.
pub trait FileService: Send + Sync + 'static {
    /// The text, or why there is none: then the client is told that there is no such file.
    fn script(&self, script: Script, asker: &Asker) -> impl Future<Output = Result<String, String>> + Send;

    /// Something was sent to the end (TFTP: and acknowledged). Must not wait.
    fn served(&self, what: Served, asker: &Asker);

    /// Something was asked for, and this is how it went, whatever that is; `what` it stands for, if it stands for
    /// anything. A long transfer by HTTP is told of twice. Must not wait.
    fn asked(&self, _fetch: Fetch, _what: Option<Served>, _asker: &Asker) {}
}

/// What to send.
#[derive(Debug)]
pub(super) enum Content {
    /// A file, opened for this reader.
    File(File, u64),
    /// A text.
    Text(Bytes),
}

impl Content {
    pub(super) fn length(&self) -> u64 {
        match self {
            Self::File(_, length) => *length,
            Self::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
        }
    }
}

/// Files that are being sent from memory: each once, however many are sent it, and only as long as that lasts.
type Loaded = tokio::sync::Mutex<BTreeMap<StoreFile, (Stamp, Weak<Vec<u8>>)>>;

/// Device, inode, length, and when it was changed: other octets have another one.
type Stamp = (u64, u64, u64, i64, i64);

/// The store and the texts together.
#[derive(Debug)]
pub struct Files<S> {
    store: Arc<BootStore>,
    service: Arc<S>,
    loaded: Arc<Loaded>,
}

impl<S> Clone for Files<S> {
    fn clone(&self) -> Self {
        let Self { store, service, loaded } = self;
        Self { store: Arc::clone(store), service: Arc::clone(service), loaded: Arc::clone(loaded) }
    }
}

impl<S: FileService> Files<S> {
    /// Both.
    pub fn new(store: impl Into<Arc<BootStore>>, service: Arc<S>) -> Self {
        Self { store: store.into(), service, loaded: Arc::default() }
    }

    /// What a resolved name stands for.
    ///
    /// # Errors
    /// Why it is not there, for the log; the client only hears that it is not.
    pub(super) async fn open(&self, what: Served, asker: &Asker) -> Result<Content, String> {
        match what {
            Served::File(file) => {
                let (file, length) = self.store.file(file).map_err(|e| e.to_string())?;
                Ok(Content::File(file, length))
            }
            Served::Script(script) => {
                let text = self.service.script(script, asker).await?;
                Ok(Content::Text(Bytes::from(text)))
            }
        }
    }

    /// The same, in memory.
    ///
    /// # Errors
    /// As [`Files::open`]; a file that is too large for that, or cannot be read.
    pub(super) async fn load(&self, what: Served, asker: &Asker) -> Result<Arc<Vec<u8>>, String> {
        let (file, length) = match self.open(what, asker).await? {
            Content::Text(text) => return Ok(Arc::new(text.into())),
            Content::File(file, length) => (file, length),
        };
        if length > LARGEST_LOADED {
            return Err(format!("{length} bytes are too many to be sent by TFTP"));
        }
        let Served::File(name) = what else { return Err("it is no file".to_owned()) };
        let meta = file.metadata().map_err(|e| e.to_string())?;
        let stamp = (meta.dev(), meta.ino(), length, meta.ctime(), meta.ctime_nsec());
        // Held while one reads: the others who want it then find it.
        let mut loaded = self.loaded.lock().await;
        if let Some((known, octets)) = loaded.get(&name)
            && *known == stamp
            && let Some(octets) = octets.upgrade()
        {
            return Ok(octets);
        }
        let octets =
            tokio::task::spawn_blocking(move || whole(file, length)).await.map_err(|e| e.to_string())??;
        let octets = Arc::new(octets);
        loaded.insert(name, (stamp, Arc::downgrade(&octets)));
        Ok(octets)
    }

    pub(super) fn served(&self, what: Served, asker: &Asker) {
        self.service.served(what, asker);
    }

    pub(super) fn asked(&self, fetch: Fetch, what: Option<Served>, asker: &Asker) {
        self.service.asked(fetch, what, asker);
    }
}

/// The whole of something on its way by HTTP: told of when it begins, and again when it was [`Underway::sent`] or this
/// is dropped before.
pub(super) struct Underway<S: FileService> {
    files: Files<S>,
    what: Served,
    asker: Asker,
    fetch: Fetch,
    done: bool,
}

impl<S: FileService> Underway<S> {
    pub(super) fn begin(files: Files<S>, what: Served, asker: Asker, fetch: Fetch) -> Self {
        files.asked(Fetch { end: End::Begun, ..fetch.clone() }, Some(what), &asker);
        Self { files, what, asker, fetch, done: false }
    }

    /// The last byte was handed on.
    pub(super) fn sent(mut self) {
        self.done = true;
        self.files.served(self.what, &self.asker);
        self.files.asked(self.fetch.clone(), Some(self.what), &self.asker);
    }
}

impl<S: FileService> Drop for Underway<S> {
    fn drop(&mut self) {
        if !self.done {
            let end = End::Stopped { sent: None, why: "the connection ended before the last byte".into() };
            self.files.asked(Fetch { end, ..self.fetch.clone() }, Some(self.what), &self.asker);
        }
    }
}

fn whole(file: File, length: u64) -> Result<Vec<u8>, String> {
    let mut octets = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
    file.take(length).read_to_end(&mut octets).map_err(|e| e.to_string())?;
    if u64::try_from(octets.len()) == Ok(length) { Ok(octets) } else { Err("it became shorter".to_owned()) }
}

impl Served {
    /// What a resolved name stands for; `None` when it stands for nothing.
    pub(super) fn of(resolved: Resolved) -> Option<Self> {
        Some(match resolved {
            Resolved::Static(file) => Self::File(file),
            Resolved::GrubConfig => Self::Script(Script::GrubConfig),
            Resolved::Autoexec => Self::Script(Script::Autoexec),
            Resolved::Join => Self::Script(Script::Join),
            Resolved::NodeGrub(mac) => Self::Script(Script::NodeGrub(mac)),
            Resolved::NodeScript(mac) => Self::Script(Script::NodeScript(mac)),
            Resolved::NotFound(_) | Resolved::Refused(_) => return None,
        })
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file) => file.fmt(f),
            Self::Script(Script::GrubConfig) => f.write_str("grub/grub.cfg"),
            Self::Script(Script::Autoexec) => f.write_str("autoexec.ipxe"),
            Self::Script(Script::Join) => f.write_str("join.sh"),
            Self::Script(Script::NodeGrub(mac)) => write!(f, "grub.cfg of {mac}"),
            Self::Script(Script::NodeScript(mac)) => write!(f, "script.ipxe of {mac}"),
        }
    }
}

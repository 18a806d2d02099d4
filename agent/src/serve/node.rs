//! This node at work: what all its loops share.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use protocol::{Envelope, StateDocument};
use tokio::sync::watch;
use units::Systemd;

use super::enrol::Standing;
use super::folder::{Applied, Folder, FolderError, Identity};
use super::hands::Hands;
use super::ledger::Ledger;
use super::options::Options;
use super::voice;
use crate::chain::Chain;
use crate::command::{CommandError, Reign};
use crate::controller::Controller;
use crate::keys::KeyPair;
use crate::preflight::Summons;

/// The document that is to be made true; `None` before the first.
pub(super) type Wanted = Option<Arc<StateDocument>>;

/// What the loops share.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) options: Options,
    pub(super) folder: Folder,
    pub(super) systemd: Systemd,
    pub(super) identity: Identity,
    pub(super) key: KeyPair,
    pub(super) ledger: Ledger,
    pub(super) hands: Hands,
    pub(super) summons: Summons,
    /// The controller has refused the certificate, or wants another one to be asked for.
    pub(super) stale: tokio::sync::Notify,
    controller: watch::Receiver<Controller>,
    applied: Mutex<Applied>,
    /// One writer of the file at a time, in the order of the changes.
    pen: tokio::sync::Mutex<()>,
}

impl Node {
    /// The node, and the sender that a renewed certificate goes to.
    pub(super) fn new(
        options: Options,
        folder: Folder,
        systemd: Systemd,
        standing: Standing,
    ) -> Result<(Arc<Self>, watch::Sender<Controller>), FolderError> {
        let applied = folder.applied()?;
        let (renewed, controller) = watch::channel(standing.controller);
        let node = Node {
            ledger: Ledger::new(applied.done_order),
            hands: Hands::default(),
            summons: Summons::default(),
            stale: tokio::sync::Notify::new(),
            options,
            folder,
            systemd,
            identity: standing.identity,
            key: standing.key,
            controller,
            applied: Mutex::new(applied),
            pen: tokio::sync::Mutex::new(()),
        };
        Ok((Arc::new(node), renewed))
    }

    /// The controller with the certificate of the moment; the receiver tells when there is a newer one.
    pub(super) fn controller(&self) -> watch::Receiver<Controller> {
        let mut receiver = self.controller.clone();
        receiver.mark_unchanged();
        receiver
    }

    /// The root of all files.
    pub(super) fn root(&self) -> &Path {
        &self.options.root
    }

    /// The document of the last run.
    pub(super) fn held(&self) -> Wanted {
        let read = self.folder.document();
        read.inspect_err(|error| voice::say(&Chain(error).to_string())).ok().flatten().map(Arc::new)
    }

    /// What was done here, as of now.
    pub(super) fn applied(&self) -> Applied {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes what was done here; on the disk when this returns. A disk that does not take it is complained about
    /// and the change holds until the agent ends.
    pub(super) async fn note(&self, change: impl FnOnce(&mut Applied)) {
        let _pen = self.pen.lock().await;
        let (before, now) = {
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            let before = applied.clone();
            change(&mut applied);
            (before, applied.clone())
        };
        if before == now {
            return;
        }
        let folder = self.folder.clone();
        let kept = tokio::task::spawn_blocking(move || folder.keep_applied(&now)).await;
        if let Ok(Err(error)) = kept {
            voice::say(&Chain(&error).to_string());
        }
    }

    /// Takes a command out of its envelope, if it is one for us.
    pub(super) async fn open<T>(&self, envelope: Envelope<T>) -> Result<T, CommandError> {
        let mut reign = Reign::of(self.applied().epoch);
        let body = reign.open(self.identity.node, envelope)?;
        self.note(|applied| applied.epoch = applied.epoch.max(reign.highest())).await;
        Ok(body)
    }
}

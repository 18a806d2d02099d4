//! `rackwright-agent serve`: the whole life of the agent on the installed system.
//!
//! ```text
//! seed -> enrol (own key, identity files) -> ask: state document, orders ------> make it true -> report
//!                                            ^                                       |
//!                                            '--- watch: every change, also others' -'
//! ```
//! It decides nothing: the document says what shall be, [`conductor`] and [`guard`] make it so, [`report`] tells what is.
//! Nothing that it was told is lost by a power cut: what must survive is in [`folder`] before it is acted on.

mod accounts;
pub mod adoption;
mod ask;
mod conductor;
mod correct;
mod drain;
mod enrol;
mod facts;
mod files;
mod folder;
mod guard;
mod hands;
mod health;
mod host_keys;
mod host_name;
mod hypervisor;
mod judge;
mod leave;
mod ledger;
mod node;
mod options;
mod orders;
mod path;
mod probe;
mod renew;
mod report;
mod rise;
mod root_disk;
mod seed;
mod settle;
mod stage;
mod tasks;
mod voice;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use units::Systemd;

pub(crate) use facts::boot_id;
pub use folder::FolderError;
pub(crate) use folder::replace;
pub use options::{Options, OptionsError};

use crate::chain::Chain;
use node::Node;
use voice::Nag;

/// Private parsers, for the fuzz targets in `tests/fuzz`; no promise to anybody else.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::accounts::number as account;
    pub use super::host_name::is_name as is_host_name;
    pub use super::path::{PathError, below_root};
}

/// Why the agent can't even begin.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No runtime or no signals.
    #[error("asking the kernel")]
    Kernel(#[source] std::io::Error),
    /// The folder that holds who this node is can't be used.
    #[error(transparent)]
    Folder(#[from] folder::FolderError),
}

/// The exit status of an agent that is not wanted, by which systemd knows that it is not to be started again.
pub const UNWANTED: u8 = 78;

/// Why the agent ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to.
    Told,
    /// This server is not to be a node.
    Unwanted,
}

/// Serves until it is told to end (SIGTERM, SIGINT), or that it is not wanted.
///
/// # Errors
/// [`ServeError`]; everything that may mend itself is waited for instead.
pub fn run(options: Options) -> Result<End, ServeError> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Kernel)?;
    let outcome = runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Kernel)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Kernel)?;
        tokio::select! {
            ended = serve(options) => ended,
            _ = terminate.recv() => Ok(End::Told),
            _ = interrupt.recv() => Ok(End::Told),
        }
    });
    // A console that takes no more bytes must not hold the end up.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

async fn serve(options: Options) -> Result<End, ServeError> {
    let folder = folder::Folder::open(&options.root)?;
    voice::milestone("serving");
    let systemd = systemd().await;
    let Some(enrolled) = enrol::enrolled(&options, &folder, &systemd).await? else {
        return Ok(End::Unwanted);
    };
    let (node, renewed) = Node::new(options, folder, systemd, enrolled)?;
    let held = node.held();
    if let Some(document) = &held {
        node.ledger.applying(document);
    }
    let (documents, wanted) = watch::channel(held);
    let (give, given) = mpsc::channel(16);
    tokio::join!(
        ask::follow(node.clone(), documents, give),
        conductor::follow(node.clone(), wanted.clone()),
        guard::follow(node.clone(), wanted.clone()),
        health::follow(node.clone(), wanted),
        orders::follow(node.clone(), given),
        report::follow(node.clone()),
        hypervisor::follow(node.clone()),
        watch_network(node.clone()),
        renew::follow(node, renewed),
    );
    Ok(End::Told)
}

/// Tells of links, and takes part in checks of the network.
async fn watch_network(node: Arc<Node>) {
    let (root, controller) = (node.root().to_owned(), node.controller());
    let open = async |envelope| node.open(envelope).await.ok();
    crate::preflight::follow(root, controller, Some(&node.summons), open).await
}

/// systemd, as soon as the bus is there.
async fn systemd() -> Systemd {
    let mut nag = Nag::default();
    loop {
        match Systemd::connect().await {
            Ok(systemd) => return systemd,
            Err(error) => nag.say(&Chain(&error).to_string()),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

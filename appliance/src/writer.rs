//! The one loop that changes anything: events in, decided one after the other, saved together, effects and answers out
//! after the commit.
//!
//! Everybody else reads an immutable [`World`], which shares with the next one all that did not change. A batch that
//! can't be saved never happened: its answers are refusals and the world stays as it was. Only a DHCP client whose lease
//! runs is still answered then, with the rest of it. Offers of addresses promise nothing: they are not saved, and are
//! sent before the commit, unless it is known that nothing can be saved.

mod addresses;
mod draft;
mod nics;
mod run;
mod saver;
#[cfg(test)]
pub(crate) mod tests;
mod told;

use std::collections::BTreeMap;
use std::sync::Arc;

use fleet::event::Effect;
use fleet::{Catalog, Denied, Event, Fleet, Reply, Site, Time};
use protocol::{HardwareAddress, IdentityFile, NodeId};
use pxe::Mac;
use pxe::dhcp::{Arrival, LeaseChange, Leases, Malformed, Network, Request};
use tokio::sync::{mpsc, oneshot, watch};

use crate::reservation::Reservation;
use crate::space::Space;
use crate::store::{Log, Store, StoreError};
pub use addresses::Urgency;
use nics::Nics;
use run::Writer;
use saver::Saver;

/// How many events may wait; beyond, whoever brings one waits too.
const QUEUE: usize = 4096;

/// Everything the daemon knows, as of the last commit.
#[derive(Clone, Debug)]
pub struct World {
    /// Nodes, images, plans, jobs, certificates.
    pub fleet: Arc<Fleet>,
    /// Addresses.
    pub leases: Leases,
    /// Servers that were made known before they came.
    pub reservations: Arc<BTreeMap<Mac, Reservation>>,
    /// The site, with the addresses that nodes have.
    pub site: Arc<Site>,
    /// Nodes whose state document can't be made, and why.
    pub unsettled: Arc<BTreeMap<NodeId, String>>,
    /// Whose NIC is whose.
    nics: Arc<Nics>,
    /// The number of the log's last line.
    pub seq: u64,
}

/// A DHCP packet as it arrived.
#[derive(Clone, Debug)]
pub struct Packet {
    /// The interface it came in by.
    pub interface: Arc<str>,
    /// The UDP payload.
    pub bytes: Vec<u8>,
    /// Port and source.
    pub arrival: Arrival,
}

/// A DHCP packet that was read.
#[derive(Clone, Debug)]
pub struct Question {
    /// The interface it came in by.
    pub interface: Arc<str>,
    /// What it says.
    pub request: Request,
    /// Port and source.
    pub arrival: Arrival,
}

impl Packet {
    /// Reads the packet.
    ///
    /// # Errors
    /// [`Malformed`]: it is not DHCP as a client speaks it.
    pub fn read(self) -> Result<Question, Malformed> {
        let request = Request::parse(&self.bytes)?;
        Ok(Question { interface: self.interface, request, arrival: self.arrival })
    }
}

/// Answers to questions, in as many parts as there are moments at which they may leave.
pub type Answers = mpsc::UnboundedSender<Vec<DhcpAnswer>>;

/// What an operator wants of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressWish {
    /// A NIC of a node shall have this address.
    Fix {
        /// The node.
        node: NodeId,
        /// The NIC.
        mac: Mac,
        /// The address.
        address: std::net::Ipv4Addr,
    },
    /// A server that is still to come shall be answered.
    Reserve {
        /// The NIC that will ask.
        mac: Mac,
        /// With this address; otherwise with the next that is free.
        address: Option<std::net::Ipv4Addr>,
    },
    /// What was reserved or fixed for a NIC shall not be any more.
    Unreserve {
        /// The NIC.
        mac: Mac,
    },
}

/// Why an event changed nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The rules say no.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It could not be saved.
    #[error("nothing was changed: {0}")]
    Unsaved(String),
    /// The daemon is stopping.
    #[error("the controller is stopping; ask again when it is back")]
    Stopping,
}

/// What an event brought about, after the commit.
#[derive(Debug)]
pub struct Done {
    /// For whoever brought it.
    pub reply: Reply,
    /// To be done now.
    pub effects: Vec<Effect>,
}

/// What the DHCP socket must do, after the commit.
#[derive(Debug)]
pub enum DhcpAnswer {
    /// Send this; what it promises is durable.
    Send(Box<pxe::dhcp::Reply>),
    /// Say nothing, for this reason.
    Silence(String),
    /// Say nothing: it was not DHCP as a client speaks it.
    Malformed(String),
}

enum Input {
    Event(Box<Event>, oneshot::Sender<Result<Done, Refused>>),
    Dhcp(Vec<Question>, Answers),
    Address(AddressWish, oneshot::Sender<Result<(), Refused>>),
    Release { mac: Mac, done: oneshot::Sender<Result<LeaseChange, Refused>> },
    Escrow { node: NodeId, files: Vec<IdentityFile>, done: oneshot::Sender<Result<(), Refused>> },
    Identity { node: NodeId, done: oneshot::Sender<Result<Vec<IdentityFile>, Refused>> },
}

/// The way in for events, and the view of what they made.
#[derive(Clone, Debug)]
pub struct Core {
    inputs: mpsc::Sender<Input>,
    world: watch::Receiver<Arc<World>>,
    /// The event log.
    pub log: Log,
    /// The disk that the state is on.
    pub space: Space,
    /// Roles and services.
    pub catalog: Arc<Catalog>,
}

impl Input {
    /// How much of a batch it is.
    fn weight(&self) -> usize {
        match self {
            Input::Dhcp(questions, _) => questions.len(),
            Input::Event(..)
            | Input::Address(..)
            | Input::Release { .. }
            | Input::Escrow { .. }
            | Input::Identity { .. } => 1,
        }
    }
}

impl std::fmt::Debug for Input {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Input")
    }
}

impl Core {
    /// Loads the state and starts the writer's thread.
    ///
    /// # Errors
    /// [`StoreError`], when the state can't be read.
    pub fn start(
        store: Store,
        log: Log,
        catalog: Catalog,
        networks: Vec<Network>,
        site: Site,
    ) -> Result<(Core, std::thread::JoinHandle<()>), StoreError> {
        let (fleet, leases) = (store.fleet()?, store.leases()?);
        let nics = Nics::of(&fleet);
        let site = Site { addresses: nics.addresses(&leases), ..site };
        let world = World {
            fleet: Arc::new(fleet),
            leases,
            reservations: Arc::new(store.reservations()?),
            site: Arc::new(site),
            unsettled: Arc::default(),
            nics: Arc::new(nics),
            seq: store.last_seq()?,
        };
        let catalog = Arc::new(catalog);
        let (inputs, receiver) = mpsc::channel(QUEUE);
        let space = Space::new(store.folder());
        let networks: Arc<[Network]> = networks.into();
        let (shared, nets) = (Arc::clone(&catalog), Arc::clone(&networks));
        let (writer, work, failed) = Writer::new(world.clone(), shared, nets, space.clone());
        let (publish, view) = watch::channel(Arc::new(world));
        let checkpoints = store.checkpoints()?;
        let saver =
            Saver { store, checkpoints, publish, networks, space: space.clone(), refusing: None, failed };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let unstarted = |source| StoreError::Thread { source };
        let saving = thread("saver").spawn(move || saver.run(&work)).map_err(unstarted)?;
        let writing = thread("writer").spawn(move || {
            writer.run(receiver);
            // The writer is gone now: the saver ends when all is saved.
            drop(saving.join());
        });
        let thread = writing.map_err(unstarted)?;
        Ok((Core { inputs, world: view, log, space, catalog }, thread))
    }

    /// What is, as of the last commit.
    pub fn world(&self) -> Arc<World> {
        Arc::clone(&self.world.borrow())
    }

    /// A receiver that wakes whenever the world changes.
    pub fn watch(&self) -> watch::Receiver<Arc<World>> {
        self.world.clone()
    }

    /// Brings an event; returns when it is durable.
    ///
    /// # Errors
    /// [`Refused`]: nothing was changed.
    pub async fn bring(&self, event: Event) -> Result<Done, Refused> {
        let (done, answer) = oneshot::channel();
        self.send(Input::Event(Box::new(event), done)).await?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// Brings an event that nobody waits for, and that is no loss when the writer has too much to do already.
    pub fn mention(&self, event: Event) {
        let name = event.name();
        let (done, _) = oneshot::channel();
        if self.inputs.try_send(Input::Event(Box::new(event), done)).is_err() {
            tracing::debug!(event = name, "not recorded: the writer is behind");
        }
    }

    /// Brings one DHCP packet; what the answer promises is durable when this returns.
    pub async fn dhcp(&self, packet: Packet) -> DhcpAnswer {
        let (answers, mut answer) = mpsc::unbounded_channel();
        match packet.read() {
            Ok(question) => self.ask(vec![question], &answers).await,
            Err(malformed) => return DhcpAnswer::Malformed(malformed.to_string()),
        }
        drop(answers);
        let answered = answer.recv().await.and_then(|mut answers| answers.pop());
        answered.unwrap_or_else(|| DhcpAnswer::Silence(Refused::Stopping.to_string()))
    }

    /// Brings DHCP packets. There is one answer for each, unless the daemon is stopping; what it promises is durable
    /// when it comes.
    pub async fn ask(&self, questions: Vec<Question>, answers: &Answers) {
        // Not taken: the daemon is stopping, and nobody hears the silence.
        drop(self.send(Input::Dhcp(questions, answers.clone())).await);
    }

    /// Fixes or reserves an address, or takes that back.
    ///
    /// # Errors
    /// [`Refused`]: taken, outside the subnet, nothing reserved, ….
    pub async fn address(&self, wish: AddressWish) -> Result<(), Refused> {
        let (done, answer) = oneshot::channel();
        self.send(Input::Address(wish, done)).await?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// Gives a NIC's address back; what was changed, with the address's quarantine where its client may still use it.
    ///
    /// # Errors
    /// [`Refused`]: it is a node's, or there is none.
    pub async fn release(&self, mac: Mac) -> Result<LeaseChange, Refused> {
        let (done, answer) = oneshot::channel();
        self.send(Input::Release { mac, done }).await?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// Keeps a node's identity files.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn escrow(&self, node: NodeId, files: Vec<IdentityFile>) -> Result<(), Refused> {
        let (done, answer) = oneshot::channel();
        self.send(Input::Escrow { node, files, done }).await?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// The identity files that are kept for a node.
    ///
    /// # Errors
    /// [`Refused`].
    pub async fn identity(&self, node: NodeId) -> Result<Vec<IdentityFile>, Refused> {
        let (done, answer) = oneshot::channel();
        self.send(Input::Identity { node, done }).await?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    async fn send(&self, input: Input) -> Result<(), Refused> {
        self.inputs.send(input).await.map_err(|_| Refused::Stopping)
    }
}

/// The controller's time.
pub fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Time(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// The same address in the words of the agents' protocol.
pub(crate) fn hardware(mac: Mac) -> Option<HardwareAddress> {
    mac.to_string().parse().ok()
}

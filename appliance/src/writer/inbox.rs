//! The way in for events, and the view of what they made.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

use fleet::journal::Actor;
use fleet::{Catalog, Change, Event, Site};
use protocol::{HardwareAddress, IdentityFile, NodeId};
use pxe::Mac;
use pxe::dhcp::LeaseChange;
use pxe::files::StoreFile;
use pxe::trace::Answer;
use tokio::sync::{mpsc, oneshot, watch};

use super::network::follow;
use super::nics::Nics;
use super::run::Writer;
use super::saver::Saver;
use super::{AddressWish, Answers, DhcpAnswer, Done, Packet, Question, Refused, Wired, World};
use crate::journal::Command;
use crate::space::Space;
use crate::store::{Log, Store, StoreError};
use crate::trace::Recorder;

/// How many events may wait; beyond, whoever brings one waits too.
const QUEUE: usize = 4096;

/// What is brought, and for whom.
pub(super) struct Brought {
    pub(super) input: Input,
    /// The command of a person that it is part of.
    pub(super) by: Option<Arc<Command>>,
}

/// What is brought, and who waits for what comes of it.
pub(super) enum Input {
    Event(Box<Event>, oneshot::Sender<Result<Done, Refused>>),
    Dhcp(Vec<Question>, Answers),
    Address(AddressWish, oneshot::Sender<Result<(), Refused>>),
    Release {
        mac: Mac,
        done: oneshot::Sender<Result<LeaseChange, Refused>>,
    },
    Escrow {
        node: NodeId,
        files: Vec<IdentityFile>,
        done: oneshot::Sender<Result<(), Refused>>,
    },
    Identity {
        node: NodeId,
        done: oneshot::Sender<Result<Vec<IdentityFile>, Refused>>,
    },
    /// A command that needs nothing of the writer, or was refused before.
    Commanded {
        why: Option<String>,
        done: oneshot::Sender<Result<(), Refused>>,
    },
    /// Something that is written down, and that nothing is changed by.
    Note {
        kind: &'static str,
        body: serde_json::Value,
        done: oneshot::Sender<Result<(), Refused>>,
    },
    Probed {
        free: BTreeSet<Ipv4Addr>,
        used: BTreeMap<Ipv4Addr, HardwareAddress>,
        done: oneshot::Sender<bool>,
    },
    Extras {
        extras: BTreeSet<StoreFile>,
        done: oneshot::Sender<bool>,
    },
}

/// The way in for events, and the view of what they made.
#[derive(Clone, Debug)]
pub struct Core {
    inputs: mpsc::Sender<Brought>,
    /// On whose behalf everything is brought by this.
    by: Option<Arc<Command>>,
    world: watch::Receiver<Arc<World>>,
    /// The event log.
    pub log: Log,
    /// The disk that the state is on.
    pub space: Space,
    /// Roles and services.
    pub catalog: Arc<Catalog>,
    /// What booting machines sent and were answered; in memory only.
    pub boots: Recorder,
}

impl Input {
    /// How much of a batch it is.
    pub(super) fn weight(&self) -> usize {
        match self {
            Input::Dhcp(questions, _) => questions.len(),
            Input::Event(..)
            | Input::Address(..)
            | Input::Release { .. }
            | Input::Escrow { .. }
            | Input::Identity { .. }
            | Input::Commanded { .. }
            | Input::Note { .. }
            | Input::Probed { .. }
            | Input::Extras { .. } => 1,
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
        networks: Vec<Wired>,
        site: Site,
    ) -> Result<(Core, std::thread::JoinHandle<()>), StoreError> {
        let (mut fleet, leases) = (store.fleet()?, store.leases()?);
        for Wired { dhcp, rule } in &networks {
            fleet.put(Change::Network(Box::new(fleet::network::Network::new(dhcp, *rule))));
        }
        let mut networks = networks.into_iter().map(|wired| wired.dhcp).collect::<Vec<_>>();
        networks.iter_mut().for_each(|network| follow(network, &fleet));
        let nics = Nics::of(&fleet);
        let site = Site { addresses: nics.addresses(&leases), ..site };
        let world = World {
            fleet: Arc::new(fleet),
            leases,
            networks: Arc::new(networks),
            history: Arc::new(store.boots()?),
            reservations: Arc::new(store.reservations()?),
            site: Arc::new(site),
            unsettled: Arc::default(),
            nics: Arc::new(nics),
            seq: store.last_seq()?,
        };
        let catalog = Arc::new(catalog);
        let (inputs, receiver) = mpsc::channel(QUEUE);
        let space = Space::new(store.folder());
        let (writer, work, failed) = Writer::new(world.clone(), Arc::clone(&catalog), space.clone());
        let (publish, view) = watch::channel(Arc::new(world));
        let (checkpoints, heads) = (store.checkpoints()?, store.heads()?);
        let saver =
            Saver { store, checkpoints, heads, publish, space: space.clone(), refusing: None, failed };
        let thread = |name: &str| std::thread::Builder::new().name(name.to_owned());
        let unstarted = |source| StoreError::Thread { source };
        let saving = thread("saver").spawn(move || saver.run(&work)).map_err(unstarted)?;
        let writing = thread("writer").spawn(move || {
            writer.run(receiver);
            // The writer is gone now: the saver ends when all is saved.
            drop(saving.join());
        });
        let thread = writing.map_err(unstarted)?;
        let boots = Recorder::default();
        Ok((Core { inputs, by: None, world: view, log, space, catalog, boots }, thread))
    }

    /// The same way in, for what a person has asked for: all that is brought by it is written down as part of that.
    pub fn on_behalf(&self, by: &Arc<Command>) -> Core {
        Core { by: Some(Arc::clone(by)), ..self.clone() }
    }

    /// Who has asked for what is brought by it; none: no person.
    pub fn actor(&self) -> Option<Actor> {
        self.by.as_ref().map(|by| by.actor())
    }

    /// Writes the command down that this is on behalf of, if that has not happened yet; or why it was refused.
    ///
    /// # Errors
    /// [`Refused::Unsaved`].
    pub async fn commanded(&self, why: Option<String>) -> Result<(), Refused> {
        let (done, answer) = oneshot::channel();
        self.send(Input::Commanded { why, done }).await?;
        answer.await.map_err(|_| Refused::Stopping)?
    }

    /// Writes something into the journal that nothing else is changed by.
    ///
    /// # Errors
    /// [`Refused::Unsaved`].
    pub async fn note(&self, kind: &'static str, body: serde_json::Value) -> Result<(), Refused> {
        let (done, answer) = oneshot::channel();
        self.send(Input::Note { kind, body, done }).await?;
        answer.await.map_err(|_| Refused::Stopping)?
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
        let input = Input::Event(Box::new(event), done);
        if self.inputs.try_send(Brought { input, by: None }).is_err() {
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
        let stopping = || DhcpAnswer::Silence(Answer::unable(&Refused::Stopping.to_string()));
        answered.map_or_else(stopping, |answered| answered.answer)
    }

    /// Brings DHCP packets. There is one answer for each, unless the daemon is stopping; what it promises is durable
    /// when it comes.
    pub async fn ask(&self, questions: Vec<Question>, answers: &Answers) {
        // Not taken: the daemon is stopping, and nobody hears the silence.
        drop(self.send(Input::Dhcp(questions, answers.clone())).await);
    }

    /// Tells which free addresses were found to be used by nobody, and which by whom; whether that was noted.
    pub async fn probed(&self, free: BTreeSet<Ipv4Addr>, used: BTreeMap<Ipv4Addr, HardwareAddress>) -> bool {
        let (done, answer) = oneshot::channel();
        self.send(Input::Probed { free, used, done }).await.is_ok() && answer.await.unwrap_or(false)
    }

    /// Tells what the boot store has beyond what it must have; whether that was noted.
    pub async fn boot_store_has(&self, extras: BTreeSet<StoreFile>) -> bool {
        let (done, answer) = oneshot::channel();
        self.send(Input::Extras { extras, done }).await.is_ok() && answer.await.unwrap_or(false)
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
        let brought = Brought { input, by: self.by.clone() };
        self.inputs.send(brought).await.map_err(|_| Refused::Stopping)
    }
}

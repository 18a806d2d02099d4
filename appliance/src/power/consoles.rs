//! Serial consoles that are open: one line to each management controller, and all who look at it.
//!
//! `fleet::power::console` says who may open one and who has its keyboard; this does it, and looks every half second whether that
//! still holds. What the server has said last is kept as long as somebody is there, so that whoever comes later sees a screen.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use fleet::power::console::{hung_up, must_wait};
use fleet::power::{Console, ConsoleEvent, Fault, Kind, Line, PowerEvent};
use fleet::{Event, Reply};
use protocol::NodeId;
use tokio::sync::{broadcast, mpsc};

use super::sol::{self, Sol};
use super::{Vault, redfish};
use crate::listen::Stop;
use crate::writer::{Core, Refused};

/// Bytes of what was said last that are kept.
const PAST: usize = 64 << 10;
/// Pieces that whoever looks may be behind, before some are left out.
const BEHIND: usize = 512;
/// How long a controller that is asked something else is waited for, and a console that another opens: longer than a request takes.
const WAIT: Duration = Duration::from_secs(70);
const PACE: Duration = Duration::from_millis(500);
/// What the program has to give the line back.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why somebody gets no console.
#[derive(Debug, thiserror::Error)]
pub enum NoConsole {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The controller says no, or nothing.
    #[error("the console of {0} does not open: {1}")]
    Fault(String, String),
}

/// What all who look are told.
#[derive(Clone, Debug)]
pub enum Heard {
    /// The server says this.
    Bytes(Arc<[u8]>),
    /// Whoever had this keyboard has it no more, and who has.
    Taken(u64, String),
    /// Nothing more comes.
    End(String),
}

/// All consoles.
#[derive(Clone, Debug)]
pub struct Consoles {
    core: Core,
    vault: Arc<Vault>,
    stop: Stop,
    open: Arc<Mutex<BTreeMap<NodeId, Arc<Hub>>>>,
}

/// What all who look at one console share.
#[derive(Debug)]
struct Hub {
    number: u64,
    said: broadcast::Sender<Heard>,
    typed: mpsc::Sender<(u64, Vec<u8>)>,
    gone: mpsc::UnboundedSender<Option<u64>>,
    past: Mutex<Past>,
}

/// What was said last, and whether anything more comes.
#[derive(Debug, Default)]
struct Past {
    bytes: VecDeque<u8>,
    over: bool,
}

/// Somebody who looks, and may type.
#[derive(Debug)]
pub struct Seat {
    hub: Arc<Hub>,
    /// The number of the keyboard; none: only looks.
    pub keyboard: Option<u64>,
    /// What is said from now on.
    pub said: broadcast::Receiver<Heard>,
    /// What was said before.
    pub past: Vec<u8>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.hub.gone.send(self.keyboard).ok();
    }
}

impl Seat {
    /// Types; what whoever has lost the keyboard types goes nowhere.
    pub async fn types(&self, bytes: &[u8]) {
        self.sends(sol::typed(bytes)).await;
    }

    /// Sends a serial break.
    pub async fn breaks(&self) {
        self.sends(sol::BREAK.to_vec()).await;
    }

    async fn sends(&self, bytes: Vec<u8>) {
        if let Some(keyboard) = self.keyboard {
            drop(self.hub.typed.send((keyboard, bytes)).await);
        }
    }
}

/// Who wants a console, and how.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The person's name.
    pub by: String,
    /// With the keyboard.
    pub types: bool,
    /// Also from somebody who has it.
    pub take: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    /// A seat; none, when it has just ended.
    fn seat(self: &Arc<Self>, keyboard: Option<u64>) -> Option<Seat> {
        // Under the lock nothing is said between the one and the other.
        let past = lock(&self.past);
        let (said, bytes) = (self.said.subscribe(), past.bytes.iter().copied().collect());
        (!past.over).then(|| Seat { hub: Arc::clone(self), keyboard, said, past: bytes })
    }

    /// Nothing more comes.
    fn ends(&self, why: String) {
        let mut past = lock(&self.past);
        past.over = true;
        drop(self.said.send(Heard::End(why)));
    }

    fn says(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut past = lock(&self.past);
        past.bytes.extend(bytes);
        let surplus = past.bytes.len().saturating_sub(PAST);
        past.bytes.drain(..surplus);
        drop(self.said.send(Heard::Bytes(bytes.into())));
    }

    /// The end of what was said, where the program says why it ended.
    fn last_words(&self) -> String {
        let past = lock(&self.past);
        let last = past.bytes.iter().rev().take(120).rev().copied().collect::<Vec<_>>();
        String::from_utf8_lossy(&last).into_owned()
    }
}

impl Consoles {
    /// With this key for passwords.
    pub fn new(core: Core, vault: Arc<Vault>, stop: Stop) -> Self {
        Self { core, vault, stop, open: Arc::default() }
    }

    /// Ends, in the state, what an earlier life had open.
    pub async fn begin(&self) {
        for (node, event) in hung_up(&self.core.world().fleet) {
            drop(self.core.bring(about(node, event)).await);
        }
    }

    /// A seat at a node's console, on behalf of somebody; opened, when there is none.
    ///
    /// # Errors
    /// [`NoConsole`].
    pub async fn seat(self, core: Core, node: NodeId, visitor: Visitor) -> Result<Seat, NoConsole> {
        let until = Instant::now() + WAIT;
        let waits = || {
            self.core
                .world()
                .fleet
                .powers
                .get(&node)
                .is_some_and(|power| must_wait(&self.core.world().fleet, power))
        };
        while waits() && Instant::now() < until {
            tokio::time::sleep(PACE / 2).await;
        }
        let before = self.console(node).and_then(|console| console.keyboard);
        let Visitor { by, types, take } = visitor.clone();
        let event = about(node, ConsoleEvent::Open { by: by.clone(), types, take });
        let Reply::Console(line) = core.bring(event).await?.reply else {
            return Err(NoConsole::Fault(self.name(node), "nobody answered".to_owned()));
        };
        let hub = match line.account.is_some() {
            true => self.open(core, node, &line, take).await?,
            false => self.join(node, line.number, until).await?,
        };
        if let (Some(before), Some(_)) = (before, line.keyboard) {
            drop(hub.said.send(Heard::Taken(before.number, by)));
        }
        let over = || NoConsole::Fault(self.name(node), "it has just ended: try again".to_owned());
        hub.seat(line.keyboard).ok_or_else(over)
    }

    fn console(&self, node: NodeId) -> Option<Console> {
        self.core.world().fleet.powers.get(&node)?.console.clone()
    }

    fn name(&self, node: NodeId) -> String {
        self.core.world().fleet.nodes.get(&node).map_or_else(String::new, |node| node.name.to_string())
    }

    /// The console that another is opening, or has open.
    async fn join(&self, node: NodeId, number: u64, until: Instant) -> Result<Arc<Hub>, NoConsole> {
        loop {
            let known = lock(&self.open).get(&node).filter(|hub| hub.number == number).cloned();
            if let Some(hub) = known {
                return Ok(hub);
            }
            let over = self.console(node).is_none_or(|console| console.number != number);
            if over || Instant::now() >= until {
                return Err(NoConsole::Fault(self.name(node), "whoever opened it did not get in".to_owned()));
            }
            tokio::time::sleep(PACE / 4).await;
        }
    }

    async fn open(&self, core: Core, node: NodeId, line: &Line, take: bool) -> Result<Arc<Hub>, NoConsole> {
        let number = line.number;
        let sol = match self.reach(node, line, take).await {
            Ok(sol) => sol,
            Err(fault) => {
                let why = fault.why().to_owned();
                let closed = ConsoleEvent::Closed { number, fault: Some(fault) };
                drop(core.bring(about(node, closed)).await);
                return Err(NoConsole::Fault(self.name(node), why));
            }
        };
        core.bring(about(node, ConsoleEvent::Opened { number })).await?;
        let ((typed, typing), (gone, going)) = (mpsc::channel(16), mpsc::unbounded_channel());
        let hub =
            Arc::new(Hub { number, said: broadcast::channel(BEHIND).0, typed, gone, past: Mutex::default() });
        lock(&self.open).insert(node, Arc::clone(&hub));
        let keeping = Keeping { all: self.clone(), core, node, hub: Arc::clone(&hub), sol, typing, going };
        tokio::spawn(keeping.keep());
        Ok(hub)
    }

    async fn reach(&self, node: NodeId, line: &Line, take: bool) -> Result<Sol, Fault> {
        let account = line.account.as_ref().ok_or_else(|| Fault::Refused("it has no account".to_owned()))?;
        let secret = self.vault.open(node, account).map_err(|error| Fault::Login(error.to_string()))?;
        match account.kind {
            Kind::Ipmi => Sol::open(account, &secret, take).await,
            Kind::Redfish => Err(redfish::console(account, secret).await),
            Kind::Wol | Kind::Manual => Err(Fault::Refused("it has no management controller".to_owned())),
        }
    }
}

fn about(node: NodeId, event: ConsoleEvent) -> Event {
    Event::Power { node, what: Box::new(PowerEvent::Console(event)) }
}

/// What keeps one console.
struct Keeping {
    all: Consoles,
    core: Core,
    node: NodeId,
    hub: Arc<Hub>,
    sol: Sol,
    typing: mpsc::Receiver<(u64, Vec<u8>)>,
    going: mpsc::UnboundedReceiver<Option<u64>>,
}

/// How a console ended.
enum End {
    Nobody,
    Fault(Fault),
    /// The state says that it is over.
    Revoked,
}

impl Keeping {
    async fn keep(mut self) {
        let end = self.carry().await;
        let (text, fault) = match end {
            End::Nobody => ("nobody is there".to_owned(), None),
            End::Fault(fault) => (fault.why().to_owned(), Some(fault)),
            End::Revoked => ("its account was changed, or its node is gone".to_owned(), None),
        };
        lock(&self.all.open).remove(&self.node);
        self.hub.ends(text);
        let closed = ConsoleEvent::Closed { number: self.hub.number, fault };
        // It may be over there already.
        drop(self.core.bring(about(self.node, closed)).await);
        let leaving = async {
            if self.sol.typed.send(sol::CLOSE.to_vec()).await.is_ok() {
                while self.sol.said.next().await.is_some() {}
            }
        };
        // What does not end by itself is killed with this.
        drop(tokio::time::timeout(FAREWELL, leaving).await);
    }

    /// Passes on what is said and typed, until something ends it.
    async fn carry(&mut self) -> End {
        self.hub.says(&std::mem::take(&mut self.sol.first));
        let mut left = Vec::new();
        let mut stop = self.all.stop.clone();
        let mut pace = tokio::time::interval(PACE);
        let mut seated = false;
        loop {
            tokio::select! {
                said = self.sol.said.next() => match said {
                    Some(piece) => self.hub.says(&piece),
                    None => return End::Fault(sol::ended(&self.hub.last_words())),
                },
                sent = self.sol.typed.send(left.clone()), if !left.is_empty() => match sent {
                    Ok(()) => left.clear(),
                    Err(_) => return End::Fault(sol::ended(&self.hub.last_words())),
                },
                Some((keyboard, bytes)) = self.typing.recv(), if left.is_empty() => {
                    let holds = self.all.console(self.node).and_then(|console| console.keyboard);
                    if holds.is_some_and(|own| own.number == keyboard) {
                        left = bytes;
                    }
                }
                Some(keyboard) = self.going.recv() => {
                    if let Some(keyboard) = keyboard {
                        // Refused where it was taken.
                        drop(self.core.bring(about(self.node, ConsoleEvent::Left { keyboard })).await);
                    }
                    if self.hub.said.receiver_count() == 0 {
                        return End::Nobody;
                    }
                }
                _ = pace.tick() => {
                    if self.all.console(self.node).is_none_or(|console| console.number != self.hub.number) {
                        return End::Revoked;
                    }
                    // Whoever asked may have gone before there was a seat.
                    let empty = self.hub.said.receiver_count() == 0;
                    if empty && seated {
                        return End::Nobody;
                    }
                    seated = true;
                }
                _ = stop.changed() => return End::Fault(Fault::Lost("the controller stops".to_owned())),
            }
        }
    }
}

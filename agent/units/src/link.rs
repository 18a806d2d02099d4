//! One connection to systemd and the ear on it. Knows how to open it and how to sort what is heard; refuses to
//! decide anything: those who wait for a job or watch a unit register here and are told.
//!
//! A single task empties the connection all the time. Nobody reads signals at the pace of his own work, because a
//! full queue would stop the very reply he is waiting for.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures_core::Stream;
use systemd_zbus::{JobRemoved, ManagerProxy, Reloading, UnitNew, UnitRemoved};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;
use zbus::proxy::CacheProperties;
use zbus::{Address, Connection, Message, MessageStream, connection, fdo};

use crate::{JobOutcome, UnitError, UnitName};

pub(crate) const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const UNIT_PATHS: &str = "/org/freedesktop/systemd1/unit";
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";

/// A connection is open within this time or counts as lost.
const OPENING: Duration = Duration::from_secs(5);
/// The longest silence after a request: reloading a loaded machine's units takes that long under emulation.
const ANSWER: Duration = Duration::from_secs(120);

/// An open connection, subscribed to systemd's signals. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) manager: ManagerProxy<'static>,
    pub(crate) hub: Arc<Hub>,
    ear: JoinHandle<()>,
}

impl Link {
    pub(crate) async fn open(address: &Address, doing: &str) -> Result<Arc<Link>, UnitError> {
        match tokio::time::timeout(OPENING, Self::subscribed(address)).await {
            Ok(Ok(link)) => Ok(Arc::new(link)),
            Ok(Err(source)) => Err(UnitError::lost(doing, source)),
            Err(elapsed) => Err(UnitError::lost(doing, elapsed)),
        }
    }

    async fn subscribed(address: &Address) -> zbus::Result<Link> {
        let connection =
            connection::Builder::address(address.clone())?.method_timeout(ANSWER).build().await?;
        let hub = Arc::new(Hub::default());
        // The ear is up before the first signal is asked for, so none can be missed.
        let stream = MessageStream::from(&connection);
        let ear = tokio::spawn(listen(stream, Arc::clone(&hub)));
        let manager =
            ManagerProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
        let link = Link { manager, hub, ear };
        let bus = fdo::DBusProxy::builder(&connection).cache_properties(CacheProperties::No).build().await?;
        for rule in rules()? {
            bus.add_match_rule(rule).await?;
        }
        let owner = bus.get_name_owner(SYSTEMD.try_into()?).await?;
        // Set once, here: an owner that changes later ends the link.
        let _ = link.hub.owner.set(owner.to_string());
        link.manager.subscribe().await?;
        Ok(link)
    }

    pub(crate) fn connection(&self) -> &Connection {
        self.manager.inner().connection()
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.hub.deaf.load(Ordering::Acquire) && !self.connection().is_closed()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ear.abort();
        self.hub.lost();
    }
}

fn rules() -> zbus::Result<[zbus::MatchRule<'static>; 3]> {
    let rule = || zbus::MatchRule::builder().msg_type(zbus::message::Type::Signal);
    Ok([
        rule().sender(BUS)?.interface(BUS)?.member("NameOwnerChanged")?.arg(0, SYSTEMD)?.build(),
        rule().sender(SYSTEMD)?.interface(MANAGER)?.path(MANAGER_PATH)?.build(),
        rule()
            .sender(SYSTEMD)?
            .interface(PROPERTIES)?
            .member("PropertiesChanged")?
            .path_namespace(UNIT_PATHS)?
            .build(),
    ])
}

async fn listen(mut stream: MessageStream, hub: Arc<Hub>) {
    while let Some(Ok(message)) = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_next(cx)).await {
        match heard(&message, hub.owner.get().map(String::as_str)) {
            Some(Heard::SystemdGone) => break,
            Some(Heard::JobEnded(end)) => hub.job_ended(&end),
            Some(Heard::Unit(path)) => hub.unit_changed(&path, None),
            Some(Heard::UnitNamed { name, path }) => hub.unit_changed(&path, Some(&name)),
            Some(Heard::Files) => hub.files_changed(),
            None => {}
        }
    }
    hub.lost();
}

#[derive(Debug, PartialEq, Eq)]
enum Heard {
    JobEnded(JobEnd),
    Unit(String),
    UnitNamed { name: String, path: String },
    Files,
    SystemdGone,
}

/// A job that is over, as its removal was announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobEnd {
    pub(crate) job: String,
    pub(crate) outcome: JobOutcome,
}

/// Sorts one message. The sender is checked here: the bus lets anybody send anybody a signal.
fn heard(message: &Message, owner: Option<&str>) -> Option<Heard> {
    let header = message.header();
    let sender = header.sender()?.as_str();
    let (interface, member) = (header.interface()?.as_str(), header.member()?.as_str());
    if message.message_type() != zbus::message::Type::Signal {
        return None;
    }
    if sender == BUS && member == "NameOwnerChanged" {
        let (name, _, _): (String, String, String) = message.body().deserialize().ok()?;
        return (name == SYSTEMD).then_some(Heard::SystemdGone);
    }
    if Some(sender) != owner {
        return None;
    }
    if interface == PROPERTIES {
        return Some(Heard::Unit(header.path()?.to_string()));
    }
    if interface != MANAGER {
        return None;
    }
    manager_said(message, member)
}

fn manager_said(message: &Message, member: &str) -> Option<Heard> {
    match member {
        "JobRemoved" => {
            let signal = JobRemoved::from_message(message.clone())?;
            let args = signal.args().ok()?;
            let outcome = JobOutcome::from(args.result.to_owned());
            Some(Heard::JobEnded(JobEnd { job: args.job.to_string(), outcome }))
        }
        "UnitNew" => {
            let signal = UnitNew::from_message(message.clone())?;
            let args = signal.args().ok()?;
            Some(Heard::UnitNamed { name: args.id.to_owned(), path: args.unit.to_string() })
        }
        "UnitRemoved" => {
            let signal = UnitRemoved::from_message(message.clone())?;
            let args = signal.args().ok()?;
            Some(Heard::UnitNamed { name: args.id.to_owned(), path: args.unit.to_string() })
        }
        "Reloading" => {
            let signal = Reloading::from_message(message.clone())?;
            (!signal.args().ok()?.active).then_some(Heard::Files)
        }
        "UnitFilesChanged" => Some(Heard::Files),
        _ => None,
    }
}

/// Who wants to be told what.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    owner: OnceLock<String>,
    deaf: AtomicBool,
    ears: Mutex<Ears>,
}

#[derive(Debug, Default)]
struct Ears {
    jobs: Vec<mpsc::UnboundedSender<JobEnd>>,
    watches: Vec<Weak<Inbox>>,
}

impl Hub {
    /// Every job that ends from now on; the stream ends when the connection does. Unbounded on purpose: whoever
    /// takes it waits for one reply and one signal, and drops it.
    pub(crate) fn jobs(&self) -> mpsc::UnboundedReceiver<JobEnd> {
        let (tell, ends) = mpsc::unbounded_channel();
        let mut ears = lock(&self.ears);
        if !self.deaf.load(Ordering::Acquire) {
            ears.jobs.push(tell);
        }
        ends
    }

    /// From now on `inbox` is told about its units, until it is dropped or the connection is lost.
    pub(crate) fn watch(&self, inbox: &Arc<Inbox>) {
        let mut ears = lock(&self.ears);
        if self.deaf.load(Ordering::Acquire) {
            inbox.connection_lost();
        } else {
            ears.watches.push(Arc::downgrade(inbox));
        }
    }

    fn job_ended(&self, end: &JobEnd) {
        lock(&self.ears).jobs.retain(|tell| tell.send(end.clone()).is_ok());
    }

    fn unit_changed(&self, path: &str, name: Option<&str>) {
        self.each_watch(|inbox| inbox.unit_changed(path, name));
    }

    fn files_changed(&self) {
        self.each_watch(Inbox::all_changed);
    }

    fn each_watch(&self, tell: impl Fn(&Inbox)) {
        lock(&self.ears).watches.retain(|weak| weak.upgrade().inspect(|inbox| tell(inbox)).is_some());
    }

    fn lost(&self) {
        let mut ears = lock(&self.ears);
        self.deaf.store(true, Ordering::Release);
        ears.jobs.clear();
        for inbox in ears.watches.drain(..).filter_map(|weak| weak.upgrade()) {
            inbox.connection_lost();
        }
    }
}

/// How thoroughly a unit has to be read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Depth {
    /// It changed: look, but do not make systemd load it. Loading announces the unit, and that would be heard
    /// as the next change: a circle.
    Look,
    /// Its files may have changed: load it.
    Load,
}

/// What a watch has to look at again. Holds one entry per unit however many signals come, so a watch nobody reads
/// costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    post: Mutex<Post>,
    bell: Notify,
}

#[derive(Debug, Default)]
struct Post {
    /// Watched units and the bus path each was last found at (an alias lives at its target's path).
    paths: BTreeMap<UnitName, Option<String>>,
    stale: BTreeMap<UnitName, Depth>,
    lost: bool,
}

/// What an inbox holds at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) lost: bool,
    pub(crate) stale: BTreeMap<UnitName, Depth>,
}

impl Inbox {
    pub(crate) fn new(names: &BTreeSet<UnitName>) -> Arc<Inbox> {
        let paths = names.iter().map(|name| (name.clone(), None)).collect();
        Arc::new(Inbox { post: Mutex::new(Post { paths, ..Post::default() }), bell: Notify::new() })
    }

    /// Waits until there is something to look at. May be dropped and called again without losing any.
    pub(crate) async fn take(&self) -> Taken {
        loop {
            // Made before looking: a bell rung in between is kept for it.
            let rung = self.bell.notified();
            if let Some(taken) = self.taken() {
                return taken;
            }
            rung.await;
        }
    }

    fn taken(&self) -> Option<Taken> {
        let mut post = lock(&self.post);
        let lost = std::mem::take(&mut post.lost);
        let stale = std::mem::take(&mut post.stale);
        (lost || !stale.is_empty()).then_some(Taken { lost, stale })
    }

    /// Everything is to be read again, from the ground up.
    pub(crate) fn all_changed(&self) {
        let mut post = lock(&self.post);
        post.stale = post.paths.keys().map(|name| (name.clone(), Depth::Load)).collect();
        drop(post);
        self.bell.notify_one();
    }

    /// Remembers where the unit lives, for the signals to come.
    pub(crate) fn found_at(&self, name: &UnitName, path: &str) {
        if let Some(known) = lock(&self.post).paths.get_mut(name) {
            *known = Some(path.to_owned());
        }
    }

    fn unit_changed(&self, path: &str, id: Option<&str>) {
        let mut post = lock(&self.post);
        let Post { paths, stale, .. } = &mut *post;
        let before = stale.len();
        for (name, known) in paths {
            if known.as_deref() == Some(path) || id == Some(name.as_str()) {
                stale.entry(name.clone()).or_insert(Depth::Look);
            }
        }
        let more = stale.len() > before;
        drop(post);
        if more {
            self.bell.notify_one();
        }
    }

    fn connection_lost(&self) {
        lock(&self.post).lost = true;
        self.bell.notify_one();
    }
}

/// No code of ours panics while it holds one of these locks; a poisoned one still holds whole data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

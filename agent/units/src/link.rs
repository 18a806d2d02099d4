//! One connection to systemd and the ear on it. Knows how to open it and how to sort what is heard; refuses to
//! decide anything: those who wait for a job or watch a unit register here and are told.
//!
//! A single task empties the connection all the time. Nobody reads signals at the pace of his own work, because a
//! full queue would stop the very reply he is waiting for.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use systemd_zbus::{JobRemoved, ManagerProxy, Reloading, UnitNew, UnitRemoved};
use tokio::task::JoinHandle;
use zbus::proxy::CacheProperties;
use zbus::{Address, Connection, Message, MessageStream, connection, fdo};

use crate::hub::{Hub, JobEnd};
use crate::{JobOutcome, UnitError};

pub(crate) const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const UNIT_PATHS: &str = "/org/freedesktop/systemd1/unit";
pub(crate) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const BUS: &str = "org.freedesktop.DBus";

/// A connection is open within this time or counts as lost.
const OPENING: Duration = Duration::from_secs(5);
/// Pause between two looks for systemd on a bus that is there.
const RETRY: Duration = Duration::from_millis(50);
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
        let owner = owner(&bus).await?;
        // From here on a change of the owner ends the link; one that came before is caught by asking again.
        let _ = link.hub.owner.set(owner.clone());
        if bus.get_name_owner(SYSTEMD.try_into()?).await?.as_str() != owner {
            return Err(zbus::Error::Failure("systemd is restarting".to_owned()));
        }
        link.manager.subscribe().await?;
        Ok(link)
    }

    pub(crate) fn connection(&self) -> &Connection {
        self.manager.inner().connection()
    }

    pub(crate) fn is_up(&self) -> bool {
        !self.hub.is_deaf() && !self.connection().is_closed()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.ear.abort();
        self.hub.lost();
    }
}

/// Who systemd is on this bus. After a restart of the bus or of systemd itself that takes a moment, which is waited
/// out here; how long at most is up to the caller.
async fn owner(bus: &fdo::DBusProxy<'_>) -> zbus::Result<String> {
    loop {
        match bus.get_name_owner(SYSTEMD.try_into()?).await {
            Ok(owner) => return Ok(owner.to_string()),
            Err(fdo::Error::NameHasNoOwner(_)) => tokio::time::sleep(RETRY).await,
            Err(other) => return Err(other.into()),
        }
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

/// Sorts one message. The sender is checked here: the bus lets anybody send anybody a signal.
fn heard(message: &Message, owner: Option<&str>) -> Option<Heard> {
    let header = message.header();
    let sender = header.sender()?.as_str();
    let (interface, member) = (header.interface()?.as_str(), header.member()?.as_str());
    if message.message_type() != zbus::message::Type::Signal {
        return None;
    }
    // Before the owner is known there is nobody to listen to, and nobody who could go away.
    let owner = owner?;
    if sender == BUS && member == "NameOwnerChanged" {
        let (name, _, new): (String, String, String) = message.body().deserialize().ok()?;
        return (name == SYSTEMD && new != owner).then_some(Heard::SystemdGone);
    }
    if sender != owner {
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

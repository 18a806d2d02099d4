//! Reads one unit. Knows which properties carry a state and that every word of them is free text; refuses the
//! closed enums of the binding, which turn one new word into a failed call.

use std::collections::BTreeMap;

use zbus::zvariant::{OwnedObjectPath, OwnedValue};

use crate::link::{Link, PROPERTIES, SYSTEMD};
use crate::{Active, Listed, UnitError, UnitKind, UnitName, UnitState};

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// A state and what only this crate needs beside it.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    pub(crate) state: UnitState,
    /// A job is queued for the unit.
    pub(crate) job: bool,
    /// The unit's `Condition…=` and `Assert…=` lines held when they were last looked at.
    pub(crate) conditions: bool,
}

/// How a service's main process ended, in waitid(2)'s numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MainExit {
    pub(crate) code: i32,
    pub(crate) status: i32,
}

type Values = BTreeMap<String, OwnedValue>;

/// Where a unit lives on the bus.
pub(crate) type Place = OwnedObjectPath;

/// Reads `name`, loading it first if need be.
pub(crate) async fn load(link: &Link, name: &UnitName, doing: &str) -> Result<Reading, UnitError> {
    let place = place_loaded(link, name, doing).await?;
    at(link, name, &place, doing).await
}

/// Reads `name` if systemd holds it in memory; `None` when it does not (then it is down).
pub(crate) async fn look(link: &Link, name: &UnitName, doing: &str) -> Result<Option<Reading>, UnitError> {
    match place_in_memory(link, name, doing).await? {
        Some(place) => at(link, name, &place, doing).await.map(Some),
        None => Ok(None),
    }
}

/// Where `name` lives, once systemd has loaded it. An alias lives where its target does.
pub(crate) async fn place_loaded(link: &Link, name: &UnitName, doing: &str) -> Result<Place, UnitError> {
    link.manager.load_unit(name.as_str()).await.map_err(|e| UnitError::from_wire(doing, e))
}

/// Where `name` lives if systemd holds it in memory.
pub(crate) async fn place_in_memory(
    link: &Link,
    name: &UnitName,
    doing: &str,
) -> Result<Option<Place>, UnitError> {
    match link.manager.get_unit(name.as_str()).await.map_err(|e| UnitError::from_wire(doing, e)) {
        Ok(place) => Ok(Some(place)),
        Err(UnitError::NoSuchUnit { .. }) => Ok(None),
        Err(other) => Err(other),
    }
}

/// Reads the unit that lives at `path`, and calls it `name`.
pub(crate) async fn at(
    link: &Link,
    name: &UnitName,
    path: &Place,
    doing: &str,
) -> Result<Reading, UnitError> {
    let unit: Values = ask(link, path, "GetAll", &(UNIT,), doing).await?;
    let result = match interface(name.kind()) {
        Some(own) => property(link, path, own, "Result", doing).await?.unwrap_or_default(),
        None => String::new(),
    };
    let main_pid = match name.kind() {
        UnitKind::Service => property(link, path, SERVICE, "MainPID", doing).await?.unwrap_or_default(),
        UnitKind::Socket | UnitKind::Target | UnitKind::Timer | UnitKind::Mount => 0,
    };
    reading(name, unit, result, main_pid)
        .ok_or_else(|| UnitError::unreadable(doing, "it names no ActiveState"))
}

fn reading(name: &UnitName, mut unit: Values, result: String, main_pid: u32) -> Option<Reading> {
    let mut word = |key| unit.remove(key).and_then(|value| String::try_from(value).ok());
    let active = Active::from(word("ActiveState")?);
    let [load, sub, file_state] =
        ["LoadState", "SubState", "UnitFileState"].map(|key| word(key).unwrap_or_default());
    let truth = |key| unit.get(key).and_then(|value| bool::try_from(value).ok()).unwrap_or(true);
    let conditions = truth("ConditionResult") && truth("AssertResult");
    let since_usec =
        unit.get("StateChangeTimestamp").and_then(|value| u64::try_from(value).ok()).unwrap_or_default();
    let job = unit.remove("Job").and_then(|value| <(u32, OwnedObjectPath)>::try_from(value).ok());
    let invocation = unit.remove("InvocationID").and_then(|value| Vec::<u8>::try_from(value).ok());
    Some(Reading {
        state: UnitState {
            name: name.clone(),
            load,
            active,
            sub,
            result,
            file_state,
            main_pid,
            invocation: invocation.filter(|id| !id.is_empty()).map(|id| hex(&id)),
            since_usec,
        },
        job: job.is_some_and(|(id, _)| id != 0),
        conditions,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The interface that holds the `Result` of a kind of unit; targets have none.
fn interface(kind: UnitKind) -> Option<&'static str> {
    match kind {
        UnitKind::Service => Some(SERVICE),
        UnitKind::Socket => Some("org.freedesktop.systemd1.Socket"),
        UnitKind::Timer => Some("org.freedesktop.systemd1.Timer"),
        UnitKind::Mount => Some("org.freedesktop.systemd1.Mount"),
        UnitKind::Target => None,
    }
}

/// Whether a service is one that does its work and ends (`Type=oneshot`).
pub(crate) async fn is_oneshot(link: &Link, name: &UnitName, doing: &str) -> Result<bool, UnitError> {
    let path = place_loaded(link, name, doing).await?;
    let kind: Option<String> = property(link, &path, SERVICE, "Type", doing).await?;
    Ok(kind.as_deref() == Some("oneshot"))
}

/// The name the service's output bears in the journal.
pub(crate) async fn log_name(link: &Link, name: &UnitName, doing: &str) -> Result<String, UnitError> {
    let path = place_loaded(link, name, doing).await?;
    Ok(property(link, &path, SERVICE, "SyslogIdentifier", doing).await?.unwrap_or_default())
}

/// How the main process of the service ended; zeros when none ever ran.
pub(crate) async fn main_exit(link: &Link, name: &UnitName, doing: &str) -> Result<MainExit, UnitError> {
    let path = place_loaded(link, name, doing).await?;
    let code = property(link, &path, SERVICE, "ExecMainCode", doing).await?.unwrap_or_default();
    let status = property(link, &path, SERVICE, "ExecMainStatus", doing).await?.unwrap_or_default();
    Ok(MainExit { code, status })
}

/// Units systemd holds in memory whose names match one of the patterns (all units when there is none).
pub(crate) async fn list(link: &Link, patterns: &[&str], doing: &str) -> Result<Vec<Listed>, UnitError> {
    /// A row of ListUnitsByPatterns: a(ssssssouso).
    type Row =
        (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);
    let no_states: [&str; 0] = [];
    let rows: Vec<Row> = link
        .manager
        .inner()
        .call("ListUnitsByPatterns", &(&no_states[..], patterns))
        .await
        .map_err(|e| UnitError::from_wire(doing, e))?;
    Ok(rows
        .into_iter()
        .map(|(name, description, load, active, sub, ..)| Listed {
            name,
            description,
            load,
            active: Active::from(active),
            sub,
        })
        .collect())
}

async fn property<T>(
    link: &Link,
    path: &Place,
    interface: &str,
    name: &str,
    doing: &str,
) -> Result<Option<T>, UnitError>
where
    T: TryFrom<OwnedValue>,
{
    let value: OwnedValue = ask(link, path, "Get", &(interface, name), doing).await?;
    Ok(T::try_from(value).ok())
}

async fn ask<B, R>(link: &Link, path: &Place, member: &str, body: &B, doing: &str) -> Result<R, UnitError>
where
    B: serde::Serialize + zbus::zvariant::DynamicType,
    R: for<'d> zbus::zvariant::DynamicDeserialize<'d>,
{
    let reply = link
        .connection()
        .call_method(Some(SYSTEMD), path, Some(PROPERTIES), member, body)
        .await
        .map_err(|e| UnitError::from_wire(doing, e))?;
    reply.body().deserialize().map_err(|e| UnitError::unreadable(doing, e))
}

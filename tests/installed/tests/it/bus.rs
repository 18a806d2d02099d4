//! A message bus, and on it a systemd of which every unit is up and whose jobs all succeed at once.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use futures_util::StreamExt as _;
use zbus::message::Type;
use zbus::zvariant::{ObjectPath, OwnedObjectPath, Value};
use zbus::{Connection, Message, MessageStream, connection};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";

/// Ended, by its pid, when dropped.
pub(crate) struct Bus {
    daemon: Child,
    address: String,
    _systemd: Connection,
}

impl Bus {
    pub(crate) async fn start(folder: &Path) -> Self {
        let address = format!("unix:path={}", folder.join("bus").display());
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon (package dbus) is needed for this test");
        let mut printed = std::io::BufReader::new(daemon.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut printed, &mut String::new()).unwrap();
        let builder = connection::Builder::address(address.as_str()).unwrap().name(SYSTEMD).unwrap();
        let systemd = builder.build().await.unwrap();
        tokio::spawn(answer(systemd.clone(), MessageStream::from(&systemd)));
        Self { daemon, address, _systemd: systemd }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        drop(self.daemon.kill());
        drop(self.daemon.wait());
    }
}

async fn answer(bus: Connection, mut calls: MessageStream) {
    let mut jobs = 0;
    while let Some(Ok(call)) = calls.next().await {
        if call.message_type() == Type::MethodCall {
            // Whoever has gone meanwhile needs no answer.
            drop(reply(&bus, &call, &mut jobs).await);
        }
    }
}

async fn reply(bus: &Connection, call: &Message, jobs: &mut u32) -> zbus::Result<()> {
    let header = call.header();
    let member = header.member().map(|member| member.as_str().to_owned()).unwrap_or_default();
    match member.as_str() {
        "Subscribe" | "Unsubscribe" | "ResetFailedUnit" | "Reload" | "RefUnit" | "UnrefUnit" => {
            bus.reply(&header, &()).await
        }
        "GetUnit" | "LoadUnit" => bus.reply(&header, &path("unit/any")).await,
        "GetUnitFileState" => bus.reply(&header, &"enabled").await,
        "GetAll" => bus.reply(&header, &unit()).await,
        "Get" => {
            let (_, name): (String, String) = call.body().deserialize()?;
            bus.reply(&header, &property(&name)).await
        }
        "ListUnitsByPatterns" => {
            type Row = (
                String,
                String,
                String,
                String,
                String,
                String,
                OwnedObjectPath,
                u32,
                String,
                OwnedObjectPath,
            );
            bus.reply(&header, &Vec::<Row>::new()).await
        }
        "StartUnit" | "StopUnit" | "RestartUnit" | "StartTransientUnit" => {
            *jobs += 1;
            let job = path(&format!("job/{jobs}"));
            bus.reply(&header, &job).await?;
            let ended = (*jobs, job, "any.service", "done");
            bus.emit_signal(None::<&str>, MANAGER_PATH, MANAGER, "JobRemoved", &ended).await
        }
        other => bus.reply_error(&header, "org.freedesktop.DBus.Error.UnknownMethod", &other).await,
    }
}

fn path(name: &str) -> ObjectPath<'static> {
    ObjectPath::try_from(format!("{MANAGER_PATH}/{name}")).unwrap()
}

fn unit() -> BTreeMap<&'static str, Value<'static>> {
    [
        ("LoadState", Value::from("loaded")),
        ("ActiveState", Value::from("active")),
        ("SubState", Value::from("running")),
        ("UnitFileState", Value::from("enabled")),
        ("ConditionResult", Value::from(true)),
        ("AssertResult", Value::from(true)),
        ("StateChangeTimestamp", Value::from(1_700_000_000_000_000_u64)),
        ("Job", Value::from((0_u32, path("job/0")))),
        ("InvocationID", Value::from((0xa0_u8..0xb0).collect::<Vec<u8>>())),
    ]
    .into()
}

fn property(name: &str) -> Value<'static> {
    match name {
        "MainPID" => Value::from(77_u32),
        "ExecMainCode" => Value::from(1_i32),
        "ExecMainStatus" => Value::from(0_i32),
        "Type" => Value::from("simple"),
        "SyslogIdentifier" => Value::from("any"),
        _ => Value::from("success"),
    }
}

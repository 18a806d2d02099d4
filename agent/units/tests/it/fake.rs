//! A message bus of its own, and on it a systemd that does as it is told.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Semaphore;
use zbus::zvariant::{ObjectPath, OwnedObjectPath};
use zbus::{Connection, DBusError, connection, interface};

const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

/// A `dbus-daemon` in a directory of its own; killed, by its pid, when dropped.
pub(crate) struct Bus {
    dir: tempfile::TempDir,
    daemon: Option<Child>,
}

impl Bus {
    pub(crate) fn start() -> Bus {
        let mut bus = Bus { dir: tempfile::tempdir().unwrap(), daemon: None };
        bus.restart();
        bus
    }

    pub(crate) fn restart(&mut self) {
        self.kill();
        let mut daemon = Command::new("dbus-daemon")
            .args(["--session", "--nofork", "--nopidfile", "--print-address"])
            .arg(format!("--address={}", self.address()))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // It grumbles about its file limit, each time.
            .stderr(Stdio::null())
            .spawn()
            .expect("dbus-daemon (package dbus) is needed for these tests");
        let mut printed = std::io::BufReader::new(daemon.stdout.take().unwrap());
        std::io::BufRead::read_line(&mut printed, &mut String::new()).unwrap();
        self.daemon = Some(daemon);
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
            let _ = std::fs::remove_file(self.socket());
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix:path={}", self.socket().display())
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("bus")
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What the next job does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The reply, then the end of the job with this result; the unit is then in this state.
    End { result: &'static str, active: &'static str, sub: &'static str },
    /// The end of the job with `done`, and only then the reply.
    EndFirst,
    /// A thousand signals about other jobs and units, the end, and only then the reply.
    Flood,
    /// Somebody else tells the caller that the job is done; systemd says that it failed.
    Forged,
    /// The reply and nothing more.
    Hang,
    /// Not allowed.
    Deny,
}

#[derive(Clone, Debug)]
pub(crate) struct FakeUnit {
    pub(crate) load: String,
    pub(crate) active: String,
    pub(crate) sub: String,
    pub(crate) result: String,
    pub(crate) kind: String,
    pub(crate) job: u32,
    pub(crate) pid: u32,
    /// Held in memory: `GetUnit` finds it.
    pub(crate) in_memory: bool,
}

pub(crate) fn unit(active: &str, sub: &str) -> FakeUnit {
    let pid = if active == "active" { 77 } else { 0 };
    FakeUnit {
        load: "loaded".to_owned(),
        active: active.to_owned(),
        sub: sub.to_owned(),
        result: "success".to_owned(),
        kind: "simple".to_owned(),
        job: 0,
        pid,
        in_memory: true,
    }
}

/// Everything the fake knows; shared by its objects and by the test.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) units: Mutex<BTreeMap<String, FakeUnit>>,
    pub(crate) act: Mutex<Act>,
    pub(crate) loads: AtomicUsize,
    pub(crate) starts: AtomicUsize,
    /// Units that were started, each with the job's mode.
    pub(crate) modes: Mutex<Vec<(String, String)>>,
    /// A reading takes one permit; plenty unless a test takes them away.
    pub(crate) readings: Semaphore,
    pub(crate) readings_begun: Semaphore,
}

pub(crate) struct Fake {
    pub(crate) world: Arc<World>,
    pub(crate) connection: Connection,
}

impl Fake {
    pub(crate) async fn on(bus: &Bus, units: &[(&str, FakeUnit)]) -> Fake {
        let end = Act::End { result: "done", active: "active", sub: "running" };
        let world = Arc::new(World {
            units: Mutex::new(units.iter().map(|(name, unit)| ((*name).to_owned(), unit.clone())).collect()),
            act: Mutex::new(end),
            loads: AtomicUsize::new(0),
            starts: AtomicUsize::new(0),
            modes: Mutex::default(),
            readings: Semaphore::new(1 << 20),
            readings_begun: Semaphore::new(0),
        });
        let manager = FakeManager { world: world.clone(), address: bus.address() };
        let mut builder = connection::Builder::address(bus.address().as_str()).unwrap();
        builder = builder.serve_at(MANAGER_PATH, manager).unwrap();
        for (name, _) in units {
            let (name, world) = ((*name).to_owned(), world.clone());
            let path = path_of(&name);
            builder = builder
                .serve_at(path.clone(), UnitFace { name: name.clone(), world: world.clone() })
                .unwrap();
            builder = builder.serve_at(path, ServiceFace { name, world }).unwrap();
        }
        let connection = builder.name("org.freedesktop.systemd1").unwrap().build().await.unwrap();
        Fake { world, connection }
    }

    pub(crate) fn will(&self, act: Act) {
        *self.world.act.lock().unwrap() = act;
    }

    /// Changes a unit without telling anybody.
    pub(crate) fn set(&self, name: &str, change: impl FnOnce(&mut FakeUnit)) {
        change(self.world.units.lock().unwrap().get_mut(name).unwrap());
    }

    /// Tells that a unit changed.
    pub(crate) async fn signal(&self, name: &str) {
        changed(&self.connection, name).await;
    }

    pub(crate) async fn manager_signal<B>(&self, member: &str, body: &B)
    where
        B: serde::Serialize + zbus::zvariant::DynamicType,
    {
        signal(&self.connection, member, body).await;
    }

    pub(crate) fn loads(&self) -> usize {
        self.world.loads.load(Ordering::SeqCst)
    }

    pub(crate) fn starts(&self) -> usize {
        self.world.starts.load(Ordering::SeqCst)
    }
}

pub(crate) fn path_of(name: &str) -> OwnedObjectPath {
    let escaped: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("_{:02x}", u32::from(c)) })
        .collect();
    OwnedObjectPath::try_from(format!("{MANAGER_PATH}/unit/{escaped}")).unwrap()
}

async fn signal<B>(connection: &Connection, member: &str, body: &B)
where
    B: serde::Serialize + zbus::zvariant::DynamicType,
{
    connection.emit_signal(None::<&str>, MANAGER_PATH, MANAGER, member, body).await.unwrap();
}

async fn changed(connection: &Connection, name: &str) {
    let none: BTreeMap<String, zbus::zvariant::Value<'_>> = BTreeMap::new();
    let body = ("org.freedesktop.systemd1.Unit", none, vec!["ActiveState"]);
    connection
        .emit_signal(
            None::<&str>,
            path_of(name),
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
            &body,
        )
        .await
        .unwrap();
}

async fn job_removed(connection: &Connection, to: Option<&str>, id: u32, unit: &str, result: &str) {
    let body = (id, job_path(id), unit, result);
    connection.emit_signal(to, MANAGER_PATH, MANAGER, "JobRemoved", &body).await.unwrap();
}

fn job_path(id: u32) -> ObjectPath<'static> {
    ObjectPath::try_from(format!("{MANAGER_PATH}/job/{id}")).unwrap()
}

#[derive(Debug, DBusError)]
#[zbus(prefix = "org.freedesktop.systemd1")]
enum Fault {
    #[zbus(error)]
    ZBus(zbus::Error),
    NoSuchUnit(String),
}

#[derive(Debug)]
struct FakeManager {
    world: Arc<World>,
    address: String,
}

impl FakeManager {
    fn after(&self, name: &str, result: &str, active: &str, sub: &str) {
        let mut units = self.world.units.lock().unwrap();
        let unit = units.get_mut(name).unwrap();
        (unit.active, unit.sub) = (active.to_owned(), sub.to_owned());
        unit.pid = if active == "active" { 77 } else { 0 };
        unit.result = if result == "done" { "success" } else { "exit-code" }.to_owned();
    }

    async fn job(
        &self,
        name: &str,
        connection: &Connection,
        caller: &str,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        let id = u32::try_from(self.world.starts.fetch_add(1, Ordering::SeqCst)).unwrap() + 5000;
        let act = self.world.act.lock().unwrap().clone();
        match act {
            Act::End { result, active, sub } => {
                self.after(name, result, active, sub);
                let (connection, name) = (connection.clone(), name.to_owned());
                tokio::spawn(async move {
                    changed(&connection, &name).await;
                    job_removed(&connection, None, id, &name, result).await;
                });
            }
            Act::EndFirst => {
                self.after(name, "done", "active", "running");
                job_removed(connection, None, id, name, "done").await;
            }
            Act::Flood => {
                self.after(name, "done", "active", "running");
                for other in 0..1000 {
                    job_removed(connection, None, other, "other.service", "done").await;
                    changed(connection, "other.service").await;
                }
                job_removed(connection, None, id, name, "done").await;
            }
            Act::Forged => {
                self.after(name, "failed", "failed", "failed");
                let liar = connection::Builder::address(self.address.as_str())?.build().await?;
                job_removed(&liar, Some(caller), id, name, "done").await;
                job_removed(&liar, None, id, name, "done").await;
                // On the bus by now: the liar was answered after them.
                liar.call_method(
                    Some("org.freedesktop.DBus"),
                    "/",
                    Some("org.freedesktop.DBus"),
                    "GetId",
                    &(),
                )
                .await?;
                job_removed(connection, None, id, name, "failed").await;
            }
            Act::Hang => {}
            Act::Deny => return Err(zbus::fdo::Error::AccessDenied("no".to_owned())),
        }
        Ok(job_path(id).into())
    }
}

type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

#[interface(name = "org.freedesktop.systemd1.Manager")]
impl FakeManager {
    fn subscribe(&self) {}

    fn ref_unit(&self, _name: &str) {}

    fn unref_unit(&self, _name: &str) {}

    fn load_unit(&self, name: &str) -> OwnedObjectPath {
        self.world.loads.fetch_add(1, Ordering::SeqCst);
        path_of(name)
    }

    fn get_unit(&self, name: &str) -> Result<OwnedObjectPath, Fault> {
        let units = self.world.units.lock().unwrap();
        match units.get(name) {
            Some(unit) if unit.in_memory => Ok(path_of(name)),
            _ => Err(Fault::NoSuchUnit(format!("Unit {name} not loaded."))),
        }
    }

    async fn start_unit(
        &self,
        name: &str,
        mode: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: zbus::message::Header<'_>,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        self.world.modes.lock().unwrap().push((name.to_owned(), mode.to_owned()));
        self.job(name, connection, header.sender().unwrap().as_str()).await
    }

    async fn stop_unit(
        &self,
        name: &str,
        _mode: &str,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: zbus::message::Header<'_>,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        self.job(name, connection, header.sender().unwrap().as_str()).await
    }

    fn list_units_by_patterns(&self, _states: Vec<String>, _patterns: Vec<String>) -> Vec<Row> {
        let none = || OwnedObjectPath::try_from("/").unwrap();
        let row = |(name, unit): (&String, &FakeUnit)| {
            let (load, active, sub) = (unit.load.clone(), unit.active.clone(), unit.sub.clone());
            let text = format!("The {name}");
            (name.clone(), text, load, active, sub, String::new(), path_of(name), 0, String::new(), none())
        };
        self.world.units.lock().unwrap().iter().map(row).collect()
    }
}

#[derive(Debug)]
struct UnitFace {
    name: String,
    world: Arc<World>,
}

impl UnitFace {
    fn unit(&self) -> FakeUnit {
        self.world.units.lock().unwrap()[&self.name].clone()
    }
}

#[interface(name = "org.freedesktop.systemd1.Unit")]
impl UnitFace {
    #[zbus(property)]
    fn load_state(&self) -> String {
        self.unit().load
    }

    #[zbus(property)]
    async fn active_state(&self) -> String {
        let before = self.unit().active;
        self.world.readings_begun.add_permits(1);
        self.world.readings.acquire().await.unwrap().forget();
        before
    }

    #[zbus(property)]
    fn sub_state(&self) -> String {
        self.unit().sub
    }

    #[zbus(property)]
    fn unit_file_state(&self) -> String {
        "indirect".to_owned()
    }

    #[zbus(property, name = "InvocationID")]
    fn invocation_id(&self) -> Vec<u8> {
        if self.unit().pid == 0 { vec![] } else { (0xa0..0xb0).collect() }
    }

    #[zbus(property)]
    fn job(&self) -> (u32, OwnedObjectPath) {
        (self.unit().job, job_path(self.unit().job).into())
    }

    #[zbus(property)]
    fn state_change_timestamp(&self) -> u64 {
        1_700_000_000_000_000
    }
}

#[derive(Debug)]
struct ServiceFace {
    name: String,
    world: Arc<World>,
}

impl ServiceFace {
    fn unit(&self) -> FakeUnit {
        self.world.units.lock().unwrap()[&self.name].clone()
    }
}

#[interface(name = "org.freedesktop.systemd1.Service")]
impl ServiceFace {
    #[zbus(property, name = "MainPID")]
    fn main_pid(&self) -> u32 {
        self.unit().pid
    }

    #[zbus(property)]
    fn result(&self) -> String {
        self.unit().result
    }

    #[zbus(property, name = "Type")]
    fn kind(&self) -> String {
        self.unit().kind
    }
}

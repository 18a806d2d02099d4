//! A site: the controller's process, and what its operator says.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pack::{About, Builder, Header, Signed, SigningKey};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};

use crate::bus::Bus;
use crate::clock::{Clock, Which};

/// Where agents are answered.
pub(crate) const AGENTS: &str = "10.77.0.1:8443";
const CONTROLLER: &str = env!("CARGO_BIN_EXE_installed-controller");
const CONFIG: &str = "site = \"lab\"\n[[provision]]\ninterface = \"rw0\"\naddress = \"10.77.0.1/24\"\n\
    pool = \"10.77.0.100-10.77.0.199\"\ndhcp = \"off\"\n[trust]\nimage_keys = \"/var/lib/rackwright/keys\"\n";
/// The bound is there so that a hang is a failure with a name.
const PATIENCE: Duration = Duration::from_secs(120);

/// The controller, its clock, and the message bus of all nodes.
pub(crate) struct Site {
    pub(crate) clock: Clock,
    pub(crate) bus: Bus,
    pub(crate) folder: tempfile::TempDir,
    daemon: Option<Child>,
}

/// What the command line said.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Site {
    /// A controller that is up, with an image for compute nodes.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("controller");
        for place in ["etc/rackwright", "run/rackwright", "var/lib/rackwright/keys"] {
            std::fs::create_dir_all(root.join(place)).unwrap();
        }
        std::fs::write(root.join("etc/rackwright/rackwright.toml"), CONFIG).unwrap();
        let (image, key) = image();
        std::fs::write(root.join("var/lib/rackwright/keys/build.pub"), key).unwrap();
        let (clock, bus) =
            (Clock::new(folder.path(), "controller", Which::Wall), Bus::start(folder.path()).await);
        let mut site = Self { clock, bus, folder, daemon: None };
        site.on().await;
        let (status, said) = site.send("POST", "/v1/images", &image).await.unwrap();
        assert_eq!(status, 200, "{said}");
        site
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("controller")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root().join("var/lib/rackwright")
    }

    /// Starts the controller; returns when it answers.
    pub(crate) async fn on(&mut self) {
        let mut command = Command::new(CONTROLLER);
        command.args(["serve", "--root"]).arg(self.root()).env("RACKWRIGHT_LOG", "info").stdin(Stdio::null());
        command.env("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent");
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log_file()).unwrap();
        command.stdout(Stdio::null()).stderr(log);
        self.clock.of(&mut command);
        self.daemon = Some(command.spawn().unwrap());
        let socket = self.socket();
        until("the controller answers", async || {
            TcpStream::connect(AGENTS).await.is_ok() && UnixStream::connect(&socket).await.is_ok()
        })
        .await;
    }

    /// Ends it without a word, as a power cut does.
    pub(crate) fn off(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            daemon.kill().unwrap();
            daemon.wait().unwrap();
        }
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("controller.log")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root().join("run/rackwright/control.sock")
    }

    /// The site CA's pin, as kept.
    pub(crate) fn pin(&self) -> protocol::CaPin {
        let pem = std::fs::read_to_string(self.state().join("ca/site-ca.pem")).unwrap();
        appliance::ca::pin_of(&pem).unwrap().parse().unwrap()
    }

    /// Status and body of a request; none when the answer did not come.
    async fn send(&self, method: &str, path: &str, body: &[u8]) -> Option<(u16, Value)> {
        let mut stream = UnixStream::connect(self.socket()).await.ok()?;
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).await.ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok()?;
        let text = String::from_utf8(answer).ok()?;
        let (head, body) = text.split_once("\r\n\r\n")?;
        Some((head.get(9..12)?.parse().ok()?, serde_json::from_str(body).ok()?))
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Value {
        let (status, said) = self.send("POST", path, body.to_string().as_bytes()).await.unwrap();
        assert_eq!(status, 200, "{path}: {said}");
        said.get("item").or(said.get("items")).cloned().unwrap_or_default()
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, said) = self.send("GET", path, b"").await.unwrap();
        assert_eq!(status, 200, "{path}: {said}");
        said.get("item").or(said.get("items")).cloned().unwrap_or_default()
    }

    /// What the controller says of a node.
    pub(crate) async fn node(&self, name: &str) -> Value {
        self.get(&format!("/v1/nodes/{name}")).await
    }

    pub(crate) async fn is_active(&self, name: &str) -> bool {
        self.node(name).await["state"] == json!("active")
    }

    /// The site CA that signs.
    pub(crate) async fn ca(&self) -> String {
        self.get("/v1/ca").await["ca"].as_str().unwrap().to_owned()
    }

    /// Nodes that depend on the CA that is not wanted.
    pub(crate) async fn waiting(&self) -> Vec<String> {
        let view = self.get("/v1/ca").await;
        let rows = view["waiting"].as_array().unwrap().iter();
        let mut names = rows.map(|row| row["node"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
        names.sort();
        names
    }

    /// Runs the command line, without a terminal.
    pub(crate) async fn rackwright(&self, words: &str) -> Ran {
        let mut command = tokio::process::Command::new(CONTROLLER);
        command.arg("--socket").arg(self.socket()).args(words.split_whitespace());
        let out = command.stdin(Stdio::null()).output().await.unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Ran { code: out.status.code(), out: text(out.stdout), err: text(out.stderr) }
    }

    /// The same, which is to succeed; what it printed.
    pub(crate) async fn says(&self, words: &str) -> String {
        let ran = self.rackwright(words).await;
        assert_eq!(ran.code, Some(0), "{words}: {ran:?}");
        ran.out
    }

    /// Goes to a later moment, as if the controller had been there all the time: what its clock's looks every few minutes would have
    /// written down meanwhile is written down.
    pub(crate) async fn time_passes(&mut self, seconds: i64) {
        let database = self.state().join("state.db");
        // The first look comes some seconds after the start.
        until("the controller has looked at its clock", async || {
            let database = rusqlite::Connection::open(&database).unwrap();
            let sql = "SELECT count(*) FROM site WHERE key = 'attendance'";
            database.query_row(sql, [], |row| row.get::<_, u64>(0)).is_ok_and(|rows| rows == 1)
        })
        .await;
        self.off();
        self.clock.advance(seconds);
        let database = rusqlite::Connection::open(database).unwrap();
        let seen = self.clock.now_ms() - 60_000;
        let sql = "UPDATE site SET body = json_set(body, '$.seen', ?1) WHERE key = 'attendance'";
        assert_eq!(database.execute(sql, [seen]).unwrap(), 1);
        drop(database);
        self.on().await;
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.off();
        if std::thread::panicking() {
            eprintln!("the controller said:\n{}", tail(&self.log_file()));
        }
    }
}

pub(crate) fn tail(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let lines = text.lines().collect::<Vec<_>>();
    lines[lines.len().saturating_sub(40)..].join("\n")
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut so: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !so().await {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "it never came to be so: {what}");
}

/// An image of 1 MiB for compute nodes, and the key that it is signed with.
fn image() -> (Vec<u8>, String) {
    let key = SigningKey::from_seed(&[42; 32]).unwrap();
    let (manifest, data) = packed();
    let mut bytes = Header { signed: Signed::new(&manifest, &key) }.encode();
    bytes.extend(data);
    (bytes, key.public().to_string())
}

/// What a disk with that image on it adds up to.
pub(crate) fn image_root() -> pack::Digest {
    packed().0.root()
}

fn packed() -> (pack::Manifest, Vec<u8>) {
    let about = About {
        name: "compute".to_owned(),
        arch: "amd64".to_owned(),
        roles: ["compute".to_owned()].into(),
        disk_bytes: 1 << 20,
        seed: None,
        packages: None,
        layout: pack::Layout::default(),
    };
    let mut raw = vec![0; 1 << 20];
    blake3::Hasher::new().update(b"an image").finalize_xof().fill(&mut raw);
    let packed = pack::chunk(0, &raw, 1).unwrap();
    let mut builder = Builder::new(about);
    builder.push(&packed).unwrap();
    (builder.finish().unwrap(), packed.stored)
}

//! The program that ships, as a process of its own: `rackwright serve` below a root, on a network of its own in a network
//! namespace of its own.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// The configuration of the controllers here.
pub(crate) const CONFIG: &str = "site = \"lab\"\n[[provision]]\ninterface = \"rw0\"\naddress = \"10.77.0.1/24\"\n\
    pool = \"10.77.0.100-10.77.0.199\"\ndhcp = \"off\"\n[trust]\nimage_keys = \"/var/lib/rackwright/keys\"\n";
/// Where its agents are answered.
const AGENTS: &str = "10.77.0.1:8443";

/// Runs the named test again in a network namespace with an interface `rw0`; true in that run. Without root there is none.
pub(crate) fn alone(test: &str) -> bool {
    const INSIDE: &str = "RACKWRIGHT_TEST_OWN_NETWORK";
    if std::env::var_os(INSIDE).is_some() {
        for words in
            ["link set lo up", "link add rw0 type veth peer name rw1", "link set rw1 up", "link set rw0 up"]
        {
            let done = Command::new("ip").args(words.split(' ')).status().expect("ip of iproute2");
            assert!(done.success(), "ip {words}");
        }
        return true;
    }
    let root = rustix::process::geteuid().is_root();
    let status = Command::new("unshare")
        .args(if root { ["-n", "-m"] } else { ["-rn", "-m"] })
        .arg(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare of util-linux");
    assert!(status.success(), "{test} failed in its network");
    false
}

/// A runtime for the run inside.
pub(crate) fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().worker_threads(2).build();
    runtime.unwrap().block_on(test);
}

pub(crate) struct Daemon {
    child: Child,
    root: PathBuf,
}

impl Daemon {
    /// Starts it; returns when it answers on its socket and to agents.
    pub(crate) async fn start(root: &Path) -> Self {
        let mut daemon = Self::spawn(Command::new(env!("CARGO_BIN_EXE_rackwright")), root);
        assert!(daemon.answers().await, "it ended by itself");
        daemon
    }

    /// Starts it so that it is killed right before one of its threads makes its `number`th call of these; that may be before it answers.
    pub(crate) async fn start_to_die(root: &Path, calls: &str, number: u32) -> Self {
        let mut strace = Command::new("strace");
        // (Its --seccomp-bpf would be quicker, and loses count.) Detached, so that the daemon is our own child, and gone when it is waited for.
        strace.args(["-D", "-f", "-qq", "-o", "/dev/null"]);
        strace.args(["-e", &format!("trace={calls}")]);
        strace.args(["-e", &format!("inject={calls}:signal=SIGKILL:when={number}")]);
        strace.arg(env!("CARGO_BIN_EXE_rackwright"));
        let mut daemon = Self::spawn(strace, root);
        daemon.answers().await;
        daemon
    }

    fn spawn(mut command: Command, root: &Path) -> Self {
        command.args(["serve", "--root"]).arg(root).env("RACKWRIGHT_LOG", "warn");
        command.stdin(Stdio::null()).stdout(Stdio::null());
        if std::env::var_os("RACKWRIGHT_TEST_SAY").is_none() {
            command.stderr(Stdio::null());
        }
        Self { child: command.spawn().unwrap(), root: root.to_owned() }
    }

    /// Waits until it answers; false when it ends before.
    async fn answers(&mut self) -> bool {
        let up = async {
            while TcpStream::connect(self.agents()).await.is_err()
                || UnixStream::connect(self.socket()).await.is_err()
            {
                if self.child.try_wait().unwrap().is_some() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            true
        };
        tokio::time::timeout(Duration::from_secs(60), up).await.expect("it never answered")
    }

    /// Whether it has been killed, or is within the second.
    pub(crate) async fn is_killed(&mut self) -> bool {
        for _ in 0..200 {
            if let Some(status) = self.child.try_wait().unwrap() {
                assert_eq!(status.signal(), Some(9), "it ended by itself: {status}");
                return true;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        false
    }

    pub(crate) fn agents(&self) -> SocketAddr {
        AGENTS.parse().unwrap()
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.root.join("run/rackwright/control.sock")
    }

    /// SIGKILL; returns when it is gone.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Makes a root with a configuration, whose state directory has the layout of a [`crate::controller::Controller`].
pub(crate) fn root(at: &Path) -> PathBuf {
    let config = at.join("etc/rackwright/rackwright.toml");
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::create_dir_all(at.join("run/rackwright")).unwrap();
    std::fs::write(config, CONFIG).unwrap();
    let state = at.join("var/lib/rackwright");
    std::fs::create_dir_all(&state).unwrap();
    state
}

/// The status of a POST; none when the answer did not come.
pub(crate) async fn post(socket: &Path, path: &str, body: &Value) -> Option<u16> {
    call(socket, "POST", path, body).await.map(|(status, _)| status)
}

/// Status and body of a request; none when the answer did not come.
pub(crate) async fn call(socket: &Path, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let mut stream = UnixStream::connect(socket).await.ok()?;
    let body = body.to_string();
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all((head + &body).as_bytes()).await.ok()?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.ok()?;
    let text = String::from_utf8(answer).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    Some((head.get(9..12)?.parse().ok()?, serde_json::from_str(body).ok()?))
}

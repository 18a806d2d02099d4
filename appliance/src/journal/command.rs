//! Who stands at the control socket, and what they want: written down with the first thing that comes of it, or with the
//! reason why nothing does.

use std::sync::atomic::{AtomicBool, Ordering};

use fleet::journal::Actor;
use serde_json::{Map, Value, json};
use tokio::net::UnixStream;

/// Words in the name of an argument whose value is nobody's business. A new secret argument has one of them in its name.
const SECRET: [&str; 8] =
    ["password", "passwd", "passphrase", "secret", "token", "credential", "private", "kit"];
/// Characters of a route that are kept.
const MAX_ROUTE: usize = 300;
/// The audit login id of a process that nobody logged in for (proc(5)).
const NOBODY: u32 = u32::MAX;

/// The process at the other end of a control connection, by the kernel's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(Actor);

impl Peer {
    /// Whoever connected (SO_PEERCRED, unix(7)). Who logged in is what the kernel keeps of the login (`loginuid`): unlike
    /// `SUDO_USER`, which is a variable that anybody can set, no process without CAP_AUDIT_CONTROL can change it.
    pub fn of(stream: &UnixStream) -> Peer {
        let Ok(credentials) = stream.peer_cred() else { return Peer(Actor::Controller) };
        let uid = credentials.uid();
        let login = credentials.pid().and_then(|pid| login(pid, uid)).filter(|login| *login != uid);
        let (user, login_user) = (name(uid), login.and_then(name));
        Peer(Actor::Operator { uid, user, login, login_user })
    }

    /// This process, for what is done without the daemon.
    pub fn own() -> Peer {
        let uid = rustix::process::geteuid().as_raw();
        let pid = i32::try_from(std::process::id()).ok();
        let login = pid.and_then(|pid| login(pid, uid)).filter(|login| *login != uid);
        let (user, login_user) = (name(uid), login.and_then(name));
        Peer(Actor::Operator { uid, user, login, login_user })
    }

    /// For a record.
    pub fn actor(&self) -> Actor {
        self.0.clone()
    }
}

/// Who logged in, when the process is still that user's: a number may be given to another process meanwhile.
fn login(pid: i32, uid: u32) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    let folder = std::path::PathBuf::from(format!("/proc/{pid}"));
    let text = std::fs::read_to_string(folder.join("loginuid")).ok()?;
    let owner = std::fs::metadata(&folder).ok()?.uid();
    (owner == uid).then(|| text.trim().parse().ok()).flatten().filter(|login| *login != NOBODY)
}

/// The user's name in /etc/passwd. Other sources of names may have to ask a network, and the number is what counts.
fn name(uid: u32) -> Option<String> {
    let text = std::fs::read_to_string("/etc/passwd").ok()?;
    let fits = |line: &&str| line.split(':').nth(2).and_then(|id| id.parse().ok()) == Some(uid);
    let found = text.lines().find(fits)?.split(':').next()?;
    Some(found.chars().take(64).collect())
}

/// Something that an operator asked for.
#[derive(Debug)]
pub struct Command {
    actor: Actor,
    body: Value,
    told: AtomicBool,
    refused: AtomicBool,
}

impl Command {
    /// A request of this route with these arguments; what is no JSON object is left out.
    pub fn new(peer: &Peer, route: &str, arguments: &[u8]) -> Command {
        let arguments = serde_json::from_slice::<Map<String, Value>>(arguments).unwrap_or_default();
        let route = route.chars().take(MAX_ROUTE).collect::<String>();
        let body = json!({"route": route, "arguments": without_secrets(Value::Object(arguments))});
        Command { actor: peer.actor(), body, told: AtomicBool::new(false), refused: AtomicBool::new(false) }
    }

    /// Who asked.
    pub fn actor(&self) -> Actor {
        self.actor.clone()
    }

    /// The record of it, once.
    pub(crate) fn tell(&self) -> Option<Value> {
        (!self.told.swap(true, Ordering::AcqRel)).then(|| self.body.clone())
    }

    /// The record of why it was refused, once.
    pub(crate) fn refuse(&self, why: &str) -> Option<Value> {
        let first = !self.refused.swap(true, Ordering::AcqRel);
        first.then(|| {
            let mut body = self.body.clone();
            if let Some(body) = body.as_object_mut() {
                body.insert("why".to_owned(), why.chars().take(1000).collect::<String>().into());
            }
            body
        })
    }
}

/// The same, with every secret's value replaced.
fn without_secrets(value: Value) -> Value {
    let hidden = |name: &str| SECRET.iter().any(|word| name.to_ascii_lowercase().contains(word));
    match value {
        Value::Object(map) => {
            let each = |(name, value): (String, Value)| match hidden(&name) {
                true => (name, "(secret)".into()),
                false => (name, without_secrets(value)),
            };
            Value::Object(map.into_iter().map(each).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_secrets).collect()),
        other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => other,
    }
}

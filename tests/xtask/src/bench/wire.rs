//! Two namespaces and one cable: servers at one end, whoever loads them at the other.
//!
//! Knows `ip`. Refuses to give either end a way out, as the rack does: no route but the cable's own network.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::rack::netns::Netns;
use crate::tool::{Tool, ToolError};

/// Where `ip netns` keeps what it made.
const KEPT: &str = "/run/netns";
/// What our namespaces' names begin with.
const PREFIX: &str = "rackwright-bench-";
/// The servers' end of the cable.
pub const SERVERS: &str = "bench0";
/// The other end.
pub const CLIENTS: &str = "bench1";
/// Where the kernel keeps how nice a session is to others; absent where it does not group by session (sched(7)).
const SESSION: &str = "/proc/self/autogroup";
/// How nice we are while we measure; nice(2).
const FIRST: i32 = -15;
/// Where servers of files listen.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);

/// The cable and its two ends; gone when dropped.
#[derive(Debug)]
pub struct Wire {
    servers: String,
    clients: String,
}

impl Wire {
    /// Lays it for a bench of files, with addresses for so many clients: every server caps what it gives to one.
    ///
    /// # Errors
    /// As [`Wire::between`].
    pub fn lay(clients: u8) -> Result<Wire, ToolError> {
        let clients = (0..clients).map(|number| format!("{}/24", Wire::client(number)));
        Wire::between(&format!("{SERVER}/24"), clients)
    }

    /// Lays it, with these addresses at its ends. What an earlier run left behind because it was killed is removed first.
    ///
    /// # Errors
    /// `ip` said no: mostly not root.
    pub fn between(server: &str, clients: impl IntoIterator<Item = String>) -> Result<Wire, ToolError> {
        sweep();
        let name = |end: &str| format!("{PREFIX}{}-{end}", std::process::id());
        let wire = Wire { servers: name("servers"), clients: name("clients") };
        for name in [&wire.servers, &wire.clients] {
            ip(&format!("netns add {name}"))?;
            ip(&format!("-n {name} link set lo up"))?;
        }
        let (servers, others) = (&wire.servers, &wire.clients);
        ip(&format!("-n {servers} link add {SERVERS} type veth peer name {CLIENTS} netns {others}"))?;
        ip(&format!("-n {servers} address add {server} dev {SERVERS}"))?;
        ip(&format!("-n {servers} link set {SERVERS} up"))?;
        for client in clients {
            ip(&format!("-n {others} address add {client} dev {CLIENTS}"))?;
        }
        ip(&format!("-n {others} link set {CLIENTS} up"))?;
        Ok(wire)
    }

    /// The address of one client.
    #[must_use]
    pub fn client(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 99, 0, number.saturating_add(2))
    }

    /// The words of `argv` as a command at the servers' end.
    #[must_use]
    pub fn at_servers(&self, argv: &[impl AsRef<OsStr>]) -> Vec<OsString> {
        at(&self.servers, argv)
    }

    /// The words of `argv` as a command at the clients' end.
    #[must_use]
    pub fn beside_clients(&self, argv: &[impl AsRef<OsStr>]) -> Vec<OsString> {
        at(&self.clients, argv)
    }

    /// Runs this at the clients' end, on a thread of its own.
    ///
    /// # Errors
    /// The end cannot be entered; what `there` returns.
    pub fn at_clients<T: Send>(&self, there: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
        let end = fs::File::open(Path::new(KEPT).join(&self.clients))?;
        let enter = || {
            move_into_link_name_space(end.as_fd(), Some(LinkNameSpaceType::Network))?;
            there()
        };
        let joined = thread::scope(|scope| scope.spawn(enter).join());
        joined.unwrap_or_else(|_| Err(io::Error::other("the thread at the clients' end panicked")))
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for name in [&self.servers, &self.clients] {
            // It may not have been made; nothing else can be done about one that stays, and the next run sweeps.
            let _ = Tool::new("ip").args(["netns", "delete", name]).cleaning().output();
        }
    }
}

/// While it lives, servers and clients go before whatever else this machine does: a server of one thread gets a smaller
/// share of a busy machine than one of 64 processes, and that is not what is measured.
#[derive(Debug)]
pub struct Precedence {
    before: Option<String>,
}

impl Precedence {
    /// Takes it for this thread and what it starts, and for the session.
    ///
    /// # Errors
    /// Not root.
    pub fn take() -> io::Result<Precedence> {
        rustix::process::nice(FIRST)?;
        let before = fs::read_to_string(SESSION).ok();
        let before = before.as_deref().and_then(|text| Some(text.trim().rsplit_once("nice ")?.1.to_owned()));
        if before.is_some() {
            fs::write(SESSION, FIRST.to_string())?;
        }
        Ok(Precedence { before })
    }
}

impl Drop for Precedence {
    fn drop(&mut self) {
        let _ = rustix::process::nice(-FIRST);
        if let Some(before) = &self.before {
            let _ = fs::write(SESSION, before);
        }
    }
}

/// Removes namespaces of runs that are gone.
fn sweep() {
    let Ok(kept) = fs::read_dir(KEPT) else { return };
    for name in kept.filter_map(|entry| entry.ok()?.file_name().into_string().ok()) {
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        if owner.is_some_and(|(pid, _)| !Path::new("/proc").join(pid).exists()) {
            let _ = Tool::new("ip").args(["netns", "delete", &name]).output();
        }
    }
}

fn at(end: &str, argv: &[impl AsRef<OsStr>]) -> Vec<OsString> {
    let mut words = Netns::exec(end);
    words.extend(argv.iter().map(|word| word.as_ref().to_owned()));
    words
}

/// `ip` with these words.
fn ip(words: &str) -> Result<(), ToolError> {
    Tool::new("ip").args(words.split(' ')).read().map(drop)
}

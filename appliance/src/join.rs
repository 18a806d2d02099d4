//! How a server that runs a system of its own becomes a node: the line that is pasted there, and the script behind it.
//!
//! ```text
//! line (token, SHA-256 of the script) → script by HTTP (SHA-256 of the agent, site CA) → agent by HTTP → TLS with the site CA pinned
//! ```
//! Whoever pastes the line has it from the controller's own screen, and each step is checked against the one before it. So what goes
//! by plain HTTP is public and can't be changed on its way, and the token leaves the server over TLS alone. curl could check the
//! controller's certificate itself only by a key that is made anew at every start, and not at all by a CA's digest.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use fleet::trust;
use protocol::Token;
use pxe::HttpBase;
use pxe::files::StoreFile;

use crate::boot::{BootError, BootStore};
use crate::config::{Config, Paths};
use crate::writer::World;

const SCRIPT: &str = include_str!("join/join.sh");

/// Why nobody can join so.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// No boot store.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A boot store of before it had the agent.
    #[error(
        "the boot store {} has no agent for servers that run already: make it again with this version (image-build ramdisk --out {})",
        .0.display(), .0.display()
    )]
    NoAgent(PathBuf),
}

/// What the script is made of beside the state.
#[derive(Clone, Debug)]
pub struct Joining {
    /// The boot store.
    pub boot: PathBuf,
    /// Where boot files are served.
    pub http_port: u16,
    /// Where agents are answered.
    pub agents_port: u16,
}

impl Joining {
    /// As it is configured.
    pub fn of(paths: &Paths, config: &Config) -> Self {
        Self { boot: paths.boot.clone(), http_port: config.http_port, agents_port: config.agents_port }
    }

    /// The script for servers that reach the controller at this address; the same for all of them.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn script(&self, world: &World, controller: Ipv4Addr) -> Result<String, JoinError> {
        let store = BootStore::open(&self.boot)?;
        // As image-build wrote it down. A file that is another one by now is refused where it is to run.
        let sum = store
            .versions()
            .get(StoreFile::Agent.store_name())
            .and_then(|origin| origin.get("sha256")?.as_str());
        let sum = sum.filter(|sum| sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()));
        let sum = sum.ok_or_else(|| JoinError::NoAgent(self.boot.clone()))?;
        store.file(StoreFile::Agent)?;
        let values = [
            ("@SITE@", world.site.name.clone()),
            ("@HTTP@", self.http(controller).url()),
            ("@SHA256@", sum.to_owned()),
            ("@CONTROLLER@", SocketAddrV4::new(controller, self.agents_port).to_string()),
            ("@CA@", format!("sha256:{}", trust::wanted(&world.fleet, &world.site))),
        ];
        Ok(values.iter().fold(SCRIPT.to_owned(), |text, (name, value)| text.replace(name, value)))
    }

    /// The line for a root shell on such a server.
    ///
    /// # Errors
    /// [`JoinError`].
    pub fn line(&self, world: &World, controller: Ipv4Addr, token: &Token) -> Result<String, JoinError> {
        let script = self.script(world, controller)?;
        let sum = data_encoding::HEXLOWER
            .encode(ring::digest::digest(&ring::digest::SHA256, script.as_bytes()).as_ref());
        let url = format!("{}/join/join.sh", self.http(controller).url());
        let token = token.reveal();
        Ok(format!(
            "( t=$(mktemp) && trap 'rm -f \"$t\"' EXIT && {{ command -v curl >/dev/null && curl -fsSo \"$t\" {url} || wget -qO \"$t\" {url}; }} && {{ echo \"{sum}  $t\" | \
             sha256sum -c --quiet - || {{ echo 'rackwright: not the script that this line is for: make a new line'; false; }}; }} && \
             RACKWRIGHT_TOKEN={token} sh \"$t\" )"
        ))
    }

    fn http(&self, controller: Ipv4Addr) -> HttpBase {
        HttpBase(SocketAddrV4::new(controller, self.http_port))
    }
}

//! `rackwright-agent deploy`: the whole life of the agent in the boot ramdisk.
//!
//! ```text
//! command line -> NIC up -> TPM -> hello (code on the screens) -> approved -> task: wait | image | capture | erase | rescue | test | reboot
//!                            ^                                        |
//!                            '--- anything that a new hello can mend -'
//! ```
//! It never gives up: every wait has its reason on the screen, and ends when the reason does.

pub mod burn_in;
pub mod bystander;
pub mod capture;
pub mod cmdline;
pub mod erase;
pub mod evidence;
mod hello;
pub mod imaging;
mod network;
mod overhear;
mod rescue;
pub mod seeds;
mod task;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::clock::Hands;
use crate::command::Reign;
use crate::keys::{KeyError, KeyPair};
use crate::preflight;
use crate::screen::Screen;

use tokio::sync::watch;

use cmdline::{CommandLine, CommandLineError};
use evidence::Evidence;

/// Why the agent can't even begin.
#[derive(Debug, thiserror::Error)]
pub enum DeployError {
    /// `/proc` is not there.
    #[error("reading the kernel command line")]
    Proc(#[source] std::io::Error),
    /// The boot script is not ours.
    #[error(transparent)]
    CommandLine(#[from] CommandLineError),
    /// No randomness.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// No runtime or no reboot.
    #[error("asking the kernel")]
    Kernel(#[source] std::io::Error),
}

/// This server, as the deploy agent has it in hand.
#[derive(Debug)]
pub struct Server {
    /// Where `/sys`, `/proc` and `/dev` are: `/`, or a test's tree.
    pub root: PathBuf,
    /// Its consoles.
    pub screen: Screen,
    /// What the boot script told it.
    pub told: CommandLine,
    /// Whether its clock is ours to set.
    pub hands: Hands,
    /// The highest epoch seen in this boot.
    pub reign: Reign,
    /// Its TPM.
    pub evidence: Evidence,
}

/// Runs in the ramdisk until the controller says reboot, and reboots.
///
/// # Errors
/// [`DeployError`], shown on the consoles too.
pub fn run() -> Result<(), DeployError> {
    let root = Path::new("/");
    let screen = Screen::open(root);
    let told = std::fs::read_to_string(root.join("proc/cmdline"))
        .map_err(DeployError::Proc)
        .and_then(|text| Ok(cmdline::parse(&text)?));
    let told =
        told.inspect_err(|error| screen.state("can't begin", &crate::chain::Chain(error).to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(64)
        .build()
        .map_err(DeployError::Kernel)?;
    let (reign, evidence) = (Reign::default(), Evidence::default());
    let mut server = Server { root: root.to_owned(), screen, told, hands: Hands::Turn, reign, evidence };
    runtime.block_on(async {
        introduce(&server);
        network::up(root, &server.told, &server.screen).await;
        follow(&mut server).await
    })?;
    reboot(&server.screen)
}

/// Hello and tasks, until a task says reboot. The network is up already.
///
/// # Errors
/// [`DeployError::Key`].
pub async fn follow(server: &mut Server) -> Result<(), DeployError> {
    introduce(server);
    let key = seeds::key(&server.root, &server.told.sites(), &server.screen).await;
    let key = key.map_or_else(KeyPair::generate, Ok)?;
    server.evidence = Evidence::gather(&server.root, &server.screen).await;
    loop {
        let admitted = hello::admitted(server, &key).await;
        let (_same, controller) = watch::channel(admitted.controller.clone());
        let (mut reign, root) = (server.reign, server.root.clone());
        let open = async |envelope| reign.open(admitted.node, envelope).ok();
        let turn = tokio::select! {
            turn = task::follow(server, &admitted, &key) => turn,
            never = preflight::follow(root, controller, None, open) => never,
        };
        match turn {
            task::Turn::Reboot => return Ok(()),
            task::Turn::HelloAgain => {}
        }
    }
}

fn introduce(server: &Server) {
    server.screen.set(|s| {
        s.mac = server.told.mac.to_string();
        s.address = server.told.address.to_string();
        s.controller = server.told.controller.to_string();
    });
}

fn reboot(screen: &Screen) -> Result<(), DeployError> {
    screen.state("restarting", "");
    screen.milestone("rebooting");
    rustix::fs::sync();
    // The consoles have threads of their own: let them finish the sentence.
    std::thread::sleep(Duration::from_millis(500));
    let restart = rustix::system::RebootCommand::Restart;
    rustix::system::reboot(restart).map_err(|e| DeployError::Kernel(e.into()))
}

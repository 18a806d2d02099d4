//! The command line: words in, requests to the daemon's local socket, tables or JSON out.
//!
//! Knows the local API's shapes (`fleet::view`), how to show them to a person and which exit code an outcome has.
//! Refuses to decide anything about nodes and to know where the daemon keeps what: everything goes through the socket.
//!
//! Where is what: [`cli`] the words, `client` the socket, `text` what may reach a terminal, one module per noun for its
//! verbs and its rendering (a function from view to text), `follow` for jobs that are watched until they end.
#![forbid(unsafe_code)]

pub mod cli;

mod adopt;
mod ansible;
mod apply;
mod backup;
mod boot;
mod burn_in;
mod client;
mod clock;
mod cloud;
mod dispatch;
mod doctor;
mod erasure;
mod event;
mod explain;
mod failure;
mod follow;
mod image;
pub mod install;
mod job;
mod journal;
mod key;
mod last_words;
mod metrics;
mod network;
mod node;
mod notify;
mod paths;
mod plan;
mod power;
mod preflight;
mod progress;
mod proof;
mod reference;
mod replace;
mod rescue;
mod rollout;
mod serial;
mod service;
mod session;
mod show;
mod size;
mod smoke;
mod status;
mod support;
mod table;
mod terminal;
mod text;
mod upload;
mod watch;
mod why;
pub mod wizard;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

pub use cli::Cli;

/// Private parsers, for the fuzz targets in `tests/fuzz`; no promise to anybody else.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::text::{ago, clean, clean_value, date_and_clock, fit, is_hostile, quiet_json, width};
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Invocation {
    /// To be the daemon.
    Serve(ServeOptions),
    /// Something that is done without the daemon.
    Offline(Offline),
    /// To make this machine the controller.
    Setup(wizard::SetupOptions),
    /// To put it on a disk, or something newer there.
    Install(install::InstallOptions),
    /// Anything else: give it to [`run`].
    Cli(Box<Cli>),
}

/// What is done without the daemon, with the files below a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offline {
    /// As [`ServeOptions::root`].
    pub root: Option<PathBuf>,
    /// Whether the outcome is wanted as JSON.
    pub json: bool,
    /// Whether nobody may be asked.
    pub no_input: bool,
    /// The backup.
    pub file: PathBuf,
    /// What to do with it.
    pub what: OfflineVerb,
}

/// What is done with a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OfflineVerb {
    /// Look at everything in it.
    Verify {
        /// The file of the recovery kit, `-` for standard input; the controller's own otherwise.
        kit: Option<PathBuf>,
    },
    /// Be the controller that it was made of.
    Restore {
        /// The file of the recovery kit, `-` for standard input.
        kit: PathBuf,
        /// The name of the site, to replace what is here.
        confirm: Option<String>,
    },
}

/// How the daemon shall run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeOptions {
    /// Where configuration, state and socket are looked for instead of `/`: `--root`, else `RACKWRIGHT_ROOT`.
    pub root: Option<PathBuf>,
}

/// Reads this process's arguments; a wrong one ends the process with 2 and the way to help, `--help` with 0.
pub fn parse() -> Invocation {
    parse_from(std::env::args_os())
}

fn parse_from(arguments: impl IntoIterator<Item = OsString>) -> Invocation {
    let cli = cli::read(arguments);
    if matches!(cli.command, cli::Command::Serve) {
        return Invocation::Serve(ServeOptions { root: paths::root(cli.global.root) });
    }
    if let cli::Command::Setup(wish) = &cli.command {
        return Invocation::Setup(wish.options(&cli.global));
    }
    if let cli::Command::Install(wish) = &cli.command {
        return Invocation::Install(wish.options(&cli.global));
    }
    if let cli::Command::Update(wish) = &cli.command {
        return Invocation::Install(wish.options(&cli.global));
    }
    match offline(&cli) {
        Some(offline) => Invocation::Offline(offline),
        None => Invocation::Cli(Box::new(cli)),
    }
}

/// What needs no daemon.
fn offline(cli: &Cli) -> Option<Offline> {
    let (file, what) = if let cli::Command::Backup(cli::BackupCommand::Verify { file, kit }) = &cli.command {
        (file, OfflineVerb::Verify { kit: kit.clone() })
    } else if let cli::Command::Restore(cli::RestoreArgs { file, kit, confirm }) = &cli.command {
        (file, OfflineVerb::Restore { kit: kit.clone(), confirm: confirm.clone() })
    } else {
        return None;
    };
    let (root, json) = (paths::root(cli.global.root.clone()), cli.global.output == cli::Format::Json);
    Some(Offline { root, json, no_input: cli.global.no_input, file: file.clone(), what })
}

/// Does what was asked for; the exit code is the one that belongs to the outcome, the reason is on standard error.
pub fn run(cli: Cli) -> ExitCode {
    let mut session = session::Session::of_process(&cli.global);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(source) => return ExitCode::from(session.report(&failure::Failure::Starting { source })),
    };
    ExitCode::from(runtime.block_on(dispatch::dispatch(&mut session, cli.command)))
}

//! The command line: words in, requests to the daemon's local socket, tables or JSON out.
//!
//! Knows the local API's shapes (`fleet::view`), how to show them to a person and which exit code an outcome has.
//! Refuses to decide anything about nodes and to know where the daemon keeps what: everything goes through the socket.
//!
//! Where is what: [`cli`] the words, `client` the socket, `text` what may reach a terminal, one module per noun for its
//! verbs and its rendering (a function from view to text), `follow` for jobs that are watched until they end.
#![forbid(unsafe_code)]

pub mod cli;

mod ansible;
mod apply;
mod boot;
mod client;
mod dispatch;
mod doctor;
mod erasure;
mod event;
mod failure;
mod follow;
mod image;
mod job;
mod last_words;
mod network;
mod node;
mod paths;
mod plan;
mod progress;
mod replace;
mod service;
mod session;
mod show;
mod status;
mod table;
mod terminal;
mod text;
mod upload;
mod watch;
mod why;

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
    /// Anything else: give it to [`run`].
    Cli(Box<Cli>),
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
    Invocation::Cli(Box::new(cli))
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

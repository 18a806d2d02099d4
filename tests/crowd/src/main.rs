//! A crowd of nodes that are not there, for `cargo xtask bench fleet`: each asks for an address, enrols, takes its job, says that it
//! writes and has written, comes up and reports, against a controller that is.
//!
//! What they say goes through the agent's own line to the controller: TLS, retries and pauses are what a server has. Nothing is
//! written anywhere; how long a disk takes is a number here.

mod answer;
mod figures;
mod image;
mod lease;
mod node;
mod operator;
#[cfg(test)]
mod pins;

use std::error::Error;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

const HELP: &str = "\
A crowd of nodes that are not there, for the bench of a fleet. Run it where only the controller hears it.

  crowd image --out FILE.rwimage --key FILE.pub
  crowd live --controller IP --ca FILE --socket FILE --interface NAME --relay IP --count N --out FILE.json
             [--write SECONDS] [--steady SECONDS]
  crowd answer --controller IP --relay IP --known MAC=IP --out FILE.json
             asks for an address, as somebody new and as somebody known, until there are answers
";

fn main() -> ExitCode {
    let words = std::env::args().skip(1).collect::<Vec<_>>();
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    let done = match words.as_slice() {
        ["image", rest @ ..] => image::main(rest),
        ["live", rest @ ..] => live(rest),
        ["answer", rest @ ..] => answer::main(rest),
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crowd: {}", agent::chain::Chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// The value of `--NAME VALUE` among the words.
fn option<'a>(words: &[&'a str], name: &str) -> Result<&'a str, String> {
    let at = words.iter().position(|word| *word == name).and_then(|at| words.get(at + 1));
    at.copied().ok_or_else(|| format!("{name} is missing\n{HELP}"))
}

/// The same as a number of seconds; none: no such word.
fn seconds(words: &[&str], name: &str) -> Result<Duration, Box<dyn Error>> {
    match option(words, name) {
        Ok(text) => Ok(Duration::from_secs(text.parse()?)),
        Err(_) => Ok(Duration::ZERO),
    }
}

/// What all of the crowd share.
#[derive(Debug)]
pub(crate) struct Site {
    /// Where agents call.
    pub(crate) controller: SocketAddr,
    /// Which CA is the controller's.
    pub(crate) pin: protocol::CaPin,
    /// What the image adds up to.
    pub(crate) root: pack::Digest,
    /// Where the operator is heard.
    pub(crate) socket: PathBuf,
    /// How long each disk takes.
    pub(crate) write: Duration,
    /// How long each stays once all are active.
    pub(crate) steady: Duration,
}

fn live(words: &[&str]) -> Result<(), Box<dyn Error>> {
    let address: Ipv4Addr = option(words, "--controller")?.parse()?;
    let ca = fs::read_to_string(option(words, "--ca")?)?;
    let site = Site {
        controller: SocketAddr::from((address, 8443)),
        pin: image::pin(&ca)?,
        root: image::root()?,
        socket: PathBuf::from(option(words, "--socket")?),
        write: seconds(words, "--write")?,
        steady: seconds(words, "--steady")?,
    };
    let count: u16 = option(words, "--count")?.parse()?;
    let relay = option(words, "--relay")?.parse()?;
    let leases = lease::all(address, relay, count)?;
    lease::settle(option(words, "--interface")?, &leases)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let figures = runtime.block_on(node::all(site, leases))?;
    fs::write(option(words, "--out")?, serde_json::to_vec_pretty(&figures)?)?;
    Ok(())
}

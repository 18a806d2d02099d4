//! `rackwright-agent adopt`: puts the agent onto a server that runs Debian, with its disks as they are.
//!
//! ```text
//! checks -> agent, who to ask, unit (each whole or not at all) -> started -> the code, as soon as the agent has one
//! ```
//! What is there is never written over: the three things that it puts there are its own. It may be run again after anything; once the
//! server is a node it says so and does nothing. The rest is the agent's own matter ([`crate::serve`]).

mod check;
mod install;

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use protocol::{CaPin, Token};
use units::{Systemd, UnitName};

use crate::chain::Chain;
use crate::serve::adoption::{self, Pending, Stage};

pub use check::CheckError;
pub use install::{InstallError, PLACES};

/// Where the token is: not in the arguments, which every user of the machine can read.
const TOKEN: &str = "RACKWRIGHT_TOKEN";
const UNIT: &str = "rackwright-agent.service";
/// How long the agent may take to have a code; a controller that is far is not waited for in the foreground.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(200);

/// Why the server is not on its way to being a node. What to do about it is in the text.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// Words that are not understood.
    #[error(
        "reading the command line: {0:?} is not `--controller ADDRESS:PORT` or `--ca sha256:HEX`; paste the whole line"
    )]
    Options(String),
    /// Nobody invited it.
    #[error("the token is missing, or is none; paste the whole line that rackwright node adopt has printed")]
    Token,
    /// Not a server that can be adopted.
    #[error(transparent)]
    Check(#[from] CheckError),
    /// The agent could not be put there.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// It could not be started.
    #[error("starting the agent ({UNIT}); paste the line again when that is mended")]
    Start(#[from] units::UnitError),
    /// The controller does not want it.
    #[error("the controller says no: {0}")]
    Refused(String),
    /// No runtime.
    #[error("asking the kernel")]
    Kernel(#[source] std::io::Error),
}

/// What the system calls itself, as in os-release(5).
pub(crate) fn system(root: &Path) -> String {
    check::pretty(&crate::inventory::read::text(root, "etc/os-release"))
}

/// The words after `adopt`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Options {
    controller: SocketAddr,
    ca: CaPin,
}

impl Options {
    fn parse(words: &[&str]) -> Result<Self, AdoptError> {
        let (mut controller, mut ca) = (None, None);
        for pair in words.chunks(2) {
            match pair {
                ["--controller", address] => controller = address.parse().ok(),
                ["--ca", pin] => ca = pin.strip_prefix("sha256:").and_then(|pin| pin.parse().ok()),
                [word, ..] => return Err(AdoptError::Options((*word).to_owned())),
                [] => {}
            }
        }
        match (controller, ca) {
            (Some(controller), Some(ca)) => Ok(Self { controller, ca }),
            (None, _) => Err(AdoptError::Options("--controller".to_owned())),
            (Some(_), None) => Err(AdoptError::Options("--ca".to_owned())),
        }
    }
}

/// Does all of it on this machine, and says on the terminal how it goes.
pub fn main(words: &[&str]) -> ExitCode {
    match run(words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rackwright: {}", Chain(&error));
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Result<(), AdoptError> {
    let options = Options::parse(words)?;
    let token = std::env::var(TOKEN).ok().and_then(|token| token.parse::<Token>().ok());
    let token = token.ok_or(AdoptError::Token)?;
    let root = Path::new("/");
    check::fit(root)?;
    let pending = Pending { controller: options.controller, ca: options.ca, token };
    install::install(root, &pending)?;
    println!("rackwright: the agent is installed; nothing else was changed. What is new here:");
    PLACES.iter().for_each(|place| println!("rackwright:   {place}"));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AdoptError::Kernel)?;
    runtime.block_on(start())?;
    wait(root)
}

async fn start() -> Result<(), AdoptError> {
    let systemd = Systemd::connect().await?;
    let Ok(unit) = UnitName::parse(UNIT) else { return Ok(()) };
    systemd.daemon_reload().await?;
    let _changed = systemd.enable(&unit).await?;
    let _state = systemd.restart(&unit).await?;
    Ok(())
}

/// Until the agent has a code to show, or an end.
fn wait(root: &Path) -> Result<(), AdoptError> {
    let until = Instant::now() + PATIENCE;
    let mut said = String::new();
    while Instant::now() < until {
        match adoption::stage(root) {
            Some(Stage::Waiting { code, reason, .. }) => {
                println!("rackwright: this server asks to be adopted, with the code {code}");
                println!("rackwright: {reason}");
                println!("rackwright: on the controller: rackwright node approve {code} --role ROLE");
                return Ok(());
            }
            Some(Stage::Enrolled { name }) => {
                println!("rackwright: this server is the node {name}");
                return Ok(());
            }
            Some(Stage::Refused { why }) => return Err(AdoptError::Refused(why)),
            Some(Stage::Calling { trouble }) if trouble != said => {
                println!("rackwright: {trouble}");
                said = trouble;
            }
            Some(Stage::Calling { .. }) | None => {}
        }
        std::thread::sleep(LOOK);
    }
    println!(
        "rackwright: the agent goes on by itself; its code will be in the journal: journalctl -u {UNIT}"
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::Options;

    #[test]
    fn words_are_those_of_the_line_and_no_others() {
        let pin = format!("sha256:{}", "ab".repeat(32));
        let words = ["--controller", "10.77.0.1:8443", "--ca", &pin];
        assert_eq!(Options::parse(&words).unwrap().controller, "10.77.0.1:8443".parse().unwrap());
        let table: [&[&str]; 7] = [
            &[],
            &["--ca", &pin],
            &["--controller", "10.77.0.1:8443"],
            &["--controller", "10.77.0.1", "--ca", &pin],
            &["--controller", "10.77.0.1:8443", "--ca", "sha256:ab"],
            &["--controller", "10.77.0.1:8443", "--ca"],
            &["--controller", "10.77.0.1:8443", "--ca", &pin, "--force"],
        ];
        for words in table {
            assert!(Options::parse(words).is_err(), "{words:?}");
        }
    }
}

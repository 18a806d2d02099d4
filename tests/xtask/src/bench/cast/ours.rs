//! Ours: `transmit`, which is what the controller and the agents run, without what comes before a transmission.
//!
//! This crate links none of ours: the program is built here as the other benches build theirs.

use std::error::Error;
use std::ffi::OsString;
use std::path::PathBuf;

use super::lab::{CONTROLLER, Lab};
use super::peer::{Arrival, First, Peer, Stage};
use super::scenario::{Event, Scenario, VICTIM};
use crate::cargo::cargo;
use crate::place;
use crate::tool::Tool;

/// The name that our rows have.
pub(super) const NAME: &str = "rackwright";
/// Where both ends meet beside the transmission.
const PORT: &str = "7000";
/// Of a receiver, in MiB.
const SPOOL: &str = "128";

/// Ours, built.
///
/// # Errors
/// It does not compile.
pub(super) fn peer() -> Result<Box<dyn Peer>, Box<dyn Error>> {
    cargo(["build", "--locked", "--quiet", "--profile", "ship", "-p", "transmit"]).show()?;
    Ok(Box::new(Ours(place::target().join("ship/transmit"))))
}

struct Ours(PathBuf);

impl Ours {
    fn words(&self, verb: &str, options: &[(&str, OsString)]) -> Vec<OsString> {
        let options = options.iter().flat_map(|(name, value)| [OsString::from(name), value.clone()]);
        [self.0.clone().into_os_string(), verb.into()].into_iter().chain(options).collect()
    }
}

impl Peer for Ours {
    fn name(&self) -> &'static str {
        NAME
    }

    fn refuses(&self, _scenario: &Scenario) -> Option<String> {
        None
    }

    fn prepare(&self, stage: &Stage<'_>) -> Result<(), Box<dyn Error>> {
        let work = stage.dir.join("store");
        if work.exists() {
            std::fs::remove_dir_all(&work)?;
        }
        std::fs::create_dir_all(&work)?;
        let pack = ["pack".into(), "--file".into(), stage.image.clone().into_os_string(), "--out".into()];
        let made = Tool::new(&self.0).args(pack).arg(packed(stage)).read();
        made.map(drop).map_err(Into::into)
    }

    fn controller(&self, stage: &Stage<'_>) -> Vec<Vec<OsString>> {
        vec![self.words(
            "send",
            &[
                ("--image", packed(stage).into()),
                ("--work", stage.dir.join("store").into()),
                ("--local", CONTROLLER.to_string().into()),
                ("--port", PORT.into()),
                ("--mbit", stage.lab.rate().to_string().into()),
            ],
        )]
    }

    fn receiver(&self, stage: &Stage<'_>, scenario: &Scenario, receiver: u16) -> Vec<OsString> {
        let is_slow = scenario.event == Event::SlowDisk && receiver == VICTIM;
        let slow = ("--disk-kib", (scenario.rate() * 1000 / 8 / 10).to_string().into());
        let mut words = self.words(
            "receive",
            &[
                ("--image", packed(stage).into()),
                ("--sink", stage.sink(receiver).into()),
                ("--local", Lab::address(receiver).to_string().into()),
                ("--server", format!("{CONTROLLER}:{PORT}").into()),
                ("--node", receiver.to_string().into()),
                ("--company", stage.lab.receivers().to_string().into()),
                ("--spool", SPOOL.into()),
                ("--go", go(stage).into()),
            ],
        );
        if is_slow {
            words.extend([OsString::from(slow.0), slow.1]);
        }
        words
    }

    fn first(&self, stage: &Stage<'_>) -> First {
        First::Job(&[7000], go(stage))
    }

    fn arrival(&self, _stage: &Stage<'_>, _receiver: u16) -> Arrival {
        Arrival::Exit
    }
}

/// What receivers wait for.
fn go(stage: &Stage<'_>) -> PathBuf {
    stage.dir.join("go")
}

fn packed(stage: &Stage<'_>) -> PathBuf {
    stage.dir.join("image.rwimage")
}

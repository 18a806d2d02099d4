//! UFTP without encryption, at the rate of the link.

use std::ffi::OsString;

use crate::bench::cast::lab::INTERFACE;
use crate::bench::cast::peer::{Arrival, First, Peer, Stage};
use crate::bench::cast::scenario::{Event, Scenario};

pub(super) struct Uftp;

impl Peer for Uftp {
    fn name(&self) -> &'static str {
        "uftp"
    }

    fn refuses(&self, scenario: &Scenario) -> Option<String> {
        match scenario.event {
            Event::Joins(_) => Some("who comes late is not served".to_owned()),
            Event::Restart => Some("it cannot go on where it was".to_owned()),
            Event::SlowDisk | Event::Rebuild => scenario.needs_a_disk(),
            Event::None | Event::SlowLink | Event::Killed | Event::LinkDown | Event::Stopped => None,
        }
    }

    fn controller(&self, stage: &Stage<'_>) -> Vec<Vec<OsString>> {
        // 1400: the longest block that its manual allows for such frames. Kb/s.
        let options = format!("-I {INTERFACE} -b 1400 -R {}", stage.lab.rate() * 1000);
        vec![Stage::words(&[&stage.program("usr/bin/uftp"), &options], &[&stage.image])]
    }

    fn receiver(&self, stage: &Stage<'_>, _scenario: &Scenario, receiver: u16) -> Vec<OsString> {
        // -t: a file has its name when all of it is there.
        let options = format!("-d -q -t -I {INTERFACE} -D");
        Stage::words(&[&stage.program("usr/bin/uftpd"), &options], &[&stage.folder(receiver)])
    }

    fn first(&self, _stage: &Stage<'_>) -> First {
        First::Receivers
    }

    fn arrival(&self, stage: &Stage<'_>, receiver: u16) -> Arrival {
        Arrival::File(stage.sink(receiver))
    }
}

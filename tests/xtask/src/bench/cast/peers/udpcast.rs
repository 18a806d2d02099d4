//! udpcast, as Clonezilla and FOG call it.

use std::ffi::OsString;

use crate::bench::cast::lab::INTERFACE;
use crate::bench::cast::peer::{Arrival, First, Peer, Stage};
use crate::bench::cast::scenario::{Event, Scenario};

pub(super) struct Udpcast;

impl Peer for Udpcast {
    fn name(&self) -> &'static str {
        "udpcast"
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
        let count = stage.lab.receivers();
        // Its hello is repeated, which Clonezilla does not ask for: a receiver that lost the only one is waited for for ever.
        let options = format!(
            "--full-duplex --nokbd --no-progress --interface {INTERFACE} --min-receivers {count} \
             --rexmit-hello-interval 500 --file"
        );
        vec![Stage::words(&[&stage.program("usr/bin/udp-sender"), &options], &[&stage.image])]
    }

    fn receiver(&self, stage: &Stage<'_>, _scenario: &Scenario, receiver: u16) -> Vec<OsString> {
        let options = format!("--nokbd --no-progress --interface {INTERFACE} --file");
        Stage::words(&[&stage.program("usr/bin/udp-receiver"), &options], &[&stage.sink(receiver)])
    }

    fn first(&self, _stage: &Stage<'_>) -> First {
        First::Receivers
    }

    fn arrival(&self, _stage: &Stage<'_>, _receiver: u16) -> Arrival {
        Arrival::Exit
    }
}

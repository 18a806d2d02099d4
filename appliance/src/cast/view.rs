//! How a transmission goes, for those who look.

use std::collections::BTreeMap;

use cast::Sender;
use cast::sender::{ReceiverView, Verdict, Why};

/// A transmission at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Bytes put on the wire: data, for the first time; repairs; all with their headers.
    pub sent_bytes: u64,
    /// Of these, repairs.
    pub repair_bytes: u64,
    /// Bytes a second it sends at now, at most.
    pub rate: u64,
    /// Packets that were no report of a listener.
    pub refused: u64,
    /// Nobody lacks anything, for the moment.
    pub rests: bool,
    /// Why it has ended, if it has: the store does not give the image.
    pub broken: Option<String>,
    /// Who listens, by slot.
    pub listeners: BTreeMap<u32, Listener>,
}

/// Somebody who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Of a million packets, how many do not arrive.
    pub loss_ppm: u32,
    /// Symbols that it lacks.
    pub lacks: u64,
    /// Whether it should fetch instead, and why.
    pub pull: Option<Why>,
}

/// What the thread knows beside the sender.
#[derive(Debug)]
pub(super) struct Told {
    /// Packets that were no report.
    pub(super) refused: u64,
    /// Why it has ended.
    pub(super) broken: Option<String>,
}

impl View {
    /// What a sender has to show.
    pub(super) fn of(sender: &Sender, Told { refused, broken }: Told) -> Self {
        let counters = sender.counters();
        let listener = |(slot, ReceiverView { loss_ppm, lacks, verdict, .. }): (u32, ReceiverView)| {
            let pull = match verdict {
                Verdict::Keep => None,
                Verdict::Pull(why) => Some(why),
            };
            (slot, Listener { loss_ppm, lacks, pull })
        };
        View {
            sent_bytes: counters.sent_bytes,
            repair_bytes: counters.repair_bytes,
            rate: sender.rate(),
            refused,
            rests: sender.done(),
            broken,
            listeners: sender.receivers().map(listener).collect(),
        }
    }
}

//! The table of scenarios: how many receivers, what the network does to them, and what our figures are held against.
//!
//! Data only. Which of it is run, and against whom, is decided elsewhere.

/// Mb/s that two processors carry without being what is measured: receivers times rate stays below it. A copy of a packet of full
/// size costs them 15 µs until it is in the file of a receiver that reads packet by packet (measured). A receiver of ours makes up for
/// losses, hashes and writes to a disk besides: at 1200 Mb/s 24 of them fell behind by more than a second (measured).
const FORWARDED: u32 = 600;
/// Mb/s of a link at most.
const RATE_MAX: u32 = 600;
/// So many programs take most of a second until all of them have begun.
const MANY: u16 = 64;
/// Bytes of a block of a disk.
const BLOCK: u64 = 4096;
/// Bytes on the wire for each byte of the file, without any loss: a frame takes 1538 with preamble and gap, and carries 1456 of a file
/// that is sent by UDP, as udpcast does.
const HEADERS: f64 = 1538.0 / 1456.0;
/// The same as a port counts them, without preamble, check sequence and gap.
pub(super) const COUNTED: f64 = 1514.0 / 1456.0;

/// What the cables lose; the share is of packets.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Loss {
    /// Nothing.
    None,
    /// Each packet to any receiver, by itself.
    Each {
        /// Of 10,000.
        share: u16,
    },
    /// Two hundred in a row of every 20,000 to a receiver, each receiver at a time of its own.
    Bursts,
    /// Each packet to the first receiver only.
    OnePort {
        /// Of 10,000.
        share: u16,
    },
    /// Each packet from any receiver to the controller.
    Reverse {
        /// Of 10,000.
        share: u16,
    },
}

/// What kind of switch it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lan {
    /// Snooping, and a querier beside it: multicast goes where it was asked for.
    Snooping,
    /// Snooping, and nobody who queries.
    NoQuerier,
    /// No snooping: multicast goes everywhere.
    Flooding,
    /// Multicast goes nowhere.
    Blocked,
}

/// What happens in the middle of it. The first receiver is the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// Nothing.
    None,
    /// The victim comes when so many per cent of the limit are over.
    Joins(u8),
    /// From the start the victim's disk takes a tenth of what its link brings.
    SlowDisk,
    /// From the start the victim's link has a tenth of the rate.
    SlowLink,
    /// At half of the limit the victim is killed.
    Killed,
    /// At half of the limit the victim's link goes down.
    LinkDown,
    /// At half of the limit the victim is stopped, and keeps its sockets.
    Stopped,
    /// At half of the limit the controller's programs are killed and started again.
    Restart,
    /// Each receiver has the file already, but for one MiB of each hundred, and no two lack the same.
    Rebuild,
}

/// What our figures are held against; `None`: shown only.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Bars {
    /// Until the last has it, by the limit.
    pub(super) time: Option<f64>,
    /// What the controller sends, by the image.
    pub(super) sent: Option<f64>,
    /// Per cent that the others are later than without the event.
    pub(super) others: Option<f64>,
    /// Until the newcomer has it after it came, by the limit.
    pub(super) newcomer: Option<f64>,
    /// Per cent of the link that a bystander sees.
    pub(super) bystander: Option<f64>,
    /// Processor milliseconds of the controller for each GB that it sends.
    pub(super) controller: Option<f64>,
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Scenario {
    /// As `s1-loss5-n24`.
    pub(super) name: String,
    pub(super) receivers: u16,
    pub(super) loss: Loss,
    pub(super) lan: Lan,
    pub(super) event: Event,
    /// The controller has a processor of its own, and the switch and all receivers have another: what the controller spends
    /// is its own then, and times mean nothing.
    pub(super) apart: bool,
    pub(super) bars: Bars,
}

impl Scenario {
    /// `receivers` of them, and nothing else that could delay anyone.
    pub(super) fn plain(receivers: u16) -> Scenario {
        Scenario {
            name: format!("s0-n{receivers}"),
            receivers,
            loss: Loss::None,
            lan: Lan::Snooping,
            event: Event::None,
            apart: false,
            bars: Bars { time: (receivers == 1).then_some(1.05), ..Bars::default() },
        }
    }

    /// Mb/s of every link.
    pub(super) fn rate(&self) -> u32 {
        let forwarded = if self.apart { FORWARDED * 2 / 3 } else { FORWARDED };
        (forwarded / u32::from(self.receivers)).min(RATE_MAX)
    }

    /// Bytes of an image that takes so many seconds at the limit; a disk has whole blocks. Where only the network is measured it takes
    /// twice as many, and to [`MANY`] four times: one that is worth sending takes minutes, and what is fixed weighs little then.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "hundreds of megabytes")]
    pub(super) fn bytes(&self, seconds: f64) -> u64 {
        if self.event == Event::Rebuild {
            // Each lacks one of a hundred MiB.
            return 100 << 20;
        }
        let is_long = !self.apart && self.event == Event::None && self.lan == Lan::Snooping;
        let many = if self.receivers >= MANY { 2.0 } else { 1.0 };
        let seconds = if is_long { 2.0 * many * seconds } else { seconds };
        ((seconds * f64::from(self.rate()) * 1e6 / 8.0 / HEADERS) as u64).next_multiple_of(BLOCK)
    }

    /// Seconds that so many bytes take at least.
    #[allow(clippy::cast_precision_loss, reason = "hundreds of megabytes")]
    pub(super) fn limit(&self, bytes: u64) -> f64 {
        bytes as f64 * HEADERS * 8.0 / (f64::from(self.rate()) * 1e6)
    }

    /// Why those are not run there whose receivers write files in memory, if it is so.
    pub(super) fn needs_a_disk(&self) -> Option<String> {
        let needs_one = matches!(self.event, Event::SlowDisk | Event::Rebuild);
        needs_one.then(|| "its receivers have no disks".to_owned())
    }

    /// Whether a run is over only when this receiver has it.
    pub(super) fn waits_for(&self, receiver: u16) -> bool {
        match self.event {
            Event::None | Event::Joins(_) | Event::Restart | Event::Rebuild => true,
            Event::SlowDisk | Event::SlowLink | Event::Killed | Event::LinkDown | Event::Stopped => {
                receiver != VICTIM
            }
        }
    }

    /// Whether it is one of those that `--case NAME` means: itself, or a family of which it is one.
    pub(super) fn is_meant_by(&self, name: &str) -> bool {
        let rest = self.name.strip_prefix(&name.to_lowercase());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
    }
}

/// Who it happens to; receivers count from 1.
pub(super) const VICTIM: u16 = 1;

/// Every scenario, in the order in which they are run.
pub(super) fn table() -> Vec<Scenario> {
    let mut table: Vec<Scenario> = [1, 2, 4, 8, 16, 24, 32, 64].map(Scenario::plain).to_vec();
    for receivers in [1, 4, 8, 24, 64] {
        for (name, share, time, sent) in [
            ("loss0.1", 10, None, None),
            ("loss1", 100, Some(1.05), Some(1.03)),
            ("loss5", 500, Some(1.12), Some(1.10)),
            ("loss10", 1000, Some(1.25), Some(1.20)),
        ] {
            let bars = Bars { time, sent, ..Bars::default() };
            table.push(Scenario { loss: Loss::Each { share }, bars, ..named("s1", name, receivers) });
        }
    }
    for (name, loss) in [
        ("burst", Loss::Bursts),
        ("port20", Loss::OnePort { share: 2000 }),
        ("reverse5", Loss::Reverse { share: 500 }),
    ] {
        table.push(Scenario { loss, ..named("s2", name, 8) });
    }
    for (name, event, others, newcomer) in [
        ("s3-join25", Event::Joins(25), 2.0, Some(1.05)),
        ("s3-join50", Event::Joins(50), 2.0, Some(1.05)),
        ("s3-join90", Event::Joins(90), 2.0, Some(1.05)),
        ("s4-disk", Event::SlowDisk, 2.0, None),
        ("s4-link", Event::SlowLink, 2.0, None),
        ("s5-kill", Event::Killed, 1.0, None),
        ("s5-link", Event::LinkDown, 1.0, None),
        ("s5-stop", Event::Stopped, 1.0, None),
    ] {
        let (family, name) = name.split_at(2);
        let bars = Bars { others: Some(others), newcomer, ..Bars::default() };
        table.push(Scenario { event, bars, ..named(family, name.trim_start_matches('-'), 8) });
    }
    for (name, lan) in [("noquerier", Lan::NoQuerier), ("flooding", Lan::Flooding), ("blocked", Lan::Blocked)]
    {
        let bars = Bars { bystander: Some(1.0), ..Bars::default() };
        table.push(Scenario { lan, bars, ..named("s8", name, 8) });
    }
    // What 32 receivers lack together, and as much again of it as without losses is sent at most.
    let bars = Bars { sent: Some(0.32 * 1.02), ..Bars::default() };
    table.push(Scenario { event: Event::Rebuild, bars, ..named("s7", "rebuild", 32) });
    let bars = Bars { time: Some(1.1), ..Bars::default() };
    table.push(Scenario { event: Event::Restart, bars, ..named("s10", "restart", 8) });
    for receivers in [1, 8, 32] {
        let bars = Bars { controller: Some(250.0), ..Bars::default() };
        let name = format!("cpu-n{receivers}");
        table.push(Scenario { name, apart: true, bars, ..Scenario::plain(receivers) });
    }
    table
}

fn named(family: &str, name: &str, receivers: u16) -> Scenario {
    let plain = Scenario::plain(receivers);
    Scenario { name: format!("{family}-{name}-n{receivers}"), bars: Bars::default(), ..plain }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_the_machine_is_not_the_limit() {
        let table = table();
        let names: BTreeSet<&str> = table.iter().map(|scenario| scenario.name.as_str()).collect();
        assert_eq!(names.len(), table.len());
        for scenario in &table {
            assert!(u32::from(scenario.receivers) * scenario.rate() <= FORWARDED, "{scenario:?}");
            let seconds = scenario.limit(scenario.bytes(10.0));
            let is_fixed = scenario.event == Event::Rebuild;
            let usual = match (scenario.name.split('-').next(), scenario.receivers) {
                (Some("s0" | "s1" | "s2"), 64) => 40.0,
                (Some("s0" | "s1" | "s2"), _) => 20.0,
                _ => 10.0,
            };
            let is_usual = (seconds - usual).abs() < 0.005;
            assert!(is_fixed || is_usual, "{seconds}");
        }
    }

    #[test]
    fn a_case_is_one_or_a_family() {
        let meant = |name: &str| table().iter().filter(|scenario| scenario.is_meant_by(name)).count();
        assert_eq!((meant("s1"), meant("S0"), meant("s10")), (20, 8, 1));
        assert_eq!((meant("s1-loss1"), meant("s1-loss1-n24"), meant("s1-loss1-n2"), meant("")), (5, 1, 0, 0));
    }
}

//! What was measured becomes rows: net of a peer's fixed start, by the limit, beside ours where ours was measured.

use super::ours;
use super::peer::Outcome;
use super::run::PATIENCE;
use super::scenario::{COUNTED, Event, Scenario, VICTIM};
use crate::bench::{Row, Side};

/// The bar that is not of one scenario: how much later the last of 64 has it than the only one.
const SCALE: f64 = 1.05;

/// All runs of one in one scenario.
#[derive(Debug, Clone)]
pub(super) struct Measured {
    pub(super) scenario: Scenario,
    pub(super) who: &'static str,
    /// Seconds of a file of no length.
    pub(super) fixed: f64,
    /// Bytes of the file.
    pub(super) bytes: u64,
    pub(super) outcomes: Vec<Outcome>,
    /// Of the same rounds, without the event; empty where nobody asks for it.
    pub(super) before: Vec<Outcome>,
}

impl Measured {
    pub(super) fn new(scenario: &Scenario, who: &'static str, fixed: f64, bytes: u64) -> Measured {
        let scenario = scenario.clone();
        Measured { scenario, who, fixed, bytes, outcomes: Vec::new(), before: Vec::new() }
    }

    fn is_ours(&self) -> bool {
        self.who == ours::NAME
    }

    /// Until the last has it, by the limit: net of the fixed start of a peer, gross of ours. What did not finish counts as
    /// the time that it was given.
    pub(super) fn times(&self) -> Vec<f64> {
        let limit = self.scenario.limit(self.bytes);
        let fixed = if self.is_ours() { 0.0 } else { self.fixed };
        let times = self.outcomes.iter().map(|outcome| {
            let last = outcome.last(|receiver| self.scenario.waits_for(receiver));
            last.filter(|_| outcome.finished).map_or(PATIENCE, |last| (last - fixed) / limit)
        });
        times.collect()
    }

    /// The newcomer's time after it came, by the limit.
    fn newcomer(&self) -> Vec<f64> {
        let limit = self.scenario.limit(self.bytes);
        let of = |outcome: &Outcome| outcome.last(|receiver| receiver == VICTIM).map(|last| last / limit);
        self.outcomes.iter().map(|outcome| of(outcome).unwrap_or(PATIENCE)).collect()
    }

    /// Per cent that everybody but the victim is later than in the run before, without the event.
    fn others_later(&self) -> Vec<f64> {
        let others = |outcome: &Outcome| outcome.last(|receiver| receiver != VICTIM);
        let limit = self.scenario.limit(self.bytes);
        let pairs = self.outcomes.iter().zip(&self.before);
        let later = pairs.filter_map(|(with, without)| {
            let without = others(without)?;
            Some(100.0 * (others(with).unwrap_or(PATIENCE * limit) / without - 1.0))
        });
        later.collect()
    }

    /// What the controller sent, with all headers, by the image with its headers.
    #[allow(clippy::cast_precision_loss, reason = "hundreds of megabytes")]
    fn sent(&self) -> Vec<f64> {
        let image = self.bytes as f64 * COUNTED;
        self.outcomes.iter().map(|outcome| outcome.sent as f64 / image).collect()
    }

    /// Per cent of a link that the bystander had to listen to.
    #[allow(clippy::cast_precision_loss, reason = "hundreds of megabytes")]
    fn overheard(&self) -> Vec<f64> {
        let link = f64::from(self.scenario.rate()) * 1e6 / 8.0;
        let of = |outcome: &Outcome| 100.0 * outcome.overheard as f64 / (link * outcome.took);
        self.outcomes.iter().map(of).collect()
    }

    /// Processor milliseconds of the controller for each GB that it sent; nothing of a run that sent less than its image.
    #[allow(clippy::cast_precision_loss, reason = "hundreds of megabytes")]
    fn controller(&self) -> Vec<f64> {
        let sent = self.outcomes.iter().filter(|outcome| outcome.sent >= self.bytes);
        let of = |outcome: &Outcome| outcome.controller.user + outcome.controller.kernel;
        sent.map(|outcome| of(outcome) * 1e12 / outcome.sent as f64).collect()
    }

    /// Processor milliseconds of a receiver's program for each GB of the image, on the average of those that finished. The
    /// kernel's part is left out: on one machine, the switch is in it.
    #[allow(clippy::cast_precision_loss, reason = "hundreds of megabytes")]
    fn receiver(&self) -> Vec<f64> {
        let bytes = self.bytes as f64 * f64::from(self.scenario.receivers);
        let finished = self.outcomes.iter().filter(|outcome| outcome.finished);
        finished.map(|outcome| outcome.receivers.user * 1e12 / bytes).collect()
    }

    /// How many runs did not finish.
    fn unfinished(&self) -> f64 {
        self.outcomes.iter().map(|outcome| if outcome.finished { 0.0 } else { 1.0 }).sum()
    }
}

/// A figure of every run.
type Figures = fn(&Measured) -> Vec<f64>;

/// One thing that is measured in every run.
struct Metric {
    name: &'static str,
    unit: &'static str,
    of: Figures,
    bar: Option<f64>,
}

/// What is shown of a scenario.
fn metrics(scenario: &Scenario) -> Vec<Metric> {
    let bars = scenario.bars;
    let mut metrics = vec![
        Metric {
            name: "until the last has it, by the limit",
            unit: "×",
            of: Measured::times,
            bar: bars.time,
        },
        Metric {
            name: "sent by the controller, by the image",
            unit: "×",
            of: Measured::sent,
            bar: bars.sent,
        },
    ];
    if matches!(scenario.event, Event::Joins(_)) {
        let (name, bar) = ("newcomer, from its coming, by the limit", bars.newcomer);
        metrics.push(Metric { name, unit: "×", of: Measured::newcomer, bar });
    }
    if bars.others.is_some() {
        let (name, bar) = ("the others are later by", bars.others);
        metrics.push(Metric { name, unit: "%", of: Measured::others_later, bar });
    }
    let (name, bar) = ("a bystander hears, of its link", bars.bystander);
    metrics.push(Metric { name, unit: "%", of: Measured::overheard, bar });
    let machine: [(&str, Figures); 2] = [
        ("this machine's processors idle", |one| one.outcomes.iter().map(|outcome| outcome.idle).collect()),
        ("this machine's processors for others", |one| {
            one.outcomes.iter().map(|outcome| outcome.foreign).collect()
        }),
    ];
    metrics.extend(machine.map(|(name, of)| Metric { name, unit: "%", of, bar: None }));
    if scenario.apart {
        let (name, bar) = ("controller, for each GB sent", bars.controller);
        metrics.push(Metric { name, unit: "CPU ms", of: Measured::controller, bar });
    }
    let name = "a receiver's program without the kernel, for each GB";
    metrics.push(Metric { name, unit: "CPU ms", of: Measured::receiver, bar: None });
    metrics
}

/// All rows. Ours is held against the bars; peers stand beside it, or alone.
pub(super) fn rows(measured: &[Measured]) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut done: Vec<&str> = Vec::new();
    for Measured { scenario, .. } in measured {
        if done.contains(&scenario.name.as_str()) {
            continue;
        }
        done.push(&scenario.name);
        let here: Vec<&Measured> = measured.iter().filter(|one| one.scenario.name == scenario.name).collect();
        rows.extend(of_scenario(scenario, &here));
    }
    rows.extend(scale(measured));
    rows
}

fn of_scenario(scenario: &Scenario, here: &[&Measured]) -> Vec<Row> {
    let ours = here.iter().find(|one| one.is_ours());
    let peers = || here.iter().filter(|one| !one.is_ours());
    let case = scenario.name.as_str();
    let mut rows = Vec::new();
    for Metric { name, unit, of, bar } in metrics(scenario) {
        let runs = ours.map(|ours| of(ours));
        rows.extend(runs.as_ref().and_then(|runs| match bar {
            Some(bar) => Row::at_most(case, name, unit, bar, runs),
            None => Row::shown(case, name, unit, runs),
        }));
        for peer in peers() {
            rows.extend(match &runs {
                Some(runs) => Row::beside(case, name, unit, runs, peer.who, &of(peer)),
                None => Row::of_peer(case, name, unit, peer.who, &of(peer)),
            });
        }
    }
    if let (Some(ours), Some(peer)) = (ours, peers().find(|peer| peer.who == "udpcast"))
        && scenario.name.starts_with("s0")
    {
        let name = "never slower than udpcast net of its fixed start";
        let row = Row::beside(case, name, "×", &ours.times(), peer.who, &peer.times());
        rows.extend(row.map(|row| row.held(1.0, Side::AtMost)));
    }
    for one in here {
        let (name, unfinished) = ("runs that did not finish", [one.unfinished()]);
        if one.is_ours() {
            rows.extend(Row::at_most(case, name, "", 0.0, &unfinished).map(|row| Row { ratio: None, ..row }));
            rows.extend(Row::shown(case, "fixed start", "s", &[one.fixed]));
        } else {
            rows.extend(Row::of_peer(case, name, "", one.who, &unfinished));
            rows.extend(Row::of_peer(case, "fixed start, not in the other rows", "s", one.who, &[one.fixed]));
        }
    }
    rows
}

/// T(64)/T(1), each by its own limit, run by run.
fn scale(measured: &[Measured]) -> Vec<Row> {
    let of = |who: &str, receivers: u16| {
        let name = Scenario::plain(receivers).name;
        measured.iter().find(|one| one.who == who && one.scenario.name == name).map(Measured::times)
    };
    let mut names: Vec<&str> = measured.iter().map(|one| one.who).collect();
    names.dedup();
    names.sort_unstable();
    names.dedup();
    let rows = names.into_iter().filter_map(|who| {
        let (many, one) = (of(who, 64)?, of(who, 1)?);
        let ratios: Vec<f64> = many.iter().zip(&one).map(|(many, one)| many / one).collect();
        let (case, name) = ("s0", "T(64)/T(1), each by its limit");
        if who == ours::NAME {
            Row::at_most(case, name, "×", SCALE, &ratios)
        } else {
            Row::of_peer(case, name, "×", who, &ratios)
        }
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(who: &'static str, seconds: &[Option<f64>]) -> Measured {
        let scenario = Scenario::plain(1);
        let bytes = scenario.bytes(5.0);
        let outcomes = seconds.iter().map(|seconds| Outcome {
            seconds: vec![*seconds],
            finished: seconds.is_some(),
            sent: bytes,
            ..Outcome::default()
        });
        Measured { outcomes: outcomes.collect(), ..Measured::new(&scenario, who, 2.0, bytes) }
    }

    #[test]
    fn a_peer_is_net_of_its_start_and_what_never_ended_counts() {
        let round = |times: Vec<f64>| times.iter().map(|time| (time * 1000.0).round()).collect::<Vec<_>>();
        assert_eq!(round(measured("udpcast", &[Some(12.0), None]).times()), [1000.0, 10_000.0]);
        assert_eq!(round(measured(ours::NAME, &[Some(12.0)]).times()), [1200.0]);
    }

    #[test]
    fn peers_stand_alone_until_ours_is_there() {
        let alone = rows(&[measured("udpcast", &[Some(12.0)])]);
        assert!(alone.iter().all(|row| row.ours.is_none() && row.ok.is_none()));
        let both = rows(&[measured(ours::NAME, &[Some(10.2)]), measured("udpcast", &[Some(12.0)])]);
        let bars: Vec<_> =
            both.iter().filter(|row| row.ok.is_some()).map(|row| row.metric.as_str()).collect();
        assert_eq!(
            bars,
            [
                "until the last has it, by the limit",
                "never slower than udpcast net of its fixed start",
                "runs that did not finish"
            ]
        );
    }
}

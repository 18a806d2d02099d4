//! `cargo xtask bench cast`: a file to many receivers at once, by us and by what is used today, in turns, while the
//! network loses packets, receivers come late, are slow or die.
//!
//! Everything is on this machine: namespaces, a bridge that snoops, shaped links. What is sent and what arrives is in
//! memory. The clock stops when a receiver has it; what it has is compared octet by octet afterwards. A run that is not
//! over after ten times what the link allows is killed and counted as unfinished.

mod cost;
mod faults;
mod lab;
mod ours;
mod peer;
mod peers;
mod plot;
mod report;
mod run;
mod runner;
mod scenario;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::PathBuf;

use super::wire::Precedence;
use super::{Report, Wish};
use crate::{place, say};
use lab::Lab;
use peer::{Outcome, Peer, Stage};
use report::Measured;
use scenario::{Event, Scenario};

/// Seconds that the file of a run takes at least, twice as many where nothing but the network is measured; and rounds.
const FULL: (f64, usize) = (10.0, 5);
const QUICK: (f64, usize) = (4.0, 1);
/// Numbers of receivers of a quick look at everything.
const QUICK_RECEIVERS: [u16; 2] = [4, 8];
/// Bytes of a file that takes no time: what is left is a peer's fixed start.
const NOTHING: u64 = 4096;

/// Measures, saves, and gives the table.
///
/// # Errors
/// Not root; a package that can't be had; a case that is not in the table.
pub fn run(wish: &Wish) -> Result<String, Box<dyn Error>> {
    let scenarios = wanted(wish)?;
    let mut bench = Bench::set_up(wish)?;
    let _first = Precedence::take()?;
    let mut measured = Vec::new();
    for scenario in &scenarios {
        measured.extend(bench.measure(scenario)?);
        // It takes hours: what is interrupted has its figures until then.
        report(&measured).save()?;
    }
    if wish.plots {
        for (name, text) in plot::all(&measured) {
            let path = place::workspace().join("appliance/docs").join(name);
            fs::write(&path, text)?;
            say::line(&format!("    drawn: {}", path.display()));
        }
    }
    Ok(report(&measured).table())
}

fn report(measured: &[Measured]) -> Report {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or("?").to_owned();
    let setting =
        format!("namespaces on one machine, files in memory, at nice −15, receivers at −5, load {load}");
    Report::new("cast", &setting, report::rows(measured))
}

/// What is run.
///
/// # Errors
/// A case that is not in the table.
fn wanted(wish: &Wish) -> Result<Vec<Scenario>, String> {
    let table = scenario::table();
    let Some(cases) = &wish.case else {
        let is_wanted = |scenario: &Scenario| !wish.quick || QUICK_RECEIVERS.contains(&scenario.receivers);
        return Ok(table.into_iter().filter(is_wanted).collect());
    };
    let nobodys = |case: &&str| !table.iter().any(|scenario| scenario.is_meant_by(case));
    if let Some(case) = cases.split(',').find(nobodys) {
        let all = table.iter().map(|scenario| scenario.name.as_str()).collect::<Vec<_>>();
        return Err(format!("no such case: {case}; there are {}", all.join(", ")));
    }
    let is_meant = |scenario: &Scenario| cases.split(',').any(|case| scenario.is_meant_by(case));
    Ok(table.into_iter().filter(is_meant).collect())
}

/// Per cent of this machine that others may have during a run.
const FOREIGN: f64 = 5.0;

/// Who takes part, where, and how often.
struct Bench {
    peers: Vec<Box<dyn Peer>>,
    dir: PathBuf,
    seconds: f64,
    rounds: usize,
    /// Seconds of a file of no length, by peer and number of receivers: the rate does not matter to it.
    fixed: BTreeMap<(&'static str, u16), f64>,
}

impl Bench {
    fn set_up(wish: &Wish) -> Result<Bench, Box<dyn Error>> {
        let dir = place::target().join("bench/cast");
        fs::create_dir_all(&dir)?;
        let mut peers = vec![ours::peer()?];
        if !wish.ours {
            peers::fetch(&dir.join("programs"))?;
            peers.extend(peers::all());
        }
        let (seconds, rounds) = if wish.quick { QUICK } else { FULL };
        let rounds = wish.rounds.unwrap_or(rounds);
        Ok(Bench { peers, dir, seconds, rounds, fixed: BTreeMap::new() })
    }

    /// Everybody in one scenario, in turns.
    fn measure(&mut self, scenario: &Scenario) -> Result<Vec<Measured>, Box<dyn Error>> {
        let bytes = scenario.bytes(self.seconds);
        let limit = scenario.limit(bytes);
        let what = format!("{}: {} MB at {} Mb/s", scenario.name, bytes / 1_000_000, scenario.rate());
        say::line(&format!("==> {what}, {limit:.1} s at least"));
        let lab = Lab::up(&self.dir, scenario.receivers, scenario.rate())?;
        lab.carry_apart(scenario.apart)?;
        let mut all: Vec<Measured> = Vec::new();
        let mut taking_part = Vec::new();
        for (number, peer) in self.peers.iter().enumerate() {
            if let Some(why) = peer.refuses(scenario) {
                say::line(&format!("    {}: not run: {why}", peer.name()));
                continue;
            }
            let fixed = match self.fixed.get(&(peer.name(), scenario.receivers)) {
                Some(fixed) => *fixed,
                None => self.fixed_start(peer.as_ref(), &lab)?,
            };
            taking_part.push(number);
            all.push(Measured::new(scenario, peer.name(), fixed, bytes));
        }
        for measured in &all {
            self.fixed.insert((measured.who, scenario.receivers), measured.fixed);
        }
        let stage = Stage::set(&lab, &self.dir, &self.dir.join("programs"), bytes, limit)?;
        for round in 0..self.rounds {
            for turn in 0..taking_part.len() {
                let place = (round + turn) % taking_part.len();
                let peer = taking_part.get(place).and_then(|&number| self.peers.get(number));
                let (Some(peer), Some(measured)) = (peer, all.get_mut(place)) else { continue };
                let fixed = measured.fixed;
                let run = |scenario: &Scenario| {
                    self.undisturbed(|| one(peer.as_ref(), &lab, &stage, scenario, fixed))
                };
                if scenario.bars.others.is_some() {
                    let plain = Scenario::plain(scenario.receivers);
                    measured.before.push(run(&plain)?);
                }
                measured.outcomes.push(run(scenario)?);
            }
        }
        Ok(all)
    }

    /// What a peer takes for a file of no length; the median of those runs that finished.
    fn fixed_start(&self, peer: &dyn Peer, lab: &Lab) -> Result<f64, Box<dyn Error>> {
        let plain = Scenario::plain(lab.receivers());
        let stage = Stage::set(lab, &self.dir, &self.dir.join("programs"), NOTHING, plain.limit(NOTHING))?;
        lab.behave(plain.loss, plain.lan)?;
        let mut times = Vec::new();
        for _ in 0..self.rounds.min(3) {
            times.extend(run::run(peer, lab, &stage, &plain, 0.0)?.last(|_| true));
        }
        let fixed = super::median(&times);
        let said = fixed.map_or("unfinished".to_owned(), |fixed| format!("{fixed:.2} s"));
        say::line(&format!("    {}: fixed start {said}", peer.name()));
        Ok(fixed.unwrap_or_default())
    }

    /// One run, or in the full count another one when somebody else took too much of this machine: of three the one that was
    /// least disturbed.
    fn undisturbed(
        &self,
        run: impl Fn() -> Result<Outcome, Box<dyn Error>>,
    ) -> Result<Outcome, Box<dyn Error>> {
        let mut best = run()?;
        for _ in 1..if self.rounds > 1 { 3 } else { 1 } {
            if best.foreign <= FOREIGN {
                break;
            }
            let again = run()?;
            best = if again.foreign < best.foreign { again } else { best };
        }
        Ok(best)
    }
}

/// One run in a network that behaves so; it behaves again afterwards.
fn one(
    peer: &dyn Peer,
    lab: &Lab,
    stage: &Stage<'_>,
    scenario: &Scenario,
    fixed: f64,
) -> Result<Outcome, Box<dyn Error>> {
    lab.behave(scenario.loss, scenario.lan)?;
    let outcome = run::run(peer, lab, stage, scenario, fixed)?;
    let last = outcome.last(|receiver| scenario.waits_for(receiver));
    let said = match last {
        Some(last) if outcome.finished => format!("{last:.2} s"),
        _ => {
            let have = outcome.seconds.iter().flatten().count();
            format!("unfinished after {:.1} s, {have} of {} have it", outcome.took, scenario.receivers)
        }
    };
    let wrong = if outcome.wrong > 0 { format!(", {} of them WRONG", outcome.wrong) } else { String::new() };
    let event = if scenario.event == Event::None { "" } else { ", with the event" };
    #[allow(clippy::cast_precision_loss, reason = "a figure for a person")]
    let sent = outcome.sent as f64 / 1e6;
    let Outcome { idle, foreign, .. } = outcome;
    let machine = format!("machine {idle:.0} % idle, {foreign:.0} % for others");
    say::line(&format!("    {}{event}: {said}{wrong}, {sent:.1} MB sent; {machine}", peer.name()));
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_case_is_not_left_out_in_silence() {
        let names = |case: &str| {
            let wanted = wanted(&Wish { case: Some(case.to_owned()), ..Wish::default() })?;
            Ok::<_, String>(wanted.into_iter().map(|scenario| scenario.name).collect::<Vec<_>>())
        };
        assert_eq!(names("s0-n1,s10").unwrap(), ["s0-n1", "s10-restart-n8"]);
        assert!(names("s0-n1,s01-n2").unwrap_err().starts_with("no such case: s01-n2;"));
        assert!(names("").is_err());
    }
}

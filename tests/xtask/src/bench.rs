//! Benchmarks: what was measured, against what, in one run; as JSON for machines and as a table for the docs.
//!
//! Knows medians, ratios and bars. Refuses to be a test: a figure that misses its bar is shown as such, and whoever runs
//! it decides what that means on this machine.

pub mod boot;
pub mod cast;
pub mod dhcp;
pub mod fleet;
pub mod http;
pub mod pack;
pub mod peers;
pub mod tftp;
pub mod wire;

use std::error::Error;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use serde::Serialize;

use crate::place;

/// How a benchmark is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    /// A quick look for CI, not the full count.
    pub quick: bool,
    /// Without peers, where they take most of the time.
    pub ours: bool,
    /// Only these cases, or families of cases, of a bench that has many; with commas between them.
    pub case: Option<String>,
    /// How often each is run, where not as often as usual.
    pub rounds: Option<usize>,
    /// Plots are drawn into the docs.
    pub plots: bool,
}

/// What measures, saves its report and gives the table for the docs.
pub type Bench = fn(&Wish) -> Result<String, Box<dyn Error>>;

/// Every benchmark there is, by the name it has on the command line.
pub const BENCHES: &[(&str, Bench)] = &[
    ("boot", |wish| boot::run(wish.quick)),
    ("dhcp", |wish| dhcp::run(wish.quick)),
    ("fleet", |wish| fleet::run(wish.quick)),
    ("tftp", |wish| tftp::run(wish.quick)),
    ("http", |wish| http::run(wish.quick)),
    ("pack", |wish| pack::run(wish.quick)),
    (CAST, cast::run),
];

/// The one bench that has cases to choose from, and plots.
pub const CAST: &str = "cast";

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was done.
    pub case: String,
    /// What was measured.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// The median of our runs; `None` where only a peer was measured.
    pub ours: Option<f64>,
    /// The median of the peer's runs, when there is a peer.
    pub peer: Option<f64>,
    /// Who that is.
    pub peer_name: Option<String>,
    /// What the machine itself allows, measured in the same run.
    pub limit: Option<f64>,
    /// Ours by the peer, or by the bar.
    pub ratio: Option<f64>,
    /// What our figure, or with a peer the ratio, is held against.
    pub bar: Option<f64>,
    /// Whether it passes; `None` without a bar.
    pub ok: Option<bool>,
    /// Every run of ours, in order.
    pub runs: Vec<f64>,
    /// Every run of the peer, in order.
    #[serde(skip)]
    pub peer_runs: Vec<f64>,
    /// On which side of the bar is the good one.
    #[serde(skip)]
    pub side: Side,
}

/// On which side of a bar a figure passes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Side {
    /// At the bar or above.
    #[default]
    AtLeast,
    /// At the bar or below.
    AtMost,
}

impl Row {
    /// A figure without a peer and without a bar. `None` when nothing was measured.
    #[must_use]
    pub fn shown(case: &str, metric: &str, unit: &str, runs: &[f64]) -> Option<Row> {
        Some(Row {
            case: case.to_owned(),
            metric: metric.to_owned(),
            unit: unit.to_owned(),
            ours: Some(median(runs)?),
            peer: None,
            peer_name: None,
            limit: None,
            ratio: None,
            bar: None,
            ok: None,
            runs: runs.to_vec(),
            peer_runs: Vec::new(),
            side: Side::default(),
        })
    }

    /// A figure without a peer, to be at most `bar`. `None` when nothing was measured.
    #[must_use]
    pub fn at_most(case: &str, metric: &str, unit: &str, bar: f64, runs: &[f64]) -> Option<Row> {
        let row = Row::shown(case, metric, unit, runs)?;
        Some(Row { ratio: row.ours.map(|ours| ours / bar), ..row }.held(bar, Side::AtMost))
    }

    /// A figure without a peer, to be at least `bar`. `None` when nothing was measured.
    #[must_use]
    pub fn at_least(case: &str, metric: &str, unit: &str, bar: f64, runs: &[f64]) -> Option<Row> {
        let row = Row::shown(case, metric, unit, runs)?;
        Some(Row { ratio: row.ours.map(|ours| ours / bar), ..row }.held(bar, Side::AtLeast))
    }

    /// A figure beside a peer's of the same run, for comparison only. `None` when one of them was not measured.
    #[must_use]
    pub fn beside(
        case: &str,
        metric: &str,
        unit: &str,
        ours: &[f64],
        peer_name: &str,
        peer: &[f64],
    ) -> Option<Row> {
        let row = Row::shown(case, metric, unit, ours)?;
        let theirs = median(peer)?;
        Some(Row {
            peer: Some(theirs),
            peer_name: Some(peer_name.to_owned()),
            ratio: row.ours.map(|ours| ours / theirs),
            peer_runs: peer.to_vec(),
            ..row
        })
    }

    /// A peer's figure where ours was not measured. `None` when the peer's was not either.
    #[must_use]
    pub fn of_peer(case: &str, metric: &str, unit: &str, peer_name: &str, peer: &[f64]) -> Option<Row> {
        let row = Row::shown(case, metric, unit, peer)?;
        let theirs = row.ours;
        Some(Row {
            ours: None,
            peer: theirs,
            peer_name: Some(peer_name.to_owned()),
            runs: Vec::new(),
            peer_runs: peer.to_vec(),
            ..row
        })
    }

    /// A figure that shall be at least `bar` times the peer's of the same run. `None` when one of them was not measured.
    #[must_use]
    pub fn against(
        case: &str,
        metric: &str,
        unit: &str,
        bar: f64,
        ours: &[f64],
        peer_name: &str,
        peer: &[f64],
    ) -> Option<Row> {
        Row::beside(case, metric, unit, ours, peer_name, peer).map(|row| row.held(bar, Side::AtLeast))
    }

    /// Holds the ratio to the peer, or without a peer the figure, against `bar`. Nothing is held where we were not measured.
    #[must_use]
    pub fn held(self, bar: f64, side: Side) -> Row {
        let Some(figure) = self.peer.and(self.ratio).or(self.ours) else { return self };
        let ok = match side {
            Side::AtLeast => figure >= bar,
            Side::AtMost => figure <= bar,
        };
        Row { bar: Some(bar), ok: Some(ok), side, ..self }
    }

    /// Its line in the table for the docs.
    fn line(&self) -> String {
        let Row { case, metric, unit, ours, .. } = self;
        let peer = match (&self.peer_name, self.peer) {
            (Some(name), Some(peer)) => {
                format!("{name} {} ({})", figure(peer, unit), spread(&self.peer_runs, unit))
            }
            _ => "–".to_owned(),
        };
        let ratio = self.peer.and(self.ratio).map_or("–".to_owned(), |ratio| format!("{ratio:.2}"));
        let bar = self.bar.map_or("–".to_owned(), |bar| {
            let sign = if self.side == Side::AtLeast { '≥' } else { '≤' };
            let unit = if self.peer.is_some() { "×" } else { unit.as_str() };
            let verdict = if self.ok == Some(true) { "met" } else { "**missed**" };
            format!("{sign} {bar} {unit}: {verdict}")
        });
        let (ours, runs) = match ours {
            Some(ours) => (format!("{} {unit}", figure(*ours, unit)), spread(&self.runs, unit)),
            None => (format!("– {unit}"), "–".to_owned()),
        };
        format!("| {case} | {metric} | {ours} | {runs} | {peer} | {ratio} | {bar} |\n")
    }
}

/// A figure as it is shown: a multiple is held against bars that are a hundredth apart.
fn figure(figure: f64, unit: &str) -> String {
    if unit == "×" { format!("{figure:.3}") } else { format!("{figure:.1}") }
}

/// `min–max of n`.
fn spread(runs: &[f64], unit: &str) -> String {
    let (low, high) =
        runs.iter().fold((f64::MAX, f64::MIN), |(low, high), &run| (low.min(run), high.max(run)));
    format!("{}–{} of {}", figure(low, unit), figure(high, unit), runs.len())
}

/// All figures of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its name.
    pub bench: String,
    /// RFC 3339.
    pub date: String,
    /// Processor model and count, kernel, and the setting.
    pub machine: String,
    /// The figures.
    pub rows: Vec<Row>,
}

impl Report {
    /// Of now and here; `setting` says what else of this machine counts, as how guests' processors are run.
    #[must_use]
    pub fn new(bench: &str, setting: &str, rows: Vec<Row>) -> Report {
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Report { bench: bench.to_owned(), date, machine: format!("{}, {setting}", machine()), rows }
    }

    /// Writes `target/bench/NAME.json`; the path.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn save(&self) -> io::Result<PathBuf> {
        let dir = place::target().join("bench");
        fs::create_dir_all(&dir)?;
        let path = dir.join(format!("{}.json", self.bench));
        fs::write(&path, serde_json::to_string_pretty(self)? + "\n")?;
        Ok(path)
    }

    /// The table for the docs (Markdown).
    #[must_use]
    pub fn table(&self) -> String {
        let mut text = format!("`cargo xtask bench {}`, {}, {}\n\n", self.bench, self.date, self.machine);
        text.push_str(
            "| case | metric | median | min–max of n | peer | ratio | bar |\n|---|---|---|---|---|---|---|\n",
        );
        text.extend(self.rows.iter().map(Row::line));
        text
    }
}

/// The middle of the sorted runs; of two middles, their mean.
fn median(runs: &[f64]) -> Option<f64> {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle)?;
    let lower = if sorted.len().is_multiple_of(2) { sorted.get(middle - 1)? } else { upper };
    Some(f64::midpoint(*lower, *upper))
}

fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let models = text.lines().filter_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let models: Vec<&str> = models.map(|(_, model)| model).collect();
    let kernel = Command::new("uname").arg("-r").output().map(|output| output.stdout).unwrap_or_default();
    let kernel = String::from_utf8_lossy(&kernel).trim().to_owned();
    format!("{} × {}, kernel {kernel}", models.len(), models.first().unwrap_or(&"unknown processor"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_of_odd_and_even_runs() {
        for (runs, wanted) in [
            (&[][..], None),
            (&[3.0][..], Some(3.0)),
            (&[9.0, 1.0, 5.0][..], Some(5.0)),
            (&[4.0, 1.0, 2.0, 9.0][..], Some(3.0)),
        ] {
            assert_eq!(median(runs), wanted, "{runs:?}");
        }
    }

    #[test]
    fn a_missed_bar_is_said() {
        let row = |runs: &[f64]| Row::at_most("bios", "to hello", "s", 25.0, runs).unwrap();
        let report = Report::new("boot", "guests by Tcg", vec![row(&[20.0, 30.0, 24.0]), row(&[26.0])]);
        let table = report.table();
        assert!(
            table.contains("| bios | to hello | 24.0 s | 20.0–30.0 of 3 | – | – | ≤ 25 s: met |"),
            "{table}"
        );
        assert!(
            table.contains("| bios | to hello | 26.0 s | 26.0–26.0 of 1 | – | – | ≤ 25 s: **missed** |"),
            "{table}"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["rows"][0]["ok"], true);
        assert!(Row::at_most("bios", "to hello", "s", 25.0, &[]).is_none());
    }

    #[test]
    fn a_peer_is_shown_and_the_ratio_decides() {
        let row = |bar| Row::against("64", "sum", "MB/s", bar, &[90.0, 110.0], "nginx", &[80.0]).unwrap();
        let table = Report::new("http", "veth", vec![row(1.2), row(1.3)]).table();
        let peer = "| 64 | sum | 100.0 MB/s | 90.0–110.0 of 2 | nginx 80.0 (80.0–80.0 of 1) | 1.25 |";
        assert!(table.contains(&format!("{peer} ≥ 1.2 ×: met |")), "{table}");
        assert!(table.contains(&format!("{peer} ≥ 1.3 ×: **missed** |")), "{table}");
        assert!(Row::against("64", "sum", "MB/s", 1.0, &[1.0], "nginx", &[]).is_none());
        let alone = Row::of_peer("64", "sum", "MB/s", "nginx", &[80.0]).unwrap();
        assert_eq!(
            (alone.ours, alone.peer, alone.clone().held(1.0, Side::AtLeast).ok),
            (None, Some(80.0), None)
        );
        let table = Report::new("http", "veth", vec![alone]).table();
        assert!(table.contains("| 64 | sum | – MB/s | – | nginx 80.0 (80.0–80.0 of 1) | – | – |"), "{table}");
        let least = Row::at_least("64", "sum", "MB/s", 2.0, &[1.9]).unwrap();
        assert_eq!((least.ok, Row::shown("64", "sum", "MB/s", &[1.9]).unwrap().ok), (Some(false), None));
    }
}

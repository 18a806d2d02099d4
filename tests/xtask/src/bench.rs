//! Benchmarks: what was measured, against what, in one run; as JSON for machines and as a table for the docs.
//!
//! Knows medians, ratios and bars. Refuses to be a test: a figure that misses its bar is shown as such, and whoever runs
//! it decides what that means on this machine.

pub mod boot;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use serde::Serialize;

use crate::place;

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// What was done.
    pub case: String,
    /// What was measured.
    pub metric: String,
    /// Its unit.
    pub unit: String,
    /// The median of our runs.
    pub ours: f64,
    /// The median of the peer's runs, when there is a peer.
    pub peer: Option<f64>,
    /// Who that is.
    pub peer_name: Option<String>,
    /// What the machine itself allows, measured in the same run.
    pub limit: Option<f64>,
    /// Ours by the peer, or by the limit.
    pub ratio: Option<f64>,
    /// What it shall not exceed.
    pub bar: Option<f64>,
    /// Whether it does not; `None` without a bar.
    pub ok: Option<bool>,
    /// Every run of ours, in order.
    pub runs: Vec<f64>,
}

impl Row {
    /// A figure without a peer, to be at most `bar`. `None` when nothing was measured.
    #[must_use]
    pub fn at_most(case: &str, metric: &str, unit: &str, bar: f64, runs: &[f64]) -> Option<Row> {
        let ours = median(runs)?;
        let (case, metric, unit) = (case.to_owned(), metric.to_owned(), unit.to_owned());
        let ok = Some(ours <= bar);
        Some(Row {
            case,
            metric,
            unit,
            ours,
            peer: None,
            peer_name: None,
            limit: None,
            ratio: Some(ours / bar),
            bar: Some(bar),
            ok,
            runs: runs.to_vec(),
        })
    }
}

/// All figures of one benchmark.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Its name.
    pub bench: String,
    /// RFC 3339.
    pub date: String,
    /// Processor model and count, and how guests are run.
    pub machine: String,
    /// The figures.
    pub rows: Vec<Row>,
}

impl Report {
    /// Of now and here; `guests` says how servers' processors are run.
    #[must_use]
    pub fn new(bench: &str, guests: &str, rows: Vec<Row>) -> Report {
        let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
        Report { bench: bench.to_owned(), date, machine: format!("{}, guests by {guests}", machine()), rows }
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
        text.push_str("| case | metric | median | min–max of n | bar |\n|---|---|---|---|---|\n");
        for row in &self.rows {
            let Row { case, metric, unit, ours, runs, .. } = row;
            let (low, high) =
                runs.iter().fold((f64::MAX, f64::MIN), |(low, high), &run| (low.min(run), high.max(run)));
            let bar = match (row.bar, row.ok) {
                (Some(bar), Some(true)) => format!("≤ {bar} {unit}: met"),
                (Some(bar), _) => format!("≤ {bar} {unit}: **missed**"),
                (None, _) => "–".to_owned(),
            };
            let count = runs.len();
            text.push_str(&format!(
                "| {case} | {metric} | {ours:.1} {unit} | {low:.1}–{high:.1} of {count} | {bar} |\n"
            ));
        }
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
        let report = Report::new("boot", "Tcg", vec![row(&[20.0, 30.0, 24.0]), row(&[26.0])]);
        let table = report.table();
        assert!(table.contains("| bios | to hello | 24.0 s | 20.0–30.0 of 3 | ≤ 25 s: met |"), "{table}");
        assert!(
            table.contains("| bios | to hello | 26.0 s | 26.0–26.0 of 1 | ≤ 25 s: **missed** |"),
            "{table}"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["rows"][0]["ok"], true);
        assert!(Row::at_most("bios", "to hello", "s", 25.0, &[]).is_none());
    }
}

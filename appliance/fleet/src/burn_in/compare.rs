//! Whether a server is slower than its like: servers of the same make, disks of the same model.
//!
//! The measure is robust: the median of the others, and how far they are from it in the middle (MAD). One that is broken does
//! not move it. A figure is far off when it is worse by so much that chance does not explain it, and by so much that somebody
//! would care. It is compared when it is looked at, since its like may be tested later.

use protocol::{DiskFigures, NodeId, Part};

use super::{BurnIn, End, Model};
use crate::Fleet;

/// With fewer others nothing can be said.
pub const PEERS_MIN: usize = 3;
/// So many times the usual distance is no chance (one in a million, were it normally distributed).
const DISTANCES: u64 = 5;
/// A rate that is less than this part of the median matters, in percent.
const RATE_PERCENT: u64 = 90;
/// A delay that is more than this part of the median matters, in percent.
const DELAY_PERCENT: u64 = 150;

/// Something that was measured, and can be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measure {
    /// Of which part.
    pub part: Part,
    /// What was measured, of which core or disk: for a person.
    pub what: String,
    /// What it is comparable with.
    class: String,
    /// How much.
    pub value: u64,
    /// In what.
    pub unit: Unit,
}

/// In what something was measured, and which way is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes a second; less is worse.
    BytesPerSecond,
    /// Rounds in a thousand seconds; less is worse.
    Rounds,
    /// Microseconds; more is worse.
    Micros,
}

/// A figure that is far from those of its like, on the bad side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlier {
    /// The figure.
    pub measure: Measure,
    /// The median of the others.
    pub median: u64,
    /// How many others there are.
    pub peers: usize,
}

/// Everything of a test that is far off; empty also where there are too few others.
pub fn outliers(fleet: &Fleet, row: &BurnIn) -> Vec<Outlier> {
    let own = measures(row);
    let others = newest(fleet, row.node).flat_map(measures).collect::<Vec<_>>();
    let mut found = Vec::new();
    for (at, measure) in own.iter().enumerate() {
        // Its own other disks of the same model are its like, too.
        let beside = own.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, measure)| measure);
        let alike = others.iter().chain(beside).filter(|other| other.class == measure.class);
        let mut values = alike.map(|other| other.value).collect::<Vec<_>>();
        if values.len() < PEERS_MIN {
            continue;
        }
        let peers = values.len();
        let middle = median(&mut values);
        if is_far(measure, middle, spread(&values, middle)) {
            found.push(Outlier { measure: measure.clone(), median: middle, peers });
        }
    }
    found
}

/// The last whole test of every other node.
fn newest(fleet: &Fleet, but: NodeId) -> impl Iterator<Item = &BurnIn> {
    let is_whole = |row: &&BurnIn| matches!(row.end, Some(End::Passed | End::Faulty));
    let whole = move || fleet.burn_ins.values().filter(is_whole);
    whole().filter(move |row| {
        let is_newer = |other: &BurnIn| other.node == row.node && other.ended > row.ended;
        row.node != but && !whole().any(is_newer)
    })
}

/// Everything that was measured and can be compared.
pub fn measures(row: &BurnIn) -> Vec<Measure> {
    let Some(report) = &row.report else { return Vec::new() };
    let Model { product, cpu, threads, memory_bytes } = &row.model;
    let figures = &report.figures;
    let mut all = Vec::new();
    let mut add = |part, what: &str, class: String, value: u64, unit| {
        all.push(Measure { part, what: what.to_owned(), class: format!("{what}|{class}"), value, unit });
    };
    if let Some(core) = &figures.cpu {
        let class = format!("{product}|{cpu}|{threads}");
        add(Part::Cpu, "computing, core in the middle", class.clone(), core.median, Unit::Rounds);
        add(Part::Cpu, "computing, slowest core", class, core.slowest, Unit::Rounds);
    }
    if let Some(memory) = &figures.memory {
        let class = format!("{product}|{cpu}|{threads}|{memory_bytes}");
        add(Part::Memory, "writing and reading memory", class, memory.rate, Unit::BytesPerSecond);
    }
    if let Some((network, rate)) = figures.network.as_ref().and_then(|n| Some((n, n.rate?))) {
        let class = format!("{product}|{:?}", network.link_mbit);
        add(Part::Network, "fetching from the controller", class, rate, Unit::BytesPerSecond);
    }
    for disk in &figures.disks {
        all.extend(of_disk(product, disk));
    }
    all
}

fn of_disk(product: &str, disk: &DiskFigures) -> Vec<Measure> {
    let figures = [
        ("reading at its start", disk.start, Unit::BytesPerSecond),
        ("reading in its middle", disk.middle, Unit::BytesPerSecond),
        ("reading at its end", disk.end, Unit::BytesPerSecond),
        ("4 KiB at random, median", disk.median_micros, Unit::Micros),
        ("4 KiB at random, 99 %", disk.p99_micros, Unit::Micros),
    ];
    let measure = |(what, value, unit): (&str, Option<u64>, Unit)| {
        let class = format!("{what}|{product}|{}|{}", disk.model, disk.bytes);
        Some(Measure { part: Part::Disk, what: format!("{}: {what}", disk.disk), class, value: value?, unit })
    };
    figures.into_iter().filter_map(measure).collect()
}

fn is_far(measure: &Measure, middle: u64, spread: u64) -> bool {
    let value = measure.value;
    let (by, matters) = match measure.unit {
        Unit::BytesPerSecond | Unit::Rounds => {
            let least = u128::from(middle) * u128::from(RATE_PERCENT) / 100;
            (middle.saturating_sub(value), u128::from(value) < least)
        }
        Unit::Micros => {
            let most = u128::from(middle) * u128::from(DELAY_PERCENT) / 100;
            (value.saturating_sub(middle), u128::from(value) > most)
        }
    };
    matters && by > spread.saturating_mul(DISTANCES)
}

/// The value in the middle, of two the lower; sorts them. 0 of none.
fn median(values: &mut [u64]) -> u64 {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default()
}

/// How far values are from their median, in the middle, in terms of a standard deviation (times 1.4826).
fn spread(values: &[u64], middle: u64) -> u64 {
    let mut distances = values.iter().map(|value| value.abs_diff(middle)).collect::<Vec<_>>();
    median(&mut distances).saturating_mul(14_826) / 10_000
}

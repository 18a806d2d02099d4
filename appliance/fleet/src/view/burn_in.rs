//! Tests of hardware as people see them.

use protocol::{Fault, Figures};
use serde::{Deserialize, Serialize};

use super::name_of;
use crate::burn_in::compare::{Outlier, Unit, outliers};
use crate::burn_in::{BurnIn, End};
use crate::job::JobState;
use crate::{Fleet, Node};

/// A test of a server, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TestView {
    /// The job.
    pub job: String,
    /// The node's name; of one that is gone, what it was called.
    pub node: String,
    /// The node's id.
    pub node_id: String,
    /// `waiting`, `running`; `passed`; `suspicious`: no error, and slower than its like or something worth a look; `faulty`:
    /// errors were counted; `died`: it restarted in the middle; `stopped`; `unable`: it could not be carried out.
    pub verdict: String,
    /// `cpu`, `memory`, `disk`, `network`.
    pub parts: Vec<String>,
    /// How long it was to take, in seconds.
    pub seconds: u64,
    /// What is tested now, or was when it ended in the middle.
    pub part: Option<String>,
    /// How long it has taken so far, in seconds.
    pub elapsed_seconds: u64,
    /// Percent of its time.
    pub percent: u8,
    /// RFC 3339.
    pub created: String,
    /// RFC 3339.
    pub started: Option<String>,
    /// RFC 3339.
    pub ended: Option<String>,
    /// Why it did not pass.
    pub why: Option<String>,
    /// Errors that were counted.
    pub faults: Vec<Fault>,
    /// Errors that there was no room for.
    pub more_faults: u64,
    /// What is no error, and worth a look.
    pub remarks: Vec<Fault>,
    /// What is far from servers of the same make, and disks of the same model, on the bad side.
    pub outliers: Vec<OutlierRow>,
    /// What was measured; what is absent is not known.
    pub figures: Figures,
}

/// A figure that is far off.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutlierRow {
    /// `cpu`, `memory`, `disk`, `network`.
    pub part: String,
    /// What was measured.
    pub what: String,
    /// How much.
    pub value: u64,
    /// The median of its like.
    pub median: u64,
    /// `bytesPerSecond`, `roundsPer1000Seconds`, `microseconds`.
    pub unit: String,
    /// How many its like are.
    pub peers: usize,
}

/// All tests of a node that are kept, newest first.
pub fn test_views(fleet: &Fleet, node: &Node) -> Vec<TestView> {
    let mut rows = fleet.burn_ins.values().filter(|row| row.node == node.id).collect::<Vec<_>>();
    rows.sort_by_key(|row| std::cmp::Reverse(row.created));
    rows.into_iter().map(|row| test_view(fleet, row)).collect()
}

/// A test.
pub fn test_view(fleet: &Fleet, row: &BurnIn) -> TestView {
    let report = row.report.as_ref();
    let far = outliers(fleet, row);
    let is_odd = !far.is_empty() || report.is_some_and(|report| !report.remarks.is_empty());
    let verdict = match row.end {
        Some(End::Passed) if is_odd => "suspicious",
        Some(end) => end.word(),
        None if row.started.is_some() => "running",
        None => "waiting",
    };
    TestView {
        job: row.id.to_string(),
        node: fleet.nodes.get(&row.node).map_or_else(|| row.name.to_string(), |_| name_of(fleet, row.node)),
        node_id: row.node.to_string(),
        verdict: verdict.to_owned(),
        parts: row.wish.parts.iter().map(|part| part.word().to_owned()).collect(),
        seconds: row.wish.seconds,
        part: report.and_then(|report| report.part).map(|part| part.word().to_owned()),
        elapsed_seconds: report.map_or(0, |report| report.milliseconds / 1000),
        percent: if row.end == Some(End::Passed) { 100 } else { row.percent() },
        created: row.created.to_string(),
        started: row.started.map(|at| at.to_string()),
        ended: row.ended.map(|at| at.to_string()),
        why: match &row.state {
            JobState::Failed { why } => Some(why.clone()),
            JobState::Waiting | JobState::Running | JobState::Verified | JobState::Done => None,
        },
        faults: report.map(|report| report.faults.clone()).unwrap_or_default(),
        more_faults: report.map_or(0, |report| report.more_faults),
        remarks: report.map(|report| report.remarks.clone()).unwrap_or_default(),
        outliers: far.into_iter().map(outlier_row).collect(),
        figures: report.map(|report| report.figures.clone()).unwrap_or_default(),
    }
}

fn outlier_row(outlier: Outlier) -> OutlierRow {
    let Outlier { measure, median, peers } = outlier;
    OutlierRow {
        part: measure.part.word().to_owned(),
        what: measure.what,
        value: measure.value,
        median,
        unit: match measure.unit {
            Unit::BytesPerSecond => "bytesPerSecond",
            Unit::Rounds => "roundsPer1000Seconds",
            Unit::Micros => "microseconds",
        }
        .to_owned(),
        peers,
    }
}

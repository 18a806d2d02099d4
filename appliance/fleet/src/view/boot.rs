//! How a machine booted from the network last, and what is wrong there.

use pxe::diagnose::Finding;
use pxe::trace::{Attempt, Step, Trace, What};
use serde::{Deserialize, Serialize};

use super::check::CheckRow;
use crate::Time;

/// The last network boots of one card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootView {
    /// The card.
    pub mac: String,
    /// The node's name, if it is a node's.
    pub node: Option<String>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptView>,
    /// What happened to its network meanwhile, oldest first.
    pub around: Vec<StepView>,
    /// What is likely wrong, the surest first.
    pub findings: Vec<FindingRow>,
}

/// One try to boot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView {
    /// When it began, RFC 3339.
    pub began: String,
    /// The farthest stage that was passed: `asked`, `address`, `loader`, `script`, `disk`, `kernel`, `ramdisk`, `agent`,
    /// `system`.
    pub reached: String,
    /// Steps that were forgotten, because there were too many.
    pub left_out: u32,
    /// What arrived and what was answered.
    pub steps: Vec<StepView>,
}

/// Something that arrived, and what was answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// When, RFC 3339.
    pub time: String,
    /// Milliseconds since the attempt began.
    pub after_ms: u64,
    /// When it came last, RFC 3339, if it came more often than once in a row.
    pub until: Option<String>,
    /// How often it came in a row.
    pub times: u32,
    /// The stage it belongs to; none of what happened beside the boot.
    pub stage: Option<String>,
    /// What arrived, for a person.
    pub arrived: String,
    /// What was answered, for a person.
    pub answered: String,
    /// Both, for a program. Not read back: a daemon may know kinds that this program does not.
    #[serde(skip_deserializing)]
    pub what: Option<What>,
}

/// What is likely wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FindingRow {
    /// Which rule says so: a stable word.
    pub rule: String,
    /// `certain`, `likely` or `possible`.
    pub certainty: String,
    /// When it showed, RFC 3339.
    pub time: String,
    /// What happened.
    pub what: String,
    /// Why that usually is.
    pub why: String,
    /// What to do.
    pub fix: String,
}

/// A card in a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BootRow {
    /// The card.
    pub mac: String,
    /// The node's name, if it is a node's.
    pub node: Option<String>,
    /// When it was heard last, RFC 3339.
    pub heard: String,
    /// The farthest stage of its last attempt.
    pub reached: String,
    /// What is likely wrong, the surest first.
    pub findings: Vec<FindingRow>,
}

/// Everything that was looked at, and every card that something is wrong with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DoctorView {
    /// `ok`, `warn` or `fail`: the worst of it all.
    pub health: String,
    /// RFC 3339.
    pub time: String,
    /// What was looked at.
    pub checks: Vec<CheckRow>,
    /// Cards with findings, the worst first.
    pub cards: Vec<BootRow>,
}

/// The last boots of a card.
#[must_use]
pub fn boot_view(trace: &Trace, node: Option<String>, findings: &[Finding]) -> BootView {
    let first = trace.attempts().next().map_or(pxe::Time(0), Attempt::began);
    BootView {
        mac: trace.mac.to_string(),
        node,
        attempts: trace.attempts().map(attempt).collect(),
        around: trace.around().iter().map(|step| step_view(step, first)).collect(),
        findings: findings.iter().map(finding_row).collect(),
    }
}

/// A card in a list.
#[must_use]
pub fn boot_row(trace: &Trace, node: Option<String>, findings: &[Finding]) -> BootRow {
    BootRow {
        mac: trace.mac.to_string(),
        node,
        heard: text(trace.heard()),
        reached: trace.last().map_or_else(String::new, |last| last.reached().word().to_owned()),
        findings: findings.iter().map(finding_row).collect(),
    }
}

fn text(time: pxe::Time) -> String {
    Time(time.0).to_string()
}

fn attempt(attempt: &Attempt) -> AttemptView {
    let began = attempt.began();
    AttemptView {
        began: text(began),
        reached: attempt.reached().word().to_owned(),
        left_out: attempt.left_out,
        steps: attempt.steps.iter().map(|step| step_view(step, began)).collect(),
    }
}

fn step_view(step: &Step, began: pxe::Time) -> StepView {
    StepView {
        time: text(step.at),
        after_ms: step.at.0.saturating_sub(began.0),
        until: step.until.map(text),
        times: step.times,
        stage: step.what.stage().map(|stage| stage.word().to_owned()),
        arrived: step.what.arrived(),
        answered: step.what.answered(),
        what: Some(step.what.clone()),
    }
}

fn finding_row(finding: &Finding) -> FindingRow {
    FindingRow {
        rule: finding.rule.to_owned(),
        certainty: finding.certainty.word().to_owned(),
        time: text(finding.at),
        what: finding.what.clone(),
        why: finding.why.clone(),
        fix: finding.fix.clone(),
    }
}

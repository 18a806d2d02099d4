//! What is shown of a run: a table, the failures in full below it, and what stays; or JSON.

use serde::Serialize;

use super::remains::Thing;
use super::step::{Outcome, Row};
use crate::show::Page;
use crate::table::{Cell, Table};
use crate::terminal::{Look, Tone};
use crate::text::fill;

/// A run that is over, as JSON has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// ok, failed, interrupted
    pub(super) result: &'static str,
    steps: Vec<StepRow>,
    /// What stays in the cloud.
    kept: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct StepRow {
    step: &'static str,
    result: &'static str,
    seconds: f64,
    what: String,
    next: Option<String>,
}

impl Report {
    pub(super) fn new(rows: &[Row], kept: &[Thing], interrupted: bool) -> Report {
        let failed = rows.iter().any(|row| matches!(row.outcome, Outcome::Failed(_)));
        let result = match (interrupted, failed) {
            (true, _) => "interrupted",
            (false, true) => "failed",
            (false, false) => "ok",
        };
        let step = |row: &Row| StepRow {
            step: row.step.word(),
            result: row.outcome.word(),
            // Tenths: more would only look exact.
            seconds: (row.milliseconds / 100) as f64 / 10.0,
            what: row.outcome.text().to_owned(),
            next: row.next().map(str::to_owned),
        };
        Report {
            result,
            steps: rows.iter().map(step).collect(),
            kept: kept.iter().map(Thing::text).collect(),
        }
    }

    pub(super) fn render(&self, look: &Look) -> String {
        let mut table = Table::new(&["STEP", "RESULT", "SECONDS", "WHAT"]);
        for row in &self.steps {
            let seconds = format!("{:.1}", row.seconds);
            table.row([row.step.into(), Cell::state(row.result), seconds.into(), row.what.clone().into()]);
        }
        let mut page = Page::default();
        page.line(table.render(look).trim_end());
        let failed = self.steps.iter().filter(|row| row.result == "failed").collect::<Vec<_>>();
        if !failed.is_empty() {
            page.line("");
        }
        for row in failed {
            add(&mut page, row, look);
        }
        if !self.kept.is_empty() {
            page.heading("These stay; the next run removes them at its start:");
            self.kept.iter().for_each(|thing| page.line(&format!("  {thing}")));
        }
        page.into_text()
    }
}

fn add(page: &mut Page, row: &StepRow, look: &Look) {
    let what = format!("{}: {}", row.step, row.what);
    let next = row.next.as_deref().unwrap_or_default();
    for (label, text) in [("[fail] ", what.as_str()), ("        next: ", next)] {
        let text = match look.columns {
            Some(columns) => fill(label, text, columns),
            None => format!("{label}{text}"),
        };
        let text = if look.colour {
            text.replacen("[fail]", &format!("[{}]", Tone::of("fail").paint("fail")), 1)
        } else {
            text
        };
        page.line(&text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::fault::Fault;
    use crate::smoke::step::Step;
    use crate::tests::PIPE;

    fn rows() -> Vec<Row> {
        let row = |step, outcome, milliseconds| Row { step, outcome, milliseconds };
        vec![
            row(Step::Token, Outcome::Ok("region RegionOne".to_owned()), 420),
            row(Step::Services, Outcome::Failed(Fault::new("down: nova-compute on n2")), 1500),
            row(Step::Tunnel, Outcome::Skipped("one compute service only: n1".to_owned()), 0),
        ]
    }

    #[test]
    fn a_table_and_below_it_what_failed_in_full() {
        let report = Report::new(&rows(), &[], false);
        let want = "STEP      RESULT   SECONDS  WHAT\n\
                    token     ok       0.4      region RegionOne\n\
                    services  failed   1.5      down: nova-compute on n2\n\
                    tunnel    skipped  0.0      one compute service only: n1\n\
                    \n\
                    [fail] services: down: nova-compute on n2\n\
                    \x20       next: rackwright cloud status; rackwright service logs NODE UNIT\n";
        assert_eq!(report.render(&PIPE), want);
        let narrow = report.render(&Look { columns: Some(40), ..PIPE });
        assert!(narrow.lines().all(|line| line.len() <= 40) && narrow.contains("NODE UNIT"), "{narrow}");
        let coloured = report.render(&Look { colour: true, ..PIPE });
        assert!(coloured.contains("[\u{1b}[31mfail\u{1b}[0m] services"), "{coloured:?}");
    }

    #[test]
    fn json_says_the_same() {
        let of =
            |rows: &[Row], interrupted| serde_json::to_value(Report::new(rows, &[], interrupted)).unwrap();
        let report = of(&rows(), false);
        assert_eq!(report["result"], "failed");
        assert_eq!(report["steps"][1]["seconds"], 1.5);
        assert!(report["steps"][1]["next"].is_string() && report["steps"][0]["next"].is_null());
        assert_eq!(of(&rows()[..1], false)["result"], "ok");
        assert_eq!(of(&rows()[..1], true)["result"], "interrupted");
    }
}

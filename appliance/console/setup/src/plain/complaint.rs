//! Problems in lines.

use crate::language::Language;
use crate::phrase;
use crate::problem::{Problem, Severity};
use crate::wrap::wrap;

/// What is wrong, why that matters, and what to do.
#[must_use]
pub fn complain(problems: &[Problem], language: Language, columns: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for report in problems.iter().map(|problem| problem.report(language)) {
        let kind = match report.severity {
            Severity::Stop => phrase::ERROR,
            Severity::Warning => phrase::WARNING,
        };
        let line =
            report.line.map(|line| phrase::LINE.filled(language, &[("value", &line.to_string())]) + ": ");
        let head =
            format!("{}{} {}: {}", line.unwrap_or_default(), kind.of(language), report.number, report.what);
        lines.extend(wrap(&head, 0, columns));
        lines.extend(wrap(&format!("{}{}", phrase::WHY.of(language), report.why), 2, columns));
        lines.extend(wrap(&format!("{}{}", phrase::FIX.of(language), report.fix), 2, columns));
    }
    lines
}

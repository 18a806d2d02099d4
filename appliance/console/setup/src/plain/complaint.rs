//! Problems in lines.

use crate::language::Language;
use crate::phrase;
use crate::problem::{Code, Problem, Report, Severity};
use crate::wrap::wrap;

/// What is wrong, why that matters, and what to do.
#[must_use]
pub fn complain(problems: &[Problem], language: Language, columns: usize) -> Vec<String> {
    problems.iter().flat_map(|problem| told(&problem.report(language), language, columns)).collect()
}

/// What a code means, wherever it comes up.
#[must_use]
pub fn meaning(code: Code, language: Language, columns: usize) -> Vec<String> {
    let report = code.explained(language);
    let mut lines = told(&report, language, columns);
    let texts = [&report.what, &report.why, &report.fix];
    if ["KEY", "VALUE", "OTHER"].iter().any(|name| texts.iter().any(|text| text.contains(name))) {
        lines.extend(wrap(phrase::STANDS.of(language), 2, columns));
    }
    lines
}

fn told(report: &Report, language: Language, columns: usize) -> Vec<String> {
    let kind = match report.severity {
        Severity::Stop => phrase::ERROR,
        Severity::Warning => phrase::WARNING,
    };
    let line = report.line.map(|line| phrase::LINE.filled(language, &[("value", &line.to_string())]) + ": ");
    let head =
        format!("{}{} {}: {}", line.unwrap_or_default(), kind.of(language), report.number, report.what);
    let mut lines = wrap(&head, 0, columns);
    lines.extend(wrap(&format!("{}{}", phrase::WHY.of(language), report.why), 2, columns));
    lines.extend(wrap(&format!("{}{}", phrase::FIX.of(language), report.fix), 2, columns));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_in_every_language_with_nothing_left_open() {
        for code in Code::ALL {
            assert_eq!(Code::of(&code.number().to_lowercase()), Some(code), "a number is one code's");
            for language in Language::ALL {
                let lines = meaning(code, language, 80);
                let text = lines.join("\n");
                assert!(lines.len() >= 3 && text.contains(code.number()), "{text}");
                assert!(!text.contains(['{', '}']), "{text}");
                assert!(lines.iter().all(|line| crate::width(line) <= 80), "{text}");
            }
        }
        for number in ["", "RK-SET-9999", "0201", "{key}"] {
            assert_eq!(Code::of(number), None, "{number}");
        }
    }
}

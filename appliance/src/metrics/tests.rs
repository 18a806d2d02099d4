//! Names, and that the documentation has them all.

use std::collections::BTreeSet;

use super::Metric;

#[test]
fn every_metric_is_explained_in_the_documentation_and_nothing_else_is() {
    let page = include_str!("../../docs/metrics.md");
    let documented = page.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|');
        let name = cells.next()?.trim().trim_end_matches('`').to_owned();
        Some((name, cells.next()?.trim().to_owned()))
    });
    let documented = documented.collect::<BTreeSet<_>>();
    let known = Metric::ALL.map(Metric::about).map(|(name, kind, _)| (name.to_owned(), kind.to_owned()));
    assert_eq!(documented, known.into_iter().collect::<BTreeSet<_>>());
}

#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for metric in Metric::ALL {
        let (name, kind, help) = metric.about();
        assert!(names.insert(name), "{name} twice");
        assert!(name.starts_with("rackwright_") || name.starts_with("process_"), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        assert!(help.ends_with('.') && !help.contains('\n'), "{name}: {help}");
    }
}

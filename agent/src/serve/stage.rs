//! A document in the order in which it is made true: what of it comes up together, and after what.

use std::collections::BTreeSet;

use protocol::{ServiceWanted, StateDocument, TaskWanted, UnitWanted, When};

/// What comes up together: one service, or what belongs to none.
#[derive(Debug, Default)]
pub(super) struct Stage<'a> {
    /// None: what belongs to no service.
    pub(super) service: Option<&'a ServiceWanted>,
    /// In the order of the document.
    pub(super) before: Vec<&'a TaskWanted>,
    pub(super) units: Vec<&'a UnitWanted>,
    pub(super) after: Vec<&'a TaskWanted>,
}

/// The stages of a document: first what belongs to no service, then each service. A unit or task that two services name is the first
/// one's.
pub(super) fn stages(document: &StateDocument) -> Vec<Stage<'_>> {
    let named = |of: fn(&ServiceWanted) -> &[String]| {
        document.services.iter().flat_map(of).map(String::as_str).collect::<BTreeSet<_>>()
    };
    let (units, tasks) = (named(|service| &service.units), named(|service| &service.tasks));
    let is_free_unit = |unit: &str| !units.contains(unit);
    let is_free_task = |task: &str| !tasks.contains(task);
    let mut stages = vec![stage(document, None, &is_free_unit, &is_free_task)];
    let mut seen = BTreeSet::new();
    for service in &document.services {
        let own_unit =
            |unit: &str| service.units.iter().any(|own| own == unit) && !seen.contains(&(true, unit));
        let own_task =
            |task: &str| service.tasks.iter().any(|own| own == task) && !seen.contains(&(false, task));
        stages.push(stage(document, Some(service), &own_unit, &own_task));
        seen.extend(service.units.iter().map(|unit| (true, unit.as_str())));
        seen.extend(service.tasks.iter().map(|task| (false, task.as_str())));
    }
    stages
}

fn stage<'a>(
    document: &'a StateDocument,
    service: Option<&'a ServiceWanted>,
    has_unit: &dyn Fn(&str) -> bool,
    has_task: &dyn Fn(&str) -> bool,
) -> Stage<'a> {
    let tasks = |when: When| {
        document.tasks.iter().filter(|task| task.when == when && has_task(&task.name)).collect::<Vec<_>>()
    };
    Stage {
        service,
        before: tasks(When::BeforeUnits),
        units: document.units.iter().filter(|unit| has_unit(&unit.name)).collect(),
        after: tasks(When::AfterUnits),
    }
}

#[cfg(test)]
mod tests {
    use protocol::{ServiceWanted, StateDocument, TaskWanted, UnitWanted, When};

    use super::{Stage, stages};

    fn unit(name: &str) -> UnitWanted {
        UnitWanted { name: name.into(), enabled: false, running: true, restarts: 0, packages: Vec::new() }
    }

    fn task(name: &str, when: When) -> TaskWanted {
        let argv = vec!["/bin/true".to_owned()];
        TaskWanted { name: name.into(), guard: Vec::new(), argv, timeout_seconds: 1, when }
    }

    fn service(name: &str, units: &[&str], tasks: &[&str]) -> ServiceWanted {
        let all = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        ServiceWanted {
            name: name.into(),
            units: all(units),
            tasks: all(tasks),
            needs: Vec::new(),
            check: None,
            leave: None,
        }
    }

    fn told(stage: &Stage<'_>) -> (String, String) {
        let tasks =
            |tasks: &[&TaskWanted]| tasks.iter().map(|task| task.name.clone()).collect::<Vec<_>>().join(" ");
        let units = stage.units.iter().map(|unit| unit.name.clone()).collect::<Vec<_>>().join(" ");
        let service = stage.service.map_or_else(String::new, |service| service.name.clone());
        (service, format!("{}|{units}|{}", tasks(&stage.before), tasks(&stage.after)))
    }

    #[test]
    fn what_belongs_together_comes_up_together_and_the_rest_before() {
        let (before, after) = (When::BeforeUnits, When::AfterUnits);
        let mut document = StateDocument {
            units: ["a", "b", "c", "d"].map(unit).into(),
            tasks: vec![task("1", after), task("2", before), task("3", after), task("4", before)],
            ..StateDocument::default()
        };
        let got = |document: &StateDocument| stages(document).iter().map(told).collect::<Vec<_>>();
        let stage = |service: &str, what: &str| (service.to_owned(), what.to_owned());
        assert_eq!(got(&document), [stage("", "2 4|a b c d|1 3")], "of a controller that names no services");
        document.services = vec![
            service("x", &["c", "b", "gone"], &["1", "4"]),
            service("y", &[], &[]),
            service("z", &["d", "b"], &["4", "3"]),
        ];
        let want = [stage("", "2|a|"), stage("x", "4|b c|1"), stage("y", "||"), stage("z", "|d|3")];
        assert_eq!(got(&document), want);
    }
}
